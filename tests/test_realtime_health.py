"""Never silently blind: conditions become incidents, the monitor, the server, the heartbeat."""

import asyncio
import itertools
import json
import math
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
from realtime_servers import plain

from adlib.realtime import (
    AlertStore,
    Channel,
    NotificationService,
    Outcome,
    RealTimeAnomalyDetector,
    Sample,
)
from adlib.realtime.counters import Tally
from adlib.realtime.doors.heartbeat import Heartbeat, HeartbeatConfig
from adlib.realtime.doors.http import pages, served
from adlib.realtime.events import QualityEvent, Silence, Verdict
from adlib.realtime.health import Condition, Conditions, HealthConfig, StreamHealth
from adlib.realtime.incidents import IncidentConfig
from adlib.realtime.monitor import Monitor
from adlib.realtime.notify import NotificationConfig
from adlib.realtime.store import OutboxRow

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")

NAMES = [f"x{j}" for j in range(12)]


def conditions(period=None, **incidents):
    return Conditions("rig", HealthConfig(), IncidentConfig(**incidents), period)


def told(events):
    return [(event.id.removeprefix("rig|health."), event.notify) for event in events]


# ------------------------------------------------------------------ the state machine


def test_a_condition_opens_gets_critical_repeats_and_closes():
    machine = conditions(repeat_interval=1800.0)
    lasting = Condition("channel", "slack", "503", after=60.0)
    events = []
    for now in range(0, 4000, 20):
        events += [(now, event) for event in machine.observe([lasting], float(now), 7)]
    for now in range(4000, 4200, 20):
        events += [(now, event) for event in machine.observe([], float(now), 7)]
    assert [(now, event.kind, event.incident.severity) for now, event in events] == [
        (60, "open", "warning"), (1800, "escalate", "critical"), (3600, "repeat", "critical"),
        (4040, "close", "critical")]
    first, last = events[0][1].incident, events[-1][1].incident
    assert (first.id, first.kind, first.opened_at, first.detail) == (
        "rig|health.channel.slack|0", "health", 0.0, "503")
    assert last.state == "closed" and last.closed_at == 4040.0
    assert [event.n for _, event in events] == [0, 1, 2, 3]


def test_one_observation_is_no_incident_unless_it_needs_no_time():
    machine = conditions(period=1.0)
    machine.observe([], 0.0, 0)
    assert machine.observe([Condition("member", "PCA", after=60.0)], 600.0, 10) == []
    assert machine.observe([], 1200.0, 20) == []
    assert told(machine.observe([Condition("frozen", "x1")], 1800.0, 30)) == [
        ("frozen.x1|30|open|0", True)]


def test_what_comes_and_goes_is_one_incident_and_then_kept_quiet_for_the_cooldown():
    machine, events = conditions(cooldown=600.0), []
    dead = Condition("channel", "slack", after=0.0)
    for now in range(0, 300, 10):  # every other look: never absent for a minute
        events += machine.observe([dead] * (now % 20 == 0), float(now), 0)
    for now in range(300, 500, 10):
        events += machine.observe([], float(now), 0)
    for now in range(500, 1200, 10):  # back within the cooldown, and still there after it
        events += machine.observe([dead], float(now), 0)
    assert told(events) == [
        ("channel.slack|0|open|0", True), ("channel.slack|0|close|1", True),
        ("channel.slack|500|open|0", False), ("channel.slack|500|repeat|1", True)]
    assert events[-1].time == events[1].time + 600.0


def test_operators_acknowledge_silence_and_close_by_hand():
    machine = conditions(repeat_interval=60.0, cooldown=0.0)
    dead = Condition("no_data", after=30.0)

    def run(since, until, **operator):
        machine.apply({"acknowledged": [], "silences": [], **operator})
        return told(event for now in range(since, until, 10)
                    for event in machine.observe([dead], float(now), 0))

    assert run(0, 100) == [("no_data|0|open|0", True), ("no_data|0|repeat|1", True)]
    assert run(100, 300, acknowledged=["rig|health.no_data|0"]) == []
    silence = Silence("s", 1000.0, "rig", kind="health").to_dict()
    closed = ["rig|health.no_data|0"]
    assert run(300, 500, closed=closed, silences=[silence]) == [("no_data|300|open|0", False)]
    assert run(500, 520) == [("no_data|300|repeat|1", True)]  # the silence was removed


