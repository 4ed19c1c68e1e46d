"""Exercises: every check accepts its solution, and none of the mistakes it knows."""

import re

import mistakes
import nbformat
import pytest

from adlib.notebooks import ROOT
from exercises import Grade, check, exercise, exercises, grade, progress, require, solution

assert mistakes.__path__, "imported for what it adds to the exercises"

ALL = {each.name: each for each in exercises()}
MISTAKES = [(name, what) for name, each in ALL.items() for what in each.mistakes]


@pytest.mark.parametrize("name", ALL)
def test_the_check_accepts_the_solution(name):
    assert ALL[name].solve is not None, "an exercise comes with a solution"
    result = grade(name, ALL[name].solve())
    assert result.passed, result.message


@pytest.mark.parametrize(("name", "what"), MISTAKES)
def test_the_check_tells_a_mistake_from_it(name, what):
    result = grade(name, ALL[name].mistakes[what]())
    assert not result.passed, result.message
    assert result.message.startswith("not yet. ")
    assert "With your answer came" not in result.message, "a mistake deserves a sentence"


@pytest.mark.parametrize("name", ALL)
def test_every_check_can_fail(name):
    assert ALL[name].mistakes, "an exercise comes with at least one mistake"
    assert not grade(name, None).passed


def test_every_exercise_is_asked_in_its_notebook_and_the_other_way_round():
    asked = {}
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        source = "\n".join(
            cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"
        )
        found = re.findall(r'^check\("(\d\d\.\d+)"', source, re.MULTILINE)
        assert all(name.startswith(path.stem[:2] + ".") for name in found), path.stem
        asked.update(dict.fromkeys(found, path.stem))
    assert sorted(asked) == sorted(ALL)


def test_the_syllabus_names_exercises_and_chapters_that_exist():
    cells = nbformat.read(ROOT / "notebooks" / "00_index.ipynb", 4).cells
    (syllabus,) = [cell.source for cell in cells if cell.source.startswith("## A course")]
    assert set(re.findall(r"\b\d\d\.\d+\b", syllabus)) <= set(ALL)
    links = set(re.findall(r"\]\((\d\d_\w+\.ipynb)\)", syllabus))
    assert links and all((ROOT / "notebooks" / link).exists() for link in links)


def test_names_are_those_of_their_files():
    for name, each in ALL.items():
        assert each.examine.__module__.split(".")[1] == f"chapter_{name[:2]}"
    assert len(ALL) == len(list(exercises())), "two exercises of one name"


def test_a_check_prints_open_wrong_and_right(capsys):
    name = next(iter(ALL))
    check(name, ...)
    assert capsys.readouterr().out == f"{name}: open. Put your answer where the dots are.\n"
    check(name, None)
    assert capsys.readouterr().out.startswith(f"{name}: not yet. ")
    progress(name[:2])
    assert capsys.readouterr().out.startswith("0 of ")
    check(name, ALL[name].solve())
    assert capsys.readouterr().out.startswith(f"{name}: right. ")
    progress(name[:2])
    assert capsys.readouterr().out.startswith("1 of ")


def test_a_solution_is_shown_without_its_decorator(capsys):
    name = next(iter(ALL))
    solution(name)
    shown = capsys.readouterr().out
    assert shown.startswith("def ") and "@" not in shown.splitlines()[0]


def test_an_unknown_exercise_is_refused_with_a_near_miss():
    name = next(iter(ALL))
    with pytest.raises(ValueError, match=f"did you mean '{name[:-1]}"):
        grade(name + "0", 1)
    with pytest.raises(ValueError, match="no exercise 'x'"):
        solution("x")


def test_an_exercise_is_made_of_a_check_a_solution_and_mistakes():
    @exercise("99.1")
    def seven(answer):
        require(answer == 7, f"{answer} is not seven")
        return "It is seven."

    @seven.mistake("off by one")
    def _():
        return 8

    assert seven.name == "99.1" and list(seven.mistakes) == ["off by one"]
    assert seven.examine(7) == "It is seven."
    assert Grade(True, "x").passed
