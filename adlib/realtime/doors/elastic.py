"""Elasticsearch or OpenSearch as a receiver of the outbox: a searchable copy.

SQLite stays the journal; documents follow from the outbox, at least once, with deterministic ids:
one that is there already answers 409, which is success. No client library is needed: an index
template and bulk requests are all that is asked for, in plain JSON, as Elasticsearch (from 7.8 on,
so 8 and 9) and OpenSearch (all versions) take it. Nothing asks which of them answers.

**What was tested.** A local server that speaks the documented wire format: index template,
``create`` by id, 409, bulk requests with partial failure, 429 and 503 with Retry-After, TLS, a
server that is neither. The same tests run against a real server when ``ADLIB_TEST_ES_URL`` names
one; **none was at hand when this was written**, but osmem 0.1.6, which plays OpenSearch 3 in
memory, passed them. Not tested: clusters of several nodes.
"""

import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any

from adlib.realtime.channels import Outcome
from adlib.realtime.doors.client import HttpChannel, HttpConfig, Reply, to_json
from adlib.realtime.doors.http import judge_status
from adlib.realtime.events import IncidentEvent, Verdict
from adlib.realtime.store import OutboxRow, StorageConfig

# An index refuses the whole document for a longer keyword, such as a name of 40,000 bytes.
_KEYWORD = {"type": "keyword", "ignore_above": 8191}
_FLOAT, _LONG = {"type": "float"}, {"type": "long"}
_DATE = {"type": "date", "format": "epoch_millis"}
MAPPING: dict[str, Any] = {
    "dynamic": False,  # a new detector's name must not become a new field without end
    "properties": {
        "@timestamp": _DATE, "type": _KEYWORD, "stream": _KEYWORD, "severity": _KEYWORD,
        "score": _FLOAT, "p_value": {"type": "double"}, "is_anomaly": {"type": "boolean"},
        "start": _LONG, "end": _LONG, "incident": _KEYWORD, "kind": _KEYWORD, "n": _LONG,
        "notify": {"type": "boolean"}, "opened_at": _DATE, "closed_at": _DATE, "n_windows": _LONG,
        "state": _KEYWORD, "acknowledged": {"type": "boolean"}, "about": _KEYWORD,
        "detail": {"type": "text"},
        "top_features": {"properties": {"name": _KEYWORD, "value": _FLOAT}},
        "detectors": {"properties": {"name": _KEYWORD, "severity": _FLOAT}},
        "left_out": {"properties": {"name": _KEYWORD, "reason": _KEYWORD}},
    },
}


def _millis(seconds: float | None) -> int | None:
    return None if seconds is None else round(1000 * seconds)


def _pairs(pairs: Iterable[tuple[str, float | None]], value: str) -> list[dict[str, Any]]:
    # A list of (name, number) has two types, which an index refuses.
    return [{"name": name, value: number} for name, number in pairs]


def event_document(event: IncidentEvent) -> dict[str, Any]:
    """A step of an incident as a document of one level."""
    body = event.to_dict()
    incident: Mapping[str, Any] = body["incident"]
    kept = ("stream", "start", "end", "severity", "n_windows", "state", "acknowledged")
    return {"type": "incident", "@timestamp": _millis(event.time), "incident": incident["id"],
            **{name: body[name] for name in ("kind", "n", "notify")},
            **{name: incident[name] for name in kept}, "score": incident["peak_score"],
            "about": incident["kind"], "detail": incident["detail"],
            "opened_at": _millis(incident["opened_at"]),
            "closed_at": _millis(incident["closed_at"]),
            "top_features": _pairs(incident["top_features"], "value")}


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """A stored verdict as a document of one level."""
    body = verdict.to_dict()
    del body["peaks"]  # what the engine counts by
    return {"type": "verdict", "@timestamp": _millis(body.pop("time")), **body,
            "top_features": _pairs(body["top_features"], "value"),
            "detectors": _pairs(body["detectors"].items(), "severity"),
            "left_out": [{"reason": reason, "name": name} for reason, name in body["left_out"]]}


