"""Telling people: messages from the outbox to Slack and by e-mail, at least once, in order.

A message is stored in the transaction that stores its incident; a worker sends it afterwards and
marks it sent. A crash between the two sends it again with the same id (the e-mail's Message-ID, the
last line of the Slack message). What may pass is retried with growing, jittered pauses for as long
as it takes; what cannot pass becomes a dead letter at once, which an operator can replay. Messages
of one incident arrive on each channel in the order in which they arose: those behind a dead letter
wait until it is replayed or given up. Another incident's messages do not wait.
"""

import asyncio
import hashlib
import logging
import random
import re
import shlex
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parsedate_to_datetime
from typing import Annotated, Any, Literal, Protocol, Self

import aiosmtplib
import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from adlib.realtime.events import IncidentEvent, Verdict, utc
from adlib.realtime.store import AlertStore, OutboxRow, StorageConfig

log = logging.getLogger(__name__)

LONGEST_WAIT = 86_400.0  # seconds; no Retry-After is believed beyond it
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$")]


class _Config(BaseModel):
    # What is refused is not printed: it may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True,
                              populate_by_name=True)


class SlackConfig(_Config):
    """A Slack incoming webhook, or a service that speaks the same."""

    webhook_url: SecretStr = Field(description="Whoever knows it can post: a secret.")
    timeout: float = Field(10.0, gt=0, description="Seconds for one request.")

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, secret: SecretStr) -> SecretStr:
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


class EmailConfig(_Config):
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
        if self.password is not None and self.security == "none" and self.host not in _LOOPBACK:
            raise ValueError("a password is not sent in plain text: security must be 'starttls' "
                             "or 'tls', got 'none'")
        return self


class NotificationConfig(_Config):
    """Whom to tell, and how patiently.

    Examples
    --------
    >>> config = NotificationConfig(slack={"webhook_url": "https://hooks.slack.com/services/T/B/x"})
    >>> config.slack.webhook_url
    SecretStr('**********')
    """

    slack: SlackConfig | None = None
    email: EmailConfig | None = None
    retry_base: float = Field(1.0, gt=0, description="Longest first pause before trying again, "
                              "seconds; it doubles with every try.")
    retry_cap: float = Field(300.0, gt=0, description="Longest pause, seconds.")


# ------------------------------------------------------------------ messages


_SAYS = {"open": "anomaly", "escalate": "anomaly got worse", "repeat": "anomaly goes on",
         "update": "anomaly goes on", "close": "anomaly is over"}


def describe(event: IncidentEvent, store: str) -> tuple[str, str]:
    """Subject and plain text of a notification.

    Parameters
    ----------
    event : IncidentEvent
    store : str
        Path of the alert store, for the command that acknowledges.

    Examples
    --------
    >>> from adlib.realtime.events import Incident
    >>> incident = Incident("rig|combined|0", "rig", 0, 99, 1.7e9, 1.7e9 + 30, None, "critical",
    ...                     0.95, 4, (("temperature", 0.71),), "open", False)
    >>> subject, text = describe(IncidentEvent("open", incident, 1.7e9 + 30, True, 0), "alerts.db")
    >>> print(subject, text, sep="\\n")
    [CRITICAL] rig: anomaly
    When: 2023-11-14 22:13:50 UTC, since 2023-11-14 22:13:20 UTC
    How bad: critical, peak 0.95 of 1, 4 windows flagged (samples 0 to 99)
    Top features: temperature (0.71)
    Incident: rig|combined|0
    Acknowledge: python -m adlib.realtime alerts ack 'rig|combined|0' --store alerts.db
    Message: rig|combined|0|open|0
    """
    incident = event.incident
    features = ", ".join(f"{name} ({value:.2f})" for name, value in incident.top_features)
    lines = [
        f"When: {utc(event.time)}, since {utc(incident.opened_at)}",
        f"How bad: {incident.severity}, peak {incident.peak_score:.2f} of 1, "
        f"{incident.n_windows} windows flagged (samples {incident.start} to {incident.end})",
        f"Top features: {features or 'not known'}",
        f"Incident: {incident.id}",
    ]
    if event.kind != "close" and not incident.acknowledged:
        lines.append("Acknowledge: " + shlex.join(
            ["python", "-m", "adlib.realtime", "alerts", "ack", incident.id, "--store", store]))
    lines.append(f"Message: {event.id}")
    return (f"[{incident.severity.upper()}] {incident.stream}: {_SAYS[event.kind]}",
            "\n".join(lines))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How sending one message went; ``detail`` must not hold a secret, it is stored."""

    state: Literal["sent", "retry", "dead"]
    detail: str | None = None
    retry_after: float | None = None  # seconds that the receiver asked to be left alone


class Channel(Protocol):
    """A receiver of messages.

    ``rows`` says which messages a batch causes (pure); ``send`` tries up to ``batch`` of them and
    returns an outcome for each, and raises nothing but what it did not foresee.
    """

    name: str
    batch: int
    timeout: float

    def rows(self, events: Iterable[IncidentEvent],
             verdicts: Iterable[Verdict]) -> Iterator[OutboxRow]: ...

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]: ...

    async def close(self) -> None: ...


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (a number or a date), None if it says nothing.

    Examples
    --------
    >>> retry_after("30", now=0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=0.0)
    (30.0, 60.0)
    >>> retry_after("soon", now=0.0)
    """
    if header is None:
        return None
    with suppress(ValueError, OverflowError):
        wait = (int(header) if header.strip().isdecimal()
                else parsedate_to_datetime(header).timestamp() - now)
        return float(min(max(wait, 0), LONGEST_WAIT))
    return None


