"""Mistakes that the checks of chapter 00 must tell from an answer."""

from exercises.chapter_00 import first_threshold


@first_threshold.mistake("three, as everybody does")
def _():
    return 3.0


@first_threshold.mistake("forgets that a score is large on both sides")
def _():
    return 1.645
