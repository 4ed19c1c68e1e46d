"""What stands in a report: a function per section, each giving texts, tables and figures.

Nothing is escaped here: the template does that for everything.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adlib.cost import spoken
from adlib.datasets import Dataset

from .audit import FAILED, Audit
from .statistics import Ranking, by_kind, headline_name, triviality
from .unlabelled import Unlabelled

AT_THRESHOLD = ("precision", "recall", "f1", "false_positive_rate", "alarms_per_day",
                "event_recall", "detection_delay")
CELL = ["detector", "dataset", "seed"]
MOST_EVENTS = 40  # of a data set in the page


class Cell(NamedTuple):
    """Text of a table; the best of a column is bold."""

    text: str
    is_number: bool
    best: bool = False


class Table(NamedTuple):
    """Texts; the first of each row heads it."""

    caption: str
    head: list[Cell]
    rows: list[list[Cell]]


class Figure(NamedTuple):
    """A PNG as base64, and what it shows in words."""

    text: str
    data: str


Blocks = Iterator[str | Table | Figure | None]


@dataclass(frozen=True, eq=False)
class Findings:
    """All that a report is made of."""

    table: pd.DataFrame
    summary: pd.DataFrame
    ranking: Ranking
    datasets: list[Dataset]
    figures: Mapping[str, Mapping[str, bytes]]
    audits: Mapping[str, Audit]
    tables: Mapping[str, Table]
    points: pd.DataFrame
    events: pd.DataFrame
    look_ahead: str = "causal"
    suffix: str = ""

    @property
    def ranks_nobody(self) -> bool:
        return bool(self.summary["rank"].isna().all())

    def figure(self, name: str, text: str) -> Figure | None:
        drawn = self.figures.get(name)
        return None if drawn is None else Figure(text, base64.b64encode(drawn["png"]).decode())


    def per_set(self, kind: str, text: str) -> Blocks:
        """Figures of that kind of each data set that has one, its name first in the caption."""
        for number, data in enumerate(self.datasets, 1):
            yield self.figure(stem(kind, number, data.name), f"{data.name}: {text}")


def stem(kind: str, number: int, name: str) -> str:
    """Name of a figure of a data set that every file system and LaTeX take, and no two share."""
    name = re.sub("[^A-Za-z0-9.=]+", "-", name)[:40]
    return f"{kind}_{number}-{name}".rstrip("-.")


def sections(found: list[Findings], unlabelled: Mapping[str, Unlabelled]
             ) -> list[tuple[str, list[Any]]]:
    """Heading and blocks of each section; what says nothing here is left out."""
    parts = [(f"Without labels: {name}", _with_look_ahead(without_labels(what), "causal"))
             for name, what in unlabelled.items()]
    parts += [(f"{heading} ({one.look_ahead})" if len(found) > 1 else heading,
               _with_look_ahead(section(one), one.look_ahead))
              for one in found for heading, section in SECTIONS.items()]
    written = [(heading, [block for block in blocks if block]) for heading, blocks in parts]
    return [(heading, blocks) for heading, blocks in written if blocks]


def _with_look_ahead(blocks: Blocks, look_ahead: str) -> Blocks:
    """Every table and figure says how far its scores look ahead."""
    for block in blocks:
        if isinstance(block, Table):
            block = block._replace(caption=f"{block.caption} (scores: {look_ahead})")
        elif isinstance(block, Figure):
            block = block._replace(text=f"{block.text} (scores: {look_ahead})")
        yield block


def without_labels(what: Unlabelled) -> Blocks:
    yield what.caveat
    yield f"Highest contrast: {what.choice}" if what.choice else None
    yield table(what.ranking, f"injected: {what.metric} of the injected anomalies; contrast: share "
                              "of pairs in which a test row scores above a held-out training row; "
                              f"same...: share of the top {what.top:.0%} of the test rows")
    yield table(what.agreement, "Share of the top rows in common", index=True)
    for why in what.refused.values():
        yield f"Not injected: {why}"


def key_tables(summary: pd.DataFrame, ranking: Ranking) -> dict[str, Table]:
    """What a reader takes away: ranking, values by data set, tests; empty where nobody ranks."""
    headline = headline_name(ranking.metrics)
    lines = summary[summary.metric == headline].drop(columns="metric")
    if lines["rank"].isna().all():
        return {}
    values = per_set(ranking)
    wide = len(values) > values.shape[1]
    values = values if wide else values.T.rename_axis("detector")
    shown = lines.drop(columns=["interval_over", "look_ahead"])
    shown.insert([*shown].index("high") + 1, "p_chance", lines.detector.map(ranking.p_chance))
    shown = shown.dropna(axis="columns", how="all")
    found = {
        "ranking": table(shown, (
            f"{headline}, best first; the interval (low to high) is over {interval_over(lines)}"
            + "; delay: median rows until an event is found" * ("delay" in shown)),
            best=lambda part: (lines["rank"] == 1) & (part.name == "mean")),
        "per_set": table(values, "Headline metric, means over seeds", index=True,
                         best=lambda part: part == (values.max(axis=1).to_numpy() if wide
                                                    else part.max())),
        "differences": table(ranking.against.dropna(how="all").rename_axis("against"), (
            f"{values.index[0] if not wide else values.columns[0]} less each other, paired within "
            f"the sets: difference of the headline metric, 95 % interval over {ranking.over}, and "
            "two-sided p"), index=True),
        "p_values": table(ranking.p_values.mask(np.eye(len(ranking.p_values), dtype=bool)), (
            "p-values of all pairs: two-sided signed-rank test over data sets, corrected by Holm"),
            index=True) if len(ranking.values) > 1 else None}
    return {name: block for name, block in found.items() if block}


def best_first(found: Findings) -> Blocks:
    yield found.figure("ranking", "Detectors from best to worst: mean, 95 % interval, and what "
                                      "a random score gets")
    yield found.tables.get("ranking")


def beyond_chance(found: Findings) -> Blocks:
    yield found.tables.get("differences")
    yield found.figure("critical_difference", "Average ranks; a bar joins detectors that do "
                                                  "not differ significantly in a paired test")
    yield found.tables.get("p_values")


def by_data_set(found: Findings) -> Blocks:
    yield found.tables.get("per_set")
    if found.suffix:
        return  # the sets have been described
    facts = pd.DataFrame([data.describe() for data in found.datasets])
    yield table(shares_missing(found.datasets), "Share of the values that are missing"
                + ", and were filled with the column's median among the rows that fit"
                * imputes(found.table))
    long = ["rows per kind", "steps off the median", "notes", "source"]
    yield table(facts.drop(columns=long, errors="ignore"), "What the sets hold")
    for source in dict.fromkeys(data.source for data in found.datasets if data.source):
        yield f"Source: {source}"
    yield from (f"Note: {note}" for data in found.datasets for note in data.notes)


def shares_missing(datasets: list[Dataset]) -> pd.DataFrame:
    """A line per column with gaps: which share of its rows lacks a value, in each part."""
    lines = []
    for data in datasets:
        parts = [np.isnan(data.X[rows]) for rows in data.slices()]
        shares = [gaps.sum(axis=0) / max(1, len(gaps)) for gaps in parts]
        lines += [(data.name, name, *share) for name, *share in zip(
            data.feature_names, *(share.round(4).tolist() for share in shares), strict=True)
            if any(share)]
    return pd.DataFrame(lines, columns=["data set", "column", "fit", "calibrate", "test"])


def imputes(table: pd.DataFrame) -> bool:
    """Whether gaps were filled, the same for all."""
    return "missing" in table and bool((table["missing"] == "impute").any())


def how_easy(found: Findings) -> Blocks:
    sets = triviality(found.table)
    if not len(sets) or sets.best.isna().all():
        return
    trivial = sets.dataset[sets.trivial].tolist()
    yield (f"Trivial, because a one-liner solves it: {', '.join(trivial)}." if trivial else
           "No set is solved by a one-liner of this table; the audit tries more of them.")
    yield table(sets, "The best detector and the best one-liner; share: how far it comes on the "
                      "way from chance to the best")


def audited(found: Findings) -> Blocks:
    audits = found.audits
    if not audits:
        return
    yield "What can speak against the figures of the best detector of each set."
    failed = [{"data set": name, "severity": f.severity, "check": f.check,
               "what was found": f.sentence}
              for name, audit in audits.items() for f in audit.findings if f.status == FAILED]
    yield table(pd.DataFrame(failed), "Checks that failed")
    if clean := [name for name, audit in audits.items() if audit.ok]:
        yield (f"No error and no warning on {', '.join(clean)}: notes say what any figure on the "
               "data can show at most.")
    count = pd.DataFrame({name: audit.table().status.value_counts()
                          for name, audit in audits.items()}).T.fillna(0).astype(int)
    yield table(count.rename_axis("data set"), "Number of checks", index=True)


def at_the_threshold(found: Findings) -> Blocks:
    rows = [f"{metric}@calibration" for metric in AT_THRESHOLD]
    wide = found.summary[found.summary.metric.isin(rows)]
    if wide.empty:
        return
    shown = wide.pivot(index="detector", columns="metric", values="mean")
    shown = shown.reindex(index=wide.detector.unique(),
                          columns=[row for row in rows if row in shown])
    shown = shown.dropna(axis="columns", how="all")
    names = {row: row.split("@")[0] for row in rows}
    if found.ranks_nobody:
        names["false_positive_rate@calibration"] = "share of test rows flagged"
    if (event := "event_recall@calibration") in shown:
        lines = wide[wide.metric == event].set_index("detector")
        shown.insert([*shown].index(event) + 1, "by chance", lines.random)
    yield table(shown.rename(columns=names), (
        "Means over sets and seeds, at the threshold from the calibration rows; by chance: the "
        "event recall of the same alarms at other times; alarms per day and delays (rows) of sets "
        "of different pace do not mix well"), index=True)


def drawn_curves(found: Findings) -> Blocks:
    yield from found.per_set("curves", (
        "what the best detectors and baselines find at every threshold, the first seed; dotted: "
        "chance; markers: the threshold from the calibration rows"))


def over_time(found: Findings) -> Blocks:
    yield from found.per_set("scores", (
        "scores of the test rows, the first seed; bands and triangles: true events; at the foot, "
        "ticks: flagged rows of events, crosses: false alarms"))


def event_by_event(found: Findings) -> Blocks:
    for name, part in found.events.groupby("dataset", sort=False):
        alone = part[part.only_by != ""].groupby("only_by", sort=False).event.agg(list).to_dict()
        missed = part.event[part.n_found == 0].tolist()
        yield " ".join([f"{name}: {len(part)} events."] + [
            f"{who} alone finds {_numbered(which)}." for who, which in alone.items()] + [
            f"Nobody finds {_numbered(missed)}."] * bool(missed))
        shown = part.drop(columns=["dataset", "seed"]).head(MOST_EVENTS)
        rows = ["start_row", "end_row"] if shown.start.notna().any() else ["start", "end"]
        shown = shown.drop(columns=rows).replace("", np.nan).dropna(axis="columns", how="all")
        if "delay" in shown:
            shown["delay"] = [None if pd.isna(late) else spoken(late.total_seconds())
                              for late in shown.delay]
        more = len(part) - len(shown)
        yield table(shown, f"{name}: who finds which event at the own threshold, the first seed; "
                           f"delay: until the first of them flags a row"
                           + f"; {more} more events are in events.csv" * (more > 0))


def _numbered(events: list[int]) -> str:
    return f"event{'s' * (len(events) > 1)} {', '.join(map(str, events[:20]))}" + (
        f" and {len(events) - 20} more" * (len(events) > 20))


def kinds_of_anomaly(found: Findings) -> Blocks:
    kinds = by_kind(found.table)
    if len(kinds):
        shown = kinds.pivot(index="detector", columns="kind", values="recall")
        yield table(shown.reindex(kinds.detector.unique()), (
            "Share of the rows of each kind that are flagged, beside the false alarms above"),
            index=True)


def failures(found: Findings) -> Blocks:
    cells = found.table.drop_duplicates(CELL)
    if found.ranks_nobody:  # without labels each cell says so: once, above, is enough
        cells = cells.assign(reason=cells.reason.where(cells.status != "ok", ""))
    failed, warned = cells.status != "ok", (cells.status == "ok") & (cells.reason != "")
    yield (f"{len(cells)} cells; {failed.sum()} failed or ran out of time, {warned.sum()} with a "
           "warning.")
    alike = cells[cells.reason != ""].groupby(["status", "detector", "reason"], sort=False)
    bad = alike.agg(data_sets=("dataset", "nunique"), cells=("seed", "size"))
    yield table(bad.reset_index(), "What was said")


def time_and_memory(found: Findings) -> Blocks:
    cells = found.table.drop_duplicates(CELL)
    cost = cells[cells.status == "ok"].groupby("detector", sort=False).agg(
        online=("online", "first"), fit_s=("fit_s", "mean"), score_s=("score_s", "mean"),
        peak_memory_mib=("peak_memory_mib", "max"), parameters=("parameters", "first"))
    yield table(cost, "Seconds are means over cells, memory is the highest; both depend on the "
                      "machine and on what else ran", index=True)


SECTIONS = {
    "Ranking": best_first,
    "Are the differences more than chance?": beyond_chance,
    "By data set": by_data_set,
    "How easy the sets are": how_easy,
    "Audit": audited,
    "At the threshold": at_the_threshold,
    "At every threshold": drawn_curves,
    "Scores over time": over_time,
    "Event by event": event_by_event,
    "By kind of anomaly": kinds_of_anomaly,
    "Failures and warnings": failures,
    "Time and memory": time_and_memory,
}


def interval_over(lines: pd.DataFrame) -> str:
    """Which luck the intervals of a summary hold."""
    return " / ".join(lines.interval_over[lines["rank"].notna()].unique())


def per_set(ranking: Ranking) -> pd.DataFrame:
    """Headline of each data set (rows) and detector, means over seeds, best detector first."""
    return ranking.values.rename_axis(index="data set", columns=None)


def table(frame: pd.DataFrame, caption: str, index: bool = False, digits: int = 3,
          best: Callable[[pd.Series], pd.Series] = lambda part: part.isna() & False
          ) -> Table | None:
    """A frame as texts; the first column, or the index, heads the rows. None where it is empty."""
    if not len(frame):
        return None
    frame = frame.rename_axis(str(frame.index.name or " ")).reset_index() if index else frame
    head = [Cell(str(name), column.dtype.kind in "if" and i > 0)
            for i, (name, column) in enumerate(frame.items())]
    columns = []
    for _, column in frame.items():
        n = digits * int(column.dtype.kind == "f" and bool((column.dropna() % 1 != 0).any()))
        number = [isinstance(value, (int, float, np.number)) for value in column]
        columns.append([Cell(_text(value, n), is_number, bool(bold and is_number))
                        for value, is_number, bold in zip(column, number, best(column),
                                                          strict=True)])
    return Table(caption, head, [list(row) for row in zip(*columns, strict=True)])


def _text(value: Any, digits: int) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if value is None or isinstance(value, (float, np.floating)):
        if value is None or np.isnan(value):
            return "–"
        tiny = 0.0 < value < 0.5 * 10.0**-digits
        return f"<{10.0**-digits:.{digits}f}" if tiny else f"{value:z.{digits}f}"
    return str(value)