def test_durations_survive_a_clock_that_goes_back_and_one_that_stands():
    machine = conditions(period=1.0)
    missing = Condition("missing", "x1", after=60.0)
    events, seq = [], itertools.count(0, 10)
    for now in (*range(0, 50, 10), *range(-3600, -3550, 10)):
        events += machine.observe([missing], float(now), next(seq))
    assert told(events) == [("missing.x1|0|open|0", True)] and events[0].time < -3560
    stands = conditions(period=1.0)
    assert told(event for seq in range(0, 200, 10)
                for event in stands.observe([missing], 5.0, seq)) == [("missing.x1|0|open|0", True)]


@pytest.mark.parametrize("times", [
    [*range(99, 200), *range(30 * 86_400, 30 * 86_400 + 700)], [*range(99, 200), *(
        1_700_000_000 + k for k in range(700))]])
def test_a_clock_that_leaps_ahead_makes_nothing_critical(times):
    ends = [99 + k for k in range(0, 800, STRIDE)]
    verdicts = [window(end, k < 5, [("missing", "x1")], float(times[end - 99]))
                for k, end in enumerate(ends)]
    leapt = [QualityEvent("rig", "clock", 200, 200, 0.0, "set: 3 stamps agree")]
    leapt *= times[-1] < 1e9
    events = stream().step(verdicts, leapt, 0)
    assert {event.incident.severity for event in events} == {"warning"}
    assert {event.kind for event in events} <= {"open", "close", "update", "repeat"}


def test_state_restored_anywhere_gives_the_same_events():
    def script():
        for k in range(400):
            found = [Condition("missing", "x1", f"x1, {k // 90}", after=60.0)] * (50 < k < 320)
            found += [Condition("drift", detail="d")] * (k > 200)
            yield found, 10.0 * k, 10 * k

    whole, parts, events = conditions(period=1.0), conditions(period=1.0), []
    wanted = [event for look in script() for event in whole.observe(*look)]
    for look in script():
        events += parts.observe(*look)
        state = json.loads(json.dumps(parts.state()))
        parts = conditions(period=1.0)
        parts.restore(state)
    assert events == wanted and {event.kind for event in wanted} >= {"open", "update", "close"}


# ------------------------------------------------------------------ conditions of the stream

WINDOW, STRIDE = 100, 10


def stream(**how):
    return StreamHealth("rig", NAMES, HealthConfig(), IncidentConfig(),
                        window_size=WINDOW, stride=STRIDE, **how)


def window(end, judged=True, left_out=(), time=None):
    return Verdict("rig", end - WINDOW + 1, end, float(end if time is None else time),
                   0.5 if judged else math.nan, 0.1, "info", False if judged else None, {}, (),
                   left_out=tuple(left_out))


def windows(first, last, *how, **more):
    return [window(end, *how, **more) for end in range(first, last, STRIDE)]


def test_windows_that_cannot_be_judged_are_one_incident_from_the_last_that_could():
    health = stream()
    poison = QualityEvent("rig", "poison", 150, 400, 150.0, "not numbers: '?'")
    events = health.step([*windows(99, 200), *windows(209, 500, False), *windows(509, 700)],
                         [poison], 0)
    events = [event for event in events if event.kind != "update"]  # the reason changed
    assert told(events) == [("not_judging|209|open|0", True), ("not_judging|209|close|2", True)]
    opened, closed = events[0].incident, events[1].incident
    assert (opened.opened_at, events[0].time) == (199.0, 259.0)
    assert closed.closed_at == 559.0 and closed.last_at == 499.0


def test_all_windows_unjudged_from_the_first_and_what_is_left_out_is_named():
    left = [("missing", name) for name in NAMES] + [("member", "PCA")]
    events = stream().step(windows(99, 300, False, left), [], 0)
    assert told(events)[0] == ("not_judging|99|open|0", True)
    assert "missing" in events[0].incident.detail and "x3" in events[0].incident.detail
    assert not any("missing" in event.id for event in events)  # one message, not thirteen


def test_a_missing_feature_is_still_missing_when_all_are():
    one, every = [("missing", "x3")], [("missing", name) for name in NAMES]
    events = stream().step([*windows(99, 300, True, one), *windows(309, 600, False, every),
                            *windows(609, 900, True, one)], [], 0)
    assert [event.kind for event in events if "missing" in event.id] == ["open"]


