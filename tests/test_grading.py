"""Grades outlive the kernel, and a class's notebooks are graded by one command."""

import csv
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import exercises
import grade
from exercises import check, progress

RIGHT, WRONG = 'check("02.1", 18)', 'check("02.1", 17)'


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where grades go, and a kernel that has none yet."""
    monkeypatch.setattr(exercises, "_graded", {})
    monkeypatch.setenv("ADLIB_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


def another_kernel(monkeypatch):
    monkeypatch.setattr(exercises, "_graded", {})


def test_a_grade_outlives_the_kernel(kept, monkeypatch, capsys):
    check("02.1", 17)
    check("02.1", 18)
    another_kernel(monkeypatch)
    check("02.2", None)
    another_kernel(monkeypatch)
    capsys.readouterr()
    progress("02")
    assert capsys.readouterr().out == "1 of 3 solved; left: 02.2, 02.3\n"
    progress()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("02: 1 of 3") and shown[1].startswith("1 of ") and len(shown) == 2
    assert json.loads(kept.read_text())["02.1"]["passed"] is True


def test_an_open_answer_takes_nothing_back_and_writes_nothing(kept, capsys):
    check("02.1", ...)
    assert not kept.exists()
    check("02.1", 18)
    check("02.1", ...)
    assert json.loads(kept.read_text())["02.1"]["passed"] is True


@pytest.mark.parametrize("content", ["", "[1]", "{", "\x00"])
def test_a_spoilt_file_of_grades_is_begun_again(kept, content):
    kept.write_text(content)
    check("02.1", 18)
    assert set(json.loads(kept.read_text())) == {"02.1"}


def test_nothing_is_kept_where_nobody_works(tmp_path, monkeypatch):
    monkeypatch.setattr(exercises, "_graded", {})
    monkeypatch.delenv("ADLIB_PROGRESS", raising=False)
    check("02.1", 18)
    assert exercises._kept_in() is None
    monkeypatch.setattr(exercises, "attended", lambda: True)
    assert exercises._kept_in().parts[-2:] == ("notebooks", "progress.json")


# ------------------------------------------------------------------ a class

IMPORT = "from exercises import check"
HANDED_IN = {
    "anna/02_online_zscore.ipynb": [IMPORT, RIGHT, 'check("02.2", None)'],
    "anna/07_metrics.ipynb": [IMPORT, 'check("07.1", ...)'],
    "ben-02_online_zscore.ipynb": [IMPORT, "1 / 0", WRONG, RIGHT],
    "carl/02_online_zscore.ipynb": ["from exercises import check\nimport time",
                                    "while True: time.sleep(.1)", RIGHT],
    "dora/02_online_zscore.ipynb": ["def check(name, answer): print('02.1: right.')", WRONG],
    "emil/02_online_zscore.ipynb": ["import sys\nsys.path.insert(0, '.')", IMPORT, WRONG],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for name, cells in HANDED_IN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        nbformat.write(new_notebook(cells=[new_code_cell(each) for each in cells]), folder / name)
    (folder / "emil" / "exercises.py").write_text("def check(name, answer): print('right')")
    (folder / "fred").mkdir()
    (folder / "fred" / "02_online_zscore.ipynb").write_text("no notebook at all")
    return folder


def test_a_class_is_graded_and_nothing_stops_it(folder, tmp_path, capsys):
    before = sorted(path.name for path in folder.rglob("*"))
    out = tmp_path / "grades.csv"
    assert grade.main([str(folder), "--out", str(out), "--timeout", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["student", "02", "07", "sum"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:] if not line.startswith("  ")}
    assert rows["anna"] == ["1/3", "0/3", "1"] and rows["ben"] == ["1/3", "-", "1"]
    assert rows["carl"] == ["1/3", "-", "1"], "the answer behind a cell that did not end"
    assert rows["dora"] == rows["emil"] == rows["fred"] == ["0/3", "-", "0"]
    notes = "\n".join(line for line in lines if line.startswith("  "))
    for what in ("1 cells raised, the first ZeroDivisionError", "did not end within 20 s",
                 "defines check anew: read it", "no notebook: NotJSONError"):
        assert what in notes
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))
    states = {(row["student"], row["exercise"]): row["state"] for row in table}
    assert states["anna", "02.1"] == "right" and states["anna", "02.2"] == "wrong"
    assert states["anna", "07.1"] == "open" and states["emil", "02.1"] == "wrong"
    assert sorted(path.name for path in folder.rglob("*")) == before, "what was handed in stays"


def test_an_empty_folder_is_refused_in_one_sentence(tmp_path, capsys):
    assert grade.main([str(tmp_path)]) == 2
    assert "FOLDER: no notebook in" in capsys.readouterr().err
