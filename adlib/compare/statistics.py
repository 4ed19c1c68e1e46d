"""What a comparison allows to say: means with intervals, and a verdict in words."""

import numpy as np
import pandas as pd

__all__ = ["summarise", "verdict"]

HEADLINE = "average_precision"


def summarise(
    table: pd.DataFrame, *, n_bootstrap: int = 1000, random_state: int = 0
) -> pd.DataFrame:
    """Mean of each metric over seeds and data sets, with an interval, ranked.

    Parameters
    ----------
    table : DataFrame
        From `compare`.
    n_bootstrap : int
        Resamples behind the interval.
    random_state : int

    Returns
    -------
    pandas.DataFrame
        Columns ``rank`` (by mean average precision; the oracle and detectors with a failed cell
        have none and stand last), ``detector, role, metric, mean, low, high, random`` (mean over
        the same cells), ``interval_over, n_datasets, n_seeds, n_failed``. Every data set weighs
        the same. ``interval_over`` says which luck the 95 % interval holds: "datasets and seeds"
        (both resampled: what another choice of data sets of this sort would give), or, with one
        data set, "test rows" (the mean over seeds of the limits in the table: what another test
        recording would give the same fitted models; training luck is not in it).

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": "A", "role": "detector", "dataset": ["x", "x", "y", "y"],
    ...     "seed": [0, 1, 0, 1], "metric": "average_precision", "value": [0.2, 0.4, 0.8, 1.0],
    ...     "random": 0.1, "low": 0.0, "high": 1.0, "status": "ok"})
    >>> summarise(cells)[["rank", "detector", "mean", "random", "interval_over"]].values.tolist()
    [[1.0, 'A', 0.6, 0.1, 'datasets and seeds']]
    """
    rng = np.random.default_rng(random_state)
    failed = table[table.status == "failed"].groupby("detector")[["dataset", "seed"]]
    failed = {detector: len(cells.drop_duplicates()) for detector, cells in failed}
    lines = []
    key = ["detector", "role", "metric"]
    for (detector, role, metric), cells in table.groupby(key, sort=False):
        cells = cells[cells.value.notna()]
        per_set = [part.to_numpy() for _, part in cells.groupby("dataset").value]
        line = {"detector": detector, "role": role, "metric": metric, "mean": np.nan}
        if per_set:
            line["mean"] = np.mean([values.mean() for values in per_set])
            line["random"] = cells.groupby("dataset").random.mean().mean()
            if len(per_set) == 1:
                line |= {"low": cells.low.mean(), "high": cells.high.mean()}
            else:
                line |= _interval(per_set, n_bootstrap, rng)
        line["interval_over"] = "datasets and seeds" if len(per_set) > 1 else "test rows"
        line |= {"n_datasets": len(per_set), "n_seeds": cells.seed.nunique(),
                 "n_failed": failed.get(detector, 0)}
        lines.append(line)
    out = pd.DataFrame(lines)
    ranked = out[(out.metric == HEADLINE) & (out.role != "oracle") & (out.n_failed == 0)]
    rank = ranked.set_index("detector")["mean"].rank(ascending=False, method="min")
    out.insert(0, "rank", out.detector.map(rank))
    return out.sort_values("rank", kind="stable", na_position="last", ignore_index=True)


def _interval(per_set, n_bootstrap, rng):
    """Data sets resampled, and within each drawn one its seeds."""
    draws = np.empty((n_bootstrap, len(per_set)))
    chosen = rng.integers(len(per_set), size=draws.shape)
    for k, values in enumerate(per_set):
        at = chosen == k
        draws[at] = values[rng.integers(values.size, size=(at.sum(), values.size))].mean(axis=1)
    low, high = np.percentile(draws.mean(axis=1), [2.5, 97.5])
    return {"low": low, "high": high}


def verdict(summary: pd.DataFrame) -> str:
    """What the ranking allows to say, in words: a leader only where its interval stands alone.

    Intervals that overlap are a cautious criterion: two detectors can differ by more than chance
    and still overlap. It errs towards "no winner".

    Parameters
    ----------
    summary : pandas.DataFrame
        From `summarise`.

    Returns
    -------
    str
        One or two sentences. The second says how much of the best a baseline reaches, unless a
        baseline is the best.

    Examples
    --------
    >>> lines = pd.DataFrame({"detector": ["KNN", "MaxAbsZ"], "role": ["detector", "baseline"],
    ...     "metric": "average_precision", "mean": [0.8, 0.6], "low": [0.7, 0.5],
    ...     "high": [0.9, 0.75], "random": 0.1, "rank": [1, 2], "n_datasets": 1})
    >>> print(verdict(lines))
    No winner: the interval of KNN (0.70 to 0.90) overlaps that of MaxAbsZ. The best baseline,
    MaxAbsZ, reaches 75 % of the best average precision.
    """
    lines = summary[(summary.metric == HEADLINE) & summary["rank"].notna()].sort_values("rank")
    if lines.empty:
        return "Nothing can be ranked: no detector has an average precision on every data set."
    best, others = lines.iloc[0], lines.iloc[1:]
    rivals = others.detector[others.high >= best.low].tolist()
    span = f"{best.low:.2f} to {best.high:.2f}"
    # over several sets, which differ in what chance gives, the interval says nothing about it
    if best.n_datasets == 1 and (lines.low <= lines.random).all():
        said = (f"Nothing is shown to beat chance: the interval of {best.detector}, the best, "
                f"({span}) holds the {best.random:.2f} of a random score.")
    elif rivals:
        more = f" and {len(rivals) - 3} more" if len(rivals) > 3 else ""
        said = (f"No winner: the interval of {best.detector} ({span}) overlaps "
                f"{'that' if len(rivals) == 1 else 'those'} of {', '.join(rivals[:3])}{more}.")
    else:
        said = f"{best.detector} leads: its interval ({span}) lies above all others."
    baselines = lines[lines.role == "baseline"]
    if baselines.empty:
        return said
    if best.role == "baseline":
        return f"{said} {best.detector} is itself a baseline."
    simple = baselines.iloc[0]
    share = 100 * simple["mean"] / best["mean"]
    return (f"{said} The best baseline, {simple.detector}, reaches {share:.0f} % of the best "
            f"average precision.")
