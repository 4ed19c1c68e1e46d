"""Samples that others send over HTTP."""

import asyncio
import hashlib
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from adlib.arguments import require_extra
from adlib.reading.records import Record, shown
from adlib.realtime.doors import http
from adlib.realtime.doors.records import Arrivals, ReadingSource, grouped, positive, waiting
from adlib.realtime.members import in_thread
from adlib.realtime.sources import masked
from adlib.realtime.windows import Sample

_PATIENCE = 30.0  # seconds for a request to arrive
_KEYS = 1_000  # of requests that are known again

Reply = tuple[int, dict[str, Any]]
_STOPS: Reply = 503, {"error": "the engine stops: send it again, later"}


class PushSource(ReadingSource):
    """A server that takes samples, and answers once they are committed.

    ``http://[HOST:]PORT/PATH`` listens there, by default on the loopback interface and at
    ``/samples``; ``http:`` alone takes what is sent to ``POST /samples`` of ``run --serve``.
    Elsewhere everybody must show a token (``Authorization: Bearer``): that of the environment
    variable ``ADLIB_TOKEN``, or of the file that ``token_file`` names. TLS is a proxy's business.

    A request holds a JSON object (a row), an array of objects or of arrays (rows), an array of
    numbers (a row), or lines of JSON or of a table with its header (``Content-Type: text/csv`` or
    ``application/x-ndjson``). The answer is

    ===  ==========================================================================================
    200  ``{"rows": 3, "unreadable": 1}``: they are committed, and need not be sent again (in a
         fleet a row without an entity cannot be read either)
    400  what is wrong with all of it; nothing was taken
    401  no token, or another
    408  the request did not arrive within 30 s
    413  more than ``largest`` bytes (1 MiB), or than ``queue`` rows
    415  packed
    503  ``queue`` rows (10,000) wait already, or nothing is judged now: send it again, later
    ===  ==========================================================================================

    A commit takes up to a second, or what ``commit_within`` says. Who hears no answer sends again;
    with the header ``Idempotency-Key`` (one for each request, the same when it is sent again) that
    is not judged twice, also after a crash: the last thousand keys are part of the checkpoint.
    A row without a time has that of its arrival, as long as none before brought one.
    """

    def __init__(self, spec: str):
        require_extra("uvicorn", "live")
        super().__init__(spec, {"token_file", "queue", "largest", "commit_within"})
        found = re.fullmatch(r"http:(?://((?:[^/@]*:)?\d+)(/[^#]*)?)?", self.rest)
        if found is None:
            raise ValueError(f"source must read http://[HOST:]PORT/PATH, or http: for what is sent "
                             f"to --serve, got {masked(self.rest)!r}")
        self.where, self.path = found[1], found[2] or "/samples"
        self.token = http.token_from(self.options.get("token_file"))
        self.queue = int(positive(self.options, "queue", 10_000) or 0)
        self.largest = int(positive(self.options, "largest", 1 << 20) or 0)
        self.commit_within = positive(self.options, "commit_within", 1.0)
        self.identity = "http"
        self._taking: _Taking | None = None
        self._mark: list[float] = []

    async def samples(self, *, features: Sequence[str] | None = None,
                      position: int = -1) -> AsyncIterator[Sample]:
        """Rows as they are sent."""
        taking = _Taking(self, features, position + 1, self._mark)
        with ExitStack() as stack:
            stack.enter_context(http.served(self._app(), self.where, "source http",
                                            token=self.token))
            self._taking = taking
            try:
                async for sample in taking.samples():
                    yield sample
            finally:
                self._taking = None
                taking.leave()
                await in_thread(stack.pop_all().close)

    def bookmark(self, position: int) -> list[float]:
        """The last requests that are committed."""
        return self._taking.committed(position) if self._taking else self._mark

    def resume(self, mark: list[float]) -> None:
        """Requests that are known."""
        self._mark = mark

    async def probe(self) -> str:
        """Whether it can listen."""
        with http.served(self._app(), self.where, "source http", token=self.token) as address:
            return f"{address or 'run --serve'} would take POST {self.path}"

    async def push(self, request: Any) -> Any:
        """Take the samples of a Starlette request; the response."""
        from starlette.responses import JSONResponse

        status, body = await self._answer(request)
        return JSONResponse(body, status, {"Retry-After": "1"} if status == 503 else None)

    def _app(self) -> Any:
        from starlette.routing import Route

        return http.guarded([Route(self.path, self.push, methods=["POST"])], self.token)

    async def _answer(self, request: Any) -> Reply:
        headers, done = request.headers, Future[Reply]()
        if headers.get("content-encoding", "identity") != "identity":
            return 415, {"error": "packed bodies are not read: send it as it is"}
        try:
            body = await http.body_of(request, self.largest, _PATIENCE)
        except TimeoutError:
            return 408, {"error": f"the request did not arrive within {_PATIENCE:g} s"}
        if body is None:
            return 413, {"error": f"at most {self.largest:,} bytes: send less at once"}
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        taking = self._taking
        if taking is None:
            return 503, {"error": "no stream is processed now"}
        taking.loop.call_soon_threadsafe(
            taking.offer, body, kind, headers.get("idempotency-key"), done)
        return await asyncio.wrap_future(done)


