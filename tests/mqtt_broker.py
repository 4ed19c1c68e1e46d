"""Debian's mosquitto on loopback, for the tests of the live engine."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
BINARY = shutil.which("mosquitto", path=PATH)
needs_mosquitto = pytest.mark.skipif(BINARY is None, reason="mosquitto is not installed")


class Broker:
    """Started and stopped as often as one likes: the port stays, and where it is told what it kept.

    ``settings``: further lines of its configuration.
    """

    def __init__(self, folder, *settings, persistent=True):
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        login = () if any("password_file" in line for line in settings) else (
            "allow_anonymous true",)
        keep = ("persistence true", f"persistence_location {folder}/", "autosave_interval 1",
                "autosave_on_changes true") if persistent else ()
        owner = ("user root",) if os.geteuid() == 0 else ()
        self._file, self._log = folder / "conf", folder / "log"
        unbound = "max_queued_messages 0", "max_inflight_messages 0"
        self._file.write_text("\n".join([f"listener {self.port} 127.0.0.1", *unbound, *login,
                                         *keep, *owner, *settings]))
        self._process = None

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        with self._log.open("a") as log:
            self._process = subprocess.Popen([BINARY, "-c", self._file], stdout=log, stderr=log)
        for _ in range(1500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"mosquitto did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self, how=signal.SIGTERM):
        self._process.send_signal(how)
        self._process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    async def publish(self, topic, messages, **how):
        """Once the broker has confirmed all of them."""
        await asyncio.to_thread(self._publish, topic, list(messages), {"qos": 1, **how})

    def _publish(self, topic, messages, how):
        import paho.mqtt.client as paho

        client = paho.Client(paho.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for sent in [client.publish(topic, message, **how) for message in messages]:
            sent.wait_for_publish(10)
        client.disconnect()
        client.loop_stop()
