"""MQTT as a source, with a real broker: what is not acknowledged comes again, judged once."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import aclosing

import numpy as np
import pytest
from mqtt_broker import Broker, needs_mosquitto

from adlib.realtime import RealTimeAnomalyDetector, check_source
from adlib.realtime.doors.mqtt import MqttSource

pytestmark = needs_mosquitto


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Broker(tmp_path_factory.mktemp("mqtt"), persistent=False) as broker:
        yield broker


def within(work, limit=120):
    return asyncio.run(asyncio.wait_for(work, limit))


def length(sample):
    return 1 if isinstance(sample.values, str) else len(sample.values)


def column(found):
    """The first value of each row."""
    return np.concatenate([sample.values[:, 0] for sample in found]).astype(int).tolist()


async def take(samples, rows):
    """Samples until there are so many rows; they may be a few more."""
    found = []
    while sum(map(length, found)) < rows:
        found.append(await anext(samples))
    return found


async def subscribed(source):
    """The session begins: what is published from now on is kept for it."""
    async with aclosing(source.samples()) as samples:
        waiting = asyncio.ensure_future(anext(samples))
        await source._session.ready.wait()
        waiting.cancel()
        await asyncio.wait([waiting])


def numbers(first, last):
    return [json.dumps([k, 1]) for k in range(first, last)]


def test_messages_come_with_number_time_and_entity_and_garbage_keeps_its_place(broker):
    async def run():
        source = MqttSource(f"{broker.url}/form/+/raw?client=form&entity=topic:2")
        await subscribed(source)
        messages = [b"[1, 2]", b'{"a": 3, "b": null}', b"\xff\xfe\x00garbage", b"", b"[4, [2]]",
                    b'{"b": 6, "a": 5, "time": "2001-09-09T01:46:40Z"}', b"[7, 8]"]
        await broker.publish("form/pump-3/raw", messages)
        async with aclosing(source.samples(features=["a", "b"], position=9)) as samples:
            found = await take(samples, 7)
        assert [s.seq for s in found if isinstance(s.values, str)] == [12, 13]  # in their place
        whole = [s for s in found if not isinstance(s.values, str)]
        np.testing.assert_array_equal(np.vstack([s.values for s in whole]), [
            [1, 2], [3, np.nan], [4, np.nan], [5, 6], [7, 8]])
        at = np.concatenate([s.time for s in whole])
        assert at[2] > 1.7e9 and at[3] == 1e9 and np.isnan(at[4])  # arrival, until one brings one
        assert {name for s in whole for name in s.entity} == {"pump-3"}

    within(run())


@pytest.mark.parametrize("version", ["3", "5"])
def test_what_is_not_acknowledged_comes_again_to_the_next_process(broker, version):
    async def run():
        spec = f"{broker.url}/again{version}/#?client=again{version}&version={version}"
        await subscribed(MqttSource(spec))
        await broker.publish(f"again{version}/x", numbers(0, 500))
        first = MqttSource(spec)
        async with aclosing(first.samples()) as samples:
            found = await take(samples, 500)
            assert column(found) == list(range(500))
            for sample in found[:len(found) // 2]:
                await sample.ack()
            done = found[len(found) // 2].seq
            await asyncio.sleep(0.3)  # the broker hears of it
        async with aclosing(MqttSource(spec).samples(position=done - 1)) as samples:
            again = await take(samples, 500 - done)
        assert column(again) == list(range(done, 500)) and again[0].seq == done

    within(run())


def test_what_is_committed_and_not_acknowledged_is_not_judged_again(broker):
    """A process dies between its commit and the acknowledgements."""
    async def run():
        spec = f"{broker.url}/mark/x?client=mark"
        await subscribed(MqttSource(spec))
        await broker.publish("mark/x", numbers(0, 100))
        first = MqttSource(spec)
        async with aclosing(first.samples()) as samples:
            await take(samples, 100)
            mark = first.bookmark(59)
        second = MqttSource(spec)
        second.resume(json.loads(json.dumps(mark)))
        async with aclosing(second.samples(position=59)) as samples:
            found = await take(samples, 40)
            assert column(found) == list(range(60, 100)) and found[0].seq == 60
            for sample in found:
                await sample.ack()
            await asyncio.sleep(0.3)  # the broker hears of it
        await broker.publish("mark/x", numbers(100, 103))
        async with aclosing(MqttSource(spec).samples(position=99)) as samples:
            assert column(await take(samples, 3)) == [100, 101, 102]  # the first 60 are gone too

    within(run())


def test_equal_messages_are_all_judged(broker):
    """A sensor that says the same again and again says something new each time."""
    async def run():
        source = MqttSource(f"{broker.url}/same/x?client=same")
        await subscribed(source)
        async with aclosing(source.samples()) as samples:
            for _ in range(3):
                await broker.publish("same/x", ["[1, 1]"] * 50)
                for sample in await take(samples, 50):
                    await sample.ack()

    within(run())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_broker_that_is_restarted_costs_nothing(tmp_path, how):
    with Broker(tmp_path / "own", "autosave_interval 1") as own:
        async def run():
            source = MqttSource(f"{own.url}/back/x?client=back")
            await subscribed(source)
            await own.publish("back/x", numbers(0, 300))
            await asyncio.sleep(0.3)  # it writes to the disk what it has confirmed
            async with aclosing(source.samples()) as samples:
                found = await take(samples, 300)
                await asyncio.to_thread(own.stop, how)
                for sample in found[:2 if how == signal.SIGTERM else 0]:
                    await sample.ack()  # nobody hears it; that must not stop anything
                await asyncio.to_thread(own.start)
                waiting = asyncio.ensure_future(take(samples, 200))
                await own.publish("back/x", numbers(300, 500))
                found += await waiting
                assert column(found) == list(range(500))  # each once, in order
                for sample in found:
                    await sample.ack()

        within(run())


def test_a_broker_that_comes_later_is_waited_for(tmp_path, caplog):
    own = Broker(tmp_path / "own")

    async def run():
        source = MqttSource(f"{own.url}/late/x?client=late")
        async with aclosing(source.samples()) as samples:
            waiting = asyncio.ensure_future(take(samples, 1))
            while "trying again" not in caplog.text:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(own.start)
            await source._session.ready.wait()
            await own.publish("late/x", ["[1]"])
            assert column(await waiting) == [1]

    try:
        within(run())
    finally:
        own.stop()


def test_a_lost_session_is_told_and_begins_anew(tmp_path, caplog):
    with Broker(tmp_path / "own", persistent=False) as own:
        async def run():
            source = MqttSource(f"{own.url}/lost/x?client=lost")
            await subscribed(source)
            await own.publish("lost/x", numbers(0, 20))
            async with aclosing(source.samples()) as samples:
                found = await take(samples, 20)
                await asyncio.to_thread(own.stop)
                await asyncio.to_thread(own.start)
                waiting = asyncio.ensure_future(take(samples, 20))
                while "has lost the session 'lost'" not in caplog.text:
                    await asyncio.sleep(0.01)
                await source._session.ready.wait()
                await own.publish("lost/x", numbers(0, 20))  # numbers of the broker begin again
                more = await waiting
                for sample in found:
                    await sample.ack()  # of the session that is no more: nothing is acknowledged
                assert column(more) == list(range(20)) and more[0].seq == 20
            async with aclosing(MqttSource(f"{own.url}/lost/x?client=lost").samples(position=19)
                                ) as samples:
                assert column(await take(samples, 20)) == list(range(20))

        within(run())


def test_retained_messages_are_left_out(broker):
    async def run():
        for version in ("3", "5"):
            await broker.publish("kept/x", ["[1]"], retain=True)
            source = MqttSource(f"{broker.url}/kept/x?client=kept{version}&version={version}")
            await subscribed(source)
            await broker.publish("kept/x", ["[2]", "[3]"], retain=True)  # news all the same
            async with aclosing(source.samples()) as samples:
                assert column(await take(samples, 2)) == [2, 3]

    within(run())


def test_a_wrong_login_is_final_and_shows_no_password(tmp_path):
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "engine", "right"], check=True)
    rules = tmp_path / "rules"
    rules.write_text("user engine\ntopic read plant/#\n")
    for path in (users, rules):
        path.chmod(0o600)
    with Broker(tmp_path / "own", f"password_file {users}") as own:
        async def first(login, version):
            source = MqttSource(f"mqtt://{login}127.0.0.1:{own.port}/plant/x?version={version}")
            async with aclosing(source.samples()) as samples:
                waiting = asyncio.ensure_future(anext(samples))
                while not waiting.done() and not source._session.ready.is_set():
                    await asyncio.sleep(0.01)
                refused = waiting.exception() if waiting.done() else None
                waiting.cancel()
                await asyncio.wait([waiting])
                return refused

        for login in ("engine:wrong@", "", "nobody:right@"):
            for version in ("3", "5"):
                error = within(first(login, version))
                assert isinstance(error, ValueError) and "refuses the client 'adlib'" in str(error)
                assert "wrong" not in str(error) and "right" not in str(error)
        assert within(first("engine:right@", "5")) is None

        for version in ("3", "5"):
            source = MqttSource(f"mqtt://engine:right@127.0.0.1:{own.port}/x?version={version}")
            assert "gives this topic" in within(source.probe())
            with pytest.raises(ValueError, match="refuses the client"):
                within(MqttSource(f"mqtt://127.0.0.1:{own.port}/x?version={version}").probe())


def test_two_of_one_name_are_told(broker, caplog):
    async def run():
        spec = f"{broker.url}/twice/x?client=twice"
        source = MqttSource(spec)
        async with aclosing(source.samples()) as samples:
            waiting = asyncio.ensure_future(anext(samples))
            await source._session.ready.wait()
            await subscribed(MqttSource(spec))
            while "another client is named 'twice'" not in caplog.text:
                await asyncio.sleep(0.01)
            source._session._disconnected(None, None, None, "Session taken over", None)
            with pytest.raises(ValueError, match="another client is named 'twice'"):
                await waiting

    within(run())


def test_it_keeps_the_promises_of_a_source(broker):
    made = iter(range(10))

    async def filled():
        source = MqttSource(f"{broker.url}/check/x?client=check")
        await subscribed(source)
        await broker.publish("check/x", [f"[{k}]" for k in range(40)])

    within(filled())
    check_source(lambda: next(made) is not None and MqttSource(
        f"{broker.url}/check/x?client=check"), rows=40, timeout=1)


@pytest.mark.parametrize(("spec", "says"), [
    ("mqtt://u:hush@host", "TOPIC, with"), ("mqtt://host/", "TOPIC"), ("mqtt:///a", "TOPIC"),
    ("mqtt://host/a#", "whole levels"), ("mqtt://host/#/a", "whole levels"),
    ("mqtt://host/a+/b", "whole levels"), ("mqtt://host:port/a", "TOPIC"),
    ("mqtt://host/a?version=4", "version must be 5 or 3"), ("mqtt://host/a?qos=1", "no option"),
    ("mqtt://host/a?commit_within=0", "above 0"),
])
def test_bad_specs_are_refused_at_once(spec, says):
    with pytest.raises(ValueError, match=says) as caught:
        MqttSource(spec)
    assert "hush" not in str(caught.value)


def test_missing_extra_is_named():
    code = "import sys; sys.modules['paho'] = None\nfrom adlib.realtime import source\n" \
           "try: source('mqtt://host/x')\nexcept ImportError as error: print(error)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install -e '.[mqtt]'" in out.stdout


def test_an_engine_that_is_killed_judges_each_message_once(broker, tmp_path):
    """Messages are counted by what the engine made of them: windows without a hole."""
    settings = {"detectors": ["PCAReconstruction"], "window_size": 20, "stride": 5,
                "alert_config": {"storage": {"path": str(tmp_path / "alerts.db")}}}
    RealTimeAnomalyDetector(settings).fit(
        np.random.default_rng(0).normal(size=(4000, 2))).save(tmp_path / "model")
    (tmp_path / "c.json").write_text(json.dumps(settings))
    spec = f"{broker.url}/kill/x?client=kill&commit_within=0.05"
    within(subscribed(MqttSource(spec)))
    rng = np.random.default_rng(1)

    async def publish(n):
        await broker.publish("kill/x", map(json.dumps, rng.normal(size=(n, 2)).tolist()))

    def run(until):
        """Judge until a window ends there, and die."""
        with subprocess.Popen([sys.executable, "-m", "adlib.realtime", "run", tmp_path / "c.json",
                               "--model", tmp_path / "model", "--all", "--source", spec],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            for line in child.stdout:
                if json.loads(line)["end"] >= until:
                    break
            child.send_signal(signal.SIGTERM if until == 1199 else signal.SIGKILL)
            return child.stderr.read()

    for until in (250, 650, 1199):
        within(publish(400))
        told = run(until)
    assert "stopped after sample 1199" in told  # 1,200 messages, 1,200 numbers
