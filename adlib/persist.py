"""Save and load fitted detectors without pickle: a folder of JSON and safetensors.

``model.json`` holds class names, parameters and scalars; ``arrays.safetensors`` the arrays. Classes
are looked up by name among those of adlib, or handed in by the caller: nothing in these two files
makes Python import anything. scikit-learn estimators inside (or alone) go to skops files, which
import scikit-learn's types and a short list of others, and refuse the rest.
"""

import inspect
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.base import BaseEstimator

from adlib import __version__, foreign, thresholds, windows
from adlib.arguments import listed, number, require_extra, shown, whole
from adlib.arguments import path as as_path
from adlib.base import Detector
from adlib.deprecation import former
from adlib.detectors import find_detector
from adlib.files import replaced_folder

__all__ = ["load", "save"]

FORMAT = 1
_LONGEST = 1_000  # characters of a sentence about a file
_TRIED = 10_000_000  # values of a window
# parameters that older files lack, as those were scored
_LATER = {"smoothing": None, "max_rows": None, "missing": "error"}

# compiled types inside scikit-learn's forests and neighbour searches, which skops does not know
TRUSTED = {"sklearn.tree._tree.Tree", "sklearn.neighbors._kd_tree.KDTree",
           "sklearn.neighbors._ball_tree.BallTree",
           "sklearn.metrics._dist_metrics.EuclideanDistance64",
           # a member of Voting, and ours: its name now, and in files of earlier versions
           "adlib.detectors.voting.OneClassSVM", "adlib.detectors.voting._OneClassSVM"}


