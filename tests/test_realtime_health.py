"""Never silently blind: conditions become incidents, the monitor, the server, the heartbeat."""

import itertools
import json
import math

import pytest

from adlib.realtime.events import QualityEvent, Silence, Verdict
from adlib.realtime.health import Condition, Conditions, HealthConfig, StreamHealth
from adlib.realtime.incidents import IncidentConfig

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
    machine = conditions()
    machine.observe([], 0.0, 0)
    assert machine.observe([Condition("member", "PCA", after=60.0)], 600.0, 10) == []
    assert machine.observe([], 1200.0, 20) == []
    assert told(machine.observe([Condition("dropped")], 1800.0, 30)) == [("dropped|1800|open|0",
                                                                          True)]


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


def test_events_do_not_depend_on_the_borders_of_batches_or_on_restarts():
    verdicts = [*windows(99, 600, True, [("missing", "x1")]), *windows(609, 1200, False),
                *windows(1209, 2000, True, [("frozen", "x2")]), *windows(2009, 2500)]
    quality = [QualityEvent("rig", "drift", 700, 799, 799.0, "no longer distributed"),
               QualityEvent("rig", "poison", 650, 660, 650.0, "?"),
               QualityEvent("rig", "drift", 2000, 2205, 2205.0, "is as it was")]
    wanted = stream().step(verdicts, quality, 0)
    assert len(wanted) > 6
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
