"""A small writer of tables in many dialects, and random rows to write: nothing of adlib's own."""

import gzip
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"s": 10**6, "ms": 10**3, "us": 1}  # microseconds in one


@dataclass(frozen=True)
class Dialect:
    """How a table is written, and what its reader has to be told (``options``)."""

    name: str
    separator: str = ","
    decimal: str = "."
    thousands: str = ""
    time: str = "%Y-%m-%d %H:%M:%S"  # of strftime, or: iso, mail, a unit, excel
    zone: Any = UTC
    quoted: bool = False
    mark: bytes = b""  # byte order mark
    encoding: str = "utf-8"
    end: str = "\n"
    header: bool = True
    before: str = ""  # lines above the header
    below: str = ""  # a line below it
    gap: str = ""  # what stands for a missing value
    gz: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, time: list[datetime] | None, names: list[str], values: np.ndarray) -> bytes:
        """The table as bytes."""
        lines = [self.before] if self.before else []
        if self.header:
            lines.append(self._line([*(["time"] if time else []), *names]))
        lines += [self.below] if self.below else []
        for k, row in enumerate(values.tolist()):
            cells = [self.number(value) for value in row]
            lines.append(self._line([*([self.moment(time[k])] if time else []), *cells]))
        data = self.mark + (self.end.join(lines) + self.end).encode(self.encoding)
        return gzip.compress(data, 1, mtime=0) if self.gz else data

    def _line(self, cells: list[str]) -> str:
        return self.separator.join(
            '"' + cell.replace('"', '""') + '"' if self.quoted or self.separator in cell
            or '"' in cell else cell for cell in cells)

    def number(self, value: float) -> str:
        """A value in this dialect; whole ones without a fraction."""
        if math.isnan(value):
            return self.gap
        text = str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
        mantissa, letter, exponent = text.partition("e")
        whole, _, fraction = mantissa.partition(".")
        sign, digits = whole[: len(whole) - len(whole.lstrip("-"))], whole.lstrip("-")
        if self.thousands:
            digits = f"{int(digits):,}".replace(",", self.thousands)
        return sign + digits + (self.decimal + fraction if fraction else "") + letter + exponent

    def moment(self, moment: datetime) -> str:
        """A time, which is in UTC, in this dialect."""
        local = moment.astimezone(self.zone)
        if self.time == "iso":
            return local.isoformat()
        if self.time == "mail":
            return format_datetime(local)
        since = (moment - EPOCH) // timedelta(microseconds=1)
        if self.time == "ns":
            return str(since * 1000)
        if self.time in UNITS:
            return str(since // UNITS[self.time])
        if self.time == "excel":
            return repr(25569 + since / 86400e6)
        return local.strftime(self.time)

    def written(self, moment: datetime) -> datetime:
        """What of a time is left when it is written."""
        if self.time in ("iso", "us", "ns") or "%f" in self.time:
            return moment
        if self.time == "ms":
            return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        if "%M" in self.time and "%S" not in self.time:
            return moment.replace(second=0, microsecond=0)
        return moment.replace(microsecond=0)


def german(name: str, **more: Any) -> Dialect:
    """Semicolons and decimal commas."""
    return Dialect(name, separator=";", decimal=",", **more)


DIALECTS = [
    Dialect("plain"),
    Dialect("plain quoted", quoted=True, time="iso"),
    Dialect("plain gz", gz=True, time="%Y-%m-%dT%H:%M:%SZ"),
    Dialect("windows", end="\r\n", mark=b"\xef\xbb\xbf"),
    Dialect("old mac", end="\r"),
    Dialect("utf-16", encoding="utf-16"),
    Dialect("tabs", separator="\t", time="%Y/%m/%d %H:%M:%S"),
    Dialect("pipes", separator="|", time="%d.%m.%Y %H:%M:%S"),
    Dialect("semicolons, points", separator=";", time="%d.%m.%Y %H:%M"),
    Dialect("semicolons, points, crlf", separator=";", end="\r\n", time="us"),
    Dialect("american", time="%m/%d/%Y %I:%M:%S %p"),
    Dialect("american 24 h", time="%m/%d/%Y %H:%M", end="\r\n"),
    Dialect("american thousands", time="%m/%d/%Y %H:%M:%S", thousands=","),
    Dialect("british", time="%d/%m/%Y %H:%M:%S"),
    Dialect("month by name", time="%d-%b-%Y %H:%M:%S", quoted=True),
    Dialect("mail", time="mail", zone=BERLIN),
    Dialect("offsets", time="iso", zone=BERLIN),
    Dialect("offsets without colon", time="%Y-%m-%dT%H:%M:%S%z", zone=BERLIN),
    Dialect("local told", zone=BERLIN, options={"time_zone": "Europe/Berlin"}),
    Dialect("seconds", time="s"),
    Dialect("seconds told", time="s", options={"time_unit": "s"}),
    Dialect("milliseconds", time="ms", separator=";"),
    Dialect("milliseconds told", time="ms", gz=True, options={"time_unit": "ms"}),
    Dialect("microseconds", time="us", quoted=True),
    Dialect("nanoseconds", time="ns", separator="\t"),
    Dialect("fourteen digits", time="%Y%m%d%H%M%S"),
    Dialect("basic iso", time="%Y%m%dT%H%M%SZ"),
    Dialect("words for gaps", gap="N/A"),
    Dialect("gaps told", gap="-9999", options={"na_values": [-9999]}),
    Dialect("gap word told", gap="Bad", separator=";", options={"na_values": ["Bad"]}),
    Dialect("comments", before="# of the north hall", time="iso"),
    Dialect("sep line", before="sep=;", separator=";"),
    Dialect("units", below="[UTC],[K],[1],[V],[bar]"),
    german("german", time="%d.%m.%Y %H:%M:%S"),
    german("german iso", end="\r\n", mark=b"\xef\xbb\xbf"),
    german("german gz", gz=True, time="%d.%m.%y %H:%M"),
    german("german quoted", quoted=True, time="iso", zone=BERLIN),
    german("german local", time="%d.%m.%Y %H:%M:%S", zone=BERLIN,
           options={"time_zone": "Europe/Berlin"}),
    german("german told", time="%d.%m.%Y %H:%M:%S", options={"decimal": ",", "separator": ";"}),
    german("german thousands", time="%d.%m.%Y %H:%M:%S", thousands="."),
    german("french thousands", time="%d/%m/%Y %H:%M:%S", thousands="\u00a0"),
    german("german sep line", before="sep=;", encoding="utf-16"),
    german("german cp1252 told", encoding="cp1252", time="%d.%m.%Y %H:%M:%S",
           options={"encoding": "cp1252"}),
    Dialect("commas, tabs", separator="\t", decimal=",", time="ms"),
    Dialect("commas, pipes", separator="|", decimal=",", quoted=True),
    Dialect("quoted decimal commas", decimal=",", quoted=True),
]  # fmt: skip


def rows(rng: np.random.Generator, n: int = 60) -> tuple[list[datetime], list[str], np.ndarray]:
    """Times with fractions (one in two runs), names, and values of many kinds with gaps."""
    start = datetime(int(rng.integers(2016, 2026)), int(rng.integers(1, 13)), 12,  # to the 13th
                     int(rng.integers(12, 24)), int(rng.integers(60)), tzinfo=UTC)
    step = timedelta(minutes=int(rng.integers(20, 50)))
    wobble = rng.integers(0, 10**6, n) if rng.integers(2) else np.zeros(n, int)
    time = [start + k * step + timedelta(microseconds=int(wobble[k])) for k in range(n)]
    values = np.column_stack([
        rng.normal(0, 1000, n),  # all digits, both signs, thousands
        rng.integers(-5000, 90_000, n),
        np.round(rng.normal(20, 3, n), int(rng.integers(1, 4))),
        rng.normal(0, 1e-7, n) if rng.integers(2) else rng.lognormal(10, 4, n),
    ])
    gaps = rng.random(values.shape) < 0.05
    gaps[0] = False  # a first row says most of what a column is
    values[gaps] = np.nan
    return time, ["heat", "count", "flöw", "load"], values
