"""Receivers on loopback for the tests of the live engine: webhooks, mail, search, Alertmanager.

Each plays the documented contract and can be told to misbehave: `script` holds the next answers.
"""

import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

SECRET_PATH = "/services/T0SECRETTEAM/B0SECRETHOOK/xoxsecrettoken"


def plain(pages):
    """An application that answers with what functions give: status, kind of content, text."""
    def route(path, page):
        def answer(request):
            status, kind, text = page()
            return Response(text, status, media_type=kind)

        return Route(path, answer)

    return Starlette(routes=[route(path, page) for path, page in pages.items()])


class _Server:
    """An HTTP server in a thread; `port` stays the same when it is started again.

    ``certificate``: paths of a certificate and its key, for https.
    """

    def __init__(self, port=0, certificate=None):
        self.port, self.script, self.received = port, deque(), []
        self.certificate = certificate
        self._lock = threading.Lock()

    def start(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self):
                length = int(self.headers.get("Content-Length") or 0)
                status, body, headers = outer.answer(
                    self.command, self.path, self.headers, self.rfile.read(length))
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body.encode())))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(body.encode())
                except OSError:
                    pass  # the client was killed or lost its patience

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _any

            def log_message(self, *_):
                pass

        ThreadingHTTPServer.allow_reuse_address = True
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._http.daemon_threads = True
        if self.certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self.certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class SlackServer(_Server):
    """An incoming webhook: 200 ``ok``, 404 ``no_service`` for another path, 400 for bad payloads.

    Each entry of `script` answers one request: (status, body, headers, seconds of delay), or a
    callable that gets the payload first. `received` holds (status, payload) in order.
    """

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{SECRET_PATH}"

    @property
    def taken(self):
        """Payloads that were accepted."""
        return [payload for status, payload in self.received if 200 <= status < 300]

    def answer(self, method, path, headers, body):
        with self._lock:
            status, text, extra, delay = self._judge(method, path, headers, body)
            self.received.append((status, json.loads(body) if status != 400 else body))
        time.sleep(delay)
        return status, text, extra

    def _judge(self, method, path, headers, body):
        if path != SECRET_PATH or method != "POST":
            return 404, "no_service", {}, 0
        try:
            payload = json.loads(body)
        except ValueError:
            return 400, "invalid_payload", {}, 0
        if not payload.get("text"):
            return 400, "no_text", {}, 0
        for block in payload.get("blocks", []):
            if block["type"] != "section" or not 0 < len(block["text"]["text"]) <= 3000:
                return 400, "invalid_blocks", {}, 0
        if not self.script:
            return 200, "ok", {}, 0
        step = self.script.popleft()
        step = step(payload) if callable(step) else step
        return (*step, *({}, 0)[len(step) - 2:])


class HookServer(_Server):
    """Takes JSON by POST at any path; `script` as of `SlackServer`, without callables.

    `received` holds (path, headers in lower case, body, status) in order.
    """

    def answer(self, method, path, headers, body):
        with self._lock:
            step = self.script.popleft() if self.script else (200, "")
            status, text, extra, delay = (*step, *({}, 0)[len(step) - 2:])
            self.received.append((path, {k.lower(): v for k, v in headers.items()}, body, status))
        time.sleep(delay)
        return status, text, extra

    @property
    def taken(self):
        """Payloads that were accepted."""
        return [json.loads(body) for *_, body, status in self.received if status < 300]


