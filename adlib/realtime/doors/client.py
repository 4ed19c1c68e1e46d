"""How receivers speak HTTP: one client whose secrets show nowhere and whose answers are bounded."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self
from urllib.parse import unquote

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from adlib.arguments import require_extra
from adlib.realtime.channels import Channel, Outcome
from adlib.realtime.doors.http import LOOPBACK, judge_status, retry_after
from adlib.realtime.settings import Settings
from adlib.realtime.store import OutboxRow


def checked_url(secret: SecretStr, name: str, *, plain: bool = False) -> SecretStr:
    """An address that can be asked without anybody on the way reading it.

    Parameters
    ----------
    secret : SecretStr
    name : str
        What the error calls it.
    plain : bool
        Whether http is allowed beyond this machine.

    Raises
    ------
    ValueError
        Without the address, which may be a secret.
    """
    httpx = require_extra("httpx", "live")
    try:
        url = httpx.URL(secret.get_secret_value())
        known = (url.scheme in ("http", "https") and not url.userinfo
                 and re.fullmatch(r"[\w.:-]+", url.host))
    except (httpx.InvalidURL, TypeError):
        known = False
    if known and url.scheme == "http" and url.host not in LOOPBACK and not plain:
        raise ValueError(f"{name} goes over plain http, which everybody on the way can read: "
                         f"write https:// (http is for this machine alone)")
    if not known:
        raise ValueError(f"{name} must read https://host/path, got something else "
                         f"(not shown: it is a secret)")
    return secret


def _one_line(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be printable ASCII in one line (not shown: it is a secret)")
    return secret


_Name = Annotated[str, StringConstraints(pattern=r"^[\w!#$%&'*+.^`|~-]+$")]


class HttpConfig(Settings):
    """What receivers over HTTP have in common."""

    url: SecretStr = Field(description="https://host/path, without login data.")
    timeout: float = Field(10.0, gt=0, description="Seconds for one request.")
    headers: dict[_Name, Annotated[SecretStr, AfterValidator(_one_line)]] = Field(
        {}, description="Such as Authorization.")
    plain_http: bool = Field(False, description="Whether http is allowed beyond this machine.")
    ca_certs: Path | None = Field(None, description="Certificates to trust, where the server's "
                                  "own is not signed by an authority that the system knows.")

    @model_validator(mode="after")
    def _asks_safely(self) -> Self:
        checked_url(self.url, "url", plain=self.plain_http)
        return self


class Reply(NamedTuple):
    """What a server answered.

    Attributes
    ----------
    status : int
        0: nothing came, and ``detail`` says why.
    text : str
        The beginning of the body.
    detail : str
        The same without secrets, on one short line, to be stored.
    wait : float or None
        Seconds that it asks for.

    Examples
    --------
    >>> [Reply(*answer).outcome().state for answer in (
    ...     (204,), (200, "<html>Please log in</html>"), (503,), (422, "no such field"), (0,))]
    ['sent', 'retry', 'retry', 'dead', 'retry']
    """

    status: int
    text: str = ""
    detail: str = ""
    wait: float | None = None

    def outcome(self) -> Outcome:
        """Any 2xx is success, but for an HTML page: a proxy or a login page says it in the
        receiver's place, which somebody may put right.
        """
        if not self.status:
            return Outcome("retry", self.detail)
        if not 200 <= self.status < 300:
            return judge_status(self.status, self.detail, self.wait)
        if re.match(r"\s*<(!doctype\s+html|html|head|body)\b", self.text, re.IGNORECASE):
            return Outcome("retry", f"HTTP {self.status} {self.detail}", self.wait, expires=True)
        return Outcome("sent")


def to_json(content: Any) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which a name may hold, becomes ``?``."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False,
                      separators=(",", ":")).encode("utf-8", "replace")


class HttpChannel(Channel):
    """A receiver that is asked over HTTP; a subclass writes ``_post`` for one message.

    Redirects are not followed, and no answer is read without an end. The path is handed to the
    transport beside the URL, so neither httpx's log lines nor its exceptions ever hold it; answers
    that echo it, or a header, are cleaned.

    Attributes
    ----------
    most : int
        Bytes of an answer that are read.
    trust_env : bool
        Whether the environment may name a proxy.
    """

    most, trust_env = 65_536, True

    def __init__(self, config: HttpConfig, store: str = "", *,
                 clock: Callable[[], float] = time.time):
        self._httpx = require_extra("httpx", "live")
        url = self._httpx.URL(config.url.get_secret_value())
        self._origin = url.copy_with(raw_path=b"/", fragment=None)
        self._target = url.raw_path
        self._headers = {name: value.get_secret_value() for name, value in config.headers.items()}
        self.timeout, self._store, self._clock = config.timeout, store, clock
        path = url.raw_path.decode("ascii")
        words = {path, unquote(path), *re.split("[/?&=]", path)}.union(
            *((value, *value.split()) for value in self._headers.values()))
        self._secrets = sorted((word for word in words if len(word) > 3), key=len, reverse=True)
        self._certificates = config.ca_certs
        self._client: Any = None

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Send each message; see the class."""
        return [await self._post(row) for row in rows]

    async def _post(self, row: OutboxRow) -> Outcome:
        raise NotImplementedError

    async def _ask(self, content: bytes, headers: Mapping[str, str] | None = None, *,
                   method: str = "POST", path: str = "") -> Reply:
        """Send a request; what went wrong with the network is an answer too."""
        try:
            async with asyncio.timeout(self.timeout):  # httpx's own limit is per read
                if self._client is None:
                    trust = ssl.create_default_context(
                        cafile=self._certificates) if self._certificates else True
                    self._client = self._httpx.AsyncClient(
                        timeout=self.timeout, verify=trust, trust_env=self.trust_env)
                async with self._client.stream(
                        method, self._origin, content=content,
                        headers={"Content-Type": "application/json", "Accept-Encoding": "identity",
                                 **self._headers, **(headers or {})},
                        extensions={"target": self._target.rstrip(b"/") + path.encode()
                                    if path else self._target}) as response:
                    body = bytearray()
                    async with aclosing(response.aiter_raw()) as parts:
                        async for part in parts:
                            body += part
                            if len(body) > self.most:  # what is left is not read
                                break
        except (TimeoutError, OSError, self._httpx.TransportError) as error:
            return Reply(0, detail=self._clean(f"{type(error).__name__} {error}"))
        text = body.decode("utf-8", "replace")
        return Reply(response.status_code, text, self._clean(text),
                      retry_after(response.headers.get("Retry-After"), self._clock()))

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.strip()[:200].split())

    async def close(self) -> None:
        """Close the connections; the next message opens them again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
