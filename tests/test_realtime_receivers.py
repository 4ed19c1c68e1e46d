"""Webhook, Alertmanager, Apprise and routing, against real servers on loopback."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import logging
import random
import sys
import time
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from pydantic import BaseModel
from realtime_servers import Alertmanager, HookServer, MailServer, SlackServer

from adlib.realtime import (
    Channel,
    Outcome,
    RealTimeAnomalyDetector,
    Sample,
    check_channel,
    registry,
)
from adlib.realtime.config import EngineConfig
from adlib.realtime.doors.alertmanager import AlertmanagerChannel, AlertmanagerConfig
from adlib.realtime.doors.apprise import AppriseChannel, AppriseConfig
from adlib.realtime.doors.slack import SlackConfig
from adlib.realtime.doors.webhook import WebhookChannel, WebhookConfig
from adlib.realtime.events import Incident, IncidentEvent, Silence, Verdict, stream_of
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.notify import NotificationConfig, NotificationService
from adlib.realtime.routes import Route
from adlib.realtime.settings import ConfigError
from adlib.realtime.store import AlertStore, StorageConfig

PATH, KEY, TOKEN = "/hooks/T0SECRETPATH?code=qUerySecret", "whsec_c2VjcmV0a2V5MTIz", "t0kenSecret"
NIGHT = "webhook#night"


class Clock:
    def __init__(self, now=1.7e9 + 1000):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path):
    with AlertStore(tmp_path / "alerts.db") as store:
        yield store


@pytest.fixture
def hook():
    with HookServer() as server:
        yield server


def at(server, path="/x"):
    return f"http://127.0.0.1:{server.port}{path}"


def incident(stream="rig", severity="warning", kind="anomaly", start=0, **more):
    of = "combined" if kind == "anomaly" else "health.no_data"
    return replace(Incident(
        f"{stream}|{of}|{start}", stream, start, start + 9, 1.7e9, 1.7e9 + 9, None, severity, 0.8,
        3, (("temperature", 0.7),), "open", False, kind), **more)


def life(*steps, **of):
    """Events of one incident: "open warning" and the like; a "!" behind it: quiet."""
    found, one = [], incident(**of)
    for n, step in enumerate(steps):
        kind, _, severity = step.rstrip("!").partition(" ")
        one = replace(one, severity=severity or one.severity)
        if kind == "close":
            one = replace(one, state="closed", closed_at=1.7e9 + 60)
        found.append(IncidentEvent(kind, one, 1.7e9 + n, not step.endswith("!"), n))
    return found


def service(store, clock=time.time, storage=None, **receivers):
    return NotificationService(NotificationConfig(**receivers), store, clock=clock,
                               storage=storage, rng=random.Random(0))


def deliver(tell, events=(), verdicts=()):
    async def go():
        if events or verdicts:
            tell.store.commit("rig", 0, b"", verdicts, events, [], tell.rows(events, verdicts))
        await tell.deliver_due()
        await tell.close()
    asyncio.run(go())
    return tell


def webhook(server, path="/x", **more):
    return {"url": at(server, path), **more}


# ------------------------------------------------------------------ webhook


def test_each_step_is_posted_signed_with_one_key_and_a_resolve(store, hook, clock):
    hook.script.append((503, "busy"))
    tell = service(store, clock, webhook=webhook(hook, PATH, secret=KEY, headers={
        "Authorization": f"Bearer {TOKEN}"}))
    events = life("open", "repeat", "escalate critical", "close",
                  stream=stream_of("plant", "hall 2/Öl"))
    deliver(tell, events)
    clock.now += 400
    deliver(tell)
    first, *taken = hook.received
    assert len(taken) == 4
    for path, headers, body, _ in hook.received:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = hmac.new(b"secretkey123", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
        assert path == PATH and headers["authorization"] == f"Bearer {TOKEN}"
        assert headers["content-type"] == "application/json"
    # a message that is sent again has its id, and the time of the new try
    assert first[1]["webhook-id"] == taken[0][1]["webhook-id"]
    assert int(taken[0][1]["webhook-timestamp"]) == int(first[1]["webhook-timestamp"]) + 400
    assert len({headers["webhook-id"] for _, headers, *_ in taken}) == 4
    said = hook.taken
    assert [one["status"] for one in said] == ["firing"] * 3 + ["resolved"]
    assert [one["type"] for one in said] == [f"incident.{event.kind}" for event in events]
    assert {one["dedup_key"] for one in said} == {events[0].incident.id}
    assert [one["id"] for one in said] == [event.id for event in events]
    assert said[2]["severity"] == "critical" and said[0]["entity"] == "hall 2/Öl"
    assert said[0]["summary"].startswith("[WARNING] plant/hall 2/Öl: anomaly")
    assert Incident.from_dict(said[3]["incident"]) == events[3].incident


@pytest.mark.parametrize("name", [
    "a\nb", "\u202e", "caf\udce9", '"\\\0', "x" * 50_000, "<!channel>"])
def test_whatever_a_feature_is_called_it_is_json(store, hook, name):
    deliver(service(store, webhook=webhook(hook)), life("open", top_features=((name, 1.0),)))
    (said,) = hook.taken
    assert said["incident"]["top_features"] == [[name.replace("\udce9", "?"), 1.0]]
    assert said["summary"].isprintable() and "\n" not in said["summary"]


@pytest.mark.parametrize(("answer", "state"), [
    ((200, ""), "sent"), ((202, "thanks"), "sent"), ((204, ""), "sent"),
    ((200, '{"ok": false}'), "sent"),  # its own words: only the status counts
    ((200, "<!doctype html><title>Log in</title>"), "expires"),
    ((302, "", {"Location": "/elsewhere"}), "expires"), ((307, "", {"Location": "/y"}), "expires"),
    ((401, "who?"), "expires"), ((404, ""), "expires"), ((410, ""), "expires"),
    ((400, "bad"), "dead"), ((413, ""), "dead"), ((422, "no such field"), "dead"),
    ((408, ""), "pending"), ((500, ""), "pending"), ((503, "", {"Retry-After": "90"}), "pending"),
    ((200, "", {}, 0.5), "pending"),  # slower than the timeout
    ((200, "x" * 5_000_000), "sent"), ((500, "y" * 5_000_000), "pending"),
])
def test_what_each_answer_means(store, hook, clock, answer, state):
    hook.script.append(answer)
    tell = deliver(service(store, clock, webhook=webhook(
        hook, timeout=0.15 if len(answer) == 4 else 10.0)), life("open"))
    (row,) = store.outbox()
    assert row.state == {"expires": "pending"}.get(state, state), row.error
    assert (row.since is not None) == (state == "expires")
    assert len(row.error or "") < 300 and len(hook.received) == 1  # and no redirect is followed
    assert ("webhook" in tell.trouble()) == (state in ("expires", "pending"))
    if "Retry-After" in (*answer, {})[2]:
        assert row.due >= clock.now + 90


@pytest.mark.parametrize("talk", [
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + b"z" * 65_536,  # and on and on
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1 << 25)),
    b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + b"z" * 65_536 + b"\r\n",
    b"HTTP/1.1 200 " + b"h" * 65_536, b"\0\1\2", b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_a_server_that_says_too_much_or_nonsense(store, talk):
    """What is read is bounded in bytes and in time."""
    written = []

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        try:
            for k in range(2000 if len(talk) > 60_000 else 1):
                writer.write(talk if k == 0 or b"chunked" not in talk else talk[-65_545:])
                await writer.drain()
                written.append(len(talk))
        except OSError:
            pass
        writer.close()

    async def go():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            tell = service(store, webhook={"url": f"http://127.0.0.1:{port}/x", "timeout": 20})
            store.commit("rig", 0, b"", [], life("open"), [], tell.rows(life("open")))
            await tell.deliver_due()
            await tell.close()

    asyncio.run(asyncio.wait_for(go(), 120))
    (row,) = store.outbox()
    assert row.state == ("sent" if talk.startswith(b"HTTP/1.1 200 OK") else "pending"), row.error
    assert sum(written) < 20_000_000


def test_secrets_show_nowhere(store, hook, caplog):
    secrets = ("T0SECRETPATH", "qUerySecret", TOKEN, KEY, "secretkey123")
    hook.script.extend([(404, f"no {PATH}, Bearer {TOKEN} {KEY}"), (500, TOKEN), (200, "ok")])
    with caplog.at_level(logging.DEBUG):
        tell = service(store, webhook=webhook(hook, PATH, secret=KEY, headers={
            "Authorization": f"Bearer {TOKEN}"}))
        for k in range(3):
            deliver(tell, life("open", start=k))
        hook.stop()
        deliver(tell, life("open", start=9))
    hook.start()
    shown = [caplog.text, repr(tell.config), json.dumps(tell.config.model_dump(mode="json")),
             *map(repr, caplog.records), repr(store.outbox())]
    shown += [file.read_bytes().decode("latin-1") for file in store.path.parent.iterdir()]
    for secret in secrets:
        assert not any(secret in text for text in shown), secret
    assert len(store.outbox(state="sent")) == 1


@pytest.mark.parametrize(("change", "words"), [
    ({"url": "http://plant.example/x"}, "plain http"), ({"url": "ftp://h/x"}, "https://host/path"),
    ({"url": "https://me:pw@h/x"}, "https://host/path"), ({"url": None}, "url"),
    ({"secret": "whsec_???"}, "base64"), ({"secret": ""}, "secret"),
    ({"headers": {"A b": "x"}}, "headers"), ({"headers": {"A": "x\r\nB: y"}}, "one line"),
    ({"headers": {"A": "ö"}}, "ASCII"), ({"urls": []}, "did you mean 'url'"),
    ({"route": {"severty": "info"}}, "did you mean 'severity'"),
    ({"route": {"severity": "fatal"}}, "route.severity"), ({"route": {"kind": []}}, "route.kind"),
    ({"route": {"stream": {"a": 1}}}, "route.stream"),
])
@pytest.mark.parametrize("name", ["webhook", NIGHT])
def test_settings_are_checked_and_named_by_their_path(change, words, name):
    given = {"alert_config": {"storage": {}, "notification": {
        name: {"url": "https://plant.example/x", **change}}}}
    with pytest.raises(ConfigError) as error:
        EngineConfig.from_any(given)
    assert words in str(error.value) and f"alert_config.notification.{name}" in str(error.value)
    assert "pw" not in str(error.value)
    NotificationConfig(webhook={"url": "http://plant.example/x", "plain_http": True})


# ------------------------------------------------------------------ routes


def took(server):
    return [(one["dedup_key"].split("|")[0], one["type"].partition(".")[2]) for one in server.taken]


PLANT = [incident(stream_of("plant", name), severity, kind) for name, severity, kind in (
    ("pump-1", "warning", "anomaly"), ("pump-2", "critical", "anomaly"),
    ("hall 2/[x]", "warning", "anomaly"), ("7", "critical", "health"))] + [
    incident("plant", "warning", "health"), incident("rig", "info", "anomaly")]


@pytest.mark.parametrize(("route", "which"), [
    ({}, {0, 1, 2, 3, 4, 5}), (None, {0, 1, 2, 3, 4, 5}),
    ({"severity": ["critical"]}, {1, 3}), ({"severity": "critical"}, {1, 3}),
    ({"severity": ["info", "warning"]}, {0, 2, 4, 5}),
    ({"kind": ["anomaly"]}, {0, 1, 2, 5}), ({"kind": "health"}, {3, 4}),
    ({"stream": "plant/*"}, {0, 1, 2, 3}), ({"stream": "plant"}, {0, 1, 2, 3, 4}),
    ({"stream": ["rig", "plant/pump-?"]}, {0, 1, 5}), ({"stream": "plan"}, set()),
    ({"entity": "pump-*"}, {0, 1}), ({"entity": 7}, {3}), ({"entity": ["hall 2/[x]"]}, {2}),
    ({"entity": "hall*"}, {2}), ({"entity": "?*"}, {0, 1, 2, 3}), ({"entity": ""}, {4, 5}),
    ({"entity": "pump-*", "severity": "critical", "kind": "anomaly", "stream": "plant*"}, {1}),
    ({"entity": "PUMP-1"}, set()),
])
def test_a_route_takes_what_all_of_its_keys_name(store, hook, route, which):
    events = [IncidentEvent("open", one, 1.7e9, True, 0) for one in PLANT]
    given = webhook(hook) if route == {} else webhook(hook, route=route)
    deliver(service(store, webhook=given), events)
    assert [one["incident"]["id"] for one in hook.taken] == [
        one.id for k, one in enumerate(PLANT) if k in which]


STEPS = ("open warning", "repeat", "escalate critical", "close")


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("severity", "steps", "kinds"), [
    ("warning", STEPS, ["open", "repeat", "escalate", "close"]),
    ("critical", STEPS, ["escalate", "close"]),
    ("info", STEPS, []),
    # of what nobody heard nothing follows
    ("info", ("open info!", "escalate warning", "close"), []),
    ("warning", ("open warning!", "escalate critical", "close"), []),
    ("warning", ("open warning!", "repeat", "escalate critical", "close"),
     ["repeat", "escalate", "close"])])
def test_what_follows_goes_where_the_first_message_went(store, hook, together, severity, steps,
                                                        kinds):
    """In one commit or step by step, each by a process of its own."""
    for some in [life(*steps)] if together else [[event] for event in life(*steps)]:
        deliver(service(store, webhook=webhook(hook, route={"severity": severity})), some)
    assert [kind for _, kind in took(hook)] == kinds


def test_what_was_opened_under_an_earlier_route_is_followed(store, hook):
    *before, last = life("open critical", "repeat", "close")
    deliver(service(store, webhook=webhook(hook)), before[:1])
    other = {"stream": "pump", "severity": "info"}
    deliver(service(store, webhook=webhook(hook, route=other)), before[1:])
    store._db.execute("DELETE FROM outbox")  # retention: the events are what is left
    deliver(service(store, webhook=webhook(hook, route={"severity": "critical"})), [last])
    assert [kind for _, kind in took(hook)] == ["open", "repeat", "close"]


def test_several_receivers_of_a_kind_each_with_its_route(store, hook, tmp_path):
    """By one file: names, routes and secrets each of its own."""
    with HookServer() as other, SlackServer() as slack, MailServer() as mail:
        text = f"""
        alert_config:
          storage: {{path: {tmp_path / 'a.db'}}}
          notification:
            webhook: {{url: "{at(hook)}", route: {{severity: critical}}}}
            webhook#night: {{url: "{at(other)}", route: {{severity: [warning], entity: [7]}}}}
            slack#a.b-c: {{webhook_url: "{slack.url}", route: {{kind: health}}}}
            email: {{host: 127.0.0.1, port: {mail.port}, security: none, from: a@b.c, to: [x@y.z]}}
            email#2: {{host: 127.0.0.1, port: {mail.port}, security: none, from: a@b.c,
                       to: [x@y.z], route: {{stream: rig}}}}
        """
        (tmp_path / "c.yaml").write_text(text)
        config = EngineConfig.from_any(tmp_path / "c.yaml").alert_config.notification
        assert config.receivers().keys() == {"webhook", NIGHT, "slack#a.b-c", "email", "email#2"}
        again = NotificationConfig(**{**dict(config), **config.model_extra})
        for settings in (config, again):
            tell = NotificationService(settings, store)
            deliver(tell, [IncidentEvent("open", one, 1.7e9, True, 0) for one in PLANT])
        assert len(hook.taken) == 2 and len(other.taken) == 0 and len(slack.taken) == 2
        assert len(mail.mails) == 6 + 1
    assert {row.channel for row in store.outbox()} == {"webhook", "slack#a.b-c", "email", "email#2"}
    assert {row.state for row in store.outbox()} == {"sent"}


@pytest.mark.parametrize(("routes", "words"), [
    ([None, {"stream": "x"}], None), ([{"kind": "health"}, {"kind": ["anomaly"]}], None),
    ([{"severity": "critical"}], "warning anomaly, warning health: "),
    ([{"kind": "anomaly"}, {"kind": "health", "stream": "plant"}],
     "warning health, critical health: "),
    ([], None)])
def test_what_no_route_names_is_said_at_the_start(store, caplog, routes, words):
    service(store, storage=StorageConfig(backend="elasticsearch"), **{
        f"webhook#{k}": {"url": "https://h/x", "route": route} for k, route in enumerate(routes)})
    assert (words or "no receiver") in caplog.text + "no receiver" * (words is None)
    assert ("no receiver takes" in caplog.text) == bool(words)


@pytest.mark.parametrize("name", ["webhook#", "webhook#a|b", "webhook#a#b", "#night", "webhok#x",
                                  "webhook# x", "webhook#" + "x" * 41])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ConfigError, match="unknown key"):
        EngineConfig.from_any({"alert_config": {"storage": {}, "notification": {
            name: {"url": "https://h/x"}}}})


def test_settings_may_be_given_as_objects_too(hook):
    config = NotificationConfig(slack=SlackConfig(webhook_url="https://h/p"), webhook=None)
    assert config.slack.webhook_url.get_secret_value() == "https://h/p"
    with pytest.raises(ValueError, match="slack"):
        NotificationConfig(slack=WebhookConfig(url="https://h/p"))


class Pager(Channel):
    name = "pager"
    pages: list = []

    def __init__(self, config, store, clock=time.time):
        self.config = config

    async def send(self, rows):
        self.pages.extend((self.name, row.body["incident"]["id"]) for row in rows)
        return [Outcome("sent")] * len(rows)


class PagerConfig(BaseModel):
    number: int


@pytest.mark.parametrize("config", [None, PagerConfig])
def test_a_receiver_of_ones_own_has_a_name_and_a_route_like_any(store, monkeypatch, config):
    monkeypatch.setitem(sys.modules, "pager_of_mine", sys.modules[__name__])
    monkeypatch.setattr(registry, "entry_points", lambda group: [
        EntryPoint("pager", "pager_of_mine:Pager", group)] if group == registry.CHANNELS else [])
    monkeypatch.setattr(Pager, "pages", [])
    if config:
        monkeypatch.setattr(Pager, "Config", config, raising=False)
    tell = service(store, pager={"number": 1},
                   **{"pager#2": {"number": 2, "route": {"stream": "rig", "severity": "info"}}})
    assert [dict(channel.config)["number"] for channel in tell.channels] == [1, 2]
    deliver(tell, [IncidentEvent("open", one, 1.7e9, True, 0) for one in PLANT])
    assert [name for name, _ in Pager.pages] == ["pager"] * 6 + ["pager#2"]
    own = Pager({}, "")
    own.route = Route(severity="critical")
    deliver(NotificationService(NotificationConfig(), store, channels=[own]),
            life("open", stream="x"))
    assert len(Pager.pages) == 7


def test_documents_have_a_route_too(store, hook):
    verdicts = [Verdict(stream, 0, 9, 1.7e9, 0.01, 0.8, severity, True, {}, ())
                for stream, severity in (("rig", "warning"), ("rig2", "critical"))]
    config = NotificationConfig(elasticsearch={"path": "a.db", "route": {"stream": "rig"}})
    tell = NotificationService(config, store)
    rows = tell.rows([*life("open"), *life("open", stream="rig2")], verdicts)
    assert [row.key for row in rows] == ["rig|combined|0|open|0", "rig|verdict|9"]
    tell = service(store, storage=StorageConfig(backend="opensearch"), slack=None)
    assert len(tell.rows(life("open"), verdicts)) == 3


# ------------------------------------------------------------------ what is open elsewhere


def closing(silenced):
    """An incident that a manager opens, and closes while a silence holds."""
    manager = AlertManager(IncidentConfig(open_after=1, open_within=1, close_after=1))
    events = []
    for k, flagged in enumerate((True, False)):
        if k and silenced:
            manager.silence(Silence("quiet", 2e9))
        events += manager.step(Verdict("rig", 9 * k, 9 * k + 9, 1.7e9 + k, 0.01, 0.95, "critical",
                                       flagged, {}, ()))
    return events


def test_a_close_resolves_what_was_silenced_meanwhile(store, hook):
    with SlackServer() as slack:
        tell = service(store, webhook=webhook(hook), slack={"webhook_url": slack.url})
        events = closing(silenced=True)
        assert [event.notify for event in events] == [True, False]
        for event in events:
            deliver(tell, [event])
        assert [kind for _, kind in took(hook)] == ["open", "close"]
        assert len(slack.taken) == 1  # people stay undisturbed
    deliver(tell, life("open!", "close!", start=70))  # what nobody heard of is not over either
    assert len(hook.taken) == 2


@pytest.mark.parametrize("running", [True, False])
def test_closed_by_hand_is_resolved(store, hook, running):
    with SlackServer() as slack:
        def start():
            return service(store, webhook=webhook(hook), slack={"webhook_url": slack.url},
                           **{NIGHT: webhook(hook, "/night", route={"severity": "critical"})})

        tell = deliver(start(), [*life("open"), *life("open", start=50), *life("open!", start=90)])
        for start_of in (0, 90):
            store.end(f"rig|combined|{start_of}")
        for _ in range(3):  # once, however often it is looked at, and by whom
            deliver(tell if running else start())
        assert len(slack.taken) == 2
    assert took(hook) == [("rig", "open")] * 2 + [("rig", "close")]
    assert hook.taken[-1]["status"] == "resolved" and hook.taken[-1]["dedup_key"].endswith("|0")
    deliver(service(store, **{"webhook#new": webhook(hook)}))  # it hears nothing of old ones
    assert len(hook.taken) == 3


def test_a_running_engine_routes_and_passes_on_what_an_operator_closes(tmp_path, hook):
    """From samples to the receiver, and from the store's file, as ``alerts close`` writes it."""
    path = tmp_path / "rig.db"
    settings = {"stream": "rig", "detectors": ["PCAReconstruction"], "deep_config": None,
                "stat_config": None, "window_size": 20, "stride": 5, "alert_config": {
                    "incidents": {"close_after": 10_000}, "storage": {"path": str(path)},
                    "notification": {"webhook": webhook(hook, route={"stream": "rig"}),
                                     NIGHT: webhook(hook, "/night", route={"stream": "pump"})}}}
    rng = np.random.default_rng(0)
    engine = RealTimeAnomalyDetector(settings).fit(rng.normal(size=(4000, 2)))

    async def samples():
        yield Sample(0, 1.7e9 + np.arange(200.0), rng.normal(size=(200, 2)))
        yield Sample(200, 1.7e9 + 200 + np.arange(60.0), rng.normal(size=(60, 2)) + 30)
        assert await asyncio.to_thread(until, lambda: hook.taken)
        with AlertStore(path, create=False) as operator:
            operator.end(hook.taken[0]["dedup_key"])
        assert await asyncio.to_thread(until, lambda: hook.taken[-1]["status"] == "resolved")

    async def go():
        async for _ in engine.process_stream(samples()):
            pass

    asyncio.run(asyncio.wait_for(go(), 60))
    assert {path for path, *_ in hook.received} == {"/x"}
    assert {one["dedup_key"] for one in hook.taken} == {hook.taken[0]["dedup_key"]}
    assert hook.taken[0]["status"] == "firing"


