"""Blocks of rows, what is left without each, and scores that know nothing."""

import numpy as np
import pytest
from scipy.signal import lfilter

from adlib.dependence import in_runs, looks_serial, memory_rows
from adlib.metrics import average_precision, report, vus
from adlib.metrics.blocks import (
    difference,
    interval,
    median_interval,
    partition,
    read,
    share_interval,
)
from adlib.metrics.chance import credit, p_chance


def smooth(rng, n, phi=0.99):
    return lfilter([np.sqrt(1 - phi ** 2)], [1, -phi], rng.normal(size=n + 500))[500:]


def events(n, starts, length):
    y = np.zeros(n, dtype=bool)
    for start in starts:
        y[start:start + length] = True
    return y


@pytest.mark.parametrize("series", [True, False])
@pytest.mark.parametrize("n_events, memory, blocks", [
    (0, 0, 32), (1, 0, 1), (2, 0, 2), (7, 0, 7), (50, 0, 32), (50, 200, 9)])
def test_every_block_has_an_anomaly_and_no_event_two_blocks(series, n_events, memory, blocks):
    n, everywhere = 4_000, np.ones(4_000, dtype=bool)
    y = events(n, np.linspace(0, n - 3, n_events).astype(int), 3)
    parts = partition(y, everywhere, series, memory)
    m = parts.max() + 1
    if series or not n_events:
        assert m == blocks or (memory and m <= blocks)
    else:
        assert m == min(32, 3 * n_events)
    assert set(parts) == set(range(m))
    if n_events:
        assert set(parts[y]) == set(range(m))
    if series:
        assert (np.diff(parts) >= 0).all()
        assert not np.diff(parts)[y[1:] & y[:-1]].any()


def test_rows_that_do_not_count_open_no_block():
    y = events(300, (20, 120, 220), 10)
    judged = ~events(300, (120,), 10)
    assert partition(y, judged, True).max() == 1


@pytest.mark.parametrize("series", [True, False])
def test_values_without_a_block_are_those_of_the_other_rows(series):
    rng = np.random.default_rng(0)
    y, judged = events(600, (50, 200, 333, 500), 20), rng.random(600) < 0.9
    score = rng.normal(size=600) + y
    table = report(y, score, series=series, judged=judged, window=6, n_random=2)
    found = read(table.blocks[0])
    parts = partition(y, judged, series)
    assert found.size == parts.max() + 1
    assert (table.blocks[1:] == "").all()
    for block, value in enumerate(found):
        rest = judged & (parts != block)
        expected = vus(y, score, 6, judged=rest)[1] if series else average_precision(
            y, score, judged=rest)
        assert value == pytest.approx(expected, abs=0.02 if series else 1e-5)  # other thresholds


def test_limits_of_shares_at_the_ends_are_exact_and_few_blocks_give_none():
    assert share_interval(1.0, 10) == pytest.approx((0.025 ** 0.1, 1.0))
    assert interval(0.0, np.zeros(10), trials=300)[1] == pytest.approx(1 - 0.025 ** (1 / 300))
    assert np.isnan(interval(0.4, [0.4])).all()
    assert np.isnan(interval(0.4, [0.4, np.nan, 0.4])).all()
    low, high = interval(3.0, [2.0, 4.0, 3.0, 3.0], scale="positive")
    assert 0 < low < 3 < high
    assert median_interval(np.arange(20.0)) == (5.0, 14.0)  # the sign test's


@pytest.mark.parametrize("case", ["three events", "eight events", "ten rows", "fifty rows"])
def test_limits_hold_the_truth(case):
    """At least 95 % in truth; 60 runs fall below 54 once in a hundred."""
    values, limits = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        if "rows" in case:
            y = events(600, rng.choice(600, 10 if "ten" in case else 50, replace=False), 1)
            score = rng.normal(size=600) + 1.5 * y
        else:
            starts = np.arange(30, 1_200, 400 if "three" in case else 150)
            y = events(1_200, starts, 20)
            score = smooth(rng, 1_200, 0.9) + np.repeat(
                rng.normal(1.5, 1, starts.size), 1_200 // starts.size) * y
        line = report(y, score, series="events" in case, n_random=0, window=4,
                      metrics=["vus_pr" if "events" in case else "average_precision"]).iloc[0]
        values.append(line.value)
        limits.append((line.low, line.high))
    low, high = np.array(limits).T
    assert ((low <= np.mean(values)) & (np.mean(values) <= high)).sum() >= 54


def test_a_difference_is_paired_pooled_and_never_surer_than_its_blocks():
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 0.1, 12)  # of the rows, the same for both
    ours, theirs = (0.7, 0.7 + luck), (0.65, 0.65 + luck + rng.normal(0, 0.001, 12))
    alone = difference([ours], [theirs])
    assert alone.p < 0.01
    assert alone.low < 0.05 < alone.high
    assert difference([ours] * 3, [theirs] * 3).p < alone.p
    assert difference([theirs], [ours]).p == pytest.approx(alone.p)
    assert difference([(1.0, np.ones(2))], [(0.1, np.full(2, 0.1))]).p == 2 / 16
    assert difference([ours], [ours])[2:] == (0.0, 1.0)
    assert np.isnan(difference([ours, (0.5, np.ones(1))], [theirs, (0.4, np.ones(1))]).p)


