"""Figures that several notebooks share: data in, Axes out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from numpy.typing import ArrayLike, NDArray

from adlib.arguments import floats, instance, listed, number, require_extra, whole
from adlib.metrics.labels import runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["comparison", "critical_difference", "curves", "histogram", "losses", "scores",
           "series"]

ROLES = {  # colour and marker of a line of the comparison
    "detector": ("tab:blue", "o"),
    "baseline": ("0.45", "s"),
    "oracle": ("tab:green", "D"),
    "supervised": ("tab:purple", "^"),
}


def comparison(summary: "pd.DataFrame", metric: str = "average_precision", *,
               ax: Axes | None = None) -> Axes:
    """Detectors from best to worst: mean, 95 % interval, and where chance lies.

    Parameters
    ----------
    summary : pandas.DataFrame
        From `adlib.compare.summarise`.
    metric : str
        Which of its metrics to draw. The order stays that of the summary.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure of fitting height.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the summary has no such metric.

    Examples
    --------
    >>> import pandas as pd
    >>> summary = pd.DataFrame({"detector": ["KNN", "MaxAbsZ"], "role": ["detector", "baseline"],
    ...     "metric": "roc_auc", "mean": [0.9, 0.5], "low": [0.8, 0.4], "high": [0.95, 0.6],
    ...     "random": 0.5, "interval_over": "test rows", "n_datasets": 1, "n_failed": 0})
    >>> [label.get_text() for label in comparison(summary, "roc_auc").get_yticklabels()]
    ['KNN', 'MaxAbsZ']
    """
    _table("summary", summary, "detector", "role", "metric", "mean", "low", "high", "random")
    lines = summary[summary.metric == instance(metric, "metric", str)]
    if lines.empty:
        known = summary.metric.unique().tolist()
        raise ValueError(f"the summary has no metric {metric!r}; it has {known}")
    # What knows the generator or the labels has no rank, whatever it scores: apart, on top.
    ranked = ("detector", "baseline")
    lines = lines.sort_values("role", key=lambda role: role.isin(ranked), kind="stable")
    lines = lines.reset_index(drop=True)
    ax = _axes(ax, 7, 1.2 + 0.3 * len(lines))
    for role, (colour, marker) in ROLES.items():
        part = lines[lines.role == role]
        if part["mean"].notna().any():
            errors = np.abs(part[["low", "high"]].sub(part["mean"], axis=0)).T
            ax.errorbar(part["mean"], part.index, xerr=errors, fmt=marker, color=colour,
                        markersize=5, capsize=2, linewidth=1.2, label=role)
    ax.scatter(lines.random, lines.index, marker="|", s=110, color="tab:red", label="random score")
    for i, line in lines[lines["mean"].isna()].iterrows():
        ax.annotate("failed" if line.n_failed else "undefined", (0.01, i), color="tab:red",
                    xycoords=("axes fraction", "data"), va="center", fontsize="small")
    ax.set_yticks(lines.index, list(_labels(lines.detector).values()))
    ax.set_ylim(len(lines) + 1.4, -0.6)  # rows of their own for the legend
    over = " / ".join(lines.interval_over[lines.low.notna()].unique())
    n = int(lines.n_datasets.max())
    of = "seeds" if n == 1 else f"{n} data sets and their seeds"
    ahead = f"\nscores: {lines.look_ahead[0]}" if "look_ahead" in lines else ""
    bars = f"\n95 % interval over {over}" if over else ""  # compare(..., intervals=False)
    ax.set_xlabel(f"{metric}, mean over {of}{ahead}{bars}")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="lower center", ncols=2, fontsize="small", frameon=False, borderaxespad=0.2,
              columnspacing=1.0, handlelength=1.2, handletextpad=0.3)
    return ax


def critical_difference(ranking: Any, *, alpha: float = 0.05, ax: Axes | None = None) -> Axes:
    """Average ranks on one line; a bar joins detectors that do not differ significantly.

    Detectors are blue, baselines grey; the latter are not tested among themselves. Every detector
    that belongs to a bar has a dot on it: a bar may pass below one that does not.

    Parameters
    ----------
    ranking : adlib.compare.Ranking
        At least two detectors.
    alpha : float
        Two detectors differ where their corrected p lies below it.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure of fitting height.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If fewer than two detectors are ranked.

    Examples
    --------
    >>> import pandas as pd
    >>> from adlib.compare import rank_detectors
    >>> cells = pd.DataFrame([(d, "detector", i, 0, "average_precision", v + i / 99, "ok")
    ...     for i in range(8) for d, v in (("A", 0.8), ("B", 0.7))],
    ...     columns=["detector", "role", "dataset", "seed", "metric", "value", "status"])
    >>> [text.get_text() for text in critical_difference(rank_detectors(cells)).texts]
    ['A  1.0 ', ' 2.0  B']
    """
    posthocs = require_extra("scikit_posthocs", "notebooks")
    if not hasattr(ranking, "average_rank"):
        raise TypeError(f"ranking must be what rank_detectors gives, got {type(ranking).__name__}")
    alpha = number(alpha, "alpha", above=0, below=1)
    ranks = ranking.average_rank.dropna()
    if len(ranks) < 2:
        raise ValueError(f"ranking: a diagram needs at least two ranked detectors, got "
                         f"{list(ranks.index)}")
    ax = _axes(ax, 8, 1.5 + 0.15 * len(ranks))
    labels = _labels(ranks.index)
    colours = {labels[name]: ROLES[ranking.roles[name]][0] for name in ranks.index}
    p_values = ranking.p_values.fillna(0.0).rename(index=labels, columns=labels)
    posthocs.critical_difference_diagram(
        ranks.rename(labels), p_values, alpha=alpha, ax=ax, color_palette=colours,
        label_fmt_left="{label}  {rank:.1f} ", label_fmt_right=" {rank:.1f}  {label}",
        text_h_margin=0.04 * max(float(np.ptp(ranks)), 0.5), elbow_props={"linewidth": 1.2},
        marker_props={"s": 22}, crossbar_props={"marker": "o", "markersize": 4, "linewidth": 2.5},
    )
    n = len(ranking.values)
    few = "" if ranking.smallest_p < alpha else ": too few to tell any two apart"
    ax.set_title(f"average rank over {n} data sets, 1 = best{few}\n"
                 "bars join what does not differ significantly (paired Wilcoxon, Holm;\n"
                 f"baselines: not among themselves); scores: {ranking.look_ahead}",
                 fontsize="medium")
    return ax


LINES = (  # colour, dash and marker of the lines of several detectors
    ("tab:blue", "-", "o"), ("tab:orange", "--", "s"), ("tab:green", "-.", "D"),
    ("0.3", (0, (5, 1, 1, 1)), "v"), ("tab:purple", (0, (3, 1, 1, 1, 1, 1)), "^"))


def curves(points: "pd.DataFrame", *, axes: Any = None) -> NDArray:
    """Precision over recall, ROC, and what a budget of alarms finds, beside chance.

    Each detector has a colour, a dash and a marker of its own; the marker stands at its own
    threshold. Dotted lines are chance: the share of anomalies, the diagonal, and of a budget what
    the same scores find when they are shifted in time.

    Parameters
    ----------
    points : pandas.DataFrame
        From `adlib.compare.curves`, of one data set.
    axes : sequence of matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        Four for a series, three for a table, whose legend is left to the caller; or the figure to
        draw in. Default: a new one.

    Returns
    -------
    ndarray of matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If ``points`` is no such table, holds several data sets, or ``axes`` are too few or many.

    Examples
    --------
    >>> from adlib.metrics import operating_points
    >>> points = operating_points([0, 0, 1, 1, 0], [0, 1, 5, 3, 4]).assign(detector="KNN")
    >>> [ax.get_ylabel() for ax in curves(points)]
    ['precision', 'recall', 'event recall', 'event precision']
    """
    _table("points", points, "detector", "recall", "precision", "false_positive_rate", "chosen",
           "alarms", "alarms_per_1000_rows", "random_precision")
    if points.empty or ("dataset" in points and points.dataset.nunique() > 1):
        raise ValueError("points must be of one data set, and not empty")
    points = points.dropna(axis="columns", how="all")  # what another set of the table has
    series, per_day = "event_recall" in points, "alarms_per_day" in points
    found = ("event_recall", "event_precision") if series else ("recall",)
    panels = _panels(axes, 2 + len(found), 2)
    at = "alarms_per_day" if per_day else "alarms_per_1000_rows"
    labels = _labels(points.detector.unique())
    for k, (name, part) in enumerate(points.groupby("detector", sort=False)):
        colour, dash, marker = LINES[k % len(LINES)]
        look = {"color": colour, "linestyle": dash, "linewidth": 1.4, "marker": marker,
                "markevery": np.flatnonzero(part.chosen).tolist(), "label": labels[name]}
        panels[0].plot(part.recall, part.precision, drawstyle="steps-pre", **look)
        panels[1].plot(part.false_positive_rate, part.recall, **look)
        budget = np.maximum.accumulate(part[at].to_numpy())
        held = slice(int(part.alarms.to_numpy().argmax()) + 1)  # below it alarms only join
        chance = {column: part[f"random_{column}"] if series else part.alarms_per_1000_rows / 1000
                  for column in found}
        for ax, column in zip(panels[2:], found, strict=True):
            ax.plot(budget[held], part[column][held], drawstyle="steps-post", **look | {
                "markevery": np.flatnonzero(part.chosen[held]).tolist()})
            ax.plot(budget[held], chance[column][held], ":", color=colour, linewidth=1)
    panels[0].axhline(points.random_precision.iloc[0], color="0.4", linestyle=":", linewidth=1.2)
    panels[1].plot([0, 1], [0, 1], ":", color="0.4", linewidth=1.2, label="chance (dotted)")
    panels[1].plot([], [], "k.", label="marker: own threshold")
    panels[0].set(xlabel="recall", ylabel="precision", title="precision and recall")
    panels[1].set(xlabel="false-positive rate", ylabel="recall", title="ROC")
    unit = f"{'alarms' if series else 'flagged rows'} per {'day' if per_day else '1,000 rows'}"
    for ax, column in zip(panels[2:], found, strict=True):
        ax.set(xscale="log", xlabel=unit, ylabel=column.replace("_", " "), title="budget of alarms")
    for ax in panels:
        ax.set_ylim(-0.03, 1.03)
        ax.title.set_size("medium")
        ax.grid(alpha=0.3)
    if not np.iterable(axes):
        _legend(panels, 2)
    return panels


def scores(dataset: Any, scores: Mapping[str, ArrayLike],
           thresholds: Mapping[str, float] | None = None, *, axes: Any = None) -> NDArray:
    """Scores over time, a panel per detector, with threshold, true events and flagged rows.

    Of more than 1,000 rows the lowest and the highest score of each thousandth are drawn, so that
    no peak is lost; events and flags are marked in each of these that holds one. Colours and marks
    are those of `series`. A triangle above stands over each event (if there are at most 60).

    Parameters
    ----------
    dataset : adlib.datasets.Dataset
        The rows of the scores, such as ``data.cut(cell.test_rows)``.
    scores : mapping of str to array_like of shape (n_samples,)
        Higher = more anomalous, by detector.
    thresholds : mapping of str to float, optional
        By detector; a row is flagged where its score lies above.
    axes : sequence of matplotlib.axes.Axes or matplotlib.figure.Figure, optional
        One per detector, whose legend is left to the caller; or the figure to draw in. Default: a
        new one.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (n_detectors,)

    Raises
    ------
    ValueError
        If there is no detector, or a score has not one value per row.

    Examples
    --------
    >>> from adlib.datasets import make_sine
    >>> (ax,) = scores(make_sine(200, random_state=0), {"KNN": np.arange(200.0)}, {"KNN": 150.0})
    >>> ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")
    ('time', 'score', 'KNN')
    """
    if not hasattr(dataset, "feature_names"):
        raise TypeError(f"dataset must be a Dataset, got {type(dataset).__name__}")
    n = len(dataset.X)
    if not n or not instance(scores, "scores", Mapping):
        raise ValueError("scores must hold one detector at least, and dataset one row")
    limits = {} if thresholds is None else instance(thresholds, "thresholds", Mapping)
    found: dict[str, Any] = {name: _per_row("scores", values, n)
                             for name, values in scores.items()}
    panels = _panels(axes, len(found))
    bins, (x, edge) = np.arange(0, n, -(-n // 1000)), _x_axis(dataset)
    x, edge = x[bins], edge[np.append(bins, n)]
    true, some = np.asarray(dataset.y) == 1, np.logical_or.reduceat
    middle = np.sum(runs(some(true, bins)), axis=0) // 2
    labels = _labels(found)
    for ax, (name, values) in zip(panels, found.items(), strict=True):
        _bands(ax, edge, some(true, bins), TRUE, "anomaly")
        _bands(ax, edge, some(~dataset.judged, bins), "0.6", "not judged")
        if len(middle) <= 60:
            ax.plot(x[middle], np.ones(len(middle)), "v", color=TRUE, markersize=4,
                    transform=ax.get_xaxis_transform(), clip_on=False)
        limit = number(limits.get(name, np.inf), "thresholds", most=np.inf)
        flags = values > limit
        there = values[np.abs(values) < 1e300]  # an infinite score stands as high as the next
        values = np.clip(values, there.min(initial=0), there.max(initial=0))
        envelope = [np.minimum.reduceat(values, bins), np.maximum.reduceat(values, bins)]
        ax.plot(np.repeat(x, 2), np.ravel(envelope, "F"), color="0.25", linewidth=0.8)
        if np.isfinite(limit):
            ax.axhline(limit, color=FALSE_ALARM, linewidth=1, linestyle="--", label="threshold")
            if 0 < 30 * abs(limit) < np.abs(values).max():  # a threshold at the foot shows nothing
                ax.set_yscale("symlog", linthresh=abs(limit))
        _ticks(ax, x, some(flags, bins), some(flags & true, bins))
        ax.set_ylabel("score")
        ax.set_title(labels[name], loc="left", fontsize="medium")
        ax.margins(x=0.01, y=0.15)  # room for the marks at the foot
    _name_x_axis(panels[-1], dataset)
    if not np.iterable(axes):
        _legend(panels, 3)
    return panels


def losses(history: Mapping[str, ArrayLike], *, ax: Axes | None = None) -> Axes:
    """Loss of each part of a network over the epochs.

    Parameters
    ----------
    history : mapping of str to sequence of float
        Loss of each epoch by name, such as ``history_`` of a detector with a network.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> ax = losses({"train": [3.0, 1.0, 0.5], "held_out": [3.5, 1.5, 1.4]})
    >>> [line.get_label() for line in ax.lines]
    ['train', 'held out']
    """
    instance(history, "history", Mapping)
    curves = {str(name): floats(values, f"history[{name!r}]", "(n_epochs,)")
              for name, values in history.items()}
    ax = _axes(ax)
    labels = _labels(curves)
    for name, values in curves.items():
        ax.plot(np.arange(1, len(values) + 1), values, label=labels[name].replace("_", " "))
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend(fontsize="small")
    return ax


TRUE, HARMLESS, HIT, FALSE_ALARM = "tab:orange", "tab:cyan", "tab:green", "tab:red"


def histogram(score: ArrayLike, y: ArrayLike, threshold: float | None = None, *,
              held_out: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Scores of normal and of anomalous rows, each as shares of its own rows, on a log axis.

    Parameters
    ----------
    score : array_like of shape (n_samples,)
        Higher = more anomalous, at least 0; scores of 0 count in the first bin.
    y : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal.
    threshold : float, optional
        Drawn as a line.
    held_out : array_like, optional
        Normal scores that the threshold was taken from, drawn as an outline.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If there is not one label per score, or no score above 0.

    Examples
    --------
    >>> ax = histogram([0.5, 0.7, 0.9, 30.0], [0, 0, 0, 1], threshold=2.0)
    >>> ax.get_legend_handles_labels()[1]
    ['normal', 'anomaly', 'threshold']
    """
    y = floats(y, "y", "(n_samples,)")
    scores = floats(score, "score", "(n_samples,)", sizes=y.shape, below=1e300)
    normal = np.empty(0) if held_out is None else floats(
        held_out, "held_out", "(n_rows,)", below=1e300)
    threshold = None if threshold is None else number(threshold, "threshold", most=np.inf)
    looks: dict[str, tuple[NDArray, dict[str, Any]]] = {
        "normal": (scores[y == 0], {"color": "0.6", "alpha": 0.7}),
        "anomaly": (scores[y == 1], {"color": TRUE, "alpha": 0.6}),
        "held out": (normal, {"color": "tab:blue", "histtype": "step", "linewidth": 1.4})}
    groups = {name: (values, look) for name, (values, look) in looks.items() if values.size}
    positive = np.concatenate([values[values > 0] for values, _ in groups.values()])
    if not positive.size:
        raise ValueError("score has no value above 0 to draw on a log axis")
    edges = np.geomspace(positive.min() * 0.99, positive.max() * 1.01, 41).tolist()
    ax = _axes(ax)
    for name, (values, look) in groups.items():
        ax.hist(np.maximum(values, edges[0]), edges, weights=np.full(len(values), 1 / len(values)),
                label=name, **look)
    if threshold is not None and abs(threshold) < 1e300:
        ax.axvline(threshold, color=FALSE_ALARM, linewidth=1.4, label="threshold")
    ax.set(xscale="log", xlabel="score", ylabel="share of its rows")
    ax.legend(fontsize="small")
    return ax


