"""Whatever Apprise reaches, as a receiver: Telegram, Teams, Matrix, PagerDuty, a hundred more."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pydantic import Field, SecretStr

from adlib.arguments import require_extra
from adlib.realtime.channels import Channel, Outcome
from adlib.realtime.doors.messages import describe
from adlib.realtime.events import IncidentEvent
from adlib.realtime.settings import Settings
from adlib.realtime.store import OutboxRow


class AppriseConfig(Settings):
    """One of Apprise's addresses; another one is another receiver (``apprise#night``)."""

    url: SecretStr = Field(description="Such as tgram://token/chat: a secret.")
    timeout: float = Field(30.0, gt=0, description="Seconds for one message.")


class AppriseChannel(Channel):
    """Hands messages to Apprise, which sends them as best it can.

    **Best effort.** Apprise says whether a message was sent, not why not, and follows no incident:
    a refusal that would be final elsewhere is tried again until ``notification.give_up_after``, a
    service may cut or mark up what it is given, and nothing resolves there what is over but a
    message that says so. Use `slack`, `email`, `webhook` or `alertmanager` where you can.

    Its command runs in a process of its own, half a second for a message: what a service's code
    logs, hangs on or reads without an end stays there. The address is handed over by an environment
    variable.

    Raises
    ------
    ImportError
        When Apprise is not installed.
    ValueError
        When it does not know the address.
    """

    Config = AppriseConfig
    name = "apprise"

    def __init__(self, config: AppriseConfig, store: str, *,
                 clock: Callable[[], float] = time.time):
        self.timeout, self._store = config.timeout, store
        self._environment = {**os.environ, "APPRISE_URLS": config.url.get_secret_value()}
        if subprocess.run([*_COMMAND, "--dry-run", "--body=-"], env=self._environment,
                          capture_output=True, check=False, timeout=60).returncode:
            require_extra("apprise", "apprise")
            raise ValueError("apprise: Apprise does not know this url (not shown: it is a secret)")

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Hand over each message; see the class."""
        return [await self._hand_over(IncidentEvent.from_dict(row.body)) for row in rows]

    async def _hand_over(self, event: IncidentEvent) -> Outcome:
        title, body = describe(event, self._store)
        kind = "success" if event.kind == "close" else _KINDS[event.incident.severity]
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, f"--title={title}", f"--notification-type={kind}", env=self._environment,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            async with asyncio.timeout(self.timeout):
                await process.communicate(body.encode())
        except TimeoutError:
            return Outcome("retry", "TimeoutError", expires=True)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
                await process.wait()
        return Outcome("retry", "Apprise did not send it, and says no more", expires=True) if (
            process.returncode) else Outcome("sent")


_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}
_COMMAND = (sys.executable, "-P", "-c", "from apprise.cli import main; main()",
            "--storage-mode=memory", "--input-format=text")
