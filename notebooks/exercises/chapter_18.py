"""Exercises of notebook 18: classical detectors from the inside."""

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist

from exercises import exercise, require

# -- 18.1: the simplified local outlier factor


def simplified_lof(X, rows, k):
    """Mean over the k nearest training rows of d_k(row) / d_k(neighbour), by its definition."""
    inside = np.sort(cdist(X, X), axis=1)[:, k]  # column 0 is the row itself
    distance = cdist(rows, X)
    near = np.argsort(distance, axis=1)[:, :k]
    own = np.take_along_axis(distance, near[:, -1:], axis=1)
    return (own / inside[near]).mean(axis=1)


@exercise("18.1")
def local_score(score):
    """A function local_score(X, rows, k): the simplified LOF of new rows."""
    require(callable(score), f"A function local_score(X, rows, k) is asked for, got {score!r}.")
    rng = np.random.default_rng(18)
    X = np.r_[rng.normal((-3, 0), 0.1, (150, 2)), rng.normal((3, 0), 1.0, (150, 2))]
    rows = np.r_[rng.normal((-3, 0), 0.1, (40, 2)), rng.normal((3, 0), 1.0, (40, 2)), [(-3, 1.0)]]
    k = 10
    got = np.asarray(score(X.copy(), rows.copy(), k), float)
    require(got.shape == (len(rows),), f"{len(rows)} rows want {len(rows)} scores, the result has "
            f"shape {got.shape}.")
    require(np.isfinite(got).all(), f"{(~np.isfinite(got)).sum()} scores are not finite: is some "
            "distance of a training row to itself in the denominator?")
    larger = np.asarray(score(10 * X, 10 * rows, k), float)
    require(np.allclose(larger, got), f"With all columns times ten the last row scores "
            f"{larger[-1]:.2f} instead of {got[-1]:.2f}: a ratio of densities has no unit.")
    require(got[-1] > got[:-1].max(), f"The row beside the tight group scores {got[-1]:.2f}, and "
            f"{(got[:-1] >= got[-1]).sum()} of {len(rows) - 1} normal rows score as much or more: "
            "which distance stands above, and which below?")
    usual = np.median(got[:-1])
    wanted = simplified_lof(X, rows, k)
    require(abs(usual - 1) < 0.3, f"The median of normal rows is {usual:.2f}; in surroundings as "
            "dense as those of its neighbours a row scores about 1.")
    error = np.abs(got - wanted)
    require(error.max() < 1e-6, f"{(error > 1e-6).sum()} of {error.size} scores differ from the "
            f"formula, by {error.max():.3f} at most. The k-th neighbour of a training row is "
            "another training row, and the mean is over the ratios.")
    return (f"All {len(rows)} scores agree with the formula: {usual:.2f} for a usual row, "
            f"{got[-1]:.1f} beside the tight group.")


@local_score.solution
def _():
    def local_score(X, rows, k):
        to_kth = np.sort(cdist(X, X), axis=1)[:, k]  # column 0 is the distance to itself
        distance = cdist(rows, X)
        near = np.argsort(distance, axis=1)[:, :k]
        own = np.sort(distance, axis=1)[:, k - 1]
        return (own[:, None] / to_kth[near]).mean(axis=1)

    return local_score


# -- 18.2: random cuts until a value is alone


def expected_cuts(values, x):
    """Mean number of uniform cuts that isolate x, by recursion over what is left."""
    v = np.sort(values)
    at = int(np.searchsorted(v, x))
    known = {}

    def mean(low, high):
        if low == high:
            return 0.0
        if (low, high) not in known:
            gaps = np.diff(v[low:high + 1]) / (v[high] - v[low])
            known[low, high] = 1 + sum(
                gap * (mean(low, low + i) if at <= low + i else mean(low + i + 1, high))
                for i, gap in enumerate(gaps))
        return known[low, high]

    return mean(0, len(v) - 1)


@exercise("18.2")
def random_cuts(cuts):
    """A function cuts(values, x, rng): random cuts until x is alone."""
    require(callable(cuts), f"A function cuts(values, x, rng) is asked for, got {cuts!r}.")
    columns = {"the values 0, 1 and 10": np.array([0.0, 1.0, 10.0]),
               "forty values and one far out": np.append(
                   np.random.default_rng(3).normal(size=40), 12.0)}
    said = []
    for name, values in columns.items():
        for x in (values[-1], values[0]):
            rng = np.random.default_rng(7)
            found = np.array([_counted(cuts, values, x, rng) for _ in range(2_000)])
            wanted = expected_cuts(values, x)
            error = 4.5 * max(found.std(), 0.05) / np.sqrt(len(found))
            require(np.ptp(found) > 0, f"Of {name} every call takes {found[0]:g} cuts to isolate "
                    f"{x:.2f}: a cut lies anywhere between the smallest and the largest value.")
            require(abs(found.mean() - wanted) < error, f"Of {name} it takes {found.mean():.2f} "
                    f"cuts on average to isolate {x:.2f}; {wanted:.2f} are expected. Which values "
                    "are left after a cut, and between which two does the next one lie?")
        said.append(f"{found.mean():.1f} cuts for an ordinary one of {name}")
    return "On average " + ", ".join(said) + "."


def _counted(cuts, values, x, rng):
    n = cuts(values.copy(), x, rng)
    whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
    require(whole and 0 <= n < 1000, f"A number of cuts is asked for, got {n!r}.")
    return n


@random_cuts.solution
def _():
    def cuts(values, x, rng):
        n = 0
        while len(values) > 1:
            place = rng.uniform(values.min(), values.max())
            values = values[(values < place) == (x < place)]
            n += 1
        return n

    return cuts


