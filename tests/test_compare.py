"""The comparison: one protocol for all, labels out of reach, failures as rows."""

import dataclasses
import io
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adlib.base import Detector, OnlineDetector, anomaly_score
from adlib.compare import by_entity, compare, rank_detectors, score_cell, verdict
from adlib.compare.protocol import purge_gap
from adlib.datasets import Dataset
from adlib.detectors import Ensemble, MaxAbsZ, baselines
from adlib.metrics import (
    Metric,
    affiliation_f1,
    all_metrics,
    average_precision,
    false_positive_rate,
    nab_score,
    report,
    roc_auc,
    vus_pr,
)
from adlib.thresholds import Conformal
from adlib.windows import TimeFeatures, Windows

N, CUT, END = 1_000, 320, 400
MEASURED = ["fit_s", "score_s", "peak_memory_mib"]  # all that may differ between two runs


class Distance(Detector):
    """Distance to the training mean; keeps what it was shown."""

    def _fit(self, X):
        self.mean_ = X.mean(axis=0)
        self.seen_ = len(X)

    def _score(self, X):
        return np.linalg.norm(X - self.mean_, axis=1)


class Noise(Detector):
    def __init__(self, *, random_state=None, **base):
        super().__init__(**base)
        self.random_state = random_state

    def _fit(self, X):
        pass

    def _score(self, X):
        return np.random.default_rng(self.seed_).random(len(X))


class RunningMean(OnlineDetector):
    """Distance to the mean of all rows so far; `rows_` counts them."""

    def _reset(self, n_features):
        self.sum_, self.rows_ = np.zeros(n_features), 0

    def learn_one(self, x):
        self.sum_ += x
        self.rows_ += 1

    def score_one(self, x):
        return float(np.abs(x - self.sum_ / max(self.rows_, 1)).max())


class Broken(Distance):
    def _score(self, X):
        raise RuntimeError("the sensor melted")


class NotANumber(Distance):
    def _score(self, X):
        return np.full(len(X), np.nan)


class Spy:
    """Bare minimum of a detector, from outside; records what reaches `fit`."""

    seen: list = []

    def fit(self, *args, **kwargs):
        self.seen.append((args, kwargs))
        return self

    def anomaly_score(self, X):
        return X[:, 0]


def make_data(name="data", seed=0, timed=True, size=4.0, **changes):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(N, 2)), np.zeros(N, dtype=int)
    kind = np.full(N, "", dtype="<U8")
    for start, stop, what in ((500, 503, "spike"), (700, 720, "shift"), (900, 901, "spike")):
        X[start:stop] += size
        y[start:stop], kind[start:stop] = 1, what
    kind[720:760] = "recovery"
    time = np.datetime64("2024-01-01", "ns") + np.arange(N) * np.timedelta64(1, "m")
    fields = {"time": time if timed else None, "kind": kind, "oracle": y + 0.1 * rng.random(N)}
    return Dataset(name, X, y, **(fields | changes))


@pytest.fixture(scope="module")
def data():
    return make_data()


def quick(detectors, datasets, seeds=(0,), **kwargs):
    settings = {"baselines": False, "progress": False, "n_random": 3}
    return compare(detectors, datasets, seeds, **(settings | kwargs))


def value(table, metric, **where):
    for column, wanted in (where | {"metric": metric}).items():
        table = table[table[column] == wanted]
    (only,) = table.value
    return only


# --- the protocol of a cell -----------------------------------------------------------------


def test_a_cell_by_hand(data):
    cell = score_cell(Distance(), data, alpha=0.1)
    mean = data.X[:CUT].mean(axis=0)
    expected = np.linalg.norm(data.X - mean, axis=1)
    np.testing.assert_allclose(cell.calibrate, expected[CUT:END])
    np.testing.assert_allclose(cell.test, expected[END:])
    assert cell.test_rows == slice(END, N)
    assert cell.threshold == Conformal(0.1).fit(cell.calibrate).value_


