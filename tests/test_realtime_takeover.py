"""A fleet shared by processes: who judges which partition, and what is handed over."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from contextlib import aclosing, suppress
from functools import partial

import numpy as np
import pytest
from nats.js import errors as js_errors
from nats_server import NatsServer, needs_nats
from realtime_servers import SlackServer

from adlib.realtime import EngineConfig, RealTimeAnomalyDetector
from adlib.realtime.counters import Tally
from adlib.realtime.doors import jetstream
from adlib.realtime.doors.checkpoint import unpack
from adlib.realtime.doors.partitions import Partitions, SharedStore
from adlib.realtime.events import Incident, IncidentEvent
from adlib.realtime.inbox import last_of
from adlib.realtime.members import Worker
from adlib.realtime.sources import open_source
from adlib.realtime.store import AlertStore, OutboxRow
from adlib.realtime.windows import Sample

pytestmark = needs_nats


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def spec(server, request):
    name = re.sub(r"\W+", "_", request.node.name).upper()
    return f"{server.url}/{name}/{name}.*?entity=subject:2&partition=4&lease=1&ack_wait=2"


def partition(stream, parts=4):
    return zlib.crc32(stream.rpartition("/")[2].encode()) % parts


def within(work, limit=120):
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
        self.source = samples
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


@pytest.mark.parametrize("other", ["b.db", "a.db"], ids=["two stores", "one store"])
def test_processes_share_the_partitions_and_take_over(spec, tmp_path, other):
    async def run():
        client, name = await connected(spec)
        async with Member(spec, tmp_path / "a.db") as a:
            await until(lambda: a.holds() == [0, 1, 2, 3])
            await publish(client, name, ROWS[:25])
            await until(lambda: a.group.tally.rows == 25)
            assert a.group.status()["ready"] and len(a.group.status()["partitions"]) == 4
            assert a.group.metrics_text().count("# TYPE a gauge") == 1
            async with Member(spec, tmp_path / other) as b:
                await until(lambda: len(a.holds()) == len(b.holds()) == 2)
                assert sorted(a.holds() + b.holds()) == [0, 1, 2, 3]
                await publish(client, name, ROWS[25:40])
                await until(lambda: a.group.tally.rows + b.group.tally.rows == 40)
                # what was open and what waited came along
                with AlertStore(tmp_path / other) as store:
                    mine = {incident.stream for incident in store.incidents(state="open")
                            if other == "b.db" or partition(incident.stream) in b.holds()}
                    assert set(map(partition, mine)) <= {*b.holds()} and mine
                    waits = {row.id for row in store.outbox(state="pending")
                             if other == "b.db" or partition(row.id.split("|")[0]) in b.holds()}
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
        assert {row.id for row in store.outbox(state="pending")} == {
            f"{i.id}|open|0" for i in store.incidents()}


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


def test_a_server_that_is_away_for_longer_than_the_lease(tmp_path):
    async def run():
        url = f"{server.url}/PLANT/PLANT.*?entity=subject:2&partition=4&lease=1&ack_wait=1"
        client, name = await connected(url)
        async with Member(url, tmp_path / "a.db") as a, Member(url, tmp_path / "b.db") as b:
            await until(lambda: len(a.holds()) == len(b.holds()) == 2)
            await publish(client, name, ROWS[:25])
            await committed(client, name, 25)
            server.stop()
            await until(lambda: not a.group.status()["ready"] and not b.group.status()["ready"])
            await asyncio.sleep(1)
            server.start()
            await publish(client, name, ROWS[25:])
            found = await committed(client, name, 50)
            await until(lambda: a.group.status()["ready"] and b.group.status()["ready"])
        assert not isinstance(a.ended, Exception) and not isinstance(b.ended, Exception)
        await client.close()
        return found

    with NatsServer(tmp_path / "nats") as server:
        found = within(run(), 60)
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


def test_what_ends_the_keeper_of_the_leases_ends_the_process(spec, tmp_path):
    async def run():
        client, _ = await connected(spec)
        await client.close()
        async with Member(spec, tmp_path / "a.db") as a, Member(spec, tmp_path / "b.db") as b:
            await until(lambda: len(a.holds()) == len(b.holds()) == 2)
            a.group._look = lambda: 1 / 0
            await asyncio.wait([a.task])
            assert isinstance(a.ended, ZeroDivisionError)
            await until(lambda: b.holds() == [0, 1, 2, 3])

    within(run())


def test_a_partition_without_an_entity_is_no_silent_one(spec, tmp_path):
    async def run():
        client, name = await connected(spec)
        heard = Counter()
        async with Member(spec, tmp_path / "a.db") as a:
            await until(lambda: a.holds() == [0, 1, 2, 3])
            for part, engine in a.engines.items():
                engine.source.heard = partial(heard.update, [part])
            await publish(client, name, [("pump-1", k) for k in range(5)])
            await committed(client, name, 5)
            await until(lambda: len(heard) == 3 and {*heard.values()} == {5})
            for engine in a.engines.values():
                rows = engine.tally.rows
                engine.status = lambda rows=rows: {
                    "ready": rows > 0, "reasons": [] if rows else ["no window was judged yet"],
                    "rows": rows, "judged": rows, "conditions": [], "position": rows}
            assert a.group.status()["ready"]
            for engine in a.engines.values():
                engine.status = lambda: {"ready": False, "reasons": ["no window was judged yet"],
                                         "rows": 0, "judged": 0, "conditions": []}
            assert len(a.group.status()["reasons"]) == 4
        await client.close()

    within(run())


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

    with pytest.raises(ValueError, match="add entity=subject:2, or entity=NAME"):
        open_source(spec.replace("entity=subject:2&", "")).divided(0).samples()

    async def run():
        client, _ = await connected(spec)
        await client.close()
        async with Member(spec, tmp_path / "a.db") as a:
            await until(a.holds)
        for old, new, says in (("=4", "=3", "began with partition=4 of stream plant, and"),
                               ("lease=1", "lease=2", "need the same lease"),
                               ("REFUSED/", "NONE/", "there is no stream")):
            other = spec.replace(old, new)
            async with Member(other, tmp_path / "b.db") as b:
                await asyncio.wait([b.task], timeout=60)
            assert says in str(b.ended)

    within(run())


# -- real engines in real processes ------------------------------------------------------------

ENTITIES = [f"pump {k}" if k % 3 == 0 else f"pump-{k}" for k in range(12)]
N, WINDOW = 900, 20  # rows of each entity
CONFIG = {
    "stream": "plant", "fleet": {}, "deep_config": None, "stat_config": None,
    "window_size": WINDOW, "stride": 5, "alpha": 0.002, "extrapolate": True,
    "feature_names": ["x", "y", "z"], "reading": {"entity_column": "unit"}, "batch_seconds": 0.05,
    "detectors": ["PCAReconstruction", {"detector": "RollingZScore", "parameters": {"window": 50}}],
}


def settings(path, storage, url):
    alerts = {"incidents": {"cooldown": 0, "update_interval": 100},
              "storage": {"path": str(storage), "commit_seconds": 0.5},
              "notification": {"slack": {"webhook_url": url}, "retry_base": 0.05},
              "health": {"no_data": "never"}}
    path.write_text(json.dumps({**CONFIG, "alert_config": alerts}))
    return path


def rows(seed, n):
    """Rows of all entities in turn: (entity, time, values)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, len(ENTITIES), 3)) @ [[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]]
    for one in range(len(ENTITIES)):  # four faults of each, none at the end
        for start in rng.choice(8, 4, replace=False) * (n // 10) + 60 if n == N else ():
            X[start:start + rng.integers(15, 40), one] += rng.choice([-1, 1], 3) * 8
    return X


def message(k, X):
    i, one = divmod(k, len(ENTITIES))
    return json.dumps({"unit": ENTITIES[one], "time": 1e9 + i,
                       **dict(zip("xyz", X[i, one].tolist(), strict=True))}).encode()


class Process:
    """``python -m adlib.realtime run`` in a process of its own."""

    def __init__(self, config, model, spec):
        self.log = config.with_suffix(f".{time.monotonic_ns()}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "adlib.realtime", "run", config, "--model", model,
                 "--source", spec], stdout=subprocess.DEVNULL, stderr=log)

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(60)


