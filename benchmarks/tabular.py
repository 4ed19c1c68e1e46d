"""Quality, time and realised false-positive rate on tables, PyOD's detectors beside ours.

Protocol: `tables.py`; alpha (PyOD: contamination) = 0.05; one default configuration per detector.
One thread, seconds of processor time, ours and PyOD's in turn on each set after one untimed fit of
each. ADBench here, macrOData by ``odd.py``; both need the folder that ADLIB_DATA names.

    ADLIB_DATA=... python benchmarks/tabular.py [--ours DETECTOR ...] [--peers NAME ...]
    ADLIB_DATA=... python benchmarks/odd.py ...

Printed are means over sets, paired differences with 95 % bootstrap intervals over sets (seeds
averaged first), ratios of time and what became of the false-positive rate. ``fit_s`` is with our
default calibration, which may train several times; ``fit_split_s`` is one training and its
calibration, and what the ratios count, as PyOD takes its threshold from the training scores. PyOD
is judged as shipped: the sign of SO_GAAL's score too. Tuned are its KNN, with the mean distance,
its AutoEncoder, with 50 epochs and without dropout, and its VAE, with a latent space of 8 and
without dropout. Beside them stand trivial baselines, an untrained copy of each of our nets, the
members of `Voting`, and "before": what was the default until `defaults.py` chose.

What came out, AUC and average precision (ADBench: 22 sets, three seeds; macrOData: 67 sets)::

                        ADBench          macrOData
    Ensemble            .900  .725       .701  .428
      before            .897  .722       .698  .422
    RandomFeatureAE     .891  .713       .684  .413
    KNN                 .886  .702       .686  .417
      before            .878  .681       .681  .406
    PyOD KNN mean       .886  .703       .686  .417
    PyOD KNN            .878  .681       .681  .406
    PyOD LOF            .852  .652       .671  .394
    PyOD GMM            .859  .636       .682  .394
    MaxAbsZ             .798  .597       .670  .380
    PyOD IForest        .829  .590       .675  .355
    SquaredZ            .787  .586       .666  .372
    PCAReconstruction   .822  .582       .617  .309
    RandomScore         .483  .236       .511  .201

Paired, all 89 sets::

    KNN minus before                AUC +.006 [+.001, +.011]   AP +.013 [+.009, +.019]
    KNN minus PyOD LOF                  +.019 [+.003, +.036]      +.029 [+.010, +.050]
    KNN minus PyOD GMM                  +.010 [-.013, +.031]      +.033 [+.014, +.054]
    KNN minus PyOD IForest              +.022 [+.000, +.043]      +.074 [+.046, +.105]
    Ensemble minus KNN                  +.015 [+.002, +.031]      +.014 [+.002, +.028]
      ADBench alone                     +.014 [-.002, +.040]      +.023 [-.007, +.062]
      macrOData alone                   +.015 [-.001, +.034]      +.011 [-.002, +.025]
    Ensemble minus RandomFeatureAE      +.015 [-.000, +.030]      +.015 [+.001, +.029]
    Ensemble minus before               +.003 [-.001, +.007]      +.006 [+.001, +.011]
"""

import argparse
import json
import os
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import peers
import torch
from results import keep, option, over_sets
from scipy import stats
from sklearn.base import BaseEstimator, clone
from tables import ALPHA, QUALITY, SEEDS, cells, judged, means, paired, seeded
from threadpoolctl import threadpool_limits

from adlib.datasets import Dataset
from adlib.detectors import KNN, Ensemble, RandomFeatureAE, Voting, all_detectors, baselines
from adlib.thresholds import CalibrationWarning

OURS = ["RandomFeatureAE", "AutoEncoder", "VAE", "GAN", "KNN", "PCAReconstruction", "Ensemble",
        "Voting"]
