"""What HTTP answers mean to a receiver, and the one HTTP application of a live engine.

The application is Starlette's on uvicorn: 3 MB of memory and a tenth of a second beside an engine,
pure Python, with routes that others mount (a source that takes samples), tested without a socket.
Panel and Voila hold a session or a kernel on the server for each tab and send megabytes of
JavaScript, so a page is not there at once, or without a script, and probes need another server all
the same. htmx would be somebody else's file to keep up to date, for what 180 lines do here. Nothing
of it is imported before an application is made.
"""

import asyncio
import hashlib
import hmac
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from adlib.arguments import require_extra
from adlib.realtime.channels import Outcome
from adlib.realtime.members import in_thread

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
    """What a live engine shows to programs, by path.

    ``/ready`` answers 503 while nothing is judged, ``/health`` always 200, both with what
    `RealTimeAnomalyDetector.status` says; ``/metrics`` is Prometheus' text.
    """
    def answer(unready: int) -> Page:
        said = engine.status()
        return 200 if said["ready"] else unready, _JSON, json.dumps(said)

    return {"/health": lambda: answer(200), "/ready": lambda: answer(503),
            "/metrics": lambda: (200, _TEXT, engine.metrics_text())}


# -- who may ask --------------------------------------------------------------------------------

_LEAST = 16  # characters of a token
_OPEN = ("/health", "/ready")  # what a probe asks without a token
_HERE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)  # this machine
_FRONT = ("/login", "/page.css", "/page.js")  # what the form that asks for the token needs
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
                               "img-src 'self' data:; connect-src 'self'; form-action 'self'; "
                               "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
    # under no-referrer a browser would send "Origin: null" with the page's own forms
    "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}


def _place(host: str) -> str:
    """A host and its port, where that is not the usual one."""
    return re.sub(r":(80|443)$", "", host)


def token_from(path: str | Path | None) -> str | None:
    """The token that a file holds, else the environment variable ``ADLIB_TOKEN``, else None.

    Raises
    ------
    ValueError
        When it cannot be read, is short, or no word of printable ASCII characters.
    """
    try:
        token = os.environ.get("ADLIB_TOKEN") if path is None else Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--token-file {path} cannot be read: {error}") from None
    if token is None:
        return None
    if len(token) < _LEAST or not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError(
            f"{'ADLIB_TOKEN' if path is None else path} must hold a token of at least {_LEAST} "
            f"ASCII characters without blanks, got {len(token)} characters: make one by "
            f"`python -c 'import secrets; print(secrets.token_urlsafe())'`")
    return token


def _derived(token: str, of: str) -> str:
    """What a browser keeps in place of the token: no other program takes it for one."""
    return hmac.new(token.encode(), of.encode(), hashlib.sha256).hexdigest()


def cookie(token: str) -> tuple[str, str]:
    """Name and value of the cookie of those who have shown the token.

    Cookies do not tell ports apart: the name is the token's own.
    """
    return f"adlib-{_derived(token, 'name')[:8]}", _derived(token, "value")


