"""Chapter 00 and what it is made of: decisions, calls, words, findings; a start elsewhere."""

import json
import re
import shlex
import subprocess
import sys

import nbformat
import pytest
import yaml
from sklearn import ensemble

import adlib
import chapters
import choosing
from adlib import compare, datasets, detectors, explain, metrics, persist, thresholds

ROOT = chapters.ROOT
INDEX = {cell["id"]: cell for cell in nbformat.read(ROOT / "notebooks" / "00_index.ipynb", 4).cells}


def numbered():
    """The chapters' numbers, without 00, with the figures that each has committed."""
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        recorded = json.loads((path.parent / "expected" / f"{path.stem}.json").read_text())
        if path.stem[:2] != "00":
            yield path.stem[:2], recorded


# ------------------------------------------------------------------ which detector, and so on


def test_the_page_on_choosing_is_what_was_measured():
    assert choosing.PAGE.read_text() == choosing.page(), (
        "make refresh NOTEBOOKS=00_index writes it again")


def test_what_is_best_comes_out_on_top():
    high = choosing.Choice("p", "w", "m", "u", {"a": (0.4, 0.2), "b": 0.5, "c": 0.1}, "06")
    assert high.ranked() == ["b", "a", "c"]
    low, near = (choosing.Choice("p", "w", "m", "u", high.options, "06", best=best, form=".0%")
                 for best in ("low", 0.29))
    assert low.ranked() == ["c", "a", "b"] and near.ranked() == ["a", "c", "b"]
    assert near.figures("a") == "40 % and 20 %"


def test_a_figure_that_is_gone_is_named():
    with pytest.raises(KeyError, match="chapter 06 records no 'gone', but"):
        choosing.measured("06", "gone")
    with pytest.raises(KeyError, match="no figures .9,. of 'KNN'"):
        choosing.row("tabular", "KNN", 9)
    with pytest.raises(KeyError, match="says nothing like"):
        choosing.sentence("tabular", "no such words")


def test_what_is_recommended_exists():
    modules = (adlib, compare, detectors, detectors.trivial, metrics, thresholds, ensemble)
    known = {name for module in modules for name in dir(module)}
    for choice in choosing.choices():
        for name in choice.options:
            for code in re.findall(r"`(\w+)", name):
                assert code in known, f"{choice.more}: there is no {code}"


def test_every_part_of_the_page_has_its_chart():
    page = choosing.PAGE.read_text()
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == list(choosing.PARTS)
    figures = [out for out in INDEX["charts"].outputs if "image/png" in out.get("data", {})]
    assert len(figures) == len(choosing.PARTS)


# ------------------------------------------------------------------ ten calls, thirty words


def test_the_ten_calls_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = INDEX["calls"].source
    calls = re.findall(r"\| `(.+)` \|$", source, re.MULTILINE)
    assert len(calls) == 10
    (imports,) = re.findall(r"`(from adlib import .+?)`", source)
    rows = [f"{i % 7},{i % 5},{int(i % 20 == 7)}" for i in range(400)]
    (tmp_path / "my.csv").write_text("\n".join(["flow,pressure,label", *rows]) + "\n")
    names = {}
    exec(imports, names)
    for call in calls:
        exec(call, names)
    assert len(names["mine"]) == 400 and names["same"].threshold_ == names["detector"].threshold_
    given = (compare, datasets, detectors, explain, metrics, persist, thresholds)
    assert all(names[module.__name__.split(".")[1]] is module for module in given)


def test_thirty_words_are_shown_with_those_of_the_field():
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    words = re.findall(r"^\| \*\*(.+?)\*\* \| (.*?) \| (.+?) \|$", glossary, re.MULTILINE)
    assert len(words) == len({ours for ours, _, _ in words}) == 30
    assert [ours for ours, field, _ in words if not field.strip()] == []
    (shown,) = INDEX["glossary"].outputs
    for ours, field, meaning in words:
        assert f"| **{ours}** | {field} | {meaning} |" in shown.data["text/markdown"]


# ------------------------------------------------------------------ what was found


def test_every_chapter_says_what_it_found():
    templates = yaml.safe_load((ROOT / "notebooks" / "findings.yaml").read_text())
    recorded = dict(numbered())
    assert templates.keys() == recorded.keys()
    for number, template in templates.items():
        sentence = chapters.found(template, recorded[number])
        assert sentence.endswith("."), f"{number} records {sorted(recorded[number])}"
        assert re.search(r"\d", sentence) and "_" not in sentence


def test_the_index_shows_every_chapter():
    (table,) = INDEX["table-of-chapters"].outputs
    shown = re.findall(r"^\| \[(\d\d) ", table.data["text/markdown"], re.MULTILINE)
    assert sorted(shown) == [number for number, _ in numbered()]


def test_no_code_is_in_the_way():
    shown = [name for name, cell in INDEX.items() if cell.cell_type == "code"
             and "hide-input" not in cell.metadata.get("tags", [])]
    assert shown == ["answer-1"]  # the exercise


# ------------------------------------------------------------------ without an installation


def test_the_development_container_sets_up_what_the_makefile_knows():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert settings["image"].endswith("python:3.11")  # the oldest version that is supported
    make, *targets = shlex.split(settings["postCreateCommand"])
    makefile = (ROOT / "Makefile").read_text()
    assert make == "make" and all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets)
    assert settings["forwardPorts"] == [8888, 8765]  # JupyterLab's own, and that of `make live`
    assert {str(port) for port in settings["forwardPorts"]} == settings["portsAttributes"].keys()


def test_progress_is_shown_where_torch_is_not_installed():
    code = ("import runpy; runpy.run_path('tools/without_torch.py')\n"
            "from adlib import notebooks; import exercises; print(len([*exercises.exercises()]))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) > 60, done.stderr


def test_one_cell_starts_a_chapter_elsewhere():
    cells = [re.findall(r"^```ipython\n(.+?)^```", text, re.MULTILINE | re.DOTALL)
             for text in ((ROOT / "README.md").read_text(), INDEX["without-installing"].source)]
    assert cells[0] == cells[1] and len(cells[0]) == 1
    wanted = re.search(r"\[(.+)\]", cells[0][0])[1].split(",")
    extras = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", extras, re.MULTILINE) for extra in wanted)
    assert "/notebooks" in cells[0][0] and (ROOT / "notebooks" / "exercises").is_dir()


@pytest.mark.parametrize("template", ["{a.b}", "{a:.0q}", "{", "{0}", "{a[0]}"])
def test_a_finding_that_cannot_be_filled_in_is_shown(template):
    with pytest.raises(ValueError, match=r"findings.yaml: '\{.* cannot be filled in"):
        chapters.found(template, {"a": {"value": 0.5, "tolerance": 0.1}})


def test_findings_are_sentences_by_chapter(tmp_path):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "findings.yaml"
    path.write_text("")
    assert chapters._findings(tmp_path) == {}
    for wrong in ("2: found\n", '"02":\n'):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=r'findings.yaml: wants "02": a sentence, got '):
            chapters._findings(tmp_path)
