"""Metrics that peers have: each by the definition of its source, written the long way."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from adlib.metrics import average_precision, average_precision_at_budget, hit_rate, k_delay_f1

RNG = np.random.default_rng(0)
Y = np.repeat([0, 1, 0, 1, 0, 1], [30, 8, 40, 1, 30, 12])


def by_loop(y, pred, delay):
    """Event by event, as the paper tells it."""
    adjusted, row = list(pred), 0
    while row < len(y):
        if not y[row]:
            row += 1
            continue
        stop = row
        while stop < len(y) and y[stop]:
            stop += 1
        in_time = any(pred[i] for i in range(row, stop) if i - row <= delay)
        adjusted[row:stop] = [int(in_time)] * (stop - row)
        row = stop
    return f1_score(y, adjusted)


@pytest.mark.parametrize("delay", [0, 3, 7, 500])
def test_k_delay_f1_event_by_event(delay):
    for _ in range(20):
        pred = (RNG.random(Y.size) < 0.15).astype(int)
        assert k_delay_f1(Y, pred, delay=delay) == pytest.approx(by_loop(Y, pred, delay))


def test_a_late_flag_is_worth_nothing_and_rows_that_do_not_count_nothing():
    y, late = [0, 1, 1, 1, 0], [0, 0, 0, 1, 0]
    assert (k_delay_f1(y, late, delay=1), k_delay_f1(y, late, delay=2)) == (0.0, 1.0)
    early, judged = [0, 1, 0, 0, 0], [1, 0, 1, 1, 1]
    assert k_delay_f1(y, early, delay=1, judged=judged) == 0.0
    with pytest.raises(ValueError, match="delay must be a whole number of rows >= 0, got -1"):
        k_delay_f1(y, late, delay=-1)
    with pytest.warns(UserWarning, match="k_delay_f1 is undefined"):
        assert np.isnan(k_delay_f1([0, 0], [0, 1]))


def test_average_precision_at_a_budget_row_by_row():
    for k in (1, 5, 21, 60, Y.size):
        score = RNG.normal(size=Y.size) + Y
        hits, total = 0, 0.0
        for place, row in enumerate(sorted(range(Y.size), key=lambda i: -score[i])[:k], 1):
            hits += Y[row]
            total += Y[row] * hits / place
        assert average_precision_at_budget(Y, score, k) == pytest.approx(total / min(k, Y.sum()))
    assert average_precision_at_budget(Y, score, Y.size) == pytest.approx(
        average_precision_score(Y, score))


def test_ties_budgets_and_chance():
    score = RNG.integers(0, 4, Y.size)
    assert average_precision_at_budget(Y, score, Y.size) == pytest.approx(
        average_precision(Y, score))
    assert average_precision_at_budget(Y, score, 0.25) == average_precision_at_budget(
        Y, score, int(np.ceil(0.25 * Y.size)))
    p, n = Y.mean(), Y.size
    assert average_precision_at_budget(Y, np.zeros(n), 10) == pytest.approx(p**2)
    assert average_precision_at_budget(Y, np.zeros(n), 60) == pytest.approx(p * 60 / n)
    for wrong in (0, -0.1, 1.5, np.nan, "all"):
        with pytest.raises(ValueError, match="budget must be"):
            average_precision_at_budget(Y, score, wrong)


@pytest.mark.parametrize("percent", [100, 150, 1000])
def test_hit_rate_row_by_row(percent):
    wrong = (RNG.random((40, 5)) < 0.3).astype(int)
    blame = RNG.random((40, 5))
    rates = []
    for truth, row in zip(wrong, blame, strict=True):
        if truth.any():
            most = np.argsort(-row)[: int(percent / 100 * truth.sum())]
            rates.append(truth[most].sum() / truth.sum())
    assert hit_rate(wrong, blame, percent=percent) == pytest.approx(np.mean(rates))


def test_hit_rate_of_ties_and_of_what_it_cannot_take():
    wrong = np.array([[1, 0, 0, 0], [0, 0, 0, 0]])
    assert hit_rate(wrong, np.zeros((2, 4))) == 0.25
    with pytest.warns(UserWarning, match="hit_rate is undefined"):
        assert np.isnan(hit_rate(wrong[1:], np.zeros((1, 4))))
    for bad, blame, percent, said in ((wrong, np.zeros((2, 3)), 100, "blame must have shape"),
                                      (wrong, np.full((2, 4), np.nan), 100, "blame must be finite"),
                                      (2 * wrong, np.zeros((2, 4)), 100, "y_true must hold only"),
                                      (wrong, np.zeros((2, 4)), 50, "percent")):
        with pytest.raises(ValueError, match=said):
            hit_rate(bad, blame, percent=percent)
