"""A fleet is fitted: each history cut by itself, calibrated by its own rows or those of all."""

import json

import numpy as np
import pytest
from realtime_alone import alone_of

from adlib.realtime import EngineConfig, RealTimeAnomalyDetector, Sample, fitted
from adlib.realtime.calibration import WindowCalibration, WindowCalibrations

CONFIG = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
          "window_size": 10, "stride": 5, "sampling_period": 60, "drift": False, "fleet": {}}
ONLINE = {**CONFIG, "detectors": ["PCAReconstruction", "RollingZScore"]}


def rows(n, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(n, 3)) @ np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0.3]])


def fleet(lengths, scales=None):
    """Rows of pumps one behind the other, and their labels."""
    scales = scales or [1.0] * len(lengths)
    X = np.concatenate([rows(n, seed, scale) for seed, (n, scale) in enumerate(
        zip(lengths, scales, strict=True))])
    return X, np.repeat([f"pump-{k}" for k in range(len(lengths))], lengths)


def test_many_calibrations_answer_as_each_alone():
    rng = np.random.default_rng(0)
    each = [WindowCalibration().fit(scale * rng.normal(size=n).round(2), 10)
            for scale, n in ((1, 400), (3, 900), (0.1, 40), (0, 100))]
    scores, which = 3 * rng.normal(size=2_000), rng.integers(0, len(each), 2_000)
    scores[:9] = [np.nan, np.inf, -np.inf, 1e300, -1e300, 0, 0, 0, 0]
    scores[20:400] = [rng.choice(each[k].ordered[i % 2]) for i, k in enumerate(which[20:400])]
    expected = [float(each[k].log_p(np.array([score]))[0])
                for score, k in zip(scores, which, strict=True)]
    np.testing.assert_array_equal(WindowCalibrations(each).log_p(scores, which), expected)


def test_each_history_is_cut_by_itself_and_no_window_holds_two():
    X, entity = fleet([300, 500, 400])
    found = fitted.fit(EngineConfig.from_any(CONFIG), X, entity=entity)
    assert found.own == {"pump-0": slice(0, 120), "pump-1": slice(121, 321),
                         "pump-2": slice(322, 482)}
    gaps = np.flatnonzero(np.isnan(found.held_out[:, 0]))
    assert gaps.tolist() == [120, 321] and len(found.held_out) == 482
    (model,) = found.ensemble.members_
    np.testing.assert_array_equal(found.held_out[found.own["pump-1"], 0],
                                  model.anomaly_score(X[300:800])[300:])
    # whatever the order in which machines take turns
    turns = np.lexsort((entity, np.concatenate([np.arange(n) for n in (300, 500, 400)])))
    again = fitted.fit(EngineConfig.from_any(CONFIG), X[turns], entity=entity[turns])
    np.testing.assert_array_equal(again.held_out, found.held_out)
    assert again.own == found.own


def test_a_fleet_of_one_is_a_single_stream():
    X, entity = fleet([800])
    for config in (CONFIG, ONLINE):
        one = fitted.fit(EngineConfig.from_any(config), X, entity=entity)
        alone = fitted.fit(EngineConfig.from_any({**config, "fleet": None}), X)
        np.testing.assert_array_equal(one.held_out, alone.held_out)
        np.testing.assert_array_equal(one.rows, alone.rows)
        np.testing.assert_array_equal(one.longest, alone.longest)


def test_entities_are_judged_by_their_own_rows_where_these_show_alpha():
    X, entity = fleet([400, 6_000, 400])
    config = EngineConfig.from_any({**CONFIG, "alpha": 0.02})
    found = fitted.fit(config, X, entity=entity)
    assert found.judging("pump-1", config) == (found, found.own["pump-1"])
    for name in ("pump-0", "pump-2", "never seen"):
        assert found.judging(name, config) == (found, slice(None))
    rare = config.changed(alpha=1e-4)  # beyond what its windows show
    assert found.judging("pump-1", rare)[1] == slice(None)
    assert found.judging("pump-1", config.changed(per="50/day"))[1] == slice(None)
    assert len(alone_of(found, "pump-1", config).held_out) == 2_400
    assert len(alone_of(found, "pump-0", config).held_out) == len(found.held_out)


def test_a_model_of_its_own_where_the_history_allows_it():
    X, entity = fleet([30, 6_000, 400])
    config = EngineConfig.from_any({**CONFIG, "fleet": {"model": "own"}, "alpha": 0.02})
    with pytest.warns(UserWarning, match=r"1 of 3 entities have no model of their own .*'pump-0'"):
        found = fitted.fit(config, X, entity=entity)
    assert list(found.models) == ["pump-1", "pump-2"]
    assert found.judging("pump-1", config) == (found.models["pump-1"], slice(None))
    assert found.judging("pump-2", config)[0] is found  # too few windows for this alpha
    assert found.judging("pump-2", config.changed(per="50/day"))[0] is found.models["pump-2"]
    alone = fitted.fit(config.changed(fleet=None), X[30:6_030])
    np.testing.assert_array_equal(alone_of(found, "pump-1", config).held_out, alone.held_out)
    assert found.copy().models["pump-1"].ensemble is not found.models["pump-1"].ensemble


def test_online_detectors_know_each_entity():
    X, entity = fleet([400, 400])
    X[400:] += 50.0
    config = EngineConfig.from_any(ONLINE)
    found = fitted.fit(config, X, entity=entity)
    later = rows(5, 9)
    for name, shift in (("pump-0", 0.0), ("pump-1", 50.0)):
        model = alone_of(found, name, config).ensemble.members_[1]
        known, foreign = (model.anomaly_score(later + level) for level in (shift, 50.0 - shift))
        assert known.max() < foreign.min()
    assert alone_of(found, "new", config).ensemble.members_[1].get_state().keys() == found.states[
        "pump-0"][1].keys()


