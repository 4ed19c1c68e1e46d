"""Sources: every record once, in order, with its number and time; what cannot be read is told."""

import asyncio
import gzip
import io
import json
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing

import numpy as np
import pytest
from nats_server import NatsServer, needs_nats

from adlib.reading.options import ReadingWarning
from adlib.realtime.doors import files, jetstream
from adlib.realtime.doors.recorded import paced, replay
from adlib.realtime.sources import source
from adlib.realtime.windows import Sample, StreamProcessor


def collect(iterator, most=None):
    async def run():
        found = []
        async with aclosing(iterator) as samples:
            async for sample in samples:
                found.append(sample)
                if most is not None and rows(found)[0].size >= most:
                    break
        return found

    return asyncio.run(run())


def rows(samples):
    """Numbers, times and values of samples that hold no poison."""
    seq = np.concatenate([np.arange(len(s.values)) + (s.seq or 0) for s in samples])
    return seq, np.concatenate([s.time for s in samples]), np.vstack([s.values for s in samples])


# -- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table_gives_the_asked_columns_in_their_order(tmp_path, separator):
    path = tmp_path / "rig.csv"
    text = ("\ufeffb,when,label,a\r\n2,1970-01-01T00:00:10Z,0,1\r\n4,1970-01-01T00:00:20Z,1,3\r\n"
            "\r\n6,1970-01-01 00:00:30,0,\r\n8,1970-01-01 00:00:40.5,0,7")
    path.write_bytes(text.replace(",", separator).encode())
    seq, at, values = rows(collect(source(f"csv:{path}?time=when", features=["a", "b"])))
    np.testing.assert_array_equal(seq, [0, 1, 2, 3])
    np.testing.assert_array_equal(at, [10, 20, 30, 40.5])
    np.testing.assert_array_equal(values, [[1, 2], [3, 4], [np.nan, 6], [7, 8]])


def test_table_without_features_gives_all_but_the_time(tmp_path):
    path = tmp_path / "rig.csv"
    path.write_text("timestamp,x,z\n1970-01-02 00:00,1,2\n1970-01-03 00:00,3,4\n")
    (sample,) = collect(source(f"csv:{path}"))
    assert sample.values.tolist() == [[1, 2], [3, 4]] and sample.time.tolist() == [86400, 172800]
    path.write_text("1,2\n3,4\n")
    (sample,) = collect(source(f"csv:{path}"))
    assert sample.values.tolist() == [[1, 2], [3, 4]] and sample.time is None


def test_a_file_is_refused_as_fit_refuses_it_and_may_be_packed(tmp_path):
    path = tmp_path / "rig.csv"
    path.write_text("x,z\n1,2\n3,oops\n7,8\n")
    with pytest.raises(ValueError, match=r"rig.csv: .*'oops' in data row 2"):
        collect(source(f"csv:{path}"))
    (sample,) = collect(source(f"csv:{path}?na_values=oops"))
    np.testing.assert_array_equal(sample.values, [[1, 2], [3, np.nan], [7, 8]])
    path = tmp_path / "rig.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"x": 1, "z": 2}\n{"z": 4, "x": 3}\n'))
    (sample,) = collect(source(f"csv:{path}", features=["z", "x"]))
    assert sample.values.tolist() == [[2, 1], [4, 3]]


def piped(monkeypatch, text, spec="stdin", features=None, **how):
    """What a source makes of standard input."""
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        with monkeypatch.context() as patch, io.TextIOWrapper(file) as stdin:
            patch.setattr(sys, "stdin", stdin)
            return collect(source(spec, features=features, **how))