def series(dataset: Any, is_anomaly: ArrayLike | None = None, score: ArrayLike | None = None,
           threshold: float | None = None, *, columns: Sequence[str] | None = None,
           rows: slice | None = None, clean: ArrayLike | None = None,
           units: Mapping[str, str] | None = None, axes: Any = None) -> NDArray:
    """Channels one below the other with the true anomalies and, if given, the flagged rows.

    True events are orange: a band over their rows, dots on the channels they affect (all of them
    where the dataset does not say which). Labelled but harmless rows, such as drift, have a cyan
    band, rows that metrics leave out a grey one. At the foot of a panel are the flagged rows, a
    green tick if right, a red cross if a false alarm; an orange band without ticks was missed. A
    dashed line separates history from test.

    Parameters
    ----------
    dataset : adlib.datasets.Dataset
        Rows to draw, over their time if they have one.
    is_anomaly : array_like of bool, shape (n_samples,), optional
        Flagged rows.
    score : array_like of shape (n_samples,), optional
        Adds a panel with the score (higher = more anomalous).
    threshold : float, optional
        Line in the panel of the score.
    columns : sequence of str, optional
        Features to draw; default: all.
    rows : slice, optional
        Rows to zoom in on; all arguments keep their full length.
    clean : array_like of shape (n_samples, n_features), optional
        Values before injection, drawn in grey underneath.
    units : mapping of str to str, optional
        Unit by feature, for the axis label.
    axes : sequence of matplotlib.axes.Axes, optional
        One per panel; the legend is then left to the caller. Default: a new figure with a legend.

    Returns
    -------
    ndarray of matplotlib.axes.Axes, shape (n_panels,)

    Raises
    ------
    ValueError
        If an array has not one value per row, a column is unknown, or ``axes`` has another length
        than there are panels.

    Examples
    --------
    >>> from adlib.datasets import make_sensor_stream
    >>> panels = series(make_sensor_stream(200, random_state=0), columns=["pressure"])
    >>> panels[0].get_ylabel(), panels[0].get_xlabel()
    ('pressure', 'time')
    """
    if not hasattr(dataset, "feature_names"):
        raise TypeError(f"dataset must be a Dataset, got {type(dataset).__name__}")
    n, names = len(dataset.X), list(dataset.feature_names)
    columns = _chosen(columns, names)
    flags = _per_row("is_anomaly", is_anomaly, n)
    scores = _per_row("score", score, n)
    before = _per_row("clean", clean, n, len(names))
    threshold = None if threshold is None else number(threshold, "threshold", most=np.inf)
    units = {} if units is None else instance(units, "units", Mapping)
    if not columns and scores is None:
        raise ValueError("columns must name one at least, or give score")
    rows = _rows(rows, n)
    panels, labels = _panels(axes, len(columns) + (scores is not None)), _labels(columns)

    x, edge = _x_axis(dataset)
    shown = np.zeros(n, bool)
    shown[rows] = True
    true = (np.asarray(dataset.y) == 1) & shown
    harmless = (np.asarray(dataset.kind) != "") & ~true & shown
    for ax, name in zip(panels, columns, strict=False):
        values, touched = dataset.X[:, names.index(name)], _affects(dataset, name)
        _labelled(ax, edge, dataset, true & touched, harmless & touched)
        if before is not None:
            ax.plot(x[rows], before[rows, names.index(name)], color="0.55", label="before")
        ax.plot(x[rows], values[rows], color="tab:blue", linewidth=1)
        ax.plot(x[true & touched], values[true & touched], ".", color=TRUE, markersize=4)
        if flags is not None:
            _ticks(ax, x, flags.astype(bool) & shown, true)
        unit = units.get(name)
        ax.set_ylabel(f"{labels[name]} [{_label(unit)}]" if unit else labels[name])
    if scores is not None:
        ax = panels[-1]
        _labelled(ax, edge, dataset, true, harmless)
        ax.plot(x[rows], scores[rows], color="0.25", linewidth=1)
        if threshold is not None:
            ax.axhline(threshold, color=FALSE_ALARM, linewidth=1, label="threshold")
        ax.set_ylabel("score")
    for ax in panels:
        if rows.start < dataset.train_end < rows.stop:
            ax.axvline(edge[dataset.train_end], color="0.4", linestyle="--", linewidth=1,
                       label="test begins")
        ax.margins(x=0.01)
    _name_x_axis(panels[-1], dataset)
    if axes is None:
        _legend(panels)
    return panels


