"""What verdicts are worth: the label-budget curve 0 / 5 / 20 / 50, judged on rows never shown.

Sets: ADBench tables with at least 50 anomalies (protocol of tabular.py: at most 6,000 rows, half of
the normal rows are history) and the generators fraud, intrusion, manufacturing and medical. Of the
history three quarters train the detector and a quarter calibrates it. The test part is halved: from
one half questions are asked and answered by the labels; all numbers are of the other half. With
`wrong`, a tenth of the answers is turned round (of 5: none).

Printed: average precision by budget, its gain over no verdict with a 95 % bootstrap interval over
sets, p-values of the gain over sets (Wilcoxon) and over seeds (paired t of the mean over sets), the
worst set; then the realised false-positive rate, and how many cells lie outside, and above, the
95 % beta-binomial interval of a cut that is exactly right. Rivals at 20 verdicts: other ways to
ask, verdicts without the detector as prior, and the weights of `Ensemble.feedback`.

    ADLIB_DATA=... python benchmarks/feedback.py [--seeds 0 1 2 3 4] [--table out.csv]
"""

import argparse
import warnings

import numpy as np
import pandas as pd
from results import keep, option, over_sets
from scipy import stats
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from adlib.base import anomaly_score
from adlib.datasets import (
    load_adbench,
    make_fraud,
    make_intrusion,
    make_manufacturing,
    make_medical,
)
from adlib.detectors import KNN, Ensemble, RandomFeatureAE
from adlib.feedback import Reviewed
from adlib.metrics import average_precision
from adlib.thresholds import CalibrationWarning

ALPHA, BUDGETS, LEAST = 0.05, (5, 20, 50), 50
GENERATORS = (make_fraud, make_intrusion, make_manufacturing, make_medical)


def models(seed: int) -> dict[str, object]:
    """The detectors that get feedback."""
    return {"Ensemble": Ensemble(random_state=seed), "KNN": KNN(calibration=None),
            "RandomFeatureAE": RandomFeatureAE(random_state=seed, calibration=None)}


