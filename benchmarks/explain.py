"""Does an explanation name the channel that was broken, is it needed for the score, and how fast?

Events of known channel are injected into telemetry (eight channels that follow a load and the time
of day) and, for detectors without a look-back, into the normal rows of a table (nine features in
two clusters). Each detector is fitted once a seed; of every event that it detects, the row with the
highest score is explained. A kind counts where the detector finds it (ROC-AUC of rows >= .9).

Beside the explanation, for the same rows: a random feature, the largest |z| of the raw values
against the training rows, and SHAP's TreeExplainer on an isolation forest. SHAP lives in an
environment of its own, made on first use.

    python benchmarks/explain.py                     # all, 200 events of each kind
    python benchmarks/explain.py KNN Voting --seeds 1
    python benchmarks/explain.py --speed             # seconds for 100 rows x 20 features
"""

import argparse
import copy
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peers import environment, run
from results import keep, option, over_sets
from scipy.stats import binomtest
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from tqdm import tqdm

from adlib.base import OnlineDetector, anomaly_score
from adlib.datasets import Dataset, inject, make_manufacturing, make_telemetry
from adlib.detectors import KNN, all_detectors
from adlib.explain import explain
from adlib.windows import Windows

KINDS = ("spike", "contextual", "level_shift", "trend", "collective", "correlation_break")
POINT = ("spike", "level_shift")  # on a table, order says nothing: a point fault is a shifted row
EVENTS = 40  # a seed
STRENGTH = (2.0, 3.0, 4.0)
MODELS = {
    **all_detectors(),
    "IsolationForest": IsolationForest,
    "scaled EllipticEnvelope": lambda **kw: make_pipeline(StandardScaler(), EllipticEnvelope(**kw)),
    "scaled OneClassSVM": lambda: make_pipeline(StandardScaler(), OneClassSVM(nu=0.05)),
    "scaled LocalOutlierFactor": lambda: make_pipeline(
        StandardScaler(), LocalOutlierFactor(novelty=True)),
    "Windows(4) + IsolationForest": lambda **kw: make_pipeline(Windows(4), IsolationForest(**kw)),
    "Windows(4) + EllipticEnvelope": lambda **kw: make_pipeline(
        Windows(4), StandardScaler(), EllipticEnvelope(**kw)),
    "KNN(window=4)": lambda: KNN(window=4),
}
LOOK_BACK = ("LSTM", "Transformer", "Windows(4) + IsolationForest", "Windows(4) + EllipticEnvelope",
             "KNN(window=4)")
SHAP = """
import json, sys
import numpy as np, shap
from sklearn.ensemble import IsolationForest
data, blames = np.load(sys.argv[1]), []
for i in range(len(data.files) // 2):
    forest = IsolationForest(random_state=0).fit(data[f"train{i}"])
    values = shap.TreeExplainer(forest).shap_values(data[f"rows{i}"])
    blames.append((-np.asarray(values)).argmax(axis=1).tolist())  # short paths are anomalous
print(json.dumps(blames))
"""


def build(name: str, seed: int) -> Any:
    """A model of the table, seeded where it can be."""
    try:
        model = MODELS[name](random_state=seed)
    except TypeError:
        model = MODELS[name]()
    if name == "SeasonalZScore":
        model.set_params(period=288)
    return model


def series(kind: str, seed: int) -> Dataset:
    """Normal telemetry with 40 events of one kind after the first third."""
    base = make_telemetry(9_000, n_events=0, train_fraction=1 / 3, random_state=seed)
    return inject(base, kind, n_events=EVENTS, length=(15, 40), strength=STRENGTH, min_gap=20,
                  period=288, random_state=seed)


def table(kind: str, seed: int) -> Dataset:
    """Normal parts, one feature of 40 of which is shifted."""
    base = make_manufacturing(6_000, 0.0, random_state=seed)
    return inject(base, "spike", n_events=EVENTS, strength=STRENGTH, random_state=seed + 1_000)


def threshold_of(model: Any, train: np.ndarray) -> float:
    """The detector's own; for scikit-learn's the 95 % quantile on training rows."""
    own = getattr(model, "threshold_", None)
    return float(np.quantile(anomaly_score(model, train), 0.95)) if own is None else own


