"""Grade the notebooks of a class: run each, and list what its exercises' checks say.

    python tools/grade.py FOLDER [--out grades.csv] [--timeout 120] [--jobs 2]

FOLDER holds a folder per student with the chapters that were handed in, such as
``anna/02_online_zscore.ipynb``, or notebooks whose names begin with the student, such as
``anna-02_online_zscore.ipynb``. Each runs in a kernel of its own, against the exercises of this
checkout, not those that were handed in; a cell that raises, or does not end, costs its own answer.
Of a chapter handed in twice, what is right in either counts.
The code of a class is the code of strangers: run it where nothing can be lost.
"""

import argparse
import ast
import csv
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
from tqdm import tqdm

from adlib.arguments import shown
from adlib.files import replaced_file
from adlib.notebooks import ROOT  # whose import makes `exercises` importable

FORGES = {"_graded", "ADLIB_PROGRESS", "progress.json"}  # only who keeps grades needs these


@dataclass(frozen=True)
class Graded:
    """What one notebook earned.

    Attributes
    ----------
    student, notebook : str
    chapter : str
        "02", or empty where the file's name says none.
    grades : dict
        Exercise to ``passed`` and ``message``; an open exercise is not in it.
    note : str
        What a teacher should look at: errors, a cell that did not end, a check that was rewritten.
    """

    student: str
    notebook: str
    chapter: str
    grades: dict[str, dict[str, Any]] = field(default_factory=dict)
    note: str = ""


def submissions(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every notebook that was handed in, and by whom.

    Parameters
    ----------
    folder : Path

    Yields
    ------
    (str, Path)

    Raises
    ------
    FileNotFoundError
        When there is no such folder, or no notebook in it.
    """
    found = sorted(
        p
        for p in Path(folder).rglob("*.ipynb")
        if p.is_file() and ".ipynb_checkpoints" not in p.parts
    )
    if not found:
        raise FileNotFoundError(f"FOLDER: no notebook in {folder}, expected anna/02_....ipynb")
    for path in found:
        inside = path.relative_to(folder).parts
        before = re.match(r"(.+?)[-_ ]+(?=\d\d_)", path.stem)
        yield (inside[0] if len(inside) > 1 else before[1] if before else path.stem), path


def rewritten(sources: Iterable[str]) -> str:
    """What a notebook changes that its grades hang on, or nothing.

    Parameters
    ----------
    sources : iterable of str
        Code cells.

    Returns
    -------
    str

    Examples
    --------
    >>> rewritten(["from exercises import check", "def check(name, answer): print('right')"])
    'check'
    >>> rewritten(["import os", "print(os.environ['ADLIB_PROGRESS'])"])
    'ADLIB_PROGRESS'
    """
    ours = {"check", "grade", "exercises"}
    for source in sources:
        try:
            tree = ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            words = [getattr(node, key, None) for key in ("id", "attr", "name", "value")]
            if named := [name for name in FORGES for word in words if name in str(word)]:
                return named[0]
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in ours:
                return node.name
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                names = {
                    n.id if isinstance(n, ast.Name) else n.attr
                    for n in ast.walk(node)
                    if isinstance(n, ast.Name | ast.Attribute)
                }
                if names & ours:
                    return ", ".join(sorted(names & ours))
    return ""


def grade_notebook(student: str, path: Path, timeout: float = 120) -> Graded:
    """Run a notebook that was handed in and collect its grades.

    Parameters
    ----------
    student : str
    path : Path
    timeout : float, default 120
        Seconds for each cell.

    Returns
    -------
    Graded
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    number = re.search(r"(?<!\d)(\d\d)_", path.stem)
    chapter = number[1] if number else ""
    try:
        nb = nbformat.read(path, as_version=4)
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
    except Exception as error:  # whatever a stranger's file holds
        return Graded(student, path.name, chapter, note=f"no notebook: {type(error).__name__}")
    note = ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kept = Path(folder) / "progress.json"
        before = dict(os.environ)
        os.environ.update(
            ADLIB_PROGRESS=str(kept),
            ADLIB_METRICS=folder,
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "notebooks")]),
        )
        try:
            NotebookClient(
                nb,
                timeout=timeout,
                kernel_name="python3",
                interrupt_on_timeout=True,
                allow_errors=True,
                startup_timeout=180,
                resources={"metadata": {"path": folder}},
            ).execute()
        except DeadKernelError:
            note = "the kernel died"
        except Exception as error:  # of the machinery that runs it
            note = f"did not run: {type(error).__name__}"
        finally:
            os.environ.clear()
            os.environ.update(before)
        found = import_module("exercises").graded_in(kept)
    grades = {name: found[name] for name in _names() if name in found}
    errors = [o for cell in code for o in cell.get("outputs", []) if o.output_type == "error"]
    if changed := rewritten(cell.source for cell in code):
        note = f"changes or names {changed}: read it"
    elif any(error.ename == "KeyboardInterrupt" for error in errors):
        note = f"a cell did not end within {timeout:g} s"
    elif not note and errors:
        note = f"{len(errors)} cells raised, the first {errors[0].ename}"
    return Graded(student, path.name, chapter, grades, note)


