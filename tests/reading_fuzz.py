"""Broken and odd files for the reader, one after the other, and a tally of what it made of them.

    python tests/reading_fuzz.py SECONDS [SEED]     or:  python tests/reading_fuzz.py 300x [SEED]

(seconds, or a number of files). Every file is read by `load_csv` and by the source of standard
input. Let pass: rows; or ValueError, FileNotFoundError, ImportError of exactly these types, raised
by adlib, in one sentence that names the file. Anything else is a violation, and so are a hang
(twenty seconds of one file) and memory beyond a limit that the process sets itself.
"""

import asyncio
import contextlib
import gzip
import io
import json
import os
import re
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from reading_dialects import DIALECTS, rows

HERE = Path(__file__).parent / "data" / "reading"
LIMIT = 20  # seconds of the processor for one file, and six times as many by the clock
TIMERS = ((signal.SIGPROF, signal.ITIMER_PROF, LIMIT),
          (signal.SIGALRM, signal.ITIMER_REAL, 6 * LIMIT))
MEMORY = 1 << 30  # bytes above what the libraries take
PASSES = (ValueError, FileNotFoundError, ImportError)
KINDS = [  # of sentences, by what they speak of
    "time_column", "time_unit", "time_zone", "entity_column", "label_column", "na_values",
    "decimal", "separator=", "encoding", "header", "skip_rows", "missing=", "feature_columns",
    "spreadsheet|image|PDF|HTML", "damaged", "zero bytes", "zip", "gzip", "JSON|object", "Parquet",
    "no rows|empty|no row", "longer|shorter|more than|fields", "quote", "comments", "label",
    "no numeric column", "not there", "unpacks", "repeated", "date|time", "not numeric",
]


# -- files -----------------------------------------------------------------------------------------


def seeds() -> list[tuple[str, bytes]]:
    """Files to spoil: those of the cases, and random rows in every dialect."""
    found = [(path.name, path.read_bytes()) for path in sorted(HERE.iterdir())
             if path.suffix not in (".yaml", ".md")]
    for dialect in DIALECTS:
        name = "table.csv" + ".gz" * dialect.gz
        found.append((name, dialect.write(*rows(np.random.default_rng(1)))))
    return found


def _at(rng, data):
    return int(rng.integers(len(data) + 1))


def truncated(rng, data, more):
    return data[: _at(rng, data)]


def flipped(rng, data, more):
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if found else 0):
        found[int(rng.integers(len(found)))] = int(rng.integers(256))
    return bytes(found)


def joined(rng, data, more):
    return data + more


def cut_in(rng, data, more):
    k, j = _at(rng, data), _at(rng, more)
    return data[:k] + more[j : j + 200] + data[k:]


def odd_bytes(rng, data, more):
    odd = [b"\0", b'"', b"'", b"\xff", b"\xe4", "ä".encode(), b"\r", b"\n", b"\x1a",
           b"\xef\xbb\xbf", b",", b";", b"\t", b"|", b" ", b"=", b"#", b"{", b"[", b"\\", b"-",
           b"1e999", b"nan",
           "\u2028".encode(), "\u00a0".encode(), "１２".encode(), b"9" * 400, b"0x1F", b"1_000"]
    found = data
    for _ in range(int(rng.integers(1, 4))):
        k = _at(rng, found)
        found = found[:k] + odd[int(rng.integers(len(odd)))] * int(rng.integers(1, 4)) + found[k:]
    return found


