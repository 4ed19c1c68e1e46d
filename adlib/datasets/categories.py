"""Columns of text as columns of zeros and ones, by what the training rows hold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from adlib.reading.options import Note

__all__ = ["with_categories"]

#: Columns that one column of text becomes at most, without the one for missing values.
MOST = 20


def with_categories(
    numbers: pd.DataFrame, texts: pd.DataFrame, order: list[str], train_end: int, note: Note
) -> pd.DataFrame:
    """Numeric columns, and between them, where it stood, each column of text as its categories.

    Parameters
    ----------
    numbers, texts : pandas.DataFrame
        Columns of the same rows.
    order : list of str
        All column names, as they are to follow each other.
    train_end : int
        Categories are those of the rows before it.
    note : callable
        Takes sentences on what was left out or pooled.

    Returns
    -------
    pandas.DataFrame
        With columns such as ``colour=red``: the most frequent categories in alphabetical order,
        then ``colour=(other)`` for the rest of them and ``colour=(missing)``, where there are any.
        What training rows do not hold is zero in all of them. A column with more than 20 categories
        in more than half of as many training rows is left out, as it numbers the rows.
    """
    parts = []
    for name in order:
        found = numbers[[name]] if name in numbers else _onehot(texts[name], train_end, note)
        if found is not None:
            parts.append(found)
    if not parts:
        raise ValueError(f"has no column to use besides identifiers; columns: {order}")
    return pd.concat(parts, axis=1)


def _onehot(column: pd.Series, train_end: int, note: Note) -> pd.DataFrame | None:
    words = column.astype("string").str.strip().fillna("").astype(object)
    words = words.where(words != "", "(missing)")
    seen = words.iloc[:train_end]
    counts = seen[seen != "(missing)"].value_counts()
    where = f"column {column.name!r}"
    if len(counts) > max(MOST, counts.sum() / 2):
        note(f"{where} left out: {len(counts)} values in {counts.sum()} training rows name the "
             "rows, and say nothing about later ones")
        return None
    # equal counts in alphabetical order, whatever the order of the rows
    ranked = sorted(counts.index, key=lambda word: (-counts[word], word))
    kept = sorted(ranked if len(ranked) <= MOST else ranked[: MOST - 1])
    pooled = set(counts.index) - set(kept)
    if pooled:
        note(f"{where}: {len(pooled)} rare values of {len(counts)} share one column "
             f"({column.name}=(other))")
        words = words.where(~words.isin(pooled), "(other)")
    names = [*kept, *["(other)"] * bool(pooled), *["(missing)"] * bool((seen == "(missing)").any())]
    if len(new := words[~words.isin(names)]):
        note(f"{where}: {len(new)} later rows hold what no training row does (the first: "
             f"{new.iloc[0]!r}); they are 0 in all its columns")
    return pd.DataFrame({f"{column.name}={word}": (words == word).astype(np.float64)
                         for word in names})
