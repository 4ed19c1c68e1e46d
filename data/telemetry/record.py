"""Record labelled host telemetry: a small service, routine jobs, and injected faults.

The recording answers one question: which changes of a machine's metrics can a detector see, and
which legitimate ones does it mistake for faults? Three rules keep the answer honest.

* The whole schedule is fixed by a seed and written to a file *before* anything is recorded.
* The injector runs in every session, fault-free ones included, so its mere presence labels nothing.
* The label ``effect`` comes from what the injector counted itself doing, never from the metrics.

Usage::

    python record.py schedule --seed 20261121 --out schedule.json
    python record.py run --schedule schedule.json --out DIR [--sessions 0 1]

Linux only; needs numpy beside the standard library.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import hashlib
import json
import math
import mmap
import multiprocessing as mp
import os
import queue
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# --------------------------------------------------------------------------------------------------
# What is recorded, and the limits of what is injected
# --------------------------------------------------------------------------------------------------

SESSION_SECONDS = 900
N_SESSIONS = 8
FAULT_FREE_SESSIONS = 2
REAL_STRENGTHS = (0.15, 0.3, 0.6, 1.0)
MIN_SEPARATION_S = 20.0
RECOVERY_S = 10
WARM_UP_S = 6.0
PAUSE_S = 5.0
NICENESS = -5
MAX_ANOMALOUS_SHARE = 0.05

MIB = 1024 * 1024
PAGE = mmap.PAGESIZE
N_WORKERS = 4
N_BURNERS = 2
MAX_QUEUE = 150

#: Strength 1.0 of each fault; a weaker event gets its strength times this.
CAPS: dict[str, dict[str, float | str]] = {
    "cpu_hog": {"cap": 1.2, "unit": "cores"},
    "memory_ballast": {"cap": 1.2, "unit": "GiB"},
    "disk_write_storm": {"cap": 40.0, "unit": "MB/s"},
    "loopback_burst": {"cap": 150.0, "unit": "MB/s"},
    "fork_burst": {"cap": 150.0, "unit": "processes/s"},
    "stalled_worker": {"cap": 4.0, "unit": "workers"},
}
KINDS = tuple(CAPS)
#: A fraction of four workers is not a whole number, so this ladder is spelled out.
STALLED_WORKERS = {0.0: 0, 0.15: 1, 0.3: 2, 0.6: 3, 1.0: 4}

MIN_AVAILABLE_GIB = 6.0
STORM_FILE_BYTES = 256 * MIB
MAX_CHILDREN_ALIVE = 16
BACKUP_BYTES = 100 * MIB

FEATURES = (
    "cpu_user_pct", "cpu_system_pct", "cpu_iowait_pct", "load_1min", "ctx_switches_per_s",
    "interrupts_per_s", "mem_used_mib", "mem_available_mib", "mem_dirty_mib", "page_faults_per_s",
    "disk_write_mib_per_s", "disk_writes_per_s", "disk_read_mib_per_s", "lo_mib_per_s",
    "lo_packets_per_s", "processes_count", "threads_count", "forks_per_s", "tcp_sockets",
    "jobs_per_s", "job_latency_ms", "queue_length",
)  # fmt: skip
ENVIRONMENT = (
    "env_steal_pct", "env_cpu_pressure_pct", "env_io_pressure_pct", "env_mem_pressure_pct",
    "env_foreign_cpu_pct",
)  # fmt: skip
LABELS = ("commanded", "strength", "effect", "state")
COLUMNS = ("session", "t", *FEATURES, *ENVIRONMENT, *LABELS)

# --------------------------------------------------------------------------------------------------
# Schedule
# --------------------------------------------------------------------------------------------------


@dataclass
class Event:
    """One scheduled event.

    Parameters
    ----------
    role : str
        ``fault``, ``sham``, ``backup`` or ``build``.
    kind : str
        Fault kind for ``fault`` and ``sham``; the role itself otherwise.
    strength : float
        Fraction of the kind's cap; 0 for everything that is not a real fault.
    onset, duration : float
        Seconds from the start of the session.
    """

    role: str
    kind: str
    strength: float
    onset: float
    duration: float

    @property
    def end(self) -> float:
        """Return the second at which the event is commanded to stop."""
        return self.onset + self.duration


@dataclass
class Session:
    """One session: its length, the seed of its normal load, and its events in order of onset."""

    session: int
    seconds: int
    split: str
    load_seed: int
    events: list[Event] = field(default_factory=list)


def _place(events: list[Event], seconds: int, rng: np.random.Generator) -> list[Event]:
    """Draw uniform onsets until every event starts well after the previous one ended.

    Rejecting whole draws, rather than moving the events that clash, keeps every admissible
    arrangement equally likely: the position within a session carries no information.
    """
    for _ in range(1_000_000):
        for event in events:
            event.onset = round(float(rng.uniform(60.0, seconds - 40.0)), 1)
        ordered = sorted(events, key=lambda event: event.onset)
        gaps = (b.onset - a.end for a, b in zip(ordered, ordered[1:], strict=False))
        # An event still running at the last row would be cut off, and its label with it.
        if ordered[-1].end <= seconds - RECOVERY_S and all(gap >= MIN_SEPARATION_S for gap in gaps):
            return ordered
    raise RuntimeError("no arrangement found: too many events for the session's length")


def _durations(n: int, seconds: int, rng: np.random.Generator) -> list[float]:
    """Draw ``n`` durations of 8-12 s whose rows stay below the allowed share of a session.

    An event that starts inside a second touches one row more than its length, hence ``+ n``.
    """
    while True:
        drawn = [round(float(value), 1) for value in rng.uniform(8.0, 12.0, size=n)]
        if sum(drawn) + n < MAX_ANOMALOUS_SHARE * seconds:
            return drawn


def make_schedule(seed: int) -> dict[str, Any]:
    """Build the full schedule from a seed.

    Parameters
    ----------
    seed : int
        Seed of every random choice made here.

    Returns
    -------
    dict
        JSON-ready schedule.

    Notes
    -----
    Each (kind, strength) pair occurs exactly once. Row ``s`` (a session) and column ``j`` (a
    strength) of a cyclic Latin rectangle hold kind ``(s + shift_j) mod 6``; distinct shifts make
    the kinds of a session differ and let every kind meet every strength. A fifth shift gives the
    sham, whose kind therefore differs from the session's real faults.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(KINDS)
    shifts = rng.permutation(len(KINDS))
    rows = iter(rng.permutation(len(KINDS)))
    sessions = []
    for index in range(N_SESSIONS):
        events: list[Event] = []
        if index >= FAULT_FREE_SESSIONS:
            row = int(next(rows))
            durations = _durations(len(REAL_STRENGTHS), SESSION_SECONDS, rng)
            for column, strength in enumerate(REAL_STRENGTHS):
                kind = str(kinds[(row + shifts[column]) % len(KINDS)])
                events.append(Event("fault", kind, strength, 0.0, durations[column]))
            kind = str(kinds[(row + shifts[len(REAL_STRENGTHS)]) % len(KINDS)])
            events.append(Event("sham", kind, 0.0, 0.0, round(float(rng.uniform(8.0, 12.0)), 1)))
        for role, length in (("backup", 25.0), ("build", 20.0)):
            events += [Event(role, role, 0.0, 0.0, length) for _ in range(int(rng.integers(1, 3)))]
        split = ("train", "calibrate")[index] if index < FAULT_FREE_SESSIONS else "test"
        load_seed = int(rng.integers(2**31))
        events = _place(events, SESSION_SECONDS, rng)
        sessions.append(Session(index, SESSION_SECONDS, split, load_seed, events))
    return _as_json(seed, sessions)


