"""What a window costs in a fleet of 1, 10, 100 and 1,000 entities, in one process.

    python benchmarks/fleet.py [--stride 10 1] [--entities 1 10 100 1000] [--windows 20000]

Ten features, windows of 100, the default detectors; every entity sends a row a second by its
stamps, and the rows of one second are one sample and one batch: as fast as the engine takes them,
none waits for company, so that processor time is counted and idling is not. Each line is a process
of its own: processor time a window (source, engine, commits and messages included, set-up not), the
99th percentile of the time from a second's rows to its last verdict, resident memory that the
process ends with, and bytes handed to the operating system a row. An entity in fifty has a fault
in each hundred seconds.
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

from adlib.realtime import RealTimeAnomalyDetector, Sample

FEATURES, WINDOW = 10, 100


def signal(rng: np.random.Generator, times: np.ndarray, n: int) -> np.ndarray:
    """Rows of ``n`` entities at some times: (len(times), n, FEATURES)."""
    phase = np.arange(n)[:, None] + 0.3 * np.arange(FEATURES)
    return np.sin(times[:, None, None] / 50 + phase) + 0.3 * rng.normal(
        size=(len(times), n, FEATURES))


async def seconds(engine: RealTimeAnomalyDetector, n: int, count: int, born: dict[int, float]
                  ) -> AsyncIterator[Sample]:
    """A row of each entity in each second, the next ones once these are taken."""
    names, rng = [f"pump-{k}" for k in range(n)], np.random.default_rng(1)
    for second in range(count):
        if second % 100 == 0:
            rows = signal(rng, second + np.arange(100.0), n)
            rows[50:60, (np.arange(n) * 7 + second // 100) % 50 == 0] += 5
        while engine.position < second * n - 1:
            await asyncio.sleep(0.001)
        born[second] = time.perf_counter()
        yield Sample(second * n, np.full(n, 1.7e9 + second), rows[second % 100], entity=names)


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
    born: dict[int, float] = {}
    delays, found, before, clock = [], 0, None, time.process_time
    async for window in engine.process_stream(seconds(engine, n, count, born)):
        second = int(window["time"] - 1.7e9)
        if second >= warm and before is None:
            before, found = (clock(), written(), resident(), second), 0
        found += 1
        delays.append((second, time.perf_counter() - born[second]))
    assert before is not None
    last: dict[int, float] = dict(delays)  # of each second, its last verdict
    cpu = clock() - before[0]
    late = [delay for second, delay in last.items() if second > before[3]]
    rows = (count - before[3]) * n
    print(f"{n:8,} {stride:6} {found:9,} {1e3 * cpu / found:12.3f} "
          f"{1e3 * np.quantile(late, 0.99):9.1f} {resident():9.0f} "
          f"{(written() - before[1]) / rows:12.0f} {len(engine.store.incidents()):10}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entities", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--stride", type=int, nargs="+", default=[10, 1])
    parser.add_argument("--windows", type=int, default=20_000)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(args.entities[0], args.stride[0], args.windows, Path(folder)))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}\nentities stride   windows  ms a window    p99 ms       MiB"
          f"  bytes a row  incidents")
    for stride in args.stride:
        for n in args.entities:
            subprocess.run([sys.executable, __file__, "--one", "--entities", str(n), "--stride",
                            str(stride), "--windows", str(args.windows)], check=True)


if __name__ == "__main__":
    main()