@pytest.mark.parametrize("model", [
    Distance(), Distance(window=8), RunningMean(), Distance(threshold=2.5), Ensemble(),
    Distance(threshold=Conformal(0.2)), make_pipeline(StandardScaler(), Distance(window=3)),
], ids=str)
def test_the_threshold_is_what_the_detector_itself_calibrates(data, model):
    cell = score_cell(model, data, alpha=0.1)
    own = clone(model)
    core = own[-1] if hasattr(own, "steps") else own
    core.alpha = 0.1
    if isinstance(core, Ensemble):
        core.random_state = 0
    else:  # no part of the training rows is held out: the calibration rows are
        core.calibration = None
    own.fit(data.X[:CUT])
    core.calibrate(data.X[CUT:END] if core is own else own[:-1].transform(data.X[CUT:END]))
    assert cell.threshold == core.threshold_
    assert cell.calibrate.size == END - CUT - core.context_


@pytest.mark.parametrize("model, block", [(IsolationForest(random_state=0), None), (make_pipeline(
    Windows(8), IsolationForest(random_state=0)), "auto")], ids=["rows", "windows"])
def test_a_foreign_estimator_is_calibrated_as_ours_are(data, model, block):
    cell = score_cell(model, data, alpha=0.1)
    assert cell.threshold == Conformal(0.1, block=block).fit(cell.calibrate).value_


@pytest.mark.parametrize(
    "model", [Distance(window=8), make_pipeline(Windows(8), IsolationForest(random_state=0))]
)
def test_windowed_models_get_their_past_and_a_purge_gap(data, model):
    cell = score_cell(model, data)
    assert cell.test_rows == slice(END + 7, N)
    assert cell.calibrate.size == END - CUT - 7
    # Rows before the gap's start must not matter, rows inside it must.
    past, gap = data.X.copy(), data.X.copy()
    past[CUT:END] += 100
    gap[END : END + 7] += 100
    again = score_cell(model, with_rows(data, past))
    np.testing.assert_array_equal(again.test, cell.test)
    assert (score_cell(model, with_rows(data, gap)).test[:7] != cell.test[:7]).all()


def with_rows(data, X, y=None):
    return Dataset(data.name, X, data.y if y is None else y, data.time, kind=data.kind)


def test_all_models_are_judged_on_the_same_rows(data):
    table = quick([Distance(), Distance(window=8), RunningMean()], data)
    assert table.n_test.unique().tolist() == [N - END - 7]
    assert table.n_calibrate.unique().tolist() == [END - CUT - 7]


def test_online_detectors_score_then_learn_through_calibration_and_test(data):
    cell = score_cell(RunningMean(window=50), data)
    before = np.cumsum(data.X, axis=0)[:-1] / np.arange(1, N)[:, None]
    expected = np.abs(data.X[1:] - before).max(axis=1)  # row t against the mean of rows < t
    np.testing.assert_allclose(cell.calibrate, expected[CUT - 1 : END - 1])
    np.testing.assert_allclose(cell.test, expected[END - 1 :])


def test_online_detector_behind_a_scaler_still_learns(data):
    alone = score_cell(RunningMean(), data)
    scaled = score_cell(make_pipeline(StandardScaler(with_std=False), RunningMean()), data)
    np.testing.assert_allclose(scaled.test, alone.test)


def test_future_rows_change_no_score(data):
    changed = data.X.copy()
    changed[600:] = 77
    for model in (Distance(), Distance(window=8), RunningMean(), "IsolationForest"):
        cell, other = score_cell(model, data), score_cell(model, with_rows(data, changed))
        n = 600 - cell.test_rows.start
        np.testing.assert_array_equal(cell.test[:n], other.test[:n])
        assert cell.threshold == other.threshold


# --- several recordings -----------------------------------------------------------------------


def recordings(X=None, **changes):
    """Five recordings of 200 rows; an event lies across the end of the fourth."""
    y, kind = np.zeros(N, dtype=int), np.full(N, "", dtype="<U8")
    y[790:830], kind[790:830], kind[590:600] = 1, "fault", "recovery"
    X = make_data(size=0).X if X is None else X
    fields = {"session": np.repeat(np.arange(5), 200), "train_end": 400, "calibrate_start": 200}
    return Dataset("recordings", X, y, make_data().time, kind=kind, **(fields | changes))


class Patient(RunningMean):
    def __init__(self, *, warm_up=10, **base):
        super().__init__(**base)
        self.warm_up = warm_up


