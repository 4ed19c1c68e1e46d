"""The Numenta Anomaly Benchmark: our online detectors, and peers in environments of their own.

NAB's protocol: each stream is scored causally from its first row; 15 % of a stream (750 rows at
most) are probation; one threshold serves the whole corpus and is the best for each profile, which
makes every value here an upper bound. One set of defaults for all streams. Needs the folder ``nab``
in the folder that ADLIB_DATA names.

    ADLIB_DATA=... python benchmarks/nab.py [--peers] [--period] [DETECTOR ...]

``--period`` tells detectors that take one the rows in a day, from the sampling interval of the
first hundred rows. ``--peers`` adds river and PySAD as they are shipped, and with the rest period
of `OnlineEnsemble` put behind them.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import peers

from adlib.base import OnlineDetector
from adlib.datasets import load_nab
from adlib.detectors import all_detectors
from adlib.metrics import nab_corpus, nab_score
from adlib.metrics.benchmark import PROFILES

REST = 40  # rows

RIVER = """
import json, sys, time
import numpy as np
from river import anomaly, preprocessing, compose

makers = {
    "river StandardAbsoluteDeviation": lambda: anomaly.StandardAbsoluteDeviation(),
    "river GaussianScorer": lambda: anomaly.GaussianScorer(window_size=100),
    "river HalfSpaceTrees": lambda: compose.Pipeline(
        preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=0)),
}
streams = np.load(sys.argv[1])
out, seconds = {}, {}
for name, make in makers.items():
    seconds[name] = 0.0
    for key in streams:
        values, scores, model = streams[key][:, 0].tolist(), [], make()
        began = time.process_time()
        for value in values:
            if "Trees" in name:
                row = {"x": value}
                scores.append(model.score_one(row))
                model.learn_one(row)
            else:
                try:
                    scores.append(model.score_one(None, value))
                except TypeError:  # the variance of a flat window comes out below 0
                    scores.append(0.0)
                model.learn_one(None, value)
        seconds[name] += time.process_time() - began
        out[name + "|" + key] = np.abs(np.nan_to_num(np.array(scores, dtype=float)))
np.savez(sys.argv[2], **out)
print(json.dumps(seconds))
"""

PYSAD = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from pysad.models import LODA, StandardAbsoluteDeviation

makers = {"PySAD StandardAbsoluteDeviation": StandardAbsoluteDeviation, "PySAD LODA": LODA}
streams = np.load(sys.argv[1])
out, seconds = {}, {}
for name, make in makers.items():
    seconds[name] = 0.0
    for key in streams:
        np.random.seed(0)
        model, scores = make(), []
        began = time.process_time()
        for row in streams[key]:
            scores.append(float(np.ravel(model.fit_score_partial(row))[0]))
        seconds[name] += time.process_time() - began
        out[name + "|" + key] = np.nan_to_num(np.array(scores))
np.savez(sys.argv[2], **out)
print(json.dumps(seconds))
"""

ENVIRONMENTS = {"river": (RIVER, ["river"]), "pysad": (PYSAD, ["pysad"])}


def rested(scores: np.ndarray) -> np.ndarray:
    """A score counts only where it is above all of the last rows: what a rest period does."""
    padded = np.concatenate([np.full(REST, -np.inf), scores])
    before = np.lib.stride_tricks.sliding_window_view(padded, REST)[:len(scores)].max(axis=1)
    return np.where(scores > before, scores, scores.min())


def rows_a_day(time_: np.ndarray | None) -> int | None:
    """Rows in a day, from the first hundred timestamps."""
    if time_ is None:
        return None
    steps = np.diff(np.asarray(time_[:100], dtype="datetime64[s]").astype(np.int64))
    return max(1, round(86_400 / np.median(steps))) if np.median(steps) > 0 else None


def line(name: str, y: list, scores: list, streams: list, seconds: float) -> dict:
    """Print and return the three profiles, the categories and the throughput of one detector."""
    best = {profile: nab_corpus(y, scores, profile) for profile in PROFILES}
    cut, categories = best["standard"].threshold, {}
    for category in sorted({s.name.split("/")[0] for s in streams}):
        own = [i for i, s in enumerate(streams) if s.name.split("/")[0] == category]
        windows = any(y[i].any() for i in own)
        categories[category] = nab_score([y[i] for i in own], [scores[i] > cut for i in own],
                                         normalize=windows)
    found = {profile: round(value.score, 1) for profile, value in best.items()}
    us = seconds / sum(map(len, y)) * 1e6
    print(f"{name:<42}" + "".join(f"{value:>15.1f}" for value in found.values())
          + f"{us:>12.3f}", flush=True)
    return {**found, "threshold": cut, "us_per_row": us, "categories": categories}


def main() -> None:
    """Print the table and write it to reports/benchmarks/nab.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("detectors", nargs="*")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--period", action="store_true")
    given = parser.parse_args()
    known = {name: cls for name, cls in all_detectors().items() if issubclass(cls, OnlineDetector)}
    streams = list(load_nab().values())
    y = [np.asarray(s.y) for s in streams]
    print(f"{len(streams)} streams, {sum(map(len, y)):,} rows\n{'detector':<42}"
          + "".join(f"{profile:>15}" for profile in PROFILES) + f"{'us a row':>12}")
    results = {}
    for name in given.detectors or known:
        scores, seconds = [], 0.0
        for stream in streams:
            detector = known[name]()
            if given.period and "period" in detector.get_params():
                detector.set_params(period=rows_a_day(stream.time))
            began = time.process_time()
            scores.append(detector.process(stream.X))
            seconds += time.process_time() - began
        results[name] = line(name, y, scores, streams, seconds)
        if name != "OnlineEnsemble":
            results[f"{name} + rest"] = line(f"{name} + rest", y, list(map(rested, scores)),
                                             streams, seconds)
    if given.peers:
        with tempfile.TemporaryDirectory() as folder:
            data, out = Path(folder) / "streams.npz", Path(folder) / "scores.npz"
            np.savez(data, **{str(i): s.X for i, s in enumerate(streams)})
            for peer, (code, requirements) in ENVIRONMENTS.items():
                python = peers.environment(peer, requirements)
                taken = peers.run(python, code, str(data), str(out), timeout=3_600)
                found = np.load(out)
                for name, seconds in taken.items():
                    scores = [found[f"{name}|{i}"] for i in range(len(streams))]
                    results[name] = line(name, y, scores, streams, seconds)
                    results[f"{name} + rest"] = line(f"{name} + rest", y,
                                                     list(map(rested, scores)), streams, seconds)
    print("\nby category, at the corpus's standard threshold (sum where there is no window)")
    for name, found in results.items():
        print(f"{name:<42}" + "  ".join(f"{category} {value:.1f}" for category, value
                                        in found["categories"].items()))
    path = Path(__file__).resolve().parents[1] / "reports" / "benchmarks" / "nab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"streams": len(streams), "period_given": given.period,
                                "results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