PYOD = {  # class below pyod.models, parameters
    "PyOD AutoEncoder": ("auto_encoder.AutoEncoder", {"verbose": 0}),
    "PyOD AutoEncoder tuned": ("auto_encoder.AutoEncoder",
                               {"verbose": 0, "epoch_num": 50, "dropout_rate": 0}),
    "PyOD VAE": ("vae.VAE", {"verbose": 0}),
    "PyOD VAE tuned": ("vae.VAE", {"verbose": 0, "latent_dim": 8, "dropout_rate": 0}),
    "PyOD SO_GAAL": ("so_gaal.SO_GAAL", {}),
    "PyOD KNN": ("knn.KNN", {}),
    "PyOD KNN mean": ("knn.KNN", {"method": "mean"}),
    "PyOD LOF": ("lof.LOF", {}),
    "PyOD IForest": ("iforest.IForest", {}),
    "PyOD GMM": ("gmm.GMM", {}),
}
PAIRS = [("AutoEncoder", "PyOD AutoEncoder"), ("AutoEncoder", "PyOD AutoEncoder tuned"),
         ("AutoEncoder", "PyOD KNN mean"), ("VAE", "PyOD VAE"), ("VAE", "PyOD VAE tuned"),
         ("GAN", "PyOD SO_GAAL"), ("RandomFeatureAE", "PyOD KNN mean"),
         ("RandomFeatureAE", "PyOD AutoEncoder"), ("KNN", "PyOD KNN"), ("KNN", "PyOD KNN mean"),
         ("KNN", "KNN before"), ("Ensemble", "KNN"), ("Ensemble", "RandomFeatureAE"),
         ("Ensemble", "PyOD KNN mean"), ("Ensemble", "Ensemble before"),
         ("Voting", "KNN")]
PEER_BUDGET = 600  # seconds: a peer that would need more in all gets fewer seeds, and it is said

WORKER = """
import importlib, inspect, json, sys, time, warnings
import numpy as np
import pyod
import torch

warnings.simplefilter("ignore")
torch.set_num_threads(1)
answers, sys.stdout = sys.stdout, sys.stderr  # SO_GAAL prints its epochs
print(json.dumps(pyod.__version__), file=answers, flush=True)
for line in sys.stdin:
    job = json.loads(line)
    try:
        module, name = job["model"].split(".")
        cls = getattr(importlib.import_module("pyod.models." + module), name)
        if "random_state" in inspect.signature(cls).parameters:
            job["params"]["random_state"] = job["seed"]
        np.random.seed(job["seed"])
        torch.manual_seed(job["seed"])
        data = np.load(job["data"])
        train, test = data["train"], data["test"]
        started = time.process_time()
        model = cls(contamination=job["alpha"], **job["params"]).fit(train)
        fitted = time.process_time()
        score = model.decision_function(test)
        scored = time.process_time()
        np.save(job["score"], score)
        answer = {"threshold": float(model.threshold_), "fit_s": fitted - started,
                  "score_s": scored - fitted}
    except Exception as error:
        answer = {"reason": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=answers, flush=True)
"""


class Worker:
    """A process of PyOD that stays, so that its imports are not timed and load hits both alike."""

    def __init__(self, python: Path, folder: Path):
        self.python, self.folder = python, folder
        self._start()

    def __sklearn_clone__(self) -> Self:
        return self

    def _start(self) -> None:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                             "NUMBA_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [self.python, "-c", WORKER], cwd=self.folder, env=os.environ | one, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.version = json.loads(self.process.stdout.readline())

    def judge(self, name: str, train: np.ndarray, test: np.ndarray, seed: int) -> dict[str, Any]:
        """Fit and score one peer; a failure is an answer too."""
        data, score = self.folder / "data.npz", self.folder / "score.npy"
        np.savez(data, train=train, test=test)
        model, params = PYOD[name]
        job = {"model": model, "params": params, "seed": seed, "alpha": ALPHA, "data": str(data),
               "score": str(score)}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            reason = f"the process ended with {self.process.wait()}"
            self._start()
            return {"reason": reason}
        answer = json.loads(answer)
        return answer if "reason" in answer else answer | {"score": np.load(score)}

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


class Peer(BaseEstimator):
    """One of PyOD's detectors, trained when it scores, in the other process."""

    def __init__(self, worker: Worker, name: str, random_state: int = 0):
        self.worker = worker
        self.name = name
        self.random_state = random_state

    def fit(self, X: np.ndarray) -> Self:
        """Keep the rows."""
        self.rows_ = X
        return self

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        """Scores; ``seconds_`` and ``threshold_`` are the other process's."""
        found = self.worker.judge(self.name, self.rows_, X, self.random_state)
        if "reason" in found:
            raise RuntimeError(found["reason"])
        if not np.isfinite(found["score"]).all():
            raise RuntimeError("scores are not finite")
        self.threshold_ = found["threshold"]
        self.seconds_ = {name: found[name] for name in ("fit_s", "score_s")}
        return found["score"]