@pytest.mark.parametrize("model, gap", [(Distance(), 1), (Distance(window=8), 7), (Patient(), 1)])
def test_first_rows_of_a_recording_are_not_judged(model, gap):
    data = recordings()
    table = quick([model], data)
    cell, row = score_cell(model, data), np.arange(400 + gap, N)
    assert cell.test_rows == slice(400 + gap, N) and cell.calibrate.size == 200 - gap
    y, flags = data.y[row], cell.test > cell.threshold
    judged = (row % 200 >= gap) & data.judged[row]
    assert value(table, "recall@calibration") == flags[judged & (y == 1)].mean()
    assert value(table, "false_positive_rate@calibration") == flags[judged & (y == 0)].mean()
    assert value(table, "roc_auc") == roc_auc(y, cell.test, judged=judged)


@pytest.mark.parametrize("greedy", [Patient(warm_up=200), Patient(warm_up=999),
                                    Distance(window=201)])
def test_who_wants_more_than_a_recording_takes_no_row_from_others(greedy):
    data = recordings()
    assert purge_gap([Distance(window=8), greedy], data) == 7
    table = quick([Distance(window=8), greedy], data)
    failed = {"Distance(window=201)"} if isinstance(greedy, Distance) else set()
    assert set(table.detector[table.status != "ok"]) == failed


def test_features_of_time_get_their_past():
    data = Dataset("series", make_data(size=0).X, series=True)
    model = make_pipeline(TimeFeatures(rolling=[12], lags=[3]), Distance())
    assert purge_gap([model], data) == 11
    cell = score_cell(model, data)
    fitted = clone(model).fit(data.X[:data.calibrate_start])
    np.testing.assert_allclose(cell.test, anomaly_score(fitted, data.X)[cell.test_rows])


def test_what_a_window_holds_of_the_recording_before_changes_no_metric():
    loud = recordings().X.copy()
    loud[590:600] += 1000  # recovery: not judged themselves, but windows look back on them
    quiet, other = (quick(Distance(window=8), d).value for d in (recordings(), recordings(loud)))
    np.testing.assert_array_equal(quiet, other)


def test_calibration_leaves_each_recording_its_first_rows():
    data = recordings(calibrate_start=100)
    assert score_cell(Distance(window=8), data).calibrate.size == 300 - 7 - 7


def test_a_committee_is_calibrated_on_the_same_rows_as_others(monkeypatch):
    calibrated, by_scores = [], Ensemble._calibrated

    def recorded(self, scores, n_moved):
        calibrated.append(len(scores))
        return by_scores(self, scores, n_moved)

    monkeypatch.setattr(Ensemble, "_calibrated", recorded)
    for window, seen in ((8, 400 - 7 - 7), (1, 400 - 1 - 1)):
        model = Ensemble(members=[Distance(window=window)])
        cell = score_cell(model, recordings(calibrate_start=200, train_end=600))
        assert calibrated[-1] == cell.calibrate.size == seen


def test_an_event_ends_with_its_recording():
    found = np.zeros((N, 1))
    found[790:800] = 1  # in the fourth recording, and missed in the fifth
    assert value(quick(Spy, recordings(found)), "event_recall@calibration") == 0.5
    one = recordings(found, session=None)
    assert value(quick(Spy, one), "event_recall@calibration") == 1


def plant(names=("a", "b", "c"), **changes):
    """Machines of 200 rows each, those of one after the other: all histories, then all tests."""
    rng = np.random.default_rng(0)
    X, y, machine = rng.normal(size=(600, 2)), np.zeros(600, dtype=int), np.repeat([0, 1, 2], 100)
    for start in (320, 450, 480):  # two events of b, one of a, none of c
        y[start:start + 9], X[start:start + 9] = 1, 5
    time = np.tile(np.arange(100), 6) + np.repeat([0, 100], 300)
    return Dataset("plant", X, y, **{
        "time": np.datetime64("2024-01-01", "ns") + time * np.timedelta64(60, "s"),
        "session": np.tile(machine, 2), "session_names": names, "train_end": 300,
        "calibrate_start": 240} | changes)


