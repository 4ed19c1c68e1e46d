"""The leaderboard: its page says what its numbers say, and its numbers are those of the code."""

import copy
import json
import re
import shutil

import numpy as np
import pytest

import chapters
import leaderboard
from adlib.compare import compare


@pytest.fixture
def record():
    return leaderboard.read(leaderboard.KEPT)


def moved(record, ranking, detector, by):
    """The record with all values of a detector in a ranking moved."""
    other = copy.deepcopy(record)
    role, numbers = other["rankings"][ranking]["detectors"][detector]
    numbers = " ".join(f"{float(number) + by:.3f}" for number in numbers.split())
    other["rankings"][ranking]["detectors"][detector] = [role, numbers]
    return other


def test_the_committed_page_says_what_its_numbers_say(record):
    page = leaderboard.KEPT.with_suffix(".md").read_text(encoding="utf-8")
    assert page == leaderboard.page(record)
    assert not re.search(r"\b(nan|inf)\b", page)
    for picture in re.findall(r"\]\((.*?\.png)\)", page):
        assert leaderboard.KEPT.with_name(picture).exists()


@pytest.mark.parametrize("ranking", leaderboard.RANKINGS)
def test_the_order_is_that_of_the_shown_means(record, ranking):
    lines = leaderboard.ranked(record, ranking)
    detectors = lines[lines.role != "chance"]
    assert detectors["mean"].is_monotonic_decreasing and len(detectors) > 10
    shown = detectors["mean"].round(2)
    assert detectors.place.astype(int).tolist() == [(shown > mean).sum() + 1 for mean in shown]
    assert lines.detector.iloc[-1] == "chance" and lines["mean"].iloc[-1] < shown.iloc[0] - 0.2
    assert {"detector", "baseline"} <= set(lines.role)


def test_every_source_counts_once_and_looks_ahead_are_apart(record):
    table = leaderboard.by_source(record, "causal")
    assert len(leaderboard.values(record, "causal")) > 50 and table.dataset.nunique() == 6
    looks = [set(leaderboard.by_source(record, name).look_ahead) for name in leaderboard.RANKINGS]
    assert looks == [{"causal"}, {"causal"}, {"delay of 10 rows"}, {"hindsight"}]
    assert len(leaderboard.by_kind(record)) == 12


def test_data_and_numbers_of_the_record_are_those_of_the_code(record):
    sets = leaderboard.tables()
    facts = {line["source"]: line for line in record["sets"]}
    for line in leaderboard.facts(sets + leaderboard.series()):
        assert line == facts[line["source"]]  # generated sets have no fingerprint
    found = compare(["KNN", "PCAReconstruction"], sets, [0], metrics=["average_precision"],
                    intervals=False, n_random=5, baselines=False, progress=False)
    kept = leaderboard.values(record, "tables")
    for (name, data), value in found.set_index(["detector", "dataset"]).value.items():
        assert value == pytest.approx(kept.loc[data, name], abs=leaderboard.TOLERANCE)


def test_what_departs_from_the_record_is_named(record):
    assert leaderboard.differences(record, record) == []
    assert leaderboard.differences(moved(record, "causal", "KNN", 0.04), record) == []
    (said,) = leaderboard.differences(moved(record, "causal", "KNN", -0.06), record)
    assert re.fullmatch(r"Series, causal scores: KNN has 0\.\d\d, committed is 0\.\d\d", said)
    failed = moved(record, "causal", "KNN", np.nan)
    assert leaderboard.differences(failed, record) == [
        "Series, causal scores: KNN failed on a source"]
    role, line = record["rankings"]["causal"]["detectors"]["KNN"]
    part = copy.deepcopy(record)
    part["rankings"]["causal"]["detectors"]["KNN"] = [role, "nan " + line.partition(" ")[2]]
    table = leaderboard.by_source(part, "causal").query("detector == 'KNN'")
    assert table.value.isna().sum() == (table.status == "failed").sum() == 1
    other = copy.deepcopy(record)
    del other["rankings"]["tables"]["detectors"]["KNN"]
    assert leaderboard.differences(other, record) == ["Tables: KNN stands in one of the two only"]


def test_the_index_says_where_the_copy_is_and_whether_it_agrees(record, tmp_path):
    place = tmp_path / "reports" / "html" / "leaderboard.json"
    place.parent.mkdir(parents=True)
    runs = [chapters.Run("leaderboard", 1.0, "")]

    def index(found):
        place.write_text(json.dumps(found), encoding="utf-8")
        return " ".join(chapters.build_reports(runs, root=tmp_path).read_text("utf-8").split())

    shutil.copy(leaderboard.KEPT.with_suffix(".md"), place.with_suffix(".md"))
    said = index(record)
    assert 'href="html/leaderboard.html"' in said and "within 0.05" in said
    page = place.with_suffix(".html").read_text(encoding="utf-8")
    assert "Who finds which kind of anomaly" in page and "<table>" in page
    assert 'href="../../notebooks/05_model_comparison.ipynb"' in page
    said = index(moved(record, "tables", "KNN", -0.2))
    assert "it departs from the committed" in said and "Tables: KNN has" in said
    runs[0] = chapters.Run("leaderboard", 1.0, "ValueError: no")
    assert "The leaderboard failed: ValueError: no" in index(record)
