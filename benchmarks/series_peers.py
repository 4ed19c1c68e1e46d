"""Beyond a linear forecast on TSB-AD's series: a grid written down before its first run, and peers.

Four families, each beside the linear forecast that needs no search (ridge autoregression of all
channels, squared errors, smoothed):

* ``patches``: nearest neighbours of patches under random convolutions, without training. Kernels as
  ROCKET draws them (Dempster, Petitjean and Webb 2020): nine centred normal weights, a random
  dilation, a bias in [-1, 1], up to nine channels. Pooled over the patch by the mean
  after a ReLU (what an untrained convolutional network gives), the share above zero (ppv), or that
  and the maximum (ROCKET). The score is the mean distance to the three nearest of at most 2,000
  training patches (PaAno: Park and Kang 2026, whose learned encoder the kernels replace).
* ``forecast``: ridge on random ReLU or Fourier features of the lags beside the lags themselves
  (Huang, Zhu and Siew 2006; Rahimi and Recht 2007).
* ``scale``: the linear forecast of means over blocks of a sixteenth of the period.
* ``together``: two of these by calibrated scores, each on its own training tail (patches on the
  last fifth against the first four): the mean of log(1 + score / 99 % quantile), or the mean or
  maximum of surprises, -log p with an exponential tail.

Every setting is read causally (exponential memory of half a usual period) and in hindsight (centred
Gaussian of .3 period; patches at the middle of their window); patches also as the plain mean over
all windows that cover a row, which looks a patch ahead.

    ADLIB_DATA=... python benchmarks/series_peers.py [--grid] [--part U|M|MGAB] [SETTING ...]

fits on the first ``train`` rows, scores the whole series, and prints VUS-PR, and the difference to
the linear forecast with an interval clustered by recording (a univariate series and the
multivariate one it was taken from count once).

What the grid gave: 25 univariate (U) and 17 multivariate series (M) from 34 recordings, 29 of them
from two spacecraft; the difference is over recordings, in brackets its 95 % interval; MGAB (5
series of a Mackey-Glass equation) apart, causal and in hindsight; processor seconds per 100,000
rows::

    setting                     causal: U, M, difference   hindsight                   MGAB    cost
    linear                      .623 .567 +.00 [+.00, +.00] .835 .672 +.00 [+.00, +.00] .01 .01 0.2
    patches                     .171 .250 -.39 [-.48, -.30] .536 .380 -.29 [-.41, -.18] .01 .11 6.1
    patches ppv                 .190 .200 -.41 [-.49, -.32] .631 .358 -.25 [-.36, -.14]      5.6
    patches rocket              .188 .272 -.37 [-.45, -.29] .625 .429 -.21 [-.32, -.11]      7.2
    patches shape               .132 .241 -.42 [-.50, -.33] .379 .310 -.42 [-.53, -.29]      4.6
    patches raw                 .338 .419 -.24 [-.34, -.13] .757 .684 -.05 [-.15, +.06] .02 .17 5.4
    patches raw ppv             .246 .296 -.34 [-.42, -.25] .724 .502 -.13 [-.21, -.05]      5.4
    patches raw shape           .262 .370 -.30 [-.40, -.19] .582 .599 -.18 [-.31, -.05]      4.6
    patches 32                  .200 .278 -.37 [-.46, -.27] .490 .346 -.33 [-.44, -.22]      4.9
    patches 128                 .132 .184 -.44 [-.52, -.36] .501 .468 -.29 [-.42, -.16]      7.5
    patches period              .139 .205 -.43 [-.51, -.34] .544 .417 -.27 [-.39, -.15]      7.3
    patches level               .204 .332 -.35 [-.44, -.27] .535 .573 -.23 [-.35, -.11]      5.9
    patches cosine              .171 .244 -.39 [-.48, -.30] .542 .385 -.29 [-.41, -.16]      5.6
    patches channels            .173 .302 -.37 [-.44, -.28] .537 .346 -.30 [-.40, -.19]     27.2
    patches one                 .171 .260 -.39 [-.47, -.29] .539 .410 -.28 [-.40, -.15]      5.5
    relu 256                    .538 .572 -.04 [-.09, -.01] .813 .664 -.02 [-.05, +.01] .10 .44 0.8
    relu 1024                   .476 .550 -.10 [-.16, -.04] .746 .678 -.06 [-.12, -.02] .10 .44 5.0
    relu 1024 ridge .001        .408 .628 -.11 [-.19, -.02] .666 .750 -.08 [-.16, +.01] .10 .44 3.4
    fourier 256                 .489 .563 -.08 [-.14, -.03] .713 .665 -.07 [-.14, -.02]      1.0
    fourier 1024                .433 .558 -.12 [-.20, -.06] .653 .662 -.11 [-.19, -.05] .10 .45 5.0
    fourier 1024 ridge .001     .398 .587 -.13 [-.22, -.03] .603 .703 -.13 [-.23, -.02] .09 .44 4.9
    linear ridge .001           .621 .567 -.00 [-.00, +.00] .834 .671 -.00 [-.00, -.00] .01 .01 0.1
    blocks                      .451 .543 -.12 [-.18, -.07] .690 .671 -.08 [-.16, -.03]      0.1
    linear + blocks             .555 .577 -.04 [-.07, -.02] .819 .705 -.00 [-.03, +.02]      0.3
    linear + patches            .549 .501 -.06 [-.12, +.01] .847 .598 -.01 [-.08, +.07]      6.3
    linear + patches, surprise  .376 .486 -.17 [-.26, -.09] .761 .599 -.06 [-.16, +.03]      6.3
    linear + patches, largest   .409 .505 -.15 [-.23, -.07] .711 .569 -.11 [-.21, -.01]      6.3
    linear + patches level      .488 .469 -.11 [-.18, -.05] .824 .618 -.03 [-.11, +.04]      6.1
    linear + patches rocket     .529 .499 -.07 [-.14, -.01] .851 .634 +.01 [-.04, +.08]      7.3
    linear + relu 1024          .542 .565 -.05 [-.10, -.01] .799 .681 -.02 [-.06, +.00]      5.2

* **Nothing pays beside the linear forecast on U and M, causally or in hindsight**, and chosen
  without the data set that is judged: causally the linear forecast itself each time, in hindsight
  -.01 [-.06, +.05].
* Patches that are not z-normalised come level in hindsight (plain mean over covering windows: U
  .797, M .686, -.02 [-.12, +.08]), above every published method and without any training, but at a
  thirtieth of the speed, and far behind causally: a patch stays odd until it has passed.
  Z-normalised, as the published leader has it, they lose .29: level and amplitude are what tells.
* Beyond the grid, after it: the linear forecast with raw patches by calibrated scores, causally
  -.09 [-.16, -.02], in hindsight +.03 [-.03, +.10] (U .832, M .730). Ranks correlate by .62; the
  better of the two on each series, which nobody knows, would have U .845, M .802.
* **Random features are what MGAB needs**: from .01 to .10 causally (+.10 [+.08, +.11]) and to .44
  in hindsight (+.43 [+.40, +.46]), where the best published method has .42. There they reduce the
  squared error of held-out *training* rows to a quarter, elsewhere hardly ever. Hence
  `adlib.detectors.RandomFeatureForecast`: relu 256 where it halves that error, a rule made after
  the grid. With its 64 lags, as in the grid, and five seeds it takes the units on MGAB (they leave
  .29 to .31), on one other series always (.37 to .42) and on one for two seeds of five (.42, .44);
  the rest is above .5. Beside `LinearForecast` (16 lags): MGAB .004 to .084 causally (+.080
  [+.073, +.087]) and .006 to .341 in hindsight (+.335 [+.325, +.348]); U and M -.004
  [-.015, +.005] and -.002 [-.012, +.006], by the lags and not by the units; over all 39 recordings
  +.006 [-.006, +.019] and +.041 [+.010, +.081]. With 16 lags: MGAB .057 and .187, U and M -.000,
  all +.007 [+.001, +.013] and +.023 [+.005, +.045]. A gain on one equation, next to no price
  elsewhere.
* Peers, ``--peers``, ``--paano``: fracast, a forecaster of 85,001 weights that ship in its package,
  on the 17 univariate series of at most 10,000 rows: .625 causally, -.05 [-.17, +.04], .836 in
  hindsight, -.07 [-.19, +.01], at 155 processor seconds per 100,000 rows (24 rows a forecast).
  PaAno on the 5 of at most 5,000 rows: its own score, which looks 63 rows ahead, .691, beside the
  linear forecast in hindsight -.23 [-.44, -.04]; its patches trailing and smoothed .515, -.21
  [-.33, -.10], at their middle with the Gaussian .823, -.10 [-.18, -.02]; 1,400 seconds, most of
  them training. Longer and multivariate series were not run: too expensive without a GPU.
"""