def judge_status(status: int, detail: str, wait: float | None) -> Outcome:
    """What an HTTP status other than success means: 408, 429 and 5xx may pass, the rest not."""
    passing = status in (408, 429) or status >= 500
    return Outcome("retry" if passing else "dead", f"HTTP {status} {detail}".strip(), wait)


class SlackChannel:
    """Posts to a Slack incoming webhook: 200 with the body ``ok`` is success, nothing else is.

    The webhook's path is the secret. It is handed to the transport beside the URL, so neither
    httpx's log lines nor its exceptions ever hold it; answers that echo it are cleaned.
    """

    name, batch = "slack", 1

    def __init__(self, config: SlackConfig, store: str, *, clock: Callable[[], float] = time.time):
        url = httpx.URL(config.webhook_url.get_secret_value())
        self._origin = url.copy_with(raw_path=b"/", fragment=None)
        self._target = url.raw_path
        self.timeout = config.timeout
        self._store, self._clock = store, clock
        self._client: httpx.AsyncClient | None = None

    def rows(self, events: Iterable[IncidentEvent],
             verdicts: Iterable[Verdict]) -> Iterator[OutboxRow]:
        """A message for each event that people are told of."""
        for event in events:
            if event.notify:
                yield OutboxRow(f"{event.id}|slack", self.name, event.incident.id, event.time,
                                event.to_dict())

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Post each message; see the class."""
        return [await self._post(row) for row in rows]

    async def _post(self, row: OutboxRow) -> Outcome:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self.timeout)
        subject, text = describe(IncidentEvent.from_dict(row.body), self._store)
        try:
            async with asyncio.timeout(self.timeout):  # httpx's own limit is per read
                response = await self._client.post(
                    self._origin, json=slack_message(subject, text),
                    extensions={"target": self._target})
        except (TimeoutError, httpx.TransportError) as error:
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


class EmailChannel:
    """Mails each recipient separately, so that one refused address costs the others nothing.

    The Message-ID is a digest of the message's id: a message that was sent twice can be recognised,
    and mail programs show one thread per incident.
    """

    name, batch = "email", 1

    def __init__(self, config: EmailConfig, store: str, *, clock: Callable[[], float] = time.time):
        self._config, self._store, self._clock = config, store, clock
        self.timeout = config.timeout

    def rows(self, events: Iterable[IncidentEvent],
             verdicts: Iterable[Verdict]) -> Iterator[OutboxRow]:
        """A message per recipient for each event that people are told of."""
        for event in events:
            if event.notify:
                for address in self._config.to:
                    yield OutboxRow(f"{event.id}|email|{address}", self.name,
                                    f"{event.incident.id}|{address}", event.time,
                                    {"event": event.to_dict(), "to": address})

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Mail each message; SMTP 4xx may pass, 5xx not."""
        return [await self._mail(row) for row in rows]

    async def _mail(self, row: OutboxRow) -> Outcome:
        config = self._config
        try:
            async with asyncio.timeout(self.timeout):
                await aiosmtplib.send(
                    self.message(row), sender=config.sender, recipients=[row.body["to"]],
                    hostname=config.host, port=config.port, timeout=self.timeout,
                    username=config.username,
                    password=config.password and config.password.get_secret_value(),
                    use_tls=config.security == "tls", start_tls=config.security == "starttls")
        except aiosmtplib.SMTPRecipientsRefused as error:  # there is one recipient
            return self._judge(error.recipients[0])
        except aiosmtplib.SMTPResponseException as error:
            return self._judge(error)
        except (TimeoutError, OSError) as error:  # also lost and refused connections
            return Outcome("retry", type(error).__name__)
        except aiosmtplib.SMTPException as error:  # the server lacks STARTTLS or a login
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
        mail["Subject"] = " ".join(subject.split())
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._clock(), UTC))
        mail["Message-ID"] = message_id(event.id)
        if event.n:
            root = message_id(f"{event.incident.id}|open|0")
            mail["In-Reply-To"], mail["References"] = root, root
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        return mail

    def _judge(self, error: aiosmtplib.SMTPResponseException) -> Outcome:
        state = "retry" if 400 <= error.code < 500 else "dead"
        return Outcome(state, f"SMTP {error.code} {self._clean(error.message)}")

    def _clean(self, text: str) -> str:
        password = self._config.password
        if password is not None:
            text = text.replace(password.get_secret_value(), "***")
        return " ".join(text[:200].split())

    async def close(self) -> None:
        """Nothing to close: each message has a connection of its own."""