# ------------------------------------------------------------------ Alertmanager


@pytest.fixture
def alertmanager(tmp_path, hook):
    if not Alertmanager.program:
        pytest.skip("prometheus-alertmanager is not installed")
    (tmp_path / "am").mkdir()
    return Alertmanager(tmp_path / "am", hook.port)


def until(holds):
    for _ in range(1500):
        if holds():
            return True
        time.sleep(0.02)
    return False


def told(hook):
    return {(alert["labels"]["severity"], alert["status"]) for one in hook.taken
            for alert in one["alerts"]}


def test_the_real_alertmanager_opens_escalates_survives_and_resolves(store, hook, alertmanager):
    clock = Clock(time.time())
    moved = {"opened_at": clock.now - 60, "stream": "plant/pump 3\u202e"}
    tell = service(store, clock, alertmanager={"url": alertmanager.url, "labels": {"team": "a"}})
    first, second, third = life("open", "escalate critical", "close", **moved)
    name = first.incident.id.replace("\u202e", "?")
    with alertmanager:
        deliver(tell, [first, *life("open", stream="rig", opened_at=7.0)])  # counts from 0
        assert alertmanager.alerts() == [
            ("AdlibAnomaly", "warning", name), ("AdlibAnomaly", "warning", "rig|combined|0")]
        assert until(lambda: ("warning", "firing") in told(hook))
        (alert,) = (alert for one in hook.taken for alert in one["alerts"]
                    if alert["labels"]["incident"] == name)
        assert alert["labels"].items() >= {"team": "a", "stream": "plant/pump 3?",
                                           "kind": "anomaly", "entity": "pump 3?"}.items()
        assert "alerts ack" in alert["annotations"]["description"]
        assert alert["annotations"]["acknowledged"] == "false"
        clock.now += 1
        deliver(tell, [second])  # an alert of another severity, and the end of the first
        assert until(lambda: [of[1] for of in alertmanager.alerts() if of[2] == name] == [
            "critical"])
        assert until(lambda: ("warning", "resolved") in told(hook))
    with alertmanager:  # it forgets everything
        assert alertmanager.alerts() == []
        clock.now += 73
        deliver(tell)
        assert alertmanager.alerts() == []  # not yet
        clock.now += 3
        store.acknowledge(second.incident.id)
        deliver(tell)
        assert [of[1] for of in alertmanager.alerts()] == ["critical", "warning"]
        clock.now = time.time()
        store.end("rig|combined|0")
        deliver(tell, [replace(third, notify=False)])  # silenced
        assert until(lambda: alertmanager.alerts() == [])
        assert until(lambda: ("critical", "resolved") in told(hook))
        clock.now += 1000
        deliver(tell)
        assert alertmanager.alerts() == []  # and it stays over
    assert {row.state for row in store.outbox()} == {"sent"}


