"""Load the user's tables, scikit-learn's bundled sets, public collections and own recordings."""

from __future__ import annotations

import difflib
import json
import os
import re
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from adlib.arguments import generator, listed, number, one_of, whole
from adlib.arguments import path as as_path
from adlib.datasets.dataset import Dataset
from adlib.datasets.sources import ADBENCH, NAB, SKAB, Collection

PathLike = str | os.PathLike

#: Words that are understood in a label column without being told which one is normal.
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
        Columns to use; all other numeric ones if None (columns of text, empty ones and those
        without a name are left out with a warning, one that is named like a label is refused).
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
        (first rows without one are dropped), or keep them as NaN.
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
    >>> path = Path(tempfile.mkdtemp()) / "oven.csv"
    >>> _ = path.write_text("when,heat,state\\n2024-01-01,1,ok\\n2024-01-02,9,fault\\n")
    >>> load_csv(path, time_column="when", label_column="state").y
    array([0, 1], dtype=int8)
    """
    one_of(missing, "missing", ("error", "drop", "hold", "keep"))
    one_of(time_unit, "time_unit", (None, "s", "ms", "us", "ns"))
    number(train_fraction, "train_fraction", above=0, below=1)
    path = as_path(path, "path")
    frame = _read(path)
    for option, column in [("label_column", label_column), ("time_column", time_column)]:
        _require(path, frame, [] if column is None else [column], option)

    time = None
    if time_column is not None:
        time = _time(path, frame[time_column], time_unit)
        if (time[1:] < time[:-1]).any():
            back = 1 + int(np.argmax(time[1:] < time[:-1]))
            first = f"{frame[time_column].iloc[back]} after {frame[time_column].iloc[back - 1]}"
            order = np.argsort(time, kind="stable")
            frame, time = frame.iloc[order].reset_index(drop=True), time[order]
            warnings.warn(
                f"{path.name}: rows were not in time order; sorted (the first, in data row "
                f"{back + 1}: {first}; if the clock was put back there, write times with their "
                "offset from UTC)",
                stacklevel=2,
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
                stacklevel=2,
            )

    y = kind = None
    if label_column is not None:
        y, kind = _labels(path, frame[label_column], normal_label)
    if label_windows is not None:
        if time is None or label_column is not None:
            raise ValueError(
                f"{path.name}: label_windows needs time_column, and takes the place of label_column"
            )
        if isinstance(label_windows, PathLike):
            label_windows = _windows_in(Path(label_windows), path)
        y = _inside(path, time, label_windows)
        _same_zone(path, frame[time_column], label_windows)
    special = [c for c in (label_column, time_column) if c is not None]
    values = _features(path, frame, feature_columns, special)

    keep = _present(path, values, missing)
    if missing == "hold":
        values = values.ffill()
    return Dataset(
        name=path.stem if name is None else str(name),
        X=values[keep].to_numpy(np.float64),
        y=None if y is None else y[keep],
        time=None if time is None else time[keep],
        feature_names=tuple(values.columns),
        kind=None if kind is None else kind[keep],
        train_end=int(train_fraction * keep.sum()),
        source=f"file {path.name}",
    )


def load_sklearn(
    name: str, *, anomaly_class: int | None = None, random_state: int | None = 0
) -> Dataset:
    """A classification set bundled with scikit-learn, as a one-class problem.

    History is a random half of the normal rows; the test holds the other half and all anomalies.

    Parameters
    ----------
    name : {"breast_cancer", "digits"}
        569 biopsies (30 features), malignant ones are the anomalies; or 1,797 images of 8 x 8
        pixels, one digit is the anomaly.
    anomaly_class : int, default=None
        Class that counts as anomalous; 0 (malignant) or the digit 8 if None.
    random_state : int or None, default=0
        Draws the half and the order of rows.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        For another set, or a class that the set does not have.

    Examples
    --------
    >>> load_sklearn("breast_cancer")
    Dataset('breast_cancer': 569 rows x 30, history 178, anomalous rows 212)
    """
    from sklearn import datasets

    loaders = {
        "breast_cancer": (datasets.load_breast_cancer, 0),
        "digits": (datasets.load_digits, 8),
    }
    load, default = loaders[one_of(name, "name", sorted(loaders))]
    bunch = load()
    wanted = default if anomaly_class is None else whole(anomaly_class, "anomaly_class", 0)
    if wanted not in bunch.target:
        known = sorted(set(bunch.target.tolist()))
        raise ValueError(f"anomaly_class must be one of {known}, got {anomaly_class}")
    return _one_class(
        name,
        bunch.data,
        bunch.target == wanted,
        source=f"scikit-learn's {name} (UCI Machine Learning Repository, CC BY 4.0)",
        kind=str(bunch.target_names[wanted]) if name == "breast_cancer" else f"digit {wanted}",
        feature_names=tuple(str(f) for f in bunch.feature_names),
        random_state=random_state,
    )


def load_adbench(
    name: str | None = None,
    *,
    root: PathLike | None = None,
    max_rows: int | None = 6000,
    random_state: int | None = 0,
) -> Dataset | dict[str, Dataset]:
    """A tabular set of ADBench (Han et al. 2022), as a one-class problem.

    A random half of the normal rows is history; the rest and all anomalies are the test, in random
    order. Columns are left on their own scales.

    Parameters
    ----------
    name : str, default=None
        "thyroid" or "38_thyroid"; None loads all that can be found, as a dict by name.
    root : path, default=None
        Folder that holds ``adbench/``; else ``ADLIB_DATA``; else files are fetched.
    max_rows : int or None, default=6000
        Larger sets are thinned at random, by label, to this many rows with at least 20 anomalies
        where there are as many.
    random_state : int or None, default=0
        Draws rows, halves and order.

    Returns
    -------
    Dataset or dict of str to Dataset
    """

    def load(path: str) -> Dataset:
        # allow_pickle stays off: these files come from elsewhere.
        with np.load(ADBENCH.file(path, root)) as arrays:
            X, y = arrays["X"].astype(np.float64), arrays["y"].astype(bool)
        if max_rows is not None and len(X) > max_rows:
            n_anomalies = max(round(max_rows * y.mean()), min(20, int(y.sum())))
            rng = generator(random_state)
            rows = np.concatenate(
                [
                    rng.choice(np.flatnonzero(y), n_anomalies, replace=False),
                    rng.choice(np.flatnonzero(~y), max_rows - n_anomalies, replace=False),
                ]
            )
            X, y = X[rows], y[rows]
        return _one_class(Path(path).stem, X, y, source=ADBENCH.source, random_state=random_state)

    return _load(ADBENCH, "*.npz", name, root, load)


def load_nab(
    name: str | None = None, *, root: PathLike | None = None
) -> Dataset | dict[str, Dataset]:
    """A stream of the Numenta Anomaly Benchmark (Lavin and Ahmad 2015).

    Rows stay in the order of the file, as the benchmark streams them; where the clock steps back
    (once in the corpus), ``time`` stands still. ``y`` marks NAB's windows (combined_windows.json),
    history is its probationary period: 15 % of the rows, at most 750. It may hold anomalies.

    Parameters
    ----------
    name : str, default=None
        Such as "realKnownCause/rogue_agent_key_updown" or just the file name; None loads all that
        can be found, as a dict by name.
    root : path, default=None
        Folder that holds ``nab/``; else ``ADLIB_DATA``; else files are fetched.

    Returns
    -------
    Dataset or dict of str to Dataset
    """

    def load(path: str) -> Dataset:
        frame = _read(NAB.file(path, root))
        stamps = pd.to_datetime(frame["timestamp"]).to_numpy("datetime64[ns]")
        return Dataset(
            name=path.removeprefix("data/").removesuffix(".csv"),
            X=frame["value"].to_numpy(np.float64),
            y=_inside(Path(path), stamps, NAB.file("labels/combined_windows.json", root)),
            time=np.maximum.accumulate(stamps),
            feature_names=("value",),
            train_end=int(0.15 * min(len(frame), 5000)),
            source=NAB.source,
        )

    return _load(NAB, "data/*/*.csv", name, root, load)


def load_skab(
    name: str | None = None, *, root: PathLike | None = None
) -> Dataset | dict[str, Dataset]:
    """A recording of the Skoltech Anomaly Benchmark (Katser and Kozitsin 2020).

    A water-circulation rig, eight sensors at about one row a second; history is the first 400
    rows, as the benchmark has it (40 % of "anomaly-free"). In "other/2" they hold anomalies.

    Parameters
    ----------
    name : str, default=None
        Such as "valve1/0"; None loads all that can be found, as a dict by name.
    root : path, default=None
        Folder that holds ``skab/``; else ``ADLIB_DATA``; else files are fetched.

    Returns
    -------
    Dataset or dict of str to Dataset
    """

    def load(path: str) -> Dataset:
        frame = _read(SKAB.file(path, root))
        stamps = pd.to_datetime(frame["datetime"]).to_numpy("datetime64[ns]")
        labelled = "anomaly" in frame
        values = frame.drop(columns=["datetime", "anomaly", "changepoint"], errors="ignore")
        y = frame["anomaly"].to_numpy() == 1 if labelled else np.zeros(len(frame), bool)
        return Dataset(
            name=path.removesuffix(".csv"),
            X=values.to_numpy(np.float64),
            y=y,
            time=np.maximum.accumulate(stamps),
            feature_names=tuple(values.columns),
            kind=np.where(y, path.split("/")[0], ""),
            train_end=400 if labelled else None,
            source=SKAB.source,
        )

    return _load(SKAB, "*/*.csv", name, root, load)


def load_telemetry(
    sessions: Sequence[int] | None = None, *, root: PathLike | None = None
) -> Dataset:
    """This project's own recording of one machine, with faults injected on purpose.

    Session 0 is for training, session 1 for calibration, both free of faults; the others are the
    test. ``kind`` names the fault where ``y`` is 1, and elsewhere the look-alikes ("backup",
    "build", "sham") and "recovery", which is not judged. ``strength`` is the fraction of each
    fault's cap (not in sd), ``session`` keeps windows from crossing recordings, and ``time``
    starts each session on a day of its own: only differences within a session mean anything.

    Parameters
    ----------
    sessions : sequence of int, default=None
        Sessions to load, in this order's numbers; all that are recorded if None.
    root : path, default=None
        Folder with ``session_*.csv``; ``data/telemetry`` of the repository if None.

    Returns
    -------
    Dataset
        A metric that could not be read in some second repeats its last value of the session.

    Raises
    ------
    FileNotFoundError
        When the folder lacks a session.
    """
    home = Path(__file__).parents[2] / "data" / "telemetry"
    folder = home if root is None else as_path(root, "root")
    found = {int(p.stem.removeprefix("session_")): p for p in folder.glob("session_*.csv")}
    given = found if sessions is None else listed(sessions, "sessions")
    wanted = sorted({whole(one, "sessions", 0) for one in given})
    if not wanted or (absent := [s for s in wanted if s not in found]):
        what = f"sessions {absent}" if wanted else "recorded sessions"
        raise FileNotFoundError(
            f"no {what} in {folder}, which has {sorted(found)}; record them with record.py"
        )
    parts = []
    for one in wanted:
        part = _read(found[one])
        _require(found[one], part, ["session", "t", "commanded", "strength", "state"], "session")
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    state = frame["state"].astype(str).to_numpy()
    y = state == "fault"
    # Work that is counted in the row before the command's first one belongs to that command.
    early = y & frame["commanded"].isna().to_numpy()
    for column in ("commanded", "strength"):
        frame.loc[early, column] = frame[column].shift(-1)[early]
    labels = ["session", "t", "commanded", "strength", "effect", "state"]
    values = frame[[c for c in frame if c not in labels and not c.startswith("env_")]]
    by_session = frame["session"].to_numpy()
    values = values.groupby(by_session).ffill().groupby(by_session).bfill()
    day, second = np.timedelta64(86400, "s"), np.timedelta64(1, "s")
    return Dataset(
        name="telemetry",
        X=values.to_numpy(np.float64),
        y=y,
        time=np.datetime64("2000-01-01", "ns")
        + day * by_session
        + second * frame["t"].to_numpy().astype(int),
        feature_names=tuple(values.columns),
        kind=np.where(y, frame["commanded"].astype(str), np.where(state == "normal", "", state)),
        train_end=int((by_session < 2).sum()),
        calibrate_start=int((by_session < 1).sum()),
        source="recorded by data/telemetry/record.py, sessions "
        + ", ".join(map(str, wanted))
        + ", CC0",
        strength=np.where(y, frame["strength"].fillna(0).to_numpy(np.float64), 0.0),
        session=by_session,
    )


def _load(
    collection: Collection,
    pattern: str,
    name: str | None,
    root: PathLike | None,
    load: Callable[[str], Dataset],
) -> Dataset | dict[str, Dataset]:
    """One set by its name (with or without folder, suffix and leading number), or all of them."""
    paths = collection.paths(root, pattern)
    if name is None:
        return {data.name: data for data in map(load, paths)}
    known = paths + [p for p in collection.checksums if p not in paths]
    wanted = str(name).removesuffix(".csv").removesuffix(".npz")
    stems = {p: p.removeprefix("data/").rsplit(".", 1)[0] for p in known}
    for short in (
        lambda s: s,
        lambda s: s.rsplit("/", 1)[-1],
        lambda s: s.split("_", 1)[-1],
    ):
        hits = [p for p, s in stems.items() if short(s) == wanted]
        if len(hits) == 1:
            return load(hits[0])
        if hits:
            raise ValueError(f"{collection.name}: {name!r} could be any of {hits}; give the folder")
    near = difflib.get_close_matches(wanted, stems.values(), 3, 0.3) or list(stems.values())[:3]
    raise ValueError(
        f"{collection.name}: {name!r} is not in the local folder and not among the "
        f"{len(collection.checksums)} files that can be fetched and verified; near it are {near}"
    )


def _one_class(
    name: str,
    X: np.ndarray,
    y: np.ndarray,
    *,
    source: str,
    random_state: int | None,
    kind: str = "anomaly",
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    """A random half of the normal rows as history, everything else as test, in random order."""
    rng = generator(random_state)
    normal = rng.permutation(np.flatnonzero(y == 0))
    history, rest = np.split(normal, [len(normal) // 2])
    rows = np.concatenate([history, rng.permutation(np.r_[rest, np.flatnonzero(y)])])
    return Dataset(
        name=name,
        X=X[rows],
        y=y[rows],
        feature_names=feature_names,
        kind=np.where(y[rows], kind, ""),
        train_end=len(history),
        source=f"{source}; halves drawn with random_state {random_state}",
    )


def _read(path: Path) -> pd.DataFrame:
    """A table with a header line; every failure is one sentence that names the file."""
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        start = "" if path.is_absolute() else f", as seen from {Path.cwd()}"
        raise FileNotFoundError(f"{path} is {what}; give the path of a CSV or Parquet file{start}")
    try:
        if path.suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        else:
            with path.open(encoding="utf-8-sig") as lines:
                header = lines.readline()
            sep = max(",;\t", key=header.count)
            frame = pd.read_csv(path, sep=sep, encoding="utf-8-sig", low_memory=False)
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
    frame.columns = [str(c).strip() for c in frame.columns]
    if (values := pd.to_numeric(frame.columns, errors="coerce") % 1 > 0).any():
        first = frame.columns[values][0]
        raise ValueError(
            f"{path.name}: a column is named {first!r}, as if the first line held values; "
            "put a line of column names above it"
        )
    if path.suffix not in (".parquet", ".pq") and sep != ",":
        _read_decimal_commas(path, frame)
    return frame


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


def _require(path: Path, frame: pd.DataFrame, columns: Sequence[str], option: str) -> None:
    for column in columns:
        if not isinstance(column, str) or column not in frame:
            raise ValueError(
                f"{path.name}: {option}={column!r} is not a column; it has {list(frame.columns)}"
            )


def _first_bad(bad: np.ndarray, column: pd.Series) -> str:
    row = int(np.argmax(bad))
    return f"{column.iloc[row]!r} in data row {row + 1}"


def _time(path: Path, column: pd.Series, unit: str | None) -> np.ndarray:
    """Timestamps as datetime64[ns] in UTC, shape (n_rows,)."""
    if pd.api.types.is_numeric_dtype(column) and unit is None:
        raise ValueError(
            f"{path.name}: time column {column.name!r} holds numbers; "
            "say what they count with time_unit='s', 'ms', 'us' or 'ns'"
        )
    read = partial(pd.to_datetime, column, errors="coerce", utc=True)
    numeric = pd.api.types.is_numeric_dtype(column)
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
    """Whether 03/04/2024 is in April: a number above 12 in any row tells, else the dots do."""
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
            stacklevel=4,
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
            same = column.to_numpy(float) == float(normal)
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


def _inside(
    path: Path, time: np.ndarray, windows: Sequence[Sequence[object]] | PathLike
) -> np.ndarray:
    """True on rows whose time lies in one of the windows, boolean of shape (n_rows,)."""
    if isinstance(windows, PathLike):
        windows = _windows_in(Path(windows), path)
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


def _windows_in(file: Path, path: Path) -> list:
    """The windows of one table in a JSON file of lists, by the end of the table's path."""
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
    path: Path, frame: pd.DataFrame, wanted: Sequence[str] | None, special: Sequence[str]
) -> pd.DataFrame:
    """The numeric feature columns, infinite values as missing ones."""
    if wanted is not None:
        wanted = [wanted] if isinstance(wanted, str) else listed(wanted, "feature_columns")
        _require(path, frame, wanted, "feature_columns")
        if leaked := [c for c in wanted if c in special]:
            raise ValueError(f"{path.name}: {leaked} cannot be features and labels or time at once")
    columns, left_out = {}, []
    others = [c for c in frame if c not in special]
    # "Unnamed: 0" is the row number that pandas and R write in front of a table
    hollow = [c for c in others if c.startswith("Unnamed: ") or frame[c].isna().all()]
    if hollow and wanted is None:
        warnings.warn(
            f"{path.name}: columns without a name or values left out: {hollow}", stacklevel=3
        )
    for name in wanted or [c for c in others if c not in hollow]:
        column = frame[name]
        if pd.api.types.is_datetime64_any_dtype(column):
            column = column.astype(str)  # else dates would pass as nanoseconds since 1970
        numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
        bad = (numbers.isna() & column.notna()).to_numpy()
        some = bad.any() and (wanted is not None or not bad[column.notna()].all())
        if some or (bad.any() and column.dropna().astype(str).str.fullmatch(WRITTEN_NUMBER).all()):
            raise ValueError(
                f"{path.name}: column {name!r} is not numeric ({_first_bad(bad, column)}); "
                "correct it (a number is 1234.5), or name the columns to use with feature_columns="
            )
        if bad.any():
            left_out.append(name)
        else:
            columns[name] = numbers.replace([np.inf, -np.inf], np.nan)
    if left_out:
        warnings.warn(f"{path.name}: text columns left out: {left_out}", stacklevel=3)
    odd = [c for c in columns if re.sub(r"[\s-]", "_", c.lower()) in LABEL_LIKE]
    if wanted is None and odd:
        raise ValueError(
            f"{path.name}: {odd} would be used as a feature and reads like a label, which would "
            "leak; pass label_column=, or name the columns to use: "
            f"feature_columns={[c for c in columns if c not in odd]}"
        )
    if not columns:
        raise ValueError(f"{path.name}: has no numeric column to use; columns: {list(frame)}")
    return pd.DataFrame(columns)


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
