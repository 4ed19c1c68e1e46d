"""HTTP push: an answer is a promise, so it comes after the commit."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager

import httpx
import numpy as np
import pytest

from adlib.realtime import RealTimeAnomalyDetector, check_source
from adlib.realtime.doors import http, push
from adlib.realtime.doors.push import PushSource

TOKEN = "a-token-of-the-tests"


def within(work, limit=120):
    return asyncio.run(asyncio.wait_for(work, limit))


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Listening:
    """A source that is read; what it gives waits in `samples` for an acknowledgement."""

    def __init__(self, source, path):
        self.source, self.samples = source, asyncio.Queue()
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{source.where}", timeout=20)
        self.path = path

    async def read(self, position, features):
        async with aclosing(self.source.samples(features=features, position=position)) as samples:
            async for sample in samples:
                self.samples.put_nowait(sample)

    async def post(self, content, **headers):
        if not isinstance(content, bytes | str):
            content = json.dumps(content)
        return await self.client.post(self.path, content=content, headers={
            name.replace("_", "-"): value for name, value in headers.items()})

    async def acknowledge(self, rows):
        """So many rows, as a commit does; what they are."""
        found = []
        while len(found) < rows:
            sample = await self.samples.get()
            found += [sample.values] if isinstance(sample.values, str) else sample.values.tolist()
            await sample.ack()
        return found


@asynccontextmanager
async def listening(options="", position=-1, features=None, mark=None, path="/samples"):
    source = PushSource(f"http://{free_port()}{path}{options}")
    if mark is not None:
        source.resume(json.loads(json.dumps(mark)))
    found = Listening(source, path)
    task = asyncio.ensure_future(found.read(position, features))
    while source._taking is None:
        await asyncio.sleep(0.005)
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])
        await found.client.aclose()


def test_the_answer_comes_after_the_acknowledgement():
    async def run():
        async with listening() as door:
            asked = asyncio.ensure_future(door.post([{"a": 1, "b": 2}, {"a": 3, "b": None}]))
            sample = await door.samples.get()
            assert sample.seq is None and sample.time[0] > 1.7e9
            np.testing.assert_array_equal(sample.values, [[1, 2], [3, np.nan]])
            await asyncio.sleep(0.1)
            assert not asked.done()
            await sample.ack()
            answer = await asked
            assert answer.status_code == 200 and answer.json() == {"rows": 2, "unreadable": 0}

    within(run())


@pytest.mark.parametrize(("kind", "body", "rows"), [
    ("application/json", '{"b": 2, "a": 1}', [[1, 2]]),
    ("application/json", "[5, 6]", [[5, 6]]),
    ("", "[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
    ("application/json; charset=utf-8", '[{"a": "1.5", "b": 2}, 7, {"c": 1}]',
     [[1.5, 2], "7", '{"c": 1}']),
    ("text/csv", "b,c,a\n2,9,1\n4,9,3", [[1, 2], [3, 4]]),
    ("text/csv", "b;a\r\n2,5;1\r\n", [[1, 2.5]]),
    ("application/x-ndjson", '{"a": 1, "b": 2}\nnonsense\n{"a": 3, "b": 4}\n',
     [[1, 2], "nonsense", [3, 4]]),
])
def test_rows_come_in_many_forms(kind, body, rows):
    async def run():
        async with listening(features=["a", "b"]) as door:
            asked = asyncio.ensure_future(door.post(body, content_type=kind))
            assert await door.acknowledge(len(rows)) == rows
            assert (await asked).json() == {
                "rows": len(rows), "unreadable": sum(isinstance(row, str) for row in rows)}

    within(run())


@pytest.mark.parametrize(("body", "headers", "status", "says"), [
    (b"\xff\xfe\x00", {}, 400, "nothing of it can be read"), ("{", {}, 400, "Expecting"),
    ("17", {}, 400, "a row is an object or an array, got 17"), ("", {}, 400, "nothing"),
    ("[" * 5000, {}, 400, "nothing"), ("1" * 5000, {}, 400, "nothing"),
    ("x,y\n1,2\n", {"content_type": "text/csv"}, 400, "no column 'a', 'b'"),
    ("[[1,2]]" + " " * 7000, {}, 413, "at most 6,000 bytes"),
    (json.dumps([[1, 2]] * 30), {}, 413, "at most 20 rows"),
    ("\x1f\x8b", {"content_encoding": "gzip"}, 415, "packed"),
])
def test_what_cannot_be_taken_is_refused_whole_and_the_source_goes_on(body, headers, status, says):
    async def run():
        async with listening("?largest=6000&queue=20", features=["a", "b"]) as door:
            answer = await door.post(body, **headers)
            assert (answer.status_code, says in answer.json()["error"]) == (status, True)
            assert (await door.post("[]")).json() == {"rows": 0, "unreadable": 0}
            asked = asyncio.ensure_future(door.post([1, 2]))
            assert await door.acknowledge(1) == [[1, 2]]
            assert (await asked).status_code == 200 and door.samples.empty()

    within(run())


def test_what_is_full_says_so_and_takes_more_once_there_is_room():
    async def run():
        async with listening("?queue=20") as door:
            first = asyncio.ensure_future(door.post([[k] for k in range(15)]))
            sample = await door.samples.get()
            answer = await door.post([[k] for k in range(15, 25)])
            assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
            assert "15 rows wait already" in answer.json()["error"]
            await sample.ack()
            assert (await first).status_code == 200
            again = asyncio.ensure_future(door.post([[k] for k in range(15, 25)]))
            assert await door.acknowledge(10) == [[k] for k in range(15, 25)]
            assert (await again).status_code == 200

    within(run())


def test_a_request_that_is_sent_again_is_judged_once():
    async def run():
        async with listening(position=9) as door:
            first = asyncio.ensure_future(door.post([[1], [2]], idempotency_key="a"))
            sample = await door.samples.get()
            again = asyncio.ensure_future(door.post([[1], [2]], idempotency_key="a"))
            while len(door.source._taking._open[10].answers) < 2:
                await asyncio.sleep(0.005)
            other = asyncio.ensure_future(door.post([[3]], idempotency_key="b"))
            last = await door.samples.get()
            mark = door.source.bookmark(11)  # rows 10 and 11 are committed, nobody knows it
            await sample.ack()
            assert (await first).json() == (await again).json() == {"rows": 2, "unreadable": 0}
            assert (await door.post([[1], [2]], idempotency_key="a")).json() == {"again": True}
            assert last.values.tolist() == [[3]] and not other.done()
        assert (await other).status_code == 503  # not committed: to be sent again
        async with listening(position=11, mark=mark) as door:
            assert (await door.post([[1], [2]], idempotency_key="a")).json() == {"again": True}
            asked = asyncio.ensure_future(door.post([[3]], idempotency_key="b"))
            assert await door.acknowledge(1) == [[3]]
            assert (await asked).status_code == 200

    within(run())


def test_without_the_token_nothing_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("ADLIB_TOKEN", TOKEN)

    async def run():
        async with listening() as door:
            for headers in ({}, {"authorization": "Bearer another-token-than-that"}):
                answer = await door.post([[1]], **headers)
                assert answer.status_code == 401 and TOKEN not in answer.text
            asked = asyncio.ensure_future(door.post([[1]], authorization=f"Bearer {TOKEN}"))
            assert await door.acknowledge(1) == [[1]]
            assert (await asked).status_code == 200 and door.samples.empty()

    within(run())
    monkeypatch.delenv("ADLIB_TOKEN")
    with pytest.raises(ValueError, match="needs a token"):
        within(anext(PushSource(f"http://0.0.0.0:{free_port()}/samples").samples()))
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert PushSource(f"http://0.0.0.0:1/x?token_file={tmp_path}/token").token == TOKEN


def test_a_page_of_another_site_cannot_send():
    async def run():
        async with listening() as door:
            for headers in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"},
                            {"host": "evil.example"}):
                assert (await door.post([[1]], **headers)).status_code in (403, 421)
            assert (await door.client.get("/samples")).status_code == 405
            assert (await door.client.post("/other")).status_code == 404
            assert door.samples.empty()

    within(run())


def test_a_client_that_leaves_or_stalls_blocks_nobody(monkeypatch):
    monkeypatch.setattr(push, "_PATIENCE", 0.2)

    async def run():
        async with listening() as door:
            for ending in ("leaves", "stalls"):
                reader, writer = await asyncio.open_connection("127.0.0.1", int(door.source.where))
                writer.write(b"POST /samples HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
                             b"\r\n[[1")
                await writer.drain()
                if ending == "stalls":
                    assert b" 408 " in await reader.readline()
                writer.close()
            asked = asyncio.ensure_future(door.post([[2]]))
            assert await door.acknowledge(1) == [[2]]
            assert (await asked).status_code == 200

    within(run())


def test_a_port_that_is_taken_is_told():
    async def run():
        async with listening() as door:
            with pytest.raises(ValueError, match="source http .*cannot listen on this port"):
                await anext(PushSource(f"http://{door.source.where}/x").samples())
            with pytest.raises(ValueError, match="cannot listen"):
                await PushSource(f"http://{door.source.where}/x").probe()
        assert "would take POST /x" in await PushSource(f"http://{free_port()}/x").probe()

    within(run())


def test_it_stands_on_the_application_of_run():
    """``http:`` without an address: what `run --serve` serves takes the samples too."""
    source = PushSource("http:")

    async def run(address):
        async with httpx.AsyncClient(base_url=address, timeout=20) as client:
            assert (await client.post("/samples", content="[1]")).status_code == 503
            async with aclosing(source.samples()) as samples:
                waiting = asyncio.ensure_future(anext(samples))
                while source._taking is None:
                    await asyncio.sleep(0.005)
                asked = asyncio.ensure_future(client.post("/samples", content="[1]"))
                await (await waiting).ack()
                assert (await asked).status_code == 200
            assert (await client.post("/samples", content="[1]")).status_code == 503

    with http.served(http.app(push=source.push), "0") as address:
        within(run(address))


def test_an_engine_that_is_killed_has_what_it_promised(tmp_path):
    """A client that sends until it is told that it need not; each row is judged once."""
    settings = {"detectors": ["PCAReconstruction"], "window_size": 20, "stride": 5,
                "alert_config": {"storage": {"path": str(tmp_path / "alerts.db")}}}
    rng = np.random.default_rng(0)
    RealTimeAnomalyDetector(settings).fit(rng.normal(size=(4000, 2))).save(tmp_path / "model")
    (tmp_path / "c.json").write_text(json.dumps(settings))
    port, sent = free_port(), 0
    kills = iter([9, None])

    def start():
        return subprocess.Popen(
            [sys.executable, "-m", "adlib.realtime", "run", tmp_path / "c.json", "--model",
             tmp_path / "model", "--source", f"http://{port}/samples?commit_within=0.02"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    child, kill = start(), next(kills)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=1) as client:
        while sent < 16:
            rows = np.random.default_rng(sent).normal(size=(10, 2)).tolist()
            if sent == kill:
                child.kill()
                child.communicate()
                child, kill = start(), next(kills)
            try:
                answer = client.post("/samples", json=rows, headers={"idempotency-key": str(sent)})
                sent += answer.status_code == 200
            except httpx.HTTPError:
                pass  # it starts, or was killed
    child.send_signal(signal.SIGTERM)
    assert "stopped after sample 159" in child.communicate()[1]


def test_it_keeps_the_promises_of_a_source():
    class Fed(PushSource):
        """With a client of its own."""

        async def samples(self, *, features=None, position=-1):
            async with aclosing(super().samples(features=features, position=position)) as samples:
                waiting = asyncio.ensure_future(anext(samples))
                while self._taking is None:
                    await asyncio.sleep(0.005)
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.where}") as client:
                    asked = asyncio.ensure_future(client.post("/x", json=[[1, 2], [3, 4]]))
                    yield await waiting
                    asked.cancel()

    check_source(lambda: Fed(f"http://{free_port()}/x"), timeout=5)


@pytest.mark.parametrize(("spec", "says"), [
    ("http://host/samples", "PORT"), ("http://u:hush@1.2.3.4:80/x", "PORT"), ("http:/x", "PORT"),
    ("http://80/x?queue=0", "queue must be a number above 0"), ("http://80/x?tok=1", "no option"),
])
def test_bad_specs_are_refused_at_once(spec, says):
    with pytest.raises(ValueError, match=says) as caught:
        PushSource(spec)
    assert "hush" not in str(caught.value)


def test_a_row_of_a_fleet_without_an_entity_is_counted_as_unreadable():
    async def run():
        source = PushSource(f"http://{free_port()}/?entity=machine")
        source.follow(source.reading, {"fleet": ["a"]})
        door = Listening(source, "/")
        task = asyncio.ensure_future(door.read(-1, ["x"]))
        while source._taking is None:
            await asyncio.sleep(0.005)
        answer = asyncio.ensure_future(door.post([{"machine": "a", "x": 1}, {"x": 2}, "junk"]))
        for _ in range(3):
            await (await door.samples.get()).ack()
        assert (await answer).json() == {"rows": 3, "unreadable": 2}
        task.cancel()
        await asyncio.wait([task])
        await door.client.aclose()

    within(run())


def test_a_request_that_comes_as_the_engine_stops_is_to_be_sent_again():
    async def late():
        source, answer = PushSource("http:"), Future()
        samples = source.samples(features=["a"])
        waits = asyncio.ensure_future(anext(samples))
        while source._taking is None:
            await asyncio.sleep(0)
        taking = source._taking
        waits.cancel()
        await asyncio.wait([waits])
        await samples.aclose()
        taking.offer(b'{"a": 1}', "", None, answer)
        return answer.result(0)

    status, told = asyncio.run(late())
    assert status == 503 and "send it again" in told["error"]