def test_each_machine_has_a_row_of_its_own():
    names, own = ["pump [1], a", "b@x[]", "c"], ["vus_pr[b@x[]]", "vus_pr[pump [1], a]"]
    data, models = plant(names), [Distance(window=5), Broken()]
    table = quick(models, [data, make_data("alone")])
    of_plant = table[table.dataset == "plant"]
    for label, cells in of_plant.groupby("detector"):
        assert cells.metric.tolist()[-2:] == own  # of c nothing is anomalous
        assert cells.value.notna().all() == (label != "Broken")
    assert not table[table.dataset == "alone"].metric.str.endswith("]").any()
    cell = score_cell(models[0], data, purge=4)
    b = np.arange(404, 500)  # less the purge gap
    expected = vus_pr(data.y[b], cell.test[b - cell.test_rows.start], window=9)
    assert value(of_plant, own[0], detector="Distance(window=5)") == pytest.approx(expected)
    asked = quick(models[0], data, metrics=["vus_pr", "f1"]).metric.tolist()
    assert asked == ["vus_pr", "f1@oracle", "f1@calibration", *own]
    assert quick(models[0], data, metrics=own[0]).metric.tolist() == own[:1]
    assert quick(models[0], data, metrics="f1").metric.tolist() == asked[1:3]
    rows = quick(models[0], plant(names, time=None, series=False), metrics="average_precision")
    assert rows.metric.tolist() == ["average_precision"] + [
        name.replace("vus_pr", "average_precision") for name in own]


def test_machines_become_sets():
    table = quick({"near": Distance(), "far": Noise()}, [plant(), make_data("alone")], (0, 1))
    apart = by_entity(table)
    assert apart.dataset.unique().tolist() == ["plant[a]", "plant[b]", "alone"]
    assert set(apart[apart.dataset == "plant[b]"].metric) == {"vus_pr"}
    ranking = rank_detectors(apart)
    assert ranking.values.shape == (3, 2) and ranking.wins["near"] == 3
    pd.testing.assert_frame_equal(by_entity(apart), apart)
    assert verdict(apart) != verdict(table)
    gone = table.assign(value=table.value.where(table.metric != "vus_pr[b]"))
    assert set(by_entity(gone).dataset) == {"plant[a]", "alone"}
    with pytest.raises(ValueError, match="it lacks dataset, metric"):
        by_entity(table[["value"]])


# --- series or table ------------------------------------------------------------------------


@pytest.mark.parametrize("events", [True, False])
def test_a_verdict_does_not_hang_on_an_invented_time(events):
    data = make_data(kind=None)
    y = data.y if events else np.random.default_rng(0).permutation(data.y)
    bare = Dataset("data", data.X, y)
    timed = dataclasses.replace(bare, time=data.time if events else None,
                                series=None if events else False)
    models = {"far": Distance(), "later": Distance(window=20), "noise": Noise()}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found, known = quick(models, bare), quick(models, timed)
    assert [str(one.message) for one in said if "judged as a series" in str(one.message)] == [
        f"data: {bare.series_found}"] * events
    assert verdict(found) == verdict(known)
    names = set(known.metric) - {"alarms_per_day@calibration"}
    assert set(found.metric) == names and ("vus_pr" in names) == events
    told = quick(models, dataclasses.replace(bare, series=not events))
    assert ("vus_pr" in set(told.metric)) != events


def test_what_detectors_do_does_not_hang_on_labels():
    data = dataclasses.replace(make_data(), time=None)
    none = dataclasses.replace(data, y=np.zeros(N), kind=np.full(N, ""))
    assert data.is_series and not none.is_series
    for delay in (None, "hindsight"):
        for model in (RunningMean(), Distance(window=9), "SquaredZ"):
            one, other = (score_cell(model, each, delay=delay) for each in (data, none))
            np.testing.assert_array_equal(one.test, other.test)
    tables = [quick(RunningMean, each, metrics="roc_auc", baselines=True) for each in (data, none)]
    assert tables[0].detector.tolist() == tables[1].detector.tolist()
    assert tables[0].online.tolist() == tables[1].online.tolist()


# --- labels are out of reach ----------------------------------------------------------------

ALL = [Distance(), RunningMean(), "IsolationForest", *baselines()]


@pytest.mark.parametrize("model", ALL, ids=str)
def test_shuffled_labels_leave_every_score_bit_identical(data, model):
    y = np.random.default_rng(1).permutation(data.y)
    shuffled = Dataset(data.name, data.X, y, data.time)
    cell, other = score_cell(model, data), score_cell(model, shuffled)
    np.testing.assert_array_equal(cell.test, other.test)
    np.testing.assert_array_equal(cell.calibrate, other.calibrate)
    assert cell.threshold == other.threshold


def test_fit_sees_training_rows_and_nothing_else(data):
    Spy.seen.clear()
    quick(Spy, data)
    ((rows,), kwargs) = Spy.seen[0]
    assert len(Spy.seen) == 1 and kwargs == {}
    np.testing.assert_array_equal(rows, data.X[:CUT])