def measure(name: str, source: str, seed: int, method: str) -> Iterator[dict[str, Any]]:
    """One line per event that the detector has found."""
    make, kinds = (series, KINDS) if source == "telemetry" else (table, ("spike",))
    rng, model = np.random.default_rng(seed), None
    for kind in kinds:
        data = make(kind, seed)
        train, X, y = data.X[:data.train_end], data.X[data.train_end:], data.y[data.train_end:]
        if model is None:
            model = build(name, seed).fit(train)
            cut = threshold_of(model, train)
        score = anomaly_score(model, X)
        auc = roc_auc_score(y, score)
        events = data.events.sort_values("start")
        spans = events[["start", "end"]].to_numpy() - data.train_end
        rows = np.array([start + score[start:end].argmax() for start, end in spans])
        caught = score[rows] > cut
        rows, channels = rows[caught], events.channel.to_numpy()[caught]
        if not len(rows):
            continue
        background = None if isinstance(model, OnlineDetector) else train
        why = explain(model, X, rows, background=background, threshold=cut, method=method)
        best, other = why.contributions.argmax(axis=1), rng.integers(X.shape[1], size=len(rows))
        center, scale = train.mean(axis=0), train.std(axis=0)
        raw = np.abs((X[rows] - center) / scale).argmax(axis=1)
        for i, row in enumerate(rows):
            after = [rescored(model, X, row, j, why.replaced[i, :, j]) for j in (best[i], other[i])]
            true = data.feature_names.index(channels[i])
            yield {"detector": name, "data": source, "kind": kind, "seed": seed, "auc": auc,
                   "hit": best[i] == true, "random": 1 / X.shape[1], "raw |z|": raw[i] == true,
                   "true": true, "x": X[row], "method": why.method, "events": EVENTS,
                   "lower": np.sign(after[1] - after[0]),
                   "gain": (after[1] - after[0]) / abs(why.scores[i])}


def rescored(model: Any, X: np.ndarray, row: int, j: int, values: np.ndarray) -> float:
    """Score of a row with one feature replaced, over the look-back."""
    if isinstance(model, OnlineDetector):
        model = copy.deepcopy(model)
        model.process(X[:row])
        row, X = 0, X[row:row + 1]
    X = X[max(0, row - 200):row + 1].copy()
    X[-len(values):, j] = values
    return float(anomaly_score(model, X)[-1])


def shap_blames(lines: pd.DataFrame) -> np.ndarray:
    """Feature that SHAP blames for each line's row."""
    python = environment("shap", ["shap", "scikit-learn", "numpy"])
    groups = list(lines.groupby(["data", "seed"]).groups.items())
    arrays = {}
    for i, ((source, seed), index) in enumerate(groups):
        data = (series if source == "telemetry" else table)("spike", seed)
        arrays[f"train{i}"] = data.X[:data.train_end]
        arrays[f"rows{i}"] = np.stack(lines.x[index])
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "data.npz", **arrays)
        found = run(python, SHAP, str(Path(folder) / "data.npz"))
    blames = pd.Series(-1, lines.index)
    for (_, index), blame in zip(groups, found, strict=True):
        blames[index] = blame
    return blames.to_numpy()


def share(hits: pd.Series) -> str:
    """Percentage and Wilson's 95 % interval."""
    low, high = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return f"{100 * hits.mean():.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def lead(part: pd.DataFrame) -> str:
    """Hits minus those of the best rival, with a bootstrap 95 % interval over events."""
    rivals = part[["random", "raw |z|", "SHAP (forest)"]].astype(float)
    gap = (part.hit - rivals[rivals.mean().idxmax()]).to_numpy(float)
    draws = np.random.default_rng(0).choice(gap, size=(4_000, len(gap))).mean(axis=1)
    low, high = 100 * np.percentile(draws, (2.5, 97.5))
    return f"{100 * gap.mean():+.1f} [{low:+.0f}, {high:+.0f}]"


def summary(lines: pd.DataFrame) -> pd.DataFrame:
    """One line per detector, data and kind that it finds."""
    found = []
    for (source, kind, name), part in lines.groupby(["data", "kind", "detector"], sort=False):
        by_seed = part.drop_duplicates("seed")
        if by_seed.auc.mean() < 0.9:
            continue
        found.append({
            "data": source, "kind": kind, "detector": name, "method": part.method.iloc[0],
            "auc": round(by_seed.auc.mean(), 3), "detected": f"{len(part)}/{by_seed.events.sum()}",
            "top-1 %": share(part.hit), "random": round(100 * part.random.mean(), 1),
            "raw |z|": round(100 * part["raw |z|"].mean(), 1),
            "SHAP (forest)": round(100 * part["SHAP (forest)"].mean(), 1),
            "lead over the best": lead(part), "deletion: top beats random %": round(
                100 * (part.lower[part.lower != 0] > 0).mean(), 1),
            "score lower by": round(part.gain.mean(), 3)})
    return pd.DataFrame(found)


