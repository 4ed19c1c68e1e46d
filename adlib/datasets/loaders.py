"""Load scikit-learn's bundled sets, public collections and this project's own recording."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adlib.arguments import generator, listed, one_of, whole
from adlib.arguments import path as as_path
from adlib.datasets.dataset import Dataset
from adlib.datasets.sources import ADBENCH, NAB, ODD, SKAB, TSB, Collection
from adlib.datasets.splits import one_class_rows
from adlib.missing import fill_values
from adlib.reading.columns import require
from adlib.reading.dialect import raw_table
from adlib.reading.labels import inside, windows_of
from adlib.reading.options import Note, Reading
from adlib.reading.table import about
from adlib.reading.times import Clock

__all__ = ["load_adbench", "load_nab", "load_odd", "load_skab", "load_sklearn", "load_telemetry",
           "load_tsb"]

PathLike = str | os.PathLike


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
            rows = _thinned(y, max_rows, generator(random_state))
            X, y = X[rows], y[rows]
        return _one_class(Path(path).stem, X, y, source=ADBENCH.source, random_state=random_state)

    return _load(ADBENCH, "*.npz", name, root, load)


def load_odd(
    name: str | None = None,
    *,
    part: str | None = None,
    root: PathLike | None = None,
    max_rows: int | None = 2000,
    random_state: int | None = 0,
) -> Dataset | dict[str, Dataset]:
    """A tabular set of macrOData (2026): one-class problems on tables of every kind.

    History is the collection's own training part, which holds normal rows only. Missing values
    are filled with the median of the history that is kept; columns are left on their own scales.
    Nothing is fetched: unpack OddBench and OvRBench side by side.

    Parameters
    ----------
    name : str, default=None
        "oddbench/AbandonedMineLand" or just the file's name; None loads all that can be found, as
        a dict by name.
    part : {"oddbench", "ovrbench"}, default=None
        One half of the collection only: semantic anomalies, or one class against the rest.
    root : path, default=None
        Folder that holds ``oddbench/`` and ``ovrbench/``, or ``odd/`` with them; else
        ``ADLIB_DATA``.
    max_rows : int or None, default=2000
        Larger training and test parts are each thinned at random to this many rows: a test part
        by label, with at least 20 anomalies where there are as many.
    random_state : int or None, default=0
        Draws rows.

    Returns
    -------
    Dataset or dict of str to Dataset

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    ValueError
        When no set has that name, or a file lacks one of its arrays.
    """

    def load(path: str) -> Dataset:
        file = ODD.file(path, root)
        # allow_pickle stays off: these files come from elsewhere.
        with np.load(file) as arrays:
            if lacking := {"train", "test", "test_labels"} - set(arrays):
                raise ValueError(f"{file.name} must hold train, test and test_labels, it lacks "
                                 f"{', '.join(sorted(lacking))}")
            train, test = (arrays[part].astype(np.float64) for part in ("train", "test"))
            y = arrays["test_labels"].astype(bool)
            names = list(map(str, arrays["feature_names"])) if "feature_names" in arrays else []
        if not len(set(names)) == len(names) == train.shape[1]:  # tables from the wild repeat them
            names = [f"x{i}" for i in range(train.shape[1])]
        rng = generator(random_state)
        if max_rows is not None and len(train) > max_rows:
            train = train[rng.choice(len(train), max_rows, replace=False)]
        if max_rows is not None and len(test) > max_rows:
            rows = _thinned(y, max_rows, rng)
            test, y = test[rows], y[rows]
        X = np.concatenate([train, test])
        known = np.where(np.isfinite(X), X, np.nan)
        past = known[: len(train)]
        past[:, np.isnan(past).all(axis=0)] = 0  # never known in the history, it says nothing
        usual, _ = fill_values(past, names)
        return Dataset(
            name=path.removesuffix(".npz"),
            X=np.where(np.isnan(known), usual, known),
            y=np.r_[np.zeros(len(train), bool), y],
            feature_names=tuple(names),
            train_end=len(train),
            source=ODD.source,
            series=False,
        )

    _unpacked(ODD, root, part, ODD.parts, "OddBench and OvRBench")
    return _load(ODD, f"{part or 'o*bench'}/*.npz", name, root, load)


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
        labels = NAB.file("labels/combined_windows.json", root)
        frame, stamps = _recording(NAB.file(path, root), "timestamp", "value")
        with about(Path(path).name):
            y = inside(stamps, windows_of(Path(path), labels), _QUIET)
        return Dataset(
            name=path.removeprefix("data/").removesuffix(".csv"),
            X=frame["value"].to_numpy(np.float64),
            y=y,
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
        frame, stamps = _recording(SKAB.file(path, root), "datetime", separator=";")
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
            train_end=400 if labelled else int(0.4 * len(frame)),
            source=SKAB.source,
        )

    return _load(SKAB, "*/*.csv", name, root, load)


def load_tsb(
    name: str | None = None, *, part: str | None = None, root: PathLike | None = None
) -> Dataset | dict[str, Dataset]:
    """A series of TSB-AD (Liu and Paparrizos 2024), in the layout of its public archive.

    History is what the file's name says (``..._tr_883_...``): the rows that the benchmark's
    semi-supervised track trains on. They may hold anomalies. Nothing is fetched: unpack
    TSB-AD-U.zip and TSB-AD-M.zip side by side.

    Parameters
    ----------
    name : str, default=None
        Such as "TSB-AD-M/003_MSL_id_2_Sensor_tr_883_1st_1238" or just the file name; None loads
        all that can be found, as a dict by name.
    part : {"U", "M"}, default=None
        Univariate or multivariate series only.
    root : path, default=None
        Folder that holds ``TSB-AD-U/`` and ``TSB-AD-M/``, or ``tsb/`` with them; else
        ``ADLIB_DATA``.

    Returns
    -------
    Dataset or dict of str to Dataset

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    ValueError
        When no series has that name, a file's name does not say where training ends, or a table has
        no column "Label".
    """

    def load(path: str) -> Dataset:
        file = TSB.file(path, root)
        found = re.search(r"_tr_(\d+)_", file.name)
        if not found:
            raise ValueError(f"{file.name} must say after how many rows training ends, as in "
                             f"001_NAB_id_1_Facility_tr_1007_1st_2014.csv")
        frame = _plain(file, "Label")
        values = frame.drop(columns="Label")
        return Dataset(
            name=path.removesuffix(".csv"),
            X=values.to_numpy(),
            y=frame["Label"].to_numpy(),
            feature_names=tuple(map(str, values.columns)),
            train_end=int(found[1]),
            source=TSB.source,
            series=True,
        )

    _unpacked(TSB, root, part, ("U", "M"), "TSB-AD-U.zip and TSB-AD-M.zip")
    return _load(TSB, f"TSB-AD-{part or '[UM]'}/*.csv", name, root, load)


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
    frame = pd.concat([_plain(found[one], "session", "t", "commanded", "strength", "state")
                       for one in wanted], ignore_index=True)
    state = frame["state"].astype(str).to_numpy()
    y = state == "fault"
    # Work that is counted in the row before the command's first one belongs to that command.
    early = y & frame["commanded"].isna().to_numpy()
    for column in ("commanded", "strength"):
        frame.loc[early, column] = frame[column].shift(-1)[early]
    labels = ["session", "t", "commanded", "strength", "effect", "state"]
    names = [c for c in map(str, frame.columns) if c not in labels and not c.startswith("env_")]
    values = frame[names]
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


_QUIET: Note = lambda sentence: None  # noqa: E731


def _plain(file: Path, *columns: str, separator: str = ",") -> pd.DataFrame:
    """A table of a known format, with these columns at least."""
    reading = Reading(separator=separator, decimal=".", encoding="utf-8", header=True)
    with about(file.name):
        frame = raw_table(file, reading, _QUIET).frame
        require(frame, columns, "column")
    return frame


def _recording(file: Path, clock: str, *columns: str, separator: str = ","
               ) -> tuple[pd.DataFrame, np.ndarray]:
    """A table of a known format, and the times of its rows in the order of the file."""
    frame = _plain(file, clock, *columns, separator=separator)
    with about(file.name):
        return frame, Clock.recognise(frame[clock], Reading(), _QUIET).column(frame[clock])


def _unpacked(collection: Collection, root: PathLike | None, part: str | None,
              parts: tuple[str, ...], archives: str) -> None:
    """Refuse a part that a collection does not have, and one that lies nowhere."""
    one_of(part, "part", (None, *parts))
    if collection.folder(root) is None:
        raise FileNotFoundError(f"{collection.title} is not fetched: unpack {archives} into one "
                                "folder and give it as root, or as ADLIB_DATA")


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


def _thinned(y: np.ndarray, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn by label, with at least 20 anomalies where there are as many."""
    n_anomalies = max(round(n_rows * y.mean()), min(20, int(y.sum())))
    return np.concatenate([rng.choice(np.flatnonzero(y), n_anomalies, replace=False),
                           rng.choice(np.flatnonzero(~y), n_rows - n_anomalies, replace=False)])


def _one_class(
    name: str,
    X: np.ndarray,
    y: np.ndarray,
    *,
    source: str,
    random_state: int | None,
    kind: str = "anomaly",
    **known: Any,
) -> Dataset:
    """A random half of the normal rows as history, everything else as test, in random order."""
    rows, n_history = one_class_rows(y, random_state)
    return Dataset(
        name=name,
        X=X[rows],
        y=y[rows],
        kind=np.where(y[rows], kind, ""),
        train_end=n_history,
        source=f"{source}; halves drawn with random_state {random_state}",
        series=False,
        **known,
    )
