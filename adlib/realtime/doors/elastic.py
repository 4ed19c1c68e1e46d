"""Elasticsearch as a receiver of the outbox: a searchable copy of incidents and verdicts.

SQLite stays the journal; documents follow from the outbox, at least once, with deterministic ids:
one that is there already answers 409, which is success.

**What was tested.** The official client against a local server that speaks the documented wire
format: product header, index template, ``create`` by id, 409, bulk requests with partial failure,
429 and 503 with Retry-After, TLS, a server that is not Elasticsearch. The same tests run against a
real server when ``ADLIB_TEST_ES_URL`` names one; **none was at hand when this was written**, so
mappings and queries have not met a real index. Not tested: clusters of several nodes.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from adlib.arguments import require_extra
from adlib.realtime.channels import Channel, Outcome
from adlib.realtime.doors.http import judge_status, retry_after
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


class ElasticsearchStore(Channel):
    """A receiver that indexes documents in bulk.

    Parameters
    ----------
    config : StorageConfig
        Host, port, login and index. The index template of the same name is put before the first
        document.
    timeout : float
        Seconds for one request.

    Raises
    ------
    ImportError
        With the command that installs the official client, when it is missing.

    Notes
    -----
    Documents of an incident are independent of each other, so none waits for an earlier one.
    """

    Config = StorageConfig
    name, batch = "elasticsearch", 500

    def __init__(self, config: StorageConfig, store: str = "", *, timeout: float = 30.0,
                 clock: Callable[[], float] = time.time):
        require_extra("aiohttp", "elasticsearch")  # the client wants it, and says so late
        self._library = require_extra("elasticsearch", "elasticsearch")
        self._config, self.timeout, self._clock = config, timeout, clock
        self._client: Any = None
        self._prepared = False

    def rows(self, events: Iterable[IncidentEvent],
             verdicts: Iterable[Verdict]) -> Iterator[OutboxRow]:
        """A document for every incident event, also quiet ones, and every stored verdict."""
        documents = [(event.id, event.time, event_document(event)) for event in events]
        documents += [(f"{v.stream}|verdict|{v.end}", v.time, verdict_document(v))
                      for v in verdicts]
        for name, when, document in documents:
            yield OutboxRow(f"{name}|elasticsearch", self.name, name, when, document)

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Index documents in one request; each has an outcome of its own."""
        operations: list[dict[str, Any]] = []
        for row in rows:
            operations += [{"create": {"_id": _document_id(row.key)}}, row.body]
        try:
            client = await self._ready()
            answer = await client.bulk(index=self._config.index, operations=operations)
        except self._library.ApiError as error:
            wait = retry_after(error.meta.headers.get("retry-after"), self._clock())
            return [judge_status(error.meta.status, type(error).__name__, wait)] * len(rows)
        except (self._library.TransportError, TimeoutError) as error:
            return [Outcome("retry", type(error).__name__)] * len(rows)
        return [_judge(item["create"]) for item in answer["items"]]

    async def _ready(self) -> Any:
        config = self._config
        if self._client is None:
            login: dict[str, Any] = {}
            if config.api_key is not None:
                login["api_key"] = config.api_key.get_secret_value()
            elif config.username is not None and config.password is not None:
                login["basic_auth"] = (config.username, config.password.get_secret_value())
            if config.ca_certs is not None:
                login["ca_certs"] = str(config.ca_certs)
            # The outbox retries, with its own pauses, and survives a crash meanwhile.
            self._client = self._library.AsyncElasticsearch(
                f"{'https' if config.tls else 'http'}://{config.host}:{config.port}",
                request_timeout=self.timeout, max_retries=0, **login)
        if not self._prepared:
            await self._client.indices.put_index_template(
                name=config.index, index_patterns=[f"{config.index}*"],
                template={"mappings": MAPPING}, priority=100)
            self._prepared = True
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None


def _document_id(key: str) -> str:
    # Elasticsearch takes ids of up to 512 bytes.
    return key if len(key.encode()) <= 512 else hashlib.sha256(key.encode()).hexdigest()


def _judge(item: Mapping[str, Any]) -> Outcome:
    if item["status"] < 300 or item["status"] == 409:
        return Outcome("sent")
    error = item.get("error", {})
    return judge_status(item["status"], f"{error.get('type')}: {error.get('reason')}"[:300], None)
