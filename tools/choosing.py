"""Write docs/choosing.md: which detector, which threshold, which metric, as it was measured.

    python tools/choosing.py

A row names what was compared in one situation. Its figures are read where they were measured, from
the committed results of the chapters (``notebooks/expected``) and of the benchmarks (the tables in
their docstrings), and the one to take is the best of these figures: nothing is typed here.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "choosing.md"
FIGURE = re.compile(r"(?<![\w.])[+-]?\d*\.?\d+(?![\w%])")
HEAD = """# Which detector, which threshold, which metric

Find your situation in a row. What to take is what came out best there, by the figures beside it.
They come from the chapters and benchmarks that the last column names, and were measured on their
data, not on yours: [chapter 05](../notebooks/05_model_comparison.ipynb) compares on your own.
`tools/choosing.py` writes this page from the stored results; no result in it is typed.
"""
PARTS = {
    "Which detector": "",
    "Which threshold": """A threshold keeps a promise about normal rows. The best one is that whose
share of false alarms comes closest to what was asked for.
""",
    "Which metric": """Most rows show what a metric gives to a score that *knows nothing*: the less,
the better. The others show whether it notices what it should.
""",
}


def measured(chapter: str, name: str) -> float:
    """A figure that a chapter records, as it is committed.

    Parameters
    ----------
    chapter : str
        Its number.
    name : str
        As in ``notebooks.record``.

    Returns
    -------
    float

    Raises
    ------
    KeyError
        When the chapter records no such figure.
    """
    (path,) = (ROOT / "notebooks" / "expected").glob(f"{chapter}_*.json")
    recorded = json.loads(path.read_text(encoding="utf-8"))
    if name not in recorded:
        raise KeyError(f"choosing: chapter {chapter} records no {name!r}, but {sorted(recorded)}")
    return float(recorded[name]["value"])


@cache
def _result(benchmark: str) -> str:
    source = (ROOT / "benchmarks" / f"{benchmark}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def row(benchmark: str, label: str, *columns: int, after: str = "") -> tuple[float, ...]:
    """Figures from the first line of a benchmark's tables that begins with a label.

    Parameters
    ----------
    benchmark, label : str
        ``"tabular"``, ``"KNN"``.
    *columns : int
        Which of the numbers in that line.
    after : str
        Words before the table.

    Returns
    -------
    tuple of float

    Raises
    ------
    KeyError
        When there is no such line, or it has fewer numbers.
    """
    text = _result(benchmark).partition(after)[2] if after else _result(benchmark)
    found = re.search(rf"^ *{re.escape(label)}  +(.+)$", text, re.MULTILINE)
    numbers = FIGURE.findall(found[1]) if found else []
    if len(numbers) <= max(columns):
        raise KeyError(f"choosing: benchmarks/{benchmark}.py has no figures {columns} of {label!r}")
    return tuple(float(numbers[at]) for at in columns)


def sentence(benchmark: str, pattern: str) -> tuple[float, ...]:
    """Figures from a sentence of a benchmark's docstring.

    Parameters
    ----------
    benchmark, pattern : str
        A regular expression with a group for each figure; a blank stands for any space.

    Returns
    -------
    tuple of float

    Raises
    ------
    KeyError
        When nothing matches.
    """
    found = re.search(pattern.replace(" ", r"\s+"), _result(benchmark))
    if not found:
        raise KeyError(f"choosing: benchmarks/{benchmark}.py says nothing like {pattern!r}")
    return tuple(map(float, found.groups()))


@dataclass(frozen=True)
class Choice:
    """What was compared in one situation.

    Attributes
    ----------
    part : str
        Heading on the page.
    when, more : str
        The situation in two steps, as a reader decides: a table or a series, then what of it.
    unit : str
        What the figures are.
    options : mapping of str to float or tuple of float
        What can be taken, with its figures.
    where : str
        Chapters ("06") and benchmarks ("series") that measured them.
    best : {"high", "low"} or float
        Which figure is the best one; a number is a promise to come close to.
    form : str
        How a figure is printed.
    """

    part: str
    when: str
    more: str
    unit: str
    options: Mapping[str, float | tuple[float, ...]]
    where: str
    best: str | float = "high"
    form: str = ".2f"

    def ranked(self) -> list[str]:
        """Names of the options, best first: by the mean of their figures."""

        def distance(name: str) -> float:
            value = self.options[name]
            mean = sum(value) / len(value) if isinstance(value, tuple) else value
            if isinstance(self.best, str):
                return -mean if self.best == "high" else mean
            return abs(mean - self.best)

        return sorted(self.options, key=distance)

    def figures(self, name: str) -> str:
        """The figures of an option, as they are printed."""
        value = self.options[name]
        values = value if isinstance(value, tuple) else (value,)
        return " and ".join(format(each, self.form).replace("%", " %") for each in values)


def choices() -> list[Choice]:
    """Everything on the page, with its figures.

    Returns
    -------
    list of Choice
    """
    return [*_detectors(), *_thresholds(), *_metrics()]


def _detectors() -> list[Choice]:
    part, tables = "Which detector", "average precision on {} sets of ADBench and {} of macrOData"
    sets = sentence("tabular", r"\(ADBench: (\d+) sets, three seeds; macrOData: (\d+) sets\)")
    tables = tables.format(*(f"{n:.0f}" for n in sets))
    known = {"`Ensemble`": "Ensemble", "`KNN`": "KNN", "`RandomFeatureAE`": "RandomFeatureAE",
             "isolation forest (PyOD)": "PyOD IForest", "largest z (`MaxAbsZ`)": "MaxAbsZ",
             "random score": "RandomScore"}
    dirty = {"`Ensemble` of `KNN` and `IsolationForest`": "K + I",
             "the default `Ensemble` and `IsolationForest`": "R + K + I"}
    default = sentence("defaults", r'one seed \("R \+ K" has .\d+ .\d+ .\d+ (.\d+), .\d+ .\d+ .\d+ '
                       r"(.\d+) there")
    series = {"`LinearForecast`": "LinearForecast",
              "squared difference, smoothed": "squared difference, smoothed",
              "`RandomFeatureAE`, smoothed": "RandomFeatureAE, smoothed"}
    before, after, slow, curved = sentence(
        "series_peers", r"MGAB ([\d.]+) to ([\d.]+) causally \([^)]+\) and ([\d.]+) to ([\d.]+) in")
    published = sentence("series", r"U MOMENT fine-tuned (.\d+), M KMeansAD (.\d+)")
    best = {"the best published method, chosen on these series": published}
    both = "VUS-PR on series of TSB-AD with one channel and with several"
    live = {"`PCAReconstruction` and `LinearForecast`, larger surprise (the default)": "default",
            "`PCAReconstruction` alone": "pca", "`VAE` and a vote of three": "vae vote"}
    return [
        Choice(part, "A table", "its training rows are normal", tables,
               {name: row("tabular", label, 1, 3) for name, label in known.items()}, "tabular 18"),
        Choice(part, "A table", "5 % of its training rows are anomalies", tables,
               {name: row("defaults", label, 3, 7) for name, label in dirty.items()}
               | {"the default `Ensemble`": default}, "defaults 04"),
        Choice(part, "A table", "some labels are known, late and in part",
               "share of the lost value recovered, fraud",
               {"half by a supervised model, half by `PCAReconstruction`":
                measured("11", "value_half_and_half"),
                "a supervised model": measured("11", "value_supervised"),
                "`PCAReconstruction`": measured("11", "value_pca"),
                "the largest amounts": measured("11", "value_largest_amounts")}, "11", form=".0%"),
        Choice(part, "A table", "a handful of labelled cases", "sensitivity at 95 % specificity",
               {"logistic regression on these cases": measured("14", "sensitivity_few_labels"),
                "the default `Ensemble`": measured("14", "sensitivity_default_detector")}, "14",
               form=".0%"),
        Choice(part, "A series", "each row is judged at once", both,
               {name: row("series", label, 0, 1) for name, label in series.items()}
               | {"`RollingZScore`": row("series", "RollingZScore, as it is", 0, 1)} | best,
               "series 19"),
        Choice(part, "A series", "the recording is finished", both,
               {f"{name}, in hindsight": row("series", label, 4, 5)
                for name, label in series.items()} | best, "series 19"),
        Choice(part, "A series", "the next value is no linear function of the last",
               "VUS-PR on MGAB, at once and in hindsight",
               {"`RandomFeatureForecast`": (after, curved), "`LinearForecast`": (before, slow)},
               "series_peers 08"),
        Choice(part, "A series", "normal depends on the hour", "average precision",
               {f"`{name}`": measured("08", f"ap_context_{name}")
                for name in ("SeasonalZScore", "RollingZScore")}, "08"),
        Choice(part, "A series", "normal moves slowly", "average precision under a ramp",
               {"an online detector (`RollingZScore`)": measured("08", "ap_ramp_online"),
                "a frozen one, fitted again on each drift": measured("08", "ap_ramp_recalibrated"),
                "a frozen one": measured("08", "ap_ramp_frozen")}, "08"),
        Choice(part, "A series", "an event lasts, and the detector learns on",
               "share of a burst of 20 rows found",
               {"`RollingZScore(gate=...)`": measured("02", "burst_of_20_recall_gated"),
                "`RobustZScore`": measured("02", "burst_of_20_recall_robust"),
                "`RollingZScore`": measured("02", "burst_of_20_recall_plain")}, "02", form=".0%"),
        Choice(part, "A series", "usual values at the wrong moment", "average precision",
               {"a window of 8 rows": measured("15", "contextual_window_8"),
                "a row alone": measured("15", "contextual_row")}, "15"),
        Choice(part, "A process", "a small shift that lasts",
               "cost per 1,000 parts (a bad part 6, a false stop 60)",
               {"a T2 chart on moving averages (EWMA)": measured("13", "cost_mewma"),
                "the largest z of a part": measured("13", "cost_shewhart"),
                "no alarm at all": measured("13", "cost_nothing")}, "13", "low", ".0f"),
        Choice(part, "A live stream", "at most one false incident a week",
               "faults found, of {:.0f}".format(*sentence(
                   "alert_quality", r"nothing was chosen on, (\d+) faults")),
               {name: row("alert_quality", label, 0, after="``final``")
                for name, label in live.items()},
               "alert_quality 09", form=".0f"),
    ]


def _thresholds() -> list[Choice]:
    part, share = "Which threshold", "share of new normal rows flagged; 5 % were asked for"
    return [
        Choice(part, "A budget", "a share of the normal rows", share,
               {"from scores of held-out rows (the default, `Conformal`)":
                measured("03", "fpr_threshold_held_out"),
                "from scores of the training rows": measured("03", "fpr_threshold_from_training")},
               "03 06", 0.05, ".1%"),
        Choice(part, "A budget", "incidents in a time", "incidents a day; one was asked for",
               {'`Conformal(per="1/day", interval="5min")`': measured("06", "incidents_per_day")},
               "06", 1.0),
        Choice(part, "A budget", "false ones among the rows to read", "share of false ones; at most"
               " 10 % were asked for",
               {"`benjamini_hochberg`, all rows at once": measured("06", "bh_false_at_10_percent")},
               "06", 0.1, ".1%"),
        Choice(part, "A budget", "false ones among the alarms of a stream",
               "share of false ones; at most 10 % were asked for",
               {"`OnlineFDR`": measured("06", "online_false_at_10_percent")}, "06", 0.1, ".1%"),
        Choice(part, "Normal rows", "depend on the rows before", share,
               {'`Conformal(block="auto")`': measured("06", "ar_rate_block"),
                "`Conformal()`": measured("06", "ar_rate_rows")}, "06", 0.05, ".1%"),
        Choice(part, "Normal rows", "drift", share,
               {"`Tracking`": measured("06", "drift_rate_tracking"),
                "a fixed threshold": measured("06", "drift_rate_fixed")}, "06", 0.05, ".1%"),
    ]


def _metrics() -> list[Choice]:
    part, blind = "Which metric", "value of a score that knows nothing"
    return [
        Choice(part, "Rows", "ranked, no threshold yet",
               "value of a random score and of `KNN` on tables",
               {"`average_precision`, beside the share of anomalies":
                row("tabular", "RandomScore", 1) + row("tabular", "KNN", 1)}, "tabular 07"),
        Choice(part, "Events", "ranked, no threshold yet", f"{blind}, tolerance 400 rows",
               {"`vus_pr`, beside its random value": measured("07", "vus_pr_random_400"),
                "`vus_roc`": measured("07", "vus_roc_random_400")}, "07", "low"),
        Choice(part, "Events", "very few anomalous rows", "VUS-PR of a perfect score, 5 of 10,000",
               {"`vus_pr(n_thresholds=None)`": measured("07", "vus_pr_perfect_5_rows_exact"),
                "`vus_pr(n_thresholds=250)`": measured("07", "vus_pr_perfect_5_rows_250")}, "07"),
        Choice(part, "Events", "at a threshold", f"{blind}, events of 100 rows",
               {"`f1` of rows, with `event_recall`": measured("07", "plain_f1_random_100"),
                "`point_adjusted_f1(k=20)`": measured("07", "adjusted_f1_random_100_k20"),
                "`affiliation_f1`, all rows flagged": measured("07", "affiliation_f1_every_row"),
                "`point_adjusted_f1`": measured("07", "adjusted_f1_random_100")}, "07", "low"),
        Choice(part, "A threshold", "fixed beforehand, and scores have moved since",
               "F1 after all scores rose by three standard deviations",
               {"`f1@calibration`, which shows it": measured("07", "f1_calibration_shifted"),
                "`f1@oracle`, which does not": measured("07", "f1_oracle_shifted")}, "07", "low"),
        Choice(part, "Two detectors", "compared on events",
               "share of 95 % intervals that hold the truth",
               {"intervals over events (`compare`)": measured("17", "coverage_by_events"),
                "intervals over rows": measured("17", "coverage_by_rows")}, "17", 0.95, ".0%"),
        Choice(part, "Two detectors", "is one better than chance, on a series",
               "how often chance beats a score that knows nothing",
               {"chance: the score moved in time (`compare`)":
                measured("17", "p_of_a_blind_score_shifted"),
                "chance: the rows shuffled": measured("17", "p_of_a_blind_score_shuffled")},
               "17", form=".0%"),
    ]


def link(place: str) -> str:
    """A link to a chapter ("06") or a benchmark ("series"), from a folder below the root.

    Parameters
    ----------
    place : str

    Returns
    -------
    str
    """
    if not place.isdigit():
        return f"[{place}](../benchmarks/{place}.py)"
    found = [path.name for path in (ROOT / "notebooks").glob(f"{place}_*.ipynb")]
    return f"[{place}](../notebooks/{found[0]})" if found else ""


def page() -> str:
    """The document."""
    lines, everything = [HEAD], choices()
    for part, said in PARTS.items():
        lines += [f"## {part}", "", *([said] if said else [])]
        lines += ["| Situation | Take | Measured | Beside it | Where |", "|---|---|---|---|---|"]
        for choice in (each for each in everything if each.part == part):
            take, *others = choice.ranked()
            beside = "; ".join(f"{name} {choice.figures(name)}" for name in others)
            where = ", ".join(filter(None, map(link, choice.where.split())))
            lines.append(f"| **{choice.when}:** {choice.more} | {take} | {choice.figures(take)}: "
                         f"{choice.unit} | {beside} | {where} |")
        lines.append("")
    return "\n".join(lines)


def write() -> None:
    """Write the page where it is committed."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write()
