"""Exercises of notebook 12: network intrusion."""

from numbers import Real

import numpy as np

from exercises import exercise, require

# -- 12.1: incidents of a slow attacker


@exercise("12.1")
def incidents_by_source(incidents):
    """How many incidents flagged rows make: same source, close in time."""
    require(callable(incidents), "the answer is a function: answer = incidents")
    cases = {  # worked out by hand: minutes, sources, rest, incidents
        "nothing is flagged": ([], [], 10, 0),
        "one flag": ([5], ["a"], 10, 1),
        "three rows of one source, 10 apart, rest 10": ([0, 10, 20], list("aaa"), 10, 1),
        "two rows of one source, 11 apart, rest 10": ([0, 11], list("aa"), 10, 2),
        "two sources at the same time": ([3, 3, 4, 4], list("abab"), 10, 2),
        "a source that returns after a day, another between": ([0, 700, 1440], list("aba"), 60, 3),
    }
    for case, (minute, source, rest, want) in cases.items():
        got = incidents(np.array(minute, int), np.array(source, dtype="U9"), rest)
        require(got == want, f"{case}: you count {got}, by hand one counts {want}")
    rng = np.random.default_rng(121)
    slow = 60 * np.arange(12)  # one row an hour
    minute = np.r_[slow, np.sort(rng.choice(1440, 15, replace=False))]
    source = np.r_[np.repeat("attacker", 12), [f"host {i:02}" for i in range(15)]]
    order = rng.permutation(len(minute))
    got = incidents(minute[order], source[order], 60)
    require(got == 16, f"an attacker's row every hour among false alarms of 15 hosts, in no "
            f"order: you count {got} incidents, there are 16")
    by_time = 1 + (np.diff(np.sort(minute)) > 60).sum()
    return (f"An attacker's row every hour and 15 false alarms are {got} incidents by source; "
            f"by time alone all of it is {'one' if by_time == 1 else by_time}.")


@incidents_by_source.solution
def _():
    def incidents(minute, source, rest):
        count = 0
        for each in np.unique(source):
            rows = np.sort(minute[source == each])
            count += 1 + (np.diff(rows) > rest).sum()
        return count

    return incidents


# -- 12.2: which false-positive rate can be afforded


@exercise("12.2")
def affordable_rate(rate):
    """The largest false-positive rate at which a share of the alarms is right."""
    require(callable(rate), "the answer is a function: answer = rate")
    for records, attacks, tpr, right in ((1_000, 500, 0.8, 0.75), (1_000_000, 20, 0.7, 0.9),
                                         (1_000_000, 20, 1.0, 0.5)):
        base = attacks / records
        fpr = rate(tpr, base, right)
        require(isinstance(fpr, Real) and 0 <= fpr <= 1,
                f"a rate between 0 and 1 is asked for, got {fpr!r}")
        wrong, found = fpr * (records - attacks), tpr * attacks
        share = found / (found + wrong)
        said = (f"{attacks} attacks in {records:,} records, {tpr:.0%} of them found, a "
                f"false-positive rate of {fpr:.2g}: {wrong:.3g} false alarms, {share:.1%} of the "
                "alarms are right")
        require(abs(share - right) < 1e-6, f"{said}; {right:.0%} were asked for")
    return f"{said[0].upper()}{said[1:]}."


@affordable_rate.solution
def _():
    return lambda tpr, base, right: tpr * base / (1 - base) * (1 - right) / right


# -- 12.3: a cut for each morning


def _drifting(seed):
    """Scores and days of traffic whose scores grow, in time order."""
    rng = np.random.default_rng([123, seed])
    day = np.repeat(np.arange(16), 1440)
    return rng.gamma(2.0, 1.0 + 0.06 * np.maximum(day - 5, 0)), day


@exercise("12.3")
def a_cut_each_morning(flags):
    """Flag rows above a cut that is renewed each day from the days before it."""
    require(callable(flags), "the answer is a function: answer = flags")
    k, per_day, late, frozen = 3, 8, [], []
    for seed in range(3):
        score, day = _drifting(seed)
        given = score.copy()
        mask = np.asarray(flags(score, day, per_day, k))
        require((score == given).all(), "your function changes the scores it is given: copy")
        require(mask.shape == score.shape and mask.dtype == bool,
                "True or False for each row is asked for")
        require(not mask[day < k].any(), f"{mask[day < k].sum()} rows of the first {k} days are "
                "flagged: there are no days before them to take a cut from")
        changed = score.copy()
        changed[day >= 12] = 100 * changed[day >= 12]
        again = np.asarray(flags(changed, day, per_day, k))
        require((again[day < 12] == mask[day < 12]).all(), "with other scores from day 12 on, "
                f"{(again != mask)[day < 12].sum()} flags of earlier days change: a cut looks "
                "ahead")
        share = again[day == 12].mean()
        require(share > 0.9, "when every score of day 12 is a hundred times as high, only "
                f"{share:.0%} of that day are flagged: its own scores are in its cut")
        late.append(mask[day >= 11].sum() / 5)
        cut = np.sort(score[day < k])[-per_day * k - 1]
        frozen.append((score > cut)[day >= 11].sum() / 5)
    late, frozen = np.mean(late), np.mean(frozen)
    said = f"{per_day} flags a day are ordered, {late:.0f} arrive on each of the last five days"
    require(late < 25, f"{said}. The traffic has grown since the days your cut is from")
    require(late > 8, f"{said}, while the traffic grows: your cut is higher than the days before "
            "it say")
    return (f"{said[0].upper()}{said[1:]} of growing traffic; with a cut that is never renewed "
            f"{frozen:.0f} arrive.")


@a_cut_each_morning.solution
def _():
    def flags(score, day, per_day, k):
        mask = np.zeros(len(score), bool)
        for today in np.unique(day)[k:]:
            recent = np.sort(score[(day >= today - k) & (day < today)])
            mask[day == today] = score[day == today] > recent[-per_day * k - 1]
        return mask

    return flags
