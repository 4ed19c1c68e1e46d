"""Flagged windows become incidents; people are told once, and never not at all."""

import asyncio
import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adlib.realtime.events import Silence, Verdict, severity_of
from adlib.realtime.incidents import AlertManager, IncidentConfig, Responses
from adlib.thresholds import decide

SEVERITY = {0.0: "info", 0.8: "warning", 0.95: "critical"}


def window(k, score=0.8, *, stream="rig", step=10.0, features=(("temperature", 1.0),)):
    """The k-th window; score 0 is not flagged, None is not judged."""
    judged = score is not None
    return Verdict(stream, 10 * k, 10 * k + 99, step * k, 0.5 if judged else float("nan"),
                   score if judged else float("nan"), SEVERITY[score or 0.0],
                   bool(score) if judged else None, {}, features)


def run(config, scores, **kwargs):
    manager = AlertManager(IncidentConfig(**config))
    return [e for k, score in enumerate(scores) for e in manager.step(window(k, score, **kwargs))]


def kinds(events):
    return [(event.kind, event.notify) for event in events]


def test_an_incident_is_no_longer_open_because_the_clock_was_set_back():
    manager = AlertManager(IncidentConfig(open_after=1, close_after=2, update_interval=0))
    verdicts = [window(k, 0.8 * (1 <= k < 5)) for k in range(10)]
    verdicts = [replace(v, time=v.time - 3600 * (k >= 3)) for k, v in enumerate(verdicts)]
    events = [event for verdict in verdicts for event in manager.step(verdict)]
    assert [event.kind for event in events] == ["open", "update", "update", "update", "close"]
    last = events[-1].incident
    lengths = [event.incident.last_at - event.incident.opened_at for event in events]
    assert last.id == events[0].incident.id and lengths == [0, 10, 10, 20, 20]
    assert last.opened_at <= last.last_at <= last.closed_at


EAGER = {"open_after": 1, "open_within": 1, "close_after": 1, "cooldown": 0}


# ------------------------------------------------------------------ grouping


def test_a_thousand_flagged_windows_are_one_incident():
    config = IncidentConfig()
    events = run({}, [0.0] * 20 + [0.8] * 1000 + [0.0] * 20)
    assert [e.kind for e in events if e.kind in ("open", "close")] == ["open", "close"]
    assert len({e.incident.id for e in events}) == 1
    closed = events[-1].incident
    assert closed.n_windows == 1000 and closed.state == "closed"
    assert (closed.start, closed.end) == (200, 10 * 1019 + 99)
    assert (closed.opened_at, closed.last_at, closed.closed_at) == (200.0, 10190.0, 10240.0)
    steps = [e.time for e in events if e.kind in ("open", "update", "repeat")]
    assert all(b - a >= config.update_interval for a, b in zip(steps, steps[1:], strict=False))
    told = [e for e in events if e.notify]
    assert [e.kind for e in told] == ["open", "repeat", "repeat", "close"]  # 9990 s, one an hour


def test_opens_at_m_of_n_and_keeps_the_flags_that_opened_it():
    config = {"open_after": 3, "open_within": 5}
    assert run(config, [0.8, 0.0, 0.8, 0.0, 0.0, 0.8, 0.0, 0.8]) == []  # never 3 of 5
    (event,) = run(config, [0.8, 0.0, 0.95, 0.0, 0.8])
    assert event.incident.n_windows == 3 and event.incident.start == 0
    assert event.incident.severity == "critical" and event.incident.peak_score == 0.95
    assert event.time == 40.0 and event.incident.opened_at == 0.0


def test_closes_after_quiet_windows_in_a_row():
    config = EAGER | {"close_after": 3, "update_interval": 1e9}
    events = run(config, [0.8, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0])
    assert kinds(events) == [("open", True), ("close", True)]
    assert events[-1].time == 60.0 and events[-1].incident.n_windows == 2


def test_windows_that_were_not_judged_neither_open_nor_close():
    config = {"open_after": 2, "open_within": 2, "close_after": 2, "update_interval": 1e9}
    assert kinds(run(config, [0.8, None, None, 0.8, 0.0, None, None])) == [("open", True)]
    assert kinds(run(config, [None] * 50)) == []


