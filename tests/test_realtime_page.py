"""The operator's page: who may ask, what it shows and decides, and a real browser that uses it."""

import asyncio
import contextlib
import functools
import math
import os
import re
import signal as signals
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from html.parser import HTMLParser

import httpx
import numpy as np
import pytest
from browser import need_browser
from browser import opened as browser
from starlette.responses import PlainTextResponse

from adlib.realtime import RealTimeAnomalyDetector, Sample
from adlib.realtime.__main__ import main
from adlib.realtime.answers import FeedbackStore
from adlib.realtime.doors import http, page
from adlib.realtime.doors.drawing import signal
from adlib.realtime.doors.messages import describe
from adlib.realtime.events import Incident, IncidentEvent, QualityEvent, stream_of
from adlib.realtime.incidents import AlertManager
from adlib.realtime.store import AlertStore, OutboxRow
from adlib.realtime.traces import Trace

NOW = 1.7e9
TOKEN = "a-token-of-24-characters"
LOCAL = "http://127.0.0.1"
HOSTILE = '<img src=x onerror=alert(1)>"\'&\u202e{{ 7 * 7 }}\n|/%00'
MACHINES = [*(f"pump-{k:02d}" for k in range(18)), "hall 2/Öl|7", HOSTILE]
FEATURES = ("temperature", HOSTILE, "pressure")
ROWS = 600


class Client:
    """Asks an application without a socket; redirects are not followed."""

    def __init__(self, app, base_url=LOCAL):
        self._runner, self._life = asyncio.Runner(), app.router.lifespan_context(app)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url)
        self.cookies = self._http.cookies

    def __enter__(self):
        self._runner.run(self._life.__aenter__())
        return self

    def __exit__(self, *_):
        self._runner.run(self._life.__aexit__(None, None, None))
        self._runner.close()

    @staticmethod
    async def nothing(*_):
        """In place of waiting."""

    def request(self, *args, **how):
        return self._runner.run(self._http.request(*args, **how))

    def get(self, path, **how):
        return self.request("GET", path, **how)

    def post(self, path, **how):
        return self.request("POST", path, **how)