# ------------------------------------------------------------------ the worker


class NotificationService:
    """Sends what lies in the outbox: a worker per channel, at least once, in order per incident.

    ``async with`` runs the workers; at its end they get ``grace`` seconds to send what is due.
    What is left then stays in the outbox for the next run.

    Parameters
    ----------
    config : NotificationConfig
    store : AlertStore
    storage : StorageConfig, optional
        With ``backend="elasticsearch"``, documents go there too.
    channels : sequence of Channel, optional
        Instead of those that the configuration asks for.
    clock : callable
        Wall clock, POSIX seconds.
    rng : random.Random
        Draws the pauses: uniform between 0 and ``retry_base * 2**(tries - 1)``, at most
        ``retry_cap`` ("full jitter": Brooker 2015), never less than a Retry-After.
    poll : float
        Seconds between two looks into the outbox when nobody calls `wake`.
    lease : float, optional
        Seconds after which the message of a worker that died is sent again; twice the channel's
        timeout and ten seconds by default.
    grace : float
        Seconds for what is due at the end.

    Attributes
    ----------
    counters : Counter
        Tries by (channel, "sent" | "retry" | "dead").

    Notes
    -----
    Tries without end: a receiver that is down for a week gets the week's messages when it is back.
    """

    def __init__(self, config: NotificationConfig, store: AlertStore, *,
                 storage: StorageConfig | None = None, channels: Sequence[Channel] | None = None,
                 clock: Callable[[], float] = time.time, rng: random.Random | None = None,
                 poll: float = 1.0, lease: float | None = None, grace: float = 5.0):
        self.config, self.store = config, store
        self.channels = list(channels) if channels is not None else [
            *([SlackChannel(config.slack, str(store.path), clock=clock)] if config.slack else []),
            *([EmailChannel(config.email, str(store.path), clock=clock)] if config.email else []),
            *_elasticsearch(storage, clock)]
        self.counters: Counter[tuple[str, str]] = Counter()
        self._clock, self._rng = clock, rng or random.Random()
        self._poll, self._lease, self._grace = poll, lease, grace
        self._workers: list[asyncio.Task] = []
        self._paused: dict[str, float] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._thread: ThreadPoolExecutor | None = None

    def rows(self, events: Sequence[IncidentEvent],
             verdicts: Sequence[Verdict] = ()) -> list[OutboxRow]:
        """Messages that a batch causes, for `AlertStore.commit`.

        Parameters
        ----------
        events : sequence of IncidentEvent
        verdicts : sequence of Verdict, default=()
            Those to be stored, for channels that keep documents.

        Returns
        -------
        list of OutboxRow
        """
        return [row for channel in self.channels for row in channel.rows(events, verdicts)]

    def wake(self) -> None:
        """Look into the outbox now; called after a commit, from the event loop's thread."""
        for wake in self._wakes.values():
            wake.set()

    async def __aenter__(self) -> Self:
        self._ending = False
        self._wakes = {channel.name: asyncio.Event() for channel in self.channels}
        self._workers = [asyncio.create_task(self._work(channel)) for channel in self.channels]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        self.wake()
        try:
            if self._workers:
                await asyncio.wait(self._workers, timeout=self._grace)
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            await self.close()

    async def deliver_due(self) -> int:
        """Send what is due now, and what becomes due by that; return the number of tries."""
        return sum([await self._drain(channel) for channel in self.channels])

    async def close(self) -> None:
        """Close the connections of all channels and the worker's thread."""
        for channel in self.channels:
            await channel.close()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def _work(self, channel: Channel) -> None:
        wake = self._wakes[channel.name]
        while True:
            wake.clear()
            last = self._ending  # read before the look: what was committed since is not missed
            try:
                await self._drain(channel)
            except Exception as error:  # locked, disk full: may pass, and nothing is lost
                says = error if isinstance(error, sqlite3.Error) else ""  # no secret in SQLite's
                log.error("outbox of %s: %s %s", channel.name, type(error).__name__, says)
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), self._poll)

    async def _drain(self, channel: Channel) -> int:
        tries = 0
        while rows := await self._in_thread(self._claim, channel):
            tries += len(rows)
            await self._in_thread(self.store.settle, await self._send(channel, rows))
        return tries

    def _claim(self, channel: Channel) -> list[OutboxRow]:
        now = self._clock()
        if now < self._paused.get(channel.name, 0.0):
            return []
        lease = self._lease or 2 * channel.timeout + 10
        return self.store.claim(channel.name, now, lease=lease, limit=channel.batch)

    async def _send(self, channel: Channel,
                    rows: Sequence[OutboxRow]) -> list[tuple[int, str, float, str | None]]:
        try:
            outcomes = await channel.send(rows)
            if len(outcomes) != len(rows):
                raise LookupError
        except Exception as error:  # not foreseen; its text might hold a secret
            outcomes = [Outcome("retry", f"unforeseen {type(error).__name__}")] * len(rows)
        # One line for what failed in the same way: a bulk request has hundreds of messages.
        failed = Counter((o.state, o.detail) for o in outcomes if o.state != "sent")
        for (state, detail), count in failed.items():
            level, says = ((logging.ERROR, "refused for good") if state == "dead"
                           else (logging.WARNING, "did not take"))
            log.log(level, "%s %s %d of %d messages, %s (%s first)", channel.name, says, count,
                    len(rows), detail, rows[0].id)
        return [self._result(channel.name, row, outcome)
                for row, outcome in zip(rows, outcomes, strict=True)]

    def _result(self, channel: str, row: OutboxRow,
                outcome: Outcome) -> tuple[int, str, float, str | None]:
        self.counters[channel, outcome.state] += 1
        if outcome.state == "sent":
            return row.seq, "sent", 0.0, None
        if outcome.state == "dead":
            return row.seq, "dead", 0.0, outcome.detail
        # The exponent is bounded because 2.0 ** 1024 overflows after weeks of an outage.
        longest = min(self.config.retry_cap,
                      self.config.retry_base * 2.0 ** min(row.attempts - 1, 60))
        pause = self._rng.uniform(0.0, longest)
        now = self._clock()
        if outcome.retry_after is not None:  # the receiver means everybody, not this message
            pause += outcome.retry_after
            self._paused[channel] = now + outcome.retry_after
        return row.seq, "pending", now + pause, outcome.detail

    def _in_thread(self, function: Callable[..., Any], *args: Any) -> Awaitable[Any]:
        if self._thread is None:  # one thread, one connection: the loop never waits for the disk
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="adlib-outbox")
        return asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


def _elasticsearch(storage: StorageConfig | None, clock: Callable[[], float]) -> list[Channel]:
    if storage is None or storage.backend != "elasticsearch":
        return []
    from adlib.realtime.elastic import ElasticsearchStore  # an optional extra

    return [ElasticsearchStore(storage, clock=clock)]
