"""A model's life: versions in one folder, a refit beside the engine, the swap, the way back."""

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from adlib.realtime import AlertStore, EngineConfig, RealTimeAnomalyDetector, Sample, fitted, models
from adlib.realtime import refit as refits
from adlib.realtime.__main__ import main
from adlib.realtime.answers import Answer, FeedbackStore
from adlib.realtime.doors import versions
from adlib.realtime.doors.versions import Version
from adlib.realtime.judge import Judge
from adlib.realtime.models import drifts

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")

CHEAP = {"deep_config": None, "stat_config": None, "window_size": 20, "stride": 5, "alpha": 0.01,
         "drift": False, "detectors": ["PCAReconstruction"]}


def rows(n, seed, d=3):
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(2, d))
    return rng.normal(size=(n, 2)) @ mixing + 0.3 * rng.normal(size=(n, d))


# ------------------------------------------------------------------ versions


def model(folder):
    (folder / "engine.json").write_text("{}")


def test_an_old_folder_is_version_1_and_versions_are_counted(tmp_path):
    model(tmp_path)
    assert versions.current(tmp_path).version == 1
    for number in (2, 3):
        record = versions.add(tmp_path, Version(0, 1.0, "drift"), model, keep=5)
        assert record.number == number
        versions.use(tmp_path, number, "Ada")
    assert versions.current(tmp_path).used == (1, 2, 3)
    assert [version.number for version in versions.listed(tmp_path)] == [1, 2, 3]


def test_rollback_goes_back_step_by_step_and_holds_what_is_fitted_later(tmp_path):
    model(tmp_path)
    with pytest.raises(ValueError, match="no earlier one"):
        versions.rollback(tmp_path)
    for number in (2, 3):
        versions.add(tmp_path, Version(0, 1.0), model, keep=5)
        versions.use(tmp_path, number)
        versions.use(tmp_path, number)  # once more is no step
    assert not versions.current(tmp_path).held
    assert [versions.rollback(tmp_path).version for _ in range(2)] == [2, 1]
    assert versions.current(tmp_path).held
    versions.use(tmp_path, 3)
    assert not versions.current(tmp_path).held


def test_what_holds_no_model_is_never_used(tmp_path):
    model(tmp_path)
    versions.add(tmp_path, Version(0, 1.0, outcome="failed", says="too short"), None, keep=5)
    with pytest.raises(ValueError, match="no model of version 2: use one of 1"):
        versions.use(tmp_path, 2)
    with pytest.raises(ValueError, match="version must be a whole number"):
        versions.use(tmp_path, "../2")
    for ask in (versions.listed, versions.rollback):
        with pytest.raises(FileNotFoundError, match="not a saved engine"):
            ask(tmp_path / "elsewhere")
    config = EngineConfig.from_any({"alert_config": {"storage": {"path": tmp_path / "a.db"}}})
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="not a saved engine"):
        refits.refit(tmp_path / "empty", config)
    assert not [*(tmp_path / "empty").iterdir()]


@pytest.mark.parametrize("keep, left", [(2, [7, 8]), (3, [6, 7, 8]), (5, [4, 5, 6, 7, 8]),
                                        (9, [4, 5, 6, 7, 8])])
def test_old_versions_go_but_those_in_use_and_the_way_back_stay(tmp_path, keep, left):
    model(tmp_path)
    for number in range(2, 9):
        versions.add(tmp_path, Version(0, 1.0), model, keep=keep)
        if number in (2, 3):
            versions.use(tmp_path, number)
    assert [version.number for version in versions.listed(tmp_path)] == [1, 2, 3, *left]
    assert versions.rollback(tmp_path).version == 2


@pytest.mark.parametrize("says", ["", "3", "[]", '{"used": [0]}', '{"version": 2}',
                                  '{"used": ["../x"]}', '{"used": '
                                  '[]}'])
