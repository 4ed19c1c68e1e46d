"""Figures that several notebooks share: data in, Axes out, nothing of adlib imported."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

__all__ = ["comparison", "critical_difference", "histogram", "losses", "series"]

ROLES = {  # colour and marker of a line of the comparison
    "detector": ("tab:blue", "o"),
    "baseline": ("0.45", "s"),
    "oracle": ("tab:green", "D"),
}


def comparison(summary, metric="average_precision", *, ax=None):
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
    lines = summary[summary.metric == metric]
    if lines.empty:
        known = summary.metric.unique().tolist()
        raise ValueError(f"the summary has no metric {metric!r}; it has {known}")
    # The oracle knows the generator and has no rank, whatever it scores: it stands apart, on top.
    lines = lines.sort_values("role", key=lambda role: role != "oracle", kind="stable")
    lines = lines.reset_index(drop=True)
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 1.2 + 0.3 * len(lines)), layout="constrained")
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
    ax.set_yticks(lines.index, lines.detector)
    ax.set_ylim(len(lines) + 0.6, -0.6)  # a row of its own for the legend
    over = " / ".join(lines.interval_over[lines["mean"].notna()].unique())
    n = int(lines.n_datasets.max())
    of = "seeds" if n == 1 else f"{n} data sets and their seeds"
    ax.set_xlabel(f"{metric}, mean over {of}\n95 % interval over {over}")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="lower center", ncols=4, fontsize="small", frameon=False, borderaxespad=0.2,
              columnspacing=1.0, handlelength=1.2, handletextpad=0.3)
    return ax


def critical_difference(ranking, *, alpha=0.05, ax=None):
    """Average ranks on one line; a bar joins detectors that are not told apart.

    Detectors are blue, baselines grey. Every detector that belongs to a bar has a dot on it: a
    bar may pass below one that does not.

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
    from scikit_posthocs import critical_difference_diagram

    ranks = ranking.average_rank
    if len(ranks) < 2:
        raise ValueError(f"a diagram needs at least two ranked detectors, got {list(ranks.index)}")
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 1.5 + 0.15 * len(ranks)), layout="constrained")
    colours = {name: ROLES[role][0] for name, role in ranking.roles.items()}
    critical_difference_diagram(
        ranks, ranking.p_values, alpha=alpha, ax=ax, color_palette=colours,
        label_fmt_left="{label}  {rank:.1f} ", label_fmt_right=" {rank:.1f}  {label}",
        text_h_margin=0.04 * max(float(np.ptp(ranks)), 0.5), elbow_props={"linewidth": 1.2},
        marker_props={"s": 22}, crossbar_props={"marker": "o", "markersize": 4, "linewidth": 2.5},
    )
    n = len(ranking.values)
    told = "" if ranking.smallest_p < alpha else ": too few to tell any two apart"
    ax.set_title(f"average rank over {n} data sets, 1 = best{told}\n"
                 "bars join what a paired Wilcoxon test (Holm) does not tell apart",
                 fontsize="medium")
    return ax


def losses(history, *, ax=None):
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
    ax = plt.subplots()[1] if ax is None else ax
    for name, values in history.items():
        ax.plot(np.arange(1, len(values) + 1), values, label=name.replace("_", " "))
    ax.set(xlabel="epoch", ylabel="loss")
    ax.legend(fontsize="small")
    return ax


TRUE, HARMLESS, HIT, FALSE_ALARM = "tab:orange", "tab:cyan", "tab:green", "tab:red"


def histogram(score, y, threshold=None, *, held_out=None, ax=None):
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
    y = np.asarray(y)
    score = _per_row("score", score, len(y))
    groups = {"normal": (score[y == 0], {"color": "0.6", "alpha": 0.7}),
              "anomaly": (score[y == 1], {"color": TRUE, "alpha": 0.6}),
              "held out": (held_out, {"color": "tab:blue", "histtype": "step", "linewidth": 1.4})}
    groups = {name: (np.asarray(values), look) for name, (values, look) in groups.items()
              if values is not None and np.size(values)}
    positive = np.concatenate([values[values > 0] for values, _ in groups.values()])
    if not positive.size:
        raise ValueError("score has no value above 0 to draw on a log axis")
    edges = np.geomspace(positive.min() * 0.99, positive.max() * 1.01, 41)
    ax = plt.subplots()[1] if ax is None else ax
    for name, (values, look) in groups.items():
        ax.hist(np.maximum(values, edges[0]), edges, weights=np.full(len(values), 1 / len(values)),
                label=name, **look)
    if threshold is not None and np.isfinite(threshold):
        ax.axvline(threshold, color=FALSE_ALARM, linewidth=1.4, label="threshold")
    ax.set(xscale="log", xlabel="score", ylabel="share of its rows")
    ax.legend(fontsize="small")
    return ax


