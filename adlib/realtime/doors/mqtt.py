"""MQTT as a source.

Paho is used as it is: aiomqtt, which wraps it, acknowledges messages before anybody has seen them.
"""

import asyncio
import logging
import re
import ssl
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, suppress
from copy import copy
from typing import Any
from urllib.parse import unquote, urlsplit

from adlib.arguments import require_extra
from adlib.reading.records import Record, Records
from adlib.realtime.doors.records import Arrivals, ReadingSource, grouped, positive, waiting
from adlib.realtime.members import back_off, in_thread
from adlib.realtime.sources import masked
from adlib.realtime.windows import Sample

log = logging.getLogger(__name__)

_FILTER = re.compile(r"(?:(?:\+|[^+#\0/]*)/)*(?:\+|#|[^+#\0/]*)")  # + and # for whole levels
_UNACKNOWLEDGED = 20_000  # messages under way; the broker then waits
_KEPT = 7 * 86_400  # seconds that the broker keeps the session of a client that is away
_PASSING = {"Server unavailable", "Server busy", "Quota exceeded", "Unspecified error",
            "Connection rate exceeded"}


class MqttSource(ReadingSource):
    """Messages of a topic, one sample each, in a session that the broker keeps.

    ``mqtt://[user:password@]host[:port]/TOPIC``; ``mqtts://`` is encrypted (the environment
    variable ``SSL_CERT_FILE`` may name a plant's own authority). The topic may hold ``+`` and
    ``#``; other characters with a meaning in an address are written as ``%3F``. ``client`` (default
    "adlib") names the session: give each engine its own, since two of one name throw each other
    out. ``version=3`` is for brokers without MQTT 5. In a fleet ``entity=topic:2`` takes the second
    level of the topic as the entity.

    Messages come with QoS 1 and are acknowledged once their effects are committed, so a crash costs
    nothing. The broker keeps what arrives meanwhile, for seven days and as many messages as it is
    configured for (mosquitto: 1,000, unless ``max_queued_messages`` says otherwise), but not what
    is published with QoS 0. A message that the broker gives again is not judged again. MQTT has no
    numbers: they are the engine's own. A broker that allows few messages under way is slow, since
    the next ones wait for a commit: it comes within a second, or what ``commit_within`` says.
    Retained messages are left out: they are a topic's last news, of any age. A message without a
    time has that of its arrival, as long as none before brought one.
    """

    separator = "/"

    def __init__(self, spec: str):
        require_extra("paho", "mqtt")
        self.paho = require_extra("paho.mqtt.client", "mqtt")
        super().__init__(spec, {"client", "version", "commit_within"})
        scheme, _, rest = self.rest.partition("://")
        where, _, topic = rest.partition("/")  # a # in the topic begins no fragment
        self.shown, self.topic, self.tls = masked(self.rest), unquote(topic), scheme == "mqtts"
        bad = not topic or not _FILTER.fullmatch(self.topic)
        try:
            parts = urlsplit(f"//{where}")
            self.host, self.port = parts.hostname, parts.port or (8883 if self.tls else 1883)
        except ValueError:
            bad = True
        if bad or not self.host:
            raise ValueError(f"source must read {scheme}://[user:password@]host[:port]/TOPIC, with "
                             f"+ and # for whole levels, got {self.shown!r}")
        self.login = [unquote(part) for part in (parts.username, parts.password) if part]
        self.identity = f"mqtt:{self.topic}"  # wherever the broker is now
        self.client = self.options.get("client") or "adlib"
        self.version = self.options.get("version", "5")
        if self.version not in ("5", "3"):
            raise ValueError(f"version must be 5 or 3, got {self.version!r}")
        self.commit_within = positive(self.options, "commit_within", 1.0)
        self.kept = _KEPT
        self._session: _Session | None = None
        self._mark: list[float] = []

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """Messages that were not acknowledged, and new ones, numbered after ``position``."""
        self._session = _Session(self, self.records(features), position + 1, self._mark)
        return self._session.samples()

    def bookmark(self, position: int) -> list[float]:
        """Which messages are committed, while the broker may not know it yet."""
        return self._session.committed(position) if self._session else self._mark

    def resume(self, mark: list[float]) -> None:
        """Messages that need be acknowledged only."""
        self._mark = mark

    async def probe(self) -> str:
        """Whether the broker gives the topic, to a client without a name and a session."""
        twin = copy(self)
        twin.client, twin.kept = "", 0
        session = _Session(twin, self.records(None), 0, ())
        async with aclosing(session.samples()) as samples:  # type: ignore[type-var]
            first, ready = map(asyncio.ensure_future, (anext(samples), session.ready.wait()))
            try:
                await asyncio.wait([first, ready], return_when=asyncio.FIRST_COMPLETED)
                refused = first.exception() if first.done() else None
            finally:  # also where nobody waits any longer
                first.cancel()
                ready.cancel()
                await asyncio.wait([first, ready])
        if refused is not None:
            raise refused
        return f"{self.shown}: the broker gives this topic"


