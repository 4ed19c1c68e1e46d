"""A fleet in one engine: an entity is judged as by an engine of its own, whoever else is there."""

import asyncio
import multiprocessing
import os
import random
import signal
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from realtime_alone import alone_of

from adlib.realtime import AlertStore, RealTimeAnomalyDetector, Sample, Source
from adlib.realtime import members as members_module
from adlib.realtime.doors.checkpoint import change, pack, replay, stacked, unpack, unstacked
from adlib.realtime.events import Incident, IncidentEvent, QualityEvent, stream_of
from adlib.realtime.inbox import Inbox
from adlib.realtime.monitor import Monitor

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")

NAMES = ["pump-1", "pump-2", "hall 2/Öl|7", "pump-4", "pump-5"]
CONFIG = {
    "stream": "plant", "deep_config": None, "stat_config": None, "window_size": 20, "stride": 5,
    "detectors": ["PCAReconstruction", "LinearForecast", "OnlineMahalanobis"], "alpha": 0.002,
    "extrapolate": True, "hold": 2, "fleet": {}}
ALERTS = {"incidents": {"cooldown": 0, "update_interval": 20}, "health": {"after": 20}}
N, START = 1200, 1.7e9


def rows(n, seed, d=3):
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(2, d))
    return rng.normal(size=(n, 2)) @ mixing + 0.3 * rng.normal(size=(n, d))


def fitted(**changes):
    return RealTimeAnomalyDetector({**CONFIG, **changes}).fit(
        np.concatenate([rows(3000, k) for k in range(len(NAMES))]),
        entity=np.repeat(np.array(NAMES, object), 3000))


@pytest.fixture(scope="module")
def plant():
    return fitted()


def live():
    """Of each entity its rows and their time stamps: one fault each, and one without."""
    X = {name: rows(N, 100 + k) for k, name in enumerate(NAMES)}
    stamps = {name: START + np.arange(float(N)) for name in NAMES}
    X["pump-1"][300:360] += 8
    X["pump-1"][900:903, 1] -= 30
    X["pump-2"][200:330, 1] = np.nan  # missing, and single values now and then
    X["pump-2"][600::37, 0] = np.nan
    X["pump-2"][1000:1050] += 9
    X["hall 2/Öl|7"][400:700, 2] = X["hall 2/Öl|7"][399, 2]  # frozen
    stamps["pump-4"][500:510] = 1e18  # a clock that is wrong, then set, then stands still
    stamps["pump-4"][800:] += 5_000
    stamps["pump-4"][1000:1005] = np.nan
    X["pump-4"][700:740] -= 7
    return X, stamps


def samples(X, stamps, together=7, twice=()):
    """Rows as they come: some seconds of all entities at once, some numbers twice or late."""
    seq, found = 0, []
    for second in range(0, N, together):
        part = slice(second, min(second + together, N))
        n = len(range(*part.indices(N)))
        found.append(Sample(
            seq, np.concatenate([stamps[name][part] for name in NAMES]),
            np.concatenate([X[name][part] for name in NAMES]),
            entity=[name for name in NAMES for _ in range(n)]))
        if second // together in twice:
            found.append(found[-2])
        seq += n * len(NAMES)
    return found


class Recorded(Source):
    """Numbered samples; what was acknowledged."""

    def __init__(self, items):
        self.items, self.acknowledged = items, []

    async def samples(self, *, features=None, position=-1):
        for item in self.items:
            if item.seq + len(item.values) - 1 > position:
                async def ack(seq=item.seq):
                    self.acknowledged.append(seq)

                yield Sample(item.seq, item.time, item.values, ack, item.entity)


def run(engine, source, most=None):
    async def collect():
        found = []
        async for window in engine.process_stream(source):
            found.append(window)
            if len(found) == most:
                break
        return found

    return asyncio.run(collect())


def on(engine, path, **changes):
    """The same model with a store."""
    twin = RealTimeAnomalyDetector(engine.config.changed(
        alert_config={**ALERTS, "storage": {"path": str(path)}}, **changes))
    twin._take(engine._fitted.copy())
    return twin


def alone(engine, name, path):
    """An engine for one entity, with the calibration that the fleet's has for it."""
    twin = RealTimeAnomalyDetector(engine.config.changed(
        fleet=None, stream=stream_of("plant", name),
        alert_config={**ALERTS, "storage": {"path": str(path)}}))
    twin._take(alone_of(engine._fitted, name, engine.config))
    return twin


