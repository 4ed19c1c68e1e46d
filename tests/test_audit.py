"""The audit: each planted trap is found, its sound twin passes, real sets are told the truth."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from adlib import hindsight_score
from adlib.compare import audit
from adlib.datasets import inject, load_adbench, load_nab, load_skab, make_sensor_stream
from adlib.detectors import KNN, MaxAbsZ, PCAReconstruction, RandomFeatureAE, RollingZScore
from adlib.metrics import best_f1, f1, point_adjusted_f1
from adlib.periods import usual_period
from adlib.smoothing import gaussian_weights, memory_weights, smooth

N = 1_000  # rows of history, and as many of test
DATA = Path(os.environ.get("ADLIB_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no public data sets in {DATA}")


def sound(seed=0, series=True):
    """Scores of an honest experiment: arguments of audit.

    Two of three correlated channels move apart in eight events (a table: on 80 rows) that lie
    anywhere; no channel shows it alone. The score is their distance, learned on the first half
    of a clean history; the threshold the 98 % quantile of the second.
    """
    rng = np.random.default_rng(seed)
    memory = 0.7 if series else 0.0

    def wander(d):
        return lfilter([(1 - memory**2) ** 0.5], [1, -memory], rng.normal(size=(2 * N, d)), axis=0)

    common, X = wander(1), wander(3)
    X = 0.9 * common + 0.3 * X
    y = np.zeros(2 * N, dtype=int)
    if series:
        lengths = rng.integers(5, 20, size=8)
        gaps = rng.multinomial(N - lengths.sum() - 9, rng.dirichlet(np.ones(9))) + 1
        for k, stop in enumerate(N + np.cumsum(gaps[:-1] + lengths)):
            y[stop - lengths[k] : stop] = 1
    else:
        y[N + rng.choice(N, 80, replace=False)] = 1
    X[y == 1, 1] = 0.95 * wander(1)[y == 1, 0]
    middle, half = X[:, [0, 2]].mean(axis=1), N // 2
    slope = np.polyfit(middle[:half], X[:half, 1], 1)
    score = np.abs(X[:, 1] - np.polyval(slope, middle))
    if series:
        score = np.convolve(score, np.ones(3) / 3)[: 2 * N]  # of this row and the two before
    return {"scores": score, "labels": y, "train_end": N, "X": X, "series": series,
            "window": 3 if series else None, "threshold": np.quantile(score[half:N], 0.98)}


def trapped(check, case, **changes):
    """The finding of a check that fails with the changes and passed without them."""
    quick = {"intervals": True, "random_state": 0}
    assert audit(**case, **quick)[check].status == "passed"
    finding = audit(**(case | changes), **quick)[check]
    assert finding.status == "failed", finding
    return finding


# --- sound experiments ----------------------------------------------------------------------


@pytest.mark.parametrize("series, draws", [(True, 40), (False, 80)])
def test_a_sound_experiment_seldom_fails_a_check(series, draws):
    """Over 300 draws "threshold" failed in 1 % and no other check at all."""
    failed = Counter()
    for seed in range(draws):
        found = audit(**sound(seed, series), intervals=False, random_state=seed)
        failed.update(found.failed)
        made = [f.check for f in found.findings if f.status == "passed"]
        assert len(made) >= (12 if series else 9)
    assert max(failed.values(), default=0) <= 0.05 * draws, failed


def test_few_events_are_placed_unevenly_by_luck_at_the_stated_rate():
    """Position over series with one event anywhere: in 2.5 % of 200 draws it fails."""
    failed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        start = rng.integers(980)
        y = (np.arange(1_000) >= start) & (np.arange(1_000) < start + 20)
        found = audit(rng.normal(size=1_000) + 2.5 * y, y, n_random=19, intervals=False)
        failed += found["position"].status == "failed"
    assert failed <= 5


def test_arguments_stay_as_they_are():
    case = sound()
    before = {k: np.copy(v) for k, v in case.items()}
    first = audit(**case, random_state=1)
    assert str(first) == str(audit(**case, random_state=1))
    for name, value in case.items():
        np.testing.assert_array_equal(value, before[name])


# --- traps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("series", [True, False])
def test_chance_is_called_chance(series):
    """At the level of the test: a chance score may pass in 5 % of draws."""
    case, passed = sound(0, series), 0
    for seed in range(30):
        noise = np.random.default_rng(seed).normal(size=2 * N)
        if series:
            noise = lfilter([1], [1, -0.95], noise)
        found = audit(noise, case["labels"], train_end=N, series=series, intervals=False,
                      n_random=39, random_state=seed)["chance level"]
        passed += found.status == "passed"
    assert passed <= 5  # 1.5 expected; above 5 with probability 0.004
    assert audit(**case, intervals=False)["chance level"].status == "passed"


@pytest.mark.parametrize("series", [True, False])
def test_a_threshold_chosen_on_the_test_labels_is_found(series):
    found = caught = 0
    for seed in range(20):
        case = sound(seed, series)
        s, y = case["scores"][N:], case["labels"][N:]
        cuts = np.sort(s)
        best = cuts[np.argmax([f1(y, s > c) for c in cuts])]
        told = audit(**dict(case, threshold=best), intervals=False, n_random=19)["threshold"]
        found += told.status == "failed"
        assert told.value == pytest.approx(best_f1(y, s))
        share = dict(case, threshold=np.quantile(s, 1 - y.mean()))
        caught += audit(**share, intervals=False, n_random=19)["threshold"].status == "failed"
    assert found == caught == 20


def test_flags_without_a_threshold_are_told_where_luck_is_ruled_out():
    rng = np.random.default_rng(0)
    y = rng.random(20_000) < 0.05
    s = rng.normal(size=20_000) + 1.5 * y
    cuts = np.sort(s)[-3_000:]
    best = s > cuts[np.argmax([f1(y, s > c) for c in cuts])]
    quick = {"series": False, "intervals": False, "n_random": 19}
    assert audit(s, y, predictions=best, **quick)["threshold"].status == "failed"
    as_many = s > np.sort(s)[-y.sum() - 1]
    told = audit(s, y, predictions=as_many, **quick)["threshold"]
    assert told.status == "failed" and f"({y.sum()})" in told.sentence
    assert audit(s, y, predictions=s > 2, **quick)["threshold"].status == "passed"
    few = y & (s > 2.5)
    few[np.flatnonzero(~y)[:3]] = True  # hardly any false alarm: nobody can tell
    order = np.where(few, 9.0, s)
    assert audit(order, y, predictions=few, **quick)["threshold"].status != "failed"


def test_perfect_scores_do_not_look_chosen():
    case = sound()
    scores = case["labels"] + 0.1 * np.random.default_rng(0).random(2 * N)
    told = audit(**dict(case, scores=scores, threshold=0.5), intervals=False)["threshold"]
    assert (told.status, told.value) == ("passed", 1)


def test_a_claim_inflated_by_point_adjustment_is_found():
    case = sound()
    flags = case["scores"][N:] > case["threshold"]
    honest = {"f1": round(f1(case["labels"][N:], flags), 3)}
    told = trapped("claims", dict(case, claimed=honest), claimed={"f1": 0.95})
    assert told.value == pytest.approx(0.95 - honest["f1"], abs=1e-3)
    told = audit(**case, claimed={"f1": 0.95}, intervals=False)["point adjustment"]
    assert told.status == "failed" and "Kim et al. 2022" in told.sentence


def test_a_point_adjusted_claim_is_held_against_a_random_score():
    y = np.repeat([0, 1] * 6 + [0], [100, 150] * 6 + [2_000])
    s = np.random.default_rng(0).random(y.size) + 0.2 * y
    found = audit(s, y, claimed={"point_adjusted_f1": 0.95}, intervals=False)["point adjustment"]
    assert found.status == "failed" and found.reference > 0.9
    case = sound()
    flags = case["scores"][N:] > case["threshold"]
    honest = {"point_adjusted_f1": point_adjusted_f1(case["labels"][N:], flags)}
    found = audit(**case, claimed=honest, intervals=False)
    assert found["point adjustment"].status == found["claims"].status == "passed"


def test_position_bias_is_found():
    """Events that all lie in the last tenth, and a score that only counts rows."""
    case = sound()
    y = np.zeros(2 * N, dtype=int)
    for start in range(2 * N - 100, 2 * N, 15):
        y[start : start + 8] = 1
    scores = y + np.random.default_rng(0).random(2 * N)
    trapped("position", case, labels=y, scores=scores)
    late = np.arange(2 * N) >= 2 * N - 30
    counted = audit(np.arange(2 * N), late, train_end=N)["position"]
    assert counted.status == "failed" and counted.value == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("series", [True, False])
def test_test_rows_copied_into_training_are_found(series):
    case = sound(0, series)
    X = case["X"].copy()
    X[100:200] = X[N + 300 : N + 400]
    told = trapped("leakage", case, X=X)
    assert told.value == pytest.approx(0.1, abs=0.01)


def test_values_that_repeat_by_nature_are_no_leak():
    coarse = np.random.default_rng(0).integers(4, size=(2 * N, 2)).astype(float)
    case = sound(0, series=False)
    found = audit(**dict(case, X=coarse), intervals=False)
    assert found["leakage"].status == "passed" and found["leakage"].value == 1
    assert found["repeated rows"].status == "failed"
    series = sound()
    still = series["X"].copy()
    still[600:700] = 1.0
    still[N + 500 : N + 800] = 1.0  # a channel that stands still, twice
    assert audit(**dict(series, X=still), intervals=False)["leakage"].value < 0.01


def test_a_feature_that_gives_it_away_is_found():
    case = sound()
    X = case["X"].copy()
    X[:, 2] -= 9 * case["labels"]
    X[::100, 0] -= 30  # no anomaly, but the largest of all
    told = trapped("triviality", case, X=X)
    assert "feature 2" in told.sentence and "solves the set" in told.sentence


def test_labels_at_fault_are_found():
    case = sound()
    y = case["labels"].copy()
    y[N - 3 : N + 3] = 1
    assert "first: row 1000" in trapped("cut events", case, labels=y).sentence
    assert trapped("training labels", case, labels=y).value == 3 / N
    y[N : N + 400] = 1
    assert "of the test rows are anomalous" in trapped("density", case, labels=y).sentence
    one = np.where(np.arange(2 * N) < np.flatnonzero(case["labels"])[30], case["labels"], 0)
    assert trapped("number of anomalies", case, labels=one).reference == 6


def test_scores_at_fault_are_found():
    case = sound()
    s = case["scores"]
    trapped("ties", case, scores=(s > case["threshold"]).astype(float))
    trapped("ties", case, scores=np.zeros(2 * N))
    trapped("stuck scores", case, scores=np.where(np.arange(2 * N) % N < 150, s[0], s))
    missing = np.where(np.arange(2 * N) % 50 == 7, np.nan, s)
    assert trapped("missing scores", case, scores=missing).value == 20


def test_windows_across_borders_are_counted():
    case = dict(sound(), session=np.arange(2 * N) // 500)
    told = trapped("straddling windows", case, window=60)
    assert told.value == pytest.approx(2 * 59 / N)
    assert audit(**sound(), intervals=False)["straddling windows"].value == pytest.approx(2 / N)


# --- rows or events, errors or notes ---------------------------------------------------------


def events_of(y):
    return np.flatnonzero(np.diff(np.append(0, y)) == 1)


@pytest.mark.parametrize("by", [None, "events"])
def test_one_alarm_in_each_event_and_nowhere_else_passes(by):
    y = sound()["labels"][N:]
    once = np.zeros(N)
    once[events_of(y)] = 1
    found = audit(once, y, threshold=0.5, by=by, intervals=False)
    assert found.ok and not found.failed
    assert found["alarms"].value == 8 and found["alarms"].reference < 1
    rows = audit(once, y, threshold=0.5, by="rows", intervals=False)
    assert {"ties", "stuck scores"} <= set(rows.failed)
    nothing = audit(np.full(N, 0.5), y, threshold=0.5, by=by, intervals=False)
    assert set(nothing.failed) == {"chance level", "ties", "stuck scores", "alarms"}


def test_events_too_few_to_tell_are_no_failure():
    """One window of a tenth of the rows: any alarm hits it in every tenth draw."""
    y = np.arange(N) // 100 == 6
    once = (np.arange(N) == 600).astype(float)
    found = audit(once, y, threshold=0.5, intervals=False)
    assert found["chance level"].status == found["alarms"].status == "not checked"
    assert "show nothing" in found["alarms"].sentence and found.failed == ("number of anomalies",)
    assert found.ok and found.of("note") == ("number of anomalies",)
    nothing = audit(np.zeros(N), y, threshold=0.5, intervals=False)
    assert {"chance level", "alarms"} <= set(nothing.of("error", "warning"))


def test_alarms_that_find_events_by_being_everywhere_are_told():
    case = sound()
    found = audit(**dict(case, threshold=np.quantile(case["scores"][:N], 0.5)), intervals=False)
    told = found["alarms"]
    assert told.severity == "warning" and told.value == 8 and told.reference > 6
    assert len(told.evidence["first_rows_of_alarms"]) == 20


@pytest.mark.parametrize("series", [True, False])
def test_an_inverted_sign_is_found_and_chance_is_not_one(series):
    case = sound(0, series)
    told = trapped("sign", case, scores=-case["scores"])
    assert told.severity == "error" and told.evidence["turned"] > 0.4
    wrong = 0
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=2 * N)
        noise = lfilter([1], [1, -0.95], noise) if series else noise
        found = audit(noise, case["labels"], train_end=N, series=series, by="rows", intervals=False,
                      n_random=19)
        wrong += found["sign"].status == "failed"
    assert wrong <= 3  # 0.4 expected


def test_findings_come_by_severity_with_evidence():
    case = sound()
    y = case["labels"].copy()
    y[N - 3 : N + 3] = 1
    scores = np.where(np.arange(2 * N) % 50 == 7, np.nan, -case["scores"])
    found = audit(**dict(case, labels=y, scores=scores), intervals=False)
    grade = [f.severity for f in found.findings if f.status == "failed"]
    assert set(grade) == {"error", "warning", "note"} and grade == sorted(grade)[:1] * grade.count(
        "error") + ["warning"] * grade.count("warning") + ["note"] * grade.count("note")
    assert found["missing scores"].evidence["rows"][:2] == [1007, 1057]
    assert found["cut events"].evidence["rows"] == [1000]
    assert found["training labels"].evidence["rows"] == [997, 998, 999]
    assert all(f.severity == "" for f in found.findings if f.status != "failed")
    assert "error  chance level" in str(found)


# --- what goes in and what comes out --------------------------------------------------------


def test_scores_of_the_test_rows_alone_do():
    case = sound()
    whole = audit(**case, intervals=False, random_state=0).table().set_index("check")
    part = audit(**dict(case, scores=case["scores"][N:]), intervals=False, random_state=0)
    part = part.table().set_index("check")
    assert whole.equals(part)


def test_without_the_data_checks_say_what_to_give():
    case = sound()
    found = audit(case["scores"][N:], case["labels"][N:], intervals=False)
    asked = {f.check: f.sentence for f in found.findings if f.status == "not checked"}
    for check, wanted in (("triviality", "X"), ("leakage", "train_end"), ("claims", "claimed"),
                          ("threshold", "predictions"), ("batch dependence", "model"),
                          ("cut events", "session"), ("training labels", "train_end")):
        assert wanted in asked[check]
    assert found.ok and not found.failed


def test_the_audit_reads_well():
    found = audit(**sound(), intervals=True)
    lines = str(found).splitlines()
    assert lines[0].startswith("audit: 0 failed, ") and len(lines) == 1 + len(found.findings)
    assert found.table().columns.tolist() == ["check", "status", "severity", "value", "reference",
                                              "sentence"]
    assert found["density"].value == pytest.approx(sound()["labels"][N:].mean())
    with pytest.raises(KeyError, match="speed"):
        found["speed"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labels": np.zeros(2 * N)}, "1000 test rows hold no anomaly"),
        ({"labels": np.full(2 * N, 2)}, "labels must hold only 0"),
        ({"scores": np.zeros(7)}, r"scores must have one value for each of the 2000 rows or of the "
                                  r"1000 test rows, got shape \(7,\)"),
        ({"scores": np.full(2 * N, np.nan)}, "scores are NaN"),
        ({"X": np.zeros((7, 2))}, "X has shape .7, 2., labels has 2000 rows"),
        ({"predictions": np.zeros(2 * N)}, "threshold or predictions, not both"),
        ({"claimed": {"accuracy": 0.9}}, r"figures in \[0, 1\], got {'accuracy': 0.9}"),
        ({"claimed": {"f1": 93}}, r"figures in \[0, 1\], got {'f1': 93}"),
        ({"train_end": -1}, "train_end must be a whole number"),
        ({"window": 0}, "window must be a whole number"),
        ({"by": "points"}, "by must be None, 'rows' or, of a series, 'events', got 'points'"),
        ({"by": "events", "series": False}, "by must be"),
        ({"n_random": 5}, "n_random must be a whole number >= 19"),
    ],
)
def test_mistakes_are_told(changes, message):
    with pytest.raises(ValueError, match=message):
        audit(**(sound() | changes))


# --- public sets ----------------------------------------------------------------------------


def distance(data):
    """A plain score: distance of a row from the mean of the history, in standard deviations."""
    history = data.X[: data.train_end]
    spread = np.where(history.std(axis=0) > 0, history.std(axis=0), 1)
    return np.linalg.norm((data.X - history.mean(axis=0)) / spread, axis=1)


@needs_data
def test_http_is_solved_by_one_feature():
    data = load_adbench("http", root=DATA)
    found = audit(distance(data), data.y, train_end=data.train_end, X=data.X, series=False)
    assert found["triviality"].status == "failed" and found["triviality"].value > 0.9
    assert ", feature " in found["triviality"].sentence
    assert "solves the set" in found["triviality"].sentence


@needs_data
def test_skab_is_told_that_half_of_it_is_anomalous():
    for name in ("valve1/0", "other/2"):
        data = load_skab(name, root=DATA)
        found = audit(distance(data), data.y, train_end=data.train_end, X=data.X, window=2)
        assert {"density", "number of anomalies"} <= set(found.failed)
        if name == "valve1/0":
            assert found["density"].sentence.startswith("53.7% of the test rows are anomalous")
        assert ("training labels" in found.failed) == (name == "other/2")


@needs_data
def test_nab_streams_have_too_few_events_each():
    data = load_nab("realTraffic/speed_6005", root=DATA)
    found = audit(distance(data), data.y, train_end=data.train_end, X=data.X, window=2)
    assert {"number of anomalies", "position"} <= set(found.failed)
    assert found["position"].value > 0.99  # the row number finds its last events


# --- look-ahead -----------------------------------------------------------------------------


class Late:
    """A detector whose scores are made with look-ahead."""

    def __init__(self, model, **how):
        self.model, self.how = model, how

    def anomaly_score(self, X):
        return hindsight_score(self.model, X, **self.how)


@pytest.fixture(scope="module")
def stream():
    base = make_sensor_stream(2_000, 0.0, random_state=0)
    return inject(base, "level_shift", n_events=10, strength=4.0, length=(20, 40), random_state=0)


@pytest.mark.parametrize("cls", [KNN, PCAReconstruction, RandomFeatureAE, MaxAbsZ, RollingZScore])
@pytest.mark.parametrize("window", [10, 21])
def test_a_model_is_tested_for_look_ahead_exactly(stream, cls, window):
    model = cls(window=window, calibration=None).fit(stream.X[:stream.train_end])
    known = {"train_end": stream.train_end, "X": stream.X, "n_random": 19, "intervals": False}
    found = audit(model.anomaly_score(stream.X), stream.y, model=model, **known)
    assert (found["look-ahead"].status, found["look-ahead"].value) == ("passed", 0)
    assert found["batch dependence"].status == "passed"
    for delay in (1, 7, 30):
        late = Late(model, delay=delay, width=25)
        score = late.anomaly_score(stream.X)
        found = audit(score, stream.y, model=late, **known)
        assert (found["look-ahead"].status, found["look-ahead"].value) == ("failed", delay)
        assert f"up to {delay} rows" in found["look-ahead"].sentence
        stated = audit(score, stream.y, model=late, delay=delay, **known)
        for check in ("look-ahead", "batch dependence"):
            assert (stated[check].status, stated[check].value, stated[check].reference) == (
                "passed", delay, delay)
    whole = audit(score, stream.y, model=Late(model, width=25), delay="hindsight", **known)
    assert whole["look-ahead"].status == whole["batch dependence"].status == "passed"


def test_a_batch_that_scales_itself_looks_at_everything(stream):
    class Scaled:
        def anomaly_score(self, X):
            X = np.asarray(X)
            return np.abs(X - X.mean(axis=0)).max(axis=1)

    frame = pd.DataFrame(stream.X)
    found = audit(Scaled().anomaly_score(frame), stream.y, model=Scaled(), X=frame, intervals=False,
                  train_end=stream.train_end)
    assert {"look-ahead", "batch dependence"} <= set(found.failed)
    assert found["look-ahead"].value > 1_500
    with pytest.raises(ValueError, match="model needs X"):
        audit(np.arange(2_000), stream.y, model=Scaled())
    with pytest.raises(ValueError, match="delay"):
        audit(np.arange(2_000), stream.y, delay=-1)


def hints(score, y):
    """Whether the scores alone look as if they looked ahead; never a verdict."""
    found = audit(score, y, n_random=19, intervals=False)
    assert found["look-ahead"].status == "not checked" and "look-ahead" not in found.failed
    hint = found["look-ahead"].value > found["look-ahead"].reference
    assert hint == ("a hint that they look ahead" in found["look-ahead"].sentence)
    return hint


def test_scores_alone_give_a_hint(stream):
    start, said = stream.train_end, {"causal": [], "late": []}
    for model in (KNN(), KNN(window=20), PCAReconstruction(window=8), MaxAbsZ()):
        model.set_params(calibration=None).fit(stream.X[:start])
        raw = model.anomaly_score(stream.X)
        said["causal"] += [hints(smooth(raw, memory_weights(rows))[start:], stream.y[start:])
                           for rows in (1, 5, 25, 60)]
        said["late"] += [hints(hindsight_score(model, stream.X, delay=delay, width=15)[start:],
                               stream.y[start:]) for delay in (5, 20, None)]
    assert not any(said["causal"]) and np.mean(said["late"]) > 0.8


def test_a_smoothed_one_liner_is_held_against_a_score():
    """Of long noisy events no single row says much, the moving mean of squares nearly all."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=4_000), np.arange(4_000) // 100 % 10 == 9
    y[:2_000] = False
    x[y] *= 2.0
    period = usual_period(x[:2_000])
    causal = smooth(x**2, memory_weights(0.5 * period))
    found = audit(causal, y, train_end=2_000, X=x, n_random=19, intervals=False)["triviality"]
    assert found.status == "failed" and "smoothed" in found.sentence
    late = smooth(x**2, *gaussian_weights(0.3 * period))
    found = audit(late, y, train_end=2_000, X=x, n_random=19, intervals=False)["triviality"]
    same = audit(late, y, train_end=2_000, X=x, n_random=19, intervals=False, delay="hindsight")
    assert same["triviality"].status == "failed"
    assert found.value < same["triviality"].value  # as far ahead as the score, and no further