import argparse
import os
import tempfile
import time
from functools import cached_property
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import peers
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d, uniform_filter1d
from scipy.signal import argrelextrema, lfilter

from adlib.metrics import vus_pr

REFERENCES, KERNELS, TAPS, NEAREST = 2_000, 256, 9, 3
FLAT = 0.01  # least standard deviation of a patch, in those of the training rows

# kind, then what differs from: patch of 64 rows, z-normalised, ReLU mean, Euclidean, 3 neighbours
GRID: dict[str, tuple[str, dict]] = {
    "linear": ("forecast", {}),
    "patches": ("patches", {}),
    "patches ppv": ("patches", {"pool": "ppv"}),
    "patches rocket": ("patches", {"pool": "rocket"}),
    "patches shape": ("patches", {"pool": "none"}),
    "patches raw": ("patches", {"normalise": False}),
    "patches raw ppv": ("patches", {"normalise": False, "pool": "ppv"}),
    "patches raw shape": ("patches", {"normalise": False, "pool": "none"}),
    "patches 32": ("patches", {"length": 32}),
    "patches 128": ("patches", {"length": 128}),
    "patches period": ("patches", {"length": None}),
    "patches level": ("patches", {"level": True}),
    "patches cosine": ("patches", {"cosine": True}),
    "patches channels": ("patches", {"apart": True}),
    "patches one": ("patches", {"nearest": 1}),
    "relu 256": ("forecast", {"features": 256}),
    "relu 1024": ("forecast", {"features": 1024}),
    "relu 1024 ridge .001": ("forecast", {"features": 1024, "ridge": 1e-3}),
    "fourier 256": ("forecast", {"features": 256, "fourier": True}),
    "fourier 1024": ("forecast", {"features": 1024, "fourier": True}),
    "fourier 1024 ridge .001": ("forecast", {"features": 1024, "fourier": True, "ridge": 1e-3}),
    "linear ridge .001": ("forecast", {"ridge": 1e-3}),
    "blocks": ("forecast", {"blocks": 16}),
    "linear + blocks": ("together", {"of": ("linear", "blocks")}),
    "linear + patches": ("together", {"of": ("linear", "patches")}),
    "linear + patches, surprise": ("together", {"of": ("linear", "patches"), "how": "mean"}),
    "linear + patches, largest": ("together", {"of": ("linear", "patches"), "how": "max"}),
    "linear + patches level": ("together", {"of": ("linear", "patches level")}),
    "linear + patches rocket": ("together", {"of": ("linear", "patches rocket")}),
    "linear + relu 1024": ("together", {"of": ("linear", "relu 1024")}),
}
CLOSEST = ["patches raw", "relu 256", "linear + blocks", "linear + patches rocket"]
REPORT = Path(__file__).resolve().parents[1] / "reports" / "benchmarks" / "series_peers.csv"
READINGS = ("causal", "hindsight", "covering")