def make_rehearsal(seed: int) -> dict[str, Any]:
    """Build one short session that commands every fault at full strength, and every look-alike."""
    events: list[Event] = []
    clock = 10.3
    for role, kind, strength, duration in (
        *(("fault", kind, 1.0, 6.0) for kind in KINDS),
        *(("sham", kind, 0.0, 4.0) for kind in KINDS[:2]),
        ("backup", "backup", 0.0, 10.0),
        ("build", "build", 0.0, 8.0),
    ):
        events.append(Event(role, kind, strength, round(clock, 1), duration))
        clock += duration + RECOVERY_S
    return _as_json(seed, [Session(0, math.ceil(clock), "rehearsal", seed, events)])


def _as_json(seed: int, sessions: Sequence[Session]) -> dict[str, Any]:
    return {"seed": seed, "caps": CAPS, "sessions": [asdict(session) for session in sessions]}


def read_session(raw: dict[str, Any], scale: float = 1.0) -> Session:
    """Rebuild a :class:`Session` from JSON, with all its times multiplied by ``scale``."""
    events = [Event(**event) for event in raw["events"]]
    for event in events:
        event.onset *= scale
        event.duration *= scale
    return Session(raw["session"], round(raw["seconds"] * scale), raw["split"], raw["load_seed"], events)


# --------------------------------------------------------------------------------------------------
# State shared between the processes
# --------------------------------------------------------------------------------------------------