@pytest.mark.parametrize("reason", ["missing", "frozen"])
def test_detectors_that_cannot_judge_without_a_feature_are_the_same_cause(reason):
    """A model of an earlier version, which knows of no calibration rows without it."""
    off = [("member", "PCA"), ("member", "KNN")]
    events = stream().step([*windows(99, 200), *windows(209, 500, False, [(reason, "x3"), *off]),
                            *windows(509, 700)], [], 0)
    opened = {event.incident.condition: event.incident for event in events if event.kind == "open"}
    assert {"not_judging", f"{reason}.x3"} == opened.keys()
    assert "PCA, KNN" in opened["not_judging"].detail and "x3" in opened["not_judging"].detail
    # those that were off before stay so, and those alone, or where the rest is judged, are told
    for judged, left in ((False, off), (True, [(reason, "x3"), *off])):
        events = stream().step([*windows(99, 400, judged, left), *windows(
            409, 700, False, [(reason, "x3"), *off])], [], 0)
        kinds = [event.kind for event in events if event.incident.condition == "member.PCA"]
        assert kinds[0] == "open" and "close" not in kinds


def test_warm_up_is_not_blindness():
    health = stream(warm_up=1000, context=64)
    assert health.step(windows(99, 1000, False, [("member", "PCA")]), [], 0) == []
    assert told(health.step(windows(1009, 1200, False), [], 0)) == [
        ("not_judging|1009|open|0", True)]


@pytest.mark.parametrize(("reason", "rows"), [("missing", 100), ("frozen", 0), ("member", 100)])
def test_what_is_left_out_has_an_incident_of_its_own(reason, rows):
    health = stream()
    events = health.step([*windows(99, 400, True, [(reason, "x1")]), *windows(409, 600)], [], 0)
    assert told(events) == [(f"{reason}.x1|99|open|0", True), (f"{reason}.x1|99|close|1", True)]
    assert events[0].incident.end - events[0].incident.start >= rows
    assert events[0].incident.top_features == (
        () if reason == "member" else (("x1", 1.0),))


def test_many_features_at_once_are_one_incident():
    left = [("missing", name) for name in NAMES[:10]]
    events = stream().step(windows(99, 400, True, left), [], 0)
    assert told(events) == [("missing.several|99|open|0", True)]
    assert "x9" in events[0].incident.detail and events[0].incident.top_features == ()


def test_a_stretch_that_never_came_has_an_incident():
    gap = QualityEvent("rig", "gap", 300, 4000, 300.0, "3701 samples never came")
    events = stream().step([*windows(99, 300), *windows(4099, 4200)], [gap], 0)
    assert told(events) == [("not_judging|4099|open|0", True), ("not_judging|4099|close|1", True)]
    assert events[0].incident.opened_at == 299.0 and "300 to 3999" in events[0].incident.detail
    unjudged = stream().step([*windows(99, 300), *windows(4049, 4060, False)], [gap], 0)
    assert unjudged[0].incident.opened_at == 299.0


def test_slow_streams_need_two_windows_and_a_burst_of_samples_its_time():
    slow = [window(end, end == 99, time=60.0 * end) for end in range(99, 130, STRIDE)]
    assert [(event.kind, event.time) for event in stream().step(slow, [], 0)] == [
        ("open", 60.0 * 119), ("escalate", 60.0 * 129)]
    fast = [window(end, end == 99, time=0.001 * end) for end in range(99, 9000, STRIDE)]
    assert stream().step(fast, [], 0) == []


def test_drift_opens_once_closes_when_it_is_over_and_never_gets_critical():
    on = QualityEvent("rig", "drift", 200, 299, 299.0, "the combined score is no longer "
                      "distributed as in calibration")
    off = QualityEvent("rig", "drift", 8900, 8999, 8999.0, "the combined score is as it was")
    events = stream().step(windows(99, 9500), [on, off], 0)
    assert [event.kind for event in events if event.kind != "repeat"] == ["open", "close"]
    assert {event.incident.severity for event in events} == {"warning"}


def test_clock_trouble_that_lasts_or_a_clock_that_was_set():
    def clock(at, says):
        return QualityEvent("rig", "clock", at, at, float(at), f"{says}: time stamp 7")

    odd = [clock(205, "doubted"), clock(206, "believed again"), clock(300, "unit")]
    assert stream().step(windows(99, 600), odd, 0) == []
    lasting = [clock(205, "doubted"), clock(300, "late"), clock(401, "gap")]
    assert told(stream().step(windows(99, 600), lasting, 0)) == [
        ("clock|209|open|0", True), ("clock|209|close|1", True)]
    was_set = stream().step(windows(99, 600), [clock(205, "set")], 0)
    assert [event.time for event in was_set] == [209.0, 269.0]


