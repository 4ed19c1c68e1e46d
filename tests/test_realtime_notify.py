"""Notifications against real servers on loopback: nothing lost, order kept, no secret shown."""

import asyncio
import html
import json
import logging
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest
from pydantic import ValidationError
from realtime_servers import SECRET_PATH, MailServer, SlackServer

from adlib.realtime.channels import Outcome
from adlib.realtime.doors.http import retry_after
from adlib.realtime.doors.mail import EmailConfig
from adlib.realtime.doors.messages import describe
from adlib.realtime.doors.slack import slack_message
from adlib.realtime.events import Incident, IncidentEvent, Verdict
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.notify import NotificationConfig, NotificationService
from adlib.realtime.store import AlertStore, OutboxRow

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH")  # no TLS on loopback


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def store(tmp_path):
    with AlertStore(tmp_path / "alerts.db") as store:
        yield store


@pytest.fixture
def slack():
    with SlackServer() as server:
        yield server


@pytest.fixture
def clock():
    return Clock()


def steps(stream="rig", repeats=2):
    """An opening, so many repeats and a close."""
    manager = AlertManager(IncidentConfig(open_after=1, open_within=1, close_after=1,
                                          repeat_interval=10))
    windows = [Verdict(stream, 10 * k, 10 * k + 99, 10.0 * k, 0.01, 0.8, "warning",
                       k <= repeats, {}, (("temperature", 0.7),)) for k in range(repeats + 2)]
    return [event for window in windows for event in manager.step(window)]


def service(store, clock, *, slack=None, email=None, timeout=5.0, **kwargs):
    config = NotificationConfig(
        slack=slack and {"webhook_url": slack, "timeout": timeout}, email=email)
    return NotificationService(config, store, clock=clock, rng=random.Random(0), **kwargs)


def deliver(service, events=(), passes=1, clock=None):
    """Commit messages, then look into the outbox; between passes, wait for the next message."""
    async def go():
        service.store.commit("rig", 0, b"", [], events, [], service.rows(events))
        tries = []
        for _ in range(passes):
            tries.append(await service.deliver_due())
            tried = [row.due for row in service.store.outbox(state="pending") if row.attempts]
            if clock is not None and tried:
                clock.now = max(clock.now, min(tried))
        await service.close()
        return tries
    return asyncio.run(go())


def numbers(payloads):
    """Step numbers in Slack payloads."""
    return [int(p["blocks"][1]["text"]["text"].rpartition("|")[2]) for p in payloads]


# ------------------------------------------------------------------ messages


def test_the_message_says_what_when_how_bad_and_what_to_do():
    event = steps()[1]
    incident = replace(event.incident, opened_at=1.7e9, severity="critical", peak_score=0.953)
    subject, text = describe(replace(event, incident=incident, time=1.7e9 + 60), "my alerts.db")
    assert subject == "[CRITICAL] rig: anomaly goes on (temperature)"
    for part in ("2023-11-14 22:14:20 UTC", "since 2023-11-14 22:13:20 UTC", "critical, peak 0.95",
                 "2 windows flagged", "temperature (0.70)", "Incident: rig|combined|0",
                 "alerts ack 'rig|combined|0' --store 'my alerts.db'", "|repeat|1"):
        assert part in text
    _, closed = describe(steps()[-1], "alerts.db")
    assert "Acknowledge" not in closed
    assert "99999999999999 s" in describe(replace(event, time=99999999999999.0), "a.db")[1]


def test_health_says_what_is_wrong_and_where():
    def told(group, kind="open", top=(), **more):
        incident = Incident(f"rig|{group}|7", "rig", 0, 9, 1.7e9, 1.7e9, None, "warning",
                            float("nan"), 0, top, "open", False, "health", "no row for 90 s")
        return describe(IncidentEvent(kind, incident, 1.7e9, True, 0), "a.db")

    assert told("health.no_data")[0] == "[WARNING] rig: no data (health)"
    assert (told("health.channel.slack", "repeat")[0]
            == "[WARNING] rig: channel dead goes on (slack)")
    subject, text = told("health.missing.t-1", "close", (("t 1", 1.0),))
    assert subject == "[WARNING] rig: feature missing is over (t 1)"
    assert "What: no row for 90 s" in text and "peak" not in text and "flagged" not in text


