"""``doctor``: each part that a run needs, as it should be and broken, with what to do."""

import json
import os
import re
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from adlib.realtime import RealTimeAnomalyDetector, Sample, Source
from adlib.realtime.__main__ import main
from adlib.realtime.doors import doctor
from adlib.realtime.events import Incident, IncidentEvent
from adlib.realtime.store import AlertStore, OutboxRow
from adlib.realtime.traces import Trace

FROZEN = Path(__file__).parent / "data"
ENGINE = {"stream": "rig", "deep_config": None, "stat_config": None,
          "detectors": ["PCAReconstruction"], "window_size": 10, "stride": 5, "alpha": 0.05}


class Receiver(BaseHTTPRequestHandler):
    code, got = 200, []

    def do_POST(self):
        Receiver.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(Receiver.code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(600, 2)), columns=["flow", "heat"])
    X.to_csv(folder / "history.csv", index=False)
    RealTimeAnomalyDetector(ENGINE).fit(X).save(folder / "model")
    return folder


@pytest.fixture
def slack():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Receiver.code, Receiver.got = 200, []
    yield f"http://127.0.0.1:{server.server_port}/services/T/B/key"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def examined(model, tmp_path, capsys, slack):
    """Exit code, and lines of the report by part."""
    def examined(*options, source=True, **changes):
        config = ENGINE | {"alert_config": {
            "storage": {"path": str(tmp_path / "a.db"), "trace": "1MB"},
            "heartbeat": {"url": "http://127.0.0.1:9/ping", "every": 60},
            "notification": {"slack": {"webhook_url": slack}}, **changes.pop("alerts", {})}}
        config |= changes
        path = tmp_path / "config.yaml"
        path.write_text(changes.pop("text", yaml.safe_dump(config)))
        path.chmod(0o600)
        given = [] if not source else [
            "--source", f"csv:{model / 'history.csv'}" if source is True else source]
        code = main(["doctor", str(path), "--model", str(model / "model"), *given, *options])
        found = {}
        for line in capsys.readouterr().out.splitlines():
            state, part, text = line.split(None, 2)
            found.setdefault(part, []).append((state, text))
        return code, found
    return examined


def states(found, part):
    return [state for state, _ in found[part]]


def text(found, part):
    return "\n".join(text for _, text in found[part])


def test_all_is_well_before_the_first_run_and_nothing_is_written(examined, tmp_path):
    code, found = examined()
    assert code == 0 and [*found] == ["clock", "configuration", "model", "store", "source",
                                      "receivers"]
    assert {state for part in found for state in states(found, part)} <= {"ok", "skip", "warn"}
    assert states(found, "model") == ["ok"] and "version 1, 2 features" in text(found, "model")
    assert "is made by the first run" in text(found, "store")
    assert "600 rows could be read" in text(found, "source")
    assert states(found, "receivers") == ["skip"] and Receiver.got == []
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_test_message_opens_and_is_over_with_each_receiver(examined):
    code, found = examined("--send")
    assert code == 0 and found["receivers"] == [("ok", "slack took a test message")]
    said = [str(message) for message in Receiver.got]
    assert len(said) == 2 and all("test by doctor: nothing is wrong" in one for one in said)
    assert "is over" not in said[0] and "is over" in said[1]


@pytest.mark.parametrize("answer", [400, 403, 404, 500, 503, 302])
def test_a_receiver_that_does_not_take_it_fails(examined, answer):
    Receiver.code = answer
    code, found = examined("--send")
    assert code == 1 and states(found, "receivers") == ["fail"], found
    assert str(answer) in text(found, "receivers") and "services/T" not in text(found, "receivers")


def test_a_receiver_that_is_not_there_or_says_nothing_fails(examined, monkeypatch):
    code, found = examined("--send", alerts={"notification": {
        "slack": {"webhook_url": "http://127.0.0.1:9/services/T/B/key"}}})
    assert code == 1 and states(found, "receivers") == ["fail"]
    monkeypatch.setattr(doctor, "_WAIT", 0.2)
    held = threading.Event()
    monkeypatch.setattr(Receiver, "do_POST", lambda self: held.wait(20))
    code, found = examined("--send")
    held.set()
    assert code == 1 and "slack: no answer within 0.2 s" in text(found, "receivers")


def test_each_receiver_is_tried_where_another_fails(examined, slack):
    broken = {"webhook_url": "http://127.0.0.1:9/services/T/B/key"}
    code, found = examined("--send", alerts={"notification": {
        "slack": broken, "slack#night": {"webhook_url": slack}, "webhook": {"url": slack}}})
    assert code == 1 and sorted(states(found, "receivers")) == ["fail", "ok", "ok"]
    assert "slack#night took" in text(found, "receivers") and len(Receiver.got) == 4
    keys = {message["dedup_key"] for message in Receiver.got if "dedup_key" in message}
    assert len(keys) == 1 and [m["status"] for m in Receiver.got if "status" in m] == [
        "firing", "resolved"]


