"""Write docs/measured.md from benchmarks/results.yaml: figures before and after, worst news first.

    python tools/measured.py
"""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "results.yaml"
PAGE = ROOT / "docs" / "measured.md"
TIMES = ("s", "ms", "us", "µs", "ns", "s CPU", "MiB", "x")  # what the machine's load moves
SLACK = {True: 0.25, False: 0.02}  # share of the former figure that is level, of times and others
HEAD = """# What was measured

Written by `tools/measured.py` from `benchmarks/results.yaml`, which the benchmarks write when they
are run with `--keep before` or `--keep after`; nothing here is typed by hand but notes and reasons.

How a change is judged: by the 95 % interval of the paired difference over the same sets or series
where there is one (better or worse: it leaves out 0); else by the 95 % intervals of both figures
(the difference is larger than the root of the sum of their squared half-widths); where only one
figure has an interval, by whether it holds the other; where neither has one, a quarter of the
former figure is level for times and memory, on a machine that does other things meanwhile, and a
fiftieth for anything else. A dash: the code could not do it or was not run.
"""


def limits(figure: dict[str, Any], when: str) -> tuple[float, float] | None:
    low, high = ("low", "high") if when == "after" else ("before_low", "before_high")
    if figure.get(low) is None or figure.get(high) is None:
        return None
    return figure[low], figure[high]


def verdict(figure: dict[str, Any]) -> str:
    """better, worse or level; nothing where neither is; without one side "new" or "not measured".

    >>> verdict({"better": "high", "before": 0.5, "after": 0.6, "change": [0.1, 0.02, 0.2]})
    'better'
    >>> verdict({"better": "low", "unit": "ms", "before": 1.0, "after": 1.2})
    'level'
    """
    old, new = figure.get("before"), figure.get("after")
    if old is None or new is None:
        return "" if old == new else "new" if old is None else "not measured"
    if figure.get("better") not in ("high", "low"):
        return ""
    moved, level = judged(figure)
    if level:
        return "level"
    return "better" if (moved > 0) == (figure["better"] == "high") else "worse"


def judged(figure: dict[str, Any]) -> tuple[float, bool]:
    """The change of a figure that has both sides, and whether it is level."""
    old, new = figure["before"], figure["after"]
    if change := figure.get("change"):
        mean, low, high = change
        return mean, low <= 0 <= high
    one, other = limits(figure, "before"), limits(figure, "after")
    if one and other:
        room = sum((high - low) ** 2 / 4 for low, high in (one, other))
        return new - old, (new - old) ** 2 <= room
    if one or other:
        low, high = one or other or (0.0, 0.0)
        return new - old, low <= (new if one else old) <= high
    return new - old, abs(new - old) <= SLACK[figure.get("unit") in TIMES] * abs(old)


def missed(figure: dict[str, Any]) -> bool:
    """Whether the figure of today falls short of its goal."""
    goal, new = figure.get("goal"), figure.get("after")
    if goal is None or new is None:
        return False
    return new < goal if figure.get("better") == "high" else new > goal


def cell(figure: dict[str, Any], when: str) -> str:
    """A value with its limits."""
    if figure.get(when) is None:
        return "—"
    unit = figure.get("unit") or ""
    text = f"{figure[when]:,}" if isinstance(figure[when], int) else f"{figure[when]:g}"
    around = limits(figure, when)
    return f"{text} {unit}".strip() + (f" [{around[0]:g}, {around[1]:g}]" if around else "")


def line(figure: dict[str, Any], *ends: str) -> str:
    change = figure.get("change")
    paired = "{:+.3g} [{:+.3g}, {:+.3g}]".format(*change) if change else ""
    what = figure["what"].replace("|", r"\|")
    cells = [what, cell(figure, "before"), cell(figure, "after"), paired, *ends]
    return "| " + " | ".join(cells) + " |\n"


def goal(figure: dict[str, Any]) -> str:
    if figure.get("goal") is None:
        return ""
    sign = ">=" if figure.get("better") == "high" else "<="
    low, high = limits(figure, "after") or (np.inf, -np.inf)
    inside = ", its interval holds it" if low <= figure["goal"] <= high else ""
    return f"{sign} {figure['goal']:g}, " + ("missed" + inside if missed(figure) else "met")


def page(record: dict[str, Any]) -> str:
    """The whole page."""
    every = [(name, one) for name, entry in record.items() for one in entry["figures"].values()]
    worse = [line(one, one.get("why", "not known"), f"`{name}.py`")
             for name, one in every if verdict(one) == "worse"]
    short = [line(one, goal(one), one.get("why", "") if verdict(one) != "worse" else "",
                  f"`{name}.py`") for name, one in every if missed(one)]
    text = HEAD + "\n## What got worse\n\n"
    text += ("| What | Before | After | Paired change | Why | Script |\n|---|---|---|---|---|---|\n"
             + "".join(worse) if worse else "Nothing, beyond the limits stated above.\n")
    text += "\n## Goals that are missed\n\n"
    text += ("| What | Before | After | Paired change | Goal | Why | Script |\n"
             "|---|---|---|---|---|---|---|\n" + "".join(short) if short else "None.\n")
    for name, entry in record.items():
        runs = [f"{when}: {entry[when]['commit']}, {entry[when]['date']}"
                for when in ("before", "after") if when in entry]
        text += f"\n## {name}\n\n{entry['question']}\n\n"
        text += f"`{entry['command']}` ({'; '.join(runs)})\n\n"
        text += f"{entry['note']}\n\n" if "note" in entry else ""
        text += "| What | Before | After | Paired change | Judged | Goal |\n"
        text += "|---|---|---|---|---|---|\n"
        text += "".join(line(one, verdict(one) if "before" in entry else "", goal(one))
                        for one in entry["figures"].values())
    return text


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(yaml.safe_load(RECORD.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
