"""A simulated plant, for those who have none yet: its machines as a source, and as a history."""

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Template
from numpy.typing import NDArray

from adlib.datasets.generators import TELEMETRY
from adlib.datasets.injectors import inject
from adlib.files import replaced_file
from adlib.realtime.config import FleetConfig
from adlib.realtime.doors.recorded import paced
from adlib.realtime.doors.records import positive
from adlib.realtime.sources import Source, split_spec
from adlib.realtime.windows import Sample

FEATURES = ("temperature_c", "power_w", "fan_rpm", "vibration_mm_s")
_ROWS = 120  # of each machine that are made at once
_PERIODS = np.array([61.0, 173.0, 467.0, 900.0])  # rows; the last one is all machines' own
_HISTORY = 80_000  # rows of all machines together
_KINDS = ("spike", "level_shift", "trend", "variance", "stuck", "dropout")


class Plant:
    """Machines under a load that changes; each value follows from the seed and its number.

    Channels respond to the load of their machine and to a common season, as those of
    `adlib.datasets.make_telemetry` do, and faults are those of `adlib.datasets.inject`.
    """

    def __init__(self, machines: int = 20, seed: int = 0, every: float = 180.0):
        self.machines, self.seed, self.every = machines, seed, every
        self.names = [f"machine-{k:02d}" for k in range(1, machines + 1)]
        self.phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (3, machines))

    def rows(self, block: int, faults: bool = True) -> NDArray[np.float64]:
        """``_ROWS`` rows of each machine, shape (rows, machines, features)."""
        rng = np.random.default_rng([self.seed, block, faults])
        angle = 2 * np.pi * (block * _ROWS + np.arange(_ROWS)[:, None, None]) / _PERIODS[:, None]
        load = np.sqrt(2 / 3) * np.sin(angle[:, :3] + self.phases).sum(axis=1)
        mean, by_load, by_season, noise = np.array([TELEMETRY[name] for name in FEATURES]).T
        found = mean + by_load * load[:, :, None] + by_season * np.sin(angle[:, 3:]) + (
            noise * rng.standard_normal((_ROWS, self.machines, len(FEATURES))))
        if faults and (not block or rng.random() < _ROWS / self.every):
            who = int(rng.integers(self.machines))
            found[:, who] = inject(found[:, who], str(rng.choice(_KINDS)), n_events=1,
                                   length=(25, 45), strength=float(rng.uniform(5, 10)),
                                   start=0 if block else _ROWS // 2, random_state=rng).X
        return found

    def history(self) -> pd.DataFrame:
        """Rows without a fault, machine after machine within a second."""
        blocks = max(_HISTORY // self.machines // _ROWS, 10)
        X = np.concatenate([self.rows(block, False) for block in range(blocks)])
        frame = pd.DataFrame(X.reshape(-1, len(FEATURES)).round(4), columns=[*FEATURES])
        frame.insert(0, "machine", self.names * len(X))
        frame.insert(0, "time", np.repeat(1.7e9 + np.arange(len(X)), self.machines))
        return frame


class SimulatedSource(Source):
    """``simulate:?machines=20&seed=0&speed=1&faults=180&start=TIME``: `Plant`, as it runs.

    Each machine has a row a second, or ``speed`` of them, and one of them a fault every ``faults``
    rows in the mean. Rows have the time of now, or begin at ``start`` (POSIX seconds).
    """

    def __init__(self, spec: str):
        rest, options = split_spec(spec, ("machines", "seed", "speed", "faults", "start"))
        if rest != "simulate:":
            raise ValueError(f"source must read simulate:?machines=20&seed=0, got {spec!r}")
        machines, seed = options.get("machines", "20"), options.get("seed", "0")
        if not (machines.isdecimal() and seed.isdecimal() and 0 < int(machines) <= 100_000):
            raise ValueError(f"machines and seed must be whole numbers, machines 1 to 100,000, got "
                             f"machines={machines} and seed={seed}")
        self.period = 1 / (positive(options, "speed", 1.0) or 1.0)
        self.start = positive(options, "start")
        self.plant = Plant(int(machines), int(seed), positive(options, "faults", 180.0) or 180.0)
        self.fleet = self.plant.machines > 1
        self.identity = f"simulate:{machines}/{seed}/{self.plant.every:g}"

    def follow(self, reading: Any, recognised: Mapping[str, Any] | None = None) -> None:
        """Name the only machine too, where it is one of a fleet."""
        self.fleet |= (recognised or {}).get("fleet") is not None

    def samples(self, *, features: Sequence[str] | None = None,
                position: int = -1) -> AsyncIterator[Sample]:
        """Rows of all machines, one after the other, as time goes on."""
        if unknown := {*(features or ())} - {*FEATURES}:
            raise ValueError(f"features: the plant has no {min(unknown)!r}, only "
                             f"{', '.join(FEATURES)}")
        return paced(self._rows([FEATURES.index(name) for name in features or FEATURES],
                                position + 1), 1.0)

    async def _rows(self, columns: list[int], first: int) -> AsyncIterator[Sample]:
        n, tick = self.plant.machines, first // self.plant.machines
        zero = self.start if self.start is not None else time.time() - tick * self.period
        while True:
            block, skip = divmod(first, n * _ROWS)
            ticks = np.repeat(np.arange(block * _ROWS, (block + 1) * _ROWS), n)[skip:]
            X = self.plant.rows(block)[:, :, columns].reshape(-1, len(columns))[skip:]
            yield Sample(first, zero + ticks * self.period, X,
                         entity=(self.plant.names * _ROWS)[skip:] if self.fleet else None)
            first += len(X)

    async def probe(self) -> str:
        """What there is."""
        return f"a simulated plant of {self.plant.machines} machines"


def commands(folder: Path, machines: int, seed: int, speed: float, serve: str) -> list[list[str]]:
    """Commands that bring a simulated plant to a page; what is in the folder already stays.

    Parameters
    ----------
    folder : path
        Gets a configuration, a history, and from the commands a model and an alert store.
    machines, seed : int
    speed : float
        Rows of each machine a second.
    serve : str
        Where the page is.

    Returns
    -------
    list of list of str
        Arguments of ``python -m adlib.realtime``.
    """
    if machines > (most := FleetConfig().max_entities):
        raise ValueError(f"machines must be at most {most:,}, which a fleet keeps apart, got "
                         f"{machines:,}")
    source = f"simulate:?machines={machines}&seed={seed}&speed={speed:g}"
    SimulatedSource(source)  # what is wrong is said before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    config, history, model = folder / "config.yaml", folder / "history.csv", folder / "model"
    store = json.dumps(str(folder / "alerts.db"))  # a text of JSON is one of YAML
    if not config.exists():
        text = (Path(__file__).parent / "templates" / "plant.yaml.j2").read_text()
        config.write_text(Template(text).render(machines=machines, store=store), encoding="utf-8")
    run = ["run", f"{config}", "--model", f"{model}", "--serve", serve, "--source", source]
    if model.exists():
        return [run]
    with replaced_file(history) as path:
        Plant(machines, seed).history().to_csv(path, index=False)
    return [["fit", f"{config}", f"{history}", "--out", f"{model}"], run]