def test_events_do_not_depend_on_the_borders_of_batches_or_on_restarts():
    verdicts = [*windows(99, 600, True, [("missing", "x1")]), *windows(609, 1200, False),
                *windows(1209, 2000, True, [("frozen", "x2")]), *windows(2009, 2500)]
    quality = [QualityEvent("rig", "drift", 700, 799, 799.0, "no longer distributed"),
               QualityEvent("rig", "poison", 650, 660, 650.0, "?"),
               QualityEvent("rig", "drift", 2000, 2205, 2205.0, "is as it was"),
               QualityEvent("rig", "clock", 300, 300, 300.0, "set: back")]
    quality += [QualityEvent("rig", "nan", k, k, float(k), "missing") for k in range(301, 900)]
    wanted = stream().step(verdicts, quality, 0)
    assert len(wanted) > 6 and any("health.clock" in event.id for event in wanted)
    for size in (1, 7):
        health, events = stream(), []
        for at in range(0, len(verdicts), size):
            batch = verdicts[at:at + size]
            last = verdicts[at - 1].end if at else -1
            events += health.step(batch, [q for q in quality if last < q.end <= batch[-1].end], 0)
            state = json.loads(json.dumps(health.state()))
            health = stream()
            health.restore(state)
        assert events == wanted


# ------------------------------------------------------------------ conditions of the process


class Times:
    """Clocks that a test moves: the wall and the monotonic one."""

    def __init__(self):
        self.wall, self.mono = 1.7e9, 100.0

    def pass_(self, seconds):
        self.wall, self.mono = self.wall + seconds, self.mono + seconds


class Rig:
    """A monitor whose engine is played by the test."""

    def __init__(self, store=None, channels=(), **config):
        self.times, self.under_way, self.troubles = Times(), None, []
        self.inbox = SimpleNamespace(rows=0, closed=False, arrived=100.0, message=1, dropped=0,
                                     gap=0.0, next=0)
        self.tally, self.store = Tally(), store
        self.health = StreamHealth("rig", NAMES, HealthConfig(**config), IncidentConfig(),
                                   window_size=WINDOW, stride=STRIDE)
        self.service = None if not channels else NotificationService(
            NotificationConfig(), store, channels=channels)
        self.start()

    def start(self):
        self.monitor = Monitor(
            self.health, self.inbox, self.tally, store=self.store, service=self.service,
            under_way=lambda: self.under_way, troubles=lambda: self.troubles,
            interval=lambda: 1.0, clock=lambda: self.times.wall,
            monotonic=lambda: self.times.mono)
        if self.store is not None:
            self.monitor.resume()

    def run(self, seconds, *, rows=0, judged=0, each=10.0):
        """Time passes; rows come and windows are judged at every look."""
        for _ in range(int(seconds / each)):
            self.times.pass_(each)
            self.monitor.beat()
            if rows:
                self.inbox.arrived = self.times.mono
            self.tally.rows, self.tally.judged = self.tally.rows + rows, self.tally.judged + judged
            self.monitor.tick()
        return [i.id.split("|")[1].removeprefix("health.") for i in self.monitor.conditions.open]


class Pager(Channel):
    def __init__(self, name):
        self.name = name

    async def send(self, rows):
        return [Outcome("sent") for _ in rows]


@pytest.fixture
def store(tmp_path):
    with AlertStore(tmp_path / "alerts.db") as store:
        yield store


def test_nothing_that_arrives_is_an_incident_and_not_ready(store):
    rig = Rig(store)
    assert rig.run(50) == [] and rig.monitor.reasons() == [
        "no window was judged yet: no row came"]
    assert rig.run(10) == ["no_data"]
    (incident,) = store.incidents(state="open")
    assert incident.kind == "health" and incident.opened_at == 1.7e9
    assert rig.run(60, rows=200, judged=1) == [] and rig.monitor.reasons() == []
    assert [i.state for i in store.incidents()] == ["closed"]
    assert rig.run(30) == [] and rig.run(30) == ["no_data"]  # and again, later


def test_a_source_of_rare_or_long_messages_may_be_silent_for_longer():
    rig = Rig()
    rig.inbox.message = 300  # five minutes of samples at once
    assert rig.run(890) == [] and rig.run(10) == ["no_data"]
    seldom = Rig()
    seldom.inbox.gap = 300.0  # without time stamps, by experience
    assert seldom.run(890) == [] and seldom.run(10) == ["no_data"]
    seldom.inbox.gap = 86_400.0  # which an outage does not spoil
    seldom.run(60, rows=200, judged=1)
    assert seldom.run(3590) == [] and seldom.run(10) == ["no_data"]
    assert Rig(no_data="20min").run(1190) == [] and Rig(no_data="never").run(9000) == []
    ended = Rig()
    ended.inbox.closed = True
    assert ended.run(9000) == []


