"""Slack's incoming webhooks as a receiver."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field, SecretStr, field_validator

from adlib.arguments import require_extra
from adlib.realtime.channels import Channel, Outcome
from adlib.realtime.doors.http import judge_status, retry_after
from adlib.realtime.doors.messages import describe
from adlib.realtime.events import IncidentEvent
from adlib.realtime.settings import Settings
from adlib.realtime.store import OutboxRow


class SlackConfig(Settings):
    """A Slack incoming webhook, or a service that speaks the same."""

    webhook_url: SecretStr = Field(description="Whoever knows it can post: a secret.")
    timeout: float = Field(10.0, gt=0, description="Seconds for one request.")

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, secret: SecretStr) -> SecretStr:
        httpx = require_extra("httpx", "live")
        try:
            url = httpx.URL(secret.get_secret_value())
            known = (url.scheme in ("http", "https") and not url.userinfo
                     and re.fullmatch(r"[\w.:-]+", url.host))
        except (httpx.InvalidURL, TypeError):
            known = False
        if not known:
            raise ValueError("webhook_url must read https://host/path, got something else "
                             "(not shown: it is a secret)")
        return secret


class SlackChannel(Channel):
    """Posts to a Slack incoming webhook: 200 with the body ``ok`` is success, nothing else is.

    The webhook's path is the secret. It is handed to the transport beside the URL, so neither
    httpx's log lines nor its exceptions ever hold it; answers that echo it are cleaned.
    """

    Config = SlackConfig
    name = "slack"

    def __init__(self, config: SlackConfig, store: str, *, clock: Callable[[], float] = time.time):
        self._httpx = require_extra("httpx", "live")
        url = self._httpx.URL(config.webhook_url.get_secret_value())
        self._origin = url.copy_with(raw_path=b"/", fragment=None)
        self._target = url.raw_path
        self.timeout = config.timeout
        self._store, self._clock = store, clock
        self._client: Any = None

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Post each message; see the class."""
        return [await self._post(row) for row in rows]

    async def _post(self, row: OutboxRow) -> Outcome:
        if self._client is None:
            self._client = self._httpx.AsyncClient(timeout=self.timeout)
        subject, text = describe(IncidentEvent.from_dict(row.body), self._store)
        try:
            async with asyncio.timeout(self.timeout):  # httpx's own limit is per read
                response = await self._client.post(
                    self._origin, json=slack_message(subject, text),
                    extensions={"target": self._target})
        except (TimeoutError, self._httpx.TransportError) as error:
            return Outcome("retry", type(error).__name__)
        body = response.text.strip()
        if response.status_code == 200:
            # Slack's contract; a proxy's login page also says 200.
            return Outcome("sent") if body == "ok" else Outcome(
                "dead", f"HTTP 200 but the body is not 'ok': {self._clean(body)}")
        return judge_status(response.status_code, self._clean(body),
                            retry_after(response.headers.get("Retry-After"), self._clock()))

    def _clean(self, text: str) -> str:
        path = self._target.decode("ascii")
        for secret in (path, *sorted(re.split("[/?&=]", path), key=len, reverse=True)):
            if len(secret) > 3:
                text = text.replace(secret, "***")
        return " ".join(text[:200].split())

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def slack_message(subject: str, text: str) -> dict[str, Any]:
    """Payload of an incoming webhook: a text for notifications, blocks for the channel.

    Examples
    --------
    >>> slack_message("[WARNING] a<b: anomaly", "When: now")["text"]
    '[WARNING] a&lt;b: anomaly'
    """
    for raw, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        subject, text = subject.replace(raw, escaped), text.replace(raw, escaped)
    return {"text": subject, "blocks": [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"*{subject}*"[:3000]}},
        # Plain text: a feature named *x* stays what it is.
        {"type": "section", "text": {"type": "plain_text", "emoji": False, "text": text[:3000]}},
    ]}
