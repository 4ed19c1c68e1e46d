"""Exercises of notebook 09: real-time alerts."""

from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import chi2, poisson

from adlib.datasets import load_telemetry
from adlib.realtime import RealTimeAnomalyDetector
from adlib.realtime.backtest import backtest
from adlib.realtime.events import Verdict
from adlib.realtime.incidents import AlertManager, IncidentConfig
from exercises import exercise, require

AN_HOUR = 2  # false pages that are accepted
_APART = 100  # samples from one window to the next


@exercise("09.1")
def severity_from_a_p_value(severity):
    """A severity that means the same for every detector."""
    require(callable(severity), "the answer is a function: answer = severity")
    p = np.random.default_rng(91).random(200_000)
    for alpha in (0.05, 0.001):
        s = np.asarray(severity(p, alpha), dtype=float)
        require(s.shape == p.shape, f"{p.size} p-values want {p.size} severities, got {s.shape}")
        tiny = np.asarray(severity(np.array([1e-15, 1.0]), alpha), dtype=float)
        for value in (*tiny, s.min(), s.max()):
            require(0 <= value <= 1, f"alpha {alpha:g}: a severity of {value:.2f} is not in 0..1")
        alone = float(np.ravel(severity(p[:1], alpha))[0])
        require(abs(alone - s[0]) < 1e-9, "the severity of a window changes with the other windows "
                "of its batch: it has to follow from its own p-value")
        order = np.argsort(p)
        require((np.diff(s[order]) <= 1e-12).all(), "a smaller p-value has a smaller severity")
        for level, budget, name in ((0.7, alpha, "warning"), (0.9, alpha / 10, "critical")):
            share = (s > level).mean()
            require(abs(share - budget) <= 0.1 * budget + 4 * np.sqrt(budget / p.size),
                    f"alpha {alpha:g}: {share:.2%} of normal windows lie above {level:g} "
                    f"({name}), {budget:.2%} are wanted")
        middle = float(np.ravel(severity(np.array([alpha / np.sqrt(10)]), alpha))[0])
        require(abs(middle - 0.8) < 0.01, f"between warning and critical equal factors of p are "
                f"equal steps: half way lies 0.8, yours is {middle:.2f}")
    return "Of normal windows a share alpha is above 0.7 and a tenth of that above 0.9."


@severity_from_a_p_value.solution
def _():
    return lambda p, alpha: np.clip(0.7 + 0.2 * np.log10(alpha / p), 0, 1)


