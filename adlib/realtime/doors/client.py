"""How receivers speak HTTP: one client whose secrets show nowhere and whose answers are bounded."""

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from pydantic import Field, SecretStr, model_validator

from adlib.arguments import require_extra
from adlib.realtime.channels import Outcome
from adlib.realtime.doors.http import LOOPBACK, judge_status, retry_after
from adlib.realtime.settings import Settings

_MOST = 65_536  # bytes of an answer that are read


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


class HttpConfig(Settings):
    """What receivers over HTTP have in common."""

    url: SecretStr = Field(description="https://host/path; plain http beyond this machine needs "
                           "plain_http. Login data are no part of it.")
    timeout: float = Field(10.0, gt=0, description="Seconds for one request.")
    plain_http: bool = Field(False, description="Whether http is allowed beyond this machine: "
                             "everybody on the way can read and change it.")
    ca_certs: Path | None = Field(None, description="Certificates to trust, where the server's "
                                  "own is not signed by an authority that the system knows.")

    @model_validator(mode="after")
    def _asks_safely(self) -> Self:
        checked_url(self.url, "url", plain=self.plain_http)
        return self


class Answer(NamedTuple):
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
    >>> [Answer(*answer).outcome().state for answer in (
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
        succeeded = 200 <= self.status < 300
        if succeeded and re.match(r"\s*<(!doctype\s+html|html|head|body)\b", self.text,
                                  re.IGNORECASE):
            return Outcome("retry", f"HTTP {self.status} {self.detail}", self.wait, expires=True)
        if not self.status:
            return Outcome("retry", self.detail)
        return Outcome("sent") if succeeded else judge_status(self.status, self.detail, self.wait)


def to_json(content: Any) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which a name may hold, becomes ``?``."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False,
                      separators=(",", ":")).encode("utf-8", "replace")


class Client:
    """Asks one server. Redirects are not followed, and no answer is read without an end.

    The path is handed to the transport beside the URL, so neither httpx's log lines nor its
    exceptions ever hold it; answers that echo a secret are cleaned.

    Parameters
    ----------
    url : str
    clock : callable
        Wall clock, POSIX seconds.
    timeout : float
        Seconds for a request and its whole answer.
    secrets : iterable of str
        What no detail may hold, beside the parts of the path.
    most : int
        Bytes of an answer that are read.
    ca_certs : Path, optional
    **options
        Of ``httpx.AsyncClient``.
    """

    def __init__(self, url: str, clock: Callable[[], float], *, timeout: float,
                 secrets: Iterable[str] = (), most: int = _MOST, ca_certs: Path | None = None,
                 **options: Any):
        self._httpx = require_extra("httpx", "live")
        parsed = self._httpx.URL(url)
        self._origin = parsed.copy_with(raw_path=b"/", fragment=None)
        self._target = parsed.raw_path
        self._timeout, self._most, self._clock = timeout, most, clock
        path = self._target.decode("ascii")
        words = {*secrets, path, unquote(path), *re.split("[/?&=]", path)}
        self._secrets = sorted((word for word in words if len(word) > 3), key=len, reverse=True)
        if ca_certs is not None:
            options["verify"] = ssl.create_default_context(cafile=ca_certs)
        self._options = options
        self._client: Any = None

    async def ask(self, content: bytes, headers: Mapping[str, str], *, method: str = "POST",
                  path: str = "") -> Answer:
        """Send a request; also what went wrong with the network is an answer.

        Parameters
        ----------
        content : bytes
        headers : mapping of str to str
        method : str
        path : str
            What follows the path of the URL.
        """
        try:
            async with asyncio.timeout(self._timeout):  # httpx's own limit is per read
                if self._client is None:
                    self._client = self._httpx.AsyncClient(timeout=self._timeout, **self._options)
                async with self._client.stream(
                        method, self._origin, content=content,
                        headers={"Content-Type": "application/json", "Accept-Encoding": "identity",
                                 **headers},
                        extensions={"target": self._target + path.encode("ascii")}) as response:
                    body = await self._read(response)
        except (TimeoutError, self._httpx.TransportError) as error:
            return Answer(0, detail=self._clean(f"{type(error).__name__} {error}"))
        return Answer(response.status_code, body, self._clean(body),
                      retry_after(response.headers.get("Retry-After"), self._clock()))

    async def _read(self, response: Any) -> str:
        body = b""
        async with aclosing(response.aiter_raw()) as parts:
            async for part in parts:
                body += part
                if len(body) >= self._most:  # what is left is not read: the connection ends
                    break
        return body[:self._most].decode("utf-8", "replace")

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.strip()[:200].split())

    async def close(self) -> None:
        """Close the connections; the next `ask` opens them again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
