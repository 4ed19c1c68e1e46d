"""What a comparison allows to say: means with intervals, paired tests, and a verdict in words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import ceil, log2

import numpy as np
import pandas as pd

from adlib.arguments import instance
from adlib.deprecation import renamed
from adlib.detectors import baselines
from adlib.metrics.blocks import difference, mean_and_half, read

__all__ = ["Ranking", "by_kind", "rank_detectors", "summarise", "triviality", "verdict"]

HEADLINES = {"vus_pr": "VUS-PR", "average_precision": "average precision"}
MIXED = "headline"
CHANCE = ("RandomScore", "AlwaysAnomalous", "AlwaysNormal")
ONE_LINERS = tuple(name for name in baselines() if name not in CHANCE)
TRIVIAL = 0.95  # share of the best, from chance on, that a one-liner has to reach
SOLVED = 0.9  # share of the way from chance to perfect from which on a set counts as solved
LEVEL = 0.05
UNIT = ["detector", "dataset", "data"]
NUMBERS = ("value", "random", "low", "high", "p_chance")
MANY = 6  # data sets from which on a signed-rank test of one pair can give a p below LEVEL


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detectors paired over data sets, see `rank_detectors`.

    Attributes
    ----------
    values : pandas.DataFrame
        Headline metric, mean over seeds: a row per data set, a column per ranked detector, best
        mean first (best average rank, where the sets have different headline metrics).
    metrics : pandas.Series
        Headline metric of each data set.
    roles : pandas.Series
        "detector" or "baseline" by detector.
    average_rank : pandas.Series
        Mean over data sets of the rank within a set, 1 = best; ties share theirs.
    wins : pandas.Series
        Data sets on which a detector is best; a tie among k counts 1 / k for each.
    p_values : pandas.DataFrame
        Two-sided paired Wilcoxon signed-rank test over data sets of every pair that holds a
        detector, corrected by Holm (1979); nan between baselines, which are not tested.
    friedman_p : float
        Friedman's test that all rank alike; nan below three detectors or two sets.
    smallest_p : float
        The smallest corrected p that so few sets could give: at 0.05 or more nothing can be
        significant.
    p_chance : pandas.Series
        One-sided p by detector that a score which knows nothing does as well; nan where the table
        does not show.
    against : pandas.DataFrame
        The first of `values` against each other detector (a baseline: against detectors only), in
        their order: ``difference, low, high, p``, two-sided; see `verdict`. nan where the table
        has nothing to pair.
    look_ahead : str
        Of all scores: "causal", "delay of 20 rows" or "hindsight".
    """

    values: pd.DataFrame
    metrics: pd.Series
    roles: pd.Series
    average_rank: pd.Series
    wins: pd.Series
    p_values: pd.DataFrame
    friedman_p: float
    smallest_p: float
    p_chance: pd.Series
    against: pd.DataFrame
    look_ahead: str = "causal"

    @property
    def sets_needed(self) -> int:
        """Data sets from which on a corrected p below 0.05 is possible."""
        return ceil(1 + log2(max(_n_pairs(self.p_values), 1) / LEVEL))

    @property
    def over(self) -> str:
        """What another draw of would change `against`: "data sets" or, below six, "test rows"."""
        return "data sets" if len(self.values) >= MANY else "test rows"

    @property
    def beyond_chance(self) -> list[str]:
        """Detectors shown to beat chance, although the best of so many was looked for."""
        return [*self.p_chance.index[self.p_chance * len(self.p_chance) < LEVEL]]

    @property
    def leader(self) -> str | None:
        """The first, where it is shown to beat chance and every other, see `verdict`."""
        if not len(self.against) or not (self.against.p < LEVEL).all():
            return None
        best = str(self.values.columns[0])
        untold = self.p_chance.isna().all()  # figures that others released
        return best if untold or best in self.beyond_chance else None


