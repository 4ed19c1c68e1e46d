"""Patients 7 to 12: from errors to scores, flags and severities."""

import numpy as np

from adlib.metrics import average_precision
from exercises import exercise, require


@exercise("16.7")
def scale_of_the_batch(answer):
    """A row's score must not depend on the other rows of its batch."""
    rng = np.random.default_rng(7)
    units, weights = np.array([1.0, 100.0, 0.01]), np.array([1.0, 0.8, 0.6])
    reference = rng.gamma(2, size=(500, 3)) * units
    normal, odd = rng.gamma(2, size=(180, 3)) * units, (8 + rng.gamma(2, size=(20, 3))) * units
    together = np.asarray(answer(reference, np.concatenate([normal, odd]), weights), float)
    require(together.shape == (200,), f"One score per row: 200 rows gave {together.shape}.")
    crowd = np.asarray(answer(reference, odd, weights), float)
    require(np.allclose(together[180:], crowd, rtol=1e-6),
            f"The same row scores {together[-1]:.2f} among normal rows and {crowd[-1]:.2f} among "
            "rows like itself.")
    y = np.repeat([0, 1], [180, 20])
    late = odd.copy()
    late[:, 1:] = rng.gamma(2, size=(20, 2)) * units[1:]  # one member alone sees these
    batch = np.concatenate([normal, late])
    quality = average_precision(y, answer(reference, batch, weights))
    require(quality > 0.2, "Of rows that one member alone finds odd: average precision "
                           f"{quality:.2f}, where that member itself has 1.00.")
    metres = np.array([1.0, 1.0, 1e6])
    require(np.allclose(answer(reference * metres, batch * metres, weights),
                        answer(reference, batch, weights), rtol=1e-6),
            "Measured in other units, one member gets another weight.")
    return f"The same score in any company; average precision {quality:.2f}."


@scale_of_the_batch.solution
def _():
    def combined_score(reference, scores, weights):
        z = (scores - reference.mean(axis=0)) / reference.std(axis=0)
        return z @ weights / weights.sum()

    return combined_score


@scale_of_the_batch.mistake("puts the reference and the batch together, then takes mean and sd")
def _():
    def combined_score(reference, scores, weights):
        both = np.concatenate([reference, scores])
        return (scores - both.mean(axis=0)) / both.std(axis=0) @ weights / weights.sum()

    return combined_score


@scale_of_the_batch.mistake("replaces scores by ranks in the batch")
def _():
    def combined_score(reference, scores, weights):
        return scores.argsort(axis=0).argsort(axis=0) / len(scores) @ weights / weights.sum()

    return combined_score


@scale_of_the_batch.mistake("leaves every member in its own unit")
def _():
    return lambda reference, scores, weights: scores @ weights / weights.sum()


@exercise("16.8")
def quota(answer):
    """Which rows are flagged follows from the rows, not from how many were asked for."""
    rng = np.random.default_rng(8)
    reference, normal = rng.gamma(2, size=(2, 5000))
    alarms = np.mean(answer(reference, normal))
    found = np.mean(answer(reference, 20 + rng.gamma(2, size=5000)))
    quiet = np.sum(answer(reference, np.sort(normal)[:100]))
    require(found > 0.99 and quiet == 0,
            f"A batch of nothing but faults: {found:.0%} are flagged. The hundred quietest rows "
            f"of a normal day: {quiet} are flagged.")
    require(0.03 < alarms < 0.07, f"With alpha=0.05, {alarms:.1%} of new normal rows are flagged.")
    far = np.mean(answer(reference * 10, normal * 10))
    require(abs(far - alarms) < 1e-9, "In other units, other rows are flagged.")
    return f"{alarms:.1%} of normal rows, {found:.0%} of a batch of faults, none of a quiet one."


@quota.solution
def _():
    def flags(reference, scores, alpha=0.05):
        return scores > np.quantile(reference, 1 - alpha)

    return flags


@quota.mistake("takes the quantile over reference and batch together")
def _():
    def flags(reference, scores, alpha=0.05):
        return scores > np.quantile(np.concatenate([reference, scores]), 1 - alpha)

    return flags


@quota.mistake("keeps the quota, and asks for a high score besides")
def _():
    def flags(reference, scores, alpha=0.05):
        return scores > max(np.quantile(scores, 1 - alpha), np.quantile(reference, 1 - alpha))

    return flags


@quota.mistake("three sd above the mean of the batch")
def _():
    return lambda reference, scores, alpha=0.05: scores > scores.mean() + 3 * scores.std()


