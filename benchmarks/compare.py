"""What `adlib.compare` itself costs: overhead a cell, gain of two processes, a million rows.

    python benchmarks/compare.py             # some minutes, on an otherwise idle machine
    python benchmarks/compare.py --quick     # 100,000 rows instead of a million
"""

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from adlib.base import Detector
from adlib.compare import compare, workers
from adlib.datasets import Dataset, load_csv


class Cheap(Detector):
    """Distance to the training mean."""

    def __init__(self, *, random_state=None, **base):
        super().__init__(**base)
        self.random_state = random_state

    def _fit(self, X):
        self.mean_ = X.mean(axis=0)

    def _score(self, X):
        return np.abs(X - self.mean_).max(axis=1)


class Busy(Cheap):
    """Keeps one core busy for a second of processor time."""

    def _fit(self, X):
        super()._fit(X)
        until = time.process_time() + 1
        while time.process_time() < until:
            pass


def series(name: str, n: int, d: int) -> Dataset:
    """Noise with an event now and then."""
    rng = np.random.default_rng(n)
    X, y = rng.normal(size=(n, d)), np.zeros(n, dtype=int)
    for start in rng.integers(2 * n // 5, n - 40, max(3, n // 5_000)):
        X[start:start + 40, :3] += 3
        y[start:start + 40] = 1
    return Dataset(name, X, y)


def overhead() -> None:
    """1,000 cells; what is neither detector nor metric is overhead."""
    judged, judge = [], workers.judge_cell

    def timed(*arguments, **settings):
        started = time.perf_counter()
        table = judge(*arguments, **settings)
        judged.append(time.perf_counter() - started)
        return table

    workers.judge_cell = timed
    sets = [series(f"s{k}", 500 + k, 3) for k in range(10)]
    models = {f"m{k}": Cheap() for k in range(10)}
    settings = {"baselines": False, "n_random": 0, "intervals": False, "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        for what, place in (("in memory", None), ("to files", folder), ("from files", folder)):
            judged.clear()
            started = time.perf_counter()
            table = compare(models, sets, range(10), results_dir=place, **settings)
            wall = time.perf_counter() - started
            cells = table.drop_duplicates(["detector", "dataset", "seed"])
            model = (cells.fit_s + cells.score_s).sum() if judged else 0
            each = (wall - model - sum(judged)) / len(cells)
            print(f"{len(cells)} cells, {what}: {wall:.1f} s, overhead {1e3 * each:.2f} ms a cell")
    workers.judge_cell = judge


def speedup() -> None:
    """A grid that is all computing, with one process and with two."""
    seconds = {}
    for n_jobs in (1, 2):
        started = time.perf_counter()
        compare(Busy(calibration=None), series("busy", 1_000, 3), range(40), n_jobs=n_jobs,
                baselines=False, n_random=0, intervals=False, progress=False)
        seconds[n_jobs] = time.perf_counter() - started
    print(f"40 cells of 1 s: {seconds[1]:.1f} s with one process, {seconds[2]:.1f} s with two, "
          f"{seconds[1] / seconds[2]:.2f} times as fast")


def memory_gib(peak: list[float]) -> None:
    """Follow what this process and its children hold; shared pages count once for each."""
    while True:
        try:
            family = [psutil.Process(), *psutil.Process().children(recursive=True)]
            peak[0] = max(peak[0], sum(p.memory_info().rss for p in family) / 2**30)
        except psutil.Error:
            pass  # a child has just ended
        time.sleep(0.1)


def long_file(n: int) -> None:
    """A CSV file of n rows x 20 columns, fast detectors, full metrics."""
    with tempfile.TemporaryDirectory() as folder:
        path, data = Path(folder) / "long.csv", series("long", n, 20)
        frame = pd.DataFrame(data.X.astype(np.float32), columns=list(data.feature_names))
        frame.insert(0, "time", pd.date_range("2024-01-01", periods=n, freq="s"))
        frame.assign(label=data.y).to_csv(path, index=False)
        del frame, data
        peak = [0.0]
        threading.Thread(target=memory_gib, args=(peak,), daemon=True).start()
        started = time.perf_counter()
        data = load_csv(path, label_column="label", time_column="time")
        loaded = time.perf_counter()
        table = compare(["RollingZScore", "PCAReconstruction", "IsolationForest"], data, [0])
        compared = time.perf_counter()
    cells = table.drop_duplicates(["detector"])
    print(f"{n:,} rows x 20: read in {loaded - started:.0f} s, {len(cells)} cells in "
          f"{compared - loaded:.0f} s ({(cells.fit_s + cells.score_s).sum():.0f} s of it fit and "
          f"score), {(cells.status == 'ok').sum()} ok, peak {peak[0]:.2f} GiB "
          f"(main process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f})")


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 rows instead of a million")
    quick = parser.parse_args().quick
    overhead()
    speedup()
    long_file(100_000 if quick else 1_000_000)


if __name__ == "__main__":
    main()