# The grid ran with this rule and these filters; `adlib.periods` and `adlib.smoothing` came later
# and differ a little: which period it is hardly matters.
def usual_period(X, shortest=6, longest=300, default=125, least=50):
    """Lag of the highest peak of the autocorrelation of training rows, median over channels."""
    found = []
    for x in X.T:
        x = x[:20_000] - x[:20_000].mean()
        if x.any():
            s = np.fft.rfft(x, 2 ** int(np.ceil(np.log2(2 * len(x) + 1))))
            a = np.fft.irfft(s * s.conj())[:min(longest + 2, len(x) // 2)]
            peaks = argrelextrema(a[3:], np.greater)[0] + 3
            if len(peaks) and peaks[np.argmax(a[peaks])] >= shortest:
                found.append(peaks[np.argmax(a[peaks])])
    return max(int(np.median(found)) if found else default, least)


def smoothed(E, period, reading):
    """Exponential memory of half a period, or a centred Gaussian of .3 period."""
    if reading != "causal":
        return gaussian_filter1d(E, 0.3 * period, axis=0, mode="nearest")
    a = 2 / period
    return lfilter([a], [1, a - 1], E, axis=0, zi=(1 - a) * E[:1])[0]


class Forecast:
    """Ridge on the lags of all channels, and on random features of them."""

    def __init__(self, *, features=0, fourier=False, ridge=0.1, blocks=0):
        self.features, self.fourier, self.ridge, self.blocks = features, fourier, ridge, blocks

    def fit(self, X):
        n, d = X.shape
        self.period = usual_period(X)
        self.every = max(2, self.period // self.blocks) if self.blocks else 1
        self.mean, scale = X.mean(0), X.std(0)
        self.scale = np.where(scale > 0, scale, 1)
        q = int(np.clip(self.blocks * 2 or self.period, 5, 64))
        q = min(q, 256 // d) if d > 1 else q
        self.order = max(2, min(q, n // 4 // self.every))
        rng = np.random.default_rng(0)
        self.directions = (rng.normal(size=(self.order * d, self.features))
                           / np.sqrt(self.order * d))
        self.offsets = rng.uniform(*((0, 2 * np.pi) if self.fourier else (-1, 1)), self.features)
        F, Z = self.past(X)
        F, Z = F[self.order * self.every:], Z[self.order * self.every:]
        gram = F.T @ F
        gram[np.diag_indices(len(gram))] += self.ridge
        self.weights = np.linalg.solve(gram, F.T @ Z)
        self.noise = np.maximum((Z - F @ self.weights).std(0), 1e-3)
        return self

    def past(self, X):
        Z, m = np.clip((X - self.mean) / self.scale, -1e6, 1e6), self.every
        start = self.order * m + m - 1
        padded = np.vstack([np.repeat(Z[:1], start, 0), Z])
        if m > 1:  # means over the m rows up to each row
            padded = sliding_window_view(padded, m, axis=0).mean(-1)
            Z = padded[-len(Z):]
        lags = np.stack([padded[k * m:k * m + len(Z)] for k in range(self.order)], axis=1)
        F = lags.reshape(len(Z), -1)
        parts = [F, np.ones((len(Z), 1))]
        if self.features:
            R = F @ self.directions + self.offsets
            parts.append(np.cos(R) if self.fourier else np.maximum(R, 0))
        return np.hstack(parts), Z

    def errors(self, X):
        found = []
        for s in range(0, len(X), 20_000):  # slices bring their past along
            first = max(0, s - (self.order + 1) * self.every)
            F, Z = self.past(X[first:s + 20_000])
            found.append((((Z - F @ self.weights) / self.noise) ** 2)[s - first:])
        return np.vstack(found)


@numba.njit(cache=True, fastmath={"reassoc", "nsz", "contract"})
def pooled(Z, scales, length, weights, channels, dilations, biases, how):
    """Pool each kernel's convolution over all windows of Z (d, rows): ReLU mean, ppv, or with max.

    Weights have mean 0: a window's own mean drops out, its scales (windows, d) divide the sum.
    """
    n, K, taps = len(scales), len(biases), weights.shape[2]
    out = np.empty((n, 2 * K if how == 2 else K))
    lines = np.empty((channels.shape[1], Z.shape[1]))
    line = np.empty(length)
    for k in range(K):
        m = length - (taps - 1) * dilations[k]
        size = 0
        while size < channels.shape[1] and channels[k, size] >= 0:
            z, own = Z[channels[k, size]], lines[size]
            own[:] = 0
            for t in range(taps):
                w, at = weights[k, size, t], t * dilations[k]
                for p in range(len(z) - at):
                    own[p] += w * z[p + at]
            size += 1
        for i in range(n):
            line[:m] = biases[k]
            for j in range(size):
                own, scale = lines[j], 1 / scales[i, channels[k, j]]
                for p in range(m):
                    line[p] += scale * own[i + p]
            total, above, largest = 0.0, 0, -np.inf
            for p in range(m):
                total += max(line[p], 0.0)
                above += line[p] > 0
                largest = max(largest, line[p])
            out[i, k] = total / m if how == 0 else above / m
            if how == 2:
                out[i, K + k] = largest
    return out


class Patches:
    """Distance to the nearest training patches under random convolutions."""

    def __init__(self, *, length=64, normalise=True, pool="relu", level=False, cosine=False,
                 apart=False, nearest=NEAREST):
        self.length, self.normalise, self.pool, self.level = length, normalise, pool, level
        self.cosine, self.apart, self.nearest = cosine, apart, nearest

    def fit(self, X, period):
        self.mean, scale = X.mean(0), X.std(0)
        self.scale = np.where(scale > 0, scale, 1)
        self.L = int(np.clip(self.length or period, 16, min(256, len(X) // 4)))
        d, rng = X.shape[1], np.random.default_rng(0)
        K = max(KERNELS // d, 16) if self.apart else KERNELS
        self.taps = min(TAPS, self.L // 2)
        most = np.log2((self.L - 1) / (self.taps - 1))
        self.dilations = (2 ** rng.uniform(0, most, K)).astype(np.int64)
        self.biases = rng.uniform(-1, 1, K)
        sizes = np.ones(K, int) if self.apart else (2 ** rng.uniform(0, np.log2(min(d, 9) + 1), K)
                                                    ).astype(int).clip(1, min(d, 9))
        self.channels = np.full((K, sizes.max()), -1)
        self.weights = np.zeros((K, sizes.max(), self.taps))
        for k, size in enumerate(sizes):
            self.channels[k, :size] = 0 if self.apart else rng.choice(d, size, replace=False)
            w = rng.normal(size=(size, self.taps))
            w -= w.mean(1, keepdims=True)
            self.weights[k, :size] = w / np.linalg.norm(w)
        rows = np.unique(np.linspace(self.L - 1, len(X) - 1, REFERENCES).astype(int))
        self.references = [np.vstack(parts)[rows]
                           for parts in zip(*self.features(X), strict=True)]
        return self

    def features(self, X):
        """Yield, per batch of windows that end at each row, one array per nearest search."""
        Z = np.clip((X - self.mean) / self.scale, -1e6, 1e6)
        Z = np.vstack([np.repeat(Z[:1], self.L - 1, 0), Z]).T
        windows = sliding_window_view(Z, self.L, axis=1).transpose(1, 0, 2)  # (rows, d, L)
        step = max(256, 2_000_000 // (self.L * X.shape[1]))
        for s in range(0, len(X), step):
            P = windows[s:s + step]
            level, spread = P.mean(2), np.maximum(P.std(2), FLAT)
            scales = spread if self.normalise else np.ones_like(spread)
            if self.pool == "none":
                found = [((P - level[:, :, None] * self.normalise) / scales[:, :, None]
                          ).reshape(len(P), -1)]
            else:
                stretch = np.ascontiguousarray(Z[:, s:s + step + self.L - 1])
                how = ("relu", "ppv", "rocket").index(self.pool)
                of = [[c] for c in range(len(Z))] if self.apart else [slice(None)]
                found = [pooled(stretch[c], np.ascontiguousarray(scales[:, c]), self.L,
                                self.weights, self.channels, self.dilations, self.biases, how)
                         for c in of]
            if self.level:
                found[0] = np.hstack([found[0], level, np.log(spread)])
            if self.cosine:
                found = [f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-9)
                         for f in found]
            yield [f.astype(np.float32) for f in found]

    def distances(self, X):
        """Mean distance to the nearest references, (n, number of searches)."""
        squares = [(R.astype(float) ** 2).sum(1).astype(np.float32) for R in self.references]
        out, k = [], min(self.nearest, len(self.references[0]))
        for batch in self.features(X):
            near = []
            for F, R, square in zip(batch, self.references, squares, strict=True):
                D = square - 2 * F @ R.T
                near.append(np.partition(D, k - 1, axis=1)[:, :k] + (F**2).sum(1)[:, None])
            out.append(np.sqrt(np.maximum(np.stack(near), 0)).mean(2).T)
        return np.vstack(out).astype(float)


class Series:
    """One series, and everything that more than one setting needs of it."""

    def __init__(self, X, train):
        self.X, self.train, self.errors, self.seconds = X, train, {}, {}

    @cached_property
    def period(self):
        return usual_period(self.X[:self.train])

    def raw(self, name):
        """Unsmoothed scores per channel (n, parts), those of held-out rows, rows to the middle."""
        if name not in self.errors:
            start, (kind, given) = time.process_time(), GRID[name]
            history = self.X[:self.train]
            if kind == "forecast":
                model = Forecast(**given).fit(history)
                E, every = model.errors(self.X), model.every
                self.errors[name] = E, E[:self.train], model.order * every, (every - 1) // 2
            else:
                model = Patches(**given).fit(history, self.period)
                scores, cut = model.distances(self.X), self.train * 4 // 5
                model.fit(history[:cut], self.period)
                held = model.distances(history[max(0, cut - model.L):])[min(cut, model.L):]
                self.errors[name] = scores, held, 0, (model.L - 1) // 2
            self.seconds[name] = time.process_time() - start
        return self.errors[name]

    def one(self, name, reading):
        """Calibrated scores and those of held-out rows: mean over parts of log(1 + S / q99)."""
        E, held, skip, ahead = self.raw(name)

        def read(S):
            if reading == "covering":
                length = 2 * ahead + 1
                S = np.vstack([S[ahead:], np.repeat(S[-1:], ahead, 0)])
                return uniform_filter1d(S, length, axis=0, mode="nearest")
            if reading == "hindsight" and ahead:
                S = np.vstack([S[ahead:], np.repeat(S[-1:], ahead, 0)])
            return smoothed(S, self.period, reading)

        usual = read(held)[skip:]
        typical = np.maximum(np.quantile(usual, 0.99, axis=0), 1e-2)
        return np.log1p(read(E) / typical).mean(1), np.log1p(usual / typical).mean(1)

    def score(self, name, reading):
        kind, given = GRID[name]
        if kind != "together":
            return self.one(name, reading)[0]
        parts = [self.one(part, reading) for part in given["of"]]
        if "how" not in given:
            return np.mean([score for score, _ in parts], axis=0)
        return getattr(np, given["how"])([surprise(*part) for part in parts], axis=0)


def surprise(score, held):
    """-log p among held-out scores, with an exponential tail above their 90 % quantile."""
    cut = np.quantile(held, 0.9)
    above = held[held > cut]
    scale = max((above - cut).mean() if len(above) else 0, 1e-9)
    share = 1 - np.searchsorted(np.sort(held), score, side="left") / (len(held) + 1)
    return np.where(score > cut, np.log(10) + (score - cut) / scale, -np.log(share))


# PaAno's own encoder, training, memory and scores. In the published code a masked similarity of
# -inf becomes the furthest negative, at distance inf, so that the triplet loss is 0 in every step;
# its second loss has weight 0 from step 20 on, and the state of the first least loss, 0, is kept:
# that of step 20. The loader ends the training there: the same encoder in a tenth of the time.
PAANO = """
import json, sys, time
import numpy as np, torch
sys.path.insert(0, sys.argv[3])
from model import PatchEncoder
from train import train_model
from utils.data_preprocess import PatchCreator, preprocess_to_patches
from utils.evaluation import calculate_anomaly_scores, distribute_patch_scores_to_points
from utils.utils import create_memory_bank

class Enough(Exception):
    pass

class Loader:
    def __init__(self, loader):
        self.loader, self.steps = loader, 0
    def __iter__(self):
        for batch in self.loader:
            if self.steps == 20:
                raise Enough
            self.steps += 1
            yield batch

torch.set_num_threads(1)
series = np.load(sys.argv[1])
X, train = series["X"].astype(np.float32), int(series["train"])
np.random.seed(2027)
torch.manual_seed(2027)
began = time.process_time()
L = 64 if X.shape[1] == 1 else 96
create = PatchCreator(L=L, s=1, random_seed=2027).create_dataloaders
loader, test, _ = create(X[:train], X, np.zeros(len(X)), batch_size=512)
model = PatchEncoder(in_channels=X.shape[1], use_revin=True)
try:
    train_model(model, Loader(loader), preprocess_to_patches(X[:train], L, 1), "cpu",
                num_iter=200, pretext_step=L, lr=1e-4)
except Enough:
    pass
bank, _ = create_memory_bank(model, loader, "cpu", num_cores=0.1)
patches = calculate_anomaly_scores(model, test, bank, device="cpu", top_k=3)
seconds = time.process_time() - began
np.savez(sys.argv[2], covering=distribute_patch_scores_to_points(patches, L, len(X)), middle=L // 2,
         trailing=np.concatenate([np.full(L - 1, patches[0]), patches]))
print()
print(json.dumps(seconds))
"""

# A small pretrained forecaster with its weights in the package, as it is shipped: 24 rows at a time
# from the 2,048 before them (at least 64); squared errors of the median over the training noise
FRACAST = """
import json, sys, time
import numpy as np, torch
from fracast import FracastModel

torch.set_num_threads(1)
series, step = np.load(sys.argv[1]), 24
model = FracastModel.from_pretrained(weights="fp32")
began = time.process_time()
X, train = series["X"], int(series["train"])
x = (X[:, 0] - X[:train].mean()) / max(X[:train].std(), 1e-9)
errors = np.zeros(len(x))
for at in range(64, len(x), step):
    forecast = model.forecast(x[max(0, at - 2048):at][None], horizon=step)
    middle = np.asarray(forecast).reshape(step, -1)[:, 4]
    rows = slice(at, min(at + step, len(x)))
    errors[rows] = (x[rows] - middle[:len(x[rows])]) ** 2
seconds = time.process_time() - began
np.savez(sys.argv[2], errors=errors / max(errors[64:train].mean(), 1e-6))
print(json.dumps(seconds))
"""
TORCH = ["torch==2.13.0"]  # takes a CPU build
PAANO_NEEDS = ["numpy", "pandas", "scikit-learn", "scipy", "statsmodels", "tqdm", "matplotlib"]
LONGEST = {"fracast": 10_000, "paano": 5_000}  # rows; longer series take them many minutes


def of_peers(table, folder, out, clone):
    """Lines of the peers on short series, added to ``out``: as they are, and smoothed as ours."""
    asked = {"fracast": (FRACAST, (TORCH, ["fracast"]))}
    if clone:
        asked["paano"] = (PAANO, (TORCH, PAANO_NEEDS))
    found = pd.read_csv(out)
    for peer, (code, installs) in asked.items():
        python, done = peers.environment(peer, *installs), found.file[found.setting == peer]
        short = table.rows <= LONGEST[peer]
        for r in table[short & ~table.file.isin(done)].itertuples():
            frame = pd.read_csv(folder / f"TSB-AD-{r.part}" / r.file)
            y, X = frame.pop("Label").to_numpy(int), frame.to_numpy(float)
            with tempfile.TemporaryDirectory() as place:
                data, scores = Path(place) / "series.npz", Path(place) / "scores.npz"
                np.savez(data, X=X, train=r.train)
                seconds = peers.run(python, code, str(data), str(scores), str(clone), timeout=3_600)
                readings = read_peer(dict(np.load(scores)), usual_period(X[:r.train]))
            found = pd.concat([found, pd.DataFrame([
                line(r, y, peer, reading, score, seconds) for reading, score in readings.items()])])
            found.to_csv(out, index=False)
            print(peer, r.file, f"{1e5 * seconds / len(y):.0f} s / 100,000 rows", flush=True)
    return found


def read_peer(scores, period):
    """What a peer gave, in our readings: its own mean over windows stays as it is."""
    readings = {"covering": scores["covering"]} if "covering" in scores else {}
    raw = scores.get("trailing", scores.get("errors"))
    middle = int(scores.get("middle", 0))
    moved = np.concatenate([raw[middle:], np.repeat(raw[-1:], middle)])
    return {"causal": smoothed(raw[:, None], period, "causal")[:, 0],
            "hindsight": smoothed(moved[:, None], period, "hindsight")[:, 0], **readings}


def line(r, y, setting, reading, score, seconds):
    return {"part": "MGAB" if r.dataset == "MGAB" else r.part, "file": r.file,
            "dataset": r.dataset, "setting": setting, "reading": reading,
            "source": f"{len(y)} {np.flatnonzero(y)[:3]}", "rows": len(y),
            "vus_pr": vus_pr(y, score, window=int(r.vus_window)), "seconds": seconds}


def measured(table, folder, settings, out):
    """One line per series, setting and reading; series that stand in ``out`` are not repeated."""
    done = [pd.read_csv(out)] if out.exists() else []
    for r in table[~table.file.isin([f for d in done for f in d.file])].itertuples():
        rows = []
        frame = pd.read_csv(folder / f"TSB-AD-{r.part}" / r.file)
        y = frame.pop("Label").to_numpy(int)
        series = Series(frame.to_numpy(float), r.train)
        for name in settings:
            for reading in READINGS:
                if reading == "covering" and GRID[name][0] != "patches":
                    continue
                began = time.process_time()
                score = series.score(name, reading)
                taken = time.process_time() - began
                of = GRID[name][1].get("of", (name,))
                if len(of) > 1 or reading == "causal":
                    taken = sum(series.seconds[part] for part in of)
                rows.append(line(r, y, name, reading, score, taken))
        done.append(pd.DataFrame(rows))
        pd.concat(done).to_csv(out, index=False)
        print(r.file, flush=True)
    return pd.concat(done)


def difference(f, base, rng):
    """Mean difference over recordings, and its 95 % interval."""
    d = (f.set_index("file").vus_pr - base.set_index("file").vus_pr)
    d = d.groupby(f.set_index("file").source).mean().to_numpy()
    low, high = np.quantile(rng.choice(d, (4_000, len(d))).mean(axis=1), (0.025, 0.975))
    return d.mean(), low, high


def report(found):
    """Print each part and reading beside the linear forecast."""
    rng = np.random.default_rng(0)
    cost = found[found.reading == "causal"].groupby(["part", "setting"])[["seconds", "rows"]].sum()
    both = found[found.part != "MGAB"].assign(part="U and M")
    for (part, reading), f in pd.concat([found, both]).groupby(["part", "reading"], sort=False):
        base = f[f.setting == "linear"]
        if reading == "covering":  # looks ahead: beside the forecast in hindsight
            base = found[(found.setting == "linear") & (found.reading == "hindsight")]
            base = base[base.file.isin(f.file)]
        print(f"\n{part}, {reading}: {f.file.nunique()} series, {f.source.nunique()} recordings; "
              f"VUS-PR, minus linear [95 %], s / 100,000 rows, data sets")
        for name, g in f.groupby("setting", sort=False):
            middle, low, high = difference(g, base, rng)
            by_set = " ".join(f"{k} {v:.2f}" for k, v in g.groupby("dataset").vus_pr.mean().items())
            seconds = ""
            if (part, name) in cost.index:
                seconds = "{:6.2f}".format(1e5 * cost.loc[part, name].seconds
                                           / cost.loc[part, name].rows)
            print(f"  {name:28s} {g.vus_pr.mean():.3f}  {middle:+.3f} [{low:+.3f}, {high:+.3f}]"
                  f" {seconds:>6s}  {by_set}"
                  + (f"  ({len(g)} series)" if len(g) < len(base) else ""))
    if set(found.part) == {"MGAB"}:
        return
    print("\nchosen without one data set, judged on it (mean over recordings, minus linear)")
    for reading in READINGS[:2]:
        f = found[(found.part != "MGAB") & (found.reading == reading)]
        per = f.groupby(["dataset", "source", "setting"]).vus_pr.mean().unstack()
        gain, parts = per.sub(per["linear"], axis=0), []
        for left in gain.index.unique("dataset"):
            best = gain.drop(left, level="dataset").mean().idxmax()
            parts.append(gain.loc[left, best])
            print(f"  {reading:10s} {left:8s} {best:28s} {parts[-1].mean():+.3f}")
        d = pd.concat(parts).to_numpy()
        low, high = np.quantile(rng.choice(d, (4_000, len(d))).mean(axis=1), (0.025, 0.975))
        print(f"  {reading:10s} all      {d.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


def main():
    """Measure, print, and write every value to reports/benchmarks/series_peers.csv."""
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", nargs="*", metavar="SETTING", help="names in GRID")
    parser.add_argument("--grid", action="store_true", help="all of them: 15 minutes of processor")
    parser.add_argument("--part", action="append", choices=("U", "M", "MGAB"))
    parser.add_argument("--peers", action="store_true", help="fracast on short univariate series")
    parser.add_argument("--paano", type=Path, metavar="CLONE", help="a clone of jinnnju/PaAno")
    parser.add_argument("--out", type=Path, default=REPORT)
    parser.add_argument("--resume", action="store_true", help="keep series that stand in --out")
    given = parser.parse_args()
    names = given.settings or CLOSEST
    if unknown := set(names) - set(GRID):
        parser.error(f"no such setting: {', '.join(unknown)}; there are {', '.join(GRID)}")
    folder = Path(os.environ.get("ADLIB_DATA", "data")) / "tsb"
    if not folder.is_dir():
        parser.error(f"needs the folder tsb in the folder that ADLIB_DATA names: no {folder}")
    table = pd.read_csv(folder / "published_vus_pr.csv")
    part = table.part.where(table.dataset != "MGAB", "MGAB")
    table = table[part.isin(given.part or ("U", "M"))]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if not given.resume:
        given.out.unlink(missing_ok=True)
    if given.peers:
        table = table[(table.rows <= max(LONGEST.values())) & (table.part == "U")]
    found = measured(table, folder, list(GRID) if given.grid else ["linear", *names], given.out)
    if given.peers:
        found = of_peers(table, folder, given.out, given.paano)
    report(found)


if __name__ == "__main__":
    main()