@pytest.mark.parametrize("series", [True, False])
def test_p_of_scores_that_know_nothing_is_uniform(series):
    """AR(1) noise of .99 and two events of 120 rows, or a table with 8 anomalies and ties."""
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        if series:
            y, score = events(1_500, (400, 1_000), 120), smooth(rng, 1_500)
        else:
            y, score = events(400, rng.choice(400, 8, replace=False), 1), rng.normal(size=400)
            score = score.round(1)
        found.append(p_chance(y, score, np.ones(y.size, bool), series, 20))
    assert np.mean(np.array(found) < 0.05) < 0.11  # binomial(150, .05): once in a hundred
    assert 0.4 < np.mean(found) < 0.6


def test_p_of_all_shifts_is_that_of_each_shift():
    rng = np.random.default_rng(0)
    y, score = events(50, (10, 30), 4), rng.normal(size=50)
    score[10:14] += 1
    values = np.array([average_precision(y, np.roll(score, -k)) for k in range(50)])
    assert p_chance(y, score, np.ones(50, bool), True) == np.mean(values >= values[0] - 1e-9)
    long = p_chance(np.tile(y, 2_100), np.tile(score, 2_100), np.ones(105_000, bool), True)
    assert long == pytest.approx(np.mean(values >= values[0] - 1e-9), abs=0.1)


def test_partial_credit_is_that_of_vus():
    y = events(100, (40,), 10)
    worth = credit(y, 8)
    assert (worth[y] == 1).all()
    assert worth[39] == worth[50] > worth[38] == worth[51] > worth[36] > worth[35] == 0


def test_random_of_a_series_is_as_smooth_as_the_score():
    """White noise smoothed over 20 rows finds events in passing more than shuffled rows do."""
    moved, shifted, shuffled = [], [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y = events(2_000, (300, 900, 1_500), 60)
        score = np.convolve(rng.normal(size=2_019), np.ones(20), "valid")
        line = report(y, score, series=True, intervals=False, metrics="vus_pr", n_random=20).iloc[0]
        moved += [vus(y, np.roll(score, k), 60)[1] for k in range(0, 2_000, 100)]
        shifted.append(line.random)
        shuffled.append(vus(y, rng.permutation(score), 60)[1])
    assert np.mean(shifted) == pytest.approx(np.mean(moved), abs=0.004)
    assert np.mean(shuffled) < np.mean(shifted) - 0.005


def test_dependence_is_found_in_labels_and_scores():
    rng = np.random.default_rng(0)
    noise, scattered = rng.normal(size=1_000), rng.random(1_000) < 0.05
    together = events(1_000, (300, 700), 25)
    assert in_runs(together)
    assert not in_runs(scattered)
    assert looks_serial(together, noise)
    assert not looks_serial(scattered, noise)
    assert looks_serial(scattered, smooth(rng, 1_000))
    assert not looks_serial(np.sort(scattered), noise)  # a sorted table
    assert report(scattered, smooth(rng, 1_000), n_random=1).metric[0] == "vus_pr"
    assert report(together, noise, n_random=1, series=False).metric[0] == "average_precision"
    assert memory_rows(noise) == 1
    assert memory_rows(smooth(rng, 20_000, 0.9)) == pytest.approx(19, rel=0.3)
    assert memory_rows(np.ones(50)) == memory_rows([]) == memory_rows([1.0]) == 1


def test_former_counts_of_resamples_still_say_whether_there_are_limits():
    y = events(200, (50, 150), 1)
    with pytest.warns(FutureWarning, match="'n_bootstrap' is now called 'intervals'"):
        table = report(y, y * 0.5 + np.arange(200) % 3, n_bootstrap=0)
    assert table.low.isna().all()
    with pytest.warns(FutureWarning, match="'block' is now called 'memory'"):
        table = report(y, y * 1.0, block=10)
    assert table.metric[0] == "vus_pr"


def test_limits_near_an_end_are_those_of_a_share():
    low, high = interval(0.999949, np.full(20, 0.999949) + np.arange(20) * 1e-6)
    assert low > 0.8 and high == 1.0
    assert interval(0.997, [0.9963, 0.9961, 1.0, 0.996])[0] > 0.3


def test_what_six_digits_do_not_tell_apart_has_no_winner():
    near, same = np.full(32, 1.0), np.full(32, 1.0)
    assert difference([(1.0, near)], [(1.0 - 2.5e-7, same)]).p == 1.0
    tied = (0.5, np.full(2, 0.5))  # says nothing: only the other set's two blocks count
    assert difference([(1.0, np.ones(2)), tied], [(0.0, np.zeros(2)), tied]).p >= 2 / 4**2


def test_rows_that_are_not_judged_may_end_a_series():
    score = np.random.default_rng(0).normal(size=400)
    with pytest.warns(UserWarning, match="no anomaly") as warned:
        table = report(np.zeros(400), score, judged=np.arange(400) < 200, series=True, threshold=1,
                       threshold_source="calibration")
    assert warned[0].filename == __file__
    assert "false_positive_rate@calibration" in [*table.metric]