class ElasticsearchStore(HttpChannel):
    """A receiver that indexes documents in bulk.

    Documents of an incident are independent of each other, so none waits for an earlier one.

    Parameters
    ----------
    config : StorageConfig
        Host, port, login and index. The index template of the same name is put before the first
        document.
    store : str
    clock : callable
        Wall clock, POSIX seconds.
    """

    Config = StorageConfig
    name, batch = "elasticsearch", 500
    most, trust_env = 16 << 20, False  # an answer has a line for each document

    def __init__(self, config: StorageConfig, store: str = "", *,
                 clock: Callable[[], float] = time.time):
        host = f"[{config.host}]" if ":" in config.host else config.host
        login = {}
        if config.api_key is not None:
            login["Authorization"] = f"ApiKey {config.api_key.get_secret_value()}"
        elif config.password is not None:
            words = f"{config.username}:{config.password.get_secret_value()}".encode()
            login["Authorization"] = f"Basic {b64encode(words).decode()}"
        super().__init__(HttpConfig(
            url=f"{'https' if config.tls else 'http'}://{host}:{config.port}", headers=login,
            timeout=30.0, plain_http=True, ca_certs=config.ca_certs), store, clock=clock)
        self._index, self._prepared = config.index, False

    def rows(self, events: Iterable[IncidentEvent],
             verdicts: Iterable[Verdict]) -> Iterator[OutboxRow]:
        """A document for every incident event, also quiet ones, and every stored verdict."""
        documents = [(event.id, event.time, event_document(event)) for event in events]
        documents += [(f"{v.stream}|verdict|{v.end}", v.time, verdict_document(v))
                      for v in verdicts]
        for name, when, document in documents:
            yield OutboxRow(f"{name}|{self.name}", self.name, name, when, document)

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Index documents in one request; each has an outcome of its own."""
        if not self._prepared:
            answer = await self._lines("PUT", f"/_index_template/{self._index}", {
                "index_patterns": [f"{self._index}*"], "template": {"mappings": MAPPING},
                "priority": 200})  # those that come with Elasticsearch have 100 at most
            self._prepared = _said(answer) is not None
            if not self._prepared:
                fault = _fault(answer)  # whatever it is, it is not about these documents
                return [replace(fault, state="retry", expires=True) if fault.state == "dead"
                        else fault] * len(rows)
        answer = await self._lines("POST", f"/{self._index}/_bulk", *chain.from_iterable(
            ({"create": {"_id": _document_id(row.key)}}, row.body) for row in rows))
        items = (_said(answer) or {}).get("items")
        if not isinstance(items, list) or len(items) != len(rows):
            return [_fault(answer)] * len(rows)
        return [_judge(item["create"]) for item in items]

    async def _lines(self, method: str, path: str, *lines: Any) -> Reply:
        kind = "application/x-ndjson" if method == "POST" else "application/json"
        return await self._ask(b"".join(to_json(line) + b"\n" for line in lines),
                               {"Content-Type": kind}, method=method, path=path)


def _document_id(key: str) -> str:
    # An index takes ids of up to 512 bytes.
    return key if len(key.encode()) <= 512 else hashlib.sha256(key.encode()).hexdigest()


def _said(answer: Reply) -> dict[str, Any] | None:
    """What a success says; None for anything else."""
    with suppress(ValueError, RecursionError):
        said = json.loads(answer.text)
        if isinstance(said, dict) and 200 <= answer.status < 300:
            return said
    return None


def _fault(answer: Reply) -> Outcome:
    outcome = answer.outcome()
    return outcome if outcome.state != "sent" else Outcome(
        "retry", f"neither Elasticsearch nor OpenSearch answers HTTP {answer.status} "
        f"{answer.detail}", answer.wait, expires=True)


def _judge(item: Mapping[str, Any]) -> Outcome:
    if item["status"] < 300 or item["status"] == 409:
        return Outcome("sent")
    error = item.get("error", {})
    return judge_status(item["status"], f"{error.get('type')}: {error.get('reason')}"[:300], None)