def contributions(why: Any, row: int = 0, *, k: int = 8, ax: Axes | None = None) -> Axes:
    """What raised one row's score (orange) and what lowered it (blue), feature by feature.

    Parameters
    ----------
    why : adlib.explain.Explanation
    row : int
        Which of the explained rows, counted from 0.
    k : int
        Features to draw at most: those with the largest contributions of either sign.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure of fitting height.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> why = SimpleNamespace(contributions=np.array([[1.0, 4.0]]), values=np.array([[20.0, 41.0]]),
    ...     feature_names=("temperature", "humidity"), units={"humidity": "%"}, rows=[7], time=None,
    ...     shares=np.array([[0.2, 0.8]]), filled=np.zeros((1, 2), bool))
    >>> [label.get_text() for label in contributions(why).get_yticklabels()]
    ['humidity\\n41 %', 'temperature\\n20']
    """
    row, k = _row(why, row), whole(k, "k", 1)
    parts = why.contributions[row]
    order = np.argsort(-np.abs(parts), kind="stable")[:k]
    ax = _axes(ax, 7, 1.2 + 0.45 * len(order))
    bars = ax.barh(np.arange(len(order)), parts[order],
                   color=[TRUE if part > 0 else "tab:blue" for part in parts[order]])
    shares = [f"{100 * share:.0f} %" if share >= 0.005 else "" for share in why.shares[row, order]]
    ax.bar_label(bars, shares, padding=3, fontsize="small", color="0.3")
    ax.set_yticks(np.arange(len(order)), [_named(why, j, why.values[row, j])
                  + " (filled)" * bool(why.filled[row, j]) for j in order])
    ax.invert_yaxis()
    ax.axvline(0, color="0.4", linewidth=1)
    ax.margins(x=0.12)
    ax.set(xlabel="contribution to the score; per cent of what raises it", title=_when(why, row))
    ax.grid(axis="x", alpha=0.3)
    return ax


