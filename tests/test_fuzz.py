"""Every public name of adlib, called with spoiled arguments: see `fuzzing`.

``python tests/test_fuzz.py 20 metrics drift`` tries every spoil of every argument of two families
twenty times, and lists what broke.
"""

import inspect
import random
import sys
import tempfile
import warnings
from collections import Counter
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from fuzzing import (
    Kind,
    Tally,
    Target,
    Violation,
    array,
    attempt,
    choice,
    fixed,
    labels,
    number,
    rows,
    switch,
    vector,
)
from hypothesis import HealthCheck, given, settings
from realtime_windows import cut

import adlib

warnings.filterwarnings("ignore", category=RuntimeWarning, module="importlib")
FAMILIES = {}


def family(make):
    """Register a function that yields targets, under its name."""
    FAMILIES[make.__name__] = make
    return make


# -- what results look like -------------------------------------------------------------------


def _number_in(low, high):
    def check(result, args):
        assert isinstance(result, (float, int)) and not isinstance(result, bool)
        assert np.isnan(result) or low <= result <= high
    return check


def _scores(result, args):
    assert result.shape == (len(args["X"]),) and result.dtype == np.float64
    assert np.isfinite(result).all()


def _array(*shape, finite=True):
    def check(result, args):
        assert isinstance(result, np.ndarray)
        assert len(result.shape) == len(shape)
        assert all(want in (None, got) for want, got in zip(shape, result.shape, strict=True))
        assert not finite or np.isfinite(result).all()
    return check


def _instance(kind):
    def check(result, args):
        assert isinstance(result, kind), type(result)
    return check


def _anything(result, args):
    assert result is not NotImplemented


# -- families ---------------------------------------------------------------------------------


@family
def metrics():
    from adlib import metrics as m

    own = list(_metrics_with_targets(m))
    yield from own
    tried = {target.name for target in own}
    for name, metric in m.all_metrics().items():  # a new one needs its record alone
        if name in m.__all__ and name not in tried:
            truth, judged = list(inspect.signature(getattr(m, name)).parameters)[:2]
            yield Target(name, getattr(m, name), {
                truth: labels(), judged: vector() if metric.needs == "score" else labels()},
                _number_in(-np.inf, np.inf))


