"""Audit of published scores: what a figure on them can mean, and what speaks against it."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, partial
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, kstest, norm, poisson, rankdata

from adlib.arguments import column, floats, generator, number, switch, whole
from adlib.base import Detector, anomaly_score
from adlib.deprecation import renamed
from adlib.hindsight import SHARE
from adlib.metrics import average_precision, best_f1, f1, point_adjusted_f1, report, roc_auc, vus_pr
from adlib.metrics.labels import checked_flags, runs
from adlib.periods import usual_period
from adlib.scaling import center_scale, standardise
from adlib.smoothing import gaussian_weights, memory_weights, smooth

from .protocol import look_ahead

__all__ = ["Audit", "Finding", "audit"]

PASSED, FAILED, SKIPPED = "passed", "failed", "not checked"
SEVERITIES = ("error", "warning", "note")
SHOWN = 20  # rows named as evidence
NEAR = 0.95  # share of a value at which something simpler counts as doing the same
SOLVED = 0.9
DENSE = 0.2  # share of anomalous rows above which they are not the exception
WIDE = 0.5  # 95 % interval of a recall: wider than this says little
LUCK = 0.05
RARE = 0.01
TIES = 0.05  # of average precision that may hang on how ties are broken
STUCK = 0.1  # share of the rows that may have one score in a row
REPEATED = 0.1  # share of the rows of a table that may be copies
LEAKED = 0.01  # share of the test windows that may be in the training part
CROSSING = 0.05  # share of the test rows whose window may reach over a border
ROUNDING = 0.005  # of a claimed figure
RISES = (1, 4, 16, 64)  # rows before an event over which a score may rise
EARLY = 0.005  # share of causal scores, for each of these, that rise before events as surely
CLAIMS = ("average_precision", "roc_auc", "f1", "point_adjusted_f1")
Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Result(NamedTuple):
    """What a `Finding` holds beside the name of its check and its severity."""

    status: str
    value: float
    reference: float
    sentence: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    check : str
        Its name.
    status : {"passed", "failed", "not checked"}
    value, reference : float
        What was found, and what it is held against; nan where there is none.
    sentence : str
        What follows, in words.
    severity : {"error", "warning", "note", ""}
        Of a failed check: an error speaks against the figure, a warning may (look at the
        evidence), a note says what data like these can show at most, whatever the detector.
    evidence : mapping of str to object
        Rows and numbers to look at; of long lists of rows the first 20.
    """

    check: str
    status: str
    value: float
    reference: float
    sentence: str
    severity: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Audit:
    """Findings of `audit`.

    Attributes
    ----------
    findings : tuple of Finding
        Errors first, then warnings and notes, what passed, and what was not checked.
    """

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the figure: no error and no warning.

        Notes limit what any figure on these data can mean; checks that were not made do not count.
        """
        return not self.of("error", "warning")

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed, notes among them."""
        return self.of(*SEVERITIES)

    def of(self, *severities: str) -> tuple[str, ...]:
        """Names of the failed checks of these severities."""
        return tuple(f.check for f in self.findings if f.severity in severities)

    def __getitem__(self, check: str) -> Finding:
        return {finding.check: finding for finding in self.findings}[check]

    def table(self) -> pd.DataFrame:
        """One line per check: ``check, status, severity, value, reference, sentence``."""
        columns = ["check", "status", "severity", "value", "reference", "sentence"]
        return pd.DataFrame([{name: getattr(f, name) for name in columns} for f in self.findings],
                            columns=columns)

    def __str__(self) -> str:
        n = {s: sum(f.status == s for f in self.findings) for s in (FAILED, PASSED, SKIPPED)}
        head = ", ".join(f"{count} {status}" for status, count in n.items())
        body = [f"{f.severity or f.status:>11}  {f.check}: {f.sentence}" for f in self.findings]
        return "\n".join([f"audit: {head}", *body])