class Board:
    """Counters and flags in shared memory.

    Every slot has a single writer, so no locks are needed and the sampler never makes the load
    or the injector wait. All counters only grow; the sampler takes differences.
    """

    def __init__(self) -> None:
        self.stop = mp.RawValue("b", 0)
        self.submitted = mp.RawValue("q", 0)
        self.started = mp.RawArray("q", N_WORKERS)
        self.done = mp.RawArray("q", N_WORKERS)
        self.latency_s = mp.RawArray("d", N_WORKERS)
        self.stall = mp.RawArray("b", N_WORKERS)
        self.stalled = mp.RawArray("b", N_WORKERS)
        self.backend_port = mp.RawValue("i", 0)
        #: Work the injector did, by kind; the burners count for it in ``burnt``.
        self.work = mp.RawArray("d", len(KINDS))
        self.burnt = mp.RawArray("d", N_BURNERS)
        self.burn_duty = mp.RawValue("d", 0.0)
        self.burn_until = mp.RawValue("d", 0.0)
        #: Work of the routine jobs: backup, build.
        self.routine = mp.RawArray("d", 2)

    def work_done(self) -> np.ndarray:
        """Return the work counted so far for each kind of fault."""
        work = np.array(self.work[:])
        work[KINDS.index("cpu_hog")] += sum(self.burnt[:])
        return work


def _die_with_parent() -> None:
    """Ask the kernel to end this process should the recorder itself be killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _on_terminate(_signum: int, _frame: object) -> None:
    # An exception, not an immediate exit, so that every ``finally`` still cleans up.
    raise SystemExit(0)


def _entry(target: Callable[..., None], *args: Any) -> None:
    """Run ``target`` as a child process that neither outlives nor interrupts the recorder."""
    _die_with_parent()
    signal.signal(signal.SIGTERM, _on_terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target(*args)


def _sleep_until(moment: float, board: Board, step: float = 0.2) -> None:
    """Sleep until a monotonic moment, waking now and then to see whether to stop."""
    while not board.stop.value and (left := moment - time.monotonic()) > 0:
        time.sleep(min(left, step))


def _paced(rate: float, unit: float, end: float, board: Board) -> Iterator[None]:
    """Yield once for each unit of work that ``rate`` (units per second) permits until ``end``.

    Time lost to a slow device is not made up for beyond a quarter of a second: catching up would
    exceed the cap that keeps the fault harmless.
    """
    allowed_from = time.monotonic()
    while not board.stop.value and (now := time.monotonic()) < end:
        allowed_from = max(allowed_from, now - 0.25)
        if allowed_from > now:
            time.sleep(min(allowed_from, end) - now)
            continue
        allowed_from += unit / rate
        yield


# --------------------------------------------------------------------------------------------------
# Normal load: a small service
# --------------------------------------------------------------------------------------------------


class _BackendHandler(socketserver.StreamRequestHandler):
    """Answer each request line, ``<delay in ms> <bytes>``, after the delay with that many bytes."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            delay_ms, size = line.split()
            time.sleep(float(delay_ms) / 1e3)
            self.wfile.write(b"x" * int(size))


class _BackendServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


def backend(board: Board) -> None:
    """Serve the workers' requests over loopback TCP."""
    with _BackendServer(("127.0.0.1", 0), _BackendHandler) as server:
        board.backend_port.value = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True).start()
        while not board.stop.value:
            time.sleep(0.2)
        server.shutdown()


def _ask(connection: socket.socket, delay_ms: float, size: int) -> None:
    connection.sendall(f"{delay_ms:.1f} {size}\n".encode())
    while size > 0:
        received = connection.recv(min(size, 65536))
        if not received:
            raise ConnectionError("the backend closed the connection")
        size -= len(received)


def worker(index: int, jobs: Any, board: Board, folder: str, seed: int) -> None:
    """Take jobs from the queue: compute, ask the backend, sometimes write a file.

    The wait for the backend makes a job hold its worker for longer than it uses the CPU. Losing
    some of the four workers therefore matters, at a load that leaves the machine mostly idle.
    """
    rng = np.random.default_rng([seed, index])
    while not board.backend_port.value and not board.stop.value:
        time.sleep(0.02)
    address = ("127.0.0.1", board.backend_port.value)
    blob = rng.bytes(256 * 1024)
    with socket.create_connection(address) as connection:
        while not board.stop.value:
            board.stalled[index] = board.stall[index]
            if board.stall[index]:
                time.sleep(0.02)
                continue
            try:
                submitted = jobs.get(timeout=0.1)
            except queue.Empty:
                continue
            board.started[index] += 1
            for _ in range(int(rng.integers(20, 70))):
                hashlib.sha256(blob).digest()
            np.sort(rng.random(int(rng.integers(20_000, 60_000))))
            delay_ms, size = float(rng.uniform(20.0, 65.0)), int(rng.integers(512, 8192))
            chance = rng.random()
            if chance < 0.1:
                with socket.create_connection(address) as short_lived:
                    _ask(short_lived, delay_ms, size)
            else:
                _ask(connection, delay_ms, size)
            if chance > 0.8:
                name = f"job-{index}-{int(rng.integers(8))}"
                Path(folder, name).write_bytes(blob[: int(rng.integers(4_096, 65_536))])
            board.done[index] += 1
            board.latency_s[index] += time.monotonic() - submitted