def _engine(flags, m, n, k):
    """First and last flagged window of each incident, from the live engine's own state machine.

    The windows share no sample, and so each flagged one is a piece of evidence.
    """
    manager = AlertManager(IncidentConfig(open_after=m, open_within=n, close_after=k))
    found = {}
    for i, flag in enumerate(flags):
        at = i * _APART
        manager.step(Verdict("rig", at, at, float(i), 0.5, 0.8, "warning", bool(flag), {}, ()))
        if (incident := manager.incident("rig")) is not None:
            found[incident.id] = (incident.start // _APART, incident.end // _APART)
    return list(found.values())


@exercise("09.2")
def flags_become_incidents(incidents):
    """M of the last N open, K quiet windows close."""
    require(callable(incidents), "the answer is a function: answer = incidents")
    rng, n_flags, n_incidents = np.random.default_rng(92), 0, 0
    for length in (12, 20, 30, 60, 120):  # short ones first: a short example says more
        for _ in range(40):
            m, extra, k = (int(value) for value in rng.integers(1, 4, size=3))
            n = m + extra - 1
            flags = np.repeat(rng.random(length) < 0.4, rng.integers(1, 4, size=length))[:length]
            given = flags.copy()
            answer, wanted = incidents(flags, m, n, k), _engine(given, m, n, k)
            require((flags == given).all(), "your function changes the flags it is given: copy")
            got = [(int(first), int(last)) for first, last in answer]
            shown = "".join("1" if flag else "." for flag in given)
            require(got == wanted, f"flags {shown}, opened by {m} of {n}, closed by {k} quiet: "
                    f"you say {got}, the engine says {wanted}")
            n_flags, n_incidents = n_flags + int(given.sum()), n_incidents + len(got)
    return f"{n_flags} flagged windows in 200 streams became {n_incidents} incidents, as live."


@flags_become_incidents.solution
def _():
    def incidents(flags, m, n, k):
        found, recent, quiet, is_open = [], [], 0, False
        for i, flag in enumerate(flags):
            if is_open:
                quiet = 0 if flag else quiet + 1
                if flag:
                    found[-1] = (found[-1][0], i)
                if quiet == k:
                    is_open, recent = False, []
                continue
            recent = [*recent, (i, flag)][-n:]
            flagged = [j for j, raised in recent if raised]
            if flag and len(flagged) >= m:
                found.append((flagged[0], i))
                is_open, quiet = True, 0
        return found

    return incidents


@cache
def _sessions():
    """Sessions 5 to 7 of the telemetry, judged by the detectors of the chapter."""
    data = load_telemetry()
    X = pd.DataFrame(data.X, columns=list(data.feature_names))
    config = {
        "deep_config": {"detector": "RandomFeatureAE"}, "stat_config": None,
        "detectors": ["PCAReconstruction"], "window_size": 10, "stride": 1, "alpha": 0.05,
        "random_state": 0, "alert_config": {"incidents": {
            "open_after": 4, "open_within": 6, "close_after": 8, "cooldown": 60}},
    }
    fitted = RealTimeAnomalyDetector(config).fit(X[:data.train_end])
    first = data.train_end + 2_700
    return backtest(config, X[first:], data.y[first:], fitted=fitted)


@exercise("09.3")
def a_budget_chosen_before_it_is_judged(settings):
    """Settings from sessions 2 to 4, judged on sessions 5 to 7."""
    require(isinstance(settings, dict) and "alpha" in settings,
            'the answer is a dictionary such as {"alpha": 0.05, "open_after": 4, "open_within": 6}')
    sessions = _sessions()
    try:
        outcome = sessions.replay(**settings)
    except ValueError as error:
        why = error.errors()[0]["msg"] if hasattr(error, "errors") else error
        require(False, f"the engine would not take these settings: {why}")
    false = outcome.summary["false_pages_per_day"] / 24
    found, faults = outcome.summary["found"], outcome.summary["faults"]
    said = f"in sessions 5 to 7 {false:.1f} false pages an hour, {found} of {faults} faults found"
    require(false <= AN_HOUR, f"{said}; your colleagues accept {AN_HOUR}. What looked good on "
            "sessions 2 to 4 may have been chance: compare `by_chance`")
    grid = sessions.compare([{"alpha": alpha} for alpha in (0.02, 0.01, 0.005, 0.002)])
    possible = grid.found[grid.false_pages_per_day <= 24 * AN_HOUR].max()
    require(found >= possible, f"{said}; for no more false pages {possible:.0f} can be found")
    return f"Right for the future too: {said}."


@a_budget_chosen_before_it_is_judged.solution
def _():
    return {"alpha": 0.01, "open_after": 7, "open_within": 9}


@exercise("09.4")
def what_a_history_can_show(limit):
    """The 95 % upper limit of a Poisson rate: what so few incidents do not rule out."""
    require(callable(limit), "the answer is a function: answer = limit")
    for weeks in (1.0, 3.0, 12.0):
        for incidents in (0, 1, 2, 5, 20):
            rate = float(limit(incidents, weeks))
            require(rate > 0, f"{incidents} incidents in {weeks:g} weeks: a limit of {rate:g} a "
                    "week; with a true rate of 0 nothing would ever be seen")
            share = poisson.cdf(incidents, rate * weeks)
            require(abs(share - 0.05) < 0.003,
                    f"{incidents} incidents in {weeks:g} weeks: at your limit of {rate:.2f} a week "
                    f"{share:.1%} of such histories would have {incidents} incidents or fewer, and "
                    f"it should be 5 %")
    return (f"No incident in a week leaves up to {limit(0, 1.0):.1f} a week possible: for a budget "
            "of one a week it takes three weeks without any.")


@what_a_history_can_show.solution
def _():
    return lambda incidents, weeks: chi2.ppf(0.95, 2 * (incidents + 1)) / 2 / weeks


@exercise("09.5")
def machines_that_are_alike(differ):
    """A test that all machines of a fleet have incidents at the same rate."""
    require(callable(differ), "the answer is a function: answer = differ")
    rng = np.random.default_rng(95)

    def shares(rates, times=600):
        found = [float(differ(rng.poisson(rates))) for _ in range(times)]
        require(all(0 <= p <= 1 for p in found), f"a p-value of {max(found, key=abs):.3g} is none")
        return np.mean(np.array(found) <= 0.05)

    counts = rng.poisson(6.0, 20)
    require(abs(differ(counts) - differ(counts[::-1].copy())) < 1e-9,
            "the order of the machines changes the answer")
    require(differ(np.zeros(20, dtype=int)) > 0.5, "without any incident nothing speaks for a "
            "difference: the p-value has to be high, and no division by zero")
    for mean, n in ((8.0, 20), (5.0, 200), (30.0, 2)):
        false = shares(np.full(n, mean))
        require(0.02 <= false <= 0.09, f"{n} machines that are alike, {mean:g} incidents each: "
                f"{false:.1%} are called different at the level of 5 %")
    one, wide = np.full(20, 8.0), np.repeat([5.0, 12.0], 10)
    one[3] = 30.0
    for rates, what in ((one, "one machine in 20 with four times as many"),
                        (wide, "half of the machines with twice as many")):
        seen = shares(rates, 200)
        require(seen >= 0.9, f"{what}: noticed in {seen:.0%} of all cases, 90 % are wanted")
    blind = shares(np.full(20, 0.4) * np.repeat([1.0, 4.0], [19, 1]), 200)
    return (f"Alike stays alike, and different is seen; but with two incidents in five machines, "
            f"one that has four times as many is noticed in {blind:.0%} of all cases.")


@machines_that_are_alike.solution
def _():
    def differ(counts):
        mean = np.mean(counts)
        if mean == 0:
            return 1.0
        return chi2.sf(np.sum((counts - mean) ** 2) / mean, len(counts) - 1)

    return differ
