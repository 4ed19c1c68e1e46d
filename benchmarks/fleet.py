"""What a window costs in a fleet of 1, 10, 100 and 1,000 entities, in one process.

    python benchmarks/fleet.py [--stride 10 1] [--entities 1 10 100 1000] [--windows 20000]
    python benchmarks/fleet.py --engines --entities 300 --stride 10 [--keep before|after]

Ten features, windows of 100, the default detectors; every entity sends a row a second by its
stamps, and the rows of one second are one sample and one batch: as fast as the engine takes them,
none waits for company, so that processor time is counted and idling is not. Each line is a process
of its own: processor time a window (source, engine, commits and messages included, set-up not), the
99th percentile of the time from a second's rows to its last verdict by the clock and of processor
time (all entities complete a window in the same second), resident memory that the process ends
with, and bytes handed to the operating system a row. An entity in fifty has a fault in each hundred
seconds; an entity has 3,000 windows at most. ``--engines``: an engine for each entity in the place
of a fleet, with one PCA and a store.
"""

import argparse
import asyncio
import gc
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import results
from numpy.typing import NDArray

from adlib.realtime import RealTimeAnomalyDetector, Sample

FEATURES, WINDOW = 10, 100


def signal(rng: np.random.Generator, times: np.ndarray, n: int) -> np.ndarray:
    """Rows of ``n`` entities at some times: (len(times), n, FEATURES)."""
    phase = np.arange(n)[:, None] + 0.3 * np.arange(FEATURES)
    return np.sin(times[:, None, None] / 50 + phase) + 0.3 * rng.normal(
        size=(len(times), n, FEATURES))


