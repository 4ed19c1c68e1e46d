"""Notebook 05 on a table of the user's own: what it shows, and the one sentence when it cannot."""

import json
import re

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from adlib import notebooks
from adlib.notebooks import ROOT

QUICK = {"detectors": ["KNN", "RollingZScore"], "seeds": [0]}
MINE = {"data_path": "mine.csv", "time_column": "when", "label_column": "state"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tables of a user, and the notebook up to where it stops to depend on them."""
    folder = tmp_path_factory.mktemp("user")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "when": pd.date_range("2024-03-01", periods=1200, freq="min"),
        "heat": rng.normal(50, 2, 1200),
        "flow": rng.normal(10, 1, 1200),
        "state": "normal",
    })
    for start in (600, 800, 1000):
        table.loc[start : start + 4, "heat"] += 20
        table.loc[start : start + 4, "state"] = "fault"
    table["state"] = table["state"].replace("fault", "anomaly")
    table.to_csv(folder / "mine.csv", index=False)
    table.drop(columns="state").to_csv(folder / "bare.csv", index=False)
    table.assign(state="normal").to_csv(folder / "same.csv", index=False)
    table[590:660].to_csv(folder / "short.csv", index=False)
    table.loc[9, "heat"] = np.nan
    table.to_csv(folder / "gaps.csv", index=False)

    (folder / "empty").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").touch()
    notebook = nbformat.read(ROOT / "notebooks" / "05_model_comparison.ipynb", as_version=4)
    nbformat.write(notebook, folder / "05.ipynb")
    read = next(i for i, c in enumerate(notebook.cells) if c.source.startswith("facts =") or
                "\nfacts =" in c.source)
    notebook.cells = notebook.cells[: read + 1]
    nbformat.write(notebook, folder / "read.ipynb")
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.delenv("ADLIB_METRICS")  # what a user's table gives is no reference

    def run(of="05.ipynb", **parameters):
        notebook = papermill.execute_notebook(
            folder / of, None, QUICK | parameters, cwd=folder, progress_bar=False
        )
        outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
        data = [o.get("data", {}) for o in outputs]
        shown = [o.get("text", "") + of.get("text/markdown", of.get("text/plain", ""))
                 for o, of in zip(outputs, data, strict=True)]
        figures = [o for o in outputs if "image/png" in o.get("data", {})]
        return "\n".join(shown), len(figures)

    return run


def test_labelled_table(run):
    text, n_figures = run(**MINE)
    for name in ("KNN", "RollingZScore", "RandomScore", "MaxAbsZ", "FirstDifference",
                 "PCAReconstruction", "AlwaysAnomalous", "AlwaysNormal"):
        assert name in text
    for column in ("mean", "low", "high", "random", "event_recall", "alarms_per_day"):
        assert column in text
    assert "**mine.** No winner on this data set: " in text or "**mine.** KNN leads" in text
    assert "11 cells, 0 failed, 2 with a warning" in text
    assert "note: all detectors look at single rows" not in text  # RollingZScore does not
    assert "Failed checks: " in text
    assert "injected" not in text and "look-ahead: it takes a delay" in text
    assert "events, " in text and "no machines to tell apart" in text
    assert n_figures == 5


def test_table_without_labels_is_not_ranked_by_quality(run, folder):
    text, n_figures = run(data_path="bare.csv", time_column="when", report_dir="bare_report")
    assert "no labels: no quality is measured" in text and "share of test rows flagged" in text
    assert "Without labels there is no better or worse" in text
    assert "f1" not in text and "No winner" not in text and "Failed checks" not in text
    assert "This ranks the ability to find injected anomalies (spike, " in text
    assert "same_over_seeds" in text and "injected" in text
    lines = [line.split() for line in text.splitlines()]
    first = lines[lines.index(["row"]) + 1]  # of the rows to look at first
    assert int(first[0]) in [start + i for start in (600, 800, 1000) for i in range(5)]
    assert n_figures == 2
    page = (folder / "bare_report" / "index.html").read_text()
    assert "No labels: no quality is measured here." in page and "Without labels: bare" in page


def test_a_detector_of_ones_own_that_looks_ahead_is_found_out(run, folder):
    (folder / "own.py").write_text("""
import numpy as np

from adlib import Detector


class Sound(Detector):
    def _fit(self, X):
        self.mean_ = X.mean(axis=0)

    def _score(self, X):
        return np.abs(X - self.mean_).max(axis=1)


class Ahead(Sound):
    def _score(self, X):
        return np.append(super()._score(X)[1:], 0.0)
""")
    text, _ = run(**MINE, detectors=["own.py:Sound", "own.py:Ahead", "KNN"])
    assert "up to 1 rows before the cut, where causal is stated" in text
    assert text.count("before the cut") == 1 and "the scores of own.py:Ahead. Failed" in text


def test_report_results_and_window(run, folder):
    more = {"window": 3, "results_dir": "cells", "report_dir": "mine_report"}
    text, _ = run(**MINE, **more)
    assert "KNN(window=3)" in text and "RollingZScore(window=3)" not in text
    assert list((folder / "cells").glob("mine--KNN-window=3-*.json"))
    manifest = json.loads((folder / "mine_report" / "manifest.json").read_text())
    assert manifest["parameters"]["detectors"] == ["KNN(window=3)", "RollingZScore"]
    assert manifest["parameters"]["window"] == 3 and manifest["seeds"] == [0]
    assert set(manifest["data"]) == {"mine"}
    page = (folder / "mine_report" / "index.html").read_text()
    assert "Model comparison on mine.csv" in page and "<h2>Audit</h2>" in page


def test_windows_of_a_period_and_a_comparison_with_a_delay(run, folder):
    more = {"detectors": ["KNN"], "report_dir": "late_report"}
    text, _ = run(**MINE, **more, delay=20, window="auto")
    assert "KNN(window='auto')" in text and "causal" in text
    assert "**mine**, VUS-PR. Scores with look-ahead (delay of 20 rows): " in text
    page = (folder / "late_report" / "index.html").read_text()
    assert "<h2>Ranking (causal)</h2>" in page and "<h2>Ranking (delay of 20 rows)</h2>" in page
    table = pd.read_csv(folder / "late_report" / "table.csv")
    assert set(table.look_ahead) == {"causal", "delay of 20 rows"}


def test_a_folder_laid_out_as_a_benchmark(run, folder):
    home = folder / "skab" / "valve1"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("0", "1"):
        table = pd.DataFrame({
            "datetime": pd.date_range("2024-03-01", periods=800, freq="s"),
            "flow": rng.normal(size=800), "anomaly": 0, "changepoint": 0,
        })
        table.loc[500:700, ["flow", "anomaly"]] += [3, 1]
        table.to_csv(home / f"{name}.csv", index=False, sep=";")
    text, _ = run(data_path="skab", report_dir="skab_report")
    assert "**All 2 sets.** " in text
    assert "of the test rows are anomalous" in text  # half of them, says the audit
    page = (folder / "skab_report" / "index.html").read_text()
    assert "Model comparison on skab" in page and "valve1/1" in page


def test_labels_from_windows(run):
    windows = [["2024-03-01 10:00", "2024-03-01 10:04"], ["2024-03-01 13:20", "2024-03-01 13:24"]]
    text, _ = run(data_path="bare.csv", time_column="when", label_windows=windows)
    assert "**bare.** " in text and "event_recall" in text


@pytest.fixture(scope="module")
def own(folder):
    """The same table as other people have it, and as two machines."""
    table = pd.read_csv(folder / "mine.csv", parse_dates=["when"])
    german = table.assign(when=table.when.dt.strftime("%d.%m.%Y %H:%M"))
    german.to_csv(folder / "german.csv", sep=";", decimal=",", index=False)
    lines = table.assign(when=table.when.astype("datetime64[ms]").astype("int64"))
    lines.to_json(folder / "lines.jsonl", orient="records", lines=True, double_precision=15)
    machine = np.where(np.arange(1200) % 2, "mill", "lathe")
    when = table.when.to_numpy()[np.arange(1200) // 2 * 2]  # both at once
    table.assign(machine=machine, when=when).to_csv(folder / "two.csv", index=False)
    return folder


def test_a_german_table(run, own):
    text, _ = run("read.ipynb", **MINE | {"data_path": "german.csv"})
    assert "note: german.csv: numbers have decimal commas" in text and "day first" in text
    assert re.search(r"german +1200 +2 +480 +15\b", text)  # rows, features, history, anomalous


def test_json_lines_in_milliseconds(run, own):
    text, _ = run("read.ipynb", **MINE | {"data_path": "lines.jsonl"})
    assert "read as milliseconds from 1970, such as '1709251200000'" in text
    assert re.search(r"lines +1200 +2 +480 +15\b", text)


def test_two_machines(run, own):
    text, _ = run(**MINE | {"data_path": "two.csv"}, entity_column="machine", detectors=["KNN"])
    assert "**two.** " in text and "**2 machines.** " in text and "two[mill]" in text


@pytest.mark.parametrize(("parameters", "sentence"), [
    ({"data_pth": "mine.csv"}, "no parameter 'data_pth' here, did you mean 'data_path'?"),
    (MINE | {"data_path": "gaps.csv", "missing": "keep"},
     "no detector could be compared: ValueError: Input X contains NaN"),
])
def test_what_cannot_be_compared_ends_in_one_sentence(run, own, parameters, sentence):
    with pytest.raises(PapermillExecutionError) as caught:
        run(**parameters)
    assert caught.value.ename == "ParameterError"
    assert sentence in caught.value.evalue
    assert caught.value.traceback == [f"ParameterError: {caught.value.evalue}"]
    assert "\n" not in caught.value.evalue


@pytest.mark.parametrize(("parameters", "sentence"), [
    ({"data_path": "other.csv"}, "other.csv is not there; give the path of a CSV"),
    (MINE | {"label_column": "stat"}, "mine.csv: label_column='stat' is not a column; it has"),
    ({"data_path": "two.csv", "time_column": "when", "label_column": "state"},
     "pass entity_column='machine'"),
    (MINE | {"data_path": "same.csv"}, "same: 0 of 720 test rows are labelled anomalous"),
    (MINE | {"data_path": "short.csv"},
     "short: alpha=0.05 needs 19 rows to calibrate on, and 70 rows leave 5: give more rows"),
    (MINE | {"detectors": []}, "detectors is empty: name at least one"),
    (MINE | {"seeds": 0}, "seeds is a list, such as [0], got 0"),
    (MINE | {"seeds": ["a"]}, "seeds must be different integers"),
    (MINE | {"alpha": 5}, "alpha must be"),
    (MINE | {"delay": "later"}, "delay must be None, a whole number of rows"),
    (MINE | {"metrics": ["recal"]}, "unknown metrics ['recal']; there are"),
    (MINE | {"time_limit": 0}, "time_limit must be"),
    (MINE | {"report_dir": "mine.csv"}, "report_dir: mine.csv is a file; give a folder"),
    (MINE | {"report_dir": "mine.csv/report"}, "report_dir: mine.csv is a file; give a folder"),
    (MINE | {"report_dir": "notes"}, "report_dir: notes holds what no report wrote"),
    (MINE | {"profile": "quick"}, "profile is 'fast' or 'full', got 'quick'"),
    ({"data_path": "empty"}, "empty is a folder without tables"),
    ({"datasets": ["telemetri"]}, "datasets: ['telemetri'] are not there"),
    (MINE | {"detectors": ["KNM"]}, "unknown detector 'KNM', did you mean 'KNN'? there are"),
    (MINE | {"detectors": ["MaxAbsZ", 7]}, "got 7"),
])
def test_wrong_parameters_are_refused_before_anything_is_fitted(own, monkeypatch, parameters,
                                                                sentence):
    monkeypatch.chdir(own)
    monkeypatch.setattr(notebooks, "setup", lambda: None)
    monkeypatch.setattr("adlib.compare.grid.run", lambda *_, **__: pytest.fail("fitted"))
    source = nbformat.read(own / "05.ipynb", as_version=4).cells
    cells = [cell.source for cell in source if cell.cell_type == "code"]
    names = {}
    exec(cells[0], names)
    names |= QUICK | parameters
    with pytest.raises(notebooks.ParameterError) as caught:
        for cell in cells[1 : 1 + next(i for i, c in enumerate(cells) if "compare(" in c)]:
            exec(cell, names)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
