"""Processor time of reading tables and streams, against the code of an earlier commit.

A table of a million rows by 20 columns through ``load_csv``, and a fifth of it as it arrives: lines
of a table or of JSON on standard input, a file that is replayed, JSON messages. Old and new take
turns, each time in a fresh process, whose clock starts after the imports. Printed are microseconds
a row and the ratio new / old with a 95 % interval over the pairs.

    python benchmarks/reading.py [--before COMMIT] [--pairs 7] [--rows 1000000] [CASE ...]

With ``--keep before`` that commit's times are recorded, with ``--keep after`` this code's and the
ratio.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import results

ROOT = Path(__file__).resolve().parents[1]
NAMES = [f"x{k}" for k in range(20)]
START = """
import asyncio, sys, time, warnings
warnings.simplefilter("ignore")
path, names = sys.argv[1], [f"x{k}" for k in range(20)]
"""
LOAD = """
from adlib.datasets import load_csv
load_csv(path + ".small", time_column="time")
start = time.process_time()
rows = len(load_csv(path, time_column="time").X)"""
ARRIVING = """
from adlib.realtime.sources import source
async def read(spec):
    return sum([len(sample.values) async for sample in source(spec, features=names)])
"""
STDIN = ARRIVING + """
start = time.process_time()
rows = asyncio.run(read("stdin"))"""
REPLAY = ARRIVING + """
asyncio.run(read(f"csv:{path}.small"))
start = time.process_time()
rows = asyncio.run(read(f"csv:{path}"))"""
MESSAGES = """
try:
    from adlib.reading.options import Reading
    from adlib.reading.records import Records
    read = Records(names, Reading(), lambda sentence: None).message
except ImportError:
    from adlib.realtime.doors.records import Records
    read = Records(names, None).json
messages = open(path, "rb").read().splitlines()
read(messages[0])
start = time.process_time()
for message in messages:
    read(message)
rows = len(messages)"""
STOP = """
print(time.process_time() - start, rows)"""
#: What is run, what is read, and the share of the rows that is enough to measure it.
CASES = {
    "load": (LOAD, "table.csv", 1), "load, decimal commas": (LOAD, "comma.csv", 1),
    "lines of a table": (STDIN, "table.csv", 0.2),
    "lines of JSON": (STDIN, "rows.jsonl", 0.2), "replay": (REPLAY, "table.csv", 0.2),
    "messages of JSON": (MESSAGES, "rows.jsonl", 0.2),
}


def write(folder: Path, rows: int) -> None:
    """Three files of the same numbers, and the beginning of each."""
    values = np.random.default_rng(0).normal(20, 5, (rows, len(NAMES))).round(4)
    frame = pd.DataFrame(values, columns=NAMES)
    frame.insert(0, "time", pd.date_range("2024-01-01", periods=rows, freq="s").astype(str))
    frame.to_csv(folder / "table.csv", index=False)
    frame.to_csv(folder / "comma.csv", index=False, sep=";", decimal=",")
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in frame.to_dict("records"))
    for path in list(folder.iterdir()):
        with path.open() as file, Path(f"{path}.small").open("w") as small:
            small.writelines(file.readline() for _ in range(100))


def cost(code: str, checkout: Path, path: Path) -> float:
    """Processor seconds of a fresh process that reads the file with the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1",
                   "OPENBLAS_NUM_THREADS": "1"}
    with path.open() as file:
        done = subprocess.run([sys.executable, "-c", START + code + STOP, str(path)], text=True,
                              cwd=path.parent, env=environment, stdin=file, capture_output=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, rows = done.stdout.split()
    with path.open() as file:
        assert int(rows) == sum(1 for _ in file) - (path.suffix == ".csv"), (checkout, rows)
    return float(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--before", default="7e83871")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1_000_000)
    results.option(parser)
    given = parser.parse_args()
    rng, figures = np.random.default_rng(0), dict[str, dict]()
    with tempfile.TemporaryDirectory() as name:
        folder, old = Path(name), Path(name) / "before"
        old.mkdir()
        archive = subprocess.run(["git", "archive", given.before, "adlib"], cwd=ROOT, check=True,
                                 capture_output=True)
        subprocess.run(["tar", "-x", "-C", old], input=archive.stdout, check=True)
        for share in (1, 0.2):
            (folder / str(share)).mkdir()
            write(folder / str(share), int(given.rows * share))
        for case in given.cases or CASES:
            code, file, share = CASES[case]
            path = folder / str(share) / file
            pairs = [[cost(code, checkout, path) for checkout in (old, ROOT)]
                     for _ in range(given.pairs)]
            before, after = np.transpose(pairs)
            logs = np.log(after / before)
            low, high = np.exp(np.quantile(rng.choice(logs, (4000, len(logs))).mean(axis=1),
                                           [0.025, 0.975]))
            each = [np.median(side) / (given.rows * share) * 1e6 for side in (before, after)]
            print(f"{case:22s} {each[0]:6.2f} us a row before, {each[1]:6.2f} now: new / old "
                  f"{np.exp(logs.mean()):.3f} [{low:.3f}, {high:.3f}]", flush=True)
            key = case.replace(",", "").replace(" ", "_")
            figures[f"us_{key}"] = {
                "what": f"{case}, a row of 20 columns", "unit": "us", "better": "low",
                "value": each[given.keep != "before"]}
            if given.keep == "after":
                figures[f"x_{key}"] = {
                    "what": f"{case}: new / old, in turns", "unit": "times", "better": "low",
                    "value": np.exp(logs.mean()), "low": low, "high": high}
    if given.keep:
        results.keep("reading", given.keep, "", figures)


if __name__ == "__main__":
    main()
