"""Exercises that tell right from wrong.

A chapter's exercises live in one file, ``chapter_02.py`` for notebook 02 (a folder of that name,
if they are many). Each is a function that looks at an answer, a solution that it accepts, and the
mistakes it must not accept; the tests run all three, so that a check that cannot fail, or a
solution that no longer works, is found.

In a notebook, `check` says whether an answer is right and why not; `...` stands for an answer
that is still to come. `solution` shows one way to do it, `progress` what is done.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

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
    except Exception as error:  # the reader's code may do anything
        return Grade(False, f"not yet. With your answer came {type(error).__name__}: {error}")


_passed: dict[str, bool] = {}


def check(name: str, answer: Any) -> None:
    """Print whether an answer is right, and if not, why.

    Parameters
    ----------
    name, answer
        As in `grade`.

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
    _passed[name], message = grade(name, answer)
    print(f"{name}: {message}")


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


def progress(chapter: str) -> None:
    """Print how many exercises of a chapter have been solved since the kernel started.

    Parameters
    ----------
    chapter : str
        ``"02"``.
    """
    names = [each.name for each in exercises(chapter)]
    done = [name for name in names if _passed.get(name)]
    left = ", ".join(name for name in names if name not in done) or "none"
    print(f"{len(done)} of {len(names)} solved; left: {left}")