def steps(store, name):
    return [(e.id, e.time, e.notify, e.incident.start, e.incident.end, e.incident.n_windows,
             e.incident.severity, e.incident.detail, round(e.incident.peak_score, 6))
            for e in store.events() if e.incident.stream == stream_of("plant", name)]


def as_judged(window):
    p = window["p_value"]
    return (window["start"], window["end"], window["time"], window["is_anomaly"],
            window["left_out"], window["incident_id"], p if p is None else round(float(p), 9))


# ------------------------------------------------------------------ as separate engines


def test_each_entity_is_judged_as_by_an_engine_of_its_own(plant, tmp_path):
    X, stamps = live()
    fleet = on(plant, tmp_path / "fleet.db")
    windows = run(fleet, Recorded(samples(X, stamps, twice=(20, 60, 61))))
    kinds = set()
    for k, name in enumerate(NAMES):
        one = alone(plant, name, tmp_path / f"{k}.db")
        expected = run(one, Recorded([Sample(at, stamps[name][at:at + 7], X[name][at:at + 7])
                                      for at in range(0, N, 7)]))
        mine = [window for window in windows if window["entity"] == name]
        assert [*map(as_judged, mine)] == [*map(as_judged, expected)], name
        assert steps(fleet.store, name) == steps(one.store, name), name
        stream = stream_of("plant", name)
        assert fleet.store.quality(stream=stream) == one.store.quality(stream=stream), name
        kinds |= {event.kind for event in one.store.quality(stream=stream)}
        assert bool(steps(one.store, name)) == (name != "pump-5")
    assert {"nan", "stuck", "clock"} <= kinds
    assert {e.kind for e in fleet.store.quality(stream="plant")} == {"duplicate"}
    health = {incident.id.split("|")[1] for incident in fleet.store.incidents()
              if incident.kind == "health"}
    assert {"health.frozen.x2", "health.missing.x1"} <= health


def test_what_is_judged_does_not_depend_on_batches_or_restarts(plant, tmp_path):
    X, stamps = live()
    items = samples(X, stamps)
    whole, _ = plant.fork().judge(items, flush=True)
    parts, engine = [], plant.fork()
    for at in range(0, len(items), 11):
        parts += engine.judge(items[at:at + 11], flush=at + 11 >= len(items))[0]
        state, engine = engine._state(), plant.fork()
        engine._restore(0, state)
    assert sorted(map(repr, parts)) == sorted(map(repr, whole))


def test_single_rows_are_judged_as_many_at_once(plant):
    X, stamps = live()
    items = [Sample(None, float(stamps[name][t]), X[name][t], entity=name)
             for t in range(200) for name in NAMES]
    whole, _ = plant.fork().judge(items, flush=True)
    engine = plant.fork()
    found = [verdict for item in items for verdict in engine.judge([item])[0]]
    found += engine.judge([], flush=True)[0]
    assert sorted(map(repr, found)) == sorted(map(repr, whole)) and len(whole) == 37 * len(NAMES)


def test_an_entity_with_a_model_of_its_own_is_judged_by_it():
    engine = RealTimeAnomalyDetector({**CONFIG, "alpha": 0.05, "fleet": {"model": "own"}}).fit(
        np.concatenate([rows(3000, 0), 50 + 5 * rows(3000, 1)]),
        entity=np.repeat(["small", "large"], 3000))
    large = 50 + 5 * rows(300, 7)
    verdicts, _ = engine.judge([Sample(None, None, large, entity=["large"] * 300),
                                Sample(None, None, large, entity="small")])
    flags = {name: np.mean([bool(v.is_anomaly) for v in verdicts
                            if v.stream == f"plant/{name}"]) for name in ("large", "small")}
    assert flags["large"] < 0.3 and flags["small"] > 0.9


# ------------------------------------------------------------------ kills