class _Request:
    """One that waits for its commit."""

    def __init__(self, key: float, records: Sequence[Record], last: int, fleet: bool):
        self.key, self.left, self.last = key, len(records), last
        self.answers: list[Future[Reply]] = []
        self.reply = {"rows": self.left, "unreadable": sum(
            not r.is_whole or (fleet and not r.entity) for r in records)}

    def answer(self, status: int, body: dict[str, Any]) -> None:
        """Let all who sent it know."""
        for answer in self.answers:
            answer.set_result((status, body))


class _Taking:
    """One run: requests that were taken, until they are committed. All in the engine's loop."""

    def __init__(self, source: PushSource, features: Sequence[str] | None, first: int,
                 mark: Sequence[float]):
        self.loop = asyncio.get_running_loop()
        self._of, self._features, self._next = source, features, first
        self._objects, self._arrivals = source.records(features), Arrivals()
        self._news: asyncio.Queue[tuple[int, Record]] = asyncio.Queue()
        self._open: dict[int, _Request] = {}  # by the numbers that the engine gives the rows
        self._keyed: dict[float, _Request] = {}  # those of them that have a key
        self._done = deque(mark, maxlen=_KEYS)  # keys of those that are committed

    async def samples(self) -> AsyncIterator[Sample]:
        while True:
            for sample in grouped(await waiting(self._news), numbered=False,
                                  acknowledge=self._acknowledge):
                yield sample

    def offer(self, body: bytes, kind: str, named: str | None, answer: Future[Reply]) -> None:
        """Take a request, or refuse it."""
        if not answer.set_running_or_notify_cancel():  # the server ends
            return
        key = 0.0 if named is None else float(int.from_bytes(
            hashlib.blake2b(named.encode(), digest_size=6).digest(), "big"))
        if key in self._keyed:  # it was sent again before it was answered
            self._keyed[key].answers.append(answer)
        elif key in self._done:
            answer.set_result((200, {"again": True}))
        elif self._of._taking is not self:  # it came as the engine stopped
            answer.set_result(_STOPS)
        elif (refused := self._take(body, kind, key, answer)) is not None:
            answer.set_result(refused)

    def _take(self, body: bytes, kind: str, key: float, answer: Future[Reply]) -> Reply | None:
        """What the answer is at once; None where it is that of the commit."""
        try:
            records = self._read(body, kind)
        except (ValueError, RecursionError) as error:
            return 400, {"error": f"nothing of it can be read: {error}"}
        if (n := len(records)) > self._of.queue:
            return 413, {"error": f"at most {self._of.queue:,} rows: send fewer at once"}
        if len(self._open) + n > self._of.queue:
            return 503, {"error": f"{len(self._open):,} rows wait already: send it again, later"}
        request = _Request(key, records, self._next + n - 1, self._of.fleet)
        if not records:
            return 200, request.reply
        request.answers.append(answer)
        self._keyed |= {key: request} if key else {}
        for record in records:
            self._open[self._next] = request
            self._news.put_nowait((self._next, self._arrivals.stamped(record, time.time())))
            self._next += 1
        return None

    def _read(self, body: bytes, kind: str) -> list[Record]:
        if kind not in ("text/csv", "application/x-ndjson", "application/jsonl", "text/plain"):
            found = json.loads(body)
            if not isinstance(found, dict | list):
                raise ValueError(f"a row is an object or an array, got {shown(body)}")
            rows = found if isinstance(found, list) and any(
                isinstance(row, dict | list) for row in found) else [found] if found else []
            return self._objects.read([row if isinstance(row, dict | list) else
                                       shown(json.dumps(row)) for row in rows])
        return self._of.records(self._features).lines(body.splitlines(), end=True)

    async def _acknowledge(self, numbers: Sequence[int]) -> None:
        for request in [self._open.pop(n) for n in numbers if n in self._open]:
            request.left -= 1
            if not request.left:
                if self._keyed.pop(request.key, None):
                    self._done.append(request.key)
                request.answer(200, request.reply)

    def committed(self, position: int) -> list[float]:
        """Keys of requests that are committed with ``position``."""
        return [*self._done, *(key for key, request in list(self._keyed.items())
                               if request.last <= position)]

    def leave(self) -> None:
        """Nobody judges any more: what is not committed is to be sent again."""
        for request in dict.fromkeys(self._open.values()):
            request.answer(*_STOPS)
        self._open.clear()