# --- the table ------------------------------------------------------------------------------


def test_values_are_those_of_the_report(data):
    table = quick([Distance()], data, alpha=0.1)
    cell, rows = score_cell(Distance(), data, alpha=0.1), slice(END, N)
    y, judged = data.y[rows], data.judged[rows]
    assert value(table, "average_precision") == average_precision(y, cell.test, judged=judged)
    fpr = false_positive_rate(y, cell.test > cell.threshold, judged=judged)
    assert value(table, "false_positive_rate@calibration") == fpr
    expected = report(
        y, cell.test, threshold=cell.threshold, threshold_source="calibration", judged=judged,
        kind=data.kind[rows], time=data.time[rows], n_random=3,
    )
    pd.testing.assert_frame_equal(table[list(expected.columns)], expected)
    assert {"recall[shift]@calibration", "recall[spike]@calibration"} <= set(table.metric)


def test_one_row_per_detector_dataset_seed_and_metric():
    sets = [make_data("a"), make_data("b", 1)]
    table = quick([Distance(), "IsolationForest"], sets, (0, 1, 2), metrics=["f1", "roc_auc"])
    cells = table.groupby(["detector", "dataset", "seed"]).metric.agg(list)
    assert len(cells) == 12
    assert all(m == ["roc_auc", "f1@oracle", "f1@calibration"] for m in cells)
    assert (table.status == "ok").all()


def test_every_seed_is_handed_in(data):
    table = quick([Noise(random_state=7), Distance()], data, (0, 1, 0x7), metrics="roc_auc")
    noise = table[table.detector.str.startswith("Noise")].value
    assert noise.nunique() == 3
    assert table[table.detector == "Distance"].value.nunique() == 1
    assert value(quick(Noise, data, (7,), metrics="roc_auc"), "roc_auc") == noise.iloc[2]


def test_seed_reaches_steps_of_a_pipeline(data):
    model = make_pipeline(StandardScaler(), IsolationForest(n_estimators=5))
    a, b, c = (score_cell(model, data, seed=s).test for s in (0, 1, 0))
    np.testing.assert_array_equal(a, c)
    assert (a != b).any()


def test_same_seeds_same_table_serial_and_parallel(data):
    serial, again, parallel = (
        quick(["IsolationForest", Noise()], data, (0, 1), n_jobs=jobs).drop(columns=MEASURED)
        for jobs in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(serial, again)
    pd.testing.assert_frame_equal(serial, parallel)


def test_a_callers_instance_is_never_touched(data):
    ours, theirs = Distance(window=3), IsolationForest(random_state=5, n_estimators=5)
    before = dict(vars(ours)), dict(vars(theirs))
    quick([ours, theirs], data)
    assert (vars(ours), vars(theirs)) == before


def test_global_randomness_is_left_alone(data):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    quick([Noise, "IsolationForest"], data)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    "detectors, labels",
    [
        ("IsolationForest", ["IsolationForest"]),
        (Distance, ["Distance"]),
        ([Distance(), Distance(window=4)], ["Distance", "Distance(window=4)"]),
        (("mine", Distance()), ["mine"]),
        ([("a", Distance), Distance], ["a", "Distance"]),
        ({"a": Distance(), "b": "IsolationForest"}, ["a", "b"]),
        (LocalOutlierFactor(novelty=True), ["LocalOutlierFactor(novelty=True)"]),
        (make_pipeline(StandardScaler(), IsolationForest()), ["StandardScaler > IsolationForest"]),
        (["EllipticEnvelope", "OneClassSVM", "LocalOutlierFactor"],) * 2,
        (Spy, ["Spy"]),
    ],
)
def test_ways_to_name_detectors(data, detectors, labels):
    table = quick(detectors, data, metrics="roc_auc")
    assert table.detector.tolist() == labels
    assert (table.status == "ok").all(), table.reason.tolist()


# --- metrics --------------------------------------------------------------------------------


