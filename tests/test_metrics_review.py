"""Value and precision at a review capacity: limits, ties, a literal second implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adlib.metrics import precision_at_capacity, recall, value_at_capacity

RNG = np.random.default_rng(0)
Y = RNG.random(300) < 0.1
DAY = np.sort(RNG.integers(0, 7, 300))
AMOUNT = RNG.exponential(50, 300)


def reviewed_one_by_one(score, capacity):
    """Rows that a team picks, day by day, the highest score first."""
    picked = np.zeros(300, bool)
    for day in range(7):
        rows = np.flatnonzero(day == DAY)
        picked[rows[np.argsort(-score[rows])[:capacity]]] = True
    return picked


@given(st.integers(0, 1000), st.integers(1, 400))
def test_against_a_loop_over_days(seed, capacity):
    score = np.random.default_rng(seed).normal(size=300) + Y
    picked = reviewed_one_by_one(score, capacity)
    wanted = AMOUNT[picked & Y].sum() / AMOUNT[Y].sum()
    found = value_at_capacity(Y, score, capacity, period=DAY, value=AMOUNT)
    assert found == pytest.approx(wanted)
    assert value_at_capacity(Y, score, capacity, period=DAY) == pytest.approx(recall(Y, picked))
    precision = precision_at_capacity(Y, score, capacity, period=DAY)
    assert precision == pytest.approx(Y[picked].mean())


@pytest.mark.parametrize("capacity", [1, 3, 10, 25, 300])
def test_ties_are_the_mean_over_their_orders(capacity):
    score = RNG.integers(0, 3, 300).astype(float)
    broken = [score + 0.1 * np.random.default_rng(i).random(300) for i in range(400)]
    values = [AMOUNT[reviewed_one_by_one(s, capacity) & Y].sum() / AMOUNT[Y].sum() for s in broken]
    found = value_at_capacity(Y, score, capacity, period=DAY, value=AMOUNT)
    assert found == pytest.approx(np.mean(values), abs=0.02)


def test_a_constant_score_gets_what_random_review_gets():
    y, day = np.arange(40) % 4 == 0, np.repeat([0, 1], 20)
    assert value_at_capacity(y, np.zeros(40), 5, period=day) == pytest.approx(0.25)
    assert precision_at_capacity(y, np.zeros(40), 5, period=day) == pytest.approx(0.25)


def test_limits():
    assert value_at_capacity(Y, RNG.random(300), 300, period=DAY, value=AMOUNT) == 1.0
    assert precision_at_capacity(Y, RNG.random(300), 300, period=DAY) == pytest.approx(Y.mean())
    assert value_at_capacity(Y, Y, int(Y.sum())) == 1.0
    assert precision_at_capacity(Y, -1.0 * Y, int((~Y).sum())) == 0.0
    assert precision_at_capacity(np.zeros(5), np.arange(5), 2) == 0.0


def test_rows_in_any_order_and_periods_of_any_type():
    score, order = RNG.random(300), RNG.permutation(300)
    wanted = value_at_capacity(Y, score, 4, period=DAY, value=AMOUNT)
    named = np.array([f"day {d}" for d in DAY])[order]
    assert value_at_capacity(Y[order], score[order], 4, period=named,
                             value=AMOUNT[order]) == pytest.approx(wanted)


def test_rows_that_are_not_judged_take_no_review():
    y, score, judged = [0, 1, 1], [3.0, 2.0, np.nan], [False, True, False]
    assert value_at_capacity(y, score, 1, judged=judged) == 1.0
    assert precision_at_capacity(y, score, 1, judged=judged) == 1.0


def test_what_normal_rows_are_worth_does_not_matter():
    amount = np.where(Y, AMOUNT, np.nan)
    score = RNG.random(300)
    assert value_at_capacity(Y, score, 4, period=DAY, value=amount) == value_at_capacity(
        Y, score, 4, period=DAY, value=AMOUNT)


@pytest.mark.parametrize(("options", "message"), [
    ({"capacity": 0}, "capacity must be a whole number >= 1, got 0"),
    ({"capacity": 2.5}, "capacity must be a whole number >= 1, got 2.5"),
    ({"value": [1, -3, 1]}, "finite and not negative, got -3 in 1 rows"),
    ({"value": [1, 2]}, r"value must have shape \(3,\), got \(2,\)"),
    ({"period": [1]}, r"period must have shape \(3,\), got \(1,\)"),
])
def test_errors_name_the_argument(options, message):
    with pytest.raises(ValueError, match=message):
        value_at_capacity([0, 1, 0], [1, 2, 3], **{"capacity": 1, **options})


def test_undefined_is_nan_with_a_warning():
    with pytest.warns(UserWarning, match="no anomaly"):
        assert np.isnan(value_at_capacity([0, 0], [1, 2], 1))
    with pytest.warns(UserWarning, match="of any value"):
        assert np.isnan(value_at_capacity([0, 1], [1, 2], 1, value=[1, 0]))
