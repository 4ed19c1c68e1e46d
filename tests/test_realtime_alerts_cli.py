"""``alerts`` on the command line, and how what it decides reaches a running engine."""

import argparse
import json
import time

import numpy as np
import pytest

from adlib.realtime.doors import alerts_cli, messages
from adlib.realtime.events import QualityEvent, Silence, Verdict, stream_of
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.store import AlertStore, OutboxRow
from adlib.realtime.traces import Trace


def window(k, flagged=True, stream="rig"):
    return Verdict(stream, 10 * k, 10 * k + 99, 1.7e9 + 10 * k, 0.01, 0.95, "critical", flagged, {},
                   (("temp\x1b[31m", 0.7), ("pressure", 0.2)))


def new_manager():
    return AlertManager(IncidentConfig(open_after=1, open_within=1, close_after=1,
                                       repeat_interval=10, update_interval=0))


@pytest.fixture
def store(tmp_path):
    with AlertStore(tmp_path / "alerts.db") as store:
        manager = new_manager()
        events = [e for k in range(4) for e in manager.step(window(k, k < 3))]
        events += [e for k in range(2) for e in manager.step(window(k, stream="pump"))]
        outbox = [OutboxRow(f"{e.id}|slack", "slack", e.incident.id, e.time, e.to_dict())
                  for e in events if e.notify]
        quality = [QualityEvent("rig", "gap", 5, 9, 1.7e9, "5 samples missing"),
                   QualityEvent("rig", "nan", 11, 11, 1.7e9 + 1, "pressure")]
        store.commit("rig", 399, b"", [], events, quality, outbox)
        yield store


@pytest.fixture
def alerts(store, capsys):
    """Run ``alerts ...``; exit code and what it printed."""
    def call(*words):
        parser = argparse.ArgumentParser(prog="adlib.realtime")
        alerts_cli.add_parser(parser.add_subparsers(dest="command"))
        try:
            code = alerts_cli.run(parser.parse_args(["alerts", *words, "--store",
                                                     str(store.path)]))
        except SystemExit as error:
            code = error.code
        out, err = capsys.readouterr()
        return code, out + err
    return call


def test_list_and_show(alerts):
    code, text = alerts("list")
    lines = text.splitlines()
    assert code == 0 and len(lines) == 3 and len({line.find("critical") for line in lines[1:]}) == 1
    assert lines[1].startswith("pump|combined|0") and "open" in lines[1]
    assert "2023-11-14 22:13:20" in lines[2] and "0.95" in lines[2] and "closed" in lines[2]
    assert "\x1b" not in text and "temp?[31m" in text
    assert "pump" not in alerts("list", "--state", "closed")[1]
    assert alerts("list", "--stream", "none")[1].endswith("(none)\n")
    assert len(json.loads(alerts("list", "--json", "--limit", "1")[1])) == 1
    code, text = alerts("show", "rig|combined|0")
    assert code == 0 and [line.split()[3] for line in text.splitlines()[-4:]] == [
        "open", "repeat", "repeat", "close"]
    shown = json.loads(alerts("show", "rig|combined|0", "--json")[1])
    assert shown["incident"]["n_windows"] == 3 and len(shown["events"]) == 4


@pytest.mark.parametrize("words", [("show", "x"), ("ack", "pump|combined|0", "x"),
                                   ("silence", "--end", "x"), ("replay", "x")])
def test_unknown_names_change_nothing(alerts, store, words):
    before = list(store._db.iterdump())
    code, text = alerts(*words)
    assert code == 1 and text.startswith(f"alerts {words[0]}: no ") and "'" in text + "'"
    assert list(store._db.iterdump()) == before


def test_no_store_no_traceback_and_no_new_file(capsys, tmp_path):
    args = argparse.Namespace(action="list", store=tmp_path / "absent.db")
    assert alerts_cli.run(args) == 1
    said = capsys.readouterr().err
    assert "no alert store at" in said and "--store PATH" in said and not any(tmp_path.iterdir())


def test_acknowledge_reaches_a_running_engine(alerts, store):
    manager = new_manager()
    running = [window(0, stream="pump")]
    assert [e.kind for e in manager.step(running[0])] == ["open"]
    code, text = alerts("ack", "pump|combined|0")
    assert code == 0 and "open, ack" in text
    manager.apply(store.operator_state("pump", 99))
    assert [e.kind for k in (1, 2, 3) for e in manager.step(window(k, stream="pump"))] == [
        "update"] * 3
    assert manager.incident("pump").acknowledged


