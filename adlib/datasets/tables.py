"""Read a user's table: find the separator, parse, order by time, label, pick the features."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adlib.arguments import listed, number, one_of
from adlib.arguments import path as as_path
from adlib.datasets.categories import with_categories
from adlib.datasets.dataset import Dataset

__all__ = ["load_csv"]

PathLike = str | os.PathLike

#: Words that are understood in a label column without `normal_label`.
NORMAL_WORDS = {"0", "0.0", "false", "no", "n", "normal", "ok", "good", "benign", "inlier"}
ANOMALY_WORDS = {
    "1", "1.0", "true", "yes", "y", "anomaly", "anomalous", "abnormal", "outlier", "attack",
    "fault", "fraud", "malicious",
}  # fmt: skip
LABEL_LIKE = {
    "label", "labels", "y", "target", "class", "anomaly", "is_anomaly", "anomalous", "outlier",
    "is_outlier", "attack", "fault", "is_fraud", "changepoint",
}  # fmt: skip

#: A date that begins with its day or its month, such as 31.01.2024 or 1/31/24.
DAY_OR_MONTH = r"^\s*(\d{1,2})[./-](\d{1,2})[./-](?:\d{4}|\d{2})\b"
#: A time of day that ends with its zone, such as 13:45Z or 13:45:10+01:00.
WITH_ZONE = r":\d\d.*(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)\s*$"
#: A number as people write it: 1,234.5 or 1.234,5 or 0,5.
WRITTEN_NUMBER = r"\s*[-+]?(\d{1,3}([.,' \u00a0]\d{3})+|\d+)([.,]\d+)?\s*"


def load_csv(
    path: PathLike,
    *,
    label_column: str | None = None,
    time_column: str | None = None,
    feature_columns: Sequence[str] | None = None,
    normal_label: object = None,
    label_windows: Sequence[Sequence[object]] | PathLike | None = None,
    train_fraction: float = 0.4,
    missing: str = "error",
    categorical: str = "drop",
    time_unit: str | None = None,
    name: str | None = None,
) -> Dataset:
    """A CSV (or Parquet) file as a dataset.

    Rows are sorted by time if they are not in order (with a warning). Irregular steps are kept as
    they are; repeated timestamps are kept in file order (with a warning).

    Parameters
    ----------
    path : str or path
        A file in UTF-8 with a header line, separated by commas, semicolons or tabs; unless by
        commas, a column may have decimal commas (read with a warning). ``.parquet`` needs pyarrow.
    label_column : str, default=None
        Column with 0/1, True/False or words such as "normal" and "anomaly". None: nothing is
        labelled, so every ``y`` is 0.
    time_column : str, default=None
        Column of dates, or of numbers when ``time_unit`` says what they count. 03.04.2024 is the
        third of April; of 03/04/2024 the other rows decide (if none does: March, with a warning).
    feature_columns : sequence of str, default=None
        Columns to use; all others if None (empty ones and those without a name are left out with
        a warning, as columns of text are by default; one that is named like a label is refused).
    normal_label : object, default=None
        The value of the label column that means normal; all others are anomalies and become
        their ``kind``.
    label_windows : sequence of (start, end) or path, default=None
        Labels that are not in the file: times, both included, between which rows are anomalous.
        Or a JSON file that holds such a list, or lists by file name as in NAB's
        ``combined_windows.json``. Needs ``time_column`` and excludes ``label_column``.
    train_fraction : float, default=0.4
        Share of rows, in time order, that are history.
    missing : {"error", "drop", "hold", "keep"}, default="error"
        What to do with missing or infinite values: refuse, drop the row, repeat the last value
        (first rows without one are dropped), or keep them as NaN, for ``missing="impute"`` of
        detectors and `adlib.compare.compare`.
    categorical : {"drop", "onehot"}, default="drop"
        What to do with columns of text (True and False are 0 and 1, no text): leave them out, or
        make a column of zeros and ones of each value, such as ``colour=red``. The values are those
        of the history, at most 20 a column, of which the last then holds the rarer ones together
        (``colour=(other)``); a missing text is a value (``colour=(missing)``); a value that comes
        later is 0 in all of them, with a warning. A column that names the rows (more than 20 values
        in more than half of as many) is left out.
    time_unit : {"s", "ms", "us", "ns"}, default=None
        Unit of a numeric time column, counted from 1970.
    name : str, default=None
        Name of the dataset; the file's if None.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is not there or cannot be read as what it is meant to be; the message names
        file, column and remedy.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "oven.csv"
    ...     _ = path.write_text("when,heat,state\\n2024-01-01,1,ok\\n2024-01-02,9,fault\\n")
    ...     load_csv(path, time_column="when", label_column="state").y
    array([0, 1], dtype=int8)
    """
    one_of(missing, "missing", ("error", "drop", "hold", "keep"))
    one_of(categorical, "categorical", ("drop", "onehot"))
    one_of(time_unit, "time_unit", (None, "s", "ms", "us", "ns"))
    number(train_fraction, "train_fraction", above=0, below=1)
    path = as_path(path, "path")
    frame = read_table(path)
    for option, column in [("label_column", label_column), ("time_column", time_column)]:
        require(path, frame, [] if column is None else [column], option)

    time = kind = None
    if time_column is not None:
        frame, time = _in_time_order(path, frame, time_column, time_unit)
    y = np.zeros(len(frame), bool)
    if label_column is not None:
        y, kind = _labels(path, frame[label_column], normal_label)
    if label_windows is not None:
        if time is None or label_column is not None:
            raise ValueError(
                f"{path.name}: label_windows needs time_column, and takes the place of label_column"
            )
        windows = windows_of(path, label_windows)
        y = inside(path, time, windows)
        _same_zone(path, frame[time_column], windows)
    if kind is None:
        kind = np.where(y, "anomaly", "")
    special = [c for c in (label_column, time_column) if c is not None]
    values, names = _features(path, frame, feature_columns, special, categorical == "onehot")

    keep = _present(path, values, missing)
    train_end = int(train_fraction * keep.sum())
    values = (values.ffill() if missing == "hold" else values)[keep]
    if len(names) > values.shape[1]:
        values = with_categories(path.name, values, frame[keep], names, train_end)
    return Dataset(
        name=path.stem if name is None else str(name),
        X=values.to_numpy(np.float64),
        y=y[keep],
        time=None if time is None else time[keep],
        feature_names=tuple(values.columns),
        kind=kind[keep],
        train_end=train_end,
        source=f"file {path.name}",
    )


def read_table(path: Path) -> pd.DataFrame:
    """A table with a header line; every failure is one sentence that names the file."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        start = "" if path.is_absolute() else f", as seen from {Path.cwd()}"
        raise FileNotFoundError(f"{path} is {what}; give the path of a CSV or Parquet file{start}")
    separator = ","
    try:
        if path.suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        else:
            separator = _sniff(path)
            frame = pd.read_csv(path, sep=separator, encoding="utf-8-sig", low_memory=False)
    except ImportError as error:
        raise ImportError(f"{path.name}: reading Parquet needs pyarrow; pip install it") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name}: is not in UTF-8; save it so (in Excel: 'CSV UTF-8')"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path.name}: not readable as a table ({reason})") from error
    if not len(frame):
        raise ValueError(f"{path.name}: has no rows below its header")
    frame.columns = pd.Index([str(c).strip() for c in frame.columns])
    if (values := pd.to_numeric(pd.Series(frame.columns), errors="coerce") % 1 > 0).any():
        first = frame.columns[values][0]
        raise ValueError(
            f"{path.name}: a column is named {first!r}, as if the first line held values; "
            "put a line of column names above it"
        )
    if separator != ",":
        _read_decimal_commas(path, frame)
    return frame