def heat_map(why: Any, row: int | None = None, *, ax: Axes | None = None) -> Axes:
    """Shares of the score, features by explained rows; or by row of one row's look-back.

    Parameters
    ----------
    why : adlib.explain.Explanation
    row : int, optional
        One of the explained rows, counted from 0: its look-back is drawn. It needs ``steps=True``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure of fitting height.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If ``row`` is given and the explanation has no steps.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> why = SimpleNamespace(shares=np.eye(3), feature_names=("a", "b", "c"), rows=[4, 5, 9],
    ...     time=None)
    >>> heat_map(why).images[0].get_array().shape
    (3, 3)
    """
    if not hasattr(why, "shares"):
        raise TypeError(f"why must be what explain gives, got {type(why).__name__}")
    if row is None:
        parts, marks, top = why.shares, [_moment(why, i) for i in range(len(why.rows))], 1
        labels = {"xlabel": "explained row" + ("" if why.time is None else ", at its time")}
    else:
        parts, marks, top = *_look_back(why, _row(why, row)), None
        labels = {"xlabel": "rows before it", "title": _when(why, row)}
    ax = _axes(ax, 8, 1.3 + 0.32 * len(why.feature_names))
    image = ax.imshow(parts.T, aspect="auto", cmap="Oranges", vmin=0, interpolation="nearest",
                      vmax=top)
    ax.figure.colorbar(image, ax=ax, label="share of the score", pad=0.01)
    names = _labels(why.feature_names)
    ax.set_yticks(np.arange(len(why.feature_names)), [names[name] for name in why.feature_names])
    shown = np.unique(np.linspace(0, len(marks) - 1, min(len(marks), 8)).astype(int))
    long = max((len(mark) for mark in marks), default=0) > 6
    ax.set_xticks(shown, [marks[i] for i in shown], rotation=30 if long else 0,
                  ha="right" if long else "center")
    ax.set(**labels)
    return ax


