"""A file that grows: every line once, whatever is done to the file and whenever the reader dies."""

import asyncio
import itertools
import json
import os
import shutil
from contextlib import aclosing

import numpy as np
import pytest

from adlib.realtime import AlertStore, RealTimeAnomalyDetector, check_source
from adlib.realtime.doors import tail
from adlib.realtime.doors.tail import TailSource


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tail, "PAUSE", 0.002)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rig.csv"


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def rows(first, last):
    return "".join(f"{k},{k * 2}\n" for k in range(first, last))


HEADER = "a,b\n"


class Reader:
    """A process that reads, commits and dies."""

    def __init__(self, path, options=""):
        self.spec, self.mark, self.seen = f"tail:{path}{options}", None, []

    def read(self, n, commit=None, meanwhile=None):
        """Read until ``n`` rows are known; die with so many of them committed (default: all)."""
        asyncio.run(asyncio.wait_for(self._read(n, commit, meanwhile), 120))
        return [row for row, _ in self.seen]

    async def _read(self, n, commit, meanwhile):
        source = TailSource(self.spec)
        if self.mark is not None:
            source.resume(json.loads(json.dumps(self.mark)))
        async with aclosing(source.samples(features=["a", "b"], position=len(self.seen) - 1)
                            ) as samples:
            while len(self.seen) < n:
                sample = await anext(samples)
                poison = isinstance(sample.values, str)
                for k, row in enumerate([sample.values] if poison else sample.values.tolist()):
                    if sample.seq + k >= len(self.seen):
                        assert sample.seq + k == len(self.seen)
                        self.seen.append((row if poison else int(row[0]), sample.seq + k))
                    if meanwhile and len(self.seen) >= meanwhile[0]:
                        _, (act, *more) = meanwhile
                        meanwhile = (meanwhile[0] + 1, more) if more else None
                        act()
        del self.seen[n if commit is None else commit:]
        self.mark = source.bookmark(len(self.seen) - 1)


def test_lines_come_once_their_end_is_written(path):
    path.write_text(HEADER + rows(0, 3) + "3,")
    reader = Reader(path)
    assert reader.read(4, meanwhile=(3, [lambda: append(path, "6\n4,")])) == [0, 1, 2, 3]
    append(path, "8\n")
    assert reader.read(5) == [0, 1, 2, 3, 4]


def test_a_file_that_is_not_there_yet_is_waited_for(path, caplog):
    async def run():
        async with aclosing(TailSource(f"tail:{path}?begin=end").samples()) as samples:
            waiting = asyncio.ensure_future(anext(samples))
            while "trying again" not in caplog.text:
                await asyncio.sleep(0.001)
            path.write_text(HEADER + rows(0, 2))
            assert (await waiting).values[:, 0].tolist() == [0, 1]  # all of it is new

    asyncio.run(asyncio.wait_for(run(), 120))


def test_begin_at_the_end_leaves_out_what_is_there(path):
    path.write_text(HEADER + rows(0, 5) + "5,1")
    reader = Reader(path, "?begin=end")

    async def run():
        async with aclosing(TailSource(reader.spec).samples(features=["a", "b"])) as samples:
            waiting = asyncio.ensure_future(anext(samples))
            await asyncio.sleep(0.1)
            append(path, "0\n6,12\n")
            sample = await waiting
            assert sample.seq == 0 and sample.values.tolist() == [[6, 12]]

    asyncio.run(asyncio.wait_for(run(), 120))


def rename(path):
    """What logrotate does: the oldest last."""
    make_room(path)
    path.rename(path.with_name("rig.csv.1"))


def make_room(path):
    for k in range(20, 0, -1):
        if (old := path.with_name(f"rig.csv.{k}")).exists():
            old.rename(path.with_name(f"rig.csv.{k + 1}"))


@pytest.mark.parametrize("header", [HEADER, ""])
def test_a_file_that_is_renamed_is_read_to_its_end(path, header):
    path.write_text(HEADER + rows(0, 3))

    def rotate():
        rename(path)
        append(path.with_name("rig.csv.1"), rows(3, 5) + "5,10")  # the writer has not noticed yet

    reader = Reader(path)
    reader.read(8, meanwhile=(3, [rotate, lambda: path.write_text(""),
                                  lambda: append(path, header + rows(6, 8))]))
    assert [row for row, _ in reader.seen] == list(range(8))