@renamed(n_bootstrap="intervals")
def audit(scores: ArrayLike, labels: ArrayLike, *, train_end: int = 0, X: ArrayLike | None = None,
          threshold: float | None = None, predictions: ArrayLike | None = None,
          claimed: Mapping[str, float] | None = None, window: int | None = None,
          session: ArrayLike | None = None, series: bool = True, by: str | None = None,
          model: Any = None, refit: bool = False, supervised: bool = False,
          delay: int | str | None = None, n_random: int = 99, intervals: bool = True,
          random_state: Any = 0) -> Audit:
    """Check what a figure computed from these scores and labels can mean.

    For scores from any tool, a paper's released ones for instance. Nothing is refitted, so a
    passed check is no proof of a sound experiment; a failed one says where to look.

    Parameters
    ----------
    scores : array_like of shape (n_samples,) or (n_samples - train_end,)
        Higher = more anomalous; of all rows or of the test rows alone.
    labels : array_like of shape (n_samples,)
        1 = anomaly, 0 = normal, in the order of the rows.
    train_end : int
        Rows before it were for training, the rest are the test; 0: all rows are the test.
    X : array_like of shape (n_samples, n_features), optional
        The data, for triviality, leakage and repeated rows.
    threshold : float, optional
        Rows with ``score > threshold`` are flagged.
    predictions : array_like of shape (n_samples,) or (n_samples - train_end,), optional
        1 = flagged, instead of a threshold.
    claimed : mapping of str to float, optional
        Published figures: "f1", "point_adjusted_f1", "average_precision", "roc_auc".
    window : int, optional
        Rows that one score looks back on, the judged one included.
    session : array_like of shape (n_samples,), optional
        Number of the recording of each row: no window or event should reach over a change.
    series : bool
        False for a table whose rows have no order: average precision leads instead of VUS-PR,
        and checks of events and positions are left out.
    by : {"rows", "events"}, optional
        What the scores were made for: to mark every anomalous row, or to alarm once in each event.
        Scores of the second sort (NAB's) peak at the start of an event and rest. By default those
        of a series are held to both, and what speaks against them has to do so in both.
    model : fitted estimator, optional
        What gave the scores, anything that `adlib.anomaly_score` serves: it then scores beginnings
        of ``X``, which shows exactly how many rows it looks ahead.
    refit : bool
        Fit copies of ``model`` (two, or three more if it is supervised), which shows whether the
        test rows were in its training.
    supervised : bool
        The scores are said to come from a model that learns from labels.
    delay : None, int or "hindsight"
        Look-ahead that the scores had, as in `compare`: one-liners get the same.
    n_random : int
        Moved (series, 99 at least) or shuffled (table) scores to compare with.
    intervals : bool
        False leaves the interval of the headline out.
    random_state : int, numpy.random.Generator or None

    Returns
    -------
    Audit

    Raises
    ------
    ValueError
        If ``model`` is given without ``X``, lengths disagree, labels or predictions are not 0/1,
        the test rows hold one class only, or a claimed figure is unknown or outside [0, 1].

    Notes
    -----
    Wrong alarms, measured on 300 sound series and 300 sound tables of generated rows (1,000 rows
    of test, 8 events or 80 rows, score far above chance, threshold from held-out normal rows):
    "threshold" failed in 1 % of each, "alarms" on one series, no other check at all. A series with
    one event somewhere fails "position" in 2.5 % of draws. With few events "chance level" misses a
    modest skill.

    Scores of a series are moved in time to see what they get by chance: VUS-PR of all rows whole,
    event-wise average precision (each event one row of its highest score, beside the normal rows)
    also with blocks as long as the longest event in another order, by which two alarms do not keep
    their distance. Of scores that know nothing (white, autocorrelated by .9 and .99, their size,
    a random walk, bursts, a drift; 1 to 8 events of 12 to 130 rows; 28 sets of 150 series) 1 to
    7 %, 3.5 % on average, reach p <= .05. Of the 25 streams of NAB with an event, judged without
    their first 15 %, `by="events"` finds neither error nor warning for a detector that alarms at
    the first row of each event and nowhere else; a constant score fails "chance level", "ties",
    "stuck scores" and "alarms" on all; of NAB's leaders 3 to 6 of 25 fail "chance level" each. In
    line (``session``), where 57 events speak together, they have .53 to .59 of event-wise average
    precision beside .02 by chance, and find 45 to 48 events where as many alarms find 10 to 12.
    Where an alarm in each event and nowhere else could not be distinguished from chance, nothing
    can be shown, and the check counts as not made.

    The best one-liner is chosen by the labels, so among many features one can look good by luck
    where anomalies are few. A careful cheat passes: a threshold moved a little off the optimum
    is not seen, nor is a leak of rows that were altered or cut differently.

    "look-ahead" is exact with ``model``: a score of a row that changes when later rows are left out
    has looked at them (differences of a millionth count as rounding). Of scores alone it gives a
    hint and no verdict: ``value`` above ``reference`` says that scores rise in the rows before
    events more than causal scores do. On 48 generated series with some ten events of four kinds
    each, that was so for 0.4 % of causal scores (eleven detectors and the squared first difference,
    each as it is and smoothed over 5, 25 and 62 rows; 1.6 % of the unsmoothed), for 92 % of the
    same detectors in hindsight and for 99 % with a delay of 10 rows; of the causal scores of six
    more detectors on 28 series, none. On nine public series with three events or more, whose labels
    people drew: for 2 of 54 causal scores, and for half of those in hindsight.

    "test rows learned" and "labels unused" need ``refit=True``. Over 108 honest fits of nine kinds
    of detector on the sound series and tables none failed the first; of 84 fits to all rows by
    seven of these kinds 78 were found, the rest counted as not checked. An isolation forest without
    a random state scatters more than the test rows change it, and a detector that keeps nothing of
    its training has nothing to give away: these two were never found. None of 45 classifiers that
    learn from labels failed the second, 42 of 45 that do not did (the three were forests without a
    random state).

    References
    ----------
    Wu, R. and Keogh, E. J. (2023). Current time series anomaly detection benchmarks are flawed and
    are creating the illusion of progress. IEEE TKDE 35(3).
    Kim, S., Choi, K., Choi, H.-S., Lee, B. and Yoon, S. (2022). Towards a rigorous evaluation of
    time-series anomaly detection. AAAI.

    Examples
    --------
    >>> y = np.isin(np.arange(400) // 10, (8, 17, 21, 27, 30, 34, 38))
    >>> chance = np.random.default_rng(1).random(400)
    >>> audit(chance, y).failed
    ('chance level',)
    >>> audit(y + chance, y).ok
    True
    """
    case = Case(scores, labels, train_end, X, session, series)
    case.look(model, delay, X, switch(refit, "refit"), switch(supervised, "supervised"))
    case.judge(threshold, predictions, claimed, window)
    case.measure(_aims(by, series), whole(n_random, "n_random", 19), switch(intervals, "intervals"),
                 generator(random_state))
    results = {}
    for name, (_, check, *needs) in CHECKS.items():
        lacking = [why for there, why in map(NEEDS.__getitem__, needs) if not there(case)]
        results[name] = unchecked("; ".join(lacking)) if lacking else check(case)
    return as_audit(results, {name: severity for name, (severity, *_) in CHECKS.items()})


def as_audit(results: Mapping[str, Result], severities: Mapping[str, str]) -> Audit:
    """Results by check as findings, the gravest first."""
    found = [Finding(name, *result[:4], severities[name] if result.status == FAILED else "",
                     result.evidence) for name, result in results.items()]
    order = (*SEVERITIES, PASSED, SKIPPED)
    return Audit(tuple(sorted(found, key=lambda f: order.index(f.severity or f.status))))


