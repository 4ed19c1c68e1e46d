"""What can be said about detectors without labels: contrast, steadiness, injected anomalies."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from adlib.arguments import instance, listed, number
from adlib.datasets import Dataset, inject
from adlib.thresholds import check_alpha

from .grid import compare
from .models import ignores_seed, named_detectors
from .protocol import CellScores, purge_gap, score_cell, without_gaps
from .statistics import HEADLINES, summarise

__all__ = ["Unlabelled", "rank_unlabelled"]

KINDS = ("spike", "level_shift", "collective", "variance", "correlation_break")
SURE = 2.0  # standard errors by which another detector has to be ahead of the first
LEFT_OUT = 0.2  # share of the training rows that a resample lacks


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """What `rank_unlabelled` found.

    Attributes
    ----------
    ranking : pandas.DataFrame
        A line per detector and baseline, best first: ``rank, detector, role``; ``injected``
        (headline metric on the injected anomalies, mean over seeds) with ``low, high`` (95 % over
        test rows) and ``random`` (a shuffled score); and for the detectors asked for ``contrast``
        (share of pairs of a test row and a held-out training row in which the test row scores
        higher; .5 where the two are alike), ``contrast_se`` (standard error of the difference to
        the first detector), ``same_over_seeds``, ``same_over_rows`` and ``same_as_others``: which
        share of the top rows is the same, in [0, 1], with another seed, with a fifth of the
        training rows left out, and in another detector. A random score gets `top`. Nan where a
        detector failed, or where one seed says nothing.
    agreement : pandas.DataFrame
        Share of the top rows that two detectors have in common, a row and a column each.
    cells : pandas.DataFrame
        The table of `compare` on the injected data.
    choice : str
        The first detector asked for, or the one whose ``contrast`` is higher by the most beyond
        two standard errors; empty where all of them failed.
    metric : str
        What ``injected`` is: "vus_pr" for a series, "average_precision" for a table.
    top : float
        Share of the test rows that count as a detector's top rows.
    refused : dict of str to str
        Kinds that these data cannot take, with the reason.
    caveat : str
        What the ranking does not say.
    """

    ranking: pd.DataFrame
    agreement: pd.DataFrame
    cells: pd.DataFrame
    metric: str
    top: float
    refused: dict[str, str]
    caveat: str

    @property
    def choice(self) -> str:
        lines = self.ranking.set_index("detector")
        sure = (lines.contrast - SURE * lines.contrast_se).dropna()
        return str(sure.idxmax()) if len(sure) else ""

    def __str__(self) -> str:
        return f"{self.caveat}\n{self.ranking.round(2).to_string(index=False)}"


def rank_unlabelled(detectors: Any, dataset: Dataset, seeds: Iterable[int] = (0, 1, 2), *,
                    kinds: Iterable[str] = KINDS, strength: Iterable[float] = (2.0, 4.0, 8.0),
                    length: tuple[int, int] | None = None, alpha: float = 0.05,
                    top: float | None = None, missing: str = "error",
                    **options: Any) -> Unlabelled:
    """Compare detectors on data without labels.

    With every seed, events of several kinds and sizes are injected into a copy of the test rows,
    and `compare` judges who finds them. **This ranks the ability to find those injections**, which
    is what you want to know only as far as your anomalies are like them. Beside it stands how
    steady a detector's top rows are and how far detectors agree: a detector that changes its mind
    with its seed cannot be right each time, but a steady one can be wrong each time.

    The ``contrast`` needs no injected anomaly. Where the normal test rows are like the training
    rows it is 1/2 + share of anomalies * (AUC by true labels - 1/2), up to chance, and so ranks
    detectors as the labels would (Blanchard, Lee and Scott 2010; Menon et al. 2015). **Drift raises
    it as anomalies do**, with few anomalies chance decides, and where the history holds as many as
    the test it says nothing.

    What a choice is worth was measured by the labels of 89 public tables of ADBench and macrOData,
    with eleven detectors (`benchmarks/selection.py`, which draws the curves). Always `Ensemble`
    loses .056 AUC and .049 average precision against the best of each table. ``choice``, with
    `Ensemble` named first, closes 26 % [95 %: 8, 46] and 16 % [5, 28] of that gap; an `Ensemble` of
    the three detectors of highest contrast 46 % [30, 59] and 33 % [15, 49]. On the 22 tables of
    ADBench alone no gain in AUC is sure. (Three were named after the curve had been seen, along
    which two to four do alike.) The best at finding injected anomalies and the one most like the
    others are no better than always `Ensemble`; the steadiest is worse than one drawn at random.
    Where fewer than a tenth of the rows are anomalous, ``choice`` gains nothing and the highest
    contrast loses. A hundred labelled rows choose better. Series were not tried.

    Parameters
    ----------
    detectors
        As in `compare`; the first is the one that ``choice`` keeps in doubt.
    dataset : Dataset
        Its labels, if any, are ignored: rows that are anomalous unknown to us count as normal.
    seeds : iterable of int
        For the detectors, the injected events and the left-out rows.
    kinds : iterable of str
        See `adlib.datasets.inject`. A kind that the data cannot take is left out.
    strength : iterable of float
        Sizes in standard deviations of the channel; one event of each kind and size is injected.
    length : (int, int), optional
        Rows of an event; default: 10 to 30 in a series, 4 in a table without time, whose rows are
        changed alike.
    alpha : float
        False-alarm budget per row, in (0, 1).
    top : float, optional
        Share of the test rows, in (0, 1), that count as a detector's top rows; default: alpha.
    missing : {"error", "impute"}
        "impute": gaps are filled first (`Dataset.imputed`); data with gaps take no injection.
    **options
        Handed to `compare`.

    Returns
    -------
    Unlabelled

    Raises
    ------
    ValueError
        If no kind can be injected, or an argument is out of range.

    References
    ----------
    Blanchard, G., Lee, G. and Scott, C. (2010). Semi-supervised novelty detection. Journal of
    Machine Learning Research 11. (Contrast.)

    Goswami, M., Challu, C., Callot, L., Minorics, L. and Kan, A. (2023). Unsupervised model
    selection for time-series anomaly detection. ICLR. (Injection and centrality, among others.)

    Menon, A. K., van Rooyen, B., Ong, C. S. and Williamson, R. C. (2015). Learning from corrupted
    binary labels via class-probability estimation. ICML. (Contrast.)

    Examples
    --------
    >>> noise = Dataset("noise", np.random.default_rng(0).normal(size=(600, 2)))
    >>> found = rank_unlabelled(["KNN"], noise, seeds=[0], kinds=["spike"], metrics=["roc_auc"])
    Traceback (most recent call last):
    ValueError: metrics is chosen here: leave it out
    >>> found = rank_unlabelled(["KNN"], noise, seeds=[0], kinds=["spike"])
    >>> found.metric, found.ranking.set_index("detector").role["KNN"]
    ('average_precision', 'detector')
    """
    if chosen := [name for name in ("metrics", "delay") if name in options]:
        raise ValueError(f"{chosen[0]} is chosen here: leave it out")
    check_alpha(alpha)
    top = alpha if top is None else top
    number(top, "top", above=0, below=1)
    instance(dataset, "dataset", Dataset)
    kinds = [kinds] if isinstance(kinds, str) else listed(kinds, "kinds")
    strength = listed(strength, "strength")
    seeds, models = [int(seed) for seed in seeds], named_detectors(detectors)
    labels: dict[str, Any] = dict.fromkeys(("y", "kind", "strength", "channel", "oracle"))
    bare = replace(without_gaps(dataset, missing)[0], **labels)
    bare = replace(bare, series=bare.is_series)  # whatever is injected
    length = length if length is not None else ((10, 30) if bare.series else (4, 4))
    refused: dict[str, str] = {}
    drawn = {seed: _injected(bare, kinds, list(strength), length, seed, refused) for seed in seeds}
    if not all(data.y.any() for data in drawn.values()):
        raise ValueError(f"{dataset.name}: nothing could be injected: {refused}")
    cells = compare(models, drawn.__getitem__, seeds, alpha=alpha, **options)
    metric, ranking = _ranked(cells)
    steadiness, agreement = _steadiness(models, bare, seeds, top)
    ranking = ranking.join(steadiness, on="detector")
    others = agreement.mask(np.eye(len(agreement), dtype=bool)).mean()
    ranking["same_as_others"] = ranking.detector.map(others)

    used = [kind for kind in kinds if kind not in refused]
    caveat = (f"This ranks the ability to find injected anomalies ({', '.join(used)}) in the test "
              f"rows of {dataset.name}, and nothing else. How well the detectors find what really "
              "goes wrong there, no figure without labels can say. The contrast counts whatever "
              "sets the test rows apart from the history, drift as well as anomalies.")
    return Unlabelled(ranking, agreement, cells, metric, top, refused, caveat)


def _ranked(cells: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The headline metric on the injected anomalies, and who finds them best."""
    summary = summarise(cells)
    metric = next(name for name in HEADLINES if (summary.metric == name).any())
    lines = summary[(summary.metric == metric) & (summary.role != "oracle")]
    ranking = lines[["rank", "detector", "role", "mean", "low", "high", "random"]]
    return metric, ranking.rename(columns={"mean": "injected"}).reset_index(drop=True)