def test_escalates_once_and_never_falls():
    events = run(EAGER | {"update_interval": 1e9}, [0.8, 0.8, 0.95, 0.8, 0.95, 0.0])
    assert kinds(events) == [("open", True), ("escalate", True), ("close", True)]
    assert events[1].incident.severity == events[2].incident.severity == "critical"


def test_top_features_are_those_of_the_peak():
    manager = AlertManager(IncidentConfig(**EAGER, update_interval=0))
    manager.step(window(0, 0.8, features=(("a", 1.0),)))
    manager.step(window(1, 0.95, features=(("b", 1.0),)))
    (event,) = manager.step(window(2, 0.8, features=(("c", 1.0),)))
    assert event.incident.top_features == (("b", 1.0),)


# ------------------------------------------------------------------ evidence, each piece once


def over(rows, *, alpha=0.01, context=0, n=400, features=None, **config):
    """Events of windows of 100 rows, one every 10, over rows with such p-values."""
    manager = AlertManager(IncidentConfig(**config), alpha=alpha, context=context)
    return [event for end in range(99, n, 10) for event in manager.step(seen(
        end, rows, alpha, features or {}))]


def seen(end, rows, alpha, features):
    peaks = tuple((row, p) for row, p in sorted(rows.items()) if end - 100 < row <= end)
    best = min(peaks, key=lambda peak: peak[1], default=(end, 1.0))
    score, flagged = decide(np.log([best[1]]), alpha)
    return Verdict("rig", end - 99, end, float(end), best[1], float(score[0]),
                   severity_of(float(score[0])), bool(flagged[0]), {},
                   ((features.get(best[0], "a"), 1.0),), peaks)


@pytest.mark.parametrize("rule", [(3, 5), (4, 6), (2, 2), (1, 1)])
def test_an_odd_sample_is_one_piece_of_evidence_however_many_windows_share_it(rule):
    events = over({150: 0.005}, open_after=rule[0], open_within=rule[1])
    assert bool(events) == (rule == (1, 1))


def test_evidence_is_counted_at_least_a_context_apart():
    rows = {150: 0.005, 155: 0.006, 160: 0.007, 165: 0.008}
    assert over(rows, context=16) == []  # one event, and what it leaves in the context
    (opened, *_) = over(rows, context=0)
    assert opened.kind == "open" and opened.incident.start == 60  # in the window that ends with 159
    assert [e.kind for e in over({**rows, 168: 0.009, 190: 0.009}, context=16)][:1] == ["open"]


def test_other_settings_after_a_restart_open_nothing_without_evidence():
    first = AlertManager(IncidentConfig(), alpha=0.01)
    for end in (159, 169):
        assert first.step(seen(end, {150: 0.005, 155: 0.005}, 0.01, {})) == []
    second = AlertManager(IncidentConfig(open_after=1, open_within=1), alpha=0.001)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.step(seen(179, {}, 0.001, {})) == []
    assert second.step(seen(289, {285: 0.0009}, 0.001, {}))[0].incident.n_windows == 1


def test_a_long_context_leaves_room_for_its_evidence():
    rows = dict.fromkeys((150, 260, 370), 0.005)
    assert over(rows, open_within=3) == []
    assert over(rows, open_within=3, context=99, n=600)[0].kind == "open"


def test_evidence_above_alpha_and_evidence_far_apart_open_nothing():
    assert over({150: 0.005, 170: 0.02, 190: 0.02}) == []
    assert over({100: 0.005, 200: 0.005, 300: 0.005}) == []


def test_critical_evidence_opens_at_once_and_severity_is_that_of_the_evidence():
    events = over({150: 0.0005})
    assert [(e.kind, e.time) for e in events] == [("open", 159.0), ("close", 209.0)]
    assert events[0].incident.severity == "critical" and events[0].notify
    # the next incident is not critical because its windows still hold the critical row
    rows = {150: 0.0005, 215: 0.005, 220: 0.005, 225: 0.005}
    second = over(rows, cooldown=0)[2].incident
    assert (second.severity, second.end) == ("warning", 225)


