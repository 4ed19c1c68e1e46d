"""Documents for Elasticsearch and OpenSearch: the wire contract; a real server where named."""

import asyncio
import contextlib
import os
import time
import uuid
from urllib.parse import quote, urlsplit

import httpx
import pytest
from realtime_servers import ElasticServer

from adlib.realtime.doors.elastic import MAPPING, ElasticsearchStore
from adlib.realtime.events import Verdict
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.notify import NotificationConfig, NotificationService
from adlib.realtime.store import AlertStore, OutboxRow, StorageConfig

REAL = os.environ.get("ADLIB_TEST_ES_URL")


@pytest.fixture
def server():
    with ElasticServer() as server:
        yield server


@pytest.fixture
def local(server):
    return StorageConfig(backend="elasticsearch", host="127.0.0.1", port=server.port)


@pytest.fixture(params=["Elasticsearch", "OpenSearch", "real server"])
def any_server(request):
    """Where it listens, and its settings."""
    index = f"adlib-test-{uuid.uuid4().hex[:8]}"
    if request.param != "real server":
        server = request.getfixturevalue("server")
        server.product = request.param
        yield f"http://127.0.0.1:{server.port}", StorageConfig(
            backend=request.param.lower(), host="127.0.0.1", port=server.port, index=index)
        return
    if not REAL:
        pytest.skip("ADLIB_TEST_ES_URL names no Elasticsearch or OpenSearch server")
    url = urlsplit(REAL)
    yield REAL, StorageConfig(
        backend="elasticsearch", host=url.hostname, port=url.port or 9200, index=index,
        tls=url.scheme == "https", username=url.username, password=url.password)
    httpx.delete(f"{REAL}/{index}")
    httpx.delete(f"{REAL}/_index_template/{index}")


@pytest.fixture
def store(tmp_path):
    with AlertStore(tmp_path / "alerts.db") as store:
        yield store


def history():
    manager = AlertManager(IncidentConfig(open_after=1, open_within=1, close_after=1,
                                          update_interval=0))
    verdicts = [Verdict("rig", 10 * k, 10 * k + 99, 1.7e9 + k, 0.01, 0.8, "warning", k < 3,
                        {"VAE": 0.8, "Voting": None}, (("temperature", 0.7), ("x", float("nan"))))
                for k in range(4)]
    return verdicts, [event for v in verdicts for event in manager.step(v)]


def commit(store, service, verdicts=(), events=()):
    store.commit("rig", 0, b"", verdicts, events, [], service.rows(events, verdicts))


def service(store, config, **kwargs):
    return NotificationService(NotificationConfig(), store, storage=config, **kwargs)


def deliver(store, config, verdicts=(), events=(), **kwargs):
    async def go():
        tell = service(store, config, **kwargs)
        commit(store, tell, verdicts, events)
        tries = await tell.deliver_due()
        await tell.close()
        return tries
    return asyncio.run(go())


# ------------------------------------------------------------------ any server


def test_documents_arrive_once_and_can_be_found(store, any_server):
    url, config = any_server
    verdicts, events = history()
    odd = [Verdict("rig", k, k + 9, 1.7e9, 0.01, 0.8, "warning", True, {}, ((name, 0.7),))
           for k, name in enumerate(["\udce9 half a pair", "x" * 40_000, '"\n\\\0', "{"], 1000)]
    assert deliver(store, config, [*verdicts, *odd], events) == 12
    # Sent again, after a crash before the outbox was marked: 409 is success.
    store._db.execute("UPDATE outbox SET state = 'pending', due = 0")
    assert deliver(store, config) == 12
    assert {row.state for row in store.outbox()} == {"sent"}, store.outbox()[0].error
    httpx.post(f"{url}/{config.index}/_refresh").raise_for_status()
    name = quote(events[0].id, safe="")
    document = httpx.get(f"{url}/{config.index}/_doc/{name}").json()["_source"]
    assert httpx.get(f"{url}/{config.index}/_count").json()["count"] == 12
    assert document["type"] == "incident" and document["kind"] == "open"
    assert document["@timestamp"] == 1_700_000_000_000 and document["stream"] == "rig"
    assert document["top_features"] == [{"name": "temperature", "value": 0.7},
                                        {"name": "x", "value": None}]
    if url == REAL:  # what the mapping makes of them
        for query, count in (({"term": {"stream": "rig"}}, 12), ({"term": {"kind": "open"}}, 1),
                             ({"term": {"top_features.name": "temperature"}}, 8),
                             ({"range": {"@timestamp": {"gte": 1_700_000_002_000}}}, 4),
                             ({"range": {"p_value": {"lt": 0.02}}}, 8)):
            found = httpx.post(f"{url}/{config.index}/_search", json={"query": query})
            assert found.json()["hits"]["total"]["value"] == count, query


# ------------------------------------------------------------------ what only a script can do


def test_template_headers_and_mapping(store, server, local):
    verdicts, events = history()
    deliver(store, local, verdicts, events)
    method, path, _ = server.received[0]
    assert (method, path) == ("PUT", "/_index_template/adlib-alerts")
    template = server.templates["adlib-alerts"]
    assert template["index_patterns"] == ["adlib-alerts*"]
    assert template["template"]["mappings"] == MAPPING
    assert [path for _, path, _ in server.received[1:]] == ["/adlib-alerts/_bulk"]
    for document in server.documents["adlib-alerts"].values():  # nothing outside the mapping
        assert document.keys() <= MAPPING["properties"].keys()


