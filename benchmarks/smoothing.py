"""What smoothing a score costs: spikes, recovery, second faults, delay, and thresholds.

The grid, written down before the first run: memories of no, 5, 20 and 50 rows, on a detector of
joint structure with squared errors (`PCAReconstruction`) and on the largest z-score (`MaxAbsZ`).
Nothing is chosen here.

1. Average precision on single-row spikes, with a bootstrap interval over seeds.
2. Rows that a score stays above its threshold after one sample of 30 sd.
3. Two faults of 20 rows: whether the second raises an alarm of its own, by the rows between them.
4. Recall of events, share of them in which an alarm begins (the trace of an earlier one may cover
   an event), rows to that alarm and false alarms a day, on generators and this project's
   telemetry, at a budget of alpha = .01 by extreme values (the conformal rule would refuse most).
5. Realised rate at alpha = .01 with 300, 1,000 and 3,000 calibration rows: what the conformal rule
   refuses, what its block version would have realised there, and what extreme values realise.

    python benchmarks/smoothing.py            # about three minutes
    python benchmarks/smoothing.py --quick
"""

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from calibration import STREAMS

from adlib.datasets import Dataset, load_telemetry, make_sensor_stream, make_sine, make_telemetry
from adlib.detectors import MaxAbsZ, PCAReconstruction
from adlib.metrics import alarms_per_day, average_precision, detection_delay
from adlib.smoothing import memory_weights, smooth
from adlib.thresholds import POT, CalibrationWarning, Conformal

MEMORIES = (None, 5, 20, 50)
DETECTORS = {"PCAReconstruction": PCAReconstruction, "MaxAbsZ": MaxAbsZ}
ALPHA = 0.01
RULES = {
    "conformal": lambda rows: Conformal(ALPHA, block="auto", smoothing=rows),
    "its blocks, not refused": lambda rows: Conformal(ALPHA, block="auto"),
    "extreme values": lambda rows: POT(ALPHA),
}
LONG = 40_000  # clean rows, so that a threshold is known and not estimated from a few


def grid() -> Iterator[tuple[str, type, float | None]]:
    """Detectors and memories."""
    for name, cls in DETECTORS.items():
        for rows in MEMORIES:
            yield name, cls, rows


