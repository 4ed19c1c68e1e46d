"""Detectors of other libraries by stand-ins that follow their protocols; the real ones: test_peers.

Each stand-in scores by the distance from the training mean. Those of series give a row the mean
over all windows that hold it, as aeon, dtaianomaly and PyOD do.
"""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from adlib import anomaly_score, hindsight_score, load, save
from adlib.compare import compare
from adlib.compare.models import named_detectors
from adlib.datasets import Dataset
from adlib.detectors import KNN, Ensemble
from adlib.foreign import wrap
from adlib.realtime.config import DetectorConfig

CUT, N, WINDOW = 300, 500, 5


def base(module, name, *bases):
    return type(name, bases or (object,), {"__module__": module})


class Far:
    def fit(self, X, y=None):
        self.mean_ = np.asarray(X).mean(axis=0)
        return self

    def _distance(self, X):
        return np.linalg.norm(np.asarray(X) - self.mean_, axis=1)

    def _smeared(self, X):
        """Mean over the windows that hold a row, some of which end later."""
        windows = np.convolve(self._distance(X), np.ones(WINDOW) / WINDOW, mode="valid")
        padded = np.pad(windows, WINDOW - 1, mode="edge")
        return np.convolve(padded, np.ones(WINDOW) / WINDOW, mode="valid")


class Unknown(Far):
    def decision_function(self, X):
        return self._distance(X)


class PyOD(Far, base("pyod.models.base", "BaseDetector", BaseEstimator)):
    def decision_function(self, X):
        return self._distance(X)


class DTAI(Far, base("dtaianomaly.anomaly_detection._BaseDetector", "BaseDetector")):
    window_size = WINDOW

    def decision_function(self, X):
        return self._smeared(X)


class Aeon(Far, base("aeon.anomaly_detection.series.base", "BaseSeriesAnomalyDetector",
                     BaseEstimator)):
    window_size = WINDOW

    def fit(self, X, y=None, axis=1):
        return super().fit(X if axis == 0 else np.transpose(X))

    def predict(self, X, axis=1):
        return self._smeared(X if axis == 0 else np.transpose(X))


class Transductive(Aeon):
    def predict(self, X, axis=1):
        return np.abs(X - X.mean(axis=0)).max(axis=1)


class River:
    """Distance from a running mean, of rows by name; `seen` would tell a used copy."""

    def __init__(self, seed=None):
        self.seed, self.seen, self.mean = seed, 0, {}

    def clone(self, new_params):
        return type(self)(**{"seed": self.seed} | new_params)

    def learn_one(self, x):
        self.seen += 1
        for name, value in x.items():
            old = self.mean.get(name, 0.0)
            self.mean[name] = old + (value - old) / self.seen

    def score_one(self, x):
        return sum((value - self.mean.get(name, 0.0)) ** 2 for name, value in x.items())


class Target(River):
    """Judges one target, as River's GaussianScorer."""

    _supervised = True

    def learn_one(self, x, y):
        super().learn_one({**x, "y": y})

    def score_one(self, x, y):
        return super().score_one({**x, "y": y})


@pytest.fixture
def X():
    X = np.random.default_rng(0).normal(size=(N, 2)) + [3.0, -3.0]
    X[450:460] += 8
    return X


@pytest.fixture
def data(X):
    return Dataset("events", X, np.isin(np.arange(N), np.arange(450, 460)), train_end=CUT,
                   feature_names=("a", "b"))


KINDS = {"pyod": PyOD, "dtaianomaly": DTAI, "aeon": Aeon,
         "sklearn": IsolationForest, "behind a scaler": lambda: make_pipeline(
             StandardScaler(), PyOD()), "aeon behind a scaler": lambda: make_pipeline(
             StandardScaler(), Aeon())}


@pytest.mark.parametrize("kind", KINDS)
def test_the_high_end_is_anomalous(kind, X, data):
    model = KINDS[kind]()
    detector = wrap(model).fit(X[:CUT])
    score = detector.anomaly_score(X)
    assert score[450:460].mean() > np.quantile(score, 0.9)
    if "aeon behind" not in kind:  # which has no axis to give
        score = anomaly_score(model.fit(X[:CUT], **({"axis": 0} if kind == "aeon" else {})), X)
        assert score[450:460].mean() > np.quantile(score, 0.9)
    table = compare((kind, KINDS[kind]()), data, [0], metrics="roc_auc", baselines=False,
                    n_random=0, progress=False)
    assert table.status.tolist() == ["ok"], table.reason.tolist()
    assert table.value[0] > 0.9


