"""The example of one's own source: Kafka, played by a broker that keeps what it was given."""

import asyncio
import json
import sys
import types
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from adlib.realtime import RealTimeAnomalyDetector, check_source

LOG: dict[int, list] = {}  # messages by partition: (key, value, milliseconds)


class TopicPartition(tuple):
    def __new__(cls, topic, partition):
        self = super().__new__(cls, (topic, partition))
        self.topic, self.partition = topic, partition
        return self


class Consumer:
    """What the example uses of aiokafka's."""

    open = 0

    def __init__(self, *, bootstrap_servers, enable_auto_commit, auto_offset_reset):
        assert (enable_auto_commit, auto_offset_reset) == (False, "earliest")
        self.at, self.known = {}, None

    async def start(self):
        Consumer.open += 1

    async def stop(self):
        Consumer.open -= 1

    async def topics(self):
        self.known = {"plant"}

    def partitions_for_topic(self, topic):
        return set(LOG) if topic in self.known else None

    def assign(self, parts):
        self.at = dict.fromkeys(parts, 0)

    def seek(self, part, offset):
        self.at[part] = offset

    async def getmany(self, timeout_ms):
        found = {}
        for part, at in self.at.items():
            if new := LOG[part.partition][at:at + 7]:
                found[part] = [types.SimpleNamespace(
                    offset=at + k, key=key, value=value, timestamp=stamp)
                    for k, (key, value, stamp) in enumerate(new)]
                self.at[part] = at + len(new)
        await asyncio.sleep(0 if found else 0.01)
        return found


@pytest.fixture
def kafka(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiokafka", types.SimpleNamespace(
        AIOKafkaConsumer=Consumer, TopicPartition=TopicPartition))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs"))
    monkeypatch.delitem(sys.modules, "kafka_source", raising=False)
    import kafka_source

    LOG.clear()
    yield kafka_source.KafkaSource
    assert Consumer.open == 0
    sys.modules.pop("kafka_source")


def fill(partition, rows, key=None):
    log = LOG.setdefault(partition, [])
    log += [(key, json.dumps(row).encode(), 1_700_000_000_000 + 1000 * (len(log) + k))
            for k, row in enumerate(rows)]


def test_it_keeps_its_promises_and_reads_what_others_read(kafka):
    fill(0, [[k, -k] for k in range(30)])
    LOG[0][4] = (None, b"\xff garbage", 0)
    LOG[0][5] = (None, None, 0)  # a tombstone
    check_source(lambda: kafka("kafka://broker:9092/plant"), rows=30, timeout=0.2)

    async def first():
        async with aclosing(kafka("kafka://b:1/plant").samples()) as samples:
            return [await anext(samples) for _ in range(3)]

    found = asyncio.run(first())
    assert found[0].values.tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]
    assert found[0].time.tolist() == [1.7e9, 1.7e9 + 1, 1.7e9 + 2, 1.7e9 + 3]
    assert [sample.seq for sample in found] == [0, 4, 5] and isinstance(found[1].values, str)


def test_in_a_fleet_the_key_is_the_entity(kafka):
    fill(0, [[1, 2]], key=b"pump-1")
    fill(1, [[3, 4]], key=b"pump-2")
    source = kafka("kafka://broker:9092/plant")
    source.follow(source.reading, {"fleet": ["pump-1"]})

    async def first():
        async with aclosing(source.samples()) as samples:
            return await anext(samples)

    assert list(asyncio.run(first()).entity) == ["pump-1", "pump-2"]


def test_an_engine_that_starts_again_reads_each_message_once(kafka, tmp_path):
    settings = {"detectors": ["PCAReconstruction"], "window_size": 20, "stride": 5,
                "alert_config": {"storage": {"path": str(tmp_path / "alerts.db")}}}
    rng = np.random.default_rng(0)
    model = RealTimeAnomalyDetector(settings).fit(rng.normal(size=(4000, 2))).save(tmp_path / "m")

    async def judged(until):
        engine = RealTimeAnomalyDetector.load(model, settings)
        source = kafka("kafka://broker:9092/plant")
        async with aclosing(engine.process_stream(source)) as windows:
            async for window in windows:
                if window["end"] >= until:
                    break
        return engine.position, sum(source.bookmark(engine.position).values())

    total = 0
    for n in (50, 81, 120):
        for partition in (0, 1, 2):
            fill(partition, rng.normal(size=(n, 2)).tolist())
        total += 3 * n
        position, read = asyncio.run(judged(total - 20))
        assert position + 1 == read <= total  # each number stands for one message


def test_a_topic_that_is_not_there_is_told(kafka):
    with pytest.raises(ValueError, match="kafka://host:port/TOPIC"):
        kafka("kafka://broker:9092")
    with pytest.raises(ValueError, match="no topic 'other'"):
        asyncio.run(anext(kafka("kafka://broker:9092/other").samples()))
