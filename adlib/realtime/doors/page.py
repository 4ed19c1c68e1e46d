"""The operator's page: what is wrong, where, since when, which features, how sure, what to do.

It is read from the store alone, so that it also shows what an engine left that no longer runs;
beside an engine it shows its health too. Pages are whole without a script, and forms work without
one; ``page.js`` fetches the page again each second and changes what has changed. Names come from
the data: each goes through `adlib.realtime.events.shown`, and is escaped by the templates.
"""

import asyncio
import glob
import hashlib
import math
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined

from adlib.arguments import shown
from adlib.durations import seconds
from adlib.realtime.answers import Answer, FeedbackStore, Verdict
from adlib.realtime.doors import http
from adlib.realtime.doors.drawing import signal
from adlib.realtime.doors.messages import label, named
from adlib.realtime.doors.process import user
from adlib.realtime.events import SEVERITIES, Incident, Silence, leading, utc
from adlib.realtime.health import slug
from adlib.realtime.members import Worker
from adlib.realtime.silences import holds, silenced
from adlib.realtime.store import AlertStore
from adlib.realtime.traces import Overview, Trace

_FEW, _PICTURES, _ROWS = 25, 3, 50  # incidents, those with their signal, machines of a fleet
_STATES = (*SEVERITIES[::-1], "acknowledged", "silent", "flagged", "waiting", "well")
_SILENT = 300.0  # seconds behind the newest of the fleet
_PRESENT = 7 * 86_400.0  # a stream that is further from the wall clock is a replay
_DRAWN = 20_000  # rows of a signal
_SPANS = ("15min", "1h", "6h", "1d", "7d")
_PATIENCE = 8.0  # seconds that a store has to answer
_BODY = 65_536  # bytes of a form
_AGAIN = 5.0  # seconds after which a page is made anew, so that "3 min ago" stays true


def ago(then: float, now: float) -> str:
    """A moment as seen from now; nothing where a stream does not give the time.

    Examples
    --------
    >>> ago(1.7e9 - 130, 1.7e9), ago(1.7e9 + 7260, 1.7e9), ago(1.7e9 - 1, 1.7e9), ago(814.0, 1.7e9)
    ('2 min ago', 'in 2 h 1 min', 'just now', '')
    """
    if not utc(then).endswith("UTC"):
        return ""
    text = lasting(abs(now - then))
    return "just now" if abs(now - then) < 3 else f"{text} ago" if then < now else f"in {text}"


def lasting(seconds: float) -> str:
    """A duration in its two largest units.

    Examples
    --------
    >>> lasting(59), lasting(150), lasting(7260), lasting(90_000), lasting(40 * 86_400)
    ('59 s', '2 min', '2 h 1 min', '1 d 1 h', '40 d')
    """
    s = int(seconds)
    for size, unit, part, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if s >= size:
            rest = s % size // part
            return f"{s // size} {unit}" + f" {rest} {small}" * (rest > 0 and s < 10 * size)
    return f"{s // 60} min" if s >= 60 else f"{s} s"


def chance(score: float, alpha: float | None) -> float | None:
    """The p-value behind a calibrated severity; None below the threshold, or where it is unknown.

    Examples
    --------
    >>> chance(0.9, 0.01), chance(1.0, 0.01), chance(0.5, 0.01)
    (0.001, 0.0, None)
    """
    if alpha is None or not 0.7 <= score <= 1:
        return None
    decades = (score - 0.7) / 0.2 if score <= 0.9 else 1 - math.log(10 * (1 - score)) / 2 if (
        score < 1) else math.inf
    return alpha * 10**-decades