def _sniff(path: Path) -> str:
    """The separator: what stands most often in the header line."""
    with path.open(encoding="utf-8-sig") as lines:
        header = lines.readline()
    return max(",;\t", key=header.count)


def _read_decimal_commas(path: Path, frame: pd.DataFrame) -> None:
    """Turn columns such as 21,5 into numbers, in place; a thousands separator is none of them."""
    found = []
    for name in frame.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]]:
        text = frame[name].astype(str)
        if text[frame[name].notna()].str.fullmatch(r"\s*[-+]?\d+(,\d+)?\s*").all():
            frame[name] = pd.to_numeric(text.str.replace(",", "."), errors="coerce")
            found.append(name)
    if found:
        warnings.warn(f"{path.name}: decimal commas read in {found}", stacklevel=4)


def require(path: Path, frame: pd.DataFrame, columns: Sequence[str], option: str) -> None:
    """Refuse names that are no columns of the table."""
    for column in columns:
        if not isinstance(column, str) or column not in frame:
            raise ValueError(
                f"{path.name}: {option}={column!r} is not a column; it has {list(frame.columns)}"
            )


def _first_bad(bad: np.ndarray, column: pd.Series) -> str:
    row = int(np.argmax(bad))
    return f"{column.iloc[row]!r} in data row {row + 1}"