def test_what_cannot_be_read_keeps_its_place(monkeypatch):
    found = piped(monkeypatch, "x,z\n1,2\n3,oops\n5\n6,7,8,9\n7,8\n9,10\n")
    assert [s.values if isinstance(s.values, str) else len(s.values) for s in found] == [
        3, "6,7,8,9", 2]
    np.testing.assert_array_equal(found[0].values, [[1, 2], [3, np.nan], [5, np.nan]])
    text = '{"x": 1, "z": 2}\n{"z": 3}\n["1", 2]\n{"x": [1], "z": 2}\n[4, 4]\n{\n17\n[]\n'
    with pytest.warns(ReadingWarning, match=r"field 'x' holds \[1\], which is no number"):
        found = piped(monkeypatch, text, features=["x", "z"])
    assert [s.values if isinstance(s.values, str) else len(s.values) for s in found] == [
        5, "{", "17", ""]
    processor = StreamProcessor(4, 1, n_features=2)
    block = processor.push(found)
    assert processor.position == 7
    assert [e.start for e in block.events if e.kind == "poison"] == [5, 6, 7]
    assert [e.start for e in block.events if e.kind == "nan"] == [1, 3]


def test_large_table_comes_whole_whatever_the_borders_of_reads(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(size=(5000, 3))
    path = tmp_path / "rig.csv"
    np.savetxt(path, np.c_[np.arange(5000), X], delimiter=",", header="time,a,b,c", comments="",
               fmt="%.17g")
    found = collect(source(f"csv:{path}"))
    assert len(found) > 1  # in blocks
    np.testing.assert_array_equal(rows(found)[0], np.arange(5000))
    for chunk in (None, 97, 1 << 16):
        if chunk:
            monkeypatch.setattr(files, "CHUNK", chunk)
            found = piped(monkeypatch, path.read_text())
        _, at, values = rows(found)
        np.testing.assert_array_equal(at, np.arange(5000))
        np.testing.assert_array_equal(values, X)


def test_a_fleet_in_a_file_comes_in_the_order_of_time(tmp_path):
    path = tmp_path / "fleet.csv"
    lines = [f"{1e9 + 10 * k + shift:.0f},{name},{k},{shift}"
             for name, shift in (("b", 0), ("a 1", 5)) for k in range(5000)]
    path.write_text("\n".join(["time,unit,x,y", *lines]))
    options = {"features": ["y", "x"], "reading": {"entity_column": "unit"}, "fleet": ()}
    for spec in (f"csv:{path}", f"csv:{path}?entity=unit&speed=1e12"):
        found = collect(source(spec, **options))
        seq, at, values = rows(found)
        assert np.array_equal(at, 1e9 + np.arange(0, 50_000, 5))
        assert np.array_equal(seq, range(10_000))
        assert sum((list(s.entity) for s in found), []) == ["b", "a 1"] * 5000
        assert values[2:4].tolist() == [[0, 1], [5, 1]]
    path.write_text("unit,x,y\n" + "\n".join(f"{k % 3},{k},0" for k in range(9)))  # as it stands
    (sample,) = collect(source(f"csv:{path}", **options))
    assert sample.values[:, 1].tolist() == [*range(9)] and sample.entity == ["0", "1", "2"] * 3
    with pytest.raises(ValueError, match=r"holds 3 \(0, 1, 2\); one engine judges one stream"):
        collect(source(f"csv:{path}?entity=unit", features=["y", "x"]))


def test_neighbours_of_a_fleet_come_together(monkeypatch):
    rows = [{"m": "a", "x": 1}, {"m": 7.0, "x": 2}, {"x": 3}, {"m": "", "x": 4}, {"m": "b"},
            {"m": "b", "x": 5}, 17, {"m": "a", "x": 6}]
    found = piped(monkeypatch, "\n".join(map(json.dumps, rows)), "stdin?entity=m", ["x"], fleet=())
    assert [(s.entity, s.values if isinstance(s.values, str) else len(s.values)) for s in found] \
        == [(["a", "7"], 2), (None, 2), ("b", '{"m": "b"}'), (["b"], 1), (None, "17"), (["a"], 1)]


def test_speed_plays_rows_when_their_time_has_come(tmp_path, monkeypatch):
    path = tmp_path / "rig.csv"
    path.write_text("time,x\n" + "".join(f"{1000 + 2 * k},{k}\n" for k in range(50)))

    async def run(spec):
        began, seen = time.perf_counter(), []
        async for sample in source(spec):
            seen += [(time.perf_counter() - began, float(x)) for x in sample.values[:, 0]]
        return seen

    seen = asyncio.run(run(f"csv:{path}?speed=200"))
    assert [x for _, x in seen] == list(range(50))
    assert all(at > 2 * x / 200 - 0.005 for at, x in seen)  # never early
    monkeypatch.setattr(asyncio, "sleep", None)  # as fast as possible: nobody waits
    assert [x for _, x in asyncio.run(run(f"csv:{path}"))] == list(range(50))


def test_rows_without_number_or_time_are_paced_as_they_come():
    async def unnumbered():
        yield Sample(None, None, np.eye(3))
        yield Sample(None, None, np.ones(3))

    played = collect(paced(unnumbered(), 200.0))
    assert {s.seq for s in played} == {None}
    np.testing.assert_array_equal(np.vstack([s.values for s in played]),
                                  np.vstack([np.eye(3), np.ones(3)]))


@pytest.mark.parametrize("odd", [4.2e9, np.nan, -1.0, 1e300])
def test_a_pace_does_not_wait_for_an_odd_time_stamp(odd, monkeypatch):
    stamps, slept = 1.7e9 + np.arange(20.0), []

    async def sleep(seconds, wake=asyncio.sleep):
        slept.append(seconds)
        await wake(0 if seconds < 60 else seconds)

    stamps[5] = odd
    monkeypatch.setattr(asyncio, "sleep", sleep)
    played = collect(replay(np.eye(20), stamps * 1e3, speed=1e4))
    np.testing.assert_array_equal(np.concatenate([s.time for s in played]), stamps * 1e3)
    assert max(slept, default=0) < 1


def test_replay_numbers_rows_and_reads_datetimes():
    time64 = np.datetime64("1970-01-02") + np.arange(3) * np.timedelta64(500, "ms")
    (sample,) = collect(replay(np.eye(3), time64, first=5))
    assert sample.seq == 5 and sample.time.tolist() == [86400, 86400.5, 86401]
    played = collect(replay(np.eye(3), speed=100))
    assert [s.seq for s in played] == [0, 1, 2]
    assert collect(replay(np.empty((0, 2)))) == []
    for bad in ({"values": np.ones(3)}, {"values": np.eye(3), "time": [1, 2]},
                {"values": np.eye(3), "speed": 0}):
        with pytest.raises(ValueError, match=next(reversed(bad))):
            replay(**bad)


@pytest.mark.parametrize(("spec", "says"), [
    ("kafka://host/x", "csv:PATH, tail:PATH, stdin, http://"),
    ("csv:x.csv?sped=3", "no option 'sped', it has decimal, .*speed, time, time_column"),
    ("stdin?time_unit=m", "time_unit must be one of"),
    ("stdin?skip_rows=x", "skip_rows must be"),
    ("csv:x.csv?speed", "name=value"),
    ("stdin:x", "takes no path"),
    ("stdin?speed=3", "no option 'speed'"),
    ("nats://u:hush@host:4222", "STREAM/SUBJECT"),
    ("nats://host/S/a?durable=a.b", "durable must be a name"),
    ("nats://host/S/a?format=xml", "json or float64, got 'xml'"),
    ("stdin?entity=subject:2", "entity must be the name of a column, got 'subject:2'"),
    ("nats://host/S/a.*?entity=subject:0", "or subject:2 for the second part"),
    ("nats://host/S/a.*?entity=subject:3", "needs a subject with that many parts, got 'a.*'"),
    ("nats://host/S/a?ack_wait=-1", "ack_wait must be a number above 0"),
])
def test_bad_specs_are_refused_at_once(spec, says):
    with pytest.raises(ValueError, match=says) as caught:
        source(spec)
    assert "hush" not in str(caught.value)


def test_a_file_without_its_scheme_is_pointed_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rig.csv").write_text("x\n1\n")
    with pytest.raises(ValueError, match="got 'rig.csv'; for this file: csv:rig.csv"):
        source("rig.csv")


def test_bad_tables_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        source(f"csv:{tmp_path}/nowhere.csv")
    path = tmp_path / "rig.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="'z' is not a column; it has"):
        collect(source(f"csv:{path}", features=["x", "z"]))
    with pytest.raises(ValueError, match="no column 'z', only x, y"):
        piped(monkeypatch, path.read_text(), features=["x", "z"])
    path.write_text("x,x\n1,2\n")
    with pytest.raises(ValueError, match="repeated"):
        collect(source(f"csv:{path}"))
    with pytest.raises(ValueError, match="repeated"):
        piped(monkeypatch, path.read_text())


STDIN = """
import asyncio
from adlib.realtime.sources import source
async def main():
    async for s in source("stdin", features=["a", "b"]):
        print(s.seq, s.values if isinstance(s.values, str) else s.values.tolist(), flush=True)
asyncio.run(main())
"""


def test_stdin_hands_lines_over_as_they_come(tmp_path):
    with subprocess.Popen([sys.executable, "-c", STDIN], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, bufsize=1) as child:
        child.stdin.write('{"b": 2, "a": 1}\n')
        assert child.stdout.readline() == "None [[1.0, 2.0]]\n"  # the pipe is still open
        child.stdin.write("nonsense\n[3, ")
        assert child.stdout.readline() == "None nonsense\n"
        child.stdin.close()
    path = tmp_path / "in.csv"
    path.write_text("a,c,b\n1,9,2\n3,9,4\n")
    for stdin in (path.open(), subprocess.PIPE):
        out = subprocess.run([sys.executable, "-c", STDIN], capture_output=True, text=True,
                             **({"input": path.read_text()} if stdin is subprocess.PIPE
                                else {"stdin": stdin})).stdout
        assert out == "None [[1.0, 2.0], [3.0, 4.0]]\n"


# -- NATS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def stream(server, request):
    """Name of a stream of this test alone, and the start of its specs."""
    name = request.node.name.partition("[")[0].upper()
    return name, f"{server.url}/{name}/{name}.x"


def payloads(n, start=0):
    return [json.dumps({"time": 1e9 + k, "x": [k, -k]}["x"]).encode()
            for k in range(start, start + n)]


async def publish(server, name, messages, *, create=True):
    import nats

    client = await nats.connect(server.url)
    if create:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.x"])
    before = (await client.jetstream().stream_info(name)).state.last_seq
    for message in messages:
        await client.publish(f"{name}.x", message)
    await client.flush()
    while (await client.jetstream().stream_info(name)).state.last_seq < before + len(messages):
        await asyncio.sleep(0.01)
    return client


async def take(samples, n, acknowledge=True):
    """Samples until number ``n`` has come."""
    found = []
    async for sample in samples:
        found.append(sample)
        if acknowledge:
            await sample.ack()
        last = sample.seq + (1 if isinstance(sample.values, str) else len(sample.values)) - 1
        if last >= n:
            return found


def within(work, limit=120):
    asyncio.run(asyncio.wait_for(work, limit))


async def settled(client, name, durable="adlib"):
    """State of the consumer once the server has seen all acknowledgements."""
    for _ in range(300):
        info = await client.jetstream().consumer_info(name, durable)
        if info.num_ack_pending == 0:
            break
        await asyncio.sleep(0.01)
    return info


@needs_nats
def test_messages_come_in_order_with_number_and_time(server, stream):
    name, spec = stream

    async def run():
        messages = [b"[1, 2]", b'{"a": 3, "b": null}', b"poison", b"[1, [2]]", b"",
                    b'{"b": 6, "a": 5, "time": "2001-09-09T01:46:40Z"}', b"[7, 8]"]
        began = time.time()
        client = await publish(server, name, messages)
        async with aclosing(source(spec, features=["a", "b"])) as samples:
            found = await take(samples, 7)
        info = await settled(client, name)
        await client.close()
        assert info.ack_floor.stream_seq == 7 and info.num_ack_pending == 0
        assert [(s.seq, isinstance(s.values, str)) for s in found] == [
            (1, False), (3, True), (4, False), (5, True), (6, False)]
        np.testing.assert_array_equal(found[0].values, [[1, 2], [3, np.nan]])
        assert began - 1 < found[0].time[0] <= found[0].time[1] < time.time() + 1
        np.testing.assert_array_equal(found[2].values, [[1, np.nan]])
        # once messages bring times, storing is none: of a backfill it would be that of today
        np.testing.assert_array_equal(found[-1].time, [1e9, np.nan])
        assert found[-1].values.tolist() == [[5, 6], [7, 8]]

    within(run())


@needs_nats
def test_the_subject_names_the_entity(server, stream):
    name, _ = stream

    async def run():
        import nats

        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        for subject in ("a.x", "Öl|7.x", "a.y", "b"):
            await client.publish(f"{name}.{subject}", b'{"x": 1, "id": "other"}')
        await client.publish(f"{name}.a.z", b"poison")
        await client.flush()
        spec = f"{server.url}/{name}/%3E?durable=%s&entity=%s"
        for durable, entity, names in (("d", "subject:2", ["a", "Öl|7", "a", "b", "a"]),
                                       ("e", "subject:-2", ["a", "Öl|7", "a", name, "a"]),
                                       ("f", "id", ["other"] * 4 + [None])):
            async with aclosing(source(spec.replace("%s", durable, 1).replace("%s", entity),
                                       features=["x"], fleet=())) as samples:
                found = await take(samples, 5)
            assert [found[0].entity, found[1].entity] == [names[:4], names[4]]
        await client.close()

    within(run())


@needs_nats
def test_doubles(server, stream):
    name, spec = stream

    async def run():
        client = await publish(server, name, [struct.pack("<2d", 1.5, np.nan), b"[123456]x"])
        async with aclosing(source(f"{spec}?format=float64")) as samples:
            found = await take(samples, 2)
        await client.close()
        np.testing.assert_array_equal(found[0].values, [[1.5, np.nan]])
        assert found[1].values == "[123456]x"

    within(run())


@needs_nats
def test_what_is_not_acknowledged_is_given_again_and_handed_over_once(server, stream):
    """A consumer that never acknowledges for a while, past several deliveries of each message."""
    name, spec = stream

    async def run():
        client = await publish(server, name, payloads(700))
        async with aclosing(source(f"{spec}?ack_wait=0.3")) as samples:
            found = await take(samples, 700, acknowledge=False)
            more = asyncio.create_task(take(samples, 710, acknowledge=False))
            await asyncio.sleep(1.2)
            info = await client.jetstream().consumer_info(name, "adlib")
            assert info.num_redelivered > 0 and info.num_ack_pending == 700 and not more.done()
            await publish(server, name, payloads(10, 700), create=False)
            found += await more
            assert rows(found)[0].tolist() == list(range(1, 711))
            for sample in found:
                await sample.ack()
            # a message whose acknowledgement came too late is acknowledged when it comes again
            last = asyncio.create_task(take(samples, 711))
            assert (await settled(client, name)).num_ack_pending == 0
            await publish(server, name, payloads(1, 710), create=False)
            assert rows(await last)[0].tolist() == [711]
        await client.close()

    within(run())


@needs_nats
def test_what_a_dead_process_took_is_read_at_once_and_in_place(server, stream):
    name, spec = stream

    async def run():
        client = await publish(server, name, payloads(900))
        waiting = f"{spec}?ack_wait=3600"  # longer than this test may take
        async with aclosing(source(waiting)) as samples:
            await take(samples, 100)  # acknowledged: 1 to 500, or fewer
        floor = (await settled(client, name)).ack_floor.stream_seq
        consumer = await client.jetstream().pull_subscribe_bind("adlib", name)
        taken = await consumer.fetch(200)  # and never acknowledged
        assert taken[0].metadata.sequence.stream == floor + 1
        async with aclosing(source(waiting)) as samples:
            found = await take(samples, 900)
        async with aclosing(source(f"{spec}?durable=other")) as samples:
            seq, at, values = rows(await take(samples, 900))
        mine = rows(found)
        np.testing.assert_array_equal(mine[0], np.arange(floor + 1, 901))
        np.testing.assert_array_equal(mine[1], at[floor:])  # to the last digit: replays must agree
        np.testing.assert_array_equal(mine[2], values[floor:])
        await client.close()

    within(run())


@needs_nats
def test_the_committed_position_counts_not_what_the_server_heard(server, stream):
    name, spec = stream

    async def run():
        client = await publish(server, name, payloads(60))
        async with aclosing(source(spec)) as samples:
            await take(samples, 60, acknowledge=False)
        for position in (40, 10, 50):  # 10: the store is a backup, older than acknowledgements
            async with aclosing(source(f"{spec}?ack_wait=0.3", position=lambda p=position: p)
                                ) as samples:
                found = await take(samples, 60)
                assert rows(found)[0].tolist() == list(range(position + 1, 61))
                more = asyncio.create_task(take(samples, 61))
                assert (await settled(client, name)).ack_floor.stream_seq == 60
                more.cancel()
                await asyncio.wait([more])
        with pytest.raises(ValueError, match="created again"):
            await anext(source(spec, position=lambda: 61))
        await client.close()

    within(run())


@needs_nats
def test_deleted_messages_are_a_gap(server, stream):
    name, spec = stream

    async def run():
        client = await publish(server, name, payloads(20))
        for seq in (1, 7, 8):
            await client.jetstream().delete_msg(name, seq)
        async with aclosing(source(spec)) as samples:
            found = await take(samples, 20)
        assert [(s.seq, len(s.values)) for s in found] == [(2, 5), (9, 12)]
        await client.close()

    within(run())


@needs_nats
def test_two_sources_on_one_durable_both_see_everything(server, stream):
    """They share the messages; each reads what the other got."""
    name, spec = stream

    async def run():
        client = await publish(server, name, payloads(1500))

        async def go_on():
            for payload in payloads(100_000, 1500):
                await client.publish(f"{name}.x", payload)
                await asyncio.sleep(0.002)

        more = asyncio.create_task(go_on())
        async with aclosing(source(spec)) as one, aclosing(source(spec)) as two:
            both = await asyncio.gather(take(one, 1600), take(two, 1600))
        more.cancel()
        await client.close()
        for found in both:
            seq, _, values = rows(found)
            first = seq[0]  # what was acknowledged before the second one began
            np.testing.assert_array_equal(seq, np.arange(first, first + len(seq)))
            np.testing.assert_array_equal(values[:, 0], seq - 1)

    within(run())


@needs_nats
def test_streams_that_cannot_be_numbered_are_refused(server, stream):
    name, spec = stream

    async def run():
        import nats

        client = await nats.connect(server.url)
        js = client.jetstream()

        async def refused(spec):
            with pytest.raises(ValueError) as caught:
                await anext(source(spec))
            if "another kind" not in str(caught.value):  # which only a consumer shows
                with pytest.raises(ValueError, match=re.escape(str(caught.value))):
                    await jetstream.JetStreamSource(spec).probe()
            return str(caught.value)

        assert f"no stream '{name}'" in await refused(spec)
        await js.add_stream(name=name, subjects=[f"{name}.*"])
        assert f"also holds {name}.*" in await refused(spec)
        await js.add_consumer(name, durable_name="pushed", deliver_subject="elsewhere")
        assert "another kind of consumer" in await refused(
            f"{server.url}/{name}/{name}.*?durable=pushed")
        await client.publish(f"{name}.any", b"[1]")
        async with aclosing(source(f"{server.url}/{name}")) as samples:
            assert (await anext(samples)).values.tolist() == [[1]]
        await client.close()

    within(run())


@pytest.mark.parametrize(("pattern", "subject", "covered"), [
    (">", "a.b", True), ("a.*", "a.b", True), ("a.b", "a.b", True), ("a.>", "a.*.c", True),
    ("a.b", "a.*", False), ("a.*", "a.>", False), ("a.*", "a.b.c", False), ("a.b.c", "a.b", False),
    ("a.>", "a", False),
])
def test_subjects_that_a_filter_covers(pattern, subject, covered):
    assert jetstream._covers(pattern, subject) is covered


@needs_nats
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_server_down_then_up(tmp_path, how):
    with NatsServer(tmp_path / "own") as server:
        spec = f"{server.url}/S/S.x?ack_wait=1"

        async def run():
            client = await publish(server, "S", payloads(600))
            await client.close()
            async with aclosing(source(spec)) as samples:
                found = await take(samples, 400, acknowledge=False)
                seen = int(rows(found)[0][-1])
                waiting = asyncio.create_task(take(samples, 1000, acknowledge=False))
                await asyncio.sleep(0.2)
                await asyncio.to_thread(server.stop, how)
                for sample in found:  # nobody hears them; that must not stop anything
                    await sample.ack()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.start)
                client = await publish(server, "S", payloads(400, 600), create=False)
                found += await waiting
                assert rows(found)[0].tolist() == list(range(1, 1001)) and seen < 1000
                for sample in found:
                    await sample.ack()
                last = asyncio.create_task(take(samples, 1001))
                assert (await settled(client, "S")).num_ack_pending == 0
                await publish(server, "S", payloads(1, 1000), create=False)
                await last
            await client.close()

        within(run())


