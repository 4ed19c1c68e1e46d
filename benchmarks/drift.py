"""How often the drift monitor is wrong, and how late it is right: rate and delay, by engine.

False drifts on clean streams (independent, autocorrelated, seasonal with `SeasonalZScore` in front)
over seeds, against the promised rate; alarms are what river's engines alone would have said. Then
the delay in rows to a shift of 1, 2 and 4 sd, a ramp of 4 sd over 1,000 rows, and the share of
bursts taken for drifts. "river alone" is the engine on the standardised score as river ships it.

    python benchmarks/drift.py
"""

from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np
import pandas as pd
from river import drift as engines
from scipy.signal import lfilter

from adlib.detectors import SeasonalZScore
from adlib.drift import ENGINES, DriftMonitor

REFERENCE, CLEAN, BEFORE, AFTER = 1_000, 10_000, 300, 1_500  # rows
SHIPPED = {"adwin": engines.ADWIN, "kswin": lambda: engines.KSWIN(seed=0),
           "page_hinkley": engines.PageHinkley}


def noise(n: int, phi: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) of variance 1."""
    e = rng.normal(size=n)
    e[1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], e)


def independent(n: int, seed: int) -> np.ndarray:
    return noise(n, 0.0, np.random.default_rng(seed))


def autocorrelated(n: int, seed: int) -> np.ndarray:
    return noise(n, 0.8, np.random.default_rng(seed))


def signals(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The score is the distance from 0, the input the value."""
    return np.abs(x), x[:, None]


def seasonal(x: np.ndarray) -> tuple[np.ndarray, None]:
    """Scores of the seasonal detector on a day of 288 rows; it has learned four before."""
    day = 3 * np.sin(np.arange(len(x) + 1_152) * 2 * np.pi / 288)
    past = np.random.default_rng(len(x)).normal(size=1_152)
    return SeasonalZScore(period=288).process((day + np.r_[past, x])[:, None])[1_152:], None


STREAMS: dict[str, tuple[Callable, Callable]] = {
    "independent": (independent, signals),
    "AR(1), 0.8": (autocorrelated, signals),
    "seasonal, score alone": (independent, seasonal),
}


def shifts() -> Iterator[tuple[str, np.ndarray]]:
    n = REFERENCE + BEFORE + AFTER
    for size in (1.0, 2.0, 4.0):
        yield f"shift of {size:g} sd", size * (np.arange(n) >= REFERENCE + BEFORE)
    yield "ramp of 4 sd", np.clip((np.arange(n) - REFERENCE - BEFORE) / 1_000, 0, 1) * 4


def first_drift(monitor: DriftMonitor) -> float:
    rows = [e["row"] - BEFORE for e in monitor.trail_ if e["event"] == "drift"]
    return next((row for row in rows if row >= 0), np.nan)


def measure(engine: str, seeds: range) -> tuple[list[dict], list[dict]]:
    """Rates on clean streams, delays on changed ones."""
    rates, delays = [], []
    for name, (make, score) in STREAMS.items():
        false = alarms = alone = 0
        seconds = 0.0
        for seed in seeds:
            scores, X = score(make(REFERENCE + CLEAN, seed))
            monitor = DriftMonitor(engine).fit(scores[:REFERENCE], X if X is None
                                               else X[:REFERENCE])
            started = perf_counter()
            monitor.process(scores[REFERENCE:], X if X is None else X[REFERENCE:])
            seconds += perf_counter() - started
            false += sum(entry["event"] == "drift" for entry in monitor.trail_)
            alarms += monitor.alarms_
            river = SHIPPED[engine]()
            centre, spread = scores[:REFERENCE].mean(), scores[:REFERENCE].std()
            for value in ((scores - centre) / spread).tolist():
                river.update(value)
                alone += river.drift_detected
        rows = CLEAN * len(seeds)
        rates.append({"engine": engine, "stream": name, "rows": rows, "false drifts": false,
                      "promised": f"<= {DriftMonitor().false_drifts * rows:g}",
                      "alarms of its engines": alarms, "river alone": alone,
                      "us a row": seconds / rows * 1e6})
        if score is seasonal:
            continue
        for change, added in shifts():
            found = []
            for seed in seeds:
                scores, X = signals(make(len(added), 1_000 + seed) + added)
                monitor = DriftMonitor(engine).fit(scores[:REFERENCE], X[:REFERENCE])
                monitor.process(scores[REFERENCE:], X[REFERENCE:])
                found.append(first_drift(monitor))
            found = np.array(found)
            median = np.median(found[~np.isnan(found)]) if not np.isnan(found).all() else np.nan
            delays.append({"engine": engine, "stream": name, "change": change,
                           "found": f"{(~np.isnan(found)).sum()} of {len(seeds)}",
                           "median delay, rows": median})
        for rows in (20, 30):
            taken = 0
            for seed in seeds:
                x = make(REFERENCE + BEFORE + AFTER, 2_000 + seed)
                x[REFERENCE + BEFORE:REFERENCE + BEFORE + rows] += 6
                scores, X = signals(x)
                monitor = DriftMonitor(engine).fit(scores[:REFERENCE], X[:REFERENCE])
                monitor.process(scores[REFERENCE:], X[REFERENCE:])
                taken += first_drift(monitor) >= 0
            delays.append({"engine": engine, "stream": name, "change": f"burst of {rows} rows",
                           "found": f"{taken} of {len(seeds)} taken for a drift",
                           "median delay, rows": np.nan})
    return rates, delays


def main() -> None:
    rates, delays = [], []
    for engine in ENGINES:
        # KSWIN ranks 30 rows for each new one: fewer seeds, or it would take most of an hour
        found = measure(engine, range(3 if engine == "kswin" else 20))
        rates += found[0]
        delays += found[1]
    print(pd.DataFrame(rates).round(1).to_string(index=False), end="\n\n")
    print(pd.DataFrame(delays).round(0).to_string(index=False))


if __name__ == "__main__":
    main()