@pytest.fixture
def ask():
    """Open a client of an application; all are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda app, **how: stack.enter_context(Client(app, **how))


def incident(entity, start=500, *, severity="critical", peak=0.97, ago=200.0, kind="anomaly",
             detail="", condition="", features=((HOSTILE, 0.7), ("temperature", 0.3))):
    stream = stream_of("plant", entity)
    group = f"health.{condition}" if condition else "combined"
    return Incident(f"{stream}|{group}|{start}", stream, start, ROWS - 1, NOW - ago, NOW - 5, None,
                    severity, math.nan if condition else peak, 9, () if condition else features,
                    "open", False, "health" if condition else kind, detail)


def opened(found, notify=True):
    return IncidentEvent("open", found, found.opened_at + 20, notify, 0)


def closed(found):
    over = replace(found, state="closed", closed_at=found.last_at)
    return IncidentEvent("close", over, found.last_at, True, 1)


def judged(machines=MACHINES, now=NOW, late=(), odd=()):
    """Judged rows of a fleet, each second one, a window each tenth row."""
    rng, n = np.random.default_rng(0), len(machines)
    values = rng.normal(size=(n, ROWS, len(FEATURES))) + 20
    p = np.full((n, ROWS), np.nan)
    p[:, 9::10] = rng.uniform(0.1, 1, size=(n, ROWS // 10))
    times = now - np.arange(ROWS)[::-1] + np.zeros((n, 1))
    for k, name in enumerate(machines):
        times[k] -= 1200 * (name in late)
        if name in odd:
            values[k, 500:, 1] += 8
            p[k, 509::10] = 1e-6
    return Trace("plant", FEATURES, tuple(machines), np.repeat(np.arange(n), ROWS),
                 np.tile(np.arange(ROWS), n), times.ravel(), values.reshape(-1, len(FEATURES)),
                 p.ravel(), 0.001)


def keep(store, events=(), traces=(), quality=(), outbox=()):
    position = (store.restore("plant") or (-1,))[0] + 1
    store.commit("plant", position, b"state", [], events, quality, outbox, traces)


@pytest.fixture
def store(tmp_path):
    """Twenty machines: three anomalies, a frozen feature, a silent one, one that is over."""
    with AlertStore(tmp_path / "alerts.db") as store:
        found = [incident("pump-03"), incident("pump-07", severity="warning", peak=0.8, ago=90),
                 incident(HOSTILE, severity="info", peak=0.71, ago=50),
                 incident("pump-02", 10, severity="warning", condition="frozen.temperature",
                          detail=f"{HOSTILE} does not change")]
        over = incident("pump-11", 5, ago=90_000)
        events = [opened(found[0]), opened(found[1]), opened(found[2], False), opened(found[3]),
                  opened(over), closed(over)]
        outbox = [OutboxRow(f"{e.id}|slack", "slack", e.incident.id, e.time, e.to_dict())
                  for e in events[:2]]
        quality = [QualityEvent("plant/pump-03", "nan", 11, 14, NOW - 300, HOSTILE)]
        keep(store, events, [judged(late=["pump-09"], odd=["pump-03", "pump-07", HOSTILE])],
             quality, outbox)
        taken = store.claim("slack", NOW, lease=1.0)
        store.settle([(taken[0].seq, "dead", NOW + 3600, "HTTP 404 no_service")])
        yield store


@pytest.fixture
def board(store):
    board = page.Board(store, clock=lambda: NOW)
    yield board
    board.close()


@pytest.fixture
def client(store, monkeypatch, ask):
    monkeypatch.setattr(page, "Board", functools.partial(page.Board, clock=lambda: NOW))
    return ask(http.app(store=store))


# -- who may ask --------------------------------------------------------------------------------


async def push(request):
    return PlainTextResponse(f"{len(await request.body())} bytes")


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:8765"])
def test_without_a_token_this_machine_is_answered(store, host, ask):
    client = ask(http.app(store=store, push=push))
    headers = {"Host": host}
    assert client.get("/", headers=headers).status_code == 200
    assert client.post("/samples", headers=headers, content=b"{}").text == "2 bytes"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil",
                                  "[::1].evil", "[", "192.168.0.7:8765", "localhost.evil:80"])
def test_without_a_token_other_names_are_not_answered(store, host, ask):
    client = ask(http.app(store=store, push=push))
    for path in ("/", "/health", "/page.js", "/samples", "/act"):
        answer = client.request("POST" if path in ("/samples", "/act") else "GET", path,
                                headers={"Host": host})
        assert answer.status_code == 421 and "localhost" in answer.text


FOREIGN = [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""},
           {"Origin": "http://["}, {"Origin": "127.0.0.1"}, {"Origin": f"{LOCAL}.evil.example"},
           {"Origin": "http://127.0.0.1:9"}, {"Sec-Fetch-Site": "cross-site"},
           {"Sec-Fetch-Site": "same-site"}]


@pytest.mark.parametrize("where", ["[::1]:0", "::1:0"])
def test_it_is_served_on_the_other_loopback_too(where):
    try:
        with http.served(http.app(Engine()), where) as url, urllib.request.urlopen(
                f"{url}/health", timeout=20) as answer:
            assert url.startswith("http://[::1]:") and answer.status == 200
    except ValueError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_a_proxy_may_name_the_usual_port(store, ask):
    client = ask(http.app(store=store, token=TOKEN), base_url="http://adlib.example")
    client.cookies.set(*http.cookie(TOKEN))
    form = {"do": "acknowledge", "id": "plant/pump-03|combined|500"}
    headers = {"Origin": "https://adlib.example", "Host": "adlib.example:443", "X-Page": "1"}
    assert client.post("/act", data=form, headers=headers).text.startswith("acknowledged")
    headers["Host"] = "adlib.example:8443"
    assert client.post("/act", data=form, headers=headers).status_code == 403


def test_a_probe_of_http_1_0_names_no_host():
    with http.served(http.app(Engine()), "0") as url:
        where = url.removeprefix("http://").split(":")
        with socket.create_connection((where[0], int(where[1])), timeout=20) as probe:
            probe.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            assert probe.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_probe_is_answered_while_slow_clients_hold_the_port(store, monkeypatch, token):
    monkeypatch.setattr(http, "_MOST", 20)
    slow = [b"", b"GET / HTTP/1.1\r\nHost: ", b"POST /samples HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Length: 9\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\nabc"]
    with http.served(http.app(Engine(), store, token, push), "0") as url, (
            contextlib.ExitStack()) as stack, httpx.Client(base_url=url) as client:
        assert client.get("/health").headers.get("connection") is None
        where = url.removeprefix("http://").split(":")
        for k in range(60):
            one = stack.enter_context(socket.create_connection((where[0], int(where[1])), 20))
            one.sendall(slow[k % 3])
        deadline = time.monotonic() + 20
        while client.get("/metrics").text != "Too many connections":
            assert time.monotonic() < deadline
        for path, status in (("/health", 200), ("/ready", 200), ("/", 503), ("/metrics", 503),
                             ("/health/", 503), ("/HEALTH", 503)):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["connection"]) == (status, "close"), path
        stack.close()
        while client.get("/login").status_code == 503:
            assert time.monotonic() < deadline


@pytest.mark.parametrize("token", [None, TOKEN])
def test_another_sites_page_changes_nothing(store, token, ask):
    client = ask(http.app(store=store, token=token, push=push))
    if token:
        client.cookies.set(*http.cookie(token))
    before = list(store._db.iterdump())
    form = {"do": "acknowledge", "id": "plant/pump-03|combined|500", "token": TOKEN}
    for path in ("/act", "/samples", "/login"):
        for headers in FOREIGN:
            answer = client.post(path, data=form, headers=headers)
            assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert list(store._db.iterdump()) == before
    own = {"Origin": LOCAL, "Sec-Fetch-Site": "same-origin", "X-Page": "1"}
    assert client.post("/act", data=form, headers=own).text == "acknowledged: plant/pump-03"


class Engine:
    """What the application asks an engine."""

    ready = True

    def status(self):
        return {"stream": "plant", "ready": self.ready, "reasons": [] if self.ready else [HOSTILE],
                "partitions": {"plant:0": {"ready": True}, "plant:1": {"ready": self.ready}},
                "conditions": [{"detail": "a receiver is slow", "since": NOW - 60}]}

    def metrics_text(self):
        return "adlib_ready 1\n"


def test_a_token_is_asked_for_everything_but_health(store, ask):
    app = http.app(Engine(), store, TOKEN, push)
    client = ask(app, base_url="http://adlib.example")
    assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
    for path in ("/", "/stream?name=plant/pump-03", "/incident", "/metrics", "/none"):
        answer = client.get(path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert "pump" not in answer.text
    for path in ("/samples", "/act", "/health"):
        assert client.post(path).status_code in (401, 405)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/metrics", headers=bearer).text == "adlib_ready 1\n"
    assert client.get("/metrics", headers=bearer).headers["content-type"].startswith("text/plain")
    assert client.post("/samples", headers=bearer, content=b"123").text == "3 bytes"
    value = http.cookie(TOKEN)[1]
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", "", f"Bearer {value}", TOKEN,
                  "Bearer \xff"):
        assert client.get("/metrics", headers={"Authorization": wrong.encode("latin-1")}
                          ).status_code == 401


def test_a_browser_is_asked_for_the_token_once(store, monkeypatch, ask):
    monkeypatch.setattr(page.asyncio, "sleep", Client.nothing)
    client = ask(http.app(store=store, token=TOKEN), base_url="https://adlib.example")
    page_ = {"Accept": "text/html,*/*"}
    answer = client.get("/stream?name=plant/pump-03&span=6h", headers=page_)
    assert answer.status_code == 401 and "pump-03&amp;span=6h" in answer.text
    assert 'type="password"' in answer.text and "vibration" not in answer.text
    assert client.get("/page.css").status_code == client.get("/page.js").status_code == 200
    wrong = client.post("/login", data={"token": "guess", "back": "/"})
    assert wrong.status_code == 401 and "not the token" in wrong.text
    right = client.post("/login", data={"token": f" {TOKEN} ", "back": "/stream?name=plant/a"})
    assert right.status_code == 303 and right.headers["location"] == "/stream?name=plant/a"
    told = right.headers["set-cookie"]
    assert TOKEN not in told and {"HttpOnly", "SameSite=lax", "Secure"} <= {*told.split("; ")}
    assert client.get("/", headers=page_).status_code == 200
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y",
                      ""):
        answer = client.post("/login", data={"token": TOKEN, "back": elsewhere})
        assert answer.headers["location"] == "/"


def test_a_form_that_does_not_arrive_whole_decides_nothing(store, caplog):
    before = [i.to_dict() for i in store.incidents()]
    body = b"do=close&id=plant/pump-03|combined|500"
    with http.served(http.app(store=store), "0") as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(b"POST /act HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
                           + body)
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200
    assert [i.to_dict() for i in store.incidents()] == before and not caplog.records


def test_a_login_that_is_too_large_is_wrong(store, ask, monkeypatch):
    monkeypatch.setattr(page.asyncio, "sleep", Client.nothing)
    client = ask(http.app(store=store, token=TOKEN))
    for form in ({"token": TOKEN, "x": "y" * 70_000}, {f"k{i}": "" for i in range(60)}, {}):
        assert client.post("/login", data=form).status_code == 401


def test_every_answer_keeps_others_out(client):
    for path in ("/", "/none", "/act", "/page.css"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    assert "Host" in client.get("/", headers={"Host": "evil"}).text


@pytest.mark.parametrize(("where", "token"), [("0.0.0.0:0", None), ("[::]:0", None),
                                              ("adlib.example:80", None)])
def test_beyond_the_loopback_interface_a_token_is_needed(where, token):
    with pytest.raises(ValueError, match="ADLIB_TOKEN"), http.served(None, where, token=token):
        pass


@pytest.mark.parametrize("bad", ["", "short", "with blanks in it, yes", "ünïcödé-ünïcödé-x",
                                 "a\nb" * 9])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused(bad, tmp_path, monkeypatch):
    (tmp_path / "token").write_text(bad, encoding="utf-8")
    with pytest.raises(ValueError, match="at least 16 ASCII characters") as caught:
        http.token_from(tmp_path / "token")
    assert not bad.strip() or bad not in str(caught.value)
    monkeypatch.setenv("ADLIB_TOKEN", bad)
    with pytest.raises(ValueError, match="ADLIB_TOKEN must hold"):
        http.token_from(None)


def test_a_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("ADLIB_TOKEN", raising=False)
    assert http.token_from(None) is None
    monkeypatch.setenv("ADLIB_TOKEN", "t" * 16)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert (http.token_from(None), http.token_from(tmp_path / "token")) == ("t" * 16, TOKEN)


# -- what is shown ------------------------------------------------------------------------------


def test_the_most_urgent_comes_first(board):
    shown = board.overview({})
    assert [card["incident"].stream for card in shown["cards"]] == [
        "plant/pump-03", "plant/pump-07", "plant/pump-02", stream_of("plant", HOSTILE)]
    assert [(line["label"], line["state"]) for line in shown["chosen"][:6]] == [
        ("plant/pump-03", "critical"), ("plant/pump-07", "warning"), ("plant/pump-02", "warning"),
        (f"plant/{HOSTILE}", "info"), ("plant/pump-09", "silent"),
        (shown["chosen"][5]["label"], "well")]
    shares = [line["share"] for line in shown["chosen"][5:]]
    assert len(shown["chosen"]) == 20 and shares == sorted(shares, reverse=True)
    board.act({"do": "acknowledge", "id": "plant/pump-03|combined|500"})
    shown = board.overview({"find": "PUMP-0"})
    assert [line["label"] for line in shown["chosen"]][:4] == [
        "plant/pump-07", "plant/pump-02", "plant/pump-03", "plant/pump-09"]
    assert shown["n_chosen"] == 10 and shown["cards"][-1]["incident"].acknowledged
    assert [i.stream for i in shown["closed"]] == ["plant/pump-11"]


def test_a_machine_of_which_the_engine_says_that_it_is_silent_is_not_well(board, store):
    found = incident(None, 10, condition="no_data.pump-10", severity="warning", detail="sends no")
    keep(store, [opened(found)])
    lines = {line["label"]: line for line in board.overview({})["chosen"]}
    assert lines["plant/pump-10"]["state"] == "warning"
    assert lines["plant/pump-10"]["what"] == "no data (pump-10)" and len(lines) == 20


def test_a_fleet_of_a_thousand_shows_its_top(tmp_path):
    names = [f"m{k}" for k in range(1000)]
    trace = judged(names, odd=["m900"])
    with AlertStore(tmp_path / "a.db") as store:
        keep(store, [opened(incident(name)) for name in names[:60]],
             [trace.take(trace.seq >= ROWS - 20)])
        board = page.Board(store, clock=lambda: NOW)
        few, all_ = board.overview({}), board.overview({"all": "1"})
        text = page.render("overview", query={}, **few)
        board.close()
    assert (len(few["cards"]), len(few["chosen"]), few["n_chosen"]) == (25, 50, 1000)
    assert len(all_["cards"]) == 60 and len(all_["chosen"]) == 1000
    assert all_["chosen"][60]["label"] == "plant/m900" and all_["chosen"][60]["state"] == "flagged"
    assert "35 more open incidents" in text and "show all 1000" in text and len(text) < 400_000


class Tags(HTMLParser):
    """The tags of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


