"""Microseconds a point of the online detectors against the loop that people write first.

The loop is a deque with np.mean and np.std over it, row by row, on the same machine and in the same
run; the ratio is what to quote. Processor time of one core. Detectors that look for a period have
seen 20,000 rows before the clock starts: later looks are rare and are in the figures. ``--peers``
times river and PySAD beside them, row by row, which is the only way they have.

    python benchmarks/online_speed.py [--peers] [--keep before|after]
"""

import argparse
import copy
import json
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peers
import results

from adlib import detectors

WINDOW, WARM_UP, REPEATS, CHUNK = 100, 10, 5, 1_024
WAYS = {"loop": "loop", "pair": "score_one + learn_one", "one": "process_one",
        "chunk": f"process, chunks of {CHUNK}", "array": "process, whole array"}
NAMES = ("RollingZScore", "RobustZScore", "SeasonalZScore", "OnlineMahalanobis", "OnlineEnsemble")
#: What is recorded: detector, features, way, and the goal in microseconds a row.
HEADLINES = (("RollingZScore", 1, "pair", 1.0), ("RobustZScore", 1, "pair", None),
             ("OnlineEnsemble", 10, "pair", None), ("OnlineMahalanobis", 10, "pair", None),
             ("RollingZScore", 1, "one", 0.5), ("RollingZScore", 1, "chunk", 0.015),
             ("OnlineEnsemble", 10, "chunk", None))

RIVER = """
import json, statistics, time
import numpy as np
from river import anomaly, compose, preprocessing

def trees():
    return compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=0))

makers = {"river StandardAbsoluteDeviation": anomaly.StandardAbsoluteDeviation,
          "river GaussianScorer": lambda: anomaly.GaussianScorer(window_size=100),
          "river HalfSpaceTrees": trees}
took = {}
for d in (1, 10):
    X = np.random.default_rng(0).normal(size=(5_000, d))
    for name, make in makers.items():
        if "Trees" not in name and d > 1:
            continue  # they take one value
        times = []
        for _ in range(5):
            model = make()
            rows = ([(dict(enumerate(row)),) for row in X.tolist()] if "Trees" in name
                    else [(None, value) for value in X[:, 0].tolist()])
            began = time.process_time()
            for row in rows:
                model.score_one(*row)
                model.learn_one(*row)
            times.append(time.process_time() - began)
        took[f"{name}, {d} features"] = statistics.median(times) / len(X) * 1e6
print(json.dumps(took))
"""

PYSAD = """
import json, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from pysad.models import LODA, HalfSpaceTrees, StandardAbsoluteDeviation, xStream

took = {}
for d in (1, 10):
    X = np.random.default_rng(0).normal(size=(2_000, d))
    makers = {"PySAD StandardAbsoluteDeviation": StandardAbsoluteDeviation, "PySAD LODA": LODA,
              "PySAD xStream": xStream,
              "PySAD HalfSpaceTrees": lambda: HalfSpaceTrees([-5.0] * d, [5.0] * d)}
    for name, make in makers.items():
        rows, model = X[:200 if "xStream" in name else None], make()
        if "Standard" in name and d > 1:
            continue
        began = time.process_time()
        for row in rows:
            model.fit_score_partial(row)
        took[f"{name}, {d} features"] = (time.process_time() - began) / len(rows) * 1e6
print(json.dumps(took))
"""


def loop(X: np.ndarray) -> np.ndarray:
    """What a tutorial writes: score against the deque, then append."""
    seen: deque[np.ndarray] = deque(maxlen=WINDOW)
    scores = np.zeros(len(X))
    for i, x in enumerate(X):
        if len(seen) >= WARM_UP:
            past = np.array(seen)
            scores[i] = np.max(np.abs(x - np.mean(past, axis=0)) / np.std(past, axis=0))
        seen.append(x)
    return scores


def median_us(call: Callable[[], object], points: int) -> float:
    """Median over repeats, in microseconds a point, after one warm-up."""
    call()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return statistics.median(times) / points * 1e6


def measure(cls: type, X: np.ndarray) -> dict[str, float]:
    """The ways a user can stream: two calls, one call, chunks, the whole array."""
    detector = cls(window=WINDOW, warm_up=WARM_UP, calibration=None).fit(X[:20_000])
    rows, few = list(X[:50_000]), X[:4_000]

    def pair() -> None:
        score, learn = detector.score_one, detector.learn_one
        for x in rows:
            score(x)
            learn(x)

    def one() -> None:
        process = detector.process_one
        for x in rows:
            process(x)

    def chunks() -> None:
        for i in range(0, 100 * CHUNK, CHUNK):
            detector.process(X[i:i + CHUNK])

    if cls is detectors.RollingZScore:
        same = np.allclose(copy.deepcopy(cls(window=WINDOW)).process(few), loop(few), rtol=1e-9)
        assert same, "the two must compute the same scores"
    return {
        WAYS["loop"]: median_us(lambda: loop(few), len(few)),
        WAYS["pair"]: median_us(pair, len(rows)),
        WAYS["one"]: median_us(one, len(rows)),
        WAYS["chunk"]: median_us(chunks, 100 * CHUNK),
        WAYS["array"]: median_us(lambda: detector.process(X), len(X)),
    }


def headlines(found: dict[str, dict[str, float]], theirs: dict[str, float]) -> dict[str, dict]:
    """What is recorded of the table."""
    figures = {}
    for name, d, way, goal in HEADLINES:
        if times := found.get(f"{name}, {d} features"):
            figures[f"{name}_{d}_{way}"] = {
                "what": f"a row of {d} feature{'s' * (d > 1)} through {name}, {WAYS[way]}",
                "unit": "us", "better": "low", "value": times[WAYS[way]], "goal": goal}
    times = found["RollingZScore, 1 features"]
    figures["x_loop"] = {
        "what": "the loop over a deque against RollingZScore, score_one + learn_one",
        "unit": "times", "better": "high", "value": times[WAYS["loop"]] / times[WAYS["pair"]]}
    if theirs:
        figures["x_river"] = {
            "what": "river's GaussianScorer against RollingZScore, row by row, 1 feature",
            "unit": "times", "better": "high",
            "value": theirs["river GaussianScorer, 1 features"] / times[WAYS["pair"]]}
    return figures


def main() -> None:
    """Print the table and write it to reports/benchmarks/online_speed.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true")
    results.option(parser)
    given, rows, theirs = parser.parse_args(), {}, {}
    print(f"{'detector':<18}{'features':>9}  {'way':<26}{'us/point':>10}{'x loop':>9}")
    for n_features in (1, 10):
        X = np.random.default_rng(0).normal(size=(500_000, n_features))
        for cls in (getattr(detectors, name) for name in NAMES if hasattr(detectors, name)):
            found = measure(cls, X)
            rows[f"{cls.__name__}, {n_features} features"] = found
            for way, us in found.items():
                print(f"{cls.__name__:<18}{n_features:>9}  {way:<26}{us:>10.4f}"
                      f"{found['loop'] / us:>9.0f}")
    if given.peers:
        for name, code in (("river", RIVER), ("pysad", PYSAD)):
            theirs |= peers.run(peers.environment(name, [name]), code)
        for name, us in theirs.items():
            print(f"{name:<53}{us:>10.4f}")
    out = Path(__file__).resolve().parents[1] / "reports" / "benchmarks" / "online_speed.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": platform.machine(), "python": platform.python_version(),
                "window": WINDOW, "us_per_point": rows, "peers_us_per_point": theirs}
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if given.keep:
        results.keep("online_speed", given.keep, "", headlines(rows, theirs))


if __name__ == "__main__":
    main()