@renamed(n_bootstrap=None, random_state=None)
def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of each metric over seeds and data sets, with an interval, ranked.

    Every data set has one headline metric: VUS-PR where it is a series, average precision where
    it is a table. Where a comparison holds both kinds, lines of the metric ``"headline"`` are
    added: each set's own, averaged. That mean mixes two scales and ranks nobody: there the rank
    follows ``average_rank``, in which only detectors of one set are compared.

    Parameters
    ----------
    table : DataFrame
        From `compare`.

    Returns
    -------
    pandas.DataFrame
        Columns ``rank`` (by mean headline; the oracle, and detectors that failed or are missing
        in some cell, have none and stand last), ``detector, role, metric, mean, low, high,
        random`` (mean over the same cells), ``delay`` (median rows from the start of an event to
        its first flag at the detector's own threshold, averaged like the metrics; nan where none
        was found or there are none: read it beside event recall), ``interval_over,
        average_rank`` (within sets, among the ranked), ``wins, n_datasets, n_seeds, n_failed``.
        Every data set weighs the same.
        Last comes ``look_ahead``, the same in all rows.
        ``interval_over`` says which luck the 95 % interval holds. "datasets and seeds", from six
        data sets on: Student's t over the sets' means, so what another choice of data sets of this
        sort would give. "test rows", below: what other test rows of these sets would give the same
        fitted models, from the limits in the table (means over seeds), the sets' combined as
        Zou and Donner do; training luck is not in it.

    Raises
    ------
    ValueError
        When ``table`` is no such table, ranks nobody, or holds scores of different look-ahead.

    References
    ----------
    Zou, G. Y. and Donner, A. (2008). Construction of confidence limits about effect measures: a
    general approach. Statistics in Medicine 27.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": "A", "role": "detector", "dataset": ["x", "x", "y", "y"],
    ...     "seed": [0, 1, 0, 1], "metric": "average_precision", "value": [0.2, 0.4, 0.8, 1.0],
    ...     "random": 0.1, "low": [0.1, 0.3, 0.5, 0.7], "high": 1.0, "status": "ok"})
    >>> summarise(cells)[["rank", "mean", "low", "interval_over"]].round(2).values.tolist()
    [[1.0, 0.6, 0.44, 'test rows']]
    """
    table = checked_table(table)
    if table.empty:
        raise ValueError("table has no rows to summarise")
    metrics = headlines(table)
    if headline_name(metrics) == MIXED:
        table = pd.concat([table, _headline_cells(table, metrics).assign(metric=MIXED)])
    bad = table[table.status != "ok"].groupby("detector")[["dataset", "seed"]]
    failed = {str(detector): len(cells.drop_duplicates()) for detector, cells in bad}
    values = _values(table, metrics)
    ranks, wins = _ranks_and_wins(values)
    place = _order(values, metrics).rank(method="min")
    lines = []
    key = ["detector", "role", "metric"]
    for (detector, role, metric), cells in table.groupby(key, sort=False):
        cells = cells[cells.value.notna()]
        sets = cells.groupby("dataset")[["value", "random", "low", "high"]].mean()
        lines.append({
            "rank": place.get(detector, np.nan), "detector": detector, "role": role,
            "metric": metric, "mean": sets.value.mean(), "random": sets.random.mean(),
            **_interval(sets), "delay": np.nan,
            "interval_over": "datasets and seeds" if len(sets) >= MANY else "test rows",
            "average_rank": ranks.get(detector, np.nan), "wins": wins.get(detector, np.nan),
            "n_datasets": len(sets), "n_seeds": cells.seed.nunique(),
            "n_failed": failed.get(str(detector), 0), "look_ahead": look_ahead(table)})
    out = pd.DataFrame(lines)
    delays = out[out.metric == "detection_delay@calibration"].set_index("detector")["mean"]
    out["delay"] = out.detector.map(delays)
    return out.sort_values("rank", kind="stable", na_position="last", ignore_index=True)


def rank_detectors(table: pd.DataFrame) -> Ranking:
    """Compare detectors pair by pair over data sets, as Demšar (2006) advises.

    Seeds are averaged first, so a data set is one observation however many seeds it has. Left
    out are the oracle, detectors with a failed or missing cell, and the rows of chance (random
    score, constant decisions), which would only cost the others power.

    Parameters
    ----------
    table : DataFrame
        From `compare`.

    Returns
    -------
    Ranking
        Who leads, if anybody, is found by another and stronger test than the matrix of all pairs:
        see `verdict`.

    Notes
    -----
    The signed-rank p is exact up to 50 sets without ties (13 with ties, by permutation). It asks
    whether one detector is usually better and by more, not whether its mean is higher, and it
    takes sets for independent: ten recordings of one machine are hardly ten sets.

    References
    ----------
    Demšar, J. (2006). Statistical comparisons of classifiers over multiple data sets. JMLR 7.
    Benavoli, A., Corani, G. and Mangili, F. (2016). Should we really use post-hoc tests based on
    mean-ranks? JMLR 17. (Why the pairs are tested by Wilcoxon and not by mean ranks.)

    Examples
    --------
    >>> cells = pd.DataFrame([(d, "detector", f"set {i}", 0, "average_precision", v, 0.1, "ok")
    ...     for i in range(8) for d, v in (("A", 0.8 + i / 99), ("B", 0.7), ("C", 0.6 + i / 50))],
    ...     columns=["detector", "role", "dataset", "seed", "metric", "value", "random", "status"])
    >>> ranking = rank_detectors(cells)
    >>> ranking.wins.to_dict(), ranking.p_values.loc["A", "B"].round(3).item(), ranking.leader
    ({'A': 8.0, 'B': 0.0, 'C': 0.0}, 0.023, 'A')
    """
    from scipy.stats import friedmanchisquare

    table = checked_table(table)
    metrics = headlines(table)
    values = _values(table[~table.detector.isin(CHANCE)], metrics)
    values = values[_order(values, metrics).sort_values(kind="stable").index]
    friedman_p = np.nan
    if values.shape[1] > 2 and len(values) > 1:
        with np.errstate(invalid="ignore"):  # all values equal
            friedman_p = float(friedmanchisquare(*values.to_numpy().T).pvalue)
    roles = table.drop_duplicates("detector").set_index("detector").role[values.columns]
    ranks, wins = _ranks_and_wins(values)
    p_values = _pairs(values, roles)
    smallest = min(1.0, max(_n_pairs(p_values), 1) * 2.0 ** (1 - len(values)))
    cells = _headline_cells(table, metrics[values.index])
    return Ranking(values, metrics, roles, ranks, wins, p_values, friedman_p, smallest,
                   _beaten_chance(values, cells), _against(values, roles, cells), look_ahead(table))


def triviality(table: pd.DataFrame) -> pd.DataFrame:
    """How near a one-liner comes to the best detector on each data set, and which are trivial.

    Chance is subtracted first: a value counts by its share of the way from the random score's to
    1. Where a one-liner goes 95 % as far as the best detector, the set does not show what the
    detectors are worth (Wu and Keogh 2023). Trivial it is only where the one-liner solves it, with
    90 % of the way, and is beyond chance: on an unsolved set all can be alike and poor.

    Parameters
    ----------
    table : DataFrame
        From `compare`, with its baselines.

    Returns
    -------
    pandas.DataFrame
        One line per data set: ``dataset, metric, chance`` (of the best detector), ``best,
        best_value, one_liner, one_liner_value, share`` (of the best, from chance on), ``trivial``;
        values are means over seeds. The share is nan without a detector or a one-liner, and where
        the best detector is not above chance: nothing is easy where all guess.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": ["KNN", "MaxAbsZ"], "role": ["detector", "baseline"],
    ...     "dataset": "x", "seed": 0, "metric": "average_precision", "value": [0.97, 0.95],
    ...     "random": 0.1, "status": "ok"})
    >>> triviality(cells)[["one_liner", "share", "trivial"]].round(3).values.tolist()
    [['MaxAbsZ', 0.977, True]]
    """
    table = checked_table(table)
    metrics = headlines(table)
    cells = _headline_cells(table, metrics)
    numbers = ["value", "random", "p_chance"]
    means = cells.groupby(["dataset", "detector"])[numbers].agg(_mean_of_all)
    models = set(cells.detector[cells.role == "detector"])
    lines = []
    for dataset, metric in metrics.items():
        here = means.loc[[dataset]].droplevel(0).dropna(subset="value").assign(share=_above_chance)
        best = _highest(here[here.index.isin(models)])
        simple = _highest(here[here.index.isin(ONE_LINERS)])
        share = simple.share / best.share if best.share > 0 else np.nan
        luck = simple.p_chance * len(ONE_LINERS) >= LEVEL
        lines.append({"dataset": dataset, "metric": metric, "chance": best.random,
                      "best": best.name, "best_value": best.value,
                      "one_liner": simple.name, "one_liner_value": simple.value, "share": share,
                      "trivial": bool(share >= TRIVIAL and simple.share >= SOLVED and not luck)})
    return pd.DataFrame(lines)


def by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """Share of the rows of each kind of anomaly that each detector flags.

    At the threshold all share, so beside the false alarms it costs: a detector that flags more
    of everything finds more of every kind.

    Parameters
    ----------
    table : DataFrame
        From `compare`.

    Returns
    -------
    pandas.DataFrame
        One line per detector and kind: ``detector, role, kind, recall, random, n_datasets,
        false_positive_rate``; means over seeds, then over the data sets that have the kind; nan
        where a cell failed. ``false_positive_rate`` is over the same data sets. Empty where no
        data set names a kind.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": "A", "role": "detector", "dataset": "x", "seed": 0,
    ...     "metric": ["recall[spike]@calibration", "false_positive_rate@calibration"],
    ...     "value": [0.9, 0.05], "random": [0.06, 0.05], "status": "ok"})
    >>> by_kind(cells).values.tolist()
    [['A', 'detector', 'spike', 0.9, 0.06, 1, 0.05]]
    """
    table = checked_table(table)
    alarms = table[table.metric == "false_positive_rate@calibration"]
    rates = alarms.set_index(["detector", "dataset", "seed"]).value.rename("false_positive_rate")
    kinds = table.metric.str.extract(r"^recall\[(.*)\]@", expand=False)
    cells = table.assign(kind=kinds)[kinds.notna()]
    cells = cells.groupby(["dataset", "kind"]).filter(lambda part: part.value.notna().any())
    cells = cells.join(rates, on=["detector", "dataset", "seed"])
    wanted = ["value", "random", "false_positive_rate"]
    key = ["detector", "role", "kind"]
    seeds = cells.groupby([*key, "dataset"], sort=False)[wanted]
    groups = seeds.agg(_mean_of_all).reset_index().groupby(key, sort=False)
    out = groups[wanted].agg(_mean_of_all).rename(columns={"value": "recall"})
    out.insert(2, "n_datasets", groups.size())
    return out.reset_index()


def verdict(table: pd.DataFrame) -> str:
    """What a comparison allows to say, in words: a leader only where the data bear it out.

    Scores with look-ahead are judged among themselves, and so are data sets of one headline
    metric: a table may hold several of both. The one of the highest mean is named where it

    * beats chance: its ``p_chance``, times the number of ranked detectors, is below 0.05 (means
      over the seeds that share their rows; data sets pooled by Stouffer's method), and
    * is better than **every** other detector and baseline, each with a two-sided paired p < 0.05.

    Up to five data sets the pairs are differences within each set, over the blocks of its test
    rows (`adlib.metrics.report`), pooled: what is said holds for these sets and these fits, and
    other test rows of theirs. From six on the pairs are taken over sets (signed-rank test of
    Wilcoxon, exact): a statement about sets of this sort, if these are a fair sample of it.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`. One without the columns ``p_chance`` and ``blocks``, of an earlier release,
        is described by its intervals where it holds up to five data sets, and names no leader.

    Returns
    -------
    str
        The leader or "no winner" and why; which others beat chance; how near the best baseline
        comes; which data sets are trivial; which scores are clearly below chance.

    Raises
    ------
    ValueError
        If the table is not one of `compare`.

    Notes
    -----
    To be better than every other is an intersection of claims, so each may be tested at the full
    level (Berger 1982): that none of them is true is only seldom overlooked by all tests at once.
    The error is largest, 5 %, with exactly two equal leaders far ahead of the rest; two-sided p
    are needed because the data chose which of the two is asked about. Hsu (1984) compares with the
    best along the same line. Holm's correction is for those who read all pairs
    (`Ranking.p_values`): Demšar (2006), and Benavoli, Corani and Mangili (2016) for pairs in place
    of mean ranks. Chance needs the correction, since the best of many guesses beats one guess.
    Baselines are not tested against one another. ``benchmarks/inference.py`` has error and power.

    References
    ----------
    Berger, R. L. (1982). Multiparameter hypothesis testing and acceptance sampling. Technometrics
    24. Hsu, J. C. (1984). Constrained simultaneous confidence intervals for multiple comparisons
    with the best. Annals of Statistics 12. Demšar, J. (2006) and Benavoli, A. et al. (2016): see
    `rank_detectors`.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": ["KNN", "MaxAbsZ"], "role": ["detector", "baseline"],
    ...     "dataset": "x", "seed": 0, "metric": "average_precision", "value": [0.8, 0.5],
    ...     "random": 0.1, "status": "ok", "p_chance": [0.001, 0.001],
    ...     "blocks": ["0.79 0.82 0.8 0.78 0.81", "0.48 0.53 0.49 0.5 0.51"]})
    >>> print(verdict(cells).split(": ")[0])
    KNN leads on this data set
    """
    parts = by_look_ahead(table)
    if [*parts] == ["causal"]:
        return _by_metric(parts["causal"])
    return " ".join(("Causal scores: " if look == "causal" else
                     f"Scores with look-ahead ({look}): ") + _by_metric(part)
                    for look, part in parts.items())


def _by_metric(table: pd.DataFrame) -> str:
    """Data sets of one headline metric apart from those of another: scales do not mix."""
    metrics = headlines(table)
    if metrics.nunique() < 2:
        return " ".join(_verdict(table, metrics))
    kinds = {kind: metrics[metrics == kind] for kind in metrics.unique()}
    return " ".join(f"By {_words(kind)} ({len(sets)} of {len(metrics)} data sets): "
                    + " ".join(_verdict(table[table.dataset.isin(sets.index)], sets))
                    for kind, sets in kinds.items())


def _verdict(table: pd.DataFrame, metrics: pd.Series) -> Iterator[str]:
    words, ranking = _words(headline_name(metrics)), rank_detectors(table)
    if ranking.values.empty:
        yield f"Nothing can be ranked: no detector has an {words} on every data set."
        return
    lost = table.detector[(table.role == "detector") & ~table.detector.isin(ranking.values)]
    if len(lost):
        yield f"Not ranked, without a value on every set: {_listed(lost.unique())}."
    cells = _headline_cells(table, metrics[ranking.values.index])
    way = _above_chance(cells.groupby(["detector", "dataset"])[["value", "random"]].mean())
    way = way.groupby("detector").mean()
    best = ranking.values.columns[0]
    if len(ranking.against) and ranking.against.p.isna().all() and ranking.p_chance.isna().all():
        line = summarise(cells).set_index("detector").loc[best]
        yield ("No winner can be named: the table has no columns p_chance and blocks to pair "
               f"detectors by, only intervals. {best} is first with {words} {line['mean']:.2f} "
               f"({line.low:.2f} to {line.high:.2f}).")
    else:
        yield from _by_pairs(ranking, words)
    yield from _below_chance(cells)
    if not ranking.beyond_chance and ranking.p_chance.notna().any():
        return  # shares of what chance explains say nothing
    simple = ranking.values.columns[ranking.roles == "baseline"]
    if len(simple) and simple[0] != best and way[best] > 0:
        yield (f"From chance to the best {words}, the best baseline, {simple[0]}, comes "
               f"{100 * max(0, way[simple[0]] / way[best]):.0f} % of the way.")
    sets = triviality(table)
    if sets.trivial.any():
        yield (f"A one-liner solves, so trivial: {_listed(sets.dataset[sets.trivial])} "
               f"({sets.trivial.sum()} of {len(sets)}).")
    if (alike := (sets.share >= TRIVIAL) & ~sets.trivial).any():
        yield (f"A one-liner does as well as the best detector on {_listed(sets.dataset[alike])} "
               f"({alike.sum()} of {len(sets)}).")


def _by_pairs(ranking: Ranking, words: str) -> Iterator[str]:
    """Leader, or why there is none, and who beats chance."""
    best, beyond, p = ranking.values.columns[0], ranking.beyond_chance, ranking.p_chance
    if not beyond and p.notna().any():
        yield (f"Nothing is shown to beat chance {_where(ranking)}: the smallest p is "
               f"{p.min():.2g} ({p.idxmin()}), and with {len(p)} ranked it must be below "
               f"{LEVEL / len(p):.2g}.")
        return
    chance = f" ({_p(p[best])} against chance)" if best in beyond else ""
    mean = f"{words} {ranking.values[best].mean():.2f}{chance}"
    if not len(ranking.against):
        alone = "stands alone" if len(p) == 1 else "is first of the baselines"
        yield f"{best} {alone}, {mean}: there is nothing to compare it with."
    else:
        name = f"{best}, a baseline," if ranking.roles[best] == "baseline" else best
        yield _leads(ranking, name, mean) if ranking.leader else _leads_not(ranking, name, mean)
    if others := [other for other in beyond if other != best]:
        yield f"Beyond chance {'too' if chance else 'are'}: {_listed(others)}."
    if p.isna().all():
        yield "Whether any beats chance is not known: the table holds nothing to test it by."


def _where(ranking: Ranking) -> str:
    n = len(ranking.values)
    over = f"over {n} data sets" if ranking.over == "data sets" else f"on these {n} data sets"
    return over if n > 1 else "on this data set"


def _leads(ranking: Ranking, name: str, mean: str) -> str:
    against, one = ranking.against, len(ranking.values) == 1
    nearest = against.iloc[against.p.argmax()]
    of = ("sets of this sort" if ranking.over == "data sets" else
          f"{'this set' if one else 'these sets'} and these fits")
    rivals = "other" if ranking.roles.iloc[0] == "detector" else "detector"
    rivals = f"the {len(against)} {rivals}s" if len(against) > 1 else f"the one {rivals}"
    return (f"{name} leads {_where(ranking)}: {mean}, better than {rivals}, "
            f"{nearest.name} the nearest ({_figures(nearest)}). That holds for {of}.")


def _leads_not(ranking: Ranking, name: str, mean: str) -> str:
    rivals = ranking.against[~(ranking.against.p < LEVEL)]
    silent = "against chance" in mean or ranking.p_chance.isna().all()
    why = [] if silent else ["is not shown to beat chance"]
    if len(rivals):
        why.append(f"is not shown to be better than {rivals.index[0]} ({_figures(rivals.iloc[0])})"
                   + (f", {_listed(rivals.index[1:])}" if len(rivals) > 1 else ""))
    return f"No winner {_where(ranking)}: {name} is first with {mean}, but {' and '.join(why)}."


def _below_chance(cells: pd.DataFrame) -> Iterator[str]:
    """A word about the sign of scores that put anomalies last."""
    found = cells[cells.role == "detector"].groupby(["detector", "dataset"], sort=False)[
        ["value", "random", "p_chance"]].mean()
    low = (found.value.round(9) < found.random.round(9)) & (found.p_chance > 1 - LEVEL / len(found))
    if low.any():
        yield ("Clearly below chance: " + _listed(
            f"{line.detector} on {line.dataset} ({line.value:.2f}, chance {line.random:.2f})"
            for _, line in found[low].reset_index().iterrows())
            + ". Is the sign right? A score must be higher for the more anomalous row.")


def _figures(line: pd.Series) -> str:
    if np.isnan(line.p):
        return f"difference {line.difference:.2f}, not tested for want of events or of intervals"
    if not line.high - line.low < 1:  # all that a difference can be
        return f"difference {line.difference:.2f}, too few events or rows to judge it"
    return f"difference {line.difference:.2f}, {line.low:.2f} to {line.high:.2f}, {_p(line.p)}"


def _p(p: float) -> str:
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def _words(metric: str) -> str:
    return HEADLINES.get(metric, metric.replace("_", " "))


def _highest(lines: pd.DataFrame) -> pd.Series:
    """The first line of the highest value; its name is the detector's."""
    if lines.empty:
        return pd.Series(np.nan, lines.columns, name=None)
    return lines.iloc[lines.value.argmax()]


def _above_chance(cells: pd.DataFrame) -> pd.Series:
    """Shares of the way from chance to 1, where headline metrics are perfect."""
    return (cells.value - cells.random) / (1 - cells.random)


def _mean_of_all(values: pd.Series) -> float:
    """nan where one of them is."""
    return float(values.mean(skipna=False))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def checked_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `compare` with all that its readers need, in a plain index.

    What an earlier release or others' results lack is nan.
    """
    wanted = {"detector", "role", "dataset", "seed", "metric", "value", "status"}
    if missing := wanted - set(instance(table, "table", pd.DataFrame).columns):
        raise ValueError(f"table must be one of compare, not its summary: it lacks "
                         f"{', '.join(sorted(missing))}")
    if len(looks := _look_of_rows(table).unique()) > 1:
        raise ValueError(f"table must hold scores of one look-ahead, got {', '.join(looks)}, which "
                         f"are never ranked together: give table[table.look_ahead == {looks[0]!r}]")
    lacking = {name: np.nan for name in (*NUMBERS, "blocks", "data") if name not in table}
    texts = {name: table[name].astype(str) for name in ("detector", "dataset")}  # 1, 2 of a CSV
    table = table.assign(**lacking, **texts).reset_index(drop=True)
    try:
        return table.astype(dict.fromkeys(NUMBERS, np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError("table must hold numbers in value, random, low, high and p_chance: "
                         f"{error}") from None


def _look_of_rows(table: pd.DataFrame) -> pd.Series:
    """Look-ahead of each row; what states none is of a time when all scores were causal."""
    if "look_ahead" not in table:
        return pd.Series("causal", index=table.index)
    return table.look_ahead.fillna("causal").astype(str)


def look_ahead(table: pd.DataFrame) -> str:
    """That of a table that has passed `checked_table`."""
    return str(next(iter(_look_of_rows(table)), "causal"))


def by_look_ahead(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table of `compare` cut into parts that may be ranked, checked."""
    looks = _look_of_rows(instance(table, "table", pd.DataFrame))
    return {look: checked_table(table[looks == look]) for look in looks.unique()} or {
        "causal": checked_table(table)}


def headlines(table: pd.DataFrame) -> pd.Series:
    """Headline metric of each data set: the first one of `HEADLINES` that it has.

    Where no set has any, and the table holds one metric alone, that one.
    """
    there = table.metric.unique()
    wanted = {*there} if len(there) == 1 else {*HEADLINES}
    found = table[table.metric.isin(wanted)].groupby("dataset", sort=False).metric.unique()
    return found.map(lambda there: next((m for m in HEADLINES if m in there), there[0]))


def headline_name(metrics: pd.Series) -> str:
    """What the headline metrics of several data sets are called together."""
    names = metrics.unique()
    return MIXED if len(names) > 1 else names[0] if len(names) else "average_precision"


def _headline_cells(table: pd.DataFrame, metrics: pd.Series) -> pd.DataFrame:
    return table[table.metric == table.dataset.map(metrics)]


def _values(table: pd.DataFrame, metrics: pd.Series) -> pd.DataFrame:
    """Headline by data set and ranked detector, mean over seeds; no gap is left in it."""
    cells = _headline_cells(table, metrics)
    cells = cells[cells.role.isin(["detector", "baseline"])]  # what knows labels has no rank
    values = cells.pivot_table("value", "dataset", "detector", sort=False, dropna=False,
                               aggfunc=_mean_of_all)
    values = values.dropna(how="all")  # a set without anomalies ranks nobody
    failed = table.detector[table.status != "ok"]
    values = values.dropna(axis=1).drop(columns=failed, errors="ignore").astype(float)
    return values.round(9)  # level is level: the order of adding must not decide who is better


def _order(values: pd.DataFrame, metrics: pd.Series) -> pd.Series:
    """What ranks detectors, lowest first: no mean mixes metrics."""
    if metrics[values.index].nunique() > 1:
        return _ranks_and_wins(values)[0]
    return -values.mean()


def _ranks_and_wins(values: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    ranks = values.rank(axis=1, ascending=False)
    best = values.eq(values.max(axis=1), axis=0)
    return ranks.mean(), best.div(best.sum(axis=1), axis=0).sum()


def _n_pairs(p_values: pd.DataFrame) -> int:
    return int((p_values.notna().to_numpy().sum() - len(p_values)) // 2)


def signed_rank(differences: pd.Series, alternative: str = "two-sided") -> float:
    from scipy.stats import wilcoxon

    moved = differences[differences != 0]
    return float(wilcoxon(moved, alternative=alternative).pvalue) if len(moved) else 1.0


def _pairs(values: pd.DataFrame, roles: pd.Series) -> pd.DataFrame:
    """Signed-rank p of every pair that holds a detector, by Holm."""
    names = values.columns
    out = pd.DataFrame(np.where(np.eye(len(names)), 1.0, np.nan), names, names)
    pairs = [pair for pair in combinations(names, 2) if "detector" in [*roles[[*pair]]]]
    raw = np.array([signed_rank(values[a] - values[b]) for a, b in pairs], dtype=float)
    steps = np.argsort(raw, kind="stable")
    holm = np.minimum(1, np.maximum.accumulate(raw[steps] * np.arange(len(raw), 0, -1)))
    for i, p in zip(steps, holm, strict=True):
        a, b = pairs[i]
        out.loc[a, b] = out.loc[b, a] = p
    return out


def _beaten_chance(values: pd.DataFrame, cells: pd.DataFrame) -> pd.Series:
    """One-sided p by detector: seeds of the same rows averaged, data sets pooled."""
    from scipy.stats import combine_pvalues

    chance = cells.groupby(UNIT, dropna=False).p_chance.agg(_mean_of_all)
    found = chance.clip(upper=0.9999).groupby("detector").agg(
        lambda p: combine_pvalues(p, "stouffer").pvalue if p.notna().all() else np.nan)
    if found.isna().all() and len(values) >= MANY:
        random = cells.groupby(["detector", "dataset"]).random.agg(_mean_of_all).unstack(0)
        above = (values - random[values.columns]).round(9).dropna(axis=1)
        found = above.apply(signed_rank, args=("greater",))
    return found.reindex(values.columns)


def _against(values: pd.DataFrame, roles: pd.Series, cells: pd.DataFrame) -> pd.DataFrame:
    """The first of the columns against each other that it is tested against."""
    best, *others = [*values.columns] or [None]
    rivals = [rival for rival in others if "detector" in (roles[best], roles[rival])]
    units = _units(cells) if len(values) < MANY else {}
    lines = []
    for rival in rivals:
        differences = values[best] - values[rival]
        if len(values) >= MANY:
            line = (*_over_sets(differences), min(1, 2 * signed_rank(differences, "greater")))
        else:
            line = differences.mean(), np.nan, np.nan, np.nan
            ours, theirs = units.get(best, {}), units.get(rival, {})
            if ours.keys() == theirs.keys() and all(
                    0 < len(ours[unit][1]) == len(theirs[unit][1]) for unit in ours):
                line = difference([*ours.values()], [*theirs.values()])
        lines.append([*line])
    return pd.DataFrame(lines, rivals, ["difference", "low", "high", "p"], dtype=float)


def _units(cells: pd.DataFrame) -> dict[str, dict]:
    """Headline on each data set (anew for each seed that drew another), and without each block."""
    found: dict[str, dict] = {}
    for (detector, *unit), seeds in cells.groupby(UNIT, dropna=False):
        without = pd.DataFrame([read(text) for text in seeds.blocks]).mean(skipna=False)
        found.setdefault(str(detector), {})[str(unit)] = (seeds.value.mean(), without.to_numpy())
    return found


def _over_sets(values: pd.Series) -> tuple[float, float, float]:
    """Mean over independent values, and its 95 % interval by Student's t."""
    mean, half = mean_and_half(values)
    return mean, mean - half, mean + half


def _interval(sets: pd.DataFrame) -> dict[str, float]:
    """Of the mean over data sets, within what one of them could give."""
    if len(sets) >= MANY:
        mean, low, high = _over_sets(sets.value)
        return {"low": max(low, sets.value.min()), "high": min(high, sets.value.max())}
    reach = sets[["low", "high"]].sub(sets.value, axis=0).pow(2).sum(skipna=False) ** 0.5
    low, high = reach / max(len(sets), 1)
    return {"low": sets.value.mean() - low, "high": sets.value.mean() + high}
