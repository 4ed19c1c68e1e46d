"""The process that a command runs in: what signals ask of it, where its lines go, how it ends."""

import asyncio
import getpass
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from errno import EIO, EPIPE
from typing import Any, NoReturn

log = logging.getLogger(__name__)

GRACE = 20.0  # seconds from a signal to the end
PATIENCE = 10.0  # seconds in which somebody must read what is printed


def user() -> str:
    """Who runs this process; empty where it has no user, as in some containers."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return ""


class Stopped(KeyboardInterrupt):
    """A signal came; Python ends by a plain `KeyboardInterrupt` that went through ``exec`` even
    where it was caught.
    """

    def __init__(self, number: int):
        super().__init__()
        self.code = 128 + number


class Stop:
    """Handles a signal: ``ask`` is called, `Stopped` raised while there is none."""

    ask: Callable[[], Any] | None = None

    def __call__(self, number: int, frame: Any) -> None:
        if self.ask is None:
            raise Stopped(number)
        self.ask()


@contextmanager
def stoppable(grace: float = GRACE, ignored: Iterable[int] = ()) -> Iterator[Stop]:
    """Let a first SIGINT or SIGTERM ask; a second one, or ``grace`` seconds, end the process.

    A thread sees to that: Python's handlers wait for the main thread, which may be deep in a
    computation, or wait for a file.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # signals are others' business
        yield stop
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    threading.Thread(target=_watch, args=(reader, grace), daemon=True).start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    wanted: dict[int, Any] = {**dict.fromkeys((signal.SIGINT, signal.SIGTERM), stop),
                              **dict.fromkeys(ignored, signal.SIG_IGN)}
    handlers = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        writer.close()


def _watch(signals: socket.socket, grace: float) -> None:
    with signals:
        if not (first := signals.recv(1)):
            return
        signals.settimeout(grace)
        with suppress(TimeoutError):
            if not signals.recv(1):
                return
        os._exit(128 + first[0])


class Threads(ThreadPoolExecutor):
    """Threads of an event loop that waits for none of them at its end."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def leave(code: int) -> NoReturn:
    """End the process; without Python's own end, which waits or aborts, where a thread is busy."""
    if threading.active_count() > 1:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)
    sys.exit(code)


class Output:
    """Standard output; where nobody reads it, judging goes on without.

    Attributes
    ----------
    lost : int
        Lines that could not be printed.
    """

    def __init__(self) -> None:
        self.lost, self._late = 0, False

    async def write(self, line: str) -> None:
        """Print a line, unless nobody takes it."""
        why = f"nobody has read it for {PATIENCE:g} s"
        try:
            if await self._wanted():
                print(line, flush=True)
                self._late = False
                return
        except (OSError, ValueError) as error:
            why = str(error)
            if getattr(error, "errno", None) in (EPIPE, EIO):  # for good, and for Python's end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not self._late:
            log.warning("standard output: %s; judging continues", why)
        self.lost, self._late = self.lost + 1, True

    async def _wanted(self) -> bool:
        """Whether a line can be written without waiting, as soon as it can."""
        try:
            files = [sys.stdout.fileno()]
        except (AttributeError, OSError, ValueError):  # closed, or no file
            return True
        end = time.monotonic() + (0 if self._late else PATIENCE)
        while not select.select([], files, [], 0)[1]:
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(0.02)
        return True
