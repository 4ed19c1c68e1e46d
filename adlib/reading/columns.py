"""Which columns are features: no labels, clocks, identifiers, dates or texts that nobody named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adlib.reading.labels import tokens
from adlib.reading.numbers import Numbers, trouble
from adlib.reading.options import Note, Reading, few

__all__ = ["features", "require"]

#: Names of a label column, which are refused whatever the column holds.
LABELS = {
    "label", "labels", "y", "target", "class", "anomaly", "is_anomaly", "anomalous", "outlier",
    "is_outlier", "attack", "fault", "is_fraud", "changepoint",
}  # fmt: skip
#: Parts of a name, and whole words in it, that make a column with the values of a label one.
LABEL_PARTS = ("anomal|outlier|attack|fraud|label|truth|changepoint|abnormal|intrusion|malicious"
               "|novelty|remaining_useful")
LABEL_WORDS = {"target", "class", "fault", "faults", "faulty", "failure", "defect", "normal",
               "benign", "gt", "outcome", "diagnosis", "fehler", "störung", "stoerung", "panne",
               "défaut", "fallo", "guasto", "pred", "predicted", "prediction", "rul", "ttf"}
SCORE_WORDS = {"score", "scores", "probability", "prob", "proba", "to", "until", "before",
               "remaining", "rul", "ttf"}
#: Last words in the name of a column that numbers the rows or says when they were written.
COUNTER_WORDS = {"id", "uuid", "index", "idx", "no", "nr", "number", "seq", "sequence", "row",
                 "record", "sample", "counter", "cycle", "tick", "timestamp", "ts", "time", "date",
                 "datetime", "unix", "epoch", "t", "elapsed", "sec", "secs", "seconds"}
#: Those that count time, also where it begins anew in each run; and words that number runs.
CLOCK_WORDS = {"t", "time", "timestamp", "ts", "elapsed", "sec", "secs", "seconds", "tick"}
RUN_WORDS = {"session", "run", "trial", "experiment", "recording", "episode", "batch", "lot"}
#: Words of what an anomaly does, or of what says so: a column of few values that may be a label.
SOFT_WORDS = {"effect", "alarm", "alert", "event", "incident", "disturbance", "injected"}
#: What is said of columns that may leak.
HINTS = {"hint": "may encode the label, changing on labelled rows alone",
         "near": "may be a second label, changing where rows are labelled",
         "runs": "may number runs, holding each value in one block of rows",
         "doubt": "may be labels or results of a detector, by name"}
#: Codes have no more values than that; a column that says more than a label not even so many.
FEW, SOME = 20, 100
#: Rows from which on it is no chance that a column rises with each, by the same step, or by name.
STRICT, EVEN, NAMED = 50, 20, 5
#: Rows from which on it is no chance that a column marks the rows that are labelled.
TOLD = 10

Codes = tuple[NDArray[np.intp], NDArray]


def require(frame: pd.DataFrame, names: Sequence[Any], option: str) -> None:
    """Refuse names that are no columns of the table.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    names : sequence
        As given.
    option : str
        That they were given with.

    Raises
    ------
    ValueError
        With the names that there are.
    """
    for name in names:
        if not isinstance(name, str) or name not in frame:
            near = [c for c in frame if str(c).lower().strip() == str(name).lower().strip()]
            has = f"only case or blanks differ: {near[0]!r}" if near else f"it has {few([*frame])}"
            raise ValueError(f"{option}={name!r} is not a column; {has}")


def features(
    frame: pd.DataFrame, reading: Reading, numbers: Numbers, y: NDArray[np.bool_] | None,
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
    asked = list(dict.fromkeys(reading.feature_columns or ()))
    require(frame, asked, "feature_columns")
    if leaked := [c for c in asked if c in special]:
        raise ValueError(f"{leaked} cannot be features and labels, time or entity at once")
    names = asked or _usable(frame, special, note)
    columns = {name: values for name in names if (values := _numbers(
        frame[name], numbers, wanted=bool(asked) and not texts)) is not None}
    used = list(names) if texts else list(columns)
    if len(used) < len(names):
        note(f"text columns left out: {few([c for c in names if c not in columns])} "
             "(load_csv(categorical='onehot') makes features of them)")
    if not asked:
        used = _honest(frame, columns, used, reading, y, note)
    if not used:
        raise ValueError(f"has no numeric column to use; columns: {few(list(frame))}; if they are "
                         "not split as they should be, give separator or skip_rows")
    numeric = {c: columns[c] for c in used if c in columns}
    return pd.DataFrame(numeric, index=frame.index, copy=False), used


def _usable(frame: pd.DataFrame, special: Sequence[str], note: Note) -> list[str]:
    """Columns that have a name and values, apart from those of labels and time."""
    names = [c for c in map(str, frame.columns) if c not in special]
    # "Unnamed: 0" is the row number that pandas and R write in front of a table
    hollow = [c for c in names if c.startswith("Unnamed: ") or frame[c].isna().all()]
    if hollow:
        note(f"columns without a name or values left out: {few(hollow)}")
    return [c for c in names if c not in hollow]


def _numbers(column: pd.Series, numbers: Numbers, wanted: bool) -> pd.Series | None:
    """A column as numbers; None for one of text that nobody asked for."""
    values, bad = numbers.column(column)
    if (sentence := trouble(column, values, bad, wanted=wanted)) is not None:
        raise ValueError(sentence)
    return None if bad.any() else values


def _honest(frame: pd.DataFrame, columns: dict[str, pd.Series], used: list[str], reading: Reading,
            y: NDArray[np.bool_] | None, note: Note) -> list[str]:
    """Features that nobody named, without those that number the rows; refused where one leaks."""
    codes = {c: _codes(columns.get(c, frame[c])) for c in used}
    counters = _counters(columns, frame.get(reading.entity_column))
    verdicts = _verdicts(codes | dict.fromkeys(counters), y)  # of those the name says enough
    good = [c for c in columns if not verdicts[c] and c not in counters]
    good = [c for c in good if _moves(codes[c], 0.99 if y is None else 1)] or good
    use = f"name the columns to use: feature_columns={good}" if good else "no other one is left"
    by: dict[str, list[str]] = {}
    for c, verdict in verdicts.items():
        by.setdefault(verdict, []).append(c)
    if named := by.get("name"):
        way = "leave it out" if reading.label_column in frame else "pass label_column="
        raise ValueError(f"{named} would be used as a feature and reads like a label, which would "
                         f"leak; {way}, or {use}")
    if same := by.get("same"):
        raise ValueError(f"{same} would be used as a feature and says which rows are labelled, "
                         f"which would leak; leave it out, or {use}")
    for verdict, what in HINTS.items():
        if verdict in by:
            note(f"{by[verdict]} {what}; if so, {use}")
    return _without(counters, used, note)


def _without(counters: dict[str, str], used: list[str], note: Note) -> list[str]:
    """Features other than those that number the rows; all where there are no others."""
    kept = [c for c in used if c not in counters]
    for why in dict.fromkeys(counters.values()):
        names = [c for c in counters if counters[c] == why]
        end = ("left out (name them in feature_columns to keep them; of a meter that adds up, the "
               "differences say more)" if kept else "kept, as there is no other feature")
        note(f"columns with {why}, as a clock, a counter or an identifier has: {few(names)} {end}")
    return kept or used


def _codes(column: pd.Series) -> Codes | None:
    """Which of its values each row of a column has, and these; None where they are many."""
    values = column if column.dtype == np.float64 else column.astype(str).str.strip()
    if values.iloc[:: max(1, len(values) // 1000)].nunique() > SOME:
        return None
    codes, found = pd.factorize(values, use_na_sentinel=False)
    return (codes, np.asarray(found)) if len(found) <= SOME else None


def _soft(words: set[str], codes: Codes | None) -> str:
    """Whether a name and few values leave a "doubt" of a label, or not ("")."""
    return "doubt" if words & SOFT_WORDS and _are_codes(codes) else ""


def _are_codes(codes: Codes | None) -> bool:
    """Whether the values of a column are few, and words or whole numbers."""
    return codes is not None and len(codes[1]) <= FEW and _whole(codes[1])


def _whole(values: NDArray, most: float = np.inf) -> bool:
    """Whether values could be codes: words, whole numbers up to that size, or nothing at all."""
    return values.dtype.kind != "f" or not (
        (np.abs(np.modf(values)[0]) > 0) | (np.abs(values) > most)).any()


def _named(name: str, codes: Codes | None, others: Sequence[str]) -> str:
    """Whether a column has the "name" of a label, leaves a "doubt", or neither ("")."""
    plain = name.lower().replace(" ", "_").replace("-", "_")
    if plain in LABELS:  # y beside x is a place or a direction, where it is measured
        return "" if plain == "y" and codes is None and {"x", "X"} & set(others) else "name"
    words = set(tokens(name))
    if not words & LABEL_WORDS and not re.search(LABEL_PARTS, plain):
        return _soft(words, codes)
    if codes is None or (words & SCORE_WORDS and len(codes[1]) > FEW):
        return "doubt" if words & SCORE_WORDS else ""
    return _as_label(codes)


def _as_label(codes: Codes) -> str:
    """The same of a column with the name of a label, by its values."""
    rows, values = codes[0], codes[1][~pd.isna(codes[1])]
    few = len(values) <= FEW
    if values.dtype.kind != "f":
        return "name" if few else ""
    if len(values) <= 2 and _whole(values, 10):
        return "name"
    return "doubt" if few and 10 * len(values) <= len(rows) else ""


def _verdicts(codes: dict[str, Codes | None], y: NDArray[np.bool_] | None) -> dict[str, str]:
    """What speaks against each column: its "name", the "same" values as the label, or less."""
    named = {c: _named(c, found, list(codes)) for c, found in codes.items()}
    truth = _presumed([codes[c] for c in codes if named[c] == "name"]) if y is None else y
    told = {c: "runs" if _in_blocks(found) else "" if truth is None else _told(found, truth)
            for c, found in codes.items()}
    if y is not None:  # values say more than a name that leaves a doubt
        named |= {c: "" for c, found in codes.items() if named[c] == "doubt" and (
            found is not None and len(found[1]) <= FEW)}
    return {c: named[c] if named[c] == "name" else told[c] or named[c] for c in codes}


def _presumed(labels: Sequence[Codes | None]) -> NDArray[np.bool_] | None:
    """Which rows a column that reads like a label marks: presumably, most rows are normal."""
    known = [found[0] for found in labels if found is not None]
    return known[-1] != np.argmax(np.bincount(known[-1])) if known else None


def _told(codes: Codes | None, y: NDArray[np.bool_]) -> str:
    """Whether a column says the "same" as a label, a "hint" of it, or neither ("")."""
    n, k = len(y), int(y.sum())
    if codes is None or n < TOLD or not 2 <= k < n:
        return ""
    rows, values = np.bincount(codes[0]), codes[1]
    anomalous = np.bincount(codes[0], weights=y)
    normal = anomalous == 0
    own = int((anomalous == rows).sum())
    # a sensor at rest may separate too, but by values that hardly come twice, or by fractions
    if own + normal.sum() == len(rows) <= FEW and 2 * own <= k and normal.sum() <= 3 and (
            5 * normal.sum() <= n - k and _whole(values)):
        return "same"
    usual = int(np.argmax(rows - anomalous))
    return "" if 2 * (len(values) - 1) > n - rows[usual] else _moves_with(
        codes, y, n - rows[usual], k - anomalous[usual])


def _moves_with(codes: Codes, y: NDArray[np.bool_], moved: int, hit: int) -> str:
    """Whether rows that leave a column's usual value, some of them labelled, are a "hint"."""
    n, k = len(y), int(y.sum())
    if hit >= 0.95 * moved and hit * np.log(k / n) <= np.log(0.005):
        return "hint"
    runs = 1 + np.count_nonzero(y[1:] > y[:-1])  # a mode may cover one of them by chance
    near = hit >= 0.75 * k and 2 * moved <= n and runs * np.log(moved / n) < np.log(0.05)
    return "near" if near and _are_codes(codes) else ""


