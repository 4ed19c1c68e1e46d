"""Seconds and memory of VUS against TSB-AD 1.5, same series, one thread, same run.

    python benchmarks/vus.py             # the peer up to 100,000 rows
    python benchmarks/vus.py --quick     # up to 10,000
    python benchmarks/vus.py --keep after
"""

import argparse
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import peers
import results

from adlib.metrics import vus

PEER = """
import json, sys, time
import numpy as np
from TSB_AD.evaluation.basic_metrics import basic_metricor
data = np.load(sys.argv[1])
times = []
for _ in range(int(sys.argv[2])):
    started = time.process_time()
    found = basic_metricor().RangeAUC_volume_opt(data["y"], data["score"], 100, 250)[4:6]
    times.append(time.process_time() - started)
print(json.dumps({"seconds": min(times), "values": [float(v) for v in found]}))
"""


def series(n: int) -> tuple[np.ndarray, np.ndarray]:
    """An event of 5 to 60 rows every 1,000 rows or so, and a score that half sees it."""
    rng = np.random.default_rng(n)
    y = np.zeros(n, dtype=np.int64)
    for start in rng.integers(0, n - 100, max(3, n // 1_000)):
        y[start:start + rng.integers(5, 60)] = 1
    return y, rng.normal(size=n) + y


def main() -> None:
    """Print one line a length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the peer up to 10,000 rows only")
    results.option(parser)
    given = parser.parse_args()
    longest, figures = 10_000 if given.quick else 100_000, {}
    python = peers.environment("tsb-ad", ["--no-deps", "TSB-AD==1.5"],
                               ["numpy<2", "scipy", "scikit-learn"])
    print(f"{'rows':>9}{'ours s':>10}{'all thr. s':>12}{'peak MiB':>10}{'TSB-AD s':>10}"
          f"{'ratio':>7}{'difference':>12}")
    for n in (1_000, 10_000, 100_000, 1_000_000):
        y, score = series(n)
        times = []
        for _ in range(7):
            started = time.process_time()
            values = vus(y, score)
            times.append(time.process_time() - started)
        started = time.process_time()
        vus(y, score, n_thresholds=None)
        exact = time.process_time() - started
        tracemalloc.start()
        vus(y, score)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        figures[f"s_{n}"] = {"what": f"VUS of {n:,} rows", "unit": "s", "better": "low",
                             "value": min(times), "goal": 0.2 if n == 10**6 else None}
        figures[f"MiB_{n}"] = {"what": f"its peak memory at {n:,} rows", "unit": "MiB",
                               "better": "low", "value": peak}
        line = f"{n:>9}{min(times):>10.4f}{exact:>12.3f}{peak:>10.1f}"
        if n <= longest:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "series.npz"
                np.savez(file, y=y, score=score)
                peer = peers.run(python, PEER, str(file), "3" if n < 100_000 else "1")
            gap = np.abs(np.subtract(values, peer["values"])).max()
            line += f"{peer['seconds']:>10.2f}{peer['seconds'] / min(times):>7.0f}{gap:>12.1e}"
            figures[f"x_{n}"] = {"what": f"TSB-AD 1.5 against adlib, {n:,} rows", "unit": "times",
                                 "better": "high", "value": peer["seconds"] / min(times)}
        print(line, flush=True)
    if given.keep:
        results.keep("vus", given.keep, "", {name: figure for name, figure in figures.items()
                                             if name.endswith("00000")})


if __name__ == "__main__":
    main()