def until_killed(model, settings, items, death):
    """Run to the end of the stream, or die as told."""
    place, passage = death
    passages = count(1)

    def die(at):
        if at == place and next(passages) == passage:
            os.kill(os.getpid(), signal.SIGKILL)

    commit, transaction, committing = AlertStore.commit, AlertStore._transaction, []

    def dying_commit(self, *args):
        die("before commit")
        committing.append(True)
        commit(self, *args)
        committing.clear()
        die("after commit")

    @contextmanager
    def dying_transaction(self):
        with transaction(self) as db:
            yield db
            if committing:
                die("before COMMIT")

    AlertStore.commit, AlertStore._transaction = dying_commit, dying_transaction
    run(RealTimeAnomalyDetector.load(model, settings), Recorded(items))


def test_kill_9_at_any_moment_loses_nothing_and_decides_nothing_twice(plant, tmp_path):
    X, stamps = live()
    items, model = samples(X, stamps, together=3), tmp_path / "model"
    plant.save(model)

    def settings(name):
        return {**CONFIG, "alpha_info": 0.5, "batch_windows": 8, "batch_seconds": 0,
                "queue_size": 60, "alert_config": {**ALERTS, "storage": {
                    "path": str(tmp_path / name), "commit_seconds": 0.02}}}

    whole = RealTimeAnomalyDetector.load(model, settings("whole.db"))
    run(whole, Recorded(items))
    start = multiprocessing.get_context("fork").Process
    deaths = [("before commit", 2), ("after commit", 3), ("before COMMIT", 2), (None, 0.4),
              ("after commit", 1), (None, 0.2), ("before commit", 5), ("", 0)]
    for place, passage in deaths:
        process = start(target=until_killed,
                        args=(model, settings("killed.db"), items, (place, passage)))
        process.start()
        if place is None:
            time.sleep(passage + random.random() / 10)
            process.kill()
        process.join(60)
        assert process.exitcode == (-signal.SIGKILL if place != "" else 0), (place, passage)
    with AlertStore(tmp_path / "killed.db") as store:
        assert store.integrity_check() == []
        assert store.restore("plant")[0] == N * len(NAMES) - 1
        for name in NAMES:
            assert steps(store, name) == steps(whole.store, name)
            stream = stream_of("plant", name)
            stored = [(v.end, round(v.p_value, 9)) for v in store.verdicts(stream=stream)]
            assert stored == [(v.end, round(v.p_value, 9))
                              for v in whole.store.verdicts(stream=stream)]
            trace = store.trace("plant", name)
            assert np.array_equal(np.unique(trace.seq), trace.seq) and len(trace) == N


def test_rows_that_wait_are_acknowledged_and_not_lost(plant, tmp_path):
    X, _ = live()
    first = Recorded([Sample(0, None, X["pump-1"][:23], entity="pump-1"),
                      Sample(23, None, X["pump-2"][:2], entity="pump-2")])
    run(on(plant, tmp_path / "a.db"), first)
    assert first.acknowledged == [0, 23]
    again = Recorded([*first.items, Sample(25, None, X["pump-2"][2:20], entity="pump-2")])
    engine = on(plant, tmp_path / "a.db")
    assert [(w["entity"], w["end"]) for w in run(engine, again)] == [("pump-2", 19)]
    assert again.acknowledged == [25] and engine.position == 42


# ------------------------------------------------------------------ names and rows from outside


HOSTILE = ["a/b", "a%2Fb", "a b", "a|b", "../../etc/passwd", "\u202eflow", "x\0", "x", "%", "🙂",
           "\ud800", "\n", " ", "'; DROP TABLE incidents; --", "plant", "plant/a", "n" * 200, "é",
           "e\u0301", "<script>", "-", ".", "*", "[a-c]", "None", "null"]


def test_any_text_names_an_entity_and_no_two_are_one(plant, tmp_path):
    engine = on(plant, tmp_path / "a.db")
    X = rows(200, 5)
    X[100:140] += 9
    found = run(engine, Recorded([Sample(len(HOSTILE) * t, np.full(len(HOSTILE), START + t),
                                         np.tile(X[t], (len(HOSTILE), 1)), entity=HOSTILE)
                                  for t in range(200)]))
    assert {window["entity"] for window in found} == {*HOSTILE}
    assert len(engine._streams.all) == len({s.name for s in engine._streams.all}) == len(HOSTILE)
    incidents = [i for i in engine.store.incidents() if i.kind == "anomaly"]
    assert {i.stream for i in incidents} == {
        "plant", *(stream_of("plant", name) for name in HOSTILE)}  # so many are also one
    again = on(plant, tmp_path / "a.db")
    run(again, Recorded([]))
    assert [s.entity for s in again._streams.all] == HOSTILE


