"""Save and load fitted detectors without pickle: a folder of JSON and safetensors.

``model.json`` holds class names, parameters and scalars; ``arrays.safetensors`` the arrays. Classes
are looked up by name among those of adlib, or handed in by the caller: nothing in these two files
makes Python import anything. scikit-learn estimators inside (or alone) go to skops files, which
import scikit-learn's types and a short list of others, and refuse the rest.
"""

import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.base import BaseEstimator

from adlib import thresholds, windows
from adlib.arguments import listed
from adlib.arguments import path as as_path
from adlib.base import Detector
from adlib.detectors import all_detectors, baselines
from adlib.files import replaced_folder

FORMAT = 1

# compiled types inside scikit-learn's forests and neighbour searches, which skops does not know
TRUSTED = ("sklearn.tree._tree.Tree", "sklearn.neighbors._kd_tree.KDTree",
           "sklearn.neighbors._ball_tree.BallTree",
           "sklearn.metrics._dist_metrics.EuclideanDistance64",
           "adlib.detectors.voting._OneClassSVM")  # a member of Voting, and ours


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
        arrays: dict[str, np.ndarray] = {}
        tree = _encode(model, "model", arrays, folder)
        document = {"format": FORMAT, "adlib": _version(), "model": tree}
        (folder / "model.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        save_file(arrays, folder / "arrays.safetensors")
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
    scikit-learn trust the trees and support vectors that they are given.
    """
    folder = as_path(path, "path")
    handed = listed(classes, "classes")
    if odd := [cls for cls in handed if not isinstance(cls, type)]:
        raise TypeError(f"classes must be classes, got {odd[0]!r}")
    if not (folder / "model.json").is_file():
        raise FileNotFoundError(f"path is not a saved model (no model.json): {folder}")
    known = {cls.__name__: cls for cls in _parts()}
    known |= all_detectors() | baselines() | {cls.__name__: cls for cls in handed}
    try:
        document = json.loads(_file(folder, "model.json").read_bytes())
        if not isinstance(document, dict) or "format" not in document:
            raise _Refused("is damaged: model.json has no format")
        if document["format"] != FORMAT:
            raise _Refused(f"has format {document['format']!r} (adlib "
                           f"{document.get('adlib', 'unknown')}); this version of adlib reads "
                           f"format {FORMAT}")
        arrays = load_file(_file(folder, "arrays.safetensors"))
        model = _decode(document["model"], arrays, folder, known)
        if not isinstance(model, BaseEstimator):
            raise _Refused("is damaged: model.json holds no estimator")
        return model
    except _Refused as error:
        raise ValueError(f"{folder} {error}") from None
    except KeyError as error:
        raise ValueError(f"{folder} is damaged: {error} is missing") from error
    except Exception as error:  # whatever a damaged file may cause in the libraries that read it
        raise ValueError(f"{folder} is damaged: {type(error).__name__}: {error}") from error


class _Refused(ValueError):
    """What is wrong with a folder, as the rest of a sentence about it."""


def _file(folder: Path, name: str) -> Path:
    """A file of the folder, which it may be a link in; a pipe or device would never end."""
    if Path(name).name != name or not (folder / name).is_file():
        raise _Refused(f"is damaged: it has no file {name!r}")
    return folder / name


def _version() -> str:
    from adlib import __version__

    return __version__


def _parts() -> tuple[type, ...]:
    """Thresholds and transformers: what adlib has to save besides detectors."""
    return tuple(cls for module in (thresholds, windows) for cls in vars(module).values()
                 if isinstance(cls, type) and issubclass(cls, BaseEstimator)
                 and cls.__module__.startswith(module.__name__))


def _encode(value: Any, where: str, arrays: dict[str, np.ndarray], folder: Path) -> Any:
    """JSON form of a value; arrays and foreign estimators go to files named after ``where``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):  # JSON has no inf and no NaN
        return float(value) if np.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return _encode(value.item(), where, arrays, folder)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        name = f"{len(arrays)}:{where}"  # numbered: "a.b" may be one key or two
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name}
    if isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        return {"strings": _encode(value.tolist(), where, arrays, folder)}
    if isinstance(value, (list, tuple)):
        items = [_encode(v, f"{where}.{i}", arrays, folder) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {k: _encode(v, f"{where}.{k}", arrays, folder) for k, v in value.items()}}
    if isinstance(value, (Detector, thresholds.Threshold, *_parts())):
        # parameters and what was fitted, also under names without a trailing underscore; what
        # starts with an underscore can be made again
        state = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        if isinstance(state.get("random_state"), (np.random.Generator, np.random.RandomState)):
            state["random_state"] = value.seed_  # what was drawn from it is all that is left to use
        return {"class": type(value).__name__, "module": type(value).__module__,
                "state": {k: _encode(v, f"{where}.{k}", arrays, folder) for k, v in state.items()}}
    if isinstance(value, BaseEstimator):
        import skops.io

        file = folder / f"{len(list(folder.iterdir()))}.skops"
        skops.io.dump(value, file, compression=zipfile.ZIP_DEFLATED)
        if unknown := _untrusted(file, _trusted(_adlib_classes(value))):
            raise TypeError(f"cannot save {where}: types that are not trusted: {unknown}")
        return {"skops": file.name}
    raise TypeError(f"cannot save {where}: {type(value).__name__} is not a number, text, array, "
                    f"list, dict or estimator")