HOSTILE = {
    "newline": "flow\nAcknowledge: sh evil", "return": "flow\rAcknowledge:", "nul": "a\0b",
    "override": "\u202etxt.exe", "isolate": "a\u2066b\u2069", "terminal": "\x1b]0;x\x07\x1b[2J",
    "zero width": "te\u200bmp\ufeff\u3164\u00ad", "line separator": "a\u2028b\x85c",
    "long": "k" * 10_000, "markup": "*b* _i_ `c` ~s~ <!channel> &amp; <b>x</b> [y](http://z)",
    "surrogate": "caf\udce9", "list": 'a (1.00), "b" (0.50)', "empty": "", "blank": "  "}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_no_name_forges_a_line_or_steers_a_reader(name, store, clock, slack):
    stream = name.replace("\udce9", "?")  # no stream can be called so, but a feature can
    incident = Incident(f"{stream}|combined|0", stream, 0, 1, 1.7e9, 1.7e9, None, "critical", 0.9,
                        1, ((name, 0.7), (name, 0.3)), "open", False, "health", f"lost {name}")
    for event in (IncidentEvent("open", replace(incident, kind=kind), 1.7e9, True, 0)
                  for kind in ("anomaly", "health")):
        subject, text = describe(event, f"{name[:300]}.db".replace("\0", ""))
        assert (subject + text.replace("\n", "")).isprintable() and "\n" not in subject
        assert len(subject) < 220 and len(text.splitlines()) <= 7
        starts = [line.partition(":")[0] for line in text.splitlines()]
        assert "Top features: flow?Acknowledge:" not in text  # a name with a colon is in quotes
        assert starts == [w for w in ("When", "How bad", "Top features", "What", "Incident",
                                      "Acknowledge", "Message")
                          if w != "Top features" or event.incident.kind == "anomaly"]
        payload = slack_message(subject, text)
        parts = [block["text"] for block in payload["blocks"]]
        assert {part["type"] for part in parts} == {"plain_text"} and not payload["mrkdwn"]
        assert max(len(part["text"]) for part in parts) <= 3000
        whole = html.unescape("".join(part["text"] for part in parts)).replace("\n", "")
        assert whole == (subject + text).replace("\n", "")  # nothing is cut
    with MailServer() as server:
        deliver(service(store, clock, slack=slack.url, email=mail(server.port)), [event])
        assert {row.state for row in store.outbox()} == {"sent"}
        sent = headers(server.mails[0])
        assert sent["Subject"].strip() == subject
        assert (sent.get_content().replace("\r\n", "\n").rstrip("\n")
                == describe(event, str(store.path))[1])


@pytest.mark.parametrize("name", [
    "rig", "-x", "it's", 'a "b" $c `d` \\ e', "\u202ex\x1b\n'\\", "\U000e0100z", "&" * 300,
    "k" * 300, "caf\udce9"])
def test_the_command_of_a_message_acknowledges_as_it_stands(name, tmp_path):
    """Pasted into bash, also with a path that has blanks, quotes and odd characters."""
    incident = Incident(f"{name}|combined|0", name, 0, 1, 0, 0, None, "info", 0.1, 1, (), "open",
                        False)
    path = tmp_path / f"al'er \"ts\" $HOME {name[:9]}.db"
    _, text = describe(IncidentEvent("open", incident, 0.0, True, 0), str(path))
    command = text.partition("Acknowledge: ")[2].partition("\n")[0]
    assert command.isprintable() and command.startswith("python -m adlib.realtime alerts ack ")
    code = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    shell = f"exec '{sys.executable}' -c \"{code}\" " + command.partition("alerts ack ")[2]
    out = subprocess.run(["bash", "-c", shell], capture_output=True, check=True,
                         env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout
    words = [os.fsdecode(word) for word in out.split(b"\0")]
    store = words[words.index("--store") + 1]
    assert os.fsencode(store) == os.fsencode(path) and incident.id in words
    assert ("--" in words[:words.index(incident.id)]) == name.startswith("-")


def test_slack_text_is_escaped_and_goes_on_in_further_blocks():
    payload = slack_message("<!channel> & co", "&" * 900 + "\nlast")
    assert payload["text"] == "&lt;!channel&gt; &amp; co"
    assert [block["text"]["text"] for block in payload["blocks"][1:]] == [
        "&amp;" * 600, "&amp;" * 300 + "\nlast"]


def test_only_what_people_are_told_becomes_a_message(store, clock):
    manager = AlertManager(IncidentConfig(open_after=1, open_within=1, update_interval=0))
    events = [e for k in range(5) for e in manager.step(
        Verdict("rig", k, k, k, 0.01, 0.8, "warning", True, {}, ()))]
    assert [e.kind for e in events] == ["open"] + ["update"] * 4
    email = {"host": "localhost", "from": "a@b.c", "to": ["x@y.z", "u@v.w"]}
    rows = service(store, clock, slack="https://h/p", email=email).rows(events)
    assert [row.channel for row in rows] == ["slack", "email", "email"]
    assert len({row.id for row in rows}) == 3


@pytest.mark.parametrize(("header", "wait"), [
    (None, None), ("7", 7.0), ("0", 0.0), ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0), ("-1", None),
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("nan", None), ("9" * 400, 86_400.0), ("\u00b2", None)])
def test_retry_after(header, wait):
    assert retry_after(header, now=1000.0) == wait


