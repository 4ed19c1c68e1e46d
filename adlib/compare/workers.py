"""Where cells run: here, in other processes, in processes that can be killed, on a Dask cluster."""

import ctypes
import multiprocessing
import os
import queue
import re
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky import ProcessPoolExecutor, process_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from adlib.arguments import number, require_extra
from adlib.datasets import Dataset
from adlib.metrics import Metric

from .protocol import judge_cell, score_cell

__all__ = ["Limits", "Task", "checked_limits", "run"]

_ALONE = threading.Lock()  # warnings and torch's seed belong to the process: one cell at a time
ANSWER = 30.0  # seconds for a scheduler to answer, and to have a worker
LOOK = 0.02  # seconds between two looks at the memory of a cell
MIB = {"": 1.0, "mib": 1.0, "gib": 1024.0, "tib": 2.0**20,
       "mb": 1e6 / 2**20, "gb": 1e9 / 2**20, "tb": 1e12 / 2**20}


class Task(NamedTuple):
    """Cells of one detector on one data set: several seeds where no score depends on the seed."""

    model: Any
    dataset: Dataset
    seeds: tuple[int, ...]
    alpha: float
    purge: int
    memory: int
    metrics: list[str]
    own: tuple[Metric, ...]
    n_random: int
    intervals: bool
    delay: int | str | None = None
    missing: str = "error"
    keeps_scores: bool = False


class Limits(NamedTuple):
    """Where the process of a cell is ended: seconds of fit and score, MiB by which it grows."""

    time_limit: float | None = None
    memory_limit: float | None = None


NO_LIMITS = Limits()


def checked_limits(time_limit: Any, memory_limit: Any) -> Limits:
    """Limits as numbers; refuses what is none, or cannot be kept here."""
    if time_limit is not None:
        time_limit = number(time_limit, "time_limit", above=0)
        if not hasattr(signal, "setitimer"):
            raise ValueError("time_limit needs a POSIX system: leave it out")
    if isinstance(memory_limit, str):
        read = re.fullmatch(r"\s*(\d+\.?\d*)\s*(\w*)\s*", memory_limit)
        if not read or read[2].lower() not in MIB:
            raise ValueError(f"memory_limit must be a number of MiB, or a text such as '2 GiB', "
                             f"got {memory_limit!r}")
        memory_limit = float(read[1]) * MIB[read[2].lower()]
    if memory_limit is not None:
        memory_limit = number(memory_limit, "memory_limit", above=0)
        if not sys.platform.startswith("linux"):
            raise ValueError("memory_limit needs Linux: leave it out")
    return Limits(time_limit, memory_limit)


