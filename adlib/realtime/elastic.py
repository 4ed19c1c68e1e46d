"""Former place of `adlib.realtime.doors.elastic`."""

from adlib.deprecation import moved

__getattr__ = moved(__name__, {name: f"adlib.realtime.doors.elastic:{name}" for name in (
    "MAPPING", "ElasticsearchStore", "event_document", "verdict_document")})