@needs_nats
def test_a_busy_source_can_be_cancelled(server, stream):
    """Messages that arrive at the moment of the cancellation must not make it forgotten."""
    name, spec = stream

    async def run():
        client = await publish(server, name, payloads(1))
        running = True

        async def feed():
            while running:
                await client.publish(f"{name}.x", b"[1]")
                await asyncio.sleep(0)

        feeding = asyncio.create_task(feed())
        for pause in np.linspace(0.05, 0.1, 8):
            async with aclosing(source(spec)) as samples:
                taking = asyncio.create_task(take(samples, 10**9))
                await asyncio.sleep(pause)
                taking.cancel()
                await asyncio.wait([taking])  # as long as `within` allows
        running = False
        await feeding
        await client.close()

    within(run())


@needs_nats
def test_deleted_consumer_is_made_again_and_a_new_stream_is_noticed(server, stream, monkeypatch):
    name, spec = stream
    monkeypatch.setattr(jetstream, "PATIENCE", 0.2)

    async def run():
        client = await publish(server, name, payloads(10))
        async with aclosing(source(spec)) as samples:
            await take(samples, 10)
            await client.jetstream().delete_consumer(name, "adlib")
            waiting = asyncio.create_task(take(samples, 12))
            await publish(server, name, payloads(2, 10), create=False)
            assert rows(await waiting)[0].tolist() == [11, 12]  # 1 to 10 came again: not twice
            assert (await settled(client, name)).ack_floor.stream_seq == 12
            await client.jetstream().delete_stream(name)
            await publish(server, name, payloads(5))
            with pytest.raises(ValueError, match="created again"):
                await asyncio.wait_for(anext(samples), 120)
        await client.close()

    within(run())


def test_missing_extra_is_named():
    code = "import sys; sys.modules['nats'] = None\nfrom adlib.realtime import source\n" \
           "try: source('nats://host/S/x')\nexcept ImportError as error: print(error)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install -e '.[nats]'" in out.stdout