PATHS = ["/", "/?all=1&find=img", "/stream?name=plant/pump-03", "/incident?id=plant/pump-02|"
         "health.frozen.temperature|10", "/incident?id=plant/pump-03|combined|500"]


@pytest.mark.parametrize("path", [*PATHS, "hostile"])
def test_names_are_data_and_no_markup(client, path):
    if path == "hostile":
        path = "/stream?name=" + urllib.request.quote(stream_of("plant", HOSTILE))
    answer = client.get(path)
    tags = Tags(answer.text)
    assert answer.status_code == 200 and "&lt;img src=x onerror=alert(1)&gt;" in answer.text
    assert "\u202e" not in answer.text and ">49<" not in answer.text
    assert not {"img", "style", "iframe"} & {tag for tag, _ in tags.found}
    assert [values for tag, values in tags.found if tag == "script"] == [
        {"src": "/page.js", "defer": None}]
    names = {name for _, values in tags.found for name in values}
    assert not [name for name in names if name == "style" or name.startswith("on")]
    assert all(values[name].startswith(("/", "#")) or values[name] == "data:,"
               for _, values in tags.found for name in ("href", "src", "action") if name in values)
    ids = [values["id"] for _, values in tags.found if "id" in values]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", ["/stream", "/stream?name=none", "/incident?id=none",
                                  f"/incident?id={'x' * 5000}", "/incident?id=%00%ff",
                                  "/stream?name=plant/pump-03&span=never"])