def interval(values: list[float]) -> dict[str, float]:
    """Mean and bootstrap 95 % interval over seeds."""
    kept = np.asarray(values, dtype=float)
    draws = np.random.default_rng(0).choice(kept, (2_000, len(kept))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return {"mean": kept.mean(), "low": low, "high": high}


def spikes(seeds: int) -> pd.DataFrame:
    """Average precision on spikes of one row each."""
    lines = []
    for name, cls, rows in grid():
        found = []
        for seed in range(seeds):
            data = make_sensor_stream(5_000, 0.01, strength=(6, 9), random_state=seed)
            model = cls(smoothing=rows, calibration=None).fit(data.X[:data.train_end])
            score = model.anomaly_score(data.X)[data.train_end:]
            found.append(average_precision(data.y[data.train_end:], score))
        lines.append({"detector": name, "smoothing": rows, **interval(found)})
    return pd.DataFrame(lines)


def clean(seed: int, n: int = LONG) -> tuple[np.ndarray, np.ndarray]:
    """A fault-free stream of four channels, and the spread of each of them."""
    X = make_telemetry(n, 4, n_events=0, random_state=seed).X
    return X, X.std(axis=0)


def after_one_sample(seeds: int) -> pd.DataFrame:
    """Rows from one wild sample to the last flag that it causes."""
    lines = []
    for name, cls, rows in grid():
        found = []
        for seed in range(seeds):
            X, sd = clean(seed)
            model = cls(smoothing=rows, calibration=None).fit(X[:5_000])
            cut = np.quantile(model.anomaly_score(X[5_000:]), 1 - ALPHA)
            wild = X[10_000:11_000].copy()
            usual = model.anomaly_score(wild)
            wild[400, 0] += 30 * sd[0]
            score = model.anomaly_score(wild)
            caused = np.flatnonzero((score > cut) & (score != usual))
            found.append(caused.max() - 399 if len(caused) else 0)
        lines.append({"detector": name, "smoothing": rows, "median rows": np.median(found),
                      "most rows": max(found)})
    return pd.DataFrame(lines)


def second_fault(seeds: int) -> pd.DataFrame:
    """Share of second faults with an alarm of their own: it begins within the fault."""
    lines = []
    for name, cls, rows in grid():
        for gap in (10, 50, 200):
            own, flagged = [], []
            for seed in range(seeds):
                X, sd = clean(seed)
                model = cls(smoothing=rows, calibration=None).fit(X[:5_000])
                cut = np.quantile(model.anomaly_score(X[5_000:]), 1 - ALPHA)
                part = X[10_000:11_000].copy()
                begin = 420 + gap
                for start in (400, begin):
                    part[start:start + 20, 0] += 6 * sd[0]
                flags = model.anomaly_score(part) > cut
                flagged.append(flags[begin:begin + 20].any())
                own.append((flags[begin:begin + 20] & ~flags[begin - 1:begin + 19]).any())
            lines.append({"detector": name, "smoothing": rows, "gap": gap,
                          "flagged": np.mean(flagged), "own alarm": np.mean(own)})
    return pd.DataFrame(lines)


def events(seeds: int) -> pd.DataFrame:
    """Recall, median delay and false alarms a day at one budget."""
    lines = []
    for name, cls, rows in grid():
        for source, cases in {
            "sine": [make_sine(6_000, n_events=12, random_state=s) for s in range(seeds)],
            "make_telemetry": [make_telemetry(8_000, 4, random_state=s) for s in range(seeds)],
            "load_telemetry": [load_telemetry()],
        }.items():
            found = [_judged(cls, rows, data) for data in cases]
            first, delay = (np.concatenate([one[i] for one in found]) for i in (0, 1))
            lines.append({"detector": name, "smoothing": rows, "data": source,
                          "recall": (~np.isnan(first)).mean(),
                          "own alarm": (~np.isnan(delay)).mean(),
                          "median delay": np.nanmedian(delay) if (delay >= 0).any() else np.nan,
                          "false alarms a day": np.mean([one[2] for one in found]),
                          "refused": np.mean([one[3] for one in found])})
    return pd.DataFrame(lines)


def _judged(cls: type, rows: float | None, data: Dataset
            ) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """Rows to the first flag of each event, to the first alarm that begins in it; false ones."""
    start, test = data.calibrate_start, data.train_end
    model = cls(smoothing=rows, calibration=None, alpha=ALPHA, threshold=POT())
    model.fit(data.X[:start]).calibrate(data.X[start:test])
    flags = model.detect(data.X[test - model.context_:]).is_anomaly[model.context_:]
    held_out = model.anomaly_score(data.X[start:test])[model.context_:]
    refused = not np.isfinite(Conformal(ALPHA, block="auto", smoothing=rows).fit(held_out).value_)
    y, judged = data.y[test:], data.judged[test:]
    false = flags & (y == 0)
    # what a fault leaves behind it is no new alarm: rows next to a true flag are not counted
    false[1:] &= ~((y[:-1] == 1) & flags[:-1])
    begins = flags & ~np.append(False, flags[:-1])
    step = {"interval": 60} if data.time is None else {"time": data.time[test:]}
    return (detection_delay(y, flags, judged=judged), detection_delay(y, begins, judged=judged),
            alarms_per_day(false & begins, judged=judged, **step), refused)


def rates(streams: int) -> pd.DataFrame:
    """Mean realised rate over streams with two standard errors, by rule and calibration rows."""
    lines = []
    for kind in ("independent", "AR(1) 0.9"):
        for rows in MEMORIES:
            weights = memory_weights(rows or 1)
            for n in (300, 1_000, 3_000):
                X = STREAMS[kind](n + 4_000, streams, np.random.default_rng([n, rows or 0])) ** 2
                S = smooth(X.T, weights).T[:, len(weights):]
                for rule, how in RULES.items():
                    cuts = np.array([how(rows).fit(s[:n]).value_ for s in S])
                    rate = (S[:, n:] > cuts[:, None]).mean(axis=1)
                    lines.append({
                        "stream": kind, "smoothing": rows, "rows": n, "rule": rule,
                        "refused": np.isinf(cuts).mean(), "mean": rate.mean(),
                        "2 se": 2 * rate.std(ddof=1) / np.sqrt(streams), "sd": rate.std(ddof=1),
                        "above 3 alpha": (rate > 3 * ALPHA).mean()})
    return pd.DataFrame(lines)


def main() -> None:
    """Print the five tables and write them to reports/benchmarks/smoothing.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds and streams")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore", CalibrationWarning)
    pd.set_option("display.width", 160, "display.max_rows", 200, "display.precision", 3)
    seeds, tables = (3 if quick else 10), {}
    for title, make in {
        "spikes of one row: average precision": lambda: spikes(seeds),
        "one sample of 30 sd: rows above the threshold": lambda: after_one_sample(seeds),
        "a second fault": lambda: second_fault(seeds),
        "events": lambda: events(seeds),
        "realised rate at alpha = .01": lambda: rates(100 if quick else 400),
    }.items():
        table = make()
        table["smoothing"] = table["smoothing"].fillna(0)  # 0: none
        tables[title] = table.to_dict("records")
        print(f"\n{title}\n{table.to_string(index=False)}", flush=True)
    path = Path(__file__).resolve().parents[1] / "reports" / "benchmarks" / "smoothing.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"alpha": ALPHA, "seeds": seeds, **tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