def test_every_metric_of_adlib_can_be_compared(data):
    table = quick(Distance, data, metrics=[*all_metrics()])
    assert (table.status == "ok").all(), table.reason.unique()
    found = {name.split("@")[0].split("[")[0] for name in table.metric}
    assert found == {name.split("@")[0] for name in all_metrics()}
    one_event_only = table[table.metric != "ucr_score"]
    assert one_event_only.value.notna().all(), one_event_only[one_event_only.value.isna()].metric
    cell, rows = score_cell(Distance(), data), slice(END, N)
    y, judged = data.y[rows], data.judged[rows]
    flags = cell.test[judged] > cell.threshold
    assert value(table, "affiliation_f1@calibration") == affiliation_f1(y[judged], flags)
    assert value(table, "nab_score@calibration") == nab_score(y[judged], flags)


def test_a_changed_metric_is_computed_anew(data, tmp_path):
    def first(y_true, score):
        return 1.0

    def second(y_true, score):
        return 2.0

    tables = [quick(Distance, data, metrics=Metric("mine", function), results_dir=tmp_path)
              for function in (first, second, first)]
    assert [table.value.item() for table in tables] == [1.0, 2.0, 1.0]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_metric_that_fails_is_a_failed_cell(data):
    def broken(y_true, score):
        raise ZeroDivisionError("no rows at night")

    (row,) = quick(Distance, data, metrics=Metric("broken", broken)).itertuples()
    assert (row.status, row.reason) == ("failed", "ZeroDivisionError: no rows at night")


# --- look-ahead -----------------------------------------------------------------------------


def test_a_delay_is_stated_and_changes_every_score(data):
    models = {"window": Distance(window=9), "online": RunningMean(), "spy": Spy()}
    tables = {delay: quick(models, data, delay=delay, baselines=True, metrics="vus_pr")
              for delay in (None, 6, "hindsight")}
    stated = {delay: set(table.look_ahead) for delay, table in tables.items()}
    assert stated == {None: {"causal"}, 6: {"delay of 6 rows"}, "hindsight": {"hindsight"}}
    for table in tables.values():
        assert (table.status == "ok").all(), table.reason.unique()
        assert (table.n_test == tables[None].n_test.iloc[0]).all()  # judged on the same rows
    for other in (6, "hindsight"):
        changed = tables[None].merge(tables[other], on=["detector", "role"])
        changed = changed[~changed.detector.str.startswith("Always")]
        assert (changed.value_x != changed.value_y).all()


@pytest.mark.filterwarnings("ignore:alpha=0.05 on scores smoothed")
@pytest.mark.parametrize("model", [Distance(window=9), RunningMean(), Spy(), "Oracle"],
                         ids=["Distance", "RunningMean", "Spy", "Oracle"])
@pytest.mark.parametrize("delay", [0, 6])
def test_no_cell_looks_further_ahead_than_it_says(data, model, delay):
    def scored(cut):
        later = np.arange(N) > cut
        X = np.where(later[:, None], 50.0, data.X)
        changed = dataclasses.replace(data, X=X, oracle=np.where(later, 9.0, data.oracle))
        return score_cell(model, changed, delay=delay)

    whole, cut = score_cell(model, data, delay=delay), 600
    part = scored(cut)
    n = cut - delay + 1 - whole.test_rows.start
    assert (part.test[:n] == whole.test[:n]).all() and (part.test[n:] != whole.test[n:]).any()
    assert (part.calibrate == whole.calibrate).all()  # the calibration part sees no test row
    assert (score_cell(model, data, delay="hindsight").test != whole.test).any()
    none_of_it = scored(END - 1)
    assert (none_of_it.calibrate == whole.calibrate).all()
    assert none_of_it.threshold == whole.threshold


@pytest.mark.filterwarnings("ignore:alpha=0.05 on scores smoothed")
def test_nothing_is_averaged_from_one_recording_into_the_next(data):
    session = (np.arange(N) >= 600).astype(int)
    cell = score_cell(Distance(), dataclasses.replace(data, session=session), delay="hindsight")
    X = data.X.copy()
    X[600:] = 50.0
    other = score_cell(Distance(), dataclasses.replace(data, X=X, session=session),
                       delay="hindsight")
    n = 600 - cell.test_rows.start
    assert (cell.test[:n] == other.test[:n]).all() and (cell.test[n:] != other.test[n:]).any()


@pytest.mark.parametrize("delay", [-1, 2.5, "late", True])
def test_a_delay_is_a_number_of_rows_or_hindsight(data, delay):
    with pytest.raises(ValueError, match="delay"):
        quick(Distance, data, delay=delay)


