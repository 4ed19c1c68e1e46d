"""Tables of per-set metrics as peers release them, and what speaks against such a table."""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adlib.arguments import instance, listed, path

from .audit import FAILED, LUCK, RARE, SHOWN, Audit, Result, as_audit, outcome, unchecked
from .statistics import (
    LEVEL,
    MANY,
    Ranking,
    by_look_ahead,
    headlines,
    rank_detectors,
    signed_rank,
)

__all__ = ["audit_table", "read_results"]

METRICS = {"vuspr": "vus_pr", "vusroc": "vus_roc", "aucroc": "roc_auc", "auroc": "roc_auc",
           "rocauc": "roc_auc", "aucpr": "average_precision", "auprc": "average_precision",
           "prauc": "average_precision", "averageprecision": "average_precision"}
WORDS = {"roc": "roc_auc", "ap": "average_precision"}  # a word of the name alone
DETECTORS = ("detector", "method", "model", "algorithm")  # what a column of their names is called
SHARES = ("outlierperc", "anomalyratio", "contamination", "anomalypercent", "outlierratio")
FACTS = (*SHARES, "samples", "nsamples", "dimensions", "dim", "features", "nfeatures", "outliers",
         "anomalies", "anomaly", "tslen", "anomalylen", "numanomaly", "avganomalylen", "seed",
         "pointanomaly", "seqanomaly", "rows", "channels", "train", "vuswindow", "window", "length",
         "time", "runtime")  # of a set, not a detector's figure
SEVERITY = {"chance": "error", "baselines": "error", "leader": "warning", "sources": "warning",
            "missing cells": "warning", "same figures": "warning", "mixed metrics": "warning",
            "order": "note", "number of sets": "note"}


def read_results(source: Any, *, metric: str | None = None,
                 detectors: Iterable[str] | None = None, baselines: Iterable[str] = (),
                 groups: str | None = None) -> pd.DataFrame:
    """Read a released table of figures per data set into the form of a table of `compare`.

    `rank_detectors`, `verdict`, `summarise` and `audit_table` then apply: who leads, paired over
    the sets, without fitting anything.

    Parameters
    ----------
    source : path, DataFrame, or mapping of metric to these
        A CSV file as TSB-AD, PyOD and ADBench release them: a row per data set, a column per
        detector, columns of facts of the set beside them. Also a row per detector and a column per
        set, if the first column is named detector, method, model or algorithm; or a row per
        detector and set and a column per metric.
    metric : str, optional
        What the figures are: "vus_pr", "average_precision", "roc_auc" or another name. Default: as
        the file is named (VUS-PR, AUCROC, roc.csv).
    detectors : iterable of str, optional
        Columns that hold figures. Default: all columns of numbers that are not known as facts.
    baselines : iterable of str
        Detectors that are baselines.
    groups : str, optional
        Column that names what several sets come from. Default: another column of names that
        repeat, else the name of the set up to its number.

    Returns
    -------
    pandas.DataFrame
        ``detector, role, dataset, seed, metric, value, random, status, source``. Repeated sets and
        rows named by tuples that end in a number, ADBench's, are seeds. ``random`` is known of
        ROC-AUC, and of average precision where the table has the share of anomalies. An empty
        cell has status "missing".

    Raises
    ------
    ValueError
        If the metric is neither given nor in the name, or a figure lies outside [0, 1].

    Examples
    --------
    >>> frame = pd.DataFrame({"Data": ["cardio", "glass"], "#Samples": [1831, 214],
    ...                       "IForest": [0.92, 0.70], "KNN": [0.74, 0.83]})
    >>> read_results(frame, metric="roc_auc")[["dataset", "detector", "value", "random"]].values[0]
    array(['cardio', 'IForest', 0.92, 0.5], dtype=object)
    """
    instance(metric, "metric", (str, type(None)))
    instance(groups, "groups", (str, type(None)))
    if isinstance(source, Mapping):
        if not source:
            raise ValueError("source must hold a table at least, got {}")
        return pd.concat([read_results(part, metric=name, detectors=detectors, baselines=baselines,
                                       groups=groups) for name, part in source.items()],
                         ignore_index=True)
    frame = source if isinstance(source, pd.DataFrame) else _file(path(source, "source"))
    frame = frame.dropna(how="all").reset_index(drop="Unnamed: 0" in frame or bool(
        frame.select_dtypes(exclude="number").shape[1])).rename(columns=str)
    names, figures = _columns(frame, detectors, groups)
    kinds = [c for c in names if _plain(c).rstrip("s") in DETECTORS]
    if kinds and len(names) > 1:  # a column per metric
        return _long(frame, kinds[0], names, figures, baselines, groups)
    metric = metric or _metric_of(source)
    if kinds:
        frame = frame.set_index(kinds[0])[figures].T.rename_axis(None, axis=1)
        names, figures = ["set"], [str(c) for c in frame]
        frame = frame.rename(columns=str).rename_axis("set").reset_index()
    frame = frame.dropna(how="all", subset=figures)
    values = frame[figures].astype(np.float64)
    if (outside := ~values.isna() & ~values.ge(0) | values.gt(1)).any(axis=None):
        raise ValueError(f"figures must lie in [0, 1] (per cent: divide them), those of "
                         f"{[*outside.columns[outside.any()]][:3]} do not: leave facts out by "
                         "`detectors`")
    facts = _facts(frame, metric, names, groups)
    out = facts.join(values).melt([*facts], var_name="detector").assign(metric=metric)
    out["role"] = np.where(out.detector.isin([*baselines]), "baseline", "detector")
    out["status"] = np.where(out.value.isna(), "missing", "ok")
    return out[["detector", "role", "dataset", "seed", "metric", "value", "random", "status",
                "source"]]