# ------------------------------------------------------------------ Slack


def test_slack_gets_every_step_in_order(store, slack, clock):
    events = steps()
    assert deliver(service(store, clock, slack=slack.url), events) == [4]
    assert numbers(slack.taken) == [0, 1, 2, 3]
    assert slack.taken[0]["text"] == "[WARNING] rig: anomaly (temperature)"
    assert {row.state for row in store.outbox()} == {"sent"} and store.backlog() == {}
    assert deliver(service(store, clock, slack=slack.url), events) == [0]  # known ids


@pytest.mark.parametrize(("answer", "state"), [
    ((200, "ok"), "sent"),
    ((200, ""), "sent"),
    ((200, '{"success": true}'), "sent"),
    ((200, '{"ok": true}'), "sent"),
    ((200, "<p>thanks</p>"), "sent"),
    ((201, "created"), "sent"),
    ((202, "accepted, access_denied is no word that stands alone"), "sent"),
    ((200, "invalid_payload"), "dead"),
    ((200, '{"ok": false, "error": "invalid_blocks"}'), "dead"),
    ((400, "invalid_payload"), "dead"),
    ((400, "what is this?"), "dead"),
    ((413, "too large"), "dead"),
    ((200, " <!DOCTYPE html><html>log in</html>"), "expires"),
    ((302, "moved", {"Location": "/elsewhere"}), "expires"),
    ((200, "no_service"), "expires"),
    ((200, '{"ok": false, "error": "channel_not_found"}'), "expires"),
    ((200, '{"success": false}'), "expires"),
    ((400, "user_not_found"), "expires"),
    ((401, ""), "expires"),
    ((403, "action_prohibited"), "expires"),
    ((404, "no_service"), "expires"),
    ((410, "channel_is_archived"), "expires"),
    ((200, '{"ok": false, "error": "ratelimited"}'), "pending"),
    ((400, "rollup_error"), "pending"),
    ((408, "timeout"), "pending"),
    ((429, "rate_limited", {"Retry-After": "30"}), "pending"),
    ((500, "rollup_error"), "pending"),
    ((503, "service_unavailable"), "pending"),
    ((200, "ok", {}, 0.4), "pending"),  # slower than the timeout
])
def test_what_each_answer_of_slack_means(store, slack, clock, answer, state):
    slack.script.append(answer)
    tell = service(store, clock, slack=slack.url, timeout=0.15 if len(answer) == 4 else 10.0)
    deliver(tell, steps(repeats=0)[:1])
    (row,) = store.outbox()
    assert row.state == {"expires": "pending"}.get(state, state) and row.attempts == 1
    tried = {"pending": "retry", "expires": "retry"}.get(state, state)
    assert tell.counters == {("slack", tried): 1}
    assert row.since == (clock.now if state == "expires" else None)
    assert ("slack" in tell.trouble()) == (tried == "retry")
    if state == "dead":
        assert str(answer[0]) in row.error
    if answer[0] == 429:
        assert row.due >= clock.now + 30