def test_labels_come_in_any_sequence(plant):
    X = rows(25, 5)
    expected, _ = plant.fork().judge([Sample(None, None, X, entity="7")], flush=True)
    for labels in (np.array(["7"] * 25), np.array(["7"] * 25, object), pd.Series(["7"] * 25),
                   ("7",) * 25, np.str_("7"), pd.Index(["7"] * 25)):
        found, _ = plant.fork().judge([Sample(None, None, X, entity=labels)], flush=True)
        assert found == expected and len(found) == 2


BAD = [None, "", 5, 1.5, ["a"], b"a", np.nan, "n" * 201, object, {"a": 1}]


def test_rows_without_an_entity_are_poison_of_the_fleet_and_others_go_on(plant):
    engine, X = plant.fork(), rows(40, 5)
    items, seq = [], 0
    for t in range(40):
        items.append(Sample(seq, None, np.tile(X[t], (2, 1)), entity=["pump-1", BAD[t % len(BAD)]]))
        seq += 2
    items += [Sample(seq, None, X[:3], entity=["pump-1", "pump-2"]),  # one too few
              Sample(seq + 3, None, [[1.0, 2.0], [1.0]], entity=["pump-1", "pump-2"]),  # ragged
              Sample(seq + 4, None, np.ones((2, 3, 4)), entity=["pump-1", "pump-2"]),
              Sample(seq + 5, None, X[0])]
    verdicts, quality = engine.judge(items, flush=True)
    assert [v.stream for v in verdicts] == ["plant/pump-1"] * 5 and engine.position == seq + 5
    poison = [event for event in quality if event.kind == "poison"]
    assert {event.stream for event in poison} == {"plant"} and len(poison) == 44
    assert "entity must be a text of at most 200 characters, got int" in {
        event.detail for event in poison}


def test_a_history_has_no_entity_that_a_stream_would_refuse():
    for name in ("n" * 201, "\u00e9" * 10_000):
        entity = np.repeat(np.array(["pump-1", name], dtype=object), 300)
        with pytest.raises(ValueError, match="entity must be a text of at most 200 characters"):
            RealTimeAnomalyDetector(CONFIG).fit(rows(600, 5), entity=entity)


def test_a_row_that_cannot_be_read_is_poison_of_its_entity_alone(plant):
    engine, X = plant.fork(), rows(60, 5)
    values = X.tolist()
    values[30][1] = "broken"
    items = [Sample(2 * t, None, [values[t], X[t].tolist()], entity=["pump-1", "pump-2"])
             for t in range(60)]
    verdicts, quality = engine.judge(items, flush=True)
    clean, _ = plant.fork().judge([Sample(None, None, X, entity="pump-2")])
    assert [(e.stream, e.kind, e.start) for e in quality] == [("plant/pump-1", "poison", 30)]
    assert [v.p_value for v in verdicts if v.stream == "plant/pump-2"] == pytest.approx(
        [v.p_value for v in clean], rel=1e-9)


def test_a_flood_of_names_is_bounded_and_the_known_are_judged(plant):
    engine = plant.fork(fleet={"max_entities": 5})
    X, _ = live()
    verdicts, quality, seq = [], [], 0
    for t in range(60):
        flood = [f"new-{t}-{k}" for k in range(50)]
        found = engine.judge([Sample(seq, None, np.concatenate(
            [np.array([X[name][t] for name in NAMES]), rows(50, t)]), entity=[*NAMES, *flood])])
        verdicts, quality, seq = verdicts + found[0], quality + found[1], seq + 55
    assert len(engine._streams.all) == 5 and len(verdicts) == 5 * 9
    assert sum(e.kind == "poison" and "max_entities=5" in e.detail for e in quality) == 60 * 50
    (condition,) = engine._streams.troubles([], time.monotonic())
    assert condition.name == "entities" and "max_entities=5" in condition.detail


