"""Kafka as a source: an example of one's own, in a file outside the package.

It is used as it is, or adapted; it needs ``pip install aiokafka``. In a notebook::

    from kafka_source import KafkaSource

    async for window in engine.process_stream(KafkaSource("kafka://broker:9092/plant")):
        ...

For the commands, a package of one's own registers it, in its ``pyproject.toml``::

    [project.entry-points."adlib.sources"]
    kafka = "kafka_source:KafkaSource"

and then ``python -m adlib.realtime run config.yaml --source kafka://broker:9092/plant`` finds it by
the scheme. What a source promises stands in `adlib.realtime.Source`, and
`adlib.realtime.check_source` says which promise is broken.
"""

from collections import deque
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition

from adlib.realtime.doors.records import Arrivals, ReadingSource, grouped


class KafkaSource(ReadingSource):
    """All partitions of a topic, a row for each message: ``kafka://host:port/TOPIC?partitions=0,1``.

    Kafka keeps its messages whoever has read them, so nothing need be acknowledged: the offsets to
    go on from are a part of the engine's checkpoint, committed together with what the messages
    caused. So no message is lost and none is judged twice, and no consumer group is needed. Offsets
    count by partition, so the rows are numbered by the engine, as they come.

    In a fleet the key of a message is its entity, where the record names none. A message without a
    time of its own has the one that Kafka stored.
    """

    def __init__(self, spec):
        super().__init__(spec, {"partitions"})  # and all options of the reader
        parts = urlsplit(self.rest)
        self.servers, self.topic = parts.netloc, parts.path.strip("/")
        if not self.servers or not self.topic:
            raise ValueError(f"source must read kafka://host:port/TOPIC, got {self.rest!r}")
        self.wanted = [int(part) for part in self.options.get("partitions", "").split(",") if part]
        self.identity = f"kafka:{self.topic}"  # whose numbers these are, wherever the broker is
        self.offsets = {}  # by partition, as text: where to go on
        self.taken = deque()  # number, partition and offset of rows that may not be committed yet

    async def samples(self, *, features=None, position=-1):
        """Messages from the bookmark on, or from the oldest that Kafka has."""
        records, arrivals, number = self.records(features), Arrivals(), position + 1
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, enable_auto_commit=False,
                                    auto_offset_reset="earliest")
        await consumer.start()
        try:
            await consumer.topics()  # asks the broker which partitions there are
            found = self.wanted or sorted(consumer.partitions_for_topic(self.topic) or ())
            if not found:
                raise ValueError(f"there is no topic {self.topic!r} at {self.servers}")
            consumer.assign([TopicPartition(self.topic, partition) for partition in found])
            for partition in found:
                if (offset := self.offsets.get(str(partition))) is not None:
                    consumer.seek(TopicPartition(self.topic, partition), offset)
            while True:
                rows = []
                for part, messages in (await consumer.getmany(timeout_ms=500)).items():
                    for message in messages:
                        record = records.message(message.value or b"")
                        record = arrivals.stamped(record, message.timestamp / 1000)
                        if self.fleet and record.entity is None and message.key:
                            record = record._replace(entity=message.key.decode(errors="replace"))
                        self.taken.append((number, part.partition, message.offset))
                        rows.append((number, record))
                        number += 1
                for sample in grouped(rows):  # neighbours as one sample: that is faster
                    yield sample
        finally:
            await consumer.stop()

    def bookmark(self, position):
        """Offsets behind everything up to ``position``: kept with the commit of that position."""
        while self.taken and self.taken[0][0] <= position:
            _, partition, offset = self.taken.popleft()
            self.offsets[str(partition)] = offset + 1
        return dict(self.offsets)

    def resume(self, mark):
        """Go on from there."""
        self.offsets = dict(mark)