def test_a_stream_goes_on_by_a_copy_and_learns_afresh(X, data):
    model = River()
    for row in X[:50]:
        model.learn_one({0: row[0], 1: row[1]})
    score = anomaly_score(model, X[50:])
    by_hand = River()
    for row in X[:50]:
        by_hand.learn_one({0: row[0], 1: row[1]})
    for row, found in zip(X[50:], score, strict=True):
        assert by_hand.score_one({0: row[0], 1: row[1]}) == found
        by_hand.learn_one({0: row[0], 1: row[1]})
    assert model.seen == 50
    detector = wrap(model, random_state=7).fit(X[:CUT])
    assert (detector.model_.seen, detector.model_.seed) == (CUT, detector.seed_)
    table = compare(model, data, [0], metrics="roc_auc", baselines=False, n_random=0,
                    progress=False)
    assert table[["detector", "status", "online"]].values.tolist() == [
        ["river.River", "ok", "yes"]]
    assert table.value[0] > 0.9


def test_rows_reach_a_stream_by_their_names(X, data):
    class Named(River):
        def score_one(self, x):
            assert list(x) == ["a", "b"]
            return super().score_one(x)

    found = compare(("named", Named()), data, [0], metrics="roc_auc", baselines=False, n_random=0,
                    progress=False)
    assert found.status.tolist() == ["ok"], found.reason.tolist()


def test_a_stream_that_judges_a_target_takes_one_column(X):
    assert np.isfinite(wrap(Target()).fit(X[:CUT, :1]).anomaly_score(X[CUT:, :1])).all()
    with pytest.raises(ValueError, match="Target judges one target, and rows have 2 columns"):
        wrap(Target()).fit(X)


def test_trees_that_assume_limits_are_told_of_rows_beyond_them(X):
    anomaly = pytest.importorskip("river.anomaly")
    preprocessing = pytest.importorskip("river.preprocessing")
    with pytest.warns(UserWarning, match="HalfSpaceTrees takes column 0 to lie in"):
        wrap(anomaly.HalfSpaceTrees(n_trees=2)).fit(X)
    scaled = preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(n_trees=2)
    one, two = (wrap(scaled, random_state=1).fit(X[:CUT]).anomaly_score(X[CUT:]) for _ in "ab")
    assert (one == two).all()


@pytest.mark.parametrize("kind", ["dtaianomaly", "aeon"])
def test_windows_that_look_ahead_are_made_causal(kind, X):
    model = KINDS[kind]()
    detector = wrap(model).fit(X[:CUT])
    native = detector.model_._smeared(X)
    score = detector.anomaly_score(X)
    assert (detector.ahead_, detector.context_, detector.is_ordered) == (4, 8, True)
    assert np.allclose(score[8:], native[4:-4])
    wild = X.copy()
    wild[400:] = 99
    assert np.allclose(detector.anomaly_score(wild)[8:400], score[8:400])
    assert np.isfinite(detector.anomaly_score(X[:2])).all()  # fewer rows than a window
    late = hindsight_score(detector, X, delay=4, width=0.1)
    assert np.allclose(late[8:-4], native[8:-4])


def test_what_scores_rows_by_their_company_is_refused(data):
    table = compare(Transductive(), data, [0], metrics="roc_auc", baselines=False, progress=False)
    assert table.status[0] == "failed"
    assert "Transductive scores a row by all rows that are given with it" in table.reason[0]


@pytest.mark.parametrize("model", [Unknown(), LogisticRegression()], ids=["own", "classifier"])
def test_an_unknown_sign_is_asked_for(model, X, data):
    with pytest.raises(TypeError, match="is of no library whose sign is known: say which end"):
        anomaly_score(model, X)
    with pytest.raises(ValueError, match="sign='high'"):
        compare(model, data, progress=False)
    with pytest.raises(ValueError, match="sign='high'"):
        Ensemble(members=[model]).fit(X)


def test_a_sign_that_is_told(X, data):
    model = Unknown().fit(X[:CUT])
    high, low = (anomaly_score(model, X, sign) for sign in ("high", "low"))
    assert (high == model.decision_function(X)).all() and (low == -high).all()
    table = compare({sign: wrap(Unknown(), sign=sign) for sign in ("high", "low")}, data, [0],
                    metrics="roc_auc", baselines=False, n_random=0, progress=False)
    assert (table.value > 0.5).tolist() == [True, False]
    with pytest.raises(ValueError, match="sign must be one of"):
        wrap(Unknown(), sign="up")
    with pytest.raises(TypeError, match="a detector needs a fit method, got 3"):
        wrap(3)


def test_members_of_every_library(X):
    members = [PyOD(), River(), Aeon(), wrap(Unknown(), sign="high"), KNN(), IsolationForest()]
    ensemble = Ensemble(members=members, random_state=0).fit(X[:CUT])
    assert [row["status"] for row in ensemble.report_] == ["ok"] * 6
    assert ensemble.names_ == ["PyOD", "River", "Aeon", "Unknown", "KNN", "IsolationForest"]
    score = ensemble.anomaly_score(X[CUT:])
    assert score[150:160].mean() > np.quantile(score, 0.9)


