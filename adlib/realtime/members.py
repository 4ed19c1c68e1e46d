"""A detector at work in the engine: its own thread, its scores, its failures, its state."""

import io
import queue
import tarfile
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adlib import persist
from adlib.base import Detector, OnlineDetector, anomaly_score
from adlib.realtime.windows import Rows
from adlib.thresholds import Calibration, Scores


class Worker:
    """One daemon thread: a detector that hangs for ever must not keep the process alive."""

    def __init__(self, name: str):
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, function: Any, *args: Any) -> Future:
        future: Future = Future()
        self._jobs.put((future, function, args))
        return future

    def stop(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            try:
                future.set_result(function(*args))
            except BaseException as error:  # noqa: B036 - whatever it is, the engine must hear of it
                future.set_exception(error)


class Member:
    """A detector at work: its scores of the samples that open windows still need, its failures."""

    def __init__(self, name: str, model: Any, weight: float):
        self.name, self.model, self.weight = name, model, weight
        self.scale = Calibration()
        self.online = isinstance(model, OnlineDetector)
        self.context = 0 if self.online or not isinstance(model, Detector) else model.context_
        self.tail = np.empty(0)
        self.failures, self.off = 0, False
        self.running: Future | None = None
        self.worker: Worker | None = None
        self.saved: NDArray[np.uint8] | None = None

    def submit(self, function: Any, *args: Any) -> Future:
        """Let the detector's own thread do it: whatever hangs, hangs there."""
        self.worker = self.worker or Worker(self.name)
        return self.worker.submit(function, *args)

    def score(self, values: Rows, valid: NDArray[np.bool_], n_old: int) -> Scores:
        """Scores of the samples after the first ``n_old``; NaN for those that are not valid."""
        scores = np.full(len(values) - n_old, np.nan)
        good = valid[n_old:]
        if not good.any():
            return scores
        if self.online:
            scores[good] = self.model.process(values[n_old:][good])
            return scores
        first = max(n_old - self.context, 0)
        found = np.asarray(anomaly_score(self.model, values[first:]), dtype=np.float64)
        if found.shape != (len(values) - first,) or np.isnan(found).any():
            raise ValueError(f"one number per sample wanted, got shape {found.shape} with "
                             f"{np.isnan(found).sum()} NaN")
        scores[good] = found[n_old - first:][good]
        return scores

    def snapshot(self) -> NDArray[np.uint8] | None:
        """State of an online detector; while it hangs, the last one that is known."""
        if self.online and (self.running is None or self.running.done()):
            with tempfile.TemporaryDirectory() as folder:
                path = persist.save(self.model, Path(folder) / "model")
                buffer = io.BytesIO()
                with tarfile.open(fileobj=buffer, mode="w") as tar:
                    for file in sorted(path.iterdir()):
                        tar.add(file, file.name)
            self.saved = np.frombuffer(buffer.getvalue(), np.uint8)
        return self.saved

    def restore(self, saved: NDArray[np.uint8] | None) -> None:
        if saved is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(fileobj=io.BytesIO(saved.tobytes())) as tar:
                tar.extractall(Path(folder) / "model", filter="data")
            self.model = persist.load(Path(folder) / "model", classes=[type(self.model)])