def test_an_incident_ends_with_its_evidence_and_closes_soon_after():
    rows = dict.fromkeys(range(150, 180), 0.005)
    closed = over(rows)[-1]
    assert closed.kind == "close" and closed.incident.end == 179
    assert closed.time == 229.0  # five windows after the last one that brought news
    assert over(rows, context=9)[-1].time <= 229 + 2 * 9
    # evidence of a long context comes rarely, and its incident stays one
    rows = dict.fromkeys(range(150, 1000, 60), 0.0005)
    assert [e.kind for e in over(rows, context=50, n=1400) if e.kind != "update"] == [
        "open", "close"]


def test_news_in_an_open_incident_is_sent():
    rows = dict.fromkeys([*range(150, 165), *range(200, 215)], 0.005)
    features = dict.fromkeys(range(200, 215), "b")
    sent = [e for e in over(rows, features={}) if e.notify]
    assert [e.kind for e in sent] == ["open", "close"]
    rows.update(dict.fromkeys(range(200, 215), 0.004))
    sent = [e for e in over(rows, features=features) if e.notify]
    assert [(e.kind, e.time) for e in sent] == [
        ("open", 159.0), ("update", 219.0), ("close", 269.0)]
    assert "led by b" in sent[1].incident.detail and sent[2].incident.detail == ""
    # evidence after the pause of a window is news too, and at most one in update_interval is sent
    rows = dict.fromkeys([150, 151, 152, 280, 420, 421], 0.005)
    sent = [e for e in over(rows, close_after=20, n=800) if e.notify]
    assert [(e.kind, e.time) for e in sent][1:3] == [("update", 289.0), ("update", 429.0)]
    sent = [e for e in over(rows, close_after=20, n=800, update_interval=200) if e.notify]
    assert [(e.kind, e.time) for e in sent][1:2] == [("update", 429.0)]


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.integers(0, 700), st.sampled_from([0.009, 0.004, 0.0002]), max_size=30),
       st.integers(0, 70), st.integers(0, 40))
def test_evidence_survives_a_restart(rows, cut, context):
    config = IncidentConfig(open_after=2, open_within=4, cooldown=30)
    windows = [seen(end, rows, 0.01, {}) for end in range(99, 800, 10)]
    whole, first, second = (AlertManager(config, alpha=0.01, context=context) for _ in range(3))
    expected = [e for w in windows for e in whole.step(w)]
    events = [e for w in windows[:cut] for e in first.step(w)]
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert events + [e for w in windows[cut:] for e in second.step(w)] == expected
    assert second.state() == whole.state()


def test_streams_do_not_meet():
    manager = AlertManager(IncidentConfig(open_after=2, open_within=2))
    assert manager.step(window(0, stream="a")) == manager.step(window(0, stream="b")) == []
    (event,) = manager.step(window(1, stream="b"))
    assert event.incident.id == "b|combined|0" and manager.incident("a") is None
    assert manager.incident("b") == event.incident


# ------------------------------------------------------------------ who is told, and when


def test_repeats_by_event_time_until_acknowledged():
    manager = AlertManager(IncidentConfig(**EAGER, repeat_interval=100, update_interval=1e9))
    events = [e for k in range(25) for e in manager.step(window(k))]
    assert [(e.kind, e.time) for e in events] == [("open", 0), ("repeat", 100), ("repeat", 200)]
    assert manager.acknowledge("rig|combined|0") and not manager.acknowledge("rig|combined|10")
    events = [e for k in range(25, 60) for e in manager.step(window(k))]
    events += manager.step(window(60, 0.95)) + manager.step(window(61, 0.0))
    assert kinds(events) == [("escalate", True), ("close", True)]
    assert events[0].incident.acknowledged


def test_no_repeats_when_off():
    events = run(EAGER | {"repeat_interval": None, "update_interval": 1e9}, [0.8] * 2000)
    assert kinds(events) == [("open", True)]