def test_rows_that_never_become_a_judged_window_are_an_incident():
    rig = Rig()
    rig.run(100, rows=200, judged=1)
    assert rig.run(50, rows=200) == [] and rig.run(20, rows=200) == ["no_windows"]
    assert "no window was judged" in rig.monitor.reasons()[0]
    assert rig.run(60, rows=200, judged=1) == []
    slow = Rig()  # a row in ten seconds: the first window takes its time
    assert slow.run(1000, rows=1) == [] and slow.monitor.reasons()


def test_one_blindness_is_one_incident():
    rig = Rig()
    for k in range(20):
        rig.health.step(windows(99 + 100 * k, 199 + 100 * k, False), [], 0)
        rig.run(10, rows=100)
    assert rig.monitor.conditions.open == []
    (reason, _) = rig.monitor.reasons()
    assert reason.startswith("no window is judged")


def test_event_time_that_hardly_moves_hides_no_blindness():
    rig = Rig()
    opened = []
    for k in range(20):
        end = 199 + 100 * k
        rig.health.step([window(end, False, time=1e-6 * end)], [], 0)
        opened += rig.run(10, rows=100)
    assert set(opened) == {"no_windows"}


def test_a_batch_that_hangs_and_a_loop_that_stands():
    rig = Rig()
    rig.run(100, rows=200, judged=1)
    rig.under_way, rig.inbox.rows = rig.times.mono, 50
    rig.times.pass_(6)
    assert rig.monitor.reasons() == ["a batch has been under way for 6 s"]  # at once
    assert rig.run(50) == [] and rig.run(20) == ["hanging"]
    assert "does not end, 50 samples wait" in rig.monitor.conditions.open[0].detail
    rig.under_way, rig.inbox.rows = None, 0
    assert rig.run(60, rows=200, judged=1) == []
    for _ in range(7):  # nobody beats
        rig.times.pass_(10)
        rig.monitor.tick()
    assert "event loop" in rig.monitor.conditions.open[0].detail


def test_samples_that_wait_while_nobody_takes_windows_hang_too():
    rig = Rig()
    rig.run(100, rows=200, judged=1)
    rig.inbox.rows = 7
    assert rig.run(60) == ["hanging"]
    assert "no batch begins" in rig.monitor.conditions.open[0].detail


def test_dropped_samples_are_an_incident_until_no_more_are_dropped():
    rig = Rig()
    rig.run(100, rows=200, judged=1)
    rig.inbox.dropped = 12
    assert rig.run(10, rows=200, judged=1) == ["dropped"]
    assert "12 samples" in rig.monitor.conditions.open[0].detail
    assert rig.run(50, rows=200, judged=1) == ["dropped"]
    assert rig.run(10, rows=200, judged=1) == []


def test_a_dead_channel_is_told_through_the_others(store):
    rig = Rig(store, [Pager("slack"), Pager("email")])
    rig.run(100, rows=200, judged=1)
    rig.troubles = [Condition("channel", "slack", "slack: HTTP 503", rig.times.wall, 300.0)]
    assert rig.run(290, rows=200, judged=1) == []
    assert rig.run(20, rows=200, judged=1) == ["channel.slack"]
    assert {row.channel for row in store.outbox()} == {"slack", "email"}
    assert rig.monitor.reasons() == []  # email works
    rig.troubles.append(Condition("channel", "email", "email: 535", rig.times.wall, 300.0))
    rig.run(310, rows=200, judged=1)
    assert rig.monitor.reasons() == ["no receiver takes messages: email, slack"]


def test_dead_letters_are_an_incident_until_they_are_dealt_with(store):
    rig = Rig(store, [Pager("slack")])
    row = OutboxRow("m", "slack", "k", 0.0, {})
    store.commit("rig", 0, b"", [], [], [], [row])
    (claimed,) = store.claim("slack", 0.0, lease=1.0)
    store.settle([(claimed.seq, "dead", 0.0, "HTTP 413")])
    assert rig.run(60, rows=200, judged=1) == ["dead_letters.slack"]
    store.replay_dead(discard=True)
    assert rig.run(70, rows=200, judged=1) == []


