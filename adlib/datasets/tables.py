"""A user's table as a dataset."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adlib.arguments import one_of
from adlib.arguments import path as as_path
from adlib.datasets.categories import with_categories
from adlib.datasets.dataset import Dataset
from adlib.datasets.several import history_table, joined, named_files, short_name
from adlib.datasets.splits import Split, divided
from adlib.durations import seconds
from adlib.reading.options import Note, Reading, ReadingWarning
from adlib.reading.table import about, read_table

__all__ = ["load_csv"]

PathLike = str | os.PathLike


def load_csv(
    path: PathLike | Sequence[PathLike],
    *,
    label_column: str | None = None,
    time_column: str | Sequence[str] | bool | None = None,
    feature_columns: Sequence[str] | None = None,
    entity_column: str | None = None,
    normal_label: object = None,
    label_windows: Sequence[Sequence[object]] | PathLike | None = None,
    split: str = "time",
    train_fraction: float = 0.4,
    train_rows: int | None = None,
    train_entities: Sequence[str] | None = None,
    test_path: PathLike | None = None,
    clean_history: bool = False,
    random_state: int | None = 0,
    series: bool | None = None,
    interval: float | str | None = None,
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
) -> Any:  # a Dataset, as a rule
    """A file of rows (CSV, Parquet or JSON lines) as a dataset; several files as several.

    Whatever is recognised as other than plain (UTF-8, commas, decimal points, a header in the first
    line, dates such as 2024-01-31 13:45), or is repaired or doubtful, is a warning and stays with
    the data (`Dataset.notes`). Rows are sorted by time if they are not in order. Irregular steps
    are kept as they are; repeated timestamps are kept in file order.

    Parameters
    ----------
    path : str or path, or sequence of these
        A folder, or a list of files and folders, is a data set for each table in it, all read with
        the same options. A table may be compressed (.gz, .zip); .parquet needs pyarrow; .jsonl
        holds an object a line.
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
        Column that says which machine, patient or account a row is of, as text: 01 is not 1. Each
        is a group (`Dataset.session`) with its own order in time; nothing goes on from one to the
        next.
    normal_label : object, default=None
        The value of the label column that means normal; all others are anomalies and become
        their ``kind``.
    label_windows : sequence of (start, end) or path, default=None
        Labels that are not in the file: times, both included, between which rows are anomalous; an
        end without a time of day is the whole day. Or a JSON file that holds such a list, or lists
        by file name as in NAB's ``combined_windows.json``; or a CSV file with columns start and
        end. Needs a time and excludes ``label_column``.
    split : {"time", "one_class", "entity"}, default="time"
        What is history. "time": the first rows, of each entity where there are several.
        "one_class": a random half of the normal rows, for labelled tables whose rows have no order.
        "entity": whole entities, the first in the file or ``train_entities``.
    train_fraction : float, default=0.4
        Share of rows that are history; with "entity" at most.
    train_rows : int, default=None
        Rows of each entity that are history, instead of ``train_fraction``.
    train_entities : sequence of str, default=None
        Names of the entities that are history.
    test_path : str or path, default=None
        File of the test; ``path`` is then history as a whole, with the same columns (without the
        labels, it is taken as normal). Dates and numbers that can be read in two ways are read as
        in the history. For a folder, one with files of the same names.
    clean_history : bool, default=False
        Leave rows of the history out that are labelled anomalous. No window crosses such a cut.
    random_state : int, default=0
        Draws the half of "one_class".
    series : bool, default=None
        Whether each row follows the one before it; None: they do where they have a time, and else
        it is looked for (`Dataset.is_series`). False: the rows are those of a table.
    interval : float or str, default=None
        Seconds from one row to the next, or "5min"; the median step of the time if None.
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
    Dataset or dict of str to Dataset
        By name, for a folder or a list.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no table in a folder.
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
    more = _More(
        Reading(time_column=time_column, time_unit=time_unit, time_zone=time_zone,
                entity_column=entity_column, label_column=label_column,
                feature_columns=feature_columns, na_values=na_values, decimal=decimal,
                separator=separator, encoding=encoding, header=header, skip_rows=skip_rows,
                missing=missing),
        Split(split, train_fraction, train_rows, train_entities, clean_history, random_state,
              test_path is not None),
        {"normal_label": normal_label, "label_windows": label_windows}, categorical,
        {"series": series, "interval": None if interval is None else seconds(interval)})
    pairs = named_files(path, test_path)
    if pairs is not None and name is not None:
        raise ValueError(f"name is for one file, and path names {len(pairs)}: leave it out")
    said: list[tuple[str, str]] = []
    try:
        if pairs is not None:
            return {one: _loaded(files, one, more, said) for one, files in pairs.items()}
        files = [as_path(one, option) for one, option in
                 ((path, "path"), (test_path, "test_path")) if one is not None]
        name = short_name(files[0]) if name is None else str(name)
        return _loaded(files, name, more, said)
    finally:
        for sentence, names in _gathered(said).items():
            warnings.warn(f"{names}: {sentence}", ReadingWarning, stacklevel=2)


