"""A fleet shared by processes: who judges which partition, and what is handed over."""

import asyncio
import json
import zlib
from contextlib import aclosing, suppress

import pytest
from nats.js import errors as js_errors
from nats_server import NatsServer, needs_nats

from adlib.realtime import EngineConfig
from adlib.realtime.counters import Tally
from adlib.realtime.doors import jetstream
from adlib.realtime.doors.checkpoint import unpack
from adlib.realtime.doors.partitions import Partitions, SharedStore
from adlib.realtime.events import Incident, IncidentEvent
from adlib.realtime.inbox import last_of
from adlib.realtime.members import Worker
from adlib.realtime.sources import open_source
from adlib.realtime.store import AlertStore, OutboxRow

pytestmark = needs_nats


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def spec(server, request):
    name = request.node.name.partition("[")[0].upper()
    return f"{server.url}/{name}/{name}.*?entity=subject:2&partition=4&lease=1&ack_wait=2"


def partition(stream, parts=4):
    return zlib.crc32(stream.rpartition("/")[2].encode()) % parts


def within(work, limit=30):
    return asyncio.run(asyncio.wait_for(work, limit))


async def connected(spec, create=True):
    import nats

    url, _, rest = spec.partition("?")[0].rpartition("/")[0].rpartition("/")
    client = await nats.connect(url)
    if create:
        await client.jetstream().add_stream(name=rest, subjects=[f"{rest}.>"])
    return client, rest


class Echo:
    """Stands for an engine: commits each message under its number, and acknowledges it then.

    All messages so far of an entity are its state; the third one opens an incident.
    """

    features_ = ["x"]

    def __init__(self, name, storage):
        self.config = EngineConfig(stream=name, alert_config={"storage": {"path": storage}})
        self.store, self.tally, self.position, self.open_store = None, Tally(), -1, None
        self.hook = lambda place: None

    def status(self):
        return {"stream": self.config.stream, "ready": True, "reasons": [], "position":
                self.position, "rows": self.tally.rows}

    def metrics_text(self):
        return f'# HELP a Of it\n# TYPE a gauge\na{{stream="{self.config.stream}"}} 1.0\n'

    async def process_stream(self, samples):
        samples.follow(samples.reading, {"fleet": ()})
        name, worker, seen = self.config.stream, Worker("echo"), {}
        try:
            path = self.config.alert_config.storage.path
            self.store = await worker.run(self.open_store, path)
            if saved := await worker.run(self.store.restore, name):
                self.position, seen = saved[0], json.loads(saved[1])
            async with aclosing(samples.samples(
                    features=["x"], position=self.position)) as messages:
                async for sample in messages:
                    self.position, events, rows = last_of(sample), [], []
                    for entity, value in zip(sample.entity, sample.values[:, 0], strict=True):
                        seen.setdefault(entity, []).append(value)
                        if len(seen[entity]) in (3, 6):
                            events.append(event(f"{name}/{entity}", len(seen[entity]) == 3))
                            rows.append(OutboxRow(events[-1].id, "slack", events[-1].incident.id,
                                                  0.0, {}))
                    self.hook("commit")
                    await worker.run(self.store.commit, name, self.position,
                                     json.dumps(seen).encode(), [], events, [], rows)
                    self.tally.rows += len(sample.entity)
                    await sample.ack()
                    yield {"stream": name, "end": self.position}
        finally:
            await worker.run(int)  # the commit that is under way
            worker.stop()


def event(stream, opens):
    incident = Incident(
        f"{stream}|3", stream, 3, 3, 0.0, 1.0, None if opens else 2.0, "warning", 1.0, 1,
        (("x", 1.0),), "open" if opens else "closed", False)
    return IncidentEvent("open" if opens else "close", incident, 1.0, True, 0 if opens else 1)