async def owners(client):
    """Which process owns each partition now."""
    found = {}
    with suppress(js_errors.NotFoundError):
        leases = await client.jetstream().key_value("adlib-PLANT-adlib-leases")
        for part in range(4):
            with suppress(js_errors.NotFoundError):
                found[part] = (await leases.get(f"lease.{part}")).value
    return found


async def shared(client, n, *, by=4, other_than=()):
    """Wait until ``n`` processes own the four partitions, and none of some others does."""
    while len(found := await owners(client)) < by or len({*found.values()}) != n or (
            {*found.values()} & {*other_than}):
        await asyncio.sleep(0.05)
    return {*found.values()}


async def acknowledged(client, n):
    """Wait until the consumers of all partitions have acknowledged ``n`` messages."""
    for part in range(4):
        while (await client.jetstream().consumer_info(
                "PLANT", f"adlib-{part}")).ack_floor.stream_seq < n:
            await asyncio.sleep(0.05)


async def alone(model, config, X):
    """What engines of the four partitions decide where nobody disturbs them."""
    of = [zlib.crc32(name.encode()) % 4 for name in ENTITIES]
    for part in range(4):
        engine = RealTimeAnomalyDetector.load(
            model, EngineConfig.from_any(config).changed(stream=f"plant:{part}"))

        mine = [k for k, p in enumerate(of) if p == part]

        async def samples(mine=mine):
            for i in range(N):
                yield Sample(None, np.full(len(mine), 1e9 + i), X[i, mine],
                             entity=[ENTITIES[k] for k in mine])

        async with aclosing(engine.process_stream(samples())) as windows:
            async for _ in windows:
                pass
            while engine.store.backlog():
                await asyncio.sleep(0.02)


