"""Saved models come back the same, and nothing in a file can run."""

import json
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from adlib.base import Detector, anomaly_score
from adlib.detectors import KNN, RandomScore, RollingZScore
from adlib.persist import load, save
from adlib.thresholds import POT
from adlib.windows import Windows


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(300, 3))


@pytest.mark.parametrize("model", [
    IsolationForest(n_estimators=10, random_state=0), EllipticEnvelope(random_state=0),
    OneClassSVM(), make_pipeline(StandardScaler(), Windows(4), IsolationForest(n_estimators=10)),
    make_pipeline(StandardScaler(), KNN())], ids=lambda m: type(m).__name__)
def test_sklearn_models_round_trip(model, X, tmp_path):
    again = load(save(model.fit(X), tmp_path / "model"))
    assert (anomaly_score(again, X) == anomaly_score(model, X)).all()


def test_parameters_thresholds_and_streams_survive(X, tmp_path):
    detector = RollingZScore(window=50, gate=3.0, alpha=0.02, threshold=POT(tail=0.2)).fit(X)
    again = load(save(detector, tmp_path / "a" / "b"))
    assert again.get_params()["threshold"].tail == 0.2 and again.threshold_ == detector.threshold_
    assert (again.process(X) == detector.process(X)).all()  # a loaded state goes on learning


def test_nothing_is_pickled(X, tmp_path):
    save(KNN().fit(X), tmp_path / "knn")
    assert sorted(p.name for p in (tmp_path / "knn").iterdir()) == ["arrays.safetensors",
                                                                  "model.json"]
    json.loads((tmp_path / "knn" / "model.json").read_text())


def test_infinite_threshold_survives(X, tmp_path):
    with pytest.warns(UserWarning, match="held-out"):
        detector = KNN(alpha=1e-4).fit(X)
    assert load(save(detector, tmp_path / "m")).threshold_ == np.inf


class Own(Detector):
    def _fit(self, X):
        self.names_, self.table_ = ("a", "b"), {"low": 1.0, "high": [2, 3]}

    def _score(self, X):
        return np.abs(X).sum(axis=1)


def test_own_class_must_be_handed_in(X, tmp_path):
    save(Own().fit(X), tmp_path / "own")
    with pytest.raises(ValueError, match=r"classes=\[Own\]"):
        load(tmp_path / "own")
    again = load(tmp_path / "own", classes=[Own])
    assert again.names_ == ("a", "b") and again.table_ == {"low": 1.0, "high": [2, 3]}


def test_what_cannot_be_saved_is_named_and_leaves_nothing(X, tmp_path):
    detector = Own().fit(X)
    detector.hook_ = print
    with pytest.raises(TypeError, match=r"cannot save model\.hook_"):
        save(detector, tmp_path / "own")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_model(X, tmp_path):
    good = Own().fit(X)
    save(good, tmp_path / "own")
    good.hook_ = print
    with pytest.raises(TypeError):
        save(good, tmp_path / "own")
    assert load(tmp_path / "own", classes=[Own]).names_ == ("a", "b")
    save(KNN().fit(X), tmp_path / "own")  # a saved model may be replaced
    assert isinstance(load(tmp_path / "own"), KNN)


def test_foreign_folders_are_safe(X, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not a saved model"):
        save(KNN().fit(X), tmp_path)
    with pytest.raises(FileNotFoundError, match="not a saved model"):
        load(tmp_path)


def harmless(X):
    return X


def test_untrusted_types_are_refused_on_both_sides(X, tmp_path):
    model = make_pipeline(FunctionTransformer(harmless), IsolationForest(n_estimators=5)).fit(X)
    with pytest.raises(TypeError, match="not trusted: .*harmless"):
        save(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    good = make_pipeline(StandardScaler(), IsolationForest(n_estimators=5)).fit(X)
    save(good, tmp_path / "m")
    (file,) = (tmp_path / "m").glob("*.skops")
    skops.io.dump(model, file)  # someone exchanges the file
    with pytest.raises(ValueError, match="not trusted: .*harmless"):
        load(tmp_path / "m")


def test_an_interrupted_overwrite_keeps_the_old_model(X, tmp_path, monkeypatch):
    path = save(KNN().fit(X), tmp_path / "m")
    rename = Path.rename

    def failing(self, target):
        if self.suffix == ".new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        save(RollingZScore().fit(X), path)
    monkeypatch.undo()
    assert isinstance(load(path), KNN) and [p.name for p in tmp_path.iterdir()] == ["m"]


def test_damaged_files_say_so(X, tmp_path):
    save(KNN().fit(X), tmp_path / "m")
    for name, content in (("model.json", "{"), ("model.json", "[]"), ("arrays.safetensors", "")):
        save(KNN().fit(X), tmp_path / "m")
        (tmp_path / "m" / name).write_text(content)
        with pytest.raises(ValueError, match="damaged"):
            load(tmp_path / "m")


def test_a_class_of_the_same_name_is_not_taken_for_ours(X, tmp_path):
    mine = type("KNN", (Own,), {"__module__": "elsewhere"})
    save(mine().fit(X), tmp_path / "m")
    with pytest.raises(ValueError, match="'KNN' of elsewhere"):
        load(tmp_path / "m")
    assert type(load(tmp_path / "m", classes=[mine])) is mine


def test_narrowed_constructors_and_odd_values_survive(X, tmp_path):
    class Narrow(KNN):
        def __init__(self, *, n_neighbors=3):
            super().__init__(n_neighbors=n_neighbors, window=4)

    detector = Narrow().fit(X)
    again = load(save(detector, tmp_path / "narrow"), classes=[Narrow])
    assert (again.detect(X).score == detector.detect(X).score).all()
    drawn = RandomScore(random_state=np.random.default_rng(0)).fit(X)
    again = load(save(drawn, tmp_path / "random"))
    assert (again.anomaly_score(X) == drawn.anomaly_score(X)).all()
    fixed = KNN(threshold=np.float64(np.inf)).fit(X)
    assert load(save(fixed, tmp_path / "inf")).threshold_ == np.inf
    own = Own().fit(X)
    own.table_ = {"a.b": np.ones(2), "a": {"b": np.zeros(2)}, "cpu/usr": IsolationForest()}
    table = load(save(own, tmp_path / "own"), classes=[Own]).table_
    assert table["a.b"].sum() == 2 and table["a"]["b"].sum() == 0 and "cpu/usr" in table


def test_only_models_are_saved(tmp_path):
    with pytest.raises(TypeError, match="model must be"):
        save({"a": 1}, tmp_path / "m")


def test_unknown_format_is_refused(X, tmp_path):
    save(KNN().fit(X), tmp_path / "m")
    file = tmp_path / "m" / "model.json"
    file.write_text(file.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="format 99"):
        load(tmp_path / "m")