def test_what_cannot_be_stored_is_kept_and_stored_when_it_can_be(store, monkeypatch):
    rig = Rig(store, [Pager("slack")])
    rig.run(100, rows=200, judged=1)
    locked = sqlite3.connect(store.path, isolation_level=None)
    monkeypatch.setattr(store, "record_events", lambda *_: raises(
        sqlite3.OperationalError("database is locked")))
    rig.under_way = rig.times.mono
    rig.troubles = [Condition("store", "", "alert store: locked", rig.times.wall, 5.0)]
    assert rig.monitor.reasons() == ["alert store: locked"]  # at once
    assert rig.run(20, each=1.0) == ["store"] and store.incidents() == []
    rig.troubles, rig.under_way = [], None
    monkeypatch.undo()
    rig.run(100, rows=200, judged=1)
    (incident,) = store.incidents()
    assert (incident.state, incident.opened_at) == ("closed", 1.7e9 + 100)
    assert [row.body["kind"] for row in store.outbox()] == ["open", "close"]
    locked.close()


def test_a_store_whose_file_is_removed_or_replaced_is_no_store(store, tmp_path):
    rig = Rig(store)
    rig.run(20, rows=200, judged=1)
    moved = store.path.rename(tmp_path / "moved.db")
    assert rig.run(60, rows=200, judged=1) == ["store"] and rig.monitor.reasons()
    store.path.write_bytes(b"")
    assert rig.run(90, rows=200, judged=1) == ["store"]
    store.path.unlink()
    moved.rename(store.path)
    rig.run(90, rows=200, judged=1)
    assert rig.monitor.reasons() == [] and [i.state for i in store.incidents()] == ["closed"]


def raises(error):
    raise error


def test_a_restart_goes_on_with_what_is_open_and_closes_what_nobody_knows(store):
    rig = Rig(store)
    rig.run(70)
    left = Conditions("rig", HealthConfig(), IncidentConfig())  # a checkpoint was dropped
    store.record_events(left.observe([Condition("frozen", "x1")], 5.0, 5), [])
    rig.start()
    assert rig.run(10) == ["no_data", "frozen.x1"] or rig.run(10) == ["frozen.x1", "no_data"]
    assert rig.run(1800, rows=200, judged=1) == []
    steps = [(event.incident.id.split(".")[1].split("|")[0], event.kind, event.n)
             for event in store.events()]
    assert sorted(steps) == [("frozen", "close", 1), ("frozen", "open", 0),
                             ("no_data", "close", 1), ("no_data", "open", 0)]


def test_what_the_stream_opens_while_the_monitor_begins_is_the_streams(store, monkeypatch):
    rig, kept = Rig(store), store.incidents

    def commits(**how):
        opened = rig.health.conditions.observe([Condition("drift", "", "other")], 1.7e9, 9)
        store.record_events(opened, [])
        return kept(**how)

    monkeypatch.setattr(store, "incidents", commits)
    rig.monitor.resume()
    assert not rig.monitor.conditions.open and rig.health.conditions.open


def test_a_monitor_that_is_cancelled_while_it_begins_leaves_nothing(store, monkeypatch):
    rig, free = Rig(store), threading.Event()
    monkeypatch.setattr(store, "incidents", lambda **how: free.wait(60.0) and [])

    async def begin():
        task = asyncio.create_task(rig.monitor.__aenter__())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(begin())
    free.set()
    for thread in threading.enumerate():
        if thread.name == "adlib-monitor":
            thread.join(60.0)
            assert not thread.is_alive()


def test_operators_reach_incidents_of_the_process(store):
    rig = Rig(store, [Pager("slack")])
    rig.run(70)
    (incident,) = store.incidents()
    store.acknowledge(incident.id)
    rig.run(7200)
    assert [event.kind for event in store.events() if event.notify] == ["open", "escalate"]
    assert rig.monitor.conditions.open[0].acknowledged


