"""Quality, time and realised false-positive rate on the ADBench tables, PyOD's beside ours.

Protocol: at most 6,000 rows a set; a random half of the normal rows is the training set, all else
the test set; columns standardised by the training rows; alpha (PyOD: contamination) = 0.05; one
default configuration per detector; seeds 0, 1, 2. One thread, seconds of processor time, ours and
PyOD's in turn on each set after one untimed fit of each. Needs the tables in the folder that
ADLIB_DATA names.

    ADLIB_DATA=... python benchmarks/tabular.py [DETECTOR ...] [--no-peers] [--csv PATH]

Printed are means over sets, paired differences with 95 % bootstrap intervals over sets (seeds
averaged first), ratios of time and what became of the false-positive rate. ``fit_s`` is with our
default calibration, which may train several times; ``fit_split_s`` is one training and its
calibration, and what the ratios count, as PyOD takes its threshold from the training scores. PyOD
is judged as shipped: the sign of SO_GAAL's score too. Tuned are its AutoEncoder, with 50 epochs and
without dropout, and its VAE, with a latent space of 8 and without dropout. Trivial baselines and an
untrained copy of each of our nets stand beside the rest.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peers
import torch
from ensembles import ALPHA, QUALITY, false_positives
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from adlib.base import Detector
from adlib.datasets import Dataset, load_adbench
from adlib.detectors import all_detectors, baselines
from adlib.metrics import average_precision, roc_auc
from adlib.thresholds import CalibrationWarning

SEEDS = (0, 1, 2)
OURS = ["RandomFeatureAE", "AutoEncoder", "VAE", "GAN", "KNN", "PCAReconstruction"]
PYOD = {  # class below pyod.models, parameters
    "PyOD AutoEncoder": ("auto_encoder.AutoEncoder", {"verbose": 0}),
    "PyOD AutoEncoder tuned": ("auto_encoder.AutoEncoder",
                               {"verbose": 0, "epoch_num": 50, "dropout_rate": 0}),
    "PyOD VAE": ("vae.VAE", {"verbose": 0}),
    "PyOD VAE tuned": ("vae.VAE", {"verbose": 0, "latent_dim": 8, "dropout_rate": 0}),
    "PyOD SO_GAAL": ("so_gaal.SO_GAAL", {}),
    "PyOD KNN": ("knn.KNN", {}),
    "PyOD LOF": ("lof.LOF", {}),
    "PyOD IForest": ("iforest.IForest", {}),
    "PyOD GMM": ("gmm.GMM", {}),
}
PAIRS = [("AutoEncoder", "PyOD AutoEncoder"), ("AutoEncoder", "PyOD AutoEncoder tuned"),
         ("AutoEncoder", "PyOD KNN"), ("VAE", "PyOD VAE"), ("VAE", "PyOD VAE tuned"),
         ("GAN", "PyOD SO_GAAL"), ("RandomFeatureAE", "PyOD KNN"),
         ("RandomFeatureAE", "PyOD AutoEncoder"), ("KNN", "PyOD KNN")]
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


def judge(cls: type[Detector], params: dict, train: np.ndarray, test: np.ndarray, seed: int
          ) -> dict[str, Any]:
    """Fit and score one of ours, by default and (first seed) with one training only."""
    detector = cls(alpha=ALPHA, **params)
    if "random_state" in detector.get_params():
        detector.set_params(random_state=seed)
    try:
        started = time.process_time()
        detector.fit(train)
        fitted = time.process_time()
        score = detector.anomaly_score(test)
        answer = {"score": score, "threshold": detector.threshold_, "fit_s": fitted - started,
                  "score_s": time.process_time() - fitted}
        if seed == SEEDS[0] and "calibration" in detector.get_params():
            detector.set_params(calibration="split")
            started = time.process_time()
            detector.fit(train)
            answer["fit_split_s"] = time.process_time() - started
    except Exception as error:
        return {"reason": f"{type(error).__name__}: {error}"}
    return answer


def cells(ours: dict[str, tuple], worker: Worker | None, sets: list[str] | None) -> pd.DataFrame:
    """One row per model, set and seed; a failure is a row with its reason."""
    used = dict.fromkeys(PYOD if worker else (), 0.0)
    lines = []
    for done, seed in enumerate(SEEDS):
        data = load_adbench(random_state=seed)
        data = [data[name] for name in sets or data]
        names = [*ours, *(name for name in used if used[name] * (done + 1) <= PEER_BUDGET * done)]
        # each of ours beside its peer: the load of the machine moves slower than that
        names.sort(key=lambda name: name.removeprefix("PyOD "))
        if not done:  # the first call of a process pays for imports and compilation
            X = np.random.default_rng(0).normal(size=(100, 3))
            data.insert(0, Dataset("warm-up", X, np.arange(100) >= 50, train_end=50))
        for table in tqdm(data, desc=f"seed {seed}", disable=None):
            scaler = StandardScaler().fit(table.X[:table.train_end])
            train, test = (scaler.transform(part) for part in (table.X[:table.train_end],
                                                               table.X[table.train_end:]))
            y = table.y[table.train_end:]
            for name in names:
                found = (judge(*ours[name], train, test, seed) if name in ours
                         else worker.judge(name, train, test, seed))
                score = found.pop("score", None)
                if score is not None and not np.isfinite(score).all():
                    found, score = {"reason": "scores are not finite"}, None
                if table.name == "warm-up":
                    continue
                line = {"model": name, "set": table.name, "seed": seed, "n_train": len(train),
                        "n_normal": int((y == 0).sum()), **found}
                if score is not None:
                    line |= {"roc_auc": roc_auc(y, score), "fpr": (
                        score > found["threshold"])[y == 0].mean(),
                        "average_precision": average_precision(y, score)}
                if name in used:
                    used[name] += found.get("fit_s", 0.0) + found.get("score_s", 0.0)
                lines.append(line)
    return pd.DataFrame(lines)


def compared(table: pd.DataFrame, one: str, other: str) -> dict[str, Any]:
    """Differences in quality over cells that both have, and time as a share of the other's."""
    both = table[table.model == one].merge(table[table.model == other], on=["set", "seed"],
                                           suffixes=("", "_other"))
    both = both.dropna(subset=["roc_auc", "roc_auc_other"])
    line: dict[str, Any] = {"model": one, "against": other, "sets": both.set.nunique()}
    rng = np.random.default_rng(0)
    for metric in QUALITY:
        gap = (both[metric] - both[f"{metric}_other"]).groupby(both.set).mean().to_numpy()
        drawn = gap[rng.integers(0, len(gap), (10_000, len(gap)))].mean(axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        line[metric] = f"{gap.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
    for what, mine, theirs in (("fit", "fit_split_s", "fit_s_other"),
                               ("score", "score_s", "score_s_other")):
        seconds = both.dropna(subset=mine).groupby("set")[[mine, theirs]].mean()
        line[f"{what}, sums"] = f"{seconds[mine].sum() / seconds[theirs].sum():.3f}"
        line[f"{what}, median"] = f"{(seconds[mine] / seconds[theirs]).median():.3f}"
    return line


def main() -> None:
    """Print the tables; with ``--csv``, write every cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detectors", nargs="*", metavar="DETECTOR", help=f"default: {OURS}")
    parser.add_argument("--no-peers", action="store_true", help="measure ours only")
    parser.add_argument("--set", action="append", metavar="NAME", help="this set (repeatable)")
    parser.add_argument("--csv", type=Path, metavar="PATH", help="write every cell to this file")
    given = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    pd.set_option("display.width", 200)
    torch.set_num_threads(1)

    known = all_detectors() | baselines()
    rows_alone = [name for name, cls in baselines().items() if not cls().is_ordered]
    ours = {name: (known[name], {}) for name in [*(given.detectors or OURS), *rows_alone]}
    ours |= {f"{name} untrained": (cls, {"epochs": 0}) for name, (cls, _) in ours.items()
             if "epochs" in cls().get_params()}
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        worker = None
        if not given.no_peers:
            python = peers.environment("pyod", ["torch==2.13.0"], ["pyod", "pandas", "tqdm"])
            worker = Worker(python, Path(folder))
        table = cells(ours, worker, given.set)
        if worker:
            worker.close()
    if given.csv:
        table.to_csv(given.csv, index=False)

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=peers.HERE,
                            capture_output=True, text=True).stdout.strip()
    print(f"{table.set.nunique()} sets, seeds {SEEDS}, alpha {ALPHA}, commit {commit}, PyOD "
          f"{worker.version if worker else 'left out'}")
    columns = [*QUALITY, "fpr", "fit_s", "fit_split_s", "score_s"]
    means = table.groupby(["model", "set"])[columns].mean().groupby("model").mean()
    means["cells"] = table.groupby("model").roc_auc.count()
    print(means.sort_values("roc_auc", ascending=False).to_string(float_format="%.4f"))
    for name, cut in table.groupby("model").seed.nunique().items():
        if cut < len(SEEDS):
            print(f"{name}: {cut} of {len(SEEDS)} seeds, all would take over {PEER_BUDGET} s")
    if "reason" in table:
        failed = table.groupby(["model", "reason"]).set.agg(cells="count", sets="unique")
        print(f"\nFailed\n{failed.to_string()}")
    pairs = [pair for pair in PAIRS if set(pair) <= set(table.dropna(subset="roc_auc").model)]
    if pairs:
        lines = pd.DataFrame([compared(table, *pair) for pair in pairs])
        print("\nPaired differences [95 % interval]; seconds of ours / theirs, as a ratio of sums "
              f"and as the median over sets\n{lines.to_string(index=False)}")
    rates = false_positives(table).to_string(float_format="%.4f")
    print(f"\nRealised false-positive rate\n{rates}")


if __name__ == "__main__":
    main()
