"""The committed notebooks are clean, their numbers hold, and the machinery notices when not."""

import ast
import base64
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from copy import deepcopy
from importlib.util import find_spec

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import chapters
from adlib import notebooks
from formulas import formulas, mathml
from prose import size as prose_size
from prose import unplain, unsupported
from stored_numbers import check_tolerance

CHAPTERS = notebooks.ROOT / "tools" / "chapters.py"
COMMITTED = sorted((notebooks.ROOT / "notebooks").glob("*.ipynb"))
SECTIONS = (
    "Goal",
    "The idea",
    "In code",
    "The picture",
    "What it means",
    "What goes wrong",
    "Exercises?",
)
GOAL = (
    r"## Goal\n\n\* \*\*Level:\*\* (?:introductory|intermediate|advanced)\n"
    r"\* \*\*Time:\*\* about (\d+) minutes.*\n\* \*\*Before it:\*\* .+\n(?:  .+\n)*"
    r"\* \*\*You can already:\*\* .+\n(?:  .+\n)*\* \*\*You will:\*\*"
)
TOOL = "05_model_comparison"  # a page that reads as a report: no lesson, and no exercise
TOOL_SECTIONS = (
    "Run it on your table",
    "The data",
    "The comparison",
    "The verdict",
    "The ranking",
    "The differences",
    "Curves and events",
    "The audit",
    "Without labels",
    "What to do next",
    "The report",
)
LOCAL = re.compile(r"0x[0-9a-f]{6,}|(?<![\w.])/(?:home|root|tmp|work|Users|mnt|var)/|[A-Z]:\\Users")
CLOCK = re.compile(r"wall time|cpu times|elapsed|\bit/s\b|per loop", re.IGNORECASE)
INDEX = "00_index"  # a page to begin with: no lesson
INDEX_SECTIONS = (
    "The chapters",
    "Which detector, which threshold, which metric",
    "Ten calls",
    "Thirty words",
    "A course",
    "Without an installation",
    "When you are stuck",
    "Exercises",
)
SHAPES = {TOOL: (TOOL_SECTIONS, 8, 800), INDEX: (INDEX_SECTIONS, 0, 600)}


