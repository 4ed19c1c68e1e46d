"""Stored outputs hold on every processor, and are still noticed when they are wrong."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import prose
from chapters import ROOT, normalise
from stored_numbers import NUMBER, check_tolerance, near, settle

TENTH = {"absolute": 0.1, "why": "a network is trained"}


@pytest.mark.parametrize(
    ("stored", "computed", "agree"),
    [
        ("0.94", "0.96", True),
        ("0.94", "0.97", False),
        ("-0.01", "0.01", True),
        ("-0.31", "0.31", False),
        ("1.00", "0.99", True),
        ("57%", "58%", True),
        ("57 %", "60 %", False),
        ("57%", "57", False),
        ("4.8%", "5.1%", False),
        ("1.00e-05", "9.98e-06", True),
        ("1.00e-05", "1.00e-06", False),
        ("1,797.5", "1,797.7", True),
        ("1,797", "1,798", False),
        ("2", "3", False),
        ("1.", "0.999", True),  # as NumPy prints 1.000
        ("1.", "0.", False),
        ("0.5", "0.497", False),  # 0.500 without its zeros
        ("+3", "3", True),
    ],
)
def test_two_units_of_the_last_printed_digit_but_none_of_a_count(stored, computed, agree):
    assert near(stored, computed) == agree
    assert near(computed, stored) == agree


def test_a_tolerance_holds_for_counts_too():
    assert near("263", "265", {"relative": 0.01, "why": "drawn again"})
    assert not near("263", "267", {"relative": 0.01, "why": "drawn again"})
    assert near("0.85", "0.94", TENTH) and not near("0.83", "0.94", TENTH)
    assert near("0.94", "0.96", {"absolute": 0.001, "why": "never below two units"})


def test_a_picture_in_html_is_not_compared_and_its_words_are():
    page = '<p>row {row}</p><img src="data:image/png;base64,{bits}">'
    stored, computed = page.format(row=4, bits="iVBOR/0+=="), page.format(row=4, bits="iVBOX12")
    assert settle(stored, computed) == stored
    assert settle(stored, page.format(row=5, bits="iVBOX12")) == page.format(
        row=5, bits="iVBOR/0+==")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("x1 v1.2.3 192.168.0.1 f1@5", ["5"]),
        ("[ 1.    0.999 -.5]", ["1.", "0.999", "-.5"]),
        ("2024-01-05 07:00", ["2024", "01", "05", "07", "00"]),
        ("10-20, a-1, b=-1, -2", ["10", "20", "1", "-1", "-2"]),
        ("55 % of 1,797 rows, 1.2e+03x. End 3.", ["55 %", "1,797", "1.2e+03", "3."]),
        ("nan inf - + . , e5", []),
    ],
)
def test_numbers_are_found_where_a_reader_sees_them(text, numbers):
    assert NUMBER.findall(text) == numbers


@pytest.mark.parametrize(
    ("stored", "computed"),
    [
        ("mean  9.99\nmax  10.00", "mean  10.00\nmax    9.99"),  # other widths
        ("[ 0.001 0.5  ]", "[-0.001 0.5  ]"),
        ("<td>0.94</td>\n<td>Oracle</td>", "<td>0.95</td>\n<td>Oracle</td>"),
        ("nan of -inf", "nan of -inf"),
    ],
)
def test_what_agrees_becomes_the_stored_text(stored, computed):
    assert settle(stored, computed) == stored


@pytest.mark.parametrize(
    ("stored", "computed", "left"),
    [
        ("a 0.10, b 0.20", "a 0.11, b 0.30", "a 0.10, b 0.30"),  # the report shows what is wrong
        ("a 0.1\nb 0.2", "a 0.1", "a 0.1"),
        ("a 0.1", "a 0.1\nb 0.2", "a 0.1\nb 0.2"),
        ("a 0.1", "a nan", "a nan"),
        ("inf", "-inf", "-inf"),
        ("a 1 2", "a 12", "a 12"),
        ("best: KNN 0.90", "best: PCA 0.90", "best: PCA 0.90"),
    ],
)
def test_what_does_not_agree_is_left_to_be_seen(stored, computed, left):
    assert settle(stored, computed) == left


@pytest.mark.parametrize(
    "tolerance",
    [
        {"absolute": 0.1},
        {"why": "trained"},
        {"absolute": 0.1, "why": " "},
        {"absolute": -1, "why": "trained"},
        {"absolute": float("inf"), "why": "trained"},
        {"absolute": "0.1", "why": "trained"},
        {"absolut": 0.1, "absolute": 0.1, "why": "trained"},
    ],
)
def test_a_tolerance_is_a_size_and_a_reason(tolerance):
    check_tolerance(TENTH)
    with pytest.raises(ValueError, match="tolerance wants"):
        check_tolerance(tolerance)


def said(text):
    return [new_output("stream", text=text + "\n")]


def shown(rows):
    """The stored form of a table of one column."""
    html = "".join(f"<tr><td>{value}</td></tr>\n" for value in rows)
    data = {"text/plain": "\n".join(map(str, rows)), "text/html": f"<table>\n{html}</table>"}
    return [new_output("execute_result", data=data, execution_count=1)]


TABLE = """class Table:
    def __repr__(self): return %r
    def _repr_html_(self): return %r
