"""Processor seconds and memory of the first thing a process does with adlib.

    PYTHONPATH=<checkout> python benchmarks/import_cost.py [repeats] [--keep before|after]

Each case runs in fresh processes; the median of the processor seconds and of the peak resident
memory is printed. A checkout named by PYTHONPATH is measured, so two of them can be compared.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

import results

DATA = """
import numpy as np
X = np.random.default_rng(0).normal(size=(400, 3))
"""
CONFIG = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
          "window_size": 10, "stride": 5}
CASES = {
    "import adlib": "import adlib",
    "load a saved PCA": "from adlib import persist; persist.load(sys.argv[1] + '/pca')",
    "compare(['KNN'])": DATA + """
import inspect
from adlib.compare import compare
from adlib.datasets import Dataset
data = Dataset("noise", X, np.arange(400) > 390, train_end=200)
plain = {"n_random": 0, "intervals": False, "progress": False}  # as far as a checkout has them
compare(["KNN"], [data], [0], **{name: value for name, value in plain.items()
                                 if name in inspect.signature(compare).parameters})""",
    "engine with a PCA": f"""
from adlib.realtime import RealTimeAnomalyDetector
RealTimeAnomalyDetector.load(sys.argv[1] + '/engine', {CONFIG!r})""",
    "sklearn.decomposition, pydantic, httpx": "import sklearn.decomposition, pydantic, httpx",
}
SAVE = DATA + f"""
from adlib import persist
from adlib.detectors import PCAReconstruction
from adlib.realtime import RealTimeAnomalyDetector
persist.save(PCAReconstruction().fit(X), sys.argv[1] + '/pca')
RealTimeAnomalyDetector({CONFIG!r}).fit(X).save(sys.argv[1] + '/engine')"""
REPORT = """
import resource, time
usage = resource.getrusage(resource.RUSAGE_SELF)
print(time.process_time(), usage.ru_maxrss / 1024,
      *[name for name in ("torch", "numba", "skops", "river") if name in sys.modules])"""


def run(code: str, folder: str) -> list[str]:
    """What a fresh process printed last."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", f"import sys\n{code}\n{REPORT}",
                           folder], env=environment, check=True, cwd=folder, capture_output=True,
                          text=True)
    return done.stdout.splitlines()[-1].split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repeats", type=int, nargs="?", default=5)
    results.option(parser)
    given, cost = parser.parse_args(), dict[str, tuple[float, float]]()
    with tempfile.TemporaryDirectory() as folder:
        run(SAVE, folder)
        for name, code in CASES.items():
            found = [run(code, folder) for _ in range(given.repeats)]
            seconds, memory = cost[name] = tuple(
                statistics.median(float(line[k]) for line in found) for k in (0, 1))
            loaded = f"  loads {', '.join(found[0][2:])}" if found[0][2:] else ""
            print(f"{name:40s} {seconds:6.2f} s  {memory:6.0f} MiB{loaded}", flush=True)
    if given.keep:
        results.keep("import_cost", given.keep, "", headlines(cost))


def headlines(cost: dict[str, tuple[float, float]]) -> dict[str, dict]:
    """Seconds and memory of the four, and the engine's memory beside what it needs in any case."""
    *ours, least = CASES
    figures = {}
    for key, name in zip(("adlib", "pca", "compare", "engine"), ours, strict=True):
        for unit, value in zip(("s", "MiB"), cost[name], strict=True):
            figures[f"{key}_{unit}"] = {"what": f"a process that does: {name}", "unit": unit,
                                        "better": "low", "value": value}
    figures["engine_x"] = {
        "what": f"memory of the engine with a PCA against `import {least}`", "unit": "times",
        "better": "low", "goal": 1.2, "value": cost[ours[-1]][1] / cost[least][1]}
    return figures


if __name__ == "__main__":
    main()
