"""The official Elasticsearch client against the wire contract; a real server where one is named."""

import asyncio
import os
import sys
import time
import uuid
from urllib.parse import urlsplit

import pytest
from realtime_servers import ElasticServer

from adlib.realtime.doors.elastic import MAPPING, ElasticsearchStore
from adlib.realtime.events import Verdict
from adlib.realtime.incidents import AlertManager, IncidentConfig
from adlib.realtime.notify import NotificationConfig, NotificationService
from adlib.realtime.store import AlertStore, OutboxRow, StorageConfig

pytest.importorskip("elasticsearch", reason="the extra is not installed: adlib[elasticsearch]")
pytest.importorskip("aiohttp", reason="the extra is not installed: adlib[elasticsearch]")
REAL = os.environ.get("ADLIB_TEST_ES_URL")


@pytest.fixture
def server():
    with ElasticServer() as server:
        yield server


@pytest.fixture
def local(server):
    return StorageConfig(backend="elasticsearch", host="127.0.0.1", port=server.port)


@pytest.fixture(params=["wire contract", "real server"])
def any_server(request):
    if request.param == "wire contract":
        return request.getfixturevalue("local")
    if not REAL:
        pytest.skip("ADLIB_TEST_ES_URL names no Elasticsearch server")
    url = urlsplit(REAL)
    return StorageConfig(backend="elasticsearch", host=url.hostname, port=url.port or 9200,
                         tls=url.scheme == "https", username=url.username, password=url.password,
                         index=f"adlib-test-{uuid.uuid4().hex[:8]}")


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


async def with_client(config, ask):
    receiver = ElasticsearchStore(config)
    client = await receiver._ready()
    try:
        return await ask(client)
    finally:
        await receiver.close()


# ------------------------------------------------------------------ any server


def test_documents_arrive_once_and_can_be_found(store, any_server):
    verdicts, events = history()
    name, index = events[0].id, any_server.index

    async def look(client):
        await client.indices.refresh(index=index)
        found = await client.get(index=index, id=name)
        count = await client.count(index=index)
        return found["_source"], count["count"]

    async def drop(client):
        await client.indices.delete(index=index, ignore_unavailable=True)
        await client.indices.delete_index_template(name=index)

    try:
        assert deliver(store, any_server, verdicts, events) == 8
        # Sent again, after a crash before the outbox was marked: 409 is success.
        store._db.execute("UPDATE outbox SET state = 'pending', due = 0")
        assert deliver(store, any_server) == 8
        assert {row.state for row in store.outbox()} == {"sent"}
        document, count = asyncio.run(with_client(any_server, look))
    finally:
        if REAL and "adlib-test-" in index:
            asyncio.run(with_client(any_server, drop))
    assert count == len(verdicts) + len(events) == 8
    assert document["type"] == "incident" and document["kind"] == "open"
    assert document["@timestamp"] == 1_700_000_000_000 and document["stream"] == "rig"
    assert document["top_features"] == [{"name": "temperature", "value": 0.7},
                                        {"name": "x", "value": None}]


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


def test_a_server_that_is_not_elasticsearch(store, server, local):
    server.product = {}
    deliver(store, local, *history())
    assert {row.state for row in store.outbox()} == {"pending"}  # a proxy may stand in its place
    assert "UnsupportedProductError" in store.outbox()[0].error


def test_server_down_then_up(store, server, local):
    server.stop()
    deliver(store, local, *history())
    assert {row.error for row in store.outbox()} == {"ConnectionError"}
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


def test_without_the_client_the_error_names_the_command(monkeypatch, local):
    monkeypatch.setitem(sys.modules, "elasticsearch", None)
    with pytest.raises(ImportError, match=r"pip install 'adlib\[elasticsearch\]'"):
        ElasticsearchStore(local)


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
