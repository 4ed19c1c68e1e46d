import re
import sqlite3
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError

from adlib.datasets import make_fraud, make_intrusion
from adlib.detectors import KNN, Ensemble, RandomFeatureAE
from adlib.feedback import Answer, FeedbackStore, Reviewed, ReviewSession, next_questions, teach
from adlib.metrics import average_precision
from adlib.realtime.store import AlertStore


def rows(n, seed=0, d=3):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.fixture(scope="module")
def detector():
    return KNN(calibration=None).fit(rows(400, 1))


@pytest.fixture
def model(detector):
    return Reviewed(detector).fit(rows(300, 2))


def far(*directions, size=6.0):
    return np.array([np.eye(3)[abs(i) - 1] * np.sign(i) * size for i in directions])


# ------------------------------------------------------------------ the model


@pytest.mark.parametrize("kind", ["KNN", "Ensemble", "window", "IsolationForest"])
def test_no_verdict_changes_nothing(kind):
    made = {"KNN": KNN(), "Ensemble": Ensemble(random_state=0), "window": KNN(window=4),
            "IsolationForest": IsolationForest(n_estimators=20, random_state=0)}[kind]
    X, normal = rows(300, 3), rows(300, 4)
    X[::10] += 3
    made.fit(rows(300, 5))
    reviewed = Reviewed(made).fit(normal)
    before = reviewed.detect(X)
    score = -made.score_samples(X)
    shown = score > -made.score_samples(normal)[3:].min()  # below all normal rows, all are alike
    assert stats.spearmanr(score[shown], before.score[shown]).statistic > 1 - 1e-9
    if kind != "IsolationForest":
        flags = made.calibrate(normal).detect(X).is_anomaly
        np.testing.assert_array_equal(before.is_anomaly, flags)
    reviewed.learn(X[:20], np.r_[np.ones(10), np.zeros(10)])
    assert np.abs(reviewed.anomaly_score(X) - before.score).max() > 0.1
    after = reviewed.learn(X[:5], np.full(5, np.nan)).detect(X)
    np.testing.assert_array_equal(after.score, before.score)
    np.testing.assert_array_equal(after.is_anomaly, before.is_anomaly)


def test_verdicts_raise_what_is_true_and_lower_what_is_false(model):
    near = far(1, 2, -3)
    before = model.anomaly_score(near)
    moved = model.learn(far(1, 2, size=6.3), [1, 0]).anomaly_score(near) - before
    assert moved[0] > moved[1] + 2 and moved[0] > moved[2] > moved[1]
    assert model.detect(near).is_anomaly[0]
    assert model.n_verdicts_ == 2
    model.learn(far(1, size=6.3), [0])  # replaces, not adds
    assert model.anomaly_score(near)[0] < before[0] and model.n_verdicts_ == 1


def test_one_wrong_verdict_moves_a_score_within_its_bound(model):
    X, y = rows(30, 6) * 3, (np.arange(30) % 3 == 0).astype(float)
    right = model.learn(X, y).anomaly_score(X)
    _, Z = model.describe(X)
    size = np.sqrt(np.diag(model._kernel(Z, Z)))
    for i in range(0, 30, 7):
        turned = np.where(np.arange(30) == i, 1 - y, y)
        moved = np.abs(model.learn(X, turned).anomaly_score(X) - right)
        assert moved.max() > 0 and (moved <= size * size[i]).all()


def test_rows_of_a_series_learn_as_rows_with_their_own_past():
    X = np.cumsum(rows(900, 7), axis=0) % 3
    model = Reviewed(KNN(window=5).fit(X[:400])).fit(X[400:700])
    test = X[700:]
    y = np.full(len(test), np.nan)
    y[[20, 21, 60]] = 1, 0, 1
    series = model.learn(test, y).anomaly_score(test)
    answers = [Answer(str(i), "true" if y[i] else "false", tuple(map(tuple, test[i - 4:i + 1])))
               for i in (20, 21, 60)]
    np.testing.assert_allclose(teach(model, answers).anomaly_score(test), series, atol=1e-6)


