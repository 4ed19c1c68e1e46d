"""The report: whole or not at all, harmless whatever the data are called, and complete."""

import hashlib
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from adlib.compare import (
    audit,
    compare,
    curves,
    events,
    format_tables,
    rank_unlabelled,
    score_cell,
    verdict,
    write_report,
)
from adlib.compare import report as module
from adlib.datasets import Dataset, make_sensor_stream
from adlib.notebooks import ROOT

EVIL = '<script>alert("x")</script>&'


@pytest.fixture(scope="module")
def sets():
    X = np.random.default_rng(0).normal(size=(400, 2))
    X[380:] += 4
    evil = Dataset(EVIL, X, np.arange(400) >= 380, kind=np.where(np.arange(400) >= 380, EVIL, ""),
                   feature_names=("a", EVIL), source=EVIL)
    return [evil, make_sensor_stream(900, 0.03, random_state=0)]


@pytest.fixture(scope="module")
def compared(sets):
    models = {"KNN": "KNN", EVIL: "PCAReconstruction", "far": "KNN(window=5000)"}
    return compare(models, sets, [0, 1], n_random=5, return_scores=True)


@pytest.fixture(scope="module")
def table(compared):
    return compared[0]


@pytest.fixture(scope="module")
def page(compared, sets, tmp_path_factory):
    table, scores = compared
    cell = score_cell("KNN", sets[0])
    found = audit(cell.test, sets[0].y, train_end=sets[0].train_end, X=sets[0].X, series=False)
    return write_report(
        table, tmp_path_factory.mktemp("home") / "new" / "report", datasets=sets, title=EVIL,
        audits={EVIL: found}, started=datetime(2024, 1, 1, tzinfo=UTC),
        parameters={"alpha": 0.05, "data_path": f"{ROOT}/data/x.csv", "note": EVIL, "n": [1, None]},
        scores=scores)


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.open, self.links, self.words = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.links += [(tag, k, v) for k, v in attributes if k in ("src", "href")]
        assert not any(k.startswith("on") for k, _ in attributes)
        assert tag != "img" or dict(attributes)["alt"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_the_page_stands_alone_and_is_well_formed(page):
    reader = Reader(page.read_text(encoding="utf-8"))
    assert not reader.open and not {"script", "link", "iframe"} & set(reader.seen)
    assert "url(" not in page.read_text() and "@import" not in page.read_text()
    for tag, attribute, value in reader.links:
        ours = "data:image/png;base64," if attribute == "src" else "#s"
        assert value.startswith(ours), (tag, value[:80])


def test_the_page_says_it_all(page, table):
    words = Reader(page.read_text(encoding="utf-8")).words
    assert words.count(EVIL) > 5  # as text, however it came in
    assert verdict(table) in words and "by chance" in words
    for part in ("Ranking", "Are the differences more than chance?", "By data set", "Audit",
                 "How easy the sets are", "At the threshold", "By kind of anomaly",
                 "peak_memory_mib", "Failures and warnings", "looks back on 4999 rows",
                 "Time and memory", "How to read it", "Checks that failed", "RandomScore",
                 "requirements_lock_sha256"):
        assert part in words, part
    assert words.index(verdict(table)) < words.index("best first")


def test_beside_the_page_lie_table_figures_and_origin(page, table, sets):
    folder = page.parent
    manifest = json.loads((folder / "manifest.json").read_text())
    drawn = ("critical_difference", "ranking", "scores_2-sensor-stream", "curves_2-sensor-stream",
             next(folder.glob("curves_1*.png")).stem)
    names = {"index.html", "manifest.json", "table.csv", "curves.csv", "events.csv", *(
        f"{name}.{form}" for name in drawn for form in ("png", "svg", "pdf")), *(
        f"{name}.{form}" for name in ("differences", "p_values", "per_set", "ranking")
        for form in ("md", "tex"))}
    assert {path.name for path in folder.iterdir()} == names == set(manifest["files"])
    assert all(re.fullmatch(r"[\w.=-]+", name) for name in names)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for form, start in starts.items():
        content = (folder / f"ranking.{form}").read_bytes()
        assert content.startswith(start) and b"Date" not in content
    for style, ending in (("markdown", "md"), ("latex", "tex")):
        for name, text in format_tables(table, style).items():
            assert (folder / f"{name}.{ending}").read_text(encoding="utf-8") == text
    again = pd.read_csv(folder / "table.csv")
    assert list(again) == list(table) and len(again) == len(table)
    np.testing.assert_allclose(again.value, table.value)
    lock = (ROOT / "requirements.lock").read_bytes()
    assert manifest["requirements_lock_sha256"] == hashlib.sha256(lock).hexdigest()
    facts = manifest["data"][EVIL]
    assert facts["sha256"] == sets[0].fingerprint and facts["feature_names"]
    assert facts["parts"]["test"] == {"first": sets[0].train_end, "end": len(sets[0]), "anomalous":
                                      int(sets[0].y[sets[0].train_end :].sum())}
    assert set(manifest["metrics"]) == set(table.metric[table.value.notna()])
    assert manifest["seeds"] == [0, 1] and manifest["alpha"] == 0.05
    assert manifest["parameters"] == {"alpha": 0.05, "data_path": "x.csv", "note": EVIL,
                                      "n": [1, None]}
    assert manifest["started"] == "2024-01-01T00:00:00+00:00" < manifest["ended"]
    assert set(manifest["machine"]) == {"system", "architecture", "cpus"}
    if (ROOT / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{40}", manifest["commit"]) and manifest["dirty"] in (0, 1)


NAMES = ("a_b & $x^2$ #%~{}\\end{table}", "日本語 é ß α \N{SNOWMAN}\u202e\x07",
         "|cell|[link](javascript:1)", "-- `'\"\nline" + "n" * 300)


@pytest.fixture(scope="module")
def hostile():
    rows = [(name, "detector", f"set {i} {data}", 0, "average_precision", 0.9 - k / 5, "ok")
            for i, data in enumerate(NAMES) for k, name in enumerate(NAMES)]
    columns = ["detector", "role", "dataset", "seed", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns).assign(low=0.1, high=0.95, random=0.1)


def test_names_break_no_markdown(hostile):
    texts = format_tables(hostile)
    assert list(texts) == ["ranking", "per_set", "differences", "p_values"]
    for text in texts.values():
        _, _, *rows = text.splitlines()
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
        assert len(set(cells)) == 1 and len(rows) in (1 + len(NAMES), 2 + len(NAMES))
        assert not re.search(r"(?<!\\)\[|\$|\x07|\u202e", text)
    assert "**0.900**" in texts["per_set"] and "<script" not in texts["ranking"]


def test_names_break_no_latex(hostile, tmp_path):
    texts = format_tables(hostile, "latex")
    for text in texts.values():
        body = re.sub(r"\\char\d+|\\.|\\[a-z]+", "", text.split("\\midrule")[1])
        assert not re.search(r"[#$%^~]|(?<!&) _", body) and text.count("\\end{table}") == 1
        assert max(map(len, body.splitlines())) < 500  # long names are shortened
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex to compile the tables with")
    (tmp_path / "all.tex").write_text("\\documentclass{article}\\usepackage{booktabs,graphicx}"
                                      "\\begin{document}" + "".join(texts.values())
                                      + "\\end{document}", encoding="utf-8")
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
                          cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-800:]


def test_curves_and_events_are_made_of_the_scores(compared, sets, page):
    table, scores = compared
    points, found = curves(table, scores, sets), events(table, scores, sets)
    for frame, name in ((points, "curves"), (found, "events")):
        again = pd.read_csv(page.parent / f"{name}.csv", keep_default_na=False)
        assert list(again) == list(frame) and len(again) == len(frame)
    assert set(points.dataset) == {EVIL, "sensor_stream"} and set(points.seed) == {0}
    best = points[(points.dataset == "sensor_stream") & (points.detector == "KNN") & points.chosen]
    line = table[(table.dataset == "sensor_stream") & (table.detector == "KNN")
                 & (table.seed == 0)].set_index("metric").value
    for name in ("recall", "event_recall", "event_precision", "alarms_per_day"):
        assert best[name].item() == pytest.approx(line[f"{name}@calibration"]), name
    assert set(found.dataset) == {"sensor_stream"}  # the other set has no order
    stream, threshold = sets[1], scores["KNN", "sensor_stream", 0].threshold
    flagged = np.zeros(len(stream), bool)
    flagged[scores["KNN", "sensor_stream", 0].test_rows] = (
        scores["KNN", "sensor_stream", 0].test > threshold)
    for event in found.itertuples():
        rows = slice(event.start_row, event.end_row + 1)
        assert (stream.y[rows] == 1).all() and event.start == stream.time[event.start_row]
        assert ("KNN" in event.found_by.split(", ")) == flagged[rows].any()
        assert event.n_found == len(event.found_by.split(", ")) * bool(event.found_by)
        assert not event.only_by or event.only_by == event.first_by == event.found_by
        assert not event.n_found or event.delay.total_seconds() == 60 * event.delay_rows
    alone = events(table, scores, sets, detectors=["KNN"])
    assert alone.delay_rows.median() == line["detection_delay@calibration"]
    words = Reader(page.read_text(encoding="utf-8")).words
    for part in ("At every threshold", "Scores over time", f"{len(found)} events."):
        assert part in words
    others = {key: cell._replace(threshold=cell.threshold + 1) for key, cell in scores.items()}
    assert curves(table, others, sets).empty  # of another run, or of another look-ahead


def test_equal_reports_have_equal_figures(table, tmp_path):
    ranked = table[table.metric.isin(["vus_pr", "average_precision"])]
    first, second = (write_report(ranked, tmp_path / name).parent for name in "ab")
    for path in first.glob("*.*"):
        if path.suffix in (".png", ".svg", ".pdf", ".tex", ".md"):
            assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_nothing_names_the_machine(page):
    import platform

    for name in ("index.html", "manifest.json"):
        text = (page.parent / name).read_text()
        assert str(ROOT) not in text and str(page.parent.parent) not in text
        assert f'"{platform.node()}"' not in text


def test_a_report_without_git_and_without_labels(table, sets, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    bare = Dataset("bare", sets[1].X, time=sets[1].time, notes=["bare.csv: decimal commas read"])
    found = rank_unlabelled("KNN", bare, [0], n_random=5)
    flags = compare("KNN", bare, [0], n_random=5)
    page = write_report(flags, tmp_path / "r", datasets=[bare], unlabelled={"bare": found})
    words = Reader(page.read_text(encoding="utf-8")).words
    assert "No labels: no quality is measured here." in words and found.caveat in words
    assert "Note: bare.csv: decimal commas read" in words
    assert "share of test rows flagged" in words and "No winner" not in words
    assert "Headline metric" not in words and "event_recall" not in words  # nothing but dashes
    assert "0 failed or ran out of time, 0 with a warning" in words
    manifest = json.loads((page.parent / "manifest.json").read_text())
    assert manifest["data"]["bare"]["notes"] == ["bare.csv: decimal commas read"]
    assert manifest["commit"] is manifest["dirty"] is manifest["requirements_lock_sha256"] is None


def test_an_earlier_report_is_replaced_and_nothing_else(table, sets, tmp_path):
    folder = tmp_path / "report"
    write_report(table, folder, datasets=sets, title="first")
    write_report(table, folder, datasets=sets, title="second")
    assert "<h1>second</h1>" in (folder / "index.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"report holds what no report wrote \(notes.txt"):
        write_report(table, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file"):
        write_report(table, folder / "notes.txt")


@pytest.mark.parametrize("step", ["_figures", "_manifest", "sections"])
def test_whatever_fails_leaves_the_earlier_report(table, tmp_path, monkeypatch, step):
    folder = tmp_path / "report"
    write_report(table, folder, title="first")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def broken(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(module, step, broken)
    with pytest.raises(OSError, match="disk full"):
        write_report(table, folder, title="second")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_what_is_no_table_of_compare_is_refused(tmp_path):
    with pytest.raises(ValueError, match="it lacks"):
        write_report(pd.DataFrame({"detector": ["KNN"]}), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_scores_with_look_ahead_have_sections_and_figures_of_their_own(tmp_path):
    stream = make_sensor_stream(900, 0.03, random_state=0)
    how = {"n_random": 2, "progress": False}
    both = pd.concat([compare(["KNN"], stream, [0], delay=delay, **how)
                      for delay in (None, "hindsight")])
    page = write_report(both, tmp_path / "report", datasets=[stream])
    words = Reader(page.read_text(encoding="utf-8")).words
    assert "Ranking (causal)" in words and "Ranking (hindsight)" in words
    assert "Scores with look-ahead (hindsight):" in words
    assert {path.name for path in page.parent.glob("*.png")} == {
        "ranking.png", "ranking_hindsight.png"}
    assert min(words.count("(scores: causal)"), words.count("(scores: hindsight)")) > 4