def test_rows_that_the_queue_drops_are_gaps_of_their_entities(plant):
    engine, X = plant.fork(), rows(100, 5)
    items = [Sample(2 * t, None, X[[t, t]], entity=["pump-1", "pump-2"]) for t in range(100)]
    inbox = Inbox(2, "drop_newest", engine._metrics, 0, {"offset": 0})

    async def overfull():
        await inbox._put(items[0])  # it is full
        for sample in (Sample(100, None, X[:4], entity="pump-1"),
                       Sample(104, None, X[:1], entity=["pump-2"])):
            await inbox._put(sample)

    asyncio.run(overfull())
    (lost,) = inbox.lost
    kept = [*items[:50], *(Sample(2 * t + 5, None, X[[t, t]], entity=["pump-1", "pump-2"])
                           for t in range(50, 95))]
    _, quality = engine.judge(engine._streams.due(kept, [lost]), flush=True)
    assert {(e.stream, e.kind, e.start, e.end) for e in quality if e.kind == "gap"} == {
        ("plant/pump-1", "gap", 50, 53), ("plant/pump-2", "gap", 50, 50)}
    assert [s.processor.position for s in engine._streams.all] == [98, 95]


def test_a_detector_that_fails_on_one_entity_judges_all_others(plant, monkeypatch):
    engine, X = plant.fork(), rows(200, 5)
    wild = X.copy()
    wild[50:60] = 1e7
    score = members_module.anomaly_score

    def refusing(model, values):
        if values.max() > 1e6:
            raise ArithmeticError("too large")
        return score(model, values)

    monkeypatch.setattr(members_module, "anomaly_score", refusing)
    verdicts, quality = [], []
    for t in range(0, 200, 10):
        part = slice(t, t + 10)
        found = engine.judge([Sample(None, None, np.concatenate([X[part], wild[part]]),
                                     entity=["calm"] * 10 + ["wild"] * 10)])
        verdicts, quality = verdicts + found[0], quality + found[1]
    calm, _ = plant.fork().judge([Sample(None, None, X, entity="calm")])
    assert [v.p_value for v in verdicts if v.stream == "plant/calm"] == pytest.approx(
        [v.p_value for v in calm], rel=1e-9)
    assert [(e.stream, e.kind) for e in quality if e.kind.startswith("detector")] == [
        ("plant/wild", "detector_failed")] * 2 + [("plant/wild", "detector_back")] * 2


@pytest.mark.parametrize("lost", [np.nan, 1.0])
def test_what_all_entities_lack_is_scored_together_as_of_one_alone(monkeypatch, lost):
    engine = fitted(detectors=["PCAReconstruction", "LinearForecast"])
    names, X = [f"e{k}" for k in range(12)], np.array([rows(300, 50 + k) for k in range(12)])
    X[:, 100:, 1] = lost
    X[3, 150:155] = np.nan  # and some rows at all
    X[4, 220:, 2] = lost
    calls, score = [], members_module.anomaly_score

    def counted(model, values):
        calls.append(len(values))
        return score(model, values)

    def judged(some):
        model, found = engine.fork(), []
        for t in range(0, 300, 20):
            found += model.judge([Sample(None, None, np.concatenate(X[some, t:t + 20]),
                                         entity=[names[k] for k in some for _ in range(20)])])[0]
        return found

    monkeypatch.setattr(members_module, "anomaly_score", counted)
    together = judged(list(range(12)))
    # a batch, the split of a score by features, and held-out rows of each pattern: no entity's own
    assert len(calls) < 2 * (15 + 1 + 14)
    for k, name in enumerate(names):
        mine, alone = [v for v in together if v.stream == f"plant/{name}"], judged([k])
        assert [(v.end, v.is_anomaly, v.left_out) for v in mine] == [
            (v.end, v.is_anomaly, v.left_out) for v in alone]
        for a, b in zip(mine, alone, strict=True):
            assert a.p_value == pytest.approx(b.p_value, rel=1e-9, nan_ok=True)
            np.testing.assert_allclose(np.array([*a.detectors.values()], float),
                                       np.array([*b.detectors.values()], float), rtol=1e-9)


