"""A detector at work in the engine: its own thread, its scores, its failures, its state."""

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib.base import Detector, OnlineDetector, anomaly_score, is_stateful
from adlib.realtime.windows import Rows
from adlib.thresholds import Scores

log = logging.getLogger(__name__)

_LOST = 1 / 32  # share of a row's predecessors that may have no value at all


class Worker:
    """One daemon thread: a detector that hangs for ever must not keep the process alive."""

    def __init__(self, name: str):
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, function: Any, *args: Any) -> Future:
        future: Future = Future()
        self._jobs.put((future, function, args))
        return future

    def run(self, function: Any, *args: Any) -> asyncio.Future:
        """To be awaited; a job that has begun goes on when nobody waits for it any more."""
        return asyncio.wrap_future(self.submit(function, *args))

    def stop(self) -> None:
        """End the thread behind what it was given."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function(*args)
            except (CancelledError, StopIteration) as error:  # would mean something else there
                future.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
            except BaseException as error:  # noqa: B036 - whatever it is, the engine must hear of it
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future, function, args  # or the last batch would stay while it waits


def in_thread(function: Any, *args: Any) -> asyncio.Future:
    """Await what may take long, in a thread that keeps no process alive."""
    worker = Worker(getattr(function, "__name__", "work"))
    found = worker.run(function, *args)
    worker.stop()
    return found


def cancelled() -> bool:
    """Whether the current task is asked to end; another `CancelledError` is a failure like any."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def back_off(doublings: int, first: float, longest: float) -> float:
    """Seconds until something that has failed is tried again."""
    return min(longest, first * 2.0 ** min(doublings, 60))  # weeks of an outage would overflow


@asynccontextmanager
async def forgiven(what: str, seconds: float | None = None) -> AsyncIterator[None]:
    """Log what fails, or takes longer; a cancellation counts where it is not the current task's."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and cancelled():
            raise
        log.warning("%s: %s", what, f"{type(error).__name__}: {error}".rstrip(": "))


class Member:
    """A member of the ensemble at work: scores that open windows still need, its failures."""

    def __init__(self, name: str, model: Any, lead: "Member | None" = None):
        self.name, self.model = name, model
        self.online = isinstance(model, OnlineDetector)
        self.context = 0 if self.online or not isinstance(model, Detector) else model.context_
        self.failures, self.pauses, self.off = 0, 0, False  # in a row; whether it has pauses
        self.failing_since = self.retry_at = 0.0  # of the judge's clock
        self.earlier: Any = None  # an online detector as it was before the last batch
        self._stateful = is_stateful(model)
        self._lead = lead or self  # the one whose thread does the work
        self._running: Future | None = None
        self._worker: Worker | None = None
        self._state: dict[str, Any] | None = None

    def submit(self, function: Any, *args: Any) -> Future:
        """Let the detector's own thread do it: whatever hangs, hangs there."""
        lead = self._lead
        lead._worker = lead._worker or Worker(self.name)
        return lead._worker.submit(function, *args)

    @property
    def running(self) -> Future | None:
        """What the thread does, as far as somebody waits for it."""
        return self._lead._running

    @running.setter
    def running(self, job: Future | None) -> None:
        self._lead._running = job

    def another(self) -> "Member":
        """One that learns by itself, from what this one was fitted on."""
        return Member(self.name, deepcopy(self.model), self._lead)

    def stop(self) -> None:
        """End the thread; it begins again when it is needed."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def score(self, values: Rows, valid: NDArray[np.bool_], n_old: int) -> Scores:
        """Scores of the samples after the first ``n_old``; NaN for those that are not valid."""
        scores = np.full(len(values) - n_old, np.nan)
        good = valid[n_old:].copy()
        if not good.any():
            return scores
        if self.online:
            scores[good] = self.model.process(values[n_old:][good])
            return scores
        first = max(n_old - self.context, 0)
        return self.score_together(values[first:], np.arange(first, len(values)), valid[first:])[
            n_old - first:]

    def score_together(self, values: Rows, age: NDArray[np.int64], valid: NDArray[np.bool_]
                       ) -> Scores:
        """Scores of rows of several streams, one behind the other; NaN where there is no past.

        Parameters
        ----------
        values : ndarray of shape (n, d)
        age : ndarray of int, shape (n,)
            Rows that each has before it, of its own stream.
        valid : ndarray of bool, shape (n,)
        """
        found = np.asarray(anomaly_score(self.model, values), dtype=np.float64)
        if found.shape != age.shape or np.isnan(found).any():
            raise ValueError(f"one number per sample wanted, got shape {found.shape} with "
                             f"{np.isnan(found).sum()} NaN")
        if self.context and not valid.all():
            lost, at = np.append(0, np.cumsum(~valid)), np.arange(len(valid))
            first = np.maximum(at - np.minimum(age, self.context), 0)
            valid = valid & (lost[at + 1] - lost[first] <= self.context * _LOST)
        return np.where(valid & (age >= self.context), found, np.nan)

    def snapshot(self) -> dict[str, Any] | None:
        """State of an online detector; while it hangs, the last one that is known."""
        if self.online and (self.running is None or self.running.done()):
            self._state = self.model.get_state()
        elif not self.online and self._stateful:
            raise TypeError("online detectors inside another one cannot learn live: name each as a "
                            "detector of the engine")
        return self._state

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from a snapshot; ValueError or TypeError where it is not one of this detector."""
        if state is not None:
            self.model.set_state(state)
