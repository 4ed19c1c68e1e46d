"""Slack's incoming webhooks as a receiver."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pydantic import Field, SecretStr, field_validator

from adlib.arguments import require_extra
from adlib.realtime.channels import Channel, Outcome
from adlib.realtime.doors.http import LOOPBACK, judge_status, retry_after
from adlib.realtime.doors.messages import describe
from adlib.realtime.events import IncidentEvent
from adlib.realtime.settings import Settings
from adlib.realtime.store import OutboxRow

# What Slack answers instead of posting, some of it with 200: what passes by itself, what is wrong
# with the message, and what somebody has to put right.
_PASSING, _FINAL, _CURABLE = (set(words.split()) for words in (
    "rate_limited ratelimited rollup_error internal_error fatal_error service_unavailable "
    "request_timeout",
    "invalid_payload no_text invalid_blocks invalid_blocks_format invalid_attachments msg_too_long "
    "msg_blocks_too_long missing_text_or_fallback_or_attachments too_many_attachments",
    "no_service no_service_id no_team no_active_hooks team_disabled user_not_found "
    "channel_not_found channel_is_archived is_archived not_in_channel action_prohibited "
    "restricted_action posting_to_general_channel_denied invalid_token invalid_auth not_authed "
    "account_inactive token_revoked token_expired no_permission missing_scope access_denied"))
_LONGEST = 3000  # characters that a section block may hold


class SlackConfig(Settings):
    """A Slack incoming webhook, or a service that speaks the same."""

    webhook_url: SecretStr = Field(description="https://host/path; whoever knows it can post: a "
                                   "secret. Plain http is taken on this machine alone.")
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
        if known and url.scheme == "http" and url.host not in LOOPBACK:
            raise ValueError("webhook_url goes over plain http, which everybody on the way can "
                             "read: write https:// (http is for this machine alone)")
        if not known:
            raise ValueError("webhook_url must read https://host/path, got something else "
                             "(not shown: it is a secret)")
        return secret


class SlackChannel(Channel):
    """Posts to a Slack incoming webhook, or to a service that takes the same messages.

    Any 2xx is success, whatever a service says in its body, with two exceptions. A refusal that
    Slack documents (``channel_not_found``, ``{"ok": false}``) is one with any status. An HTML page
    is what a proxy or a login page says in the receiver's place: nobody has seen the message, so it
    is tried again until ``notification.give_up_after``, as for a redirect.

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
            self._client = self._httpx.AsyncClient(
                timeout=self.timeout, headers={"Accept-Encoding": "identity"})
        subject, text = describe(IncidentEvent.from_dict(row.body), self._store)
        try:
            async with asyncio.timeout(self.timeout):  # httpx's own limit is per read
                response = await self._client.post(
                    self._origin, json=slack_message(subject, text),
                    extensions={"target": self._target})
        except (TimeoutError, self._httpx.TransportError) as error:
            return Outcome("retry", type(error).__name__)
        return judge_answer(
            response.status_code, response.text, self._clean(response.text.strip()),
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


def judge_answer(status: int, body: str, detail: str, wait: float | None) -> Outcome:
    """What an answer means; see `SlackChannel`.

    Parameters
    ----------
    status : int
    body : str
    detail : str
        The body without secrets, to be stored.
    wait : float or None
        Seconds that it asks for.

    Examples
    --------
    >>> [judge_answer(200, body, body, None).state
    ...  for body in ("ok", '{"success": true}', "channel_not_found", "invalid_payload")]
    ['sent', 'sent', 'retry', 'dead']
    """
    said: Any = None
    with suppress(ValueError, RecursionError):
        said = json.loads(body)
    refused = isinstance(said, dict) and False in (said.get("ok"), said.get("success"))
    word = str(said.get("error")) if refused else (re.match(r"\s*(\w*)", body) or [""] * 2)[1]
    succeeded, detail = 200 <= status < 300, f"HTTP {status} {detail}"
    if status < 500 and word in _PASSING:
        return Outcome("retry", detail, wait)
    if status < 500 and word in _FINAL:
        return Outcome("dead", detail)
    page = succeeded and re.match(r"\s*<(!doctype\s+html|html|head|body)\b", body, re.IGNORECASE)
    if page or (status < 500 and word in _CURABLE) or (succeeded and refused):
        return Outcome("retry", detail, wait, expires=True)
    return Outcome("sent") if succeeded else judge_status(status, detail, wait)


def slack_message(subject: str, text: str) -> dict[str, Any]:
    """Payload of an incoming webhook: a text for notifications, blocks for the channel.

    A long text goes on in further blocks: nothing is cut. All is plain text to Slack, so that a
    feature named ``*x*`` stays what it is.

    Examples
    --------
    >>> slack_message("[WARNING] a<b: anomaly", "When: now")["text"]
    '[WARNING] a&lt;b: anomaly'
    """
    return {"text": _entities(subject), "mrkdwn": False, "blocks": [
        {"type": "section", "text": {"type": "plain_text", "emoji": False, "text": part}}
        for part in (*_parts(subject), *_parts(text)) if part]}


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _parts(text: str) -> list[str]:
    """Escaped text in parts that fit a block, at the ends of lines where that is possible."""
    parts = [""]
    for line in map(_entities, text.split("\n")):
        if parts[-1] and len(parts[-1]) + 1 + len(line) > _LONGEST:
            parts.append("")
        elif parts[-1]:
            parts[-1] += "\n"
        for piece in re.findall("&[a-z]+;|.", line, re.DOTALL):
            if len(parts[-1]) + len(piece) > _LONGEST:
                parts.append("")
            parts[-1] += piece
    return parts