def test_a_damaged_pointer_is_one_sentence_and_is_written_anew(tmp_path, says):
    model(tmp_path)
    (tmp_path / "current").write_text(says)
    with pytest.raises(ValueError, match="is damaged .* use N` writes it again"):
        versions.current(tmp_path)
    versions.use(tmp_path, 1)
    assert versions.current(tmp_path).version == 1


def test_what_a_killed_process_left_is_cleared(tmp_path):
    model(tmp_path)
    (tmp_path / "versions" / ".x.new").mkdir(parents=True)
    versions.add(tmp_path, Version(0, 1.0), model, keep=2)
    (tmp_path / "versions" / "2" / "version.json").write_text(json.dumps({"number": "x"}))
    assert versions.add(tmp_path, Version(0, 1.0), model, keep=2).number == 3  # 2 is damaged
    assert not (tmp_path / "versions" / ".x.new").exists()


def test_one_fits_at_a_time(tmp_path):
    with versions.alone(tmp_path), pytest.raises(BlockingIOError, match="another process"), (
            versions.alone(tmp_path)):
        pass
    with versions.alone(tmp_path):
        pass


# ------------------------------------------------------------------ another version at work


def config(folder, **more):
    alerts = {"storage": {"path": str(folder / "alerts.db"), "commit_seconds": 0.05},
              "incidents": {"cooldown": 0}}
    return {**CHEAP, "alpha_info": 0.999, "refit": {}, "alert_config": alerts, **more}


@pytest.fixture
def home(tmp_path):
    """A model and its second version, which knows rows that lie 3 higher."""
    folder = tmp_path / "model"
    first = RealTimeAnomalyDetector(config(tmp_path)).fit(rows(4000, 0))
    first.save(tmp_path / "first")
    first.save(folder)
    second = RealTimeAnomalyDetector(config(tmp_path)).fit(rows(4000, 1) + 3)
    second.save(tmp_path / "second")
    versions.add(folder, Version(0, 1.0, "drift", says="fewer incidents"),
                 lambda draft: shutil.copytree(tmp_path / "second", draft, dirs_exist_ok=True), 5)
    return folder