class Board:
    """What the page shows and what it decides; one thread asks at a time.

    Parameters
    ----------
    store : AlertStore or path, optional
    engine : RealTimeAnomalyDetector, optional
    clock : callable
        The wall clock.
    """

    def __init__(self, store: AlertStore | str | Path | None, engine: Any = None,
                 clock: Callable[[], float] = time.time):
        self.engine, self.clock = engine, clock
        self._path = store.path if isinstance(store, AlertStore) else store
        self._store: FeedbackStore | None = None

    @property
    def store(self) -> FeedbackStore:
        """The store, opened when it is asked for; FileNotFoundError while there is none."""
        if self._path is None:
            raise FileNotFoundError("no alert store: without alert_config.storage nothing is kept")
        try:
            if self._store is not None:
                self._store.check_file()
        except OSError:  # another file stands there
            self.close()
        if self._store is None:
            self._store = FeedbackStore(self._path, create=False)
            self._store.wait_for_locks(_PATIENCE / 2)
        return self._store

    def close(self) -> None:
        """Close the store; it is opened again when it is needed."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def version(self) -> tuple[Any, ...]:
        """Changes with what is shown."""
        return self.store.version(), id(self._store), self.clock() // _AGAIN

    # -- what is shown ------------------------------------------------------------------------

    def overview(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The first page: open incidents, the fleet, health, messages, silences."""
        store, known = self.store, self._known()
        found = sorted(store.incidents(state="open"), key=lambda i: (
            i.acknowledged, -SEVERITIES.index(i.severity), -i.opened_at))
        fleets = {row.stream for row in known.values()}
        for incident in found:  # of a stream of which nothing was judged yet
            if incident.stream not in known.keys() | fleets:
                known[incident.stream] = Overview(incident.stream, incident.stream, None, -1,
                                                  math.nan, 0, 0, None, None, (incident,))
        few, many = (None, None) if "all" in query else (_FEW, _ROWS)
        newest = self._newest(known)
        silences = [silence for silence in store.silences() if silence.until > 0 and (
            silence.every is not None or silence.until > self._now(newest))]
        cards = [self._card(incident, known, silences) for incident in found[:few]]
        for card in [card for card in cards if card["incident"].kind == "anomaly"][:_PICTURES]:
            card["signal"] = self._around(card["incident"], known, most=2)
        fleet, find = self._fleet(known, found), query.get("find", "")
        chosen = [row for row in fleet if find.casefold() in row["label"].casefold()]
        return {
            **self._common(), "cards": cards, "open": found, "newest": newest, "fleet": fleet,
            "chosen": chosen[:many], "n_chosen": len(chosen), "find": find,
            "severities": SEVERITIES[::-1],
            "status": self.engine.status() if self.engine is not None else None,
            "quality": store.quality(limit=10)[::-1], "backlog": [
                (channel, state, n, store.outbox(state=state, channel=channel, limit=1)[0])
                for (channel, state), n in sorted(store.backlog().items())],
            "dead": store.outbox(state="dead", limit=20),
            "silences": [(silence, holds(silence, self._now(newest))) for silence in silences],
            "closed": store.incidents(state="closed", limit=10)[::-1]}

    def stream(self, query: Mapping[str, str]) -> dict[str, Any]:
        """One machine: its signals, incidents and data-quality events."""
        name, span, store, known = query.get("name", ""), query.get("span", "1h"), self.store, (
            self._known())
        incidents, row = store.incidents(stream=name, limit=20)[::-1], known.get(name)
        if row is None and not incidents:
            raise KeyError(f"no stream {name!r} in {store.path}")
        end = row.time if row else max(incident.last_at for incident in incidents)
        trace = self._trace(name, known, end - seconds(span, "span"), math.nextafter(end, math.inf))
        open_ = [incident for incident in incidents if incident.state == "open"]
        rules = getattr(self.engine, "entities", {})  # by what each is judged
        return {**self._common(), "name": name, "row": row, "span": span, "spans": _SPANS,
                "rule": rules.get(row.entity) if row else None,
                "signal": signal(trace, incidents, [n for i in open_ for n, _ in i.top_features]),
                "cards": [self._card(incident, known, store.silences()) for incident in open_],
                "closed": [incident for incident in incidents if incident.state == "closed"],
                "quality": store.quality(stream=name, limit=10)[::-1]}

    def incident(self, query: Mapping[str, str]) -> dict[str, Any]:
        """One incident, step by step."""
        store, known = self.store, self._known()
        incident = store.incident(query.get("id", ""))
        windows = store.verdicts(stream=incident.stream, since=incident.opened_at,
                                 until=incident.opened_at + 1800)
        return {**self._common(), "card": self._card(incident, known, store.silences()),
                "signal": self._around(incident, known), "events": store.events(incident.id),
                "worst": min((window for window in windows if window.is_anomaly),
                             key=lambda window: window.p_value, default=None),
                "messages": store.outbox(incident=incident.id),
                "answers": store.history(incident.id, stream=incident.stream)}

    def _common(self) -> dict[str, Any]:
        return {"now": self.clock(), "path": self.store.path, "acts": True}

    def _known(self) -> dict[str, Overview]:
        return {row.name: row for row in self.store.entities()}

    @staticmethod
    def _newest(known: Mapping[str, Overview], stream: str | None = None) -> float | None:
        """Time of the last judged row, of one fleet or of all."""
        return max((row.time for row in known.values() if row.time == row.time
                    and stream in (None, row.stream)), default=None)

    def _now(self, newest: float | None) -> float:
        """The present of a stream: of a replay, its newest sample."""
        now = self.clock()
        return now if newest is None or abs(now - newest) < _PRESENT else newest

    def _card(self, incident: Incident, known: Mapping[str, Overview],
              silences: Sequence[Silence]) -> dict[str, Any]:
        row = known.get(incident.stream)
        heard = [event.time for event in self.store.events(incident.id) if event.notify]
        answers = self.store.history(incident.id, stream=incident.stream)
        total = sum(max(share, 0.0) for _, share in incident.top_features if share == share)
        return {
            "incident": incident, "what": "".join(named(incident)), "signal": None,
            "bars": [(name, 100 * max(share, 0.0) / (total or 1.0))
                     for name, share in incident.top_features[:5] if share == share],
            "p": chance(incident.peak_score, row.alpha if row else None),
            "fleet": row is not None and row.entity is not None,
            "silenced": silenced(silences, incident, self._now(incident.last_at)),
            "notified": heard[-1] if heard else None, "channels": {
                row.channel: row.state for row in self.store.outbox(incident=incident.id)},
            "answer": answers[-1] if answers and answers[-1].verdict != "withdrawn" else None}

    def _fleet(self, known: Mapping[str, Overview], found: Sequence[Incident]
               ) -> list[dict[str, Any]]:
        """A line of each machine, the most urgent first."""
        # the engine says of the fleet that one of its machines is silent
        silent = {incident.id.rpartition("|")[0]: incident for incident in found}
        newest = {stream: self._newest(known, stream)
                  for stream in {row.stream for row in known.values()}}
        return sorted((self._machine(row, newest[row.stream] or row.time, silent.get(
            f"{row.stream}|health.no_data.{slug(row.entity or '')}"))
            for row in known.values()), key=lambda line: line["rank"])

    @staticmethod
    def _machine(row: Overview, newest: float, silent: Incident | None) -> dict[str, Any]:
        worst = max((*row.open, silent) if silent else row.open, default=None, key=lambda i: (
            not i.acknowledged, SEVERITIES.index(i.severity), i.opened_at))
        late, p, alpha = newest - row.time, row.p_value, row.alpha
        # of the width of a bar whose middle is the threshold
        share = 0.0 if p is None or alpha is None else min(
            50 * math.log(max(p, 1e-300)) / math.log(min(alpha, 0.99)), 100.0)
        state = ("acknowledged" if worst and worst.acknowledged else worst.severity if worst else
                 "silent" if late > _SILENT else "flagged" if share >= 50 else
                 "waiting" if p is None else "well")
        return {"row": row, "label": label(row.name), "state": state, "worst": worst,
                "what": "".join(named(worst)) if worst else "", "late": late, "share": share,
                "rank": (_STATES.index(state), -worst.opened_at if worst else -share, row.name)}

    def _trace(self, name: str, known: Mapping[str, Overview], since: float, until: float) -> Trace:
        row = known.get(name)
        if row is None:  # the fleet's own name has no rows of its own
            return self.store.trace(name, limit=0)
        return self.store.trace(row.stream, row.entity, since=since, until=until, limit=_DRAWN)

    def _around(self, incident: Incident, known: Mapping[str, Overview], most: int = 12
                ) -> dict[str, Any] | None:
        """The signal of an incident, with what came before it and after."""
        room = max(2 * (incident.last_at - incident.opened_at), 600.0)
        trace = self._trace(incident.stream, known, incident.opened_at - room,
                            incident.last_at + room)
        return signal(trace, [incident], [name for name, _ in incident.top_features], most)

    # -- what is decided ------------------------------------------------------------------------

    def act(self, form: Mapping[str, str]) -> str:
        """Do what a form asks for; a sentence that says what was done.

        Parameters
        ----------
        form : mapping of str to str
            ``do``, ``id``, and what belongs to it.

        Raises
        ------
        KeyError, ValueError
            When there is no such thing, or it cannot be.
        """
        store, what, of = self.store, form.get("do", ""), form.get("id", "")
        if what in ("acknowledge", "close"):
            incident = (store.acknowledge if what == "acknowledge" else store.end)(of)
            return f"{what.rstrip('e')}ed: {label(incident.stream)}"
        if what == "silence":
            return self._silence(store.incident(of) if of else None, form)
        if what == "unsilence":
            if of not in {silence.id for silence in store.silences()}:
                raise KeyError(f"no silence {of!r} in {store.path}")
            store.silence(Silence(of, 0.0))
            return f"silence {of} ended"
        if what in get_args(Verdict) and what != "ignore":
            return self._answer(store.incident(of), what, form)
        if what in ("replay", "discard"):
            if not store.replay_dead([of], discard=what == "discard"):
                raise KeyError(f"no dead letter {of!r} in {store.path}")
            return f"{of}: {'given up' if what == 'discard' else 'will be sent again'}"
        raise ValueError(f"do must be acknowledge, close, silence, unsilence, true, false, known, "
                         f"withdrawn, replay or discard, got {what!r}")

    def _silence(self, incident: Incident | None, form: Mapping[str, str]) -> str:
        known, scope = self._known(), form.get("scope")
        name = form.get("stream", "") if incident is None else incident.stream
        row, stream, first = known.get(name), _pattern(name), "*"
        if row is None and incident is None:
            raise KeyError(f"no stream {name!r} in {self.store.path}")
        if scope == "fleet" and row is not None and row.entity is not None:
            stream = f"{_pattern(row.stream)}/*"
        if scope == "feature" and incident is not None and incident.top_features:
            first = _pattern(leading(incident))
        last = self._newest(known, row.stream if row else name) or 0.0
        now = self._now(last if incident is None else max(last, incident.last_at))
        until = now + seconds(form.get("for", "2h"), "for")
        self.store.silence(Silence(
            uuid.uuid4().hex[:8], until, stream, "warning" if "less" in form else "critical", first,
            author=_author(form), comment=shown(form.get("comment", "").strip(), 500)))
        return f"silenced: {label(stream)} until {utc(until)}"

    def _answer(self, incident: Incident, verdict: Any, form: Mapping[str, str]) -> str:
        trace = self._trace(incident.stream, self._known(), -math.inf, math.inf)
        trace = trace.take((trace.seq >= incident.start) & (trace.seq <= incident.end))
        rows = [row for row in trace.values.tolist() if all(map(math.isfinite, row))][-500:]
        self.store.record(Answer(incident.id, verdict, tuple(map(tuple, rows)), _author(form),
                                 shown(form.get("comment", ""), 500), self.clock(),
                                 stream=incident.stream))
        if verdict != "withdrawn" and incident.state == "open":
            self.store.acknowledge(incident.id)  # somebody has seen it
        return {"withdrawn": "answer taken back", "known": "answered: known cause"}.get(
            verdict, f"answered: {verdict} alarm")