def problems(path):
    """What keeps the notebook at `path` from being committed, as a list of sentences."""
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    text = [cell for cell in nb.cells if cell.cell_type == "markdown"]
    prose = "\n\n".join(cell.source for cell in text)
    tags = [tag for cell in code for tag in cell.metadata.get("tags", [])]
    outputs = [output for cell in code for output in cell.outputs]
    mimes = {mime for output in outputs for mime in output.get("data", {})}
    reference = path.parent / "expected" / f"{path.stem}.json"
    expected = json.loads(reference.read_text()) if reference.exists() else {}
    headings = re.findall(r"^## (.+)$", prose, re.MULTILINE)
    sections, excused, most = SHAPES.get(path.stem, (SECTIONS, 3, 600))
    size, goal = prose_size(nb), re.search(GOAL, prose)
    stated = int(goal[1]) if goal else None
    order = [
        next((i for i, heading in enumerate(headings) if re.match(rf"{name}\b", heading)), None)
        for name in sections
    ]

    def unclean_parameters():
        if tags.count("parameters") != 1 or "parameters" not in code[0].metadata.get("tags", []):
            return "the first code cell, and no other, is tagged 'parameters'"
        for statement in ast.parse(code[0].source).body:
            try:
                ast.literal_eval(statement.value)
            except (AttributeError, ValueError):
                return f"parameters hold literals only: {ast.unparse(statement)}"
        if code[0].source.startswith("# Parameters\n"):
            return "a parameters cell must not begin with papermill's own '# Parameters'"
        return ""

    def unclean_tolerance(cell):
        try:
            check_tolerance(cell.metadata.get("tolerance", {"absolute": 1, "why": "none"}))
        except ValueError as error:
            return str(error)
        return ""

    def folded(cell):
        return chapters.FOLDED if "hide-input" in cell.metadata.get("tags", []) else None

    def shows(source):
        last = ast.unparse(ast.parse(source).body[-1])
        return source.rstrip().endswith("plt.show()") or last.startswith("notebooks.slider(")

    def volatile(cell):
        shown = "\n".join(
            output.get("text", "") + output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        timed = "nbval-ignore-output" in cell.metadata.get("tags", [])
        found = LOCAL.search(shown) or LOCAL.search(cell.source)
        return found or (CLOCK.search(shown) if not timed else None)

    def unreadable(source):
        for tex, display in formulas(source):
            try:
                mathml(tex, display=display)
            except ValueError as error:
                return str(error)
        return ""

    checks = {
        "cells are executed 1..n (make refresh), or nbval compares nothing": (
            [cell.execution_count for cell in code] != list(range(1, len(code) + 1))
        ),
        "something went to stderr": any(o.get("name") == "stderr" for o in outputs),
        "an error is stored": any(o.output_type == "error" for o in outputs),
        "cells are excused with nbval-ignore-output only, three at most (the tool: eight)": (
            tags.count("nbval-ignore-output") > excused
            or {"nbval-skip", "nbval-raises-exception", "raises-exception"} & set(tags)
            or any("NBVAL_" in cell.source for cell in code)
        ),
        unclean_parameters(): unclean_parameters(),
        "the second code cell calls notebooks.setup(": "notebooks.setup(" not in code[1].source,
        "metadata is normalised (make refresh)": (
            nb.metadata.get("kernelspec", {}).get("name") != "python3"
            or set(nb.metadata) != {"kernelspec", "language_info"}
            or any(set(cell.metadata) - set(chapters.CELL_METADATA) for cell in nb.cells)
            or any(cell.metadata.get("jupyter") != folded(cell) for cell in nb.cells)
        ),
        **{sentence: sentence for sentence in map(unclean_tolerance, code)},
        **{sentence: sentence for sentence in (unreadable(cell.source) for cell in text)},
        "volatile text (address, path, time)": any(map(volatile, code)),
        "first cell: '# title', then a question": not re.match(r"# .+\n(.|\n)*\?", text[0].source),
        f"sections missing or out of order, wanted {sections}": (
            None in order or order != sorted(order)
        ),
        "the goal says level, time, what comes before, what one can already and will": (
            path.stem[:2] not in ("00", "05") and not re.search(GOAL, prose)
        ),
        f"the goal says {stated} minutes, tools/prose.py counts {size.minutes:.0f}": (
            stated is not None and abs(stated - size.minutes) > 5
        ),
        "a shown cell has more than 20 lines: split it, or fold what does not teach": (
            size.longest > 20
        ),
        "half of the shown cells have more than 8 lines": size.median > 8,
        **{f"shown nowhere: {number}": number for number in unsupported(nb)
           if path.stem != "00_index"},  # a page: a timetable and references
        **{word: word for cell in nb.cells for word in unplain(cell.source)},
        "too little text for its code": len(text) < 0.6 * len(code),
        "images are local: reports are read offline": re.search(
            r"\]\(https?://[^)]*\.(png|svg|jpe?g|gif)|<img", prose
        ),
        "no figure": "image/png" not in mimes,
        "a figure is SVG": "image/svg+xml" in mimes,
        "a cell that plots ends with plt.show() or notebooks.slider(...)": any(
            not shows(cell.source)
            for cell in code
            if any("image/png" in output.get("data", {}) for output in cell.outputs)
        ),
        f"no notebooks.record({path.stem!r}, ...)": not any(
            re.search(rf"notebooks\.record\(\s*[\"']{path.stem}[\"']", cell.source) for cell in code
        ),
        f"expected/{reference.name} compares no metric (make refresh)": all(
            metric["tolerance"] is None for metric in expected.values()
        ),
        f"larger than {most} kB": path.stat().st_size > 1000 * most,
    }
    return [sentence for sentence, violated in checks.items() if violated]


def test_formulas_are_set_as_mathjax_sets_them():
    spread = mathml(r"\operatorname{median} | x - \left( \sum_i x_i \right) |", display=True)
    assert spread.count('lspace="0"') == 2, "a bar stands at what it encloses"
    assert "median</mi><mspace" in spread, "a name stands apart from what it is of"
    assert "<munder><mo>\u2211" in spread and "<msub><mo>" not in spread, "limits below the sum"
    assert "lspace" not in mathml(r"q(z \mid x)")
    for wrong in (r"\operatorname*{arg\,min}_x", "a & b", r"\begin{aligned} a &= b \end{aligned}"):
        with pytest.raises(ValueError, match="the formula "):
            mathml(wrong)


# ------------------------------------------------------------------ the committed notebooks


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_notebook_is_clean(path):
    assert problems(path) == []


def test_references_belong_to_notebooks():
    references = {path.stem for path in (notebooks.ROOT / "notebooks" / "expected").glob("*")}
    assert references == {path.stem for path in COMMITTED}


# ------------------------------------------------------------------ the machinery, on a toy chapter

PARAMETERS = "# Defaults; papermill can replace them.\nseed = 0\nrows = 200\ndata_path = None"
SETUP = """import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from adlib import notebooks
from exercises import check

notebooks.setup(seed=seed)"""


def toy_chapter():
    cells = [
        new_markdown_cell("# 01 · Noise\n\nHow large is the mean of noise?"),
        new_markdown_cell("## Goal\n\n* **Level:** introductory\n* **Time:** about 3 minutes\n"
                          "* **Before it:** nothing\n* **You can already:** add.\n"
                          "* **You will:** see it."),
        new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        new_code_cell(SETUP),
        new_markdown_cell("## The idea\n\n`mean = sum / n`"),
        new_markdown_cell("## In code"),
        new_code_cell(
            "x = np.random.default_rng(seed).normal(size=rows)\n"
            "print(f'mean {x.mean():.2f}, threads {os.environ[\"OMP_NUM_THREADS\"]}')\nx[:2]"
        ),
        new_markdown_cell("## The picture"),
        new_code_cell(
            "fig, ax = plt.subplots()\nax.plot(x)\nax.set(xlabel='row', ylabel='x')\nplt.show()"
        ),
        new_markdown_cell("## What it means\n\nLittle."),
        new_code_cell("notebooks.record('01_noise', mean=x.mean(), spread=x.std())"),
        new_markdown_cell("## What goes wrong\n\nNothing."),
        new_markdown_cell("## Exercise\n\nTry another seed."),
    ]
    return chapters.normalise(new_notebook(cells=cells))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Root of a small repository whose one notebook was refreshed."""
    root = tmp_path_factory.mktemp("toy")
    (root / "notebooks").mkdir()
    nbformat.write(toy_chapter(), root / "notebooks" / "01_noise.ipynb")
    before = dict(os.environ)
    runs = chapters.refresh(root=root)
    os.environ.clear()
    os.environ.update(before)
    assert [run.error for run in runs] == [""]
    return root


def python(*arguments, cwd):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


def test_refreshed_notebook_is_clean_and_stable(toy):
    path = toy / "notebooks" / "01_noise.ipynb"
    assert problems(path) == []
    nb = nbformat.read(path, as_version=4)
    assert "threads 1" in nb.cells[6].outputs[0].text
    assert chapters.normalise(deepcopy(nb)) == nb
    expected = json.loads((path.parent / "expected" / "01_noise.json").read_text())
    assert set(expected) == {"mean", "spread"}


def test_pictures_are_stored_small_and_look_the_same():
    figure, ax = plt.subplots()
    ax.plot(np.sin(np.arange(100) / 9))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    output = new_output(
        "display_data", {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    )
    nb = chapters.normalise(new_notebook(cells=[new_code_cell("", outputs=[output])]))
    stored = base64.b64decode(nb.cells[0].outputs[0].data["image/png"])
    assert len(stored) < 0.6 * len(buffer.getvalue())
    before, after = (plt.imread(io.BytesIO(png))[..., :3] for png in (buffer.getvalue(), stored))
    assert np.abs(before - after).max() < 0.1

def source(index, text):
    return lambda nb: nb.cells[index].update(source=text)


def tag(index, *tags):
    return lambda nb: nb.cells[index].metadata.update(tags=list(tags))


def prints(text, name="stdout"):
    output = {"output_type": "stream", "name": name, "text": text}
    return lambda nb: nb.cells[6].outputs.append(nbformat.from_dict(output))


MUTATIONS = {
    "stripped": (lambda nb: nb.cells[6].update(execution_count=None, outputs=[]), "1..n"),
    "out of order": (lambda nb: nb.cells[6].update(execution_count=9), "1..n"),
    "stderr": (prints("careful", name="stderr"), "stderr"),
    "error": (
        lambda nb: nb.cells[6].outputs.append(nbformat.v4.new_output("error", ename="E")),
        "error is stored",
    ),
    "skipped": (tag(6, "nbval-skip"), "three at most"),
    "excused by comment": (source(6, "# NBVAL_IGNORE_OUTPUT\n1"), "three at most"),
    "no parameters": (tag(2), "parameters"),
    "computed parameter": (source(2, "seed = 1 + rows"), "literals only"),
    "papermill's marker": (source(2, "# Parameters\nseed = 0"), "must not begin"),
    "no setup": (source(3, "import numpy as np"), "setup"),
    "other kernel": (lambda nb: nb.metadata.kernelspec.update(name="conda"), "normalised"),
    "papermill output": (lambda nb: nb.metadata.update(papermill={}), "normalised"),
    "tolerance": (
        lambda nb: nb.cells[6].metadata.update(tolerance={"absolute": 1}), "tolerance wants"
    ),
    "address": (prints("<object at 0x7f3a5c0d2e10>"), "volatile"),
    "path": (prints("read /home/someone/data.csv"), "volatile"),
    "clock": (prints("Wall time: 3 s"), "volatile"),
    "no question": (source(0, "# Noise\n\nThe mean."), "question"),
    "section gone": (source(11, "Nothing."), "sections"),
    "section moved": (lambda nb: nb.cells.insert(1, nb.cells.pop(9)), "sections"),
    "formula": (source(4, "## The idea\n\n$\\frac{1}$"), "cannot be read"),
    "unknown command": (source(4, "## The idea\n\n$\\frc{1}{2}$"), "which is not known"),
    "image": (source(4, "## The idea\n\n![](https://example.org/x.png)"), "offline"),
    "folded by hand": (
        lambda nb: nb.cells[6].metadata.update(jupyter={"outputs_hidden": True}), "normalised"
    ),
    "no figure": (lambda nb: nb.cells[8].update(outputs=[]), "no figure"),
    "no show": (source(8, "plt.plot(x);"), "plt.show()"),
    "no record": (source(10, "1"), "record"),
    "wordless": (lambda nb: nb.cells.extend(new_code_cell("1") for _ in range(20)), "too little"),
    "no level": (source(1, "## Goal\n\nSee it."), "the goal says level"),
    "long promised": (
        source(1, "## Goal\n\n* **Level:** advanced\n* **Time:** about 40 minutes\n"
               "* **Before it:** nothing\n* **You can already:** add.\n* **You will:** rest."),
        "the goal says 40 minutes"),
    "long cell": (source(6, "x = 1\n" * 21), "more than 20 lines"),
    "heavy cells": (
        lambda nb: [cell.update(source="x = 1\n" * 9 + cell.source) for cell in nb.cells
                    if cell.cell_type == "code"], "more than 8 lines"),
    "number from nowhere": (source(9, "## What it means\n\nIt won by 37.25 %."), "37.25 %"),
    "old word": (source(9, "## What it means\n\nIt leaps to the eye."), "is easy to see"),
    "large": (prints("x" * 600_000), "600 kB"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_hygiene_notices(toy, tmp_path, name):
    mutate, sentence = MUTATIONS[name]
    nb = nbformat.read(toy / "notebooks" / "01_noise.ipynb", as_version=4)
    mutate(nb)
    (tmp_path / "expected").symlink_to(toy / "notebooks" / "expected")
    nbformat.write(nb, tmp_path / "01_noise.ipynb")
    assert any(sentence in problem for problem in problems(tmp_path / "01_noise.ipynb"))


def test_missing_reference_is_noticed(toy, tmp_path):
    copy = tmp_path / "01_noise.ipynb"
    copy.write_bytes((toy / "notebooks" / "01_noise.ipynb").read_bytes())
    assert problems(copy) == ["expected/01_noise.json compares no metric (make refresh)"]


def test_nbval_is_red_for_a_falsified_number_and_for_deleted_outputs(toy, tmp_path):
    def variant(name, change):
        nb = nbformat.read(toy / "notebooks" / "01_noise.ipynb", as_version=4)
        change(nb.cells[6])
        nbformat.write(nb, tmp_path / f"{name}.ipynb")

    variant("intact", lambda cell: None)
    variant("falsified", lambda cell: cell.outputs[0].update(text="mean 0.99, threads 1\n"))
    variant("deleted", lambda cell: cell.update(outputs=[]))
    variant("stripped", lambda cell: cell.update(outputs=[], execution_count=None))
    config = notebooks.ROOT / "pyproject.toml"
    run = python(
        *("-m", "pytest", "-c", config, "--rootdir", tmp_path, "-p", "no:cacheprovider"),
        *("--junitxml", tmp_path / "result.xml", tmp_path),
        cwd=tmp_path,
    )
    assert run.returncode == 1, run.stdout
    cases = ElementTree.parse(tmp_path / "result.xml").iter("testcase")
    red = {
        case.get("classname").split(".")[-2] for case in cases if case.find("failure") is not None
    }
    # nbval does not compare a cell without an execution count: that is the hygiene test's part
    assert red == {"falsified", "deleted"}, run.stdout


def test_metrics_outside_their_tolerance_are_noticed():
    reference = {"f1": {"value": 0.8, "tolerance": 0.02}}
    near, far = ({"f1": {"value": value, "tolerance": 0.02}, "seconds": {"value": 9.0,
                  "tolerance": None}} for value in (0.81, 0.83))
    assert chapters.differences(near, reference) == []
    assert chapters.differences(far, reference) == ["f1: 0.83 is not 0.8 +- 0.02"]
    assert chapters.differences({}, reference) == ["recorded [], expected ['f1']"]
    assert chapters.compared(near) == {"f1": near["f1"]}


# Chapter 00 belongs to the light core, which is run as where torch is not installed; 01 does not.
LOOK = """from importlib.util import find_spec
assert (find_spec("torch") is not None) == {0}
try:
    import torch
except ModuleNotFoundError as error:
    assert error.name == "torch" and not {0}
import scipy.stats  # asks sys.modules for torch
"""


def test_run_reports_every_notebook_and_fails_with_one(toy, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "findings.yaml").write_text(
        '"01": The mean is {mean:.2f}, the spread {spread:.0%} of what was put in.\n'
        '"00": It recorded no {such} figure.\n')
    nb = toy_chapter()
    nb.cells[6].source += "\n" + LOOK.format(find_spec("torch") is not None)
    nbformat.write(nb, tmp_path / "notebooks" / "01_noise.ipynb")
    nb.cells[6].source = LOOK.format(False) + "raise ValueError('rows <must> be positive')"
    nb.cells[4].source = "## The idea\n\nIt costs \\$5. $$m = \\frac{1}{n}\\sum_t x_t$$"
    nb.cells[8].metadata["tags"] = ["hide-input"]
    nb.cells[-1].source += " See [noise](01_noise.ipynb) and the [map](../README.md)."
    nbformat.write(nb, tmp_path / "notebooks" / "00_broken.ipynb")
    run = python(CHAPTERS, "run", "--root", tmp_path, cwd=tmp_path)
    assert run.returncode == 1, run.stderr
    assert "00_broken: ValueError: rows <must> be positive" in run.stdout
    (ok,) = re.findall(r"01_noise: ok \(\d+ s, (\d+) s of processor time\)", run.stdout)
    assert int(ok) > 0  # the kernel's, not that of the process that started it
    reports = tmp_path / "reports"
    index = (reports / "index.html").read_text()
    assert "2 notebooks on their default parameters, 1 failed" in index
    assert "failed: ValueError: rows &lt;must&gt; be positive" in index
    assert "How large is the mean of noise?" in index
    assert re.search(r"The mean is [-.\d]+, the spread \d+ % of what was put in\.", index)
    assert re.search(r"\d+ s by the clock, [1-9]\d* s of processor time", index)
    assert "<td>mean</td>" in index and index.count("data:image/png;base64,") == 1
    links = re.findall(r'href="([^"]+)"', index)
    assert len(links) == 4 and all((reports / link).exists() for link in links)
    with_code, without = (
        (reports / "html" / f"01_noise{s}.html").read_text() for s in ("", "_no_code")
    )
    assert "default_rng" in with_code and "default_rng" not in without
    broken = (reports / "html" / "00_broken_no_code.html").read_text()
    assert 'href="01_noise_no_code.html"' in broken and 'href="../../README.md"' in broken
    assert '<math' in broken and "<mfrac>" in broken and "\\frac" not in broken
    assert "It costs $5." in broken and "mathjax" not in broken.lower()
    folded = (reports / "html" / "00_broken.html").read_text()
    assert folded.count('<details class="folded">') == 1
    for page in (index, with_code, without):
        assert not re.search(r'(src|href)="(https?:)?//(?!github)[^"]*\.(js|css)', page)
        assert "cdnjs" not in page and "unpkg" not in page
    # the pages can be written again without executing
    (reports / "index.html").unlink()
    assert (
        python(CHAPTERS, "report", "--root", tmp_path, cwd=tmp_path).returncode == 1
    )
    assert (reports / "index.html").exists()


@pytest.mark.parametrize(
    ("option", "given", "sentence"),
    [
        ("-y", "{data_pth: x.csv}", "no parameter 'data_pth' here, did you mean 'data_path'?"),
        ("-p", "rows many", "rows wants a int such as 200, got 'many'"),
    ],
)
def test_wrong_parameter_ends_papermill_with_one_sentence(toy, tmp_path, option, given, sentence):
    notebook = toy / "notebooks" / "01_noise.ipynb"
    command = ["-m", "papermill", notebook, tmp_path / "out.ipynb", option, *given.split(" ", 1)]
    if option == "-y":
        command[-2:] = [given]
    run = python(*command, cwd=tmp_path)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-2:]
    assert last[0] == 'Exception encountered at "In [3]":' and sentence in last[1]


@pytest.mark.parametrize("start", ["root", "notebooks", "elsewhere"])
def test_a_chapter_finds_its_exercises_wherever_papermill_starts(toy, tmp_path, start):
    cwd = {"root": notebooks.ROOT, "notebooks": notebooks.ROOT / "notebooks", "elsewhere": tmp_path}
    run = python("-m", "papermill", toy / "notebooks" / "01_noise.ipynb", tmp_path / "out.ipynb",
                 cwd=cwd[start])
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("folder", "file"), [
    (".", "tests/test_exercises.py"), ("tests", "test_exercises.py"),
    (".", "notebooks/02_online_zscore.ipynb"), ("notebooks", "02_online_zscore.ipynb"),
    ("tools", "chapters.py"), (".", "notebooks/exercises")])
def test_one_file_alone_is_collected(folder, file):
    run = python("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", file,
                 cwd=notebooks.ROOT / folder)
    assert run.returncode in (0, 5), run.stdout  # 5: a file without a doctest


def test_known_parameters_pass():
    defaults = "seeds = [0]\nalpha: float = 0.05\npath = None\nflag = True"
    notebooks.check_parameters([defaults, "import numpy"])
    notebooks.check_parameters([defaults, "# Parameters\nalpha = 1\npath = 'x'\nseeds = None\n"])
    with pytest.raises(notebooks.ParameterError, match="flag wants a bool such as True, got 'no'"):
        notebooks.check_parameters(["", defaults, "# Parameters\nflag = 'no'\n", "setup()"])


def test_record_merges_calls_and_refuses_what_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "_recorded", {})
    monkeypatch.setenv("ADLIB_METRICS", str(tmp_path))
    notebooks.record("07_x", f1=0.5)
    notebooks.record("07_x", tolerance=None, seconds=12.3456789)
    assert json.loads((tmp_path / "07_x.json").read_text()) == {
        "f1": {"value": 0.5, "tolerance": 0.02},
        "seconds": {"value": 12.3457, "tolerance": None},
    }
    with pytest.raises(ValueError, match="f1 must be a finite number, got nan"):
        notebooks.record("07_x", f1=float("nan"))
    monkeypatch.delenv("ADLIB_METRICS")
    notebooks.record("08_y", f1=0.5)
    assert not (tmp_path / "08_y.json").exists()


def test_unknown_notebook_is_named():
    with pytest.raises(FileNotFoundError, match="no notebook named '99_none'"):
        chapters.refresh(["99_none"])


# ------------------------------------------------------------------ what chapters call


def test_an_interval_of_five_repetitions_covers_what_it_says():
    rng = np.random.default_rng(0)
    mean, half = notebooks.interval(rng.normal(3.0, 2.0, size=(5, 4000)))
    assert mean.shape == half.shape == (4000,)
    assert (np.abs(mean - 3.0) <= half).mean() == pytest.approx(0.95, abs=0.01)
    s = np.std([1.0, 2.0, 4.0], ddof=1)
    assert notebooks.interval([1.0, 2.0, 4.0])[1] == pytest.approx(4.302653 * s / np.sqrt(3))
    assert np.isnan(notebooks.interval([0.7])[1]) and notebooks.interval([0.7])[0] == 0.7


@pytest.mark.parametrize(("values", "level", "sentence"), [
    ([], 0.95, "values must be one or more"), (0.5, 0.95, "values must be one or more"),
    ([0.1, np.nan], 0.95, "finite"), ([0.1, 0.2], 95, "level must lie between 0 and 1, got 95"),
    ((v for v in (0.1, 0.2)), 0.95, "finite"), ([0.1, 0.2], "95%", "between 0 and 1")])
def test_an_interval_refuses_what_it_cannot_judge(values, level, sentence):
    with pytest.raises(ValueError, match=sentence):
        notebooks.interval(values, level)


def test_a_slider_draws_once_where_nobody_can_move_it():
    drawn = []
    notebooks.slider(lambda window, alpha: drawn.append((window, alpha)),
                     window=(5, 20, 80), alpha=(0.01, 0.1))
    assert drawn == [(20, 0.01)]
    with pytest.raises(ValueError, match=r"window must be two values or more, .* got \[5\]"):
        notebooks.slider(print, window=[5])


@pytest.mark.parametrize("values", [5 * np.arange(1, 4), (v for v in (5, 10, 15)),
                                    {5: "", 10: "", 15: ""}, pd.Series([5, 10, 15], [7, 8, 9])])
def test_a_slider_takes_any_values(values):
    drawn = []
    notebooks.slider(lambda draw: drawn.append(draw), draw=values)
    assert drawn == [10]


def test_choices_of_a_slider_are_told_apart():
    labels = [label for label, _ in notebooks._options("a", [1.0000001, 1.0000002])]
    assert labels == ["1.0000001", "1.0000002"]
    for alike in ([1, 1, 2], [1, "1"]):
        with pytest.raises(ValueError, match="a must be two values or more, all different"):
            notebooks.slider(print, a=alike)


def test_a_slider_moves_where_somebody_can(monkeypatch):
    import ipywidgets
    shown, drawn = [], []
    monkeypatch.setattr(notebooks, "attended", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda *each: shown.extend(each))
    notebooks.slider(lambda window: drawn.append(window), window=(5, 20, 80))
    moved, output = shown
    assert isinstance(moved, ipywidgets.SelectionSlider) and isinstance(output, ipywidgets.Output)
    moved.value = 80
    assert drawn == [20, 80]


def test_a_diagram_joins_its_boxes_and_refuses_an_arrow_to_nowhere():
    ax = notebooks.diagram({"x": (0, 0, "(row)"), "net": (1, 0, "net"), "y": (2, 1, "score")},
                           [("x", "net"), ("net", "y", "error...")], colours={"y": "#fdd0a2"})
    texts = [text.get_text() for text in ax.texts if text.get_text()]
    assert texts == ["row", "net", "score", "error"] and len(ax.patches) == 3
    plt.close(ax.figure)
    with pytest.raises(ValueError, match=r"arrows name \['z'\], boxes are \['x'\]"):
        notebooks.diagram({"x": (0, 0, "x")}, [("x", "z")])
