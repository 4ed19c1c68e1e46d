"""Which detectors take part: every accepted way to name one, the baselines beside them."""

import ast
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline, make_pipeline

from adlib.base import Detector, core
from adlib.detectors import all_detectors, baselines, find_detector
from adlib.foreign import Foreign, wrap
from adlib.imports import nearest
from adlib.signs import family

ALWAYS = {"AlwaysAnomalous": -np.inf, "AlwaysNormal": np.inf}  # decisions that look at nothing
ORACLE = "Oracle"
SUPERVISED = "Supervised"
SMOOTHED = ("SquaredDifference", "SquaredZ")  # one-liners as strong as smoothed detectors
STEPS = ("FirstDifference", "MovingDeviation")  # that look at rows before, without smoothing
# Scaling is part of a method that measures distances; without it the last two are straw men.
SKLEARN = {
    "EllipticEnvelope": ("sklearn.covariance", {}, False),
    "IsolationForest": ("sklearn.ensemble", {}, False),
    "LocalOutlierFactor": ("adlib.compare.bounded", {"novelty": True}, True),
    "OneClassSVM": ("adlib.compare.bounded", {}, True),
}


class Supervised(BaseEstimator):
    """What the labels of the training rows are worth: a random forest (Breiman, 2001), row by row.

    Parameters
    ----------
    labels : array-like of shape (n_samples,), optional
        1 = anomaly; of the rows it will be fitted on.
    random_state : int, optional
    """

    def __init__(self, labels: Any = None, random_state: int | None = None):
        self.labels = labels
        self.random_state = random_state

    def fit(self, X: NDArray[np.float64]) -> "Supervised":
        from sklearn.ensemble import RandomForestClassifier

        self.model_ = RandomForestClassifier(
            class_weight="balanced_subsample", random_state=self.random_state).fit(X, self.labels)
        return self

    def anomaly_score(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the trees' votes for an anomaly."""
        return self.model_.predict_proba(X)[:, 1]


def named_detectors(detectors: Any) -> dict[str, Any]:
    """Every accepted way to name detectors, as {label: unfitted instance}.

    Raises
    ------
    ValueError
        For an unknown name, what is no detector, or two of one label.

    Examples
    --------
    >>> list(named_detectors(["KNN", {"mine": "KNN(window=3)"}]))
    ['KNN', 'mine']
    """
    if isinstance(detectors, Mapping):
        return {str(label): build(detector) for label, detector in detectors.items()}
    is_pair = isinstance(detectors, tuple) and len(detectors) == 2 and isinstance(detectors[0], str)
    if is_pair and not isinstance(detectors[1], str):
        return {detectors[0]: build(detectors[1])}
    if not isinstance(detectors, (list, tuple, set)):
        model = build(detectors)
        return {_shown(detectors) if isinstance(detectors, str) else _label(model): model}
    models: dict[str, Any] = {}
    for one in detectors:
        named = named_detectors(one)
        if both := models.keys() & named.keys():
            raise ValueError(f"two detectors are labelled {sorted(both)[0]!r}: name them (label, "
                             f"detector)")
        models |= named
    return models


def _shown(text: str) -> str:
    """A name without the folders of its file."""
    return re.sub(r"^.*[/\\](?=[^/\\]+\.py:)", "", text)


def build(detector: Any) -> Any:
    """An unfitted instance of what a text, a class or an instance names."""
    if isinstance(detector, str) and (detector in ALWAYS or detector == ORACLE):
        return detector
    model = (_by_name(detector) if isinstance(detector, str) else
             detector() if isinstance(detector, type) else detector)
    try:
        wrapped = wrap(model)
    except TypeError as error:
        raise ValueError(str(error)) from None
    if isinstance(model, Detector):
        model.check_stored()
    return model if family(model) == "sklearn" else wrapped


def _by_name(text: str) -> Any:
    name, parameters = _parsed(text)
    if name in SKLEARN:
        module, fixed, scaled = SKLEARN[name]
        model = getattr(import_module(module), name)(**fixed)
        if scaled:
            from sklearn.preprocessing import StandardScaler

            model = make_pipeline(StandardScaler(), model)
        core(model).set_params(**parameters)
        return model
    try:
        cls = find_detector(name)
    except ValueError:
        if ":" in name:
            raise
        known = sorted(SKLEARN | all_detectors() | baselines())
        raise ValueError(f"unknown detector {text!r}{nearest(name, known, ';')} there are {known}, "
                         f"or 'package.module:Class' and 'file.py:Class' of yours") from None
    if ":" not in name:
        return cls().set_params(**parameters)
    try:
        return cls(**parameters)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{text!r} cannot be made: {error}") from None


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of "KNN", "KNN(window=10)" or "file.py:KNN()"; values are literals."""
    form = r"((?:.+\.py|[\w.]+):)?([A-Za-z_]\w*)(\(.*\))?"
    if found := re.fullmatch(form, text.strip(), re.DOTALL):
        place, name, arguments = found.groups()
        with suppress(SyntaxError, ValueError):  # not of that form: an unknown name
            call = ast.parse(f"{name}{arguments or '()'}", mode="eval").body
            if isinstance(call, ast.Call) and not call.args:
                return f"{place or ''}{name}", {
                    str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    return text, {}


def _label(model: Any) -> str:
    if isinstance(model, Foreign):
        inner, library = model.model, family(model.model)
        if library in ("", "sklearn") or isinstance(inner, Pipeline):
            return _label(inner)
        steps = getattr(inner, "steps", None)  # of a pipeline of River's
        parts = steps.values() if isinstance(steps, dict) else [inner]
        return f"{library}.{' > '.join(type(part).__name__ for part in parts)}"
    if isinstance(model, Pipeline):
        return " > ".join(type(step).__name__ for _, step in model.steps)
    if type(model).__repr__ is object.__repr__:
        return type(model).__name__
    return " ".join(repr(model).split()).removesuffix("()")  # shows parameters that were changed


def baseline_detectors() -> dict[str, Any]:
    """The rows that every table needs, by name."""
    models: dict[str, Any] = {name: cls() for name, cls in baselines().items()}
    for name in SMOOTHED:
        models[name].set_params(smoothing="auto")
    models["PCAReconstruction"] = build("PCAReconstruction")
    return models | {name: name for name in ALWAYS} | {ORACLE: ORACLE}


def untrained_copies(models: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of each network as it is before the first epoch: what training has to beat."""
    copies = {}
    for label, model in models.items():
        if isinstance(core(model), Detector) and "epochs" in core(model).get_params():
            copies[f"{label} untrained"] = copy = clone(model)
            core(copy).set_params(epochs=0)
    return copies


def own_seeds(model: Any) -> dict[str, Any]:
    """Parameters that take a seed and have a value already, which the seeds of a run replace."""
    params = model.get_params() if hasattr(model, "get_params") else {}
    return {name: params[name] for name in random_states(model) if params[name] is not None}


def random_states(model: Any) -> list[str]:
    """Parameters, nested ones too, that take a seed."""
    params = model.get_params() if hasattr(model, "get_params") else {}
    return [name for name in params if name.split("__")[-1] == "random_state"]


def ignores_seed(model: Any) -> bool:
    """Whether every seed gives the same scores, as far as we know the classes."""
    if isinstance(model, str):
        return True
    params = model.get_params().values() if hasattr(model, "get_params") else ()
    parts = [model, *(part for part in params if hasattr(part, "get_params"))]
    known = all(type(part).__module__.split(".")[0] in ("adlib", "sklearn") for part in parts)
    return known and not random_states(model)


def parameters_of(model: Any) -> str:
    """All parameters in one line, those of nested estimators with them; the seed is a column."""
    replaced = "".join(f"; {name}={value!r} is replaced by the seed"
                       for name, value in own_seeds(model).items())
    if not hasattr(model, "get_params"):
        return ""
    steps = model.steps if isinstance(model, Pipeline) else [("", model)]
    texts = []
    for _, step in steps:
        own = step.get_params(deep=False) if hasattr(step, "get_params") else {}
        pairs = (f"{k}={' '.join(repr(v).split())}" for k, v in sorted(own.items())
                 if k != "random_state")
        texts.append(re.sub(r" at 0x[0-9a-f]+", "", ", ".join(pairs)))
    return " > ".join(texts) + replaced
