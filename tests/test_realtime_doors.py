"""Sources and receivers: what their checks say is wrong, and what registered ones may not do."""

import asyncio
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from adlib.realtime import (
    Channel,
    NotificationService,
    Outcome,
    RealTimeAnomalyDetector,
    Sample,
    Source,
    check_channel,
    check_source,
    replay,
)
from adlib.realtime import registry as doors


def config(tmp_path, **alerts):
    return {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
            "window_size": 20, "stride": 5, "alert_config": {
                "storage": {"path": str(tmp_path / "alerts.db")}, **alerts}}


def fitted(settings, **kwargs):
    return RealTimeAnomalyDetector(settings, **kwargs).fit(
        np.random.default_rng(0).normal(size=(4000, 2)))


async def judged(engine, samples):
    return [window async for window in engine.process_stream(samples)]


def test_adlibs_own_names_cannot_be_taken(monkeypatch):
    monkeypatch.setattr(doors, "entry_points", lambda group: [
        EntryPoint("slack", "json:loads", group)])
    assert doors.find(doors.CHANNELS, "slack").__name__ == "SlackChannel"
    assert doors.registered(doors.CHANNELS)["slack"].value.startswith("adlib.")


def test_channels_need_a_store_and_must_be_some():
    with pytest.raises(ValueError, match=r"channels need alert_config\.storage"):
        RealTimeAnomalyDetector({}, channels=[NoneSuch("a")])
    with pytest.raises((TypeError, ValueError), match="channels"):
        RealTimeAnomalyDetector({}, channels=["pager"])


class NoneSuch(Channel):
    def __init__(self, name):
        self.name = name

    async def send(self, rows):
        return [Outcome("dead", "no")] * (len(rows) + 1)


def broken(check, thing):
    with pytest.raises(AssertionError) as caught:
        check(thing)
    return str(caught.value)


def test_a_check_says_everything_that_is_wrong():
    class Numb:
        name, batch, timeout = "", 0, "soon"

    text = broken(check_channel, Numb())
    for promise in ("name is a text", "batch is", "timeout is", "method rows", "method send",
                    "method close"):
        assert promise in text
    assert "an Outcome for each message" in broken(check_channel, NoneSuch("a"))

    class Odd(NoneSuch):
        def rows(self, events, verdicts):
            for row in super().rows(events, verdicts):
                yield row
                yield type(row)(row.id, "b", row.key, row.time, {"x": {1, 2}})

    text = broken(check_channel, Odd("a"))
    for promise in ("distinct ids", "for the channel 'a'", "plain JSON"):
        assert promise in text


@pytest.mark.parametrize(("samples", "promise"), [
    ([], "yields a sample"),
    ([np.ones(3)], "objects of adlib.realtime.Sample"),
    ([Sample(0, None, [1.0]), Sample(0, None, [1.0])], "in the order of their numbers"),
    ([Sample(0, None, ["a"])], "values are numbers"),
    ([Sample(0, np.zeros(3), np.ones((2, 2)))], "time is None"),
    ([Sample(0, None, [1.0]), Sample(None, None, [1.0])], "all samples have a number"),
])
def test_what_a_source_may_not_do(samples, promise):
    class Bad:
        async def samples(self, *, features=None, position=-1):
            for sample in samples:
                yield sample

    assert promise in broken(check_source, Bad)


def test_a_source_that_forgets_or_changes_is_found():
    class Forgets:
        step = 1

        async def samples(self, *, features=None, position=-1):
            for seq in range(position + self.step, 20):
                yield Sample(seq, None, [float(seq + (position if self.step == 1 else 0))])

    class Skips(Forgets):
        step = 2

    assert "changed" in broken(check_source, Forgets)
    assert "is missing" in broken(check_source, Skips)
    assert "method samples" in broken(check_source, lambda: object())
    assert "can be read: " in broken(check_source, lambda: type("Raises", (), {
        "samples": lambda self, **_: 1 / 0})())


def test_own_sources_keep_their_promises(tmp_path):
    path = tmp_path / "rig.csv"
    path.write_text("time,a\n" + "".join(f"{k},{k * k}\n" for k in range(50)))
    check_source(lambda: doors.find(doors.SOURCES, "csv")(f"csv:{path}"))

    class Recorded(Source):
        def samples(self, *, features=None, position=-1):
            return replay(np.arange(20.0)[:, None])

    check_source(Recorded)


