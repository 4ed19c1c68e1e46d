"""Missing values: what fills them, what is said about it, and rows that hold next to nothing."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import get_tags

from adlib import OnlineDetector, load, save
from adlib.compare import compare, rank_unlabelled, score_cell, write_report
from adlib.datasets import Dataset
from adlib.detectors import (
    KNN,
    Ensemble,
    MaxAbsZ,
    OnlineEnsemble,
    PCAReconstruction,
    RollingZScore,
    Voting,
)
from adlib.explain import explain
from adlib.hindsight import hindsight_detect
from adlib.missing import MissingWarning, fill, fill_values, kept, raised

NAMES = ["a", "b", "c"]


def rows(n, share=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)) + [0.0, 10.0, -5.0]
    X[rng.random(X.shape) < share] = np.nan
    return X


def test_the_median_fills_and_the_share_is_stated():
    X = np.array([[1.0, 5.0], [np.nan, 7.0], [2.0, np.nan], [6.0, np.nan]])
    values, shares = fill_values(X, ["a", "b"])
    assert values.tolist() == [2.0, 6.0] and shares.tolist() == [0.25, 0.5]
    found = fill(X, values, ["a", "b"])
    assert found.rows[1, 0] == 2.0 and found.gaps.sum() == 3 and np.isnan(X).sum() == 3
    assert fill(X[:1], values, ["a", "b"]).gaps is None


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_half_of_a_row_is_not_mostly_missing():
    X = np.array([[np.nan, 1.0], [np.nan, np.nan], [1.0, 1.0]])
    found = fill(X, np.zeros(2), ["a", "b"])
    assert found.blind.tolist() == [False, True, False]
    assert kept(np.arange(3.0), found).tolist() == [0, 2]
    assert kept(np.arange(2.0), found).tolist() == [1]  # scores of the last rows


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_marked_rows_lie_just_above_the_threshold():
    found = fill(np.array([[np.nan], [np.nan], [1.0]]), np.zeros(1), ["a"])
    score = raised(np.array([1.0, 9.0, 1.0]), found, 5.0, 6.0)
    assert score.tolist() == [np.nextafter(5.0, 6.0), 9.0, 1.0]
    assert raised(np.ones(3), found, np.inf, 6.0).tolist() == [6, 6, 1]  # nothing is flagged


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_what_holds_nothing_is_named():
    X = rows(200)
    X[:160, 1] = np.nan
    with pytest.raises(ValueError, match="no value of 'b' in the 160 rows that train"):
        KNN(missing="impute", calibration="split").fit(pd.DataFrame(X, columns=NAMES))
    X = rows(200)
    X[160:] = np.nan
    with pytest.raises(ValueError, match="each of the 40 that are held out"):
        KNN(missing="impute", calibration="split").fit(X)


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_only_rows_that_train_are_learned_from():
    X = rows(200, 0.05)
    model = KNN(missing="impute", calibration="split").fit(X)
    assert np.array_equal(model.fill_, np.nanmedian(X[:160], axis=0))
    assert np.array_equal(model.imputed_, np.isnan(X[:160]).mean(axis=0))
    assert not hasattr(KNN().fit(rows(200)), "fill_")


def test_warnings_name_the_columns_and_the_marked_rows():
    X = rows(100)
    X[::4, 1] = np.nan
    with pytest.warns(MissingWarning, match="b 25% of 100 rows"):
        model = KNN(missing="impute").fit(pd.DataFrame(X, columns=NAMES))
    new = pd.DataFrame(rows(20), columns=NAMES)
    new.iloc[3] = np.nan
    with pytest.warns(MissingWarning, match="1 of 20 rows lack more than half"):
        model.anomaly_score(new)
    new.iloc[3, 1] = 10.0
    new.iloc[3, 0] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.anomaly_score(new)  # one gap in twenty rows is no news


def test_the_default_refuses_and_names_the_way_out():
    for act in (KNN().fit, KNN().fit(rows(100)).anomaly_score):
        with pytest.raises(ValueError, match="missing='impute'"):
            act(rows(100, 0.1))
    with pytest.raises(ValueError, match="'error', 'impute', got 'drop'"):
        KNN(missing="drop").fit(rows(100))
    assert get_tags(KNN(missing="impute")).input_tags.allow_nan
    assert not get_tags(KNN()).input_tags.allow_nan


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
@pytest.mark.parametrize("model", [
    KNN(), KNN(window=5), PCAReconstruction(smoothing=3.0), RollingZScore(), OnlineEnsemble(),
    Ensemble(members=[KNN(), PCAReconstruction()]), Voting(members=[KNN(), MaxAbsZ()])], ids=repr)
def test_every_decision_flags_a_row_that_is_mostly_missing(model, tmp_path):
    model.set_params(missing="impute", alpha=0.1)
    new = rows(50, 0.1, seed=1)
    new[20], new[30, :2] = np.nan, np.nan
    found = model.fit(rows(1200, 0.1)).detect(new)
    assert found.is_anomaly[[20, 30]].all() and found.is_anomaly.mean() < 0.5
    assert (model.predict(new) == np.where(found.is_anomaly, -1, 1)).all()
    assert ((model.severity(new) > 0.7) == found.is_anomaly).all()
    assert ((model.decision_function(new) < 0) == found.is_anomaly).all()
    if hasattr(model, "vote"):
        assert ((model.vote(new) > model.quorum) == found.is_anomaly).all()
    assert np.array_equal(load(save(model, tmp_path / "m")).anomaly_score(new), found.score)
    assert model.frozen_score(new)[20] > model.threshold_
    if isinstance(model, OnlineDetector):
        return  # it learns what was filled in
    before = model.threshold_
    model.calibrate(np.where(np.arange(300)[:, None] < 100, np.nan, rows(300, seed=2)))
    assert abs(model.threshold_ - before) < 0.5 * abs(before)  # marked rows calibrate nothing


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_online_detectors_fill_row_by_row():
    new = rows(80, 0.2, seed=1)
    new[40] = np.nan
    model = RollingZScore(missing="impute").fit(rows(300, 0.1))
    again = RollingZScore(missing="impute").set_state(model.get_state())
    at_once, by_row = again.process(new), np.array([model.process_one(x) for x in new])
    whole = ~model.filled(new).blind  # `again` has no threshold to raise a score above
    assert np.array_equal(at_once[whole], by_row[whole])
    assert by_row[40] > model.threshold_ and model.score_one(new[40]) > model.threshold_
    fresh = RollingZScore(missing="impute")
    fresh.process(rows(10))
    for act in (fresh.process, RollingZScore(missing="impute").process):
        with pytest.raises(ValueError, match="fit it first"):
            act(new)


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_rows_that_are_refused_start_no_online_detector():
    model = RollingZScore(missing="impute")
    with pytest.raises(ValueError, match="fit it first"):
        model.process(rows(50, share=0.2))
    assert not hasattr(model, "n_features_in_")
    assert np.isfinite(model.process(rows(50))).all()


def test_every_missing_value_of_pandas_is_one():
    frame = pd.DataFrame(rows(60), columns=NAMES)
    model = MaxAbsZ(missing="impute").fit(frame)
    usual = frame[:2].copy()
    usual.iloc[1, 2] = np.nan
    for value in (None, pd.NA):
        odd = usual.astype(object)
        odd.iloc[1, 2] = value
        assert (model.anomaly_score(odd) == model.anomaly_score(usual)).all()
        with pytest.raises(ValueError, match="row 1, column 'c'"):
            MaxAbsZ().fit(odd)


def test_a_committee_fills_once_and_members_keep_their_seeds():
    full = rows(300)
    plain, filling = (Voting(random_state=0, missing=how, members=[KNN(), MaxAbsZ()]).fit(full)
                      for how in ("error", "impute"))
    assert np.array_equal(plain.anomaly_score(full), filling.anomaly_score(full))
    members = [KNN(missing="impute"), MaxAbsZ()]
    assert np.array_equal(Voting(random_state=0, members=members).fit(full).anomaly_score(full),
                          plain.anomaly_score(full))


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_hindsight_flags_marked_rows_too():
    new = rows(200, 0.05, seed=1)
    new[100] = np.nan
    model = KNN(missing="impute").fit(rows(300, 0.05))
    found = hindsight_detect(model, new, normal=rows(900, 0.05, seed=2), width=2)
    assert found.is_anomaly[100] and found.score[100] > 0


# -- comparisons ----------------------------------------------------------------------------------


def air_quality(n=9_000):
    """Hourly gas sensors as they come: drifted, correlated, 5 to 90 % missing in four columns."""
    rng, t = np.random.default_rng(0), np.arange(n)
    latent = np.convolve(rng.normal(size=(n + 23)), np.ones(24) / 5, mode="valid")
    latent += np.sin(2 * np.pi * t / 24)
    X = np.outer(latent, rng.normal(1, 0.3, 13)) + rng.normal(0, 0.3, (n, 13))
    X += np.outer(t / n, rng.normal(0, 1, 13))  # sensors age
    y = np.isin(t // 6, rng.choice(np.arange(n // 10, n // 6), n // 200, replace=False))
    X[y] += rng.choice([-3, 3], 13)
    for column, share in {1: 0.05, 4: 0.2, 7: 0.5, 12: 0.9}.items():
        X[rng.random(n) < share, column] = np.nan
    X[n // 2, :7] = np.nan
    X[3 * n // 4] = np.nan
    return Dataset("air", X, y, time=np.datetime64("2024-03-10") + t.astype("timedelta64[h]"))


@pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")
def test_a_comparison_fills_alike_for_all_and_says_what(tmp_path):
    data = air_quality(1_500)
    models = ["KNN", "PCAReconstruction(window=3)", "RobustZScore", "Ensemble", "IsolationForest"]
    with pytest.warns(MissingWarning, match="x12 90% of 1500 rows; 2 of 1500 rows lack more"):
        table = compare(models, data, seeds=[0], missing="impute", intervals=False, n_random=2,
                        progress=False)
    assert set(table.status) == {"ok"} and set(table.missing) == {"impute"}
    assert table.detector.nunique() == len(models) + 9
    assert not table.reason.str.contains("missing values").any()
    page = write_report(table, tmp_path / "report", datasets=[data])
    origin = json.loads((page.parent / "manifest.json").read_text())
    assert origin["missing"] == "filled with the median of the rows that fit"
    gaps = origin["data"]["air"]["missing"]
    assert list(gaps) == [f"x{j}" for j in range(13)] and 0.8 < gaps["x12"]["fit"] < 1
    assert gaps["x4"]["test"] == round(np.isnan(data.test.X[:, 4]).mean(), 4)
    assert "filled with the column" in page.read_text()


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_a_cell_is_that_of_filled_rows_and_marks(tmp_path):
    data = air_quality(1_500)
    for name in ("KNN", "IsolationForest", "RollingZScore", "MaxAbsZ"):
        found, filled = (score_cell(name, data, missing="impute"),
                         score_cell(name, data.imputed()))
        marked = np.flatnonzero(found.test != filled.test)
        assert found.threshold == filled.threshold and set(marked) <= {150, 525}
        assert (found.test[[150, 525]] > found.threshold).all()
    assert np.isnan(data.X).any() and data.imputed().imputed().X is not data.X
    with pytest.raises(ValueError, match="missing must be one of"):
        score_cell("KNN", data, missing="drop")
    table = compare("KNN", data, seeds=[0], metrics=["roc_auc"], baselines=False)
    assert table.status.item() == "failed" and "missing='impute'" in table.reason.item()
    holes = np.where(np.arange(1_500)[:, None] < 480, [[np.nan] + 12 * [0.0]], data.X)
    with pytest.raises(ValueError, match="air: no value of 'x0'|air holds no value of 'x0'"):
        compare("KNN", replace(data, X=holes), missing="impute")


@pytest.mark.filterwarnings("ignore::adlib.missing.MissingWarning")
def test_explanations_say_what_was_filled():
    X = rows(400, 0.05)
    X = pd.DataFrame(X, columns=NAMES)
    model = KNN(missing="impute").fit(X)
    new = pd.DataFrame(rows(200, seed=1), columns=NAMES)
    new.iloc[50] = [6.0, np.nan, -5.0]
    new.iloc[60] = [np.nan, np.nan, -5.0]
    why = explain(model, new, rows=[50, 60, 70], background=X)
    assert why.filled.tolist() == [[False, True, False], [True, True, False], [False] * 3]
    assert why.values[0, 1] == model.fill_[1] and why.table().filled.sum() == 3
    assert "more than half of its values are missing" in why.sentences()[1]
    assert "missing" not in why.sentences()[0].split("a 6")[0]
    assert "b missing, filled in as" in why._reason(0, 1)


def test_rows_without_labels_are_ranked_too():
    data = air_quality(1_500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = rank_unlabelled(["KNN", "MaxAbsZ"], data, seeds=[0], kinds=["spike"],
                                missing="impute", progress=False)
    assert found.ranking.injected.notna().all()