def detectors(names: list[str], alone: bool = False) -> dict[str, Any]:
    """Ours by name: defaults, former ones, untrained copies, members, baselines."""
    known = all_detectors() | baselines()
    if alone:
        return {name: known[name](calibration=None) for name in names}
    rows_alone = [name for name, cls in baselines().items()
                  if not getattr(cls(), "is_ordered", False)]
    found = {name: known[name](alpha=ALPHA) for name in [*names, *rows_alone]}
    before = {"KNN before": KNN(method="largest", alpha=ALPHA), "Ensemble before": Ensemble(
        members=[(RandomFeatureAE(), 2.0), (KNN(method="largest"), 1.0)], alpha=ALPHA)}
    found |= {name: model for name, model in before.items() if name.split()[0] in found}
    found |= {f"{name} untrained": clone(model).set_params(epochs=0)
              for name, model in found.items() if "epochs" in model.get_params()}
    if "Voting" in found:
        found |= {type(model[-1]).__name__: model for model, _ in Voting()._default()}
    return found


def measured(models: dict[str, Any], collection: str, sets: list[str] | None, seeds: list[int]
             ) -> pd.DataFrame:
    """Cells of all models; peers that take too long get fewer seeds."""
    # each of ours beside its peer: the load of the machine moves slower than that
    models = dict(sorted(models.items(), key=lambda item: item[0].removeprefix("PyOD ")))
    X = np.random.default_rng(0).normal(size=(100, 3))
    for model in models.values():  # the first call of a process pays for imports and compilation
        judged(seeded(model, 0), Dataset("warm-up", X, np.arange(100) >= 75, train_end=50))
    table = pd.DataFrame()
    for done, seed in enumerate(seeds, 1):
        table = pd.concat([table, cells(models, collection, [seed], sets=sets)], ignore_index=True)
        used = table.groupby("model")[["fit_s", "score_s"]].sum().sum(axis=1)
        models = {name: model for name, model in models.items()
                  if name not in PYOD or used[name] * (done + 1) <= PEER_BUDGET * done}
    once = {name: clone(model).set_params(calibration="split") for name, model in models.items()
            if "calibration" in model.get_params()}
    split = cells(once, collection, seeds[:1], sets=sets)
    keys = ["model", "set", "seed"]
    return table.merge(split[[*keys, "fit_s"]].rename(columns={"fit_s": "fit_split_s"}), "left",
                       keys)


def ratios(table: pd.DataFrame, one: str, other: str) -> dict[str, str]:
    """Time as a share of the other's."""
    both = table[table.model == one].merge(table[table.model == other], on=["set", "seed"],
                                           suffixes=("", "_other"))
    line = {}
    for what, mine, theirs in (("fit", "fit_split_s", "fit_s_other"),
                               ("score", "score_s", "score_s_other")):
        seconds = both.dropna(subset=mine).groupby("set")[[mine, theirs]].mean()
        line[f"{what}, sums"] = f"{seconds[mine].sum() / seconds[theirs].sum():.3f}"
        line[f"{what}, median"] = f"{(seconds[mine] / seconds[theirs]).median():.3f}"
    return line


def false_positives(table: pd.DataFrame) -> pd.DataFrame:
    """Realised rate of the models that have a threshold."""
    table = table.dropna(subset="fpr").copy()
    table["error"] = (table.fpr - ALPHA).abs()
    n = table.n_train
    k = np.ceil((n + 1) * (1 - ALPHA) - 1e-9)
    law = stats.betabinom(table.n_normal, np.maximum(n + 1 - k, 1), k)
    small = (table.n_normal < 300) & (k <= n)
    count = table.fpr * table.n_normal
    table["outside"] = (small & ((count < law.ppf(0.025)) | (count > law.ppf(0.975)))).astype(int)
    table["small"] = small.astype(int)
    large = table[table.n_normal >= 300].groupby("model")[["fpr", "error"]].mean()
    found = table.groupby("model").agg(fpr=("fpr", "mean"), error=("error", "mean"),
                                       small=("small", "sum"), outside=("outside", "sum"))
    return found.join(large.add_suffix(" (>= 300 normals)"))


def run(given: argparse.Namespace, collection: str, seeds: list[int]) -> pd.DataFrame:
    """Cells of ours and of the peers that are asked for."""
    models = detectors(OURS if given.detectors is None else given.detectors, given.alone)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        worker = None
        if given.peers:
            python = peers.environment("pyod", ["torch==2.13.0"], ["pyod", "pandas", "tqdm"])
            worker = Worker(python, Path(folder))
            print(f"PyOD {worker.version}")
            models |= {name: Peer(worker, name) for name in given.peers}
        table = measured(models, collection, given.set, seeds)
        if worker:
            worker.close()
    return table


