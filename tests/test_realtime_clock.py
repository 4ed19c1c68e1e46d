"""Event time: no stamp is the clock by itself, and nothing that a clock does blinds the engine."""

import asyncio
import json
import math
from datetime import UTC, datetime
from functools import cache
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realtime_windows import cut

from adlib.reading.options import Reading
from adlib.reading.records import Records
from adlib.realtime import AlertManager, RealTimeAnomalyDetector, Sample, StreamProcessor
from adlib.realtime.clock import StreamClock
from adlib.realtime.doors.records import grouped
from adlib.realtime.events import Verdict
from adlib.realtime.incidents import IncidentConfig

T = 1_700_000_000.0
ODD = st.one_of(
    st.floats(width=64), st.floats(-1e5, 1e5).map(lambda step: T + step), st.integers(), st.none(),
    st.sampled_from([T * 1e3, T * 1e6, T * 1e9, 4.2e9, 253_402_214_400, 0, -1, "31.12.2023 10:00",
                     datetime(2024, 1, 1), np.datetime64("2023-11-14"), [], True, 10**400]))


def follow(clock, stamps, cuts=()):
    """Event times and events of stamps, in parts; not those that stamps are believed again."""
    times, told = [], []
    for part in np.split(np.arange(len(stamps)), cuts):
        every = np.ones(len(part), bool)
        found, said = clock.follow(part, np.asarray(stamps, float)[part], every, every, every)
        times += found.tolist()
        told += [(int(part[k]), text) for k, text in said if "again" not in text]
    return times, told


def push(processor, stamps, begin=0, size=1):
    """Times of windows of one sample, and events."""
    times, events = [], []
    for at in range(0, len(stamps), size):
        block = processor.push([Sample(begin + k, stamps[k], np.array([float(k)]))
                                for k in range(at, min(at + size, len(stamps)))])
        times += [(w.time, w.valid) for w in cut(processor, block)]
        events += block.events
    return times, events


# ------------------------------------------------------------------ stamps that are in order


