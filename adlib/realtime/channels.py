"""Receivers of messages: what one has to offer.

A receiver never sees the engine: what is to be sent lies in the outbox of the alert store, and
`adlib.realtime.NotificationService` hands it over, again where it must.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from adlib.arguments import number, one_of
from adlib.realtime.events import IncidentEvent, Verdict
from adlib.realtime.store import OutboxRow


@dataclass(frozen=True, slots=True)
class Outcome:
    """How sending one message went; ``detail`` must not hold a secret, it is stored.

    Attributes
    ----------
    state : {"sent", "retry", "dead"}
        Delivered; failed in a way that may pass; refused for good (a dead letter, which an operator
        can send again).
    detail : str or None
    retry_after : float or None
        Seconds that the receiver asked to be left alone.
    expires : bool
        A "retry" that takes somebody to put right (an expired password, a webhook that is gone):
        it becomes a dead letter after ``notification.give_up_after``.
    """

    state: Literal["sent", "retry", "dead"]
    detail: str | None = None
    retry_after: float | None = None
    expires: bool = False

    def __post_init__(self) -> None:
        one_of(self.state, "state", ("sent", "retry", "dead"))
        if self.retry_after is not None:
            number(self.retry_after, "retry_after", least=0)


@runtime_checkable
class Channel(Protocol):
    """A receiver of messages; a subclass writes ``name`` and ``send``.

    An object with these names is one too, without being a subclass. To be found by its key under
    ``alert_config.notification``, its class is registered (`adlib.realtime.registry`), is called
    with what stands there and the path of the alert store, and may hold a pydantic model ``Config``
    that checks what stands there.

    A message (`adlib.realtime.store.OutboxRow`) carries what happened, not how to word it. Its
    ``body`` is a dictionary with ``kind`` ("open", "update", "escalate", "repeat" or "close"),
    ``time`` and ``incident``, a dictionary of what `Incident` holds. Messages of one ``key``, the
    incident, come in order, each at least once; a second time it has the same ``id``. Those behind
    a dead letter go on without it after a while.

    ``rows`` writes ``self.name`` into its messages, never a constant, since a second receiver of
    the class gets another name (``pager#night``), and begins their ids with the event's. Three
    attributes are looked at where they are: ``route`` (`adlib.realtime.routes.Route`; what stands
    under ``route`` of its settings is put there), ``resolves`` (True: it keeps what is open, and
    gets each close of what it got, also of an incident that was silenced meanwhile or closed by
    hand) and ``again`` (seconds after which what is open is sent once more).

    Attributes
    ----------
    name : str
        Unique in an engine, and the same at every start: its messages are stored under it.
    batch : int
        Messages that `send` takes at once.
    timeout : float
        Seconds that one `send` takes at most.

    Examples
    --------
    >>> from adlib.realtime import check_channel
    >>> class Printer(Channel):
    ...     name = "printer"
    ...     async def send(self, rows):
    ...         for row in rows:
    ...             print(row.body["incident"]["severity"], row.key)
    ...         return [Outcome("sent") for _ in rows]
    >>> check_channel(Printer())
    critical check|combined|0
    """

    name: str
    batch: int = 1
    timeout: float = 30.0

    def rows(self, events: Iterable[IncidentEvent],
             verdicts: Iterable[Verdict]) -> Iterable[OutboxRow]:
        """Messages that a batch causes; pure, since it runs in the commit and after a crash again.

        Default: the event itself, for each event that people are notified of.

        Parameters
        ----------
        events : iterable of IncidentEvent
        verdicts : iterable of Verdict
        """
        for event in events:
            if event.notify:
                yield OutboxRow(f"{event.id}|{self.name}", self.name, event.incident.id,
                                event.time, event.to_dict())

    async def send(self, rows: Sequence[OutboxRow]) -> list[Outcome]:
        """Try up to ``batch`` messages; an outcome for each.

        It raises only what it did not foresee: that counts as passing, and its text, which may hold
        a secret, is stored nowhere.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections; the next `send` may open them again. Default: nothing."""


def attribute_faults(channel: Any) -> list[str]:
    """What an engine cannot work with, as the promises of `Channel` that are broken.

    Examples
    --------
    >>> class Numb:
    ...     name, batch, timeout = "numb", 0, 30.0
    >>> attribute_faults(Numb())
    ['batch is a whole number of messages, at least 1']
    """
    name, batch, timeout = (getattr(channel, key, None) for key in ("name", "batch", "timeout"))
    promises = {
        "it is an instance, not a class": not isinstance(channel, type),
        "name is a text that is not empty": isinstance(name, str) and name,
        "timeout is a number of seconds above 0": isinstance(timeout, int | float) and timeout > 0,
        "batch is a whole number of messages, at least 1": isinstance(batch, int) and batch >= 1}
    return [promise for promise, holds in promises.items() if not holds]