def test_a_detector_that_fails_for_all_is_one_incident_of_the_fleet(plant, monkeypatch):
    engine, X = plant.fork(), rows(400, 5)
    engine._judge.clock = count().__next__

    def failing(model, values):
        raise ArithmeticError("broken")

    def judged(second):
        values = np.array([X[second]] * 3)
        verdicts, quality = engine.judge([Sample(
            None, np.full(3, START + second), values, entity=["a", "b", "c"])])
        return engine._streams.healths(verdicts, quality)

    told = [event for second in range(100) for event in judged(second)]
    monkeypatch.setattr(members_module, "anomaly_score", failing)
    for model in [m.model for s in engine._streams.all for m in s.members if m.online]:
        monkeypatch.setattr(model, "process", lambda values: failing(None, values))
    told += [event for second in range(100, 400) for event in judged(second)]
    assert told == [] and {m.name for m in engine.members if m.failures} == {
        "PCAReconstruction", "LinearForecast", "OnlineMahalanobis"}
    found = engine._streams.troubles([m for m in engine.members if m.failures], time.monotonic())
    assert [(c.name, c.subject) for c in found] == [
        ("member", "PCAReconstruction"), ("member", "LinearForecast"),
        ("member", "OnlineMahalanobis")]


def test_samples_out_of_order_are_put_in_their_place(plant):
    X, stamps = live()
    items = samples(X, stamps, together=1)[:200]
    whole, _ = plant.fork().judge(items, flush=True)
    late = np.argsort(np.arange(199) + 3 * rows(199, 1)[:, 0], kind="stable")
    mixed = [items[0], *(items[k + 1] for k in late)]
    found, quality = plant.fork(reorder=20 * len(NAMES)).judge(mixed, flush=True)
    assert sorted(map(repr, found)) == sorted(map(repr, whole))
    assert {e.kind for e in quality if e.stream == "plant"} == {"out_of_order"}


# ------------------------------------------------------------------ silent and forgotten


def test_silent_entities_are_told_and_many_are_one(plant):
    engine = plant.fork()
    now = [0.0]
    engine._streams._now = lambda: now[0]
    names = [f"m{k}" for k in range(20)]
    for second in range(400):
        now[0] = float(second)
        some = [name for k, name in enumerate(names) if not (k < 2 and second > 100)
                and not (k < 12 and second > 300)]
        engine.judge([Sample(None, None, rows(len(some), second), entity=some)])
        found = engine._streams.troubles([], now[0])
        if second == 250:
            assert [(c.name, c.subject) for c in found] == [("no_data", "m0"), ("no_data", "m1")]
    assert [(c.name, c.subject) for c in found] == [("no_data", "several")]
    assert "m11" in found[0].detail and "m12" not in found[0].detail
    assert found[0].detail.endswith(" send nothing")
    now[0] = 5_000.0  # nobody sends: that is another condition
    assert engine._streams.troubles([], now[0])[0].detail == found[0].detail


def test_a_silent_entity_opens_an_incident_and_the_engine_stays_ready(plant):
    engine, now = plant.fork(), [0.0]
    engine._streams._now, engine._streams._wall = lambda: now[0], lambda: START + now[0]
    inbox = SimpleNamespace(rows=0, closed=False, arrived=0.0, message=2, gap=1.0, dropped=0,
                            next=1)
    monitor = Monitor(engine._streams.health, inbox, engine.tally, clock=lambda: START + now[0],
                      monotonic=lambda: now[0],
                      troubles=lambda: engine._streams.troubles([], now[0]))
    for second in range(400):
        now[0] = inbox.arrived = float(second)
        names = ["a", "b"] if not 100 < second < 250 else ["a"]
        verdicts, quality = engine.judge([Sample(None, None, rows(len(names), second),
                                                 entity=names)])
        engine.tally.count(len(names), verdicts, quality)
        engine._streams.healths(verdicts, quality)
        monitor.beat()
        monitor.tick()
        if second in (50, 240, 399):
            assert [i.id for i in monitor.conditions.open] == [
                f"plant|health.no_data.b|{int(START) + 100}"] * (second == 240)
            assert monitor.status()["ready"], monitor.status()["reasons"]


def test_a_forgotten_entity_begins_anew_with_numbers_of_its_own(plant, tmp_path):
    engine = on(plant, tmp_path / "a.db", fleet={"forget": 3600})
    X = rows(143, 5)
    X[60:] += 9
    run(engine, Recorded([Sample(0, None, X, entity="pump-1"),
                          Sample(143, None, X[:40], entity="pump-2")]))
    assert engine.store.incidents(state="open")[0].stream == "plant/pump-1"
    engine._streams._wall = lambda: time.time() + 4_000
    engine._streams._seen[1] = time.time() + 4_000  # pump-2 was heard of meanwhile
    run(engine, Recorded([Sample(183, None, X[:40], entity="pump-2")]))
    assert [s.entity for s in engine._streams.all] == ["pump-2"]
    assert engine.store.incidents(state="open") == []
    found = run(engine, Recorded([Sample(223, None, X, entity="pump-1")]))
    assert found[0]["start"] == 145  # the grid of windows is the same
    assert len({i.id for i in engine.store.incidents() if i.kind == "anomaly"}) == 2


