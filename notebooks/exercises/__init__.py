"""Exercises that tell right from wrong.

A chapter's exercises live in one file, ``chapter_02.py`` for notebook 02 (a folder of that name,
if they are many). Each is a function that looks at an answer, a solution that it accepts, and the
mistakes it must not accept; the tests run all three, so that a check that cannot fail, or a
solution that no longer works, is found.

In a notebook, `check` says whether an answer is right and why not; `...` stands for an answer
that is still to come. `solution` shows one way to do it, `progress` what is done: at a reader's own
kernel it is kept in ``notebooks/progress.json`` (or the file that ``ADLIB_PROGRESS`` names), which
outlives the kernel and is not committed. ``python tools/grade.py FOLDER`` grades a class.
"""

import inspect
import json
import os
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

from adlib.files import replaced_file
from adlib.notebooks import attended

__all__ = ["Exercise", "Grade", "Wrong", "check", "exercise", "exercises", "grade", "progress",
           "require", "solution"]


class Wrong(Exception):
    """What is wrong with an answer, with the figure that shows it."""


class Grade(NamedTuple):
    """Whether an answer is right, and what was found.

    Attributes
    ----------
    passed : bool
    message : str
        What was measured, or what is wrong.
    """

    passed: bool
    message: str


class Exercise:
    """One exercise: a check, a solution, and the mistakes that the check must tell from it.

    Parameters
    ----------
    name : str
        ``"02.1"``: the first exercise of notebook 02.
    examine : callable
        Takes an answer; returns what was measured (one sentence) or raises `Wrong`.
    """

    def __init__(self, name: str, examine: Callable[[Any], str]) -> None:
        self.name = name
        self.examine = examine
        self.solve: Callable[[], Any] | None = None
        self.mistakes: dict[str, Callable[[], Any]] = {}

    def solution(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Decorator: the function returns an answer that the check accepts."""
        self.solve = function
        return function

    def mistake(self, what: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Decorator: the function returns an answer that is wrong in the way `what` says."""

        def add(function: Callable[[], Any]) -> Callable[[], Any]:
            self.mistakes[what] = function
            return function

        return add


def exercise(name: str) -> Callable[[Callable[[Any], str]], Exercise]:
    """Decorator: make an `Exercise` of a function that looks at an answer.

    Parameters
    ----------
    name : str
        ``"02.1"``: the first exercise of notebook 02.

    Returns
    -------
    callable
        What turns the function into an `Exercise`.
    """
    return lambda examine: Exercise(name, examine)


def require(condition: Any, message: str) -> None:
    """Raise `Wrong` unless something holds.

    Parameters
    ----------
    condition : object
        Taken as true or false.
    message : str
        What is wrong with the answer, with the figure that shows it.

    Raises
    ------
    Wrong
    """
    if not condition:
        raise Wrong(message)


def exercises(chapter: str | None = None) -> Iterator[Exercise]:
    """The exercises of one chapter or of all, in order.

    Parameters
    ----------
    chapter : str, optional
        ``"02"``; default: all.

    Yields
    ------
    Exercise
    """
    for module in sorted(m.name for m in iter_modules([str(Path(__file__).parent)])):
        if chapter is None or module == f"chapter_{chapter}":
            there = vars(import_module(f"{__name__}.{module}")).values()
            found = [each for each in there if isinstance(each, Exercise)]
            yield from sorted(found, key=lambda each: int(each.name.partition(".")[2]))


def _find(name: str) -> Exercise:
    there = {each.name: each for each in exercises(str(name).partition(".")[0])}
    if name not in there:
        names = list(there) or [each.name for each in exercises()]
        near = get_close_matches(str(name), names, 1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"name: no exercise {name!r}{hint} There are: {', '.join(names)}")
    return there[name]


def grade(name: str, answer: Any) -> Grade:
    """Judge an answer.

    Parameters
    ----------
    name : str
        The exercise, ``"02.1"``.
    answer : object
        What the exercise asks for; `...` for "not yet".

    Returns
    -------
    Grade
        ``passed``, and ``message``: what was measured, or what is wrong. An answer that raises
        an exception is wrong, not an error.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    examine = _find(name).examine
    if answer is ...:
        return Grade(False, "open. Put your answer where the dots are.")
    try:
        return Grade(True, f"right. {examine(answer)}")
    except Wrong as wrong:
        return Grade(False, f"not yet. {wrong}")
    except (Exception, SystemExit) as error:  # the reader's code may do anything
        return Grade(False, f"not yet. With your answer came {type(error).__name__}: {error}")


_graded: dict[str, dict[str, Any]] = {}  # of this kernel, where nothing is kept


def _kept_in() -> Path | None:
    """File of the grades: the one that is named, else beside the chapters where a reader works."""
    if named := os.environ.get("ADLIB_PROGRESS"):
        return Path(named)
    return Path(__file__).parents[1] / "progress.json" if attended() else None


def _grades() -> dict[str, dict[str, Any]]:
    """Every grade so far, the newest of each, of other kernels too."""
    path = _kept_in()
    kept = graded_in(path) if path else {}
    newer = {name: found for name, found in _graded.items()
             if name not in kept or found["time"] >= str(kept[name].get("time", ""))}
    return kept | newer


def graded_in(path: Path) -> dict[str, dict[str, Any]]:
    """What a file of grades holds; one that is missing or none counts as empty.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict
        Name of each exercise to ``passed``, ``message`` and ``time``.
    """
    try:
        kept = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = kept.items() if isinstance(kept, dict) else ()
    return {name: found for name, found in entries
            if isinstance(found, dict) and isinstance(found.get("passed"), bool)}


def check(name: str, answer: Any) -> None:
    """Print whether an answer is right, and if not, why; keep the grade.

    Parameters
    ----------
    name, answer
        As in `grade`. The last answer counts, right or wrong; an open one (`...`) leaves an
        earlier grade as it is.

    Raises
    ------
    ValueError
        If there is no such exercise.

    Examples
    --------
    >>> from exercises import check
    >>> check("02.1", ...)
    02.1: open. Put your answer where the dots are.
    """
    result = grade(name, answer)
    print(f"{name}: {result.message}")
    if answer is ...:
        return
    when = datetime.now(UTC).isoformat(timespec="seconds")
    _graded[name] = {"passed": result.passed, "message": result.message, "time": when}
    if path := _kept_in():
        kept = _grades()
        try:
            with replaced_file(path) as draft:
                draft.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        except OSError as error:
            why = error.strerror or error
            print(f"(Kept in this kernel only: {path} cannot be written, {why}.)")


def solution(name: str) -> None:
    """Print one solution of an exercise: try first, then look.

    Parameters
    ----------
    name : str
        The exercise, ``"02.1"``.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    solve = _find(name).solve
    source = textwrap.dedent(inspect.getsource(solve)) if solve else "(none was written)"
    print(source[source.index("\n") + 1:].rstrip().replace("def _(", "def answer(", 1))


def progress(chapter: str | None = None) -> None:
    """Print how many exercises are solved, of one chapter or of each.

    Parameters
    ----------
    chapter : str, optional
        ``"02"``; default: a line for each chapter that was begun, and the sum.

    Raises
    ------
    ValueError
        If the chapter has no exercises.
    """
    if chapter is not None:
        chapter = str(chapter).zfill(2)
    grades, all_names = _grades(), [each.name for each in exercises(chapter)]
    if not all_names:
        there = ", ".join(dict.fromkeys(each.name[:2] for each in exercises()))
        raise ValueError(f"chapter: no exercises for {chapter!r}. There are: {there}")
    done = {name for name in all_names if grades.get(name, {}).get("passed")}
    if chapter is not None:
        left = ", ".join(name for name in all_names if name not in done) or "none"
        print(f"{len(done)} of {len(all_names)} solved; left: {left}")
        return
    for begun in dict.fromkeys(name[:2] for name in all_names if name in grades):
        print(f"{begun}: ", end="")
        progress(begun)
    print(f"{len(done)} of {len(all_names)} solved in all")