class Member:
    """A process of the group, as far as one process can hold several."""

    def __init__(self, spec, storage, stream="plant"):
        self.engines, self.windows, self.ended = {}, [], None
        config = EngineConfig(stream=stream, fleet={}, alert_config={"storage": {"path": storage}})
        self.group = Partitions(config, open_source(spec), self.load)
        self.storage = storage

    def load(self, name):
        self.engines[name] = Echo(name, self.storage)
        return self.engines[name]

    async def run(self):
        try:
            async with aclosing(self.group.process_stream()) as windows:
                async for window in windows:
                    self.windows.append(window)
        except BaseException as error:
            self.ended = error
            raise

    async def __aenter__(self):
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])

    def holds(self):
        return sorted(self.group.engines)


async def until(holds):
    while not holds():
        await asyncio.sleep(0.02)


async def publish(client, name, rows):
    for entity, value in rows:
        await client.publish(f"{name}.{entity}", json.dumps({"x": value}).encode())
    await client.flush()


async def committed(client, name, n):
    """Messages by partition and entity in its last commit, once they are so many."""
    js, found = client.jetstream(), {}
    commits = await js.key_value(f"adlib-{name}-adlib-commits")
    objects = await js.object_store(f"adlib-{name}-adlib-states")
    while sum(len(rows) for part in found.values() for rows in part.values()) < n:
        await asyncio.sleep(0.02)
        for part in range(4):
            with suppress(js_errors.NotFoundError, LookupError, TimeoutError):
                last = json.loads((await commits.get(str(part))).value)
                async with asyncio.timeout(1):  # its owner may write the next one meanwhile
                    data = (await objects.get(last["object"])).data
                found[part] = json.loads(unpack(zlib.decompress(data))["state"].tobytes())
    return found


ROWS = [(f"pump-{k % 10}", k) for k in range(50)]


def test_processes_share_the_partitions_and_take_over(spec, tmp_path):
    async def run():
        client, name = await connected(spec)
        async with Member(spec, tmp_path / "a.db") as a:
            await until(lambda: a.holds() == [0, 1, 2, 3])
            await publish(client, name, ROWS[:25])
            await until(lambda: a.group.tally.rows == 25)
            assert a.group.status()["ready"] and len(a.group.status()["partitions"]) == 4
            assert a.group.metrics_text().count("# TYPE a gauge") == 1
            async with Member(spec, tmp_path / "b.db") as b:
                await until(lambda: len(a.holds()) == len(b.holds()) == 2)
                assert sorted(a.holds() + b.holds()) == [0, 1, 2, 3]
                await publish(client, name, ROWS[25:40])
                await until(lambda: a.group.tally.rows + b.group.tally.rows == 40)
                # what was open and what waited came along
                with AlertStore(tmp_path / "b.db") as store:
                    mine = {incident.stream for incident in store.incidents(state="open")}
                    assert set(map(partition, mine)) <= {*b.holds()} and mine
                    waits = {row.id for row in store.outbox(state="pending")}
                    assert waits == {f"{stream}|3|open|0" for stream in mine}
            await until(lambda: a.holds() == [0, 1, 2, 3])  # b has left in good order
            await publish(client, name, ROWS[40:])
            found = await committed(client, name, 50)
        await client.close()
        return found

    found = within(run())
    assert {entity: values for part in found.values() for entity, values in part.items()} == {
        f"pump-{k}": [float(v) for e, v in ROWS if e == f"pump-{k}"] for k in range(10)}
    assert all(partition(f"plant:0/{e}", 4) == part for part, es in found.items() for e in es)
    with AlertStore(tmp_path / "a.db") as store:
        assert {i.stream.rpartition("/")[2] for i in store.incidents()} == {
            f"pump-{k}" for k in range(10)}