def test_receiver_down_then_up_loses_nothing_and_keeps_the_order(store, clock):
    server = SlackServer().start()
    url = server.url
    server.stop()
    tell, dues = service(store, clock, slack=url), []
    events = [*steps("rig"), *steps("pump")]
    deliver(tell, events)
    for _ in range(9):  # the heads of both incidents, again and again
        row = min(store.outbox(state="pending"), key=lambda row: (row.seq))
        dues.append(row.due - clock.now)
        assert 0 <= dues[-1] <= min(300.0, 2.0 ** (row.attempts - 1)) and row.error
        clock.now = max(row.due for row in store.outbox(state="pending"))
        deliver(service(store, clock, slack=url))
    assert {row.attempts for row in store.outbox()} == {0, 10}  # followers were not tried
    with server:
        server.script.extend([(503, "busy"), (500, "oops")])
        deliver(service(store, clock, slack=url), passes=30, clock=clock)
    assert {row.state for row in store.outbox()} == {"sent"}
    for stream in ("rig", "pump"):
        mine = [p for p in server.taken if stream in p["text"]]
        assert numbers(mine) == [0, 1, 2, 3]


class Down:
    """A channel that takes nothing."""

    name, batch, timeout = "down", 50, 1.0

    def rows(self, events, verdicts):
        return [OutboxRow(e.id, self.name, e.incident.id, e.time, e.to_dict()) for e in events]

    async def send(self, rows):
        return [Outcome("retry", "down")] * len(rows)

    async def close(self):
        pass


def test_pauses_grow_are_jittered_and_bounded(store, clock):
    tell = service(store, clock, channels=[Down()])
    events = [event for k in range(40) for event in steps(f"s{k}", 0)[:1]]

    async def go():
        store.commit("rig", 0, b"", [], events, [], tell.rows(events))
        for attempt in range(1, 15):
            rows = tell._claim(tell.channels[0])
            store.settle(await tell._send(tell.channels[0], rows))
            pauses = [row.due - clock.now for row in store.outbox()]
            longest = min(300.0, 2.0 ** (attempt - 1))
            assert len(set(pauses)) == 40 and min(pauses) >= 0 and max(pauses) <= longest
            assert 0.3 * longest < sum(pauses) / 40 < 0.7 * longest  # uniform from 0: full jitter
            clock.now += 400.0
            if attempt == 12:  # weeks later
                store._db.execute("UPDATE outbox SET attempts = 5000")
        await tell.close()

    asyncio.run(go())


def test_retry_after_is_honoured_for_the_whole_channel(store, slack, clock):
    slack.script.append((429, "rate_limited", {"Retry-After": "60"}))
    tell = service(store, clock, slack=slack.url)

    async def go():
        events = [*steps("rig", 0), *steps("pump", 0)]
        store.commit("rig", 0, b"", [], events, [], tell.rows(events))
        assert await tell.deliver_due() == 1  # then the channel rests, other incidents too
        clock.now += 59.9
        assert await tell.deliver_due() == 0
        clock.now += 2.0
        assert await tell.deliver_due() == 4
        await tell.close()

    asyncio.run(go())
    assert len(slack.received) == 5 and len(slack.taken) == 4


def test_permanent_errors_are_dead_at_once_and_replayed_in_order(store, slack, clock):
    slack.script.append((400, "invalid_payload"))
    deliver(service(store, clock, slack=slack.url), [*steps("rig"), *steps("pump")])
    assert [row.body["n"] for row in store.outbox(state="dead")] == [0]
    assert [row.body["n"] for row in store.outbox(state="pending")] == [1, 2, 3]  # wait behind it
    assert slack.taken[0]["text"].startswith("[WARNING] pump: anomaly")  # others do not
    assert deliver(service(store, clock, slack=slack.url)) == [0]
    assert store.replay_dead() == 1
    deliver(service(store, clock, slack=slack.url))
    assert numbers(p for p in slack.taken if "rig" in p["text"]) == [0, 1, 2, 3]


def test_a_dead_letter_holds_its_incident_back_for_the_longest_pause_alone(store, slack, clock):
    slack.script.append((400, "invalid_payload"))
    tell = service(store, clock, slack=slack.url)
    deliver(tell, steps())
    assert tell.trouble() == {}  # one message that cannot be sent is no dead channel
    clock.now += 299.0
    assert deliver(service(store, clock, slack=slack.url)) == [0]
    clock.now += 2.0
    assert deliver(service(store, clock, slack=slack.url)) == [3]
    assert numbers(slack.taken) == [1, 2, 3] and len(store.outbox(state="dead")) == 1
    store.replay_dead()
    deliver(service(store, clock, slack=slack.url))
    assert numbers(slack.taken) == [1, 2, 3, 0]