def test_what_is_not_there_is_said_in_a_sentence(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404) and 'class="notice"' in answer.text
    assert "Traceback" not in answer.text and len(answer.text) < 4000


def test_an_incident_says_how_sure_since_when_and_who_knows(client):
    text = re.sub(r"\s+", " ", client.get("/incident?id=plant/pump-03|combined|500").text)
    assert "2023-11-14 22:10:00 UTC</time> <small>(3 min ago)</small>" in text
    assert "severity 0.97 of 1: 1 in 40,000 normal windows looks as odd; 9 windows flagged" in text
    assert re.search(r"temperature</span>.*?30 %", text) and "HTTP 404 no_service" in text
    assert "threshold: 1 in 1,000" in text and text.count("<figure") == 4
    assert re.search(r"22:10:20 UTC</time> <small>.*?</small> by slack <b>\(refused for g", text)
    text = client.get("/").text
    assert text.count("nobody: no receiver takes it") == 1 and text.count("not delivered yet") == 1
    assert "16 of 20 streams well" not in text and "15 of 20 streams well" in text
    assert "It repeats one value" in text or "it repeats one value" in text


def test_a_store_that_is_not_there_yet_is_shown_as_soon_as_it_is(tmp_path):
    engine = Engine()
    with Client(http.app(engine, tmp_path / "alerts.db")) as client:
        answer = client.get("/")
        assert answer.status_code == 503 and "no alert store at" in answer.text
        assert "The engine is judging" in answer.text and not list(tmp_path.iterdir())
        AlertStore(tmp_path / "alerts.db").close()
        answer = client.get("/")
        assert answer.status_code == 200 and "No row was judged yet" in answer.text
        engine.ready = False
        text = re.sub(r"\s+", " ", client.get("/?x").text)
        for part in ("does not judge as it should: &lt;img", "a receiver is slow, since",
                     "not ready</span> plant:1", "judging</span> plant:0"):
            assert part in text
        (tmp_path / "alerts.db").unlink()
        assert client.get("/?y").status_code == 503
    with Client(http.app(engine)) as client:
        assert "alert_config.storage" in client.get("/").text


def test_a_store_that_is_locked_is_said_and_health_goes_on(store, monkeypatch):
    monkeypatch.setattr(page, "_PATIENCE", 0.2)
    holder = sqlite3.connect(store.path)
    holder.execute("BEGIN EXCLUSIVE")
    with Client(http.app(Engine(), store)) as client:
        client.get("/")
        answer = client.post("/act", data={"do": "close", "id": "plant/pump-03|combined|500"})
        assert answer.status_code == 503 and answer.text.startswith("not done: the alert store")
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        holder.rollback()
        monkeypatch.setattr(page, "_PATIENCE", 8.0)
        assert client.get("/").status_code == 200


def test_a_page_that_has_not_changed_is_not_sent_again(client, store):
    tag = client.get("/").headers["etag"]
    known = {"If-None-Match": tag}
    assert client.get("/", headers=known).status_code == 304
    assert client.get("/?all=1", headers=known).status_code == 200
    keep(store, [opened(incident("pump-15"))])
    fresh = client.get("/", headers=known)
    assert fresh.status_code == 200 and "plant/pump-15</a>: anomaly" in fresh.text
    known = {"If-None-Match": fresh.headers["etag"]}
    assert client.get("/", headers=known).status_code == 304
    client.post("/act", data={"do": "acknowledge", "id": "plant/pump-15|combined|500"})
    assert client.get("/", headers=known).status_code == 200


def test_a_notebook_gets_the_same_view_without_what_acts(store):
    shown = page.view(store, clock=lambda: NOW)
    assert shown._repr_html_() == str(shown) and "plant/pump-03: anomaly" in shown
    assert not re.search(r"<(script|form|button|link|a|html|body)\b", shown)
    assert shown.startswith("<style>") and "&lt;img src=x" in shown and "<img" not in shown
    assert "url(" not in shown.replace("url(#adlib-hatch)", "")


def test_streams_that_count_seconds_are_shown_as_they_count(tmp_path):
    found = replace(incident(None), id="plant|combined|500", stream="plant", opened_at=400.0,
                    last_at=500.0)
    trace = judged([None], now=599.0)
    with AlertStore(tmp_path / "a.db") as store:
        keep(store, [opened(found)], [trace])
        board = page.Board(store, clock=lambda: NOW)
        text = page.render("overview", query={}, **board.overview({}))
        board.act({"do": "silence", "id": found.id, "for": "10min"})
        (silence,) = store.silences()
        board.close()
    assert "400 s</time>" in text and "ago)" not in text
    assert silence.until == 1199.0 and silence.stream == "plant"


# -- signals ------------------------------------------------------------------------------------


