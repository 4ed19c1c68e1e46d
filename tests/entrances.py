"""Every way by which rows come into adlib, with what came in: for tests that compare them.

An entrance takes a file and the options of the reader, and gives `Read`: the rows, or the one
sentence that refuses them. Engines are real; only what they are handed is looked at, and a history
that is too short for one is replaced after it was looked at.
"""

import asyncio
import contextlib
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import nbformat
import numpy as np
import pandas as pd
import yaml

from adlib.datasets import load_csv
from adlib.notebooks import ROOT
from adlib.realtime import RealTimeAnomalyDetector
from adlib.realtime.__main__ import main
from adlib.realtime.doors import jetstream
from adlib.realtime.doors.records import grouped
from adlib.realtime.sources import open_source
from adlib.realtime.windows import StreamProcessor

CONFIG = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
          "window_size": 1, "stride": 1, "alpha": 0.05, "drift": False}
ENOUGH = 100  # rows of a history that an engine fits on


@dataclass
class Read:
    """What came in."""

    names: list[str] = field(default_factory=list)
    values: Any = None  # (n, d), or None: refused
    time: Any = None  # microseconds since 1970, int64; lowest for none; None: the rows have no time
    labelled: int | None = None  # rows labelled as anomalous, where the entrance tells
    notes: list[str] = field(default_factory=list)
    refusal: str | None = None
    poison: int = 0  # records that a stream could not read
    code: int | None = None  # exit code


def microseconds(time: Any) -> Any:
    """Times of any kind as whole microseconds since 1970."""
    if time is None:
        return None
    time = np.asarray(time)
    if time.dtype.kind == "M":
        return time.astype("datetime64[us]").astype(np.int64)
    known = np.isfinite(time)
    found = np.full(time.shape, np.iinfo(np.int64).min)
    found[known] = np.round(time[known] * 1e6).astype(np.int64)
    return found


# -- the function


def by_function(path: Path, options: dict[str, Any], **_: Any) -> Read:
    """`load_csv`."""
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        try:
            data = load_csv(path, **options)
        except (ValueError, OSError, ImportError) as error:
            return Read(refusal=str(error), notes=_texts(noticed))
    return Read(list(data.feature_names), data.X, microseconds(data.time), int(data.y.sum()),
                _texts(noticed))


def _texts(noticed: list[Any]) -> list[str]:
    return [str(warning.message) for warning in noticed]


# -- the command line


def flags(options: dict[str, Any]) -> list[str]:
    """Options as a command line has them: one word each, lists with commas."""
    found = []
    for name, value in options.items():
        if name == "header":
            found.append("--header" if value else "--no-header")
            continue
        if value is False and name == "time_column":
            value = ""
        text = ",".join(map(str, value)) if isinstance(value, list) else (
            json.dumps(value) if isinstance(value, bool) else str(value))
        found.append(f"--{name.replace('_', '-')}={text}")
    return found


def command(argv: list[str], folder: Path) -> tuple[int, str, str]:
    """Exit code, standard output and errors of a command in a folder."""
    out, err = io.StringIO(), io.StringIO()
    with (contextlib.chdir(folder), contextlib.redirect_stdout(out),
          contextlib.redirect_stderr(err), warnings.catch_warnings()):
        warnings.simplefilter("always")
        try:
            code = main(argv)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def standard_input(data: bytes) -> Iterator[None]:
    """Bytes on standard input, as from a pipe that then ends."""
    reading, writing = os.pipe()
    with open(writing, "wb") as end:
        end.write(data)  # a pipe takes 64 KiB at once
    before = sys.stdin
    with open(reading, "rb") as buffer:
        sys.stdin = SimpleNamespace(buffer=buffer)
        try:
            yield
        finally:
            sys.stdin = before