def _decode(value: Any, arrays: dict[str, np.ndarray], folder: Path, known: dict[str, type]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays, folder, known) for item in value]
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "array" in value:
        return arrays[value["array"]]
    if "strings" in value:
        return np.array(_decode(value["strings"], arrays, folder, known), dtype=object)
    if "tuple" in value:
        return tuple(_decode(value["tuple"], arrays, folder, known))
    if "dict" in value:
        return {k: _decode(v, arrays, folder, known) for k, v in value["dict"].items()}
    if "skops" in value:
        return _load_skops(_file(folder, value["skops"]), known)
    name, module = value["class"], value["module"]
    cls = known.get(name)
    # a class handed in may have moved; one of adlib must not stand in for another of its name
    if cls is None or (cls.__module__.startswith("adlib.") and cls.__module__ != module):
        raise _Refused(f"needs the class {name!r} of {module}, which adlib does not have: hand it "
                       f"in as load(path, classes=[{name}])")
    model = cls.__new__(cls)
    renamed = getattr(cls.__init__, "renamed_", {})
    state = {renamed.get(k, k): _decode(v, arrays, folder, known)
             for k, v in value["state"].items()}
    if lacking := [k for k in cls._get_param_names() if k not in state]:
        raise _Refused(f"was saved by a version of {name} that had no {', '.join(lacking)}: fit it "
                       f"again")
    model.__dict__.update(state)
    if isinstance(model, Detector):
        model.check_loaded()
    return model


def _adlib_classes(model: BaseEstimator) -> list[type]:
    """Classes of detectors among a model's steps and parameters."""
    parts = [model, *model.get_params().values()]
    return [type(part) for part in parts if isinstance(part, Detector)]


def _trusted(classes: Iterable[type]) -> set[str]:
    """Types that a skops file may use besides those of scikit-learn."""
    return {*TRUSTED, *(f"{cls.__module__}.{cls.__qualname__}" for cls in (*classes, *_parts()))}


def _untrusted(file: Path, trusted: set[str]) -> str:
    import skops.io

    return ", ".join(sorted(set(skops.io.get_untrusted_types(file=file)) - trusted))


def _load_skops(file: Path, known: dict[str, type]) -> Any:
    import skops.io

    trusted = _trusted(known.values())
    if unknown := _untrusted(file, trusted):
        raise _Refused(f"holds types that are not trusted: {unknown}")
    return skops.io.load(file, trusted=sorted(trusted))