def test_a_line_is_broken_where_rows_are_missing():
    trace = judged(["a"])
    values = trace.values.copy()
    values[100:150, 0], values[:, 1], values[7, 2], values[300, 2] = np.nan, 5.0, np.inf, -np.inf
    trace = replace(trace, values=values, time=trace.time + 500 * (trace.seq >= 400))
    found = signal(trace, [incident("a")])
    temperature, constant, pressure = found["panels"][1:]
    assert temperature["path"].count("M") == 3 and constant["path"].count("M") == 2
    assert (constant["low"], constant["high"]) == (5.0, 5.0) and "nan" not in str(found)
    assert pressure["path"].count("M") == 4 and "inf" not in str(found)
    ys = [float(y) for y in re.findall(r" ([\d.]+)", temperature["path"])]
    assert min(ys) >= 0 and max(ys) <= 100 and found["shades"][0]["x"] > 700


@pytest.mark.parametrize("rows", [slice(0, 0), slice(9, 10), slice(0, 5), slice(590, None)])
def test_few_rows_are_drawn_too(rows):
    trace = judged(["a"]).take(rows)
    found = signal(trace, [incident("a")])
    assert (found is None) == (not len(trace))
    if found:
        assert len(found["panels"]) in (3, 4) and "nan" not in str(found["panels"])


@pytest.mark.filterwarnings("error")
def test_numbers_of_any_size_are_drawn():
    trace = judged(["a"])
    values = trace.values.copy()
    values[::7, 0], values[1::7, 0], values[:, 1] = 1.7e308, -1.7e308, 1e-320
    trace = replace(trace, values=values, p_value=np.where(trace.seq % 2, 0.0, 1.0), alpha=None)
    found = signal(trace, [replace(incident("a"), state="closed", closed_at=9e307, last_at=9e307)])
    assert not re.search("nan|inf", str([panel["path"] for panel in found["panels"]]))
    assert found["shades"][0]["x"] + found["shades"][0]["width"] <= 1000.1
    assert all(0 <= float(y) <= 100 for y in re.findall(r" ([-\d.]+)", found["panels"][1]["path"]))


