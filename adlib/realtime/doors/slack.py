"""Slack's incoming webhooks as a receiver."""

import json
import re
from contextlib import suppress
from typing import Any

from pydantic import Field, SecretStr, field_validator

from adlib.realtime.channels import Outcome
from adlib.realtime.doors.client import HttpChannel, HttpConfig, Reply, checked_url, to_json
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
        return checked_url(secret, "webhook_url")


class SlackChannel(HttpChannel):
    """Posts to a Slack incoming webhook, or to a service that takes the same messages.

    Any 2xx is success, whatever a service says in its body, with two exceptions. A refusal that
    Slack documents (``channel_not_found``, ``{"ok": false}``) is one with any status. An HTML page
    is what a proxy or a login page says in the receiver's place: nobody has seen the message, so it
    is tried again until ``notification.give_up_after``, as for a redirect.

    The webhook's path is the secret, which shows nowhere: see `adlib.realtime.doors.client`.
    """

    Config = SlackConfig
    name = "slack"

    def __init__(self, config: SlackConfig, *args: Any, **kwargs: Any):
        super().__init__(HttpConfig(url=config.webhook_url, timeout=config.timeout), *args,
                         **kwargs)

    async def _post(self, row: OutboxRow) -> Outcome:
        subject, text = describe(IncidentEvent.from_dict(row.body), self._store)
        return judge_answer(await self._ask(to_json(slack_message(subject, text))))


def judge_answer(answer: Reply) -> Outcome:
    """What an answer means; see `SlackChannel`.

    Parameters
    ----------
    answer : Reply

    Examples
    --------
    >>> [judge_answer(Reply(200, body)).state
    ...  for body in ("ok", '{"success": true}', "channel_not_found", "invalid_payload")]
    ['sent', 'sent', 'retry', 'dead']
    """
    said: Any = None
    with suppress(ValueError, RecursionError):
        said = json.loads(answer.text)
    refused = isinstance(said, dict) and False in (said.get("ok"), said.get("success"))
    word = str(said.get("error")) if refused else (
        re.match(r"\s*(\w*)", answer.text) or [""] * 2)[1]
    succeeded, detail = 200 <= answer.status < 300, f"HTTP {answer.status} {answer.detail}"
    if answer.status < 500 and word in _PASSING:
        return Outcome("retry", detail, answer.wait)
    if answer.status < 500 and word in _FINAL:
        return Outcome("dead", detail)
    if (answer.status < 500 and word in _CURABLE) or (succeeded and refused):
        return Outcome("retry", detail, answer.wait, expires=True)
    return answer.outcome()


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
