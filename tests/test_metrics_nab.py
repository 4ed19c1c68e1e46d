"""NAB's corpus score at the best threshold, against trying every threshold."""

import time

import numpy as np
import pytest

from adlib.metrics import nab_corpus, nab_score

PROFILES = ["standard", "reward_low_FP", "reward_low_FN"]


def by_trying(y, score, profile):
    """Best score over all thresholds, from the definition."""
    cuts = np.append(-np.inf, np.unique(np.concatenate(score)))
    return max(nab_score(y, [s > cut for s in score], profile) for cut in cuts)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", range(12))
def test_no_threshold_does_better(profile, seed):
    rng = np.random.default_rng(seed)
    y, score = [], []
    for _ in range(rng.integers(1, 4)):
        labels = np.zeros(rng.integers(30, 90))
        for start in rng.integers(0, labels.size, rng.integers(0, 4)):
            labels[start:start + rng.integers(1, 15)] = 1
        y.append(labels)
        values = rng.normal(size=labels.size) + labels
        score.append(np.round(values, rng.integers(0, 3)))  # ties, within and between streams
    y[0][-8:-3] = 1
    best = nab_corpus(y, score, profile)
    assert best.score == pytest.approx(by_trying(y, score, profile))
    reached = nab_score(y, [s > best.threshold for s in score], profile)
    assert reached == pytest.approx(best.score)


def test_worked_by_hand():
    y = np.repeat([0, 1, 0], [40, 20, 40])
    score = np.zeros(100)
    score[[70, 59, 45]] = 3.0, 2.0, 1.0
    first = -np.tanh(2.5 * -15 / 20) / np.tanh(2.5)  # row 45 is 15 rows before the end
    late = -np.tanh(2.5 * -1 / 20) / np.tanh(2.5)
    cost = 0.11 * np.tanh(2.5 * 11 / 19)  # row 70 is 11 rows after a window of 20
    best = nab_corpus([y], [score])
    assert best.score == pytest.approx(100 * (first + 1 - cost) / 2)
    assert best.threshold == 0.0
    score[45] = 0
    assert nab_corpus([y], [score]).score == pytest.approx(100 * (late + 1 - cost) / 2)
    assert nab_corpus([y], [score]).threshold == 0.0


def test_the_threshold_is_one_for_all_streams():
    y = np.repeat([0, 1, 0], [40, 20, 40])
    small, large = np.zeros(100), np.zeros(100)
    small[40], large[40] = 1.0, 100.0
    large[41:] = 50.0  # whatever flags the small one flags 40 rows here
    assert nab_corpus([y, y], [small, large]).score == pytest.approx(50.0)
    assert nab_corpus([y, y], [small, large]).threshold == 50.0


def test_flagging_nothing_is_the_least():
    y = np.repeat([0, 1, 0], [40, 20, 40])
    score = np.zeros(100)
    score[[20, 25, 30, 35, 70, 75, 80, 90, 95, 99]] = 5.0
    score[21:24] = 6.0
    score[85:90] = 6.0
    score[59] = 5.0
    score[61:70] = 6.0
    best = nab_corpus([y], [score], "reward_low_FP")
    assert best == (0.0, 6.0) and not (score > best.threshold).any()


def test_probation_does_not_count():
    y = np.repeat([0, 1, 0], [40, 20, 40])
    score = np.zeros(100)
    score[:15] = 9.0
    score[40] = 5.0
    assert nab_corpus([y], [score]).score == pytest.approx(100.0)


def test_what_is_refused_and_what_is_undefined():
    y = np.repeat([0, 1, 0], [40, 20, 40])
    with pytest.raises(ValueError, match="score has 1 streams, y_true has 2"):
        nab_corpus([y, y], [y])
    with pytest.raises(ValueError, match="profile must be one of"):
        nab_corpus([y], [y], "strict")
    with pytest.raises(ValueError, match="NaN"):
        nab_corpus([y], [np.full(100, np.nan)])
    with pytest.warns(UserWarning, match="nab_corpus is undefined"):
        assert np.isnan(nab_corpus([np.zeros(100)], [np.zeros(100)]).score)


def test_a_million_rows_take_under_a_second():
    rng = np.random.default_rng(0)
    y = np.repeat(rng.random(10_000) < 0.1, 100)
    score = rng.normal(size=y.size)
    began = time.process_time()
    nab_corpus([y], [score])
    assert time.process_time() - began < 1
