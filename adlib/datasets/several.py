"""Several files: a data set of each, or history and test in a file each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adlib.arguments import listed
from adlib.arguments import path as as_path
from adlib.reading.options import Note, Reading
from adlib.reading.table import Table, read_table

PathLike = str | os.PathLike

PACKED = (".gz", ".zip", ".bz2", ".xz")
TABLES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")


def short_name(path: Path) -> str:
    """The name of a file without what its suffixes say about its form.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str

    Examples
    --------
    >>> short_name(Path("plant/pump.1.csv.gz")), short_name(Path("pump.1"))
    ('pump.1', 'pump')
    """
    name = path.name
    while name.lower().endswith(PACKED + TABLES):
        name = Path(name).stem
    return name if name != path.name else path.stem


def named_files(path: PathLike | Sequence[PathLike], test_path: PathLike | None = None
                ) -> dict[str, list[Path]] | None:
    """The files of a folder or list by name, each perhaps with the file of its test.

    Parameters
    ----------
    path : path or sequence of paths
    test_path : path, default=None
        A folder with files of the same names.

    Returns
    -------
    dict of str to list of Path, or None
        None where ``path`` is one file.

    Raises
    ------
    FileNotFoundError
        When a folder holds no table, or none of that name for the test.
    ValueError
        When a file is named twice.

    Examples
    --------
    >>> named_files("mine.csv") is None
    True
    >>> list(named_files(["rig/a.csv", "rig/b.csv", "mill/b.csv"]))
    ['a', 'rig/b', 'mill/b']
    """
    if isinstance(path, PathLike) and not Path(path).is_dir():
        return None
    given = [path] if isinstance(path, PathLike) else listed(path, "path")
    files = [file for one in given for file in _tables(as_path(one, "path"))]
    if not files:
        raise ValueError("path is an empty list: name at least one file")
    names = _names(files)
    tests = [[]] * len(files) if test_path is None else [
        [as_path(test_path, "test_path") / file.name] for file in files]
    if absent := [test[0].name for test in tests if test and not test[0].is_file()]:
        raise FileNotFoundError(f"test_path must be a folder with files of the same names; "
                                f"{test_path} lacks {absent[:9]}")
    return {name: [file, *test] for name, file, test in zip(names, files, tests, strict=True)}


def _tables(path: Path) -> list[Path]:
    """The file, or the tables of a folder in the order of their names."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file()
                   and file.name.lower().endswith(TABLES + PACKED)
                   and not file.name.startswith((".", "_")))
    if not found:
        raise FileNotFoundError(f"{path} is a folder without tables ({', '.join(TABLES)}); give "
                                "a list of files if they are named otherwise")
    return found


def _names(files: list[Path]) -> list[str]:
    """Names as short as tells the files apart."""
    names = [short_name(file) for file in files]
    for longer in (lambda file: f"{file.parent.name}/{short_name(file)}", str):
        often = Counter(names)
        names = [name if often[name] == 1 else longer(file)
                 for name, file in zip(names, files, strict=True)]
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(f"path names {twice} twice")
    return names


def history_table(path: Path, reading: Reading, note: Note, **options: Any) -> Table:
    """The file of a history, which may lack the labels: its rows are then taken as normal.

    Parameters
    ----------
    path : Path
    reading : Reading
    note : callable
    **options
        As `adlib.reading.table.read_table` takes them; label windows are of the test.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        See `adlib.reading.table.read_table`.
    """
    said: list[str] = []
    options["label_windows"] = None
    try:
        table = read_table(path, reading, said.append, **options)
    except ValueError as error:
        if not str(error).startswith("label_column="):
            raise
        said = [f"has no column {reading.label_column!r}; its rows are taken as normal"]
        table = read_table(path, replace(reading, label_column=None), said.append, **options)
    for sentence in said:
        note(sentence)
    return table


def joined(first: Table, second: Table, name: str, note: Note) -> Table:
    """The rows of two files, one below the other.

    Parameters
    ----------
    first, second : Table
    name : str
        Of the second file.
    note : callable

    Returns
    -------
    Table
        With the features of the first.

    Raises
    ------
    ValueError
        When a feature is missing in the second, or only one of them has a time.
    """
    if lacking := [c for c in first.names if c not in second.names
                   or (c in first.X) != (c in second.X)]:
        raise ValueError(f"{name} must have the same columns, and {lacking} are not among its "
                         f"features {second.names}; name those of both with feature_columns")
    if more := [c for c in second.names if c not in first.names]:
        note(f"features {more} of {name} are left out: the first file has none of that name")
    if (first.time is None) != (second.time is None):
        raise ValueError(f"of this file and {name} only one has a time; name it with time_column, "
                         "or pass time_column=False")

    def both(field: str) -> Any:
        parts = [getattr(table, field) for table in (first, second)]
        return None if parts[0] is None else np.concatenate(parts)

    return Table(
        X=pd.concat([first.X, second.X[list(first.X)]]),
        time=both("time"), y=both("y"), kind=both("kind"), entity=both("entity"),
        labelled=second.labelled,
        texts=pd.concat([first.texts, second.texts[list(first.texts)]]),
        names=first.names, recognised=first.recognised)