def table(graded: Iterable[Graded]) -> str:
    """A line for each student: what was solved of each chapter, and notes.

    Parameters
    ----------
    graded : iterable of Graded

    Returns
    -------
    str
    """
    lines: list[str] = []
    of: dict[str, int] = {}
    students: dict[str, list[Graded]] = {}
    for each in graded:
        students.setdefault(each.student, []).append(each)
        of |= {chapter: len(_names(chapter)) for chapter in _chapters(each) - of.keys()}
    chapters = sorted(of)
    wide = max([7, *(len(shown(student)) for student in students)])
    lines.append(" ".join(["student".ljust(wide), *(f"{c:>5}" for c in chapters), "  sum"]))
    for student, handed in sorted(students.items()):
        solved = {name for each in handed for name, g in each.grades.items() if g["passed"]}
        done = {c: sum(name.startswith(f"{c}.") for name in solved) for c in chapters}
        there = set().union(*map(_chapters, handed))
        cells = [f"{done[c]}/{of[c]}".rjust(5) if c in there else "    -" for c in chapters]
        lines.append(" ".join([shown(student).ljust(wide), *cells, f"{len(solved):5}"]))
        lines += [f"  {shown(each.notebook)}: {shown(each.note, 1_000)}" for each in handed
                  if each.note]
    return "\n".join(lines)


def _chapters(each: Graded) -> set[str]:
    """Of which chapters a notebook holds answers, whatever its name says."""
    return ({each.chapter} if _names(each.chapter) else set()) | {name[:2] for name in each.grades}


def _names(chapter: str | None = None) -> list[str]:
    return [each.name for each in import_module("exercises").exercises(chapter)]


def write(graded: Iterable[Graded], path: Path) -> None:
    """Write one row for each student and exercise of the chapters that were handed in.

    Parameters
    ----------
    graded : iterable of Graded
    path : Path
    """
    with replaced_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["student", "notebook", "exercise", "state", "message", "note"])
        for each in graded:
            for name in (n for n in _names() if n[:2] == each.chapter or n in each.grades):
                found = each.grades.get(name)
                state = "open" if found is None else "right" if found["passed"] else "wrong"
                message = "" if found is None else found.get("message")
                rows.writerow(map(_cell, (each.student, each.notebook, name, state, message,
                                          each.note)))


def _cell(text: str | None) -> str:
    """What a class wrote, as a cell that no spreadsheet takes for a formula."""
    text = shown(" ".join((text or "").split()), 1_000)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade a folder; 2 when there is nothing to grade.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
    """
    parser = argparse.ArgumentParser(description="Grade the notebooks of a class.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, help="CSV with a row for each student and exercise")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for a cell")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at once")
    options = parser.parse_args(arguments)
    try:
        handed = list(submissions(options.folder))
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    with ProcessPoolExecutor(options.jobs) as pool:
        each = [pool.submit(grade_notebook, *one, options.timeout) for one in handed]
        graded = [job.result() for job in tqdm(each, desc="graded", unit="notebook", disable=None)]
    print(table(graded))
    if options.out:
        write(graded, options.out)
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