def _in_blocks(codes: Codes | None) -> bool:
    """Whether each of several whole values fills one long block of rows."""
    if codes is None or not 3 <= len(codes[1]) <= len(codes[0]) / 20:
        return False
    changes = np.count_nonzero(codes[0][1:] != codes[0][:-1])
    return changes == len(codes[1]) - 1 and _whole(codes[1])


def _moves(codes: Codes | None, share: float) -> bool:
    """Whether no value of a column fills that share of its rows, as that of a rare flag does."""
    return codes is None or bool(np.bincount(codes[0]).max() < share * len(codes[0]))


def _counters(columns: dict[str, pd.Series], entity: pd.Series | None) -> dict[str, str]:
    """Columns that only number the rows, in the order given or that of the file, and by what."""
    found: dict[str, str] = {}
    group = None if entity is None else pd.factorize(entity)[0]
    orders: list[NDArray[np.intp] | None] = [None]
    for name, column in columns.items():
        if not found and not column.index.is_monotonic_increasing:
            orders = [None, np.argsort(column.index.to_numpy(), kind="stable")]
        told = bool(set(tokens(name)[-1:]) & COUNTER_WORDS)
        values = column.to_numpy()
        reasons = [_rises(values, order, told, group) for order in orders]
        if told and column.count() >= EVEN and column.is_unique and _whole(values):
            reasons.append("another whole number in every row")
        reasons.append(_begins_anew(values, set(tokens(name))))
        found[name] = next(filter(None, reasons), "")
    return {name: why for name, why in found.items() if why}