def test_bulk_with_partial_failure(store, server, local):
    verdicts, _ = history()
    names = [f"rig|verdict|{v.end}" for v in verdicts]
    server.script.append({names[0]: (400, "document_parsing_exception"),
                          names[1]: (429, "es_rejected_execution_exception"),
                          names[2]: (409, "version_conflict_engine_exception")})
    deliver(store, local, verdicts)
    rows = store.outbox()
    assert [row.state for row in rows] == ["dead", "pending", "sent", "sent"]
    assert "document_parsing_exception" in rows[0].error and "HTTP 429" in rows[1].error
    store._db.execute("UPDATE outbox SET due = 0")
    deliver(store, local)
    store.replay_dead()
    deliver(store, local)
    assert {row.state for row in store.outbox()} == {"sent"}
    assert len(server.documents["adlib-alerts"]) == 3  # the scripted 409 was never stored


@pytest.mark.parametrize(("status", "state"), [
    (429, "pending"), (503, "pending"), (502, "pending"), (400, "dead"), (401, "pending"),
    (413, "dead")])
def test_whole_requests_that_fail(store, server, local, status, state):
    server.script.append((status, {"Retry-After": "45"} if status == 429 else {}))
    deliver(store, local, *history(), clock=lambda: 1000.0)
    rows = store.outbox()
    assert {row.state for row in rows} == {state} and str(status) in rows[0].error
    if status == 429:
        assert min(row.due for row in rows) >= 1045.0
    assert len([path for _, path, _ in server.received if "_bulk" in path]) == 1  # no own retries


@pytest.mark.parametrize("page", ["<html>log in</html>", "", "[1]", '{"items": []}', "[" * 99_999])
def test_a_server_that_is_neither(store, server, local, page):
    server.page = page or " "
    deliver(store, local, *history())
    rows = store.outbox()
    assert {row.state for row in rows} == {"pending"}  # a proxy may stand in its place
    assert all(row.since for row in rows), rows[0].error  # which somebody may put right


@pytest.mark.parametrize("status", [400, 403, 503])
def test_a_template_that_is_refused_costs_no_document(store, server, local, monkeypatch, status):
    route = server._route
    monkeypatch.setattr(server, "_route", lambda method, *rest: (
        (status, {"error": "told to"}, {}) if method == "PUT" else route(method, *rest)))
    deliver(store, local, *history())
    assert {row.state for row in store.outbox()} == {"pending"} and server.documents == {}
    monkeypatch.undo()
    deliver(store, local, clock=lambda: time.time() + 1e4)
    assert {row.state for row in store.outbox()} == {"sent"}


def test_an_answer_without_an_end_is_not_read(store, local):
    """Hundreds of megabytes, a drop at a time: the rest stays where it is."""
    sent = []

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                writer.write(b" " * (1 << 19))
                await writer.drain()
                sent.append(1 << 19)
        writer.close()

    async def go():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            config = local.model_copy(update={"port": server.sockets[0].getsockname()[1]})
            tell = service(store, config)
            commit(store, tell, *history())
            await tell.deliver_due()
            await tell.close()

    asyncio.run(go())
    assert {row.state for row in store.outbox()} == {"pending"} and sum(sent) < 100 << 20


def test_server_down_then_up(store, server, local):
    server.stop()
    deliver(store, local, *history())
    assert {row.error.split()[0] for row in store.outbox()} == {"ConnectError"}
    server.start()
    store._db.execute("UPDATE outbox SET due = 0")
    deliver(store, local)
    assert {row.state for row in store.outbox()} == {"sent"}


@pytest.mark.parametrize("login", [{"username": "me", "password": "s3cretpass"},
                                   {"api_key": "s3cretpass"}])
def test_login_is_sent_and_never_shown(store, server, local, caplog, login):
    config = StorageConfig(**(local.model_dump() | login))
    server.script.append((401, {}))
    with caplog.at_level("DEBUG"):
        deliver(store, config, *history())
    sent = server.received[0][2]["authorization"]
    assert sent in ("ApiKey s3cretpass", "Basic bWU6czNjcmV0cGFzcw==")
    shown = caplog.text + repr(config) + repr(store.outbox())
    shown += "".join(file.read_bytes().decode("latin-1") for file in store.path.parent.iterdir())
    assert "s3cretpass" not in shown and "czNjcmV0cGFzcw" not in shown


def test_long_ids_are_shortened(store, server, local):
    rows = [OutboxRow("x" * 600, "elasticsearch", "x" * 600, 0.0, {"type": "verdict"})]
    store.commit("rig", 0, b"", [], [], [], rows)
    deliver(store, local)
    (name,) = server.documents["adlib-alerts"]
    assert len(name) == 64 and store.outbox()[0].state == "sent"


@pytest.mark.parametrize("host", ["http://es", "es/x", "me@es", "es 1"])
def test_a_host_is_no_address(host):
    with pytest.raises(ValueError, match="host"):
        StorageConfig(backend="opensearch", host=host)
    assert ElasticsearchStore(StorageConfig(backend="opensearch", host="::1")).name


def test_https_only_to_a_server_that_is_trusted(store, certificate):
    verdicts, events = history()
    with ElasticServer(certificate=certificate) as server:
        config = StorageConfig(backend="elasticsearch", host="127.0.0.1", port=server.port,
                               tls=True, username="adlib", password="s3cretpass")
        deliver(store, config, verdicts, events)
        assert server.received == []  # nobody vouches for the certificate: no password for it
        assert {row.state for row in store.outbox()} == {"pending"}
        trusted = config.model_copy(update={"ca_certs": certificate[0]})
        deliver(store, trusted, clock=lambda: time.time() + 1e4)
        assert {row.state for row in store.outbox()} == {"sent"}
        assert all(headers["authorization"].startswith("Basic ") for *_, headers in server.received)
