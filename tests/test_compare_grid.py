"""Runs of a comparison: resumed, cut short, limited in time and memory; nothing is lost in them."""

import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from adlib.base import Detector
from adlib.compare import cells, compare, grid, progress, provenance, score_cell, workers
from adlib.compare.cells import described
from adlib.compare.models import ignores_seed, named_detectors
from adlib.compare.progress import Progress
from adlib.datasets import Dataset, make_sine
from adlib.detectors import KNN, AutoEncoder, MaxAbsZ, RollingZScore

LINUX = sys.platform.startswith("linux")  # where a process tells what it holds
MEASURED = ["fit_s", "score_s", "peak_memory_mib"]  # all that may differ between two runs


class Counted(Detector):
    """Distance to the training mean; each fit leaves a line in a file."""

    def __init__(self, *, log=os.devnull, random_state=None, **base):
        super().__init__(**base)
        self.log = log
        self.random_state = random_state

    def _fit(self, X):
        with open(self.log, "a") as log:
            log.write(f"{self.seed_}\n")
        self.mean_ = X.mean(axis=0)

    def _score(self, X):
        return np.linalg.norm(X - self.mean_, axis=1)


class Interrupted(Counted):
    """The user presses Ctrl-C in the fit with seed 2."""

    def _fit(self, X):
        if self.seed_ == 2:
            raise KeyboardInterrupt
        super()._fit(X)


class Endless(Counted):
    def _fit(self, X):
        while True:
            time.sleep(0.05)


class Dies(Counted):
    def _fit(self, X):
        os.kill(os.getpid(), signal.SIGKILL)


class Unlucky(Counted):
    def _fit(self, X):
        if os.environ["LUCK"] == "bad":
            raise OSError("no luck")
        super()._fit(X)


class OutOfMemory(Counted):
    def _fit(self, X):
        raise MemoryError("cannot hold it")


class Glutton(Counted):
    """Holds 1 GiB, or what it gets until it is ended."""

    def _fit(self, X):
        held = np.ones(1 << 27)
        time.sleep(30)
        del held


class Hungry(Counted):
    """Holds 64 MiB for a moment."""

    def _fit(self, X):
        super()._fit(X)
        self.size_ = np.ones(8 << 20).sum()


def make_data(name="data", seed=0, n=300):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 2)), np.zeros(n, dtype=int)
    X[-60:-50] += 4
    y[-60:-50] = 1
    return Dataset(name, X, y)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "fits"
    path.touch()
    return path


def fits(log):
    return len(log.read_text().split())


def quick(detectors, datasets=None, seeds=(0, 1), **kwargs):
    settings = {"baselines": False, "progress": False, "n_random": 2}
    return compare(detectors, datasets or make_data(), seeds, **(settings | kwargs))


def same(table, other):
    pd.testing.assert_frame_equal(table.drop(columns=MEASURED), other.drop(columns=MEASURED))


# --- finished cells are kept ------------------------------------------------------------------


def test_a_second_run_computes_nothing_and_gives_the_same_table(tmp_path, log):
    sets = [make_data("a"), make_data("b/ c", 1)]
    models = {"counted": Counted(log=str(log)), "fails": OutOfMemory()}
    first = quick(models, sets, results_dir=tmp_path / "cells")
    assert fits(log) == 4
    again = quick(models, sets, results_dir=tmp_path / "cells")
    assert fits(log) == 4
    pd.testing.assert_frame_equal(first, again)  # times and memory included
    same(first, quick(models, sets))
    assert len(list((tmp_path / "cells").iterdir())) == 8  # no drafts left behind


def test_a_grown_grid_computes_only_what_is_new(tmp_path, log):
    model = Counted(log=str(log))
    quick({"a": model}, results_dir=tmp_path / "cells")
    table = quick({"b": MaxAbsZ(), "a": model}, [make_data(), make_data("new", 1)], (1, 0, 5),
                  results_dir=tmp_path / "cells")
    assert fits(log) == 2 + 4
    same(table, quick({"b": MaxAbsZ(), "a": model}, [make_data(), make_data("new", 1)], (1, 0, 5)))