def test_a_long_signal_is_thinned_and_keeps_its_peaks():
    trace = judged([f"m{k}" for k in range(60)])
    time, n = np.arange(len(trace)) + NOW, len(trace)
    values = trace.values.copy()
    values[n // 2, 2] = 1000.0
    trace = replace(trace, entities=("a",), code=np.zeros(n, int), time=time, values=values)
    found = signal(trace, [], ["pressure"])
    pressure = found["panels"][1]
    assert pressure["title"] == "pressure" and pressure["path"].count("L") < 1100
    assert pressure["high"] == 1000.0 and " 5.0" in pressure["path"]


# -- what is decided ----------------------------------------------------------------------------


def test_decisions_reach_the_store(client, store):
    def act(**form):
        return client.post("/act", data=form, headers={"X-Page": "1"})

    first = "plant/pump-03|combined|500"
    assert act(do="acknowledge", id=first).text == "acknowledged: plant/pump-03"
    assert act(do="close", id=first).text == "closed: plant/pump-03"
    assert (store.incident(first).acknowledged, store.incident(first).state) == (True, "closed")
    dead = store.outbox(state="dead")[0].id
    assert act(do="replay", id=dead).text.endswith("will be sent again")
    assert store.outbox(state="dead") == []
    answer = client.post("/act", data={"do": "acknowledge", "id": "plant/pump-07|combined|500",
                                       "back": "/incident?id=plant/pump-07|combined|500"})
    assert answer.status_code == 303 and answer.headers["location"].startswith("/incident?id=")


@pytest.mark.parametrize(("form", "status"), [
    ({}, 400), ({"do": "drop"}, 400), ({"do": "ignore", "id": "x"}, 400),
    ({"do": "acknowledge"}, 404), ({"do": "close", "id": "none"}, 404),
    ({"do": "unsilence", "id": "none"}, 404), ({"do": "replay", "id": ""}, 404),
    ({"do": "discard"}, 404), ({"do": "false", "id": "none"}, 404),
    ({"do": "silence", "id": "plant/pump-03|combined|500", "for": "never"}, 400),
    ({"do": "silence", "id": "plant/pump-03|combined|500", "for": "-2h"}, 400),
    ({"do": "silence", "id": "plant/pump-03|combined|500", "for": "5"}, 400),
    ({"do": "x" * 70_000}, 400), ({f"k{i}": "" for i in range(60)}, 400)])
def test_what_cannot_be_is_refused_in_a_sentence(client, store, form, status):
    client.get("/")  # makes a table of answers
    before = list(store._db.iterdump())
    answer = client.post("/act", data=form)
    assert answer.status_code == status and answer.text.startswith("not done: ")
    assert "\n" not in answer.text and len(answer.text) < 600
    assert list(store._db.iterdump()) == before


@pytest.mark.parametrize(("entity", "scope", "hits"), [
    (HOSTILE, "stream", {HOSTILE}), ("pump-03", "feature", {"pump-03"}),
    ("pump-03", "fleet", {"pump-03", "pump-07", HOSTILE})])
def test_a_silence_holds_for_what_was_asked(client, store, entity, scope, hits):
    found = next(i for i in store.incidents(state="open") if i.stream == stream_of("plant", entity))
    answer = client.post("/act", headers={"X-Page": "1"}, data={
        "do": "silence", "id": found.id, "for": "3h", "scope": scope, "who": "Ada \u202e",
        "comment": f" bearing {HOSTILE}"})
    (silence,) = store.silences()
    assert answer.text.startswith("silenced: ") and "2023-11-15 01:13:20 UTC" in answer.text
    assert silence.author == "Ada ?" and silence.comment.startswith("bearing <img")
    assert silence.until == NOW + 3 * 3600
    shown = page.Board(store, clock=lambda: NOW)
    cards = {card["incident"].stream: card["silenced"] for card in shown.overview({})["cards"]
             if card["incident"].kind == "anomaly"}
    shown.close()
    assert {name for name, quiet in cards.items() if quiet} == {
        stream_of("plant", name) for name in hits}
    manager = AlertManager()
    manager.apply(store.operator_state("plant", 5))
    assert client.post("/act", data={"do": "unsilence", "id": silence.id}).status_code == 303
    assert store.silences()[0].until == 0


def test_a_machine_is_silenced_before_somebody_works_on_it(client, store, board):
    assert "Silence…" in client.get("/stream?name=plant/pump-00").text
    client.post("/act", data={"do": "silence", "id": "", "stream": "plant/pump-00", "for": "1d",
                              "comment": "new bearing", "scope": "fleet"})
    (silence,) = store.silences()
    assert (silence.stream, silence.until) == ("plant/*", NOW + 86_400)
    with pytest.raises(KeyError, match="no stream 'plant'"):
        board.act({"do": "silence", "stream": "plant"})


def test_the_fleets_own_name_has_no_signal(client, store):
    keep(store, [opened(incident(None, 10, condition="drift", detail="scores have moved"))])
    shown = client.get("/stream?name=plant")
    assert shown.status_code == 200 and "No judged row is kept" in shown.text
    assert "15 of 20 streams well" in client.get("/").text


def test_a_silence_may_let_critical_incidents_through(board, store):
    board.act({"do": "silence", "id": "plant/pump-03|combined|500", "for": "1h", "less": "1"})
    assert store.silences()[0].severity == "warning" and store.silences()[0].author


def test_a_long_name_has_a_pattern_too(board, store):
    found = incident("x[*" * 200)
    keep(store, [opened(found)])
    board.act({"do": "silence", "id": found.id})
    assert len(store.silences()[0].stream) < 500
    card = next(c for c in board.overview({})["cards"] if c["incident"].id == found.id)
    assert card["silenced"]


def test_answers_teach_by_the_rows_of_their_incident(client, store):
    name = "plant/pump-03|combined|500"

    def act(what, **more):
        return client.post("/act", data={"do": what, "id": name, **more},
                           headers={"X-Page": "1"}).text

    assert act("false", who="Ada", comment="cleaning") == "answered: false alarm"
    with FeedbackStore(store.path, create=False) as answers:
        (answer,) = answers.answers(stream="plant/pump-03")
        assert (answer.verdict, answer.who, answer.note, answer.target) == (
            "false", "Ada", "cleaning", name)
        assert len(answer.rows) == 100 and len(answer.rows[0]) == 3 and answer.rows[0][1] > 24
        assert store.incident(name).acknowledged and answer.time == NOW
        assert "✗ false alarm, says Ada" in re.sub(r"\s+", " ", client.get("/").text)
        assert act("withdrawn") == "answer taken back"
        assert answers.answers() == [] and "false alarm, says" not in client.get("/").text
        assert act("known") == "answered: known cause"
        assert [a.verdict for a in answers.history()] == ["false", "withdrawn", "known"]


@pytest.mark.parametrize("address", ["https://adlib.example/", "http://127.0.0.1:8765"])
def test_a_message_links_to_its_incident(client, store, address, monkeypatch):
    found = incident(HOSTILE)
    assert "Page:" not in describe(opened(found), "alerts.db")[1]
    monkeypatch.setenv("ADLIB_PAGE", address)
    link = re.search(r"^Page: (\S+)$", describe(opened(found), "alerts.db")[1], re.MULTILINE)[1]
    assert link.startswith(f"{address.rstrip('/')}/incident?id=plant%2F") and "|" not in link
    keep(store, [opened(found)])
    assert "severity 0.97 of 1" in client.get(link.removeprefix(address.rstrip("/"))).text
    monkeypatch.setenv("ADLIB_PAGE", "javascript:alert(1)")
    assert "Page:" not in describe(opened(found), "alerts.db")[1]


# -- the commands -------------------------------------------------------------------------------


def test_the_command_serves_until_it_is_interrupted(store):
    with subprocess.Popen([sys.executable, "-m", "adlib.realtime", "page", "--store", store.path,
                           "--serve", "0"], stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "ADLIB_TOKEN": TOKEN}) as process:
        try:
            address = re.search(r"http://\S+", process.stderr.readline())[0]
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(address, timeout=20)
            request = urllib.request.Request(address, headers={"Authorization": f"Bearer {TOKEN}"})
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert b"pump-03" in answer.read()
        finally:
            process.send_signal(signals.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(("words", "token", "says"), [
    (["--token-file", "none"], TOKEN, "none cannot be read"),
    (["--token-file", "."], TOKEN, "cannot be read"), ([], "short", "ADLIB_TOKEN must hold"),
    (["--serve", "here"], TOKEN, "--serve must be [HOST:]PORT")])
def test_the_command_refuses_in_one_sentence(words, token, says, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ADLIB_TOKEN", token)
    monkeypatch.chdir(tmp_path)
    assert main(["page", *words]) == 2
    said = capsys.readouterr().err.splitlines()
    assert says in said[-1] and said[-1].startswith("page: ")


# -- a browser ----------------------------------------------------------------------------------


@pytest.fixture
def served(store, monkeypatch):
    """Address of the page of the twenty machines."""
    need_browser()
    monkeypatch.setattr(page, "Board", functools.partial(page.Board, clock=lambda: NOW))
    with http.served(http.app(store=store), "0") as url:
        yield url


@contextlib.contextmanager
def visited(url, faults=True, **context):
    """A browser at the page, without a network; what it asked of others, or found wrong."""
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)
    with browser(network=False, **context) as tab:
        tab.set_default_timeout(20_000)
        wrong = []
        tab.on("request", lambda request: request.url.startswith((url, "data:"))
               or wrong.append(f"asked for: {request.url}"))
        tab.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        tab.on("console", lambda line: wrong.append(f"console: {line.text}")
               if faults and line.type in ("error", "warning") else None)
        tab.on("dialog", lambda dialog: wrong.append("a name opened a dialog"))
        tab.goto(url, wait_until="load")
        yield tab
        assert wrong == []


def card(tab, name):
    return tab.locator(".card").filter(has=tab.get_by_role("link", name=name, exact=True))


def until(tab, truth):
    """Wait for what the store says, without blocking the browser."""
    for _ in range(200):
        if truth():
            return
        tab.wait_for_timeout(50)
    raise AssertionError("it did not come true in 10 s")


@pytest.mark.browser
def test_an_incident_appears_and_is_handled_by_clicks(served, store):
    from playwright.sync_api import expect

    name = "plant/pump-15|combined|500"
    with visited(served) as tab:
        expect(tab.locator(".card")).to_have_count(4)
        expect(tab).to_have_title("1 critical, 2 warning, 1 info, adlib")
        tab.locator("#you input").fill("Ada")
        first = card(tab, "plant/pump-03")
        first.get_by_text("Silence…").click()
        first.get_by_label("Comment").fill("bearing")
        keep(store, [opened(incident("pump-15", ago=30))])
        fresh = card(tab, "plant/pump-15")
        expect(fresh).to_be_visible()
        store.end("plant/pump-03|combined|500")  # while somebody writes about it
        expect(tab.locator("#closed")).to_contain_text("plant/pump-03")
        expect(tab).to_have_title("1 critical, 2 warning, 1 info, adlib")
        expect(first.get_by_label("Comment")).to_have_value("bearing")  # what is typed stays

        first.get_by_label("For").fill("30min")
        first.get_by_role("button", name="Silence", exact=True).click()
        expect(first).to_have_count(0)
        expect(tab.locator("#silences")).to_contain_text("bearing")
        (silence,) = store.silences()
        assert (silence.stream, silence.comment, silence.author, silence.until) == (
            "plant/pump-03", "bearing", "Ada", NOW + 1800)
        fresh.get_by_role("button", name="Acknowledge").click()
        expect(fresh).to_contain_text("✓ acknowledged")
        expect(tab.get_by_role("status")).to_have_text("acknowledged: plant/pump-15")
        assert store.incident(name).acknowledged
        fresh.get_by_role("button", name="False alarm").click()
        expect(fresh).to_contain_text("✗ false alarm, says Ada")
        fresh.get_by_role("button", name="Close").click()
        expect(fresh).to_have_count(0)
        expect(tab.locator("#closed")).to_contain_text("plant/pump-15")
        tab.locator("#silences").get_by_role("button", name="End").click()
        until(tab, lambda: store.silences()[0].until == 0)
        tab.locator("#outbox").get_by_role("button", name="Give up").click()
        until(tab, lambda: not store.outbox(state="dead"))


@pytest.mark.browser
def test_keys_do_what_clicks_do_to_the_marked_incident_alone(served, store):
    from playwright.sync_api import expect

    with visited(served) as tab:
        marked = tab.locator(".card[aria-current=true]")
        expect(marked).to_contain_text("plant/pump-03")
        tab.keyboard.press("Control+a")  # the browser's own
        keep(store, [opened(incident("pump-15", ago=30))])  # comes first from now on
        expect(tab.locator(".card").first).to_contain_text("plant/pump-15")
        expect(marked).to_contain_text("plant/pump-03")
        assert not any(i.acknowledged for i in store.incidents())
        tab.keyboard.press("a")
        until(tab, lambda: store.incident("plant/pump-03|combined|500").acknowledged)
        tab.keyboard.press("k")
        tab.keyboard.press("s")
        for letter in "ack, then sleep":  # letters that would act elsewhere
            tab.keyboard.type(letter)
            keep(store, [opened(incident("pump-16", ROWS - len(store.incidents()), ago=9))])
            tab.wait_for_timeout(120)
        silenced = marked.get_by_text("silenced", exact=True)
        tab.keyboard.press("Enter")
        expect(silenced).to_be_visible()
        assert store.silences()[0].comment == "ack, then sleep"
        name = marked.get_attribute("data-key")
        tab.keyboard.press("f")
        expect(marked).to_contain_text("✗ false alarm")
        tab.keyboard.press("u")
        expect(marked.get_by_role("button", name="False alarm")).to_be_visible()
        tab.keyboard.press("c")
        until(tab, lambda: store.incident(name).state == "closed")
        expect(marked).to_have_count(0)
        before = list(store._db.iterdump())
        tab.keyboard.press("c")  # nothing is marked: this only marks
        expect(marked).to_have_count(1)
        assert list(store._db.iterdump()) == before
        tab.keyboard.press("/")
        tab.keyboard.type("öl")
        expect(tab.locator("#fleet tbody tr")).to_have_count(1)
        tab.keyboard.press("Escape")
        tab.keyboard.press("j")
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("heading", name="What happened")).to_be_visible()
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.href").endswith("/")