# ------------------------------------------------------------------ the doors


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("where", ["0", ":0", "127.0.0.1:0", "localhost:0"])
def test_pages_are_served_while_clients_say_nothing(where):
    shown = {"/health": lambda: (200, "text/plain", "fine"), "/bad": lambda: 1 / 0}
    with served(plain(shown), where) as url:
        port = int(url.rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        try:
            assert get(f"{url}/health?x=1") == (200, "fine")
            assert [get(f"{url}{path}")[0] for path in ("/", "/healthz", "/bad")] == [404, 404, 500]
            head = urllib.request.Request(f"{url}/health", method="HEAD")
            assert urllib.request.urlopen(head, timeout=20).read() == b""
        finally:
            for client in idle:
                client.close()


@pytest.mark.parametrize(("where", "message"), [
    ("http", r"--serve must be \[HOST:\]PORT"), ("127.0.0.1:70000", "cannot listen"),
    ("203.0.113.9:0", "cannot listen"), ("no such host:80", "cannot listen")])
def test_an_address_that_cannot_be_served_is_refused(where, message):
    with pytest.raises(ValueError, match=message), served(plain({}), where, token="t" * 16):
        pass


def test_a_heartbeat_goes_out_while_the_engine_is_ready(caplog):
    caplog.set_level("DEBUG")
    answers, ready = iter(["beat", "beat", 404]), [True]
    asked = []

    def page():
        asked.append(1)
        answer = next(answers)
        return (200, "text/plain", "") if answer == "beat" else (answer, "text/plain", "")

    with served(plain({"/ping/s3cret": page}), "0") as url:
        heart = Heartbeat(HeartbeatConfig(url=f"{url}/ping/s3cret", every="1h"), lambda: ready[0],
                          clock=itertools.count(1.0).__next__)
        assert heart.beat() and heart.beat() and heart.trouble is None
        ready[0] = False
        assert not heart.beat() and len(asked) == 2
        ready[0] = True
        assert not heart.beat() and heart.trouble[1] == "HTTP 404"
    assert not heart.beat() and heart.trouble[1] == "ConnectError"
    since = heart.trouble[0]
    assert not heart.beat() and heart.trouble[0] == since
    ours = [record for record in caplog.records if not record.name.startswith("uvicorn")]
    assert "httpx" in {record.name for record in ours}
    assert "s3cret" not in repr([vars(record) for record in ours])


def test_a_heartbeat_url_is_a_secret_and_http():
    config = HeartbeatConfig(url="https://hc-ping.com/s3cret")
    assert "s3cret" not in repr(config) and config.every == 60.0
    with pytest.raises(ValueError, match="http://") as caught:
        HeartbeatConfig.from_any({"url": "file:///etc/s3cret"})
    assert "s3cret" not in str(caught.value)


# ------------------------------------------------------------------ the engine

CHEAP = {"deep_config": None, "stat_config": None, "window_size": 20, "stride": 5, "alpha": 0.01,
         "drift": False, "detectors": ["PCAReconstruction"]}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted") / "model"
    X = np.random.default_rng(0).normal(size=(3000, 3))
    return RealTimeAnomalyDetector(CHEAP).fit(X).save(folder)


def engine(fitted, path, channels=(), **alerts):
    return RealTimeAnomalyDetector.load(fitted, {**CHEAP, "alert_config": {
        "storage": {"path": str(path)}, **alerts}}, channels=channels)


def drain(model, source):
    async def collect():
        return [window async for window in model.process_stream(source)]

    return asyncio.run(collect())


async def feed(X, first=0, size=50):
    for at in range(0, len(X), size):
        yield Sample(first + at, 1.7e9 + first + at + np.arange(len(X[at:at + size])),
                     X[at:at + size])


def blinded(n=900):
    X = np.random.default_rng(1).normal(size=(n, 3))
    X[200:500, 1] = np.nan
    X[600:800] = np.nan
    return X


def health_steps(store):
    return [(event.id, event.time, event.notify) for event in store.events()
            if event.incident.kind == "health" and event.kind in ("open", "close")]


def test_blindness_of_a_stream_is_stored_and_sent_and_the_same_after_kills(fitted, tmp_path):
    X = blinded()
    with AlertStore(tmp_path / "a.db") as store:
        drain(engine(fitted, store.path, [Pager("slack")]), feed(X))
        wanted = health_steps(store)
        sent = [row.id for row in store.outbox(state="sent") if "health" in row.key]
    names = [name.split("|health.")[1].split("|")[0] for name, *_ in wanted]
    assert sorted(names) == ["missing.x1"] * 2 + ["not_judging"] * 2
    assert sent == [f"{name}|slack" for name, _, notify in wanted if notify]
    with AlertStore(tmp_path / "b.db") as store:
        for first, last in ((0, 330), (330, 700), (700, 900)):
            drain(engine(fitted, store.path), feed(X[first:last], first, size=35))
        assert health_steps(store) == wanted


def test_an_engine_shows_whether_it_is_ready(fitted, tmp_path):
    model = engine(fitted, tmp_path / "alerts.db", health={"no_data": 0.2, "hanging": 30.0})
    shown, seen = pages(model), []

    async def source():
        seen.append(shown["/ready"]())
        X = np.random.default_rng(2).normal(size=(200, 3))
        yield Sample(0, 1.7e9 + np.arange(200), X)
        while not model.tally.judged:
            await asyncio.sleep(0.01)
        seen.append(shown["/ready"]())
        while not model.store.incidents(state="open"):
            await asyncio.sleep(0.05)
        seen.extend([shown["/ready"](), shown["/health"]()])
        assert 'adlib_ready{stream="stream"} 0.0' in shown["/metrics"]()[2]
        assert 'adlib_health{condition="no_data",stream="stream"} 1.0' in shown["/metrics"]()[2]

    drain(model, source())
    assert [status for status, *_ in seen] == [503, 200, 503, 200]
    said = json.loads(seen[-1][2])
    assert said["reasons"] == ["no sample arrives"] and said["position"] == 199
    assert [i["id"].split("|")[1] for i in said["incidents"]] == ["health.no_data"]
    assert shown["/ready"]()[0] == 503 and model.status()["reasons"] == ["no stream is processed"]
    model.store.close()


def test_an_engine_that_is_used_again_keeps_no_connection_and_no_word_of_before(fitted, tmp_path):
    model = engine(fitted, tmp_path / "alerts.db", health={"after": 600})
    assert model.fork(alpha=0.02).config.alert_config.health.after == 600
    for k in range(4):
        drain(model, feed(np.random.default_rng(k).normal(size=(60, 3)), 60 * k))
    assert len(model.store._connections) <= 6  # of threads that may not have ended yet

    async def begin():
        stream = model.process_stream(feed(np.zeros((60, 3)), 240))
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert model.status()["reasons"] == ["no stream is processed"]
        await task
        await stream.aclose()

    asyncio.run(begin())
    model.store.close()


class Dead(Pager):
    async def send(self, rows):
        return [Outcome("retry", "HTTP 503") for _ in rows]


def test_a_dead_channel_of_an_engine_is_told_through_the_other_one(fitted, tmp_path):
    model = engine(fitted, tmp_path / "alerts.db", [Dead("slack"), Pager("email")],
                   health={"channel": 0.1})
    with AlertStore(tmp_path / "alerts.db") as store:
        async def source():
            X = blinded()  # its messages find out
            yield Sample(0, 1.7e9 + np.arange(len(X)), X)
            while not any("channel.slack" in row.key for row in store.outbox(state="sent")):
                await asyncio.sleep(0.05)
            assert model.status()["ready"]  # somebody can be reached

        drain(model, source())
        assert {row.channel for row in store.outbox(state="sent")} == {"email"}
    model.store.close()


def test_a_source_that_blocks_the_event_loop_is_reported_all_the_same(fitted, tmp_path):
    model = engine(fitted, tmp_path / "alerts.db", health={"hanging": 0.1})

    async def source():
        yield Sample(0, 1.7e9 + np.arange(200), blinded(200))
        for _ in range(100):  # of a library that knows nothing of asyncio
            if model.store.incidents(state="open"):
                break
            time.sleep(0.1)

    drain(model, source())
    (incident,) = model.store.incidents(state="open")
    assert "health.hanging" in incident.id
    model.store.close()


def test_an_engine_that_dies_of_its_source_again_and_again_is_one_incident(fitted, tmp_path):
    async def source():
        yield Sample(0, 1.7e9 + np.arange(200), blinded(200))
        raise ConnectionError("nats://ada:s3cret@broker")

    for _ in range(2):
        model = engine(fitted, tmp_path / "alerts.db", [Pager("slack")])
        with pytest.raises(ConnectionError):
            drain(model, source())
        model.store.close()
    with AlertStore(tmp_path / "alerts.db") as store:
        (incident,) = store.incidents(state="open")
        assert "health.stopped" in incident.id and "ConnectionError" in incident.detail
        assert "s3cret" not in incident.detail
        assert [row.body["kind"] for row in store.outbox(state="sent")] == ["open"]
        drain(engine(fitted, store.path), feed(blinded(200)))  # told to end: nothing new
        assert len(store.events(incident.id)) == 1


def test_a_heartbeat_is_sent_by_a_running_engine_once_it_judges(fitted, tmp_path):
    came = threading.Event()

    def ping():
        came.set()
        return 200, "text/plain", ""

    with served(plain({"/ping": ping}), "0") as url:
        model = engine(fitted, tmp_path / "alerts.db",
                       heartbeat={"url": f"{url}/ping", "every": "1h"})

        async def source():
            assert not await asyncio.to_thread(came.wait, 1.5)  # nothing is judged so far
            yield Sample(0, 1.7e9 + np.arange(200), np.random.default_rng(2).normal(size=(200, 3)))
            assert await asyncio.to_thread(came.wait, 30)

        drain(model, source())
    model.store.close()
