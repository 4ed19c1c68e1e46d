"""Measure every detector on many data sets, and write the leaderboard from what was measured.

    python tools/leaderboard.py            # measure; a copy in reports/html/, as `make` writes it
    python tools/leaderboard.py refresh    # measure; reports/leaderboard.*, as `make refresh` does
    python tools/leaderboard.py write      # reports/leaderboard.* from its recorded numbers

What takes part was fixed before anything was measured. Detectors: those of notebook 05 as they are
by default, on tables those that look at one row at a time. Sets: `series` and `tables` below, each
drawn with seed 0; of a set of classes each is the anomaly in turn, of more than three classes the
first, the middle and the last; of a longer table 1,000 rows, drawn at random. Every source counts
once, however many sets it gives.
"""

import argparse
import hashlib
import io
import json
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader

from adlib.base import core, is_stateful
from adlib.compare import by_entity, compare, rank_detectors, summarise, verdict
from adlib.compare.exports import rendered
from adlib.compare.models import STEPS
from adlib.compare.parameters import chosen_detectors
from adlib.compare.provenance import git
from adlib.compare.statistics import CHANCE, ONE_LINERS, signed_rank
from adlib.datasets import (
    ANOMALY_KINDS,
    Dataset,
    inject,
    load_telemetry,
    make_fraud,
    make_intrusion,
    make_manufacturing,
    make_medical,
    make_sensor_stream,
    make_sine,
    make_telemetry,
)
from adlib.datasets.splits import one_class_rows
from adlib.files import replaced_file

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "reports" / "leaderboard.json"
COPY = ROOT / "reports" / "html" / "leaderboard.json"
SEED = 0
DELAY = 10  # rows, a quarter of a season
TOLERANCE = 0.05  # of a mean: networks end elsewhere on other processors
HISTORY, TEST, PERIOD = 800, 480, 40  # rows of a made background, and of its season
# An event lasts from a third of a season to a whole one; 3 sd where its kind leaves the size open.
EVENTS: Any = {"n_events": 3, "strength": 3.0, "missing": "hold"}
MOST_ROWS = 1000  # of a table
RANKINGS = {  # title, headline metric, look-ahead
    "tables": ("Tables", "average_precision", "causal"),
    "causal": ("Series, causal scores", "vus_pr", "causal"),
    "delayed": (f"Series, scores {DELAY} rows late", "vus_pr", f"delay of {DELAY} rows"),
    "hindsight": ("Series, scores in hindsight", "vus_pr", "hindsight"),
}
SHORTER = {"LinearForecast(smoothing=None)": "LinearForecast, raw"}
CC_BY = "UCI Machine Learning Repository, CC BY 4.0"
MADE = "made by adlib.datasets.{}, seed 0"
# Hours of river's series without an event; then the events that its description names, in which
# the flow falls to 24 l/s (three times) or rises to 110 l/s (once), as they are seen in the file.
CALM, DROPS, PEAK = (350, 800), ((93, 111), (210, 224), (872, 887)), (328, 330)


# -- data sets ------------------------------------------------------------------------------------


def series() -> list[Dataset]:
    """Series by source; what lies between brackets in its results is a recording of its own.

    Returns
    -------
    list of Dataset
    """
    n, part = HISTORY + TEST, HISTORY / (HISTORY + TEST)
    made: Any = {"train_fraction": part, "period": PERIOD, "random_state": SEED}
    return [
        injected(make_telemetry(n, n_events=0, **made), "machine", MADE.format("make_telemetry")),
        injected(make_sensor_stream(n, 0.0, **made), "room", MADE.format("make_sensor_stream")),
        injected(make_sine(n, n_events=0, **made), "sine", MADE.format("make_sine")),
        injected(_sea(), "sea", "sea surface temperature off Peru by month, 1950 to 2010, in "
                 "statsmodels (NOAA, public domain)", period=12),
        replace(load_telemetry(), name="host",
                session_names=("history", "history", *(f"session {i}" for i in range(2, 8)))),
        _water(),
    ]