def test_budget_holds_after_feedback():
    """Realised counts of never-shown normal rows against the law of a cut that is right."""
    rng, over, rates = np.random.default_rng(0), [], []
    fixed = KNN(calibration=None).fit(rng.normal(size=(150, 4)))
    for _ in range(60):
        model = Reviewed(fixed, alpha=0.1).fit(rng.normal(size=(99, 4)))
        pool = np.vstack([rng.normal(size=(200, 4)), rng.normal(size=(20, 4)) + [4, 0, 0, 0]])
        ask = model.next_questions(pool, 20)
        model.learn(pool[ask], ask >= 200)
        count = model.detect(rng.normal(size=(400, 4))).is_anomaly.sum()
        over.append(count > stats.betabinom(400, 10, 90).ppf(0.95))
        rates.append(count / 400)
    assert np.mean(rates) < 0.1 + 2 * np.std(rates) / np.sqrt(60)
    assert np.mean(rates) > 0.05  # and it is used
    assert np.sum(over) <= stats.binom(60, 0.05).ppf(0.99)


def test_budget_holds_in_time_order():
    rng, rates = np.random.default_rng(1), []
    for _ in range(12):
        noise = rng.normal(size=(1600, 2))
        for t in range(1, len(noise)):
            noise[t] += 0.6 * noise[t - 1]
        model = Reviewed(KNN(window=3, calibration=None).fit(noise[:400])).fit(noise[400:1000])
        y = np.full(600, np.nan)
        y[model.next_questions(noise[1000:], 20)] = 0  # all of them false alarms
        model.learn(noise[1000:], y)
        fresh = rng.normal(size=(800, 2))
        for t in range(1, len(fresh)):
            fresh[t] += 0.6 * fresh[t - 1]
        rates.append(model.detect(fresh).is_anomaly.mean())
    assert np.mean(rates) < 0.05 + 2 * np.std(rates) / np.sqrt(12)


@pytest.mark.parametrize("kind", [KNN, RandomFeatureAE, Ensemble])
def test_twenty_verdicts_help_on_rows_never_shown(kind):
    """The small version of benchmarks/feedback.py: mean over two sets, paired over seeds."""
    gains = np.empty((4, 2, 2))  # seeds, sets, (all verdicts right, a tenth wrong)
    for seed, n_set in np.ndindex(4, 2):
        data = (make_fraud, make_intrusion)[n_set](2400, random_state=seed)
        X = (data.X - data.X[:data.train_end].mean(0)) / data.X[:data.train_end].std(0)
        history, test, y = X[:data.train_end], X[data.train_end:], data.y[data.train_end:]
        fitted = kind(calibration="split" if kind is Ensemble else None).fit(history[300:])
        model, half = Reviewed(fitted).fit(history[:300]), len(test) // 2
        asked = model.next_questions(test[:half], 20)
        wrong = y[asked].astype(float)
        wrong[[4, 11]] = 1 - wrong[[4, 11]]
        ap = [average_precision(y[half:], model.learn(test[asked], said).anomaly_score(test[half:]))
              for said in (np.full(20, np.nan), y[asked], wrong)]
        gains[seed, n_set] = np.subtract(ap[1:], ap[0])
    right, wrong = gains.mean(axis=1).T
    assert right.mean() > 0.02
    assert stats.ttest_1samp(right, 0, alternative="greater").pvalue < 0.05, right
    assert wrong.mean() > 0, wrong


@pytest.mark.parametrize(("X", "y"), [
    (np.vstack([far(1, 2), [[1e300, 0, 0], [1e12, -1e12, 0]]]), [1, 0, 0, 1]),
    (np.repeat(far(1), 6, axis=0), [1, 0, 1, 0, 0, 0]),
    (np.repeat(far(1, size=1e9), 5, axis=0), [0] * 5),
    (5 * rows(20), np.ones(20)),
], ids=["wild", "contradictory", "copies", "all true"])
def test_odd_verdicts_leave_a_working_model(model, X, y):
    rate = model.learn(X, y).detect(rows(4000, 14)).is_anomaly.mean()
    assert np.isfinite(model.anomaly_score(X)).all() and 0.01 < rate < 0.1


def test_bad_input_is_refused_and_leaves_the_model(model, detector):
    score = model.learn(far(1), [1]).anomaly_score(far(1))
    for y in ([2], [1, 0], [[1]], ["true"]):
        with pytest.raises(ValueError):
            model.learn(far(1), y)
    np.testing.assert_array_equal(model.anomaly_score(far(1)), score)
    with pytest.raises(NotFittedError):
        Reviewed(KNN()).fit(rows(50))
    with pytest.raises(ValueError, match="reach"):
        Reviewed(detector, reach=1.5).fit(rows(50))
    with pytest.raises(ValueError, match="window"):
        Reviewed(detector, window=3).fit(rows(50))


# ------------------------------------------------------------------ patterns