def _look_back(why: Any, row: int) -> tuple[NDArray, list[str]]:
    """Shares by row of the look-back, and what to call these rows."""
    if why.steps is None:
        raise ValueError("row is drawn by its look-back: explain(..., steps=True) with a model "
                         "that looks back")
    raising = np.maximum(why.steps[row], 0.0)
    parts = raising / max(raising.sum(), np.finfo(float).tiny)
    return parts, [str(i) for i in range(1 - len(parts), 1)]


def remedy(why: Any, row: int = 0, *, k: int = 8, ax: Axes | None = None) -> Axes:
    """What would make a row normal: its values (orange), and the changed ones (green).

    Every feature in robust deviations from what the others let expect; three of them are grey.

    Parameters
    ----------
    why : adlib.explain.Explanation
        Made with ``counterfactual=True``.
    row : int
        Which of the explained rows, counted from 0.
    k : int
        Features to draw at most: those to be changed, then those with the largest shares.
    ax : matplotlib.axes.Axes, optional
        Where to draw; default: a new figure of fitting height.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> why = SimpleNamespace(values=np.array([[20.0, 41.0]]), normal=np.array([[20.0, 46.0]]),
    ...     expected=np.array([[21.0, 50.0]]), surprises=np.array([[-0.5, -6.0]]), rows=[7],
    ...     shares=np.array([[0.2, 0.8]]), feature_names=("temperature", "humidity"), units={},
    ...     time=None, sought=[True])
    >>> [text.get_text() for text in remedy(why).texts if text.get_text()]
    ['46']
    """
    row, k = _row(why, row), whole(k, "k", 1)
    values, normal, far = why.values[row], why.normal[row], why.surprises[row]
    changed = ~np.isnan(normal) & (normal != values)
    order, own = np.lexsort((-why.shares[row], ~changed))[:k], ax is None
    ax = _axes(ax, 7, 1.5 + 0.45 * len(order))
    ax.axvspan(-3, 3, color="0.92", label="3 deviations")
    ax.axvline(0, color="0.4", linewidth=1)
    for place, j in enumerate(order):
        ax.plot(far[j], place, "o", color=TRUE, label="value")
        if changed[j]:
            moved = far[j] * (normal[j] - why.expected[row, j]) / (values[j] - why.expected[row, j])
            ax.annotate("", (moved, place), (far[j], place),
                        arrowprops={"arrowstyle": "->", "color": HIT, "linewidth": 1.4})
            ax.plot(moved, place, "o", color=HIT, label="not flagged with")
            ax.annotate(_value(why, j, normal[j]), (moved, place), (0, 7), ha="center",
                        textcoords="offset points", fontsize="small", color=HIT)
    ax.set_yticks(np.arange(len(order)), [_named(why, j, values[j]) for j in order])
    ax.set_ylim(len(order) - 0.4, -0.9)
    if not why.sought[row]:
        found = "; no change was sought"
    elif np.isnan(normal).any():
        found = "; no change of a few features found"
    else:
        found = "" if changed.any() else "; not flagged"
    ax.set(xlabel="robust deviations from what is expected", title=_when(why, row) + found)
    if own:
        _legend([ax])
    return ax