def _file(place: Path) -> pd.DataFrame:
    if place.is_dir():
        raise ValueError(f"source must be a file, got the folder {place}")
    return pd.read_csv(place)


def _columns(frame: pd.DataFrame, detectors: Iterable[str] | None, groups: str | None
             ) -> tuple[list[str], list[str]]:
    """Those of names, and those of figures."""
    columns: list[str] = [*frame]
    names = [c for c in columns if not pd.api.types.is_numeric_dtype(frame[c])]
    kept = ([c for c in columns if _plain(c) not in FACTS] if detectors is None else
            [str(d) for d in listed(detectors, "detectors")])
    if missing := {*kept, *((groups,) if groups else ())} - {*columns}:
        raise ValueError(f"source has no columns {sorted(missing)}; it has {columns}")
    figures = [c for c in columns if c in kept and c not in names]
    if not names or not figures:
        raise ValueError("source must hold a column of names and columns of figures between 0 and "
                         f"1, got columns {columns}")
    return names, figures


def _facts(frame: pd.DataFrame, metric: str, names: list[str], groups: str | None
           ) -> pd.DataFrame:
    """Set, seed, chance and source of each row."""
    at = next((c for c in names if frame[c].is_unique), names[0])
    others = [c for c in names if c != at and frame[c].duplicated().any()]
    group = groups or max(others, key=lambda c: frame[c].nunique(), default=None)
    share = next((c for c in frame if _plain(c) in SHARES), None)
    facts = pd.DataFrame([_set_and_seed(name) for name in frame[at].astype(str)],
                         columns=["dataset", "seed"], index=frame.index)
    facts["seed"] = facts.seed.fillna(facts.groupby("dataset").cumcount()).astype(int)
    facts["random"] = _random(metric, None if share is None else frame[share])
    facts["source"] = frame[group].astype(str) if group else facts.dataset.map(source_of)
    return facts


def _long(frame: pd.DataFrame, kind: str, names: list[str], figures: list[str],
          baselines: Iterable[str], groups: str | None) -> pd.DataFrame:
    at = next(c for c in names if c not in (kind, groups))
    keep = [at] + ([groups] if groups else [])
    parts = {METRICS.get(_plain(c), c): frame.pivot_table(c, keep, kind, dropna=False).reset_index()
             for c in figures}
    return read_results(parts, baselines=baselines, groups=groups)


def _plain(name: Any) -> str:
    return re.sub(r"[^a-z]", "", str(name).lower())


def _metric_of(source: Any) -> str:
    stem = "" if isinstance(source, pd.DataFrame) else path(source, "source").stem.lower()
    for plain, metric in METRICS.items():
        if plain in _plain(stem):
            return metric
    for word in re.split(r"[^a-z]+", stem):
        if word in WORDS:
            return WORDS[word]
    raise ValueError("metric must be given where the name of the file does not say it: 'vus_pr', "
                     f"'average_precision', 'roc_auc' or another, got {stem!r}")


def _set_and_seed(name: str) -> tuple[str, float]:
    """ADBench names a row by a tuple of data set, share of labels and seed."""
    if re.fullmatch(r"\(.*,\s*\d+\)", name):
        *parts, seed = ast.literal_eval(name)
        return " ".join(str(p) for p in parts if p), seed
    return name, np.nan