def test_every_fault_of_the_configuration_is_named_and_the_rest_is_looked_at(examined):
    code, found = examined(alerts={"notification": {"slack": {"webhook_url": "${NO_SUCH}"}}})
    assert code == 1 and "variable NO_SUCH is not set" in text(found, "configuration")
    assert states(found, "model") == ["ok"] and "ok" in states(found, "store")
    code, found = examined(strid=5, windw_size=3)
    assert code == 1 and states(found, "configuration") == ["fail", "fail"]
    assert "did you mean 'stride'" in text(found, "configuration")
    assert [*found] == ["clock", "configuration", "source"]  # where nothing else can be said
    code, found = examined(text="stream: [")
    assert code == 1 and "no YAML mapping" in text(found, "configuration")


def test_what_runs_and_should_be_looked_at_is_a_warning(examined, tmp_path, model, capsys):
    code, found = examined(alert_config={})
    assert code == 0 and states(found, "configuration") == ["ok", "warn", "warn"]
    assert "nothing is kept or sent" in text(found, "configuration")
    assert "store" not in found and "receivers" not in found
    code, found = examined(alerts={"notification": None, "heartbeat": None})
    assert "nobody is notified" in text(found, "configuration")
    assert "no heartbeat" in text(found, "configuration")
    path = tmp_path / "config.yaml"
    examined()
    path.chmod(0o644)
    assert main(["doctor", str(path), "--model", str(model / "model")]) == 0
    assert f"chmod 600 {path}" in capsys.readouterr().out
    assert main(["doctor", str(tmp_path / "absent.yaml")]) == 1
    assert "no configuration at" in capsys.readouterr().out


def test_a_model_that_does_not_go_with_it_fails(examined, model):
    code, found = examined(window_size=20)
    assert code == 1 and "window_size" in text(found, "model")
    assert "skip" in states(found, "source")
    code, found = examined("--model", str(model / "absent"))
    assert code == 1 and "no engine.json" in text(found, "model")


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_earlier_version_is_looked_at_and_not_upgraded(examined, tmp_path, version):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((FROZEN / f"format-{version}" / "alerts.sql").read_text())
    before = path.read_bytes()
    code, found = examined()
    assert code == 0 and f"has schema {version}" in text(found, "store")
    assert ".backup" in text(found, "store") and path.read_bytes() == before


def full(path, detail="flow has no\nvalues"):
    incident = Incident("rig|health.missing.flow|9", "rig", 9, 9, 1.7e9, 1.7e9, None, "warning",
                        0.0, 1, (), "open", False, "health", detail)
    with AlertStore(path) as store:
        row = OutboxRow("m", "slack", incident.id, 1.7e9, {})
        store.commit("rig", 99, b"state", [], [IncidentEvent("open", incident, 1.7e9, True, 0)], [],
                     [row, replace(row, id="n", channel="pager")])
        (claimed,) = store.claim("slack", 0.0, lease=9)
        store.settle([(claimed.seq, "dead", 9.0, "HTTP 404")])


def test_what_a_store_holds_is_told(examined, tmp_path):
    full(tmp_path / "a.db")
    code, found = examined()
    said = text(found, "store")
    assert code == 0 and "continues after sample 99" in said
    assert "messages for slack: 1 refused for good" in said
    assert "messages for pager: 1 waiting" in said and "flow has no?values" in said


