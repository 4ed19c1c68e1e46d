"""Faults found, delay, and false incidents a week of the live engine: how its defaults were chosen.

Six seasonal channels, one row a minute, ten faults in five days (spike, level, frozen, swap, ramp):
56 days of history, 14 live days, ``per="1/week"``. The generator is ``trial/alert_quality.py``
beside the folder that ADLIB_DATA names. Members are scored once and kept in
``reports/benchmarks/alert_quality``; every setting is replayed over the scores by the engine's own
calibration, budget and incident rule.

    ADLIB_DATA=... python benchmarks/alert_quality.py score [MEMBER ...]
    ADLIB_DATA=... python benchmarks/alert_quality.py choose
    ADLIB_DATA=... python benchmarks/alert_quality.py final

The rule of choice, written down before the first run:

*Candidates* are the members of `CANDIDATES` (ten sets, and three single detectors), each set
combined by the weighted mean and by the maximum: 23. *Collections*: the generator above (seeds 0 to
4; the final figures are of seeds 10 to 19, which nothing was chosen on), `make_telemetry` (seeds 0
to 7, its faults are other ones and drawn by others), SKAB and NAB.

1. A candidate is admitted when its clean and holiday runs of seeds 0 to 4 (20 weeks) hold at most
   one false incident a week.
2. Of those, the highest mean of four figures, one for each collection: the share of faults found at
   ``per="1/week"``; on `make_telemetry` the share found at the largest budget that is quiet
   throughout the held-out rows; on SKAB and NAB the mean average precision of windows.
3. Within one standard error of the best (paired over the runs of each collection): no torch first,
   then fewer members, then the faster one.

Then, for that candidate alone, the debounce: 3 of 5 (as it is), 2 of 5, 2 of 3 or 1 of 1 windows;
the highest share of faults found on the generator among those that rule 1 admits; ties stay as it
is. That makes 27 settings in all.
"""

import argparse
import copy
import importlib.util
import os
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from adlib.datasets import load_nab, load_skab, make_telemetry
from adlib.realtime import fitted
from adlib.realtime.config import EngineConfig
from adlib.realtime.members import Member

HERE = Path(__file__).resolve().parents[1]
FOLDER = HERE / "reports" / "benchmarks" / "alert_quality"
DAYS, LIVE, CHOSEN_ON, FINAL = 56, 14, range(5), range(10, 20)
SCENARIOS = ("faults", "clean", "holiday", "drift", "replaced", "maintenance")
#: What one engine can be made of, by a short name.
MEMBERS: dict[str, dict[str, Any]] = {
    "vae": {"detector": "VAE"},
    "vote": {"detector": "Voting", "parameters": {"alpha": 0.05, "calibration": "split"}},
    "pca": {"detector": "PCAReconstruction"},
    "pca10": {"detector": "PCAReconstruction", "parameters": {"window": 10}},
    "rfae": {"detector": "RandomFeatureAE"},
    "forecast": {"detector": "LinearForecast", "parameters": {"smoothing": None}},
    "seasonal": {"detector": "SeasonalZScore"},
    "knn": {"detector": "KNN"},
}
#: Written down before the first run.
CANDIDATES = ("vae vote", "pca", "forecast", "rfae", "pca rfae", "pca forecast", "rfae forecast",
              "pca rfae forecast", "pca forecast seasonal", "pca rfae forecast seasonal",
              "knn forecast", "knn rfae forecast", "pca10 rfae forecast")


@cache
def generator() -> Any:
    """The module that makes the data."""
    path = Path(os.environ.get("ADLIB_DATA", "data")).parent / "trial" / "alert_quality.py"
    if not path.is_file():
        raise SystemExit(f"needs {path}, beside the folder that ADLIB_DATA names")
    spec = importlib.util.spec_from_file_location("alert_quality_trial", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runs(collection: str, seeds: range) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray],
                                                           dict[str, Any]]]:
    """History, live rows by scenario, and window and stride, by the name of the run."""
    def small(data: Any, window: int) -> tuple:
        return (data.X[:data.train_end], {"live": data.X[data.train_end:]},
                {"window_size": window, "stride": max(window // 10, 1)})

    if collection == "generator":
        own = generator()
        return {f"generator-{seed}": (
            own.history(DAYS, seed),
            {name: own.live(LIVE, DAYS, seed, name == "faults",
                            None if name in SCENARIOS[:2] else name)[0] for name in SCENARIOS},
            {}) for seed in seeds}
    if collection == "telemetry":
        return {f"telemetry-{seed}": small(telemetry(seed), 60) for seed in range(8)}
    load = load_skab if collection == "skab" else load_nab
    return {f"{collection}-{name.replace('/', '.')}": small(data, 30)
            for name, data in load().items()
            if data.y[data.train_end:].any() and not data.y[:data.train_end].any()}


def telemetry(seed: int) -> Any:
    """28 days at five minutes, the first 14 of them history."""
    return make_telemetry(8_064, 8, n_events=20, train_fraction=0.5,
                          random_state=seed)


def score(members: list[str], collections: list[str], seeds: range) -> None:
    """Held-out and live scores of each member on each run, kept; what is there stays."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for collection in collections:
        for run, (history, live, cut) in runs(collection, seeds).items():
            for name in members:
                if not (path := FOLDER / f"{run}-{name}.npz").exists():
                    began = time.perf_counter()
                    np.savez_compressed(path, **scores_of(name, history, live, cut),
                                        seconds=time.perf_counter() - began)
                    print(f"{run} {name} {time.perf_counter() - began:.1f} s", flush=True)


def scores_of(name: str, history: np.ndarray, live: dict[str, np.ndarray], cut: dict[str, Any]
              ) -> dict[str, np.ndarray]:
    """A member's scores of the calibration rows and of live rows that follow the history."""
    config = EngineConfig.model_validate({"deep_config": None, "stat_config": None,
                                          "detectors": [MEMBERS[name]], **cut})
    own = fitted.fit(config, history)
    found = {"held_out": own.held_out[:, 0]}
    for scenario, X in live.items():
        member = Member(name, copy.deepcopy(own.ensemble.members_[0]))
        filled = np.where(np.isfinite(X), X, np.nanmedian(history, axis=0))
        found[scenario] = member.score(filled, np.isfinite(X).all(axis=1), 0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("score", "choose", "final"))
    parser.add_argument("members", nargs="*", default=list(MEMBERS))
    parser.add_argument("--collections", nargs="*",
                        default=["generator", "telemetry", "skab", "nab"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[*CHOSEN_ON])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.what == "score":
        score(args.members, args.collections, args.seeds)


if __name__ == "__main__":
    main()