@pytest.mark.parametrize("answer", [
    (404, "no_service"), (302, "", {"Location": "/login"}), (200, "<html>log in</html>")])
def test_a_refusal_is_tried_again_for_the_stated_time(store, slack, clock, answer, caplog):
    config = NotificationConfig(slack={"webhook_url": slack.url}, give_up_after="2h")

    def again():  # a restart each time: what counts lies in the store
        tell = NotificationService(config, store, clock=clock, rng=random.Random(0))
        deliver(tell)
        return tell

    deliver(service(store, clock, slack=slack.url), steps(repeats=1)[:1])  # a good one before
    events, began = steps("pump", 1), clock.now
    store.commit("rig", 0, b"", [], events, [], service(store, clock, slack=slack.url).rows(events))
    slack.script.append((503, "busy"))  # that does not count
    again()
    clock.now += 10_000.0
    slack.script.extend([answer] * 3)
    first = clock.now
    for pause in (0.0, 3600.0, 3599.0):
        clock.now += pause
        tell = again()
        (row,) = [row for row in store.outbox(state="pending") if row.error]
        assert row.since == first and tell.trouble()["slack"] == (first, row.error)
    assert str(answer[0]) in row.error and began < first
    clock.now += 300.0
    slack.script.append(answer)
    tell = again()
    (dead,) = store.outbox(state="dead")
    assert dead.error.startswith("given up after 7499 s: HTTP ") and "given up" in caplog.text
    assert tell.counters == {("slack", "dead"): 1} and "slack" in tell.trouble()
    clock.now += 301.0  # repaired: what came later goes on, and the dead letter can be replayed
    assert again().trouble() == {} and store.replay_dead() == 1
    assert store.outbox(state="pending")[0].since is None
    again()
    assert numbers(slack.taken)[-3:] == [1, 2, 0] and store.backlog() == {}


def test_a_refused_login_is_not_tried_by_every_message(store, slack, clock):
    slack.script.extend([(403, "invalid_token")] * 400)
    tell = service(store, clock, slack=slack.url)
    deliver(tell, [event for k in range(100) for event in steps(f"s{k}", 0)[:1]])
    assert len(slack.received) == 4  # then the channel rests, longer each time
    passes = deliver(tell, passes=20, clock=clock)
    assert sum(passes) <= 20 and len(slack.received) <= 24
    slack.script.clear()
    clock.now += 1000.0
    deliver(tell)
    assert store.backlog() == {} and tell.trouble() == {}


@pytest.mark.parametrize("fault", ["cancelled", "hangs"])
def test_a_channel_that_cancels_or_hangs_ends_nothing(store, clock, slack, fault):
    class Odd(Down):
        name, timeout = "odd", 0.01

        async def send(self, rows):
            if fault == "cancelled":
                raise asyncio.CancelledError
            await asyncio.Event().wait()

    async def go():
        tell = service(store, time.time, channels=[Odd()], poll=0.01)
        async with tell, asyncio.timeout(60):
            store.commit("rig", 0, b"", [], steps(), [], tell.rows(steps()))
            while len(tries := [row.attempts for row in store.outbox() if row.attempts]) < 1 or (
                    max(tries) < 2):
                await asyncio.sleep(0.01)
            assert "Error" in tell.trouble()["odd"][1]
    asyncio.run(go())


WORKER = textwrap.dedent("""
    import asyncio, sys
    from adlib.realtime.notify import NotificationConfig, NotificationService
    from adlib.realtime.store import AlertStore
    async def main():
        store = AlertStore(sys.argv[1])
        config = NotificationConfig(slack={"webhook_url": sys.argv[2]})
        service = NotificationService(config, store, poll=0.05, lease=0.3)
        async with service:
            while store.backlog():
                await asyncio.sleep(0.02)
    asyncio.run(main())
""")