def same(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not say where they differ."""
    return hmac.compare_digest(a.encode(errors="replace"), b.encode(errors="replace"))


class Guard:
    """Refuses who may not look, and requests that another web site makes a browser send.

    Without a token only names of this machine are answered: a web site whose name is made to lead
    here (DNS rebinding) sends its own. With one, everything but ``/health`` and ``/ready`` wants
    ``Authorization: Bearer TOKEN``, or the cookie that the form at ``/login`` sets. What changes
    something must not come from another site's page: browsers say where it comes from.

    Parameters
    ----------
    app : ASGI application
    token : str or None
    """

    def __init__(self, app: Any, token: str | None = None):
        self.app, self.token = app, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let the application answer, or refuse."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        from starlette.datastructures import MutableHeaders
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope)
        status, why = self.refusal(request)
        if status == 401 and request.method == "GET" and "text/html" in request.headers.get(
                "accept", ""):
            asked = scope["query_string"].decode("latin-1")
            scope["refused"], scope["path"] = f"{scope['path']}?{asked}", "/login"
        elif status:
            more = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            return await PlainTextResponse(f"{why}\n", status, more)(scope, receive, sent)
        return await self.app(scope, receive, sent)

    def refusal(self, request: Any) -> tuple[int, str]:
        """Status and reason of a refusal; 0 where there is none."""
        headers, path = request.headers, request.scope["path"]
        host = headers.get("host")  # a browser sends one, a probe of HTTP 1.0 need not
        if self.token is None and host is not None and not _HERE.fullmatch(host):
            return 421, (f"Host {host!r:.80} is not this machine: open the page under localhost, "
                         f"or start it with a token (ADLIB_TOKEN)")
        if request.method not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if (origin is not None and _place(origin.partition("://")[2]) != _place(host or "")
                    ) or headers.get(
                    "sec-fetch-site", "none") not in ("same-origin", "none"):
                return 403, (f"this comes from another site's page (Origin {origin!r:.80}, Host "
                             f"{host!r:.80}): a proxy before the page must pass Host on")
        if self.token is None or path in (*_OPEN, *_FRONT) or self._knows(request, self.token):
            return 0, ""
        return 401, "a token is needed: send Authorization: Bearer TOKEN, or open / in a browser"

    @staticmethod
    def _knows(request: Any, token: str) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        name, value = cookie(token)
        return (kind.lower() == "bearer" and same(given.strip(), token)) or same(
            request.cookies.get(name, ""), value)


# -- the application ----------------------------------------------------------------------------


def app(engine: Any = None, store: Any = None, token: str | None = None, push: Any = None) -> Any:
    """Health and metrics of an engine, the operator's page of a store, a door for samples.

    Parameters
    ----------
    engine : RealTimeAnomalyDetector, optional
        Whose ``/health``, ``/ready`` and ``/metrics`` are served.
    store : AlertStore or path, optional
        Shown at ``/``; it need not be there yet.
    token : str, optional
        What everybody must show, but for ``/health`` and ``/ready``. None: only names of this
        machine are answered.
    push : coroutine function, optional
        Takes a Starlette request at ``POST /samples``, gives the response.

    Returns
    -------
    Starlette
        An ASGI application.
    """
    require_extra("starlette", "live")
    from starlette.responses import Response
    from starlette.routing import Route

    from adlib.realtime.doors.page import routes

    def plain(path: str, page: Callable[[], Page]) -> Route:
        async def answer(request: Any) -> Response:
            # what only looks waits for nobody; the metrics may wait for the store
            status, kind, text = await in_thread(page) if path == "/metrics" else page()
            return Response(text, status, media_type=kind)

        return Route(path, answer)

    found = [plain(path, page) for path, page in (pages(engine) if engine else {}).items()]
    if push is not None:
        found.append(Route("/samples", push, methods=["POST"]))
    shown, lifespan = routes(engine, store, token)
    return guarded([*found, *shown], token, lifespan)


def guarded(routes: list[Any], token: str | None, lifespan: Any = None) -> Any:
    """An application of these routes, behind a `Guard`."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware

    return Starlette(routes=routes, lifespan=lifespan,
                     middleware=[Middleware(Guard, token=token)])


async def body_of(request: Any, most: int, patience: float) -> bytes | None:
    """What a Starlette request holds; None where that is more than so many bytes.

    Raises
    ------
    TimeoutError
        When it does not arrive within ``patience`` seconds, or not whole.
    """
    from starlette.requests import ClientDisconnect

    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    return None
    except ClientDisconnect:
        raise TimeoutError from None
    return bytes(body)


# -- the server ---------------------------------------------------------------------------------

_MOST = 200  # connections: a flood must leave the engine its files
_SILENT = 10.0  # seconds for a client that asks for nothing


@contextmanager
def served(app: Any, where: str | None, option: str = "--serve", *, token: str | None = None
           ) -> Iterator[str | None]:
    """Serve an application over HTTP, in a thread, while the block runs.

    Parameters
    ----------
    app : ASGI application
    where : str or None
        ``[HOST:]PORT``; the loopback interface by default. None: nowhere.
    option : str
        What to call it in an error.
    token : str, optional
        The application's; without one only the loopback interface is served.

    Yields
    ------
    str or None
        The address.

    Raises
    ------
    ValueError
        When nobody can listen there, or everybody could ask.
    """
    if where is None:
        yield None
        return
    sock, host = _listening(where, option, token)
    server = _server(app)
    thread = threading.Thread(target=server.run, args=([sock],), name="adlib-http", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5.0)
        sock.close()


def _listening(where: str, option: str, token: str | None) -> tuple[socket.socket, str]:
    """A socket that listens, and the name of its address."""
    host, _, port = where.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal():
        raise ValueError(f"{option} must be [HOST:]PORT, got {where!r}")
    if token is None and host not in LOOPBACK:
        raise ValueError(f"{option} {where}: others than this machine could ask there, which needs "
                         f"a token: set the environment variable ADLIB_TOKEN, or name a file by "
                         f"--token-file; or leave the host away")
    sock = None
    try:
        family, kind, *_, address = min(socket.getaddrinfo(
            host, None, type=socket.SOCK_STREAM))  # IPv4 first
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address[0], int(port), *address[2:]))
        sock.listen(128)
    except (OSError, OverflowError) as error:
        if sock is not None:
            sock.close()
        raise ValueError(f"{option} {where}: cannot listen on this port "
                         f"({getattr(error, 'strerror', None) or error})") from None
    return sock, f"[{host}]" if ":" in host else host


def _server(app: Any) -> Any:
    uvicorn = require_extra("uvicorn", "live")
    from starlette.responses import PlainTextResponse
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        """Leaves clients that say nothing; each would keep a file open."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(_SILENT, self.leave)

        def leave(self) -> None:
            if self.cycle is None:  # it has asked for nothing
                self.transport.close()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        """Where too many ask at once, probes alone are answered, and each connection ends."""
        if scope["type"] != "http" or len(server.server_state.connections) < _MOST:
            await app(scope, receive, send)
            return

        async def last(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        busy = PlainTextResponse("Too many connections", 503)
        await (app if scope["path"] in _OPEN else busy)(scope, receive, last)

    server = uvicorn.Server(uvicorn.Config(
        answer, http=Patient, ws="none", loop="asyncio", lifespan="on", log_config=None,
        log_level="error", access_log=False, server_header=False,
        timeout_graceful_shutdown=1))
    return server
