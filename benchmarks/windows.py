"""Sequence detectors against point-wise ones: order matters, or it does not.

Synthetic series with one kind of anomaly each, ten seeds, the defaults of every detector, trained
on the clean history. Prints VUS-PR per kind and generator, paired differences over seeds with
bootstrap 95 % intervals, and a sweep over dirty training rows (unlabelled events in the history),
which is also drawn when a path is given.

    python benchmarks/windows.py [--seeds 10] [--figure sweep.png]

What ``window="auto"`` should be, on the series of `benchmarks/series.py` (causal VUS-PR, means over
sources, paired over recordings), by the rules of `RULES`, written down before the first run:

    ADLIB_DATA=... python benchmarks/windows.py --auto PCAReconstruction
"""

import argparse
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from adlib.datasets import Dataset, inject, make_sine, make_telemetry
from adlib.datasets.sources import TSB
from adlib.detectors import (
    LSTM,
    AutoEncoder,
    PCAReconstruction,
    RandomFeatureAE,
    Transformer,
    find_detector,
)
from adlib.metrics import vus_pr
from adlib.periods import dominant_period, usual_period

KINDS = ("contextual", "frequency", "collective")
DETECTORS = {
    "LSTM": LSTM, "Transformer": Transformer,
    "AutoEncoder(window=8)": lambda **kw: AutoEncoder(window=8, **kw),
    "RandomFeatureAE(window=8)": lambda **kw: RandomFeatureAE(window=8, **kw),
    "AutoEncoder": AutoEncoder, "PCAReconstruction": lambda random_state, **kw:
        PCAReconstruction(**kw),
}
RIVALS = ("AutoEncoder", "PCAReconstruction")
DIRT = (0.0, 0.01, 0.05, 0.10)
PERIODS = {"sine": 50, "telemetry": 288}
USUAL = {"period": usual_period, "least": 1, "fallback": 125, "values": 256}
RULES = {  # how "auto" might choose a window; a number is a window for all
    "auto": USUAL, "rows alone": 1, "16": 16, "64": 64, "125": 125,
    "first season": {**USUAL, "period": dominant_period, "least": 50},
    "first season, any length": {**USUAL, "period": dominant_period},
    "first season, else 1": {**USUAL, "period": dominant_period,
                             "fallback": 1},
    "half": {**USUAL, "period": lambda X: usual_period(X) // 2},
    "at least 100": {**USUAL, "least": 100},
    "128 values": {**USUAL, "values": 128}, "512 values": {**USUAL, "values": 512},
}
CONTEXT = 100  # rows before the test part that fill its first windows


def series(kind: str, seed: int, dirt: float = 0.0) -> Iterator[Dataset]:
    """One channel and four, with a clean history or a share of it in events."""
    for data in (make_sine(2_000, kinds=kind, n_events=10, random_state=seed),
                 make_telemetry(3_000, 4, kinds=kind, n_events=16, random_state=seed)):
        if dirt:
            length = 1 if kind == "contextual" else 20
            history = data.X[:data.train_end]
            dirty = inject(history, kind, n_events=max(1, round(dirt * len(history) / length)),
                           length=length, start=0, min_gap=0, period=PERIODS[data.name],
                           random_state=seed)
            X = np.concatenate([dirty.X, data.X[data.train_end:]])
            data = Dataset(data.name, X, data.y, train_end=data.train_end, source=data.source)
        yield data


def measure(name: str, data: Dataset, seed: int) -> float:
    """VUS-PR on the test part; the threshold is not asked for."""
    test = data.train_end
    detector = DETECTORS[name](random_state=seed, calibration=None).fit(data.X[:test])
    score = detector.anomaly_score(data.X[test - CONTEXT:])[CONTEXT:]
    return vus_pr(data.y[test:], score, window=10)


def interval(values: np.ndarray) -> str:
    """Mean and bootstrap 95 % interval."""
    draws = np.random.default_rng(0).choice(values, size=(5_000, len(values))).mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def kinds(seeds: int) -> None:
    """VUS-PR per kind and generator, and paired differences."""
    lines = [{"kind": kind, "data": data.name, "seed": seed, "detector": name,
              "vus_pr": measure(name, data, seed)}
             for seed in tqdm(range(seeds), desc="kinds", disable=None) for kind in KINDS
             for data in series(kind, seed) for name in DETECTORS]
    table = pd.DataFrame(lines)
    wide = table.pivot_table(index="detector", columns=["kind", "data"], values="vus_pr")
    print(f"VUS-PR (window 10), mean over {seeds} seeds")
    print(wide.loc[list(DETECTORS)].to_string(float_format="%.3f"))
    pairs = table.pivot(index=["kind", "data", "seed"], columns="detector", values="vus_pr")
    for name in ("LSTM", "Transformer"):
        for rival in RIVALS:
            difference = pairs[name] - pairs[rival]
            for kind in KINDS:
                by_seed = difference[kind].groupby("seed").mean().to_numpy()
                parts = "; ".join(f"{data} {interval(part.to_numpy())}"
                                  for data, part in difference[kind].groupby("data"))
                print(f"{name} - {rival}, {kind}: {interval(by_seed)} ({parts})")


def sweep(seeds: int, figure: str | None) -> None:
    """VUS-PR over the share of dirty training rows."""
    lines = [{"dirty rows": dirt, "seed": seed, "detector": name,
              "vus_pr": np.mean([measure(name, data, seed) for kind in KINDS
                                 for data in series(kind, seed, dirt)])}
             for seed in tqdm(range(seeds), desc="sweep", disable=None)
             for dirt in DIRT for name in DETECTORS]
    table = pd.DataFrame(lines)
    print(f"\nVUS-PR over share of dirty training rows, mean over kinds, generators and "
          f"{seeds} seeds")
    print(table.pivot_table(index="detector", columns="dirty rows", values="vus_pr")
          .loc[list(DETECTORS)].to_string(float_format="%.3f"))
    if figure:
        import matplotlib.pyplot as plt
        import seaborn as sns

        sns.lineplot(table.assign(share=100 * table["dirty rows"]), x="share", y="vus_pr",
                     hue="detector", style="detector", markers=True, dashes=False,
                     palette="colorblind", errorbar=("pi", 100))
        plt.xlabel("anomalous rows in training (%)")
        plt.ylabel("VUS-PR, mean over kinds and generators")
        plt.ylim(0, 1)
        plt.title("Dirty training rows (bands: range over seeds)")
        plt.tight_layout()
        plt.savefig(figure, dpi=120)


def chosen(rule: Any, X: np.ndarray) -> int:
    """Rows of a window, by a rule, from training rows."""
    if isinstance(rule, int):
        return min(rule, len(X) // 4)
    rows = max(rule["period"](X) or rule["fallback"], rule["least"])
    return max(1, min(rows, rule["values"] // X.shape[1], len(X) // 4))


def auto(detector: str) -> None:
    """Each rule beside the one that is in use."""
    from series import Series, interval  # needs TSB-AD's folder

    table = pd.read_csv(TSB.folder(None) / "published_vus_pr.csv")
    lines = []
    facts = table[table.dataset != "MGAB"].itertuples()
    for one in tqdm([Series(fact) for fact in facts], disable=None):
        known: dict[int, float] = {}
        for name, rule in RULES.items():
            rows = chosen(rule, one.train)
            if rows not in known:
                model = find_detector(detector)().set_params(window=rows, calibration=None)
                score = model.fit(one.train).anomaly_score(one.X)
                known[rows] = vus_pr(one.y, score, window=int(one.fact.vus_window))
            lines.append({"rule": name, "part": one.fact.part, "dataset": one.fact.dataset,
                          "file": one.fact.file, "recording": one.recording, "rows": rows,
                          "vus_pr": known[rows]})
    found = pd.DataFrame(lines)
    base = found[found.rule == "auto"].set_index("file")
    print(f"\n{detector}: U, M (means over sources), median window, difference to auto")
    for name in RULES:
        mine = found[found.rule == name].set_index("file")
        parts = mine.groupby(["part", "dataset"]).vus_pr.mean().groupby("part").mean()
        print(f"{name:<26} {parts['U']:.3f} {parts['M']:.3f} {mine.rows.median():>5.0f}   "
              f"{interval(mine.vus_pr - base.vus_pr, mine.recording)}")


def main() -> None:
    """Print the tables; draw the sweep where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sweep-seeds", type=int, default=3)
    parser.add_argument("--figure", help="draw the sweep over dirty training rows to this file")
    parser.add_argument("--auto", metavar="DETECTOR", help="rules for window='auto' instead")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.auto:
        auto(args.auto)
        return

    if args.seeds:
        kinds(args.seeds)
    if args.sweep_seeds:
        sweep(args.sweep_seeds, args.figure)


if __name__ == "__main__":
    main()
