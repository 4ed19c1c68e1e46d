"""What HTTP answers mean to a receiver, and the metrics over HTTP."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from adlib.realtime.channels import Outcome

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


@contextmanager
def served(text: Callable[[], str], port: int | None) -> Iterator[None]:
    """Prometheus text on a port of the loopback interface while the block runs; None: nowhere."""
    if port is None:
        yield
        return

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    def answer(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])
        return [text().encode()]

    try:
        server = make_server("127.0.0.1", port, answer, handler_class=Quiet)
    except (OSError, OverflowError) as error:
        raise ValueError(f"--metrics {port}: cannot listen on this port "
                         f"({getattr(error, 'strerror', None) or error})") from None
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