@exercise("16.9")
def one_flag(answer):
    """Every row gets its own verdict."""
    rng = np.random.default_rng(9)
    rebuilt = np.sin(np.arange(400) / 8)[:, None] + np.zeros(3)
    series = rebuilt + 0.1 * rng.normal(size=rebuilt.shape)
    wrong = np.zeros(400, bool)
    wrong[[40, 120, 121, 122, 300]] = True
    series[wrong] += 5
    found = np.asarray(answer(series, rebuilt, 1.0))
    require(found.shape == (400,), f"400 rows went in, and an answer of shape {found.shape} came "
                                   "out.")
    found = found.astype(bool)
    missed, false = np.sum(wrong & ~found), np.sum(found & ~wrong)
    require(not missed and not false,
            f"{missed} of 5 faulty rows are missed, {false} of 395 normal rows are flagged.")
    alone = np.asarray(answer(series[:100], rebuilt[:100], 1.0)).astype(bool)
    require(np.array_equal(alone, found[:100]), "Cut the series, and other rows are flagged.")
    return "The five faulty rows are flagged, and no other."


@one_flag.solution
def _():
    def anomalous_rows(series, rebuilt, threshold):
        error = ((series - rebuilt) ** 2).mean(axis=1)
        return error > threshold

    return anomalous_rows


@one_flag.mistake("repeats the one flag for every row")
def _():
    def anomalous_rows(series, rebuilt, threshold):
        return np.full(len(series), ((series - rebuilt) ** 2).mean() > threshold)

    return anomalous_rows


@one_flag.mistake("a flag for every value, not for every row")
def _():
    return lambda series, rebuilt, threshold: (series - rebuilt) ** 2 > threshold


@one_flag.mistake("a flag for every block of 50 rows")
def _():
    def anomalous_rows(series, rebuilt, threshold):
        error = ((series - rebuilt) ** 2).mean(axis=1).reshape(-1, 50).mean(axis=1)
        return np.repeat(error > threshold / 10, 50)

    return anomalous_rows


def _sine_with_faults():
    """A noisy sine, and one with four stretches that are wrong at their time, never in range."""
    rng = np.random.default_rng(10)
    t = np.arange(1200)
    history, series = np.sin(t * 2 * np.pi / 50) + 0.1 * rng.normal(size=(2, len(t)))
    y = np.zeros(len(t), int)
    for start in (200, 450, 700, 1000):
        y[start : start + 30] = 1
    series[y == 1] = np.sin(t[y == 1] * 2 * np.pi / 9) * 0.8  # another rhythm, the same range
    return history, series, y


@exercise("16.10")
def learned_identity(answer):
    """What a network can copy, it need not understand."""
    from adlib.training import seeded

    history, series, y = _sine_with_faults()
    with seeded(10):
        score = np.asarray(answer(history, series), float)
    require(score.shape == y.shape, f"One score per value: {len(y)} values gave {score.shape}.")
    quality = average_precision(y, score)
    require(quality > 0.5, "A rhythm that was never seen, within the usual range: average "
                           f"precision {quality:.1f}, where chance has {y.mean():.1f}.")
    return f"Average precision {quality:.1f}, where chance has {y.mean():.1f}."


