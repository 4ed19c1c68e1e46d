"""Which columns are features: no labels, clocks, identifiers, dates or texts that nobody named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adlib.reading.options import Note, Reading

__all__ = ["features", "require"]

#: Names of a label column, which are refused whatever the column holds.
LABELS = {
    "label", "labels", "y", "target", "class", "anomaly", "is_anomaly", "anomalous", "outlier",
    "is_outlier", "attack", "fault", "is_fraud", "changepoint",
}  # fmt: skip
#: Words in a name that make a column with the values of a label suspicious.
LABEL_WORDS = {
    "label", "labels", "target", "class", "anomaly", "anomalies", "anomalous", "abnormal",
    "outlier", "outliers", "attack", "attacks", "fault", "faults", "faulty", "fraud", "failure",
    "changepoint", "truth", "groundtruth", "intrusion", "malicious", "defect", "novelty",
}  # fmt: skip
#: Words in the name of a column that numbers the rows or says when they were written.
COUNTER_WORDS = {"id", "ids", "uuid", "index", "idx", "no", "nr", "seq", "sequence", "row", "rows",
                 "timestamp", "unix", "epoch", "time"}
#: A number as people write it: 1,234.5 or 1.234,5 or 0,5.
WRITTEN_NUMBER = r"\s*[-+]?(\d{1,3}([.,' \u00a0]\d{3})+|\d+)([.,]\d+)?\s*"
#: A column with more values than this is none of codes.
FEW = 20
#: From so many rows on it is no chance that a column rises with every row, or by the same step.
STRICT, EVEN = 50, 20


def require(frame: pd.DataFrame, names: Sequence[Any], option: str) -> None:
    """Refuse names that are no columns of the table.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    names : sequence
        As told.
    option : str
        That they were told with.

    Raises
    ------
    ValueError
        With the names that there are.
    """
    for name in names:
        if isinstance(name, bool):
            raise ValueError(f"{option}={name!r} is not a column; YAML reads on, off, yes and no "
                             f"as True and False; put it in quotes")
        if not isinstance(name, str) or name not in frame:
            raise ValueError(f"{option}={name!r} is not a column; it has {list(frame.columns)}")


def features(
    frame: pd.DataFrame, reading: Reading, numbers: Any, y: NDArray[np.bool_] | None,
    special: Sequence[str], note: Note, *, texts: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """The feature columns of a table, as numbers.

    Columns that nobody named are looked at: one that reads like a label or says which rows are
    labelled is refused; one that only numbers the rows, an empty one and one of text are left out.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table, in the order of time; its index tells the order of the file.
    reading : Reading
        Of which `feature_columns` names the features.
    numbers : Numbers
        How the cells write numbers.
    y : bool ndarray of shape (n_rows,) or None
        Which rows are anomalous, where that is known.
    special : sequence of str
        Columns of time, labels and entities, which are no features.
    note : callable
        Takes sentences on what was left out.
    texts : bool, default=False
        Whether columns of text become features later.

    Returns
    -------
    values : pandas.DataFrame of float64
        The numeric features; infinite values are NaN.
    names : list of str
        All features in their order, those of text too.

    Raises
    ------
    ValueError
        When a name is no column, a column is not numeric, would leak, or none is left.
    """
    asked = list(reading.feature_columns or ())
    require(frame, asked, "feature_columns")
    if leaked := [c for c in asked if c in special]:
        raise ValueError(f"{leaked} cannot be features and labels, time or entity at once")
    names = asked or _usable(frame, special, note)
    found = {name: _numbers(frame[name], numbers, wanted=bool(asked) and not texts)
             for name in names}
    columns = {name: values for name, values in found.items() if values is not None}
    used = list(found) if texts else list(columns)
    if len(used) < len(found):
        note(f"text columns left out: {[c for c in found if c not in columns]} "
             "(load_csv(categorical='onehot') makes features of them)")
    _no_label([] if asked else used)
    if not used:
        raise ValueError(f"has no numeric column to use; columns: {list(frame)}")
    return pd.DataFrame(columns, index=frame.index), used


def _no_label(used: Sequence[str]) -> None:
    odd = [c for c in used if c.lower().replace(" ", "_").replace("-", "_") in LABELS]
    if odd:
        raise ValueError(
            f"{odd} would be used as a feature and reads like a label, which would leak; pass "
            "label_column=, or name the columns to use: "
            f"feature_columns={[c for c in used if c not in odd]}"
        )


def _usable(frame: pd.DataFrame, special: Sequence[str], note: Note) -> list[str]:
    """Columns that have a name and values, apart from those of labels and time."""
    names = [c for c in map(str, frame.columns) if c not in special]
    # "Unnamed: 0" is the row number that pandas and R write in front of a table
    hollow = [c for c in names if c.startswith("Unnamed: ") or frame[c].isna().all()]
    if hollow:
        note(f"columns without a name or values left out: {hollow}")
    return [c for c in names if c not in hollow]


def _numbers(column: pd.Series, numbers: Any, wanted: bool) -> pd.Series | None:
    """A column as numbers; None for one of text that nobody asked for."""
    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.astype(str)  # else dates would pass as nanoseconds since 1970
    values, bad = numbers.column(column)
    if not bad.any():
        return values
    present = column[column.notna()].astype(str)
    text = bad[column.notna()].all() and not present.str.fullmatch(WRITTEN_NUMBER).all()
    if wanted or not text:
        row = int(np.argmax(bad))
        raise ValueError(
            f"column {column.name!r} is not numeric ({column.iloc[row]!r} in data row "
            f"{column.index[row] + 1}); correct it (a number is 1234.5), or name the columns to "
            "use with feature_columns="
        )
    return None
