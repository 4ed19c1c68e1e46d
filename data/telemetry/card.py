"""Write the generated part of this folder's README: what the recording holds, and how hard it is.

Usage::

    python data/telemetry/card.py             # rewrite the section in README.md
    python data/telemetry/card.py --check     # exit 1 if the section is not what would be written
    python data/telemetry/card.py --dry-run   # print the section, touch nothing

The same sessions give the same text. Sessions that are not recorded yet are named in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from adlib.base import Detector
from adlib.datasets import Dataset, load_telemetry
from adlib.detectors import FirstDifference, MaxAbsZ, MovingDeviation, RandomScore
from adlib.metrics import average_precision, event_recall, false_positive_rate
from adlib.thresholds import Quantile

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- generated:events begin", "<!-- generated:events end -->"
FALSE_ALARM_RATE = 0.01
LOOK_ALIKES = ("sham", "backup", "build")
ENVIRONMENT = {
    "env_steal_pct": "steal, % of both cores",
    "env_cpu_pressure_pct": "CPU pressure, % of time",
    "env_io_pressure_pct": "I/O pressure, % of time",
    "env_mem_pressure_pct": "memory pressure, % of time",
    "env_foreign_cpu_pct": "foreign CPU, % of one core",
}


@dataclass
class Verdict:
    """Scores and flags of one one-liner on every row, each session scored on its own."""

    threshold: float
    score: np.ndarray  # (n_rows,)
    flag: np.ndarray  # (n_rows,) bool

    def cell(self, rows: slice, rivals: np.ndarray) -> str:
        """Top score of some rows in thresholds (bold if flagged) and its rank among rivals."""
        top = self.score[rows].max()
        rank = 1 + int((self.score[rivals] > top).sum())
        ratio = f"{top / self.threshold:.2f}"
        return f"{f'**{ratio}**' if self.flag[rows].any() else ratio} ({rank})"


def one_liners() -> dict[str, Detector]:
    """Three one-liners, and chance; thresholds are set afterwards, from session 1."""
    rule = {"threshold": Quantile(1 - FALSE_ALARM_RATE), "calibration": None}
    return {
        "max abs z": MaxAbsZ(**rule),
        "first difference": FirstDifference(**rule),
        "moving deviation": MovingDeviation(**rule),
        "random": RandomScore(random_state=0, **rule),
    }


def judge(model: Detector, data: Dataset) -> Verdict:
    """Fit on session 0, set the threshold on session 1, and score session by session."""
    model.fit(data.train.X).calibrate(data.calibrate.X)
    found = [model.detect(data.X[data.session == s]) for s in np.unique(data.session)]
    return Verdict(
        model.threshold_,
        np.concatenate([one.score for one in found]),
        np.concatenate([one.is_anomaly for one in found]),
    )


def stretches_flagged(flag: np.ndarray, data: Dataset, length: int) -> float:
    """Share of the stretches of ``length`` plain normal test rows that hold a flag.

    An event of that length counts as found this often when nothing of it can be seen.
    """
    hits = []
    for session in np.unique(data.test.session):
        here = data.session == session
        windows = np.lib.stride_tricks.sliding_window_view
        plain = windows(data.kind[here] == "", length).all(axis=1)
        hits.append(windows(flag[here], length).any(axis=1)[plain])
    return float(np.concatenate(hits).mean())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Markdown lines of a table; columns of numbers need no alignment to be read."""
    return [
        f"| {' | '.join(map(str, line))} |" for line in (header, ["---"] * len(header), *rows)
    ] + [""]


