"""Several machines in one data set: judged together, and each as a data set of its own."""

import pandas as pd

from adlib.arguments import instance

from .protocol import ROW

__all__ = ["by_entity"]


def by_entity(table: pd.DataFrame) -> pd.DataFrame:
    """The table of a comparison with each machine (patient, account) as a data set of its own.

    For `rank_detectors`, `verdict`, `triviality`, `summarise` and
    `adlib.plots.critical_difference`: they then pair detectors over machines.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`.

    Returns
    -------
    pandas.DataFrame
        Of a set "plant" with rows such as ``vus_pr[pump 3]`` these alone, as ``vus_pr`` of the set
        "plant[pump 3]"; the other sets as they are. A machine whose judged rows have no anomaly, or
        nothing else, is left out. Thresholds, times and counts of rows are those of the set.

    Raises
    ------
    ValueError
        If the table has no columns ``dataset``, ``metric`` and ``value``.

    Notes
    -----
    Machines of one plant that fail together, or share their weather, are fewer than they seem.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": "KNN", "dataset": ["plant"] * 3 + ["mill"], "metric": [
    ...     "vus_pr", "vus_pr[a]", "vus_pr[b]", "vus_pr"], "value": [0.5, 0.4, 0.7, 0.2]})
    >>> by_entity(cells)[["dataset", "metric", "value"]].values.tolist()
    [['plant[a]', 'vus_pr', 0.4], ['plant[b]', 'vus_pr', 0.7], ['mill', 'vus_pr', 0.2]]
    """
    instance(table, "table", pd.DataFrame)
    if missing := {"dataset", "metric", "value"} - set(table.columns):
        raise ValueError(f"table must be one of compare, it lacks {', '.join(sorted(missing))}")
    parts = table.metric.astype(str).str.extract(ROW)
    alone = parts[0].notna()
    names = table.dataset.astype(str) + "[" + parts[1] + "]"
    judged = table.value.notna().groupby(names.where(alone, table.dataset)).transform("any")
    kept = alone & judged | ~table.dataset.isin(table.dataset[alone])
    return table.assign(dataset=table.dataset.where(~alone, names),
                        metric=table.metric.where(~alone, parts[0]))[kept].reset_index(drop=True)
