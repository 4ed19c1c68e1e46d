"""Scenes of chaos for the live engine: each gives the invariants that did not hold, as sentences.

Nothing that was acknowledged is lost, and every minute of blindness has an incident of kind health.
See `chaos_rig` for the parts, ``benchmarks/chaos.py`` for the long version.
"""

import random
import signal
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import pairwise

from chaos_rig import (
    CLOCKS,
    WINDOW,
    Feed,
    Plan,
    Rig,
    blind,
    full,
    judged,
    kept,
    missed,
    same,
    small_disk,
    times,
    told,
    until,
)
from realtime_servers import SlackServer

from adlib.realtime.store import AlertStore

#: What a receiver may answer; a delay of two seconds is no answer (it is asked for half a second).
ANSWERS = {"200": (200, "ok"), "200 json": (200, '{"success": true}'), "202": (202, ""),
           "302": (302, "", {"Location": "/elsewhere"}), "404": (404, "no_service"),
           "429": (429, "", {"Retry-After": "0"}), "500": (500, "oops"),
           "nothing": (200, "ok", {}, 2)}


def data(zygote, folder, seed=0, troubles=("nan", "renamed", "frozen"), clocks=tuple(CLOCKS)):
    """Bad records of every kind: the rest is judged, faults elsewhere are found, health tells."""
    rng = random.Random(seed)
    plan, at = Plan(400 + 500 * (len(troubles) + len(clocks)), seed), 300
    for what in rng.sample([*troubles, *clocks], len(troubles) + len(clocks)):
        feature = rng.randrange(3)
        length = rng.randrange(150, 250) if what not in CLOCKS else rng.choice([1, 3, 40, 200])
        plan.spoil(what, at, at + length, feature)
        # on another sensor, in the middle of the trouble, and once it is over
        plan.fault(at + max(length // 2 - 20, 0), 40, (feature + 1) % 3)
        plan.fault(at + 350, 40, rng.randrange(3))
        at += 500
    rig = Rig(zygote, folder).fit()
    (rig.folder / "in.jsonl").write_bytes(b"\n".join(plan.messages()) + b"\n")
    rig.start("stdin", stdin=rig.folder / "in.jsonl")
    code = rig.wait()
    faults = [] if code == 0 else [f"exit code {code}: {rig.errors()[-300:]}"]
    return faults + missed(rig, plan, 0) + blind(rig, plan, 0) + times(rig, plan, 0)


def signals(zygote, folder, server, seed=0, n=6000, lives=4):
    """Signals at random moments of a backlog: each life ends, and nothing is lost."""
    rng = random.Random(seed)
    plan = Plan(n, seed)
    for start in range(300, n - 200, 500):
        plan.fault(start + rng.randrange(200), rng.randrange(30, 80), rng.randrange(3))
    with SlackServer() as calm, SlackServer() as slack:
        feed = Feed(server, f"SIGNALS{seed}")
        feed.publish(plan.messages())
        # every window is stored, or few are and commits are lazy
        how = {"alpha_info": 0.999} if seed % 2 == 0 else {"alpha_info": 0.03}
        quick = {"commit_seconds": 0.2} if seed % 2 else None
        rig = Rig(zygote, folder, webhook=slack.url, batch_windows=8, storage=quick, **how).fit()
        twin = rig.twin("calm", webhook=calm.url, storage=quick, **how)
        undisturbed(twin, feed, n)
        faults = []
        for life in range(lives):
            how = rng.choice([signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
            before = rig.position()
            rig.start(feed.spec())
            until(lambda: rig.position() > before, "the first commit", rig)  # noqa: B023
            time.sleep(rng.uniform(0, 0.15))
            code = rig.stop(how)
            if code not in (0, -signal.SIGKILL):
                faults.append(f"life {life}: {how.name} ended with {code}: {rig.errors()[-200:]}")
            faults += [f"life {life}: {fault}" for fault in kept(rig, feed, None)]
        undisturbed(rig, feed, n, "adlib")
        faults += kept(rig, feed, n) + same(rig, twin) + told(rig, slack) + missed(rig, plan)
    return faults


def undisturbed(rig, feed, n, durable="calm"):
    """Judge what the feed holds, and stop once all is committed and sent."""
    rig.start(feed.spec(durable))
    until(lambda: rig.position() >= n, f"sample {n}", rig)
    with AlertStore(rig.store) as store:
        until(lambda: not any(state == "pending" for _, state in store.backlog()),
              "the last message", rig)
    until(lambda: feed.consumer(durable)[1] == 0, "the last acknowledgement", rig)
    rig.stop()


def locked(zygote, folder, server, seed=0, n=3000, seconds=0.0):
    """Another process holds the store: nothing is acknowledged meanwhile, and all is judged."""
    with SlackServer() as slack:
        plan = Plan(n, seed).fault(n // 2).fault(n - 300)
        feed = Feed(server, f"LOCKED{seed}")
        feed.publish(plan.messages(0, n // 3))
        rig = Rig(zygote, folder, webhook=slack.url, health=HEALTH).fit()
        rig.start(feed.spec())
        until(lambda: rig.position() >= n // 3 - STEP, "the first third", rig)
        with rig.locked():
            feed.publish(plan.messages(n // 3, n))
            faults = store_trouble(rig, seconds)
        faults += finish(rig, feed, n)
        faults += told(rig, slack) + missed(rig, plan) + blind(rig, plan)
        faults += said(rig, "store")
    return faults


STEP = 400  # samples that may wait for a lazy commit
HEALTH = {"store": 0.5, "hanging": 2, "no_data": 5, "channel": 1}  # seconds: sooner than usual


def store_trouble(rig, seconds):
    """Until the engine itself reports that it cannot commit, at least so long; what it gets wrong.

    The incident can be stored only once the store is back, so the engine's own page is asked.
    """
    limit = time.monotonic() + seconds
    try:
        until(lambda: "|health.store|" in rig.ask("/health")[1], "an incident", rig, 30)
    except AssertionError as error:
        return [f"while nothing could be committed: {str(error)[-300:]}"]
    ready = rig.ask("/ready")
    time.sleep(max(limit - time.monotonic(), 0))
    return [] if ready[0] == 503 else [f"ready while nothing can be committed: {ready}"]


def said(rig, word):
    names = [incident["id"] for incident in rig.health()]
    return [] if any(word in name for name in names) else [
        f"no health incident about {word}, only {names}"]


def finish(rig, feed, n):
    """Faults on the way to the end of the feed."""
    faults = []
    try:
        until(lambda: rig.position() >= n, f"sample {n} (now {rig.position()})", rig)
        with AlertStore(rig.store) as store:
            until(lambda: not any(state == "pending" for _, state in store.backlog()),
                  "the last message", rig, 20)
    except AssertionError as error:
        faults.append(f"{str(error)[-400:]}")
    code = rig.stop()
    if code != 0:
        faults.append(f"exit code {code}: {rig.errors()[-300:]}")
    return faults + kept(rig, feed, n)


def disk_full(zygote, folder, server, seed=0, n=3000, seconds=0.0, how="tmpfs"):
    """No byte is left for the store: held, not lost.

    ``how``: "tmpfs", a small disk that is filled (PermissionError where none may be mounted), or
    "limit", where each write to a file fails.
    """
    with ExitStack() as stack:
        slack = stack.enter_context(SlackServer())
        folder.mkdir(parents=True, exist_ok=True)
        disk = stack.enter_context(small_disk(folder / "disk", 8)) if how == "tmpfs" else folder
        plan = Plan(n, seed).fault(n // 2).fault(n - 300)
        feed = Feed(server, f"FULL{how.upper()}{seed}")
        feed.publish(plan.messages(0, n // 3))
        rig = Rig(zygote, folder, store=disk / "alerts.db", webhook=slack.url, health=HEALTH).fit()
        rig.start(feed.spec(), piped=True)
        until(lambda: rig.position() >= n // 3 - STEP, "the first third", rig)
        with full(disk) if how == "tmpfs" else rig.no_writing():
            feed.publish(plan.messages(n // 3, n))
            faults = store_trouble(rig, seconds)
        faults += finish(rig, feed, n)
        faults += told(rig, slack) + missed(rig, plan) + blind(rig, plan)
        faults += said(rig, "store")
    return faults


def no_data(zygote, folder, server, seed=0, n=2000):
    """Nothing arrives for a while, and then it does."""
    plan = Plan(n, seed).fault(n - 300)
    feed = Feed(server, f"NODATA{seed}")
    feed.publish(plan.messages(0, n // 2))
    rig = Rig(zygote, folder, health=QUICK).fit()
    rig.start(feed.spec())
    until(lambda: rig.position() >= n // 2 - STEP, "the first half", rig)
    faults = []
    try:
        until(lambda: not said(rig, "no_data"), "an incident", rig, 20)
        until(lambda: rig.ask("/ready")[0] == 503, "503", rig, 20)
    except AssertionError as error:
        faults.append(f"without data: {str(error)[-300:]}")
    feed.publish(plan.messages(n // 2, n))
    try:
        until(lambda: rig.ask("/ready")[0] == 200, "200", rig, 20)
    except AssertionError as error:
        faults.append(f"with data again: {str(error)[-300:]}: {rig.ask('/ready')}")
    return faults + finish(rig, feed, n) + missed(rig, plan) + blind(rig, plan)


def detectors(zygote, folder, server, seed=0, n=4000, how="raise"):
    """A detector raises or hangs: the others judge, it is reported, and it comes back."""
    # a sensor fails meanwhile: what it is judged without must not need the detector
    plan = Plan(n, seed).spoil("nan", n // 3, n // 2 - 100, 1).fault(n // 2).fault(n - 400)
    feed = Feed(server, f"DETECTOR{how.upper()}{seed}")
    rig = Rig(zygote, folder, health=HEALTH).fit()
    rig.start(feed.spec())
    feed.publish(plan.messages(0, n // 4))
    until(lambda: rig.position() >= n // 4 - STEP, "the first quarter", rig)
    with rig.broken(how):
        for at in range(n // 4, 3 * n // 4, n // 20):
            feed.publish(plan.messages(at, at + n // 20))
            time.sleep(0.1)
        until(lambda: rig.position() >= 3 * n // 4 - STEP, "three quarters", rig)
    for at in range(3 * n // 4, n, WINDOW):
        feed.publish(plan.messages(at, min(at + WINDOW, n)))
        if at < n - 500 or complete(rig):
            continue
        with suppress(AssertionError):  # it waits for its next try
            until(lambda: complete(rig), "the detector", rig, 1)
    faults = finish(rig, feed, n) + missed(rig, plan) + blind(rig, plan) + said(rig, "member")
    return faults + ["the detector never came back"] * (not complete(rig))


def complete(rig):
    """Whether all detectors judged the last window that was stored."""
    with AlertStore(rig.store) as store:
        last = max(judged(store).values(), key=lambda verdict: verdict.end)
    return None not in last.detectors.values()


def receivers(zygote, folder, server, seed=0, n=3000, answers=tuple(ANSWERS)):
    """A receiver that answers anything: every message arrives in the end, in order."""
    rng = random.Random(seed)
    plan = Plan(n, seed)
    for start in range(200, n - 100, 250):
        plan.fault(start, 40, rng.randrange(3))
    with SlackServer() as slack:
        for name in rng.sample(answers, len(answers)):
            slack.script.append(ANSWERS[name])
        feed = Feed(server, f"RECEIVERS{seed}")
        feed.publish(plan.messages())
        rig = Rig(zygote, folder, webhook=slack.url, health=HEALTH).fit()
        rig.start(feed.spec())
        faults = finish(rig, feed, n) + missed(rig, plan) + told(rig, slack)
        with AlertStore(rig.store) as store:
            states = {(row.state, row.error) for row in store.outbox() if row.state != "sent"}
        faults += [f"not sent: {state}" for state in sorted(states)]
    return faults


def busy_stop(zygote, folder, server, seed=0, how=signal.SIGTERM):
    """A signal while every detector is busy, on blocks of a backlog."""
    n = 20_000
    feed = Feed(server, f"BUSY{seed}")
    feed.publish(Plan(n, seed).messages())
    rig = Rig(zygote, folder, batch_windows=320).fit()
    rig.start(feed.spec())
    until(lambda: rig.position() > 0, "the first commit", rig)
    time.sleep(random.Random(seed).uniform(0, 0.2))
    code = rig.stop(how, 15)
    faults = [] if code == 0 else [f"{how.name}: exit code {code} ({rig.errors()[-200:]})"]
    return faults + kept(rig, feed, None)


def storm(zygote, folder, server, seed=0, seconds=60.0, rate=200):
    """Everything at once, at random, while records come at a steady rate of wall time."""
    rng = random.Random(seed)
    n = int(seconds * rate)
    plan, at = Plan(n, seed), 200
    while at < n - 600:
        if rng.random() < 0.5:
            what = rng.choice(["nan", "renamed", "frozen", "all nan", *CLOCKS])
            length = rng.randrange(1, 250)
            plan.spoil(what, at, at + length, rng.randrange(3))
            at += length + 60
        plan.fault(at + 100, 40, rng.randrange(3))
        at += 400
    with ExitStack() as stack:
        slack = stack.enter_context(SlackServer())
        folder.mkdir(parents=True, exist_ok=True)
        store, disk = folder / "alerts.db", None
        with suppress(PermissionError):
            disk = stack.enter_context(small_disk(folder / "disk", 24))
            store = disk / "alerts.db"
        feed = Feed(server, f"STORM{seed}")
        rig = Rig(zygote, folder / "rig", store=store, webhook=slack.url, health=QUICK).fit()
        log = Log(rig)
        stack.callback(log.close)
        publisher = Publisher(feed, plan, rate)
        stack.callback(publisher.close)
        rig.start(feed.spec())
        log.live()
        until(lambda: rig.position() > 0, "the first commit", rig)
        tally, faults = [], []
        while publisher.left() > 3:
            what = rng.choice(["SIGTERM", "SIGINT", "SIGKILL", "lock", "full", "raise", "hang",
                               "answers", "pause", "calm"])
            length = rng.uniform(0.2, 8)
            tally.append(what)
            log.note(what, length)
            if what.startswith("SIG"):
                code = rig.stop(getattr(signal, what), 20)
                early = not log.dead() and code in (-signal.SIGINT, -signal.SIGTERM)
                if code not in (0, -signal.SIGKILL) and not early:
                    faults.append(f"{what} ended with {code}: {rig.errors()[-200:]}")
                faults += [f"after {what}: {fault}" for fault in kept(rig, feed, None)]
                time.sleep(rng.uniform(0, 0.5))
                rig.start(feed.spec())
                log.live()
            elif what == "lock":
                with rig.locked():
                    time.sleep(length)
            elif what == "full" and disk is not None:
                with full(disk):
                    time.sleep(length)
            elif what in ("raise", "hang"):
                with rig.broken(what):
                    time.sleep(length)
            elif what == "answers":
                slack.script.extend(rng.choices(list(ANSWERS.values()), k=5))
            elif what == "pause":
                with publisher.paused():
                    time.sleep(length)
            time.sleep(rng.uniform(0, 1.5))
            if not rig.alive:
                faults.append(f"after {what} the process was gone: {rig.errors()[-300:]}")
                log.dead()
                rig.wait()
                rig.start(feed.spec())
                log.live()
        publisher.close()
        with suppress(AssertionError):  # `finish` says so
            until(lambda: rig.position() >= n, "the end", rig)
        log.dead()
        faults += finish(rig, feed, n)
        faults += missed(rig, plan) + blind(rig, plan) + told(rig, slack)
        faults += times(rig, plan) + log.blind(QUIET)
    return faults


QUICK = {**HEALTH, "no_data": 1, "hanging": 1}
QUIET = 6.0  # seconds without a window that need an incident, start and slack included


class Publisher:
    """Publishes a plan at a steady rate, in a thread."""

    def __init__(self, feed, plan, rate):
        self._feed, self._plan, self._rate = feed, plan, rate
        self._at, self._go, self._ended = 0, threading.Event(), False
        self._go.set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        step = max(self._rate // 10, 1)
        while self._at < self._plan.n:
            self._go.wait()
            self._feed.publish(self._plan.messages(self._at, self._at + step))
            self._at += step
            if not self._ended:
                time.sleep(0.1)

    def left(self):
        """Seconds of records that are still to come."""
        return (self._plan.n - self._at) / self._rate

    @contextmanager
    def paused(self):
        self._go.clear()
        try:
            yield
        finally:
            self._go.set()

    def close(self):
        """Publish the rest at once."""
        self._ended = True
        self._go.set()
        self._thread.join()


class Log:
    """When windows came out of a rig, and when it lived, in wall time."""

    def __init__(self, rig):
        self._rig, self._came, self._lives, self._done = rig, [], [], []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        size = 0
        while not self._ended.wait(0.05):
            now = self._rig.out.stat().st_size if self._rig.out.exists() else 0
            if now > size:
                size = now
                self._came.append(time.time())

    def live(self):
        self._lives.append([time.time(), None])

    def dead(self):
        """The life is over; whether windows came out in it."""
        if self._lives and self._lives[-1][1] is None:
            self._lives[-1][1] = time.time()
        return bool(self._came) and self._came[-1] > self._lives[-1][0]

    def note(self, what, length):
        self._done.append((time.time(), what, length))

    def close(self):
        self._ended.set()
        self._thread.join()

    def blind(self, least):
        """Stretches of a life without a window that no health incident of the process covers."""
        faults = []
        with AlertStore(self._rig.store) as store:
            told = [i for i in store.incidents() if getattr(i, "kind", "") == "health"]
        for start, end in self._lives:
            times = [start + 2, *(t for t in self._came if start < t < end), end]
            for a, b in pairwise(times):
                if b - a > least and not any(
                        i.opened_at <= b and (i.closed_at or b) >= a - 1 for i in told):
                    done = [what for t, what, length in self._done if t < b and t + length > a - 1]
                    faults.append(f"no window for {b - a:.1f} s ({', '.join(done)}), and no health "
                                  f"incident says so")
        return faults


SCENES = {"storm": storm, "data": data, "signals": signals, "busy stop": busy_stop,
          "locked": locked, "disk full": disk_full,
          "write errors": partial(disk_full, how="limit"),
          "no data": no_data,
          "detector raises": partial(detectors, how="raise"),
          "detector hangs": partial(detectors, how="hang"), "receivers": receivers}