def alerts_of(hook):
    return [list(dict.fromkeys(alert["labels"]["incident"] for alert in json.loads(body)))
            for *_, body, _ in hook.received]


def test_one_alert_that_is_refused_costs_the_others_nothing(store, hook, clock):
    events = [event for k in range(3) for event in life("open", start=k)]
    hook.script.extend([(400, "bad"), (200, ""), (400, "bad start"), (200, "")])
    deliver(service(store, clock, alertmanager={"url": at(hook, "/am/")}), events)
    assert [len(ids) for ids in alerts_of(hook)] == [3, 1, 1, 1, 3]  # the last: said again
    assert [row.state for row in store.outbox()] == ["sent", "dead", "sent"]
    assert {path for path, *_ in hook.received} == {"/am/api/v2/alerts"}


def test_what_is_open_is_said_again_in_time_and_no_more_than_that(store, hook, clock):
    settings = {"url": at(hook), "resolve_after": "20s", "route": {"severity": "critical"}}
    tell = service(store, clock, alertmanager=settings)
    deliver(tell, [*life("open critical"), *life("open critical", start=10),
                   *life("open", start=20), *life("open critical!", start=30)])
    del hook.received[:]
    for _ in range(8):
        clock.now += 2.5
        deliver(tell)
    one, two = (incident(start=k).id for k in (0, 10))
    assert alerts_of(hook) == [[one, two]] * 4
    until_when = json.loads(hook.received[-1][2])[0]["endsAt"]
    assert until_when == time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(clock.now + 20))
    clock.now -= 5000  # the clock was set
    deliver(tell)
    assert len(hook.received) == 5
    hook.script.extend([(503, "", {"Retry-After": "60"})])
    clock.now += 5
    deliver(tell)
    assert "alertmanager" in tell.trouble()
    clock.now += 50
    deliver(tell)
    assert len(hook.received) == 6  # it is left alone as long as it asks for
    clock.now += 11
    deliver(service(store, clock, alertmanager=settings), life("open critical", "close")[1:])
    assert alerts_of(hook)[6:] == [[one], [two]]  # a new process too