def _gathered(said: list[tuple[str, str]]) -> dict[str, str]:
    """Each sentence once, with the names of the files that it is about."""
    names: dict[str, dict[str, None]] = {}
    for name, sentence in said:
        names.setdefault(sentence, {})[name] = None
    return {sentence: ", ".join([*of][:3]) + (f" and {len(of) - 3} more" if len(of) > 3 else "")
            for sentence, of in names.items()}


class _More(NamedTuple):
    """What `load_csv` was given, beside the files."""

    reading: Reading
    split: Split
    labels: dict[str, Any]
    categorical: str
    order: dict[str, Any]


def _loaded(files: list[Path], name: str, more: _More, said: list[tuple[str, str]]
            ) -> Dataset:
    """One data set, from a file or from one of history and one of test."""
    before = len(said)

    def note_of(path: Path) -> Note:
        return lambda sentence: said.append((path.name, sentence))

    texts = more.categorical == "onehot"
    note, tested, n_first = note_of(files[0]), files[-1], 0
    first = None
    if more.split.of_files:
        with about(files[0].name):
            first = history_table(files[0], more.reading, note, texts=texts, **more.labels)
    with about(tested.name):  # what can be read in two ways is read as in the history
        table = read_table(tested, more.reading, note_of(tested), texts=texts, **more.labels,
                           recognised=first and first.recognised)
    if first is not None:
        with about(files[0].name):
            n_first, table = len(first.X), joined(first, table, tested.name, note)
    with about(files[0].name):
        rows, fields = divided(more.split, name, table.y, note, labelled=table.labelled,
                               time=table.time, entity=table.entity, n_first=n_first,
                               series=more.order["series"])
        in_order = np.array_equal(rows, np.arange(len(table.X)))
        values = table.X if in_order else table.X.iloc[rows]
        if len(table.names) > values.shape[1]:
            values = with_categories(values, table.texts.iloc[rows], table.names,
                                     fields["train_end"], note)
    data = Dataset(
        name=name,
        X=_matrix(values),
        y=table.y[rows],
        time=None if table.time is None else table.time[rows],
        feature_names=tuple(values.columns),
        kind=table.kind[rows],
        source=_source(files, more),
        notes=tuple(f"{of}: {sentence}" for of, sentence in said[before:]),
        **(more.order | fields),
    )
    if not data.series_found:
        return data
    note(data.series_found)
    return replace(data, notes=(*data.notes, f"{files[0].name}: {data.series_found}"))


def _matrix(values: pd.DataFrame) -> np.ndarray:
    """Rows next to each other, made block by block: in the cache, a sixth of the time."""
    X = np.empty(values.shape)
    columns = [values[name].to_numpy(np.float64) for name in values]
    for at in range(0, len(X), 4096):
        X[at : at + 4096] = np.transpose([column[at : at + 4096] for column in columns])
    X.flags.writeable = False  # so that nobody copies it
    return X


#: What goes without saying in `Dataset.source`.
USUAL = asdict(Reading()) | asdict(Split()) | {
    "normal_label": None, "label_windows": None, "categorical": "drop", "series": None,
    "interval": None}


def _source(files: list[Path], more: _More) -> str:
    """The file and the options that it was read with."""
    given = asdict(more.reading) | asdict(more.split) | more.labels | more.order | {
        "categorical": more.categorical}
    options = {option: value for option, value in given.items()
               if option != "of_files" and value != USUAL[option]}
    if isinstance(options.get("label_windows"), PathLike):
        options["label_windows"] = Path(options["label_windows"]).name
    named = f"file {files[0].name}" + "".join(f", tested on {one.name}" for one in files[1:])
    return named + "".join(
        f"{'; read with ' if i == 0 else ', '}{option}={value!r}"
        for i, (option, value) in enumerate(options.items()))
