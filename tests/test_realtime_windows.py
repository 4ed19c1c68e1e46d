"""Streams cut into windows: one grid whatever the batches, and a name for every bad sample."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from realtime_windows import cut

from adlib.realtime import Sample, StreamProcessor


def rows(n, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def feed(processor, *items):
    """Windows and events of items pushed one by one."""
    windows, events = [], []
    for item in items:
        block = processor.push([item])
        if block is not None:
            windows += cut(processor, block)
            events += block.events
    return windows, events


def spans(events):
    return [(e.kind, e.start, e.end) for e in events]


def plain(windows):
    return [(w.start, w.end, w.time, w.values.tolist(), w.valid, w.stuck, w.left_out.tolist())
            for w in windows]


def blind(windows):
    """Ends of windows that hold a sample without any feature."""
    return [w.end for w in windows if w.left_out.all(axis=1).any()]


# ------------------------------------------------------------------ the grid


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_windows_and_events_do_not_depend_on_batches(data):
    window, stride = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 7))
    X = rows(80)
    X[30:33, 1], X[50:70, 0] = np.nan, 4.0
    cuts = sorted(data.draw(st.lists(st.integers(1, 79), max_size=8)))
    how = {"stuck": 10, "hold": data.draw(st.integers(0, 2))}
    expected, events = feed(StreamProcessor(window, stride, **how), X)
    found, parts = feed(StreamProcessor(window, stride, **how), *np.split(X, cuts))
    assert plain(found) == plain(expected) and parts == events
    assert [w.end for w in expected] == [s for s in range(window - 1, 80)
                                         if (s + 1 - window) % stride == 0]
    for w in expected:
        good = np.isfinite(X[w.start:w.end + 1])
        np.testing.assert_array_equal(w.values[good], X[w.start:w.end + 1][good])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rows_pushed_together_are_as_rows_pushed_one_by_one(data):
    """Whatever is wrong with them: a source that brings single rows is joined to blocks."""
    draw, X = data.draw, rows(40)
    X[draw(st.integers(0, 39)), 1] = np.nan
    numbered, stamped = draw(st.booleans()), draw(st.booleans())
    items = [Sample(i if numbered else None, 60.0 * i if stamped or i == 7 else None, X[i])
             for i in range(40)]
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(1, len(items) - 1))
        match draw(st.sampled_from(("drop", "twice", "swap", "poison", "wide", "int"))):
            case "drop":
                del items[at]
            case "twice":
                items.insert(at, items[at - 1])
            case "swap":
                items[at - 1], items[at] = items[at], items[at - 1]
            case kind:
                value = {"poison": "?", "wide": np.zeros(3), "int": np.array([1, 2])}[kind]
                items[at] = Sample(items[at].seq, items[at].time, value)
    one, many = (StreamProcessor(6, 2, n_features=2, reorder=reorder)
                 for reorder in [draw(st.integers(0, 3))] * 2)
    expected, events = feed(one, *items)
    block = many.push(items)
    assert plain(cut(many, block)) == plain(expected)
    np.testing.assert_equal(many.state(), one.state())
    assert sorted(spans(block.events)) == sorted(spans(events))


def test_grid_is_that_of_sequence_numbers_not_of_arrival():
    windows, _ = feed(StreamProcessor(10, 4), Sample(1003, None, rows(30)))
    assert [w.end for w in windows] == [1013, 1017, 1021, 1025, 1029]
    assert all((w.end + 1 - 10) % 4 == 0 for w in windows)


def test_rows_and_batches_in_turn():
    X = rows(25)
    found, _ = feed(StreamProcessor(5, 5), X[0], X[1:20], Sample(20, None, X[20:]))
    assert [(w.start, w.end) for w in found] == [(0, 4), (5, 9), (10, 14), (15, 19), (20, 24)]
    np.testing.assert_array_equal(found[3].values, X[15:20])
    assert not found[0].values.flags.writeable


def test_caller_may_reuse_its_buffer():
    processor, buffer = StreamProcessor(4, 1), np.zeros((3, 1))
    processor.push([buffer])
    buffer[:] = 99.0
    (window,), _ = feed(processor, [1.0])
    assert window.values[:, 0].tolist() == [0.0, 0.0, 0.0, 1.0]


# ------------------------------------------------------------------ bad samples


@pytest.mark.parametrize("hold", [0, 1, 3])
def test_missing_values_are_held_so_long_and_then_left_out(hold):
    X = rows(30)
    X[10:13, 1] = [np.nan, np.inf, np.nan]
    windows, events = feed(StreamProcessor(4, 1, hold=hold), X)
    lost = [row in range(10 + hold, 13) for row in range(30)]
    assert all(w.left_out.tolist() == [[False, lost[row]] for row in range(w.start, w.end + 1)]
               and w.valid for w in windows)
    assert spans(events) == [("nan", 10, 10)] and "x1" in events[0].detail
    (held,) = [w for w in windows if w.end == 12]
    assert held.values[-3:, 1].tolist() == [X[9, 1]] * 3


def test_windows_that_a_gap_takes_most_of_are_not_judged():
    X = rows(40)
    windows, events = feed(StreamProcessor(5, 1), Sample(0, None, X[:20]),
                           Sample(23, None, X[23:]))
    assert spans(events) == [("gap", 20, 22)]
    assert blind(windows) == [23, 24, 25, 26]
    assert [w.end for w in windows if not w.valid] == [23, 24]
    assert {20, 21, 22}.isdisjoint(w.end for w in windows)


def test_a_huge_gap_costs_nothing():
    processor = StreamProcessor(5, 1)
    windows, events = feed(processor, Sample(0, None, rows(10)), Sample(10**15, None, rows(10)))
    assert spans(events) == [("gap", 10, 10**15 - 1)] and processor.position == 10**15 + 9
    assert [w.end - 10**15 for w in windows if w.valid and w.end > 100] == [*range(2, 10)]
    assert [end - 10**15 for end in blind(windows)] == [0, 1, 2, 3]


def test_duplicates_and_late_samples_are_skipped():
    X = rows(30)
    windows, events = feed(
        StreamProcessor(4, 2), Sample(0, None, X[:10]), Sample(6, None, X[6:14]),
        Sample(16, None, X[16:]), Sample(14, None, X[14:16]), Sample(3, None, X[3]))
    assert spans(events) == [("duplicate", 6, 9), ("gap", 14, 15), ("late", 14, 15),
                             ("duplicate", 3, 3)]
    clean, _ = feed(StreamProcessor(4, 2), X)
    assert plain(w for w in windows if w.end not in blind(windows)) == plain(
        w for w in clean if not {14, 15} & set(range(w.start, w.end + 1)))


def test_out_of_order_samples_are_put_in_place_where_they_may_wait():
    X = rows(30)
    order = [*range(10), 11, 12, 10, *range(13, 30)]
    expected, _ = feed(StreamProcessor(4, 1), X)
    patient, events = feed(StreamProcessor(4, 1, reorder=2), *(Sample(i, None, X[i])
                                                               for i in order))
    assert plain(patient) == plain(expected) and spans(events) == [("out_of_order", 10, 10)]
    hasty, events = feed(StreamProcessor(4, 1), *(Sample(i, None, X[i]) for i in order))
    assert spans(events) == [("gap", 10, 10), ("late", 10, 10)]
    lost = [i for i in order if i != 10]
    late, events = feed(StreamProcessor(4, 1, reorder=2), *(Sample(i, None, X[i]) for i in lost))
    assert spans(events) == [("gap", 10, 10)] and late[9].end in blind(late)


def test_the_end_of_a_stream_lets_out_what_waits():
    processor = StreamProcessor(2, 1, reorder=100)
    processor.push([Sample(0, None, rows(3)), Sample(5, None, rows(3))])
    assert processor.position == 2
    block = processor.push([], flush=True)
    assert processor.position == 7 and spans(block.events) == [("gap", 3, 4)]


@pytest.mark.parametrize("begin", [1.7e9, 0.0])
def test_gaps_and_poison_of_a_stream_with_stamps_take_the_usual_interval(begin):
    """Ten samples a second, so that counting seconds by sequence numbers would run ahead."""
    cutter = StreamProcessor(1, 1, n_features=1, hold=5)
    stamp = {seq: begin + seq / 10 for seq in range(20)}
    values = [Sample(seq, stamp[seq], [1.0]) for seq in (0, 1, 2, 5, 6)]
    windows, events = feed(cutter, *values, Sample(7, 4e9, "broken"), Sample(8, None, "torn"),
                           Sample(9, stamp[9], [1.0]))
    assert spans(events) == [("gap", 3, 4), ("poison", 7, 7), ("poison", 8, 8)]
    assert [e.time for e in events] == pytest.approx([stamp[s] for s in (5, 7, 8)])
    assert [w.time for w in windows] == pytest.approx([
        stamp[s] for s in (0, 1, 2, 5, 6, 7, 8, 9)])  # what cannot be read sets no clock
    again = StreamProcessor(1, 1, n_features=1, hold=5)
    again.restore(cutter.state())
    (window,), _ = feed(again, Sample(None, None, [1.0]))
    assert window.time == pytest.approx(begin + 1)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("stamp", [1.7e9, 1.7e12, None])
def test_a_first_sample_that_cannot_be_read_is_told_at_its_time(stamp, together):
    processor = StreamProcessor(1, 1, n_features=1)
    samples = [Sample(0, stamp, "?"), Sample(1, 1.7e9 + 1, [1.0])]
    blocks = [processor.push(some) for some in ([samples] if together else
                                                [[sample] for sample in samples])]
    (poison,) = [event for block in blocks for event in block.events]
    known = stamp is not None or together  # else nothing is known of the time
    assert poison.kind == "poison" and abs(poison.time - 1.7e9 * known) <= 1
    assert processor.clock.time == 1.7e9 + 1


def test_time_that_goes_back_is_doubted():
    times = [100.0, 110.0, -90.0, np.nan, 120.0]
    windows, events = feed(StreamProcessor(1, 1), Sample(0, np.array(times), rows(5)))
    assert [w.time for w in windows] == [100.0, 110.0, 120.0, 130.0, 130.0]
    assert spans(events) == [("clock", 2, 2), ("clock", 4, 4)]
    windows, _ = feed(StreamProcessor(1, 1, period=60.0), rows(3))
    assert [w.time for w in windows] == [0.0, 60.0, 120.0]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("stamps, times", [
    ([np.nan, 1.7e9], [0, 1.7e9]),
    ([np.inf, 1e300, -1e300, 1.7e9], [0, 1, 2, 1.7e9]),
    (["poison", np.nan, 1.7e9], [0, 1, 1.7e9]),
    ([1.7e9, 1e300, 1.7e9 + 1], [1.7e9, 1.7e9 + 1, 1.7e9 + 1]),
    ([1.7e9, 4e9, 1.7e9 + 2, -np.inf], [1.7e9, 1.7e9 + 1, 1.7e9 + 2, 1.7e9 + 3]),
    ([0.0, 1.7e9, 1.7e9 + 1, 1.7e9 + 2], [0, 1, 2, 1.7e9 + 2]),  # its clock was set
])  # fmt: skip
def test_an_absurd_time_stamp_is_an_event_and_never_the_clock(stamps, times, restarts):
    processor, windows, events = StreamProcessor(1, 1, n_features=2), [], []
    for seq, stamp in enumerate(stamps):
        poison = stamp == "poison"
        found, said = feed(processor, Sample(seq, None if poison else stamp,
                                             "?" if poison else rows(1)))
        windows, events = windows + found, events + said
        if restarts:
            state, processor = processor.state(), StreamProcessor(1, 1, n_features=2)
            processor.restore(state)
    assert [w.time for w in windows] == times
    assert [w.valid for w in windows] == [stamp != "poison" for stamp in stamps]
    wrong = [seq for seq, (stamp, time) in enumerate(zip(stamps, times, strict=True))
             if stamp == "poison" or not abs(stamp - time) < 1]
    onsets = [seq for seq in wrong if seq - 1 not in wrong or stamps[seq - 1] == "poison"]
    assert [e.start for e in events if e.detail[:3] not in ("bel", "set")] == onsets
    assert all(np.isfinite(e.time) for e in events)


@pytest.mark.parametrize("stamp", [np.nan, np.inf, 1e300, "yesterday", [], None, [np.nan, 5.0]])
def test_events_have_a_finite_time(stamp):
    processor = StreamProcessor(1, 1)
    assert processor.event("dropped", 3, 5, stamp, "the queue was full").time in (0, 3)
    feed(processor, Sample(3, 1.7e9, rows(1)))
    assert processor.event("dropped", 4, 5, stamp, "the queue was full").time == 1.7e9


def test_a_clock_that_an_older_version_kept_absurd_is_forgotten():
    processor = StreamProcessor(1, 1)
    feed(processor, Sample(0, 5.0, rows(1)))
    processor.restore({key: value for key, value in processor.state().items()
                       if key != "clock"} | {"last_time": 1e300, "stamped": True})
    windows, events = feed(processor, Sample(1, 1.7e9, rows(1)))
    assert [w.time for w in windows] == [1.7e9] and not events


def test_stuck_features_are_named_once():
    X = rows(60)
    X[20:50, 1] = X[20, 1]
    windows, events = feed(StreamProcessor(5, 1, stuck=[np.inf, 10], features=["a", "flow"]), X)
    assert spans(events) == [("stuck", 20, 30)] and "flow" in events[0].detail
    assert [w.end for w in windows if w.stuck] == list(range(30, 54))


@pytest.mark.parametrize("poison", [
    "text", ["a", "b"], [1.0], [[1.0, 2.0, 3.0]], np.zeros((1, 2, 2)), None, {"x": 1},
    [[1], [2, 3]], np.array(["1.0", "2.0"]), np.empty((0, 0))])
def test_poison_takes_its_place_and_no_more(poison):
    X = rows(20)
    windows, events = feed(StreamProcessor(3, 1), X[:10], poison, X[10:])
    assert spans(events) == [("poison", 10, 10)]
    assert blind(windows) == [10, 11, 12]
    assert windows[-1].end == 20
    np.testing.assert_array_equal(windows[-1].values, X[-3:])


@pytest.mark.parametrize("row", [[None, 2.0], (None, 2), np.array([None, 2.0], object),
                                 [[None, True]]], ids=str)
def test_none_is_a_missing_value_and_no_poison(row):
    windows, events = feed(StreamProcessor(1, 1, n_features=2), rows(1), row, rows(1))
    assert spans(events) == [("nan", 1, 1)] and all(w.valid for w in windows)
    assert windows[1].left_out.tolist() == [[True, False]]


@pytest.mark.parametrize("of", [
    np.datetime64, datetime.fromisoformat, lambda text: datetime.fromisoformat(f"{text}+00:00"),
    pd.Timestamp, lambda text: pd.Timestamp(text, tz="UTC").tz_convert("Europe/Berlin")])
def test_times_may_be_dates(of):
    at = "2026-01-01T00:00:0"
    windows, events = feed(StreamProcessor(1, 1), *(
        Sample(k, of(f"{at}{k}"), rows(1)) for k in range(3)),
        Sample(3, [of(f"{at}3"), of(f"{at}4")], rows(2)), Sample(5, pd.NaT, rows(1)))
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert [w.time - start for w in windows] == [0, 1, 2, 3, 4, 5]
    assert spans(events) == [("clock", 5, 5)]


def test_poison_before_the_first_sample():
    windows, events = feed(StreamProcessor(2, 1), "noise", rows(5))
    assert events[0].kind == "poison" and [w.end for w in windows] == [2, 3, 4, 5]
    assert not blind(windows)


# ------------------------------------------------------------------ state


@pytest.mark.parametrize("cut", [1, 9, 31, 45, 62, 79])
def test_state_goes_on_as_if_nothing_had_happened(cut):
    X = rows(80)
    X[30:33, 1], X[50:70, 0] = np.nan, 4.0
    expected, events = feed(StreamProcessor(6, 4, stuck=10), X)
    first, second = (StreamProcessor(6, 4, stuck=10) for _ in range(2))
    found, before = feed(first, X[:cut])
    second.restore(first.state())
    rest, after = feed(second, X[cut:])
    assert plain(found + rest) == plain(expected) and before + after == events


@pytest.mark.parametrize("bad", [{"window_size": 0}, {"window_size": 5, "stride": 0},
                                 {"window_size": 2.5}])
def test_sizes_are_checked(bad):
    with pytest.raises(ValueError, match="must be a whole number"):
        StreamProcessor(**bad)


@pytest.mark.parametrize("size", [1, 4, 40])
def test_times_of_events_do_not_depend_on_the_borders_of_batches(size):
    stamps = 1.7e9 + np.arange(40.0)
    stamps[15:] += 9e4  # behind the gap, and doubted
    samples = [Sample(k, stamps[k], "?" if k in (7, 30) else [1.0]) for k in range(40)
               if not 12 <= k < 15]
    cutter = StreamProcessor(4, 1, n_features=1)
    blocks = [cutter.push(samples[at:at + size]) for at in range(0, len(samples), size)]
    found = [(e.kind, e.time - 1.7e9) for block in blocks for e in block.events
             if e.kind != "clock"]
    assert found == [("poison", 7.0), ("gap", 15.0), ("poison", 30.0 + 9e4)]
