"""What detectors cost in time and memory, and what searching fewer rows costs KNN in quality.

    python benchmarks/cost.py table [DETECTOR ...]        # 15 minutes
    ADLIB_DATA=... python benchmarks/cost.py references   # 5 minutes

``table``: seconds of processor time, on one thread, to fit with ``calibration="split"`` and to
score as many rows, and the resident memory that both added, beside what `expected_cost` said
beforehand; 10,000 to a million rows of 10 columns, 10,000 of 100 and of 1,000, made of five factors
and noise. Each cell is a process of its own, after a fit of 300 rows that is not counted; one whose
statement exceeds two minutes is not run, and one that takes more than five is ended.

``references``: KNN with ``max_rows`` of 1,000 to 50,000 against all training rows, both methods, on
every set of ADBench and macrOData with more than 2,000 training rows, all rows of them: a half of
the normal rows trains (macrOData: its own split), also with 5 % anomalies among them; at most
20,000 test rows; columns standardised; three draws of halves and rows. A size counts on the sets
that it changes. Written down before the first run: the default is the smallest of 10,000, 20,000
and 50,000 rows (fewer need no bound: 10,000 x 10 take a second) whose mean loss in average
precision over the sets, both methods and both trainings together, is no larger than one standard
error of it, or .005; where none is, the largest with which a million rows of 10 columns are scored
in about a minute.

It chose 20,000 (-.028, SE .031, on four sets; 10,000: -.029, SE .025, on six). Nearly all of that
is one set: cover, trained on clean rows, loses .24 of .70, and half of it still at 50,000. After
that run a tree was found to search 100,000 rows of up to 10 columns, cover's among them, in the
time that comparing 20,000 takes: there the default is 100,000, the size that was added last.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from adlib.arguments import generator
from adlib.base import Detector, core, expected_cost
from adlib.compare.models import SKLEARN, build
from adlib.cost import Cost, spoken
from adlib.datasets import load_adbench, load_odd
from adlib.detectors import KNN, all_detectors, baselines
from adlib.metrics import average_precision, roc_auc

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, None)
SEEDS, CONTAMINATION, MOST_JUDGED = (0, 1, 2), (0.0, 0.05), 20_000
SHAPES = ((10**4, 10), (10**5, 10), (10**6, 10), (10**4, 100), (10**4, 1_000))
NOT_RUN, ENDED = 120, 300  # seconds that a statement, and a cell, may come to


def said(name: str, n: int, d: int) -> Cost:
    """The statement about a cell."""
    model = build(name)
    if isinstance(model, Detector):
        return model.set_params(calibration="split").expected_cost(n, d)
    return expected_cost(core(model), n, d)


def cell(name: str, n: int, d: int) -> dict[str, float]:
    """Seconds to fit, seconds to score, MiB."""
    resource.setrlimit(resource.RLIMIT_CPU, (ENDED, ENDED))
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((n, d)), rng.normal(size=(5, d))
    for some in np.array_split(X, 100):  # in place: what making them takes must hide nothing
        some += 2 * rng.normal(size=(len(some), 5)) @ weights
    model = build(name)
    if isinstance(model, Detector):
        model.set_params(calibration="split")
    score = getattr(model.fit(X[:300]), "anomaly_score", None) or model.score_samples
    score(X[:300])  # compiles, where there is something to compile
    before = high_water()
    started = time.process_time()
    model.fit(X)
    fitted = time.process_time()
    score(X)
    return {"fit_s": fitted - started, "score_s": time.process_time() - fitted,
            "mib": high_water() - before}


def high_water() -> float:
    """MiB that were resident at most; getrusage would count what the parent had, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def table(names: list[str]) -> None:
    """Each cell in a process of its own, and the statement beside it."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    print(f"{'':22}{'rows x columns':>17}{'fit: said':>13}{'took':>9}{'score: said':>15}{'took':>9}"
          f"{'MiB: said':>13}{'added':>8}")
    for name in names or [*all_detectors(), *baselines(), *SKLEARN]:
        for n, d in SHAPES:
            cost = said(name, n, d)
            took = {"fit_s": "not run", "score_s": "", "mib": ""}
            if cost.fit_s + cost.score_s <= NOT_RUN:
                done = subprocess.run([sys.executable, __file__, "cell", name, str(n), str(d)],
                                      env=os.environ | one, capture_output=True, text=True)
                took["fit_s"] = f"> {ENDED} s" if done.returncode < 0 else "failed"
                if done.returncode == 0:
                    found = json.loads(done.stdout.splitlines()[-1])
                    took = {what: f"{value:.2f}" for what, value in found.items()}
                    took["mib"] = f"{found['mib']:.0f}"
            print(f"{name:22}{n:>9,} x {d:>5,}{spoken(cost.fit_s):>13}{took['fit_s']:>9}"
                  f"{spoken(cost.score_s):>15}{took['score_s']:>9}{cost.mib:>13.0f}"
                  f"{took['mib']:>8}", flush=True)


def large(seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Name, training rows, anomalies to put among them, test rows and labels, standardised."""
    for load in (load_adbench, load_odd):
        for name, data in load(max_rows=None, random_state=seed).items():
            if data.train_end <= 2_000:
                continue
            rng = generator(seed)
            X, y = data.X[data.train_end:], data.y[data.train_end:]
            known = rng.permutation(np.flatnonzero(y))[:data.train_end // 20]
            known = known[:int(y.sum()) // 2]
            judged = rng.permutation(np.setdiff1d(np.arange(len(X)), known))[:MOST_JUDGED]
            if y[judged].sum() < 10:
                continue
            train = rng.permutation(data.X[:data.train_end])
            scaler = StandardScaler().fit(train)
            yield (name, scaler.transform(train), scaler.transform(X[known]),
                   scaler.transform(X[judged]), y[judged])


def references() -> None:
    """Average precision and AUC lost by searching fewer rows."""
    rows = []
    for seed in SEEDS:
        for name, train, known, X, y in tqdm(large(seed), desc=f"seed {seed}"):
            for share in CONTAMINATION:
                taught = train if not share else np.concatenate([train, known])
                for method in ("largest", "mean"):
                    for size in SIZES:
                        if size is not None and size >= len(taught):
                            continue
                        model = KNN(method=method, max_rows=size, calibration=None).fit(taught)
                        score = model.anomaly_score(X)
                        rows.append({"set": name, "train": len(train), "seed": seed,
                                     "share": share, "method": method, "rows": size or 0,
                                     "AP": average_precision(y, score), "AUC": roc_auc(y, score)})
    table = pd.DataFrame(rows)
    index = ["set", "share", "method"]
    mean = table.groupby([*index, "rows"])[["AP", "AUC"]].mean()
    full = mean.xs(0, level="rows")
    differences = (mean - full).drop(0, level="rows").reset_index()
    pd.set_option("display.width", 200)
    print(full.unstack(["share", "method"]).round(3).to_string())
    for what in ("AP", "AUC"):
        print(f"\n{what}, difference from all rows, by set (mean of methods and trainings)")
        print(differences.pivot_table(what, "set", "rows").round(4).to_string())
        print(f"\n{what}, difference from all rows: mean over sets, standard error")
        by = differences.groupby(["rows", "share", "method"])[what]
        print(by.agg(["mean", "sem", "count"]).round(4).to_string())
        print(differences.groupby(["rows", "set"])[what].mean().groupby("rows").agg(
            ["mean", "sem", "count"]).round(4).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["table", "cell", "references"])
    parser.add_argument("given", nargs="*", metavar="DETECTOR")
    given = parser.parse_args()
    with threadpool_limits(1):
        if given.what == "references":
            references()
        elif given.what == "table":
            table(given.given)
        else:
            name, n, d = given.given
            print(json.dumps(cell(name, int(n), int(d))))


if __name__ == "__main__":
    main()