def _steadiness(models: dict[str, Any], bare: Dataset, seeds: list[int], top: float
                ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shares of the top rows in common: with other seeds or rows, and between detectors."""
    purge = purge_gap(models.values(), bare)
    first, steady, less = {}, {}, {}
    for label, model in models.items():
        once = ignores_seed(model)
        full = [_scores(model, bare, seed, purge) for seed in (seeds[:1] if once else seeds)]
        less[label] = [_scores(model, _without_some(bare, seed), seeds[0], purge)
                       for seed in seeds]
        tests = [cell and cell.test for cell in (*full, *less[label])]
        first[label] = tests[0]
        steady[label] = (1.0 if once else _mean_overlap(tests[:len(full)], top),
                         _mean_overlap([tests[0], *tests[len(full):]], top))
    columns = ["same_over_seeds", "same_over_rows"]
    agreement = {a: {b: _overlap(first[a], first[b], top) for b in first} for a in first}
    steadiness = pd.DataFrame.from_dict(steady, orient="index", columns=columns)
    return _contrasts(less).join(steadiness, how="right"), pd.DataFrame(agreement)


def _injected(bare: Dataset, kinds: list[str], strength: list[float], length: tuple[int, int],
              seed: int, refused: dict[str, str]) -> Dataset:
    """One event of each kind and size in the test rows; a kind refused once is not tried again."""
    rng, data = np.random.default_rng(seed), bare
    for kind in kinds:
        if kind in refused:
            continue
        try:
            data = inject(data, kind, n_events=len(strength), strength=strength, length=length,
                          random_state=rng)
        except ValueError as error:
            refused[kind] = str(error)
    return data


def _scores(model: Any, dataset: Dataset, seed: int, purge: int) -> CellScores | None:
    """Scores; None where the detector fails, which the table of `compare` explains."""
    try:
        return score_cell(("it", model), dataset, seed=seed, purge=purge)
    except Exception:  # a failed cell is a result; the others go on
        return None


def _contrasts(cells: dict[str, list[CellScores | None]]) -> pd.DataFrame:
    """How far each detector tells test rows from held-out ones, and how sure a difference is.

    The standard error is that of two AUC on the same rows (DeLong et al. 1988). Held-out rows of
    the resamples overlap: they are counted once.
    """
    places = {label: [_places(cell) for cell in of if cell is not None]
              for label, of in cells.items() if None not in of}
    found = {}
    for label, own in places.items():
        pairs = [*zip(own, next(iter(places.values())), strict=True)]
        test = np.mean([mine - first for (mine, _), (first, _) in pairs], axis=0)
        held = np.mean([(mine - first).var() / mine.size for (_, mine), (_, first) in pairs])
        found[label] = (np.mean([above.mean() for above, _ in own]),
                        np.sqrt(test.var() / test.size + held))
    return pd.DataFrame.from_dict(found, orient="index", columns=["contrast", "contrast_se"])


def _places(cell: CellScores) -> tuple[np.ndarray, np.ndarray]:
    """Share of held-out rows below each test row, and of test rows above each held-out row."""
    held, test = cell.calibrate, cell.test
    ranks = rankdata(np.r_[held, test])
    return ((ranks[held.size:] - rankdata(test)) / held.size,
            1 - (ranks[:held.size] - rankdata(held)) / test.size)


def _without_some(dataset: Dataset, seed: int) -> Dataset:
    """The same data without a stretch of the training rows.

    A stretch and not single rows: then all windows but those at one joint stay real. Where rows
    have no order, those left out are calibration rows instead: the more, the surer a contrast.
    """
    start = dataset.calibrate_start
    length = int(LEFT_OUT * start)
    at = int(np.random.default_rng(seed).integers(start - length + 1))
    ordered = dataset.is_series or dataset.session is not None
    moved = np.arange(at, at if ordered else at + length)
    rows = np.r_[:at, at + length : start, moved, start : len(dataset)]
    arrays: Any = {f.name: value[rows] for f in fields(dataset)
                   if isinstance(value := getattr(dataset, f.name), np.ndarray)}
    return replace(dataset, **arrays, calibrate_start=start - length,
                   train_end=dataset.train_end - length + len(moved))


def _overlap(a: np.ndarray | None, b: np.ndarray | None, top: float) -> float:
    """Share of the highest rows of one that are among those of the other."""
    if a is None or b is None:
        return np.nan
    k = max(1, round(top * a.size))
    highest, others = (np.argsort(-s, kind="stable")[:k] for s in (a, b))
    return len(np.intersect1d(highest, others)) / k


def _mean_overlap(scores: list[np.ndarray | None], top: float) -> float:
    pairs = [_overlap(a, b, top) for a, b in combinations(scores, 2)]
    return float(np.mean(pairs)) if pairs else np.nan
