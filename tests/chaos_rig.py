"""A rig that disturbs the live engine from outside: its command line, files, receivers and data.

Nothing here reaches into a running engine. `Rig` starts ``python -m adlib.realtime run`` in a
process of its own (forked from one that has imported everything, so that a new life takes a
moment), feeds it through NATS JetStream or standard input, and can kill it, lock its store, fill
its disk, break its detector and its receiver. Checks compare what the stores say afterwards with
an undisturbed run of the same data. `tests/test_realtime_chaos.py` plays short scenes;
``benchmarks/chaos.py`` plays long ones at random.
"""

import asyncio
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from adlib.realtime import RealTimeAnomalyDetector
from adlib.realtime.store import AlertStore

FEATURES = ("x0", "x1", "x2")
BEGIN = 1_700_000_000.0  # event time of sample 0; one sample a second
WINDOW, STRIDE = 20, 5
MIXING = np.array([[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]])
PATIENCE = 60.0  # seconds until a rig gives up waiting: a limit, not an expectation

DETECTOR = '''
import os, time
import numpy as np
from adlib.base import Detector

class Chaotic(Detector):
    """Distance from the mean; raises while FOLDER/raise is there, hangs while FOLDER/hang is."""

    def __init__(self, *, folder="", **base):
        super().__init__(**base)
        self.folder = folder

    def _fit(self, X):
        self.mean_, self.scale_ = X.mean(axis=0), X.std(axis=0) + 1e-9

    def _contributions(self, X):
        if os.path.exists(f"{self.folder}/raise"):
            raise RuntimeError("the detector was told to fail")
        while os.path.exists(f"{self.folder}/hang"):
            time.sleep(0.01)
        return np.square((X - self.mean_) / self.scale_)

    def _score(self, X):
        return self._contributions(X).sum(axis=1)
'''

_ZYGOTE = '''
import json, os, select, signal, sys
import adlib.realtime.__main__ as command, adlib.realtime.engine, adlib.realtime.sources
import adlib.detectors, adlib.realtime.doors.files, adlib.realtime.doors.http
import adlib.realtime.doors.slack, adlib.detectors.zscore, prometheus_client, pyarrow, river.drift
try:
    import nats, adlib.realtime.doors.jetstream
except ImportError:
    pass

def serve():
    buffer, alive = b"", set()
    while True:
        if select.select([0], [], [], 0.005)[0]:
            chunk = os.read(0, 65536)
            if not chunk:
                for pid in alive:
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            *lines, buffer = (buffer + chunk).split(b"\\n")
            for line in lines:
                job = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    return job
                alive.add(pid)
                os.write(1, b"started %d\\n" % pid)
        for pid in list(alive):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                alive.discard(pid)
                os.write(1, b"ended %d %d\\n" % (pid, os.waitstatus_to_exitcode(status)))

job = serve()
os.setsid()
for number, (name, flags) in enumerate(((job["stdin"], os.O_RDONLY),
        (job["stdout"], os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        (job["stderr"], os.O_WRONLY | os.O_APPEND | os.O_CREAT))):
    opened = os.open(name, flags, 0o600)
    os.dup2(opened, number)
    os.close(opened)
sys.exit(command.main(job["argv"]))
'''


class Zygote:
    """Processes that run the command line, forked from one that has imported everything."""

    def __init__(self):
        self._process = subprocess.Popen([sys.executable, "-c", _ZYGOTE], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE,
                                         env={**os.environ, "OMP_NUM_THREADS": "1"})
        self._started, self.ended = [], {}
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            word, pid, *code = line.split()
            with self._news:
                if word == b"started":
                    self._started.append(int(pid))
                else:
                    self.ended[int(pid)] = int(code[0])
                self._news.notify_all()

    def start(self, argv, *, stdin="/dev/null", stdout, stderr):
        job = {"argv": [str(part) for part in argv], "stdin": str(stdin), "stdout": str(stdout),
               "stderr": str(stderr)}
        with self._news:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            if not self._news.wait_for(lambda: self._started, PATIENCE):
                raise TimeoutError("the zygote gives no process")
            return self._started.pop()

    def wait(self, pid, seconds=PATIENCE):
        """Exit code, or None where it has not ended."""
        with self._news:
            self._news.wait_for(lambda: pid in self.ended, seconds)
            return self.ended.get(pid)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()


# -- the data ------------------------------------------------------------------------------------