def test_kill_9_between_sending_and_marking_sends_again_with_the_same_id(store, slack):
    events = [*steps("rig", 3), *steps("pump", 3)]
    store.commit("rig", 0, b"", [], events, [],
                 service(store, time.time, slack=slack.url).rows(events))
    def start():
        return subprocess.Popen([sys.executable, "-c", WORKER, store.path, slack.url])

    def kill(_):
        os.kill(workers[-1].pid, signal.SIGKILL)
        return 200, "ok"

    workers = []
    for _ in range(3):
        # The second message is taken, and the worker dies before it can say so to the store.
        slack.script.extend([(200, "ok"), kill])
        workers.append(start())
        assert workers[-1].wait(20) == -signal.SIGKILL
        assert not slack.script
    assert start().wait(20) == 0
    told = [p["blocks"][1]["text"]["text"].rpartition("Message: ")[2] for p in slack.taken]
    assert len(told) > 10 and sorted(set(told)) == sorted(event.id for event in events)
    for stream in ("rig", "pump"):  # in order but for what was sent twice in a row
        mine = [name for name in told if name.startswith(stream)]
        first = list(dict.fromkeys(mine))
        assert first == [event.id for event in events if event.incident.stream == stream]
    assert store.integrity_check() == []


# ------------------------------------------------------------------ e-mail


def mail(port, **more):
    return {"host": "127.0.0.1", "port": port, "security": "none", "timeout": 2.0,
            "from": "adlib@plant.example", "to": ["ann@plant.example", "bob@plant.example"]} | more


def headers(envelope):
    from email import message_from_bytes, policy

    return message_from_bytes(envelope.content, policy=policy.default)


def test_mails_are_threads_with_recognisable_ids(store, clock):
    with MailServer() as server:
        deliver(service(store, clock, email=mail(server.port)), steps("r\u00f6hre", 1))
        mine = [headers(m) for m in server.mails if m.rcpt_tos == ["ann@plant.example"]]
        assert len(server.mails) == 6
    assert [m["Subject"] for m in mine] == [
        f"[WARNING] r\u00f6hre: {says} (temperature)"
        for says in ("anomaly", "anomaly goes on", "anomaly is over")]
    assert mine[0]["In-Reply-To"] is None
    assert {m["In-Reply-To"] for m in mine[1:]} == {mine[0]["Message-ID"]}
    assert len({m["Message-ID"] for m in mine}) == 3
    assert "alerts ack 'r\u00f6hre|combined|0'" in mine[0].get_content().replace("\n", "")
    assert mine[0]["To"] == "ann@plant.example"
    # The same message again has the same id.
    tell = service(store, clock, email=mail(1))
    row = store.outbox()[0]
    assert tell.channels[0].message(row)["Message-ID"] == mine[0]["Message-ID"]


def test_a_stream_name_cannot_add_mail_headers(store, clock):
    incident = Incident("a|c|0", "a\r\nBcc: all@plant.example", 0, 1, 0, 0, None, "warning", 0.8,
                        1, (), "open", False)
    with MailServer() as server:
        deliver(service(store, clock, email=mail(server.port)),
                [IncidentEvent("open", incident, 0.0, True, 0)])
        assert [headers(m)["Bcc"] for m in server.mails] == [None, None]


def test_one_refused_recipient_costs_the_others_nothing(store, clock):
    with MailServer() as server:
        server.replies = {"ann@plant.example": ["550 no such user"],
                          "bob@plant.example": ["451 greylisted, try later"],
                          "DATA": ["452 disk full"]}
        deliver(service(store, clock, email=mail(server.port)), steps(repeats=0)[:1], 5, clock)
        assert [m.rcpt_tos for m in server.mails] == [["bob@plant.example"]]
    ann, bob = store.outbox()
    assert (ann.state, ann.error) == ("dead", "SMTP 550 no such user")
    assert bob.state == "sent" and bob.attempts == 3


def test_login_and_wrong_password(store, clock):
    with MailServer(login=("adlib", "s3cretpass")) as server:
        for password in ("s3cretpass", "wr0ngpass"):
            deliver(service(store, clock, email=mail(server.port, username="adlib",
                                                     password=password)), steps(password, 0)[:1])
        assert len(server.mails) == 2
    waiting = store.outbox(state="pending")  # somebody may put the password right
    assert len(waiting) == 2 and all(row.error.startswith("SMTP 535") for row in waiting)