def test_missing_rows_and_short_entities_do_no_harm():
    X, entity = fleet([600, 1, 2, 600, 7])
    X[610:700, 1] = np.nan
    found = fitted.fit(EngineConfig.from_any(CONFIG), X, entity=entity)
    assert [found.own[f"pump-{k}"].stop - found.own[f"pump-{k}"].start for k in range(5)] == [
        240, 0, 0, 240, 2]
    assert np.isfinite(found.center).all() and (found.longest >= 0).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("model", ["shared", "own"])
def test_a_saved_fleet_is_what_was_fitted(tmp_path, model):
    X, entity = fleet([700, 30, 900])
    names = {"pump-0": "../a b\n|\u202e", "pump-1": "", "pump-2": "\ud800 Öl"}
    entity = np.array([names[name] or "0" for name in entity], dtype=object)
    config = {**ONLINE, "fleet": {"model": model}, "alpha": 0.1}
    engine = RealTimeAnomalyDetector(config).fit(X, entity=entity)
    path = engine.save(tmp_path / "model")
    kept = json.loads((path / "engine.json").read_text())
    assert kept["format"] == 2  # an earlier adlib refuses it
    for given in (None, config):
        again = RealTimeAnomalyDetector.load(path, given)
        old, new = engine._fitted, again._fitted
        assert new.own == old.own and list(new.models) == list(old.models)
        for name in (*old.own, "never seen"):
            one, other = (alone_of(e._fitted, name, e.config) for e in (engine, again))
            np.testing.assert_array_equal(one.held_out, other.held_out)
            late = rows(50, 3)
            for a, b in zip(one.ensemble.members_, other.ensemble.members_, strict=True):
                np.testing.assert_array_equal(a.anomaly_score(late), b.anomaly_score(late))
    other_model = {"fleet": {"model": {"own": "shared", "shared": "own"}[model]}}
    for changed in ({"fleet": None}, other_model):
        with pytest.raises(ValueError, match="fleet is not what the engine was fitted"):
            RealTimeAnomalyDetector.load(path, {**config, **changed})
    for damage in ({"own": {**kept["own"], "x": [0, 10**9]}}, {"own": {"x": [0, 5]}}, {"own": [1]},
                   {"models": 3}, {"own": {"x": ["0", 5]}}, {"models": ["a"] * 9},
                   {"own": {"x": 3}}, {"own": {"x": [5, 2]}}, {"own": {"x": [0.0, 2.0]}}):
        (path / "engine.json").write_text(json.dumps({**kept, **damage}))
        with pytest.raises((ValueError, FileNotFoundError), match="model"):
            RealTimeAnomalyDetector.load(path)


@pytest.mark.parametrize(("entity", "config", "message"), [
    (None, {}, "entity must label each row of a fleet's history, got None"),
    (["a"] * 7, {}, r"entity must have shape \(1000,\), got \(7,\)"),
    (["a", None, "b", ""] * 250, {}, "entity must label each row, got none in 500"),
    (["a", "b"] * 500, {"fleet": None}, r"entity holds 2 entities, \['a', 'b'\]: set fleet: {}"),
    (list(range(1_000)), {"fleet": {"max_entities": 99}}, "raise fleet.max_entities=99"),
    (list(range(1_000)), {}, "at least two windows of 10")])
def test_labels_are_refused_in_one_sentence(entity, config, message):
    with pytest.raises(ValueError, match=message):
        RealTimeAnomalyDetector({**CONFIG, **config}).fit(rows(1_000, 0), entity=entity)


def test_numbers_and_their_texts_are_one_entity():
    labels = [7, 7.0, "7", "07"] * 250
    found = fitted.fit(EngineConfig.from_any(CONFIG), rows(1_000, 0), entity=labels)
    assert {name: part.stop - part.start for name, part in found.own.items()} == {
        "7": 300, "07": 100}


def flagged(engine, scales, without=None):
    """Share of flagged windows of each pump on fresh normal rows, maybe without a feature."""
    samples = []
    for k, scale in enumerate(scales):
        X = rows(3_000, 100 + k, scale)
        if without is not None:
            X[:, without] = np.nan
        samples.append(Sample(3_000 * k, None, X, entity=f"pump-{k}"))
    found = {}
    for verdict in engine.judge(samples, flush=True)[0]:
        found.setdefault(verdict.stream, []).append(bool(verdict.is_anomaly))
    return [float(np.mean(flags)) for flags in found.values()]


def test_each_machine_keeps_alpha_also_where_it_loses_a_sensor():
    scales = [1.0, 1.0, 4.0, 1.0, 0.25]
    X, entity = fleet([6_000] * 5, scales)
    engine = RealTimeAnomalyDetector({**CONFIG, "alpha": 0.02}).fit(X, entity=entity)
    assert set(engine.entities.values()) == {"own rows"}
    whole = flagged(engine.fork(), scales)
    assert max(whole) < 0.045 and np.mean(whole) > 0.01
    assert max(flagged(engine.fork(), scales, without=1)) < 0.045
    # where all are alike, and each history is short
    X, entity = fleet([600] * 20)
    engine = RealTimeAnomalyDetector({**CONFIG, "alpha": 0.02}).fit(X, entity=entity)
    assert set(engine.entities.values()) == {"all rows"}
    assert 0.01 < np.mean(flagged(engine, [1.0] * 21)) < 0.03  # the last one is new