Table()"""
TWO_ROWS = TABLE % tuple(shown(["0.94", "0.50"])[0].data.values())
ERROR = [new_output("error", ename="ValueError", evalue="no", traceback=[])]
PRINTS = "print('recall 0.94 of 12')"
CELLS = {  # source, stored outputs, tolerance
    "same": (PRINTS, said("recall 0.94 of 12"), None),
    "near": (PRINTS, said("recall 0.96 of 12"), None),
    "falsified": (PRINTS, said("recall 0.97 of 12"), None),
    "falsified count": (PRINTS, said("recall 0.94 of 11"), None),
    "changed sign": (PRINTS, said("recall -0.94 of 12"), None),
    "changed word": (PRINTS, said("precision 0.94 of 12"), None),
    "not a number": (PRINTS, said("recall nan of 12"), None),
    "missing line": (PRINTS, said("recall 0.94 of 12\nrecall 0.95 of 12"), None),
    "extra line": ("print('recall 0.94\\nrecall 0.95')", said("recall 0.94"), None),
    "near, in two streams": ("print('a 1.0')\nprint('b 2.0')", said("a 1.1\nb 1.9"), None),
    "other stream": (
        PRINTS, [new_output("stream", name="stderr", text="recall 0.94 of 12\n")], None
    ),
    "deleted": (PRINTS, [], None),
    "added": ("", said("recall 0.94 of 12"), None),
    "near table": (TWO_ROWS, shown(["0.93", "0.51"]), None),
    "falsified table": (TWO_ROWS, shown(["0.94", "0.54"]), None),
    "missing row": (TWO_ROWS, shown(["0.94", "0.50", "0.20"]), None),
    "extra row": (TWO_ROWS, shown(["0.94"]), None),
    "fails": ("raise ValueError('no')", said("recall 0.94"), None),
    "failed": (PRINTS, ERROR, None),
    "near enough to train": (PRINTS, said("recall 0.85 of 12"), TENTH),
    "beyond its tolerance": (PRINTS, said("recall 0.80 of 12"), TENTH),
    "tolerance without reason": (PRINTS, said("recall 0.94 of 12"), {"absolute": 0.1}),
}
GREEN = {"same", "near", "near, in two streams", "near table", "near enough to train"}


def test_nbval_bites_where_a_stored_output_is_wrong(tmp_path):
    cells = [
        new_code_cell(
            source,
            outputs=outputs,
            execution_count=1,
            metadata={"tolerance": tolerance} if tolerance else {},
        )
        for source, outputs, tolerance in CELLS.values()
    ]
    nb = normalise(new_notebook(cells=cells))  # what refresh writes
    nbformat.validate(nb)  # so that other comparers, pytest-notebook for one, can read it
    nbformat.write(nb, tmp_path / "cells.ipynb")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["stored_numbers"]')
    options = ("-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "no:cacheprovider")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--junitxml", tmp_path / "result.xml", tmp_path],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    cases = list(ElementTree.parse(tmp_path / "result.xml").iter("testcase"))
    assert len(cases) == len(CELLS), run.stdout
    green = {
        name
        for name, case in zip(CELLS, cases, strict=True)
        if case.find("failure") is None and case.find("error") is None
    }
    assert green == GREEN, run.stdout


def test_one_notebook_alone_is_compared_like_all_of_them():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q",
         "notebooks/00_index.ipynb"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert "recorded metrics" in run.stdout, run.stdout + run.stderr


@pytest.mark.parametrize(("claim", "shown", "missing"), [
    ("57 %", "0.57", False), ("57 %", "5.7", True), ("0.57", "57", True), ("1,234", "1234", False),
    ("5-7 rows", "5 7", False), ("\u2212.5", "-0.5", False), ("1e-3", "0.001", False)])
def test_numbers_of_the_text_are_looked_for_in_the_outputs(claim, shown, missing):
    cell = new_code_cell("x", outputs=[new_output("stream", text=shown)])
    nb = new_notebook(cells=[new_markdown_cell(f"## The idea\n\n{claim}"), cell])
    assert bool(prose.unsupported(nb)) == missing