def test_cooldown_keeps_quiet_but_not_for_ever():
    config = EAGER | {"cooldown": 100, "update_interval": 1e9}
    flapping = [0.8, 0.0] * 12
    events = run(config, flapping)
    told = [(e.kind, e.time) for e in events if e.notify]
    assert told == [("open", 0), ("close", 10), ("open", 120), ("close", 130)]  # 110 = 10 + 100
    # One that outlasts the cooldown is told when it ends.
    events = run(config, [0.8, 0.0] + [0.8] * 15 + [0.0])
    assert [(e.kind, e.time, e.notify) for e in events[2:]] == [
        ("open", 20, False), ("repeat", 110, True), ("close", 170, True)]


def test_something_worse_breaks_the_cooldown():
    config = EAGER | {"cooldown": 1000, "update_interval": 1e9}
    events = run(config, [0.8, 0.0, 0.8, 0.95, 0.0, 0.95, 0.0])
    assert kinds(events[2:]) == [("open", False), ("escalate", True), ("close", True),
                                 ("open", False), ("close", False)]


def test_below_the_lowest_severity_nobody_is_told():
    config = EAGER | {"min_severity": "critical", "update_interval": 1e9}
    assert kinds(run(config, [0.8, 0.8, 0.0])) == [("open", False), ("close", False)]
    assert kinds(run(config, [0.8, 0.95, 0.0])) == [
        ("open", False), ("escalate", True), ("close", True)]


@pytest.mark.parametrize(("silence", "silent"), [
    (Silence("s", 1e9), True),
    (Silence("s", 0.0), False),  # ended
    (Silence("s", 1e9, stream="ri?"), True),
    (Silence("s", 1e9, stream="pump*"), False),
    (Silence("s", 1e9, severity="warning"), False),  # the incident is critical
    (Silence("s", 1e9, feature="temp*"), True),
    (Silence("s", 1e9, feature="pressure"), False),
    (Silence("s", 1e9, kind="anomaly"), True),
    (Silence("s", 1e9, kind="health"), False),
    (Silence("s", 1e9, start=0.0), True),
    (Silence("s", 1e9, start=500.0), False),  # not yet
    (Silence("s", 5.0, start=2.0, every=8.0), True),  # again: from 10 to 13 and so on
    (Silence("s", 5.0, start=2.0, every=4.0), True),
    (Silence("s", 5.0, start=3.0, every=10.0), False),
    (Silence("s", None), False),  # as an earlier version could keep it
    (Silence("s", float("nan")), False),
    (Silence("s", float("inf")), False),
    (Silence("s", "soon"), False),
    (Silence("s", 1e9, severity="fatal"), False),
    (Silence("s", 1e9, stream=None), False),
    (Silence("s", 1e9, start=0.0, every=0.0), False),
])
def test_silences_match_stream_severity_feature_and_time(silence, silent):
    manager = AlertManager(IncidentConfig(**EAGER))
    manager.silence(silence)
    (event,) = manager.step(window(1, 0.95))
    assert event.notify is not silent


def test_what_a_silence_hid_is_told_when_it_ends():
    manager = AlertManager(IncidentConfig(**EAGER, update_interval=1e9))
    manager.apply({"acknowledged": [], "silences": [Silence("s", 45.0).to_dict()]})
    events = [e for k in range(8) for e in manager.step(window(k))]
    assert [(e.kind, e.time) for e in events] == [("open", 0), ("repeat", 50)]
    assert [e.notify for e in events] == [False, True]
    manager.apply({"acknowledged": ["rig|combined|0"], "silences": []})
    assert manager.incident("rig").acknowledged


# ------------------------------------------------------------------ properties

SCORES = st.lists(st.sampled_from([0.0, 0.0, 0.8, 0.8, 0.95, None]), max_size=80)
CONFIGS = st.builds(
    lambda m, extra, **rest: IncidentConfig(open_after=m, open_within=m + extra, **rest),
    st.integers(1, 4), st.integers(0, 3), close_after=st.integers(1, 4),
    cooldown=st.sampled_from([0, 50, 200]), update_interval=st.sampled_from([0, 30, 1000]),
    repeat_interval=st.sampled_from([None, 20, 100]),
    min_severity=st.sampled_from(["info", "warning", "critical"]))


