"""Saved models come back the same, and nothing in a file can run.

``python tests/test_persist.py`` freezes models of this version into ``tests/data/``, for later
versions to read. A folder there is never renewed: a new format gets a new one.
"""

import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import skops.io
from hypothesis import HealthCheck, example, given, settings
from safetensors.numpy import load_file, save_file
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from adlib.base import Detector, OnlineDetector, anomaly_score, score_by
from adlib.deprecation import renamed
from adlib.detectors import (
    KNN,
    VAE,
    Ensemble,
    OnlineEnsemble,
    PCAReconstruction,
    RandomScore,
    RobustZScore,
    RollingZScore,
    SeasonalZScore,
    Voting,
)
from adlib.foreign import wrap
from adlib.persist import load, new_folder, save
from adlib.realtime import RealTimeAnomalyDetector
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
    for name, content in (("model.json", "{"), ("model.json", "[]"), ("model.json", "{}"),
                          ("model.json", '{"format": 1}'), ("arrays.safetensors", "")):
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


# -- files of earlier versions ----------------------------------------------------------------

FROZEN = Path(__file__).parent / "data" / "format-1"


def _frozen_rows():
    rng = np.random.default_rng(20)
    return rng.normal(size=(120, 3)), rng.normal(size=(30, 3)) * 3


def _frozen_models():
    forest = make_pipeline(StandardScaler(), IsolationForest(n_estimators=3, max_samples=32,
                                                             random_state=0))
    return {
        "knn": KNN(n_neighbors=3, alpha=0.1),
        "vae": VAE(hidden_layers=(6,), latent_dim=2, epochs=3, window=2, random_state=0),
        "voting": Voting(members=[forest, EllipticEnvelope(random_state=0)], random_state=0),
        "ensemble": Ensemble(members=[(KNN(), 1.0), (PCAReconstruction(n_components=2), 0.5)],
                             random_state=0),
        "rolling": RollingZScore(window=20, gate=4.0, release=5, threshold=POT(tail=0.3)),
        "robust": RobustZScore(window=15),
        "seasonal": SeasonalZScore(period=12, window=30),
        "online": OnlineEnsemble(period=12, window=30, warm_up=20),
        "pipeline": make_pipeline(StandardScaler(), Windows(3), forest[-1]),
    }


def _freeze(folder):
    X, new = _frozen_rows()
    scores = {}
    for name, model in _frozen_models().items():
        save(model.fit(X), folder / name)
        scores[name] = score_by(model, new, "frozen_score").tolist()
    (folder / "scores.json").write_text(json.dumps(scores))


@pytest.mark.parametrize("name", _frozen_models())
def test_a_file_of_an_earlier_version_scores_as_it_did(name):
    _, new = _frozen_rows()
    want = json.loads((FROZEN / "scores.json").read_text())[name]
    model = load(FROZEN / name)
    # networks and forests go through BLAS; the rest is the same to the last digits
    found = score_by(model, new, "frozen_score")  # of a stream: by the state that was saved
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-9)
    if isinstance(model, Detector):
        assert model.detect(new).is_anomaly.any() and model.severity(new).max() <= 1
    if isinstance(model, OnlineDetector):
        assert np.isfinite(model.process(new)).all()


def test_a_parameter_that_was_renamed_is_read_under_its_former_name(tmp_path):
    class Renamed(Own):
        @renamed(n_neighbors="n_near")
        def __init__(self, *, n_near=5, **base):
            super().__init__(**base)
            self.n_near = n_near

    class Below(Renamed):
        def __init__(self, **base):
            super().__init__(**base)

    folder = shutil.copytree(FROZEN / "knn", tmp_path / "knn")
    document = json.loads((folder / "model.json").read_text())
    for cls in (Renamed, Below):
        document["model"]["class"] = cls.__name__
        (folder / "model.json").write_text(json.dumps(document))
        assert load(folder, classes=[cls]).n_near == document["model"]["state"]["n_neighbors"]