@pytest.mark.parametrize("unit", [1, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("every", [0.001, 1.0, 60.0, 7200.0, 86_400.0, 30 * 86_400.0])
def test_a_regular_stream_keeps_its_stamps_in_any_unit(every, unit):
    stamps = 1e9 + np.arange(100) * every
    times, told = follow(StreamClock(), stamps * unit, [3, 40])
    np.testing.assert_allclose(times, stamps, atol=1e-6)
    assert len(told) == (unit > 1) and all("seconds, and are read so" in text for _, text in told)


def test_gaps_of_an_irregular_stream_up_to_an_hour_are_believed_and_longer_ones_soon():
    steps = np.random.default_rng(0).choice([0.0, 0.5, 3.0, 1800.0, 3500.0], 500)
    stamps = T + np.cumsum(steps)
    assert follow(StreamClock(), stamps) == (stamps.tolist(), [])
    stamps = T + np.r_[np.arange(50.0), 43_200 + np.arange(50.0, 100)]  # a night
    times, told = follow(StreamClock(), stamps)
    wrong = [k for k in range(100) if times[k] != stamps[k]]
    assert wrong == [50, 51] and [k for k, _ in told] == [50, 52]
    assert times[48:53] == [T + 48, T + 49, T + 50, T + 51, T + 43_252]
    assert told[1][1].startswith("gap: ")
    nights = T + np.concatenate([k * 86_400 + np.arange(0, 36_000, 60) for k in range(8)])
    times, told = follow(StreamClock(), nights)
    assert [k for k, _ in told] == [600, 602] and times[1200:] == nights[1200:].tolist()


def test_samples_a_little_out_of_order_keep_the_clock_and_are_told_once():
    stamps = T + np.arange(1000.0)
    jitter = stamps - np.where(np.arange(1000) % 3 == 1, 4.5, 0.0)
    times, told = follow(StreamClock(), np.r_[T - np.arange(9.0, 0, -1), jitter])
    assert np.abs(np.array(times[9:]) - stamps).max() <= 1
    assert [k for k, _ in told] == [10] and told[0][1].startswith("late: ")
    stamps[500:] -= 5  # set back by less than ten intervals: time waits
    times, told = follow(StreamClock(), stamps)
    assert times[505:] == stamps[505:].tolist() and times[500:505] == [T + 499] * 5


def test_after_many_samples_without_a_stamp_the_next_one_is_believed():
    stamps = T + np.arange(20_000.0)
    given = np.where(np.arange(20_000) % 19_000 > 10, np.nan, stamps)
    times, told = follow(StreamClock(), given, [4_000])
    np.testing.assert_array_equal(times, stamps)
    assert [k for k, _ in told] == [11, 19_011]


# ------------------------------------------------------------------ stamps that are not


@pytest.mark.parametrize("step", [-3600.0, 31 * 86_400.0, -31 * 86_400.0, -1.7e9])
def test_a_clock_that_is_set_is_followed_after_three_stamps_that_agree(step):
    stamps = T + 60 * np.arange(100) + np.where(np.arange(100) < 50, 0, step)
    times, told = follow(StreamClock(), stamps)
    assert times[:50] == stamps[:50].tolist() and times[52:] == stamps[52:].tolist()
    assert times[50:52] == [T + 3000, T + 3060]
    assert [k for k, _ in told] == [50, 52] and told[1][1].startswith("set: ")


def test_a_clock_is_not_set_into_the_future_unless_the_stream_began_there():
    stamps = T + np.arange(400.0)
    stamps[100:300] += 2.4e9
    for latest, wrong in ((T + 86_400, False), (math.inf, True), (T - 1, True)):
        times, told = follow(StreamClock(latest=latest), stamps)
        assert times[:100] == stamps[:100].tolist() and times[302:] == stamps[302:].tolist()
        assert times[299] == (stamps[299] if wrong else T + 299)
        assert [text[:3] for _, text in told] == (["dou", "set"] * 2 if wrong else ["dou"])
    clock = StreamClock(latest=5.0)
    clock.restore(StreamClock(latest=7.0).state())
    assert clock.latest == 5.0


@pytest.mark.parametrize("placeholder", [0.0, 4.2e9, 253_402_214_400.0, np.nan, np.inf, -1.0])
def test_a_placeholder_never_becomes_the_clock_however_often_it_comes(placeholder):
    stamps = T + np.arange(300.0)
    times, told = follow(StreamClock(), np.where(np.arange(300) % 100 > 9, placeholder, stamps))
    np.testing.assert_allclose(times, stamps)
    assert [k for k, _ in told] == [10, 110, 210]


@pytest.mark.parametrize("first", [T - 40 * 86_400, T + 40 * 86_400, 4.2e9, 0.0])
def test_a_first_stamp_that_is_wrong_is_forgotten_after_three(first):
    stamps = np.r_[first, T + np.arange(1, 100.0)]
    times, _ = follow(StreamClock(), stamps)
    assert times[3:] == stamps[3:].tolist()


@pytest.mark.parametrize("apart", [3600.0, -3600.0, 7 * 86_400.0])
def test_of_two_clocks_that_alternate_one_is_followed_and_few_events_tell_it(apart):
    stamps = T + np.arange(2000.0) + apart * (np.arange(2000) % 2)
    times, told = follow(StreamClock(), stamps)
    followed = 8 if times[8] == stamps[8] else 9
    np.testing.assert_allclose(
        times[8:], stamps[followed] - followed + np.arange(8, 2000), atol=1)
    assert 5 <= len(told) <= 12 and told[-1][1].startswith("doubted: ")


def test_events_say_when_doubt_begins_and_ends_also_where_it_comes_and_goes():
    stamps = T + np.arange(3000.0)
    stamps[:100:2] = np.nan  # ten events, then silence until a thousand stamps are good
    stamps[300:600] = 0.0
    stamps[2000:2300] = 9.0
    told = follow_all(stamps)
    assert [text.split(":")[0] for _, text in told] == ["doubted", "believed again"] * 11
    assert [k for k, _ in told[-5:]] == [17, 18, 1600, 2000, 2300]
    assert "after 300 samples" in told[-1][1]


def follow_all(stamps):
    every = np.ones(len(stamps), bool)
    clock, told = StreamClock(), []
    for at in range(0, len(stamps), 130):
        part = slice(at, at + 130)
        found = clock.follow(np.arange(len(stamps))[part], stamps[part], *[every[part]] * 3)[1]
        told += [(at + k, text) for k, text in found]
    assert told == StreamClock().follow(np.arange(len(stamps)), stamps, *[every] * 3)[1]
    return told


def test_time_that_ran_ahead_waits_for_the_stamps():
    stamps = np.r_[T + 10 * np.arange(40), [np.nan] * 5, T + 390 + np.arange(1.0, 90)]
    times, _ = follow(StreamClock(), stamps)
    assert times[44] == T + 440 and (np.diff(times) >= 0).all() and times[-1] == stamps[-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(ODD, max_size=30), st.integers(0, 3), st.data())
def test_whatever_the_stamps_time_is_finite_and_the_samples_are_judged(odd, good, data):
    """The same in any batches and after any restart; soon after, the stamps count again."""
    stamps = [T + k for k in range(good)] + odd
    stamps += [T + k for k in range(len(stamps), len(stamps) + 150)]
    one, many = StreamProcessor(1), StreamProcessor(1)
    times, events = push(one, stamps)
    assert len(times) == len(stamps) and all(valid for _, valid in times)
    assert all(math.isfinite(time) and abs(time) < 9.2e9 for time, _ in times)
    assert all(math.isfinite(e.time) and e.kind == "clock" for e in events)
    assert [time for time, _ in times[-10:]] == stamps[-10:]
    size, cut = data.draw(st.integers(1, 50)), data.draw(st.integers(0, len(stamps)))
    first, before = push(many, stamps[:cut], size=size)
    again = StreamProcessor(1)
    again.restore(many.state())
    rest, after = push(again, stamps[cut:], begin=cut, size=size)
    assert (first + rest, before + after) == (times, events)


# ------------------------------------------------------------------ what depends on time


def test_cooldown_and_intervals_last_as_long_when_the_clock_goes_back():
    manager = AlertManager(IncidentConfig(
        open_after=1, open_within=1, close_after=1, cooldown=600, repeat_interval=300))

    numbers = count()

    def step(time, flagged):
        seq = next(numbers)
        return [(e.kind, e.notify) for e in manager.step(Verdict(
            "rig", seq, seq, time, 1e-3, 0.8 * flagged, "warning", flagged, {}, ()))]

    assert step(T, True) == [("open", True)]
    assert step(T - 3600, True) == []
    assert step(T - 3600 + 299, True) == [("update", False)]
    assert step(T - 3600 + 301, True) == [("repeat", True)]
    assert step(T, False) == [("close", True)]
    assert step(T - 86_400, True) == [("open", False)]  # 0 s later: the cooldown runs
    restarted = AlertManager(manager.config)
    restarted.restore(manager.state())
    manager = restarted
    assert step(T - 2 * 86_400 + 599, True) != [("repeat", True)]
    assert step(T - 2 * 86_400 + 1200, True) == [("repeat", True)]


@cache
def engine():
    return RealTimeAnomalyDetector({
        "deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
        "window_size": 10, "stride": 5, "alpha": 0.01, "drift": False,
    }).fit(np.random.default_rng(0).normal(size=(3000, 2)))


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
@settings(max_examples=15, deadline=None)
@given(st.lists(ODD, min_size=5, max_size=30), st.booleans())
def test_a_fault_after_bad_stamps_opens_an_incident(odd, at_first):
    X = np.random.default_rng(1).normal(size=(200, 2))
    X[100:160] += 9
    stamps = [T + k for k in range(200)]
    stamps[slice(0, len(odd)) if at_first else slice(20, 20 + len(odd))] = odd
    live, clean = engine().fork(), engine().fork()
    verdicts, events = live.judge([Sample(k, stamps[k], X[k]) for k in range(200)])
    expected, _ = clean.judge([Sample(k, T + k, X[k]) for k in range(200)])
    assert [(v.start, v.is_anomaly) for v in verdicts] == [
        (v.start, v.is_anomaly) for v in expected]
    assert all(math.isfinite(e.time) for e in events)
    manager = AlertManager()
    found = [e for v in verdicts for e in manager.step(v)]
    assert [e.kind for e in found][:1] == ["open"] and found[0].notify
    assert all(math.isfinite(e.time) for e in found)


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
@pytest.mark.parametrize("odd", [
    [[1], [1, 2]], "yesterday", [], np.arange(3.0), np.array([1j]), 10**400, object(), None])
def test_a_stream_goes_on_whatever_stands_for_the_times_of_a_block(odd):
    X = np.random.default_rng(1).normal(size=(100, 2))

    async def source():
        for at in range(0, 100, 25):
            yield Sample(at, odd if at == 50 else T + np.arange(at, at + 25), X[at:at + 25])

    async def run(live):
        return [window async for window in live.process_stream(source())]

    windows = asyncio.run(run(engine().fork(batch_windows=2)))
    assert [w["end"] for w in windows] == list(range(9, 100, 5))
    assert [w["time"] for w in windows] == [T + w["end"] for w in windows]


def test_a_date_of_another_kind_is_read_or_doubted_and_never_poison():
    day = np.datetime64("2023-11-14") + np.arange(3) * np.timedelta64(1500, "ms")
    processor = StreamProcessor(1)
    block = processor.push([Sample(0, day, np.zeros((3, 1)))])
    assert np.diff(block.time).tolist() == [1.5, 1.5] and not block.events
    begin = "2023-11-14 00:00:09"
    (event,) = processor.push([Sample(3, begin, np.zeros((1, 1)))]).events
    assert event.kind == "clock" and event.time == block.time[2] + 1.5


# ------------------------------------------------------------------ records of a stream


def written(times, how):
    return [f"{datetime.fromtimestamp(t, UTC):{how}}" for t in times]


def judged(stamps, by_message=False):
    """Verdicts, events and notes of records with these times; "absent" has none."""
    notes = []
    records = Records(["a", "b"], Reading(missing="keep"), notes.append)
    X = np.random.default_rng(1).normal(size=(len(stamps), 2))
    lines = [json.dumps({"time": stamp, "a": a, "b": b} if stamp != "absent" else {"a": a, "b": b}
                        ).encode() for stamp, (a, b) in zip(stamps, X.tolist(), strict=True)]
    found = map(records.message, lines) if by_message else records.lines(lines)
    verdicts, events = engine().fork().judge(grouped(enumerate(found)))
    assert [v.end for v in verdicts] == list(range(9, len(stamps), 5))
    assert all(v.is_anomaly is not None and math.isfinite(v.time) for v in verdicts)
    assert all(math.isfinite(e.time) for e in events)
    return verdicts, events, notes


TRUE = [T + 60 * k for k in range(100)]


@pytest.mark.parametrize("by_message", [False, True])
@pytest.mark.parametrize("stamps", [
    TRUE, [t * 1e3 for t in TRUE], [int(t * 10**6) for t in TRUE], [int(t) * 10**9 for t in TRUE],
    list(map(str, TRUE)), written(TRUE, "%Y-%m-%dT%H:%M:%SZ"), written(TRUE, "%d.%m.%Y %H:%M:%S")])
def test_a_whole_stream_of_records_in_one_way_of_writing_times(stamps, by_message):
    verdicts, events, _ = judged(stamps, by_message)
    assert [v.time for v in verdicts] == [TRUE[v.end] for v in verdicts]
    assert not events


@pytest.mark.parametrize("by_message", [False, True])
@pytest.mark.parametrize("odd", [
    None, "not known", "31.12.2023 10:00", "absent", "9999-12-31 00:00:00", "2100-01-01 00:00:00",
    "", True, [1, 2], {"day": 1}, 10**400, -5, 0, 4.2e9, float("inf"), float("nan")])
@pytest.mark.parametrize("at", [0, 50])
@pytest.mark.parametrize("many", [1, 40])
def test_records_whose_time_is_odd_are_judged_and_told(odd, at, many, by_message):
    stamps = written(TRUE, "%Y-%m-%d %H:%M:%S")
    stamps[at:at + many] = [odd] * many
    verdicts, events, notes = judged(stamps, by_message)
    assert verdicts[-1].time == TRUE[verdicts[-1].end]
    if at:
        assert [e.start for e in events if e.detail.startswith("doubted: ")] == [50]
    else:
        assert len(events) <= 2
