"""What HTTP answers mean to a receiver, and an engine's health and metrics over HTTP."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from adlib.realtime.channels import Outcome

log = logging.getLogger(__name__)

LONGEST_WAIT = 86_400.0  # seconds; no Retry-After is believed beyond it
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # what is sent there, nobody on the way can read
_FINAL = (400, 406, 411, 413, 414, 415, 422, 431)  # about the message, which will not change


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for (a number or a date), None if it says nothing.

    Examples
    --------
    >>> retry_after("30", now=0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=0.0)
    (30.0, 60.0)
    >>> retry_after("soon", now=0.0)
    """
    if header is None:
        return None
    with suppress(ValueError, OverflowError):
        wait = (int(header) if header.strip().isdecimal()
                else parsedate_to_datetime(header).timestamp() - now)
        return float(min(max(wait, 0), LONGEST_WAIT))
    return None


def judge_status(status: int, detail: str, wait: float | None) -> Outcome:
    """What an HTTP status other than success means.

    408, 429 and 5xx pass by themselves. What is wrong with the message (400, 413, 422 and the like)
    is final. All others (a redirect to a login page, 401, 403, 404, 410) are about the address or
    the login, which somebody may put right: tried again until ``notification.give_up_after``.

    Examples
    --------
    >>> [judge_status(status, "", None).state for status in (503, 404, 413)]
    ['retry', 'retry', 'dead']
    >>> judge_status(404, "no_service", None).expires
    True
    """
    passing = status in (408, 429) or status >= 500
    return Outcome("dead" if status in _FINAL else "retry", f"HTTP {status} {detail}".strip(), wait,
                   expires=not passing and status not in _FINAL)


Page = tuple[int, str, str]  # status, kind of content, content
_JSON, _TEXT = "application/json", "text/plain; version=0.0.4; charset=utf-8"


def pages(engine: Any) -> dict[str, Callable[[], Page]]:
    """What a live engine shows, by path.

    ``/ready`` answers 503 while nothing is judged, ``/health`` always 200, both with what
    `RealTimeAnomalyDetector.status` says; ``/metrics`` is Prometheus' text.
    """
    def told(unready: int) -> Page:
        said = engine.status()
        return 200 if said["ready"] else unready, _JSON, json.dumps(said)

    return {"/health": lambda: told(200), "/ready": lambda: told(503),
            "/metrics": lambda: (200, _TEXT, engine.metrics_text())}


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0  # seconds for a client that says nothing

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])  # type: ignore[attr-defined]
        try:
            status, kind, text = page() if page else (404, _TEXT, "see /health, /ready, /metrics\n")
        except Exception as error:
            log.exception("%s", self.path)
            status, kind, text = 500, _TEXT, f"{type(error).__name__}\n"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingMixIn, TCPServer):
    """A thread for each client: one that is idle keeps nobody waiting."""

    allow_reuse_address = daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """A client that left is no news."""


@contextmanager
def served(pages: Mapping[str, Callable[[], Page]], where: str | None, option: str = "--serve"
           ) -> Iterator[str | None]:
    """Pages over HTTP while the block runs.

    Parameters
    ----------
    pages : mapping of str to callable
        What stands at a path; any other path is not found.
    where : str or None
        ``[HOST:]PORT``; the loopback interface by default. None: nowhere.
    option : str
        What to call it in an error.

    Yields
    ------
    str or None
        The address.

    Raises
    ------
    ValueError
        When nobody can listen there.
    """
    if where is None:
        yield None
        return
    host, _, port = where.rpartition(":")
    try:
        if not port.isdecimal():
            raise ValueError(f"{option} must be [HOST:]PORT, got {where!r}")
        family, *_, address = min(socket.getaddrinfo(
            host.strip("[]") or "127.0.0.1", None))  # IPv4 first
        kind = type("Server", (_Server,), {"address_family": family, "pages": pages})
        server = kind((address[0], int(port)), _Handler)
    except (OSError, OverflowError) as error:
        raise ValueError(f"{option} {where}: cannot listen on this port "
                         f"({getattr(error, 'strerror', None) or error})") from None
    with server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield "http://{}:{}".format(host or "127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