def describe_one_liners(data: Dataset, verdicts: dict[str, Verdict]) -> list[str]:
    """How each one-liner does over all events, beside what it does where nothing happens."""
    test = slice(data.train_end, len(data))
    y, judged = data.y[test], data.judged[test]
    faults = data.events.query("is_anomaly")
    length = int((faults.end - faults.start).median())
    strengths = sorted(faults.strength.unique())
    quiet = data.events[data.events.kind.isin(LOOK_ALIKES) & (data.events.start >= test.start)]

    def hits(flag: np.ndarray, events: pd.DataFrame) -> str:
        found = sum(flag[e.start : e.end].any() for e in events.itertuples())
        return f"{found} of {len(events)}"

    def row(name: str, verdict: Verdict) -> list[str]:
        flag = verdict.flag
        return [
            name,
            *(hits(flag, faults[faults.strength == s]) for s in strengths),
            f"{event_recall(y, flag[test], judged=judged):.2f}",
            f"{stretches_flagged(flag, data, length):.2f}",
            f"{false_positive_rate(y, flag[test], judged=judged):.3f}",
            f"{average_precision(y, verdict.score[test], judged=judged):.3f}",
            *(hits(flag, quiet[quiet.kind == kind]) for kind in LOOK_ALIKES),
        ]

    return [
        f"Threshold: {FALSE_ALARM_RATE:.0%} of the rows of session 1 exceed it.",
        "An event is found when at least one row with effect does.",
        "**Read the recall against the column after it**: the share of the stretches of plain "
        "normal test rows,",
        f"{length} rows long like the events, in which the same one-liner raises an alarm.",
        f"Average precision of a random score: {y[judged].mean():.3f} expected.",
        "",
        *table(
            [
                "one-liner",
                *(f"found at {s:g}" for s in strengths),
                "event recall",
                "normal stretches flagged",
                "false-positive rate",
                "average precision",
                *(f"{kind}s flagged" for kind in LOOK_ALIKES),
            ],
            (row(*item) for item in verdicts.items()),
        ),
    ]


def describe_events(
    data: Dataset, verdicts: dict[str, Verdict], frame: pd.DataFrame, loudest: np.ndarray
) -> list[str]:
    """One line per fault, then one per look-alike of the test sessions."""
    score = verdicts["max abs z"].score

    faults, quiet = [], []
    for event in data.events.itertuples():
        is_quiet = event.kind in LOOK_ALIKES and event.start >= data.train_end
        if not (event.is_anomaly or is_quiet):
            continue
        rows, session = slice(event.start, event.end), data.session[event.start]
        here = data.session == session
        onset = f"{(event.start - np.argmax(here)) / here.sum():.3f}"
        length = event.end - event.start
        foreign = f"{frame.env_foreign_cpu_pct[rows].mean():.0f}"
        plain = here & (data.kind == "")
        cells = [verdict.cell(rows, plain) for verdict in verdicts.values()]
        cells.append(f"`{loudest[event.start + score[rows].argmax()]}`")
        if is_quiet:
            what = event.kind
            if what == "sham":
                what += f" ({frame.commanded[event.start]})"
            quiet.append([session, what, onset, length, foreign, *cells])
        else:
            recovery = np.argmin(data.kind[event.end :] == "recovery")  # rows until it is over
            faults.append([session, event.kind, f"{event.strength:g}", onset, length, recovery,
                           foreign, *cells])
    tail = [*verdicts, "largest abs z in"]
    return [
        "### Faults",
        "",
        "Onset: as a fraction of the session. Rows: with effect. Foreign: mean foreign CPU in "
        "these rows, % of a core.",
        "Per one-liner: highest score of the event in thresholds, **bold** where it was found; in "
        "parentheses its rank",
        "among the plain normal rows of the session (1 = above them all).",
        "Last: the feature with the largest |z| in the row where max |z| peaks.",
        "",
        *table(
            ["session", "kind", "strength", "onset", "rows", "recovery", "foreign", *tail], faults
        ),
        "### Look-alikes in the test sessions",
        "",
        "All of these are normal: bold is a false alarm.",
        "",
        *table(["session", "what", "onset", "rows", "foreign", *tail], quiet),
    ]


def describe_labels(data: Dataset, plan: list[dict]) -> list[str]:
    """Density, positions, and commanded faults that had no effect."""
    share = [data.y[data.session == s["session"]].mean() for s in plan]
    lines = [
        "### Density and positions",
        "",
        f"Rows with effect: {data.y.sum()} of {len(data)} ({data.y.mean():.2%}); per session: "
        + ", ".join(f"{s['session']}: {value:.2%}" for s, value in zip(plan, share, strict=True))
        + ".",
        "",
    ]
    faults = data.events.query("is_anomaly")
    session = data.session[faults.start]
    done = set(zip(session, faults.kind, faults.strength, strict=True))
    commanded = [
        (s["session"], e["kind"], e["strength"])
        for s in plan for e in s["events"] if e["role"] == "fault"
    ]
    idle = [f"{kind} {size:g} in session {number}"
            for number, kind, size in commanded if (number, kind, size) not in done]
    lines += [
        f"Faults commanded: {len(commanded)}; without any effect: {', '.join(idle) or 'none'}.", ""
    ]
    if len(faults):
        onset = faults.start.to_numpy() - np.searchsorted(data.session, session)
        # record.py draws onsets between second 60 and 40 s before the end.
        seconds = plan[0]["seconds"]
        test = stats.kstest(onset + 0.5, stats.uniform(60.0, seconds - 100.0).cdf)
        fifths = np.histogram(onset, np.linspace(60.0, seconds - 40.0, 6))[0]
        lines += [
            f"Onsets of the {len(onset)} faults per fifth of the span in which they may lie "
            f"(60 s to {seconds - 40} s): {', '.join(map(str, fifths))}.",
            f"Kolmogorov-Smirnov against uniform: D = {test.statistic:.3f}, "
            f"p = {test.pvalue:.2f}.",
            "",
        ]
    return lines