class Alertmanager:
    """The real one, as a process; it notifies ``hook`` at once. ``with`` runs it."""

    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

    def __init__(self, folder, hook):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self._folder = f"http://127.0.0.1:{self.port}", folder
        (folder / "alertmanager.yml").write_text(json.dumps({
            "route": {"receiver": "hook", "group_by": ["..."], "group_wait": "0s",
                      "group_interval": "1s"},
            "receivers": [{"name": "hook", "webhook_configs": [
                {"url": f"http://127.0.0.1:{hook}/", "send_resolved": True}]}]}))

    def __enter__(self):
        self._process = subprocess.Popen(
            [self.program, f"--web.listen-address=127.0.0.1:{self.port}",
             "--cluster.listen-address=", f"--storage.path={self._folder}",
             f"--config.file={self._folder / 'alertmanager.yml'}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            with contextlib.suppress(OSError):
                if urlopen(f"{self.url}/-/ready", timeout=5).status == 200:
                    break
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def alerts(self):
        """What is active: (name, severity, incident) of each."""
        found = json.load(urlopen(f"{self.url}/api/v2/alerts", timeout=5))
        return sorted((a["labels"]["alertname"], a["labels"]["severity"], a["labels"]["incident"])
                      for a in found)


class _Controller(Controller):
    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]  # it was started with port 0
        super()._trigger_server()


class MailServer:
    """An SMTP server; `replies` maps a recipient, "DATA" or "AUTH" to the answers to come."""

    def __init__(self, *, login=None, **options):
        self.mails, self.replies, self.logins = [], {}, []
        if login is not None:
            def authenticate(server, session, envelope, mechanism, data):
                self.logins.append((data.login.decode(), data.password.decode()))
                return AuthResult(success=self.logins[-1] == login, handled=False)

            options = {"authenticator": authenticate, "auth_require_tls": False,
                       "auth_required": True} | options
        self._controller = _Controller(self, hostname="127.0.0.1", port=0, **options)

    @property
    def port(self):
        return self._controller.port

    def _reply(self, name, default):
        return self.replies[name].pop(0) if self.replies.get(name) else default

    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = self._reply(address, "250 OK")
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):
        reply = self._reply("DATA", "250 OK")
        if reply.startswith("2"):
            self.mails.append(envelope)
        return reply

    def __enter__(self):
        self._controller.start()
        return self

    def __exit__(self, *_):
        self._controller.stop()


class ElasticServer(_Server):
    """What the alert store uses of Elasticsearch: templates, bulk create, get, count, refresh.

    Entries of `script` are answered to bulk requests: (status, headers) for the whole request, or a
    dict of document id -> (status, error type) for single documents. ``product``: OpenSearch sends
    no header of Elasticsearch's, and takes no type of its clients; ``page``: what a proxy in the
    server's place says to everything.
    """

    def __init__(self, port=0, certificate=None, product="Elasticsearch"):
        super().__init__(port, certificate)
        self.templates, self.documents, self.product, self.page = {}, {}, product, None

    def answer(self, method, path, headers, body):
        path = unquote(urlsplit(path).path)
        with self._lock:
            self.received.append((method, path, {k.lower(): v for k, v in headers.items()}))
            status, answer, extra = self._route(method, path, headers, body)
        extra = {"Content-Type": "application/json; charset=UTF-8", **extra}
        if self.product == "Elasticsearch":
            extra |= {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}
        return status, self.page or json.dumps(answer), extra

    def _route(self, method, path, headers, body):
        if self.product == "OpenSearch" and "vnd.elasticsearch" in headers.get("Content-Type", ""):
            return 406, {"error": "Content-Type header is not supported", "status": 406}, {}
        if method == "PUT" and (found := re.fullmatch("/_index_template/(.+)", path)):
            self.templates[found[1]] = json.loads(body)
            return 200, {"acknowledged": True}, {}
        if method in ("POST", "PUT") and (found := re.fullmatch("/(.+)/_bulk", path)):
            return self._bulk(found[1], headers, body)
        if method == "GET" and (found := re.fullmatch("/(.+?)/_doc/(.+)", path)):
            source = self.documents.get(found[1], {}).get(found[2])
            return 200 if source else 404, {"_index": found[1], "_id": found[2],
                                            "found": bool(source), "_source": source}, {}
        if found := re.fullmatch("/(.+)/_count", path):
            return 200, {"count": len(self.documents.get(found[1], {}))}, {}
        if method == "DELETE" or path.endswith("/_refresh"):
            return 200, {"acknowledged": True}, {}
        return 400, {"error": {"type": "unknown_route", "reason": f"{method} {path}"}}, {}

    def _bulk(self, index, headers, body):
        single = {}
        if self.script:
            step = self.script.popleft()
            if isinstance(step, tuple):
                return step[0], {"error": {"type": "scripted", "reason": "told to"}}, step[1]
            single = step
        if "ndjson" not in headers["Content-Type"] or not body.endswith(b"\n"):
            return 400, {"error": {"type": "illegal_argument_exception"}}, {}
        lines = [json.loads(line) for line in body.splitlines()]
        items, stored = [], self.documents.setdefault(index, {})
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            name = action["create"]["_id"]  # no other action is sent
            if name in single:
                status, kind = single[name]
            elif name in stored:
                status, kind = 409, "version_conflict_engine_exception"
            else:
                status, kind = 201, None
                stored[name] = source
            error = {"error": {"type": kind, "reason": "told to"}} if kind else {}
            items.append({"create": {"_index": index, "_id": name, "status": status, **error}})
        return 200, {"took": 1, "errors": any("error" in item["create"] for item in items),
                     "items": items}, {}
