"""How often a fleet of equal machines is refused a budget, and how often an unequal one is found.

Scores are squares of Gaussian rows, independent or autocorrelated (AR(1)); one machine, or half of
them, has a multiple of the noise. The level that is promised is one refusal in 100.

    python benchmarks/homogeneity.py [--keep after]
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
import results
from scipy.signal import lfilter

from adlib.realtime.homogeneity import at_once, differing

FLEETS = 100


def machine(n: int, phi: float, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Scores of a machine: squares of a stationary AR(1) of this standard deviation."""
    e = rng.normal(size=n + 400) * np.sqrt(1 - phi**2)
    return (scale * lfilter([1.0], [1.0, -phi], e)[400:]) ** 2


def fleets(machines: int, rows: int, phi: float, scale: float, unequal: int
           ) -> Iterator[dict[str, np.ndarray]]:
    for seed in range(FLEETS):
        rng = np.random.default_rng(seed)
        yield {str(k): machine(rows, phi, scale if k < unequal else 1.0, rng)
               for k in range(machines)}


def measured(machines: int, rows: int, phi: float, scale: float = 1.0, unequal: int = 0
             ) -> dict[str, object]:
    """Shares of fleets that are refused, and of unequal machines that are named."""
    named, common = [], []
    for scores in fleets(machines, rows, phi, scale, unequal):
        named.append({int(name) for name in differing(scores)})
        common.append(at_once(scores, 50))
    return {"machines": machines, "rows": rows, "phi": phi, "unequal": unequal, "scale": scale,
            "refused": np.mean([bool(names) for names in named]),
            "named": np.mean([len(names & set(range(unequal))) / max(unequal, 1)
                              for names in named]),
            "wrongly named": np.mean([bool(names - set(range(unequal))) for names in named]),
            "at once": np.mean(common)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results.option(parser)
    given = parser.parse_args()
    equal = [measured(n, rows, phi) for n in (2, 5, 20, 100) for rows in (200, 800, 3_000)
             for phi in (0.0, 0.9, 0.98)]
    unequal = [measured(n, rows, phi, scale, 1) for n in (2, 5, 20, 100)
               for rows in (200, 800, 3_000) for phi in (0.0, 0.9) for scale in (1.5, 2.0)]
    halves = [measured(10, 800, phi, 2.0, 5) for phi in (0.0, 0.9)]
    print(pd.DataFrame([*equal, *unequal, *halves]).to_string(index=False))
    if given.keep:
        refused = [float(one["refused"]) for one in equal]
        named = [float(one["named"]) for one in unequal if one["scale"] == 2 and one["rows"] >= 800]
        results.keep("homogeneity", given.keep, "", {
            "refused": {"what": "share of equal fleets that are refused, mean of 36 cases",
                        "better": "low", "goal": 0.01, "value": np.mean(refused)},
            "most": {"what": "the same in the worst case (100 fleets each)", "better": "low",
                     "value": max(refused)},
            "named": {"what": "share found of one machine with twice the noise, 800 rows or more",
                      "better": "high", "value": np.mean(named)}})


if __name__ == "__main__":
    main()