def test_what_the_live_engine_takes(X):
    def built(name, **more):
        return DetectorConfig(detector=f"{__name__}:{name}", **more).build(0)

    detector = built("PyOD").fit(X[:CUT])
    assert detector.anomaly_score(X)[455] > detector.anomaly_score(X)[400]
    assert built("Unknown", sign="low").sign == "low"
    with pytest.raises(ValueError, match="Unknown is of no library whose sign is known"):
        built("Unknown")
    with pytest.raises(ValueError, match="keeps what it learns in a form that no checkpoint"):
        built("River")
    assert "sign" not in DetectorConfig(detector="KNN").model_dump()


def test_what_can_be_saved(X, tmp_path):
    pytest.importorskip("skops")
    detector = wrap(IsolationForest(n_estimators=5), sign="low").fit(X[:CUT])
    again = load(save(detector, tmp_path / "told"))
    assert (again.anomaly_score(X) == detector.anomaly_score(X)).all()
    with pytest.raises(TypeError, match=r"cannot save model\.model: types that are not trusted"):
        save(wrap(PyOD()).fit(X), tmp_path / "pyod")
    with pytest.raises(TypeError, match=r"cannot save model\.model: River is not a number"):
        save(wrap(River()).fit(X), tmp_path / "river")


OWN = """
import numpy as np
from neighbour import SCALE
from adlib import Detector

class Far(Detector):
    def __init__(self, *, power=1.0, **base):
        super().__init__(**base)
        self.power = power

    def _fit(self, X):
        self.mean_ = X.mean(axis=0)

    def _score(self, X):
        return SCALE * np.abs(X - self.mean_).sum(axis=1) ** self.power

class Needs(Far):
    def __init__(self, given):
        super().__init__()
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neighbour.py").write_text("SCALE = 2.0")
    (tmp_path / "my.own.py").write_text(OWN)
    yield tmp_path / "my.own.py"
    sys.modules.pop("neighbour", None)


def test_a_class_in_a_file(file, data, X):
    folder = file.parent / "cells"
    names = [f"{file}:Far(power=2.0)", "sklearn.ensemble:IsolationForest(n_estimators=5)"]
    how = {"metrics": "roc_auc", "baselines": False, "n_random": 0, "progress": False}
    table = compare(names, data, [0], time_limit=60, results_dir=folder, **how)
    assert table.detector.tolist() == ["my.own.py:Far(power=2.0)", names[1]]
    assert table.status.tolist() == ["ok", "ok"], table.reason.tolist()
    before = set(folder.iterdir())
    compare(names, data, [0], results_dir=folder, **how)
    assert set(folder.iterdir()) == before
    file.write_text(OWN.replace("np.abs", "np.square"))
    compare(names, data, [0], results_dir=folder, **how)
    assert len(set(folder.iterdir()) - before) == 1  # the other one did not change


def test_a_class_in_a_file_in_another_process(file, X):
    (model,) = named_detectors("my.own.py:Far").values()
    saved = file.parent / "model.pickle"
    saved.write_bytes(pickle.dumps(model.fit(X)))
    code = ("import pickle, sys, adlib.imports\n"
            "print(type(pickle.load(open(sys.argv[1], 'rb'))).__name__)")

    def said():
        done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True)
        return done.stdout + done.stderr

    assert said() == "Far\n"
    file.write_text(OWN + "# edited")
    assert "my.own.py was changed since its class was named" in said()
    again = load(save(model, file.parent / "saved"), classes=[type(model)])
    assert (again.anomaly_score(X) == model.anomaly_score(X)).all()
    with pytest.raises(ValueError, match=r"needs the class 'Far' of file:.*classes=\[Far\]"):
        load(file.parent / "saved")
    settings = DetectorConfig(detector="my.own.py:Far", parameters={"power": 2.0})
    assert settings.build(0).power == 2.0


@pytest.mark.parametrize(("name", "said"), [
    ("my.own.py:Fa", "my.own.py has no class 'Fa', did you mean 'Far'"),
    ("none.py:Far", "'none.py:Far' cannot be imported: FileNotFoundError.*none.py"),
    ("nowhere.at:Far", "'nowhere.at:Far' cannot be imported: ModuleNotFoundError"),
    ("my.own.py:Far(powr=1)", r"'my.own.py:Far\(powr=1\)' cannot be made: .*'powr'"),
    ("my.own.py:Needs", "cannot be made: .* missing 1 required positional argument: 'given'"),
    ("broken.py:Far", "'broken.py:Far' cannot be imported: ZeroDivisionError.*line 2 of broken.py"),
    ("wrong.py:Far", "'wrong.py:Far' cannot be imported: SyntaxError"),
    ("json:dumps", "json has no class 'dumps'"),
    ("collections:OrderedDict", "a detector needs a fit method"),
])
def test_a_class_that_cannot_be_had(name, said, file):
    (file.parent / "broken.py").write_text("x = 1\n1 / 0\n")
    (file.parent / "wrong.py").write_text("class Far(:\n")
    with pytest.raises(ValueError, match=said):
        named_detectors(name)
