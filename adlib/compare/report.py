"""The report of a comparison: one page that needs no network, its table, figures and origin."""

import base64
import hashlib
import io
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adlib.arguments import instance, listed
from adlib.arguments import path as as_path
from adlib.datasets import Dataset
from adlib.files import replaced_file, replaced_folder
from adlib.thresholds import check_alpha

from .audit import FAILED, Audit
from .statistics import (
    HEADLINES,
    _headline_name,
    _headlines,
    by_kind,
    checked_table,
    rank_detectors,
    summarise,
    triviality,
    verdict,
)
from .unlabelled import Unlabelled

__all__ = ["write_leaderboard", "write_report"]

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("adlib", "numpy", "scipy", "pandas", "scikit-learn", "torch", "matplotlib")
AT_THRESHOLD = ("precision", "recall", "f1", "false_positive_rate", "alarms_per_day",
                "event_recall", "detection_delay")
_COMMIT = re.compile(r"at commit \w+")  # of the leaderboard
CELL = ["detector", "dataset", "seed"]
READING = (
    "The first rows of each set are history: detectors fit on its first part, the last part (or a "
    "recording of its own) gives the threshold. All other rows are the test. Labels are read by "
    "the metrics alone.",
    "VUS-PR (series) and average precision (tables) lead: they need no threshold, and 1 is a "
    "perfect ranking. Read each value beside its random one, which the same scores get when they "
    "are shuffled.",
    "A bar or interval is 95 %. The ranking says which luck it holds: another test recording for "
    "the same fitted models, or another choice of data sets and seeds.",
    "A leader is named only where the data bear it out: on one set by intervals that do not "
    "overlap, on several by paired tests. Otherwise there is no winner, however the table is "
    "sorted.",
    "A baseline near the top means that the set is easy, and cannot show what a more elaborate "
    "detector is worth. The oracle knows how the data were made and has no rank.",
    "Whatever ends in @calibration depends on the threshold from the calibration rows; @oracle "
    "marks a threshold that knew the test labels, which nobody has.",
    "The audit looks for what can speak against a figure. A failed check says where to look; a "
    "passed one is no proof.",
)
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: auto; padding: 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-top: 1px solid #999;
  padding-top: .6rem }
