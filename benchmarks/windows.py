"""Sequence detectors against point-wise ones: order matters, or it does not.

Synthetic series with one kind of anomaly each, ten seeds, the defaults of every detector, trained
on the clean history. Prints VUS-PR per kind and generator, paired differences over seeds with
bootstrap 95 % intervals, and a sweep over dirty training rows (unlabelled events in the history),
which is also drawn when a path is given.

    python benchmarks/windows.py [--seeds 10] [--figure sweep.png]
"""

import argparse
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from adlib.datasets import Dataset, inject, make_sine, make_telemetry
from adlib.detectors import LSTM, AutoEncoder, PCAReconstruction, RandomFeatureAE, Transformer
from adlib.metrics import vus_pr

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


def main() -> None:
    """Print the tables; draw the sweep where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sweep-seeds", type=int, default=3)
    parser.add_argument("--figure", help="draw the sweep over dirty training rows to this file")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    if args.seeds:
        kinds(args.seeds)
    if args.sweep_seeds:
        sweep(args.sweep_seeds, args.figure)


if __name__ == "__main__":
    main()
