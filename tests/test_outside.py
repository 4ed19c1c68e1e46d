"""What others write: five files far from the repository, which use public names alone.

A detector, a network, metrics, a source and a receiver, as someone would write them who has read
the README and the docstrings. They lie in ``data/outside`` and run in a temporary folder.
"""

import ast
import asyncio
import importlib
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from adlib import Detector, check_detector, persist
from adlib.compare import compare
from adlib.datasets import Dataset
from adlib.metrics import Metric, report, roc_auc
from adlib.realtime import (
    Channel,
    Outcome,
    RealTimeAnomalyDetector,
    Sample,
    Source,
    check_channel,
    check_source,
    registry,
    replay,
    source,
)
from adlib.realtime.config import ConfigError, EngineConfig
from adlib.training import DeepDetector

FILES = sorted((Path(__file__).parent / "data" / "outside").glob("*.py"))
SETTINGS = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
            "window_size": 20, "stride": 5}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with the five files in it."""
    for path in FILES:
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def outside(folder, monkeypatch):
    """Their modules, by name."""
    monkeypatch.syspath_prepend(str(folder))
    yield SimpleNamespace(**{p.stem: importlib.import_module(p.stem) for p in FILES})
    for path in FILES:
        del sys.modules[path.stem]


@pytest.fixture(scope="module")
def data():
    return rig()


def rig(name="rig", timed=True):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1_000, 2)), np.zeros(1_000, dtype=int)
    for start, stop in ((500, 503), (700, 720), (900, 901)):
        X[start:stop] += 4
        y[start:stop] = 1
    time = np.datetime64("2024-01-01", "ns") + np.arange(1_000) * np.timedelta64(1, "m")
    return Dataset(name, X, y, time=time if timed else None)


def quick(detectors, datasets, **kwargs):
    return compare(detectors, datasets, seeds=[0], **{
        "baselines": False, "progress": False, "n_random": 3, **kwargs})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_public_names_are_enough(path):
    tree = ast.parse(path.read_text())
    bases = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
             for alias in node.names if "adlib" in node.module}
    hooks = {name for cls in (Detector, DeepDetector) for name in cls.__abstractmethods__}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    written = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    private = {name for name in bases | used | written
               if name.startswith("_") and not name.endswith("__")}
    assert private <= hooks


# -- a detector -----------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 8])
def test_a_detector_keeps_all_promises(outside, window):
    assert "sign" in check_detector(outside.histogram.Histogram(window=window))


def test_a_detector_is_compared(outside, data):
    Histogram = outside.histogram.Histogram
    table = quick([Histogram, Histogram(window=8), "KNN"], data, baselines=True,
                  metrics="roc_auc").set_index("detector")
    assert (table.status == "ok").all(), table.reason
    assert table.role[["Histogram", "Histogram(window=8)", "KNN"]].tolist() == ["detector"] * 3
    assert table.value["Histogram"] > 0.95 and table.value["KNN"] > 0.95


@pytest.mark.parametrize("window", [1, 8])
def test_a_detector_is_saved_and_loaded(outside, data, window):
    detector = outside.histogram.Histogram(window=window).fit(data.X[:500])
    persist.save(detector, "mine")
    with pytest.raises(ValueError, match=r"Histogram.*classes="):
        persist.load("mine")
    again = persist.load("mine", classes=[outside.histogram.Histogram])
    assert again.threshold_ == detector.threshold_
    np.testing.assert_array_equal(again.anomaly_score(data.X), detector.anomaly_score(data.X))


# -- a network ------------------------------------------------------------------------------------


def test_a_network_without_errors_of_its_values_keeps_all_promises(outside):
    assert "contributions" in check_detector(outside.diffusion_time.DiffusionTime(epochs=5))


def test_diffusion_time_finds_rows_off_a_curve(outside):
    rng = np.random.default_rng(0)
    t = rng.uniform(-3, 3, size=(1_000, 1))
    X = np.hstack([t, np.sin(t)]) + 0.05 * rng.normal(size=(1_000, 2))
    strange = np.arange(1_000) >= 950
    X[strange] = rng.uniform(-3, 3, size=(50, 2))
    detector = outside.diffusion_time.DiffusionTime(random_state=0).fit(X[:700])
    assert roc_auc(strange[700:], detector.anomaly_score(X[700:])) > 0.8


# -- metrics --------------------------------------------------------------------------------------


def test_metrics_stand_in_the_comparison(outside, data):
    mine = [outside.my_metrics.ROWS_TO_READ, outside.my_metrics.QUIET]

    class Broken(outside.histogram.Histogram):
        def _fit(self, X):
            raise RuntimeError("no")

    table = quick(["KNN", Broken], data, metrics=[*mine, "roc_auc"])
    good = table[table.detector == "KNN"].set_index("metric")
    assert list(good.index) == ["roc_auc", "rows_to_read", "quiet@calibration"]
    assert 12 <= good.value["rows_to_read"] < good.random["rows_to_read"]  # 12 of 24: the least
    assert good.random["quiet@calibration"] == 9.5
    assert good.above_chance.iloc[1:].isna().all()  # low is best, and nobody said what is perfect
    assert table[table.detector == "Broken"].metric.tolist() == list(good.index)
    plain = rig("plain", timed=False)  # where nobody knows the time, its metric is left out
    table = quick("KNN", [data, plain], metrics=mine)
    assert table[table.dataset == "plain"].metric.tolist() == ["rows_to_read"]
    with pytest.raises(ValueError, match="metrics .'quiet'. need what no data set here has"):
        quick("KNN", plain, metrics=mine)


def test_metrics_stand_in_the_report(outside):
    y = np.arange(40) >= 30
    table = report(y, y + 0.1 * np.arange(40) % 1, metrics=[outside.my_metrics.ROWS_TO_READ])
    assert table[["metric", "value"]].values.tolist() == [["rows_to_read", 5.0]]


# -- a source and a receiver ----------------------------------------------------------------------


def fitted(notification=None, **kwargs):
    alerts = {"storage": {"path": "alerts.db"}}
    if notification:
        alerts["notification"] = notification
    return RealTimeAnomalyDetector({**SETTINGS, "alert_config": alerts}, **kwargs).fit(
        np.random.default_rng(0).normal(size=(4000, 2)))


async def judged(engine, samples):
    return [window async for window in engine.process_stream(samples)]


def test_source_and_receiver_work_in_an_engine_without_being_registered(outside):
    Plant, Pager = outside.plant.Plant, outside.pager.Pager
    check_source(Plant)
    check_channel(Pager())
    assert isinstance(Plant(), Source) and isinstance(Pager(), Channel)
    plant, pager = Plant(), Pager()
    engine = fitted(channels=[pager])
    windows = asyncio.run(judged(engine, plant))
    assert windows[-1]["is_anomaly"] and plant.kept == {}
    assert windows[-1]["incident_id"] in {page["incident"]["id"] for page in pager.pages}
    again = RealTimeAnomalyDetector.load(engine.save("model"), engine.config)
    assert asyncio.run(judged(again, Plant("plant:1040")))[0]["start"] == 985  # goes on


def test_source_and_receiver_are_found_by_name(outside, monkeypatch):
    """As a package would register them."""
    points = {registry.SOURCES: [EntryPoint("plant", "plant:Plant", registry.SOURCES)],
              registry.CHANNELS: [EntryPoint("pager", "pager:Pager", registry.CHANNELS)]}
    monkeypatch.setattr(registry, "entry_points", lambda group: points[group])
    engine = fitted({"pager": {"room": 7}})
    assert engine.config.alert_config.notification.pager == {"room": 7}
    windows = asyncio.run(judged(engine, source("plant:1000")))
    assert len(windows) == 197
    assert {(row.channel, row.state) for row in engine.store.outbox()} == {("pager", "sent")}
    with pytest.raises(ConfigError, match="notification.pagr: unknown key, did you mean 'pager'"):
        EngineConfig.from_any({"alert_config": {"notification": {"pagr": {}}}})
    with pytest.raises(ValueError, match="did you mean 'plant'"):
        source("plnt:1000")


# -- all of it, as a program -----------------------------------------------------------------------

PROGRAM = '''
import asyncio

import numpy as np

from adlib import persist
from adlib.compare import compare
from adlib.datasets import make_sensor_stream
from adlib.realtime import RealTimeAnomalyDetector
from diffusion_time import DiffusionTime
from histogram import Histogram
from my_metrics import QUIET, ROWS_TO_READ
from pager import Pager
from plant import Plant


class Mine(Histogram):
    """Defined in the program itself."""


if __name__ == "__main__":
    data = make_sensor_stream(n_points=1000, anomaly_ratio=0.03, random_state=0)
    table = compare([Mine, Histogram(window=8), DiffusionTime(epochs=1), "KNN"], data, seeds=[0],
                    metrics=[ROWS_TO_READ, QUIET], baselines=False, n_jobs=2,
                    results_dir="cells", n_random=3)
    print(*table.status)
    detector = DiffusionTime(epochs=1, random_state=0).fit(data.X)
    again = persist.load(persist.save(detector, "network"), classes=[DiffusionTime])
    print((again.anomaly_score(data.X) == detector.anomaly_score(data.X)).all())

    pager = Pager()
    settings = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
                "window_size": 20, "stride": 5,
                "alert_config": {"storage": {"path": "alerts.db"}}}
    engine = RealTimeAnomalyDetector(settings, channels=[pager])
    engine.fit(np.random.default_rng(0).normal(size=(4000, 2)))

    async def watch():
        return [window async for window in engine.process_stream(Plant())]

    asyncio.run(watch())
    print(pager.pages[0]["kind"])
'''


def test_a_program_in_a_folder_of_its_own(folder):
    Path("program.py").write_text(PROGRAM)
    run = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["ok"] * 8 + ["True", "open"]
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
        "program.py", *(path.name for path in FILES), "cells", "network", "alerts.db"}


# -- what goes wrong: one sentence each ------------------------------------------------------------


class Wrong(Detector):
    gives: object = None

    def _fit(self, X):
        pass

    def _score(self, X):
        return self.gives


@pytest.mark.parametrize(("gives", "says"), [
    (["a", "b"], "Wrong must give one score per row, a number, gave dtype <U1"),
    ([1j, 2j], "Wrong must give one score per row, a number, gave dtype complex128"),
    (None, "Wrong must give one score per row, a number, gave dtype object"),
    ([1.0], r"Wrong must give one score per row, shape \(2,\), gave shape \(1,\)"),
    (np.ones((2, 2)), r"shape \(2,\), gave shape \(2, 2\)"),
])
def test_scores_that_are_none(gives, says):
    detector = Wrong(threshold=1.0, calibration=None).fit(np.eye(2))
    detector.gives = gives
    with pytest.raises((TypeError, ValueError), match=says):
        detector.anomaly_score(np.eye(2))


def test_a_constructor_that_forgets_the_base(data):
    class Forgets(Wrong):
        def __init__(self, k=3):
            self.k = k

    for use in (lambda: quick(Forgets, data), lambda: Forgets().fit(data.X)):
        with pytest.raises(TypeError, match=r"Forgets.__init__ does not set .*super\(\).__init__"):
            use()


def test_a_metric_that_gives_a_vector(data):
    with pytest.raises(TypeError, match=r"'long' must give one number, gave an array of shape"):
        report(data.y, data.X[:, 0], metrics=Metric("long", lambda y_true, score: score))


class Deaf(Channel):
    name = "deaf"

    def __init__(self, answer=None, **changes):
        self.answer = answer
        vars(self).update(changes)

    async def send(self, rows):
        return [self.answer for _ in rows]


@pytest.mark.parametrize(("channels", "says"), [
    ([Deaf], "it is an instance, not a class"),
    ([Deaf(name=None)], "name is a text that is not empty"),
    ([Deaf(batch=0)], "batch is a whole number of messages, at least 1"),
    ([Deaf(timeout="soon")], "timeout is a number of seconds above 0"),
    (Deaf(), "channels must be a list"),
    ([Deaf(), Deaf()], "two channels are named 'deaf'"),
])
def test_channels_that_an_engine_cannot_use(folder, channels, says):
    with pytest.raises(ValueError, match=says):
        asyncio.run(judged(fitted(channels=channels), replay(np.ones((30, 2)))))


def test_an_answer_that_is_no_outcome_is_tried_again(outside, caplog):
    with pytest.raises(ValueError, match="state must be one of 'sent', 'retry', 'dead'"):
        Outcome("ok")
    with pytest.raises(ValueError, match="retry_after must be a number"):
        Outcome("retry", None, "soon")
    engine = fitted(channels=[Deaf("sent")])
    asyncio.run(judged(engine, outside.plant.Plant()))
    assert {row.state for row in engine.store.outbox()} == {"pending"}
    assert "deaf did not take 1 of 1 messages, unforeseen TypeError" in caplog.text


@pytest.mark.parametrize("rows", [[1.0], np.ones((3, 2)), "csv:rig.csv", None, Source],
                         ids=["list", "array", "text", "none", "class"])
def test_what_is_no_source(folder, rows):
    with pytest.raises(TypeError, match=r"source must be a Source or .* adlib\.realtime\.replay"):
        asyncio.run(judged(fitted(), rows))


@pytest.mark.parametrize("time", [np.nan, np.inf, np.datetime64("2024-01-01"), "now"], ids=str)
def test_a_stamp_that_is_no_time_stops_nothing(folder, time):
    async def samples():
        for seq, row in enumerate(np.random.default_rng(1).normal(size=(60, 2))):
            yield Sample(seq, time if seq in (0, 30) else float(seq), row)

    windows = asyncio.run(judged(fitted(), samples()))
    assert [window["time"] for window in windows[-2:]] == [54.0, 59.0]


@pytest.mark.parametrize(("sample", "promise"), [
    (Sample(0, np.datetime64("2024-01-01"), [1.0]), "times are numbers, POSIX seconds, got 2024"),
    (Sample(1.5, None, [1.0]), "seq is a whole number or None, got 1.5"),
    (Sample(0, None, [1.0], lambda: 3), "ack must be a coroutine function without arguments"),
    (Sample(0, None, [1.0], 3), "ack must be a coroutine function without arguments"),
])
def test_samples_that_break_a_promise(sample, promise):
    class Odd:
        async def samples(self, *, features=None, position=-1):
            yield sample

    with pytest.raises(AssertionError, match=promise):
        check_source(Odd)
    with pytest.raises(TypeError, match=r"source_factory must be callable.*lambda: Odd\(\.\.\.\)"):
        check_source(Odd())


def test_samples_that_are_no_async_generator(folder):
    class Listed:
        def samples(self, *, features=None, position=-1):
            return [Sample(0, None, [1.0, 1.0])]

    class Returned:
        async def samples(self, *, features=None, position=-1):
            return [Sample(0, None, [1.0, 1.0])]

    engine = fitted()
    for cls, gave in ((Listed, "list"), (Returned, "coroutine")):
        says = rf"samples of {cls.__name__} must be an async generator .*, gave {gave}"
        with pytest.raises(AssertionError, match=says):
            check_source(cls)
        with pytest.raises(TypeError, match=says):
            asyncio.run(judged(engine.fork(), cls()))


def test_a_channel_that_cannot_be_closed_does_not_end_the_stream(outside, caplog):
    class Stuck(outside.pager.Pager):
        async def close(self):
            raise OSError("no")

    assert len(asyncio.run(judged(fitted(channels=[Stuck()]), outside.plant.Plant()))) == 197
    assert "closing pager: OSError" in caplog.text


def test_a_file_has_its_own_neighbours_and_is_anew_when_one_changes(tmp_path):
    from adlib.imports import class_at

    for folder, worth in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text(f"worth = {worth}\n")
        (tmp_path / folder / "det.py").write_text(
            "import helper\n\n\nclass Mine:\n    worth = helper.worth\n")
    a, b = (class_at(f"{tmp_path / folder / 'det.py'}:Mine") for folder in "ab")
    assert (a.worth, b.worth) == (1, 2)
    (tmp_path / "a" / "helper.py").write_text("worth = 3\n")
    again = class_at(f"{tmp_path / 'a' / 'det.py'}:Mine")
    assert again.worth == 3 and again.__module__ != a.__module__
    (tmp_path / "stop.py").write_text("import sys\nsys.exit()\n")
    with pytest.raises(ValueError, match="cannot be imported: SystemExit"):
        class_at(f"{tmp_path / 'stop.py'}:Mine")
