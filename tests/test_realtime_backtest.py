"""Backtests, and the command line."""

import dataclasses
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pandas as pd
import pytest
import yaml
from realtime_alone import alone_of

from adlib.realtime import AlertManager, AlertStore, RealTimeAnomalyDetector, Sample
from adlib.realtime.__main__ import main
from adlib.realtime.backtest import backtest
from adlib.realtime.events import stream_of
from adlib.realtime.members import Member

pytestmark = pytest.mark.filterwarnings("ignore::adlib.thresholds.CalibrationWarning")

CONFIG = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
          "window_size": 20, "stride": 5, "alpha": 0.005, "extrapolate": True,
          "sampling_period": 60, "drift": False,
          "alert_config": {"incidents": {"open_after": 2, "open_within": 3, "close_after": 3}}}
FAULTS = [(6500, 6600), (7500, 7540), (9000, 9300)]


def history(n=10_000):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 3)), np.zeros(n)
    for start, end in FAULTS:
        X[start:end] += 7
        y[start:end] = 1
    return X, y


@pytest.fixture(scope="module")
def scored():
    X, y = history()
    X[8000, 1] = np.nan
    return backtest(CONFIG, X, y)


def test_faults_are_found_when_the_live_engine_finds_them(scored):
    outcome = scored.replay()
    assert [(f.start, f.end + 1) for f in outcome.faults] == FAULTS
    assert outcome.summary["found"] == 3 and outcome.summary["missed"] == 0
    assert all(0 <= f.delay <= 20 * 60 for f in outcome.faults)
    assert outcome.summary["precision"] >= 0.6
    assert scored.days == pytest.approx(5000 / 1440, rel=1e-3)
    assert [q.kind for q in scored.quality] == ["nan"]
    # the engine, live, over the same rows
    X, _ = history()
    X[8000, 1] = np.nan
    live = RealTimeAnomalyDetector(CONFIG).fit(X[:5000])
    manager = AlertManager(live.config.alert_config.incidents, alpha=live.config.alpha,
                           context=live.context)
    verdicts, _ = live.judge([Sample(5000, None, X[5000:])])
    events = [event for verdict in verdicts for event in manager.step(verdict)]
    assert [(e.id, e.time, e.notify) for e in outcome.events] == [
        (e.id, e.time, e.notify) for e in events]
    assert [v.is_anomaly for v in verdicts].count(True) == round(
        outcome.summary["flagged"] * sum(v.is_anomaly is not None for v in verdicts))


def test_settings_are_replayed_without_scoring(scored, monkeypatch):
    def never(*_):
        raise AssertionError("scored again")

    monkeypatch.setattr(Member, "score", never)
    table = scored.compare([{"alpha": a} for a in (0.05, 0.01, 0.005)] + [
        {"open_after": 3, "open_within": 3}, {"cooldown": 1e9}, {"alpha": 1e-200}])
    assert (np.diff(table["flagged"][:3]) < 0).all()
    for name in ("incidents", "pages_per_day", "false_pages_per_day"):
        assert (np.diff(table[name][:3]) <= 0).all()
    assert table["found"].tolist()[:4] == [3, 3, 3, 3]
    assert table["pages_per_day"][4] < table["pages_per_day"][0]
    assert table["found"].tolist()[5] == 0 and np.isnan(table["precision"][5])
    assert table["false_pages_per_day"][0] > table["false_pages_per_day"][2]
    with pytest.raises(ValueError, match="'alhpa'"):
        scored.replay(alhpa=0.1)
    with pytest.raises(ValueError, match="open_after"):
        scored.replay(open_after=9)


def test_pages_are_found_under_their_former_names_too(scored):
    outcome = scored.replay()
    with pytest.warns(FutureWarning, match=r"wakes is now Outcome\.pages"):
        assert outcome.wakes == outcome.pages
    for name in ("wakes_per_day", "false_wakes_per_day"):
        now = name.replace("wakes", "pages")
        with pytest.warns(FutureWarning, match=f"'{name}' is now called '{now}'"):
            assert outcome.summary[name] == outcome.summary[now]
    with pytest.raises(KeyError, match="wakes_per_week"):
        outcome.summary["wakes_per_week"]
    table = scored.compare([{"alpha": 0.05}, {"alpha": 0.01}])
    assert [*table][-2:] == ["wakes_per_day", "false_wakes_per_day"]
    assert (table["wakes_per_day"] == table["pages_per_day"]).all()
    assert (table["false_wakes_per_day"] == table["false_pages_per_day"]).all()
    unlabelled = dataclasses.replace(scored, _faults=None)
    assert [*unlabelled.compare([{}])][-1] == "wakes_per_day"
    with pytest.raises(KeyError, match="false_wakes_per_day"):
        unlabelled.replay().summary["false_wakes_per_day"]