@pytest.mark.parametrize("committed", [1, 3, 4])
def test_files_that_were_renamed_meanwhile_are_found(path, committed):
    path.write_text(HEADER + rows(0, 4))
    reader = Reader(path)
    reader.read(4, committed)
    append(path, rows(4, 6) + "6,12")
    for k in range(7, 10):
        rename(path)
        path.write_text(HEADER + rows(k, k + 1))
        os.utime(path, ns=(2**61 + k * 10**9,) * 2)
        assert path.with_name("rig.csv.1").exists()
    assert reader.read(10) == list(range(10))
    assert [number for _, number in reader.seen] == list(range(10))


def cut(path):
    make_room(path)
    shutil.copy2(path, path.with_name("rig.csv.1"))
    os.truncate(path, 0)


@pytest.mark.parametrize("committed", [1, 4])
def test_a_file_that_is_cut_is_read_from_its_copy(path, committed, caplog):
    path.write_text(HEADER + rows(0, 4))
    reader = Reader(path)
    reader.read(4, committed)
    append(path, rows(4, 6))
    cut(path)
    append(path, HEADER + rows(6, 8))
    assert reader.read(8) == list(range(8))

    append(path, rows(8, 10))
    cut(path)
    append(path, HEADER + rows(10, 40))  # it is longer than before: its length says nothing
    assert reader.read(40) == list(range(40))


def test_a_file_that_is_cut_under_the_reader_begins_anew(path, caplog):
    path.write_text(HEADER + rows(0, 4))

    def cut_and_write():
        path.write_text(HEADER + rows(4, 30))  # longer than it was

    assert Reader(path).read(30, meanwhile=(4, [cut_and_write])) == list(range(30))
    assert "was cut" in caplog.text


def test_a_file_that_is_replaced_by_itself_and_more_goes_on(path):
    path.write_text(HEADER + rows(0, 4))

    def replace():
        new = path.with_name("new")
        new.write_text(HEADER + rows(0, 8))
        new.replace(path)

    reader = Reader(path)
    reader.read(8, meanwhile=(4, [replace]))
    replace()
    append(path, rows(8, 9))
    assert reader.read(9) == list(range(9))


def test_what_is_gone_is_told(path, caplog):
    path.write_text(HEADER + rows(0, 4))
    reader = Reader(path)
    reader.read(4)
    path.write_text(HEADER + rows(4, 6))
    assert reader.read(6) == list(range(6)) and "not there any more" in caplog.text


def test_columns_of_a_new_file_may_stand_elsewhere(path):
    path.write_text(HEADER + rows(0, 4))
    reader = Reader(path)
    reader.read(4)
    rename(path)
    path.write_text("b,c,a\n" + "".join(f"{2 * k},9,{k}\n" for k in range(4, 7)))
    assert reader.read(7) == list(range(7))


def test_a_line_without_end_is_unreadable_and_takes_no_memory(path, monkeypatch):
    monkeypatch.setattr(tail, "_LONGEST", 1000)
    monkeypatch.setattr(tail, "CHUNK", 300)
    path.write_text(HEADER + rows(0, 100) + "x" * 5000 + "\n" + rows(101, 200) + "y" * 1100 + "\n"
                    + rows(201, 300))
    expected = [*range(100), "x" * 100, *range(101, 200), "y" * 100, *range(201, 300)]
    assert Reader(path).read(300) == expected
    for commit in (99, 100, 101, 200, 201):
        reader = Reader(path)
        reader.read(300, commit)
        assert reader.read(300) == expected


def test_json_lines_and_garbage_between_them(path):
    path.write_text('{"a": 0, "b": 1}\n\n{"a": 1\n\x00\xff\n{"b": 4, "a": 3, "c": 5}\n')
    reader = Reader(path)
    reader.read(4, 2)
    assert reader.read(4) == [0, '{"a": 1', "\x00\xff", 3]
    rename(path)
    path.write_text('{"a": 4}\n')
    assert reader.read(5)[3:] == [3, 4]


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_or_twice_whatever_is_done(path, seed, monkeypatch):
    """A writer that appends, renames and cuts; a reader that dies anywhere."""
    monkeypatch.setattr(tail, "CHUNK", 97)
    rng = np.random.default_rng(seed)
    path.write_text(HEADER)
    written, reader, clock = 0, Reader(path), itertools.count(2**61, 10**9)

    def write():
        nonlocal written
        n = int(rng.integers(0, 30))
        append(path, rows(written, written + n))
        written += n

    def step():
        os.utime(path, ns=(next(clock),) * 2)
        kind = rng.choice(["write", "rename", "cut"], p=[0.8, 0.1, 0.1])
        if kind == "rename" and written > len(reader.seen) - 1:
            rename(path)
            path.write_text(HEADER if rng.random() < 0.5 else "")
        elif kind == "cut" and path.stat().st_size > 300:
            cut(path)
            path.write_text(HEADER)
        write()

    for _ in range(20):
        write()
        if written > len(reader.seen):
            n = int(rng.integers(len(reader.seen) + 1, written + 1))
            known = len(reader.seen)
            assert reader.read(n, int(rng.integers(known, n + 1))) == list(range(len(reader.seen)))
        if len(reader.seen) > written - 60:
            step()
    assert reader.read(written) == list(range(written))