# ------------------------------------------------------------------ a cause common to many

MANY = [f"m{k:03}" for k in range(300)]


def storm(kind, ill, last, n=240):
    """Rows of 300 machines: so many have trouble from 60 on, so many of them to the end."""
    X = rows(n * len(MANY), 8).reshape(n, len(MANY), 3)
    until = np.where(np.arange(len(MANY)) < last, n, np.where(np.arange(len(MANY)) < ill, 130, 60))
    bad = (np.arange(n) >= 60)[:, None] & (np.arange(n)[:, None] < until)
    if kind == "missing":
        X[..., 1][bad] = np.nan
    elif kind == "frozen":
        X[bad] = 0.5
    else:
        X[bad] += 9
    return [Sample(at * len(MANY), START + np.repeat(np.arange(at, at + 10.0), len(MANY)),
                   X[at:at + 10].reshape(-1, 3), entity=MANY * 10) for at in range(0, n, 10)]


def messages(store):
    return [(e.id, e.time, e.incident.severity, e.incident.detail)
            for e in store.events() if e.notify]


@pytest.mark.parametrize("kind", ["missing", "frozen", "anomaly"])
def test_a_cause_common_to_a_fleet_is_one_message(plant, tmp_path, kind):
    of, items = "anomaly" if kind == "anomaly" else "health", storm(kind, 300, 5)
    whole = on(plant, tmp_path / "whole.db")
    run(whole, Recorded(items))
    told = [m for m in messages(whole.store) if whole.store.incident(m[0].rsplit("|", 2)[0]).kind
            == of]
    alone = {m[0].split("|")[0] for m in told[2:]}
    assert [m[0].split("|")[1::2] for m in told[:2]] == [
        [f"{of}.several", "open"], [f"{of}.several", "close"]]
    assert "300 of 300 entities" in told[0][3] and told[0][3].endswith(" and 280 more")
    assert alone == {stream_of("plant", name) for name in MANY[:5]}  # they go on
    assert {m[0].split("|")[3] for m in told[2:]} <= {"repeat", "update"}
    incidents = [i for i in whole.store.incidents() if i.kind == of and i.stream != "plant"]
    assert {i.stream for i in incidents} == {stream_of("plant", name) for name in MANY}

    for stop in (3_000, 5_500, 9_000, None):  # windows until it is left
        engine = on(plant, tmp_path / "parts.db")
        run(engine, Recorded(items), stop)
    assert messages(engine.store) == messages(whole.store)


@pytest.mark.parametrize("kind", ["missing", "anomaly"])
def test_trouble_of_a_few_is_reported_one_by_one(plant, tmp_path, kind):
    engine = on(plant, tmp_path / "a.db")
    run(engine, Recorded(storm(kind, 3, 0)))
    told = [m[0].split("|") for m in messages(engine.store)]
    assert sorted(m[0] for m in told if m[3] == "open") == [
        stream_of("plant", name) for name in MANY[:3]]
    assert sorted(m[0] for m in told if m[3] == "close") == [
        stream_of("plant", name) for name in MANY[:3]]


def incident_event(name, kind="open", severity="warning", time=0.0, cause="x0"):
    stream = stream_of("plant", name)
    return IncidentEvent(kind, Incident(
        f"{stream}|combined|7", stream, 7, 9, time, time, None, severity, 0.8, 1, ((cause, 1.0),),
        "open", False), time, kind == "open", 0)


