"""Means of neighbouring rows: a finite past, exact causality, nothing that a huge value leaves."""

import numpy as np
import pytest

from adlib.smoothing import gaussian_weights, memory_rows, memory_weights, smooth


@pytest.mark.parametrize("rows", [1, 1.2, 2, 7.3, 50])
def test_a_row_does_not_depend_on_how_many_follow(rows):
    S = np.random.default_rng(0).normal(size=(700, 2)) ** 3
    weights = memory_weights(rows)
    whole = smooth(S, weights)
    for t in [*range(1, 60), 199, 200, 201, 333, 512, 699]:
        assert (smooth(S[:t], weights) == whole[:t]).all()
        assert (smooth(S[:t, 0], weights) == whole[:t, 0]).all()


@pytest.mark.parametrize("rows", [1, 2.5, 40])
def test_a_slice_with_its_past_gives_the_same_numbers(rows):
    S = np.random.default_rng(1).normal(size=500)
    weights = memory_weights(rows)
    for start in range(200, 330):
        part = smooth(S[start - memory_rows(rows) + 1:400], weights)
        assert (part[memory_rows(rows) - 1:] == smooth(S, weights)[start:400]).all()


def test_a_huge_value_leaves_no_trace():
    S = np.random.default_rng(0).normal(size=400)
    hit, weights = S.copy(), memory_weights(10)
    hit[100] = 1e300
    before, after = smooth(S, weights), smooth(hit, weights)
    assert (before[:100] == after[:100]).all() and (before[140:] == after[140:]).all()
    assert (after[100:140] > 1e297).all()
    largest = np.full(50, np.finfo(float).max)
    assert np.isfinite(smooth(0.999 * largest, weights)).all()
    assert smooth(np.full(50, 1e300), weights) == pytest.approx(np.full(50, 1e300))


def test_the_ends_are_means_of_what_is_there():
    weights, ahead = gaussian_weights(5.0)
    assert ahead == 20 and len(weights) == 41
    for S in (np.ones(7), np.ones((100, 3))):
        assert smooth(S, weights, ahead) == pytest.approx(S)
        assert smooth(S, memory_weights(30)) == pytest.approx(S)
    S = np.arange(50.0)
    for t in range(20):  # row t sees rows 0 .. t + 20, and those before the first have no weight
        there = weights[20 - t:]
        by_hand = (there * S[:t + 21]).sum() / there.sum()
        assert smooth(S, weights, ahead)[t] == pytest.approx(by_hand)


def test_weights():
    for rows in (1, 1.5, 3, 125):
        weights = memory_weights(rows)
        assert len(weights) == memory_rows(rows) and weights.sum() == pytest.approx(1)
        assert weights[:-1] == pytest.approx(weights[1:] * (1 - 1 / rows))
    assert memory_weights(1).tolist() == memory_weights(0.2).tolist() == [1.0]
    whole, cut = gaussian_weights(3.0)[0], gaussian_weights(3.0, delay=2)
    assert cut[1] == 2 and cut[0] == pytest.approx(whole[:15] / whole[:15].sum())
    assert gaussian_weights(3.0, delay=99)[1] == 12
    assert gaussian_weights(3.0, delay=0)[1] == 0


def test_a_delay_is_the_whole_look_ahead():
    S = np.random.default_rng(0).normal(size=300)
    weights, ahead = gaussian_weights(12.0, delay=5)
    for t in (50, 120, 299):
        assert (smooth(S[:t + 5], weights, ahead)[:t] == smooth(S, weights, ahead)[:t]).all()


def test_callers_array_and_empty_input():
    S = np.arange(5)
    assert smooth(S, memory_weights(2)).dtype == np.float64 and S.tolist() == [0, 1, 2, 3, 4]
    same = S.astype(float)
    assert smooth(same, memory_weights(1)) is not same
    assert smooth(np.empty(0), memory_weights(3)).shape == (0,)
    assert smooth(np.empty((0, 2)), memory_weights(3)).shape == (0, 2)