def test_rows_without_order_have_no_hindsight():
    series = make_data("series", timed=False)
    assert set(quick(Distance, series, delay="hindsight").status) == {"ok"}
    with pytest.raises(ValueError, match=r"rows in time order, and \['table'\] have no order"):
        quick(Distance, make_data("table", series=False), delay="hindsight")


# --- baselines ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_baselines():
    sets = [make_data("generated"), make_data("recorded", 1, oracle=None)]
    return quick(Distance, sets, (0, 1), baselines=True)


def test_baselines_are_in_the_table(with_baselines):
    names = {
        "RandomScore", "MaxAbsZ", "MovingDeviation", "FirstDifference", "PCAReconstruction",
        "AlwaysAnomalous", "AlwaysNormal", "SquaredDifference", "SquaredZ",
    }  # fmt: skip
    roles = with_baselines.drop_duplicates("detector").set_index("detector").role
    assert names <= set(roles[roles == "baseline"].index)
    assert roles["Distance"] == "detector" and roles["Oracle"] == "oracle"
    assert (with_baselines.status == "ok").all(), with_baselines.reason.unique()


def test_smoothed_one_liners_need_rows_in_order():
    sets = [make_data("series"), make_data("rows", 1, timed=False, series=False)]
    table = quick(MaxAbsZ, sets, baselines=True, metrics=["vus_pr", "average_precision"])
    squares = table[table.detector.str.startswith("Squared")]
    assert set(squares.dataset) == {"series"} and set(squares.role) == {"baseline"}
    assert all("smoothing='auto'" in text for text in squares.parameters)
    asked = quick([MaxAbsZ, "SquaredZ"], sets, metrics="average_precision")
    assert set(asked.dataset[asked.detector == "SquaredZ"]) == {"series", "rows"}
    rows = table[table.dataset == "rows"]
    assert len(rows) and (rows.status == "ok").all()


def test_constant_decisions(with_baselines):
    everything = {"detector": "AlwaysAnomalous", "dataset": "generated", "seed": 0}
    nothing = everything | {"detector": "AlwaysNormal"}
    assert value(with_baselines, "recall@calibration", **everything) == 1
    assert value(with_baselines, "false_positive_rate@calibration", **everything) == 1
    assert value(with_baselines, "recall@calibration", **nothing) == 0
    assert value(with_baselines, "alarms_per_day@calibration", **nothing) == 0
    assert value(with_baselines, "roc_auc", **nothing) == 0.5


def test_oracle_stands_where_the_generator_is_known(with_baselines):
    oracle = with_baselines[with_baselines.detector == "Oracle"]
    assert oracle.dataset.unique().tolist() == ["generated"]
    assert (oracle[oracle.metric == "average_precision"].value == 1).all()


def test_random_score_is_chance(with_baselines):
    auc = with_baselines.query("detector == 'RandomScore' and metric == 'roc_auc'").value
    assert auc.between(0.25, 0.75).all()


def test_a_label_that_a_baseline_owns_is_refused(data):
    with pytest.raises(ValueError, match="names of baselines"):
        quick({"RandomScore": Distance()}, data, baselines=True)


# --- failures -------------------------------------------------------------------------------


def test_a_failing_detector_is_a_row_with_its_reason(data):
    table = quick([Broken(), Distance(), NotANumber()], data)
    rows = dict(iter(table.groupby("detector")))
    assert (rows["Distance"].status == "ok").all()
    for name, reason in (
        ("Broken", "RuntimeError: the sensor melted"),
        ("NotANumber", "ValueError: NotANumber scored 80 of 80 rows NaN (first: row 0)"),
    ):
        assert (rows[name].status == "failed").all()
        assert rows[name].reason.unique().tolist() == [reason]
        assert rows[name].metric.tolist() == rows["Distance"].metric.tolist()
        assert rows[name].value.isna().all()


def test_names_may_carry_parameters():
    from adlib.compare.models import named_detectors

    text = ["KNN(window=10, method='mean')", "OneClassSVM(nu=0.1)", "KNN"]
    models = named_detectors(text)
    assert list(models) == text
    assert models[text[0]].get_params()["window"] == 10 and models[text[0]].method == "mean"
    assert models[text[1]][-1].nu == 0.1
    for wrong in ("KNN(10)", "KNN(window=open('x'))", "KNN(", "os.system(a=1)"):
        with pytest.raises(ValueError, match="unknown detector"):
            compare(wrong, make_data())
    with pytest.raises(ValueError, match="windw"):
        compare("KNN(windw=10)", make_data())