def source_of(name: str) -> str:
    """What a set comes from: its name without its own number.

    Examples
    --------
    >>> [source_of(n) for n in ("011_NAB_id_11_Facility_tr_1007_1st_1526.csv", "valve1/7", "http")]
    ['NAB', 'valve', 'http']
    """
    inside = re.match(r"\d+_(.+?)_id_\d+", name)
    return inside[1] if inside else re.split(r"[\W_]*\d", name)[0] or name


def _random(metric: str, share: pd.Series | None) -> Any:
    if metric == "roc_auc":
        return 0.5
    if share is None or metric not in ("average_precision", "precision_at_n"):
        return np.nan
    return share / (100 if share.max() > 1 else 1)


def audit_table(table: pd.DataFrame) -> Audit:
    """Check what a table of figures per data set can say about who is best.

    Parameters
    ----------
    table : DataFrame
        From `read_results` or `compare`; scores of one look-ahead.

    Returns
    -------
    Audit
        "chance": the first is not shown to beat it; "baselines": one of them has the highest mean;
        "leader": the first is not shown to be better than every other (`verdict`); "sources": the
        differences hang on which sets come from one source, and over sources the first is no
        longer shown to be better than the second; "missing cells": a mean over the sets that each
        has compares different sets, so who lacks one is not ranked; "same figures": a column that
        never changes, or equals another; "mixed metrics"; "order": another is first by mean rank;
        "number of sets": too few for a statement about sets of this sort.

    Raises
    ------
    ValueError
        If the table is not one of `compare`, or holds scores of several look-aheads.

    Notes
    -----
    On 300 generated tables each, 20 sets from 5 sources and 4 detectors whose figures scatter by
    .05: where one is .1 ahead no check failed; .05 ahead, "leader" failed in 37 % (not enough
    sets). Where all are equal, "leader" failed in all, as it should. Where none is ahead over
    sources but the sets of a source share their difference (.15), a leader was named in 12 %
    instead of 5 over sets, and in 5 % not called in question by "sources".

    Examples
    --------
    >>> frame = pd.DataFrame({"set": [*"abcdefgh"], "A": 0.8, "B": np.linspace(0.5, 0.75, 8)})
    >>> found = audit_table(read_results(frame, metric="roc_auc", baselines=["A"]))
    >>> found.failed
    ('baselines', 'same figures')
    """
    parts = by_look_ahead(instance(table, "table", pd.DataFrame))
    if len(parts) > 1:
        raise ValueError(f"table must hold scores of one look-ahead, got {', '.join(parts)}")
    (cells,) = parts.values()
    metrics = headlines(cells)
    cells = cells[(cells.metric == cells.dataset.map(metrics))
                  & cells.role.isin(["detector", "baseline"])]
    if cells.value.notna().sum() == 0:
        raise ValueError("table must hold a headline metric of some detector")
    if "source" not in cells:
        cells = cells.assign(source=cells.dataset.astype(str).map(source_of))
    wide = cells.pivot_table("value", "dataset", "detector", dropna=False, sort=False)
    ranking = rank_detectors(cells)
    results = {"missing cells": _missing(wide), "same figures": _same(wide),
               "mixed metrics": _mixed(metrics)}
    if ranking.values.shape[1] == 0:
        results["leader"] = unchecked("no detector has a figure on every set: cut the table into "
                                      "parts in which some have")
    else:
        results |= {"chance": _chance(ranking), "baselines": _baselines(ranking),
                    "leader": _leader(ranking), "sources": _sources(ranking, cells),
                    "order": _order(ranking), "number of sets": _number(ranking)}
    return as_audit(results, SEVERITY)


def _numbers(values: pd.Series) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def _missing(wide: pd.DataFrame) -> Result:
    lacking = wide.isna().sum()[lambda n: n > 0]
    return outcome(len(lacking), int(lacking.sum()), 0, (
        f"{len(lacking)} of {wide.shape[1]} detectors lack a figure on some of the {len(wide)} sets"
        + "; they are not ranked, for means over different sets do not compare"
        * (len(lacking) > 0)),
        **_numbers(lacking))


def _same(wide: pd.DataFrame) -> Result:
    rounded = wide.round(9)
    still = [c for c in wide if wide[c].nunique() == 1 and wide[c].notna().sum() > 2]
    names = rounded.drop(columns=still).dropna(axis=1, how="all").T
    twins = names.groupby([*names], dropna=False).groups if len(wide) > 2 else {}
    equal = [[*group] for group in twins.values() if len(group) > 1]
    return outcome(still or equal, len(still) + len(equal), 0, (
        f"{len(still)} detectors have one figure on all sets (never computed?), and "
        f"{len(equal)} groups of detectors have the same figures as each other"),
        one_figure={c: float(wide[c].max()) for c in still}, equal=equal)