def test_a_pattern_hides_its_like_and_nothing_stronger(model):
    pattern = model.ignore(far(1), until=100.0, who="Ada", note="flushing")
    rng = np.random.default_rng(0)
    X = np.vstack([far(1), far(1, size=5.9), far(1, size=6.1), far(2), far(-1), rows(500, 8),
                   far(1, size=50.0), far(1) + rng.normal(size=(200, 3))])
    hidden = model.suppressed(X, now=50.0)
    assert hidden[:5].tolist() == [True, True, False, False, False]
    assert not hidden[5:506].any() and hidden[506:].any()
    stronger = model.anomaly_score(X) > model.anomaly_score(far(1)) + 1e-9
    assert not hidden[stronger].any()
    assert not model.detect(far(1), now=50.0).is_anomaly[0]
    assert model.detect(far(1), now=100.0).is_anomaly[0]  # expired, and still listed
    assert model.patterns_ == {pattern.id: pattern} and pattern.who == "Ada"
    model.learn(far(1, 2), [1, 1])  # what is learned later widens nothing
    np.testing.assert_array_equal(model.suppressed(X, now=50.0), hidden)
    model.revoke(pattern.id)
    assert not model.suppressed(X, now=50.0).any()
    with pytest.raises(KeyError, match=pattern.id):
        model.revoke(pattern.id)


# ------------------------------------------------------------------ questions


def test_questions_are_worth_asking_and_unlike_each_other(model):
    copies = np.repeat(far(1), 30, axis=0) + rows(30, 9) * 0.01
    X = np.vstack([copies, far(2, -3), 0.3 * rows(300, 10)])
    ask = model.next_questions(X, 3)
    assert {30, 31} < set(ask.tolist()) and ask[ask < 30].size == 1
    more = model.next_questions(X, 5, asked=ask)
    assert not set(more) & set(ask) and len(set(more)) == 5
    everything = next_questions(np.zeros(4), np.zeros((4, 1)), 9, asked=[2])
    assert sorted(everything.tolist()) == [0, 1, 3]
    for k in (0, 1.5, True):
        with pytest.raises(ValueError, match="k must"):
            next_questions(np.zeros(4), np.zeros((4, 1)), k)
    with pytest.raises(ValueError, match=r"scores must have shape \(4,\), got \(3,\)"):
        next_questions(np.zeros(3), np.zeros((4, 1)))


# ------------------------------------------------------------------ the store