def save(model: BaseEstimator, path: str | os.PathLike) -> Path:
    """Write a fitted detector, or a scikit-learn estimator or Pipeline, to a folder.

    The folder appears whole or not at all: it is written beside its place and then renamed.

    Parameters
    ----------
    model : Detector or scikit-learn estimator
    path : path
        Folder to create; one that exists is replaced only if it holds a saved model.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    TypeError
        When ``model`` is no estimator, or holds something that cannot be saved or would not be
        trusted on loading; the message names the attribute.
    FileExistsError
        When ``path`` exists and is not a saved model.

    Examples
    --------
    >>> import tempfile
    >>> from adlib.detectors import KNN
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     detector = KNN().fit(X)
    ...     again = load(save(detector, Path(folder) / "knn"))
    >>> bool((again.anomaly_score(X) == detector.anomaly_score(X)).all())
    True
    """
    path = as_path(path, "path")
    if not isinstance(model, BaseEstimator):
        raise TypeError(f"model must be a detector or estimator, got {type(model).__name__}")
    with replaced_folder(path, "model.json") as folder:
        writer = _Writer(folder)
        document = {"format": FORMAT, "adlib": __version__, "model": writer.write(model, "model")}
        (folder / "model.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        save_file(writer.arrays, folder / "arrays.safetensors")
    return path


def load(path: str | os.PathLike, *, classes: Iterable[type] = ()) -> Any:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : path
        The folder.
    classes : iterable of type
        Detectors that are defined outside adlib, such as in a notebook.

    Returns
    -------
    estimator
        Ready to score.

    Raises
    ------
    FileNotFoundError
        When ``path`` is not a saved model.
    ValueError
        When a file is damaged or of another format, or names a class that is not known. Always one
        sentence, whatever the file holds.

    Notes
    -----
    No file can make this run code, import a module or write anything. That a model is *right* is
    another matter: who can change its files can change its scores, and the compiled parts of
    scikit-learn trust the trees and support vectors that they are given: a crafted tree may end the
    process, already here, since a detector of adlib judges one row as it is loaded.
    """
    folder = as_path(path, "path")
    handed = listed(classes, "classes")
    if odd := [cls for cls in handed if not isinstance(cls, type)]:
        raise TypeError(f"classes must be classes, got {odd[0]!r}")
    if not (folder / "model.json").is_file():
        raise FileNotFoundError(f"path is not a saved model (no model.json): {folder}")
    try:
        document = json.loads(_file(folder, "model.json").read_bytes())
        if not isinstance(document, dict) or "format" not in document:
            raise _Refused("is damaged: model.json has no format")
        if document["format"] != FORMAT:
            raise _Refused(f"has format {document['format']!r} (adlib "
                           f"{document.get('adlib', 'unknown')}); this version of adlib reads "
                           f"format {FORMAT}")
        reader = _Reader(folder, handed)
        model = reader.read(document["model"])
        if not isinstance(model, BaseEstimator):
            raise _Refused("is damaged: model.json holds no estimator")
        _try(model, not reader.foreign)
        return model
    except Exception as error:  # whatever a damaged file may cause in what reads and uses it
        what = f"is damaged: {type(error).__name__}: {error}"
        if isinstance(error, _Refused):
            what = str(error)
        elif isinstance(error, KeyError):
            what = f"is damaged: {error} is missing"
        raise ValueError(shown(f"{folder} {what}", _LONGEST)) from (
            None if isinstance(error, _Refused) else error)


@former("adlib.files.replaced_folder(path, 'model.json')")
def new_folder(path: Path, what: str) -> AbstractContextManager[Path]:
    """Former name of `adlib.files.replaced_folder`; ``what`` is the stem of the JSON file."""
    return replaced_folder(path, f"{what}.json")


def _try(model: Any, ours: bool) -> None:
    """Check what `fit` leaves in each detector, and let one of adlib alone judge a row.

    One of the user's own may need more rows, or keep what it has seen.
    """
    if not isinstance(model, Detector) or "n_features_in_" not in vars(model):
        return
    model.check_params()
    width = whole(model.n_features_in_, "n_features_in_", 1)
    if "threshold_" in vars(model):
        number(model.threshold_, "threshold_", least=-np.inf, most=np.inf)
    score, fits = np.zeros(1), model.window_ * width <= _TRIED  # the row in memory
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the row is nobody's
        if ours and fits:
            # a copy: what a network keeps from scoring would carry its weights twice
            score = copy(model).anomaly_score(np.ones((1, width)))
        if getattr(model, "calibration_", None) is not None:
            model.calibration_.p_value(score)


class _Refused(ValueError):
    """What is wrong with a folder, as the rest of a sentence about it."""


def _file(folder: Path, name: str) -> Path:
    """A file of the folder, which it may be a link in; a pipe or device would never end."""
    if Path(name).name != name or not (folder / name).is_file():
        raise _Refused(f"is damaged: it has no file {name!r}")
    return folder / name


@cache
def _parts() -> dict[str, type]:
    """Thresholds, transformers and wrappers: what adlib has to save besides detectors."""
    return {cls.__name__: cls for module in (thresholds, windows, foreign)
            for cls in vars(module).values()
            if isinstance(cls, type) and issubclass(cls, BaseEstimator)
            and cls.__module__.startswith(module.__name__)}


class _Writer:
    """Values in JSON form; arrays and foreign estimators go to files named after the attribute."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.arrays: dict[str, NDArray] = {}

    def write(self, value: Any, where: str) -> Any:
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            value = value.item()
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, list):
            return self._items(value, where)
        for kinds, write in self._KINDS:
            if isinstance(value, kinds):
                return write(self, value, where)
        if isinstance(value, tuple(_parts().values())):
            return self._own(value, where)
        if isinstance(value, BaseEstimator):
            return self._foreign(value, where)
        raise TypeError(f"cannot save {where}: {type(value).__name__} is not a number, text, "
                        f"array, list, dict or estimator")

    def _items(self, values: Iterable[Any], where: str) -> list:
        return [self.write(value, f"{where}.{i}") for i, value in enumerate(values)]

    def _fields(self, values: dict[str, Any], where: str) -> dict[str, Any]:
        return {key: self.write(value, f"{where}.{key}") for key, value in values.items()}

    def _float(self, value: float, where: str) -> Any:  # JSON has no inf and no NaN
        return float(value) if np.isfinite(value) else {"float": repr(float(value))}

    def _array(self, value: NDArray, where: str) -> dict[str, Any]:
        if value.dtype.kind in "OU":
            return {"strings": self.write(value.tolist(), where)}
        if value.dtype.kind not in "biuf":
            raise TypeError(f"cannot save {where}: an array of dtype {value.dtype}")
        name = f"{len(self.arrays)}:{where}"  # numbered: "a.b" may be one key or two
        self.arrays[name] = np.ascontiguousarray(value)
        return {"array": name}

    def _tuple(self, value: tuple, where: str) -> dict[str, Any]:
        return {"tuple": self._items(value, where)}

    def _dict(self, value: dict, where: str) -> dict[str, Any]:
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"cannot save {where}: its keys must be texts, got {odd[0]!r}")
        return {"dict": self._fields(value, where)}

    def _own(self, value: Any, where: str) -> dict[str, Any]:
        # parameters and what was fitted, also under names without a trailing underscore; what
        # starts with an underscore can be made again
        state = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        if isinstance(state.get("random_state"), (np.random.Generator, np.random.RandomState)):
            state["random_state"] = value.seed_  # what was drawn from it is all that is left to use
        return {"class": type(value).__name__, "module": type(value).__module__,
                "state": self._fields(state, where)}

    def _foreign(self, value: BaseEstimator, where: str) -> dict[str, Any]:
        file = self.folder / f"{len(list(self.folder.iterdir()))}.skops"
        require_extra("skops.io", "sklearn").dump(value, file, compression=zipfile.ZIP_DEFLATED)
        ours = [type(part) for part in (value, *value.get_params().values())
                if isinstance(part, Detector)]
        if unknown := _untrusted(file, set(map(_full_name, ours))):
            raise TypeError(f"cannot save {where}: types that are not trusted: "
                            f"{', '.join(sorted(unknown))}")
        return {"skops": file.name}

    _KINDS: ClassVar[tuple[tuple[Any, Callable], ...]] = (
        (float, _float), (np.ndarray, _array), (tuple, _tuple), (dict, _dict),
        ((Detector, thresholds.Threshold), _own))