@learned_identity.solution
def _():
    import torch
    from torch import nn

    def reconstruction_score(history, series, window=20):
        def windows(values):
            padded = np.concatenate([np.full(window - 1, values[0]), values])
            rows = np.lib.stride_tricks.sliding_window_view(padded, window)
            return torch.as_tensor(rows.copy(), dtype=torch.float32)

        torch.manual_seed(0)
        train, network = windows(history), nn.Sequential(nn.Linear(window, 2), nn.Linear(2, window))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(200):
            loss = ((network(train) - train) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            rows = windows(series)
            return ((network(rows) - rows) ** 2).mean(dim=1).numpy()

    return reconstruction_score


def _reconstruction(window, hidden, epochs, linear=False):
    import torch
    from torch import nn

    def reconstruction_score(history, series):
        def windows(values):
            padded = np.concatenate([np.full(window - 1, values[0]), values])
            rows = np.lib.stride_tricks.sliding_window_view(padded, window)
            return torch.as_tensor(rows.copy(), dtype=torch.float32)

        torch.manual_seed(0)
        train = windows(history)
        network = nn.Linear(window, window) if linear else nn.Sequential(
            nn.Linear(window, hidden), nn.ReLU(), nn.Linear(hidden, window))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(epochs):
            loss = ((network(train) - train) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            rows = windows(series)
            return ((network(rows) - rows) ** 2).mean(dim=1).numpy()

    return reconstruction_score


@learned_identity.mistake("a narrow layer, but still one value at a time")
def _():
    return _reconstruction(window=1, hidden=2, epochs=200)


@learned_identity.mistake("trains five times as long")
def _():
    return _reconstruction(window=1, hidden=64, epochs=1000)


@exercise("16.11")
def learns_the_burst(answer):
    """What has just been flagged is not yet normal, and what stays is not flagged for ever."""
    rng = np.random.default_rng(11)
    values = rng.normal(size=(6, 900))
    quiet = np.mean([np.mean(np.asarray(answer(v), bool)[100:]) for v in values])
    require(quiet < 0.02, f"{quiet:.1%} of the rows of normal noise are flagged.")
    burst = values.copy()
    burst[:, 400:420] += 8
    found = np.array([np.asarray(answer(v), bool) for v in burst])
    caught = found[:, 400:420].mean()
    require(caught > 0.5, f"Of a burst of 20 rows, eight sd high, {caught:.0%} are flagged.")
    shifted = values.copy()
    shifted[:, 400:] += 8
    changed = np.array([np.asarray(answer(v), bool) for v in shifted])
    later = changed[:, 600:].mean()
    require(later < 0.1, f"200 rows after the level has changed for good, {later:.0%} of the rows "
                         "are still flagged.")
    early = np.asarray(answer(shifted[0, :450]), bool)
    require(np.array_equal(early, changed[0, :450]), "Rows to come change flags that were given.")
    return f"Of a burst of 20 rows {caught:.0%} are flagged, of normal noise {quiet:.1%}."


@learns_the_burst.solution
def _():
    def rolling_flags(values, window=50, cut=4.0):
        flags = np.zeros(len(values), bool)
        for t in range(window, len(values)):
            past = values[t - window : t]
            centre = np.median(past)
            scale = 1.4826 * np.median(np.abs(past - centre))
            flags[t] = abs(values[t] - centre) > cut * max(scale, 1e-9)
        return flags

    return rolling_flags


@learns_the_burst.mistake("a lower cut")
def _():
    def rolling_flags(values, window=50, cut=2.0):
        flags = np.zeros(len(values), bool)
        for t in range(window, len(values)):
            past = values[t - window : t]
            flags[t] = abs(values[t] - past.mean()) > cut * past.std()
        return flags

    return rolling_flags


@learns_the_burst.mistake("never learns what it has flagged, not even a new normal")
def _():
    def rolling_flags(values, window=50, cut=4.0):
        past, flags = list(values[:window]), np.zeros(len(values), bool)
        for t in range(window, len(values)):
            flags[t] = abs(values[t] - np.mean(past)) > cut * np.std(past)
            if not flags[t]:
                past = [*past[1:], values[t]]
        return flags

    return rolling_flags


@learns_the_burst.mistake("compares with the median of the whole series")
def _():
    return lambda values: np.abs(values - np.median(values)) > 4.0


@exercise("16.12")
def raw_severity(answer):
    """A severity means something only when the score behind it does."""
    rng = np.random.default_rng(12)
    reference, normal = rng.gamma(2, size=(2, 20_000))
    unit = {"hPa": 1.0, "Pa": 1e4, "bar": 1e-6}
    given = {name: np.asarray(answer(reference * u, normal * u)) for name, u in unit.items()}
    share = {name: np.mean(levels == "critical") for name, levels in given.items()}
    require(all(np.array_equal(levels, given["hPa"]) for levels in given.values()),
            "Critical normal rows: " + ", ".join(f"{s:.0%} in {n}" for n, s in share.items()) + ".")
    critical, loud = share["hPa"], np.mean(given["hPa"] != "info")
    require(critical < 0.008 and 0.035 < loud < 0.065,
            f"Of normal rows {critical:.1%} are critical (agreed: at most 1 in 200) and "
            f"{loud:.1%} are more than info (agreed: 1 in 20).")
    faults = np.asarray(answer(reference, 30 + rng.gamma(2, size=50)))
    share_found = np.mean(faults == "critical")
    require(share_found == 1, f"Of rows far beyond all that is normal {share_found:.0%} are "
                              "critical.")
    require(np.array_equal(np.asarray(answer(reference, normal[:50])), given["hPa"][:50]),
            "In a smaller batch the same rows get other severities.")
    return f"Of normal rows {critical:.1%} are critical, {loud:.1%} more than info, in any unit."


@raw_severity.solution
def _():
    def severities(reference, errors):
        below = np.searchsorted(np.sort(reference), errors)
        p = (1 + len(reference) - below) / (1 + len(reference))
        return np.where(p < 0.005, "critical", np.where(p < 0.05, "warning", "info"))

    return severities


def _levels(score):
    return np.where(score > 0.9, "critical", np.where(score > 0.7, "warning", "info"))


@raw_severity.mistake("divides by the largest error of the batch")
def _():
    return lambda reference, errors: _levels(errors / errors.max())


@raw_severity.mistake("brings the errors to [0, 1] by the reference's extremes")
def _():
    def severities(reference, errors):
        low, high = reference.min(), reference.max()
        return _levels((errors - low) / (high - low))

    return severities


@raw_severity.mistake("cuts the share of smaller reference errors at 0.9 and 0.7")
def _():
    return lambda reference, errors: _levels(
        np.searchsorted(np.sort(reference), errors) / len(reference))