def test_labels_change_no_score_and_fitted_stays_as_it_is():
    X, y = history()
    engine = RealTimeAnomalyDetector({**CONFIG, "detectors": ["RollingZScore"]}).fit(X[:5000])
    before = engine.members[0].model.state_.copy()
    config = {**CONFIG, "detectors": ["RollingZScore"]}
    one = backtest(config, X[5000:], y[5000:], fitted=engine)
    two = backtest(config, X[5000:], 1 - y[5000:], fitted=engine)
    assert [v.p_value for v in one.verdicts] == [v.p_value for v in two.verdicts]
    np.testing.assert_array_equal(engine.members[0].model.state_, before)
    assert engine.position == -1
    with pytest.raises(ValueError, match="window_size must be what the engine was fitted with"):
        backtest({**config, "window_size": 30}, X, fitted=engine)


def test_frames_bring_time_and_names():
    X, _ = history()
    index = pd.date_range("2024-03-01", periods=len(X), freq="10min")
    test = backtest(CONFIG, pd.DataFrame(X, index=index, columns=["a", "b", "c"]))
    outcome = test.replay()
    assert test.days == pytest.approx(5000 * 600 / 86400, rel=1e-3) and outcome.faults is None
    assert outcome.pages[0].incident.top_features[0][0] in "abc"
    assert pd.Timestamp(outcome.pages[0].time, unit="s").date().year == 2024


@pytest.mark.parametrize(("how", "message"), [
    ({"labels": np.zeros(3)}, "labels must have shape"), ({"time": np.zeros(3)}, "time must have"),
    ({"labels": np.full(10_000, 2)}, "labels must be 0"), ({"train_share": 1.0}, "train_share")])
def test_bad_arguments_are_named(how, message):
    with pytest.raises(ValueError, match=message):
        backtest(CONFIG, history()[0], **how)


@pytest.mark.parametrize("setting", [{"cooldown": -1}, {"open_after": 9}, {"cooldown": np.inf}])
def test_a_bad_setting_is_refused_in_one_line(scored, setting):
    with pytest.raises(ValueError, match=next(iter(setting))) as caught:
        scored.replay(**setting)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ command line