@dataclass
class Plan:
    """A stream of records, and what is wrong with it. Stretches are [start, end) in samples."""

    n: int
    seed: int = 0
    faults: list = field(default_factory=list)  # (start, end, feature)
    blind: list = field(default_factory=list)  # (what, feature or None, start, end)
    clocks: list = field(default_factory=list)  # (start, end)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.X = np.round(rng.normal(size=(self.n, 3)) @ MIXING, 6)
        self.records = [{"time": BEGIN + i, **dict(zip(FEATURES, row, strict=True))}
                        for i, row in enumerate(self.X.tolist())]

    def fault(self, start, length=40, feature=0, size=12.0):
        """A sensor that is far away for a while."""
        for record in self.records[start:start + length]:
            record[FEATURES[feature]] += size
        self.faults.append((start, start + length, feature))
        return self

    def spoil(self, what, start, end, feature=0):
        """Let records of a stretch be bad in one of the known ways."""
        name = FEATURES[feature]
        frozen = self.records[start][name]
        for i, record in enumerate(self.records[start:end], start):
            if what == "nan":
                record[name] = None
            elif what == "renamed":
                record[f"{name}_v2"] = record.pop(name)
            elif what == "frozen":
                record[name] = frozen
            elif what == "all nan":
                record.update(dict.fromkeys(FEATURES))
            elif what == "all renamed":
                for one in FEATURES:
                    record[f"{one}_v2"] = record.pop(one)
            elif what in CLOCKS:
                record["time"] = CLOCKS[what](BEGIN + i)
            else:
                raise ValueError(what)
        if what in CLOCKS:
            self.clocks.append((start, end))
        else:
            self.blind.append((what, None if what.startswith("all") else name, start, end))
        return self

    def messages(self, start=0, end=None):
        return [json.dumps(record, allow_nan=False).encode() for record in self.records[start:end]]


CLOCKS = {"no time": lambda t: None, "text": lambda t: "not known",
          "german": lambda t: "31.12.2023 10:00", "2100": lambda t: t + 2.4e9,
          "9999": lambda t: "9999-12-31T00:00:00Z", "hour back": lambda t: t - 3600,
          "day ahead": lambda t: t + 86_400, "ms": lambda t: 1e3 * t, "1970": lambda t: 0.0,
          "huge": lambda t: 1e300}


def history(n=6000, seed=99):
    """What the engine is fitted on."""
    return np.random.default_rng(seed).normal(size=(n, 3)) @ MIXING


# -- the engine and what surrounds it --------------------------------------------------------------


