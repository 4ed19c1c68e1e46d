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


@pytest.mark.parametrize("content", ["", "[1]", "{", "\x00", "\xff", '{"02.1": true}', "[" * 9999])
def test_a_spoilt_file_of_grades_is_begun_again(kept, content):
    kept.write_text(content, "latin-1")
    progress("02")
    check("02.1", 18)
    assert set(json.loads(kept.read_text())) == {"02.1"}


def test_nothing_is_kept_where_nobody_works(tmp_path, monkeypatch):
    monkeypatch.setattr(exercises, "_graded", {})
    monkeypatch.delenv("ADLIB_PROGRESS", raising=False)
    check("02.1", 18)
    assert exercises._kept_in() is None
    monkeypatch.setattr(exercises, "attended", lambda: True)
    assert exercises._kept_in().parts[-2:] == ("notebooks", "progress.json")


def test_the_last_answer_counts_in_whichever_kernel(kept, monkeypatch):
    check("02.1", 18)
    check("02.1", 17)
    assert json.loads(kept.read_text())["02.1"]["passed"] is False
    newer = {"passed": True, "message": "right", "time": "2999-01-01"}
    kept.write_text(json.dumps({"02.1": newer}))  # by another kernel
    check("02.2", None)
    assert json.loads(kept.read_text())["02.1"] == newer


def test_a_verdict_is_printed_where_nothing_can_be_kept(kept, capsys):
    kept.mkdir()
    check("02.1", 18)
    verdict, note = capsys.readouterr().out.splitlines()
    assert verdict.startswith("02.1: right") and note.startswith("(Kept in this kernel only: ")
    progress("2")
    assert "1 of 3 solved" in capsys.readouterr().out


def test_an_answer_that_ends_the_kernel_is_wrong(capsys):
    check("02.2", lambda values, w: exit(1))
    assert "With your answer came SystemExit" in capsys.readouterr().out


def test_a_chapter_without_exercises_is_named():
    with pytest.raises(ValueError, match=r"chapter: no exercises for '99'. There are: 00, 01"):
        progress("99")


# ------------------------------------------------------------------ a class

IMPORT = "from exercises import check"
HANDED_IN = {
    "anna/02_online_zscore.ipynb": [IMPORT, RIGHT, 'check("02.2", None)'],
    "anna/07_metrics.ipynb": [IMPORT, 'check("07.1", ...)'],
    "ben-02_online_zscore.ipynb": [IMPORT, "1 / 0", WRONG, RIGHT],
    "carl/02_online_zscore.ipynb": ["from exercises import check\nimport time",
                                    "while True: time.sleep(.1)", RIGHT],
    "dora/02_online_zscore.ipynb": ["def check(name, answer): print('02.1: right.')", WRONG],
    "gina/my work.ipynb": ["import os", "kept = os.environ['ADLIB_PROGRESS']",
                           "open(kept, 'wb').write(b'\\xff')", IMPORT, RIGHT],
    "-h\u00e4ns/02_online_zscore.ipynb": [IMPORT, RIGHT, "import os\nos._exit(1)"],
    "emil/02_online_zscore.ipynb": ["import sys\nsys.path.insert(0, '.')", IMPORT, WRONG],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for name, cells in HANDED_IN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        nbformat.write(new_notebook(cells=[new_code_cell(each) for each in cells]), folder / name)
    (folder / "emil" / "exercises.py").write_text("def check(name, answer): print('right')")
    for student, text in {"fred": "no notebook at all", "fritz": "[1]"}.items():
        (folder / student).mkdir()
        (folder / student / "02_online_zscore.ipynb").write_text(text)
    (folder / "nobody.ipynb").symlink_to("/nowhere.ipynb")
    (folder / "anna" / "05.ipynb").mkdir()
    julia = folder / "-h\u00e4ns" / "02_online_zscore.ipynb"
    nb = nbformat.read(julia, 4)
    nb.metadata["kernelspec"] = {"name": "julia", "display_name": "Julia", "language": "julia"}
    nbformat.write(nb, julia)
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
    assert rows["gina"] == rows["-h\u00e4ns"] == ["1/3", "-", "1"]
    assert rows["dora"] == rows["fritz"] == rows["emil"] == rows["fred"] == ["0/3", "-", "0"]
    notes = "\n".join(line for line in lines if line.startswith("  "))
    for what in ("1 cells raised, the first ZeroDivisionError", "did not end within 20 s",
                 "changes or names check: read it", "names ADLIB_PROGRESS: read it",
                 "the kernel died", "no notebook: AttributeError", "no notebook: NotJSONError"):
        assert what in notes
    with out.open(newline="") as file:
        table = list(csv.DictReader(file))
    states = {(row["student"], row["exercise"]): row["state"] for row in table}
    assert states["anna", "02.1"] == "right" and states["anna", "02.2"] == "wrong"
    assert states["anna", "07.1"] == "open" and states["emil", "02.1"] == "wrong"
    assert sorted(path.name for path in folder.rglob("*")) == before, "what was handed in stays"


@pytest.mark.parametrize("odd", ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "\t=1+1",
                                 "\x1b[2J\u202eanna", "caf\udce9", "a\nb,\"c", "k" * 5_000])
def test_no_name_or_message_acts_on_who_reads_the_grades(odd, tmp_path):
    one = grade.Graded(odd, odd, "02", {"02.1": {"passed": True, "message": odd}}, odd)
    text = grade.table([one])
    assert text.replace("\n", "").isprintable() and len(text.splitlines()) == 3
    grade.write([one], tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert len(rows) >= 3 and {len(row) for row in rows} == {len(head)}
    for cell in (cell for row in rows for cell in row):
        assert cell.isprintable() and not cell.startswith(("=", "+", "-", "@"))


def test_an_empty_folder_is_refused_in_one_sentence(tmp_path, capsys):
    assert grade.main([str(tmp_path)]) == 2
    assert "FOLDER: no notebook in" in capsys.readouterr().err
