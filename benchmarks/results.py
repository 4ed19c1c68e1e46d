"""The record of figures: `results.yaml` beside this file, which the benchmarks write themselves.

    python benchmarks/nab.py --keep after

A benchmark calls `option` on its parser and, at its end, `keep`. "before" is the code of an earlier
commit (its folder first in PYTHONPATH), "after" is this one's. `tools/measured.py` writes
`docs/measured.md` from the record. Two keys of an entry are written by hand and are kept: ``note``
(what was run differently) and, in a figure, ``why`` (the reason where it is known).
"""

import argparse
import fcntl
import json
import math
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import adlib

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results.yaml"
ITEMS = HERE.parent / "reports" / "benchmarks" / "items"  # values of sets and series, for pairs
WHEN = ("before", "after")
TEXTS = ("what", "unit", "better", "goal")
SIDES = ("before", "before_low", "before_high", "after", "low", "high", "change")


def option(parser: argparse.ArgumentParser) -> None:
    """``--keep before|after``: whether, and as what, the figures are recorded."""
    parser.add_argument("--keep", choices=WHEN, help="record the headline figures as these")


def keep(script: str, when: str, command: str, figures: dict[str, dict[str, Any]]) -> None:
    """Put figures into the record; other figures of the script stay as they are.

    Each figure is ``{what, unit, better: "high" | "low" | None, value, low, high, goal, each}``, of
    which ``what``, ``better`` and ``value`` are needed. ``low`` and ``high`` are 95 % limits,
    ``goal`` is the number to reach, and ``each`` ({set: value}) gives the change from before to
    after an interval over sets, paired. ``command`` "" is the command line as it was given. A value
    of None says that this code could not do it.
    """
    ITEMS.mkdir(parents=True, exist_ok=True)
    with (ITEMS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = yaml.safe_load(RECORD.read_text()) or {} if RECORD.exists() else {}
        entry = record.setdefault(script, {})
        entry["question"] = (sys.modules["__main__"].__doc__ or script).strip().split("\n")[0]
        if when == "after" or "command" not in entry:  # earlier code may lack an option
            entry["command"] = command or _command_line()
        entry[when] = {"commit": _commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        kept = entry.setdefault("figures", {})
        for name, given in figures.items():
            kept[name] = _merged(kept.get(name, {}), given, when, f"{script}.{name}")
        order = ("question", "command", "before", "after", "note", "figures")
        record[script] = {key: entry[key] for key in order if key in entry}
        text = yaml.safe_dump(dict(sorted(record.items())), sort_keys=False, allow_unicode=True,
                              width=100)
        fresh = RECORD.with_suffix(".tmp")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, RECORD)


def _merged(old: dict[str, Any], given: dict[str, Any], when: str, name: str) -> dict[str, Any]:
    """One figure with the values of this run, and those of the other one that it had."""
    limits = ("before_low", "before_high") if when == "before" else ("low", "high")
    fresh = old | {key: given[key] for key in TEXTS if key in given}
    fresh |= dict.fromkeys(("change", *limits)) | {when: given["value"]}
    fresh |= {mine: given.get(key) for mine, key in zip(limits, ("low", "high"), strict=True)}
    fresh["change"] = _change(name, when, given.get("each"))
    known = {key: rounded(fresh[key]) for key in SIDES if fresh.get(key) is not None}
    texts = {key: fresh[key] for key in (*TEXTS, "why") if fresh.get(key) is not None}
    return texts | {"before": None, "after": None} | known


def _change(name: str, when: str, each: dict[str, float] | None) -> list[float] | None:
    """After minus before over what both have: mean and its bootstrap 95 % limits."""
    path = ITEMS / (re.sub(r"[^\w.-]", "_", name) + ".json")
    items = json.loads(path.read_text()) if path.exists() else {}
    items[when] = {str(key): float(value) for key, value in (each or {}).items()}
    path.write_text(json.dumps(items))
    one, other = (items.get(side) or {} for side in WHEN)
    gaps = np.array([other[key] - one[key] for key in one if key in other]).round(9)
    if len(gaps) < 5:
        return None
    return [gaps.mean(), *_limits(gaps)]


def over_sets(values: pd.Series) -> dict[str, Any]:
    """``value``, ``low``, ``high`` and ``each`` of a figure that is a mean over sets."""
    each = values.dropna()
    low, high = _limits(each.to_numpy(float))
    return {"value": each.mean(), "low": low, "high": high,
            "each": {str(key): value for key, value in each.items()}}


def _limits(values: np.ndarray) -> list[float]:
    """Bootstrap 95 % limits of a mean."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    return [*np.quantile(drawn, (0.025, 0.975))]


def rounded(value: Any) -> Any:
    """Three digits that count; whole numbers as they are."""
    if isinstance(value, list):
        return [rounded(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, float):
        return value
    return float(f"{value:.3g}") if math.isfinite(value) else None


def _commit() -> str:
    """Of the code that was imported; a plus behind it: with changes."""
    folder = Path(adlib.__file__).parent
    asked = (["rev-parse", "--short=7", "HEAD"], ["status", "--porcelain", "."])
    commit, changed = (subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True,
                                      check=True).stdout.strip() for words in asked)
    return commit + "+" * bool(changed)


def _command_line() -> str:
    """As it was typed, without what only says where the figures go."""
    words = [part for word in sys.argv[1:] for part in (
        word.split("=", 1) if word.startswith("--") else [word])]
    if "--keep" in words:
        at = words.index("--keep")
        words = words[:at] + words[at + 2:]
    words = ["FOLDER" if Path(word).is_absolute() else word for word in words]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
