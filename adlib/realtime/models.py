"""Looks after the models of a running engine: which is in use, and whether a new one is wanted.

A thread looks into the model's folder (`adlib.realtime.doors.versions`), hands over the version
that is in use now, and reports what else became of versions. Where the configuration or a drift
asks for a new one, it is fitted in a process of its own, at low priority, by
`adlib.realtime.refit`; that process ends with this one.
"""

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

from adlib.realtime.config import EngineConfig
from adlib.realtime.doors import model, versions
from adlib.realtime.doors.versions import Version
from adlib.realtime.events import COUNTED, is_within, utc
from adlib.realtime.health import Condition
from adlib.realtime.members import back_off
from adlib.realtime.store import AlertStore

log = logging.getLogger(__name__)

BUSY = 3  # exit code of a fit that found another one at work
_PAUSE, _SELDOM = 1.0, 10  # seconds between looks, of which one reads the records, and the store
_GROWN = 1.25  # an attempt is repeated with so many times the rows
_SETTLED = 5.0  # seconds after which a version that is not in use is not about to be


def drifts(store: AlertStore, stream: str) -> dict[str, float]:
    """Since when an engine's streams have drifted, by name; those that are as they were are not in.

    Parameters
    ----------
    store : AlertStore
    stream : str
        The engine's, which is the only one or holds those of a fleet.
    """
    return {incident.stream: incident.opened_at for incident in store.incidents(state="open")
            if incident.condition == "drift" and is_within(incident.stream, stream)}


def in_use(chosen: versions.Current, before: int) -> Condition:
    """That another version of the model is in use."""
    why = f": {chosen.why}" if chosen.why else ""
    return Condition("model", str(chosen.version), f"version {chosen.version} of the model in "
                     f"place of {before}, by {chosen.by or 'somebody'}{why}")


