"""Which rows of a table are history and which test: by time, by class, by entity or by file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adlib.arguments import generator, listed, number, one_of, whole
from adlib.reading.options import Note

SPLITS = ("time", "one_class", "entity")


@dataclass(frozen=True)
class Split:
    """How to cut a table into history and test; what the options mean says `load_csv`.

    Parameters
    ----------
    split : {"time", "one_class", "entity"}
    train_fraction : float
    train_rows : int, optional
    train_entities : sequence of str, optional
    clean_history : bool
    random_state : int
    of_files : bool
        Whether history and test come from a file each.

    Raises
    ------
    ValueError
        When an option is none of what it may be, or two of them contradict each other.

    Examples
    --------
    >>> Split(split="entity", train_rows=5)
    Traceback (most recent call last):
    ValueError: train_rows counts rows of a series and goes with split='time', got 'entity'
    """

    split: str = "time"
    train_fraction: float = 0.4
    train_rows: int | None = None
    train_entities: Sequence[str] | None = None
    clean_history: bool = False
    random_state: Any = 0
    of_files: bool = False

    def __post_init__(self) -> None:
        one_of(self.split, "split", SPLITS)
        number(self.train_fraction, "train_fraction", above=0, below=1)
        if not isinstance(self.clean_history, bool):
            raise ValueError(f"clean_history must be True or False, got {self.clean_history!r}")
        if self.train_rows is not None:
            whole(self.train_rows, "train_rows", 2, of="rows")
            if self.split != "time":
                raise ValueError("train_rows counts rows of a series and goes with split='time', "
                                 f"got {self.split!r}")
        if self.train_entities is not None:
            names = self.train_entities
            names = [names] if isinstance(names, str) else listed(names, "train_entities")
            object.__setattr__(self, "train_entities", tuple(map(str, names)))
            if self.split != "entity":
                raise ValueError(f"train_entities goes with split='entity', got {self.split!r}")
        if self.of_files and (self.split != "time" or self.train_rows is not None):
            raise ValueError("test_path says what is history and what is test: leave split and "
                             "train_rows out")


def one_class_rows(y: np.ndarray, random_state: Any) -> tuple[np.ndarray, int]:
    """A random half of the normal rows as history, everything else as test, in random order.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        1 = anomaly.
    random_state : int or None

    Returns
    -------
    order : ndarray of int, shape (n_rows,)
    n_history : int
    """
    rng = generator(random_state)
    normal = rng.permutation(np.flatnonzero(y == 0))
    history, rest = np.split(normal, [len(normal) // 2])
    return np.r_[history, rng.permutation(np.r_[rest, np.flatnonzero(y)])], len(history)


def divided(split: Split, name: str, y: np.ndarray, note: Note, *, labelled: bool = True,
            time: np.ndarray | None = None, entity: Any = None, n_first: int = 0,
            series: bool | None = None) -> tuple[Any, dict[str, Any]]:
    """Order the rows of a table for a `Dataset`: what trains, what calibrates, what is tested.

    Parameters
    ----------
    split : Split
    name : str
        Of the rows, where they have no entity.
    y : ndarray of shape (n_rows,)
        1 = anomaly.
    note : callable
        Takes what a reader should know.
    labelled : bool, default=True
        Whether ``y`` was given.
    time : ndarray of datetime64, shape (n_rows,), default=None
        In order within each entity.
    entity : array-like of shape (n_rows,), default=None
        Machine, patient or account of each row.
    n_first : int, default=0
        Rows of the first of two files, which are history.
    series : bool, default=None
        Whether rows follow each other; they do where they have a time or an entity, if None.

    Returns
    -------
    rows : ndarray of int or slice
        Rows to keep, in the order of the data set.
    fields : dict
        ``train_end`` and whatever else of a `Dataset` follows from it.

    Raises
    ------
    ValueError
        When the split needs what the table has not, or leaves no row to learn or to test.

    Examples
    --------
    >>> rows, fields = divided(Split(train_fraction=0.5), "two", np.zeros(8), print,
    ...                        entity=list("abababab"))
    >>> rows.tolist(), fields["session"].tolist(), fields["train_end"]
    ([0, 2, 1, 3, 4, 6, 5, 7], [0, 0, 1, 1, 0, 0, 1, 1], 4)
    """
    y = np.asarray(y) == 1
    if not labelled:
        _check_label_free(split)
    timed = time is not None or entity is not None
    if split.split == "one_class":
        return _one_class(split, y, timed or bool(series))
    codes, names = _entities(entity, len(y), name)
    rank = _rank(codes)
    history = _history(split, codes, names, rank, n_first, note)
    _look_at_labels(split, y, history, note, timed if series is None else series)
    keep = ~(history & y) if split.clean_history else np.ones(len(y), bool)
    held_out = _held_out(codes, history & keep, by_entity=split.split == "entity")
    part = np.where(~history, 2, held_out)
    rows: Any = slice(None)  # as they are: a copy of a large table takes a while
    if len(names) > 1 or not keep.all():
        rows = np.lexsort((rank, codes, part))
        rows = rows[keep[rows]]
    n, n_train = int((history & keep).sum()), int((keep & (part == 0)).sum())
    if split != Split(train_fraction=split.train_fraction):  # as it is by default, any table goes
        _check_parts(n, int(keep.sum()) - n)
    fields: dict[str, Any] = {"train_end": n, "calibrate_start": n_train}
    session, of = _sessions(codes, rank, time, keep)
    if entity is not None or (len(of) > 1 and (timed or series)):
        fields |= {"session": session[rows], "session_names": [names[i] for i in of]}
    return rows, fields


def _check_label_free(split: Split) -> None:
    if split.clean_history or split.split == "one_class":
        asked = "split='one_class'" if split.split == "one_class" else "clean_history=True"
        raise ValueError(f"{asked} needs labels: name label_column or label_windows")


def _one_class(split: Split, y: np.ndarray, series: bool) -> tuple[Any, dict[str, Any]]:
    if series:
        raise ValueError("split='one_class' draws rows at random, which is for tables whose rows "
                         "have no order: leave time_column and entity_column out (or "
                         "time_column=False) and series=True, or use split='time' or 'entity'")
    rows, n = one_class_rows(y, split.random_state)
    _check_parts(n, len(rows) - n)
    return rows, {"train_end": n, "series": False}


def _check_parts(n_history: int, n_test: int) -> None:
    if n_history < 2 or not n_test:
        raise ValueError(f"the split leaves {n_history} row{'s' * (n_history != 1)} of history "
                         f"and {n_test} to test; change split, train_fraction or train_rows")


def _entities(entity: Any, n: int, name: str) -> tuple[np.ndarray, list[str]]:
    """Number of the entity of each row, in the order in which they come, and their names."""
    if entity is None:
        return np.zeros(n, np.int64), [name]
    codes, names = pd.factorize(pd.Series(np.asarray(entity, dtype=object)))
    if (codes < 0).any():
        raise ValueError(f"entity_column is empty in {int((codes < 0).sum())} row"
                         f"{'s' * ((codes < 0).sum() != 1)}; fill or drop them")
    return codes.astype(np.int64), [str(one) for one in names]


def _rank(codes: np.ndarray) -> np.ndarray:
    """Which of the rows of its group each row is, from 0."""
    if not codes.any():
        return np.arange(len(codes))
    return pd.Series(codes).groupby(codes).cumcount().to_numpy()


def _history(split: Split, codes: np.ndarray, names: list[str], rank: np.ndarray, n_first: int,
             note: Note) -> np.ndarray:
    """True on the rows that are history."""
    if split.of_files:
        return np.arange(len(codes)) < n_first
    size = np.bincount(codes)
    if split.split == "entity":
        return np.isin(codes, _chosen(split, size, names))
    if split.train_rows is None:
        return rank < (split.train_fraction * size).astype(int)[codes]
    if (short := int((size <= split.train_rows).sum())) and len(size) > 1:
        note(f"{short} of {len(size)} entities have no more than train_rows={split.train_rows} "
             "rows and are not tested")
    return rank < split.train_rows


def _chosen(split: Split, size: np.ndarray, names: list[str]) -> list[int]:
    """Numbers of the entities that are history."""
    if len(size) < 2:
        raise ValueError("split='entity' needs entity_column and at least two entities")
    if split.train_entities is None:
        n = int((size.cumsum() <= split.train_fraction * size.sum()).sum())
        return list(range(min(max(1, n), len(size) - 1)))
    if unknown := [one for one in split.train_entities if one not in names]:
        raise ValueError(f"train_entities: {unknown} are not there; there are {names[:9]}")
    return [names.index(one) for one in split.train_entities]


def _look_at_labels(split: Split, y: np.ndarray, history: np.ndarray, note: Note, series: bool
                    ) -> None:
    """Say how many rows of the history are labelled, and whether the table is sorted by label."""
    n, n_history, n_all = int((y & history).sum()), int(history.sum()), int(y.sum())
    ends = [end for end, rows in (("front", y[:n_all]), ("end", y[len(y) - n_all:])) if rows.all()]
    if not series and not split.of_files and n_all > 1 and (ends or n == n_all):
        where = f"the labels are sorted to the {ends[0]} of the table: " if ends else ""
        note(f"{where}{n} of the {n_history} rows of the history are anomalous, and {n_all - n} of "
             f"the other {len(y) - n_history}; if its rows have no order, split='one_class' draws "
             "the history among the normal ones instead, and mixes the test")
    elif not n:
        return
    elif split.clean_history:
        note(f"{n} of {n_history} rows of the history are labelled anomalous and left out")
    else:
        note(f"{n} {'row' if n == 1 else 'rows'} of the history ({n / n_history:.1%}) "
             f"{'is' if n == 1 else 'are'} labelled anomalous; detectors learn "
             f"{'it' if n == 1 else 'them'} as normal, because fit reads no labels; "
             f"clean_history=True leaves {'it' if n == 1 else 'them'} out")


def _held_out(codes: np.ndarray, history: np.ndarray, by_entity: bool) -> np.ndarray:
    """True on the rows of history that calibrate: the last fifth of each group, or whole groups.

    Where new entities are tested, some that were not learned say best what is usual of those;
    groups of a few rows have no fifth.
    """
    size = np.bincount(codes, weights=history).astype(int)
    total = int(size.sum())
    if by_entity and np.count_nonzero(size) >= 5 or (size // 5).sum() < total // 10:
        return history & (size.cumsum() > total - total // 5)[codes]
    rank = np.zeros(len(codes), np.int64)
    rank[history] = _rank(codes[history])
    return history & (rank >= (size - size // 5)[codes])


def _sessions(codes: np.ndarray, rank: np.ndarray, time: np.ndarray | None, keep: np.ndarray
              ) -> tuple[np.ndarray, np.ndarray]:
    """Number of the session of each row, and the group that each session is of.

    A session ends with its group, where rows are left out, and where the clock begins again.
    """
    order = np.lexsort((rank, codes)) if codes.any() else np.arange(len(codes))
    order = order[keep[order]]
    new = np.append(True, (np.diff(codes[order]) != 0) | (np.diff(rank[order]) != 1))
    if time is not None:
        new[1:] |= time[order][1:] < time[order][:-1]
    session = np.zeros(len(codes), np.int64)
    session[order] = new.cumsum() - 1
    return session, codes[order[new]]