.verdict { font-size: 1.1rem; border-left: .3rem solid #1f6fb2; padding-left: .8rem }
nav a { margin-right: 1rem } figure { margin: 1rem 0 } img { max-width: 100%; background: #fff }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: GrayText; padding: .3rem 0 }
th, td { padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top }
td.n, th.n { text-align: right } td.n { white-space: nowrap }
thead th { border-bottom: 1px solid #999 }
tbody tr:nth-child(even) { background: #8881 }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem }
@media print { body { max-width: none; font-size: 10pt } nav { display: none }
  .wide { overflow: visible } section, figure, tr { break-inside: avoid } section.long {
  break-inside: auto } }
"""


def write_report(table: pd.DataFrame, folder: str | os.PathLike, *,
                 datasets: Iterable[Dataset] = (), title: str = "Model comparison",
                 audits: Mapping[str, Audit] | None = None,
                 unlabelled: Mapping[str, Unlabelled] | None = None,
                 parameters: Mapping[str, Any] | None = None,
                 started: datetime | None = None) -> Path:
    """Write what a comparison found, so that it can be read and checked anywhere.

    The folder then holds ``index.html`` (text, tables and figures in one file, without scripts and
    without anything from a network), ``table.csv`` (the table as given), the figures as PNG, and
    ``manifest.json`` (code, data, seeds, parameters, versions, machine). It appears whole or not
    at all; an earlier report in its place stays until then.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`.
    folder : path
        New, empty, or holding an earlier report, which is replaced.
    datasets : iterable of Dataset
        For their facts and fingerprints.
    title : str
    audits : mapping of str to Audit, optional
        By data set, what speaks against its best scores; see `audit`.
    unlabelled : mapping of str to Unlabelled, optional
        By data set, from `rank_unlabelled`.
    parameters : mapping, optional
        What the run was given, "alpha" among them; of an absolute path only the last part is kept.
    started : datetime, optional
        When the run began, with a time zone; default: now.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    ValueError
        If the folder holds anything that no earlier report wrote, or the table is not one of
        `compare`.

    Examples
    --------
    >>> import tempfile
    >>> from adlib.compare import compare
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> X[290:] += 4
    >>> data = Dataset("shift", X, np.arange(300) >= 290)
    >>> table = compare("IsolationForest", data, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as home:
    ...     page = write_report(table, Path(home) / "report", datasets=[data])
    ...     print(*sorted(path.name for path in page.parent.iterdir()))
    index.html manifest.json ranking.png table.csv
    """
    folder, table = as_path(folder, "folder"), checked_table(table)
    datasets = [instance(data, "datasets", Dataset) for data in listed(datasets, "datasets")]
    instance(title, "title", str)
    said = _said(table)
    _check_replaceable(folder)
    summary, ranking = summarise(table), rank_detectors(table)
    figures = _figures(table, summary, ranking)
    manifest = _manifest(table, datasets, parameters, started)
    files = ["index.html", "manifest.json", "table.csv", *figures]
    sections = _sections(table, summary, ranking, datasets, figures, audits or {},
                         unlabelled or {})
    page = _page(title, said, sections, manifest)
    with replaced_folder(folder, marker=None) as draft:  # _check_replaceable has looked
        for name, png in figures.items():
            (draft / name).write_bytes(png)
        table.to_csv(draft / "table.csv", index=False)
        (draft / "index.html").write_text(page, encoding="utf-8")
        text = json.dumps(manifest | {"files": sorted(files)}, indent=1, ensure_ascii=False)
        (draft / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return folder / "index.html"


def write_leaderboard(table: pd.DataFrame, path: str | os.PathLike, *,
                      datasets: Iterable[Dataset], alpha: float, title: str) -> Path:
    """Write the ranking as Markdown, with a figure of the same name beside it.

    Holds no time, memory or date: the same code on the same machine writes the same file.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`.
    path : path
        Of the Markdown file; the figure ends in ``.png``.
    datasets : iterable of Dataset
    alpha : float
        As given to `compare`.
    title : str

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        When an argument is not such; the message names it.
    FileNotFoundError
        When the folder of ``path`` is not there.
    """
    path, table, _ = as_path(path, "path"), checked_table(table), check_alpha(alpha)
    datasets = [instance(data, "datasets", Dataset) for data in listed(datasets, "datasets")]
    instance(title, "title", str)
    if not path.name or path.is_dir():
        raise ValueError(f"path must be that of a file, got {str(path)!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path lies in no folder: {path}")
    table = table[table.metric.isin(HEADLINES)]
    headline = _headline_name(_headlines(table))
    summary, ranking = summarise(table), rank_detectors(table)
    lines = summary[summary.metric == headline]
    over = _interval_over(lines)
    lines = lines[["rank", "detector", "role", "mean", "low", "high", "random", "wins"]]
    per_set = _per_set(ranking)
    seeds = ", ".join(map(str, sorted(table.seed.unique())))
    code = _git("log", "-1", "--format=%h", "--", "adlib") or "unknown"
    failed = table.loc[table.status != "ok"].drop_duplicates(CELL)
    text = [
        f"# {escape(title, False)}", escape(verdict(table), False),
        f"![Detectors from best to worst with 95 % intervals]({path.with_suffix('.png').name})",
        f"Headline metric, mean over {len(per_set)} data sets and their seeds; the 95 % interval "
        f"is over {over}, and `random` is what a shuffled score gets.",
        _markdown(lines, rank="{:.0f}", wins="{:.3g}"),
        "## By data set", "VUS-PR for a series, average precision for a table; means over seeds.",
        _markdown(per_set.T.rename_axis("detector").reset_index()),
        "## Where it comes from",
        "\n".join(escape(f"* {data.name}: {len(data)} rows x {data.n_features}, history "
                         f"{data.train_end}; {data.source}. SHA-256 {data.fingerprint[:16]}", False)
                  for data in datasets),
        f"Seeds {seeds}; threshold at alpha = {alpha}; adlib's code at commit {code}; "
        f"{len(failed)} cells failed. `make refresh` writes this file.",
    ]
    new = "\n\n".join(text) + "\n"
    if path.exists():  # a commit that changed no number leaves the file at the one that made it
        old = path.read_text(encoding="utf-8")
        if re.sub(_COMMIT, "", old) == re.sub(_COMMIT, "", new):
            new = old
    png = _figures(table, summary, ranking).get("ranking.png")
    if png is None:
        raise ValueError("table ranks nobody: there is nothing to put on a leaderboard")
    for file, content in ((path.with_suffix(".png"), png),
                          (path, new.encode())):
        with replaced_file(file) as draft:
            draft.write_bytes(content)
    return path


# -- what is in the page --------------------------------------------------------------------------


def _said(table):
    if missing := {*CELL, "role", "metric", "value", "status", "reason"} - set(table.columns):
        raise ValueError(f"table must be one of compare, it lacks {sorted(missing)}")
    heads = table[table.metric.isin(HEADLINES)]
    return verdict(heads) if heads.value.notna().any() else (
        "No labels: no quality is measured here. What the detectors flag, how steady they are and "
        "which injected anomalies they find is all that these data tell.")


def _interval_over(lines):
    return " / ".join(lines.interval_over[lines["rank"].notna()].unique())


def _sections(table, summary, ranking, datasets, figures, audits, unlabelled):
    """Heading and content (HTML) of each section; what says nothing here is left out."""
    headline = _headline_name(_headlines(table))
    cells, sections = table.drop_duplicates(CELL), []

    def add(heading, *parts):
        if parts := [part for part in parts if part]:
            sections.append((heading, "".join(parts)))

    for name, found in unlabelled.items():
        add(f"Without labels: {name}", _p(found.caveat), _html(found.ranking, (
            f"injected: {found.metric} of the injected anomalies; same...: share of the top "
            f"{found.top:.0%} of the test rows")),
            _html(found.agreement, "Share of the top rows in common", index=True),
            "".join(_p(f"Not injected: {why}") for why in found.refused.values()))
    lines = summary[summary.metric == headline].drop(columns="metric")
    if lines["rank"].notna().any():
        add("Ranking", _figure(figures, "ranking.png", "Detectors from best to worst: mean, 95 % "
                               "interval, and what a random score gets"),
            _html(lines.drop(columns="interval_over"),
                  f"{headline}, best first; the interval (low to high) is over "
                  f"{_interval_over(lines)}"))
    add("Are the differences more than chance?",
        _figure(figures, "critical_difference.png",
                "Average ranks; a bar joins detectors that a paired test does not tell apart"))
    sets = triviality(table)
    per_set = _per_set(ranking)
    per_set = per_set if len(per_set) > per_set.shape[1] else per_set.T.rename_axis("detector")
    facts = pd.DataFrame([data.describe() for data in datasets])
    long = ["rows per kind", "steps off the median", "source"]
    facts = facts.drop(columns=long, errors="ignore")
    add("By data set",
        _html(per_set, "Headline metric, means over seeds", index=True) if per_set.size else "",
        _html(facts, "What the sets hold"),
        "".join(_p(f"Source: {source}") for source in {data.source: 0 for data in datasets}))
    if len(sets) and sets.best.notna().any():
        trivial = sets.dataset[sets.trivial].tolist()
        add("How easy the sets are", _p(
            f"Trivial, because a one-liner reaches 95 % of the best detector: {', '.join(trivial)}."
            if trivial else "On no set does a one-liner of this table reach 95 % of the best "
            "detector; the audit tries more of them."),
            _html(sets, "The best detector and the best one-liner"))
    add("Audit", *_audit(audits))
    wide = summary[summary.metric.isin([f"{m}@calibration" for m in AT_THRESHOLD])]
    if len(wide):
        shown = wide.pivot(index="detector", columns="metric", values="mean")
        shown = shown.reindex(index=wide.detector.unique(), columns=[
            f"{m}@calibration" for m in AT_THRESHOLD if f"{m}@calibration" in shown])
        shown = shown.dropna(axis="columns", how="all")
        names = {m: m.split("@")[0] for m in shown}
        if summary["rank"].isna().all():
            names["false_positive_rate@calibration"] = "share of test rows flagged"
        add("At the threshold", _html(shown.rename(columns=names), (
            "Means over sets and seeds, at the threshold from the calibration rows; alarms per day "
            "and delays (rows) of sets of different pace do not mix well"), index=True))
    kinds = by_kind(table)
    if len(kinds):
        shown = kinds.pivot(index="detector", columns="kind", values="recall")
        add("By kind of anomaly", _html(shown.reindex(kinds.detector.unique()), (
            "Share of the rows of each kind that are flagged, beside the false alarms above"),
            index=True))
    if summary["rank"].isna().all():  # without labels each cell says so: once, above, is enough
        cells = cells.assign(reason=cells.reason.where(cells.status != "ok", ""))
    bad = cells[cells.reason != ""].groupby(["status", "detector", "reason"], sort=False)
    bad = bad.agg(data_sets=("dataset", "nunique"), cells=("seed", "size")).reset_index()
    add("Failures and warnings", _p(
        f"{len(cells)} cells; {(cells.status != 'ok').sum()} failed or ran out of time, "
        f"{((cells.status == 'ok') & (cells.reason != '')).sum()} with a warning."),
        _html(bad, "What was said") if len(bad) else "")
    good = cells[cells.status == "ok"]
    cost = good.groupby("detector", sort=False).agg(
        online=("online", "first"), fit_s=("fit_s", "mean"), score_s=("score_s", "mean"),
        peak_memory_mib=("peak_memory_mib", "max"), parameters=("parameters", "first"))
    add("Time and memory", _html(cost, "Seconds are means over cells, memory is the highest; both "
                                 "depend on the machine and on what else ran", index=True))
    add("How to read it", "<ul>" + "".join(f"<li>{escape(t)}</li>" for t in READING) + "</ul>")
    return sections


def _audit(audits):
    if not audits:
        return
    yield _p("What can speak against the figures of the best detector of each set.")
    failed = [{"data set": name, "check": f.check, "what was found": f.sentence}
              for name, audit in audits.items() for f in audit.findings if f.status == FAILED]
    clean = [name for name, audit in audits.items() if audit.ok]
    if failed:
        yield _html(pd.DataFrame(failed), "Checks that failed")
    if clean:
        yield _p(f"No check failed on {', '.join(clean)}.")
    count = pd.DataFrame({name: audit.table().status.value_counts()
                          for name, audit in audits.items()}).T.fillna(0).astype(int)
    yield _html(count.rename_axis("data set"), "Number of checks", index=True)


def _per_set(ranking):
    """Headline of each data set (rows) and detector, means over seeds, best detector first."""
    return ranking.values.rename_axis(index="data set", columns=None)


def _figures(table, summary, ranking):
    """PNG by file name: what can be drawn of this table."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from adlib import plots

    headline, found = _headline_name(_headlines(table)), {}
    n = int((summary.metric == headline).sum())

    def drawn(size, draw):
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    if summary["rank"].notna().any():
        found["ranking.png"] = drawn((7, 1.4 + 0.3 * n), lambda ax: plots.comparison(
            summary, headline, ax=ax))
        if len(ranking.values) > 1 and len(ranking.values.columns) > 1:
            size = (9, 1.8 + 0.16 * len(ranking.values.columns))
            found["critical_difference.png"] = drawn(size, lambda ax: plots.critical_difference(
                ranking, ax=ax))
    return found


# -- HTML, everything from outside escaped --------------------------------------------------------


def _p(text):
    return f"<p>{escape(text)}</p>"


def _figure(figures, name, text):
    if name not in figures:
        return ""
    data = base64.b64encode(figures[name]).decode()
    return (f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(text)}</figcaption></figure>")


def _html(frame, caption, index=False):
    """A frame as a table; the first column, or the index, heads the rows."""
    if not len(frame):
        return ""
    frame = frame.rename_axis(frame.index.name or " ").reset_index() if index else frame
    head = "".join(f'<th scope="col"{" class=n" * (column.dtype.kind in "if" and i > 0)}>'
                   f"{escape(str(name))}</th>" for i, (name, column) in enumerate(frame.items()))
    digits = [3 * (column.dtype.kind == "f" and (column.dropna() % 1 != 0).any())
              for _, column in frame.items()]
    rows = []
    for values in frame.itertuples(index=False, name=None):
        first, *rest = map(_text, values, digits)
        numbers = [isinstance(v, (int, float, np.number)) for v in values[1:]]
        cells = "".join(f"<td{' class=n' * n}>{t}</td>" for n, t in zip(numbers, rest, strict=True))
        rows.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr>'
            f"</thead><tbody>{''.join(rows)}</tbody></table></div>")


def _text(value, digits):
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if value is None or isinstance(value, (float, np.floating)):
        return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"
    return escape(str(value))


def _markdown(frame, **formats):
    """A frame as a Markdown table, two digits; what a name could break is escaped."""
    def text(column, value):
        if isinstance(value, (float, np.floating)):
            return "" if np.isnan(value) else formats.get(column, "{:.2f}").format(value)
        return escape(str(value), False).replace("|", "\\|").replace("\n", " ")

    rows = [[text(c, v) for c, v in zip(frame, row, strict=True)]
            for row in frame.itertuples(index=False, name=None)]
    head = [text("", str(c)) for c in frame]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _page(title, said, sections, manifest):
    links = "".join(f'<a href="#s{i}">{escape(h)}</a> ' for i, (h, _) in enumerate(sections))
    body = "".join(f'<section class="long" id="s{i}"><h2>{escape(heading)}</h2>{content}</section>'
                   for i, (heading, content) in enumerate(sections))
    origin = json.dumps(manifest, indent=1, ensure_ascii=False)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="verdict">{escape(said)}</p>'
        f'<nav aria-label="Sections">{links}</nav>{body}'
        f'<section class="long"><h2>Where it comes from</h2><pre>{escape(origin)}</pre></section>'
        f"</main></body></html>\n"
    )


# -- origin and files -----------------------------------------------------------------------------


def _manifest(table, datasets, parameters, started):
    lock, ended = ROOT / "requirements.lock", datetime.now(UTC)
    status = _git("status", "--porcelain", "--untracked-files=no")
    parameters = {str(k): _shareable(v) for k, v in (parameters or {}).items()}
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "requirements_lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest()
        if lock.exists() else None,
        "data": {data.name: {"sha256": data.fingerprint, "rows": len(data),
                             "features": data.n_features, "source": data.source}
                 for data in datasets},
        "detectors": table.drop_duplicates("detector").set_index("detector").parameters.to_dict(),
        "seeds": sorted(int(seed) for seed in table.seed.unique()),
        "alpha": parameters.get("alpha"),
        "parameters": parameters,
        "versions": {"python": platform.python_version()} | {
            name: found for name in LIBRARIES if (found := _version(name))},
        "machine": {"system": platform.system(), "architecture": platform.machine(),
                    "cpus": os.cpu_count()},
        "started": (started or ended).astimezone(UTC).isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
    }


def _shareable(value):
    """A parameter as JSON; of a path on this machine only its last part."""
    if isinstance(value, (str, os.PathLike)):
        value = os.fspath(value)
        return Path(value).name if os.path.isabs(value) else value
    if isinstance(value, Mapping):
        return {str(k): _shareable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_shareable(v) for v in value]
    return value if isinstance(value, (bool, int, float, type(None))) else str(value)


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*command):
    """What git says about the code that runs here; None outside a clone."""
    if not (ROOT / ".git").exists():
        return None
    try:
        run = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True,
                             check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def _check_replaceable(folder):
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"folder: {folder.name} is a file; give a folder for the report")
    there = {path.name for path in folder.iterdir()}
    try:
        ours = set(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    if foreign := sorted(there - ours):
        raise ValueError(f"folder: {folder.name} holds what no report wrote ({foreign[0]} and "
                         f"{len(foreign) - 1} more); give a new folder")