def test_starttls_never_falls_back_to_plain_text(store, clock):
    with MailServer(login=("adlib", "s3cretpass")) as server:
        email = mail(server.port, username="adlib", password="s3cretpass", security="starttls")
        deliver(service(store, clock, email=email), steps(repeats=0)[:1])
        assert server.logins == server.mails == []
    assert all("STARTTLS" in row.error for row in store.outbox(state="dead"))
    assert len(store.outbox(state="dead")) == 2


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_encrypted_to_a_server_that_is_trusted(store, clock, certificate, security,
                                                         monkeypatch):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    options = ({"tls_context": context, "require_starttls": True, "auth_require_tls": True}
               if security == "starttls" else {"ssl_context": context})
    with MailServer(login=("adlib", "s3cretpass"), **options) as server:
        email = mail(server.port, username="adlib", password="s3cretpass", security=security)
        deliver(service(store, clock, email=email), steps(repeats=0)[:1])
        assert server.logins == []  # nobody vouches for the certificate: no password for it
        assert {row.state for row in store.outbox()} == {"pending"}
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        clock.now += 100
        deliver(service(store, clock, email=email))
        assert server.logins == [("adlib", "s3cretpass")] * 2 and len(server.mails) == 2


def test_mail_server_down_or_silent_is_tried_again(store, clock):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        port = silent.getsockname()[1]
        deliver(service(store, clock, email=mail(port, timeout=0.1)), steps(repeats=0)[:1])
    assert [row.state for row in store.outbox()] == ["pending"] * 2
    clock.now += 100
    deliver(service(store, clock, email=mail(port)))
    assert {row.attempts for row in store.outbox()} == {2}
    assert all("Error" in row.error for row in store.outbox())


@pytest.mark.parametrize(("change", "words"), [
    ({"to": []}, "to"), ({"to": ["ann"]}, "to"), ({"from": "a@b\nBcc: x@y"}, "from"),
    ({"username": "adlib"}, "go together"), ({"use_tls": True}, "use_tls"),
    ({"username": "a", "password": "p", "host": "mail.example"}, "plain text"),
])
def test_email_configuration_is_checked(change, words):
    with pytest.raises(ValidationError, match=words):
        EmailConfig(**(mail(25) | change))


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize("url", [
    "ftp://example.org" + SECRET_PATH, "http://example.org" + SECRET_PATH,
    "http://127.0.0.1.example.org" + SECRET_PATH, SECRET_PATH, "https://me:xoxsecrettoken@example.org/",
    "https://[xoxsecrettoken", 7])
def test_a_refused_webhook_is_not_shown(url):
    with pytest.raises(ValidationError) as error:
        NotificationConfig(slack={"webhook_url": url}, other="xoxsecrettoken")
    assert "webhook_url" in str(error.value)
    assert "secret" not in str(error.value).replace("it is a secret", "").lower()


@pytest.mark.parametrize("path", ["ok", "echo", "refused", "slow", "broken", "unforeseen"])
def test_secrets_never_show(store, slack, clock, caplog, monkeypatch, path):
    """In no log line of any library, no repr, no traceback, no row of the store."""
    secrets = ("SECRET", "xoxsecrettoken", "s3cretpass", "czNjcmV0cGFzcw", "AGFkbGliAHMzY3J")
    port = slack.port
    if path == "echo":  # an error page that repeats the address
        slack.script.append((404, f"nothing at http://127.0.0.1{SECRET_PATH}, T0SECRETTEAM"))
    elif path == "slow":
        slack.script.append((200, "ok", {}, 0.3))
    elif path == "broken":
        slack.script.append((500, SECRET_PATH[:-3]))
    elif path == "refused":
        slack.stop()
    with MailServer(login=("adlib", "s3cretpass" if path == "ok" else "other")) as server, \
            caplog.at_level(logging.DEBUG):
        email = mail(server.port, username="adlib", password="s3cretpass")
        tell = service(store, clock, slack=slack.url, email=email,
                       timeout=0.1 if path == "slow" else 10.0)
        if path == "unforeseen":
            def explode(*_, **__):
                raise RuntimeError(f"cannot post to {slack.url} with s3cretpass")
            monkeypatch.setattr("httpx.AsyncClient.stream", explode)
            monkeypatch.setattr("aiosmtplib.send", explode)
        deliver(tell, steps(repeats=0)[:1])
    if path == "refused":
        slack.start()
    assert slack.port == port and len(store.outbox()) == 3
    shown = [caplog.text, repr(tell.config), str(tell.config), repr(vars(tell)),
             json.dumps(tell.config.model_dump(mode="json")), repr(store.outbox())]
    shown += [repr(record.__dict__) for record in caplog.records]
    shown += [file.read_bytes().decode("latin-1") for file in store.path.parent.iterdir()]
    for secret in secrets:
        assert not any(secret in text for text in shown), secret
    assert "httpx" in {record.name for record in caplog.records} or path not in ("ok", "echo")


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_log_line_is_one_line_with_time_and_level(name, capsys):
    from adlib.realtime.doors.logs import Lines, begin, say

    try:
        raise ValueError(name)
    except ValueError:
        record = logging.LogRecord("adlib.x", logging.ERROR, "", 0, "lost %s", (name,),
                                   sys.exc_info())
    first, *trace = Lines().format(record).split("\n")
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z ERROR adlib.x: lost ", first)
    assert first.isprintable() and all(line.isprintable() and line[:4] == "    " for line in trace)
    fields = json.loads(Lines(as_json=True).format(record))
    assert fields["message"] == f"lost {name}" and fields["traceback"][0].startswith("Traceback")
    begin(as_json=False)
    say("note", name)
    assert re.fullmatch(r"note: [^\n]*\n", shown := capsys.readouterr().err)
    assert shown[:-1].isprintable()
    begin(as_json=True)
    say("warning", name)
    assert json.loads(capsys.readouterr().err)["level"] == "WARNING"
    begin(as_json=False)


