"""Debian's nats-server with JetStream, on loopback, for the tests of the live engine."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

BINARY = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_nats = pytest.mark.skipif(BINARY is None, reason="nats-server is not installed")


class NatsServer:
    """Started and stopped as often as one likes: port and stored messages stay."""

    def __init__(self, folder):
        self.folder, self.port, self._process = folder, -1, None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self):
        log = self.folder / "log"
        self._process = subprocess.Popen(
            [BINARY, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.folder / "data",
             "-l", log, "--ports_file_dir", self.folder], stderr=subprocess.DEVNULL)
        ports = self.folder / f"nats-server_{self._process.pid}.ports"
        for _ in range(1500):
            if ports.exists() and (text := ports.read_text()):
                self.port = int(json.loads(text)["nats"][0].rpartition(":")[2])
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"nats-server did not start:\n{log.read_text()[-2000:]}")

    def stop(self, how=signal.SIGTERM):
        self._process.send_signal(how)
        self._process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)