def live(n=3000):
    X = rows(n, 5)
    X[n // 2 - 200:] += 3  # a new normal, in the middle of which the model changes
    return X


class Steps:
    """A source that brings ten rows at a time, and waits where it is told to."""

    identity = "steps"

    def __init__(self, X, halt=None, until=lambda: True):
        self.X, self.halt, self.until, self.acknowledged = X, halt, until, []

    async def samples(self, *, features=None, position=-1):
        for start in range(position + 1, len(self.X), 10):
            if self.halt is not None and start >= self.halt:
                while not self.until():
                    await asyncio.sleep(0.01)
            stop = min(start + 10, len(self.X))

            async def ack(last=stop - 1):
                self.acknowledged.append(last)
            yield Sample(start, np.arange(float(start), stop), self.X[start:stop], ack)


def run(engine, source):
    async def collect():
        return [window async for window in engine.process_stream(source)]

    return asyncio.run(collect())


def reports(folder):
    with AlertStore(folder / "alerts.db") as store:
        return [incident for incident in store.incidents() if "|health.model." in incident.id]


def test_a_running_engine_follows_the_version_in_use_and_loses_nothing(home, tmp_path):
    X = live()
    engine = RealTimeAnomalyDetector.load(home, config(tmp_path))

    def swapped():
        if versions.current(home).version == 1 and engine.store.incidents(state="open"):
            (opened,) = engine.store.incidents(state="open")
            engine.store.acknowledge(opened.id)
            versions.use(home, 2, "Ada", "new sensor")
        return engine._handed  # taken over with the next rows

    source = Steps(X, 1500, swapped)
    windows = run(engine, source)
    assert [window["end"] for window in windows] == list(range(19, 3000, 5))
    assert source.acknowledged == list(range(9, 3000, 10))
    first, *after = engine.store.incidents()
    assert first.start < 1500 and first.acknowledged and first.state == "closed"
    assert all(w["is_anomaly"] for w in windows if 1400 <= w["end"] < 1500)
    assert sum(w["is_anomaly"] for w in windows if w["end"] >= 1500) <= 10
    (report,) = reports(tmp_path)
    assert report.detail == "version 2 of the model in place of 1, by Ada: new sensor"
    # scored as by an engine that always had this model, also the windows that began before
    alone = RealTimeAnomalyDetector.load(tmp_path / "second", CHEAP)
    wanted = {w["end"]: w["p_value"] for w in run(alone, Steps(X))}
    assert [w["p_value"] for w in windows if w["end"] >= 1510] == pytest.approx(
        [p for end, p in wanted.items() if end >= 1510])


def test_a_version_that_was_chosen_while_nothing_ran_goes_on_from_the_same_sample(home, tmp_path):
    X = live()
    assert len(run(RealTimeAnomalyDetector.load(home, config(tmp_path)), Steps(X[:1500]))) == 297
    assert main(["model", str(home), "use", "2", "--author", "Ada"]) == 0
    source = Steps(X)
    windows = run(RealTimeAnomalyDetector.load(home, config(tmp_path)), source)
    assert [window["end"] for window in windows] == list(range(1504, 3000, 5))
    assert None not in [window["is_anomaly"] for window in windows]
    assert main(["model", str(home), "rollback"]) == 0  # once more while nothing runs
    engine = RealTimeAnomalyDetector.load(home, config(tmp_path))
    run(engine, Steps(np.vstack([X, X[:200]])))
    assert engine.version == 1
    assert [report.detail.partition(",")[0] for report in reports(tmp_path)] == [
        "version 2 of the model in place of 1", "version 1 of the model in place of 2"]


def test_a_rollback_by_one_command_reaches_a_running_engine(home, tmp_path):
    versions.use(home, 2)
    engine = RealTimeAnomalyDetector.load(home, config(tmp_path))
    asked = []

    def back():
        if not asked:
            asked.append(main(["model", str(home), "rollback", "--comment", "blind"]))
        return engine._handed

    windows = run(engine, Steps(live(), 1500, back))
    assert asked == [0] and len(windows) == 597
    assert "blind" in reports(tmp_path)[0].detail


def test_what_cannot_be_used_is_reported_and_the_old_one_goes_on(home, tmp_path):
    other = RealTimeAnomalyDetector(config(tmp_path)).fit(rows(4000, 1, d=4))
    other.save(tmp_path / "other")
    versions.add(home, Version(0, 1.0), lambda draft: shutil.copytree(
        tmp_path / "other", draft, dirs_exist_ok=True), 5)
    versions.add(home, Version(0, 1.0), model, 5)  # damaged
    engine = RealTimeAnomalyDetector.load(home, config(tmp_path))

    def tried():
        for number in (3, 4):
            if versions.current(home).version < number and len(engine._handed) == number - 3:
                versions.use(home, number)
        return len(engine._handed) == 2
    steps = Steps(live(), 1500, tried)
    assert len(run(engine, steps)) == 597 and engine.version == 1
    said = sorted(report.detail for report in reports(tmp_path))
    assert "version 3 of the model cannot be used, and 1 goes on: it is of x0, x1, x2, x3" in said
    assert "version 4 of the model cannot be used, and 1 goes on" in said[1]


def test_a_version_that_is_damaged_names_the_way_back(home, tmp_path):
    versions.add(home, Version(0, 1.0), model, 5)
    versions.use(home, 3)
    with pytest.raises(ValueError, match=r"version 3 .* cannot be used: .* rollback` goes back"):
        RealTimeAnomalyDetector.load(home, config(tmp_path))
    assert main(["model", str(home), "rollback"]) == 0
    assert RealTimeAnomalyDetector.load(home, config(tmp_path)).version == 1


# ------------------------------------------------------------------ kill -9 at each step


class Numbered:
    """A source as `Steps`, whose acknowledgements outlive the process."""

    identity = "numbered"

    def __init__(self, X, path, pause=None):
        self.X, self.path, self.pause = X, path, pause

    def note(self, first, last):
        with self.path.open("a") as file:
            file.write(f"{first} {last}\n")

    async def samples(self, *, features=None, position=-1):
        self.note(0, position)  # is committed, and is not asked for again
        for start in range(position + 1, len(self.X), 10):
            if start >= 1500 and self.pause is not None:
                while not self.pause():
                    await asyncio.sleep(0.01)
            stop = min(start + 10, len(self.X))

            async def ack(first=start, last=stop - 1):
                self.note(first, last)
            yield Sample(start, np.arange(float(start), stop), self.X[start:stop], ack)


def dies(owner, name, after=False, when=lambda *args: True):
    """Let a process be killed before or after a call."""
    call = getattr(owner, name)

    def dying(*args, **more):
        fatal = when(*args)
        if fatal and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = call(*args, **more)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(owner, name, dying)


def fitting(folder, settings, step):
    """Refit in a process that dies."""
    if step == "training":
        dies(fitted, "fit", after=True)
    if step in ("before the version", "after the version"):
        dies(refits.versions, "add", after=step[:5] == "after")
    if step == "half a version":
        dies(versions.json, "dumps", when=lambda record, *more: "number" in record)
    if step in ("before the pointer", "after the pointer"):
        dies(refits.versions, "use", after=step[:5] == "after")
    refits.refit(folder, EngineConfig.from_any(settings))


def judging(folder, settings, acks, step):
    """Judge in a process that dies about a swap."""
    swapped = []
    engine = RealTimeAnomalyDetector.load(folder, settings)
    if step == "before the swap":
        dies(RealTimeAnomalyDetector, "_another")
    elif step == "in the swap":
        dies(Judge, "warm")
    elif step is not None:
        take_over = RealTimeAnomalyDetector._take_over

        def noted(self, *args):
            take_over(self, *args)
            swapped.append(True)
        RealTimeAnomalyDetector._take_over = noted
        dies(AlertStore, "commit", after=step == "after its commit", when=lambda *_: swapped)

    def handed():
        if versions.current(folder).version == 1:
            versions.use(folder, 2, "Ada")
        return engine._handed or engine.version == 2 or swapped
    run(engine, Numbered(live(), acks, None if step is None else handed))


def calm(folder):
    """End and p-value of each window that is stored where nobody dies."""
    found = []
    for name, ends in (("first", range(0, 1500)), ("second", range(1500, 3000))):
        engine = RealTimeAnomalyDetector.load(folder / name, CHEAP)
        found += [(w["end"], w["p_value"]) for w in run(engine, Steps(live()))
                  if w["end"] in ends and w["p_value"] <= 0.999]
    return found


def in_process(target, *args):
    process = multiprocessing.get_context("spawn").Process(target=target, args=args)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.mark.parametrize("step", ["before the swap", "in the swap", "before its commit",
                                  "after its commit"])
def test_killed_about_a_swap_nothing_is_lost_and_the_new_model_goes_on(home, tmp_path, step):
    settings, acks = config(tmp_path), tmp_path / "acks"
    assert in_process(judging, home, settings, acks, step) == -signal.SIGKILL
    judging(home, settings, acks, None)
    known = [tuple(map(int, line.split())) for line in acks.read_text().splitlines()]
    assert sorted({n for a, b in known for n in range(a, b + 1)}) == list(range(3000))
    with AlertStore(tmp_path / "alerts.db") as store:
        assert np.allclose([(v.end, v.p_value) for v in store.verdicts()], calm(tmp_path))
        assert store.integrity_check() == []
    (report,) = reports(tmp_path)  # in one process or the other, once
    assert report.detail.startswith("version 2 of the model in place of 1")
    assert versions.rollback(home).version == 1


@pytest.mark.parametrize("step, found, used", [
    ("training", [1], 1), ("before the version", [1], 1), ("half a version", [1], 1),
    ("after the version", [1, 2], 1), ("before the pointer", [1, 2], 1),
    ("after the pointer", [1, 2], 2)])
def test_killed_while_it_fits_a_model_is_whole_or_not_there(tmp_path, step, found, used):
    folder, settings = tmp_path / "model", config(tmp_path)
    RealTimeAnomalyDetector(settings).fit(rows(4000, 0)).save(folder)
    run(RealTimeAnomalyDetector.load(folder, settings), Steps(rows(3000, 5)))
    assert in_process(fitting, folder, settings, step) == -signal.SIGKILL
    assert [version.number for version in versions.listed(folder)] == found
    engine = RealTimeAnomalyDetector.load(folder, settings)
    assert engine.version == used
    assert len(run(engine, Steps(rows(3100, 5)))) == 20
    assert refits.refit(folder, EngineConfig.from_any(settings)).number == found[-1] + 1
    assert not list((folder / "versions").glob(".*.*"))


def test_the_process_that_fits_ends_with_its_engine(tmp_path):
    reader = subprocess.Popen([sys.executable, "-m", "adlib.realtime.refit"],
                              stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    reader.stdin.close()
    assert reader.wait(60) != 0
    reader.stderr.close()


# ------------------------------------------------------------------ what is fitted, and the rule


def judged(folder, X, **more):
    """A saved model, and a store that holds what it judged."""
    settings = config(folder, **more)
    RealTimeAnomalyDetector(settings).fit(rows(4000, 0)).save(folder / "model")
    run(RealTimeAnomalyDetector.load(folder / "model", settings), Steps(X))
    return EngineConfig.from_any(settings)


def test_rows_in_incidents_are_left_out_unless_an_expert_called_them_normal(tmp_path, monkeypatch):
    X = rows(6000, 5)
    X[1000:1100] += 9
    X[2000:2100] += 9
    settings, seen = judged(tmp_path, X), []
    fit = fitted.fit

    def noted(config, frame, *args, **more):
        seen.append(frame)
        return fit(config, frame, *args, **more)

    monkeypatch.setattr(fitted, "fit", noted)
    with FeedbackStore(tmp_path / "alerts.db") as store:
        wrong = [one for one in store.incidents() if 1900 < one.start < 2100]
        for incident in wrong:
            store.record(Answer(incident.id, "false", (), stream="stream"))
    record = refits.refit(tmp_path / "model", settings)
    (frame,) = seen
    live = frame.to_numpy()[4001:]  # behind the history and what parts the two
    assert np.isnan(live[1020:1080]).all() and not np.isnan(live[2020:2080]).any()
    assert "fewer faults" in record.says  # a fault that was called normal makes blind
    assert np.allclose(frame.to_numpy()[:4000], rows(4000, 0))  # the first history is used again


def test_after_a_drift_only_the_new_normal_is_fitted(tmp_path):
    X = rows(12_000, 5)
    X[4000:] += [0.0, 0.6, 0.0]
    settings = judged(tmp_path, X, drift=True, alpha=0.02)
    with AlertStore(tmp_path / "alerts.db") as store:
        assert "stream" in drifts(store, "stream")
        onset = store.quality(kind="drift")[-1].start
    assert 3900 < onset < 6000
    record = refits.refit(tmp_path / "model", settings, "drift")
    assert record.rows < 0.85 * (12_000 - onset)
    assert record.comparison["new"]["flagged"] < record.comparison["old"]["flagged"] / 2
    assert record.outcome == "better"
    again = RealTimeAnomalyDetector.load(tmp_path / "model", settings)
    run(again, Steps(np.vstack([X, rows(4000, 6) + [0.0, 0.6, 0.0]])))
    with AlertStore(tmp_path / "alerts.db") as store:
        assert drifts(store, "stream") == {}  # it began anew, and is over
    third = refits.refit(tmp_path / "model", settings, "on schedule")
    assert third.after == {"stream": onset}  # what came before it is no normal row any more
    assert third.rows < 0.85 * (16_000 - onset)


def test_what_lies_in_incidents_is_a_new_normal_only_where_somebody_says_so(tmp_path):
    X = rows(6000, 5)
    X[1500:] += 4
    settings = judged(tmp_path, X, drift=True)
    record = refits.refit(tmp_path / "model", settings, "drift")
    assert record.outcome == "unsure" and "answer whether these are false" in record.says
    assert versions.current(tmp_path / "model").version == 1
    with FeedbackStore(tmp_path / "alerts.db") as store:
        for incident in store.incidents(state="open"):
            if incident.kind == "anomaly":
                store.record(Answer(incident.id, "false", (), stream="stream"))
    assert refits.refit(tmp_path / "model", settings, "drift").outcome == "better"
    assert versions.current(tmp_path / "model").version == 3


def figures(**more):
    return {"days": 7.0, "windows": 1000, "flagged": 0.01, "incidents": 1, "confirmed": 1,
            "put_in": 20, "put_in_found": 18, **more}


@pytest.mark.parametrize("new, why", [
    ({}, ""), ({"incidents": 3}, ""), ({"incidents": 5}, "more than 1/week"),
    ({"confirmed": 0}, "a fault that was confirmed"), ({"put_in_found": 11}, "fewer faults"),
    ({"windows": 0}, "judges no window"), ({"put_in_found": 12}, "")])
def test_a_model_that_pages_too_much_or_sees_too_little_is_refused(new, why):
    settings = EngineConfig.from_any({**CHEAP, "alpha": 0.01})
    by_week = settings.changed(per="1/week")
    assert why in (said := refits.refusal(by_week, figures(), figures(**new), 9000)) and bool(
        why) == bool(said)


def test_with_alpha_the_share_of_flagged_windows_is_held():
    settings = EngineConfig.from_any(CHEAP)  # 250 windows that share no sample
    assert refits.refusal(settings, figures(), figures(flagged=0.02), 9000) == ""
    said = refits.refusal(settings, figures(), figures(flagged=0.05), 9000)
    assert "flags more than alpha" in said
    # few rows say so little of alpha that the model is not blamed
    assert refits.refusal(settings, figures(), figures(flagged=0.05), 1000) == ""


def test_what_cannot_be_fitted_is_a_record_and_a_report(tmp_path, capsys):
    settings = judged(tmp_path, rows(60, 5))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config(tmp_path)))
    assert main(["model", str(tmp_path / "model"), "refit", str(path)]) == 1
    assert "version 2 failed: only" in capsys.readouterr().out
    assert main(["model", str(tmp_path / "model"), "list"]) == 0
    assert "2  " in (listed := capsys.readouterr().out) and "failed" in listed
    assert versions.current(tmp_path / "model").version == 1
    assert settings.refit is not None


