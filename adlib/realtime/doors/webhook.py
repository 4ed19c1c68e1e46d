"""Any service that takes JSON by HTTP POST, as a receiver: signed, with a key and a resolve."""

import base64
import binascii
import hashlib
import hmac
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr

from adlib.realtime.channels import Outcome
from adlib.realtime.doors.client import HttpChannel, HttpConfig, to_json
from adlib.realtime.doors.messages import describe
from adlib.realtime.events import IncidentEvent
from adlib.realtime.routes import entity_of
from adlib.realtime.store import OutboxRow


def signing_key(secret: SecretStr) -> bytes:
    """Bytes that sign: what follows ``whsec_`` in base64, or the text itself.

    Examples
    --------
    >>> signing_key(SecretStr("whsec_aGVsbG8=")), signing_key(SecretStr("hello"))
    (b'hello', b'hello')
    """
    text = secret.get_secret_value()
    try:
        return (base64.b64decode(text.removeprefix("whsec_"), validate=True)
                if text.startswith("whsec_") else text.encode())
    except binascii.Error:
        raise ValueError("base64 must follow whsec_ (not shown: it is a secret)") from None


class WebhookConfig(HttpConfig):
    """Where messages are posted, and the key that signs them."""

    secret: Annotated[SecretStr, AfterValidator(lambda s: signing_key(s) and s)] | None = Field(
        None, min_length=1, description="Signs messages: a text, or whsec_ and base64.")


class WebhookChannel(HttpChannel):
    """Posts one JSON object for each step of an incident; any 2xx means that it was taken.

    ``dedup_key`` is the incident, the same for all of its steps; ``status`` is "firing", and
    "resolved" in the last one, which also comes where the incident was silenced meanwhile or closed
    by hand. ``id`` is the message's: one that comes twice has the same. ``summary`` and ``text``
    are ready to be shown; names in the rest are the data's, and no more to be trusted than they.

    With a ``secret`` it is signed as https://www.standardwebhooks.com has it, whose libraries check
    it: ``webhook-signature`` is "v1," and the base64 of the HMAC-SHA256 of ``webhook-id``, a dot,
    ``webhook-timestamp`` (POSIX seconds of this try), a dot, and the body.
    """

    Config = WebhookConfig
    name, resolves = "webhook", True

    def __init__(self, config: WebhookConfig, *args: Any, **kwargs: Any):
        super().__init__(config, *args, **kwargs)
        self._key = signing_key(config.secret) if config.secret else b""
        self._secrets += [config.secret.get_secret_value()] if config.secret else []

    async def _post(self, row: OutboxRow) -> Outcome:
        body = to_json(payload(IncidentEvent.from_dict(row.body), self._store))
        name, at = f"msg_{hashlib.sha256(row.id.encode()).hexdigest()[:32]}", f"{self._clock():.0f}"
        headers = {"webhook-id": name, "webhook-timestamp": at}
        if self._key:
            signed = hmac.digest(self._key, f"{name}.{at}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        return (await self._ask(body, headers)).outcome()


def payload(event: IncidentEvent, store: str) -> dict[str, Any]:
    """What is posted for a step of an incident.

    Parameters
    ----------
    event : IncidentEvent
    store : str
        Path of the alert store, for the command that acknowledges.
    """
    incident = event.incident
    subject, text = describe(event, store)
    return {"type": f"incident.{event.kind}", "id": event.id, "dedup_key": incident.id,
            "status": "resolved" if event.kind == "close" else "firing", "time": event.time,
            "severity": incident.severity, "kind": incident.kind, "stream": incident.stream,
            "entity": entity_of(incident) or None, "summary": subject, "text": text,
            "incident": incident.to_dict()}
