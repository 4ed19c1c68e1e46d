"""Exercises of notebook 03: autoencoder, VAE and GAN."""

import numpy as np

from adlib.detectors import RandomFeatureAE
from adlib.thresholds import Conformal
from exercises import exercise, require

# -- 03.1: what a linear autoencoder can do at best


def plane_rows(seed, n=300):
    """Six features that are driven by two, off centre, with noise; the third axis is not empty."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(30).normal(size=(3, 6)) * [[2.0], [1.5], [0.7]]
    return 10.0 + rng.normal(size=(n, 3)) @ mixing + 0.1 * rng.normal(size=(n, 6))


@exercise("03.1")
def linear_rival(rebuild):
    """A function rebuild(train, X, k): X as the best linear autoencoder of `train` returns it."""
    require(callable(rebuild), f"A function rebuild(train, X, k) is asked for, got {rebuild!r}.")
    train, X, k = plane_rows(31), plane_rows(32, 100), 2
    got = np.asarray(rebuild(train.copy(), X.copy(), k), float)
    require(got.shape == X.shape, f"{len(X)} rows of six features go in; the result has shape "
            f"{got.shape}.")
    other = np.asarray(rebuild(train.copy(), X[:50] + np.eye(6)[0] * np.arange(50)[:, None], k))
    require(np.allclose(other[0], got[0]), "Row 0 is rebuilt in another way when the rows judged "
            "with it change: what is learned must come from the training rows.")
    directions = np.linalg.matrix_rank(got - got.mean(axis=0), tol=1e-6)
    require(directions <= k, f"The rebuilt rows spread over {directions} directions; a code of "
            f"{k} numbers leaves {k}.")
    own = np.asarray(rebuild(train.copy(), train.copy(), k), float)
    centred = train - train.mean(axis=0)
    best = (np.linalg.svd(centred, compute_uv=False)[k:] ** 2).sum() / train.size
    error = ((own - train) ** 2).mean()
    require(error < 1.01 * best, f"The training rows come back with a mean squared error of "
            f"{error:.3f}; a plane exists that gets {best:.3f}. Where must it pass through?")
    return (f"The training rows come back with a mean squared error of {error:.3f}. No linear "
            f"autoencoder with a code of {k} numbers gets below {best:.3f}, however it is trained.")


@linear_rival.solution
def _():
    def rebuild(train, X, k):
        centre = train.mean(axis=0)
        axes = np.linalg.svd(train - centre, full_matrices=False)[2][:k]  # the widest directions
        code = (X - centre) @ axes.T
        return centre + code @ axes

    return rebuild


# -- 03.2: one score per row, the same at every call


def half_trained():
    """A network that was left in training mode, as after the last epoch, with its dropout on."""
    from torch import nn  # here and below: who lists exercises needs no torch

    from adlib.training import seeded

    with seeded(33):
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 8)).train()


@exercise("03.2")
def row_scores(score):
    """A function score(net, x): mean squared error of each row, without dropout."""
    import torch

    from adlib.training import seeded

    require(callable(score), f"A function score(net, x) is asked for, got {score!r}.")
    with seeded(34):
        x = torch.randn(60, 8)
    net = half_trained()
    first = _array(score(net, x))
    require(first.shape == (60,), f"60 rows want 60 scores, one each; the result has shape "
            f"{first.shape}.")
    second = _array(score(net, x))
    changed = ~np.isclose(first, second)
    require(not changed.any(), f"Called twice with the same rows, {changed.sum()} of 60 scores "
            "change.")
    alone = np.array([_array(score(half_trained(), row[None]))[0] for row in x[:5]])
    i = np.abs(alone - first[:5]).argmax()
    require(np.allclose(alone, first[:5], atol=1e-5), f"Scored alone, row {i} gets {alone[i]:.3f}; "
            f"in the company of others it gets {first[i]:.3f}.")
    quiet = half_trained().eval()
    with torch.no_grad():
        wanted = ((quiet(x) - x) ** 2).mean(dim=1).numpy()
    ratio = first / wanted
    require(np.allclose(first, wanted, atol=1e-5), "The scores repeat, but they are not the mean "
            f"squared errors: row 0 gets {first[0]:.3f} in place of {wanted[0]:.3f} "
            f"(ratio {ratio[0]:.2f}).")
    return "60 rows, 60 scores, the same at every call and in any company."


def _array(scores):
    return scores.detach().numpy() if hasattr(scores, "detach") else np.asarray(scores)


@row_scores.solution
def _():
    import torch

    def score(net, x):
        net.eval()  # dropout off
        with torch.no_grad():
            return ((net(x) - x) ** 2).mean(dim=1).numpy()

    return score


# -- 03.3: a threshold that keeps its promise on new rows


@exercise("03.3")
def fitted_cut(fit_and_cut):
    """A function fit_and_cut(detector, X, alpha): fits, and returns a threshold for new rows."""
    require(callable(fit_and_cut), f"A function fit_and_cut(detector, X, alpha) is asked for, got "
            f"{fit_and_cut!r}.")
    alpha, rates = 0.1, []
    for seed in range(12):
        rows = plane_rows(100 + seed, 1200)
        detector = RandomFeatureAE(noise=0.05, calibration=None, random_state=seed)
        cut = fit_and_cut(detector, rows[:200], alpha)
        require(np.ndim(cut) == 0 and np.isreal(cut) and np.isfinite(cut),
                f"The threshold is to be one number, got {cut!r}.")
        require(hasattr(detector, "n_features_in_"), "The detector that was handed in is not "
                "fitted.")
        rates.append((detector.anomaly_score(rows[200:]) > cut).mean())
    rate = np.mean(rates)
    found = f"{rate:.1%} of new normal rows are flagged, {alpha:.0%} are asked for"
    require(rate < 1.5 * alpha, f"{found}. How well does the detector know the rows that the "
            "threshold was taken from?")
    require(rate > 0.5 * alpha, f"{found}: that budget is not used.")
    return f"{found}."


@fitted_cut.solution
def _():
    def fit_and_cut(detector, X, alpha):
        detector.fit(X[:100])
        return Conformal(alpha=alpha).fit(detector.anomaly_score(X[100:])).value_

    return fit_and_cut