def test_an_engine_goes_on_where_its_last_commit_was(path, tmp_path):
    settings = {"detectors": ["PCAReconstruction"], "window_size": 20, "stride": 5,
                "alert_config": {"storage": {"path": str(tmp_path / "alerts.db")}}}
    X = np.random.default_rng(0).normal(size=(4000, 2))
    model = RealTimeAnomalyDetector(settings).fit(X).save(tmp_path / "model")

    async def judged(until):
        engine, found = RealTimeAnomalyDetector.load(model, settings), []
        async with aclosing(engine.process_stream(TailSource(f"tail:{path}"))) as windows:
            async for window in windows:
                found.append((window["end"], window["p_value"]))
                if window["end"] >= until:
                    return found

    def write(first, last):
        append(path, "".join(f"{a},{b}\n" for a, b in X[first:last]))

    path.write_text("x0,x1\n")
    write(0, 100)
    found = asyncio.run(judged(99))
    write(100, 203)
    rename(path)
    write(203, 300)  # no header: the one before holds
    found += asyncio.run(judged(299))
    verdicts, _ = RealTimeAnomalyDetector.load(model).judge([X[:300]])
    assert found == [(v.end, v.p_value) for v in verdicts]
    with AlertStore(tmp_path / "alerts.db") as store:
        assert store.quality() == []  # what is read again for its place is no duplicate


def test_a_fleet_goes_on_with_every_machine(path, tmp_path):
    """Rows of three machines, read on after each stop as if there had been none."""
    rng = np.random.default_rng(1)
    names = np.tile(["a", "b", "c"], 3000)
    settings = {"detectors": ["PCAReconstruction"], "window_size": 20, "stride": 5, "fleet": {},
                "reading": {"entity_column": "who"}, "alert_config": {}}
    X = rng.normal(size=(9000, 2))
    model = RealTimeAnomalyDetector(settings).fit(X, entity=names).save(tmp_path / "model")

    async def judged(store, rows, found):
        engine = RealTimeAnomalyDetector.load(model, {**settings, "alert_config": {
            "storage": {"path": str(tmp_path / store)}}})
        async with aclosing(engine.process_stream(TailSource(f"tail:{path}"))) as windows:
            async for window in windows:
                found[window["entity"], window["end"]] = window["p_value"]
                if len(found) == sum((np.sum(names[:rows] == who) - 15) // 5 for who in "abc"):
                    return

    path.write_text("x0,x1,who\n")
    pieces, whole, at = {}, {}, 0
    for n in (130, 71, 200, 5, 299):
        append(path, "".join(f"{a},{b},{who}\n" for (a, b), who in zip(
            X[at:at + n], names[at:at + n], strict=True)))
        at += n
        asyncio.run(asyncio.wait_for(judged("pieces.db", at, pieces), 120))
    asyncio.run(asyncio.wait_for(judged("whole.db", at, whole), 120))
    assert pieces == whole and len(whole) > 3 * 40


def test_it_keeps_the_promises_of_a_source(path):
    path.write_text(HEADER + rows(0, 200))
    check_source(lambda: TailSource(f"tail:{path}"), rows=200, timeout=1)


def test_what_cannot_be_followed_is_refused(tmp_path):
    for spec, error, says in [
        (f"tail:{tmp_path}", ValueError, "must name a file"),
        (f"tail:{tmp_path}/no/rig.csv", FileNotFoundError, "no folder"),
        (f"tail:{tmp_path}/x?begin=middle", ValueError, "start or end, got 'middle'"),
        ("tail:/dev/null", ValueError, "stdin reads a pipe"),
    ]:
        with pytest.raises(error, match=says):
            TailSource(spec)
    (tmp_path / "x").write_text("a\n1\n")
    assert asyncio.run(TailSource(f"tail:{tmp_path}/x").probe()).endswith("x has 4 bytes")
