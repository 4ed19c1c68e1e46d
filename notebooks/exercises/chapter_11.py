"""Exercises of notebook 11: fraud."""

from numbers import Real

import numpy as np

from adlib import metrics
from exercises import exercise, require

# -- 11.1: what a list brings


def _payments(seed, n_days=20, per_day=60):
    """Labels, losses, scores without ties and days, in no order."""
    rng = np.random.default_rng([111, seed])
    day = rng.permutation(np.repeat(np.arange(n_days), per_day))
    y = (rng.random(day.size) < 0.05).astype(int)
    loss = rng.lognormal(4, 1.2, day.size)
    busy = 1.5 * (day % 5 == 0)  # on some days everything looks odd
    return y, loss, rng.normal(size=day.size) + 1.5 * y + busy, day


@exercise("11.1")
def what_a_list_brings(recovered):
    """Share of the loss that a team recovers with n reviews on each day."""
    require(callable(recovered), "the answer is a function: answer = recovered")
    shares = []
    for seed, n in ((0, 3), (1, 10), (2, 100)):
        y, loss, score, day = _payments(seed)
        given = [each.copy() for each in (y, loss, score, day)]
        got = recovered(y, loss, score, day, n)
        require(all((a == b).all() for a, b in zip(given, (y, loss, score, day), strict=True)),
                "your function changes an array it is given: copy")
        require(isinstance(got, Real) and np.isfinite(got), f"one number is asked for, got {got!r}")
        want = metrics.value_at_capacity(y, score, n, period=day, value=loss)
        require(abs(got - want) < 1e-9, f"with {n} reviews a day on {len(set(day))} days your "
                f"share is {got:.3f}; opening the list day by day and adding up brings {want:.3f}")
        shares.append(want)
    return (f"Three reviews a day recover {shares[0]:.0%} of the loss, ten {shares[1]:.0%} (other "
            f"payments), and who opens everything recovers {shares[2]:.0%}.")


@what_a_list_brings.solution
def _():
    def recovered(y, loss, score, day, n):
        won = 0.0
        for today in np.unique(day):
            rows = np.flatnonzero(day == today)
            opened = rows[np.argsort(-score[rows])[:n]]
            won += (loss * y)[opened].sum()
        return won / (loss * y).sum()

    return recovered


# -- 11.2: what is known this morning


@exercise("11.2")
def known_this_morning(known):
    """Which payments have a label on the morning of a day."""
    require(callable(known), "the answer is a function: answer = known")
    told = ""
    for today, delay in ((30, 7), (50, 28), (12, 0)):
        rng = np.random.default_rng([112, today])
        day = rng.permutation(np.repeat(np.arange(60), 10))
        reviewed = (rng.random(day.size) < 0.1) & (day < today)
        given = day.copy(), reviewed.copy()
        mask = np.asarray(known(day, today, delay, reviewed))
        require((day == given[0]).all() and (reviewed == given[1]).all(),
                "your function changes an array it is given: copy")
        require(mask.shape == day.shape and mask.dtype == bool,
                f"True or False for each of the {day.size} payments is asked for, got "
                f"{mask.dtype} of shape {mask.shape}")
        case = f"on the morning of day {today}, labels after {delay} days:"
        future = mask & (day >= today)
        require(not future.any(), f"{case} {future.sum()} payments of that day or later are in it; "
                "they have not been made yet")
        early = mask & ~reviewed & (day + delay >= today)
        require(not early.any(), f"{case} {early.sum()} payments nobody reviewed are in it before "
                f"their {delay} days are over, the youngest of day {day[early].max(initial=0)}")
        late = ~mask & (day + delay < today)
        require(not late.any(), f"{case} {late.sum()} payments whose {delay} days are over are "
                f"missing, the youngest of day {day[late].max(initial=0)}")
        forgotten = ~mask & reviewed
        require(not forgotten.any(), f"{case} {forgotten.sum()} payments that the team opened on "
                "an earlier day are missing")
        if delay == 28:
            past = day < today
            told = (f"On the morning of day {today}, {mask.sum()} of {past.sum()} past payments "
                    f"have a label, {(mask & (day + delay >= today)).sum()} of them by a review.")
    return told


@known_this_morning.solution
def _():
    def known(day, today, delay, reviewed):
        return (day < today - delay) | (reviewed & (day < today))

    return known


# -- 11.3: which payments are worth a review


@exercise("11.3")
def worth_a_review(opened):
    """The payments of a day that pay for their review, at most so many."""
    require(callable(opened), "the answer is a function: answer = opened")
    told = ""
    for case, (cost, capacity, risky) in enumerate(((5.0, 15, 0.06), (5.0, 60, 0.01),
                                                    (20.0, 30, 0.03))):
        rng = np.random.default_rng([113, case])
        risk = np.clip(rng.gamma(0.5, risky, 1500), 1e-5, 0.9)
        loss = np.minimum(rng.lognormal(4, 1.3, 1500), 500.0)
        rows = np.asarray(opened(risk.copy(), loss.copy(), cost, capacity))
        require(rows.ndim == 1 and len(set(rows.tolist())) == len(rows)
                and all(r == int(r) and 0 <= r < 1500 for r in rows.tolist()),
                "row numbers are asked for, each once, between 0 and 1499")
        rows = rows.astype(int)
        require(len(rows) <= capacity, f"{len(rows)} payments are on the list of a team that "
                f"opens {capacity} a day")
        fraud = rng.random((400, 1500)) < risk  # 400 days on which the risks come true
        gain = (fraud * loss).mean(axis=0) - cost
        pays = risk * loss - cost
        best = np.argsort(-pays)[:capacity]
        best = best[pays[best] > 0]
        said = (f"a review costs {cost:.0f} EUR, the team opens up to {capacity}: your "
                f"{len(rows)} payments bring {gain[rows].sum():.0f} EUR a day net")
        require(pays[rows].sum() >= pays[best].sum() - 1e-6,
                f"{said}; another list brings {gain[best].sum():.0f} EUR")
        told = said
    return f"In the last of three cases {told}, and no other list is expected to bring more."


@worth_a_review.solution
def _():
    def opened(risk, loss, cost, capacity):
        order = np.argsort(-risk * loss)[:capacity]
        return order[(risk * loss)[order] > cost]

    return opened
