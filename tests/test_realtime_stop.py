"""The live engine ends when it is told to, at any moment, and keeps all that it acknowledged."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from adlib.realtime import AlertStore, Channel, Outcome, RealTimeAnomalyDetector, Sample, Source
from adlib.realtime import engine as engine_module
from adlib.realtime.__main__ import main
from adlib.realtime.doors import process
from adlib.realtime.members import Worker

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")

CHEAP = {"deep_config": None, "stat_config": None, "window_size": 20, "stride": 5, "drift": False,
         "detectors": ["PCAReconstruction"]}
X = np.random.default_rng(0).normal(size=(1600, 3))
LONG = 60.0  # seconds after which a test fails; none is asserted to be short


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    history = np.random.default_rng(1).normal(size=(4000, 3))
    return RealTimeAnomalyDetector(CHEAP).fit(history).save(tmp_path_factory.mktemp("m") / "model")


def loaded(saved, folder, **storage):
    return RealTimeAnomalyDetector.load(saved, {**CHEAP, "alert_config": {
        "storage": {"path": str(folder / "a.db"), **storage}}})


class Endless(Source):
    """1,600 rows at a time, for ever; remembers what was acknowledged."""

    def __init__(self, parts=10**6, size=1600):
        self.acknowledged, self.parts, self.size = [], parts, size

    async def samples(self, *, features=None, position=-1):
        for k in range(self.parts):
            seq = k * self.size
            if seq + self.size - 1 > position:
                yield Sample(seq, None, X[:self.size], lambda seq=seq: self._ack(seq))

    async def _ack(self, seq):
        self.acknowledged.append(seq + self.size - 1)


def held(owner, name, monkeypatch):
    """A method that waits in its thread: when it has begun, and what lets it go on."""
    begun, release, whole = threading.Event(), threading.Event(), getattr(owner, name)

    def slow(*args, **kwargs):
        begun.set()
        assert release.wait(LONG)
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, slow)
    return begun, release


async def consume(model, source):
    async with contextlib.aclosing(model.process_stream(source)) as windows:
        async for _ in windows:
            pass


async def cancelled_when(begun, release, work):
    """Cancel once something has begun, and let it go on afterwards."""
    task = asyncio.ensure_future(work)
    assert await asyncio.to_thread(begun.wait, LONG)
    task.cancel()
    asyncio.get_running_loop().call_later(0.02, release.set)
    done, _ = await asyncio.wait([task], timeout=LONG)
    assert done and task.cancelled()


def test_a_worker_outlives_a_cancelled_future():
    worker, begun, release = Worker("w"), threading.Event(), threading.Event()
    first = worker.submit(lambda: (begun.set(), release.wait(LONG)))
    second, third = worker.submit(lambda: 2), worker.submit(lambda: 3)
    assert begun.wait(LONG)
    assert not first.cancel() and second.cancel()  # what has begun goes on
    release.set()
    assert third.result(LONG) == 3
    assert isinstance(worker.submit(next, iter([])).exception(LONG), RuntimeError)
    assert isinstance(worker.submit(Future().result, 0).exception(LONG), TimeoutError)
    worker.stop()


@pytest.mark.parametrize("owner, name", [(RealTimeAnomalyDetector, "_step"),
                                         (AlertStore, "commit"), (AlertStore, "restore")])
def test_cancelled_in_a_batch_a_commit_and_while_the_store_opens(
        saved, tmp_path, monkeypatch, owner, name):
    model, source = loaded(saved, tmp_path), Endless()
    asyncio.run(cancelled_when(*held(owner, name, monkeypatch), consume(model, source)))
    monkeypatch.undo()
    with AlertStore(tmp_path / "a.db") as store:
        position = (store.restore("stream") or (-1,))[0]
    assert source.acknowledged == list(range(1599, position + 1, 1600))  # all that is committed
    assert (position >= 0) == (name != "restore") and position == model.position
    asyncio.run(consume(model, Endless(position // 1600 + 3)))  # and it goes on
    assert model.position == (position // 1600 + 3) * 1600 - 1


def test_a_batch_that_never_ends_is_left(saved, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(engine_module, "GRACE", 0.05)
    model, source = loaded(saved, tmp_path), Endless()
    begun, release = held(RealTimeAnomalyDetector, "judge", monkeypatch)

    async def main():
        task = asyncio.ensure_future(consume(model, source))
        assert await asyncio.to_thread(begun.wait, LONG)
        task.cancel()
        assert (await asyncio.wait([task], timeout=LONG))[0]

    asyncio.run(main())
    assert "the last batch is left, and its samples come again: TimeoutError" in caplog.text
    with pytest.raises(RuntimeError, match="load it again"):
        asyncio.run(consume(model, source))
    release.set()  # what it then finds is not kept: the next engine judges these samples
    with AlertStore(tmp_path / "a.db") as store:
        assert store.restore("stream") is None and source.acknowledged == []


def test_a_full_disk_is_waited_for(saved, tmp_path, monkeypatch, caplog):
    model, source, commit = loaded(saved, tmp_path), Endless(3), AlertStore.commit
    errors = iter([sqlite3.OperationalError("database or disk is full"),
                   OSError(28, "No space left on device"), None, None, None])
    seen = []

    def full(self, *args):
        seen.append((model.store_trouble, list(source.acknowledged)))
        if error := next(errors):
            raise error
        commit(self, *args)

    monkeypatch.setattr(AlertStore, "commit", full)
    asyncio.run(consume(model, source))
    assert seen[0] == (None, []) and seen[2][1] == []  # nothing is acknowledged before
    assert "disk is full" in seen[1][0][1] and model.store_trouble is None
    assert source.acknowledged == [1599, 3199, 4799]
    assert "trying again" in caplog.text and "is back" in caplog.text


def test_a_locked_store_is_waited_for(saved, tmp_path, monkeypatch):
    wait = AlertStore.wait_for_locks
    monkeypatch.setattr(AlertStore, "wait_for_locks", lambda self, _: wait(self, 0.01))
    model, seen = loaded(saved, tmp_path), []

    class Locking(Endless):
        async def samples(self, *, features=None, position=-1):
            with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as db:
                db.execute("BEGIN EXCLUSIVE")
                async for sample in super().samples():
                    yield sample
                while model.store_trouble is None:
                    await asyncio.sleep(0)
                seen.append((list(self.acknowledged), model.store_trouble[1]))
                db.execute("ROLLBACK")

    source = Locking(2)
    asyncio.run(consume(model, source))
    (acknowledged, trouble), = seen
    assert acknowledged == [] and "database is locked" in trouble
    assert source.acknowledged == [1599, 3199] and model.store_trouble is None


def test_patience_with_a_store_ends(saved, tmp_path, monkeypatch):
    model, source = loaded(saved, tmp_path, patience=5), Endless()
    ticks = iter(range(10**6))
    model._clock = lambda: next(ticks)

    def locked(*_):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(AlertStore, "commit", locked)
    with pytest.raises(engine_module.StoreError, match=r"database is locked, for 5 s: .* again"):
        asyncio.run(consume(model, source))
    assert source.acknowledged == []


def test_a_locked_store_can_be_left(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "GRACE", 0.05)
    model, begun = loaded(saved, tmp_path), threading.Event()

    def locked(*_):
        begun.set()
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(AlertStore, "commit", locked)
    asyncio.run(cancelled_when(begun, threading.Event(), consume(model, Endless())))


def test_quiet_samples_are_committed_now_and_then(saved, tmp_path, monkeypatch):
    model = loaded(saved, tmp_path, commit_seconds=100)
    now, commits, commit = [0.0], [], AlertStore.commit
    model._clock = lambda: now[0]
    monkeypatch.setattr(AlertStore, "commit", lambda self, stream, position, *rest: (
        commits.append(position), commit(self, stream, position, *rest)))
    acknowledged = []

    async def samples():
        for seq in range(15):  # no window: nothing to keep
            now[0] += 30.0
            yield Sample(seq, None, X[seq], lambda seq=seq: note(seq))
            while model.position < seq or model._under_way is not None:
                await asyncio.sleep(0)

    async def note(seq):
        acknowledged.append(seq)

    asyncio.run(consume(model, samples()))
    assert commits == [0, 4, 8, 12, 14] and acknowledged == list(range(15))


def test_what_source_and_channels_raise_ends_nothing_in_silence(saved, tmp_path, caplog):
    async def bad(kind):
        raise kind("lost")

    async def samples(last):
        yield Sample(0, None, X[:100], lambda: bad(OSError))
        yield Sample(100, None, X[:100], lambda: bad(asyncio.CancelledError))
        yield Sample(200, None, X[:100])
        if last is not None:
            raise last

    async def left():
        task = asyncio.ensure_future(consume(model, samples(None)))
        while model.position < 199:
            await asyncio.sleep(0)
        task.cancel()
        assert (await asyncio.wait([task], timeout=LONG))[0] and task.cancelled()

    (tmp_path / "left").mkdir()
    model = loaded(saved, tmp_path / "left")
    asyncio.run(left())
    model = loaded(saved, tmp_path)
    asyncio.run(consume(model, samples(None)))
    assert model.position == 299
    assert "OSError: lost" in caplog.text and "CancelledError: lost" in caplog.text
    with pytest.raises(RuntimeError, match="source was cancelled"):
        asyncio.run(consume(loaded(saved, tmp_path), samples(asyncio.CancelledError())))


def test_another_source_goes_on_behind_the_last(saved, tmp_path, caplog):
    class Named(Endless):
        def __init__(self, identity, parts, first=0):
            super().__init__(parts, 100)
            self.identity, self.first, self.asked = identity, first, None

        async def samples(self, *, features=None, position=-1):
            self.asked = position
            async for sample in super().samples(position=position - self.first):
                yield Sample(sample.seq + self.first, None, sample.values)

    def run(identity, parts, first=0):
        model, source = loaded(saved, tmp_path), Named(identity, parts, first)
        asyncio.run(consume(model, source))
        model.store.close()
        return model.position, source.asked, model.tally.rows

    assert run("a", 3) == (299, -1, 300)
    assert run("a", 5) == (499, 299, 200)  # the same one has grown
    assert "comes after" not in caplog.text
    assert run("b", 2, first=7) == (699, -1, 200)
    assert "b comes after a: its first sample becomes number 500" in caplog.text
    assert run("b", 4, first=7) == (899, 206, 200)
    assert run("a", 1) == (999, -1, 100)


@pytest.mark.parametrize("seed", range(12))
def test_cancelled_at_any_moment_of_a_backfill(saved, tmp_path, seed):
    model, source, rng = loaded(saved, tmp_path), Endless(size=400), np.random.default_rng(seed)

    async def main():
        task = asyncio.ensure_future(consume(model, source))
        while model.position < 0:
            await asyncio.sleep(0)
        await asyncio.sleep(rng.uniform(0, 0.1))
        task.cancel()
        assert (await asyncio.wait([task], timeout=LONG))[0] and task.cancelled()

    asyncio.run(main())
    with AlertStore(tmp_path / "a.db") as store:
        assert store.restore("stream")[0] == model.position
    assert source.acknowledged == list(range(399, model.position + 1, 400))


def test_cancelled_while_a_message_is_delivered(saved, tmp_path):
    class Slow(Channel):
        name = "slow"

        async def send(self, rows):
            begun.set()
            await asyncio.sleep(0.05)
            taken.extend(rows)
            return [Outcome("sent") for _ in rows]

    class Faulty(Endless):
        async def samples(self, *, features=None, position=-1):
            async for sample in super().samples(position=position):
                yield Sample(sample.seq, None, sample.values + 9 * (sample.seq > 0), sample.ack)

    begun, taken = threading.Event(), []
    model = RealTimeAnomalyDetector.load(saved, {**CHEAP, "alert_config": {
        "storage": {"path": str(tmp_path / "a.db")}}}, channels=[Slow()])
    asyncio.run(cancelled_when(begun, threading.Event(), consume(model, Faulty())))
    with AlertStore(tmp_path / "a.db") as store:
        assert taken and not store.backlog()  # what was due was sent before the end


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def files(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, n in (("short", 300), ("long", 60_000)):
        rows = np.random.default_rng(2).normal(size=(n, 3)).round(3)
        lines = [f"{1.7e9 + i:.0f},{a},{b},{c}" for i, (a, b, c) in enumerate(rows)]
        (folder / f"{name}.csv").write_text("\n".join(["time,x0,x1,x2", *lines]) + "\n")
    (folder / "slow.py").write_text(
        "import os, time, numpy as np\nfrom adlib.base import Detector\n"
        "class Slow(Detector):\n"
        "    def _fit(self, X): print('begun', flush=True); time.sleep(600)\n"
        "    def _score(self, X): return np.abs(X).max(axis=1)\n"
        "class SlowToScore(Slow):\n"
        "    def _fit(self, X): self.n_ = 1\n"
        "    def _score(self, X):\n"
        "        if 'HANG' in os.environ: Slow._fit(self, X)\n"
        "        return super()._score(X)\n")
    return folder


def command(*args, **pipes):
    return subprocess.Popen([sys.executable, "-m", "adlib.realtime", *map(str, args)], text=True,
                            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes})


@pytest.fixture
def words(saved, files, tmp_path):
    """The command `run` on a file, every window printed, with a store of its own."""
    config = {**CHEAP, "alert_config": {"storage": {"path": str(tmp_path / "a.db")}}}
    (tmp_path / "c.json").write_text(json.dumps(config))
    return lambda name: ["run", str(tmp_path / "c.json"), "--model", str(saved), "--all",
                         "--source", f"csv:{files / name}.csv"]


@pytest.fixture
def running(words):
    return lambda name="long", **pipes: command(*words(name), **pipes)


def committed(folder):
    with AlertStore(folder / "a.db") as store:
        return store.restore("stream")[0]


@pytest.mark.parametrize("number, lines", [(signal.SIGTERM, 1), (signal.SIGINT, 2_000)])
def test_a_signal_ends_a_backfill(running, tmp_path, number, lines):
    with running() as run:
        for _ in range(lines):
            run.stdout.readline()
        run.send_signal(signal.SIGHUP)  # the terminal is gone, which is no reason to end
        run.send_signal(number)
        _, said = run.communicate(timeout=LONG)
    assert run.returncode == 0 and "Traceback" not in said
    position = committed(tmp_path)
    assert lines * 5 <= position < 59_999 and f"stopped after sample {position}" in said


def test_a_second_signal_ends_at_once(files, tmp_path):
    config = {**CHEAP, "detectors": [f"{files}/slow.py:SlowToScore"], "detector_timeout": 600}
    RealTimeAnomalyDetector(config).fit(X).save(tmp_path / "model")
    (tmp_path / "c.json").write_text(json.dumps(config))
    with command("run", tmp_path / "c.json", "--model", tmp_path / "model", "--source",
                 f"csv:{files}/short.csv", env={**os.environ, "HANG": "1"}) as run:
        assert run.stdout.readline() == "begun\n"
        run.send_signal(signal.SIGTERM)  # waits for the batch
        while run.poll() is None:  # the first one may not have been taken yet
            run.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(0.2)
    # by itself, or by a signal that comes when nothing handles it any more
    assert run.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)


def test_nobody_reads_what_is_printed(running, tmp_path):
    with running() as run:
        run.stdout.readline()
        run.stdout.close()  # as head does
        said = run.stderr.read()
        run.wait(LONG)
    assert run.returncode == 0 and committed(tmp_path) == 59_999
    assert said.count("Broken pipe; judging continues") == 1
    (tmp_path / "a.db").unlink()
    with running("short", stdout=None, stderr=None, preexec_fn=lambda: os.closerange(1, 3)) as p:
        p.wait(LONG)
    assert p.returncode == 0 and committed(tmp_path) == 299


def test_a_reader_that_stands_still_holds_nobody_up(monkeypatch, caplog):
    monkeypatch.setattr(process, "PATIENCE", 0.05)
    reader, writer = os.pipe()
    with open(reader) as reading, open(writer, "w") as writing:
        monkeypatch.setattr(sys, "stdout", writing)
        output = process.Output()

        async def print_all(n):
            for i in range(n):
                await output.write(f"{i:03} {'x' * 996}")

        asyncio.run(print_all(100))
        lost = output.lost
        taken = [reading.readline() for _ in range(100 - lost)]
        asyncio.run(print_all(1))
        assert reading.readline().startswith("000") and output.lost == lost
    assert 0 < lost < 100 and [int(line[:3]) for line in taken] == list(range(100 - lost))
    assert caplog.text.count("judging continues") == 1


@pytest.mark.parametrize("which, number", [("fit", signal.SIGTERM), ("backtest", signal.SIGINT)])
def test_a_signal_ends_other_commands(files, tmp_path, which, number):
    (tmp_path / "c.json").write_text(json.dumps({**CHEAP, "detectors": [f"{files}/slow.py:Slow"]}))
    out = ["--out", tmp_path / "model"] if which == "fit" else []
    with command(which, tmp_path / "c.json", files / "short.csv", *out) as run:
        assert run.stdout.readline() == "begun\n"
        run.send_signal(number)
        _, said = run.communicate(timeout=LONG)
    assert run.returncode == 128 + number
    assert f"{which}: stopped before it was done" in said and "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.filterwarnings("ignore::adlib.reading.options.ReadingWarning")
def test_a_second_file_is_judged_and_the_same_one_is_not(words, files, tmp_path, capsys, caplog):
    def run(name):
        code, (out, said) = main(words(name)), capsys.readouterr()
        return code, len(out.splitlines()), said

    assert run("short")[:2] == (0, 57)
    code, windows, said = run("short")
    assert (code, windows) == (1, 0) and "300 rows came: 300 were taken before" in said
    (files / "second.csv").write_text((files / "short.csv").read_text())
    assert run("second")[:2] == (0, 60)
    assert "its first sample becomes number 300" in caplog.text and committed(tmp_path) == 599