def test_a_better_model_waits_where_somebody_decides(tmp_path):
    settings = judged(tmp_path, rows(3000, 5), refit={"swap": "ask"})
    assert refits.refit(tmp_path / "model", settings).outcome == "better"
    assert versions.current(tmp_path / "model").version == 1
    auto = settings.changed(refit={})
    versions.use(tmp_path / "model", 2)
    versions.rollback(tmp_path / "model")
    assert refits.refit(tmp_path / "model", auto).outcome == "better"
    assert versions.current(tmp_path / "model").version == 1  # who went back decides
    assert main(["model", str(tmp_path / "model"), "use", "3"]) == 0
    run(RealTimeAnomalyDetector.load(tmp_path / "model", auto), Steps(rows(6000, 5)))
    assert refits.refit(tmp_path / "model", auto).outcome == "better"
    assert versions.current(tmp_path / "model").used == (1, 3, 4)


def test_a_budget_that_new_rows_cannot_show_keeps_the_alpha_before(tmp_path):
    settings = config(tmp_path, per="14/week", sampling_period=60, drift=True)
    del settings["alpha"], settings["alpha_info"]
    first = RealTimeAnomalyDetector(settings).fit(rows(8000, 0))
    first.save(tmp_path / "model")
    X = rows(6000, 5)
    X[1000:] += [0.0, 0.9, 0.0]
    engine = RealTimeAnomalyDetector.load(tmp_path / "model", settings)
    run(engine, Minutes(X))
    record = refits.refit(tmp_path / "model", EngineConfig.from_any(settings))
    assert record.outcome in ("better", "unsure"), record
    second = RealTimeAnomalyDetector.load(tmp_path / "model" / "versions" / "2", settings)
    assert second.config.alpha == first.config.alpha == second.fork().config.alpha
    # it keeps this budget of these scores, and no other
    other = "max" if (second.config.combine or "weighted") == "weighted" else "weighted"
    for change in ({"combine": other}, {"per": "15/week"}):
        with pytest.raises(ValueError, match="per='1[45]/week' needs .* days of held-out rows"):
            second.fork(**change)
        with pytest.raises(ValueError, match="per='1[45]/week' needs .* days of held-out rows"):
            RealTimeAnomalyDetector.load(tmp_path / "model" / "versions" / "2",
                                         {**settings, **change})
    assert second.fork(per="300/week").config.alpha > first.config.alpha
    assert second.fork(combine=other, alpha=0.01).config.alpha == 0.01
    assert second.fork(detectors=second.config.detectors).config.alpha == first.config.alpha


