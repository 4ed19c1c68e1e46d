"""The folder in which a fitted engine is kept: JSON and arrays, no pickle."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import numpy as safetensors

from adlib import persist
from adlib.arguments import number
from adlib.detectors.ensemble import Ensemble
from adlib.files import replaced_folder
from adlib.realtime.config import EngineConfig, find_class
from adlib.realtime.doors import versions
from adlib.realtime.doors.checkpoint import pack, unpack
from adlib.realtime.fitted import Fitted
from adlib.realtime.traces import Trace

FORMAT, _PAST = 1, "past.bin"
_FLEET = 2  # earlier versions of adlib must not take a fleet for one stream
_ARRAYS = ("held_out", "center", "scale", "longest", "background", "rows")


def save(path: Path, fitted: Fitted, config: EngineConfig, reading: Mapping[str, Any]) -> None:
    """Write a folder, whole or not at all; alerts, which may hold secrets, stay out of it."""
    with replaced_folder(path, "engine.json") as folder:
        write(folder, fitted, config, reading)


def write(folder: Path, fitted: Fitted, config: EngineConfig, reading: Mapping[str, Any]) -> None:
    """Fill an empty folder."""
    for i, model in enumerate(fitted.ensemble.members_):
        persist.save(model, folder / f"detector-{i}")
        if fitted.before[i] is not None:
            persist.save(fitted.before[i], folder / f"before-{i}")
    safetensors.save_file({name: np.ascontiguousarray(getattr(fitted, name))
                           for name in _ARRAYS}, folder / "arrays.safetensors")
    for i, one in enumerate(fitted.models.values()):
        (folder / "models" / str(i)).mkdir(parents=True)
        write(folder / "models" / str(i), one, config.model_copy(update={"fleet": None}), {})
    if fitted.states:
        (folder / "states").write_bytes(pack(fitted.states))
    fleet = {} if config.fleet is None else {"models": [*fitted.models], "own": {
        entity: [rows.start, rows.stop] for entity, rows in fitted.own.items()}}
    if fitted.past is not None:
        (folder / _PAST).write_bytes(fitted.past.pack())
    (folder / "engine.json").write_text(json.dumps(
        {"format": _FLEET if fleet else FORMAT, "features": fitted.features,
         "detectors": fitted.names,
         "config": config.plain(), "reading": reading, "interval": fitted.interval,
         "kept_alpha": fitted.kept_alpha, **fleet}, indent=1), encoding="utf-8")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``engine.json`` says, and the arrays beside it."""
    path = versions.saved(folder)
    try:
        saved = json.loads(path.read_bytes())
        fmt, _ = saved["format"], (saved["detectors"], saved["features"], saved["config"])
        if not (folder / "arrays.safetensors").is_file():  # a pipe or device would never end
            raise FileNotFoundError("it has no file 'arrays.safetensors'")
        arrays = safetensors.load_file(folder / "arrays.safetensors") if fmt in (
            FORMAT, _FLEET) else {}
    except Exception as error:  # whatever a damaged file may cause in what reads it
        raise ValueError(f"{folder} is damaged: {type(error).__name__}: {error}") from error
    if fmt not in (FORMAT, _FLEET):
        raise ValueError(f"{folder} has format {fmt!r}, this version of adlib reads formats "
                         f"{FORMAT} and {_FLEET}")
    return saved, arrays


def load(folder: Path, saved: Mapping[str, Any], arrays: Mapping[str, Any],
         config: EngineConfig) -> Fitted:
    """What `save` wrote, with the configuration that it was fitted with."""
    groups = config.groups()
    try:
        names, width = saved["detectors"], len(saved["features"])
        classes = [[find_class(groups[name].detector)] for name in names]
        models = [persist.load(folder / f"detector-{i}", classes=kind)
                  for i, kind in enumerate(classes)]
        before = [persist.load(path, classes=kind) if (path := folder / f"before-{i}").exists()
                  else None for i, kind in enumerate(classes)]
        weights = [groups[name].weight for name in names]
        arrays = {"rows": np.empty((0, width)), **arrays}
        _check_arrays(arrays, len(names), width)
        ensemble = _assembled(models, weights, width, config.combine or "weighted")
        ensemble.calibrate_scores(arrays["held_out"])
        kept = saved.get("kept_alpha")
        return Fitted(saved["features"], names, ensemble, before=before, **arrays, interval=number(
            saved.get("interval", config.sampling_period), "interval", above=0),
            kept_alpha=None if kept is None else number(kept, "kept_alpha", above=0, below=1),
            **_entities(folder, saved, len(arrays["held_out"]), config))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is damaged: {type(error).__name__}: {error}") from error


def _entities(folder: Path, saved: Mapping[str, Any], n: int, config: EngineConfig
              ) -> dict[str, Any]:
    """What is known of each entity of a fleet with so many held-out rows."""
    if config.fleet is None:
        return {}
    own = {entity: slice(start, stop) for entity, (start, stop) in saved["own"].items()}
    states = folder / "states"
    found = unpack(states.read_bytes()) if states.is_file() else {}
    if any({type(rows.start), type(rows.stop)} != {int} or not 0 <= rows.start <= rows.stop <= n
           for rows in own.values()) or found and (
            found.keys() != own.keys() or {*map(len, found.values())} != {len(saved["detectors"])}):
        raise TypeError("rows or states of entities are not those of its held-out rows")
    alone, models = config.model_copy(update={"fleet": None}), {}
    for i, entity in enumerate(saved["models"]):
        place = folder / "models" / str(i)
        models[entity] = load(place, *read(place), alone)
    return {"own": own, "states": found, "models": models}


def past(folder: Path, stream: str) -> Trace | None:
    """The history that the first version was fitted on, where it was kept.

    Raises
    ------
    ValueError
        When the file is damaged.
    """
    path = folder / _PAST
    return Trace.unpack(stream, path.read_bytes()) if path.is_file() else None


def _check_arrays(arrays: Mapping[str, Any], n_members: int, width: int) -> None:
    """Refuse arrays that are not those of so many members and features."""
    for name in _ARRAYS:
        array, missing = arrays[name], name in ("held_out", "rows")
        wanted = (n_members if name == "held_out" else width,)
        plain = array.dtype == np.float64 and array.shape[-1:] == wanted and array.ndim == (
            2 if missing or name == "background" else 1)
        if not plain or not (missing or name == "longest" or np.isfinite(array).all()):
            raise TypeError(f"{name} is of shape {array.shape} and {array.dtype}, or not finite; "
                            f"{width} features were wanted")


def _assembled(models: list[Any], weights: list[float], width: int, combine: str) -> Ensemble:
    """An ensemble of members that are fitted already."""
    ensemble = Ensemble(members=list(zip(models, weights, strict=True)), calibration=None,
                        threshold=np.inf, combine=combine)
    ensemble.members_, ensemble.names_ = models, [type(model).__name__ for model in models]
    ensemble.weights_, ensemble.seed_ = np.array(weights) / sum(weights), 0
    ensemble.n_features_in_ = width
    return ensemble


def detectors_in(config: Any) -> Iterator[Any]:
    """Every detector that a saved configuration names, however deep."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "detector":
                yield value
            elif key in ("detectors", "members") and isinstance(value, list):
                yield from (name for name in value if isinstance(name, str))
            yield from detectors_in(value)
    elif isinstance(config, list):
        for value in config:
            yield from detectors_in(value)
