"""A dead-man's switch: a ping while the engine is ready. Whoever misses it raises the alarm."""

import threading
import time
from collections.abc import Callable
from typing import Self

from pydantic import Field, SecretStr, field_validator

from adlib.realtime.settings import Seconds, Settings

_TIMEOUT = 10.0  # seconds for an answer


class HeartbeatConfig(Settings):
    """Where a heartbeat goes, as healthchecks.io, Dead Man's Snitch and Uptime Kuma take it.

    Examples
    --------
    >>> HeartbeatConfig(url="https://hc-ping.com/0f1e", every="5min").every
    300.0
    """

    url: SecretStr = Field(description="Asked for by GET while the engine is ready.")
    every: Seconds = Field(60.0, description="From one ping to the next.")

    @field_validator("url")
    @classmethod
    def _http(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("must be a URL with http:// or https://")
        return url


class Heartbeat:
    """Pings while the engine is ready; ``with`` runs the thread.

    Parameters
    ----------
    config : HeartbeatConfig
    ready : callable
    clock : callable
        Wall clock, POSIX seconds.

    Attributes
    ----------
    trouble : (float, str) or None
        Since when pings fail, and how.
    """

    def __init__(self, config: HeartbeatConfig, ready: Callable[[], bool],
                 clock: Callable[[], float] = time.time):
        self._config, self._ready, self._clock = config, ready, clock
        self.trouble: tuple[float, str] | None = None
        self._stop = threading.Event()

    def beat(self) -> bool:
        """Ping if the engine is ready; whether the ping arrived."""
        import httpx

        try:
            if not self._ready():
                return False
            url = httpx.URL(self._config.url.get_secret_value())
            with httpx.Client(timeout=_TIMEOUT) as client, client.stream(
                    "GET", url.copy_with(raw_path=b"/"),
                    extensions={"target": url.raw_path}) as answer:  # so it is in no log line
                status = answer.status_code  # the body, which may have no end, stays unread
            fault = "" if status < 300 else f"HTTP {status}"
        except Exception as error:  # its text may hold the URL, which is a secret
            fault = type(error).__name__
        since = self.trouble[0] if self.trouble else self._clock()
        self.trouble = (since, fault) if fault else None
        return not fault

    def __enter__(self) -> Self:
        threading.Thread(target=self._work, name="adlib-heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _work(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = self._config.every if self.beat() else min(self._config.every, 1.0)