class Minutes(Steps):
    """Rows a minute apart."""

    async def samples(self, *, features=None, position=-1):
        for start in range(position + 1, len(self.X), 10):
            stop = min(start + 10, len(self.X))
            yield Sample(start, 60.0 * np.arange(start, stop), self.X[start:stop])


def test_a_drift_that_lasts_is_fitted_beside_the_engine_and_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_PAUSE", 0.05)
    monkeypatch.setattr(models, "_SELDOM", 1)
    monkeypatch.setattr(models, "_SETTLED", 0.0)
    X = rows(12_000, 5)
    X[4000:] += [0.0, 0.6, 0.0]
    settings = config(tmp_path, drift=True, alpha=0.02, refit={"on_drift": "20min"})
    RealTimeAnomalyDetector(settings).fit(rows(4000, 0)).save(tmp_path / "model")
    engine = RealTimeAnomalyDetector.load(tmp_path / "model", settings)
    source = Steps(X, 10_000, lambda: engine._handed or engine.version == 2)
    assert len(run(engine, source)) == 2397 and engine.version == 2
    assert source.acknowledged == list(range(9, 12_000, 10))
    (report,) = [one for one in reports(tmp_path) if "in place of" in one.detail]
    assert "by refit: drift of stream since" in report.detail
    assert "it would have reported" in report.detail  # the comparison


