"""A user's table as a dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adlib.arguments import number, one_of
from adlib.arguments import path as as_path
from adlib.datasets.categories import with_categories
from adlib.datasets.dataset import Dataset
from adlib.reading.options import Reading, ReadingWarning
from adlib.reading.table import about, read_table

__all__ = ["load_csv"]

PathLike = str | os.PathLike


def load_csv(
    path: PathLike,
    *,
    label_column: str | None = None,
    time_column: str | Sequence[str] | bool | None = None,
    feature_columns: Sequence[str] | None = None,
    entity_column: str | None = None,
    normal_label: object = None,
    label_windows: Sequence[Sequence[object]] | PathLike | None = None,
    train_fraction: float = 0.4,
    missing: str = "error",
    na_values: Sequence[object] = (),
    categorical: str = "drop",
    time_unit: str | None = None,
    time_zone: str | None = None,
    decimal: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    skip_rows: int = 0,
    name: str | None = None,
) -> Dataset:
    """A file of rows (CSV, Parquet or JSON lines) as a dataset.

    Whatever is recognised as other than plain (UTF-8, commas, decimal points, a header in the first
    line, dates such as 2024-01-31 13:45), or is repaired or doubtful, is a warning and stays with
    the data (`Dataset.notes`). Rows are sorted by time if they are not in order. Irregular steps
    are kept as they are; repeated timestamps are kept in file order.

    Parameters
    ----------
    path : str or path
        A table, also compressed (.gz, .zip); .parquet needs pyarrow; .jsonl holds an object a line.
    label_column : str, default=None
        Column with 0/1, True/False or words such as "normal" and "anomaly". None: nothing is
        labelled, so every ``y`` is 0.
    time_column : str, sequence of str or False, default=None
        Column of dates or numbers, or several that make a time together, such as a date and a time
        of day. None: one that is named like a time and holds times; False: there is none.
        03.04.2024 is the third of April; of 03/04/2024 the other rows decide (if none does: March).
    feature_columns : sequence of str, default=None
        Columns to use; all others if None. Then empty ones, clocks, those that number the rows, and
        those of text are left out, and one that reads like a label is refused.
    entity_column : str, default=None
        Column that says which machine, patient or account a row is of.
    normal_label : object, default=None
        The value of the label column that means normal; all others are anomalies and become
        their ``kind``.
    label_windows : sequence of (start, end) or path, default=None
        Labels that are not in the file: times, both included, between which rows are anomalous; an
        end without a time of day is the whole day. Or a JSON file that holds such a list, or lists
        by file name as in NAB's ``combined_windows.json``. Needs a time and excludes
        ``label_column``.
    train_fraction : float, default=0.4
        Share of rows, in time order, that are history.
    missing : {"error", "drop", "hold", "keep", "impute"}, default="error"
        What to do with missing or infinite values: refuse, drop the row, repeat the last value
        (first rows without one are dropped), or keep them as NaN ("keep" or "impute"), for
        ``missing="impute"`` of detectors and `adlib.compare.compare`.
    na_values : sequence, default=()
        Further texts or numbers that mean a missing value, such as "?" or -999.
    categorical : {"drop", "onehot"}, default="drop"
        What to do with columns of text (True and False are 0 and 1, no text): leave them out, or
        make a column of zeros and ones of each value, such as ``colour=red``. The values are those
        of the history, at most 20 a column, of which the last then holds the rarer ones together
        (``colour=(other)``); a missing text is a value (``colour=(missing)``); a value that comes
        later is 0 in all of them, with a note. A column that names the rows (more than 20 values
        in more than half of as many) is left out.
    time_unit : {"s", "ms", "us", "ns", "excel"}, default=None
        What a numeric time counts, from 1970, or days of a spreadsheet; recognised if None.
    time_zone : str, default=None
        Zone of times that name none, such as "Europe/Berlin"; UTC if None.
    decimal : {".", ","}, default=None
        Mark between whole numbers and fractions; recognised if None.
    separator : str, default=None
        One character between the cells of a line (" " for any blanks); recognised if None.
    encoding : str, default=None
        UTF-8 if None, unless a byte order mark says otherwise.
    header : bool, default=None
        Whether a line of names comes before the first row; recognised if None.
    skip_rows : int, default=0
        Lines to leave out at the beginning.
    name : str, default=None
        Name of the dataset; the file's if None.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the format needs a library that is not installed.
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
    one_of(categorical, "categorical", ("drop", "onehot"))
    number(train_fraction, "train_fraction", above=0, below=1)
    reading = Reading(
        time_column=time_column, time_unit=time_unit, time_zone=time_zone,
        entity_column=entity_column, label_column=label_column, feature_columns=feature_columns,
        na_values=na_values, decimal=decimal, separator=separator, encoding=encoding,
        header=header, skip_rows=skip_rows, missing=missing)
    path, notes = as_path(path, "path"), []

    def note(sentence: str) -> None:
        notes.append(f"{path.name}: {sentence}")
        warnings.warn(notes[-1], ReadingWarning, stacklevel=3)

    with about(path.name):
        table = read_table(path, reading, note, normal_label=normal_label,
                           label_windows=label_windows, texts=categorical == "onehot")
        train_end, values = int(train_fraction * len(table.X)), table.X
        if len(table.names) > values.shape[1]:
            values = with_categories(values, table.texts, table.names, train_end, note)
    session, machines = (None, None) if table.entity is None else pd.factorize(table.entity)
    return Dataset(
        name=path.stem if name is None else str(name),
        X=values.to_numpy(np.float64),
        y=table.y,
        time=table.time,
        feature_names=tuple(values.columns),
        kind=table.kind,
        train_end=train_end,
        session=session,
        session_names=None if machines is None else tuple(machines),
        source=_source(path, reading, normal_label=normal_label, label_windows=label_windows,
                       categorical=categorical, train_fraction=train_fraction),
        notes=tuple(notes),
    )


#: What goes without saying in `Dataset.source`.
USUAL = asdict(Reading()) | {"normal_label": None, "label_windows": None, "categorical": "drop",
                             "train_fraction": 0.4}


def _source(path: Path, reading: Reading, **more: Any) -> str:
    """The file and the options that it was read with."""
    told = {option: value for option, value in (asdict(reading) | more).items()
            if value != USUAL[option]}
    if isinstance(told.get("label_windows"), PathLike):
        told["label_windows"] = Path(told["label_windows"]).name
    return f"file {path.name}" + "".join(
        f"{'; read with ' if i == 0 else ', '}{option}={value!r}"
        for i, (option, value) in enumerate(told.items()))