def run(tasks: list[Task], *, n_jobs: int = 1, limits: Limits = NO_LIMITS,
        scheduler: Any = None) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Number of each task and the outcomes of its cells, as they get ready, in any order."""
    if scheduler is not None:
        yield from _on_dask(tasks, limits, scheduler)
        return
    if limits == NO_LIMITS:
        jobs = (delayed(_numbered)(i, task) for i, task in enumerate(tasks))
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)
        return
    n_jobs = min(effective_n_jobs(n_jobs), max(1, len(tasks)))
    killables = [_Killable() for _ in range(n_jobs)]
    free: queue.SimpleQueue[_Killable] = queue.SimpleQueue()
    for killable in killables:
        free.put(killable)

    def limited(i: int, task: Task) -> tuple[int, list[dict[str, Any]]]:
        killable = free.get()
        try:
            return i, killable.outcomes(task, limits)
        finally:
            free.put(killable)

    try:
        jobs = (delayed(limited)(i, task) for i, task in enumerate(tasks))
        yield from Parallel(n_jobs=n_jobs, backend="threading",
                            return_as="generator_unordered")(jobs)
    finally:
        for killable in killables:
            killable.close()


def _numbered(i: int, task: Task) -> tuple[int, list[dict[str, Any]]]:
    return i, outcomes(task)


def outcomes(task: Task, time_limit: float | None = None) -> list[dict[str, Any]]:
    """One outcome a seed. Whatever goes wrong in a cell stays in it."""
    with _ALONE:
        facts, cell = _scored(task, time_limit)
        return [_judged(task, facts, cell, seed) for seed in task.seeds]


def _scored(task: Task, time_limit: float | None) -> tuple[dict[str, Any], Any]:
    peak = _Peak()
    with _caught() as facts, _alarm(time_limit):
        cell = score_cell(task.model, task.dataset, seed=task.seeds[0], alpha=task.alpha,
                          purge=task.purge, delay=task.delay, missing=task.missing)
        facts |= {"threshold": float(cell.threshold), "n_calibrate": cell.calibrate.size,
                  "n_test": cell.test.size, "fit_s": cell.fit_s, "score_s": cell.score_s}
    facts["peak_memory_mib"] = peak.mib()
    return facts, cell if facts["status"] == "ok" else None


def _judged(task: Task, facts: dict[str, Any], cell: Any, seed: int) -> dict[str, Any]:
    if cell is None:
        return facts | {"metrics": {}}
    with _caught(facts) as facts:
        asked = [*task.metrics, *task.own] if task.own else None
        table = judge_cell(task.dataset, cell, task.purge, metrics=asked, memory=task.memory,
                           n_random=task.n_random, intervals=task.intervals, random_state=seed)
        found = table.set_index("metric").to_dict("index")
        facts["metrics"] = {name: found[name] for name in task.metrics if name in found}
        if task.keeps_scores:
            facts["scores"] = cell
    return {"metrics": {}} | facts


@contextmanager
def _caught(before: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Facts of a cell; errors and warnings inside end up in its status and reason."""
    facts = dict(before or _blank())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield facts
        except (Exception, SystemExit) as error:  # a failed cell is a result; the others go on
            status = "out of memory" if isinstance(error, MemoryError) else "failed"
            facts |= {"status": status, "reason": f"{type(error).__name__}: {error}"}
    if facts["status"] == "ok":
        messages = [facts["reason"]] * bool(facts["reason"]) + [
            str(w.message) for w in caught if issubclass(w.category, (UserWarning, RuntimeWarning))]
        facts["reason"] = "; ".join(dict.fromkeys(messages))


def _blank(status: str = "ok", reason: str = "") -> dict[str, Any]:
    return {"status": status, "reason": reason, "threshold": np.nan, "n_calibrate": 0, "n_test": 0,
            "fit_s": np.nan, "score_s": np.nan, "peak_memory_mib": np.nan}


class _Peak:
    """Highest resident memory of this process since now, where the system reports it (Linux)."""

    def __init__(self) -> None:
        self.before = np.nan
        if not sys.platform.startswith("linux"):
            return
        try:
            # what earlier cells gave back must not be filled again unseen; glibc alone can do that
            getattr(ctypes.CDLL(None), "malloc_trim", bool)(0)
            with open("/proc/self/clear_refs", "w") as switch:
                switch.write("5")  # the highest value is forgotten
            self.before = _high_water()
        except OSError:
            pass  # not every container allows it

    def mib(self) -> float:
        return round(max(0.0, _high_water() - self.before), 1) if self.before > 0 else np.nan