def test_what_got_worse_in_silence_stays_what_it_was_until_it_ends(store, hook, clock):
    tell = service(store, clock, alertmanager={"url": at(hook), "resolve_after": "20s"})
    for event in life("open", "escalate critical!", "update!", "close!"):
        deliver(tell, [event])
        clock.now += 5
    said = [[(alert["labels"]["severity"], alert["endsAt"] > "2023-11-14T22:29:59")
             for alert in json.loads(body)] for *_, body, _ in hook.received]
    end = [("critical", False), ("info", False), ("warning", False)]
    assert said == [[("warning", True)]] * 4 + [end]  # opened, and said three times


@pytest.mark.parametrize("change", [{"labels": {"a-b": "c"}}, {"resolve_after": 1},
                                    {"url": "http://am.example:9093"}, {"url": "am:9093"}])
def test_settings_of_alertmanager_are_checked(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        AlertmanagerConfig(**{"url": "http://localhost:9093", **change})


# ------------------------------------------------------------------ Apprise


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def apprise():
    pytest.importorskip("apprise", reason="the extra is not installed: apprise")


def test_apprise_sends_or_is_tried_again(store, hook, clock, apprise):
    hook.script.append((500, "no"))
    tell = service(store, clock, apprise={"url": f"json://127.0.0.1:{hook.port}/s3cretpath",
                                          "route": {"severity": "critical"}})
    deliver(tell, [*life("open critical"), *life("open")])
    (row,) = store.outbox()
    assert row.state == "pending" and row.since and "s3cretpath" not in repr(row)
    clock.now += 400
    deliver(tell)
    deliver(tell, life("open critical", "close")[1:])
    assert [(one["type"], one["title"]) for one in hook.taken] == [
        ("failure", "[CRITICAL] rig: anomaly (temperature)"),
        ("success", "[CRITICAL] rig: anomaly is over (temperature)")]
    assert "Incident: rig|combined|0\n" in hook.taken[0]["message"]
    assert store.backlog() == {} and tell.trouble() == {}


def test_apprise_that_hangs_is_ended(store, hook, clock, apprise):
    hook.script.append((200, "", {}, 3.0))
    tell = service(store, clock, apprise={"url": f"json://127.0.0.1:{hook.port}/?rto=60",
                                          "timeout": 2.0})
    deliver(tell, life("open"))  # apprise would wait for 60 s, and then name its own error
    assert store.outbox()[0].error == "TimeoutError"
    hook.stop()
    clock.now += 400
    deliver(tell)
    hook.start()
    assert store.outbox()[0].attempts == 2 and store.outbox()[0].state == "pending"


def test_an_address_that_apprise_does_not_know_is_refused_unseen(apprise, monkeypatch):
    with pytest.raises(ValueError, match="Apprise does not know") as error:
        AppriseChannel(AppriseConfig(url="nosuch://s3cret"), "")
    assert "s3cret" not in str(error.value)
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[apprise\]'"):
        AppriseChannel(AppriseConfig(url="nosuch://s3cret"), "")


# ------------------------------------------------------------------ all of them


def test_each_keeps_what_a_channel_promises(hook, apprise):
    check_channel(WebhookChannel(WebhookConfig(url=at(hook)), "a.db"))
    check_channel(AlertmanagerChannel(AlertmanagerConfig(url=at(hook)), "a.db"))
    check_channel(AppriseChannel(AppriseConfig(url=f"json://127.0.0.1:{hook.port}/"), "a.db"))
    said = hook.taken
    assert [one["status"] for one in said[:2]] == ["firing", "resolved"]  # nothing stays open
    assert [len(one) for one in said[2:4]] == [1, 3] and "endsAt" in said[3][0]
    hook.script.append((404, ""))
    with pytest.raises(AssertionError, match="takes the test message: retry, HTTP 404"):
        check_channel(WebhookChannel(WebhookConfig(url=at(hook)), "a.db"))


def test_https_only_to_a_server_that_is_trusted(store, certificate):
    with HookServer(certificate=certificate) as server:
        given = {"url": f"https://127.0.0.1:{server.port}/x", "secret": "k", "timeout": 20.0}
        deliver(service(store, webhook=given), life("open"))
        (row,) = store.outbox()
        assert row.state == "pending" and "CERTIFICATE" in row.error and server.received == []
        later = Clock(time.time() + 1e4)
        given["ca_certs"] = str(certificate[0])
        deliver(service(store, later, webhook=given))
        assert len(server.taken) == 1
        given["ca_certs"] = "absent.pem"
        deliver(service(store, later, webhook=given), life("open", start=3))
        assert "FileNotFoundError" in store.outbox()[1].error