@pytest.fixture
def place(tmp_path, monkeypatch):
    X, y = history()
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    frame.insert(0, "time", 1.7e9 + 60.0 * np.arange(len(X)))
    frame["fault"] = y.astype(int)
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame[:5000].to_csv(tmp_path / "history.csv", index=False)
    frame[5000:].drop(columns="fault").to_csv(tmp_path / "live.csv", index=False)
    config = {**CONFIG, "alert_config": {**CONFIG["alert_config"],
                                         "storage": {"path": "alerts.db"}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fit_run_and_alerts(place, capsys):
    assert main(["fit", "config.yaml", "history.csv", "--labels", "fault"]) == 0
    assert main(["run", "config.yaml", "--source", "csv:live.csv"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines and all(window["is_anomaly"] for window in lines)
    assert {name for w in lines for name, _ in w["top_features"]} <= {"a", "b", "c"}
    with AlertStore("alerts.db") as store:
        incidents = store.incidents()
    assert len(incidents) >= 3
    assert main(["run", "config.yaml", "--source", "csv:live.csv"]) == 1  # skips what it knows
    shown = capsys.readouterr()
    assert shown.out == "" and (
        "run: no window was judged: 5,000 rows came: 5,000 were taken before; a window takes 20"
        in shown.err)
    assert main(["alerts", "list", "--json"]) == 0
    assert [i["id"] for i in json.loads(capsys.readouterr().out)] == [i.id for i in incidents]


def test_labelled_rows_are_not_fitted_on(place, capsys):
    X, y = history()
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(fault=0)
    frame.loc[3500:3900, "a"] += 9  # among the rows that would be calibrated on
    frame.loc[3500:3900, "fault"] = 1
    frame[:5000].to_csv("stop.csv", index=False)
    assert main(["fit", "config.yaml", "stop.csv", "--labels", "fault"]) == 0
    assert "5000 rows of 3 features (401 labelled rows are left out)" in capsys.readouterr().out
    assert RealTimeAnomalyDetector.load("model")._fitted.combined[~np.isnan(
        RealTimeAnomalyDetector.load("model")._fitted.combined)].size < 1700
    labels = np.maximum(y, frame["fault"])
    assert backtest(CONFIG, frame[["a", "b", "c"]], labels).replay().summary["found"] == 3
    blind = backtest(CONFIG, frame[["a", "b", "c"]]).replay().summary
    assert blind["flagged"] == 0  # a stop of 401 rows that counts as normal hides all others


def test_a_backtest_whose_fit_fails_says_how_much_was_fitted_on():
    budget = {key: value for key, value in CONFIG.items() if key not in ("alpha", "extrapolate")}
    with pytest.raises(ValueError, match="needs 21 days .*train_share=0.5: so much of"):
        backtest({**budget, "per": "1/week"}, history()[0])


def test_run_says_which_messages_have_not_arrived(place, capsys):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/hook"
    config = yaml.safe_load((place / "config.yaml").read_text())
    config["alert_config"]["notification"] = {"slack": {"webhook_url": url}}
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "config.yaml", "history.csv", "--labels", "fault"]) == 0
    assert main(["run", "config.yaml", "--source", "csv:live.csv"]) == 0
    said = capsys.readouterr().err
    with AlertStore("alerts.db") as store:
        (waiting,) = store.backlog().items()
    assert waiting[0] == ("slack", "pending") and waiting[1] > 1
    assert f"run: messages that have not arrived: {waiting[1]} for slack; the next run" in said


def test_run_says_who_is_told_and_which_port_is_taken(place, capsys):
    assert main(["fit", "config.yaml", "history.csv", "--labels", "fault"]) == 0
    run = ["run", "config.yaml", "--source", "csv:live.csv"]
    assert main(run) == 0
    assert "kept in alerts.db and sent to nobody" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main([*run, "--metrics", port]) == 2
    assert f"run: --metrics {port}: cannot listen on this port" in capsys.readouterr().err
    config = yaml.safe_load((place / "config.yaml").read_text())
    del config["alert_config"]
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(run) == 0
    assert "no alert_config.storage: flagged windows are printed" in capsys.readouterr().err
    config["alert_config"] = {"storage": {"path": "none/alerts.db"}}
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(run) == 2
    assert "none/alerts.db, and no folder to make it in" in capsys.readouterr().err


def test_fit_counts_rows_with_missing_values(place, capsys):
    frame = pd.read_csv("history.csv").drop(columns="fault")
    frame.loc[10:12, "a"] = np.nan
    frame.to_csv("gaps.csv", index=False)
    assert main(["fit", "config.yaml", "gaps.csv"]) == 0
    assert "of 3 features (3 rows lack values): model" in capsys.readouterr().out


@pytest.mark.parametrize(("lines", "code", "message"), [
    ([], 1, "no window was judged: no row came"),
    (["oops"] * 30, 1, "30 rows came: 30 could not be read (the first: not numbers: 'oops'); a "
     "window takes 20"),
    ([f"{k},{-k},{k}" for k in range(19)], 1,
     "no window was judged: 19 rows came; a window takes 20"),
    (["nan,nan,nan"] * 50, 1,
     "no window was judged: 50 rows came: missing values (the first: a, b, c)"),
    ([f"{k},{-k},{k}" for k in range(30)] + ["oops"] * 2, 0,
     "run: 32 rows came: 2 could not be read (the first: ")])
def test_a_run_that_judged_nothing_says_why_and_fails(place, capsys, monkeypatch, lines, code,
                                                      message):
    main(["fit", "config.yaml", "history.csv", "--labels", "fault"])
    lines = "\n".join(["a,b,c", *lines, ""]).encode()
    (place / "in.csv").write_bytes(lines)
    with (place / "in.csv").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["run", "config.yaml", "--source", "stdin"]) == code
    assert message in capsys.readouterr().err


def test_hold_repairs_the_history_as_it_repairs_the_stream(place, capsys):
    """Every tenth row lacks a value: without hold no window could calibrate."""
    X, y = history()
    X[10::10, 1] = np.nan
    with pytest.raises(ValueError, match="only 0 calibration windows.*hold="):
        RealTimeAnomalyDetector(CONFIG).fit(X[:5000])
    config = {**CONFIG, "hold": 1}
    engine = RealTimeAnomalyDetector(config).fit(X[:5000])
    held = pd.DataFrame(X).ffill().to_numpy()
    expected = RealTimeAnomalyDetector(config).fit(held[:5000])
    one, two = ([v.p_value for v in e.judge([Sample(5000, None, X[5000:])])[0]]
                for e in (engine, expected))
    np.testing.assert_array_equal(one, two)
    assert backtest(config, X, y).replay().summary["found"] == 3
    X[100:5000:10, 1], X[101:5000:10, 1] = np.nan, np.nan  # twice in a row: not repaired
    with pytest.raises(ValueError, match="only 0 calibration windows"):
        RealTimeAnomalyDetector(config).fit(X[:5000])


def test_options_of_the_reader_are_the_same_everywhere(place, capsys):
    """In YAML or on the command line; what fit was told and found holds for a stream."""
    X, y = history()
    frame = pd.DataFrame(X.round(3), columns=["a", "b", "c"])
    frame.insert(0, "when", pd.date_range("2024-04-01", periods=len(X), freq="min").strftime(
        "%d.%m.%Y %H:%M"))
    frame["unit"], frame["fault"] = "pump", y.astype(int)
    frame["b"] = frame["b"].astype(str).str.replace(".", ",")
    frame.loc[[7, 5007], "b"] = "-999", "off"
    how = {"sep": "|", "decimal": ",", "index": False}
    frame[:5000].to_csv("history.csv", **how)
    frame[5000:].drop(columns="fault").to_csv("live.csv.gz", **how)
    frame.to_csv("all.csv", **how)
    options = ["--time", "when", "--labels=fault", "--na-values=-999,off", "--separator", "|",
               "--time-zone", "Europe/Berlin", "--entity-column", "unit"]
    assert main(["fit", "config.yaml", "history.csv", *options]) == 0
    shown = capsys.readouterr()
    assert "5000 rows of 3 features (1 rows lack values)" in shown.out
    assert "note: history.csv: " in shown.err and "decimal commas" in shown.err
    kept = json.loads((place / "model" / "engine.json").read_text())["reading"]
    assert kept["decimal"] == "," and any("decimal commas" in note for note in kept["notes"])
    assert kept["options"] == {"na_values": [-999, "off"], "time_zone": "Europe/Berlin"}
    found = []
    config = yaml.safe_load((place / "config.yaml").read_text())
    del config["alert_config"]
    (place / "plain.yaml").write_text(yaml.safe_dump(config))
    told = {"time_column": "when", "label_column": "fault", "separator": "|"}
    (place / "told.yaml").write_text(yaml.safe_dump({**config, "reading": told}))
    for command in (["plain.yaml", "--source", "csv:live.csv.gz", *options],
                    ["plain.yaml", "--source", "csv:live.csv.gz?time=when&separator=|"],
                    ["told.yaml", "--source", "csv:live.csv.gz"],
                    ["told.yaml", "--source", "stdin"]):
        with gzip.open("live.csv.gz") as live, open("live.csv", "wb") as plain:
            plain.write(live.read())
        with open("live.csv") as stdin, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            assert main(["run", *command]) == 0
        found.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert found[0] and found[0][0]["time"] == 1711922400 + 60 * (5000 + found[0][0]["end"])
    assert found[1] == found[0] and found[2] == found[0] and found[3] == found[0]
    assert main(["backtest", "plain.yaml", "all.csv", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcomes"][0]["summary"]["found"] == 3


def test_backtest_prints_what_would_have_paged_you(place, capsys):
    command = ["backtest", "config.yaml", "all.csv", "--labels", "fault", "--set", "alpha=0.05"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "as configured" in shown and "alpha=0.05" in shown and "2023-11-1" in shown
    assert " of the windows\n" in shown and " s (0:" in shown
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [o["summary"]["found"] for o in found["outcomes"]] == [3, 3]
    configured = found["outcomes"][0]
    assert configured["pages"] and configured["pages"] == configured["wakes"]
    assert configured["summary"]["pages_per_day"] == configured["summary"]["wakes_per_day"]


@pytest.mark.parametrize(("command", "message"), [
    (["fit", "absent.yaml", "history.csv"], "fit: no configuration at absent.yaml"),
    (["fit", "config.yaml", "absent.csv"], "fit: absent.csv is not there"),
    (["fit", "config.yaml", "history.csv", "--labels", "falut"], "falut"),
    (["run", "config.yaml", "--source", "csv:live.csv"],
     "not a saved engine (no engine.json): model; fit an engine and save it there first"),
    (["backtest", "config.yaml", "all.csv"], "pass label_column=, or name the columns to use"),
    (["fit", "config.yaml", "all.csv", "--label-column", "fault", "--time-unit", "m"],
     "fit: time_unit must be one of None, 's', 'ms'"),
    (["fit", "config.yaml", "all.csv", "--labels", "fault", "--entity-column", "b"],
     "entity_column 'b' holds 10000 ("),
    (["backtest", "config.yaml", "all.csv", "--set", "alpha"], "--set must read"),
    (["backtest", "config.yaml", "live.csv", "--set", "alhpa=1"], "alhpa"),
    (["fit", "typo.yaml", "history.csv"], "windw_size: unknown key, did you mean 'window_size'?"),
])
def test_faults_end_with_a_sentence_and_code_2(place, capsys, command, message):
    (place / "typo.yaml").write_text("windw_size: 5\n")
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown


def test_a_running_engine_serves_its_health_and_stops_when_told(place):
    assert main(["fit", "config.yaml", "history.csv", "--labels", "fault"]) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = subprocess.Popen(
        [sys.executable, "-m", "adlib.realtime", "run", "config.yaml", "--source", "stdin",
         "--serve", f"127.0.0.1:{port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()})
    try:
        run.stdin.write((place / "live.csv").read_bytes())
        run.stdin.flush()
        for _ in range(900):
            time.sleep(0.1)
            try:
                url = f"http://127.0.0.1:{port}/metrics"
                text = urllib.request.urlopen(url, timeout=60).read().decode()
            except OSError:
                continue
            if 'adlib_samples_total{stream="stream"} 5000.0' in text:
                break
        else:
            raise AssertionError("5000 samples were not judged within 90 s")
        ready = json.load(urllib.request.urlopen(url.replace("metrics", "ready"), timeout=60))
        assert ready["ready"] and ready["position"] == 4999
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 0 and b"stopped after sample 4999" in err


def test_times_are_read_in_any_unit_and_refused_where_they_are_none():
    X = np.random.default_rng(0).normal(size=(3000, 2))
    config = {"deep_config": None, "stat_config": None, "detectors": ["PCAReconstruction"],
              "window_size": 10, "stride": 5, "drift": False}
    stamps = 1.7e9 + 60 * np.arange(3000.0)
    days = {backtest(config, X, time=time).days for time in (
        stamps, stamps * 1e3, stamps.astype("datetime64[s]"))}
    assert len(days) == 1
    stamps[7] = np.nan
    with pytest.raises(ValueError, match="time must hold POSIX seconds or datetime64, got .*nan"):
        backtest(config, X, time=stamps)


# ------------------------------------------------------------------ fleets

FLEET = {**CONFIG, "fleet": {}, "window_size": 10, "alpha": 0.01, "extrapolate": False}
PUMPS = ["pump 1", "../pump|2", "pump-3", "07"]


def plant(n=8_000):
    """Rows of four pumps, the third one noisier: two have a fault each, at different times."""
    X = np.random.default_rng(0).normal(size=(4, n, 3))
    X[2] *= 3
    y = np.zeros((4, n))
    for k, start in ((0, 6_000), (2, 5_200)):
        X[k, start:start + 60] += 7 * (1 + 2 * (k == 2))
        y[k, start:start + 60] = 1
    time = np.tile(1.7e9 + 60.0 * np.arange(n), 4)
    return X.reshape(-1, 3), y.ravel(), time, np.repeat(PUMPS, n)


def by_stream(test):
    found = {}
    for verdict in test.verdicts:
        found.setdefault(verdict.stream, []).append(verdict)
    return found


@pytest.mark.parametrize("model", ["shared", "own"])
def test_a_fleet_is_judged_as_each_of_its_machines_would_be(model):
    X, y, time, entity = plant()
    config = {**FLEET, "fleet": {"model": model}}
    past = np.arange(len(X)) % 8_000 < 4_000
    engine = RealTimeAnomalyDetector(config).fit(X[past], time[past], entity[past])
    test = backtest(config, X, y, time=time, entity=entity)
    assert set(engine.entities.values()) == {f"own {'rows' if model == 'shared' else 'model'}"}
    outcome = test.replay()
    assert outcome.summary["found"] == 2 and outcome.summary["missed"] == 0
    assert {(f.stream, f.start, f.end) for f in outcome.faults} == {
        ("stream/pump%201", 2_000, 2_059), ("stream/pump-3", 1_200, 1_259)}
    assert test.days == pytest.approx(4_000 / 1440, rel=1e-3) and test.rows == 16_000
    turn = np.argsort(time, kind="stable")  # as a plant sends them
    mixed = backtest(config, X[turn], y[turn], time=time[turn], entity=entity[turn])
    assert by_stream(mixed) == by_stream(test)
    incidents = {}
    for k, pump in enumerate(PUMPS):
        name = stream_of("stream", pump)
        alone = RealTimeAnomalyDetector({**config, "fleet": None, "stream": name})
        alone._take(alone_of(engine._fitted, pump, engine.config))
        rows = slice(8_000 * k + 4_000, 8_000 * (k + 1))
        single = backtest(alone.config, X[rows], y[rows], time=time[rows], fitted=alone)
        assert single.verdicts == by_stream(test)[name]
        incidents |= {i.id: i for i in single.replay().incidents}
    assert {i.id: i for i in outcome.incidents} == incidents


def test_a_setting_of_a_fleet_changes_no_calibration():
    """Own rows do not show the smaller alpha, and yet verdicts stay those that were tested."""
    X, y, time, entity = plant()
    test = backtest(FLEET, X, y, time=time, entity=entity)
    table = test.compare([{"alpha": 0.01}, {"alpha": 2e-3}])
    assert table["found"].tolist() == [2, 2]
    assert table["false_pages_per_day"][1] <= table["false_pages_per_day"][0] < 4
    noisy = [v.p_value for v in by_stream(test)["stream/pump-3"][:230]]
    assert np.mean(np.array(noisy) < 0.05) < 0.15  # by the rows of all it would be nearly all


@pytest.mark.parametrize(("how", "message"), [
    ({}, "entity must label each row of a fleet's history, got None"),
    ({"entity": ["a"]}, r"entity must have shape \(32000,\), got \(1,\)")])
def test_a_fleet_needs_to_know_whose_rows_they_are(how, message):
    X, y, time, _ = plant()
    with pytest.raises(ValueError, match=message):
        backtest(FLEET, X, y, time=time, **how)


def test_fit_and_backtest_a_fleet_on_the_command_line(tmp_path, monkeypatch, capsys):
    X, y, time, entity = plant()
    frame = pd.DataFrame(X.round(4), columns=["a", "b", "c"])
    frame.insert(0, "time", time)
    frame.insert(1, "pump", entity)
    frame["fault"] = y.astype(int)
    frame = frame.sort_values("time", kind="stable")
    frame[frame["time"] < 1.7e9 + 60 * 4_000].to_csv(tmp_path / "history.csv", index=False)
    frame.to_csv(tmp_path / "all.csv", index=False)
    monkeypatch.chdir(tmp_path)
    one = {"fleet": None, "reading": {"entity_column": "pump", "label_column": "fault"}}
    (tmp_path / "plant.yaml").write_text(yaml.safe_dump({**FLEET, **one, "fleet": {}}))
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({**FLEET, **one}))
    assert main(["fit", "one.yaml", "history.csv"]) == 2
    assert "holds 4 (" in (said := capsys.readouterr().err) and "or set fleet: {} in" in said
    assert main(["fit", "plant.yaml", "history.csv"]) == 0
    assert ("fitted on 16000 rows of 3 features and 4 entities (4 judged by own rows): model"
            in capsys.readouterr().out)
    assert main(["backtest", "plant.yaml", "all.csv", "--model", "model"]) == 0
    out = capsys.readouterr().out
    assert "stream/pump-3|combined|" in out and "5.55 days" in out
    assert main(["backtest", "plant.yaml", "all.csv", "--json"]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)["outcomes"]
    assert outcome["summary"]["found"] == 2
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(FLEET))
    assert main(["fit", "bare.yaml", "history.csv", "--labels", "fault"]) == 2
    assert "pass entity_column='pump' to judge each by itself" in capsys.readouterr().err
    # told to fit, and kept for the stream
    assert main(["fit", "bare.yaml", "history.csv", "--labels=fault", "--entity-column=pump"]) == 0
    assert RealTimeAnomalyDetector.load("model", "bare.yaml").reading.entity_column == "pump"