def describe_files(folder: Path, data: Dataset, frame: pd.DataFrame) -> list[str]:
    """Interference and missing rows per session, and the checksum of every file."""
    sessions = np.unique(data.session)
    disturbed, files = [], []
    for session in sessions:
        part = frame[frame.session == session]
        raw = (folder / f"session_{session}.csv").read_bytes()
        missing = int(part[list(data.feature_names)].isna().all(axis=1).sum())
        means = (f"{part[name].mean():.2f}" for name in ENVIRONMENT)
        busy = (part.env_foreign_cpu_pct > 50).mean()
        disturbed.append([session, *means, f"{busy:.0%}", missing])
        files.append([f"`session_{session}.csv`", len(part), len(raw),
                      f"`{hashlib.sha256(raw).hexdigest()}`"])
    return [
        "### Interference",
        "",
        "Means over the session; rows whose foreign CPU exceeds 50 % of a core; rows that were "
        "missed.",
        "",
        *table(["session", *ENVIRONMENT.values(), "rows above 50 %", "rows missed"], disturbed),
        "### Files",
        "",
        *table(["file", "rows", "bytes", "sha256"], files),
    ]


def make_card(folder: Path = HERE) -> str:
    """The generated section, without its markers.

    Parameters
    ----------
    folder : path
        Holds ``schedule.json`` and the sessions recorded so far.

    Returns
    -------
    str
        Markdown that depends on these files alone.

    Raises
    ------
    FileNotFoundError
        If no session is recorded.
    """
    plan = json.loads((folder / "schedule.json").read_text(encoding="utf-8"))["sessions"]
    data = load_telemetry(root=folder)
    sessions = sorted(int(s) for s in np.unique(data.session))
    recorded = [s for s in plan if s["session"] in sessions]
    frame = pd.concat(
        [pd.read_csv(folder / f"session_{s}.csv") for s in sessions], ignore_index=True
    )
    lines = []
    if len(recorded) < len(plan):
        absent = [s["session"] for s in plan if s not in recorded]
        lines += [
            f"**Incomplete: made from {len(recorded)} of {len(plan)} sessions "
            f"({', '.join(map(str, sessions))}); not recorded yet: "
            f"{', '.join(map(str, absent))}.**",
            "",
        ]
    if {0, 1} <= set(sessions) and data.y.any():
        models = one_liners()
        verdicts = {name: judge(model, data) for name, model in models.items()}
        names = np.array(data.feature_names)
        loudest = names[models["max abs z"].contributions(data.X).argmax(axis=1)]
        lines += describe_one_liners(data, verdicts)
        lines += describe_events(data, verdicts, frame, loudest)
    else:
        lines += ["Results need sessions 0 and 1 and at least one session with faults.", ""]
    lines += describe_labels(data, recorded)
    lines += describe_files(folder, data, frame)
    return "\n".join(lines).rstrip() + "\n"


def insert(readme: str, section: str) -> str:
    """Replace what stands between the two markers.

    Raises
    ------
    ValueError
        If the markers are not there once each, in order.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.find(BEGIN) > readme.find(END):
        raise ValueError(f"README.md needs one line {BEGIN!r} ... -->, and {END!r} after it")
    head, rest = readme.split(BEGIN)
    marker, tail = rest.partition("\n")[0], rest.split(END)[1]
    return f"{head}{BEGIN}{marker}\n{section}{END}{tail}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if the README is (now) fresh, 1 if ``--check`` finds it stale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare only; exit 1 if stale")
    mode.add_argument("--dry-run", action="store_true", help="print the section only")
    parser.add_argument("--folder", type=Path, default=HERE, help="folder of the recording")
    options = parser.parse_args(arguments)
    try:
        section = make_card(options.folder)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    if options.dry_run:
        print(section, end="")
        return 0
    path = options.folder / "README.md"
    old = path.read_text(encoding="utf-8")
    new = insert(old, section)
    if options.check:
        if new != old:
            print("the data card is stale: python data/telemetry/card.py", file=sys.stderr)
        return int(new != old)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
