"""The report of a comparison: one page that needs no network, its table, figures and origin."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from adlib.arguments import instance, listed
from adlib.arguments import path as as_path
from adlib.datasets import Dataset
from adlib.files import replaced_folder

from .audit import Audit
from .evidence import Scored, best_few, curves, events, judged_tests
from .exports import formatted, rendered, template
from .provenance import ROOT, changed_files, file_digest, git, outside_files
from .sections import (
    CELL,
    Findings,
    imputes,
    key_tables,
    sections,
    shares_missing,
    stem,
)
from .statistics import (
    HEADLINES,
    Ranking,
    by_look_ahead,
    headline_name,
    headlines,
    rank_detectors,
    summarise,
    verdict,
)
from .unlabelled import Unlabelled

__all__ = ["write_report"]

DRAWN = 8  # data sets with pictures
ALWAYS = ("index.html", "manifest.json", "table.csv")
LIBRARIES = ("adlib", "numpy", "scipy", "pandas", "scikit-learn", "torch", "matplotlib")


def write_report(table: pd.DataFrame, folder: str | os.PathLike, *,
                 datasets: Iterable[Dataset] = (), title: str = "Model comparison",
                 audits: Mapping[str, Audit] | None = None,
                 unlabelled: Mapping[str, Unlabelled] | None = None,
                 parameters: Mapping[str, Any] | None = None,
                 started: datetime | None = None,
                 scores: Scored | None = None) -> Path:
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
    scores : mapping of (detector, data set, seed) to CellScores, optional
        From ``compare(..., return_scores=True)``. Of the best few detectors and baselines the
        report then has curves and scores over time (pictures of the first eight data sets,
        `curves` of all as ``curves.csv``), and `events` as a table and as ``events.csv``.

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
    >>> import numpy as np
    >>> from adlib.compare import compare
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> X[290:] += 4
    >>> data = Dataset("shift", X, np.arange(300) >= 290)
    >>> table = compare("IsolationForest", data, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as home:
    ...     page = write_report(table, Path(home) / "report", datasets=[data])
    ...     print(*sorted(path.name for path in page.parent.iterdir()))
    differences.md differences.tex index.html manifest.json per_set.md per_set.tex ranking.md
    ranking.pdf ranking.png ranking.svg ranking.tex table.csv
    """
    folder, parts = as_path(folder, "folder"), by_look_ahead(table)
    datasets = [instance(data, "datasets", Dataset) for data in listed(datasets, "datasets")]
    instance(title, "title", str)
    said = _said(table)
    check_folder(folder)
    found = []
    for look, part in parts.items():  # never ranked together
        summary, ranking = summarise(part), rank_detectors(part)
        suffix = "" if look == next(iter(parts)) else "_" + look.replace(" ", "_")
        points, happened = (make(part, scores or {}, datasets) for make in (curves, events))
        figures = _figures(part, summary, ranking) | _evidence(part, scores or {}, datasets, points)
        found.append(Findings(part, summary, ranking, datasets, figures,
                              {} if suffix else audits or {}, key_tables(summary, ranking), points,
                              happened, look, suffix))
    files = {name: content for one in found for name, content in _files(one).items()}
    manifest = _manifest(table, datasets, parameters, started)
    page = template("report.html.j2").render(
        title=title, said=said, sections=sections(found, unlabelled or {}),
        origin=json.dumps(manifest, indent=1, ensure_ascii=False))
    with replaced_folder(folder, marker=None) as draft:  # check_folder has looked
        for name, content in files.items():
            (draft / name).write_bytes(content)
        table.to_csv(draft / "table.csv", index=False)
        (draft / "index.html").write_text(page, encoding="utf-8")
        manifest["files"] = sorted([*files, *ALWAYS])
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (draft / "manifest.json").write_text(text + "\n", encoding="utf-8")
    return folder / "index.html"


# -- what is in the page --------------------------------------------------------------------------


def _said(table: pd.DataFrame) -> str:
    if missing := {*CELL, "role", "metric", "value", "status", "reason"} - set(table.columns):
        raise ValueError(f"table must be one of compare, it lacks {sorted(missing)}")
    heads = table[table.metric.isin(HEADLINES)]
    return verdict(heads) if heads.value.notna().any() else (
        "No labels: no quality is measured here. What the detectors flag, how steady they are and "
        "which injected anomalies they find is all that these data show.")


def _files(found: Findings) -> dict[str, bytes]:
    """What lies beside the page, by file name."""
    endings = {"markdown": "md", "latex": "tex"}
    texts = {f"{name}{found.suffix}.{ending}": text.encode() for style, ending in endings.items()
             for name, text in formatted(found.tables, style).items()}
    texts |= {f"{name}{found.suffix}.csv": frame.to_csv(index=False).encode() for name, frame in (
        ("curves", found.points), ("events", found.events)) if len(frame)}
    return texts | {f"{name}{found.suffix}.{form}": content
                    for name, drawn in found.figures.items() for form, content in drawn.items()}


def _figures(table: pd.DataFrame, summary: pd.DataFrame, ranking: Ranking
             ) -> dict[str, dict[str, bytes]]:
    """Figures by name and format: what can be drawn of this table."""
    from adlib import plots

    headline = headline_name(headlines(table))
    found: dict[str, dict[str, bytes]] = {}
    n = int((summary.metric == headline).sum())
    if summary["rank"].notna().any():
        found["ranking"] = rendered(lambda axes: plots.comparison(
            summary, headline, ax=axes.subplots()), (6, 1.4 + 0.3 * n))
        if len(ranking.values) > 1 and len(ranking.values.columns) > 1:
            size = (7, 1.9 + 0.16 * len(ranking.values.columns))
            found["critical_difference"] = rendered(lambda axes: plots.critical_difference(
                ranking, ax=axes.subplots()), size)
    return found