def test_silence_reaches_a_running_engine_until_it_ends(alerts, store):
    code, text = alerts("silence", "--until", "2023-11-14T23:00", "--stream", "ri?",
                        "--severity", "warning", "--json")
    (silence,) = map(Silence.from_dict, json.loads(text))
    assert code == 0 and silence.until == 1.7e9 + 2800
    assert (silence.stream, silence.severity, silence.feature) == ("ri?", "warning", "*")
    alerts("silence", "--until", "1.8e9", "--feature", "temp*")
    manager = new_manager()
    manager.apply(store.operator_state("rig", 0))
    assert [e.notify for e in manager.step(window(0))] == [False]
    name = next(s.id for s in store.silences() if s.feature == "temp*")
    assert name not in alerts("silence", "--end", name)[1]
    manager.apply(store.operator_state("rig", 10))  # critical: the other one lets it through
    assert [(e.kind, e.notify) for e in manager.step(window(1))] == [("repeat", True)]


@pytest.mark.parametrize("pattern, holds", [
    ("press 03", True), ("press*", True), ("hall/press 03", True), ("hall/press%2003", True),
    ("press 3", False), ("hall", False), ("press 03*x", False)])
def test_a_silence_names_a_machine_as_its_data_do(alerts, store, pattern, holds):
    alerts("silence", "--until", "1.8e9", "--entity", pattern)
    name = stream_of("hall", "press 03")
    manager = new_manager()
    manager.apply(store.operator_state("hall", 0))
    assert [e.notify for e in manager.step(window(0, stream=name))] == [not holds]


def test_a_machine_is_listed_and_removed_by_the_name_that_people_see(alerts, store):
    name = stream_of("hall", "press 03")
    manager = new_manager()
    events = manager.step(window(0, stream=name))
    trace = Trace("hall", ("a",), ("press 03",), np.zeros(3, int), np.arange(3), np.arange(3.0),
                  np.zeros((3, 1)), np.full(3, 0.5), 0.01)
    store.commit("hall", 2, b"", [], events, [], [], traces=[trace])
    for seen in ("press 03", "hall/press 03", name):
        assert name in alerts("list", "--stream", seen)[1]
    assert alerts("remove", "trace", "hall")[1] == "1 removed\n"
    assert alerts("remove", "entity", "press 03")[1] == "1 removed\n"
    assert alerts("remove", "entity", "press 03")[0] == 1
    (event,) = events
    assert messages.describe(event, "a.db")[0].startswith("[CRITICAL] hall/press 03: anomaly")
    assert "1 window flagged" in messages.describe(event, "a.db")[1]


def test_silence_from_now_on(alerts, store):
    before = time.time()
    assert alerts("silence", "--for", "2h")[0] == 0
    assert before + 7200 <= store.silences()[0].until <= time.time() + 7200
    assert alerts("silence")[1].count("\n") == 2  # lists, adds nothing
    store._db.execute("UPDATE incidents SET body = json_set(body, '$.last_at', 500.0)")
    code, text = alerts("silence", "--for", "2h")
    assert code == 1 and "--until" in text and len(store.silences()) == 1
    assert "500 s" in alerts("list")[1]


def test_a_silence_may_begin_later_and_come_again(alerts, store):
    code, text = alerts("silence", "--start", "2023-11-14T22:00", "--for", "2h", "--every", "1d",
                        "--kind", "health", "--author", "Ada", "--comment", "backup at night")
    (silence,) = store.silences()
    assert code == 0 and "Ada  backup at night" in text and "1 day, 0:00:00" in text
    assert (silence.start, silence.until, silence.every, silence.kind) == (
        1.7e9 - 800, 1.7e9 + 6400, 86_400.0, "health")
    alerts("silence", "--for", "1h", "--every", "1d")
    first, second = store.silences()
    assert second.start < time.time() < second.until and second.author
    for words in (("--start", "5"), ("--every", "1d"), ("--until", "5", "--start", "9"),
                  ("--start", "5", "--for", "2d", "--every", "1d")):
        code, text = alerts("silence", *words)
        assert code == 1 and text.startswith("alerts silence: ") and text.count("\n") == 1
    assert store.silences() == [first, second]


ODD = ["nan", "inf", "-inf", "-1", "1e308", "9" * 400, "", " ", "0", "9999-12-31T23:59:59",
       "9999-12-31T23:59:59-12:00", "0001-01-01T00:00", "10000-01-01", "a\nb", "\x1b[2J",
       "\u202eabc", "\udcff", "[", "[!", "*" * 300,
       "1_0", "1e-320", "NaT", "106752d", "--", "-x"]


@pytest.mark.parametrize("words", [
    ("silence", "--until"), ("silence", "--for"), ("silence", "--until", "1.8e9", "--start"),
    ("silence", "--until", "1.8e9", "--start", "1.7e9", "--every"), ("silence", "--end"),
    *((("silence", "--until", "1.8e9", f"--{name}")) for name in (
        "stream", "feature", "severity", "kind", "author", "comment")),
    ("list", "--limit"), ("list", "--stream"), ("quality", "--limit"), ("quality", "--kind"),
    ("prune", "--before"), ("show",), ("ack",), ("close",), ("replay",),
    *(("remove", kind) for kind in ("checkpoint", "incident", "message", "quality", "silence",
                                    "verdict", "unreadable"))], ids=" ".join)