def test_an_owner_that_was_paused_commits_and_sends_nothing_more(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(jetstream, "PATIENCE", 0.5)

    async def run():
        client, name = await connected(spec)
        async with Member(spec, tmp_path / "a.db") as a:
            await until(lambda: a.holds() == [0, 1, 2, 3])
            await publish(client, name, ROWS[:25])
            await until(lambda: a.group.tally.rows == 25)
            look, stores = a.group._look, {n: engine.store for n, engine in a.engines.items()}
            a.group._look = lambda: asyncio.sleep(0)  # its leases end, and its engines go on
            async with Member(spec, tmp_path / "b.db") as b:
                await until(lambda: b.holds() == [0, 1, 2, 3])
                assert a.holds() == [0, 1, 2, 3]  # it has not noticed
                for store in stores.values():
                    assert store.claim("slack", 1e10, lease=1, limit=99) == []
                before = {n: AlertStore(tmp_path / "a.db").restore(n) for n in stores}
                await publish(client, name, ROWS[25:])
                await committed(client, name, 50)
                with AlertStore(tmp_path / "a.db") as store:
                    assert {n: store.restore(n) for n in stores} == before
                a.group._look = look
                await until(lambda: len(a.holds()) == len(b.holds()) == 2)
            found = await committed(client, name, 50)
        await client.close()
        return found

    found = within(run())
    assert {entity: sorted(values) for part in found.values() for entity, values in part.items()
            } == {f"pump-{k}": [float(v) for e, v in ROWS if e == f"pump-{k}"] for k in range(10)}


def test_what_was_committed_for_others_alone_is_not_lost(spec, tmp_path, monkeypatch):
    commit = AlertStore.commit

    def dying(self, *args, **more):
        if self.path.name == "a.db" and args[4]:  # events
            raise SystemError("dies between the two commits")
        commit(self, *args, **more)

    async def run():
        client, name = await connected(spec)
        async with Member(spec, tmp_path / "a.db") as a:
            await until(lambda: a.holds() == [0, 1, 2, 3])
            monkeypatch.setattr(AlertStore, "commit", dying)
            monkeypatch.setattr(SharedStore, "hand_over", lambda *_: None)
            await publish(client, name, ROWS[:30])
            await asyncio.wait([a.task])
        assert isinstance(a.ended, SystemError)
        with AlertStore(tmp_path / "a.db") as store:
            assert not store.incidents() and not store.outbox()
        async with Member(spec, tmp_path / "b.db") as b:
            await until(lambda: b.holds() == [0, 1, 2, 3])
            await committed(client, name, 30)
        await client.close()

    within(run())
    with AlertStore(tmp_path / "b.db") as store:
        assert len(store.incidents()) == len(store.outbox()) == 10


def test_the_server_may_have_divided_the_stream(spec, tmp_path):
    url = spec.replace(".*?entity=subject:2", ".%7Bpartition%7D.*?entity=subject:3")

    async def run():
        client, name = await connected(url)
        async with Member(url, tmp_path / "a.db") as a:
            await until(lambda: a.holds() == [0, 1, 2, 3])
            for k in range(8):
                await client.publish(f"{name}.{k % 4}.pump-{k}", b'{"x": 1}')
            found = await committed(client, name, 8)
        await client.close()
        return found

    assert {part: sorted(seen) for part, seen in within(run()).items()} == {
        k: [f"pump-{k}", f"pump-{k + 4}"] for k in range(4)}


def test_what_does_not_go_together_is_refused(spec, tmp_path):
    storage = {"storage": {"path": tmp_path / "a.db"}}
    for config in ({"fleet": {}}, {"alert_config": storage},
                   {"fleet": {}, "alert_config": storage, "refit": {"every": "1d"}}):
        with pytest.raises(ValueError, match="partition divides the entities of a fleet"):
            Partitions(EngineConfig(**config), open_source(spec), None)
    for wrong in ("0", "2.5", "many"):
        with pytest.raises(ValueError, match="partition must be|must be a number above 0"):
            open_source(spec.replace("partition=4", f"partition={wrong}"))
    with pytest.raises(ValueError, match="partition in a subject|in a subject needs"):
        open_source(spec.partition("?")[0].replace("*", "{partition}"))
    with pytest.raises(ValueError, match="python -m adlib.realtime run"):
        open_source(spec).samples()

    async def run():
        client, _ = await connected(spec)
        await client.close()
        async with Member(spec, tmp_path / "a.db") as a:
            await until(a.holds)
        for other, says in (("partition=3", "partition must be 4"), ("lease=2", "the same lease")):
            other = spec.replace(f"{other.partition('=')[0]}={'4' if 'p' in other else '1'}", other)
            async with Member(other, tmp_path / "b.db") as b:
                await asyncio.wait([b.task], timeout=20)
            assert says in str(b.ended)

    within(run())