def _begins_anew(values: NDArray, words: set[str]) -> str:
    """How a column that is named like a clock or a run begins anew with some rows; else ""."""
    steps = np.diff(values[np.isfinite(values)])
    if len(steps) < EVEN or not steps.any():
        return ""
    if words & CLOCK_WORDS and (steps >= 0).mean() >= 0.95:
        return "values that rise and begin anew"
    return "one value in each run of rows" if words & RUN_WORDS and _whole(values) and (
        EVEN * (np.count_nonzero(steps) + 1) <= len(values)) else ""


def _rises(values: NDArray, order: NDArray[np.intp] | None, told: bool, group: NDArray | None
           ) -> str:
    """How a column rises or falls, if it does so in every row (of a machine); else ""."""
    for n in (STRICT, len(values)):  # the first rows settle it for most
        at = slice(n) if order is None else order[:n]
        some = values[at]
        rows = np.flatnonzero(np.isfinite(some))
        steps, rise = np.diff(some[rows]), np.diff(rows)
        if group is not None:
            within = np.diff(group[at][rows]) == 0
            steps, rise = steps[within], rise[within]
        moved = np.count_nonzero(steps)  # a clock may stand still for a row
        one_way = (steps >= 0).all() or (steps <= 0).all()
        if not one_way or not (told or moved >= 0.9 * len(steps)):
            return ""
    if len(steps) < max((NAMED if told else EVEN) - 1, len(values) / 2 - 1) or not steps.any():
        return ""
    slopes = steps / rise
    off = np.abs(slopes - slopes[0]).max()
    if off <= 1e-6 * abs(slopes[0]) + 1e-15 * np.abs(some[rows]).max():
        return "the same step from row to row"
    return "values that rise or fall with every row" if told or len(steps) >= STRICT - 1 else ""
