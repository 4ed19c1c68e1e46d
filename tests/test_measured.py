"""docs/measured.md is what tools/measured.py writes from benchmarks/results.yaml."""

import sys
from pathlib import Path

import pytest
import yaml

import measured

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import results

    monkeypatch.setattr(results, "RECORD", tmp_path / "results.yaml")
    monkeypatch.setattr(results, "ITEMS", tmp_path / "items")
    yield results
    sys.modules.pop("results")


def test_the_page_is_what_the_record_says():
    record = yaml.safe_load(measured.RECORD.read_text(encoding="utf-8"))
    assert measured.PAGE.read_text(encoding="utf-8") == measured.page(record), (
        "python tools/measured.py")


def test_every_entry_names_a_script_its_command_and_its_commits():
    for name, entry in yaml.safe_load(measured.RECORD.read_text(encoding="utf-8")).items():
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
        assert f"benchmarks/{name}.py" in entry["command"], name
        assert entry["after"].keys() == {"commit", "date"}, name
        assert all(one["what"] for one in entry["figures"].values()), name


@pytest.mark.parametrize(("figure", "expected"), [
    ({"before": 1.0, "after": 1.3, "unit": "ms", "better": "low"}, "worse"),
    ({"before": 1.0, "after": 1.2, "unit": "ms", "better": "low"}, "level"),
    ({"before": 0.70, "after": 0.69, "better": "high"}, "level"),
    ({"before": 0.70, "after": 0.68, "better": "high"}, "worse"),
    ({"before": 0.70, "after": 0.68, "better": "high", "change": [-0.02, -0.05, 0.01]}, "level"),
    ({"before": 0.70, "after": 0.72, "better": "high", "change": [0.02, 0.01, 0.03]}, "better"),
    ({"before": 0.5, "before_low": 0.4, "before_high": 0.6, "after": 0.62, "low": 0.52,
      "high": 0.72, "better": "high"}, "level"),
    ({"before": 0.5, "before_low": 0.4, "before_high": 0.6, "after": 0.65, "low": 0.55,
      "high": 0.75, "better": "high"}, "better"),
    ({"before": 0.5, "before_low": 0.4, "before_high": 0.6, "after": 0.39, "better": "high"},
     "worse"),
    ({"before": None, "after": 1.0, "better": "high"}, "new"),
    ({"before": 3, "after": 1.0}, ""),
])
def test_a_change_is_judged_by_its_interval_or_by_the_stated_rule(figure, expected):
    assert measured.verdict(figure) == expected


def test_a_figure_keeps_its_other_side_and_pairs_the_sets(results):
    sets = [f"s{i}" for i in range(6)]
    figure = {"what": "AUC", "better": "high", "goal": 0.9}
    for when, value in (("before", 0.7), ("after", 0.8123)):
        each = {name: value + i / 100 for i, name in enumerate(sets)}
        results.keep("nab", when, "python benchmarks/nab.py", {
            "auc": figure | {"value": value, "low": value - 0.1, "high": value + 0.1,
                             "each": each}})
    entry = yaml.safe_load(results.RECORD.read_text())["nab"]
    assert entry["figures"]["auc"] == figure | {
        "before": 0.7, "before_low": 0.6, "before_high": 0.8, "after": 0.812, "low": 0.712,
        "high": 0.912, "change": [0.112, 0.112, 0.112]}
    assert entry["before"].keys() == entry["after"].keys() == {"commit", "date"}
    page, pair = measured.page({"nab": entry}), "+0.112 [+0.112, +0.112]"
    assert f"| AUC | 0.7 [0.6, 0.8] | 0.812 [0.712, 0.912] | {pair} | better" in page
    assert ">= 0.9, missed" in page.partition("## Goals that are missed")[2]