def watch(home, settings, store, told=None):
    handed = []
    return models.ModelWatch(home, 1, told, settings, store, None,
                             lambda *what: handed.append(what)), handed


def test_what_is_refused_is_reported_once_also_over_a_restart(home, tmp_path):
    settings = EngineConfig.from_any(config(tmp_path))
    versions.add(home, Version(0, 1.0, "on schedule", "refused", "it finds fewer faults"), None, 5)
    looking, handed = watch(home, settings, None)
    looking.look()
    assert handed == []  # it was there before the engine first ran
    versions.add(home, Version(0, 1.0, "on schedule", "failed", "too few rows"), None, 5)
    looking, handed = watch(home, settings, None, told=2)
    looking.look()
    assert [(what.subject, told) for _, what, told in handed] == [("3", 3), ("4", 4)]
    assert handed[0][1].detail == ("version 3 of the model (on schedule) refused: it finds fewer "
                                   "faults")
    looking, handed = watch(home, settings, None, told=4)
    looking.look()
    assert handed == []


def test_a_schedule_counts_from_the_last_rows_that_were_tried(tmp_path):
    settings = judged(tmp_path, rows(3000, 5), refit={"every": "25min"})
    with AlertStore(tmp_path / "alerts.db") as store:
        looking, _ = watch(tmp_path / "model", settings, store)
        assert looking.due() == ""  # the rows of the history count from 0 too, to 3999
        run(RealTimeAnomalyDetector.load(tmp_path / "model", settings), Steps(rows(6000, 5)))
        assert looking.due() == "on schedule"
        refits.refit(tmp_path / "model", settings)
        assert looking.due() == ""