def _axes(ax: Axes | None, *size: float) -> Axes:
    """The axes given, or those of a new figure of that width and height."""
    if ax is not None:
        return ax
    return plt.subplots(figsize=size, layout="constrained")[1] if size else plt.subplots()[1]


def _value(why: Any, j: int, value: float) -> str:
    text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"  # no 5.721e+04
    return f"{text} {_label(why.units.get(why.feature_names[j], ''))}".strip()


def _named(why: Any, j: int, value: float) -> str:
    return f"{_labels(why.feature_names)[why.feature_names[j]]}\n{_value(why, j, value)}"


def _moment(why: Any, row: int) -> str:
    if why.time is None:
        return str(why.rows[row])
    return str(why.time[row].astype("datetime64[m]")).replace("T", " ")


def _when(why: Any, row: int) -> str:
    return f"row {why.rows[row]}" if why.time is None else _moment(why, row)


def _row(why: Any, row: int) -> int:
    """The number of an explained row, counted from 0."""
    if not hasattr(why, "rows") or callable(getattr(why, "rows", None)):
        raise TypeError(f"why must be what explain gives, got {type(why).__name__}")
    if whole(row, "row", 0) >= len(why.rows):
        raise ValueError(f"row must lie below {len(why.rows)}, got {row!r}")
    return int(row)