def speed(names: list[str]) -> pd.DataFrame:
    """Seconds to explain 100 rows of 20 features, with their counterfactuals."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4_000, 5)) @ rng.normal(size=(5, 20)) + 0.5 * rng.normal(size=(4_000, 20))
    X[3_000:, 3] += 8.0 * (np.arange(1_000) % 10 == 5)
    rows, found = np.arange(5, 1_000, 10), []
    for name in tqdm(names, desc="speed", disable=None):
        model = build(name, 0).fit(X[:2_000])
        background = None if isinstance(model, OnlineDetector) else X[:2_000]
        took = {}
        for label, extra in (("whole", {}), ("shares only", {"counterfactual": False})):
            start = time.perf_counter()
            why = explain(model, X[3_000:], rows, background=background, **extra)
            took[label] = time.perf_counter() - start
        start = time.perf_counter()
        explain(model, X[3_000:3_016], [15], background=background, counterfactual=False)
        found.append({"detector": name, "method": why.method, "adds up": why.sums_to_score,
                      "100 rows, s": round(took["whole"], 3),
                      "shares only, s": round(took["shares only"], 3),
                      "one row, ms": round(1e3 * (time.perf_counter() - start), 1)})
    return pd.DataFrame(found)


def headline(lines: pd.DataFrame, took: pd.DataFrame) -> dict[str, dict]:
    """What is recorded: hit rates, the mean over detectors and kinds that they find; seconds."""
    lines = lines[lines.groupby(["data", "kind", "detector"]).auc.transform("mean") >= 0.9]
    figures = {}
    for source, part in lines.groupby("data", sort=False):
        by_cell = part.assign(hit=100 * part.hit.astype(float), raw=100.0 * part["raw |z|"],
                              lower=100 * (part.lower > 0).where(part.lower != 0))
        by_event, cell = by_cell[["hit", "raw", "lower"]].astype(float), ["detector", "kind"]
        by_cell = by_event.groupby([part[name] for name in cell]).mean()
        if few := len(by_cell) < 5:  # then over events, which differ from run to run
            by_cell = by_event
        for key, what, values in (
                ("hit", "the broken channel is named first", by_cell.hit),
                ("lead", "hits minus those of the largest raw |z|", by_cell.hit - by_cell.raw),
                ("lower", "the score falls more without the named channel than without a random "
                 "one", by_cell.lower)):
            figures[f"{source}_{key}"] = {"what": f"{source}: {what}", "unit": "%",
                                          "better": "high", **over_sets(values)}
            if few:
                del figures[f"{source}_{key}"]["each"]
    for row in took.itertuples():
        if row.detector in ("KNN", "Ensemble", "OnlineEnsemble"):
            figures[f"{row.detector}_s"] = {
                "what": f"{row.detector}: 100 rows of 20 features explained, with "
                "counterfactuals", "unit": "s", "better": "low", "value": row.whole}
    return figures


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("detectors", nargs="*", help="names; default: all")
    parser.add_argument("--seeds", type=int, default=5, help="40 events of each kind a seed")
    parser.add_argument("--method", default="auto", help="native or occlusion, to compare them")
    parser.add_argument("--speed", action="store_true", help="only the speed")
    parser.add_argument("--json", help="write the table to this file too")
    parser.add_argument("--no-shap", action="store_true", help="without SHAP's environment")
    option(parser)
    args = parser.parse_args()
    names = args.detectors or list(MODELS)
    if unknown := set(names) - set(MODELS):
        parser.error(f"{sorted(unknown)} are not among {list(MODELS)}")
    warnings.simplefilter("ignore")
    pd.set_option("display.width", 250, "display.max_columns", None, "display.max_rows", None)
    if not args.speed:
        jobs = [(name, source, seed) for name in names for source in ("telemetry", "table")
                for seed in range(args.seeds)
                if source == "telemetry" or not (name in LOOK_BACK or issubclass(
                    type(build(name, 0)), OnlineDetector))]
        lines = pd.DataFrame([line for job in tqdm(jobs, desc="events", disable=None)
                              for line in measure(*job, args.method)])
        blames = -1 if args.no_shap else shap_blames(lines)
        lines["SHAP (forest)"] = blames == lines.true
        result = summary(lines)
        print(result.to_string(index=False))
        if args.json:
            Path(args.json).write_text(json.dumps(result.to_dict("records"), indent=1))
    took = speed(names)
    print(took.to_string(index=False))
    if args.keep and not args.speed:
        took = took.rename(columns={"100 rows, s": "whole"})
        keep("explain", args.keep, "", headline(lines, took))


if __name__ == "__main__":
    main()