class Rig:
    """One engine, its store, and its lives."""

    def __init__(self, zygote, folder, *, detectors=None, store=None, webhook=None, health=None,
                 storage=None, **settings):
        self.zygote, self.folder = zygote, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "chaotic.py").write_text(DETECTOR)
        self.store = Path(store or self.folder / "alerts.db")
        self.out, self.err = self.folder / "out", self.folder / "err"
        self.pid, self.port, self.codes, self._cats = None, None, [], []
        members = ["PCAReconstruction",
                   {"detector": "RollingZScore", "parameters": {"window": 50}},
                   {"detector": f"{self.folder / 'chaotic.py'}:Chaotic",
                    "parameters": {"folder": str(self.folder)}}]
        alerts = {"incidents": {"cooldown": 0, "update_interval": 100},
                  "storage": {"path": str(self.store), **(storage or {})}}
        if webhook is not None:
            alerts["notification"] = {"slack": {"webhook_url": webhook, "timeout": 0.5},
                                      "retry_base": 0.05, "retry_cap": 0.2}
        if health is not None:
            alerts["health"] = health
        self.config = {
            "stream": "rig", "deep_config": None, "stat_config": None, "window_size": WINDOW,
            "stride": STRIDE, "detectors": members if detectors is None else detectors,
            "feature_names": list(FEATURES), "alpha": 0.01, "alpha_info": 0.999,
            "batch_windows": 32, "detector_timeout": 0.5, **settings, "alert_config": alerts}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        self.model = self.folder / "model"

    def fit(self):
        engine = RealTimeAnomalyDetector(
            {**self.config, "alert_config": {"incidents": {"cooldown": 0}}})
        engine.fit(history()).save(self.model)
        return self

    def twin(self, name, **changes):
        """The same engine with another store."""
        other = Rig(self.zygote, self.folder / name, detectors=self.config["detectors"], **changes)
        other.model = self.model
        return other

    # lives

    def start(self, source, *extra, piped=False, **how):
        """A new life; ``piped``: what it prints passes a pipe, so that it writes no file itself."""
        self.port = free_port()
        serving = ["--serve" if knows("--serve") else "--metrics", self.port]
        out, err = (self._pipe(self.out), self._pipe(self.err)) if piped else (self.out, self.err)
        self.pid = self.zygote.start(
            ["run", self.folder / "config.yaml", "--model", self.model, "--source", source, "--all",
             *serving, *extra], stdout=out, stderr=err, **how)
        return self

    def _pipe(self, path):
        pipe = path.with_suffix(f".{len(self._cats)}")
        os.mkfifo(pipe)
        with open(path, "ab") as file:
            self._cats.append(subprocess.Popen(["cat", pipe], stdout=file))
        return pipe

    def wait(self, seconds=PATIENCE):
        code = self.zygote.wait(self.pid, seconds)
        if code is not None:
            self.codes.append(code)
            while self._cats:  # the pipes of a life end with it
                self._cats.pop().wait()
        return code

    def stop(self, how=signal.SIGTERM, seconds=PATIENCE):
        """Exit code; None where it does not end by itself (and is then killed)."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, how)
        code = self.wait(seconds)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.zygote.wait(self.pid)
            self.codes.append(None)
        return code

    @property
    def alive(self):
        return self.pid is not None and self.pid not in self.zygote.ended

    def errors(self):
        return self.err.read_text() if self.err.exists() else ""

    def windows(self):
        """What was printed, whole lines alone."""
        text = self.out.read_text() if self.out.exists() else ""
        found = []
        for line in text.splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def ask(self, path):
        """(status, text) of the engine's server; (0, why) where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as found:
                return found.status, found.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    # the store, as anybody reads it

    def position(self):
        """Last committed sample; -1 before the first."""
        with suppress(FileNotFoundError, ValueError, sqlite3.Error), \
                AlertStore(self.store, create=False) as store:
            return (store.restore("rig") or [-1])[0]
        return -1

    def health(self):
        """Health incidents as dictionaries."""
        bodies = self._read("SELECT json_group_array(json(body)) FROM incidents", "[]")
        return [body for body in json.loads(bodies) if body.get("kind") == "health"]

    def _read(self, query, default):
        with suppress(sqlite3.OperationalError, sqlite3.DatabaseError):
            db = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=0.2)
            try:
                (found,) = db.execute(query).fetchone()
                return default if found is None else found
            finally:
                db.close()
        return default

    # disturbances

    @contextmanager
    def broken(self, how):
        """The detector raises or hangs ("raise", "hang")."""
        flag = self.folder / how
        flag.touch()
        try:
            yield
        finally:
            flag.unlink()

    @contextmanager
    def no_writing(self):
        """Every write to a file fails: what a full disk is where none can be mounted."""
        before = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(self.pid, resource.RLIMIT_FSIZE, before)

    @contextmanager
    def locked(self):
        """Another process holds the store; it must exist."""
        process = subprocess.Popen([sys.executable, "-c", _LOCKER, str(self.store)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline() == b"locked\n"
            yield
        finally:
            process.communicate()


_LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
db.execute("ROLLBACK")
"""


@contextmanager
def small_disk(folder, megabytes=2):
    """A tmpfs of so many megabytes; PermissionError where nobody may mount one."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder],
                          capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        folder.rmdir()
        raise PermissionError(done.stderr.strip() if done else "not root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


@contextmanager
def full(folder):
    """No byte is left on the disk of a folder."""
    path = folder / "filler"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (1 << 16, 4096, 512, 1):
        with suppress(OSError):
            while True:
                os.write(file, b"\0" * size)
    os.close(file)
    try:
        yield
    finally:
        path.unlink()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def knows(option):
    from adlib.realtime.__main__ import parser

    run = parser()._subparsers._group_actions[0].choices["run"]
    return option in run._option_string_actions


def until(condition, what, rig=None, seconds=PATIENCE):
    """Wait for something; what it was is said where it does not come."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > limit or (rig is not None and not rig.alive):
            code = None if rig is None else rig.zygote.ended.get(rig.pid)
            raise AssertionError(f"{what} did not come (exit code {code})"
                                 + ("" if rig is None else f"\n{rig.errors()[-3000:]}"))
        time.sleep(0.02)
    return found


# -- NATS ------------------------------------------------------------------------------------------


class Feed:
    """A JetStream stream that a plan is published to; its sequence numbers are samples + 1."""

    def __init__(self, server, name="RIG"):
        self.server, self.name = server, name
        self._run(self._make())

    def _run(self, work):
        return asyncio.run(work)

    async def _make(self):
        import nats

        client = await nats.connect(self.server.url)
        await client.jetstream().add_stream(name=self.name, subjects=[f"{self.name.lower()}.x"])
        await client.close()

    def spec(self, durable="adlib", ack_wait=1):
        return (f"{self.server.url}/{self.name}/{self.name.lower()}.x?durable={durable}"
                f"&ack_wait={ack_wait}")

    def publish(self, messages):
        async def work():
            import nats

            client = await nats.connect(self.server.url)
            jetstream = client.jetstream()
            before = (await jetstream.stream_info(self.name)).state.messages
            for i, message in enumerate(messages, 1):
                await client.publish(f"{self.name.lower()}.x", message)
                if i % 1000 == 0:
                    await client.flush()
            await client.flush()
            while (await jetstream.stream_info(self.name)).state.messages < before + len(messages):
                await asyncio.sleep(0.01)
            await client.close()

        self._run(work())

    def consumer(self, durable="adlib"):
        """(acknowledged up to, not yet acknowledged)."""
        async def work():
            import nats

            client = await nats.connect(self.server.url)
            try:
                info = await client.jetstream().consumer_info(self.name, durable)
                return info.ack_floor.stream_seq, info.num_ack_pending
            finally:
                await client.close()

        return self._run(work())


# -- what must hold --------------------------------------------------------------------------------


def kept(rig, feed, n, durable="adlib"):
    """Faults where something was acknowledged before it was committed, or is not there at the end.

    Sample i is message i + 1, so the position that counts messages is compared as it is.
    """
    floor, pending = feed.consumer(durable)
    position = rig.position()
    return [f"acknowledged up to {floor}, committed up to {position}"] * (floor > position) + [
        f"{n} came, committed up to {position}"] * (n is not None and position != n) + [
        f"{pending} not acknowledged at the end"] * (n is not None and pending > 0)


def judged(store):
    """Verdicts by the last sample of their window."""
    return {verdict.end: verdict for verdict in store.verdicts() if verdict.is_anomaly is not None}


def anomalies(store):
    return [i for i in store.incidents() if getattr(i, "kind", "anomaly") == "anomaly"]


def same(rig, calm, members=True):
    """Differences from an undisturbed run, where the same detectors judged the same windows."""
    faults = []
    with AlertStore(rig.store) as found, AlertStore(calm.store) as expected:
        ours, theirs = judged(found), judged(expected)
        alike = [end for end in ours.keys() & theirs.keys()
                 if who(ours[end]) == who(theirs[end])]
        for end in alike:
            if abs(np.log(ours[end].p_value / theirs[end].p_value)) > 1e-6:
                faults.append(f"window {end}: p {ours[end].p_value} instead of "
                              f"{theirs[end].p_value}")
        if (lost := sorted(theirs.keys() - ours.keys())) and members:
            faults.append(f"{len(lost)} windows of {len(theirs)} not judged: {stretches(lost)}")
        if members and len(alike) < len(ours.keys() & theirs.keys()):
            faults.append("windows were judged by other detectors")
        fields = ("id", "start", "end", "opened_at", "last_at", "closed_at", "severity",
                  "n_windows", "state")
        pairs = [[tuple(getattr(i, name) for name in fields) for i in anomalies(store)]
                 for store in (found, expected)]
        if members and pairs[0] != pairs[1]:
            faults.append(f"incidents differ: {sorted(set(pairs[0]) ^ set(pairs[1]))[:4]}")
        faults += found.integrity_check()
    return faults


def who(verdict):
    return ({name for name, value in verdict.detectors.items() if value is not None},
            set(getattr(verdict, "left_out", ())))


def missed(rig, plan, lead=1):
    """Planted faults that no anomaly incident overlaps; samples are numbered from ``lead``."""
    with AlertStore(rig.store) as store:
        spans = [(i.start, i.end) for i in anomalies(store)]
    return [f"fault in {FEATURES[feature]} at {start} to {end} was not found"
            for start, end, feature in plan.faults
            if not any(a <= end + lead and b >= start + lead for a, b in spans)]


def stretches(ends):
    """Runs of window ends as text."""
    found = list(runs(ends))
    return ", ".join(found[:5]) + ", ..." * (len(found) > 5)


def blind(rig, plan, lead=1, after=60, slack=WINDOW + 2 * STRIDE):
    """Minutes of event time without a judged window that no health incident covers.

    A stretch that lasts longer than ``after`` must be covered from where it became known to its
    end; stretches of samples, so that a clock that jumps does not matter here.
    """
    with AlertStore(rig.store) as store:
        ends = sorted(judged(store))
        health = [i for i in store.incidents() if getattr(i, "kind", "anomaly") == "health"]
    grid = np.arange(lead + WINDOW - 1, lead + plan.n, STRIDE)
    if ends:
        grid = ends[0] % STRIDE + np.arange(0, lead + plan.n, STRIDE)
        grid = grid[grid >= lead + WINDOW - 1]
    dark = sorted(set(grid.tolist()) - set(ends))
    faults = []
    for text, (first, last) in runs(dark).items():
        if last - first + STRIDE < after + slack:
            continue
        if not covered(health, first, last, after + slack):
            faults.append(f"windows {text} not judged, and no health incident says so")
    for what, name, start, end in plan.blind:
        if end - start < after + slack or name is None:
            continue
        mine = [i for i in health if name in i.id or name in getattr(i, "detail", "")]
        if not covered(mine, start + lead, end + lead, after + slack):
            faults.append(f"{name} {what} from {start} to {end}, and no health incident says so")
    return faults


def times(rig, plan, lead=1, slack=100, most=300.0):
    """Windows whose time is wrong although every stamp near them is right.

    A clock that was set is followed, so what lies in a stretch of odd stamps may be anywhere.
    """
    trouble = np.zeros(plan.n + lead, bool)
    for start, end in plan.clocks:
        trouble[start + lead:end + lead + slack] = True
    with AlertStore(rig.store) as store:
        found = [(v.end, v.time - BEGIN - (v.end - lead)) for v in store.verdicts()
                 if not trouble[v.end]]
        odd = [q.detail for q in store.quality() if not np.isfinite(q.time)]
    wrong = [end for end, away in found if not abs(away) <= most]
    return [f"windows {stretches(wrong)} have wrong times"] * bool(wrong) + [
        f"a quality event without a time: {detail}" for detail in odd[:1]]


def runs(ends, step=STRIDE):
    found = []
    for end in ends:
        if found and end - found[-1][1] <= step:
            found[-1][1] = end
        else:
            found.append([end, end])
    return {f"{a} to {b}": (a, b) for a, b in found}


def covered(incidents, first, last, slack):
    """Whether incidents lie over a stretch of samples, but for its first and last ``slack``."""
    left = np.ones(max(last - first + 1, 0), bool)
    left[:slack] = False
    left[max(len(left) - slack, 0):] = False
    for incident in incidents:
        end = last if incident.state == "open" else incident.end
        left[max(incident.start - first, 0):max(end - first + 1, 0)] = False
    overlaps = any(i.start <= last and (i.state == "open" or i.end >= first) for i in incidents)
    return overlaps and not left.any()


def told(rig, slack):
    """Messages that were lost, came out of order, or say different things under one id."""
    with AlertStore(rig.store) as store:
        rows = store.outbox()
        health = [i.id for i in store.incidents() if getattr(i, "kind", "anomaly") == "health"]
        wanted = {event.id: event.incident.id for event in store.events() if event.notify}
    texts = [payload["blocks"][-1]["text"]["text"] for status, payload in slack.received
             if 200 <= status < 300]
    ids = [text.rpartition("Message: ")[2].split()[0] for text in texts if "Message: " in text]
    states = {row.id.rpartition("|")[0]: f"{row.state}, {row.error}"
              for row in rows}
    faults = [f"{name} did not arrive: {states.get(name, 'no message')}" for name in wanted
              if name not in ids and not states.get(name, "").startswith("dead")]
    faults += [f"{row.id}: {row.state} {row.error}" for row in rows if row.state == "pending"]
    dead = [row for row in rows if row.state in ("dead", "discarded")]
    if dead and not any("channel" in name for name in health):
        faults.append(f"{len(dead)} dead letters ({dead[0].error}), and no health incident says so")
    for incident in set(wanted.values()):
        order = [int(name.rpartition("|")[2]) for name in dict.fromkeys(ids)
                 if wanted.get(name) == incident]
        if order != sorted(order):
            faults.append(f"{incident}: messages in the order {order}")
    return faults