def test_former_names_work_for_one_release():
    from adlib.realtime import elastic, notify

    with pytest.warns(FutureWarning, match=r"now adlib\.realtime\.doors\.http\.judge_status"):
        assert notify.judge_status(503, "", None) == Outcome("retry", "HTTP 503")
    with pytest.warns(FutureWarning, match="doors"):
        assert notify.SlackConfig.__name__ == "SlackConfig"
    with pytest.warns(FutureWarning, match="doors"):
        assert elastic.ElasticsearchStore.name == "elasticsearch"
    assert NotificationService is notify.NotificationService


def test_an_engine_with_a_pca_waits_for_no_compiler_network_library_or_client(tmp_path):
    settings = {**config(tmp_path), "alert_config": {}}
    fitted(settings).save(tmp_path / "model")
    code = (f"import sys; from adlib.realtime import RealTimeAnomalyDetector as E; import numpy\n"
            f"E.load({str(tmp_path / 'model')!r}).judge([numpy.ones((200, 2))])\n"
            f"print(*{{'torch', 'numba', 'skops', 'httpx', 'aiosmtplib', 'nats', "
            f"'elasticsearch', 'matplotlib'}} & sys.modules.keys())")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


def test_an_online_detector_goes_on_from_a_checkpoint(tmp_path, caplog):
    X = np.random.default_rng(2).normal(size=(600, 2))
    settings = {**config(tmp_path), "detectors": ["RollingZScore", "PCAReconstruction"]}
    model = fitted(settings).save(tmp_path / "m")

    def run(part, store):
        engine = RealTimeAnomalyDetector.load(model, {**settings, "alert_config": {
            "storage": {"path": str(tmp_path / store)}}})
        return asyncio.run(judged(engine, replay(X[part], first=part.start or 0)))

    whole = run(slice(0, 600), "one.db")
    assert run(slice(0, 333), "two.db") + run(slice(333, 600), "two.db") == whole
    # the state of an earlier version: the detector warms up anew, and says so
    engine = RealTimeAnomalyDetector.load(model, settings)
    engine.judge([X[:300]])
    engine.members[0].snapshot = lambda: np.zeros(10_240, np.uint8)
    state = engine._state()
    later = RealTimeAnomalyDetector.load(model, settings)
    later._restore(299, state)
    assert later.position == 299 and "another model" in caplog.text


def test_a_bookmark_is_kept_with_the_commit_and_given_back_to_the_same_source(tmp_path):
    """A source that cannot find a number by itself: it remembers where each began."""
    class Book(Source):
        identity = "book"

        def __init__(self):
            self.marks, self.given = {}, None

        async def samples(self, *, features=None, position=-1):
            for seq in range(0 if self.given is None else self.given["next"], 300):
                self.marks[seq] = {"next": seq + 1}
                yield Sample(seq, None, [float(seq % 7), 1.0])

        def bookmark(self, position):
            return self.marks.get(position, self.given)

        def resume(self, mark):
            self.given = mark

    check_source(Book)
    model = fitted(config(tmp_path)).save(tmp_path / "m")
    first, second, other = Book(), Book(), Book()

    def run(source):
        return asyncio.run(judged(RealTimeAnomalyDetector.load(model, config(tmp_path)), source))

    assert run(first)[-1]["end"] == 299
    assert run(second) == [] and second.given == {"next": 300}
    other.identity = "another"
    assert run(other)[-1]["end"] == 599 and other.given is None


def test_a_source_that_is_blocked_is_committed_sooner(tmp_path):
    """A queue that gives ten samples, and further ones once they are acknowledged."""
    class Narrow(Source):
        commit_within = 0.01

        async def samples(self, *, features=None, position=-1):
            room = asyncio.Semaphore(10)

            async def release():
                room.release()

            for seq in range(60):
                await room.acquire()
                yield Sample(seq, None, [0.0, 1.0], release)

    settings = config(tmp_path)
    settings["alert_config"]["storage"]["commit_seconds"] = "1h"
    assert asyncio.run(asyncio.wait_for(judged(fitted(settings), Narrow()), 120))[-1]["end"] == 59


def test_what_a_bookmark_and_an_entity_may_be():
    class Odd(Source):
        mark, entity = {1, 2}, None

        async def samples(self, *, features=None, position=-1):
            yield Sample(0, None, [[1.0], [2.0]], entity=self.entity)

        def bookmark(self, position):
            return self.mark

    assert "bookmark is plain JSON" in broken(check_source, Odd)
    Odd.mark, Odd.entity = None, ["a"]
    assert "entity is None, a text or one" in broken(check_source, Odd)
    Odd.entity = ["a", "b"]
    check_source(Odd)
