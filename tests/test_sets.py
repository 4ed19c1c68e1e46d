"""Several machines in one data set: what follows what, and what never crosses a border."""

import numpy as np
import pytest
from sklearn.base import clone

from adlib.compare import compare, score_cell
from adlib.datasets import Dataset
from adlib.detectors import KNN, LinearForecast, RollingZScore
from adlib.plots import series

MINUTE = np.timedelta64(60, "s")
START = np.datetime64("2024-03-01", "ns")


def machines(n=400, levels=(0.0, 50.0, -30.0)):
    """The series of machines that differ in level, each with a spike in its test."""
    rng = np.random.default_rng(0)
    own = {}
    for i, level in enumerate(levels):
        x = level + np.sin(np.arange(n) / 7)[:, None] + 0.1 * rng.normal(size=(n, 1))
        x[-40 - i] += 9
        own["abc"[i]] = x
    return own


def grouped(own, **changes):
    """All histories, then all calibration rows, then all tests: of each machine in turn."""
    parts = [(int(a * len(x)), int(b * len(x))) for a, b in ((0, .4), (.4, .5), (.5, 1))
             for x in own.values()]
    names = list(own) * 3
    rows = [(k, i) for k, (a, b) in zip(names, parts, strict=True) for i in range(a, b)]
    X = np.array([own[k][i] for k, i in rows])
    y = np.abs(X[:, 0] - np.array([np.median(own[k]) for k, _ in rows])) > 5
    n = sum(len(x) for x in own.values())
    return Dataset("plant", X, y, **{
        "time": [START + i * MINUTE for _, i in rows], "train_end": n // 2,
        "calibrate_start": int(.4 * n), "session": [list(own).index(k) for k, _ in rows],
        "session_names": list(own)} | changes)


def test_time_may_fall_between_machines_and_never_within_one():
    data = grouped(machines())
    facts = data.describe()
    assert facts["groups"] == 3 and facts["median step in seconds"] == data.interval == 60
    assert facts["steps off the median"] == 0
    assert data.to_frame().session.value_counts().to_dict() == dict.fromkeys("abc", 400)
    assert data.test.session_names == ("a", "b", "c") and data.test.interval == 60
    for start in np.flatnonzero(np.diff(data.session)) + 1:  # events end with their machine
        assert not ((data.events.start < start) & (data.events.end > start)).any()
    with pytest.raises(ValueError, match="must not fall within a session"):
        grouped(machines(), time=data.time[::-1])
    with pytest.raises(ValueError, match="must not fall; sort the rows"):
        grouped(machines(), session=None, session_names=None)
    with pytest.raises(ValueError, match="session_names needs session, with numbers from 0 to 1"):
        grouped(machines(), session_names=["a", "b"])


def test_recordings_of_one_machine_are_one_entity():
    data = Dataset("d", np.zeros(6), session=[0, 0, 1, 2, 3, 3], session_names=list("abab"))
    assert data.entity.tolist() == [0, 0, 1, 0, 1, 1] and data.describe()["groups"] == 2
    assert data.fingerprint != Dataset("d", np.zeros(6), session=data.session).fingerprint


@pytest.mark.parametrize("detector", [KNN(window=5), LinearForecast(), RollingZScore(window=50)])
def test_scores_of_each_machine_are_those_of_that_machine_alone(detector):
    own = machines()
    data = grouped(own)
    cell = score_cell(detector, data, purge=0)
    rows = np.arange(len(data))[cell.test_rows]
    model = clone(detector).set_params(calibration=None).fit(data.X[:data.calibrate_start])
    for i, (name, x) in enumerate(own.items()):
        if model.is_stateful:  # its own history, and no other's
            alone = clone(model).fit(x[:160]).anomaly_score(x[160:])[40:]
        else:
            alone = model.anomaly_score(x)[200:]
        found = cell.test[data.session[rows] == i]
        assert np.allclose(found, alone, rtol=1e-9, atol=1e-12), name


def test_a_machine_without_history_begins_with_what_all_others_taught():
    data = grouped(machines())
    rows = np.r_[:400, 560:600, 600:1200]  # none of c's history is left
    keep = rows[(data.session[rows] != 2) | (rows >= 600)]
    bare = Dataset("plant", data.X[keep], session=data.session[keep],
                   train_end=int((keep < 600).sum()), calibrate_start=int((keep < 480).sum()))
    cell = score_cell(RollingZScore(window=50), bare, purge=0)
    model = RollingZScore(window=50, calibration=None).fit(bare.X[:bare.calibrate_start])
    of = bare.session[cell.test_rows] == 2
    assert np.allclose(cell.test[of], model.anomaly_score(bare.X[cell.test_rows][of]))


def test_machines_are_compared_late_and_in_time():
    data = grouped(machines())
    for delay in (None, 5):
        table = compare(["KNN(window=5)", LinearForecast(), "RollingZScore(window=50)"], data, [0],
                        delay=delay, n_random=2, n_bootstrap=0, baselines=False)
        assert (table.status == "ok").all()
        per_day = table[table.metric.str.startswith("alarms_per_day")]
        assert (table.n_test == 584).all()  # without the gap of 16 rows, which each machine has
        n_alarms = per_day.value * (600 - 3 * 16) / 1440
        assert np.allclose(n_alarms, n_alarms.round()) and len(per_day) == 3


def test_the_axis_of_machines_is_the_row():
    data = grouped(machines())
    assert series(data, score=np.zeros(1200))[-1].get_xlabel() == "row"