def parts(data: object, seed: int) -> dict[str, np.ndarray]:
    """Rows to train, calibrate, ask and judge, standardised; labels of the last two."""
    cut = data.train_end
    X, y = np.asarray(data.X, dtype=float), np.asarray(data.y).astype(float)
    X = StandardScaler().fit(X[:cut]).transform(X)
    rng = np.random.default_rng(seed)
    history, test = rng.permutation(cut), cut + rng.permutation(len(X) - cut)
    n = max(cut // 4, 40)
    ask, judge = np.array_split(test, 2)
    return {"train": X[history[n:]], "normal": X[history[:n]], "ask": X[ask], "y_ask": y[ask],
            "judge": X[judge], "y": y[judge]}


def sets(seed: int) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Those with enough anomalies."""
    found = list(load_adbench(random_state=seed).values())
    found += [make(4000, random_state=seed) for make in GENERATORS]
    return [(data.name, parts(data, seed)) for data in found if np.sum(data.y) >= LEAST]


def judged(model: Reviewed, data: dict[str, np.ndarray], **line: object) -> dict[str, object]:
    """One line of the table."""
    score = model.anomaly_score(data["judge"])
    normal = score[data["y"] == 0]
    return {**line, "ap": average_precision(data["y"], score), "n_normal": len(normal),
            "n_held_out": len(data["normal"]), "fpr": float((normal > model.threshold_).mean())}


def curve(model: Reviewed, data: dict[str, np.ndarray], order: np.ndarray, *, wrong: float = 0.0,
          budgets: tuple[int, ...] = BUDGETS, how: str = "reviewed") -> list[dict[str, object]]:
    """Ask in the given order; learn and judge at each budget; a share of the answers is wrong."""
    lines = []
    for budget in budgets:
        asked = order[:budget]
        answers = data["y_ask"][asked]
        if wrong:
            turned = np.random.default_rng(budget).permutation(budget)[:round(wrong * budget)]
            answers[turned] = 1 - answers[turned]
        model.learn(data["ask"][asked], answers)
        lines.append(judged(model, data, budget=budget, wrong=wrong, how=how,
                            share_true=answers.mean()))
    return lines


def rivals(name: str, detector: object, data: dict[str, np.ndarray], model: Reviewed,
           order: np.ndarray, rng: np.random.Generator) -> list[dict[str, object]]:
    """Other uses of 20 verdicts."""
    others = {"highest scores": np.argsort(-anomaly_score(detector, data["ask"]), kind="stable"),
              "at random": rng.permutation(len(data["ask"]))}
    lines = [line for how, other in others.items()
             for line in curve(model, data, other, budgets=(20,), how=how)]
    asked = order[:20]
    blind = Reviewed(_Blind(n_features=data["ask"].shape[1])).fit(data["normal"])
    lines.append(judged(blind.learn(data["ask"][asked], data["y_ask"][asked]), data, budget=20,
                        wrong=0.0, how="without prior"))
    if name == "Ensemble":
        detector.calibrate(data["normal"])
        detector.feedback(data["ask"][asked], data["y_ask"][asked])
        lines.append(judged(detector, data, budget=20, wrong=0.0, how="weights of members"))
    return lines


class _Blind(KNN):
    """Scores every row alike."""

    def __init__(self, n_features: int = 1):
        super().__init__()
        self.n_features = n_features
        self.n_features_in_ = n_features

    def _score(self, X: np.ndarray) -> np.ndarray:
        return np.zeros(len(X))


def cells(seeds: list[int], path: str | None = None) -> pd.DataFrame:
    """One line per detector, set, seed, budget and way."""
    lines = []
    for seed in seeds:
        for name, data in tqdm(sets(seed), desc=f"seed {seed}", disable=None):
            for kind, detector in models(seed).items():
                model = Reviewed(detector.fit(data["train"]), alpha=ALPHA).fit(data["normal"])
                rng = np.random.default_rng([seed, len(lines)])
                new = [judged(model, data, budget=0, wrong=0.0, how="reviewed")]
                order = model.next_questions(data["ask"], BUDGETS[-1])
                new += curve(model, data, order) + curve(model, data, order, wrong=0.1)
                new += rivals(kind, detector, data, model, order, rng)
                lines += [{"detector": kind, "set": name, "seed": seed, **line} for line in new]
        if path:
            pd.DataFrame(lines).to_csv(path, index=False)
    return pd.DataFrame(lines)


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Average precision and its gain over no verdict, per detector and way of feedback."""
    keys, rng, lines = ["detector", "how", "wrong", "budget"], np.random.default_rng(0), []
    none = table[table.budget == 0].set_index(["detector", "set", "seed"]).ap
    for key, part in table.groupby(keys):
        ap = part.set_index(["detector", "set", "seed"]).ap
        gain = (ap - none.reindex(ap.index)).reset_index()
        by_set = gain.groupby("set").ap.mean().to_numpy()
        by_seed = gain.groupby("seed").ap.mean().to_numpy()
        drawn = by_set[rng.integers(0, len(by_set), (10_000, len(by_set)))].mean(axis=1)
        line = dict(zip(keys, key, strict=True)) | {"ap": ap.mean()}
        if line["budget"]:
            low, high = np.quantile(drawn, (0.025, 0.975))
            line |= {"gain": f"{by_set.mean():+.3f} [{low:+.3f}, {high:+.3f}]",
                     "p_sets": stats.wilcoxon(by_set, alternative="greater").pvalue,
                     "p_seeds": stats.ttest_1samp(by_seed, 0, alternative="greater").pvalue
                     if len(by_seed) > 1 else np.nan,
                     "worst_set": by_set.min(), "sets_worse_by_.01": int((by_set < -0.01).sum())}
        lines.append(line)
    return pd.DataFrame(lines)


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """Realised false-positive rate on never-shown normal rows."""
    table = table[table.how == "reviewed"].copy()
    n = table.n_held_out
    k = np.ceil((n + 1) * (1 - ALPHA) - 1e-9)
    law = stats.betabinom(table.n_normal, n + 1 - k, k)
    count = (table.fpr * table.n_normal).round()
    table["above"] = count > law.ppf(0.975)
    table["outside"] = table.above | (count < law.ppf(0.025))
    table["error"] = (table.fpr - ALPHA).abs()
    return table.groupby(["detector", "wrong", "budget"]).agg(
        fpr=("fpr", "mean"), error=("error", "mean"), highest=("fpr", "max"),
        outside=("outside", "mean"), above=("above", "mean"), cells=("fpr", "size"))


def headline(table: pd.DataFrame) -> dict[str, dict]:
    """What is recorded: the gain by verdicts, all of them right, and the false-positive rate."""
    table = table[(table.how == "reviewed") & (table.wrong == 0)]
    ap = table.pivot_table(index=["detector", "set"], columns="budget", values="ap")
    figures = {}
    for name, budget in [("Ensemble", n) for n in BUDGETS] + [("KNN", 20), ("RandomFeatureAE", 20)]:
        gain = (ap[budget] - ap[0])[name]
        figures[f"{name}_{budget}"] = {
            "what": f"gain in average precision of {name} by {budget} verdicts", "better": "high",
            **over_sets(gain)}
    for budget in (0, 20):
        figures[f"fpr_{budget}"] = {
            "what": f"false-positive rate after {budget} verdicts, three detectors; {ALPHA} asked "
            "for", "better": None, "value": table[table.budget == budget].fpr.mean()}
    return figures


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--table", help="CSV with one line per cell, written after each seed")
    parser.add_argument("--read", help="measure nothing: such a table, written before")
    option(parser)
    given = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    pd.set_option("display.width", 200)
    table = pd.read_csv(given.read) if given.read else cells(given.seeds, given.table)
    print(f"{table.set.nunique()} sets, seeds {given.seeds}, alpha {ALPHA}")
    print(gains(table).to_string(index=False, float_format="%.4f"))
    print(f"\nRealised false-positive rate\n{rates(table).to_string(float_format='%.4f')}")
    if given.keep:
        seeds = " ".join(map(str, sorted(set(table.seed))))
        keep("feedback", given.keep, f"python benchmarks/feedback.py --seeds {seeds}",
             headline(table))


if __name__ == "__main__":
    main()