def test_frozen_models_stay_small():
    size = sum(file.stat().st_size for file in FROZEN.rglob("*") if file.is_file())
    assert 20_000 < size < 200_000


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda d: d.update(format=2, adlib="9.1"), "has format 2 .adlib 9.1.; .* reads format 1$"),
    (lambda d: d["model"].update({"class": "Oracle9"}), "needs the class 'Oracle9' of adlib"),
    (lambda d: d["model"].update({"class": "system", "module": "os"}), "the class 'system' of os"),
    (lambda d: d["model"].update({"class": "os.system"}), "needs the class 'os.system'"),
    (lambda d: d["model"]["state"].pop("method"), "had no method: fit it again$"),
    (lambda d: d["model"].pop("class"), "damaged: 'class' is missing$"),
    (lambda d: d.pop("model"), "damaged: 'model' is missing$"),
    (lambda d: d.update(model=5), "damaged: model.json holds no estimator$"),
    (lambda d: d.update(model={"array": "9:nothing"}), "damaged: '9:nothing' is missing$"),
    (lambda d: d.update(model={"float": "one"}), "damaged: ValueError"),
    (lambda d: d.update(model={"skops": "../knn/0.skops"}), "has no file '../knn/0.skops'$"),
    (lambda d: d.update(model={"skops": "/etc/passwd"}), "has no file '/etc/passwd'$"),
    (lambda d: d.update(model={"skops": "model.json"}), "damaged: BadZipFile"),
    (lambda d: d.update(model={"class": "Threshold", "module": "adlib.thresholds.rules",
                               "state": {}}), "damaged: TypeError"),
    (lambda d: d["model"]["state"].update(anomaly_score=1), "'anomaly_score' would replace a meth"),
    (lambda d: d["model"]["state"].update(_score=[1]), "'_score' would replace a method of KNN$"),
    (lambda d: d["model"]["state"].update(__class__="x"), "'__class__' would replace a method"),
])
def test_what_cannot_be_read_is_one_sentence(tmp_path, change, sentence):
    folder = shutil.copytree(FROZEN / "knn", tmp_path / "knn")
    document = json.loads((folder / "model.json").read_text())
    change(document)
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=sentence) as refusal:
        load(folder)
    assert str(refusal.value).startswith(str(folder)) and "\n" not in str(refusal.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model\.json"):
        load(tmp_path / "absent")
    for model, file in (("knn", "arrays.safetensors"), ("pipeline", "1.skops")):
        folder = shutil.copytree(FROZEN / model, tmp_path / model)
        present = sorted(path.name for path in folder.iterdir())
        target = file if file in present else next(n for n in present if n.endswith(".skops"))
        (folder / target).unlink()
        with pytest.raises(ValueError, match=f"has no file '{target}'$"):
            load(folder)


# -- files that mean harm ---------------------------------------------------------------------


class _Payload:
    """What a pickle would run: it leaves a file behind."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def _loads_or_refuses(folder):
    """Load and use a model that may be damaged; only the documented errors may come of loading."""
    before = sorted(folder.parent.rglob("*"))
    try:
        model = load(folder)
    except (ValueError, FileNotFoundError) as error:
        assert str(error).startswith((str(folder), "path is not a saved model")), error
        model = None
    assert sorted(folder.parent.rglob("*")) == before, "loading wrote a file"
    return model


def test_a_pickle_in_place_of_a_file_never_runs(tmp_path):
    mark = tmp_path / "it-ran"
    payload = pickle.dumps(_Payload(mark))
    pickle.loads(payload)  # the payload works
    assert mark.exists()
    mark.unlink()
    for name in ("knn", "pipeline"):
        for file in sorted((FROZEN / name).iterdir()):
            folder = tmp_path / "model"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(FROZEN / name, folder)
            (folder / file.name).write_bytes(payload)
            assert _loads_or_refuses(folder) is None
            assert not mark.exists()


def test_a_skops_file_that_names_a_function_never_runs(tmp_path):
    folder = shutil.copytree(FROZEN / "pipeline", tmp_path / "model")
    (file,) = folder.glob("*.skops")
    mark = tmp_path / "it-ran"
    touch = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode",
             "content": {"module_path": "os", "function": "system"}, "__id__": 1}
    for schema in (touch, {**touch, "__loader__": "TypeNode"},
                   {**touch, "__loader__": "ObjectNode", "content": f"touch {mark}"},
                   {**touch, "__loader__": "PartialNode"},
                   {**touch, "__loader__": "OperatorFuncNode", "__module__": "operator",
                    "__class__": "methodcaller"}, {"__loader__": "Nothing"}, {}):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("schema.json", json.dumps(
                {**schema, "protocol": 2, "_skops_version": skops.__version__}))
        assert _loads_or_refuses(folder) is None
        assert not mark.exists()


def test_links_and_pipes(tmp_path):
    folder = shutil.copytree(FROZEN / "knn", tmp_path / "model")
    arrays = folder / "arrays.safetensors"
    arrays.rename(tmp_path / "elsewhere")
    arrays.symlink_to(tmp_path / "elsewhere")  # as stores of large files have it
    assert isinstance(_loads_or_refuses(folder), KNN)
    for target in ("/etc/passwd", "/dev/zero", folder):
        arrays.unlink()
        arrays.symlink_to(target)
        assert _loads_or_refuses(folder) is None
    arrays.unlink()
    os.mkfifo(arrays)  # to read it would wait for ever
    assert _loads_or_refuses(folder) is None


@pytest.mark.parametrize("shape", [[-1, 3], [2**62, 4], [10**30], [1.5], ["3"], [True], {}, None])
def test_shapes_that_cannot_be(tmp_path, shape):
    folder = shutil.copytree(FROZEN / "knn", tmp_path / "model")
    file = folder / "arrays.safetensors"
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    next(entry for key, entry in header.items() if key != "__metadata__")["shape"] = shape
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])
    assert _loads_or_refuses(folder) is None


@pytest.mark.parametrize("name", ["knn", "vae", "voting", "rolling", "online"])
def test_truncated_files_are_refused(name, tmp_path):
    for file in sorted((FROZEN / name).iterdir()):
        data = file.read_bytes()
        for size in sorted({*range(0, 24), *range(24, len(data), max(len(data) // 40, 1)),
                            len(data) - 1}):
            folder = tmp_path / "model"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(FROZEN / name, folder)
            (folder / file.name).write_bytes(data[:size])
            assert _loads_or_refuses(folder) is None, f"{file.name} cut at byte {size}"


@pytest.mark.parametrize("name", ["knn", "vae", "ensemble", "rolling", "seasonal", "online",
                                  "pipeline"])
@settings(max_examples=60, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_load_or_are_refused(name, tmp_path, data):
    folder = tmp_path / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FROZEN / name, folder)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    model = _loads_or_refuses(folder)
    if model is not None:  # wrong numbers in a right form: they may score, or be refused
        try:
            assert len(anomaly_score(model, _frozen_rows()[1])) == 30
        except Exception as error:
            assert not isinstance(error, MemoryError), error


@pytest.mark.parametrize("name", ["rolling", "robust", "seasonal", "online"])
@settings(max_examples=40, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 23), value=st.sampled_from(
    [-1.0, 0.5, 1e9, 2.0**60, 1e300, float("inf"), float("nan"), -1e18]))
@example(at=10, value=1e6)
def test_a_compiled_state_cannot_point_outside_itself(name, tmp_path, at, value):
    folder = tmp_path / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FROZEN / name, folder)
    arrays = load_file(folder / "arrays.safetensors")
    (key,) = (key for key in arrays if key.endswith("model.state_"))
    arrays[key] = arrays[key].copy()
    arrays[key][at] = value
    save_file(arrays, folder / "arrays.safetensors")
    if (model := _loads_or_refuses(folder)) is not None:
        try:
            model.process(_frozen_rows()[1])
        except ValueError as error:
            assert "NaN" in str(error)


def test_a_state_of_another_size_is_refused(tmp_path):
    for name in ("rolling", "seasonal", "online", "vae"):
        for change in (lambda a: a[:-1], lambda a: np.append(a, 0.0), lambda a: a[:0]):
            folder = tmp_path / "model"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(FROZEN / name, folder)
            arrays = load_file(folder / "arrays.safetensors")
            key = next(k for k in arrays if "model.state_" in k or "model.weights_" in k)
            arrays[key] = change(arrays[key].ravel())
            save_file(arrays, folder / "arrays.safetensors")
            with pytest.raises(ValueError, match="is damaged: .*(state_|weights_)"):
                load(folder)


def _state(folder, name):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FROZEN / name, folder)
    return json.loads((folder / "model.json").read_text())


NO_STATES = {"threshold_": ["high", None, {"float": "nan"}, {"tuple": [1]}, []],
             "n_features_in_": [0, 7, "two", None, {"float": "inf"}, 10**30],
             "alpha": [2, "much"], "window": [0, {"dict": {}}], "calibration_": ["none", 5]}


@pytest.mark.parametrize("name", ["knn", "vae", "ensemble", "rolling", "online"])
def test_a_state_that_judges_no_row_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    names = [key for key in _state(folder, name)["model"]["state"] if key.endswith("_")]
    cases = [(key, value) for key, values in NO_STATES.items() for value in values]
    for key, value in [*cases, *((key, 1e30) for key in names)]:
        document = _state(folder, name)
        document["model"]["state"][key] = value
        (folder / "model.json").write_text(json.dumps(document))
        model = _loads_or_refuses(folder)
        assert model is None or value == 1e30, (key, value)
        if model is not None:
            model.detect(_frozen_rows()[1])


class Three(Detector):
    """Needs three rows; one would spoil what it keeps."""

    def _fit(self, X):
        self.seen_ = 0

    def _score(self, X):
        if len(X) < 3:
            raise ValueError("three rows, please")
        self.seen_ += len(X)
        return np.abs(X).sum(axis=1)


@pytest.mark.parametrize("inside", [
    Three, lambda: Ensemble(members=[Three(), KNN()]),
    lambda: make_pipeline(StandardScaler(), Three()), lambda: wrap(make_pipeline(Three()))],
    ids=["alone", "ensemble", "pipeline", "wrapped"])
def test_a_detector_of_ones_own_judges_no_row_as_it_is_loaded(X, tmp_path, inside):
    model = inside().fit(X)
    seen = model.seen_ if isinstance(model, Three) else None
    again = load(save(model, tmp_path / "own"), classes=[Three])
    assert seen is None or again.seen_ == seen
    assert (anomaly_score(again, X) == anomaly_score(model, X)).all()


@pytest.mark.parametrize("key", NO_STATES)
def test_a_state_of_ones_own_detector_is_checked_all_the_same(X, tmp_path, key):
    save(Three().fit(X), tmp_path / "own")
    path = tmp_path / "own" / "model.json"
    whole = path.read_text()
    for value in set(map(json.dumps, NO_STATES[key])) - {"7"}:  # seven columns may be
        document = json.loads(whole)
        document["model"]["state"][key] = json.loads(value)
        path.write_text(json.dumps(document))
        with pytest.raises(ValueError, match="is damaged"):
            load(tmp_path / "own", classes=[Three])


@pytest.mark.parametrize("word", ["\u202e\x1b[31m", "a\r\nb", "x" * 10_000], ids=ascii)
def test_no_word_of_a_file_steers_a_terminal(tmp_path, word):
    for where in (["model", "module"], ["model", "class"], ["format"], ["adlib"],
                  ["model", "state", "alpha"], ["model", "state", "threshold_"], ["model"]):
        document = at = _state(tmp_path / "model", "knn")
        for key in where[:-1]:
            at = at[key]
        at[where[-1]] = word if where != ["model"] else {"array": word}
        document["format"] = document["format"] if where != ["adlib"] else 99
        (tmp_path / "model" / "model.json").write_text(json.dumps(document))
        with pytest.raises(ValueError) as refused:
            load(tmp_path / "model")
        assert str(refused.value).isprintable() and len(str(refused.value)) <= 1_000


def test_a_network_of_absurd_size_is_refused(tmp_path):
    for change in ({"hidden_layers": {"tuple": [10**12]}}, {"latent_dim": 10**15},
                   {"window": 10**9}, {"hidden_layers": {"tuple": [-1]}},
                   {"hidden_layers": "wide"}):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(FROZEN / "vae", folder)
        document = json.loads((folder / "model.json").read_text())
        document["model"]["state"].update(change)
        (folder / "model.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match="is damaged"):
            load(folder)


# -- the live engine's files ------------------------------------------------------------------

ENGINE = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
          "window_size": 10, "stride": 5, "alpha": 0.05}


def _engine_rows():
    rng = np.random.default_rng(21)
    return rng.normal(size=(600, 2)), rng.normal(size=(60, 2)) + np.where(
        np.arange(60)[:, None] > 40, 6.0, 0.0)


def _verdicts(engine):
    found, _ = engine.fork().judge([_engine_rows()[1]], flush=True)
    return [verdict.to_dict() for verdict in found]


def _freeze_engine(folder):
    engine = RealTimeAnomalyDetector(ENGINE).fit(_engine_rows()[0])
    engine.save(folder / "engine")
    (folder / "verdicts.json").write_text(json.dumps(_verdicts(engine)))


def _engine_loads_or_refuses(folder):
    try:
        return RealTimeAnomalyDetector.load(folder)
    except (ValueError, FileNotFoundError):
        return None


def test_an_engine_of_an_earlier_version_judges_as_it_did():
    want = json.loads((FROZEN / "verdicts.json").read_text())
    found = _verdicts(RealTimeAnomalyDetector.load(FROZEN / "engine"))
    assert len(found) == len(want) > 5 and any(verdict["is_anomaly"] for verdict in found)
    for new, old in zip(found, want, strict=True):
        assert new["is_anomaly"] == old["is_anomaly"] and new["start"] == old["start"]
        assert new["score"] == pytest.approx(old["score"], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ["engine.json", "detector-0/model.json",
                                  "detector-0/arrays.safetensors", "arrays.safetensors"])
def test_a_truncated_engine_is_refused(tmp_path, name):
    data = (FROZEN / "engine" / name).read_bytes()
    for size in sorted({*range(0, len(data), max(len(data) // 25, 1)), 7, 8, 9, len(data) - 1}):
        folder = tmp_path / "engine"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(FROZEN / "engine", folder)
        (folder / name).write_bytes(data[:size])
        assert _engine_loads_or_refuses(folder) is None


def test_a_pickle_in_place_of_an_engines_file_never_runs(tmp_path):
    mark = tmp_path / "it-ran"
    for name in ("engine.json", "arrays.safetensors", "detector-0/model.json",
                 "detector-0/arrays.safetensors"):
        folder = tmp_path / "engine"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(FROZEN / "engine", folder)
        (folder / name).write_bytes(pickle.dumps(_Payload(mark)))
        with pytest.raises(Exception):  # noqa: B017 - which one, the test above says
            RealTimeAnomalyDetector.load(folder)
        assert not mark.exists()


@pytest.mark.parametrize("name", ["engine.json", "arrays.safetensors", "detector-0/model.json",
                                  "detector-0/arrays.safetensors"])
def test_a_pipe_or_device_in_an_engine_is_not_read(tmp_path, name):
    folder = shutil.copytree(FROZEN / "engine", tmp_path / "engine")
    (folder / name).unlink()
    os.mkfifo(folder / name)  # to read it would wait for ever
    assert _engine_loads_or_refuses(folder) is None
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert _engine_loads_or_refuses(folder) is None


@pytest.mark.parametrize("entry", [{"detector": "adlib_evil1:Detector"}, "adlib_evil2:Detector"])
def test_a_saved_engine_imports_nothing(tmp_path, monkeypatch, entry):
    mark = tmp_path / "it-ran"
    for module in ("adlib_evil1.py", "adlib_evil2.py"):
        (tmp_path / module).write_text(f"open({str(mark)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = shutil.copytree(FROZEN / "engine", tmp_path / "engine")
    saved = json.loads((folder / "engine.json").read_text())
    saved["config"]["detectors"] = [entry]
    (folder / "engine.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError):
        RealTimeAnomalyDetector.load(folder)
    assert not mark.exists()


@settings(max_examples=60, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tampered_checkpoint_runs_nothing(tmp_path, data):
    """The state in the alert store is safetensors with JSON inside, and tars of models."""
    engine = RealTimeAnomalyDetector.load(FROZEN / "engine")
    engine.judge([_engine_rows()[1][:20]])
    state = bytearray(engine._state())
    before = sorted(tmp_path.rglob("*"))
    how = data.draw(st.sampled_from(["flip", "cut", "pickle"]))
    if how == "flip":
        for _ in range(data.draw(st.integers(1, 4))):
            state[data.draw(st.integers(0, len(state) - 1))] = data.draw(st.integers(0, 255))
    elif how == "cut":
        state = state[:data.draw(st.integers(0, len(state) - 1))]
    else:
        state = bytearray(pickle.dumps(_Payload(tmp_path / "it-ran")))
    try:
        RealTimeAnomalyDetector.load(FROZEN / "engine")._restore(20, bytes(state))
    except Exception as error:
        assert not isinstance(error, MemoryError)
    assert sorted(tmp_path.rglob("*")) == before


if __name__ == "__main__":
    _freeze(FROZEN)
    _freeze_engine(FROZEN)


def test_a_new_folder_is_found_under_its_former_name(tmp_path):
    for _ in range(2):  # new, and in the place of another one
        with pytest.warns(FutureWarning, match=r"new_folder is now adlib\.files\.replaced_folder"):
            draft = new_folder(tmp_path / "mine", "model")
        with draft as folder:
            (folder / "model.json").write_text("{}")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "model.json"]
    with (pytest.warns(FutureWarning), pytest.raises(FileExistsError, match="not a saved engine"),
          new_folder(tmp_path / "mine", "engine")):
        pass