@pytest.mark.browser
def test_when_the_network_is_cut_nothing_is_missing_and_nothing_is_lost(served, store):
    from playwright.sync_api import expect

    with visited(served, faults=False) as tab:
        expect(tab.locator(".card")).to_have_count(4)
        whole = tab.locator("main").inner_text()
        tab.context.set_offline(True)
        link = tab.get_by_role("alert")
        expect(link).to_contain_text("No connection to adlib. What you see is of")
        assert tab.locator("main").inner_text() == whole
        keep(store, [opened(incident("pump-15", ago=30))])
        first = card(tab, "plant/pump-03")
        first.get_by_role("button", name="Acknowledge").click()
        expect(tab.get_by_role("status")).to_have_text("not done: no connection to adlib")
        assert not store.incident("plant/pump-03|combined|500").acknowledged
        tab.context.set_offline(False)
        expect(link).to_be_hidden()
        expect(card(tab, "plant/pump-15")).to_be_visible()
        first.get_by_role("button", name="Acknowledge").click()
        until(tab, lambda: store.incident("plant/pump-03|combined|500").acknowledged)


@pytest.mark.browser
def test_a_page_outlives_its_server(store):
    from playwright.sync_api import expect

    need_browser()
    with http.served(http.app(store=store), "0") as url:
        where = url.rpartition(":")[2]
        stack = contextlib.ExitStack()
        tab = stack.enter_context(visited(url, faults=False))
        expect(tab.locator(".card")).to_have_count(4)
    with stack:
        expect(tab.get_by_role("alert")).to_contain_text("No connection to adlib")
        keep(store, [opened(incident("pump-15", ago=30))])
        with http.served(http.app(store=store), where):
            expect(card(tab, "plant/pump-15")).to_be_visible()
            expect(tab.get_by_role("alert")).to_be_hidden()