GOALS = {("RandomFeatureAE", "adbench"): (0.891, 0.713), ("AutoEncoder", "adbench"): (0.889, 0.714),
         ("Ensemble", "adbench"): (0.897, 0.723)}


def headline(table: pd.DataFrame, collection: str) -> dict[str, dict]:
    """What is recorded: ROC-AUC and average precision of the defaults, and Ensemble minus KNN."""
    by_set = table.groupby(["model", "set"])[QUALITY].mean()
    figures = {}
    for name in [name for name in OURS if name in by_set.index]:
        for i, metric in enumerate(QUALITY):
            figures[f"{name}_{metric}"] = {
                "what": f"{name}: {metric}", "better": "high",
                **over_sets(by_set.loc[name][metric])}
            if (name, collection) in GOALS:
                figures[f"{name}_{metric}"]["goal"] = GOALS[name, collection][i]
    for metric in QUALITY:
        gap = by_set.loc["Ensemble"][metric] - by_set.loc["KNN"][metric]
        figures[f"Ensemble_minus_KNN_{metric}"] = {
            "what": f"Ensemble minus KNN: {metric}", "better": "high", "goal": 0.0,
            **over_sets(gap)}
    return figures


def main(collection: str = "adbench") -> None:
    """Print the tables; with ``--csv``, write every cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", dest="detectors", nargs="*", metavar="DETECTOR",
                        help=f"default: {OURS}")
    parser.add_argument("--peers", nargs="*", metavar="NAME", choices=PYOD, default=PYOD,
                        help="these of PyOD's, or none")
    parser.add_argument("--set", action="append", metavar="NAME", help="this set (repeatable)")
    parser.add_argument("--seed", action="append", type=int, help="this seed (repeatable)")
    parser.add_argument("--csv", type=Path, metavar="PATH", help="write every cell to this file")
    parser.add_argument("--read", type=Path, nargs="+", metavar="CSV",
                        help="measure nothing: the tables of cells written before")
    parser.add_argument("--alone", action="store_true",
                        help="ours without a threshold, and nothing beside them")
    option(parser)
    given = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    warnings.filterwarnings("ignore", module="sklearn")  # what singular covariances say
    pd.set_option("display.width", 200)
    torch.set_num_threads(1)

    seeds = given.seed or list(SEEDS[collection])
    if given.read:
        table = pd.concat(map(pd.read_csv, given.read), ignore_index=True)
        table = table.drop_duplicates(["model", "set", "seed"])
        seeds = sorted(set(table.seed))
    else:
        table = run(given, collection, seeds)
    if given.csv:
        table.to_csv(given.csv, index=False)

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=peers.HERE,
                            capture_output=True, text=True).stdout.strip()
    print(f"{collection}: {table.set.nunique()} sets, seeds {seeds}, alpha {ALPHA}, {commit}")
    print(means(table).to_string(float_format="%.4f"))
    for name, cut in table.groupby("model").seed.nunique().items():
        if cut < len(seeds):
            print(f"{name}: {cut} of {len(seeds)} seeds, all would take over {PEER_BUDGET} s")
    if "reason" in table:
        failed = table.groupby(["model", "reason"]).set.agg(cells="count", sets="unique")
        print(f"\nFailed\n{failed.to_string()}")
    pairs = [pair for pair in PAIRS if set(pair) <= set(table.dropna(subset="roc_auc").model)]
    if pairs:
        lines = pd.concat([paired(table, one, [other]).assign(**ratios(table, one, other))
                           for one, other in pairs])
        print("\nPaired differences [95 % interval]; seconds of ours / theirs, as a ratio of sums "
              f"and as the median over sets\n{lines.to_string(index=False)}")
    rates = false_positives(table).to_string(float_format="%.4f")
    print(f"\nRealised false-positive rate\n{rates}")
    if given.keep:
        ours = " ".join(name for name in OURS if name in set(table.model))
        script = "tabular" if collection == "adbench" else collection
        keep(script, given.keep, f"python benchmarks/{script}.py --alone --peers --ours {ours}",
             headline(table, collection))


if __name__ == "__main__":
    main()
