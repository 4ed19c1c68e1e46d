"""Windows a second and latency of the live engine, against one window at a time.

Window 100, stride 10, a VAE and the vote of three classical detectors, 10 and 100 features. The
naive version is what tutorials write: cut the window, score its rows with both detectors, take the
highest, compare with a threshold; the detectors are the same fitted ones. Rows arrive in blocks of
100 at first; then in blocks of 10 and one by one, where Python's work per arrival counts as well:
latency and stalls of the event loop are measured at half of the maximum rate of each kind of
arrival, every batch committed to SQLite. Where others use the machine too, only the ratio of
processor time means much, and latencies say little.

Then rows come one a second by the engine's clock, judged by the members that it has by default, and
the bytes that a row costs are printed: judged rows, state, verdicts and the log's own.

``--soak`` judges a million rows at a steady rate, with a fault every 20,000 rows and a store that
forgets what is old, and prints after every tenth: memory, latency, bytes written a row, and the
size of the store with its write-ahead log. Flat is what they should be.

    python benchmarks/realtime.py [--keep before|after]
    python benchmarks/realtime.py --soak --rate 5000
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
import results

from adlib.realtime import RealTimeAnomalyDetector, Sample
from adlib.realtime.config import EngineConfig

WINDOW, STRIDE = 100, 10
#: The same share of windows is flagged, stored and explained whatever the history can show.
BUDGET = {"alpha": 0.01} | ({"extrapolate": True} if "extrapolate" in EngineConfig.model_fields
                            else {})


def rows(n: int, d: int, seed: int) -> np.ndarray:
    """Correlated normal rows: 8 factors and noise."""
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(8, d))
    return rng.normal(size=(n, 8)) @ mixing + 0.3 * rng.normal(size=(n, d))


def naive(engine: RealTimeAnomalyDetector, X: np.ndarray, seconds: float
          ) -> tuple[float, float]:
    """Windows a second, and a second of processor time, one at a time."""
    members = engine.members if hasattr(engine, "members") else engine._members  # an earlier one's
    models = [member.model for member in members]
    started, busy, n = time.perf_counter(), time.process_time(), 0
    while (now := time.perf_counter()) - started < seconds or not n:
        window = X[n * STRIDE % (len(X) - WINDOW):][:WINDOW]
        for model in models:
            model.anomaly_score(window).max()
        n += 1
    return n / (now - started), n / (time.process_time() - busy)


async def unlimited(X: np.ndarray, size: int) -> AsyncIterator[Sample]:
    for i in range(0, len(X), size):
        yield Sample(i, None, X[i:i + size])


async def paced(X: np.ndarray, size: int, rate: float, born: np.ndarray
                ) -> AsyncIterator[Sample]:
    """``size`` rows at a time, ``rate`` rows a second, noting when each came."""
    started = time.perf_counter()
    for i in range(0, len(X), size):
        if (wait := started + i / rate - time.perf_counter()) > 0.001:
            await asyncio.sleep(wait)
        born[i:i + size] = time.perf_counter()
        yield Sample(i, None, X[i] if size == 1 else X[i:i + size])


async def throughput(engine: RealTimeAnomalyDetector, X: np.ndarray, size: int
                     ) -> tuple[float, float]:
    """Windows a second, and a second of processor time."""
    started, busy, n = time.perf_counter(), time.process_time(), 0
    async for _ in engine.process_stream(unlimited(X, size)):
        n += 1
    return n / (time.perf_counter() - started), n / (time.process_time() - busy)


async def latency(engine: RealTimeAnomalyDetector, X: np.ndarray, size: int, rate: float
                  ) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds from a window's last row to its verdict, and stalls of the event loop."""
    born, delays, stalls = np.zeros(len(X)), [], []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - before - 0.001)

    watcher = asyncio.create_task(watch())
    async for window in engine.process_stream(paced(X, size, rate, born)):
        delays.append(time.perf_counter() - born[window["end"]])
    watcher.cancel()
    return 1e3 * np.array(delays[20:]), 1e3 * np.array(stalls[20:])