def _metrics_with_targets(m):
    """Those that take more than labels and scores, or are known to lie in an interval."""
    unit = _number_in(-1e-9, 1 + 1e-9)
    flags = {"y_true": labels(), "pred": labels()}
    scored = {"y_true": labels(), "score": vector()}
    judged = {"judged": array(lambda rng: np.arange(60) > 3, optional=True)}
    for name in ("precision", "recall", "f1", "false_positive_rate", "event_precision",
                 "event_recall", "event_f1", "composite_f1"):
        yield Target(name, getattr(m, name), {**flags, **judged}, unit)
    for name in ("roc_auc", "average_precision", "best_f1"):
        yield Target(name, getattr(m, name), {**scored, **judged}, unit)
    for name in ("affiliation_precision", "affiliation_recall", "affiliation_f1"):
        yield Target(name, getattr(m, name), flags, unit)
    for name in ("point_adjusted_precision", "point_adjusted_recall", "point_adjusted_f1"):
        yield Target(name, getattr(m, name), {**flags, "k": number(20.0), **judged}, unit)
    shape = {"bias": choice("flat", "front", "middle", "back"),
             "cardinality": choice("one", "reciprocal", lambda n: 1 / n)}
    yield Target("range_precision", m.range_precision, {**flags, **shape}, unit)
    for name in ("range_recall", "range_f1"):
        yield Target(name, getattr(m, name), {**flags, "alpha": number(0.5), **shape}, unit)
    yield Target("confusion_matrix", m.confusion_matrix, {**flags, **judged}, _array(2, 2))
    yield Target("alarm_count", m.alarm_count, {"pred": labels(), **judged}, _number_in(0, 60))
    yield Target("alarms_per_day", lambda pred, interval, judged: m.alarms_per_day(
        pred, interval=interval, judged=judged), {"pred": labels(), "interval": number("5min"),
                                                  **judged}, _number_in(0, np.inf))
    times = array(lambda rng: np.datetime64("2024-01-01") + np.arange(60) * np.timedelta64(60, "s"))
    yield Target("alarms_per_day", lambda pred, time: m.alarms_per_day(pred, time=time),
                 {"pred": labels(), "time": times}, _number_in(0, np.inf), says=("interval",))
    yield Target("detection_delay", m.detection_delay, {**flags, **judged},
                 _array(None, finite=False))
    profiles = choice("standard", "reward_low_FP", "reward_low_FN_rate")
    yield Target("nab_score", m.nab_score, {**flags, "profile": profiles,
                                            "normalize": switch(True)},
                 _number_in(-np.inf, 100.0001))
    yield Target("nab_corpus", lambda y_true, score, profile: m.nab_corpus(
        [y_true], [score], profile), {**scored, "profile": profiles},
        lambda r, g: _number_in(0, 100.0001)(r.score, g))
    yield Target("nab_corpus", m.nab_corpus, {
        "y_true": fixed(lambda rng: [np.arange(60) == 40] * 2, one=[np.arange(60) == 40]),
        "score": fixed(lambda rng: [rng.normal(size=60)] * 2, frame=pd.DataFrame({"a": [1, 2]})),
        "profile": profiles}, lambda r, g: _number_in(0, 100.0001)(r.score, g))
    yield Target("Metric", lambda **fields: m.Metric("mine", len, **fields), {
        "needs": choice("score", "flags"), "best": choice("high", "low"), "chance": number(0.5),
        "perfect": number(1.0)}, lambda r, g: r.name == "mine")
    yield Target("net_benefit", m.net_benefit, {**flags, "threshold": number(0.2),
                                                "prevalence": number(0.1), **judged},
                 _number_in(-np.inf, 1))
    yield Target("sensitivity_at_specificity", m.sensitivity_at_specificity,
                 {**scored, "specificity": number(0.9), **judged}, unit)
    yield Target("ucr_score", m.ucr_score, {
        "y_true": array(lambda rng: (np.arange(60) // 5 == 4).astype(int)), "score": vector(),
        "tolerance": number(3), **judged}, unit)
    yield Target("k_delay_f1", m.k_delay_f1, {**flags, "delay": number(3), **judged}, unit)
    queue = {"capacity": number(2), "period": array(lambda rng: np.arange(60) // 20, optional=True)}
    yield Target("average_precision_at_budget", m.average_precision_at_budget, {
        **scored, "budget": number(0.2), **judged}, unit)
    yield Target("precision_at_capacity", m.precision_at_capacity, {**scored, **queue, **judged},
                 unit)
    yield Target("value_at_capacity", m.value_at_capacity, {
        **scored, **queue, "value": array(lambda rng: rng.random(60), optional=True), **judged},
        unit)
    volume = {**scored, "window": number(4, huge=False), "n_thresholds": number(20, huge=False),
              **judged}

    def pair(result, args):
        assert len(result) == 2 and all(np.isnan(v) or -1e-9 <= v <= 1.5 for v in result)
    yield Target("vus", m.vus, volume, pair)
    for name in ("vus_pr", "vus_roc"):
        yield Target(name, getattr(m, name), volume, _number_in(-1e-9, 1.5))

    def table(result, args):
        columns = ["metric", "value", "random", "above_chance", "low", "high", "p_chance",
                   "blocks"]
        assert list(result.columns) == columns and len(result) > 2
    yield Target("hit_rate", m.hit_rate, {
        "y_true": array(lambda r: (r.random((60, 3)) < 0.2).astype(int)),
        "blame": array(lambda r: r.normal(size=(60, 3))), "percent": number(100.0)}, unit)
    yield Target("operating_points", m.operating_points, {
        "y_true": labels(), "score": vector(), "threshold": number(1.0),
        "judged": labels(optional=True), "series": switch(True), "interval": number(60.0),
        "n_points": number(40, huge=False)}, _instance(pd.DataFrame))
    yield Target("report", m.report, {
        **scored, "threshold": number(1.0), "threshold_source": choice("calibration"),
        "interval": number("5min"), **judged,
        "kind": fixed(lambda rng: np.where(np.arange(60) % 2, "a", "b"), short=np.array(["a"]),
                      numbers=np.arange(60), frame=pd.DataFrame(np.zeros((60, 2)))),
        "series": number(1, huge=False), "window": number(4, huge=False),
        "n_random": number(3, huge=False),
        "intervals": number(1, huge=False), "memory": number(3), "random_state": number(0)}, table)
    yield Target("report", lambda y_true, score, time: m.report(
        y_true, score, time=time, n_random=2), {**scored, "time": times}, table,
        says=("interval",))


@family
def thresholds():
    from adlib import thresholds as t

    def cut(result, args):
        assert isinstance(result, float) and not np.isnan(result)
    scores = {"scores": vector(200)}
    own = {
        t.Fixed: {"value": number(1.0)}, t.Sigma: {"n_sigmas": number(3.0)},
        t.Quantile: {"q": number(0.9)},
        t.Conformal: {"alpha": number(0.1), "block": choice(None, "auto", 5),
                      "smoothing": number(2)},
        t.POT: {"alpha": number(0.01), "tail": number(0.2)},
        t.Tracking: {"alpha": number(0.1), "step": number(0.05)},
        t.SPOT: {"alpha": number(0.01), "tail": number(0.2), "memory": number(100, huge=False),
                 "depth": number(5)},
    }
    for cls, params in own.items():
        yield Target(cls.__name__, lambda scores, cls=cls, **p: cls(**p).fit(scores).value_,
                     {**scores, **params}, cut, says=(cls.__name__,))
    budget = {"per": choice("3/hour"), "interval": number("1min"), "refractory": number(3)}
    for cls in (t.Conformal, t.POT):
        yield Target(cls.__name__, lambda scores, cls=cls, **p: cls(**p).fit(scores).value_,
                     {"scores": vector(400), **budget}, cut, says=(cls.__name__,))
    for cls in (t.Tracking, t.SPOT):
        yield Target(f"{cls.__name__}.process", lambda scores, cls=cls: cls(alpha=0.05).fit(
            np.random.default_rng(0).normal(size=200)).process(scores), scores,
            _array(None), says=(cls.__name__,))
        yield Target(f"{cls.__name__}.update", lambda score, cls=cls: cls(alpha=0.05).fit(
            np.random.default_rng(0).normal(size=200)).update(score), {"score": number(1.0)},
            _instance(bool))
    yield Target("Calibration", lambda scores, tail: t.Calibration(tail=tail).fit(scores).p_value(
        [0.0]), {**scores, "tail": number(0.1)}, _array(1))
    calibration = t.Calibration().fit(np.random.default_rng(0).normal(size=200))

    def same_length(low, high):
        def check(result, args):
            assert np.shape(result) == np.shape(args["scores"])
            known = np.ravel(result)[~np.isnan(np.asarray(args["scores"], dtype=float).ravel())]
            assert (low <= known).all() and (known <= high).all()
        return check
    for method, bounds in (("p_value", (0, 1)), ("log_p", (-np.inf, 0)), ("surprise", (0, np.inf)),
                           ("is_extrapolated", (False, True))):
        yield Target(f"Calibration.{method}", getattr(calibration, method), scores,
                     same_length(*bounds))
    yield Target("Calibration.p_value", lambda scores: calibration.p_value(
        scores, extrapolate=True), scores, same_length(0, 1))
    yield Target("Calibration.severity", calibration.severity, {**scores, "alpha": number(0.05)},
                 same_length(0, 1))

    def between(result, args):
        assert np.shape(result) == np.shape(args["log_p"])
        known = np.ravel(result)[~np.isnan(np.asarray(args["log_p"], dtype=float).ravel())]
        assert (known >= 0).all() and (known <= 1).all()
    yield Target("severity", t.severity, {"log_p": array(lambda rng: -rng.exponential(size=20)),
                                          "alpha": number(0.05), "alpha_critical": number(0.005)},
                 between)
    yield Target("decide", lambda log_p, alpha: t.decide(log_p, alpha)[0], {
        "log_p": array(lambda rng: -rng.exponential(size=20)), "alpha": number(0.05)}, between)
    p = {"p": array(lambda rng: rng.random(60))}
    yield Target("benjamini_hochberg", t.benjamini_hochberg,
                 {**p, "fdr": number(0.1), "n_calibration": number(500)},
                 lambda r, g: _array(None)(r.is_discovery, g))
    yield Target("OnlineFDR.process", lambda p, fdr, memory: t.OnlineFDR(
        fdr, memory=memory).process(p), {**p, "fdr": number(0.1), "memory": number(100)},
        _array(None))
    yield Target("OnlineFDR.update", lambda p: t.OnlineFDR().update(p), {"p": number(0.5)},
                 _instance(bool))
    yield Target("ExchangeabilityTest", lambda scores, order, random_state: t.ExchangeabilityTest(
        order=order, random_state=random_state).fit(scores).process(scores),
        {"scores": vector(200), "order": number(1), "random_state": number(0)}, _array(None))
    yield Target("ExchangeabilityTest.update", lambda score: t.ExchangeabilityTest().fit(
        np.arange(50.0)).update(score), {"score": number(1.0)}, _instance(float))
    yield Target("as_scores", t.as_scores, scores, _array(None))
    yield Target("check_alpha", t.check_alpha, {"alpha": number(0.1)}, _number_in(0, 1))
    yield Target("effective_size", t.effective_size, {**scores, "alpha": number(0.1),
                                                      "block": choice("auto", 10)},
                 _number_in(0, 1000))
    yield Target("fit_pareto", t.fit_pareto, {"excess": array(lambda rng: rng.exponential(
        size=100))}, lambda r, g: _array(2)(np.array(r), g))


@family
def windows():
    from adlib import windows as w

    yield Target("windows", w.windows, {"X": rows(), "length": number(4, huge=False)},
                 _array(None, None, None, finite=False))
    yield Target("Windows", lambda X, length, max_bytes: w.Windows(
        length, max_bytes=max_bytes).fit_transform(X),
        {"X": rows(), "length": number(4), "max_bytes": number(10**8)}, _array(None, None))
    fitted = w.Windows(3).fit(np.zeros((5, 3)))
    yield Target("Windows.transform", fitted.transform, {"X": rows()}, _array(None, 9))
    names = fixed(lambda rng: ["a", "b", "c"], few=["a"], numbers=[1, 2, 3], array=np.array("abc"))
    yield Target("Windows.get_feature_names_out", fitted.get_feature_names_out,
                 {"input_features": names}, _array(None, finite=False))
    some = {"lags": fixed(lambda rng: [1, 3], float=[1.0], zero=[0], text="12"),
            "differences": fixed(lambda rng: [1], float=[1.5], huge=[10**18]),
            "rolling": fixed(lambda rng: [4], one=[1], texts=["a"]),
            "statistics": fixed(lambda rng: ["mean", "max"], odd=["mode"], numbers=[1],
                                list=[["m"]])}
    yield Target("TimeFeatures", lambda X, **p: w.TimeFeatures(**p).fit_transform(X),
                 {"X": rows(), **some}, _array(None, None))
    clock = fixed(lambda rng: pd.DataFrame(np.zeros((48, 2)), index=pd.date_range(
        "2024-03-31", periods=48, freq="h", tz="Europe/Berlin")),
        naive=pd.DataFrame(np.zeros((48, 2)), index=pd.date_range("2024", periods=48, freq="h")),
        doubled=pd.DataFrame(np.zeros((2, 1)), index=pd.to_datetime(["2024-01-01"] * 2)),
        ancient=pd.DataFrame(np.zeros((2, 1)), index=np.array(["0001-01-01", "9999-01-01"],
                                                              "datetime64[s]")),
        missing=pd.DataFrame(np.zeros((2, 1)), index=pd.to_datetime(["2024-01-01", None])),
        periods=pd.DataFrame(np.zeros((2, 1)), index=pd.period_range("2024", periods=2)),
        two_zones=pd.DataFrame(np.zeros((2, 1)), index=[pd.Timestamp("2024", tz="UTC"),
                                                        pd.Timestamp("2024", tz="Asia/Tokyo")]),
        empty=pd.DataFrame(np.zeros((0, 2)), index=pd.DatetimeIndex([])), array=np.zeros((4, 2)))
    yield Target("TimeFeatures", lambda X, periods: w.TimeFeatures(
        lags=[], rolling=[], periods=periods).fit_transform(X),
        {"X": clock, "periods": fixed(lambda rng: ["1D", 3600.0], zero=[0], negative=["-1D"],
                                      text="1D", odd=["often"], tiny=[1e-12], huge=[1e300],
                                      nan=[np.nan], none=[None], month=["1M"])},
        _array(None, None))
    timed = w.TimeFeatures().fit(np.zeros((30, 3)))
    yield Target("TimeFeatures.transform", timed.transform, {"X": rows()}, _array(None, None))
    yield Target("TimeFeatures.get_feature_names_out", timed.get_feature_names_out,
                 {"input_features": names}, _array(None, finite=False))


@family
def datasets():
    from adlib import datasets as d
    from adlib.datasets import Dataset, Splits

    n = 60
    whole = {"X": rows(), "y": labels(optional=True)}
    stamps = array(lambda rng: np.datetime64("2024-01-01") + np.arange(n) * np.timedelta64(60, "s"),
                   optional=True)
    texts = array(lambda rng: np.where(np.isin(np.arange(n), [20, 21, 22, 23, 40]), "spike", ""),
                  optional=True)

    def sound(result, args):
        assert isinstance(result, Dataset) and not result.X.flags.writeable
        assert result.y.dtype == np.int8 and len(result.y) == len(result) == len(result.kind)
        assert len(result.fingerprint) == 64 and result.describe()["rows"] == len(result)
        assert len(result.to_frame()) == len(result) and len(result.events) >= 0

    yield Target("Dataset", lambda **k: Dataset("own", **k), {
        **whole, "time": stamps, "kind": texts, "train_end": number(30),
        "calibrate_start": number(20), "session": array(lambda rng: np.arange(n) // 30,
                                                        optional=True)}, sound)
    yield Target("Dataset", lambda **k: Dataset(**k), {
        "name": fixed(lambda rng: "ünïcode \N{SNOWMAN}"), "X": rows(),
        "feature_names": fixed(lambda rng: ["a", "b", "c"], doubled=["a", "a", "b"], few=["a"],
                               odd=[None, 1, "ü"]),
        "source": fixed(lambda rng: "made"), "oracle": vector(optional=True),
        "strength": vector(optional=True), "channel": texts,
        "series": choice(None, True, False),
        "interval": number(60.0)}, sound)
    data = Dataset("own", np.random.default_rng(0).normal(size=(n, 3)), np.arange(n) > 50,
                   train_end=40)
    yield Target("Dataset.slices", data.slices, {"purge": number(2)}, _instance(Splits))
    yield Target("Dataset.split", data.split, {"purge": number(2)}, _instance(Splits))
    yield Target("Dataset.cut", data.cut, {"rows": fixed(
        lambda rng: slice(3, 30), backwards=slice(30, 3), step=slice(0, 10, 2),
        wild=slice(-1000, 10**30), floats=slice(0.5, 3), text=slice("a", "b"))}, sound)
    yield Target("card", d.card, {"name": choice("nab", "skab")}, _instance(str))

    ladder = fixed(lambda rng: (3.0, 4.0), nan=(np.nan, 1.0), negative=-1.0, zero=0.0, texts=("a",))
    for name in ("make_fraud", "make_intrusion", "make_manufacturing", "make_medical"):
        yield Target(name, getattr(d, name), {
            "n_samples": number(60, huge=False), "anomaly_ratio": number(0.1), "strength": ladder,
            "train_fraction": number(0.5), "random_state": number(0)}, sound)
    yield Target("make_sensor_stream", d.make_sensor_stream, {
        "n_points": number(100, huge=False), "anomaly_ratio": number(0.05),
        "train_fraction": number(0.4), "contaminate_train": switch(False), "period": number(20),
        "strength": ladder, "random_state": number(0)}, sound)
    kinds = fixed(lambda rng: ("spike", "level_shift"), unknown=("flash",), numbers=(1, 2), none=())
    length = fixed(lambda rng: (4, 6), falling=(6, 4), zero=0, long=10**6, triple=(1, 2, 3))
    some = {"kinds": kinds, "n_events": number(4, huge=False), "length": length,
            "strength": ladder, "random_state": number(0)}
    yield Target("make_sine", d.make_sine, {
        "n_points": number(200, huge=False), "noise": number(0.1), "period": number(20),
        "train_fraction": number(0.4), **some}, sound, says=("kind",))
    yield Target("make_telemetry", d.make_telemetry, {
        "n_points": number(300, huge=False), "n_channels": number(4, huge=False),
        "drift": number(0.5), "period": number(50), "train_fraction": number(0.4),
        "missing": choice("nan", "hold", -1.0), **some}, sound, says=("kind",))
    yield Target("inject", d.inject, {
        "data": array(lambda rng: np.sin(np.arange(200) / 5)[:, None] + 0.1 * rng.normal(
            size=(200, 2))), **some, "start": number(50), "min_gap": number(1),
        "columns": fixed(lambda rng: [0], unknown=["who"], negative=[-1], empty=[], float=[0.5]),
        "n_columns": number(1), "period": number(30), "missing": choice("nan", "hold", 0.0)}, sound,
        says=("injected", "kind", "columns vary"))
    yield Target("inject", lambda data, kinds: d.inject(data, kinds, n_events=1, length=4,
                                                        random_state=0), {
        "data": array(lambda rng: np.sin(np.arange(200) / 5)[:, None] + 0.1 * rng.normal(
            size=(200, 2))), "kinds": choice(*d.KINDS)}, sound,
        says=("injected", "kind", "n_events", "n_columns", "period"))
    yield Target("injector", lambda name, point: (
        d.injector(name, point=point)(lambda event: event.values), d.KINDS.pop(name)),
        {"name": fixed(lambda rng: "mine"), "point": switch(True)}, _instance(tuple))


@family
def loaders():
    import json

    from adlib import datasets as d
    from adlib.datasets import Dataset

    def sound(result, args):
        assert isinstance(result, (Dataset, dict))

    folder = Path(tempfile.mkdtemp(prefix="adlib-fuzz-"))
    day = pd.date_range("2024-03-30 22:00", periods=40, freq="15min", tz="Europe/Berlin")
    frame = pd.DataFrame({"when": day.strftime("%Y-%m-%d %H:%M:%S%z"), "heat": np.arange(40.0),
                          "flöw": np.cos(np.arange(40)), "state": ["ok", "fault"] * 20})
    files = {
        "good": frame.to_csv(index=False), "no bytes": "", "header only": "when,heat,state\n",
        "blank lines": "\n\n\n", "one column": "a\n1\n2\n", "no header": "1,2\n3,4\n5,6\n",
        "ragged": "a,b\n1,2\n3,4,5\n6\n", "quotes": 'a,b\n"1,2\n3,4\n',
        "null bytes": "a,b\n1,\x00\n",
        "only text": "a,b\nx,y\nz,w\n", "doubled names": "a,a\n1,2\n3,4\n",
        "nameless": ",b\n1,2\n3,4\n", "spaces": " a , b \n 1 , 2 \n 3 , 4 \n",
        "unicode": "température \N{SNOWMAN},ÿ\n1,2\n3,4\n5,6\n", "nan": "a,b\nnan,\n,inf\n1,2\n",
        "huge": "a,b\n1e400,1e308\n1,-1e308\n2,3\n", "decimal commas": "a;b\n1,5;2,5\n3,5;4,5\n",
        "thousands": 'a;b\n"1.234,5";2\n3;4\n', "mixed": "a,b\n1,x\ny,2\n3,4\n",
        "doubled times": "when,heat\n" + "2024-01-01,1\n" * 5 + "2024-01-02,2\n",
        "falling times": "when,heat\n2024-01-03,1\n2024-01-02,2\n2024-01-01,3\n",
        "two zones": "when,heat\n2024-01-01T00:00+01:00,1\n2024-01-01T00:00-05:00,2\n"
                     "2024-01-02T00:00Z,3\n",
        "zone and none": "when,heat\n2024-01-01T00:00+01:00,1\n2024-01-01T00:10,2\n",
        "odd times": "when,heat\nyesterday,1\n2024-13-45,2\n", "no times": "when,heat\n,1\n,2\n",
        "far times": "when,heat\n0001-01-01,1\n9999-12-31,2\n",
        "numbers as times": "when,heat\n1,1\n2,2\n3,3\n", "booleans": "a,b\nTrue,1\nFalse,2\n",
        "long line": "a\n" + "1," * 5_000 + "\n", "json": json.dumps({"a": [1, 2]}),
    }
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    (folder / "latin.csv").write_bytes("größe,b\n1,2\n3,4\n".encode("latin-1"))
    (folder / "utf16.csv").write_bytes("a,b\n1,2\n3,4\n".encode("utf-16"))
    (folder / "bytes.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "broken.parquet").write_bytes(b"PAR1 nothing")
    (folder / "windows.json").write_text(json.dumps({"good.csv": [["2024-03-31", "2024-04-01"]]}))
    paths = fixed(lambda rng: folder / "good.csv", absent=folder / "no.csv", folder=folder,
                  **{p.name: p for p in sorted(folder.iterdir())})
    columns = {
        "label_column": fixed(lambda rng: "state", absent="label", feature="heat", when="when"),
        "time_column": fixed(lambda rng: "when", absent="time", feature="heat", state="state"),
        "feature_columns": fixed(lambda rng: ["heat", "flöw"], absent=["who"], text=["state"],
                                 when=["when"], doubled=["heat", "heat"]),
        "normal_label": fixed(lambda rng: "ok", other="fault"),
        "split": choice("time"), "train_fraction": number(0.5),
        "train_rows": choice(None, 2), "clean_history": choice(False, True),
        "entity_column": fixed(lambda rng: None, absent="who", texts="state"),
        "missing": choice("error", "drop", "hold", "keep"),
        "categorical": choice("drop", "onehot"),
        "time_unit": choice(None), "name": fixed(lambda rng: "mine"),
    }
    says = tuple(p.name for p in folder.iterdir()) + ("no.csv", folder.name)
    yield Target("load_csv", d.load_csv, {"path": paths, **columns}, sound, says=says)
    yield Target("load_csv", d.load_csv, {"path": paths, "time_unit": choice(None, "s", "ms")},
                 sound, says=says)
    yield Target("load_csv", lambda path, time_column, label_column: d.load_csv(
        path, time_column=time_column, label_column=label_column),
        {"path": paths, "time_column": choice("when"), "label_column": choice(None)}, sound,
        says=says)
    spans = fixed(lambda rng: [("2024-03-31", "2024-04-01")], file=folder / "windows.json",
                  absent=folder / "no.json", broken=folder / "good.csv", backwards=[
                      ("2024-04-01", "2024-03-01")], triples=[(1, 2, 3)], odd=[("a", "b")],
                  flat=["2024-03-31", "2024-04-01"], zone=[("2024-03-31T00:00+09:00",
                                                            "2024-03-31T12:00Z")])
    yield Target("load_csv", lambda label_windows: d.load_csv(
        folder / "good.csv", time_column="when", label_windows=label_windows),
        {"label_windows": spans}, sound, says=says)
    yield Target("load_sklearn", d.load_sklearn, {
        "name": choice("breast_cancer"), "anomaly_class": number(0), "random_state": number(0)},
        sound)
    root = fixed(lambda rng: folder, absent=folder / "nowhere", file=folder / "good.csv")
    del root.spoils["None"]  # which means the network, or whatever ADLIB_DATA holds
    odd = fixed(lambda rng: "absent/none.csv", up="../../etc/passwd", null="a\x00b",
                long="a" * 5000)
    for name in ("load_nab", "load_adbench", "load_skab"):
        yield Target(name, getattr(d, name), {"name": odd, "root": root}, sound,
                     says=("ADLIB_DATA", "folder"))
    yield Target("load_tsb", d.load_tsb, {
        "name": odd, "part": choice("U", "M", None), "root": root}, sound,
        says=("ADLIB_DATA", "folder"))
    yield Target("load_odd", d.load_odd, {
        "name": odd, "part": choice("oddbench", "ovrbench", None), "root": root}, sound,
        says=("ADLIB_DATA", "folder"))
    yield Target("load_telemetry", lambda sessions, root: d.load_telemetry(sessions, root=root), {
        "sessions": fixed(lambda rng: [1], none=[], texts=["a"], negative=[-1], huge=[10**30]),
        "root": root}, sound, says=("folder", "session"))


def _detector_targets(cls, shapes, n=60, d=3, **small):
    """Every way to call one detector: fit with spoiled rows and parameters, score, stream."""
    import copy

    from adlib.base import OnlineDetector

    X = np.random.default_rng(3).normal(size=(n, d))
    params = inspect.signature(cls).parameters
    kinds = {}
    for name, param in params.items():
        valid = small.get(name, param.default)
        if name in ("device", "activation", "norm", "combine", "method", "calibration"):
            kinds[name] = choice(valid)
        elif isinstance(valid, bool):
            kinds[name] = switch(valid)
        elif valid is None or isinstance(valid, (int, float)):
            kinds[name] = number(valid, huge=False)
        else:
            kinds[name] = fixed(lambda rng, v=valid: copy.deepcopy(v))

    def fitted(result, args):
        assert isinstance(result, cls) and result.n_features_in_ >= 1
        assert not hasattr(result, "threshold_") or not np.isnan(result.threshold_)

    says = ("X", cls.__name__, "rows", "n_features", "seed")
    name = cls.__name__
    yield Target(f"{name}.fit", lambda X, **k: cls(**{**small, **k}).fit(X),
                 {"X": rows(n, d), **kinds}, fitted, says=says)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cls(**small).fit(X)
    yield Target(f"{name}.decision_function", model.decision_function, {"X": rows(20, d)},
                 _array(None, finite=False), says=says)
    for method in ("anomaly_score", "frozen_score", "tail_score", "severity", "score_samples"):
        yield Target(f"{name}.{method}", getattr(model, method), {"X": rows(20, d)}, _scores,
                     says=says)
    yield Target(f"{name}.predict", model.predict, {"X": rows(20, d)}, _array(None), says=says)
    yield Target(f"{name}.contributions", model.contributions, {"X": rows(20, d)},
                 _array(None, d), says=(*says, "contributions"))

    def decided(result, args):
        assert result.is_anomaly.dtype == bool and len(result.is_anomaly) == len(result.score)
    yield Target(f"{name}.detect", model.detect, {"X": rows(20, d)}, decided, says=says)
    yield Target(f"{name}.calibrate", lambda X_normal: copy.deepcopy(model).calibrate(X_normal),
                 {"X_normal": rows(40, d)}, fitted, says=(*says, "scores", "window"))
    if isinstance(model, OnlineDetector):
        for method in ("process", "partial_fit"):
            yield Target(f"{name}.{method}", lambda X, m=method: getattr(
                copy.deepcopy(model), m)(X), {"X": rows(20, d)}, _anything, says=says)
        for method in ("score_one", "learn_one", "process_one"):
            yield Target(f"{name}.{method}", lambda x, m=method: getattr(
                copy.deepcopy(model), m)(x), {"x": vector(d)}, _anything, says=says)
        yield Target(f"{name}.process", lambda X: cls(**small).process(X), {"X": rows(40, d)},
                     _scores, says=says)


_DEEP = {"epochs": 1, "random_state": 0, "calibration": "split"}
_SMALL = {
    "AutoEncoder": {**_DEEP, "hidden_layers": (4,), "latent_dim": 2},
    "VAE": {**_DEEP, "hidden_layers": (4,), "latent_dim": 2},
    "GAN": {**_DEEP, "hidden_layers": (4,), "latent_dim": 2},
    "LSTM": {**_DEEP, "hidden_size": 4, "window": 3},
    "Transformer": {**_DEEP, "width": 4, "n_heads": 2, "n_layers": 1, "window": 3},
    "RandomFeatureAE": {"n_hidden": 8, "copies": 1, "random_state": 0},
    "RandomFeatureForecast": {"n_hidden": 8, "worth": np.inf, "random_state": 0},
    "RandomScore": {"random_state": 0}, "MovingDeviation": {"window": 3},
    "RollingZScore": {"window": 20}, "RobustZScore": {"window": 20},
    "SeasonalZScore": {"window": 20, "period": 10, "warm_up": 5},
    "OnlineMahalanobis": {"window": 20, "warm_up": 5},
    "OnlineEnsemble": {"window": 20, "period": 10, "warm_up": 5},
}


def _small(name):
    from adlib.detectors import KNN, PCAReconstruction

    if name == "Ensemble":
        return {"members": [KNN(), (PCAReconstruction(), 0.5)], "random_state": 0}
    if name == "Voting":
        return {"members": [KNN(), PCAReconstruction()], "random_state": 0}
    return _SMALL.get(name, {})


def _of_detectors(wanted):
    from adlib.base import OnlineDetector
    from adlib.detectors import all_detectors, baselines
    from adlib.training import DeepDetector

    for name, cls in (all_detectors() | baselines()).items():
        kind = ("deep" if issubclass(cls, DeepDetector) else
                "online" if issubclass(cls, OnlineDetector) else "classical")
        if kind == wanted:
            yield from _detector_targets(cls, None, **_small(name))


@family
def classical():
    from adlib.base import Detector, anomaly_score
    from adlib.detectors import KNN, Ensemble, Voting
    from adlib.foreign import wrap

    yield from _of_detectors("classical")
    X = np.random.default_rng(0).normal(size=(60, 3))
    model = KNN().fit(X)
    yield Target("anomaly_score", lambda X, sign: anomaly_score(model, X, sign), {
        "X": rows(20), "sign": choice(None, "high", "low")}, _scores)
    yield Target("wrap", lambda model, sign: wrap(model, sign=sign), {
        "model": fixed(lambda rng: KNN(), number=3, text="KNN", thing=object()),
        "sign": choice(None, "high", "low")}, _instance(Detector), own=("model",),
        says=("detector", "model"))
    yield Target("anomaly_score", lambda model, X: anomaly_score(model, X), {
        "model": fixed(lambda rng: model, unfitted=KNN()), "X": rows(20)}, _scores,
        own=("model",))
    yield from _hindsight(model)
    yield Target("Ensemble.add", lambda detector, weight: Ensemble().add(detector, weight), {
        "detector": fixed(lambda rng: KNN(), cls=KNN), "weight": number(1.0)},
        _instance(Ensemble), own=("detector",), says=("members", "weights"))
    members = fixed(lambda rng: [KNN(), (KNN(n_neighbors=3), 0.5)], empty=[], numbers=[1, 2],
                    cls=[KNN], triple=[(KNN(), 1.0, 2.0)], negative=[(KNN(), -1.0)],
                    texts=["KNN"], nan=[(KNN(), np.nan)], zero=[(KNN(), 0.0)])
    weights = fixed(lambda rng: [1.0, 2.0], few=[1.0], negative=[-1.0, 1.0], nan=[np.nan, 1.0],
                    zero=[0.0, 0.0], unknown="best", texts=["a", "b"], huge=[1e308, 1e308])
    for cls in (Ensemble, Voting):
        yield Target(f"{cls.__name__}.fit", lambda members, weights, cls=cls: cls(
            members=members, weights=weights, random_state=0).fit(X),
            {"members": members, "weights": weights}, _instance(cls), own=("members",),
            says=("weight",))
    ensemble = Ensemble(members=[KNN(), KNN(n_neighbors=3)], random_state=0).fit(X)
    voting = Voting(members=[KNN(), KNN(n_neighbors=3)], random_state=0).fit(X)
    import copy
    yield Target("Ensemble.feedback", lambda X, y, rate: copy.deepcopy(ensemble).feedback(
        X, y, rate=rate), {"X": rows(20), "y": labels(20), "rate": number(0.5)},
        _instance(Ensemble))
    raw = array(lambda rng: rng.normal(size=(40, 2)))
    yield Target("Ensemble.calibrate_scores", lambda scores: copy.deepcopy(
        ensemble).calibrate_scores(scores), {"scores": raw}, _instance(Ensemble))
    yield Target("Ensemble.surprises_of", ensemble.surprises_of, {"scores": raw}, _anything)
    yield Target("Ensemble.combined", ensemble.combined, {"surprises": raw}, _anything)
    yield Target("Voting.vote", voting.vote, {"X": rows(20)}, _anything)


@family
def online():
    yield from _of_detectors("online")


@family
def deep():
    from adlib import training as t

    yield from _of_detectors("deep")
    import torch
    yield Target("mlp", t.mlp, {
        "sizes": fixed(lambda rng: (3, 2), one=(3,), zero=(3, 0), floats=(3.0, 2.0), none=()),
        "activation": choice("relu", "tanh"), "norm": choice(None, "layer"),
        "dropout": number(0.1)}, _instance(torch.nn.Sequential))
    yield Target("pick_device", t.pick_device, {"device": choice("cpu", "auto")},
                 _instance(torch.device))


@family
def comparing():

    from adlib import compare as c
    from adlib.checks import check_detector
    from adlib.datasets import Dataset, make_sine
    from adlib.detectors import KNN

    rng = np.random.default_rng(0)
    data = Dataset("noise", rng.normal(size=(120, 2)), np.arange(120) > 110, train_end=60)
    of_data = fixed(lambda r: data, array=np.zeros((5, 2)), frame=pd.DataFrame({"a": [1.0]}),
                    none_left=Dataset("tiny", np.zeros((2, 1))), many=[data, data],
                    no_history=Dataset("late", rng.normal(size=(30, 2)), train_end=0),
                    no_test=Dataset("early", rng.normal(size=(30, 2)), train_end=30),
                    gaps=Dataset("gaps", np.full((60, 2), np.nan)))
    del of_data.spoils["function"]  # what it raises is the caller's own
    of_detectors = fixed(lambda r: "KNN", instance=KNN(), unknown="KNNN", mapping={"a": "KNN"},
                         pair=("own", KNN()), odd="KNN(n_neighbors=0)", bad="KNN(wrong=1)",
                         code="__import__('os').system('true')", twice=["KNN", "KNN"])

    def cells(result, args):
        assert isinstance(result, pd.DataFrame) and len(result)
        assert set(result.status) <= {"ok", "failed", "timed out", "out of memory"}
    yield Target("compare", lambda detectors, datasets, seeds, metrics, alpha, **k: c.compare(
        detectors, datasets, seeds, metrics=metrics, alpha=alpha, baselines=False, progress=False,
        **k), {
        "detectors": of_detectors, "datasets": of_data,
        "seeds": fixed(lambda r: [0], negative=[-1], floats=[0.5], doubled=[0, 0], texts=["a"]),
        "metrics": fixed(lambda r: ["roc_auc"], unknown=["accuracy"], mixed=["roc_auc", 1]),
        "alpha": number(0.1), "n_random": number(2, huge=False),
        "intervals": number(1, huge=False)}, cells,
        says=("detector", "detectors", "data", "seed", "metric", "compare"))
    folder = Path(tempfile.mkdtemp(prefix="adlib-fuzz-"))
    (folder / "file").write_text("x")
    where = fixed(lambda r: Path(tempfile.mkdtemp(dir=folder)), file=folder / "file")
    for name, kind in (("n_jobs", switch(1)), ("time_limit", choice(None)), ("results_dir", where),
                       ("scheduler", choice(None)), ("memory_limit", choice(None)),
                       ("delay", choice(None, 3, "hindsight"))):
        yield Target(f"compare.{name}", lambda value, name=name: c.compare(
            "MaxAbsZ", data, [0], metrics=["roc_auc"], baselines=False, progress=False, n_random=0,
            intervals=False, **{name: value}), {"value": kind}, cells, says=(name,),
            raises=(OSError, ImportError))
    yield Target("score_cell", c.score_cell, {
        "detector": of_detectors, "dataset": of_data, "seed": number(0), "alpha": number(0.1),
        "purge": number(2), "delay": choice(None, 3, "hindsight")}, _instance(c.CellScores),
        says=("detector", "test", "data", "random_state", "noise", "gaps", "tiny", "late", "early",
              "X", "n_neighbors"))
    yield Target("rank_unlabelled", lambda detectors, dataset, **k: c.rank_unlabelled(
        detectors, dataset, [0], n_random=1, baselines=False, progress=False, **k), {
        "detectors": of_detectors, "dataset": of_data,
        "kinds": fixed(lambda r: ["spike"], unknown=["flash"], numbers=[1]),
        "strength": fixed(lambda r: [4.0], negative=[-1.0], nan=[np.nan], text=["a"]),
        "length": fixed(lambda r: (4, 6), falling=(6, 4)), "alpha": number(0.1),
        "top": number(0.1)}, _instance(c.Unlabelled),
        says=("detector", "data", "late", "early", "tiny", "gaps", "noise", "injected", "datasets",
              "test"))
    scored = {"scores": vector(), "labels": labels()}
    yield Target("audit", c.audit, {
        **scored, "train_end": number(10), "X": array(lambda r: r.normal(size=(60, 2)),
                                                      optional=True),
        "threshold": number(1.0), "claimed": fixed(
            lambda r: {"f1": 0.5}, unknown={"accuracy": 0.9}, above={"f1": 1.5}, nan={"f1": np.nan},
            text={"f1": "good"}, list=["f1"]), "window": number(4),
        "session": array(lambda r: np.arange(60) // 30, optional=True), "series": switch(True),
        "by": choice(None, "rows"), "refit": switch(False),
        "supervised": switch(False), "delay": choice(None, 3, "hindsight"),
        "n_random": number(19, huge=False), "intervals": number(1, huge=False),
        "random_state": number(0)}, _instance(c.Audit))
    yield Target("audit", lambda scores, labels, predictions: c.audit(
        scores, labels, predictions=predictions, n_random=19, intervals=False),
        {**scored, "predictions": labels()}, _instance(c.Audit))

    X = rng.normal(size=(60, 2))
    yield Target("audit", lambda scores, labels, X, model: c.audit(
        scores, labels, X=X, model=model, n_random=19, intervals=False), {
        **scored, "X": array(lambda r: r.normal(size=(60, 2))),
        "model": fixed(lambda r: KNN().fit(X), unfitted=KNN())}, _instance(c.Audit), own=("model",),
        says=("KNN", "X"))
    sine = make_sine(200, n_events=3, random_state=0)
    good, kept = c.compare(["KNN"], [data, sine], [0], metrics=["average_precision", "roc_auc"],
                           n_random=1, progress=False, return_scores=True)
    table = fixed(lambda r: good.copy(), empty=good[:0], one_row=good[:1],
                  shuffled=good.sample(frac=1, random_state=0), doubled=pd.concat([good, good]),
                  failed=good.assign(status="failed", value=np.nan), lacking=good[["detector"]],
                  renamed=good.rename(columns=str.upper), odd_index=good.set_index("dataset",
                                                                                   drop=False),
                  texts=good.assign(value="high"), objects=good.astype(object),
                  array=np.zeros((3, 3)), series=good["value"], nan=good.assign(value=np.nan),
                  dict=good.to_dict())
    for name in ("by_entity", "by_kind", "rank_detectors", "triviality", "verdict"):
        yield Target(name, getattr(c, name), {"table": table}, _anything)
    yield Target("summarise", c.summarise, {"table": table}, _instance(pd.DataFrame))
    yield Target("audit_table", c.audit_table, {"table": table}, _instance(c.Audit))
    released = pd.DataFrame({"set": [*"abc"], "A": 0.5, "B": [0.1, 0.2, 0.3]})
    yield Target("read_results", c.read_results, {
        "source": fixed(lambda r: released, empty=released[:0], texts=released.astype(str),
                        above=released.assign(B=7.0), nowhere=folder / "none.csv"),
        "metric": fixed(lambda r: "roc_auc"),
        "detectors": fixed(lambda r: ["A"], odd=["Z"], one="A"),
        "groups": fixed(lambda r: "set", odd="Z")}, _instance(pd.DataFrame), raises=(OSError,),
        says=("columns",))
    scored = fixed(lambda r: dict(kept), empty={}, list=[1], others={("who", "what", 0): None})
    for name in ("curves", "events"):
        yield Target(name, getattr(c, name), {
            "table": table, "scores": scored, "datasets": fixed(
                lambda r: [data, sine], odd=[1], texts=["noise"]),
            "detectors": fixed(lambda r: ["KNN"], unknown=["who"], numbers=[1])},
            _instance(pd.DataFrame))
    yield Target("format_tables", c.format_tables, {
        "table": table, "style": choice("markdown", "latex")}, _instance(dict))
    yield Target("write_report", lambda table, folder, datasets, title: c.write_report(
        table, folder, datasets=datasets, title=title), {
        "table": table, "folder": where, "datasets": fixed(lambda r: [data, sine], odd=[1],
                                                           texts=["noise"]),
        "title": fixed(lambda r: "Ünïcode <b>\N{SNOWMAN}</b>")}, _instance(Path))
    yield Target("check_detector", lambda skip: check_detector(KNN, skip=skip), {
        "skip": fixed(lambda r: ["sklearn", "calibration", "save_load", "odd_data"],
                      unknown=["nothing"])}, _anything)
    yield Target("check_detector", lambda detector: check_detector(detector, skip=["sklearn"]), {
        "detector": fixed(lambda r: KNN, name="KNN", abstract=adlib.Detector)}, _anything,
        raises=(AssertionError,))


def _hindsight(model):
    from adlib.hindsight import hindsight_detect, hindsight_score

    ahead = {"delay": number(3), "width": number(2.0, huge=False)}
    yield Target("hindsight_score", lambda X, **ahead: hindsight_score(model, X, **ahead),
                 {"X": rows(20), **ahead}, _scores)
    yield Target("hindsight_detect", lambda X, normal, **how: hindsight_detect(
        model, X, normal=normal, **how), {"X": rows(20), "normal": rows(40), **ahead,
                                          "alpha": number(0.1)}, _anything,
        says=("X",))


@family
def drift():
    from adlib.drift import DriftMonitor

    def verdicts(result, args):
        known = {"normal", "anomaly", "drift", "both", "stuck"}
        assert set(np.ravel(result)) <= known
    yield Target("DriftMonitor.fit", lambda scores, X, **k: DriftMonitor(**k).fit(
        scores, X).process(np.zeros(5), np.zeros((5, 2))), {
        "scores": vector(80), "X": array(lambda r: r.normal(size=(80, 2)), optional=True),
        "engine": choice("adwin", "page_hinkley"), "recalibrate": choice(None),
        "alpha": number(0.05), "patience": number(10), "collect": number(40),
        "false_drifts": number(1e-4), "stuck": number(5)}, verdicts)
    fitted = DriftMonitor(patience=10).fit(np.random.default_rng(0).normal(size=80),
                                           np.random.default_rng(1).normal(size=(80, 2)))
    import copy
    yield Target("DriftMonitor.process", lambda scores, X: copy.deepcopy(fitted).process(scores, X),
                 {"scores": vector(20), "X": rows(20, 2)}, verdicts)
    yield Target("DriftMonitor.update", lambda score, x: copy.deepcopy(fitted).update(score, x),
                 {"score": number(1.0), "x": vector(2)}, verdicts, says=("scores", "X"))
    state = fitted.get_state()
    yield Target("DriftMonitor.set_state", lambda state: DriftMonitor(patience=10).set_state(
        state), {"state": fixed(lambda r: copy.deepcopy(state), lacking={"reference": [1.0]},
                                wrong=dict.fromkeys(state))}, _instance(DriftMonitor))


@family
def explaining():
    from sklearn.ensemble import IsolationForest

    from adlib.detectors import KNN, RollingZScore
    from adlib.explain import Explanation, explain

    rng = np.random.default_rng(0)
    past = rng.normal(size=(200, 3))
    explained = rows(30)
    models = {"knn": KNN().fit(past), "forest": IsolationForest(n_estimators=5).fit(past),
              "stream": RollingZScore(window=50).fit(past)}

    def told(result, args):
        assert isinstance(result, Explanation) and len(result.sentences()) == len(result.rows)
        assert len(result.table()) == result.values.size
        assert all(sum(share for _, share in top) <= 1 + 1e-9 for top in result.top(3))
    for name, model in models.items():
        yield Target(f"explain {name}", lambda X, rows, background, model=model, **k: explain(
            model, X, rows, background=background, **k), {
            "X": explained, "rows": fixed(lambda r: [3, -1], wild=[99], floats=[0.5], empty=[],
                                          texts=["a"], mask=np.arange(30) > 27, deep=[[1, 2]]),
            "background": array(lambda r: r.normal(size=(40, 3)), optional=True),
            "method": choice("auto"), "threshold": number(2.0), "steps": switch(False),
            "counterfactual": switch(True), "feature_names": fixed(
                lambda r: ["a", "ü", "\N{SNOWMAN}"], few=["a"], doubled=["a", "a", "b"],
                numbers=[1, 2, 3]),
            "units": fixed(lambda r: {"a": "°C"}, odd={"zz": 1}, numbers={"a": 1}),
            "time": array(lambda r: np.datetime64("2024-01-01") + np.arange(30) * np.timedelta64(
                1, "h"), optional=True)}, told, says=("model",))
    yield Target("explain", lambda model: explain(model, past[:5], [0], background=past), {
        "model": fixed(lambda r: models["knn"], unfitted=KNN(), cls=KNN)}, told, own=("model",),
        says=("instance", "fitted"))


@family
def feedback():
    import copy

    from adlib import feedback as f
    from adlib.detectors import KNN

    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    model = f.Reviewed(KNN().fit(X[:200])).fit(X[200:])
    yield Target("Reviewed.fit", lambda X_normal, reach, random_state, **k: f.Reviewed(
        KNN().fit(X[:200]), reach=reach, random_state=random_state, **k).fit(X_normal), {
        "X_normal": rows(60, 2), "reach": number(0.5), "random_state": number(0),
        "alpha": number(0.05), "threshold": number(None), "window": choice(1),
        "calibration": choice("auto")}, _instance(f.Reviewed), says=("X", "Reviewed"))
    yield Target("Reviewed.learn", lambda X, y: copy.deepcopy(model).learn(X, y),
                 {"X": rows(10, 2), "y": array(lambda r: np.arange(10) % 2)},
                 _instance(f.Reviewed))
    for method in ("anomaly_score", "contributions"):
        yield Target(f"Reviewed.{method}", getattr(model, method), {"X": rows(10, 2)}, _anything,
                     says=("contributions",))
    yield Target("Reviewed.detect", lambda X, now: model.detect(X, now=now),
                 {"X": rows(10, 2), "now": number(1.0)}, _anything)
    yield Target("Reviewed.next_questions", lambda X, k, asked: model.next_questions(
        X, k, asked=asked), {"X": rows(10, 2), "k": number(3, huge=False), "asked": fixed(
            lambda r: [1], wild=[99], negative=[-1], texts=["a"], floats=[0.5])}, _array(None))
    yield Target("Reviewed.ignore", lambda X, until, id: copy.deepcopy(model).ignore(
        X, until=until, id=id), {"X": rows(3, 2), "until": number(10.0),
                                 "id": fixed(lambda r: "mine")}, _instance(f.Pattern))
    yield Target("Reviewed.revoke", lambda id: copy.deepcopy(model).revoke(id),
                 {"id": fixed(lambda r: "absent")}, _anything, says=("pattern",))
    yield Target("Reviewed.suppressed", lambda X, now: model.suppressed(X, now=now),
                 {"X": rows(10, 2), "now": number(1.0)}, _array(None))
    yield Target("next_questions", lambda scores, X, k, asked: f.next_questions(
        scores, X, k, asked=asked), {
        "scores": vector(20), "X": rows(20, 2), "k": number(3, huge=False), "asked": fixed(
            lambda r: [1], wild=[99], negative=[-1], texts=["a"], floats=[0.5])}, _array(None))
    yield Target("Answer", lambda verdict: f.Answer("row 1", verdict, ((1.0, 2.0),)),
                 {"verdict": choice("true", "false", "known", "ignore", "withdrawn")},
                 _instance(f.Answer))
    yield Target("teach", lambda answers: f.teach(copy.deepcopy(model), answers), {
        "answers": fixed(lambda r: [f.Answer("a", "true", ((1.0, 2.0),))],
                         wide=[f.Answer("a", "true", ((1.0, 2.0, 3.0),))],
                         nan=[f.Answer("a", "false", ((np.nan, 2.0),))],
                         empty=[f.Answer("a", "ignore", ())], odd=["yes"])},
        _instance(f.Reviewed), says=("X",))
    folder = Path(tempfile.mkdtemp(prefix="adlib-fuzz-"))
    store = f.FeedbackStore(folder / "a.db")
    yield Target("ReviewSession", lambda X, rows, targets, budget: f.ReviewSession(
        copy.deepcopy(model), X, store, rows=rows, targets=targets, budget=budget).next(), {
        "X": rows(10, 2), "rows": fixed(lambda r: [1, 2], wild=[99], floats=[0.5], texts=["a"]),
        "targets": fixed(lambda r: [f"row {i}" for i in range(10)], few=["a"]),
        "budget": number(2)}, _anything)
    (folder / "text.db").write_text("no database, but long enough to be looked at" * 50)
    yield Target("FeedbackStore", lambda path, create: f.FeedbackStore(path, create=create).close(),
                 {"path": fixed(lambda r: folder / "b.db", text=folder / "text.db", folder=folder,
                                nowhere=folder / "no" / "c.db"), "create": switch(True)},
                 _anything, raises=(OSError,), says=("alert store", "text.db"))
    answers = fixed(lambda r: f.Answer("row 1", "true", ((1.0, 2.0),)),
                    nan=f.Answer("row 1", "true", ((np.nan, 2.0),)),
                    none=f.Answer(None, "true", ((1.0,),)), tuple=("row 1", "true"))
    yield Target("FeedbackStore.record", store.record, {"answer": answers}, _anything)
    for method in ("history", "answers"):
        yield Target(f"FeedbackStore.{method}", lambda stream, m=method: getattr(store, m)(
            stream=stream), {"stream": fixed(lambda r: "rig")}, _instance(list))


@family
def plots():
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from adlib import compare as c
    from adlib import metrics as m
    from adlib import plots as p
    from adlib.datasets import Dataset, make_sensor_stream
    from adlib.detectors import KNN
    from adlib.explain import explain

    def drawn(result, args):
        plt.close("all")
        assert all(hasattr(ax, "plot") for ax in np.ravel(result)) and len(np.ravel(result))
    given = Kind(lambda rng: None, {})  # matplotlib's own object
    data = make_sensor_stream(80, random_state=0)
    of_data = fixed(lambda r: data, array=np.zeros((5, 2)), empty=Dataset("e", np.zeros((0, 1))),
                    one=Dataset("o", np.zeros((1, 1))), gaps=Dataset("g", np.full((9, 2), np.nan)))
    yield Target("series", lambda dataset, **k: p.series(dataset, **k), {
        "dataset": of_data, "is_anomaly": labels(80, optional=True),
        "score": vector(80, optional=True), "threshold": number(1.0),
        "columns": fixed(lambda r: ["pressure"], unknown=["who"], numbers=[0], empty=[]),
        "rows": fixed(lambda r: slice(10, 40), empty=slice(5, 5), backwards=slice(40, 10),
                      floats=slice(0.5, 2.0)),
        "clean": array(lambda r: r.normal(size=(80, 3)), optional=True),
        "units": fixed(lambda r: {"pressure": "hPa"}, odd={"who": 1}, numbers={"pressure": 3}),
        "axes": given}, drawn)
    yield Target("histogram", p.histogram, {
        "score": array(lambda r: r.random(60)), "y": labels(), "threshold": number(0.5),
        "held_out": array(lambda r: r.random(30), optional=True), "ax": given}, drawn)
    points = m.operating_points(data.y, np.arange(80.0)).assign(detector="KNN")
    yield Target("curves", p.curves, {"points": fixed(
        lambda r: points.copy(), empty=points[:0], lacking=points[["recall"]], one=points[:1],
        array=np.zeros((3, 3)), texts=points.astype(str)), "axes": given}, drawn)
    yield Target("scores", p.scores, {
        "dataset": of_data, "scores": fixed(
            lambda r: {"KNN": r.random(80)}, empty={}, short={"a": [1.0]}, texts={"a": ["x"] * 80},
            nan={"a": np.full(80, np.nan)}, infinite={"a": np.full(80, np.inf)}, list=[1.0]),
        "thresholds": fixed(lambda r: {"KNN": 0.5}, nan={"KNN": np.nan}, text={"KNN": "x"},
                            unknown={"who": 1.0}, list=[1.0]), "axes": given}, drawn)
    yield Target("losses", p.losses, {"history": fixed(
        lambda r: {"train": [3.0, 1.0]}, empty={}, uneven={"a": [1.0], "b": []},
        texts={"a": ["x"]}, nan={"a": [np.nan]}, numbers={1: [1.0]}, flat={"a": 1.0}),
        "ax": given}, drawn)
    rng = np.random.default_rng(0)
    noise = Dataset("noise", rng.normal(size=(120, 2)), np.arange(120) > 110, train_end=60)
    table = c.compare(["KNN"], [noise], [0], metrics=["average_precision"], n_random=1,
                      progress=False)
    summary = c.summarise(table)
    yield Target("comparison", p.comparison, {
        "summary": fixed(lambda r: summary.copy(), empty=summary[:0], table=table,
                         lacking=summary[["metric"]], array=np.zeros((3, 3))),
        "metric": choice("average_precision"), "ax": given}, drawn)
    many = pd.DataFrame([(d, "detector", i, 0, "average_precision", v + i / 99, "ok")
                         for i in range(8) for d, v in (("A", 0.8), ("B", 0.7))],
                        columns=["detector", "role", "dataset", "seed", "metric", "value",
                                 "status"])
    ranking = c.rank_detectors(many)
    yield Target("critical_difference", p.critical_difference, {
        "ranking": fixed(lambda r: ranking, table=many, one=c.rank_detectors(
            many[many.detector == "A"])), "alpha": number(0.05), "ax": given}, drawn)
    X = rng.normal(size=(200, 3))
    model = KNN().fit(X[:150])
    why = explain(model, X[150:], [3, 4], background=X[:100])
    seen = fixed(lambda r: why, none=None)
    for name in ("contributions", "remedy"):
        yield Target(name, getattr(p, name), {"why": seen, "row": number(0), "k": number(2),
                                              "ax": given}, drawn)
    yield Target("heat_map", p.heat_map, {"why": seen, "row": choice(None), "ax": given},
                 drawn)


@family
def realtime():
    import asyncio
    import json

    from adlib import realtime as r
    from adlib.realtime.config import ConfigError
    from adlib.realtime.events import Silence
    from adlib.realtime.incidents import IncidentConfig

    plain = {"stream": "rig", "deep_config": None, "stat_config": None,
             "detectors": ["PCAReconstruction"], "window_size": 10, "stride": 5, "alpha": 0.01,
             "extrapolate": True}
    folder = Path(tempfile.mkdtemp(prefix="adlib-fuzz-"))
    (folder / "good.yaml").write_text(json.dumps(plain))
    (folder / "broken.yaml").write_text("a: [1,\n b: {")
    (folder / "list.json").write_text("[1, 2]")
    (folder / "empty.yaml").write_text("")
    (folder / "tag.yaml").write_text("!!python/object/apply:os.system ['true']")
    (folder / "binary.yaml").write_bytes(bytes(range(256)))
    (folder / "deep.json").write_text("[" * 5_000)
    keys = tuple(r.EngineConfig.model_fields)
    says = (*keys, "source", "mapping", "detector", "YAML", "JSON", *(
        p.name for p in folder.iterdir()))
    yield Target("EngineConfig.from_any", r.EngineConfig.from_any, {"source": fixed(
        lambda _: dict(plain), unknown={**plain, "windw_size": 3}, nothing={},
        absent=folder / "no.yaml", folder=folder, **{p.name: p for p in sorted(folder.iterdir())})},
        _instance(r.EngineConfig), says=(*says, "configuration"), raises=(ConfigError, OSError))
    for key, valid in {
            "stream": "rig", "window_size": 10, "stride": 5, "alpha": 0.01, "alpha_info": 0.03,
            "calibration_share": 0.4, "sampling_period": 1.0, "feature_names": ["a"], "hold": 1,
            "stuck": "auto", "reorder": 2, "warm_up": 1, "queue_size": 10, "overflow": "block",
            "batch_windows": 4, "batch_seconds": 0.1, "detector_timeout": 1.0, "max_failures": 2,
            "drift": True, "random_state": 0, "detectors": ["KNN"], "deep_config": {},
            "extrapolate": False,
            "stat_config": {}, "alert_config": {"incidents": {"open_after": 2}}}.items():
        yield Target(f"EngineConfig.{key}", lambda value, key=key: r.EngineConfig.from_any(
            {**plain, key: value}), {"value": fixed(lambda _, v=valid: v, unknown={"whatever": 1},
                                                    text_of_code="os:system", many=["KNN"] * 3)},
            _instance(r.EngineConfig), says=says, raises=(ConfigError,))

    def block(result, args):
        processor, found = result
        assert all(w.values.shape[0] == 4 for w in found) and processor.position >= -1

    def push(items, **k):
        processor = r.StreamProcessor(**{"window_size": 4, "stride": 2, **k})
        return processor, list(cut(processor, processor.push(items, flush=True)))
    yield Target("StreamProcessor", lambda **k: push([np.zeros((9, 2))], **k), {
        "window_size": choice(4), "stride": number(2), "n_features": choice(None, 2),
        "hold": number(1), "stuck": number(None), "reorder": number(0), "period": number(1.0),
        "stream": fixed(lambda _: "rig"), "features": fixed(lambda _: ["a", "b"], few=["a"])},
        lambda result, args: None)
    yield Target("StreamProcessor.push", lambda item: push([item]), {"item": rows(9, 2)}, block)
    yield Target("StreamProcessor.push", lambda item: push([np.ones((5, 2)), item]),
                 {"item": rows(9, 2)}, block)
    yield Target("Sample", lambda seq, time, values: push(
        [r.Sample(0, 0.0, np.ones((5, 2))), r.Sample(seq, time, values)]), {
        "seq": number(5, huge=False), "time": number(5.0), "values": rows(3, 2)}, block,
        says=("items",))

    def verdict(k, flagged=True):
        return r.Verdict("rig", k, k + 9, k + 9.0, 0.01, 0.8, "warning", flagged, {}, ())

    def step(given):
        manager = r.AlertManager(IncidentConfig(open_after=1, close_after=1))
        return [e for v in given for e in manager.step(v)], manager.state()
    yield Target("AlertManager.step", lambda verdict: step([verdict]), {"verdict": fixed(
        lambda _: verdict(0), quiet=verdict(0, False), unknown=verdict(0, None),
        twice=verdict(0))}, _instance(tuple))
    yield Target("AlertManager", lambda config, group: r.AlertManager(config, group=group).state(),
                 {"config": fixed(lambda _: IncidentConfig(), dict={"open_after": 2}),
                  "group": fixed(lambda _: "combined")}, _instance(dict))
    yield Target("AlertManager.restore", lambda state: r.AlertManager().restore(state), {
        "state": fixed(lambda _: r.AlertManager().state(), lacking={"tracks": {}},
                       odd={"tracks": {"a": {"recent": 3}}, "silences": []})}, _anything)
    yield Target("AlertManager.acknowledge", r.AlertManager().acknowledge,
                 {"incident_id": fixed(lambda _: "rig|combined|0")}, _instance(bool))
    yield Target("AlertManager.incident", r.AlertManager().incident,
                 {"stream": fixed(lambda _: "rig")}, lambda result, args: None)
    yield Target("AlertManager.silence", lambda silence: r.AlertManager().silence(silence), {
        "silence": fixed(lambda _: Silence("a", 5.0), dict={"id": "a"})}, _anything)
    yield Target("AlertManager.apply", lambda operator: r.AlertManager().apply(operator), {
        "operator": fixed(lambda _: {"acknowledged": [], "silences": []}, lacking={})}, _anything)

    store = r.AlertStore(folder / "a.db")
    (folder / "text.db").write_text("no database, but long enough to be looked at" * 50)
    yield Target("AlertStore", lambda path, create: r.AlertStore(path, create=create).close(), {
        "path": fixed(lambda _: folder / "b.db", text=folder / "text.db", folder=folder,
                      nowhere=folder / "no" / "c.db"), "create": switch(True)}, _anything,
        raises=(OSError,), says=("alert store", "text.db"))
    count = iter(range(10**9))
    event = step([verdict(0)])[0][0]
    yield Target("AlertStore.commit", lambda stream, position, state, verdicts, events:
                 store.commit(stream, position, state, verdicts, events, [], []), {
        "stream": fixed(lambda _: f"s{next(count)}"), "position": number(next(count)),
        "state": fixed(lambda _: b"state"), "verdicts": fixed(lambda _: [verdict(1)], odd=["a"]),
        "events": fixed(lambda _: [event], odd=["a"])}, _anything)
    yield Target("AlertStore.restore", store.restore, {"stream": fixed(lambda _: "rig")},
                 lambda result, args: None)
    yield Target("AlertStore.operator_state", store.operator_state, {
        "stream": fixed(lambda _: "rig"), "position": number(3)}, _instance(dict))
    for name, key in (("incidents", "state"), ("quality", "kind"), ("outbox", "state")):
        yield Target(f"AlertStore.{name}", lambda name=name, **k: getattr(store, name)(**k),
                     {key: fixed(lambda _: "open")}, _instance(list))
    yield Target("AlertStore.incidents", lambda limit: store.incidents(limit=limit),
                 {"limit": number(3)}, _instance(list))
    yield Target("AlertStore.verdicts", lambda since, until: store.verdicts(
        since=since, until=until), {"since": number(0.0), "until": number(9.0)}, _instance(list),
        says=("time",))
    yield Target("AlertStore.events", store.events, {"incident_id": fixed(lambda _: "a")},
                 _instance(list), says=("incident",))
    yield Target("AlertStore.record_events", lambda events: store.record_events(events, []), {
        "events": fixed(lambda _: [event], odd=["a"])}, _anything)
    yield Target("AlertStore.retain", store.retain, {"stream": fixed(lambda _: "rig"),
                                                     "age": number(9.0)}, _anything)
    yield Target("AlertStore.remove", lambda kind, name: (
        store.silence(Silence("a", 5.0)), store.remove(kind, name)), {
        "kind": fixed(lambda _: "silence", other="table"), "name": fixed(lambda _: "a")},
        _anything, says=("silence", "checkpoint"))
    for name in ("incident", "acknowledge", "end"):
        yield Target(f"AlertStore.{name}", getattr(store, name),
                     {"incident_id": fixed(lambda _: event.incident.id)}, _anything,
                     says=("incident",))
    yield Target("AlertStore.silence", store.silence, {
        "silence": fixed(lambda _: Silence("a", 5.0), dict={"id": "a"})}, _anything)
    yield Target("AlertStore.replay_dead", lambda ids, discard: store.replay_dead(
        ids, discard=discard), {"ids": fixed(lambda _: ["a"], odd=[object()]),
                                "discard": switch(False)}, _instance(int))
    yield Target("AlertStore.prune", store.prune, {"before": number(0.0)}, _instance(dict))
    yield Target("AlertStore.claim", lambda channel, now, lease, limit: store.claim(
        channel, now, lease=lease, limit=limit), {
        "channel": fixed(lambda _: "slack"), "now": number(1.0), "lease": number(1.0),
        "limit": number(1)}, _instance(list))
    yield Target("AlertStore.settle", lambda results: store.settle(results), {
        "results": fixed(lambda _: [(1, "sent", 0.0, None)], short=[(1,)], odd=[("a", 5, {}, [])])},
        _anything)

    async def listen(stream):
        return [item async for item in stream]
    yield Target("replay", lambda values, time, first: asyncio.run(listen(r.replay(
        values, time, first=first))), {
        "values": rows(9, 2), "time": array(lambda g: np.arange(9.0), optional=True),
        "first": number(0)}, _instance(list))
    yield Target("replay", lambda speed: r.replay(np.zeros((3, 1)), speed=speed),
                 {"speed": number(1.0)}, _anything)
    (folder / "rows.csv").write_text("time,a\n0,1\n1,2\n")
    specs = fixed(lambda _: f"csv:{folder / 'rows.csv'}", absent="csv:/no/such.csv", odd="ftp:a",
                  empty_csv="csv:", query=f"csv:{folder / 'rows.csv'}?speed=fast",
                  unknown=f"csv:{folder / 'rows.csv'}?spede=3", nats="nats://",
                  folder=f"csv:{folder}",
                  binary=f"csv:{folder / 'binary.yaml'}")
    yield Target("source", lambda spec, features: asyncio.run(listen(r.source(
        spec, features=features))), {"spec": specs, "features": fixed(
            lambda _: ["a"], absent=["b"], doubled=["a", "a"])}, _instance(list),
        raises=(OSError, ImportError), says=("csv", "durable", "nats", "speed", "port", "time"))

    rng = np.random.default_rng(0)
    engine = r.RealTimeAnomalyDetector(plain).fit(rng.normal(size=(400, 2)))
    yield Target("RealTimeAnomalyDetector", lambda config: r.RealTimeAnomalyDetector(config), {
        "config": fixed(lambda _: dict(plain))}, _instance(r.RealTimeAnomalyDetector),
        says=says, raises=(OSError,))
    yield Target("RealTimeAnomalyDetector.fit", lambda X_history: r.RealTimeAnomalyDetector(
        plain).fit(X_history), {"X_history": rows(400, 2)}, _instance(r.RealTimeAnomalyDetector),
        says=("X", "history", "rows", "samples"))
    yield Target("RealTimeAnomalyDetector.judge", lambda items: engine.fork().judge(
        [items], flush=True), {"items": rows(30, 2)}, _instance(tuple), says=("features",))

    async def stream(items):
        async def source():
            yield items
        return [window async for window in engine.fork().process_stream(source())]
    yield Target("RealTimeAnomalyDetector.process_stream", lambda items: asyncio.run(stream(items)),
                 {"items": rows(30, 2)}, _instance(list), says=("features", "samples"))
    saved = engine.save(folder / "engine")
    yield Target("RealTimeAnomalyDetector.save", engine.save, {
        "path": fixed(lambda _: folder / "again", folder=folder, file=folder / "good.yaml")},
        _instance(Path), raises=(OSError,))
    yield Target("RealTimeAnomalyDetector.load", r.RealTimeAnomalyDetector.load, {
        "path": fixed(lambda _: saved, folder=folder, file=folder / "good.yaml"),
        "config": fixed(lambda _: None, other={**plain, "window_size": 12})},
        _instance(r.RealTimeAnomalyDetector), says=says)
    for cls, record in ((r.Verdict, verdict(0)), (r.Incident, event.incident),
                        (r.IncidentEvent, event)):
        yield Target(f"{cls.__name__}.from_dict", cls.from_dict, {
            "record": fixed(lambda _, r=record: r.to_dict(), lacking={"id": "a"})},
            _instance(cls))


@family
def persist():

    from adlib import persist as p
    from adlib.detectors import KNN

    folder = Path(tempfile.mkdtemp(prefix="adlib-fuzz-"))
    model = KNN().fit(np.random.default_rng(0).normal(size=(60, 2)))
    good = p.save(model, folder / "good")
    (folder / "file").write_text("x")
    yield Target("save", p.save, {
        "model": fixed(lambda rng: model, cls=KNN, unfitted=KNN()),
        "path": fixed(lambda rng: folder / "own", folder=folder, file=folder / "file",
                      below=folder / "file" / "own", unicode=folder / "\N{SNOWMAN} ü",
                      null="a\x00b")}, _instance(Path), raises=(OSError,), own=("model",))
    yield Target("load", p.load, {
        "path": fixed(lambda rng: good, folder=folder, file=folder / "file", null="a\x00b"),
        "classes": fixed(lambda rng: [KNN], odd=[1], names=["KNN"])}, _instance(KNN))


# -- the tests --------------------------------------------------------------------------------

# Public names that no target calls, and why.
EXEMPT = {
    "notebooks": "run from the Makefile, on this repository's own files",
    "checks.detector_checks": "the list of what check_detector runs",
    "base.Detector": "abstract: every detector is called", "base.OnlineDetector": "abstract",
    "base.Detection": "a result",
    "training.DeepDetector": "abstract", "training.ReconstructionDetector": "abstract",
    "training.train": "inside every deep detector's fit",
    "training.seeded": "inside every deep detector's fit",
    "training.TrainingWarning": "a warning",
    "detectors.all_detectors": "takes no argument", "detectors.baselines": "takes no argument",
    "detectors.find_detector": "inside compare, which is called",
    "metrics.all_metrics": "takes no argument",
    "thresholds.Threshold": "abstract", "thresholds.CalibrationWarning": "a warning",
    "datasets.ANOMALY_KINDS": "a tuple", "datasets.KINDS": "a dict",
    "realtime.NotificationService": "its configuration is; its tests send to local servers",
    "realtime.Source": "a protocol", "realtime.Channel": "a protocol",
    "realtime.Outcome": "a result",
    "realtime.check_source": "takes a source, and is the check",
    "realtime.check_channel": "takes a channel, and is the check",
}
TRIES = {"metrics": 500, "thresholds": 400, "windows": 150, "datasets": 250, "loaders": 150,
         "classical": 400, "online": 250, "deep": 100, "comparing": 40, "drift": 100,
         "explaining": 60, "feedback": 150, "plots": 60, "realtime": 300, "persist": 80}


@contextmanager
def scratch():
    """A temporary folder that takes every other one made meanwhile."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="adlib-fuzz-") as folder:
        tempfile.tempdir = folder
        try:
            yield folder
        finally:
            tempfile.tempdir = before


@pytest.fixture(scope="module")
def targets():
    """Targets by family, made once; a deep family takes a second."""
    made = {}

    def of(name):
        if name not in made:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[name] = list(FAMILIES[name]())
        return made[name]
    with scratch():
        yield of


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_argument_is_named(name, targets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tally = Counter()

    @settings(max_examples=TRIES[name], deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(st.data())
    def attempts(data):
        target = data.draw(st.sampled_from(targets(name)), label="target")
        names = data.draw(st.lists(st.sampled_from(sorted(target.kinds)), max_size=2, unique=True),
                          label="arguments")
        which = tuple((arg, data.draw(st.sampled_from(sorted(target.kinds[arg].spoils)), label=arg))
                      for arg in names if target.kinds[arg].spoils)
        tally[attempt(target, which, data.draw(st.integers(0, 999), label="seed"))] += 1

    attempts()
    assert tally["result"] and tally["refusal"]  # neither all is refused, nor nothing


@pytest.mark.parametrize("name", FAMILIES)
def test_valid_arguments_give_results(name, targets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "comparing":
        pytest.skip("minutes of comparisons; tests/test_compare.py has them")
    for target in targets(name):
        # no file to load, no pattern to take back, no native split: refused with a reason
        odd = target.name.startswith("load_") or target.name.endswith((".revoke", ".contributions"))
        assert attempt(target) == "result" or odd, target.name


ONCE = [  # arguments that broke something once, whatever the draw
    ("metrics", "Metric", "chance", "NA"), ("metrics", "Metric", "chance", "array"),
    ("metrics", "Metric", "perfect", "array"),
    ("metrics", "average_precision_at_budget", "budget", "1e-300"),
    ("realtime", "AlertStore.incidents", "state", "array"),
    ("datasets", "inject", "data", "1e-310"), ("loaders", "load_csv", "path", "huge.csv"),
    ("classical", "RandomFeatureForecast.fit", "ridge", "1e-300"),
    ("classical", "Ensemble.fit", "weights", "array"),
    ("online", "OnlineForecast.fit", "memory", "1e300"),
    ("online", "OnlineEnsemble.fit", "warm_up", "int8"),
    ("deep", "AutoEncoder.fit", "epochs", "int8"), ("deep", "AutoEncoder.fit", "ridge", "1e-300"),
    ("comparing", "audit", "by", "NA"), ("comparing", "read_results", "metric", "list"),
    ("comparing", "read_results", "groups", "list"),
    ("comparing", "read_results", "source", "dict")]


@pytest.mark.parametrize(("name", "call", "argument", "spoil"), ONCE)
def test_what_broke_once_holds(name, call, argument, spoil, targets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tried = [target for target in targets(name) if target.name == call
             and spoil in getattr(target.kinds.get(argument), "spoils", ())]
    assert {attempt(target, ((argument, spoil),), 7) for target in tried} <= {"result", "refusal"}
    assert tried


def _public():
    """Every public name of every public module, as "module.name"."""
    return {f"{module}.{name}" for module in adlib._MODULES if module not in EXEMPT
            for name in import_module(f"adlib.{module}").__all__}


def test_every_public_name_is_tried_or_exempt(targets):
    called = {target.name.split(".")[0].split(" ")[0] for name in FAMILIES
              for target in targets(name)}
    public = _public()
    untried = sorted(name for name in public - EXEMPT.keys() if name.split(".")[1] not in called)
    gone = sorted(name for name in EXEMPT.keys() - public if "." in name)
    unreasoned = sorted(name for name, reason in EXEMPT.items() if not reason)
    assert not (untried or gone or unreasoned), (
        f"without a Target in a family of this file, and not in EXEMPT: {untried}; in EXEMPT, and "
        f"no longer public: {gone}; in EXEMPT without a reason: {unreasoned}")


def test_the_judge_sees_what_is_wrong():
    def refuses(X):
        raise ValueError("X must be two-dimensional")

    kinds = {"X": rows(5, 2)}
    assert attempt(Target("fine", lambda X: float(np.shape(X)[0]), kinds, _instance(float))
                   ) == "result"
    bare = [lambda X: np.linalg.inv(np.zeros((2, 2))), lambda X: [][1], lambda X: {}["a"],
            lambda X: float("x"), refuses]  # the last one names X, but is not adlib's
    for call in bare:
        with pytest.raises(Violation):
            attempt(Target("bare", call, kinds, _anything))
    with pytest.raises(Violation, match="input changed"):
        attempt(Target("change", lambda X: X.sort(axis=0), kinds, lambda r, a: None))
    with pytest.raises(Violation, match="warning"):
        attempt(Target("warn", lambda X: np.log(np.zeros(3)), kinds, _anything))
    with pytest.raises(Violation, match="result"):
        attempt(Target("shape", lambda X: X[:1, 0], kinds, _scores))


# -- running ----------------------------------------------------------------------------------


def _run(names, times, seed):
    """Every spoil of every argument, ``times`` over, and as many pairs; what broke, by key."""
    draw, tally, found = random.Random(seed), Tally(), {}
    for name in names:
        for target in FAMILIES[name]():
            plans = [((arg, spoil),) for arg, kind in target.kinds.items() for spoil in kind.spoils]
            pairs = [(a, b) for (a,) in plans for (b,) in plans if a[0] < b[0]]
            plans = [(), *plans] * times + draw.sample(pairs, min(len(pairs), 20 * times))
            for which in plans:
                try:
                    outcome = attempt(target, which, draw.randrange(10**6))
                    tally.results += outcome == "result"
                    tally.refusals += outcome == "refusal"
                except Violation as broken:
                    found.setdefault(broken.key[1:3] if broken.key[2] else broken.key[:3], []
                                     ).append(str(broken))
                tally.tries[name] = tally.tries.get(name, 0) + 1
    return tally, found


if __name__ == "__main__":
    times, chosen = int(sys.argv[1]), sys.argv[2:] or list(FAMILIES)
    with scratch() as folder, chdir(folder):
        tally, found = _run(chosen, times, seed=times)
    for _, messages in sorted(found.items()):
        print(f"{len(messages):4}  {messages[0][:400]}")
    print(f"{sum(tally.tries.values())} tries {tally.tries}: {tally.results} results, "
          f"{tally.refusals} refusals, {len(found)} kinds of violation")