def arrival_rates(seconds: int, seed: int) -> np.ndarray:
    """Return jobs per second, for each second: a slow wave times levels that change now and then."""
    rng = np.random.default_rng(seed)
    period, phase = rng.uniform(300.0, 600.0), rng.uniform(0.0, 2.0 * np.pi)
    wave = 1.0 + 0.3 * np.sin(2.0 * np.pi * np.arange(seconds) / period + phase)
    levels: list[float] = []
    while len(levels) < seconds:
        levels += [float(rng.uniform(15.0, 32.0))] * int(rng.integers(40, 121))
    return np.clip(wave * np.array(levels[:seconds]), 12.0, 38.0)


def dispatcher(jobs: Any, board: Board, t0: float, seconds: int, seed: int) -> None:
    """Submit jobs at random (Poisson) times; shed them while the queue is full.

    Shedding bounds the backlog a stall leaves behind, so that the service is back to normal well
    within the recovery period.
    """
    rates = arrival_rates(seconds, seed)
    rng = np.random.default_rng([seed, 99])
    jobs.cancel_join_thread()
    moment = time.monotonic()
    while not board.stop.value:
        second = min(max(int(moment - t0), 0), seconds - 1)
        moment += float(rng.exponential(1.0 / rates[second]))
        _sleep_until(moment, board)
        if board.submitted.value - sum(board.started[:]) < MAX_QUEUE:
            board.submitted.value += 1
            jobs.put(time.monotonic())


# --------------------------------------------------------------------------------------------------
# Routine jobs: legitimate, yet they look like faults
# --------------------------------------------------------------------------------------------------


