import numpy as np
import pytest

from adlib.periods import dominant_period, usual_period


def season(period, n=None, seed=0):
    t = np.arange(n or 12 * period)
    x = np.sin(2 * np.pi * t / period) + 0.3 * np.sin(4 * np.pi * t / period) + 0.002 * t
    return x + 0.3 * np.random.default_rng(seed).standard_normal(len(t))


@pytest.mark.parametrize("period", [7, 25, 96])
def test_period_is_found_in_noise(period):
    x = season(period)
    assert abs(dominant_period(x) - period) <= 1
    assert dominant_period(1e300 * x) == dominant_period(x) == dominant_period(1e-300 * x + 0.0)


def test_no_season_is_zero():
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(2_000, 1)).cumsum(axis=0)
    for X in (np.full((300, 2), 1e300), np.arange(300.0), rng.normal(size=(2_000, 3)), walk[:3],
              np.ones((1, 1))):
        assert dominant_period(X) == 0
        assert 50 <= usual_period(X) <= 300


def test_the_median_is_taken_over_the_channels_that_have_one():
    n = 1_200
    X = np.column_stack([season(60, n), np.ones(n), season(100, n), season(80, n),
                         np.random.default_rng(1).normal(size=n)])
    assert dominant_period(X) == pytest.approx(80, abs=1)
    assert dominant_period(X[:, [4, 3, 2, 1, 0]]) == dominant_period(X)


def test_usual_period_has_a_floor_a_longest_and_a_fallback():
    assert usual_period(season(25)) == 50
    assert usual_period(season(90)) == pytest.approx(90, abs=1)
    assert usual_period(np.sin(np.arange(4_000) * 2 * np.pi / 700)) == 125  # longer than is sought
    assert usual_period(np.arange(500.0)) == usual_period(np.ones((9, 2))) == 125
    assert usual_period(np.column_stack([season(90), 1e300 * season(90), np.ones(1_080)])) == 90