async def seconds(engine: RealTimeAnomalyDetector, n: int, count: int,
                  began: dict[int, NDArray]) -> AsyncIterator[Sample]:
    """A row of each entity in each second, the next ones once these are taken."""
    names, rng = [f"pump-{k}" for k in range(n)], np.random.default_rng(1)
    for second in range(count):
        if second % 100 == 0:
            rows = signal(rng, second + np.arange(100.0), n)
            rows[50:60, (np.arange(n) * 7 + second // 100) % 50 == 0] += 5
        while engine.position < second * n - 1:
            await asyncio.sleep(0.001)
        began[second] = clocks()
        yield Sample(second * n, np.full(n, 1.7e9 + second), rows[second % 100], entity=names)


def clocks() -> NDArray:
    """Seconds by the clock, and of processor time."""
    return np.array([time.perf_counter(), time.process_time()])


def written() -> int:
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


async def measure(n: int, stride: int, windows: int, folder: Path) -> None:
    config = {"stream": "plant", "window_size": WINDOW, "stride": stride, "fleet": {},
              "batch_seconds": 0.0, "alert_config": {"storage": {"path": str(folder / "a.db")}}}
    rng = np.random.default_rng(0)
    few = min(n, 20)
    history = signal(rng, np.arange(40_000.0 // few), few)
    engine = RealTimeAnomalyDetector(config).fit(
        history.swapaxes(0, 1).reshape(-1, FEATURES),
        entity=np.repeat([f"pump-{k}" for k in range(few)], len(history)))
    gc.freeze()  # as ``run`` does
    warm, count = 3 * WINDOW, 3 * WINDOW + max(windows * stride // n, 4 * stride)
    began: dict[int, NDArray] = {}
    delays, found, before, clock = [], 0, None, time.process_time
    async for window in engine.process_stream(seconds(engine, n, count, began)):
        second = int(window["time"] - 1.7e9)
        if second >= warm and before is None:
            before, found = (clock(), written(), resident(), second), 0
        found += 1
        delays.append((second, clocks() - began[second]))
    assert before is not None
    last = dict(delays)  # of each second, its last verdict
    cpu = clock() - before[0]
    late = np.quantile([delay for second, delay in last.items() if second > before[3]], 0.99,
                       axis=0)
    rows = (count - before[3]) * n
    print(f"{n:8,} {stride:6} {found:9,} {1e3 * cpu / found:12.3f} "
          f"{1e3 * late[0]:9.1f} {1e3 * late[1]:8.1f} {resident():9.0f} "
          f"{(written() - before[1]) / rows:12.0f} {len(engine.store.incidents()):10}", flush=True)


async def apart(n: int, stride: int, windows: int, folder: Path) -> None:
    """The same rows with an engine for each entity; incidents are not counted."""
    rng, waiting = np.random.default_rng(0), [asyncio.Queue[Sample]() for _ in range(n)]
    config = {"window_size": WINDOW, "stride": stride, "batch_seconds": 0.0, "deep_config": None,
              "stat_config": None, "detectors": ["PCAReconstruction"]}
    model = RealTimeAnomalyDetector(config).fit(signal(rng, np.arange(8_000.0), 1)[:, 0])
    model.save(folder / "model")
    engines = [RealTimeAnomalyDetector.load(folder / "model", {
        **config, "stream": f"pump-{k}", "alert_config": {"storage": {
            "path": str(folder / f"{k}.db")}}}) for k in range(n)]
    gc.freeze()
    found = 0

    async def source(queue: asyncio.Queue[Sample]) -> AsyncIterator[Sample]:
        while True:
            yield await queue.get()

    async def judged(engine: RealTimeAnomalyDetector, queue: asyncio.Queue[Sample]) -> None:
        nonlocal found
        async for _ in engine.process_stream(source(queue)):
            found += 1

    tasks = [asyncio.create_task(judged(*pair)) for pair in zip(engines, waiting, strict=True)]
    X = signal(rng, np.arange(WINDOW + max(windows * stride // n, 4 * stride) + 1.0), n)
    before = None
    for second in (WINDOW - 1, *range(WINDOW, len(X))):
        for k, queue in enumerate(waiting):
            first = second if second >= WINDOW else 0
            queue.put_nowait(Sample(first, 1.7e9 + np.arange(first, second + 1.0),
                                    X[first:second + 1, k]))
        while any(engine.position < second for engine in engines):
            await asyncio.sleep(0.002)
        if before is None:
            await asyncio.sleep(1.0)
            before, found = (time.process_time(), written()), 0
    await asyncio.sleep(1.0)
    cpu, rows = time.process_time() - before[0], (len(X) - WINDOW) * n
    print(f"{n:8,} {stride:6} {found:9,} {1e3 * cpu / found:12.3f} {'nan':>9} {'nan':>8} "
          f"{resident():9.0f} {(written() - before[1]) / rows:12.0f} {'nan':>10}", flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def headlines(lines: list[list[float]]) -> dict[str, dict]:
    """What is recorded: lines are entities, stride, windows, ms, two p99, MiB, bytes, incidents."""
    figures: dict[str, dict] = {}
    for n, stride, _, ms, p99, busy, mib, size, _ in lines:
        of = f"{n:.0f} machines" + (f", stride {stride:.0f}" if stride != 10 else "")
        key = f"{n:.0f}" + (f"_{stride:.0f}" if stride != 10 else "")
        for name, what, unit, value, goal in (
                ("ms", "processor time of a window", "ms", ms, 0.25 if n == 1000 else None),
                ("p99", "p99 from a second's rows to its last verdict, by the clock", "ms", p99,
                 None),
                ("busy", "the same in processor time", "ms", busy, None),
                ("MiB", "memory of the process", "MiB", mib, None),
                ("bytes", "written a row", "bytes", size, 2000)):
            if n in (1, 300, 1000) and np.isfinite(value):
                figures[f"{name}_{key}"] = {"what": f"{of}: {what}", "unit": unit, "value": value,
                                            "better": "low", "goal": goal}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entities", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--stride", type=int, nargs="+", default=[10, 1])
    parser.add_argument("--windows", type=int, default=20_000)
    parser.add_argument("--engines", action="store_true", help="an engine for each entity")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    results.option(parser)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            work = apart if args.engines else measure
            asyncio.run(work(args.entities[0], args.stride[0], args.windows, Path(folder)))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}\nentities stride   windows  ms a window    p99 ms     busy  "
          "     MiB  bytes a row  incidents")
    lines = []
    for stride in args.stride:
        for n in args.entities:
            done = subprocess.run(
                [sys.executable, __file__, "--one", *["--engines"] * args.engines, "--entities",
                 str(n), "--stride", str(stride), "--windows", str(min(args.windows, 3_000 * n))],
                check=True, stdout=subprocess.PIPE, text=True)
            print(line := done.stdout.splitlines()[-1], flush=True)
            lines.append([float(word.replace(",", "")) for word in line.split()])
    if args.keep:
        results.keep("fleet", args.keep, "", headlines(lines))


if __name__ == "__main__":
    main()