def _write_source(path: Path) -> None:
    """Write the file to back up, and drop it from the page cache so that a backup reads the disk."""
    with path.open("wb") as file:
        for _ in range(BACKUP_BYTES // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _backup(event: Event, end: float, board: Board, folder: Path) -> None:
    copy = folder / "backup"
    rate = BACKUP_BYTES / max(event.duration - 1.0, 1.0)
    try:
        with (folder / "source").open("rb") as source, copy.open("wb") as target:
            for step, _ in enumerate(_paced(rate, MIB, end, board)):
                chunk = source.read(MIB)
                if not chunk:
                    break
                target.write(chunk)
                board.routine[0] += 1
                if step % 4 == 3:
                    target.flush()
                    os.fsync(target.fileno())
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        copy.unlink(missing_ok=True)


def _build(end: float, board: Board, rng: np.random.Generator) -> None:
    """Run short compiler-like processes one after the other, up to two at once."""
    code = "import hashlib,sys\nfor _ in range(int(sys.argv[1])): hashlib.sha256(bytes(1<<20)).digest()"
    alive: list[subprocess.Popen[bytes]] = []
    try:
        for _ in _paced(7.0, 1.0, end, board):
            alive = [child for child in alive if child.poll() is None]
            if len(alive) < 2:
                rounds = str(int(rng.integers(40, 160)))
                alive.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", code, rounds]))
            board.routine[1] += 1
    finally:
        for child in alive:
            child.kill()
            child.wait()


def routine(board: Board, t0: float, session: Session, folder: str) -> None:
    """Run the session's backups and builds when they are due."""
    rng = np.random.default_rng([session.load_seed, 7])
    for event in session.events:
        if event.role not in ("backup", "build"):
            continue
        _sleep_until(t0 + event.onset, board)
        if board.stop.value:
            return
        if event.role == "backup":
            _backup(event, t0 + event.end, board, Path(folder))
        else:
            _build(t0 + event.end, board, rng)
    while not board.stop.value:
        time.sleep(0.2)


# --------------------------------------------------------------------------------------------------
# Faults
# --------------------------------------------------------------------------------------------------


def burner(index: int, board: Board) -> None:
    """Use a share of one core while told to. The burners exist, idle, in every session."""
    period = 0.1
    block = bytes(64 * 1024)
    while not board.stop.value:
        now = time.monotonic()
        # The deadline is checked here too: a dead injector must not leave a burner running.
        if board.burn_duty.value <= 0.0 or now >= board.burn_until.value:
            time.sleep(0.02)
            continue
        busy_until = min(now + period * min(board.burn_duty.value, 1.0), board.burn_until.value)
        while time.monotonic() < busy_until:
            hashlib.sha256(block).digest()
            board.burnt[index] += 1
        time.sleep(max(now + period - time.monotonic(), 0.0))


class Injector:
    """Carry out the commanded faults of one session, and count the work done for each kind."""

    def __init__(self, board: Board, t0: float, session: Session, folder: str) -> None:
        self.board = board
        self.t0 = t0
        self.session = session
        self.folder = Path(folder)

    def run(self) -> None:
        """Follow the schedule; a sham is waited for like any other event, and nothing is done."""
        board = self.board
        for event in self.session.events:
            if event.role not in ("fault", "sham"):
                continue
            _sleep_until(self.t0 + event.onset, board)
            end = self.t0 + event.end
            if event.strength > 0.0 and not board.stop.value:
                getattr(self, f"_{event.kind}")(event.strength, end)
            _sleep_until(end, board)
        while not board.stop.value:
            time.sleep(0.2)

    def _count(self, kind: str, amount: float) -> None:
        self.board.work[KINDS.index(kind)] += amount

    def _cpu_hog(self, strength: float, end: float) -> None:
        self.board.burn_until.value = end
        self.board.burn_duty.value = strength * float(CAPS["cpu_hog"]["cap"]) / N_BURNERS
        try:
            _sleep_until(end, self.board)
        finally:
            self.board.burn_duty.value = 0.0

    def _memory_ballast(self, strength: float, end: float) -> None:
        """Touch every page of an anonymous mapping and hold it; work counts page-seconds held."""
        size = int(strength * float(CAPS["memory_ballast"]["cap"]) * 1024**3) // PAGE * PAGE
        step = 16 * MIB
        held = 0
        last = time.monotonic()
        # Private, for shared anonymous pages are accounted for as page cache.
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as ballast:
            while not self.board.stop.value and time.monotonic() < end:
                if held < size:
                    # Checked before every step: others may be taking memory at the same time.
                    if _meminfo()["MemAvailable"] < MIN_AVAILABLE_GIB * 1024**2:
                        print("memory_ballast: too little memory available, stopping", flush=True)
                        return
                    stop = min(held + step, size)
                    for offset in range(held, stop, PAGE):
                        ballast[offset] = 1
                    held = stop
                else:
                    time.sleep(min(0.05, max(end - time.monotonic(), 0.0)))
                now = time.monotonic()
                self._count("memory_ballast", held / PAGE * (now - last))
                last = now

    def _disk_write_storm(self, strength: float, end: float) -> None:
        rate = strength * float(CAPS["disk_write_storm"]["cap"]) * 1e6
        chunk = os.urandom(MIB)
        path = self.folder / "storm"
        last_sync = time.monotonic()
        try:
            with path.open("wb", buffering=0) as file:
                for _ in _paced(rate, len(chunk), end, self.board):
                    if file.tell() + len(chunk) > STORM_FILE_BYTES:
                        file.seek(0)
                        file.truncate()
                    self._count("disk_write_storm", file.write(chunk))
                    if time.monotonic() - last_sync > 0.25:
                        os.fsync(file.fileno())
                        last_sync = time.monotonic()
        finally:
            path.unlink(missing_ok=True)

    def _loopback_burst(self, strength: float, end: float) -> None:
        rate = strength * float(CAPS["loopback_burst"]["cap"]) * 1e6
        chunk = bytes(128 * 1024)
        with socket.create_server(("127.0.0.1", 0)) as server:
            sender = socket.create_connection(server.getsockname())
            receiver, _ = server.accept()

        def drain() -> None:
            buffer = bytearray(256 * 1024)
            while received := receiver.recv_into(buffer):
                self._count("loopback_burst", received)

        sink = threading.Thread(target=drain, daemon=True)
        sink.start()
        try:
            for _ in _paced(rate, len(chunk), end, self.board):
                sender.sendall(chunk)
        finally:
            sender.close()
            sink.join(timeout=1.0)
            receiver.close()

    def _fork_burst(self, strength: float, end: float) -> None:
        rate = strength * float(CAPS["fork_burst"]["cap"])
        trivial = shutil.which("true") or "/bin/true"
        alive: list[int] = []
        try:
            for _ in _paced(rate, 1.0, end, self.board):
                alive = [pid for pid in alive if os.waitpid(pid, os.WNOHANG)[0] == 0]
                if len(alive) < MAX_CHILDREN_ALIVE:
                    alive.append(os.posix_spawn(trivial, [trivial], {}))
                    self._count("fork_burst", 1)
        finally:
            for pid in alive:
                os.waitpid(pid, 0)

    def _stalled_worker(self, strength: float, end: float) -> None:
        """Raise the flags that workers check; work counts the worker-seconds they report stalled."""
        board = self.board
        last = time.monotonic()
        try:
            for index in range(STALLED_WORKERS[strength]):
                board.stall[index] = 1
            while not board.stop.value and time.monotonic() < end:
                time.sleep(min(0.02, max(end - time.monotonic(), 0.0)))
                now = time.monotonic()
                self._count("stalled_worker", sum(board.stalled[:]) * (now - last))
                last = now
        finally:
            for index in range(N_WORKERS):
                board.stall[index] = 0


def injector(board: Board, t0: float, session: Session, folder: str) -> None:
    """Run the injector as a process."""
    Injector(board, t0, session, folder).run()


# --------------------------------------------------------------------------------------------------
# Sampler
# --------------------------------------------------------------------------------------------------


def _meminfo() -> dict[str, float]:
    """Return ``/proc/meminfo`` in KiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {name: float(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}


def _disks() -> frozenset[str]:
    """Return the names of the real disks: partitions and stacked devices would count twice."""
    virtual = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")
    return frozenset(p.name for p in Path("/sys/block").iterdir() if not p.name.startswith(virtual))


def _pressure(resource: str) -> float:
    """Return the microseconds in which some task waited for ``resource``; NaN without PSI."""
    try:
        first = Path(f"/proc/pressure/{resource}").read_text().splitlines()[0]
    except OSError:
        return math.nan
    return float(first.rsplit("total=", 1)[1])


class Sampler:
    """Read the host's counters and gauges, and the service's own, straight from ``/proc``.

    Parameters
    ----------
    board : Board
        Shared state of the session.
    pids : sequence of int
        The recorder's own processes; their CPU time is not foreign. Children that they have
        reaped are included, which is how short-lived processes are accounted for.
    """

    def __init__(self, board: Board, pids: Sequence[int]) -> None:
        self.board = board
        self.pids = tuple(pids)
        self.disks = _disks()
        self.ticks_per_s = os.sysconf("SC_CLK_TCK")

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the counters (to be differenced) and the gauges (as they are)."""
        counters: dict[str, float] = {"time": time.monotonic()}
        gauges: dict[str, float] = {}
        for line in Path("/proc/stat").read_text().splitlines():
            name, *values = line.split()
            if name == "cpu":
                user, nice, system, idle, iowait, irq, softirq, steal = map(float, values[:8])
                counters["user"] = user + nice
                counters["system"] = system + irq + softirq
                counters["iowait"] = iowait
                counters["steal"] = steal
                counters["all"] = user + nice + system + idle + iowait + irq + softirq + steal
            elif name in ("ctxt", "intr", "processes"):
                counters[name] = float(values[0])
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("pgfault "):
                counters["pgfault"] = float(line.split()[1])
                break
        counters |= {"sectors_read": 0.0, "writes": 0.0, "sectors_written": 0.0}
        for line in Path("/proc/diskstats").read_text().splitlines():
            fields = line.split()
            if fields[2] in self.disks:
                counters["sectors_read"] += float(fields[5])
                counters["writes"] += float(fields[7])
                counters["sectors_written"] += float(fields[9])
        for line in Path("/proc/net/dev").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name.strip() == "lo":
                received = rest.split()
                counters["lo_bytes"], counters["lo_packets"] = float(received[0]), float(received[1])
        for resource in ("cpu", "io", "memory"):
            counters[f"psi_{resource}"] = _pressure(resource)
        counters["own_cpu"] = self._own_cpu()
        counters["jobs"] = float(sum(self.board.done[:]))
        counters["latency"] = float(sum(self.board.latency_s[:]))

        load, _, _, entities, _ = Path("/proc/loadavg").read_text().split()
        gauges["load_1min"] = float(load)
        gauges["threads_count"] = float(entities.split("/")[1])
        gauges["processes_count"] = float(sum(name.isdigit() for name in os.listdir("/proc")))
        memory = _meminfo()
        cached = memory["Cached"] + memory["Buffers"] + memory["SReclaimable"]
        gauges["mem_used_mib"] = (memory["MemTotal"] - memory["MemFree"] - cached) / 1024
        gauges["mem_available_mib"] = memory["MemAvailable"] / 1024
        gauges["mem_dirty_mib"] = (memory["Dirty"] + memory["Writeback"]) / 1024
        for line in Path("/proc/net/sockstat").read_text().splitlines():
            if line.startswith("TCP:"):
                gauges["tcp_sockets"] = float(line.split()[2])
        gauges["queue_length"] = float(max(self.board.submitted.value - sum(self.board.started[:]), 0))
        return counters, gauges

    def _own_cpu(self) -> float:
        total = 0.0
        for pid in self.pids:
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            # The name, in parentheses, may hold spaces: count the fields from after it.
            total += sum(map(float, stat.rpartition(")")[2].split()[11:15]))
        return total


def derive(
    before: dict[str, float], after: dict[str, float], gauges: dict[str, float], ticks_per_s: float
) -> dict[str, float]:
    """Turn two readings of the counters, and the gauges at the second, into one row of values."""
    delta = {name: after[name] - before[name] for name in after}
    dt = delta["time"]
    share = 100.0 / max(delta["all"], 1.0)
    foreign = delta["user"] + delta["system"] - delta["own_cpu"]
    return gauges | {
        "cpu_user_pct": delta["user"] * share,
        "cpu_system_pct": delta["system"] * share,
        "cpu_iowait_pct": max(delta["iowait"], 0.0) * share,
        "ctx_switches_per_s": delta["ctxt"] / dt,
        "interrupts_per_s": delta["intr"] / dt,
        "page_faults_per_s": delta["pgfault"] / dt,
        "disk_write_mib_per_s": delta["sectors_written"] * 512 / MIB / dt,
        "disk_writes_per_s": delta["writes"] / dt,
        "disk_read_mib_per_s": delta["sectors_read"] * 512 / MIB / dt,
        "lo_mib_per_s": delta["lo_bytes"] / MIB / dt,
        "lo_packets_per_s": delta["lo_packets"] / dt,
        "forks_per_s": delta["processes"] / dt,
        "jobs_per_s": delta["jobs"] / dt,
        "job_latency_ms": 1e3 * delta["latency"] / delta["jobs"] if delta["jobs"] else 0.0,
        "env_steal_pct": delta["steal"] * share,
        "env_cpu_pressure_pct": delta["psi_cpu"] / dt / 1e4,
        "env_io_pressure_pct": delta["psi_io"] / dt / 1e4,
        "env_mem_pressure_pct": delta["psi_memory"] / dt / 1e4,
        # Unreaped children and 10 ms ticks make the difference slightly negative at times.
        "env_foreign_cpu_pct": max(100.0 * foreign / ticks_per_s / dt, 0.0),
    }


def label_rows(session: Session, work: np.ndarray, routine_work: np.ndarray) -> list[dict[str, Any]]:
    """Label every row from what the injector and the routine jobs counted in its second.

    Parameters
    ----------
    session : Session
        The session's schedule.
    work : ndarray of shape (rows, kinds)
        Work done by each kind of fault in each second.
    routine_work : ndarray of shape (rows, 2)
        Work done by backup and build in each second.

    Returns
    -------
    list of dict
        ``commanded``, ``strength``, ``effect`` and ``state`` of each row. Row ``i`` covers the
        second from ``i`` to ``i + 1``.
    """
    labels = []
    last_effect: int | None = None
    routine_events = [event for event in session.events if event.role in ("backup", "build")]
    injected = [event for event in session.events if event.role in ("fault", "sham")]
    for row in range(len(work)):
        now = next((e for e in injected if e.onset < row + 1 and e.end > row), None)
        done = np.flatnonzero(work[row] > 0)
        if now is None and done.size:
            # The last bit of work may be counted just after the commanded end.
            late = (e for e in reversed(injected) if e.onset <= row and e.kind == KINDS[done[0]])
            now = next(late, None)
        effect = bool(done.size)
        # A routine job that waits for the disk may count nothing for a second while it runs.
        busy = next((e.role for e in routine_events if e.onset < row + 1 and e.end > row), None)
        if routine_work[row].any():
            busy = ("backup", "build")[int(np.argmax(routine_work[row]))]
        if effect:
            state, last_effect = "fault", row
        elif now is not None and now.role == "sham":
            state = "sham"
        elif last_effect is not None and row - last_effect <= RECOVERY_S:
            state = "recovery"
        else:
            state = busy or "normal"
        labels.append(
            {
                "commanded": now.kind if now else "",
                "strength": f"{now.strength:g}" if now else "",
                "effect": int(effect),
                "state": state,
            }
        )
    return labels


def _format(name: str, value: float) -> str:
    """Write a value with the digits that mean something; a missing one is an empty field."""
    if math.isnan(value):
        return ""
    if name.startswith("mem_") and name != "mem_dirty_mib":
        return f"{value:.0f}"
    if value == 0 or abs(value) < 1e-3:
        return "0"
    digits = max(3 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{min(digits, 3)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def write_session(path: Path, session: Session, rows: list[dict[str, float]], labels: list[Any]) -> None:
    """Write a session's table; the name appears only once the file is complete."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for t, (row, label) in enumerate(zip(rows, labels, strict=True)):
                values = [_format(name, row.get(name, math.nan)) for name in (*FEATURES, *ENVIRONMENT)]
                writer.writerow([session.session, t + 1, *values, *(label[name] for name in LABELS)])
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------------
# Running
# --------------------------------------------------------------------------------------------------


@contextmanager
def _processes(board: Board, t0: float, session: Session, folder: str) -> Iterator[list[int]]:
    """Start load, routine jobs and injector; stop them whatever happens. Yields their ids."""
    context = mp.get_context("fork")
    jobs = context.Queue()
    seed = session.load_seed
    targets: list[tuple[Any, ...]] = [
        (backend, board),
        *((worker, index, jobs, board, folder, seed) for index in range(N_WORKERS)),
        (dispatcher, jobs, board, t0, session.seconds, seed),
        (routine, board, t0, session, folder),
        (injector, board, t0, session, folder),
        *((burner, index, board) for index in range(N_BURNERS)),
    ]
    children = [context.Process(target=_entry, args=target, daemon=True) for target in targets]
    try:
        for child in children:
            child.start()
        yield [child.pid for child in children if child.pid is not None]
        died = [target[0].__name__ for target, child in zip(targets, children, strict=True) if child.exitcode]
        if died:
            raise RuntimeError(f"ended early: {', '.join(died)}")
    finally:
        board.stop.value = 1
        deadline = time.monotonic() + 5.0
        for child in children:
            if child.pid is not None:
                child.join(timeout=max(deadline - time.monotonic(), 0.0))
                if child.is_alive():
                    child.terminate()
                    child.join(timeout=2.0)
                if child.is_alive():
                    child.kill()


def record_session(session: Session, out: Path) -> None:
    """Record one session and write its table.

    A reading is due at every whole second of a monotonic clock, so delays do not add up. A second
    whose reading came too late, and the one after it, whose difference would span both, are
    written as empty fields.
    """
    board = Board()
    with tempfile.TemporaryDirectory(prefix="telemetry-") as folder:
        _write_source(Path(folder, "source"))
        t0 = time.monotonic() + WARM_UP_S
        rows: list[dict[str, float]] = []
        work = np.zeros((session.seconds, len(KINDS)))
        routine_work = np.zeros((session.seconds, 2))
        with _processes(board, t0, session, folder) as pids:
            sampler = Sampler(board, [os.getpid(), *pids])
            time.sleep(max(t0 - time.monotonic(), 0.0))
            before, _ = sampler.read()
            work_before, routine_before = board.work_done(), np.array(board.routine[:])
            while len(rows) < session.seconds:
                time.sleep(max(t0 + len(rows) + 1 - time.monotonic(), 0.0))
                first = len(rows)
                after, gauges = sampler.read()
                while len(rows) < session.seconds - 1 and after["time"] - t0 >= len(rows) + 2:
                    rows.append({})
                on_time = len(rows) == first and 0.5 < after["time"] - before["time"] < 1.5
                rows.append(derive(before, after, gauges, sampler.ticks_per_s) if on_time else {})
                before = after
                # Seconds that were missed share the counts of the gap: when is not known.
                now_work, now_routine = board.work_done(), np.array(board.routine[:])
                work[first : len(rows)] = now_work - work_before
                routine_work[first : len(rows)] = now_routine - routine_before
                work_before, routine_before = now_work, now_routine
    labels = label_rows(session, work, routine_work)
    write_session(out / f"session_{session.session}.csv", session, rows, labels)
    missed = sum(not row for row in rows)
    effect = sum(label["effect"] for label in labels)
    print(f"session {session.session}: {len(rows)} rows, {missed} missed, {effect} with effect", flush=True)


def run(schedule: Path, out: Path, sessions: Sequence[int] | None, scale: float) -> int:
    """Record the sessions of a schedule one after the other; return the number that failed."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    except PermissionError:
        print(f"nice {NICENESS} not permitted: recording at normal priority", flush=True)
    print(f"nice {os.getpriority(os.PRIO_PROCESS, 0)}", flush=True)
    signal.signal(signal.SIGTERM, _on_terminate)
    out.mkdir(parents=True, exist_ok=True)
    chosen = [
        read_session(raw, scale)
        for raw in json.loads(schedule.read_text(encoding="utf-8"))["sessions"]
        if sessions is None or raw["session"] in sessions
    ]
    failed = 0
    for position, session in enumerate(chosen):
        if position:
            time.sleep(PAUSE_S)
        print(f"session {session.session}: {session.seconds} s, {session.split}", flush=True)
        try:
            record_session(session, out)
        except (OSError, RuntimeError) as error:
            # One lost session is a gap in the data; a lost recording would be two hours.
            print(f"session {session.session} failed: {error}", flush=True)
            failed += 1
    print("finished", flush=True)
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    planner = commands.add_parser("schedule", help="write the schedule")
    planner.add_argument("--seed", type=int, required=True)
    planner.add_argument("--out", type=Path, required=True)
    planner.add_argument("--rehearsal", action="store_true", help="one short session with every fault")
    recorder = commands.add_parser("run", help="record the sessions of a schedule")
    recorder.add_argument("--schedule", type=Path, required=True)
    recorder.add_argument("--out", type=Path, required=True)
    recorder.add_argument("--sessions", type=int, nargs="+")
    recorder.add_argument("--seconds-scale", type=float, default=1.0, help="for dry runs: scale all times")
    options = parser.parse_args(arguments)
    if options.command == "schedule":
        plan = (make_rehearsal if options.rehearsal else make_schedule)(options.seed)
        options.out.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
        return 0
    return min(run(options.schedule, options.out, options.sessions, options.seconds_scale), 1)


if __name__ == "__main__":
    sys.exit(main())