class _Reader:
    """Values from their JSON form: what `_Writer` wrote."""

    def __init__(self, folder: Path, handed: Iterable[type]):
        self.folder = folder
        self.arrays = load_file(_file(folder, "arrays.safetensors"))
        self.classes = _parts() | {cls.__name__: cls for cls in handed}
        self.foreign = False  # whether a class is of neither adlib nor scikit-learn

    def read(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.read(item) for item in value]
        if not isinstance(value, dict):
            return value
        for kind, read in self._KINDS.items():
            if kind in value:
                return read(self, value[kind])
        return self._own(value["class"], value["module"], value["state"])

    def _fields(self, values: dict[str, Any]) -> dict[str, Any]:
        return {key: self.read(value) for key, value in values.items()}

    def _own(self, name: str, module: str, state: dict[str, Any]) -> Any:
        cls = self._class(name)
        # a class handed in may have moved; one of adlib must not stand in for another of its name
        if cls is None or (cls.__module__.startswith("adlib.") and cls.__module__ != module):
            raise _Refused(f"needs the class {name!r} of {module}, which adlib does not have: hand "
                           f"it in as load(path, classes=[{name}])")
        self.foreign |= not cls.__module__.startswith("adlib.")
        former = _former_names(cls)
        state = {former.get(key, key): value for key, value in self._fields(state).items()}
        parameters = inspect.signature(cls).parameters
        state = {key: value for key, value in _LATER.items() if key in parameters} | state
        if lacking := [key for key in parameters if key not in state]:
            raise _Refused(f"was saved by a version of {name} that had no {', '.join(lacking)}: "
                           f"fit it again")
        if odd := [key for key in state
                   if key.startswith("__") or callable(getattr(cls, key, None))]:
            raise _Refused(f"is damaged: {odd[0]!r} would replace a method of {name}")
        model: Any = object.__new__(cls)
        model.__dict__.update(state)
        if isinstance(model, Detector):
            model.check_loaded()
        return model

    def _class(self, name: str) -> type | None:
        if name in self.classes:
            return self.classes[name]
        try:
            return find_detector(name)
        except ValueError:
            return None

    def _foreign(self, name: str) -> Any:
        file = _file(self.folder, name)
        trusted = set(map(_full_name, self.classes.values()))
        self.foreign |= any(not name.startswith("adlib.")
                            for name in trusted & _untrusted(file, set()))
        for name in _untrusted(file, trusted):
            cls = self._class(name.rpartition(".")[2])
            if cls is not None and _full_name(cls) == name:
                trusted.add(name)
        if unknown := _untrusted(file, trusted):
            raise _Refused(f"holds types that are not trusted: {', '.join(sorted(unknown))}")
        return require_extra("skops.io", "sklearn").load(file, trusted=sorted(trusted | TRUSTED))

    _KINDS: ClassVar[dict[str, Callable]] = {
        "float": lambda self, text: float(text),
        "array": lambda self, name: self.arrays[name],
        "strings": lambda self, texts: np.array(self.read(texts), dtype=object),
        "tuple": lambda self, items: tuple(self.read(items)),
        "dict": _fields,
        "skops": _foreign,
    }


def _former_names(cls: type) -> dict[str, str]:
    """Parameters that were renamed since some file was written: former name to present one."""
    names: dict[str, str] = {}
    for parent in cls.__mro__:
        names |= getattr(vars(parent).get("__init__"), "renamed_", {})
    return names


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _untrusted(file: Path, trusted: set[str]) -> set[str]:
    """Types that a skops file uses, besides those of scikit-learn, ours, and these."""
    found = require_extra("skops.io", "sklearn").get_untrusted_types(file=file)
    return set(found) - TRUSTED - trusted - set(map(_full_name, _parts().values()))
