"""Figures that several notebooks share: data in, Axes out, nothing of adlib imported."""

import matplotlib.pyplot as plt
import numpy as np

__all__ = ["comparison"]

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
    # The oracle bounds what can be reached: it stands above the ranking.
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
    ax.set_ylim(len(lines) - 0.4, -0.6)
    over = " / ".join(lines.interval_over[lines["mean"].notna()].unique())
    n = int(lines.n_datasets.max())
    ax.set_xlabel(f"{metric}, mean over {n} data set{'s' * (n > 1)}\n95 % interval over {over}")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="best", fontsize="small")
    return ax