def _table(argument: str, frame: Any, *columns: str) -> None:
    if not hasattr(frame, "columns") or not set(columns) <= set(frame.columns):
        raise ValueError(f"{argument} must be a table with the columns {', '.join(columns)}, got "
                         f"{type(frame).__name__}")


def _per_row(argument: str, values: ArrayLike | None, n: int, *more: int) -> NDArray | None:
    """One value per row, or as many as ``more`` says; a single column may come as a vector."""
    if values is None:
        return None
    found = np.clip(floats(values, argument), -1e300, 1e300)  # what an axis can show
    if more and found.ndim == 1:
        found = found[:, None]
    if found.shape != (n, *more):
        size = (n, *more) if more else f"has {n} rows"
        raise ValueError(f"{argument} has shape {found.shape}, the dataset {size}")
    return found


def _chosen(columns: Sequence[str] | None, names: list[str]) -> list[str]:
    if columns is None:
        return names
    columns = [columns] if isinstance(columns, str) else listed(columns, "columns")
    if unknown := [c for c in columns if c not in names]:
        raise ValueError(f"columns: {unknown} are not among {names}")
    return columns


def _rows(rows: slice | None, n: int) -> slice:
    """Rows to draw: where they start and stop, with a step of 1."""
    try:
        return slice(0, n) if rows is None else slice(*rows.indices(n)[:2])
    except (AttributeError, TypeError):
        raise TypeError(f"rows must be a slice of whole numbers, got {rows!r}") from None


