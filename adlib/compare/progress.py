"""How far a comparison is: a bar in a terminal, elsewhere a line now and then."""

import builtins
import sys
import threading
import time
from types import TracebackType

from tqdm import tqdm

from adlib.cost import spoken

__all__ = ["Progress"]

EVERY = 30.0  # seconds between lines, at first; later a tenth of the time so far


class Progress:
    """Counts finished cells; a bar where there is a terminal, else lines for a log or a notebook.

    A run that is over within half a minute writes no line. They go to standard output in a
    notebook, where papermill keeps them, and to standard error elsewhere.

    Parameters
    ----------
    total, done : int
        Cells in all, and those found finished.
    shown : bool

    Examples
    --------
    >>> with Progress(3, 0, shown=True) as progress:
    ...     progress.update(3)
    >>> progress.line(60.0)
    'compare: 3 of 3 cells'
    """

    def __init__(self, total: int, done: int, shown: bool):
        self.bar = tqdm(total=total, initial=done, unit="cell", disable=None if shown else True)
        self.total, self.done, self.found = total, done, done
        self.over, self.started = threading.Event(), time.monotonic()
        self.thread = threading.Thread(target=self._speak, daemon=True)
        self.speaks = shown and self.bar.disable and done < total

    def __enter__(self) -> "Progress":
        if self.speaks:
            self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.over.set()
        if self.speaks:
            self.thread.join()
        self.bar.close()

    def update(self, new: int) -> None:
        """So many more cells are done."""
        self.done += new
        self.bar.update(new)

    def line(self, seconds: float) -> str:
        """What is done after so many seconds, and what that leaves."""
        text = f"compare: {self.done} of {self.total} cells"
        if self.found < self.done < self.total:
            left = seconds / (self.done - self.found) * (self.total - self.done)
            text += f", about {spoken(left)} left"
        return text

    def say(self, text: str) -> None:
        """Write a line beside the bar, or as one of the lines."""
        if not self.bar.disable:
            self.bar.write(text)
        elif self.speaks:
            notebook = hasattr(builtins, "get_ipython")
            print(text, file=sys.stdout if notebook else sys.stderr, flush=True)

    def _speak(self) -> None:
        wait = EVERY
        while not self.over.wait(wait):
            seconds = time.monotonic() - self.started
            self.say(self.line(seconds))
            wait = max(EVERY, seconds / 10)