class _Session:
    """One run: what was handed over, and what was acknowledged.

    A message is known again by its number and its checksum, as one float. Its number alone means
    nothing to a broker that has lost the session, nor to another connection.
    """

    def __init__(self, source: MqttSource, records: Records, first: int, mark: Iterable[float]):
        self._of, self._records, self._next = source, records, first
        self._open: dict[int, tuple[int, int, float]] = {}  # connection, number there, and key
        self._seq: dict[float, int] = {}  # of what is open, by key
        self._done = set(mark)  # keys of what is committed, and may come again
        # keys, since the last two bookmarks; no more of them can come again
        self._acked = [deque[float](maxlen=_UNACKNOWLEDGED) for _ in range(2)]
        self._connection, self._met, self._down = 0, False, ""
        self._arrivals = Arrivals()
        self._news: asyncio.Queue[Any] = asyncio.Queue()
        self.ready = asyncio.Event()  # the broker gives the topic

    async def samples(self) -> AsyncIterator[Sample]:
        self._loop = asyncio.get_running_loop()
        self._client = self._made()
        try:
            await self._connect()
            self._client.loop_start()  # which connects again by itself
            while True:
                for sample in grouped(self._taken(await waiting(self._news)),
                                      acknowledge=self._acknowledge):
                    yield sample
        finally:
            self._client.disconnect()  # behind the acknowledgements
            await in_thread(self._client.loop_stop)

    def _made(self) -> Any:
        of, paho, five = self._of, self._of.paho, self._of.version == "5"
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, of.client, manual_ack=True,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            clean_session=None if five else not of.kept)
        if of.login:
            client.username_pw_set(*of.login)
        if of.tls:
            client.tls_set_context(ssl.create_default_context())
        client.reconnect_delay_set(1, 30)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_connect_fail = lambda *_: self._tell(OSError("cannot be reached"))
        client.on_subscribe = self._subscribed
        client.on_message = lambda _, __, message: self._tell(
            (self._connection, time.time(), message))
        return client

    async def _connect(self) -> None:
        """Until somebody answers there: only here is it known in words why nobody does."""
        of, tries = self._of, 0
        how: dict[str, Any] = {}
        if of.version == "5":
            how["properties"] = wanted = of.paho.Properties(of.paho.PacketTypes.CONNECT)
            how["clean_start"] = not of.kept
            wanted.SessionExpiryInterval, wanted.ReceiveMaximum = of.kept, _UNACKNOWLEDGED
        while True:
            try:
                await in_thread(lambda: self._client.connect(of.host, of.port, 30, **how))
                return
            except ssl.SSLCertVerificationError as error:
                raise ValueError(f"{of.shown}: {error.verify_message}; SSL_CERT_FILE may name the "
                                 f"authority that signed its certificate") from None
            except OSError as error:
                self._miss(error)
            await asyncio.sleep(back_off(tries, 0.5, 30.0))
            tries += 1

    # -- in the client's thread -------------------------------------------------------------------

    def _tell(self, news: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._news.put_nowait, news)

    def _connected(self, client: Any, _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            final = not self._met and str(reason) not in _PASSING
            self._tell(ValueError(f"{self._of.shown} refuses the client {self._of.client!r}: "
                                  f"{reason}") if final else OSError(str(reason)))
            return
        self._connection += 1
        self._tell(bool(flags.session_present))
        how = {"qos": 1} if self._of.version == "3" else {
            "options": self._of.paho.SubscribeOptions(qos=1, retainHandling=2)}
        client.subscribe(self._of.topic, **how)

    def _subscribed(self, _: Any, __: Any, ___: Any, codes: Sequence[Any], ____: Any) -> None:
        if codes[0].is_failure:
            self._tell(ValueError(f"{self._of.shown}: the broker does not give this topic to the "
                                  f"client {self._of.client!r}: {codes[0]}"))
        else:
            self._tell(None)

    def _disconnected(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self._connection += 1  # what was brought before cannot be acknowledged any more
        other = f"another client is named {self._of.client!r}: give each its own (?client=NAME)"
        self._tell(ValueError(f"{self._of.shown}: {other}") if str(reason) == "Session taken over"
                   else OSError(f"connection lost ({reason}; if this comes again and again, "
                                f"{other})"))

    # -- in the engine's loop ---------------------------------------------------------------------

    def _taken(self, news: Iterable[Any]) -> Iterable[tuple[int, Record]]:
        """Records of what is new, and what else there is to know."""
        for item in news:
            if isinstance(item, ValueError):
                raise item
            if isinstance(item, OSError):
                self._miss(item)
            elif item is None:
                self.ready.set()
            elif isinstance(item, bool):
                self._begin(item)
            elif (record := self._take(*item)) is not None:
                yield self._next - 1, record

    def _miss(self, error: OSError) -> None:
        if (reason := error.strerror or str(error)) != self._down:
            log.warning("%s: %s; trying again", self._of.shown, reason)
        self._down = reason

    def _begin(self, known: bool) -> None:
        """A connection begins; the broker knows the session, or not."""
        self.ready.clear()
        if self._down:
            log.warning("%s is back", self._of.shown)
        if not known and (self._met or self._next):
            log.warning("%s: the broker has lost the session %r, and with it what was published "
                        "meanwhile", self._of.shown, self._of.client)
        self._done |= {*self._acked[0], *self._acked[1]}
        if not known:  # what was handed over does not come again, and its numbers do
            for mine in (self._open, self._seq, self._done):
                mine.clear()
        self._down, self._met = "", True

    def _take(self, connection: int, at: float, message: Any) -> Record | None:
        """A message's record, unless it was handed over before."""
        check = zlib.crc32(message.payload, zlib.crc32(message.topic.encode()))
        key, seq = float(message.mid << 32 | check), self._next
        if key in self._seq and self._open[self._seq[key]][0] != connection:
            self._open[self._seq[key]] = connection, message.mid, key  # one more way to acknowledge
            return None
        if message.retain or message.dup and key in self._done:
            self._client.ack(message.mid, message.qos)
            return None
        if not message.dup:  # what comes again comes first
            self._done.clear()
        if message.qos:
            self._open[seq], self._seq[key] = (connection, message.mid, key), seq
        self._next += 1
        record = self._arrivals.stamped(self._records.message(message.payload), at)
        entity = self._of.entity_in(message.topic)
        return record if entity is None else record._replace(entity=entity)

    async def _acknowledge(self, numbers: Sequence[int]) -> None:
        for seq in numbers:
            connection, mid, key = self._open.pop(seq, (0, 0, 0.0))
            if not connection:  # QoS 0
                continue
            self._seq.pop(key, None)
            if connection == self._connection:
                self._client.ack(mid, 1)
                self._acked[1].append(key)
            else:  # it comes again
                self._done.add(key)

    def committed(self, position: int) -> list[float]:
        """Keys of what is committed with ``position``, and may come again."""
        before, acked = self._acked
        self._acked = [acked, deque(maxlen=_UNACKNOWLEDGED)]
        return [*before, *acked, *list(self._done), *(
            key for seq, (*_, key) in list(self._open.items()) if seq <= position)]
