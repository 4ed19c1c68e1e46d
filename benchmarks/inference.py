"""Do conclusions hold? Error and power of `adlib.compare.verdict`, and coverage of intervals.

    python benchmarks/inference.py null            # nothing to name: how often is something named?
    python benchmarks/inference.py power           # something to name: how often is it?
    python benchmarks/inference.py intervals       # how often do 95 % limits hold the truth?
    python benchmarks/inference.py chance          # is p_chance of what knows nothing uniform?
    python benchmarks/inference.py null power --runs 50

Scores are drawn, no detector is fitted: they go into `adlib.metrics.report`, its rows into a table
as `adlib.compare.compare` makes it, and `adlib.compare.rank_detectors` says who leads and who beats
chance. "named" is the share of runs with a leader, "chance" that with anybody beyond chance; in
section null whatever is named is an error (of "chance" only where no score has skill), and "low" is
the lower 95 % limit of that share: above .05 the rule is broken.

Found (300 runs; power over series 100, over rows and sets 150):

Nothing to name                                                     named    low   chance   low
  AR(1) .99, 2 events of 120,  2 detectors and four one-liners       .000   .000     .043  .023
                               5                                     .000   .000     .053  .031
                              12                                     .000   .000     .063  .039
  two equal leaders, 50 of 1,000 rows, noise shared 0 / .5 / .9      .047 / .027 / .047
                     the same (.5) with 5 others far behind          .027   .012
                     the same (.5) on 3 sets                         .040   .021
  two equal leaders, 8 events of 60 in 2,400, shared 0 / .5          .037 / .053 (low .018 / .031)
                     the same (.5) with 5 others far behind          .053   .031
                     the same (.5) on 3 sets                         .043   .023
  2 / 5 / 12 equal detectors over 15 sets, 5 with heavy tails        .043 / .000 / .000, .000
  2 equal detectors over 6 sets                                      .027   .012

Something to name                                                   named        chance
  2 events of 120 in 2,400 rows, skill of 1.5 / 3 deviations         .00 / .00    .44 / .94
  5 events of 60                                                     .21 / .93    .80 / 1.00
  8 events of 60                                                     .58 / .99    .94 / 1.00
  true AP .70 and .50, 50 of 1,000 rows, noise shared 0              .56          1.00
                                                      .5             .81          1.00
                                                      .8             .97          1.00
                                                      .9            1.00          1.00
  +.05 over 15 sets, spread .05 / .06 / .07 / .08 / .10
                     2 detectors                                     .95 / .87 / .73 / .58 / .41
                     5 detectors                                     .86 / .65 / .47 / .35 / .18

What cannot be had. Two events name nobody, however good the scores: two equal detectors that find
each event by the toss of a coin differ alike in both with p = .125. With independent noise the
difference of two APs over 50 anomalies has a standard deviation of .087, so that even a test that
knew it would tell .70 from .50 in 59 % of the draws (80 % at .5 shared, 97 % at .8): 90 % needs
scores that share some two thirds of their noise, as detectors of the same rows often do. Over 15
sets 70 % (two detectors) and 35 % (five) need a spread of the difference over sets of at most .07
and .08. Published VUS-PR are further apart: among the eight best of TSB-AD on 30 univariate and 17
multivariate series half of all pairs have a spread above .42 and .27, where +.05 takes hundreds of
sets.
"""

import argparse
import itertools

import numpy as np
import pandas as pd
from results import keep, option
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.stats import binomtest

from adlib.compare import Ranking, rank_detectors, verdict
from adlib.metrics import average_precision, report
from adlib.metrics.chance import p_chance

BASELINES = {"MaxAbsZ": lambda x: np.abs(x),
             "FirstDifference": lambda x: np.abs(np.diff(x, prepend=x[:1])),
             "SquaredZ": lambda x: lfilter(np.full(20, 1 / 20), 1, x**2),
             "SquaredDifference": lambda x: lfilter(
                 np.full(20, 1 / 20), 1, np.diff(x, prepend=x[:1])**2)}