def _aims(by: str | None, series: bool) -> tuple[str, ...]:
    if not (by is None or isinstance(by, str) and by in ("rows", "events")[: 1 + series]):
        raise ValueError(f"by must be None, 'rows' or, of a series, 'events', got {by!r}")
    return (by,) if by else ("rows", "events") if series else ("rows",)


class Trade(NamedTuple):
    """How scores do at one of the things they can be made for."""

    name: str  # of its metric
    measure: Callable[[Flags, Scores], float]
    reduced: Callable[[Flags, Scores], tuple[Flags, Scores]]  # what counts as a row
    value: float
    chance: float  # what the same scores get where they know nothing
    p: float


def _share(random: Scores, value: float) -> float:
    """p-value: scores that know nothing and do as well."""
    return float(1 + (random >= value).sum()) / (1 + random.size)


def _by_event(t: Flags, s: Scores) -> tuple[Flags, Scores]:
    """Each event as one row of its highest score, behind the normal rows."""
    highest = np.maximum.reduceat(np.where(t, s, -np.inf), runs(t)[0])
    return np.arange(s.size - t.sum() + highest.size) >= s.size - t.sum(), np.append(s[~t], highest)


def _by_row(t: Flags, s: Scores) -> tuple[Flags, Scores]:
    return t, s


def _event_precision(t: Flags, s: Scores) -> float:
    return average_precision(*_by_event(t, s))


def _events_found(t: Flags, s: Scores) -> float:
    return float(np.maximum.reduceat(np.where(t, s, 0), runs(t)[0]).sum())