def _evidence(table: pd.DataFrame, scores: Scored,
              datasets: list[Dataset], points: pd.DataFrame) -> dict[str, dict[str, bytes]]:
    """Curves, and scores over time, of the first data sets."""
    from adlib import plots

    found: dict[str, dict[str, bytes]] = {}
    for test in judged_tests(table, scores, datasets[:DRAWN]):
        number, name = datasets.index(test.data) + 1, test.data.name
        part = points[points.dataset == name].dropna(axis="columns", how="all")
        cells = {who: test.cells[who] for who in best_few(table) if who in test.cells}
        if len(part):
            found[stem("curves", number, name)] = rendered(partial(plots.curves, part), (6, 5.6))
        if test.is_series and cells:
            data = test.data.cut(test.rows)
            found[stem("scores", number, name)] = rendered(partial(
                plots.scores, data, {who: cell.test for who, cell in cells.items()},
                {who: cell.threshold for who, cell in cells.items()}), (6, 1 + 1.1 * len(cells)))
    return found


# -- origin and files -----------------------------------------------------------------------------


def _manifest(table: pd.DataFrame, datasets: list[Dataset], parameters: Mapping[str, Any] | None,
              started: datetime | None) -> dict[str, Any]:
    lock, ended = ROOT / "requirements.lock", datetime.now(UTC)
    status = git("status", "--porcelain", "--untracked-files=no", root=ROOT)
    gaps = shares_missing(datasets).set_index("column")
    shared = {str(k): _shareable(v) for k, v in (parameters or {}).items()}
    return {
        "commit": git("rev-parse", "HEAD", root=ROOT),
        "dirty": None if status is None else bool(status),
        "changed_files": changed_files(ROOT),
        "outside_files": outside_files(ROOT),
        "requirements_lock_sha256": file_digest(lock),
        "data": {data.name: _facts(data) | {"missing": gaps[gaps["data set"] == data.name].drop(
            columns="data set").to_dict("index")} for data in datasets},
        "missing": "filled with the median of the rows that fit" if imputes(table) else "kept",
        "detectors": table.drop_duplicates("detector").set_index("detector").parameters.to_dict(),
        "seeds": sorted(int(seed) for seed in table.seed.unique()),
        "alpha": shared.get("alpha"),
        "metrics": sorted(table.metric[table.value.notna()].unique()),
        "look_ahead": list(by_look_ahead(table)),
        "parameters": shared,
        "inputs": _inputs([*(parameters or {}).values()]),
        "versions": {"python": platform.python_version()} | {
            name: found for name in LIBRARIES if (found := _version(name))},
        "machine": {"system": platform.system(), "architecture": platform.machine(),
                    "cpus": os.cpu_count()},
        "started": (started or ended).astimezone(UTC).isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
    }


def _facts(data: Dataset) -> dict[str, Any]:
    """Which rows and labels took part, and how they were read."""
    parts = dict(zip(("fit", "calibrate", "test"), data.slices(), strict=True))
    return {
        "sha256": data.fingerprint, "rows": len(data), "features": data.n_features,
        "feature_names": data.feature_names, "source": data.source, "notes": data.notes,
        "parts": {part: {"first": rows.start, "end": rows.stop,
                         "anomalous": int(data.y[rows].sum())} for part, rows in parts.items()},
        "series": data.series,
        "seconds_between_rows": None if isnan(data.interval) else data.interval,
        "sessions": 1 if data.session is None else len(set(data.session.tolist())),
    }


def _inputs(values: Iterable[Any]) -> dict[str, str | None]:
    """SHA-256 of the files that parameters name, by the last part of their paths."""
    found: dict[str, str | None] = {}
    for value in values:
        if isinstance(value, (list, tuple)):
            found |= _inputs(value)
        elif isinstance(value, (str, os.PathLike)) and len(os.fspath(value)) < 1_000:
            path = Path(value)
            found |= {path.name: file_digest(path)} if path.is_file() else {}
    return found


def _shareable(value: Any) -> Any:
    """A parameter as JSON; of a path on this machine only its last part."""
    if isinstance(value, (str, os.PathLike)):
        value = os.fspath(value)
        return Path(value).name if os.path.isabs(value) else value
    if isinstance(value, Mapping):
        return {str(k): _shareable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_shareable(v) for v in value]
    return value if isinstance(value, (bool, int, float, type(None))) else str(value)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_folder(folder: Path, argument: str = "folder") -> None:
    """Refuse a folder that no report can be written to, or that holds what no report wrote."""
    home = next(there for there in (folder, *folder.absolute().parents) if there.exists())
    if not home.is_dir():
        raise ValueError(f"{argument}: {home.name} is a file; give a folder for the report")
    if not os.access(home, os.W_OK):
        raise ValueError(f"{argument}: cannot write to {home.name}; give another folder")
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    try:
        ours = set(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    if foreign := sorted(there - ours):
        raise ValueError(f"{argument}: {folder.name} holds what no report wrote ({foreign[0]}"
                         + f" and {len(foreign) - 1} more" * (len(foreign) > 1)
                         + "); give a new folder")