class Commands:
    """``python -m adlib.realtime`` in this process, in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: Any):
        self.folder, self._patch = folder, monkeypatch

    def fit(self, path: Path, options: dict[str, Any], *, by: str = "yaml") -> Read:
        """What `RealTimeAnomalyDetector.fit` is handed; leaves a model."""
        seen: list[Any] = []
        fit = RealTimeAnomalyDetector.fit

        def spy(engine: Any, X: Any, time: Any = None, entity: Any = None) -> Any:
            seen.append(X)
            noise = np.random.default_rng(0).normal(size=(ENOUGH, X.shape[1]))
            if len(X) < ENOUGH:
                return fit(engine, pd.DataFrame(noise, columns=X.columns))
            return fit(engine, X, time, entity)

        with self._patch.context() as patch:
            patch.setattr(RealTimeAnomalyDetector, "fit", spy)
            code, notes, refusal = self._main(["fit"], [str(path)], options, by, "--out", "model")
        if not seen:
            return Read(notes=notes, refusal=refusal, code=code)
        return Read(list(seen[0].columns), seen[0].to_numpy(), None, None, notes, refusal, 0, code)

    def backtest(self, path: Path, options: dict[str, Any], *, by: str = "yaml") -> Read:
        """What `adlib.realtime.backtest.backtest` is handed."""
        seen: list[Any] = []

        class Enough(BaseException):
            pass

        def spy(config: Any, X: Any, labels: Any = None, *, time: Any = None, **_: Any) -> Any:
            seen.extend([X, labels, time])
            raise Enough

        with self._patch.context() as patch, contextlib.suppress(Enough):
            patch.setattr(import_module("adlib.realtime.backtest"), "backtest", spy)
            code, notes, refusal = self._main(["backtest"], [str(path)], options, by)
        if not seen:
            return Read(notes=notes, refusal=refusal, code=code)
        X, y, time = seen
        return Read(list(X.columns), X.to_numpy(), microseconds(time),
                    None if y is None else int(np.sum(y)))

    def run(self, path: Path, options: dict[str, Any], *, by: str = "yaml",
            source: str = "csv:{path}", lines: bytes | None = None) -> Read:
        """The samples that the engine of the last `fit` takes from a file, or standard input."""
        taken: list[Any] = []
        push = StreamProcessor.push

        def spy(processor: Any, items: Any, **how: Any) -> Any:
            items = list(items)
            taken.extend(items)
            return push(processor, items, **how)

        with self._patch.context() as patch, standard_input(lines or b""):
            patch.setattr(StreamProcessor, "push", spy)
            code, notes, refusal = self._main(
                ["run"], ["--source", source.format(path=path)], options, by, "--model", "model")
        if not taken:
            return Read(notes=notes, refusal=refusal, code=code)
        return samples_read(self.features, taken, notes=notes, code=code)

    @property
    def features(self) -> list[str]:
        """Those of the model."""
        return list(json.loads((self.folder / "model" / "engine.json").read_text())["features"])

    def model(self, names: list[str]) -> None:
        """Leave a model of these features, as a `fit` would."""
        noise = np.random.default_rng(0).normal(size=(ENOUGH, len(names)))
        RealTimeAnomalyDetector(CONFIG).fit(pd.DataFrame(noise, columns=names)).save(
            self.folder / "model")

    def _main(self, verb: list[str], what: list[str], options: dict[str, Any], by: str,
              *more: str) -> tuple[int, list[str], str | None]:
        config = dict(CONFIG)
        if by == "yaml" and options:
            config["reading"] = options
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        argv = [*verb, "config.yaml", *what, *more, *(flags(options) if by == "flags" else [])]
        code, _, err = command(argv, self.folder)
        said = [line for line in err.splitlines() if line]
        notes = [re.sub(r"^(note|warning): ", "", line) for line in said
                 if line.startswith(("note: ", "warning: "))]
        failed = [line.removeprefix(f"{verb[0]}: ") for line in said
                  if line.startswith(f"{verb[0]}: ") or "error: " in line]
        return code, notes, failed[0] if code and failed else None


def samples_read(names: list[str], samples: list[Any], **more: Any) -> Read:
    """Rows of samples; a poisoned record is a row of missing values."""
    values, time, poison = [], [], 0
    for sample in samples:
        if isinstance(sample.values, str):
            poison += 1
            values.append(np.full((1, len(names)), np.nan))
        else:
            values.append(np.atleast_2d(sample.values))
        stamps = np.nan if sample.time is None else sample.time
        time.append(np.broadcast_to(stamps, len(values[-1])).astype(float))
    at = np.concatenate(time)
    return Read(list(names), np.vstack(values), None if np.isnan(at).all() else microseconds(at),
                poison=poison, **more)


# -- messages


def by_messages(payloads: list[bytes], folder: Path, options: dict[str, Any]) -> Read:
    """What the JetStream source of the model in a folder makes of payloads, without a server."""
    config = CONFIG | ({"reading": options} if options else {})
    engine = RealTimeAnomalyDetector.load(folder / "model", config)
    source = open_source("nats://127.0.0.1:4222/rig")
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        try:
            engine._opened(source)  # tells it how to read
            consumer = jetstream._Consumer(source, source.records(engine.features_), -1)
            records = [consumer._record(k, np.nan, data) for k, data in enumerate(payloads)]
        except ValueError as error:
            return Read(refusal=str(error))
    return samples_read(engine.features_, list(grouped(records)), notes=_texts(noticed))


# -- the notebook


class Notebook:
    """Cells of notebook 05 up to the one that reads, executed alone."""

    def __init__(self) -> None:
        notebook = nbformat.read(ROOT / "notebooks" / "05_model_comparison.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        end = next(i for i, cell in enumerate(cells) if "load_sets(" in cell.source)
        self._defaults, *self._cells = [
            compile(cell.source, f"05, code cell {i}", "exec")
            for i, cell in enumerate(cells[: end + 1])]

    def read(self, path: Path | str | list[str], options: dict[str, Any]) -> Read:
        """The data set that the cell makes; of several, their names as notes."""
        options = options | {"data_path": path if isinstance(path, list) else str(path)}
        names: dict[str, Any] = {"__name__": "notebook"}
        shown = io.StringIO()
        quiet = pd.option_context("display.max_colwidth", 50)  # the cells set it for a kernel
        with contextlib.redirect_stdout(shown), warnings.catch_warnings(), quiet, mock.patch(
                "adlib.notebooks.setup"):
            exec(self._defaults, names)
            if unknown := options.keys() - names.keys():
                raise AssertionError(f"notebook 05 has no parameter {sorted(unknown)}")
            names.update(options)
            try:
                for cell in self._cells:
                    exec(cell, names)
            except import_module("adlib.notebooks").ParameterError as error:
                return Read(refusal=str(error), notes=_printed(shown))
        found = list(names["sets"].values())
        read = Read(list(found[0].feature_names), found[0].X, microseconds(found[0].time),
                    int(found[0].y.sum()), _printed(shown))
        return read if len(found) == 1 else Read(notes=[data.name for data in found])


def _printed(shown: io.StringIO) -> list[str]:
    return [line.removeprefix("note: ") for line in shown.getvalue().splitlines()
            if line.startswith("note: ")]


def listened(iterator: Any) -> list[Any]:
    """All that an asynchronous iterator gives."""
    async def run() -> list[Any]:
        async with contextlib.aclosing(iterator) as given:
            return [item async for item in given]

    return asyncio.run(run())
