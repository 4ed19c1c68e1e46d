"""Ensemble and Voting beside their members on the ADBench tables, in one run.

Protocol of tabular.py: at most 6,000 rows a set, a random half of the normal rows to train on,
columns standardised by the training rows, alpha = 0.05, seeds 0, 1, 2. Printed are means over sets;
paired differences to each member with 95 % bootstrap intervals over sets (seeds averaged first);
the realised false-positive rate, its absolute error, and for sets with fewer than 300 normal test
rows how many lie outside the 95 % beta-binomial interval of a rule that is exactly right.

    ADLIB_DATA=... python benchmarks/ensembles.py [SEED ...]
"""

import sys
import time
import warnings

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from adlib.base import Detector, anomaly_score
from adlib.datasets import load_adbench
from adlib.detectors import KNN, Ensemble, RandomFeatureAE, Voting
from adlib.metrics import average_precision, roc_auc
from adlib.thresholds import CalibrationWarning

ALPHA = 0.05
QUALITY = ["roc_auc", "average_precision"]


def models(seed: int) -> dict[str, object]:
    """Ensembles and their members; each with this seed."""
    voters = {type(member[-1]).__name__.lstrip("_"): clone(member)
              for member, _ in Voting()._default()}
    for member in voters.values():
        if "random_state" in member[-1].get_params():
            member[-1].set_params(random_state=seed)
    return {"Ensemble": Ensemble(random_state=seed, alpha=ALPHA),
            "RandomFeatureAE": RandomFeatureAE(random_state=seed, alpha=ALPHA),
            "KNN": KNN(alpha=ALPHA), "Voting": Voting(random_state=seed, alpha=ALPHA), **voters}


def cells(seeds: list[int]) -> pd.DataFrame:
    """One row per model, set and seed."""
    lines = []
    for seed in tqdm(seeds, disable=None):
        for data in tqdm(load_adbench(random_state=seed).values(), disable=None, leave=False):
            cut = data.train_end
            scaler = StandardScaler().fit(data.X[:cut])
            train, test = scaler.transform(data.X[:cut]), scaler.transform(data.X[cut:])
            y = data.y[cut:]
            for name, model in models(seed).items():
                started = time.process_time()
                model.fit(train)
                fit_s = time.process_time() - started
                score = anomaly_score(model, test)
                line = {"model": name, "set": data.name, "seed": seed, "roc_auc": roc_auc(y, score),
                        "average_precision": average_precision(y, score), "fit_s": fit_s,
                        "n_train": len(train), "n_normal": int((y == 0).sum())}
                if isinstance(model, Detector):
                    line["fpr"] = (score > model.threshold_)[y == 0].mean()
                lines.append(line)
    return pd.DataFrame(lines)


def differences(table: pd.DataFrame, one: str, others: list[str]) -> pd.DataFrame:
    """Mean over sets of ``one`` minus each other, with a bootstrap interval over sets."""
    means = table.groupby(["model", "set"])[QUALITY].mean()
    rng, lines = np.random.default_rng(0), []
    members = means.loc[others].groupby("set")
    rivals = {name: means.loc[name] for name in others}
    rivals |= {"median member": members.median(), "best member of each set": members.max()}
    for name, rival in rivals.items():
        line = {"model": one, "minus": name}
        for metric in QUALITY:
            gap = (means.loc[one] - rival)[metric].to_numpy()
            drawn = gap[rng.integers(0, len(gap), (10_000, len(gap)))].mean(axis=1)
            low, high = np.quantile(drawn, (0.025, 0.975))
            line[metric] = f"{gap.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        lines.append(line)
    return pd.DataFrame(lines)


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


def main() -> None:
    """Print the three tables."""
    warnings.simplefilter("ignore", CalibrationWarning)
    warnings.filterwarnings("ignore", module="sklearn")  # what singular covariances say
    pd.set_option("display.width", 160)
    seeds = [int(seed) for seed in sys.argv[1:]] or [0, 1, 2]
    table = cells(seeds)
    print(f"{table.set.nunique()} sets, seeds {seeds}, alpha {ALPHA}")
    means = table.groupby("model")[[*QUALITY, "fit_s"]].mean()
    print(means.sort_values("roc_auc", ascending=False).to_string(float_format="%.4f"))
    voters = ["IsolationForest", "EllipticEnvelope", "OneClassSVM"]
    for one, others in (("Ensemble", ["RandomFeatureAE", "KNN"]), ("Voting", voters)):
        print(f"\n{differences(table, one, others).to_string(index=False)}")
    rates = false_positives(table).to_string(float_format="%.4f")
    print(f"\nRealised false-positive rate\n{rates}")


if __name__ == "__main__":
    main()