def test_a_window_that_does_not_fit_fails_alone():
    data = make_data(calibrate_start=380)  # twenty rows to calibrate on
    table = quick([("long", MaxAbsZ(window=40)), ("short", MaxAbsZ(window=5))], data)
    rows = dict(iter(table.groupby("detector")))
    assert (rows["short"].status == "ok").all()
    assert (rows["long"].status == "failed").all()
    assert rows["long"].reason.str.contains("looks back on 39 rows").all()


def test_exit_in_a_detector_does_not_end_the_run():
    class Quitter(MaxAbsZ):
        def _fit(self, X):
            raise SystemExit(3)

    table = quick([Quitter, Distance], make_data())
    assert set(table[table.detector == "Quitter"].status) == {"failed"}
    assert set(table[table.detector == "Distance"].status) == {"ok"}


def test_look_backs_of_a_pipeline_add_up():
    from adlib.hindsight import lookback

    inner = make_pipeline(Windows(8), MaxAbsZ(window=5))
    assert lookback(inner) == lookback(make_pipeline(StandardScaler(), inner)) == 11


def test_seeds_and_datasets_are_checked():
    with pytest.raises(ValueError, match="seeds must be different integers"):
        compare(Distance, make_data(), seeds=[0, 0])
    with pytest.raises(ValueError, match="must be of type Dataset"):
        compare(Distance, "telemetry", seeds=0)


def test_too_few_calibration_rows_flag_nothing_and_say_so():
    table = quick(Distance, make_data(timed=False, calibrate_start=395))
    assert (table.threshold == np.inf).all()
    assert table.reason.str.contains("needs at least 19 held-out normal rows, got 5").all()


def test_a_purge_gap_that_eats_a_part_is_a_reason(data):
    table = quick([Distance(window=90)], data)
    assert table.reason.str.contains("looks back on 89 rows").all()
    assert (table.status == "failed").all()


def test_a_test_without_anomalies_keeps_its_false_alarms():
    table = quick(Distance, Dataset("quiet", make_data(size=0).X))
    assert table.reason.str.contains("no anomaly").all() and (table.status == "ok").all()
    assert value(table, "false_positive_rate@calibration") < 0.2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"detectors": "KNM"}, "'KNM', did you mean 'KNN'\\? there are .*IsolationForest"),
        ({"detectors": [Distance(), Distance()]}, "two detectors are labelled 'Distance'"),
        ({"detectors": [3]}, "needs a fit method, got 3"),
        ({"detectors": []}, "compare needs detectors"),
        ({"datasets": []}, "data sets with different names"),
        ({"detectors": "knn"}, "unknown detector 'knn', did you mean 'KNN'\\? there are"),
        ({"seeds": []}, r"seeds must be different integers from 0 on, at least one, got \[\]"),
        ({"seeds": ["a"]}, r"from 0 on, at least one, got \['a'\]"),
        ({"seeds": -1}, r"from 0 on, at least one, got \[-1\]"),
        ({"datasets": [make_data(), make_data()]}, r"different names, .*; got \['data', 'data'\]"),
        ({"datasets": make_data(train_end=N)}, "need history to learn from and test rows"),
        ({"metrics": ["roc_auc", "accuracy"]}, r"unknown metrics \['accuracy'\].*roc_auc"),
        ({"alpha": 5}, "alpha"),
    ],
)
def test_mistakes_are_told_before_anything_runs(data, change, message):
    with pytest.raises(ValueError, match=message):
        quick(**({"detectors": Broken, "datasets": data} | change))


def test_progress_bar_is_silent_without_a_terminal(data, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    quick(Distance, data, progress=True)
    assert sys.stderr.getvalue() == ""


def test_draws_of_one_generator_are_judged_alike():
    def drawn(seed):
        y = np.zeros(600, dtype=int)
        y[[300, 350, 400, 450, 500] if seed % 2 == 0 else slice(400, 420)] = 1
        return Dataset("drawn", np.random.default_rng(seed).normal(size=(600, 2)), y)

    table = quick(Distance, drawn, seeds=[0, 1])
    assert table.groupby("seed").metric.agg(lambda names: "vus_pr" in [*names]).tolist() == [1, 1]