# ------------------------------------------------------------------ the worker


def test_runs_beside_the_engine_wakes_and_ends_in_time(store, slack):
    async def go():
        tell = service(store, time.time, slack=slack.url, poll=60.0)
        async with tell:
            await asyncio.sleep(0.05)
            events = steps()
            store.commit("rig", 0, b"", [], events[:1], [], tell.rows(events[:1]))
            tell.wake()
            while not slack.taken:
                await asyncio.sleep(0.01)
            store.commit("rig", 0, b"", [], events, [], tell.rows(events))  # sent at the end
    asyncio.run(go())
    assert numbers(slack.taken) == [0, 1, 2, 3]  # within the grace, long before the next look


def test_one_service_serves_one_stream_after_the_other(store, slack):
    tell, events = service(store, time.time, slack=slack.url), steps()

    async def go(part):
        async with tell:
            store.commit("rig", 0, b"", [], part, [], tell.rows(part))

    for part in (events[:2], events[2:]):  # in an event loop of its own each
        asyncio.run(go(part))
    assert numbers(slack.taken) == [0, 1, 2, 3]


def test_what_a_channel_did_not_foresee_is_tried_again(store, clock, caplog):
    channel = Down()
    tell = service(store, clock, channels=[channel])
    for answer in ([], [Outcome("sent")] * 2, RuntimeError("xoxsecrettoken")):
        async def send(rows, answer=answer):
            if isinstance(answer, Exception):
                raise answer
            return answer

        channel.send = send
        deliver(tell, steps(repeats=0)[:1])
        clock.now += 1000
    (row,) = store.outbox()
    assert row.state == "pending" and row.attempts == 3 and "RuntimeError" in row.error
    assert "xoxsecrettoken" not in caplog.text + row.error
    channel.send = Down().send
    deliver(tell)
    assert store.outbox()[0].attempts == 4


def test_a_slow_channel_holds_nobody_up(store, slack):
    async def go():
        with MailServer() as server:
            tell = service(store, time.time, slack=slack.url, email=mail(server.port), grace=0.1)
            tell.channels[0].send = lambda rows: asyncio.Event().wait()  # never done
            async with tell, asyncio.timeout(60):
                events = steps(repeats=1)
                store.commit("rig", 0, b"", [], events, [], tell.rows(events))
                tell.wake()
                while len(server.mails) < 6:
                    await asyncio.sleep(0.01)
    asyncio.run(go())
    assert store.backlog()["slack", "pending"] >= 2  # left for the next run


def test_an_error_of_the_store_does_not_end_the_worker(store, slack, monkeypatch, caplog):
    import sqlite3

    claim, fails = store.claim, [sqlite3.OperationalError("database is locked")] * 2

    def flaky(*args, **kwargs):
        if fails:
            raise fails.pop()
        return claim(*args, **kwargs)

    async def go():
        monkeypatch.setattr(store, "claim", flaky)
        tell = service(store, time.time, slack=slack.url, poll=0.01)
        async with tell:
            store.commit("rig", 0, b"", [], steps(), [], tell.rows(steps()))
            while store.backlog():
                await asyncio.sleep(0.01)
    asyncio.run(asyncio.wait_for(go(), 120))
    assert len(slack.taken) == 4 and "database is locked" in caplog.text