def odd_cells(rng, data, more):
    words = [b"9999-12-31", b"0001-01-01", b"24:00:00", b"2024-02-30", b"17:24", b"NaT", b"True",
             b"1e308", b"-1e400", b"99999999999999999999", b"?", b"-", b"#N/A", b"inf", b"null",
             b"None", b"1.234.567,8", b"1,2,3", b"2024-01-01T00:00+25:00", b"1e5", b"0" * 50,
             b"45292.5", b"now", b"today", b"1", b"00", b"2262-04-12", b"1677-09-21 00:12:43"]
    cells = re.split(rb"([,;\t|\n])", data)
    for _ in range(int(rng.integers(1, 4))):
        cells[int(rng.integers((len(cells) + 1) // 2)) * 2] = words[int(rng.integers(len(words)))]
    return b"".join(cells)


def moved_lines(rng, data, more):
    lines = data.split(b"\n")
    how = rng.integers(4)
    if how == 0:
        rng.shuffle(lines)
    elif how == 1:
        del lines[int(rng.integers(len(lines)))]
    elif how == 2:
        k = int(rng.integers(len(lines)))
        lines = lines[: k + 1] + lines[k:]
    else:
        lines = lines[int(rng.integers(len(lines))):]
    return b"\n".join(lines)


def recoded(rng, data, more):
    codes = ["utf-16", "utf-16-le", "utf-32", "cp1252", "cp037", "utf-7", "shift_jis"]
    text = data.decode("utf-8", errors="replace")
    code = codes[int(rng.integers(len(codes)))]
    k = _at(rng, data) if rng.integers(2) else 0
    return data[:k] + text[k:].encode(code, errors="replace")


def squeezed(rng, data, more):
    found = gzip.compress(data, 1)
    return found if rng.integers(2) else truncated(rng, found, more)


def _table(cells, n):
    return "\n".join(",".join(cells) for _ in range(n)).encode()


def _nested(before, after, depth):
    return (before * depth + after * depth + "\n").encode()


FROM_NOTHING = [
    lambda rng, data: bytes(rng.integers(0, 256, int(rng.integers(1, 4000)), dtype=np.uint8)),
    lambda rng, data: b"a,b\n1," + b"2" * 10**6 + b"\n3,4\n",
    lambda rng, data: _nested("[", "]", 10**5),
    lambda rng, data: _nested('{"a":', "}", 5000) * 2,
    lambda rng, data: _table([f"c{k}" for k in range(10_000)], 1) + b"\n" + _table(
        ["1.5"] * 10_000, 5),
    lambda rng, data: b'a,b\n1,"' + b"2,3\n" * 20_000,
    lambda rng, data: b"," * 20_000 + b"\n" + b"," * 20_000,
    lambda rng, data: b"\n" * 10**5,
    lambda rng, data: b'"' * 99_999,
    lambda rng, data: b"time,a\n" + b"2024-01-01,1\n" * 5000,
    lambda rng, data: b'{"time": 1e400, "a": 1}\n{"time": "x", "a": NaN}\n{"a": Infinity}\n' * 20,
    lambda rng, data: "\n".join(json.dumps({f"k{k}": k}) for k in range(2000)).encode(),
    lambda rng, data: b"a b  c\n" + b"  1 2   3\n" * 100 + b"\t1\t2\n",
    lambda rng, data: b"sep=\n\n" + data,
    lambda rng, data: b"PK\x03\x04" + data[:2000],
    lambda rng, data: b"PAR1" + data[:2000] + b"PAR1",
]


def made(rng, data, more):
    """A file from nothing."""
    return FROM_NOTHING[int(rng.integers(len(FROM_NOTHING)))](rng, data)


SPOILS = [truncated, flipped, joined, cut_in, odd_bytes, odd_cells, moved_lines, recoded, squeezed,
          made]


def bomb() -> bytes:
    """A small file that unpacks to 64 MiB of one cell."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("rows.csv", b"a,b\n1,2\n3," + b"0" * (1 << 26) + b"\n")
    return kept.getvalue()


def files(rng):
    """Names and bytes, for ever."""
    known = seeds()
    names = ["table.csv", "table.txt", "table.csv.gz", "table.zip", "table.parquet", "table.jsonl",
             "table.xlsx", "table.json", "table"]
    while True:
        name, data = known[int(rng.integers(len(known)))]
        _, more = known[int(rng.integers(len(known)))]
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            data = SPOILS[int(rng.integers(len(SPOILS)))](rng, data, more)
        if rng.random() < 0.2:
            name = names[int(rng.integers(len(names)))]
        yield name, data[: 1 << 22]


def options(rng):
    """Options of the reader; most files get none."""
    every = {
        "time_column": ["time", "a", ["date", "time"], False], "time_unit": ["s", "ms", "excel"],
        "time_zone": ["Europe/Berlin"], "label_column": ["label", "b"],
        "feature_columns": [["a"], ["a", "b"]],
        "na_values": [["?", -999]], "decimal": [",", "."],
        "separator": [",", ";", " ", "|"], "encoding": ["cp1252", "utf-16"],
        "header": [True, False],
        "skip_rows": [1, 3], "missing": ["keep", "keep", "hold", "drop"],
        "entity_column": ["machine"],
    }
    often = 0.0 if rng.random() < 0.6 else 0.15
    return {name: values[int(rng.integers(len(values)))] for name, values in every.items()
            if rng.random() < (often if name != "missing" else 0.8)}


# -- readers ---------------------------------------------------------------------------------------


def by_function(path, chosen):
    from adlib.datasets import load_csv

    load_csv(path, **chosen)


def by_stream(path, chosen):
    """Standard input with these bytes."""
    from adlib.realtime.sources import open_source

    reading, writing = os.pipe()

    def fill():
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as end:
            end.write(path.read_bytes())

    feeder = threading.Thread(target=fill)
    feeder.start()

    async def listen():
        async with contextlib.aclosing(open_source("stdin").samples()) as given:
            async for sample in given:
                if not isinstance(sample.values, str):
                    np.asarray(sample.values, dtype=float)

    before, sys.stdin = sys.stdin, SimpleNamespace(buffer=os.fdopen(reading, "rb"))
    try:
        asyncio.run(listen())
    finally:
        sys.stdin.buffer.close()
        sys.stdin = before
        feeder.join(5)


# -- the judge -------------------------------------------------------------------------------------


class Hang(BaseException):
    pass


def _alarm(*_):
    raise Hang


def judged(read, path, chosen):
    """Whether a file was read, the refusal, or what is wrong with how it ended."""
    for name, timer, limit in TIMERS:
        signal.signal(name, _alarm)
        signal.setitimer(timer, limit)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path, chosen)
        return "read", ""
    except Hang:
        return "violation", "hang"
    except BaseException as error:
        origin = traceback.extract_tb(error.__traceback__)[-1].filename
        text = str(error)
        wrong = [what for what, bad in {
            f"{type(error).__module__}.{type(error).__name__}": type(error) not in PASSES,
            f"raised in {origin}": "/adlib/" not in origin,
            "several lines": "\n" in text.strip(),
            "no sentence": len(text) < 15,
            "longer than 1,000 characters": len(text) > 1000,
            "file not named": read is by_function and path.name not in text,
        }.items() if bad]
        return ("violation", f"{', '.join(wrong)}: {text[:300]}") if wrong else ("refused", text)
    finally:
        for _, timer, _ in TIMERS:
            signal.setitimer(timer, 0)


def kind(text):
    """What a refusal speaks of."""
    for word in KINDS:
        if re.search(word, text):
            return word.split("|")[0]
    return "other"


def run(seconds, most, seed):
    """The tally."""
    by_function(HERE / "plain.csv", {})
    by_stream(HERE / "plain.csv", {})
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    rng, began = np.random.default_rng(seed), time.monotonic()
    tally, kinds, wrong, slowest = Counter(), Counter(), {}, (0.0, "", "")
    spoiled = files(rng)
    with tempfile.TemporaryDirectory() as folder:
        while tally["files"] < most and time.monotonic() - began < seconds:
            name, data = next(spoiled) if tally["files"] else ("bomb.zip", bomb())
            path, chosen = Path(folder) / name, options(rng) if tally["files"] else {}
            path.write_bytes(data)
            tally["files"] += 1
            for read in (by_function, by_stream):
                start = time.monotonic()
                outcome, text = judged(read, path, chosen)
                slowest = max(slowest, (round(time.monotonic() - start, 2), read.__name__, name))
                tally[f"{read.__name__} {outcome}"] += 1
                if outcome == "refused":
                    kinds[kind(text.removeprefix(f"{name}: "))] += 1
                elif outcome == "violation":
                    key = read.__name__ + " " + re.sub(r"\d+|'[^']*'", "_", text)[:100]
                    if key not in wrong:
                        wrong[key] = f"{read.__name__} {name} {chosen}: {text}"
                        if len(sys.argv) > 3:  # a folder that keeps the first file of each kind
                            Path(sys.argv[3], f"{len(wrong)}-{name}").write_bytes(data)
            path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**tally, "refusals": dict(kinds.most_common()), "violations": list(wrong.values()),
            "seconds": round(time.monotonic() - began, 1), "slowest": slowest,
            "peak_mib": round(peak)}


if __name__ == "__main__":
    amount = sys.argv[1]
    counted = amount.endswith("x")
    print(json.dumps(run(1e9 if counted else float(amount), int(amount[:-1]) if counted else 1e9,
                         int(sys.argv[2]) if len(sys.argv) > 2 else 0), indent=1))