CHANGES = {
    "parameter": {"detectors": {"a": Counted(alpha=0.1)}},
    "label": {"detectors": {"b": Counted()}},
    "class": {"detectors": {"a": Hungry()}},
    "rows": {"datasets": make_data(seed=1)},
    "name of the data": {"datasets": make_data("other")},
    "seed": {"seeds": [7]},
    "budget": {"alpha": 0.1},
    "metrics": {"metrics": ["roc_auc"]},
    "shuffles": {"n_random": 3},
    "intervals": {"intervals": False},
    "purge gap": {"detectors": {"a": Counted(), "long": MaxAbsZ(window=5)}},
    "delay": {"delay": 5},
    "hindsight": {"delay": "hindsight"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_cell_is_made_of_is_in_its_key(tmp_path, change, monkeypatch):
    call = {"detectors": {"a": Counted()}, "datasets": make_data(), "seeds": [0],
            "results_dir": tmp_path}
    quick(**call)
    run, done = grid.run, []
    monkeypatch.setattr(grid, "run", lambda tasks, **kw: done.extend(tasks) or run(tasks, **kw))
    quick(**call)
    assert done == []
    same(quick(**(call | change)), quick(**(call | change | {"results_dir": None})))
    assert len(done) >= 2  # once from the folder, once without


def test_labels_and_split_belong_to_the_data(tmp_path, log):
    data = make_data()
    for changes in ({}, {"y": 1 - data.y}, {"train_end": 150}, {"session": np.arange(300) // 100}):
        fields = {"X": data.X, "y": data.y} | changes
        quick({"a": Counted(log=str(log))}, Dataset("data", **fields), [0], results_dir=tmp_path)
    assert fits(log) == 4


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the package to edit: a function that adds to a file of it, as if before a run."""
    copied = tmp_path / "adlib"
    shutil.copytree(provenance.PACKAGE, copied, ignore=lambda folder, names: [
        name for name in names if not name.endswith(".py") and not Path(folder, name).is_dir()])
    monkeypatch.setattr(provenance, "PACKAGE", copied)

    def forget():
        provenance.modules_behind.cache_clear()
        cells.code_version.cache_clear()

    def edit(name, text="# edited"):
        with open(copied / name, "a") as file:
            file.write(f"\n{text}\n")
        forget()

    forget()
    yield edit
    monkeypatch.undo()
    forget()


class Wraps(Counted):
    """Uses a detector of adlib without holding one."""

    def _fit(self, X):
        super()._fit(X)
        self.held_ = KNN(calibration=None).fit(X)


FAILED = {"status": "failed", "reason": "", "threshold": np.nan, "n_calibrate": 0, "n_test": 0,
          "fit_s": np.nan, "score_s": np.nan, "peak_memory_mib": np.nan, "metrics": {}}
NEW = "from adlib.base import Detector\nclass New(Detector):\n    pass"
EDITS = {  # file, text -> detectors whose cells are computed anew
    "a new detector": ("detectors/new.py", NEW, set()),
    "KNN": ("detectors/knn.py", "# edited", {"KNN", "wraps", "Ensemble"}),
    "an import": ("detectors/pca.py", "from adlib.detectors.knn import KNN",
                  {"PCAReconstruction"}),
    "a metric": ("metrics/ranges.py", "# edited", None),
    "base": ("base.py", "# edited", None),
    "the protocol": ("compare/protocol.py", "# edited", None),
    "what base imports": ("smoothing.py", "# edited", None),
    "a loader": ("datasets/loaders.py", "# edited", set()),
    "a report": ("compare/statistics.py", "# edited", set()),
}


def test_an_edit_recomputes_the_cells_of_what_imports_it(tmp_path, sources, monkeypatch):
    models = {name: name for name in ("KNN", "MaxAbsZ", "PCAReconstruction")}
    models |= {"Ensemble": "Ensemble", "wraps": Wraps(), "counted": Counted()}
    ran = []
    monkeypatch.setattr(grid, "run", lambda tasks, **kw: ran.extend(tasks) or iter(
        [(i, [FAILED for _ in task.seeds]) for i, task in enumerate(tasks)]))

    def run():
        ran.clear()
        quick(models, [make_data(name) for name in "abcde"], [0], results_dir=tmp_path / "cells")
        labels = {described(model)["class"]: name
                  for name, model in named_detectors(models).items()}
        return {labels[described(task.model)["class"]] for task in ran}, len(ran)

    assert run() == (set(models), 30)
    for what, (file, text, anew) in EDITS.items():
        sources(file, text)
        anew = set(models) if anew is None else anew
        assert run() == (anew, 5 * len(anew)), what
        assert run() == (set(), 0), what
    sources("detectors/knn.py")  # imported by PCA since the edit above
    assert run()[0] == {"KNN", "wraps", "Ensemble", "PCAReconstruction"}


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"null", b"[1]", b"\xff\xfe\x00", b'{"made_of": 1}', b"[" * 100_000, "cut", "other",
     "odd"],
)  # fmt: skip
def test_torn_and_foreign_files_are_computed_anew(tmp_path, log, garbage):
    folder, model = tmp_path / "cells", {"a": Counted(log=str(log))}
    first = quick(model, seeds=[0], results_dir=folder)
    (file,) = folder.iterdir()
    text = file.read_text()
    if garbage == "cut":
        garbage = text[: len(text) // 2].encode()
    elif garbage == "other":
        garbage = text.replace('"seed": 0', '"seed": 1').encode()
    elif garbage == "odd":
        document = json.loads(text)
        document["outcome"]["metrics"]["roc_auc"]["value"] = "high"
        garbage = json.dumps(document).encode()
    file.write_bytes(garbage)
    (folder / "notes.txt").write_text("mine")
    same(quick(model, seeds=[0], results_dir=folder), first)
    assert fits(log) == 2 and file.read_text().startswith('{\n "made_of"')


def test_scores_come_with_the_table_and_are_kept_beside_its_cells(tmp_path, log):
    models = {"a": Counted(log=str(log)), "fails": OutOfMemory(), "z": MaxAbsZ()}
    folder = tmp_path / "cells"
    quick(models, results_dir=folder)
    assert fits(log) == 2
    table, scores = quick(models, results_dir=folder, return_scores=True)
    assert fits(log) == 4  # cells without scores are not what was asked for
    assert list(scores) == [(name, "data", seed) for name in "az" for seed in (0, 1)]
    alone = score_cell(models["a"], make_data(), seed=1, purge=0)
    for again in (scores, quick(models, results_dir=folder, return_scores=True, time_limit=9)[1]):
        for name in ("calibrate", "test"):
            np.testing.assert_array_equal(getattr(again["a", "data", 1], name),
                                          getattr(alone, name))
        assert again["a", "data", 1].test_rows == alone.test_rows
        assert again["a", "data", 1].threshold == alone.threshold
    assert fits(log) == 5  # once more, by score_cell
    same(quick(models, results_dir=folder), table)
    file = next(folder.glob("*--a--1--*.npz"))
    file.write_bytes(file.read_bytes()[:100])  # torn
    _, again = quick(models, results_dir=folder, return_scores=True)
    assert fits(log) == 6
    np.testing.assert_array_equal(again["a", "data", 1].test, alone.test)


def test_ctrl_c_stops_the_run_and_keeps_finished_cells(tmp_path, log):
    model = {"a": Interrupted(log=str(log))}
    with pytest.raises(KeyboardInterrupt):
        quick(model, seeds=(0, 1, 2, 3), results_dir=tmp_path / "cells")
    assert fits(log) == 2
    assert len(list((tmp_path / "cells").iterdir())) == 2


SCRIPT = """
import os, time
import numpy as np
from adlib.base import Detector
from adlib.compare import compare
from adlib.datasets import Dataset

class Slow(Detector):
    def __init__(self, *, random_state=None, **base):
        super().__init__(**base)
        self.random_state = random_state

    def _fit(self, X):
        self.mean_ = X.mean(axis=0) + 0.01 * np.random.default_rng(self.seed_).random(X.shape[1])
        time.sleep(float(os.environ["PAUSE"]))
        with open({log!r}, "a") as log:
            log.write(f"{{self.seed_}}\\n")

    def _score(self, X):
        return np.abs(X - self.mean_).{reduce}(axis=1)

X = np.random.default_rng(0).normal(size=(300, 2))
X[250:255] += 4
data = Dataset("data", X, (np.arange(300) // 5 == 50).astype(int))
table = compare(Slow, data, range(12), baselines=False, progress=False, n_random=2,
                n_jobs={n_jobs}, results_dir={folder!r})
table.to_json({out!r}, double_precision=15)
"""


def script(tmp_path, name="cells", pause=0.0, n_jobs=1, reduce="max"):
    """A run of its own whose detector is defined in `__main__`."""
    out = tmp_path / f"{name}.json"
    code = SCRIPT.format(n_jobs=n_jobs, reduce=reduce, log=str(tmp_path / "fits"),
                         folder=str(tmp_path / name), out=str(out))
    environment = os.environ | {"PAUSE": str(pause)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment,
                               start_new_session=True)
    return process, out


def test_kill_9_in_the_middle_loses_no_finished_cell(tmp_path, log):
    process, out = script(tmp_path, pause=0.2)
    while fits(log) < 5:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list((tmp_path / "cells").glob("*.json")))
    assert 4 <= finished <= 6 and not out.exists()
    before = fits(log)
    process, out = script(tmp_path, n_jobs=2)  # and the class of `__main__` goes to two processes
    assert process.wait() == 0
    assert fits(log) - before == 12 - finished
    process, whole = script(tmp_path, "whole")
    assert process.wait() == 0
    same(pd.read_json(out), pd.read_json(whole))
    before = fits(log)
    process, out = script(tmp_path, reduce="sum")  # the class of `__main__` was edited
    assert process.wait() == 0
    assert fits(log) - before == 12


# --- what a detector is made of ---------------------------------------------------------------


NOTEBOOK = """
import numpy as np
from adlib.base import Detector
POWER = {power}
def size(X):
    {comment}
    return abs(X) ** POWER {more}
class Mine(Detector):
    {doc}
    def _fit(self, X): pass
    def _score(self, X): return max((size(x) for x in X), key=len)
"""


def defined(power=2, comment="pass", more="", doc="pass"):
    """A class as a notebook defines it: no source file."""
    space = {"__name__": "__main__"}
    exec(NOTEBOOK.format(power=power, comment=comment, more=more, doc=doc), space)
    return space["Mine"]


def test_a_class_without_a_file_is_told_from_its_next_version():
    first = described(defined()())
    assert described(defined()()) == first
    assert described(defined(comment="pass  # a comment")()) == first
    for change in ({"power": 3}, {"more": "+ 1"}, {"doc": "scale = 2"}):
        assert described(defined(**change)()) != first


def test_parameters_tell_models_apart():
    texts = ["KNN", "KNN(window=2)", "KNN(window=3)", "OneClassSVM", "OneClassSVM(nu=0.2)"]
    models = [described(model) for model in named_detectors(texts).values()]
    assert all(models.count(model) == 1 for model in models)
    json.dumps(models)


class Bare:
    """A detector without get_params, which may hold anything."""

    def __init__(self, held):
        self.held = held

    def fit(self, X):
        return self


def test_what_a_bare_object_holds_tells_it_apart():
    def plus(x, y):
        return x + y

    held = [np.array([1.0, 2.0]), np.array([1.0, 3.0]), partial(max, 1), partial(max, 2),
            {"a": [1]}, {"a": [2]}, Bare(1), Bare(2), plus, StandardScaler(),
            pd.DataFrame({"x": np.arange(200)}), pd.DataFrame({"x": np.arange(200) * (1 + 1e-9)}),
            torch.ones(2), torch.zeros(2)]  # fmt: skip
    looks = [described(Bare(one)) for one in held]
    assert all(looks.count(look) == 1 for look in looks)
    again = [described(Bare(one)) for one in deepcopy(held)]
    assert looks[:-2] == again[:-2]  # tensors are pickled with something random: computed anew
    json.dumps(looks)
    loop = Bare(1)
    loop.held = loop
    assert described(loop) != described(loop)  # cannot be told, so is computed anew


# --- fits that serve several seeds ------------------------------------------------------------


def test_a_detector_without_random_state_is_fitted_once(monkeypatch):
    count, fit = [], KNN._fit
    monkeypatch.setattr(KNN, "_fit", lambda self, X: count.append(1) or fit(self, X))
    table = quick(KNN(), seeds=(0, 1, 2))
    assert len(count) == 1 and table.seed.nunique() == 3
    apart = pd.concat([quick(KNN(), seeds=[seed]) for seed in (0, 1, 2)], ignore_index=True)
    same(table, apart)


def test_only_what_is_known_to_ignore_the_seed_is_fitted_once():
    names = ["KNN", "RollingZScore", "OneClassSVM", "IsolationForest", "RandomScore"]
    found = [ignores_seed(model) for model in named_detectors(names).values()]
    assert found == [True, True, True, False, False]
    assert not ignores_seed(AutoEncoder()) and not ignores_seed(Counted())


def test_a_generator_is_drawn_anew_for_every_seed(log):
    def draw(seed):
        return make_data("drawn", seed)

    table = quick({"a": Counted(log=str(log)), "z": MaxAbsZ()}, [draw, make_data()], (3, 5))
    for seed in (3, 5):
        once = quick({"a": Counted(), "z": MaxAbsZ()}, draw(seed), [seed])
        part = table[(table.dataset == "drawn") & (table.seed == seed)].reset_index(drop=True)
        columns = ["detector", "metric", "value", "low", "high", "threshold"]
        pd.testing.assert_frame_equal(part[columns], once[columns])
    z = table[(table.detector == "z") & (table.metric == "roc_auc")]
    assert z[z.dataset == "drawn"].value.nunique() == 2 and fits(log) == 4
    assert z[z.dataset == "data"].value.nunique() == 1
    assert set(quick(MaxAbsZ, lambda seed: make_sine(random_state=seed)).dataset) == {"sine"}


@pytest.mark.parametrize(
    "source, message",
    [(lambda seed: make_data(f"data {seed}"), "the same for every seed; got"),
     (lambda seed: seed, "callables that give one for a seed, got 0")],
)  # fmt: skip
def test_odd_generators_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        quick(MaxAbsZ, source)


def test_untrained_copies_stand_beside_networks():
    table = quick({"net": AutoEncoder(epochs=2), "knn": KNN()}, seeds=[0], baselines=True)
    roles = table.drop_duplicates("detector").set_index("detector")
    assert roles.role["net untrained"] == "baseline" and roles.status["net untrained"] == "ok"
    assert "epochs=0" in roles.parameters["net untrained"]
    assert "knn untrained" not in roles.index


def test_large_data_reach_other_processes_unchanged():
    data = make_data(n=40_000)  # above 1 MB arrays travel as files that all processes map
    data = Dataset("large", np.hstack([data.X, data.X[:, ::-1] ** 2]), data.y)
    models = ["MaxAbsZ", "MaxAbsZ(window=4)", "RollingZScore", "PCAReconstruction"]
    there, scores = quick(models, data, [0], n_jobs=2, return_scores=True)
    here, ours = quick(models, data, [0], return_scores=True)
    same(there, here)
    assert all(np.array_equal(ours[key].test, scores[key].test) for key in ours)


# --- columns ------------------------------------------------------------------------------------


def test_parameters_and_online_are_columns():
    table = quick({"z": RollingZScore(window=20), "knn": KNN(), "forest": "IsolationForest"})
    lines = table.drop_duplicates("detector").set_index("detector")
    assert lines.online.to_dict() == {"z": "yes", "knn": "no", "forest": "no"}
    assert "window=20" in lines.parameters["z"] and "n_estimators=100" in lines.parameters["forest"]
    assert not table.parameters.str.contains("random_state").any()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a peak")
def test_peak_memory_is_that_of_the_cell():
    models = {"warm-up": Counted(), "hungry": Hungry(), "modest": Counted()}
    table = quick(models)
    peak = table.groupby("detector").peak_memory_mib.max()
    assert 60 < peak["hungry"] < 72 and 0 <= peak["modest"] < 4


def test_peak_memory_is_blank_where_it_cannot_be_told(monkeypatch):
    monkeypatch.setattr(workers.sys, "platform", "darwin")
    assert quick(Counted()).peak_memory_mib.isna().all()


# --- limits and failures ------------------------------------------------------------------------


def test_what_takes_too_long_or_dies_is_a_row_and_the_rest_is_as_without_limit():
    models = {"fine": Counted(), "hungry": Hungry(), "endless": Endless(), "dies": Dies(),
              "memory": OutOfMemory()} | ({"glutton": Glutton()} if LINUX else {})
    table, scores = quick(models, seeds=[0], time_limit=5, n_jobs=2, return_scores=True,
                          memory_limit="0.5 GiB" if LINUX else None)
    lines = table.drop_duplicates("detector").set_index("detector")
    assert lines.status.to_dict() == {
        "fine": "ok", "hungry": "ok", "endless": "timed out", "dies": "failed",
        "memory": "out of memory",
    } | ({"glutton": "out of memory"} if LINUX else {})  # fmt: skip
    assert lines.peak_memory_mib["hungry"] > 60 or not sys.platform.startswith("linux")
    assert lines.reason["endless"] == "fit and score took longer than 5 s"
    assert "SIGKILL" in lines.reason["dies"]
    if LINUX:
        assert lines.reason["glutton"] == "fit and score took more than 512 MiB"
    assert lines.reason["memory"] == "MemoryError: cannot hold it"
    assert table[table.detector == "endless"].value.isna().all()
    rest = {name: models[name] for name in ("fine", "hungry", "memory")}
    limited = table[table.detector.isin(rest)].reset_index(drop=True)
    alone, here = quick(rest, seeds=[0], return_scores=True)
    same(limited, alone)
    assert scores.keys() == here.keys()
    np.testing.assert_array_equal(*(found["fine", "data", 0].test for found in (scores, here)))


def test_a_longer_limit_is_another_try(tmp_path, monkeypatch):
    run, limits = grid.run, []

    def noted(tasks, **kwargs):
        limits.extend([kwargs["limits"].time_limit] if tasks else [])
        return run(tasks, **kwargs)

    monkeypatch.setattr(grid, "run", noted)
    for limit in (0.4, 0.4, 0.3, 0.6):
        table = quick({"endless": Endless()}, seeds=[0], results_dir=tmp_path, time_limit=limit)
        assert set(table.status) == {"timed out"}
    assert limits == [0.4, 0.6]


LIMITS = {"time_limit": [0, -1, "1", True, np.nan],
          "memory_limit": [0, "much", "-1 GiB", "2 GB/s", True, np.inf, "0 MiB"]}


@pytest.mark.parametrize(
    "name, limit", [(name, limit) for name in LIMITS for limit in LIMITS[name]])
def test_odd_limits_are_refused(name, limit):
    with pytest.raises(ValueError, match=f"{name} must be a number"):
        quick(MaxAbsZ, **{name: limit})


def test_failed_cells_are_tried_again_where_told(tmp_path, log, monkeypatch):
    models = {"fine": Counted(log=str(log)), "unlucky": Unlucky(log=str(log))}
    call = {"seeds": [0], "results_dir": tmp_path / "cells"}
    monkeypatch.setenv("LUCK", "bad")
    assert set(quick(models, **call).status) == {"ok", "failed"}
    monkeypatch.setenv("LUCK", "good")
    assert set(quick(models, **call).status) == {"ok", "failed"} and fits(log) == 1
    assert set(quick(models, retry_failed=True, **call).status) == {"ok"} and fits(log) == 2
    assert set(quick(models, **call).status) == {"ok"} and fits(log) == 2


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_first_fit(tmp_path, log,
                                                                           monkeypatch):
    monkeypatch.setattr(grid.os, "access", lambda *how: False)
    with pytest.raises(PermissionError, match="results_dir cannot be written to"):
        quick({"a": Counted(log=str(log))}, results_dir=tmp_path / "cells")
    assert fits(log) == 0


# --- what is said -------------------------------------------------------------------------------


def test_where_there_is_no_terminal_a_line_now_and_then_says_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.001)
    quick(Counted(), seeds=range(4), progress=True)
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines and not said.out
    assert all(re.fullmatch(r"compare: \d of 4 cells(, about \d+ s left)?", x) for x in lines)
    quick(Counted(), seeds=range(4))
    assert capsys.readouterr().err == ""


def test_the_time_left_counts_what_this_run_has_done():
    shown = Progress(10, 6, shown=True)
    assert shown.line(60) == "compare: 6 of 10 cells"
    shown.update(1)
    assert shown.line(60) == "compare: 7 of 10 cells, about 3 minutes left"


def test_a_seed_that_is_replaced_is_said():
    models = {"own": Counted(random_state=7), "none": Counted(), "z": MaxAbsZ()}
    with pytest.warns(UserWarning, match=r"random_state gives way to seeds=\[0, 1\] in .*own.*7"):
        table = quick(models)
    said = table.drop_duplicates("detector").set_index("detector").parameters
    assert "random_state=7 is replaced by the seed" in said["own"]
    assert not said[["none", "z"]].str.contains("random_state").any()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "random_state")
        quick(models, seeds=[7])


# --- where numbers come from --------------------------------------------------------------------


def test_code_that_no_commit_holds_is_named(tmp_path, monkeypatch):
    def digest(text):
        return hashlib.sha256(text.encode()).hexdigest()

    root, outside = tmp_path / "checkout", tmp_path / "mine_on_disk.py"
    root.mkdir()
    for name in ("same.py", "edited.txt", "gone.py", "ümlaut.py"):
        (root / name).write_text("1")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm x"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    assert provenance.changed_files(root) == {}
    (root / "edited.txt").write_text("2")
    (root / "ümlaut.py").write_text("3")
    (root / "gone.py").unlink()
    (root / "new.py").write_text("4")
    (root / "data.csv").write_text("5")  # no code
    assert provenance.changed_files(root) == {
        "edited.txt": digest("2"), "gone.py": None, "new.py": digest("4"), "ümlaut.py": digest("3")}
    assert provenance.changed_files(tmp_path) is None
    before = provenance.outside_files()
    outside.write_text("detector = 1")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("mine_on_disk")
    new = [file for file in provenance.outside_files() if file not in before]
    del sys.modules["mine_on_disk"]
    assert new == [{"name": "mine_on_disk.py", "sha256": digest("detector = 1")}]


# --- the ceiling --------------------------------------------------------------------------------


def test_a_ceiling_knows_the_labels_of_the_training_rows(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 3)), np.arange(600) % 10 == 0
    X[y, 1] = 0.3 * X[y, 1]  # inliers of a narrow band: no outlier, but learnt from labels
    X[y, 0] += 2
    sets = [Dataset("both", X, y), Dataset("one", X, y & (np.arange(600) > 240))]
    table = quick("MaxAbsZ", sets, supervised=True, metrics="roc_auc", results_dir=tmp_path)
    ceiling = table[table.role == "supervised"]
    assert set(ceiling.detector) == {"Supervised"} and set(ceiling.dataset) == {"both"}
    assert ceiling.status.eq("ok").all() and ceiling.value.nunique() == 2  # seeds differ
    assert ceiling.value.mean() > 0.85 > table[table.role == "detector"].value.mean()
    assert "supervised" not in set(quick("MaxAbsZ", sets, metrics="roc_auc").role)
    with pytest.raises(ValueError, match="Supervised.* names of baselines"):
        quick({"Supervised": MaxAbsZ()}, sets, supervised=True)


# --- labels -------------------------------------------------------------------------------------


def test_shuffled_labels_are_chance(tmp_path):
    """The mean over shuffles lies at one half: nothing of the labels reaches a score."""
    X = make_data(n=2_000).X
    y = np.arange(2_000) % 20 == 0

    def shuffled(seed):
        return Dataset("shuffled", X, np.random.default_rng(seed).permutation(y))

    table = quick(["KNN", "IsolationForest", RollingZScore(window=50)], shuffled, range(5),
                  metrics="roc_auc", intervals=False)
    assert table.groupby("detector").value.mean().between(0.45, 0.55).all()