# --- fitted anew ----------------------------------------------------------------------------


class Supervised:
    """Distance from the mean of the normal rows towards that of the anomalies, if it looks."""

    def __init__(self, looks=True):
        self.looks = looks

    def fit(self, X, y):
        y = y.astype(bool) if self.looks else X[:, 1] > X[:, 1].mean()
        self.way = X[y].mean(axis=0) - X[~y].mean(axis=0)
        return self

    def anomaly_score(self, X):
        return X @ self.way


@pytest.mark.parametrize("cls", [KNN, PCAReconstruction, MaxAbsZ])
def test_a_model_that_learned_the_test_rows_is_found(cls):
    case = sound()
    quick = {"train_end": N, "X": case["X"], "n_random": 19, "intervals": False}
    for rows, status in ((case["X"][:N], "passed"), (case["X"], "failed")):
        model = cls(calibration=None).fit(rows)
        score = model.anomaly_score(case["X"])
        found = audit(score, case["labels"], model=model, refit=True, **quick)
        assert found["test rows learned"].status == status
        before = audit(score, case["labels"], model=model, **quick)["test rows learned"]
        assert before.status == "not checked" and "refit=True" in before.sentence
        np.testing.assert_array_equal(model.anomaly_score(case["X"]), score)


@pytest.mark.parametrize("model, status", [
    (Supervised(), "passed"), (Supervised(looks=False), "failed"), (KNN(), "failed")])
def test_labels_that_a_supervised_model_never_used_are_told(model, status):
    case = sound(0, series=False)
    y = case["labels"].copy()
    y[:N] = y[N:][::-1]
    X = case["X"] + 2.0 * y[:, None] * [0, 0, 1]
    model.fit(X[:N], *(() if isinstance(model, KNN) else (y[:N],)))
    found = audit(model.anomaly_score(X), y, train_end=N, X=X, model=model, series=False,
                  refit=True, supervised=True, n_random=19, intervals=False)
    assert found["labels unused"].status == status
    assert found["test rows learned"].status == "passed"