@settings(deadline=None, max_examples=150)
@given(SCORES, CONFIGS)
def test_every_flag_has_one_place_and_events_their_order(scores, config):
    manager, last, life, closed = AlertManager(config), {}, {}, True
    outside = []  # judged windows since the last close, up to the next opening
    for k, score in enumerate(scores):
        for event in manager.step(window(k, score)):
            life.setdefault(event.incident.id, []).append(event)
            last[event.incident.id] = event.incident
        if opened := manager.incident("rig"):
            last[opened.id] = opened
            outside, closed = [], False
        elif not closed:
            closed = True
        elif score is not None:
            # A debounce remainder: too few flags in any span to open an incident.
            outside.append(bool(score))
            assert sum(outside[-config.open_within:]) < config.open_after
    incidents = sorted(last.values(), key=lambda incident: incident.start)
    for incident in incidents:  # an incident holds every flag in its span, and no other's
        span = range(incident.start // 10, (incident.end - 99) // 10 + 1)
        assert incident.n_windows == sum(bool(scores[k]) for k in span)
        assert scores[span[0]] and scores[span[-1]]
        assert incident.peak_score == max(scores[k] or 0 for k in span)
    assert all(a.end - 99 < b.start for a, b in zip(incidents, incidents[1:], strict=False))
    ids = [event.id for events in life.values() for event in events]
    assert len(ids) == len(set(ids))
    for events in life.values():
        names = [event.kind for event in events]
        assert names[0] == "open" and "open" not in names[1:] and "close" not in names[:-1]
        assert [event.n for event in events] == list(range(len(events)))
        assert all(event.notify for event in events if event.kind == "repeat")
        assert not any(event.notify for event in events if event.kind == "update")
        if names[-1] == "close":  # the end is told exactly to those who were told before
            assert events[-1].notify == any(event.notify for event in events[:-1])


@settings(deadline=None, max_examples=100)
@given(SCORES, CONFIGS, st.integers(0, 80))
def test_restored_at_any_window_the_same_events_follow(scores, config, cut):
    whole, first = AlertManager(config), AlertManager(config)
    for manager in (whole, first):
        manager.silence(Silence("s", 150.0, severity="warning"))
    windows = [window(k, score) for k, score in enumerate(scores)]
    expected = [e for w in windows for e in whole.step(w)]
    events = [e for w in windows[:cut] for e in first.step(w)]
    second = AlertManager(config)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    events += [e for w in windows[cut:] for e in second.step(w)]
    assert events == expected and second.state() == whole.state()


@pytest.mark.parametrize(("config", "words"), [
    ({"open_after": 4, "open_within": 3}, "open_after must be at most open_within"),
    ({"close_after": 0}, "close_after"),
    ({"cooldown": -1}, "cooldown"),
    ({"cool_down": 1}, "cool_down"),
    ({"min_severity": "fatal"}, "critical"),
])
def test_configuration_is_checked(config, words):
    with pytest.raises(ValidationError, match=words):
        IncidentConfig(**config)


# ------------------------------------------------------------------ responses


def test_responses_by_severity_and_kind_and_failures_are_counted(caplog):
    responses, seen = Responses(timeout=0.05), []
    events = run(EAGER | {"update_interval": 0}, [0.8, 0.8, 0.95, 0.0])

    @responses.on()
    def always(event):
        seen.append(("always", event.kind))

    @responses.on(severity="critical")
    async def worst(event):
        await asyncio.sleep(0)
        seen.append(("worst", event.kind))

    @responses.on(kind="close")
    def broken(event):
        raise RuntimeError("the pump does not answer")

    @responses.on(kind=["update"])
    async def hangs(event):
        await asyncio.sleep(60)

    with caplog.at_level(logging.ERROR):
        asyncio.run(responses.run(events))
    assert seen == [("always", "open"), ("always", "escalate"), ("worst", "escalate")]
    assert {name.rpartition(".")[2]: n for name, n in responses.failures.items()} == {
        "broken": 1, "hangs": 1}
    assert "the pump does not answer" in caplog.text


@pytest.mark.parametrize("bad", [{"severity": "fatal"}, {"kind": "opened"}])
def test_responses_refuse_what_never_happens(bad):
    with pytest.raises(ValueError, match="must be"):
        Responses().on(**bad)