# ------------------------------------------------------------------ a fleet


class Plant:
    """Rows of three machines, ten of each at a time."""

    identity = "plant"

    def __init__(self, X, halt=None, until=lambda: True):
        self.X, self.halt, self.until, self.acknowledged = X, halt, until, []

    async def samples(self, *, features=None, position=-1):
        for at in range((position + 1) // 3, len(next(iter(self.X.values()))), 10):
            if self.halt is not None and at >= self.halt:
                while not self.until():
                    await asyncio.sleep(0.01)

            async def ack(last=3 * at + 29):
                self.acknowledged.append(last)
            yield Sample(3 * at, np.tile(np.arange(at, at + 10.0), 3),
                         np.concatenate([X[at:at + 10] for X in self.X.values()]), ack,
                         [name for name in self.X for _ in range(10)])


def fleet_history(n=3000):
    X = {name: rows(n, k) for k, name in enumerate("abc")}
    return np.concatenate([*X.values()]), np.tile(np.arange(0.0, n), 3), np.repeat([*X], n)


@pytest.mark.parametrize("how", ["shared", "own"])
def test_a_fleet_is_fitted_again_and_swapped_as_one(tmp_path, how):
    settings = config(tmp_path, fleet={"model": how}, drift=True, alpha=0.02)
    folder = tmp_path / "model"
    X, time, names = fleet_history()
    RealTimeAnomalyDetector(settings).fit(X, time, names).save(folder)
    live = {name: rows(8000, 9 + k) for k, name in enumerate("abc")}
    live["b"][2000:] += [0.0, 0.9, 0.0]  # a sensor of one machine is replaced
    run(RealTimeAnomalyDetector.load(folder, settings),
        Plant({name: X[:7000] for name, X in live.items()}))
    with FeedbackStore(tmp_path / "alerts.db") as store:
        assert [*drifts(store, "stream")] == ["stream/b"]
        onset = store.quality(stream="stream/b", kind="drift")[-1].start
        for incident in store.incidents(stream="stream/b"):
            store.record(Answer(incident.id, "false", (), stream="stream/b"))
    engine = RealTimeAnomalyDetector.load(folder, settings)

    def fitted_again():
        if versions.current(folder).version == 1:
            record = refits.refit(folder, EngineConfig.from_any(settings), "drift", use=False)
            assert record.comparison["new"]["incidents"] < record.comparison["old"]["incidents"]
            assert record.rows < 2 * 10_000 + 7000 - onset
            versions.use(folder, record.number, "Ada")
        return engine._handed
    source = Plant(live, 7500, fitted_again)
    windows = run(engine, source)
    assert source.acknowledged == list(range(3 * 7000 + 29, 3 * 8000, 30))
    for name in "abc":
        mine = [window for window in windows if window["entity"] == name]
        assert [window["end"] for window in mine] == list(range(7004, 8000, 5))
        flagged = np.mean([w["is_anomaly"] for w in mine if w["end"] >= 7500])
        assert flagged < 0.1 or (name, how) == ("b", "shared")  # unlike the others
    (report,) = reports(tmp_path)
    assert report.stream == "stream" and report.detail == (
        "version 2 of the model in place of 1, by Ada")