def test_a_store_that_cannot_be_used_fails(examined, tmp_path):
    path = tmp_path / "a.db"
    path.write_text("no database, however long it may be" * 99)
    code, found = examined()
    assert code == 1 and "not a database" in text(found, "store")
    path.unlink()
    full(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    code, found = examined()
    assert code == 1 and "upgrade adlib" in text(found, "store")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 3")
        db.execute("UPDATE checkpoints SET state = substr(state, 1, 30)")
        db.commit()
    code, found = examined()
    assert code == 1 and "alerts remove checkpoint rig" in text(found, "store")
    code, found = examined(alerts={"storage": {"path": str(tmp_path / "absent" / "a.db")}})
    assert code == 1 and "make its folder" in text(found, "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_of_another_user_fails(examined, tmp_path):
    full(tmp_path / "a.db")
    (tmp_path / "a.db").chmod(0o444)
    code, found = examined()
    assert code == 1 and "cannot be written by this user" in text(found, "store")


def test_a_store_without_room_or_on_a_network_is_warned_of(examined, tmp_path, monkeypatch):
    import psutil

    usage = type("Usage", (), {"free": 50_000_000})
    part = type("Part", (), {"mountpoint": "/", "fstype": "ext4"})
    there = type("Part", (), {"mountpoint": str(tmp_path.parent.resolve()), "fstype": "nfs4"})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [there, part])
    code, found = examined()
    assert code == 0 and "lies on nfs4" in text(found, "store")
    assert "50 MB are free: 102 MB are wanted" in text(found, "store")
    usage.free = 5_000_000
    assert examined()[0] == 1


class Asked(Source):
    """Says what it is told to, and must not be read."""

    answer = "1,200 messages"

    def __init__(self, spec):
        pass

    async def probe(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def samples(self, *, features=None, position=-1):
        raise AssertionError("doctor takes nothing")
        yield Sample(0, 0.0, [0.0])


def test_a_source_is_asked_and_nothing_is_taken(examined, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "open_source", Asked)
    code, found = examined(source="asked://host")
    assert code == 0 and found["source"] == [("ok", "1,200 messages")]
    for answer, says in ((ValueError("login refused: check it"), "login refused: check it"),
                         (ConnectionRefusedError(111, "refused"), "refused"),
                         (RuntimeError("odd"), "RuntimeError: odd"), (KeyError(), "no reason")):
        monkeypatch.setattr(Asked, "answer", answer)
        code, found = examined(source="asked://host")
        assert code == 1 and states(found, "source") == ["fail"]
        assert says in text(found, "source")
    monkeypatch.delattr(Asked, "probe")
    code, found = examined(source="asked://host")
    assert code == 0 and states(found, "source") == ["skip"]


def test_a_fleet_is_looked_at_as_a_whole(tmp_path, capsys):
    config = ENGINE | {"fleet": {}, "reading": {"entity_column": "machine"}, "alert_config": {
        "storage": {"path": str(tmp_path / "a.db"), "trace": "1MB"}}}
    X = np.random.default_rng(0).normal(size=(1200, 2))
    names = np.repeat(["a", "hall 2/b"], 600)
    engine = RealTimeAnomalyDetector(config).fit(pd.DataFrame(X, columns=["flow", "heat"]),
                                                 entity=names)
    engine.save(tmp_path / "model")
    pd.DataFrame({"flow": X[:, 0], "heat": X[:, 1], "machine": names}).to_csv(
        tmp_path / "live.csv", index=False)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    given = ["doctor", str(tmp_path / "config.yaml"), "--model", str(tmp_path / "model"),
             "--source", f"csv:{tmp_path / 'live.csv'}"]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "1,200 rows could be read" in said and re.search("; 2 entities judged by \\w+", said)
    with AlertStore(tmp_path / "a.db") as store:
        seq = np.arange(9)
        store.commit("rig", 99, b"state", [], [], [], [], [Trace(
            "rig", ("flow",), ("a", "hall 2/b"), np.repeat([0, 1], [5, 4]), seq, 1.7e9 + seq,
            np.ones((9, 1)), np.full(9, np.nan))])
    assert main(given) == 0
    assert "continues after sample 99 of 2023-11-14 22:13:28 UTC" in capsys.readouterr().out


def test_a_source_that_is_wrong_fails(examined, tmp_path):
    for spec, says in (("csv:absent.csv", "no file to read"), ("kafka://x", "source must read"),
                       (f"csv:{tmp_path / 'config.yaml'}", "")):
        code, found = examined(source=spec)
        assert code == 1 and states(found, "source") == ["fail"] and says in text(found, "source")
    (tmp_path / "other.csv").write_text("flow,cold\n1,2\n2,3\n")
    code, found = examined(source=f"csv:{tmp_path / 'other.csv'}")
    assert code == 1 and "heat" in text(found, "source")


def test_a_file_that_is_not_there_yet_is_waited_for(examined, tmp_path):
    code, found = examined(source=f"tail:{tmp_path / 'rig.csv'}")
    assert code == 0 and "is not there yet" in text(found, "source")
    (tmp_path / "rig.csv").write_text("flow,heat\n")
    assert "has 10 bytes" in text(examined(source=f"tail:{tmp_path / 'rig.csv'}")[1], "source")


def test_a_broker_that_is_not_there_is_named(examined, monkeypatch):
    pytest.importorskip("paho")
    monkeypatch.setattr(doctor, "_WAIT", 0.1)
    code, found = examined(source="mqtt://127.0.0.1:1/x")
    assert code == 1 and "no answer within 0.1 s" in text(found, "source")


def test_a_clock_that_is_wrong_is_named(examined, monkeypatch):
    monkeypatch.setattr(doctor.time, "time", lambda: 1e8)
    code, found = examined(source=False)
    assert code == 1 and "before adlib was installed" in text(found, "clock")
    monkeypatch.undo()
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: type("C", (), {
        "adjtimex": staticmethod(lambda buffer: 5)}))
    assert "not synchronised" in text(examined(source=False)[1], "clock")
    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda name: object())  # no Linux
    assert states(examined(source=False)[1], "clock") == ["ok"]
    assert time.time() > 1.7e9