def _in_time_order(
    path: Path, frame: pd.DataFrame, time_column: str, unit: str | None
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows sorted by time, and their timestamps."""
    time = _timestamps(path, frame[time_column], unit)
    if (time[1:] < time[:-1]).any():
        back = 1 + int(np.argmax(time[1:] < time[:-1]))
        first = f"{frame[time_column].iloc[back]} after {frame[time_column].iloc[back - 1]}"
        order = np.argsort(time, kind="stable")
        frame, time = frame.iloc[order].reset_index(drop=True), time[order]
        warnings.warn(
            f"{path.name}: rows were not in time order; sorted (the first, in data row "
            f"{back + 1}: {first}; if the clock was put back there, write times with their "
            "offset from UTC)",
            stacklevel=3,
        )
    repeated = int((time[1:] == time[:-1]).sum())
    if 2 * repeated >= len(time):
        raise ValueError(
            f"{path.name}: {repeated} of {len(time)} rows repeat the timestamp before them, so "
            "the time between rows is 0; split a file that holds several machines, average "
            "the rows of one timestamp, or leave time_column out"
        )
    if repeated:
        warnings.warn(
            f"{path.name}: {repeated} rows repeat the timestamp before them; kept in file "
            "order (if the file holds several machines, split it)",
            stacklevel=3,
        )
    return frame, time


def _timestamps(path: Path, column: pd.Series, unit: str | None) -> np.ndarray:
    """A column as datetime64[ns] in UTC, shape (n_rows,)."""
    numeric = pd.api.types.is_numeric_dtype(column)
    if numeric and unit is None:
        raise ValueError(
            f"{path.name}: time column {column.name!r} holds numbers; "
            "say what they count with time_unit='s', 'ms', 'us' or 'ns'"
        )

    def read(**how: Any) -> pd.Series:
        return pd.Series(pd.to_datetime(column, errors="coerce", utc=True, **how))

    # ISO 8601 first: there some rows may have fractions of a second and others not
    parsed = read(unit=unit) if numeric else read(format="ISO8601")
    if parsed.isna().any() and not numeric:
        day_first = _day_first(path, column)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas says that it guesses row by row; we check
            parsed = read(dayfirst=day_first)
    if parsed.isna().any():
        bad = _first_bad(parsed.isna().to_numpy(), column)
        raise ValueError(
            f"{path.name}: time column {column.name!r}: cannot read {bad} as a date; "
            "write dates in one way, best as 2024-01-31 13:45"
        )
    return parsed.dt.tz_localize(None).to_numpy("datetime64[ns]")


def _day_first(path: Path, column: pd.Series) -> bool:
    """Whether 03/04/2024 is in April: decided by a number above 12 in any row, else by dots."""
    parts = column.astype(str).str.extract(DAY_OR_MONTH).dropna().astype(int)
    first, second = parts.max() if len(parts) else (0, 13)
    if max(first, second) > 12:
        return bool(first > 12)
    example = str(column.loc[parts.index[0]])
    if "." in example.split(" ")[0]:
        return True
    if (parts[0] != parts[1]).any():
        warnings.warn(
            f"{path.name}: dates such as {example!r} are read with the month first; "
            "if that is wrong, write them as 2024-01-31",
            stacklevel=5,
        )
    return False


def _labels(path: Path, column: pd.Series, normal: object) -> tuple[np.ndarray, np.ndarray]:
    """``y`` (1 = anomaly) and ``kind`` of a label column."""
    where = f"{path.name}: label column {column.name!r}"
    if column.isna().any():
        raise ValueError(f"{where} is empty in {int(column.isna().sum())} rows; fill or drop them")
    words = column.astype(str).str.strip().to_numpy(str)
    if normal is not None:
        # 0, 0.0 and "0" are the same label to someone who looks at the file.
        same = words == str(normal)
        if pd.api.types.is_number(normal) and pd.api.types.is_numeric_dtype(column):
            same = column.to_numpy(float) == float(str(normal))
        if not same.any():
            raise ValueError(f"{where} never holds normal_label={normal!r}; {_seen(words)}")
        return ~same, np.where(same, "", words)
    lower = np.char.lower(words)
    y = np.isin(lower, list(ANOMALY_WORDS))
    if not (y | np.isin(lower, list(NORMAL_WORDS))).all():
        raise ValueError(
            f"{where} is not 0/1; {_seen(words)}; name the normal one with normal_label="
        )
    return y, np.where(y, "anomaly", "")


def inside(path: Path, time: np.ndarray, windows: Sequence[Sequence[object]]) -> np.ndarray:
    """True on rows whose time lies in one of the windows, boolean of shape (n_rows,)."""
    y = np.zeros(len(time), bool)
    for window in listed(windows, "label_windows"):
        try:
            first, last = (pd.to_datetime(t, utc=True).tz_localize(None) for t in window)
        except (AttributeError, OverflowError, TypeError, ValueError):
            first = last = pd.NaT
        if not first <= last:  # also where one is not a time
            raise ValueError(
                f"{path.name}: a label window is [start, end] with start <= end, got {window!r}"
            )
        inside = (time >= first.to_datetime64()) & (time <= last.to_datetime64())
        if not inside.any():
            raise ValueError(
                f"{path.name}: no row lies in the label window {window!r}; the file runs from "
                f"{pd.Timestamp(time.min())} to {pd.Timestamp(time.max())}"
            )
        y |= inside
    return y


def _same_zone(path: Path, column: pd.Series, windows: Sequence[Sequence[object]]) -> None:
    """Warn where only one of rows and windows has a time zone: they may be hours apart."""
    if pd.api.types.is_numeric_dtype(column):
        return  # counted from 1970 in UTC
    ends = [t for window in windows for t in window]
    zoned, *others = (bool(re.search(WITH_ZONE, str(t))) for t in [column.iloc[0], *ends])
    if any(other != zoned for other in others):
        having, lacking = ("times", "label windows") if zoned else ("label windows", "times")
        warnings.warn(
            f"{path.name}: the {having} have a time zone; the {lacking} have none and are read as "
            "UTC: if they are local, the labels are hours off, so write both with a zone",
            stacklevel=3,
        )


def windows_of(
    path: Path, label_windows: Sequence[Sequence[object]] | PathLike
) -> Sequence[Sequence[object]]:
    """The label windows of the table at ``path``: given, or from a JSON file of lists by name."""
    if not isinstance(label_windows, PathLike):
        return label_windows
    file = Path(label_windows)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there; label_windows is a list or a JSON file")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f'{file.name}: not readable as JSON ({error}); it should hold [["2024-01-31 13:45", '
            f'"2024-01-31 14:00"], ...] or such lists by file name'
        ) from error
    if not isinstance(found, dict):
        return found
    here = path.absolute().parts
    keys = [key for key in found if here[-len(Path(key).parts) :] == Path(key).parts]
    if not keys:
        raise ValueError(f"{file.name}: has no entry for {path.name}; keys are like {min(found)!r}")
    return found[max(keys, key=len)]


def _seen(words: np.ndarray) -> str:
    values = np.unique(words).tolist()
    return f"it holds {values[:6]}" + (f" and {len(values) - 6} more" if len(values) > 6 else "")


def _features(
    path: Path, frame: pd.DataFrame, wanted: Sequence[str] | None, special: Sequence[str],
    with_texts: bool,
) -> tuple[pd.DataFrame, list[str]]:
    """The numeric feature columns, infinite values as missing ones; names of all features."""
    wanted = [] if wanted is None else wanted
    asked = [wanted] if isinstance(wanted, str) else listed(wanted, "feature_columns")
    require(path, frame, asked, "feature_columns")
    if leaked := [c for c in asked if c in special]:
        raise ValueError(f"{path.name}: {leaked} cannot be features and labels or time at once")
    names = asked or _usable(path, frame, special)
    asks = bool(asked) and not with_texts
    found = {name: _numbers(path, frame[name], wanted=asks) for name in names}
    columns = {name: numbers for name, numbers in found.items() if numbers is not None}
    used = list(found) if with_texts else list(columns)
    if len(used) < len(found):
        warnings.warn(
            f"{path.name}: text columns left out: {[c for c in found if c not in columns]} "
            "(load_csv(categorical='onehot') makes features of them)", stacklevel=3
        )
    _no_label(path, [] if asked else used)
    if not used:
        raise ValueError(f"{path.name}: has no numeric column to use; columns: {list(frame)}")
    return pd.DataFrame(columns, index=frame.index), used


def _no_label(path: Path, used: Sequence[str]) -> None:
    """Refuse features that nobody named and that read like labels."""
    odd = [c for c in used if re.sub(r"[\s-]", "_", c.lower()) in LABEL_LIKE]
    if odd:
        raise ValueError(
            f"{path.name}: {odd} would be used as a feature and reads like a label, which would "
            "leak; pass label_column=, or name the columns to use: "
            f"feature_columns={[c for c in used if c not in odd]}"
        )


def _usable(path: Path, frame: pd.DataFrame, special: Sequence[str]) -> list[str]:
    """Columns that have a name and values, apart from those of labels and time."""
    names = [c for c in map(str, frame.columns) if c not in special]
    # "Unnamed: 0" is the row number that pandas and R write in front of a table
    hollow = [c for c in names if c.startswith("Unnamed: ") or frame[c].isna().all()]
    if hollow:
        warnings.warn(
            f"{path.name}: columns without a name or values left out: {hollow}", stacklevel=4
        )
    return [c for c in names if c not in hollow]


def _numbers(path: Path, column: pd.Series, wanted: bool) -> pd.Series | None:
    """A column as numbers; None for one of text that nobody asked for."""
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.astype(str)  # else dates would pass as nanoseconds since 1970
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    bad = (numbers.isna() & column.notna()).to_numpy()
    if not bad.any():
        return numbers.replace([np.inf, -np.inf], np.nan)
    text = bad[column.notna()].all() and not (
        column.dropna().astype(str).str.fullmatch(WRITTEN_NUMBER).all())
    if wanted or not text:
        raise ValueError(
            f"{path.name}: column {column.name!r} is not numeric ({_first_bad(bad, column)}); "
            "correct it (a number is 1234.5), or name the columns to use with feature_columns="
        )
    return None


def _present(path: Path, values: pd.DataFrame, missing: str) -> np.ndarray:
    """Rows to keep under the policy for missing values, boolean of shape (n_rows,)."""
    gaps = values.isna()
    if missing == "error" and gaps.any(axis=None):
        column = gaps.any().idxmax()
        raise ValueError(
            f"{path.name}: column {column!r} has {int(gaps[column].sum())} missing or infinite "
            f"values (first in data row {int(gaps[column].to_numpy().argmax()) + 1}); "
            "pass missing='hold', 'drop' or 'keep'"
        )
    if missing == "hold":
        gaps = values.ffill().isna()
    keep = np.ones(len(values), bool) if missing == "keep" else ~gaps.any(axis=1).to_numpy()
    if not keep.any():
        raise ValueError(f"{path.name}: no row is left with missing={missing!r}")
    return keep