def injected(base: Dataset, name: str, source: str, *, period: int = PERIOD) -> Dataset:
    """The test of a calm series once for each kind of anomaly, with events of that kind in it.

    Parameters
    ----------
    base : Dataset
        Without anomalies.
    name, source : str
        Of what comes out.
    period : int
        Rows of a season.

    Returns
    -------
    Dataset
        A recording for each kind that fits: without correlation there is none to break.
    """
    apart = np.abs(np.atleast_2d(np.corrcoef(base.X.T))) < 0.5
    kinds = [kind for kind in ANOMALY_KINDS
             if kind != "correlation_break" or apart.sum() < apart.size - base.n_features]
    test, minutes = base.train_end, np.arange(len(base)).astype("datetime64[m]")
    each = [inject(base, kind, length=(period // 3, period), period=period,
                   random_state=SEED + i, **EVENTS) for i, kind in enumerate(kinds)]
    return Dataset(
        name, np.concatenate([base.X[:test], *(one.X[test:] for one in each)]),
        np.concatenate([base.y[:test], *(one.y[test:] for one in each)]),
        kind=np.concatenate([base.kind[:test], *(one.kind[test:] for one in each)]),
        time=np.concatenate([minutes[:test], *[minutes[test:]] * len(each)]),
        session=np.repeat(np.arange(len(each) + 1), [test, *[len(base) - test] * len(each)]),
        session_names=("history", *kinds), feature_names=base.feature_names, train_end=test,
        series=True, source=source)


def _sea() -> Dataset:
    """The first half is history."""
    months = pd.read_csv(_bundled("statsmodels", "elnino/elnino.csv")).to_numpy(float)[:, 1:]
    return Dataset("sea", months.ravel(), train_end=months.size // 2)


def _water() -> Dataset:
    """The calm hours are history; those before and after them are recordings to be judged."""
    flow = pd.read_csv(_bundled("river", "water-flow.csv")).iloc[:, 1].to_numpy()
    kind = np.full(len(flow), "", dtype=object)
    for first, end in DROPS:
        kind[first:end] = "drop"
    kind[slice(*PEAK)] = "peak"
    rows = np.arange(len(flow))
    order = np.r_[slice(*CALM), 0:CALM[0], CALM[1]:len(flow)]
    return Dataset(
        "water", flow[order], kind[order] != "", kind=kind[order].astype(str),
        time=rows[order].astype("datetime64[h]"), train_end=CALM[1] - CALM[0],
        session=np.where(rows < CALM[0], 1, np.where(rows < CALM[1], 0, 2))[order],
        session_names=("history", "before", "after"), series=True,
        source="water flow by hour in river (given by Tecnojest s.r.l., BSD 3-clause)")


def tables() -> list[Dataset]:
    """Tables; a name is "source" or "source/class that is the anomaly".

    Returns
    -------
    list of Dataset
    """
    from sklearn.datasets import load_breast_cancer, load_digits, load_wine

    cancer, wine, digits = (load() for load in (load_breast_cancer, load_wine, load_digits))
    segments = pd.read_csv(_bundled("river", "segment.csv.zip"))
    shuttle = pd.read_csv(_bundled("river", "shuttle.csv.gz"))
    ours = {"fraud": make_fraud, "network": make_intrusion, "parts": make_manufacturing,
            "medical": make_medical}
    return [
        _one_class("cancer", cancer.data, cancer.target == 0, f"scikit-learn ({CC_BY})"),
        *_each_class("wine", wine.data, wine.target, f"scikit-learn ({CC_BY})"),
        *_each_class("digits", digits.data, digits.target, f"scikit-learn ({CC_BY})"),
        *_each_class("image", segments.iloc[:, :-1], segments.category, f"river ({CC_BY})"),
        _one_class("shuttle", shuttle.iloc[:, :-1], shuttle.anomaly, f"river ({CC_BY})"),
        *(replace(make(MOST_ROWS, random_state=SEED), name=name, source=MADE.format(make.__name__),
                  series=False) for name, make in ours.items()),
    ]


def _each_class(name: str, X: Any, y: Any, source: str) -> list[Dataset]:
    classes = np.unique(y)
    few = classes[np.unique(np.linspace(0, len(classes) - 1, 3).round().astype(int))]
    return [_one_class(f"{name}/{one}", X, y == one, source) for one in few]


def _one_class(name: str, X: Any, y: Any, source: str) -> Dataset:
    """Half of the normal rows is history."""
    drawn = np.random.default_rng(SEED).permutation(len(y))[:MOST_ROWS]
    X, y = np.asarray(X, dtype=float)[drawn], np.asarray(y, dtype=int)[drawn]
    rows, n_history = one_class_rows(y, SEED)
    return Dataset(name, X[rows], y[rows], train_end=n_history, series=False, source=source)


def _bundled(package: str, file: str) -> Path:
    """A file among the data sets that a package brings along; it need not be imported."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed: it brings {file}")
    return Path(found.origin).parent / "datasets" / file


# -- what is measured -----------------------------------------------------------------------------


def detectors() -> dict[str, Any]:
    """All of notebook 05's, by a name that fits into a column.

    Returns
    -------
    dict of str to estimator
    """
    return {SHORTER.get(name, name): model for name, model in chosen_detectors().items()}


def of_single_rows(models: Mapping[str, Any]) -> dict[str, Any]:
    """Those whose score depends on no other row.

    Parameters
    ----------
    models : mapping of str to estimator

    Returns
    -------
    dict of str to estimator
    """
    from sklearn.base import clone

    X, found = np.random.default_rng(SEED).normal(size=(300, 2)), {}
    for name, model in models.items():
        tried = clone(model)
        if "epochs" in (known := core(tried).get_params()):
            core(tried).set_params(epochs=min(1, known["epochs"]))
        fitted = core(tried.fit(X))
        if not getattr(fitted, "context_", 0) and not is_stateful(fitted):
            found[name] = model
    return found


def measure() -> dict[str, Any]:
    """Fit and judge everything; what came out, ready to be written as JSON.

    Returns
    -------
    dict
        ``commit``, ``sets`` (facts by source) and ``rankings``: for each the names of its sets, the
        headline metric of `chance` on them, and of each detector with its role.
    """
    warnings.simplefilter("ignore")  # of thresholds, which no metric here needs
    models, in_order, alone = detectors(), series(), tables()
    runs = {"tables": (of_single_rows(models), alone, None), "causal": (models, in_order, None),
            "delayed": (models, in_order, DELAY), "hindsight": (models, in_order, "hindsight")}
    rankings = {}
    for name, (chosen, sets, delay) in runs.items():
        metric = RANKINGS[name][1]
        started = process_time()
        cells = compare(chosen, sets, [SEED], delay=delay, metrics=[metric], n_random=3,
                        intervals=False, progress=False)
        print(f"{name}: {process_time() - started:.0f} s of processor time", flush=True)
        rankings[name] = _compact(by_entity(cells), metric, name == "tables")
    commit = git("log", "-1", "--format=%h", "--", "adlib", root=ROOT)
    return {"commit": commit or "unknown", "sets": facts([*alone, *in_order]),
            "rankings": rankings}


def _compact(cells: pd.DataFrame, metric: str, alone: bool) -> dict[str, Any]:
    out = ("AlwaysAnomalous", "AlwaysNormal", "Oracle", *(STEPS if alone else ()))
    cells = cells[(cells.metric == metric) & ~cells.detector.isin(out)]
    cells = cells.assign(dataset=cells.dataset.str.replace(r"\[(.*)\]$", r"/\1", regex=True))
    values = cells.pivot_table("value", "detector", "dataset", sort=False, dropna=False)
    chance = cells.groupby("dataset").random.median()[values.columns]
    roles = cells.drop_duplicates("detector").set_index("detector").role
    return {"sets": [*values], "chance": _text(chance), "detectors": {
        str(name): [roles[str(name)], _text(line)] for name, line in values.iterrows()}}


def _text(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:.3f}" for number in numbers)


def facts(sets: Iterable[Dataset]) -> list[dict[str, Any]]:
    """What stands of each source in the record; of recorded rows there is a fingerprint.

    Parameters
    ----------
    sets : iterable of Dataset

    Returns
    -------
    list of dict
    """
    found: dict[str, dict[str, Any]] = {}
    for data in sets:
        name = data.name.partition("/")[0]
        line = found.setdefault(name, {"source": name, "rows": 0, "features": data.n_features,
                                       "origin": data.source, "sha256": ""})
        line["rows"] += len(data)
        if not data.source.startswith(MADE.partition("{")[0]):
            both = line["sha256"] + data.fingerprint
            line["sha256"] = hashlib.sha256(both.encode()).hexdigest()[:16]
    return [*found.values()]


# -- what is said of it ---------------------------------------------------------------------------


def values(record: Mapping[str, Any], ranking: str) -> pd.DataFrame:
    """Headline metric by set, and by detector; the last column is chance.

    Parameters
    ----------
    record : mapping
        From `measure`.
    ranking : str
        "tables", "causal", "delayed" or "hindsight".

    Returns
    -------
    pandas.DataFrame
    """
    part = record["rankings"][ranking]
    lines = {name: line for name, (_, line) in part["detectors"].items()}
    lines["chance"] = part["chance"]
    return pd.DataFrame({name: np.array(line.split(), float) for name, line in lines.items()},
                        index=part["sets"])


def by_source(record: Mapping[str, Any], ranking: str) -> pd.DataFrame:
    """A table as `compare` gives it, in which each source is a data set: means over its sets.

    Parameters
    ----------
    record, ranking
        As in `values`.

    Returns
    -------
    pandas.DataFrame
    """
    _, metric, look = RANKINGS[ranking]
    found = values(record, ranking)
    sources = found.index.str.partition("/").get_level_values(0)
    failed = found.isna().groupby(sources, sort=False).any()  # a part of it: there is no mean
    means = found.groupby(sources, sort=False).mean().mask(failed)
    table = means.drop(columns="chance").rename_axis("dataset").melt(
        ignore_index=False, var_name="detector").reset_index()
    roles = {name: role for name, (role, _) in record["rankings"][ranking]["detectors"].items()}
    return table.assign(role=table.detector.map(roles), seed=SEED, metric=metric,
                        status=np.where(table.value.isna(), "failed", "ok"),
                        random=table.dataset.map(means.chance), look_ahead=look)


def said(record: Mapping[str, Any], ranking: str) -> str:
    """What a ranking allows to say, from `verdict`.

    Who beats chance is asked over the sources or, where each has several recordings, of each over
    these by signed ranks: their anomalies were placed independently.

    Parameters
    ----------
    record, ranking
        As in `values`.

    Returns
    -------
    str
    """
    table, found = by_source(record, ranking), values(record, ranking)
    groups = dict([*found.groupby(found.index.str.partition("/").get_level_values(0))])
    if all(len(part) > 1 for part in groups.values()):
        table = table.assign(p_chance=[
            signed_rank(groups[source][detector] - groups[source].chance, "greater")
            for source, detector in table[["dataset", "detector"]].to_numpy()])
    words = verdict(table).replace("data set", "source")
    return re.sub(r"^(Scores with look-ahead \([^)]*\)|Causal scores): ", "", words)


def by_kind(record: Mapping[str, Any]) -> pd.DataFrame:
    """VUS-PR of causal scores by kind of anomaly: means over the sources that have it.

    Parameters
    ----------
    record : mapping
        From `measure`.

    Returns
    -------
    pandas.DataFrame
        A row for each kind, a column for each detector and for chance.
    """
    found = values(record, "causal")
    kinds = found.index.str.partition("/").get_level_values(2)
    return found.groupby(kinds).mean().loc[[*ANOMALY_KINDS]]


def differences(record: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
    """Where the means of two measurements are further apart than processors explain.

    Parameters
    ----------
    record, kept : mapping
        From `measure`.

    Returns
    -------
    list of str
        Sentences; empty where the two say the same.
    """
    found = []
    for ranking, (title, *_) in RANKINGS.items():
        table = by_source(record, ranking)
        found += [f"{title}: {name} failed on a source"
                  for name in sorted(set(table.detector[table.value.isna()]))]
        new, old = (one.groupby("detector").value.mean()
                    for one in (table, by_source(kept, ranking)))
        found += [f"{title}: {name} stands in one of the two only"
                  for name in new.index.symmetric_difference(old.index)]
        moved = (new - old).dropna()
        found += [f"{title}: {name} has {new[name]:.2f}, committed is {old[name]:.2f}"
                  for name in moved.index[moved.abs() > TOLERANCE]]
    return found


def ranked(record: Mapping[str, Any], ranking: str) -> pd.DataFrame:
    """The rows of a ranking as they are shown, best first and chance last.

    Parameters
    ----------
    record, ranking
        As in `values`.

    Returns
    -------
    pandas.DataFrame
        ``place`` (by the mean as shown: what rounds alike is level), ``detector, role, mean``,
        ``behind`` (the first minus this one, paired over sources, and half the width of its 95 %
        interval) and a column for each source.
    """
    table = by_source(record, ranking)
    wide = table.pivot_table("value", "detector", "dataset", sort=False, dropna=False)
    wide.loc["chance"] = table.groupby("dataset").random.first()
    wide.insert(0, "mean", wide.mean(axis=1, skipna=False))
    wide = wide.sort_values("mean", ascending=False, kind="stable")
    lines = wide.drop(index="chance")
    roles = table.drop_duplicates("detector").set_index("detector").role
    place = lines["mean"].round(2).rank(ascending=False, method="min").astype("Int64").astype(str)
    against = rank_detectors(table).against.dropna()
    behind = {name: f"{line.difference:z.2f}\u00a0±\u00a0{line.high - line.difference:.2f}"
              for name, line in against.iterrows()}
    out = pd.concat([lines[~lines.index.isin(CHANCE)], wide.loc[["chance"]]])
    out.insert(1, "behind", [behind.get(name, "") for name in out.index])
    out.insert(0, "role", [roles.get(name, "chance") for name in out.index])
    out.insert(0, "place", [place.get(name, "") for name in out.index])
    return out.reset_index()


def page(record: Mapping[str, Any]) -> str:
    """The leaderboard as Markdown.

    Parameters
    ----------
    record : mapping
        From `measure`.

    Returns
    -------
    str
    """
    templates = FileSystemLoader(Path(__file__).with_name("templates"))
    environment = Environment(loader=templates, trim_blocks=True, lstrip_blocks=True,
                              keep_trailing_newline=True)
    parts = []
    for ranking, (title, *_) in RANKINGS.items():
        parts.append({"title": title, "said": said(record, ranking),
                      "lines": ranked(record, ranking)})
    sets = pd.Series([one for name in ("tables", "causal") for one in values(record, name).index])
    counts = sets.str.partition("/")[0].value_counts()
    return environment.get_template("leaderboard.md.j2").render(
        parts=parts, kinds=_found_by(record), record=record, counts=counts, delay=DELAY,
        tolerance=TOLERANCE, n_events=EVENTS["n_events"], n_series=len(values(record, "causal")),
        n_tables=len(values(record, "tables")))


def _found_by(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each kind the best detectors and the best one-liner."""
    roles = {name: role for name, (role, _) in record["rankings"]["causal"]["detectors"].items()}
    models = [name for name, role in roles.items() if role == "detector"]
    simple = [name for name in ONE_LINERS if name in roles]
    sets, lines = values(record, "causal").index, []
    for kind, line in by_kind(record).iterrows():
        best, one_liner = (line[names].sort_values(ascending=False, kind="stable")
                           for names in (models, simple))
        lines.append({"kind": str(kind).replace("_", " "), "best": best[:3],
                      "one_liner": one_liner[:1], "chance": line.chance,
                      "n": int(sets.str.endswith(f"/{kind}").sum())})
    return lines


def figures(record: Mapping[str, Any]) -> dict[str, bytes]:
    """PNG by the end of its name: the rankings, and who finds which kind.

    Parameters
    ----------
    record : mapping
        From `measure`.

    Returns
    -------
    dict of str to bytes
    """
    return {"": rendered(lambda axes: _draw_rankings(record, axes), (8.5, 14))["png"],
            "-kinds": rendered(lambda axes: _draw_kinds(record, axes), (9, 9))["png"]}


def _draw_rankings(record: Mapping[str, Any], figure: Any) -> None:
    for ax, (ranking, (title, metric, _)) in zip(figure.subplots(2, 2).flat, RANKINGS.items(),
                                                 strict=True):
        summary = summarise(by_source(record, ranking))
        lines = summary[~summary.detector.isin(CHANCE)].reset_index(drop=True)
        for role, colour, marker in (("detector", "tab:blue", "o"), ("baseline", "0.45", "s")):
            part = lines[lines.role == role]
            ax.errorbar(part["mean"], part.index, xerr=[part["mean"] - part.low,
                                                        part.high - part["mean"]],
                        fmt=marker, color=colour, markersize=4, linewidth=1, label=role)
        ax.axvline(lines.random[0], color="tab:red", linestyle=":", label="chance")
        ax.set_yticks(lines.index, lines.detector, fontsize="small")
        ax.set_ylim(len(lines) - 0.4, -0.6)
        ax.set_xlim(0, 1)
        n = lines.n_datasets.max()
        name = {"vus_pr": "VUS-PR"}.get(metric, metric.replace("_", " "))
        ax.set_xlabel(f"{name}, mean over {n} sources\n95 % interval over sources")
        ax.set_title(title)
        ax.grid(axis="x", alpha=0.3)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _draw_kinds(record: Mapping[str, Any], figure: Any) -> None:
    kinds = by_kind(record)
    means = by_source(record, "causal").groupby("detector", sort=False).value.mean()
    order = means.drop([*CHANCE], errors="ignore").sort_values(ascending=False, kind="stable")
    shown, ax = kinds[[*order.index, "chance"]].T, figure.subplots()
    ax.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(shown.to_numpy()):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8,
                color="white" if value > 0.6 else "black")
    ax.set_xticks(range(shown.shape[1]), [kind.replace("_", " ") for kind in shown.columns],
                  rotation=35, ha="right")
    ax.set_yticks(range(len(shown)), shown.index)
    ax.set_title("VUS-PR of causal scores by kind of anomaly, mean over the sources that have it")


# -- files ----------------------------------------------------------------------------------------


def write(record: Mapping[str, Any], path: Path) -> None:
    """Write the numbers, and beside them the page and its figures.

    Parameters
    ----------
    record : mapping
        From `measure`.
    path : Path
        Of the numbers; it ends in ``.json``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    contents = {path: text.encode(), path.with_suffix(".md"): page(record).encode()}
    contents |= {path.with_name(f"{path.stem}{end}.png"): _with_palette(png)
                 for end, png in figures(record).items()}
    for file, content in contents.items():
        with replaced_file(file) as draft:
            draft.write_bytes(content)


def _with_palette(png: bytes) -> bytes:
    """The same picture in 64 colours: a third of the size, in every version that git keeps."""
    from PIL import Image

    smaller = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(64).save(smaller, "png", optimize=True)
    return smaller.getvalue()


def read(path: Path) -> dict[str, Any]:
    """A record that `write` has written.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict
    """
    return json.loads(path.read_text(encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
        The exit code.
    """
    parser = argparse.ArgumentParser(description="Measure the leaderboard and write it.")
    parser.add_argument("command", nargs="?", default="copy", choices=["copy", "refresh", "write"])
    command = parser.parse_args(arguments).command
    record, path = read(KEPT) if command == "write" else measure(), KEPT
    if command == "copy":
        path = COPY
        print(*differences(record, read(KEPT)) or ["the same as the committed one"], sep="\n")
    write(record, path)
    print(f"wrote {path.with_suffix('.md').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
