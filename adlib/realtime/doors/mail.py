"""E-mail by SMTP as a receiver."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from adlib.arguments import require_extra
from adlib.realtime.channels import Channel, Outcome
from adlib.realtime.doors.http import LOOPBACK
from adlib.realtime.doors.messages import describe
from adlib.realtime.events import IncidentEvent, Verdict
from adlib.realtime.settings import Settings
from adlib.realtime.store import OutboxRow

Address = Annotated[str, StringConstraints(pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")]


class EmailConfig(Settings):
    """Mail by SMTP. ``security="tls"`` is TLS from the first byte (usually port 465)."""

    host: str = Field(min_length=1, description="SMTP server.")
    port: int = Field(587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="Never falls back to plain text on its own.")
    username: str | None = Field(None, description="Login, if the server wants one.")
    password: SecretStr | None = Field(None, description="Its password.")
    sender: Address = Field(alias="from", description="Sender's address.")
    to: tuple[Address, ...] = Field(min_length=1, description="Recipients' addresses.")
    timeout: float = Field(30.0, gt=0, description="Seconds for one message.")

    @model_validator(mode="after")
    def _login_is_safe(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together, got one of them")
        if self.password is not None and self.security == "none" and self.host not in LOOPBACK:
            raise ValueError("a password is not sent in plain text: security must be 'starttls' "
                             "or 'tls', got 'none'")
        return self


class EmailChannel(Channel):
    """Mails each recipient separately, so that one refused address costs the others nothing.

    The Message-ID is a digest of the message's id: a message that was sent twice can be recognised,
    and mail programs show one thread per incident.
    """

    Config = EmailConfig
    name = "email"

    def __init__(self, config: EmailConfig, store: str, *, clock: Callable[[], float] = time.time):
        self._smtp = require_extra("aiosmtplib", "live")
        self._config, self._store, self._clock = config, store, clock
        self.timeout = config.timeout

    def rows(self, events: Iterable[IncidentEvent],
             verdicts: Iterable[Verdict]) -> Iterator[OutboxRow]:
        """A message per recipient for each event that people are notified of."""
        for event in events:
            if event.notify:
                for address in self._config.to:
                    yield OutboxRow(f"{event.id}|{self.name}|{address}", self.name,
                                    f"{event.incident.id}|{address}", event.time,
                                    {"event": event.to_dict(), "to": address})

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Mail each message; SMTP 4xx may pass by itself.

        5xx on the recipient or the mail is final; on the login, the sender or the connection
        (535: an expired password) somebody may put it right.
        """
        return [await self._mail(row) for row in rows]

    async def _mail(self, row: OutboxRow) -> Outcome:
        config, smtp = self._config, self._smtp
        try:
            async with asyncio.timeout(self.timeout):
                await smtp.send(
                    self.message(row), sender=config.sender, recipients=[row.body["to"]],
                    hostname=config.host, port=config.port, timeout=self.timeout,
                    username=config.username,
                    password=config.password and config.password.get_secret_value(),
                    use_tls=config.security == "tls", start_tls=config.security == "starttls")
        except smtp.SMTPRecipientsRefused as error:  # there is one recipient
            return self._judge(error.recipients[0], final=True)
        except smtp.SMTPResponseException as error:
            return self._judge(error, final=isinstance(error, smtp.SMTPDataError))
        except (TimeoutError, OSError) as error:  # also lost and refused connections
            return Outcome("retry", type(error).__name__)
        except smtp.SMTPException as error:  # the server lacks STARTTLS or a login
            return Outcome("dead", self._clean(str(error)))
        return Outcome("sent")

    def message(self, row: OutboxRow) -> EmailMessage:
        """The mail as it is sent."""
        event = IncidentEvent.from_dict(row.body["event"])
        subject, text = describe(event, self._store)
        domain = self._config.sender.rpartition("@")[2]

        def message_id(event_id: str) -> str:
            return f"<{hashlib.sha256(event_id.encode()).hexdigest()[:32]}@{domain}>"

        mail = EmailMessage()
        mail["From"], mail["To"] = self._config.sender, row.body["to"]
        mail["Subject"] = subject
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._clock(), UTC))
        mail["Message-ID"] = message_id(event.id)
        if event.n:
            root = message_id(f"{event.incident.id}|open|0")
            mail["In-Reply-To"], mail["References"] = root, root
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        return mail

    def _judge(self, error: Any, *, final: bool) -> Outcome:
        passing = 400 <= error.code < 500
        return Outcome("dead" if final and not passing else "retry",
                       f"SMTP {error.code} {self._clean(error.message)}", expires=not passing)

    def _clean(self, text: str) -> str:
        password = self._config.password
        if password is not None:
            text = text.replace(password.get_secret_value(), "***")
        return " ".join(text[:200].split())
