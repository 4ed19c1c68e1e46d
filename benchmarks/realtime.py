"""Windows a second and latency of the live engine, against one window at a time.

Window 100, stride 10, a VAE and the vote of three classical detectors, 10 and 100 features. The
naive version is what tutorials write: cut the window, score its rows with both detectors, take the
highest, compare with a threshold; the detectors are the same fitted ones. Latency and stalls of the
event loop are measured at half of the engine's maximum rate, rows arriving one by one, every batch
committed to SQLite. Where others use the machine too, only the ratio of processor time means much.

    python benchmarks/realtime.py
"""

import argparse
import asyncio
import os
import platform
import tempfile
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np

from adlib.realtime import RealTimeAnomalyDetector, Sample

WINDOW, STRIDE = 100, 10


def rows(n: int, d: int, seed: int) -> np.ndarray:
    """Correlated normal rows: 8 factors and noise."""
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(8, d))
    return rng.normal(size=(n, 8)) @ mixing + 0.3 * rng.normal(size=(n, d))


def naive(engine: RealTimeAnomalyDetector, X: np.ndarray, seconds: float
          ) -> tuple[float, float]:
    """Windows a second, and a second of processor time, one at a time."""
    models = [member.model for member in engine._members]
    started, busy, n = time.perf_counter(), time.process_time(), 0
    while (now := time.perf_counter()) - started < seconds or not n:
        window = X[n * STRIDE % (len(X) - WINDOW):][:WINDOW]
        for model in models:
            model.anomaly_score(window).max()
        n += 1
    return n / (now - started), n / (time.process_time() - busy)


async def unlimited(X: np.ndarray, size: int = 100) -> AsyncIterator[Sample]:
    for i in range(0, len(X), size):
        yield Sample(i, None, X[i:i + size])


async def paced(X: np.ndarray, rate: float, born: dict[int, float]) -> AsyncIterator[Sample]:
    """Row by row at ``rate`` rows a second, noting when each came."""
    started = time.perf_counter()
    for i in range(len(X)):
        if (wait := started + i / rate - time.perf_counter()) > 0.001:
            await asyncio.sleep(wait)
        born[i] = time.perf_counter()
        yield Sample(i, None, X[i])


async def throughput(engine: RealTimeAnomalyDetector, X: np.ndarray) -> tuple[float, float]:
    started, busy, n = time.perf_counter(), time.process_time(), 0
    async for _ in engine.process_stream(unlimited(X)):
        n += 1
    return n / (time.perf_counter() - started), n / (time.process_time() - busy)


async def latency(engine: RealTimeAnomalyDetector, X: np.ndarray, rate: float
                  ) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds from a window's last row to its verdict, and stalls of the event loop."""
    born: dict[int, float] = {}
    delays, stalls = [], []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - before - 0.001)

    watcher = asyncio.create_task(watch())
    async for window in engine.process_stream(paced(X, rate, born)):
        delays.append(time.perf_counter() - born[window["end"]])
    watcher.cancel()
    return 1e3 * np.array(delays[20:]), 1e3 * np.array(stalls[20:])


def measure(d: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        def engine(name: str) -> RealTimeAnomalyDetector:
            return RealTimeAnomalyDetector.load(Path(folder) / "model", {
                **config, "alert_config": {"storage": {"path": str(Path(folder) / name)}}})

        config = {"deep_config": {"latent_dim": min(20, d // 2), "hidden_layers": [64, 32]},
                  "window_size": WINDOW, "stride": STRIDE}
        fitted = RealTimeAnomalyDetector(config).fit(rows(5000 if d < 50 else 3000, d, 1))
        fitted.save(Path(folder) / "model")
        X = rows(100_000, d, 2)
        one, one_busy = naive(fitted, X, seconds)
        asyncio.run(throughput(engine("warm.db"), X[:5_000]))
        rate, rate_busy = asyncio.run(throughput(engine("fast.db"), X))
        n = int(min(len(X), seconds * rate * STRIDE / 2))
        delays, stalls = asyncio.run(latency(engine("slow.db"), X[:n], rate * STRIDE / 2))
        return {"naive": one, "engine": rate, "ratio": rate / one,
                "ratio of processor time": rate_busy / one_busy,
                "p50 ms": np.median(delays), "p99 ms": np.quantile(delays, 0.99),
                "stall p99 ms": np.quantile(stalls, 0.99), "stall max ms": stalls.max()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}; windows a second")
    for d in args.features:
        found = measure(d, args.seconds)
        print(f"{d:4} features  " + "  ".join(f"{k} {v:.4g}" for k, v in found.items()), flush=True)


if __name__ == "__main__":
    main()