# -- 18.3: a detector for a data set, by its failure


def detectors() -> dict[str, Callable[[int], object]]:
    """The detectors of the chapter by name, unfitted."""
    from sklearn.covariance import EllipticEnvelope, EmpiricalCovariance
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    from adlib.base import Detector
    from adlib.detectors import KNN, PCAReconstruction

    class Gaussian(Detector):
        def _fit(self, X):
            self.cloud_ = EmpiricalCovariance().fit(X)

        def _score(self, X):
            return self.cloud_.mahalanobis(X)

    class ECOD(Detector):
        def _fit(self, X):
            self.columns_ = np.sort(X, axis=0)
            self.skewed_left_ = ((X - X.mean(axis=0)) ** 3).sum(axis=0) < 0

        def _score(self, X):
            n, pairs = len(self.columns_), list(zip(self.columns_.T, X.T, strict=True))
            left = np.stack([np.searchsorted(c, x, "right") for c, x in pairs], axis=1)
            right = n - np.stack([np.searchsorted(c, x, "left") for c, x in pairs], axis=1)
            low, high = -np.log((left + 1) / (n + 1)), -np.log((right + 1) / (n + 1))
            auto = np.where(self.skewed_left_, low, high)
            return np.max([side.sum(axis=1) for side in (low, high, auto)], axis=0)

    plain = {"calibration": None, "threshold": np.inf}
    return {
        "KNN": lambda seed: KNN(n_neighbors=5, **plain),
        "LOF": lambda seed: make_pipeline(
            StandardScaler(), LocalOutlierFactor(n_neighbors=20, novelty=True)),
        "isolation forest": lambda seed: IsolationForest(random_state=seed),
        "one-class SVM": lambda seed: make_pipeline(StandardScaler(), OneClassSVM(nu=0.05)),
        "Gaussian": lambda seed: Gaussian(**plain),
        "MCD": lambda seed: make_pipeline(StandardScaler(), EllipticEnvelope(random_state=seed)),
        "PCA": lambda seed: PCAReconstruction(**plain),
        "ECOD": lambda seed: ECOD(**plain),
    }


def pumps(rng):
    """A steady state and a restless one; faults leave the steady one by little."""
    def normal(n):
        steady = rng.random((n, 1)) < 0.5
        return np.where(steady, rng.normal((0, 0), 0.02, (n, 2)), rng.normal((8, 0), 2.0, (n, 2)))

    angle = rng.uniform(0, 2 * np.pi, 100)
    return normal(400), normal(400), 0.25 * np.c_[np.cos(angle), np.sin(angle)]


def cards(rng):
    """Thirty independent columns over many decades; a fraud is high, not huge, in eight of them."""
    odd = rng.normal(size=(150, 30))
    for row in odd:
        row[rng.choice(30, 8, replace=False)] = rng.uniform(1.7, 2.4, 8)
    normal, later = rng.normal(size=(2, 300, 30))
    return np.exp(3.5 * normal), np.exp(3.5 * later), np.exp(3.5 * odd)


def oven(rng):
    """Five sensors that follow each other; a fault is in a fifth of the training rows."""
    def normal(n):
        return rng.normal(size=(n, 1)) + rng.normal(0, 0.3, (n, 5))

    def fault(n):
        return normal(n) + np.array([1.6, -1.6, 0, 0, 0])

    return np.r_[normal(400), fault(100)], normal(300), fault(150)


def turbine(rng):
    """A thin ring; faults lie inside it."""
    def normal(n):
        angle, radius = rng.uniform(0, 2 * np.pi, n), rng.normal(3, 0.15, n)
        return np.c_[radius * np.cos(angle), radius * np.sin(angle)]

    return normal(300), normal(300), rng.normal(0, 0.5, (150, 2))


SITES = {"pumps": pumps, "cards": cards, "oven": oven, "turbine": turbine}


def lowest_auc(site, name):
    """The smallest ROC-AUC of a detector over five draws of a data set."""
    from adlib import anomaly_score, metrics

    found = []
    for seed in range(5):
        X, normal, odd = SITES[site](np.random.default_rng([18, seed]))
        scores = anomaly_score(detectors()[name](seed).fit(X), np.r_[normal, odd])
        found.append(metrics.roc_auc(np.repeat([0, 1], [len(normal), len(odd)]), scores))
    return min(found)


@exercise("18.3")
def by_failure(chosen):
    """A dict from each data set to a detector that does not fail on it."""
    require(isinstance(chosen, dict) and set(chosen) == set(SITES),
            f"A dict with the keys {', '.join(SITES)} is asked for, got {chosen!r}.")
    unknown = [name for name in chosen.values() if name not in detectors()]
    require(not unknown, f"There is no {unknown[:1]} among {', '.join(detectors())}.")
    twice = sorted({name for name in chosen.values() if list(chosen.values()).count(name) > 1})
    require(not twice, f"Each name may be used once, {', '.join(twice)} is used more often.")
    found = {site: lowest_auc(site, name) for site, name in chosen.items()}
    weak = [f"{chosen[site]} on {site}: {auc:.2f}" for site, auc in found.items() if auc <= 0.9]
    require(not weak, f"The lowest ROC-AUC of five draws is not above .9 for {'; '.join(weak)}. "
            "Where does it think that normal rows are?")
    return "Lowest ROC-AUC of five draws: " + ", ".join(
        f"{site} {auc:.2f}" for site, auc in found.items()) + "."


@by_failure.solution
def _():
    return {
        "pumps": "LOF",  # a local scale
        "cards": "ECOD",  # column by column
        "oven": "MCD",  # dirty training rows
        "turbine": "KNN",  # a hole
    }