def _pattern(name: str) -> str:
    """A shell pattern that matches a name; what cannot be printed is matched by ``?``."""
    return shown(glob.escape(name[:150]), 500) + "*" * (len(name) > 150)


def _author(form: Mapping[str, str]) -> str:
    return shown(form.get("who", "").strip() or user(), 100)


# -- HTML ---------------------------------------------------------------------------------------

_PAGES = Environment(loader=PackageLoader("adlib.realtime.doors"), autoescape=True,
                     undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_PAGES.filters.update(shown=shown, lasting=lasting)
_PAGES.globals.update(ago=ago, utc=utc, label=label)


def _source(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text()


def render(template: str, /, **values: Any) -> str:
    """A page from its template."""
    return _PAGES.get_template(f"{template}.html.j2").render(**values)


class View(str):
    """HTML that a notebook shows as such."""

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<a view of an alert store, {len(self):,} characters of HTML>"


def view(store: AlertStore | str | Path, *, clock: Callable[[], float] = time.time) -> View:
    """The first page as a picture of this moment, for a notebook: nothing in it acts.

    Parameters
    ----------
    store : AlertStore or path
    clock : callable
        The wall clock, for what lies how long ago.

    Returns
    -------
    View
        HTML with its style, without a script.
    """
    board = Board(store, clock=clock)
    try:
        return View(render("view", style=_source("page.css"),
                           **{**board.overview({}), "acts": False}))
    finally:
        board.close()


# -- HTTP ---------------------------------------------------------------------------------------


class Site:
    """Answers a browser."""

    def __init__(self, board: Board, token: str | None):
        self._board, self._token = board, token
        self._worker: Worker | None = None
        self._acted = 0  # decisions, which our own connection does not notice

    def close(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.submit(self._board.close)
            self._worker.stop()
            self._worker = None

    async def _ask(self, function: Callable[..., Any], *args: Any) -> Any:
        """One thread, one connection: the loop never waits for the disk."""
        self._worker = self._worker or Worker("adlib-page")
        async with asyncio.timeout(_PATIENCE):
            return await self._worker.run(function, *args)

    def page(self, name: str) -> Callable[[Any], Any]:
        """Answers with a page; 304 where a browser has it already."""
        from starlette.responses import HTMLResponse, Response

        def made(query: dict[str, str], known: str | None) -> tuple[str, str | None]:
            now = repr((name, sorted(query.items()), self._board.version(), self._acted))
            tag = f'"{hashlib.blake2s(now.encode(errors="replace")).hexdigest()}"'
            return tag, None if tag == known else render(
                name, query=query, **getattr(self._board, name)(query))

        async def answer(request: Any) -> Any:
            try:
                tag, text = await self._ask(made, dict(request.query_params),
                                            request.headers.get("if-none-match"))
            except (KeyError, ValueError, OSError, sqlite3.Error) as error:
                status, why = _fault(error)
                engine = self._board.engine
                return HTMLResponse(render("fault", why=why, now=self._board.clock(),
                                           status=engine.status() if engine else None), status)
            how = {"ETag": tag}
            return Response(None, 304, how) if text is None else HTMLResponse(text, headers=how)
        return answer

    async def act(self, request: Any) -> Any:
        """Does what a form asks for; a browser without the script goes back to its page."""
        from starlette.responses import PlainTextResponse, RedirectResponse

        try:
            form = await _form(request)
            said = await self._ask(self._board.act, form)
        except (KeyError, ValueError, OSError, sqlite3.Error) as error:
            status, why = _fault(error)
            return PlainTextResponse(f"not done: {why}", status)
        finally:
            self._acted += 1
        return PlainTextResponse(shown(said, 500)) if "x-page" in request.headers else (
            RedirectResponse(_local(form.get("back", "/")), 303))

    async def login(self, request: Any) -> Any:
        """Asks for the token, and lets in who knows it."""
        from starlette.responses import HTMLResponse, RedirectResponse

        back = _local(request.scope.get("refused", "/"))
        if asked := request.method == "POST":
            form = {}
            with suppress(ValueError):
                form = await _form(request)
            back = _local(form.get("back", "/"))
            if self._token is None or http.same(form.get("token", "").strip(), self._token):
                answer = RedirectResponse(back, 303)
                if self._token is not None:
                    answer.set_cookie(*http.cookie(self._token), max_age=30 * 86_400,
                                      httponly=True, samesite="lax",
                                      secure=request.scope["scheme"] == "https")
                return answer
            await asyncio.sleep(1.0)
        return HTMLResponse(render("login", back=back, wrong=asked), 401)


def _local(address: str) -> str:
    """An address of this site; the first page where it is none."""
    plain = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if plain and address.isprintable() else "/"


def _fault(error: Exception) -> tuple[int, str]:
    """Status and one sentence."""
    text = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, (sqlite3.Error, TimeoutError)):
        text = f"the alert store does not answer: {text}"
    return (404 if isinstance(error, KeyError) else 400 if isinstance(error, ValueError)
            else 503), shown(text, 500)


async def _form(request: Any) -> dict[str, str]:
    """Fields of a form; ValueError where it is too large, or does not arrive."""
    try:
        body = await http.body_of(request, _BODY, _PATIENCE)
    except TimeoutError:
        raise ValueError("the form did not arrive whole") from None
    if body is None:
        raise ValueError(f"a form has at most {_BODY} bytes")
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True,
                          max_num_fields=50))


def routes(engine: Any, store: Any, token: str | None) -> tuple[list[Any], Any]:
    """Where the pages stand, and what ends their thread with the application."""
    from starlette.responses import Response
    from starlette.routing import Route

    site = Site(Board(store, engine), token)

    def fixed(name: str, kind: str) -> Route:
        answer = Response(_source(name), media_type=kind)
        return Route(f"/{name}", lambda request: answer)

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        yield
        site.close()

    return [Route("/", site.page("overview")), Route("/stream", site.page("stream")),
            Route("/incident", site.page("incident")), Route("/act", site.act, methods=["POST"]),
            Route("/login", site.login, methods=["GET", "POST"]),
            fixed("page.css", "text/css"), fixed("page.js", "text/javascript")], lifespan