def _mixed(metrics: pd.Series) -> Result:
    n = metrics.nunique()
    return outcome(n > 1, n, 1, f"headline metrics of the sets: {', '.join(metrics.unique())}"
                 + "; their means mix scales, so ranks within sets decide the order" * (n > 1),
                 sets=metrics.value_counts().to_dict())


def _chance(ranking: Ranking) -> Result:
    best, p = ranking.values.columns[0], ranking.p_chance
    if p.isna().all():
        return unchecked("what scores that know nothing get on these sets is not in the table")
    return outcome(best not in ranking.beyond_chance, p[best] * len(p), LEVEL, (
        f"{best}, the first of {len(p)}, beats chance with p = {p[best]:.2g}; times the number of "
        f"detectors it has to be below {LEVEL}"), **_numbers(p))


def _baselines(ranking: Ranking) -> Result:
    values, simple = ranking.values, [*ranking.roles.index[ranking.roles == "baseline"]]
    if not simple or len(simple) == values.shape[1]:
        return unchecked("name the baselines among the detectors" if not simple else
                         "all that is ranked are baselines")
    others = values.drop(columns=simple).max(axis=1)
    ahead = values[simple].max(axis=1) >= others
    best = values.columns[0]
    return outcome(best in simple, ahead.mean(), 0.5, (
        f"{best} is first over all, {'a baseline' if best in simple else 'no baseline'}; a "
        f"baseline is as good as the best of the others on {ahead.sum()} of {len(values)} sets"),
        sets=[*ahead.index[ahead]][:SHOWN])


def _leader(ranking: Ranking) -> Result:
    against, best = ranking.against, ranking.values.columns[0]
    if not len(against) or against.p.isna().all():
        return unchecked(f"{best} has nobody to be compared with" if not len(against) else
                         "too few sets for a paired test, and no blocks of rows to pair within")
    rivals = [*against.index[~(against.p < LUCK)]]
    return outcome(rivals, against.p.max(), LUCK, (
        f"{best} has the highest mean ({ranking.values[best].mean():.3f}) and is "
        + (f"not shown to be better than {', '.join(rivals[:3])}"
           + f" and {len(rivals) - 3} more" * (len(rivals) > 3) if rivals else
           f"better than each of the other {len(against)}") + f", paired over {ranking.over}"),
        **_numbers(against.p))


def _sources(ranking: Ranking, cells: pd.DataFrame) -> Result:
    """Whether sets of one source agree more than others, and what is left over sources."""
    from scipy.stats import kruskal

    values = ranking.values
    source = cells.drop_duplicates("dataset").set_index("dataset").source[values.index]
    count = source.value_counts()
    if len(count) in (1, len(values)) or len(values) < MANY or values.shape[1] < 2:
        return unchecked(f"{len(values)} sets come from {len(count)} sources: nothing to compare "
                         "the sets of one with those of another by")
    best, second = values.columns[:2]
    difference = values[best] - values[second]
    several = [part for _, part in difference.groupby(source) if len(part) > 1]
    alike = kruskal(*several).pvalue if len(several) > 1 and difference.nunique() > 1 else 1.0
    means = difference.groupby(source).mean()
    p = min(1.0, 2 * signed_rank(means, "greater"))
    return outcome(alike < RARE and p >= LEVEL and _leader(ranking).status != FAILED, p, LEVEL, (
        f"{len(values)} sets come from {len(count)} sources ({count.index[0]}: {count.iloc[0]}), "
        f"whose differences between {best} and {second} are as unlike with p = {alike:.2g}; paired "
        f"over sources {best} is better with p = {p:.2g}"), **_numbers(means))


def _order(ranking: Ranking) -> Result:
    rank, best = ranking.average_rank, ranking.values.columns[0]
    first = str(rank.idxmin())
    return outcome(rank[first] < rank[best], rank[best], rank[first], (
        f"{best} has the highest mean and mean rank {rank[best]:.2f}; the best mean rank is "
        f"{rank[first]:.2f}, of {first}"), **_numbers(rank))


def _number(ranking: Ranking) -> Result:
    n = len(ranking.values)
    return outcome(n < MANY, n, MANY, (
        f"{n} data sets; a paired test over sets needs {MANY} at least, and a small difference "
        "many more"), sets=[*ranking.values.index][:SHOWN])