def ar1(n: int, rng: np.random.Generator, phi: float = 0.99) -> np.ndarray:
    """A stationary first-order autoregression of unit variance."""
    noise = rng.normal(size=n + 500)
    return lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise)[500:]


def correlated(n: int, k: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of k detectors, (k, n), of which this share of the variance is common to all."""
    return np.sqrt(share) * rng.normal(size=n) + np.sqrt(1 - share) * rng.normal(size=(k, n))


def events(n: int, count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of a series: so many events of one length, apart from each other."""
    y = np.zeros(n, dtype=int)
    gaps = rng.multinomial(n - count * (2 * length), np.ones(count + 1) / (count + 1))
    for i in range(count):
        start = gaps[:i + 1].sum() + 2 * length * i + length // 2
        y[start:start + length] = 1
    return y


def cells(y: np.ndarray, scores: dict[str, np.ndarray], series: bool, dataset: str = "x"
          ) -> pd.DataFrame:
    """Rows of a table as `compare` makes them; names of one-liners are baselines."""
    metric = "vus_pr" if series else "average_precision"
    given = {"metrics": metric}
    if not NAMES_LEADERS:  # code of 2026-11-22: all metrics, and a series has an interval
        given = {"interval": 1.0} if series else {}
    lines = []
    for name, score in scores.items():
        line = report(y, score, **given, n_random=5).iloc[0].to_dict()
        lines.append({"detector": name, "role": "baseline" if name in BASELINES else "detector",
                      "dataset": dataset, "seed": 0, "status": "ok"} | line)
    return pd.DataFrame(lines)


def told(table: pd.DataFrame) -> tuple[bool, bool]:
    """Whether a leader is named, and whether anything is said to beat chance."""
    if not NAMES_LEADERS:
        text = verdict(table.assign(**{side: table.get(side, table.value)
                                       for side in ("low", "high")}))
        return " leads" in text, "Nothing is shown to beat chance" not in text
    ranking = rank_detectors(table)
    return ranking.leader is not None, bool(ranking.beyond_chance)


def noise(rng: np.random.Generator, k: int = 5, n: int = 2_400, count: int = 2, length: int = 120,
          skill: float = 0.0) -> pd.DataFrame:
    """AR(1) scores and one-liners of AR(1) data, none of which knows anything of the events.

    With `skill` the first detector does: so many standard deviations.
    """
    y = events(n, count, length, rng)
    x = ar1(n, rng)
    scores = {f"detector {i}": ar1(n, rng) for i in range(k)}
    scores["detector 0"] = scores["detector 0"] + skill * y
    return cells(y, scores | {name: score(x) for name, score in BASELINES.items()}, True)


def equal(rng: np.random.Generator, *, series: bool, share: float, behind: int = 0,
          sets: int = 1) -> pd.DataFrame:
    """Two detectors of the same true skill, and so many others far behind."""
    tables = []
    for i in range(sets):
        n = 2_400 if series else 1_000
        if series:
            y = events(n, 8, 60, rng)
            own = [ar1(n, rng, 0.95) for _ in range(3 + behind)]
            s = [np.sqrt(share) * own[0] + np.sqrt(1 - share) * one for one in own[1:]]
        else:
            y = (np.arange(n) < 50).astype(int)
            s = [*correlated(n, 2 + behind, share, rng)]
        skill = [2.0, 2.0, *[0.5] * behind]
        scores = {f"detector {j}": s[j] + skill[j] * y for j in range(2 + behind)}
        tables.append(cells(y, scores, series, f"set {i}"))
    return pd.concat(tables)


def over_sets(rng: np.random.Generator, k: int, spread: float, ahead: float = 0.0,
              sets: int = 15, heavy: bool = False) -> pd.DataFrame:
    """Values on many sets: a level of each set, the detector's own part, the first one ahead.

    `spread` is the standard deviation of the difference between two detectors over sets.
    """
    level = rng.uniform(0.3, 0.6, size=(sets, 1))
    own = rng.standard_t(3, size=(sets, k)) / np.sqrt(3) if heavy else rng.normal(size=(sets, k))
    values = level + own * spread / np.sqrt(2)
    values[:, 0] += ahead
    return pd.DataFrame([
        {"detector": f"detector {j}", "role": "detector", "dataset": f"set {i}", "seed": 0,
         "metric": "average_precision", "value": values[i, j], "random": 0.1, "status": "ok",
         "p_chance": 0.001}
        for i, j in itertools.product(range(sets), range(k))])


def shift_for(wanted: float, n: int = 200_000) -> float:
    """How far the mean of anomalies lies above that of normal rows at a true AP, 5 % anomalies."""
    z, y = np.random.default_rng(0).normal(size=n), np.arange(n) < n // 20
    return brentq(lambda shift: average_precision(y, z + shift * y) - wanted, 0, 6, xtol=1e-3)


def two_skills(rng: np.random.Generator, share: float, shifts: tuple[float, float]
               ) -> pd.DataFrame:
    """50 anomalies of 1,000 rows; the noise of the scores is shared to this extent."""
    y = (np.arange(1_000) < 50).astype(int)
    s = correlated(1_000, 2, share, rng)
    return cells(y, {f"detector {i}": s[i] + shifts[i] * y for i in (0, 1)}, False)


def null() -> dict[str, tuple]:
    """Cases in which nothing is to be named, each drawn by a function of a generator."""
    cases = {f"AR(1) .99, 2 events of 120, {k} detectors and one-liners": (
        lambda rng, k=k: noise(rng, k), True) for k in (2, 5, 12)}
    for series, share, behind, sets in ((False, 0.0, 0, 1), (False, 0.5, 0, 1), (False, 0.9, 0, 1),
                                        (False, 0.5, 5, 1), (True, 0.0, 0, 1), (True, 0.5, 0, 1),
                                        (True, 0.5, 5, 1), (False, 0.5, 0, 3), (True, 0.5, 0, 3)):
        what = "8 events of 60 in 2,400" if series else "50 of 1,000 rows"
        name = (f"two equal leaders, {what}, noise shared {share:g}"
                + f", {behind} far behind" * bool(behind) + f", {sets} sets" * (sets > 1))
        cases[name] = (lambda rng, series=series, share=share, behind=behind, sets=sets: equal(
            rng, series=series, share=share, behind=behind, sets=sets), False)
    for k, heavy in ((2, False), (5, False), (12, False), (5, True)):
        cases[f"{k} equal detectors over 15 sets" + ", heavy tails" * heavy] = (
            lambda rng, k=k, heavy=heavy: over_sets(rng, k, 0.07, heavy=heavy), False)
    cases["2 equal detectors over 6 sets"] = (lambda rng: over_sets(rng, 2, 0.07, sets=6), False)
    return cases


def power() -> dict[str, tuple]:
    """Cases in which the first detector is to be named."""
    cases = {f"{count} events of {length}, {skill:g} deviations, 2 detectors and one-liners": (
        lambda rng, c=count, m=length, s=skill: noise(rng, 2, count=c, length=m, skill=s), True)
        for count, length in ((2, 120), (5, 60), (8, 60)) for skill in (1.5, 3.0)}
    shifts = shift_for(0.7), shift_for(0.5)
    for share in (0.0, 0.5, 0.8, 0.9):
        cases[f"true AP .70 / .50, 50 of 1,000 rows, noise shared {share:g}"] = (
            lambda rng, share=share: two_skills(rng, share, shifts), True)
    for k, spread in itertools.product((2, 5), (0.05, 0.06, 0.07, 0.08, 0.1)):
        cases[f"+.05 over 15 sets, {k} detectors, spread of a difference {spread:g}"] = (
            lambda rng, k=k, spread=spread: over_sets(rng, k, spread, 0.05), True)
    return cases


def section(cases: dict[str, tuple], runs: int, match: str, first: int) -> pd.DataFrame:
    """Share of the runs in which a leader is named, and in which anything beats chance."""
    lines = []
    for name, (draw, chance_too) in cases.items():
        if match not in name:
            continue
        found = np.array([told(draw(np.random.default_rng(seed)))
                          for seed in range(first, first + runs)])
        named = binomtest(int(found[:, 0].sum()), runs)
        line = {"case": name, "named": found[:, 0].mean(), "low": named.proportion_ci().low,
                "high": named.proportion_ci().high}
        if chance_too:
            beaten = binomtest(int(found[:, 1].sum()), runs)
            line |= {"chance": found[:, 1].mean(), "chance low": beaten.proportion_ci().low}
        print(" | ".join(str(v) if isinstance(v, str) else f"{v:.3f}" for v in line.values()),
              flush=True)
        lines.append(line)
    return pd.DataFrame(lines)


def found_by_luck(rng: np.random.Generator, count: int, phi: float, ahead: float, spread: float
                  ) -> tuple[np.ndarray, np.ndarray, bool]:
    """A series of 4,000 rows whose events stand out by chance: `ahead` on average."""
    y = events(4_000, count, 40, rng)
    starts = np.flatnonzero(np.diff(y, prepend=0) == 1)
    lift = np.zeros(y.size)
    for start in starts:
        lift[start:start + 40] = max(0.0, rng.normal(ahead, spread))
    return y, ar1(y.size, rng, phi) + lift, True


def scattered(rng: np.random.Generator, count: int, ahead: float, n: int = 1_000
              ) -> tuple[np.ndarray, np.ndarray, bool]:
    """Independent rows, some of which score higher by `ahead`."""
    y = np.isin(np.arange(n), rng.choice(n, count, replace=False)).astype(int)
    return y, rng.normal(size=n) + ahead * y, False


COVERED = ("vus_pr", "average_precision", "roc_auc", "f1@oracle", "recall@x", "event_recall@x",
           "event_f1@x", "false_positive_rate@x", "detection_delay@x")


def intervals(runs: int, match: str, first: int) -> pd.DataFrame:
    """How often limits hold the truth: the mean over the runs (of the delay, the median)."""
    cases = {f"{count} events, noise {phi}, {name}": lambda rng, a=(count, phi, *how):
             found_by_luck(rng, *a)
             for count, phi in itertools.product((3, 8, 20), (0.0, 0.9, 0.99))
             for name, how in {"graded": (2, 1), "hit or miss": (2, 4), "easy": (4, 0.3)}.items()}
    cases |= {f"{count} anomalous rows, ahead {ahead}": lambda rng, a=(count, ahead):
              scattered(rng, *a) for count, ahead in itertools.product((3, 10, 50), (1, 2, 3))}
    lines = []
    for name, draw in cases.items():
        if match not in name:
            continue
        found = []
        for seed in range(first, first + runs):
            y, score, series = draw(np.random.default_rng(seed))
            found.append(report(y, score, series=series, n_random=0, window=10, threshold=2.0,
                                threshold_source="x").set_index("metric"))
        line: dict = {"case": name}
        for metric in [m for m in COVERED if m in found[0].index]:
            value, low, high = np.array([t.loc[metric, ["value", "low", "high"]].astype(float)
                                         for t in found]).T
            known = np.isfinite(low) & np.isfinite(high)
            truth = np.nanmedian(value) if "delay" in metric else np.nanmean(value)
            inside = (low <= truth) & (truth <= high)
            line[metric] = inside[known].mean() if known.mean() > 0.5 else np.nan
        print(" | ".join(str(v) if isinstance(v, str) else f"{v:.2f}" for v in line.values()),
              flush=True)
        lines.append(line)
    return pd.DataFrame(lines, columns=["case", *COVERED])


def chance(runs: int, match: str, first: int) -> pd.DataFrame:
    """Shares of p below levels, of scores that know nothing: they should be the levels."""
    cases = {
        "AR .99, 2 events of 120, 2,400 rows": lambda rng: (
            events(2_400, 2, 120, rng), ar1(2_400, rng), True),
        "AR .99, 2 events of 120, 4,000 rows": lambda rng: (
            events(4_000, 2, 120, rng), ar1(4_000, rng), True),
        "AR .99, at both ends": lambda rng: (
            np.repeat([1, 0, 1], [120, 2_160, 120]), ar1(2_400, rng), True),
        "AR .99, 20 single rows": lambda rng: (
            scattered(rng, 20, 0, 2_400)[0], ar1(2_400, rng), True),
        "AR .9, 2 events of 15, 200 rows": lambda rng: (
            events(200, 2, 15, rng), ar1(200, rng, 0.9), True),
        "AR .95 above 1.5": lambda rng: (
            events(2_400, 2, 120, rng), (ar1(2_400, rng, 0.95) > 1.5) * 1.0, True),
        "random walk, event at the end": lambda rng: (
            np.repeat([0, 1], [2_280, 120]), rng.normal(size=2_400).cumsum(), True),
        "3 rows of 1,000": lambda rng: scattered(rng, 3, 0),
        "50 rows of 1,000": lambda rng: scattered(rng, 50, 0),
        "50 rows of 1,000, five values": lambda rng: (
            scattered(rng, 50, 0)[0], rng.integers(0, 5, 1_000) * 1.0, False),
    }
    lines = []
    for name, draw in cases.items():
        if match in name:
            drawn = (draw(np.random.default_rng(seed)) for seed in range(first, first + runs))
            p = np.array([p_chance(y > 0, score, np.ones(y.size, bool), series, 20)
                          for y, score, series in drawn])
            lines.append({"case": name} | {str(a): np.mean(p <= a) for a in (0.05, 0.01, 0.003)})
    return pd.DataFrame(lines)


RECORDED = (r"5 events of 60, 3 dev|8 events of 60, 1.5|AP .70 / .50.*shared 0.?5?$"
            r"|\+.05 over.*difference 0.0[78]$|12 detectors and|shared 0.5$"
            r"|^[25] equal detectors over 15 sets$")


def headline(name: str, table: pd.DataFrame) -> dict[str, dict]:
    """What is recorded: how often a leader is named, and (`null`, `power`) what beats chance."""
    figures, error = {}, name == "null"
    for case in table[table.case.str.contains(RECORDED, regex=True)].to_dict("records"):
        figures[f"{name}: {case['case']}"] = {
            "what": f"{case['case']}: a leader is named" + error * ", wrongly",
            "better": "low" if error else "high", "value": case["named"], "low": case["low"],
            "high": case["high"]}
    if error and "chance low" in table:  # of all cases: above the level, the rule is broken
        figures["null"] = {"what": "largest lower limit of any error, of cases without anything to "
                           "name", "better": "low", "goal": 0.05, "value": float(
                               np.nanmax(table[["low", "chance low"]].to_numpy(float)))}
    return figures


NAMES_LEADERS = hasattr(Ranking, "leader") or "leader" in Ranking.__annotations__
SECTIONS = {"null": null, "power": power, "intervals": intervals, "chance": chance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sections", nargs="+", choices=list(SECTIONS))
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--match", default="", help="only cases whose name holds this text")
    option(parser)
    given = parser.parse_args()
    for name in given.sections:
        how = given.runs, given.match, given.first
        table = (section(SECTIONS[name](), *how) if name in ("null", "power")
                 else SECTIONS[name](*how))
        print(f"\n{name}, {given.runs} runs\n")
        print(table.to_markdown(index=False, floatfmt=".3f") if len(table) else "no such case")
        if given.keep and name in ("null", "power"):
            keep("inference", given.keep, "", headline(name, table))


if __name__ == "__main__":
    main()