class Case:
    """The arguments, checked once and cut into training and test."""

    def __init__(self, scores: ArrayLike, labels: ArrayLike, train_end: int, X: ArrayLike | None,
                 session: ArrayLike | None, series: bool):
        y = checked_flags(labels, "labels")
        n, start = y.size, whole(train_end, "train_end", 0)
        self.y_train, self.y, self.start, self.series = y[:start], y[start:], start, series
        if not self.y.any() or self.y.all():
            what = "no anomaly" if not self.y.any() else "nothing but anomalies"
            raise ValueError(f"labels: the {n - start} test rows hold {what}: nothing to audit")
        scores = floats(scores, "scores")
        self.score = _test_part("scores", scores, n, start)
        self.train_score = scores[:start] if len(scores) == n else scores[:0]
        self.known = ~np.isnan(self.score)
        self.s, self.t = self.score[self.known], self.y[self.known]  # what can be judged
        if not self.t.any() or self.t.all():
            raise ValueError("scores are NaN on all anomalous or all normal test rows")
        # what was not given is None; a check says what it needs and is not called without
        self.X: Any = None if X is None else _clipped(X, n)
        self.session: Any = None if session is None else column(session, "session", n)
        self.events = runs(self.y)

    def judge(self, threshold: float | None, predictions: ArrayLike | None,
              claimed: Mapping[str, float] | None, window: int | None) -> None:
        """Add what was decided, claimed and looked back on."""
        self.threshold = threshold
        self.flags: Any = None
        if threshold is not None:
            number(threshold, "threshold", most=np.inf)
            self.flags = self.s > threshold
        if predictions is not None:
            if threshold is not None:
                raise ValueError("give threshold or predictions, not both")
            flags = checked_flags(predictions, "predictions")
            n = self.start + self.y.size
            self.flags = _test_part("predictions", flags, n, self.start)[self.known]
        self.claimed = _checked_claims(claimed)
        self.window: Any = None if window is None else whole(window, "window", 1)

    def look(self, model: Any, delay: int | str | None, X: Any, refit: bool,
             supervised: bool) -> None:
        """Add the model, the rows as it takes them, and the look-ahead that is stated."""
        if model is not None and X is None:
            raise ValueError("model needs X: its scores of beginnings of X are compared")
        look_ahead(delay)
        self.model, self.delay = model, delay
        self.refit, self.supervised = refit and model is not None, supervised
        self.rows: Any = X if hasattr(X, "iloc") else self.X

    def measure(self, aims: tuple[str, ...], n_random: int, intervals: bool,
                rng: np.random.Generator) -> None:
        """Add what the scores get, and what the same scores get where they know nothing."""
        self.n_random, self.rng, self.seed = n_random, rng, rng.integers(2**32)
        length = self.events[1] - self.events[0]
        self.block, width = int(length.max()), min(100, int(np.median(length)))
        self.lines = report(self.t, self.s, series=self.series, window=width, n_random=n_random,
                            intervals=intervals, random_state=rng)
        line = self.lines.iloc[0]  # the headline comes first
        self.trades: dict[str, Trade] = {}
        if "rows" in aims:
            rows: Any = partial(vus_pr, window=width) if self.series else average_precision
            self.trades["rows"] = Trade("VUS-PR" if self.series else "average precision", rows,
                                        _by_row, line.value, line.random, line.p_chance)
        if "events" in aims:
            value, random = _event_precision(self.t, self.s), self.moved(_event_precision, self.s)
            self.trades["events"] = Trade(
                "event-wise average precision", _event_precision, _by_event, value,
                float(random.mean()), _share(random, value))
        self.best = min(self.trades.values(), key=lambda trade: trade.p)
        self.p = min(1.0, self.best.p * len(self.trades))

    def moved(self, measure: Callable[..., float], score: Any) -> Scores:
        """A measure of scores that are moved in time, whole and then in parts.

        Whole they keep all that ties one row to the next, but alarms keep their distances: two
        of them find two long events in most shifts that find one. So blocks as long as the
        longest event change places too.
        """
        found, parts = [], max(1, score.size // self.block)
        rng = np.random.default_rng(self.seed)  # the same moves for all
        for _ in range(max(99, self.n_random)):
            blocks = np.array_split(np.roll(score, rng.integers(score.size)), parts)
            order = rng.permutation(parts)
            found.append(measure(self.t, np.concatenate([blocks[k] for k in order])))
        return np.array(found)

    @cached_property
    def least_p(self) -> float:
        """What one alarm in each event and nowhere else could be distinguished from chance with."""
        once = np.zeros(self.t.size)
        once[runs(self.t)[0]] = 1
        return _share(self.moved(_event_precision, once), 1.0)

    def where(self, flagged: Any) -> list[int]:
        """The first of the judged rows that are flagged, counted as the labels are."""
        return [int(row) for row in self.start + np.flatnonzero(self.known)[flagged][:SHOWN]]

    def borders(self) -> list[int]:
        """Rows with which the test or another recording begins."""
        begin: Any = [] if self.session is None else runs(np.ones(self.session.size, bool),
                                                     self.session)[0]
        return sorted({*map(int, begin), self.start} - {0})


def _clipped(X: ArrayLike, n: int) -> NDArray[np.float64]:
    X = floats(X, "X")
    if X.ndim not in (1, 2) or len(X) != n or not X.size:
        raise ValueError(f"X has shape {X.shape}, labels has {n} rows")
    return np.clip(X.reshape(n, -1), -1e150, 1e150)  # NaN stays


def _checked_claims(claimed: Mapping[str, float] | None) -> dict[str, float]:
    if claimed is not None and not isinstance(claimed, Mapping):
        raise ValueError(f"claimed must map {CLAIMS} to figures in [0, 1], got {claimed!r}")
    found = dict({} if claimed is None else claimed)
    if odd := {k: v for k, v in found.items()
               if k not in CLAIMS or isinstance(v, str) or not 0 <= v <= 1}:
        raise ValueError(f"claimed must map {CLAIMS} to figures in [0, 1], got {odd}")
    return found


def _test_part(name: str, values: NDArray, n: int, start: int) -> NDArray:
    if values.ndim != 1 or len(values) not in (n, n - start):
        raise ValueError(f"{name} must have one value for each of the {n} rows or of the "
                         f"{n - start} test rows, got shape {values.shape}")
    return values[len(values) - (n - start):]


def outcome(failed: Any, value: Any, reference: Any, sentence: str, /, **evidence: Any) -> Result:
    return Result(FAILED if failed else PASSED, float(value), float(reference), sentence, evidence)


def unchecked(sentence: str, reference: Any = np.nan, **evidence: Any) -> Result:
    return Result(SKIPPED, np.nan, float(reference), sentence, evidence)


def missing_scores(case: Case) -> Result:
    rows = case.start + np.flatnonzero(~case.known)
    n = rows.size
    return outcome(n, n, 0, (
        f"{n} of {case.score.size} test rows have no score (NaN)"
        + "; the other checks leave them out, and whoever leaves out hard rows gains" * (n > 0)),
        rows=rows[:SHOWN].tolist(), anomalous=int(case.y[~case.known].sum()))


def ties(case: Case) -> Result:
    spans = {}
    for trade in case.trades.values():
        t, s = trade.reduced(case.t, case.s)
        order = np.unique(s, return_inverse=True)[1]
        low, high = (average_precision(t, 2 * order + sign * t) for sign in (-1, 1))
        spans[high - low] = low, high, "event-wise " * (trade.reduced is _by_event)
    width = min(spans)
    low, high, wise = spans[width]
    values, count = np.unique(case.s, return_counts=True)
    return outcome(width > TIES, width, TIES, (
        f"the scores have {values.size} different values on {case.s.size} rows; {wise}average "
        f"precision lies between {low:.2f} and {high:.2f}, however ties are broken, and a figure "
        f"can hide its luck in more than {TIES}"),
        commonest=float(values[count.argmax()]), rows_with_it=int(count.max()))


def stuck_scores(case: Case) -> Result:
    starts, stops = runs(np.ones(case.s.size, dtype=bool), case.s)
    length = stops - starts
    lowest = case.s == case.s.min()
    if "events" in case.trades and 0.5 < lowest.mean() < 1:  # what alarms and rests is not stuck
        length[lowest[starts]] = 0
    longest, limit = int(length.max()), max(STUCK * case.s.size, 10)
    at = int(length.argmax())
    return outcome(longest > limit, longest, limit, (
        f"the longest stretch of one and the same score is {longest} of {case.s.size} rows; above "
        f"{STUCK:.0%} a detector has stopped looking, or its scores were filled in"),
        first_row=case.where([starts[at]]), score=float(case.s[starts[at]]))


def chance_level(case: Case) -> Result:
    lines = case.lines.set_index("metric")
    line, auc = lines.iloc[0], lines.value["roc_auc"]  # the headline comes first
    how = "moved in time" if case.series else "shuffled"
    span = "" if np.isnan(line.low) else f"95 % interval {line.low:.3f} to {line.high:.3f}; "
    said = " and ".join(f"{trade.name} is {trade.value:.3f}, of the same scores {how} "
                        f"{trade.chance:.3f}" for trade in case.trades.values())
    trades = {f"{trade.name}{what}": value for trade in case.trades.values() for what, value in (
        ("", trade.value), (" of moved scores", trade.chance), (" p", trade.p))}
    hopeless = (_hopeless(case, case.trades["events"].p, len(case.trades))
                if "events" in case.trades else "")
    said = (f"{said} ({span}ROC-AUC {auc:.3f}), reached with p = {case.p:.2g}; above {LUCK} it may "
            f"be chance{hopeless}")
    found = outcome(case.p > LUCK, case.best.value, case.best.chance, said, **trades)
    return found._replace(status=SKIPPED) if hopeless else found


def _hopeless(case: Case, p: float, times: int) -> str:
    """Why nothing could be distinguished from chance by these events, or nothing where it could."""
    if p * times <= LUCK or case.least_p * times <= LUCK or p > 2 * case.least_p:
        return ""
    return (f": events so few and long that one alarm in each and nowhere else has p = "
            f"{case.least_p:.2g} show nothing")


def alarms(case: Case) -> Result:
    found, random = _events_found(case.t, case.flags), case.moved(_events_found, case.flags)
    p, n = _share(random, found), case.events[0].size
    hopeless = _hopeless(case, p, 1)
    result = outcome(p > LUCK, found, random.mean(), (
        f"at the given cut {found:.0f} of {n} events are found by {runs(case.flags)[0].size} "
        f"alarms; as many alarms at other times find {random.mean():.1f}, and as many events with "
        f"p = {p:.2g}; above {LUCK} it may be chance{hopeless}"),
        first_rows_of_alarms=case.where(runs(case.flags)[0]), p=p)
    return result._replace(status=SKIPPED) if hopeless else result


def sign(case: Case) -> Result:
    """ROC-AUC against all shifts in time, or shuffles: which is too low by luck seldom."""
    rank, n, k = rankdata(case.s), case.s.size, int(case.t.sum())
    if case.series:
        sums = np.fft.irfft(np.fft.rfft(rank) * np.conj(np.fft.rfft(case.t)), n)
        p = (sums <= sums[0] + 1e-6 * n).mean()
    else:
        p = norm.cdf((rank[case.t].sum() - k * rank.mean()) / (
            rank.std(ddof=1) * (k * (n - k) / n) ** 0.5 + 1e-300))
    auc = roc_auc(case.t, case.s)
    turned = case.best.measure(case.t, -case.s)
    return outcome(p <= RARE and case.p > LUCK, auc, 0.5, (
        f"ROC-AUC is {auc:.3f}, and as low with p = {p:.2g} where scores know nothing; with the "
        f"sign turned {case.best.name} is {turned:.3f} instead of {case.best.value:.3f}; higher "
        "has to mean more anomalous"), p=float(p), turned=turned)


def _one_liners(case: Case) -> dict[str, Scores]:
    """Scores anybody could write down, of the test rows, by what they are."""
    start = case.start
    known = np.isfinite(case.X)
    mean = np.where(known, case.X, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    X = np.where(known, case.X, mean)
    z = standardise(X, *center_scale(X[:start] if start > 1 else X))
    step = np.abs(np.diff(z, axis=0, prepend=z[:1]))
    found = {"the largest |z| of all features": np.abs(z).max(axis=1)}
    if case.series:
        found["the largest step of all features"] = step.max(axis=1)
        period = usual_period(X[:start] if start > 1 else X)
        for name, squares in (("z", z), ("steps", step)):
            found[f"the mean of squared {name}, smoothed"] = _smoothed(
                (squares**2).mean(axis=1), period, case.delay)
    for i in range(X.shape[1]):
        found |= {f"feature {i}": z[:, i], f"feature {i} with its sign turned": -z[:, i],
                  f"the distance of feature {i} from its mean": np.abs(z[:, i])}
        if case.series:
            found[f"the step of feature {i}"] = step[:, i]
    return {name: score[start:][case.known] for name, score in found.items()}


def _smoothed(score: Scores, period: int, delay: Any) -> Scores:
    """A moving mean, with the look-ahead that the scores beside it had."""
    if delay is None:
        return smooth(score, memory_weights(period / 2))
    return smooth(score, *gaussian_weights(SHARE * period, None if delay == "hindsight" else delay))


def triviality(case: Case) -> Result:
    found = _one_liners(case)
    results = []
    for trade in case.trades.values():
        quick = {name: average_precision(*trade.reduced(case.t, s)) for name, s in found.items()}
        # the five of highest average precision: VUS costs more than a sort
        kept = {name: trade.measure(case.t, found[name])
                for name in sorted(quick, key=lambda name: -quick[name])[:5]}
        name, value = max(kept.items(), key=lambda item: item[1])
        chance = trade.chance
        does = value > chance and value - chance >= NEAR * (trade.value - chance)
        results.append((does, name, value, trade, kept))
    # what scores were made for they may do better than a one-liner, and the rest as well as it
    does, name, value, trade, kept = next((r for r in results if not r[0]), results[0])
    solved = " and so solves the set" if value >= SOLVED else ""
    return outcome(does, value, trade.value, (
        f"the best of {len(found)} one-liners, {name}, gets {trade.name} {value:.3f}{solved}, "
        f"beside {trade.value:.3f} of these scores and {trade.chance:.3f} of chance; from "
        f"{NEAR:.0%} of what they have above chance on the figure is no sign of skill (Wu and "
        "Keogh 2023)"), **kept)


def density(case: Case) -> Result:
    share = case.y.mean()
    return outcome(share > DENSE, share, DENSE, (
        f"{share:.1%} of the test rows are anomalous; above {DENSE:.0%} they are a class of their "
        f"own and no exception, and flagging everything gets F1 {2 * share / (1 + share):.2f} (Wu "
        "and Keogh 2023)"), anomalous_rows=int(case.y.sum()), rows=case.y.size)


def position(case: Case) -> Result:
    starts, stops = case.events
    n, row = case.y.size, np.arange(case.y.size, dtype=float)[case.known]
    p = kstest(starts / np.maximum(n - (stops - starts), 1), "uniform").pvalue
    best = case.best
    up, down = (best.measure(case.t, sign * row) for sign in (1, -1))
    value, which = max((up, "the row number"), (down, "the row number counted backwards"))
    does_as_well = case.p <= LUCK and value >= NEAR * best.value
    return outcome(p < RARE or does_as_well, value, best.value, (
        f"{which} as a score gets {best.name} {value:.3f} beside {best.value:.3f}, and event "
        f"positions as uneven as these come with p = {p:.2g}; where anomalies gather at one end "
        "a score that drifts finds them (Wu and Keogh 2023)"),
        events=_spans(case), p=float(p))


def _spans(case: Case) -> list[tuple[int, int]]:
    """First row of each event, and the row after its last."""
    return [(int(a + case.start), int(b + case.start)) for a, b in zip(*case.events, strict=True)]


def number_of_anomalies(case: Case) -> Result:
    k = case.events[0].size if case.series else int(case.y.sum())
    what = "events" if case.series else "anomalous rows"
    lowest = beta.ppf(0.025, k, 1)  # Clopper and Pearson, all k found
    return outcome(1 - lowest > WIDE, k, np.ceil(np.log(0.025) / np.log(1 - WIDE)), (
        f"number of {what} in the test: {k}; a detector that finds all has shown a recall of at "
        f"least {lowest:.2f} (95 %), and an interval wider than {WIDE} ranks nobody"),
        **({"events": _spans(case)} if case.series else {}))


def chosen_threshold(case: Case) -> Result:
    best, got = best_f1(case.t, case.s), f1(case.t, case.flags)
    false = int((case.flags & ~case.t).sum())
    at_best = got >= best - 1e-12
    why = _exact_cut(case, at_best, best) or _lucky_cut(case, at_best, false)
    said = f"it is {why}, so it was chosen with the labels" if why else (
        f"with {false} false alarms luck can do that" if at_best else
        "no sign that it was chosen with the labels")
    return outcome(why, got, best, (
        f"F1 at the given cut is {got:.3f}, at the best that knows the test labels {best:.3f}; "
        + said), false_alarms=false, false_alarms_at=case.where(case.flags & ~case.t))


def _exact_cut(case: Case, at_best: bool, best: float) -> str:
    """What only a cut that knows the test labels hits to the last digit, or nothing."""
    if case.threshold is None or best == 1 or 2 * np.unique(case.s).size <= case.s.size:
        return ""
    exact = partial(np.isclose, case.threshold, rtol=1e-9, atol=0)
    if exact(np.quantile(case.s, 1 - case.t.mean())):
        return "the quantile of the test scores at exactly the share of anomalies"
    if at_best and exact(case.s).any() and not exact(case.train_score).any():
        return "itself a test score, and the best of all"
    return ""


def _lucky_cut(case: Case, at_best: bool, false: int) -> str:
    """What a cut that knows no test label rarely is: its false alarms are about Poisson."""
    luck = poisson.pmf(false, false) / 2 if false else 1.0
    n, k = int(case.flags.sum()), int(case.t.sum())
    if at_best and luck <= LUCK:
        return f"the best among {false} false alarms, which luck gives with p = {luck:.2f} at most"
    if n == k and 2 * luck <= LUCK:
        return f"such that exactly as many rows are flagged as there are anomalies ({k})"
    return ""


def _point_adjusted(t: NDArray[np.bool_], s: Scores) -> float:
    """Best point-adjusted F1: each event's rows take its highest score."""
    starts, stops = runs(t)
    adjusted = s.copy()
    adjusted[t] = np.repeat(np.maximum.reduceat(np.where(t, s, -np.inf), starts), stops - starts)
    return best_f1(t, adjusted)


def point_adjustment(case: Case) -> Result:
    random = np.mean([_point_adjusted(case.t, case.rng.random(case.t.size)) for _ in range(20)])
    plain = best_f1(case.t, case.s)
    said = f"a random score gets a point-adjusted F1 of {random:.2f}"
    why = "point adjustment credits a whole event for one lucky row (Kim et al. 2022)"
    if (claim := case.claimed.get("f1", 0)) > plain + ROUNDING:
        return outcome(True, claim, plain, (
            f"the claimed F1 {claim:.3f} is above {plain:.3f}, the best at any threshold; adjusted "
            f"it is up to {_point_adjusted(case.t, case.s):.3f}, and {said}: {why}"))
    adjusted = case.claimed.get("point_adjusted_f1")
    if adjusted is None:
        return unchecked(f"{said} here: hold any adjusted figure against it; {why}", random)
    return outcome(random >= NEAR * adjusted, adjusted, random, (
        f"the claimed point-adjusted F1 is {adjusted:.3f}, without adjustment the best is "
        f"{plain:.3f}, and {said} on these labels; {why}"))


def claims(case: Case) -> Result:
    got = {"average_precision": average_precision(case.t, case.s),
           "roc_auc": roc_auc(case.t, case.s)}
    if case.flags is not None:
        got |= {"f1": f1(case.t, case.flags),
                "point_adjusted_f1": point_adjusted_f1(case.t, case.flags)}
    off = {name: abs(v - got[name]) for name, v in case.claimed.items() if name in got}
    if not off:
        return unchecked("give claimed figures, for F1 with threshold or predictions")
    said = ", ".join(f"{name} {case.claimed[name]:.3f} is {got[name]:.3f}" for name in off)
    return outcome(max(off.values()) > ROUNDING, max(off.values()), ROUNDING, (
        f"recomputed from these scores, the claimed {said}; a difference above {ROUNDING} is more "
        "than rounding"), claimed=case.claimed, recomputed=got)


def _codes(X: NDArray[np.float64]) -> NDArray[np.int64]:
    """A number for each row, equal where all columns are."""
    rows = np.ascontiguousarray(X + 0.0)  # -0.0 and 0.0 are equal
    return np.unique(rows.view(f"V{rows.strides[0]}").ravel(), return_inverse=True)[1]


def leakage(case: Case) -> Result:
    length, half = case.window if case.series else 1, case.start // 2
    if min(half, case.y.size) < length:
        return unchecked(f"the parts are too short for windows of {length} rows")
    code = _codes(case.X)
    mark = case.rng.integers(2**63, size=code.max() + 1, dtype=np.uint64)[code]
    windows = np.zeros(code.size - length + 1, dtype=np.uint64)  # hashes of the rows in them
    for k in range(length):
        windows = windows * np.uint64(0x9E3779B97F4A7C15) + mark[k : k + windows.size]
    train, test = windows[: case.start - length + 1], windows[case.start :]
    first = case.start + np.arange(test.size)
    if length > 1:  # a channel that stands still repeats without any leak
        changes = np.append(0, np.cumsum(code[1:] != code[:-1]))
        test = test[moving := (changes[length - 1 :] > changes[: windows.size])[case.start :]]
        first = first[moving]
    known = np.isin(test, train)
    seen = known.sum() / max(test.size, 1)
    usual = np.isin(train[half:], train[: max(1, half - length + 1)]).mean()
    limit = max(LEAKED, 4 * usual)  # 2 because only half as many were there to be met, and a margin
    what = f"windows of {length} rows" if length > 1 else "rows"
    return outcome(seen > limit, seen, limit, (
        f"{seen:.1%} of the test {what} lie in the training part, value for value (of its second "
        f"half {usual:.1%} lie in its first); a detector that remembers them is not tested"),
        first_rows=first[known][:SHOWN].tolist())


def straddling_windows(case: Case) -> Result:
    borders = case.borders()
    row = np.arange(case.start, case.start + case.y.size)
    last = np.append(-np.inf, borders)[np.searchsorted(borders, row, side="right")]
    over = row - last < case.window - 1
    share = over.mean()
    return outcome(share > CROSSING, share, CROSSING, (
        f"{share:.1%} of the test rows have a window of {case.window} rows that reaches back over "
        "the split or into another recording; leave them out where training has seen their rows "
        "or where the jump between recordings is itself an anomaly"),
        rows=row[over][:SHOWN].tolist())


def repeated_rows(case: Case) -> Result:
    _, group, size = np.unique(_codes(case.X[case.start :]), return_inverse=True,
                               return_counts=True)
    copies = 1 - size.size / group.size
    hits = np.bincount(group, case.y)
    torn = int(size[(hits > 0) & (hits < size)].sum())
    return outcome(copies > REPEATED or torn, copies, REPEATED, (
        f"{copies:.1%} of the test rows repeat another one and {torn} equal rows have both labels; "
        "each copy counts as evidence of its own, which it is not"),
        rows=(case.start + np.flatnonzero(size[group] > 1))[:SHOWN].tolist())


def cut_events(case: Case) -> Result:
    borders, y = case.borders(), np.concatenate((case.y_train, case.y))
    cut = [b for b in borders if y[b - 1] and y[b]]
    where = f" (first: row {cut[0]}): part of one was training, or two count as one" if cut else ""
    return outcome(cut, len(cut), 0, (
        f"{len(cut)} of {len(borders)} borders between parts or recordings run through an event"
        + where), rows=cut[:SHOWN])


def training_labels(case: Case) -> Result:
    n = int(case.y_train.sum())
    return outcome(n, n / case.start, 0, (
        f"{n} of {case.start} training rows are labelled anomalous; above 0 nobody can claim to "
        "have trained on normal data"), rows=np.flatnonzero(case.y_train)[:SHOWN].tolist())


def _rows_ahead(case: Case, cuts: Iterable[int]) -> dict[int, int]:
    """How far the first score that changes without the rows from a cut on looks ahead, by cut."""
    rows, found = case.rows, {}
    score = np.asarray(anomaly_score(case.model, rows), dtype=np.float64)
    for cut in cuts:
        fewer = rows.iloc[:cut] if hasattr(rows, "iloc") else rows[:cut]
        same = np.isclose(anomaly_score(case.model, fewer), score[:cut], rtol=1e-6, atol=1e-9,
                          equal_nan=True)
        found[cut] = 0 if same.all() else cut - int(np.argmin(same))
    return found


def _allowed(case: Case) -> Any:
    return np.inf if case.delay == "hindsight" else case.delay or 0


def stated_look_ahead(case: Case) -> Result:
    if case.model is None:
        return _early_scores(case)
    n, allowed = len(case.rows), _allowed(case)
    by_cut = _rows_ahead(case, {n * k // 6 for k in range(1, 6)} - {0})
    found = max(by_cut.values(), default=0)
    return outcome(found > allowed, found, allowed, (
        f"scores of rows change when later rows are left out, up to {found} rows before the cut, "
        f"where {look_ahead(case.delay)} is stated" if found else
        "leaving later rows out changes no score"), rows_ahead_by_cut=by_cut)


def _early_scores(case: Case) -> Result:
    """Whether scores rise before events, where causal ones cannot know of them."""
    starts, limit = runs(case.t)[0], norm.isf(EARLY)
    surely = 0.0
    for rows in RISES:
        rise = case.s[rows:] - case.s[:-rows]
        calm = ~np.convolve(case.t, np.ones(rows + 1), "valid").astype(bool)
        before = starts[starts > rows] - rows - 1  # that end in the last row before an event
        before = before[calm[before]]
        if len(before) > 2:
            sizes = np.sort(np.abs(rise[calm]))
            share = (np.searchsorted(sizes, np.abs(rise[before]), "left")
                     + np.searchsorted(sizes, np.abs(rise[before]), "right")) / (2 * len(sizes))
            surely = max(surely, (np.sign(rise[before]) * share).mean() * (3 * len(before)) ** 0.5)
    said = (f"a hint that they look ahead: over the rows before {len(starts)} events scores rise "
            f"by {surely:.1f} standard deviations, causal ones seldom by {limit:.1f}"
            if surely > limit else "no hint of it in scores that rise before events")
    return unchecked(f"give model and X to test it; {said}", limit)._replace(value=float(surely))


def batch_dependence(case: Case) -> Result:
    middle, allowed = len(case.rows) // 2, _allowed(case)
    changed = _rows_ahead(case, [middle])[middle]
    return outcome(changed > allowed, changed, allowed, (
        f"without the second half of the rows the last {changed} scores of the first change, as "
        f"{look_ahead(case.delay)} states" if 0 < changed <= allowed else
        "scores of the first half of the rows change without the others: a row's score depends on "
        "the rows judged with it" if changed else
        "the first half of the rows scores the same without the others"),
        first_changed_row=middle - changed if changed else None)


def _fitted_anew(case: Case, n: int, y: Any = None) -> Scores:
    """Scores of the judged rows by a copy that has learned the first n rows."""
    from sklearn.base import clone

    known = hasattr(case.model, "get_params")
    model = clone(case.model) if known else deepcopy(case.model)
    rows = case.rows.iloc[:n] if hasattr(case.rows, "iloc") else case.rows[:n]
    model.fit(rows, *(() if y is None else (y,)))
    return np.asarray(anomaly_score(model, case.rows), dtype=np.float64)[case.start:][case.known]


def _apart(a: Scores, b: Scores) -> float:
    """1 minus the rank correlation of two scores."""
    both = np.isfinite(a) & np.isfinite(b)
    ranks = [rankdata(np.round(v[both], 12)) for v in (a, b)]
    if np.array_equal(*ranks):
        return 0.0
    return 1.0 if any(r.std() == 0 for r in ranks) else float(1 - np.corrcoef(ranks)[0, 1])


def _takes_labels(model: Any) -> bool:
    return not isinstance(model, Detector) and len(signature(model.fit).parameters) > 1


def learned_test(case: Case) -> Result:
    told_labels = case.supervised and _takes_labels(case.model)
    y = np.concatenate((case.y_train, case.y)) * 1 if told_labels else None
    without, with_ = (_apart(case.s, _fitted_anew(case, n, None if y is None else y[:n]))
                      for n in (case.start, len(case.rows)))
    result = outcome(with_ < without / 2, without, with_, (
        f"the scores are {without:.2g} (1 - rank correlation) away from those of a copy fitted to "
        f"the training rows, and {with_:.2g} from those of one fitted to the test rows too; "
        "nearer to the second by half they were made by a model that has seen the test"),
        training_rows_alone=without, with_test_rows=with_)
    return result if with_ < without / 2 or without <= with_ else result._replace(status=SKIPPED)


def labels_unused(case: Case) -> Result:
    y = case.y_train * 1
    if not y.any() or y.all():
        return unchecked("the training rows hold one class only")
    if not _takes_labels(case.model):
        return outcome(True, 0, 0, "the model is said to be supervised, but fit takes no labels")
    first, again, mixed = (_fitted_anew(case, case.start, labels) for labels in (
        y, y, case.rng.permutation(y)))
    noise, moved = _apart(first, again), _apart(first, mixed)
    return outcome(moved <= 2 * noise, moved, 2 * noise, (
        f"fitted to labels in random order the model scores {moved:.2g} (1 - rank correlation) "
        f"apart, and fitted to the same labels again {noise:.2g}; a model whose scores do not "
        "change has not used them"))


NEEDS: dict[str, tuple[Callable[[Case], Any], str]] = {  # whether a case has it
    "series": (lambda case: case.series, "rows of a table have no order"),
    "table": (lambda case: not case.series, "rows of a series repeat by nature"),
    "X": (lambda case: case.X is not None, "give X"),
    "history": (lambda case: case.start, "give train_end"),
    "border": (Case.borders, "give train_end or session"),
    "window": (lambda case: case.window, "give window"),
    "unit": (lambda case: case.window or not case.series,
             "give window: single rows of a series repeat without any leak"),
    "flags": (lambda case: case.flags is not None, "give threshold or predictions"),
    "model": (lambda case: case.model is not None,
              "give model and X: it then scores half of the rows again"),
    "refit": (lambda case: case.refit, "give model, X and refit=True: copies are then fitted"),
    "supervised": (lambda case: case.supervised, "said of supervised models only"),
}
CHECKS: dict[str, tuple[Any, ...]] = {  # how grave it is where it fails, and what it needs
    "missing scores": ("warning", missing_scores),
    "ties": ("warning", ties),
    "stuck scores": ("warning", stuck_scores, "series"),
    "chance level": ("error", chance_level),
    "sign": ("error", sign),
    "alarms": ("warning", alarms, "series", "flags"),
    "triviality": ("note", triviality, "X"),
    "density": ("note", density),
    "position": ("note", position, "series"),
    "number of anomalies": ("note", number_of_anomalies),
    "threshold": ("error", chosen_threshold, "flags"),
    "point adjustment": ("error", point_adjustment, "series"),
    "claims": ("error", claims),
    "leakage": ("error", leakage, "X", "history", "unit"),
    "straddling windows": ("warning", straddling_windows, "window", "border"),
    "repeated rows": ("note", repeated_rows, "table", "X"),
    "cut events": ("warning", cut_events, "series", "border"),
    "training labels": ("warning", training_labels, "history"),
    "look-ahead": ("error", stated_look_ahead, "series"),
    "batch dependence": ("warning", batch_dependence, "model"),
    "test rows learned": ("error", learned_test, "refit", "history"),
    "labels unused": ("error", labels_unused, "supervised", "refit", "history"),
}