CONTRAST = """() => {
    const channel = v => v <= 10.31 ? v / 3294.6 : ((v / 255 + .055) / 1.055) ** 2.4;
    const parse = c => c.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
    const odd = [];
    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some(n => n.nodeType === 3 && n.nodeValue.trim());
        if (!own || !node.checkVisibility() || node.closest('kbd, option, datalist')) continue;
        let back = node, colour = [0, 0, 0, 0];
        while (back && !(colour.length === 3 || colour[3] > 0)) {
            colour = parse(getComputedStyle(back).backgroundColor);
            back = back.parentElement;
        }
        const pair = [light(parse(getComputedStyle(node).color)), light(colour)];
        const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
        if (ratio < 4.5) odd.push([node.outerHTML.slice(0, 80), ratio]);
    }
    return odd;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1300])
def test_it_is_readable_on_a_phone_and_in_the_dark(served, width, scheme, store):
    keep(store, [opened(incident("W" * 300))])
    with visited(served, viewport={"width": width, "height": 800}, color_scheme=scheme) as tab:
        for path in (*PATHS, "/incident?id=" + "plant/" + "W" * 300 + "|combined|500"):
            tab.goto(served + path)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate(CONTRAST) == []
            heights = tab.locator("button:visible, summary:visible").evaluate_all(
                "all => all.map(x => x.getBoundingClientRect().height)")
            assert min(heights, default=99) >= (40 if width == 400 else 30)
            # a level is a word beside a colour
            levels = tab.locator(".level").evaluate_all("all => all.map(x => x.innerText.trim())")
            assert all(levels)


@pytest.mark.browser
def test_without_a_script_forms_work(served, store):
    from playwright.sync_api import expect

    with visited(served, java_script_enabled=False) as tab:
        first = card(tab, "plant/pump-03")
        first.get_by_role("button", name="Acknowledge").click()
        expect(first).to_contain_text("✓ acknowledged")
        first.get_by_text("Silence…").click()
        first.get_by_label("Comment").fill("by hand")
        first.get_by_role("button", name="Silence", exact=True).click()
        expect(tab.locator("#silences")).to_contain_text("by hand")
        assert tab.url == f"{served}/" and store.silences()[0].comment == "by hand"


@pytest.mark.browser
def test_a_browser_shows_the_token_once(store):
    from playwright.sync_api import expect

    need_browser()
    with http.served(http.app(store=store, token=TOKEN), "0", token=TOKEN) as url, visited(
            url, faults=False) as tab:
        expect(tab.locator(".card")).to_have_count(0)
        tab.keyboard.type(TOKEN)
        tab.keyboard.press("Enter")
        expect(tab.locator(".card")).to_have_count(4)
        card(tab, "plant/pump-03").get_by_role("button", name="Acknowledge").click()
        until(tab, lambda: store.incident("plant/pump-03|combined|500").acknowledged)
        tab.context.clear_cookies()
        expect(tab.get_by_role("heading", name="Token")).to_be_visible()  # asked for again


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """A fleet of twenty that is judged in a thread: address of its page, store, and a switch."""
    need_browser()
    rng, names = np.random.default_rng(0), [f"pump-{k:02d}" for k in range(20)]
    X = rng.normal(size=(20_000, 3))
    engine = RealTimeAnomalyDetector({
        "stream": "plant", "fleet": {}, "deep_config": None, "stat_config": None,
        "detectors": ["PCAReconstruction"], "window_size": 20, "stride": 5, "alpha": 0.005,
        "batch_seconds": 0.05, "feature_names": ["flow", HOSTILE, "level"],
        "alert_config": {"storage": {"path": tmp_path / "alerts.db", "commit_seconds": 1}}})
    engine.fit(X, entity=[names[k % 20] for k in range(len(X))])
    broken, ended = threading.Event(), threading.Event()

    async def source():
        seq = 0
        while not ended.is_set():
            values = rng.normal(size=(20, 3))
            values[3] += 8 * broken.is_set()
            yield Sample(seq, np.full(20, time.time()), values, entity=names)
            seq += 20
            await asyncio.sleep(0.05)

    async def judge():
        async for _ in engine.process_stream(source()):
            pass

    thread = threading.Thread(target=asyncio.run, args=(judge(),))
    thread.start()
    try:
        with http.served(http.app(engine, tmp_path / "alerts.db"), "0") as url:
            yield url, engine, broken
    finally:
        ended.set()
        thread.join(30)
        engine.store.close()


@pytest.mark.browser
def test_a_fault_in_a_fleet_that_is_judged_appears_and_is_handled(plant):
    from playwright.sync_api import expect

    url, engine, broken = plant
    with visited(url, faults=False) as tab:
        expect(tab.locator("#fleet tbody tr")).to_have_count(20)
        expect(tab.locator("#health")).to_contain_text("judging")
        began = time.monotonic()
        broken.set()
        fresh = card(tab, "plant/pump-03").filter(has_text="anomaly")
        expect(fresh).to_be_visible()
        print(f"{time.monotonic() - began:.2f} s from the fault to the page")
        found = next(i for i in engine.store.incidents() if i.stream == "plant/pump-03")
        expect(fresh.locator("figure")).not_to_have_count(0)
        fresh.focus()
        tab.keyboard.press("a")
        expect(fresh).to_contain_text("✓ acknowledged")
        fresh.get_by_text("Silence…").click()
        fresh.get_by_role("button", name="Silence", exact=True).click()
        expect(fresh).to_contain_text("silenced")
        stored = engine.store.incident(found.id)
        assert stored.acknowledged and engine.store.silences()[0].stream == "plant/pump-03"
        until(tab, lambda: engine.store.operator_state("plant", engine.position)["silences"])
        fresh.get_by_role("link", name="details").click()
        expect(tab.locator("figure")).to_have_count(4)
        tab.goto(f"{url}/stream?name=plant/pump-03")
        expect(tab.locator("main > p").first).to_contain_text("windows judged, by its")


def test_a_store_that_is_a_folder_is_refused(tmp_path, capsys):
    from adlib.realtime.__main__ import main

    assert main(["page", "--store", str(tmp_path), "--serve", "0"]) == 2
    assert "--store must name a file" in capsys.readouterr().err