def _panels(axes: Any, n: int, columns: int = 1) -> NDArray:
    """The axes given, or in a given or new figure ``n``, one below the other or in columns."""
    if not np.iterable(axes):
        rows = -(-n // columns)
        size = (9, 0.6 + 1.5 * n) if columns == 1 else (6, 1 + 2.3 * rows)
        figure = plt.figure(figsize=size, layout="constrained") if axes is None else axes
        axes = figure.subplots(rows, columns, sharex=columns == 1, squeeze=False).ravel()
        for ax in axes[n:]:
            ax.remove()
        axes = axes[:n]
    axes = np.ravel(axes)
    if len(axes) != n:
        raise ValueError(f"axes: {n} panels to draw, got {len(axes)} axes")
    return axes


def _x_axis(dataset: Any) -> tuple[NDArray, NDArray]:
    """Where rows stand on the x axis, and where they begin (one more, for the end of the last)."""
    if not _has_clock(dataset):
        rows = np.arange(len(dataset.X))
        return rows, np.append(rows, len(rows)) - 0.5
    time = np.asarray(dataset.time)
    step = np.timedelta64(1, "s")
    if len(time) > 1:
        step = np.median(np.diff(time).astype(np.int64)).astype("timedelta64[ns]")
    return time, np.append(time, time[-1] + step) - step // 2


def _has_clock(dataset: Any) -> bool:
    """Whether time can be the axis: in a set of several machines it begins again with each."""
    time = None if dataset.time is None else np.asarray(dataset.time)
    return time is not None and not (time[1:] < time[:-1]).any()


def _name_x_axis(ax: Axes, dataset: Any) -> None:
    ax.set_xlabel("time" if _has_clock(dataset) else "row")
    if _has_clock(dataset):
        locator = AutoDateLocator()
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _affects(dataset: Any, name: str) -> NDArray[np.bool_]:
    """Rows whose event touches that feature, or all rows where nothing is known about it."""
    if dataset.channel is None:
        return np.ones(len(dataset.X), bool)
    return np.array([not named or name in named.split(",") for named in dataset.channel])


def _labelled(ax: Axes, edge: NDArray, dataset: Any, true: NDArray, harmless: NDArray) -> None:
    """Bands over the events of a panel."""
    _bands(ax, edge, true, TRUE, "anomaly")
    _bands(ax, edge, harmless & dataset.judged, HARMLESS, "labelled, harmless")
    _bands(ax, edge, harmless & ~dataset.judged, "0.6", "not judged")


def _bands(ax: Axes, edge: NDArray, marked: NDArray, colour: str, label: str) -> None:
    """A vertical band over each run of marked rows."""
    for start, end in zip(*runs(marked), strict=True):
        ax.axvspan(edge[start], edge[end], color=colour, alpha=0.25, linewidth=0, label=label)


def _ticks(ax: Axes, x: NDArray, flags: NDArray, true: NDArray) -> None:
    """A mark per flagged row at the foot of the panel."""
    # different in shape as well: red and green look alike to one reader in twenty
    for which, colour, marker, label in ((flags & true, HIT, "|", "flagged, right"),
                                         (flags & ~true, FALSE_ALARM, "x",
                                          "flagged, false alarm")):
        if which.any():
            foot = np.full(which.sum(), 0.04)
            ax.plot(x[which], foot, marker, color=colour, markersize=8 if marker == "|" else 5,
                    markeredgewidth=1.2, transform=ax.get_xaxis_transform(), label=label)


def _legend(axes: Sequence[Axes] | NDArray, columns: int | None = None) -> None:
    """One legend above all panels, or in columns below them, each entry once."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        axes[0].figure.legend(
            entries.values(), entries.keys(), ncols=columns or len(entries), fontsize="small",
            loc="outside lower center" if columns else "outside upper right", frameon=False)


def _labels(names: Iterable[Any]) -> dict[Any, str]:
    """Names as a figure can show them, still different."""
    found: dict[Any, str] = {}
    for name in names:
        text = _label(name) or '""'
        found[name] = text if text not in found.values() else f"{text} ({len(found) + 1})"
    return found


def _label(name: Any) -> str:
    """Text as a figure can show it: short, on one line, no formula."""
    text = " ".join(str(name).split())
    text = text if len(text) <= 26 else f"{text[:15]}…{text[-10:]}"
    text = "".join(c for c in text if c.isprintable()).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # legends leave out what begins with it