def measure(d: int, seconds: float) -> dict[str, dict]:
    """What is recorded of so many features."""
    figures: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        def engine(name: str) -> RealTimeAnomalyDetector:
            return RealTimeAnomalyDetector.load(Path(folder) / "model", {
                **config, "alert_config": {"storage": {"path": str(Path(folder) / name)}}})

        config = {"deep_config": {"latent_dim": min(20, d // 2), "hidden_layers": [64, 32]},
                  "window_size": WINDOW, "stride": STRIDE, **BUDGET}
        fitted = RealTimeAnomalyDetector(config).fit(rows(5000 if d < 50 else 3000, d, 1))
        fitted.save(Path(folder) / "model")
        X = rows(100_000, d, 2)
        one, one_busy = naive(fitted, X, seconds)
        asyncio.run(throughput(engine("warm.db"), X[:5_000], 100))
        rate, busy = asyncio.run(throughput(engine("fast.db"), X, 100))
        print(f"{d:4} features: naive {one:.0f}, engine {rate:.0f} windows a second, ratio "
              f"{rate / one:.1f}, of processor time {busy / one_busy:.1f}", flush=True)
        figures[f"x_naive_{d}"] = {
            "what": f"windows a second of processor time against one at a time, {d} features, "
            "blocks of 100 rows", "unit": "times", "better": "high", "value": busy / one_busy}
        figures[f"ms_{d}"] = {"what": f"processor time of a window, {d} features, blocks of 100",
                              "unit": "ms", "better": "low", "value": 1e3 / busy}
        for size in (10, 1):
            most = asyncio.run(throughput(engine(f"most-{size}.db"), X, size))[0]
            n = int(min(len(X), seconds * most * STRIDE / 2))
            delays, stalls = asyncio.run(latency(
                engine(f"half-{size}.db"), X[:n], size, most * STRIDE / 2))
            print(f"     rows by {size}: at most {most:.0f} windows a second; at half of it "
                  f"latency p50 {np.median(delays):.0f} p99 {np.quantile(delays, 0.99):.0f} ms, "
                  f"stall p99 {np.quantile(stalls, 0.99):.1f} max {stalls.max():.0f} ms",
                  flush=True)
            figures[f"p99_{d}_{size}"] = {
                "what": f"latency p99 at half of the maximum rate, {d} features, rows by {size}, "
                "by the clock of a machine with other work", "unit": "ms", "better": "low",
                "goal": 70, "value": np.quantile(delays, 0.99)}
    return figures


async def steady(n: int, d: int, size: int, rate: float, born: dict[int, float]
                 ) -> AsyncIterator[Sample]:
    """``n`` rows, one a second by their stamps, with a fault of 60 rows in every 20,000."""
    started, rng = time.perf_counter(), np.random.default_rng(7)
    mixing = np.random.default_rng(9).normal(size=(8, d))
    for i in range(0, n, size):
        X = rng.normal(size=(size, 8)) @ mixing + 0.3 * rng.normal(size=(size, d))
        seq = np.arange(i, i + size)
        X[(seq % 20_000 >= 10_000) & (seq % 20_000 < 10_060), 0] += 40
        if (wait := started + i / rate - time.perf_counter()) > 0.001:
            await asyncio.sleep(wait)
        born[i + size - 1] = time.perf_counter()
        yield Sample(i, 1.7e9 + seq, X)


def written() -> int:
    """Bytes that this process has handed to the operating system."""
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])


async def by_the_second(n: int, d: int) -> dict[str, dict]:
    """Bytes written a row where rows come one a second, by a clock that need not be waited for."""
    now, at = [0.0], []
    with tempfile.TemporaryDirectory() as folder:
        engine = RealTimeAnomalyDetector({
            "window_size": WINDOW, "stride": STRIDE, "batch_seconds": 0.0,
            "alert_config": {"storage": {"path": str(Path(folder) / "a.db")}}}).fit(
                rows(8_000, d, 1))
        engine._clock = lambda: now[0]
        X = rows(n + 300, d, 2)

        async def seconds() -> AsyncIterator[Sample]:
            yield Sample(0, 1.7e9 + np.arange(300.0), X[:300])
            for k in range(300, len(X)):
                while engine.position < k - 1:
                    await asyncio.sleep(0.0005)
                now[0] += 1.0
                at.append((written(), time.process_time()))
                yield Sample(k, 1.7e9 + k, X[k])

        async for _ in engine.process_stream(seconds()):
            pass
    spent, busy = (np.array(at[-1]) - at[0]) / (len(at) - 1)
    print(f"{d} features at 1 Hz: {spent:.0f} bytes, {1e3 * busy:.2f} ms of processor time a row")
    return {"bytes_a_row": {
        "what": f"a row of {d} features at 1 Hz: handed to the operating system by the store",
        "unit": "bytes", "better": "low", "goal": 2000, "value": spent}}


async def soak(n: int, d: int, rate: float, size: int, retention: str) -> None:
    """Memory, latency, writes and the store, tenth by tenth of ``n`` rows."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "alerts.db"
        config = {"deep_config": None, "stat_config": None, "window_size": WINDOW,
                  "stride": STRIDE, "detectors": ["PCAReconstruction", "OnlineMahalanobis"],
                  "alert_config": {"storage": {"path": str(store), "retention": retention}}}
        engine = RealTimeAnomalyDetector(config).fit(rows(20_000, d, 1))
        born: dict[int, float] = {}
        delays: list[float] = []
        tenth, before = n // 10, written()
        print("rows  memory MB  p50 ms  p99 ms  bytes written/row  store MB  incidents")
        async for window in engine.process_stream(steady(n, d, size, rate, born)):
            if (since := born.pop(window["end"], None)) is not None:
                delays.append(1e3 * (time.perf_counter() - since))
            if (window["end"] + 1) % tenth == 0 and engine.store is not None:
                memory = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
                bytes_kept = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
                print(f"{window['end'] + 1:,}  {memory:.1f}  {np.median(delays):.1f}  "
                      f"{np.quantile(delays, 0.99):.1f}  {(written() - before) / tenth:.0f}  "
                      f"{bytes_kept:.2f}  {len(engine.store.incidents())}", flush=True)
                before = written()
                delays.clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--soak", action="store_true", help="a million rows at a steady rate")
    parser.add_argument("--hertz", type=int, default=600, help="rows that come one a second")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the soak")
    parser.add_argument("--rate", type=float, default=5_000.0, help="rows a second of the soak")
    parser.add_argument("--block", type=int, default=10, help="rows of the soak that come at once")
    parser.add_argument("--retention", default="1d", help="of the soak's store")
    results.option(parser)
    args, figures = parser.parse_args(), dict[str, dict]()
    warnings.simplefilter("ignore")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}")
    if args.soak:
        asyncio.run(soak(args.rows, args.features[0], args.rate, args.block, args.retention))
        return
    for d in args.features:
        figures |= measure(d, args.seconds)
    figures |= asyncio.run(by_the_second(args.hertz, args.features[0]))
    if args.keep:
        results.keep("realtime", args.keep, "", figures)


if __name__ == "__main__":
    main()
