"""Sources and receivers by name: adlib's own, and those that installed packages register.

A package registers its own as an entry point; no file of adlib is edited::

    [project.entry-points."adlib.sources"]
    kafka = "my_package:KafkaSource"
    [project.entry-points."adlib.channels"]
    pager = "my_package:Pager"

The name of a source is the scheme of its specs (``kafka://host/topic``), and it is called with the
spec (see `adlib.realtime.sources.Source`). The name of a receiver is its key under
``alert_config.notification``, and it is called with what stands there and with the path of the
alert store (see `adlib.realtime.channels.Channel`). Nothing is imported before it is asked for.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from adlib.imports import nearest

SOURCES, CHANNELS = "adlib.sources", "adlib.channels"
_DOORS = "adlib.realtime.doors"
BUILT_IN = {
    SOURCES: {"csv": f"{_DOORS}.files:CsvSource", "tail": f"{_DOORS}.tail:TailSource",
              "stdin": f"{_DOORS}.files:StdinSource",
              "http": f"{_DOORS}.push:PushSource", "simulate": f"{_DOORS}.simulate:SimulatedSource",
              "nats": f"{_DOORS}.jetstream:JetStreamSource",
              "tls": f"{_DOORS}.jetstream:JetStreamSource",
              "mqtt": f"{_DOORS}.mqtt:MqttSource", "mqtts": f"{_DOORS}.mqtt:MqttSource"},
    CHANNELS: {"slack": f"{_DOORS}.slack:SlackChannel", "email": f"{_DOORS}.mail:EmailChannel",
               "webhook": f"{_DOORS}.webhook:WebhookChannel",
               "alertmanager": f"{_DOORS}.alertmanager:AlertmanagerChannel",
               "apprise": f"{_DOORS}.apprise:AppriseChannel",
               "elasticsearch": f"{_DOORS}.elastic:ElasticsearchStore"},
}


def registered(group: str) -> dict[str, EntryPoint]:
    """What is registered in a group, by name; adlib's own names cannot be taken."""
    own = {name: EntryPoint(name, value, group) for name, value in BUILT_IN[group].items()}
    return {**{point.name: point for point in entry_points(group=group)}, **own}


def find(group: str, name: str) -> Any:
    """The class that is registered under a name; LookupError where there is none."""
    if name in BUILT_IN[group]:  # without a look at what else is installed
        return EntryPoint(name, BUILT_IN[group][name], group).load()
    points = registered(group)
    if name not in points:
        raise LookupError(f"{group} has no {name!r}{nearest(name, points)}")
    return points[name].load()