def test_answers_outlive_the_process_and_the_last_one_counts(tmp_path):
    path, first = tmp_path / "alerts.db", Answer("rig|combined|70", "true", ((1.5, -2.0),), "Ada",
                                                 "Ventil öffnete nicht", 10.0)
    with AlertStore(path) as store:  # the engine's file, as it is
        store.commit("rig", 99, b"state", [], [], [], [])
    with FeedbackStore(path) as store:
        store.record(first)
        store.record(Answer("row 2", "ignore", ((0.0, 1.0),), until=99.0, time=11.0))
        store.record(replace(first, verdict="known", time=12.0))
    with FeedbackStore(path, create=False) as store:
        assert [(a.target, a.verdict, a.until) for a in store.answers()] == [
            ("rig|combined|70", "known", np.inf), ("row 2", "ignore", 99.0)]
        assert store.history("rig|combined|70")[0] == first
        store.record(replace(first, verdict="withdrawn", time=13.0))
        assert [a.target for a in store.answers()] == ["row 2"]
        assert store.restore("rig") == (99, b"state") and store.integrity_check() == []
    with sqlite3.connect(path) as db:
        for change in ("UPDATE answers SET verdict = 'true'", "DELETE FROM answers"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(change)
    db.close()
    with FeedbackStore(tmp_path / "new.db"):
        pass
    with AlertStore(tmp_path / "new.db") as store:  # the engine can use what a review made
        store.commit("rig", 1, b"", [], [], [], [])
    with pytest.raises(ValueError, match="verdict must be one of"):
        Answer("row 1", "maybe", ((1.0,),))


# ------------------------------------------------------------------ the session


@pytest.fixture
def session(model, tmp_path):
    X = np.vstack([rows(80, 11), far(1, 1, 2, -3), rows(40, 12)])
    with FeedbackStore(tmp_path / "alerts.db") as store:
        yield ReviewSession(model, X, store, budget=4, who="Ada", clock=lambda: 7.0,
                            feature_names=["flow", "<i>", "level"])


def test_a_session_runs_unattended_and_goes_on_after_a_restart(session, detector):
    first = session.next()
    assert first is session.next() and first.is_anomaly and "robust deviations" in first.sentence
    session.answer("false", "a note")
    session.answer("known")
    seen = {first.target}
    again = ReviewSession(Reviewed(detector).fit(rows(300, 2)), session.X, session.store, budget=9)
    np.testing.assert_array_equal(again.model.anomaly_score(session.X),
                                  session.model.anomaly_score(session.X))
    assert again.model.n_verdicts_ == 1  # a known cause teaches nothing
    while (alert := again.next()) is not None:
        assert alert.target not in seen
        seen.add(alert.target)
        again.answer("true" if alert.is_anomaly else "false")
    assert ReviewSession(again.model, session.X, session.store, stream="other").next() is not None
    assert again.model.n_verdicts_ == 0  # what was said about another stream counts only there
    assert again.progress == (9, 9) and len(again.store.answers()) == 11
    with pytest.raises(ValueError, match="no open alert"):
        again.answer("true")
    answer = again.store.answers()[0]
    assert (answer.who, answer.note, answer.time) == ("Ada", "a note", 7.0)


def test_undo_takes_back_what_was_learned(session):
    before = session.model.anomaly_score(session.X)
    assert session.undo() is None
    first = session.next()
    session.answer("ignore", until=8.0)
    assert session.model.patterns_[first.target].until == 8.0
    second = session.next()
    session.answer("true")
    assert session.undo().target == second.target and session.progress == (1, 4)
    assert session.undo().target == first.target == session.next().target
    np.testing.assert_array_equal(session.model.anomaly_score(session.X), before)
    assert not session.model.patterns_ and not session.store.answers()
    with pytest.raises(ValueError, match="undo"):
        session.answer("withdrawn")
    with pytest.raises(ValueError, match="verdict"):
        session.answer("maybe")
    assert len(session.store.history()) == 4


def test_only_the_given_rows_are_asked_under_their_incidents_id(session):
    ids = [f"rig|combined|{i}" for i in range(len(session.X))]
    given = ReviewSession(session.model, session.X, session.store, rows=[80, 82], targets=ids)
    seen = []
    while (alert := given.next()) is not None:
        seen.append(alert.target)
        given.answer("ignore")
    assert sorted(seen) == ["rig|combined|80", "rig|combined|82"]


def test_the_panel_does_what_the_calls_do(session):
    pytest.importorskip("ipywidgets")
    bar, head, picture, note, buttons = session.panel().children
    clicks = {button.description: button for button in buttons.children}
    assert clicks["Undo"].disabled and bar.value == 0 and bytes(picture.value)[1:4] == b"PNG"
    assert session.next().target in head.value and "<i>" not in head.value
    note.value = "pump was off"
    clicks["False alarm"].click()
    assert (bar.value, note.value, clicks["Undo"].disabled) == (1, "", False)
    assert session.store.answers()[0].note == "pump was off"
    clicks["Undo"].click()
    assert bar.value == 0 and session.store.answers() == []
    for name in ("True alarm", "Known cause", "Ignore pattern", "False alarm"):
        clicks[name].click()
    found = [a.verdict for a in session.store.history()]
    assert found == ["false", "withdrawn", "true", "known", "ignore", "false"]
    assert clicks["True alarm"].disabled and "No open alert" in head.value


def test_a_picture_of_the_panel_shows_the_same_and_does_nothing(session):
    before = session.progress
    page = session.picture().data
    assert session.next().target in page and "0 / " in page
    for label in ("True alarm", "False alarm", "Known cause", "Ignore pattern", "Undo"):
        assert label in page
    assert "<button" not in page and "<script" not in page and session.progress == before
    image = re.search(r'base64,([^"]+)" width="(\d+)"', page)
    png = b64decode(image[1])
    assert int.from_bytes(png[16:20], "big") == 2 * int(image[2])  # sharp on a fine screen
    while session.next() is not None:
        session.answer("known")
    assert "No open alert" in session.picture().data and "<img" not in session.picture().data


def test_a_windowed_detector_is_asked_with_its_past(tmp_path):
    X = np.sin(np.arange(900) / 5)[:, None] + 0.1 * rows(900, 13, 2)
    X[800:806, 0] += 3
    model = Reviewed(KNN(window=6).fit(X[:400])).fit(X[400:700])
    with FeedbackStore(tmp_path / "alerts.db") as store:
        session = ReviewSession(model, X[700:], store, budget=1)
        alert = session.next()
        assert 100 <= alert.row < 112 and len(session.figure(alert).axes) == 2
        session.answer("true")
        (answer,) = store.answers()
        np.testing.assert_array_equal(answer.rows, X[700 + alert.row - 5:701 + alert.row])