def backlog(path):
    with AlertStore(path) as store:
        return store.backlog()


async def disturbed(server, folder, model, hook, X):
    """Two processes share the stream; one is killed, one is paused for longer than its lease."""
    import nats

    spec = f"{server.url}/PLANT/plant.*?entity=unit&partition=4&lease=2&ack_wait=3"
    client = await nats.connect(server.url)
    await client.jetstream().add_stream(name="PLANT", subjects=["plant.x"])
    one, two = (settings(folder / f"{name}.json", folder / f"{name}.db", hook)
                for name in ("one", "two"))
    total = N * len(ENTITIES)

    async def publish(begin, end):
        for k in range(round(total * begin), round(total * end)):
            await client.publish("plant.x", message(k, X))
        await client.flush()

    a, b = Process(one, model, spec), Process(two, model, spec)
    try:
        both = await shared(client, 2)
        await publish(0, 0.3)
        await asyncio.sleep(0.3)  # in the middle of it
        a.end(signal.SIGKILL)
        await publish(0.3, 0.4)
        await shared(client, 1)
        a = Process(one, model, spec)
        now = await shared(client, 2)
        assert len(both & now) == 1
        await publish(0.4, 0.6)
        await asyncio.sleep(0.2)
        b.send(signal.SIGSTOP)
        await publish(0.6, 0.7)
        await shared(client, 1, other_than=both)
        b.send(signal.SIGCONT)
        await shared(client, 2)
        await publish(0.7, 1)
        await acknowledged(client, total)
        while any(map(backlog, (folder / "one.db", folder / "two.db"))):
            await asyncio.sleep(0.1)
        assert [process.end(signal.SIGTERM) for process in (a, b)] == [0, 0]
    finally:
        for process in (a, b):
            if process.process.poll() is None:
                process.end(signal.SIGKILL)
        await client.close()


def test_one_process_is_killed_one_is_paused_and_nothing_is_lost(tmp_path):
    history = rows(1, 700)
    model = tmp_path / "model"
    RealTimeAnomalyDetector(CONFIG).fit(
        history.swapaxes(0, 1).reshape(-1, 3), entity=np.repeat(ENTITIES, len(history))).save(model)
    X = rows(2, N)
    with NatsServer(tmp_path / "nats") as server, SlackServer() as calm, SlackServer() as slack:
        asyncio.run(alone(model, settings(tmp_path / "calm.json", tmp_path / "calm.db", calm.url),
                          X))
        within(disturbed(server, tmp_path, model, slack.url, X), 150)
    with AlertStore(tmp_path / "calm.db") as store:
        expected = {i.id: i for i in store.incidents() if i.kind == "anomaly"}
        told = {e.id for e in store.events() if e.notify and e.incident.kind == "anomaly"}
    found = {}
    for name in ("one", "two"):
        with AlertStore(tmp_path / f"{name}.db") as store:
            assert store.integrity_check() == [] and {r.state for r in store.outbox()} <= {"sent"}
            for incident in store.incidents():
                before = found.get(incident.id)
                if before is None or incident.state == "closed" or before.end < incident.end:
                    found[incident.id] = incident
    assert 30 < len(expected) == len([i for i in found.values() if i.kind == "anomaly"])
    for name, incident in expected.items():
        for field in ("stream", "start", "end", "opened_at", "last_at", "closed_at", "severity",
                      "n_windows", "state"):
            assert getattr(found[name], field) == getattr(incident, field)
    texts = [payload["blocks"][1]["text"]["text"] for payload in slack.taken]
    ids = [text.rpartition("Message: ")[2] for text in texts]
    assert told <= {*ids}  # every message, and one that comes twice is the same
    same, steps = {}, {}
    for text, name in zip(texts, ids, strict=True):  # the store is whose page to look at
        text = text.replace("one.db", "two.db")
        if name not in same:
            steps.setdefault(name.rsplit("|", 2)[0], []).append(int(name.rpartition("|")[2]))
        assert same.setdefault(name, text) == text
    assert all(found == sorted(found) for found in steps.values())