class ModelWatch:
    """Follows the versions of a model; ``with`` runs the thread.

    Parameters
    ----------
    folder : Path
        Of the saved engine.
    version : int
        At work.
    reported : int or None
        The last version that was reported; None: what is there already is no news.
    config : EngineConfig
    store : AlertStore, optional
    load : callable
        Makes of a version's number what is handed over.
    hand_over : callable
        Takes what ``load`` gave, or None, a `Condition` that says what happened, and ``reported``.
    """

    def __init__(self, folder: Path, version: int, reported: int | None, config: EngineConfig,
                 store: AlertStore | None, load: Callable[[int], Any],
                 hand_over: Callable[[Any, Condition, int], object]):
        self.folder, self.version, self._chosen = folder, version, version
        self.reported = max(versions.numbers(folder)) if reported is None else reported
        self._config, self._store = config, store
        self._load, self._hand_over = load, hand_over
        self._job: tuple[subprocess.Popen, IO[bytes]] | None = None
        self._looks = self._failures = 0
        self._retry_at = 0.0
        self._began: float | None = None  # since when the first version could grow old
        self._stop = threading.Event()

    # -- what became of versions ----------------------------------------------------------------

    def look(self) -> None:
        """Look once: hand over, report, begin or end a fit."""
        if not versions.place(self.folder, 1).joinpath("engine.json").is_file():  # removed
            return
        chosen = versions.current(self.folder)
        if chosen.version != self._chosen:
            self._follow(chosen)
        if self._job is not None and self._job[0].poll() is not None:
            self._ended(*self._job)
        self._looks += 1
        if (self._looks - 1) % _SELDOM == 0:
            self._report()
            if self._job is None and time.monotonic() >= self._retry_at and (why := self.due()):
                self._begin(why)

    def _follow(self, chosen: versions.Current) -> None:
        self._chosen = chosen.version
        try:
            found = self._load(chosen.version)
        except Exception as error:  # whatever a file may cause that was written elsewhere
            self._tell(chosen.version, f"version {chosen.version} of the model cannot be used, and "
                       f"{self.version} goes on: {error}")
            return
        before, self.version = self.version, chosen.version
        self._hand_over(found, in_use(chosen, before), self.reported)

    def _report(self) -> None:
        """Versions that are not in use, and why."""
        used = versions.current(self.folder).used
        for record in versions.listed(self.folder):
            if record.number in used or record.number <= self.reported:
                self.reported = max(self.reported, record.number)
            elif time.time() - record.made > _SETTLED:
                self.reported = record.number
                self._tell(record.number, self._said(record))

    def _said(self, record: Version) -> str:
        what = f"version {record.number} of the model ({record.why})"
        if record.outcome in ("refused", "failed"):
            return f"{what} {record.outcome}: {record.says}"
        return (f"{what} waits: {record.says}; `python -m adlib.realtime model {self.folder} use "
                f"{record.number}` lets it take over")

    def _tell(self, subject: object, detail: str) -> None:
        self._hand_over(None, Condition("model", str(subject), detail), self.reported)

    # -- whether a new one is wanted --------------------------------------------------------------

    def due(self) -> str:
        """Why a new model should be fitted now; empty where none should."""
        how, store, stream = self._config.refit, self._store, self._config.stream
        rows = store.entities(stream) if store is not None and how is not None else []
        if store is None or how is None or not rows:
            return ""
        last = max(row.time for row in rows)
        tried = [record.until for record in versions.listed(self.folder)
                 if record.until is not None and record.until <= last]
        if how.every is not None and last - max(tried, default=self._grown(last)) >= how.every:
            return "on schedule"
        least = math.inf if how.on_drift is None else how.on_drift
        for name, since in drifts(store, stream).items():
            if last - since >= max([least, *(
                    _GROWN * (until - since) for until in tried if until > since)]):
                return f"drift of {name} since {utc(since)}"
        return ""

    def _grown(self, last: float) -> float:
        """Since when the first version grows old: the end of its history, or the first look."""
        if self._began is None:
            past = model.past(self.folder, self._config.stream)
            ended = last if past is None else float(past.time.max())
            self._began = ended if ended <= last and (ended < COUNTED) == (last < COUNTED) else last
        return self._began

    def _begin(self, why: str) -> None:
        config, alerts = self._config.plain(), self._config.alert_config
        assert alerts.storage is not None  # no rows are due without one
        config["alert_config"] = {
            "incidents": alerts.incidents.model_dump(mode="json"),
            "storage": {"path": str(alerts.storage.path)}}  # no secret leaves this process
        said = tempfile.TemporaryFile()  # noqa: SIM115 - until the process ends
        job = subprocess.Popen(
            [sys.executable, "-m", "adlib.realtime.refit"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, "OMP_NUM_THREADS": "1"})
        self._job = job, said
        log.info("stream %s: a model is fitted, %s", self._config.stream, why)
        assert job.stdin is not None
        job.stdin.write(json.dumps([str(self.folder), config, why]).encode() + b"\n")
        job.stdin.flush()  # and stays open: its end says that this process has ended

    def _ended(self, job: subprocess.Popen, said: IO[bytes]) -> None:
        self._job = None
        said.seek(0)
        lines = said.read()[-2_000:].decode(errors="replace").split("\n")
        said.close()
        if job.stdin is not None:
            job.stdin.close()
        self._failures = self._failures + 1 if job.returncode not in (0, BUSY) else 0
        self._retry_at = time.monotonic() + back_off(self._failures, 60.0, 86_400.0)
        if self._failures:
            self._tell("fit", f"no new model: the process that fitted it ended with "
                       f"{job.returncode}: {' '.join(lines).strip()[-200:]}")

    # -- the thread -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, name="adlib-models", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2.0)
        if self._job is not None:
            self._job[0].kill()
            self._job[0].wait()

    def _watch(self) -> None:
        said = ""
        while not self._stop.wait(_PAUSE):
            try:
                self.look()
                said = ""
            except Exception as error:  # whoever watches goes on
                if said != (said := f"{type(error).__name__}: {error}"):  # what lasts is said once
                    log.warning("models of stream %s: %s", self._config.stream, said)