def _high_water() -> float:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return np.nan


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """The system ends this process after so many seconds, whatever it is doing then."""
    if seconds is None:
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Killable:
    """One process for one cell after the other; a new one where a cell took it along."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def outcomes(self, task: Task, limits: Limits) -> list[dict[str, Any]]:
        self.pool = self.pool or ProcessPoolExecutor(1, timeout=60)
        outgrown, (seconds, most) = False, limits
        try:
            process, before = (0, 0.0) if most is None else self.pool.submit(
                _myself, task.model).result()
            job = self.pool.submit(outcomes, task, seconds)
            outgrown = most is not None and _outgrows(job, process, before + most)
            return job.result()
        except TerminatedWorkerError as error:
            self.close()
            if outgrown:
                blank = _blank("out of memory", f"fit and score took more than {most:g} MiB")
                blank["memory_limit"] = most
            elif "SIGALRM" in str(error):
                blank = _blank("timed out", f"fit and score took longer than {seconds:g} s")
                blank["time_limit"] = seconds
            else:
                codes = str(error).rpartition("exit codes of the workers are ")[2]
                blank = _blank("failed", f"the process of the cell died: {codes or 'unknown why'}")
        except Exception as error:  # what cannot be sent there or back
            blank = _blank("failed", f"{type(error).__name__}: {error}")
        return [blank | {"metrics": {}} for _ in task.seeds]

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, kill_workers=True)
            self.pool = None


def _myself(model: Any) -> tuple[int, float]:
    """Number of this process, and the MiB that it holds with the libraries of a model."""
    process_executor._USE_PSUTIL = False  # loky would stop a process that has grown by 300 MB
    return os.getpid(), _resident(os.getpid())


def _resident(process: int) -> float:
    """MiB that a process holds in memory; 0 where there is none, or the system does not say."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _outgrows(job: Any, process: int, most: float) -> bool:
    """Wait for a job; whether its process was ended because it held more than so many MiB."""
    while not wait([job], timeout=LOOK).done:
        if _resident(process) > most:
            os.kill(process, signal.SIGKILL)
            return True
    return False


# -- Dask -----------------------------------------------------------------------------------------


@contextmanager
def _client(scheduler: Any) -> Iterator[Any]:
    """The caller's client, or one of our own for an address."""
    distributed = require_extra("distributed", "dask")
    if isinstance(scheduler, distributed.Client):
        yield scheduler
        return
    if not isinstance(scheduler, str):
        raise TypeError(f"scheduler must be a distributed.Client or an address such as "
                        f"'tcp://127.0.0.1:8786', got {scheduler!r}")
    try:
        client = distributed.Client(scheduler, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"scheduler={scheduler!r} does not answer: {error}") from error
    with client:
        yield client


def _on_dask(tasks: list[Task], limits: Limits, scheduler: Any
             ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    with _client(scheduler) as client:
        lost = yield from _submitted(client, dict(enumerate(tasks)), limits)
        # what died with its workers once more, alone: a cell that kills them takes no other along
        for i in lost:
            alone = yield from _submitted(client, {i: tasks[i]}, limits)
            for reason in alone.values():
                blank = _blank("failed", f"lost on the cluster: {reason}") | {"metrics": {}}
                yield i, [blank for _ in tasks[i].seeds]


def _submitted(client: Any, tasks: dict[int, Task], limits: Limits
               ) -> Generator[tuple[int, list[dict[str, Any]]], None, dict[int, Any]]:
    """Run tasks and yield their outcomes; returns why others were lost."""
    from distributed import as_completed

    try:
        client.wait_for_workers(1, timeout=ANSWER)
    except TimeoutError as error:
        raise RuntimeError(f"{client.scheduler.address} has no worker left") from error
    datasets = {id(task.dataset): task.dataset for task in tasks.values()}
    # a copy on every worker: what dies with one of them is still there
    copies = client.scatter(list(datasets.values()), broadcast=True, hash=False)
    shared = dict(zip(datasets, copies, strict=True))
    nowhere: Any = None  # the data set travels once, on its own
    jobs = {
        client.submit(_remote, shared[id(task.dataset)], task._replace(dataset=nowhere),
                      limits, pure=False): i
        for i, task in tasks.items()
    }
    lost = {}
    for job in as_completed(jobs, loop=client.loop, raise_errors=False):
        if job.status == "finished":
            yield jobs[job], job.result()
        else:
            lost[jobs[job]] = job.exception() if job.status == "error" else "its workers died"
    return lost


_killable, _taken = _Killable(), threading.Lock()  # of a Dask worker, one for all its threads


def _remote(dataset: Dataset, task: Task, limits: Limits) -> list[dict[str, Any]]:
    task = task._replace(dataset=dataset)
    if limits == NO_LIMITS:
        return outcomes(task)
    with _taken:
        # Dask forbids its workers children, lest they stay behind: this one ends by its alarm, or
        # when it has been idle for a while
        current = multiprocessing.current_process()
        current._config["daemon"] = False  # type: ignore[attr-defined]  # no public switch
        return _killable.outcomes(task, limits)