def series(dataset, is_anomaly=None, score=None, threshold=None, *, columns=None, rows=None,
           clean=None, units=None, axes=None):
    """Channels one below the other with the true anomalies and, if given, the flagged rows.

    True events are orange: a band over their rows, dots on the channels they affect (all of them
    where the dataset does not say which). Labelled but harmless rows, such as drift, have a cyan
    band. Ticks at the foot of a panel are flagged rows, green if right, red if a false alarm; an
    orange band without ticks was missed. A dashed line separates history from test.

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
    n, names = len(dataset.X), list(dataset.feature_names)
    columns = names if columns is None else [columns] if isinstance(columns, str) else list(columns)
    if unknown := [c for c in columns if c not in names]:
        raise ValueError(f"columns: {unknown} are not among {names}")
    flags, score = _per_row("is_anomaly", is_anomaly, n), _per_row("score", score, n)
    clean = _per_row("clean", clean, n)
    clean = clean[:, None] if clean is not None and clean.ndim == 1 else clean
    rows = slice(0, n) if rows is None else slice(*rows.indices(n)[:2])

    n_panels = len(columns) + (score is not None)
    own = axes is None
    if own:
        size = (9, 0.6 + 1.5 * n_panels)
        _, axes = plt.subplots(n_panels, sharex=True, squeeze=False, figsize=size,
                               layout="constrained")
    axes = np.ravel(axes)
    if len(axes) != n_panels:
        raise ValueError(f"axes: {n_panels} panels to draw, got {len(axes)} axes")

    x, edge = _x_axis(dataset)
    inside = np.zeros(n, bool)
    inside[rows] = True
    true = (np.asarray(dataset.y) == 1) & inside
    harmless = (np.asarray(dataset.kind) != "") & ~true & inside
    for ax, name in zip(axes, [*columns, None], strict=False):
        affected = true & (_affects(dataset, name) if name else True)
        _bands(ax, edge, true if name is None else affected, TRUE, "anomaly")
        touched = harmless & (_affects(dataset, name) if name else True)
        _bands(ax, edge, touched, HARMLESS, "labelled, harmless")
        if name is None:
            ax.plot(x[rows], score[rows], color="0.25", linewidth=1)
            if threshold is not None:
                ax.axhline(threshold, color=FALSE_ALARM, linewidth=1, label="threshold")
        else:
            values = dataset.X[:, names.index(name)]
            if clean is not None:
                ax.plot(x[rows], clean[rows, names.index(name)], color="0.55", label="before")
            ax.plot(x[rows], values[rows], color="tab:blue", linewidth=1)
            ax.plot(x[affected], values[affected], ".", color=TRUE, markersize=4)
            if flags is not None:
                _ticks(ax, x, flags.astype(bool) & inside, true)
        if rows.start < dataset.train_end < rows.stop:
            ax.axvline(edge[dataset.train_end], color="0.4", linestyle="--", linewidth=1,
                       label="test begins")
        unit = (units or {}).get(name)
        ax.set_ylabel("score" if name is None else f"{name} [{unit}]" if unit else name)
        ax.margins(x=0.01)
    axes[-1].set_xlabel("row" if dataset.time is None else "time")
    if dataset.time is not None:
        locator = AutoDateLocator()
        axes[-1].xaxis.set_major_locator(locator)
        axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if own:
        _legend(axes)
    return axes


def _per_row(argument, values, n):
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape[:1] != (n,):
        raise ValueError(f"{argument} has shape {values.shape}, the dataset has {n} rows")
    return values


def _x_axis(dataset):
    """Where rows stand on the x axis, and where they begin (one more, for the end of the last)."""
    if dataset.time is None:
        rows = np.arange(len(dataset.X))
        return rows, np.append(rows, len(rows)) - 0.5
    time = np.asarray(dataset.time)
    step = np.timedelta64(1, "s")
    if len(time) > 1:
        step = np.median(np.diff(time).astype(np.int64)).astype("timedelta64[ns]")
    return time, np.append(time, time[-1] + step) - step // 2


def _affects(dataset, name):
    """Rows whose event touches that feature, or all rows where nothing is known about it."""
    if dataset.channel is None:
        return np.ones(len(dataset.X), bool)
    return np.array([not named or name in named.split(",") for named in dataset.channel])


def _bands(ax, edge, marked, colour, label):
    """A vertical band over each run of marked rows."""
    change = np.flatnonzero(np.diff(marked, prepend=False, append=False))
    for start, end in change.reshape(-1, 2):
        ax.axvspan(edge[start], edge[end], color=colour, alpha=0.25, linewidth=0, label=label)


def _ticks(ax, x, flags, true):
    """A tick per flagged row at the foot of the panel."""
    for which, colour, label in ((flags & true, HIT, "flagged, right"),
                                 (flags & ~true, FALSE_ALARM, "flagged, false alarm")):
        if which.any():
            foot = np.full(which.sum(), 0.04)
            ax.plot(x[which], foot, "|", color=colour, markersize=8, markeredgewidth=1.2,
                    transform=ax.get_xaxis_transform(), label=label)


def _legend(axes):
    """One legend above all panels, each entry once."""
    entries = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        axes[0].figure.legend(entries.values(), entries.keys(), loc="outside upper right",
                              ncols=len(entries), fontsize="small", frameon=False)