def test_what_comes_bit_by_bit_is_folded_and_what_is_critical_gets_through(plant):
    engine = plant.fork()
    fleet, seen = engine._streams.health, []
    engine.judge([Sample(None, None, rows(20, 1), entity=MANY[:20])])

    def step(now, *events):
        seen.append([(e.incident.stream, e.kind, e.incident.severity) for e in fleet.fold(
            list(events), START + now, engine._manager) if e.notify])
        return seen[-1]

    for k in range(8):  # one by one, as long as nobody can know
        assert len(step(k, incident_event(MANY[k], time=START + k))) == 1
    assert step(8, incident_event(MANY[8], time=START + 8)) == [("plant", "open", "warning")]
    assert step(9, incident_event(MANY[9], time=START + 9)) == []
    assert step(500, incident_event(MANY[10], time=START + 500)) == []  # the same cause
    other = incident_event(MANY[11], time=START + 500, cause="x2")
    assert step(501, other) == [(stream_of("plant", MANY[11]), "open", "warning")]
    assert step(502, incident_event(MANY[9], "escalate", "critical", START + 502)) == [
        ("plant", "escalate", "critical")]
    assert step(503, incident_event(MANY[8], "escalate", "critical", START + 503)) == []
    news = [incident_event(MANY[k], time=START + 900, cause="x2") for k in range(11, 20)]
    state = engine._state()
    twin = plant.fork()
    twin._restore(0, state)
    assert [e.id for e in twin._streams.health.fold(
        [incident_event(MANY[k], "close", time=START + 600) for k in range(12)],
        START + 600, twin._manager) if e.incident.stream == "plant"] == []
    ended = twin._streams.health.fold([], START + 700, twin._manager)
    assert [(e.id, e.notify) for e in ended] == [
        (f"plant|anomaly.several|{int(START)}|close|3", True)] and not twin._manager.held
    assert step(900, *(replace(e, incident=replace(e.incident, id=e.incident.id + "1"))
                       for e in news)) == [("plant", "update", "critical")]


# ------------------------------------------------------------------ the state of many


def test_states_of_many_are_stacked_and_only_what_changed_is_kept():
    rng = np.random.default_rng(0)
    trees = [{"a": k, "b": rng.normal(size=(4, 2)), "c": [1.0, 2.0][:k % 3], "d": {}, "e": None,
              "f": [[k, "x"], {"g": rng.normal(size=k)}], "h": (k, 0.5), "i": k or None}
             for k in range(5)]
    found = unstacked(unpack(pack(stacked(trees))), 5)
    for tree, again in zip(trees, found, strict=True):
        assert np.array_equal(again["b"], tree["b"]) and again["c"] == tree["c"]
        assert np.array_equal(again["f"][1]["g"], tree["f"][1]["g"])
        assert {key: again[key] for key in "adei"} == {key: tree[key] for key in "adei"}
        assert again["h"] == [*tree["h"]] and again["f"][0] == tree["f"][0]
    old = rng.bytes(500_003)
    changes, states = b"", [old]
    for n in (500_003, 500_090, 499_000, 700_001):
        new = bytearray((states[-1] + rng.bytes(n))[:n])
        new[1000:1500] = rng.bytes(500)
        states.append(bytes(new))
        changes += change(states[-2], states[-1], n)
    assert replay(old, changes + bytes(64)) == (700_001, states[-1])
    assert len(changes) < 210_000
    with pytest.raises(ValueError, match="change"):
        replay(old, changes[:100] + b"\1\2\3" + changes[103:])


def test_a_checkpoint_of_a_fleet_is_none_of_a_single_stream(plant, tmp_path, caplog):
    X = rows(60, 5)
    run(on(plant, tmp_path / "a.db"), Recorded([Sample(0, None, X, entity="pump-1")]))
    one = on(plant, tmp_path / "a.db", fleet=None)
    run(one, Recorded([Sample(60, None, X)]))
    assert "checkpoint of stream plant" in caplog.text and one.position == 119
    assert all(isinstance(event, QualityEvent) for event in one.store.quality())


def test_a_caller_may_reuse_its_arrays(plant):
    X, buffer, stamps = rows(60, 5), np.empty((1, 3)), np.empty(1)
    whole, _ = plant.fork().judge([Sample(None, START + np.arange(60.0), X, entity="pump-1")])
    engine, found = plant.fork(), []
    for second in range(60):
        buffer[:], stamps[:] = X[second], START + second
        found += engine.judge([Sample(None, stamps, buffer, entity=["pump-1"])])[0]
    assert [v.p_value for v in found] == pytest.approx([v.p_value for v in whole], rel=1e-9)
    assert [v.time for v in found] == [v.time for v in whole]