def test_every_value_is_refused_or_harmless(alerts, store, words, caplog):
    for odd in ODD:
        code, text = alerts(*words[:-1], f"{words[-1]}={odd}") if words[-1].startswith(
            "--") else alerts(*words, odd)
        assert code in (0, 1, 2) and "Traceback" not in text and "\x1b" not in text, odd
        assert code != 1 or text.count("\n") == 1, odd
    for look in (("list",), ("silence",), ("dead",), ("quality",)):
        code, text = alerts(*look)
        assert code == 0 and not {"\x1b", "\u202e"} & set(text), text
    manager = new_manager()
    manager.apply(store.operator_state("rig", 0))
    for k in range(2):
        manager.step(window(k))
    json.dumps(manager.state(), allow_nan=False)
    assert not caplog.records and store.integrity_check() == []


def test_close_and_remove(alerts, store):
    code, text = alerts("close", "pump|combined|0")
    assert code == 0 and "closed" in text
    assert alerts("remove", "incident", "pump|combined|0", "rig|combined|0") == (0, "2 removed\n")
    assert "no incident 'x'" in alerts("remove", "incident", "x")[1]
    assert alerts("remove", "checkpoint", "rig", "--json") == (0, '{"removed": 1}\n')
    assert alerts("remove", "quality", "rig|gap|5|9")[0] == 0
    assert [event.kind for event in store.quality()] == ["nan"]
    assert alerts("remove", "silence")[0] == alerts("remove", "unreadable", "x")[0] == 1
    store._db.execute("UPDATE quality SET body = 'garbage'")
    code, text = alerts("quality")
    assert code == 0 and text.endswith("(none)\n")
    assert alerts("remove", "unreadable") == (0, "1 removed\n")


def test_a_store_that_is_locked_or_no_database_gives_one_sentence(alerts, store, monkeypatch):
    monkeypatch.setattr(AlertStore, "incidents", lambda *_, **__: store._db.execute("SELECT x"))
    code, text = alerts("list")
    assert code == 1 and text == f"alerts list: {store.path}: no such column: x\n"


@pytest.mark.parametrize("words", [("--for", "soon"), ("--until", "tomorrow"),
                                   ("--until", "20260131"), ("--for", "2"),
                                   ("--for", "1h", "--every", "nan"),
                                   ("--for", "1h", "--until", "5"), ("--severity", "fatal")])
def test_silence_refuses_what_it_cannot_read(alerts, store, words):
    code, text = alerts("silence", *words)
    assert code == 2 and words[-2].lstrip("-") in text and store.silences() == []
    assert alerts("silence", "--until", "0") == (
        1, "alerts silence: --until must lie after 0\n")


def test_dead_letters(alerts, store):
    (row,) = store.claim("slack", 0.0, lease=60)
    store.settle([(row.seq, "dead", 0.0, "HTTP 403 action_prohibited")])
    code, text = alerts("dead")
    line = text.splitlines()[1]
    assert code == 0 and "HTTP 403" in line and line.endswith("3") and row.id in line
    (record,) = json.loads(alerts("dead", "--json")[1])
    assert record["id"] == row.id
    assert alerts("replay")[0] == alerts("replay", row.id, "--all")[0] == 1
    assert alerts("replay", row.id) == (0, "1 will be sent again\n")
    assert store.outbox(state="dead") == []
    store.settle([(row.seq, "dead", 0.0, None)])
    assert alerts("replay", "--all", "--discard") == (0, "1 given up\n")
    assert [r.state for r in store.outbox()][:2] == ["discarded", "pending"]


def test_prune(alerts, store):
    assert alerts("prune", "--before", "2024-01-01") == (
        0, "deleted: 0 verdicts, 2 quality, 1 incidents, 0 traces, 0 streams, 0 outbox\n")
    assert [incident.stream for incident in store.incidents()] == ["pump"]
    assert alerts("prune")[0] == 2


def test_quality(alerts):
    code, text = alerts("quality", "--kind", "gap")
    assert code == 0 and text.splitlines()[1].split()[3:] == [
        "rig|gap|5|9", "5", "samples", "missing"]
    assert len(json.loads(alerts("quality", "--json")[1])) == 2


def test_a_fleet_s_name_lists_the_incidents_of_all_its_machines(alerts, store):
    manager = new_manager()
    names = [stream_of("plant", name) for name in ("pump-1", "pump-2")]
    events = [event for name in names for event in manager.step(window(0, stream=name))]
    store.commit("plant", 0, b"", [], events, [], [])
    assert [alerts("list", "--stream", one)[1].count("plant/pump") for one in (
        "plant", "pump-1", "plant/pump-2", "pump")] == [2, 0, 1, 0]
    assert alerts("list", "--stream", "plant", "--limit", "1")[1].count("plant/pump") == 1
