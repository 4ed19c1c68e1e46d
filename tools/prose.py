"""Look at chapters as readers do: length, numbers that nothing shows, words that are not plain.

python tools/prose.py [--near] [02_online_zscore ...]
"""

import argparse
import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from stored_numbers import NUMBER

ROOT = Path(__file__).resolve().parents[1]
FOLDED = "hide-input"  # tag of a cell whose code opens on a click

# An adult reads some 200 words of such text a minute, a line of code in some 2.5 seconds.
WORDS, LINES, FIGURES = 200, 25, 2

# Words that a non-native reader has to guess, with the one to write instead.
UNPLAIN = {
    r"leaps? to the eye": "is easy to see",
    r"dear(?:er|est|ly)?": "expensive",
    r"mend(?:s|ed|ing)?": "fix",
    r"dice": "random score",
    r"wakes?|woken?": "alert",
    r"hearken|whence|thence|heretofore|aught|naught|betwixt": "a word of today",
    r"by heart": "exactly",
    r"at a stroke": "at once",
    r"lo and behold": "(nothing)",
}
NOT_TEXT = re.compile(
    r"```.*?```|<details>.*?</details>|<!--.*?-->|\$\$.*?\$\$|`[^`]*`|\$[^$\n]+\$|\]\([^)]*\)|<[^>]+>",
    re.DOTALL,
)
_GIVEN = re.compile(r"<!-- not measured here: (.+?) -->", re.DOTALL)
NAMES = re.compile(  # numbers that name something: years, chapters, exercises, items of a list
    r"\b(?:1[89]|20)\d\d\b|\b0\d(?:\.\d)?\b(?! ?%)|\[1\d\b|\b1\d\.\d\d?\b(?! ?%)"
    r"|(?:[Cc]hapters? |[Nn]otebook |\b0\d(?:,| and| to) )1\d\b|^\s*\d+\.\s|^#+ .*$"
    r"|\b\d+-\d+-\d+\S*|95 %(?= (?:interval|confidence))|^\* \*\*Time:\*\* .*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Size:
    """How long a chapter is, exercises and references apart.

    Attributes
    ----------
    minutes : float
        Words, shown lines of code and figures, at the pace of a reader.
    words, figures : int
    median, longest : float
        Lines of code in a cell that is shown; the parameters are a form.
    """

    minutes: float
    words: int
    figures: int
    median: float
    longest: int


def _lesson(nb: Any) -> list[Any]:
    """The cells before the exercises, and the takeaways."""
    kept, inside = [], True
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (heading := re.match(r"## (.+)", cell.source)):
            inside = not re.match(r"Exercise|References|To go further", heading[1])
        if inside:
            kept.append(cell)
    return kept


def folded(cell: Any) -> bool:
    """Whether a code cell shows its output alone until it is opened.

    Parameters
    ----------
    cell : NotebookNode

    Returns
    -------
    bool
    """
    return FOLDED in cell.metadata.get("tags", [])


def _parameters(cell: Any) -> bool:
    """Whether a cell lists what papermill may set: a form, one option a line."""
    return "parameters" in cell.metadata.get("tags", [])


def size(nb: Any) -> Size:
    """How long a chapter is.

    Parameters
    ----------
    nb : NotebookNode

    Returns
    -------
    Size
    """
    lesson = _lesson(nb)
    code = [c for c in nb.cells if c.cell_type == "code" and not folded(c)]
    shown = [len(c.source.splitlines()) for c in code if not _parameters(c)]
    read = [len(c.source.splitlines()) for c in code if c in lesson]
    text = [c.source for c in lesson if c.cell_type == "markdown"]
    words = sum(
        len(re.sub(r"```.*?```|<!--.*?-->", " ", each, flags=re.DOTALL).split()) for each in text
    )
    figures = sum("image/png" in o.get("data", {}) for c in lesson for o in c.get("outputs", []))
    minutes = words / WORDS + sum(read) / LINES + figures / FIGURES
    return Size(minutes, words, figures, statistics.median(shown or [0]), max(shown, default=0))


def _numbers(text: str) -> Iterator[tuple[str, float]]:
    for found in NUMBER.finditer(text.replace("\u2212", "-")):
        digits = found[0].rstrip(" %").replace(",", "")
        yield found[0], float(digits)


def supports(shown: float, claim: float, digits: int, percent: bool) -> bool:
    """Whether a printed number rounds to the claimed one; a share may be printed as .57 or 57."""
    scales = (1.0, 100.0) if percent else (1.0,)
    return any(abs(abs(shown) * scale - abs(claim)) <= 0.5001 * 10.0**-digits for scale in scales)


def _shown(cells: Sequence[Any]) -> set[float]:
    """Numbers that code cells print, or hold as a parameter."""
    texts = []
    for cell in cells:
        if cell.cell_type == "code":
            texts.append(cell.source)
            for output in cell.outputs:
                data = output.get("data", {})
                texts.append(output.get("text", ""))
                texts += [
                    data.get(kind, "") for kind in ("text/plain", "text/markdown", "text/html")
                ]
    return {value for text in texts for _, value in _numbers(text)}


def _sections(nb: Any) -> list[list[Any]]:
    """Cells from one heading to the next."""
    sections: list[list[Any]] = [[]]
    for cell in nb.cells:
        if cell.cell_type == "markdown" and re.match(r"###? ", cell.source):
            sections.append([])
        sections[-1].append(cell)
    return [section for section in sections if section]


def unsupported(nb: Any, *, near: bool = False) -> list[str]:
    """Numbers in the text that no stored output of the chapter shows and no line of its code holds.

    What another source measured is named in a comment of the same cell, which readers do not see:
    ``<!-- not measured here: 71, 95 (Lavin and Ahmad 2015) -->``.

    Parameters
    ----------
    nb : NotebookNode
    near : bool, default False
        Only shares and fractions, which must be shown in the section of the text or the one before
        it; the takeaways may repeat any.

    Returns
    -------
    list of str
        Each number with the words around it.
    """
    lesson, everywhere, missing = _lesson(nb), _shown(nb.cells), []
    before: set[float] = set()
    for section in _sections(nb):
        here = _shown(section)
        repeats = section[0].source.startswith(("## Takeaways", "## Goal", "## What it means"))
        known = here | before if near and not repeats else everywhere
        before = here
        for cell in section:
            if cell.cell_type == "markdown" and cell in lesson:
                missing += _missing(cell.source, known, near=near)
    return missing


def _missing(source: str, known: set[float], *, near: bool) -> list[str]:
    given = {value for found in _GIVEN.findall(source) for _, value in _numbers(found)}
    text = NAMES.sub(" ", NOT_TEXT.sub(" ", source))
    missing = []
    for found in NUMBER.finditer(text):
        printed, percent = found[0].rstrip(" %").replace(",", ""), "%" in found[0]
        digits = len(printed.partition(".")[2])
        if near and not (percent or digits):
            continue
        if not any(supports(value, float(printed), digits, percent) for value in known | given):
            around = text[max(found.start() - 40, 0) : found.end() + 25]
            missing.append(f"{found[0]}: ...{' '.join(around.split())}...")
    return missing


def references(nb: Any) -> dict[str, str]:
    """The works that a chapter cites, by what they are sorted and recognised by.

    Parameters
    ----------
    nb : NotebookNode

    Returns
    -------
    dict of str to str
        "Liu, F. T., Ting, K. M. and Zhou, Z.-H. (2008)" to title, place and clause.

    Raises
    ------
    ValueError
        For an entry in another style than "Authors (year). Title. *Place* volume. Clause."
    """
    found = {}
    for cell in nb.cells:
        if not cell.source.startswith("## References"):
            continue
        for entry in re.split(r"^\* ", cell.source, flags=re.MULTILINE)[1:]:
            line = " ".join(entry.split())
            parts = re.fullmatch(r"(\D+ \(\d{4}[a-z]?\))\. (\S.+\.)", line)
            if not parts or "*" not in line and "arXiv:" not in line:
                raise ValueError(f"no authors, year, title and place: {line}")
            found[parts[1]] = parts[2]
    return found


def unplain(text: str) -> list[str]:
    """Words to replace, each with its line and what to write instead.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str

    Examples
    --------
    >>> unplain("A fault that leaps to the eye.")
    ["line 1: 'leaps to the eye', write: is easy to see"]
    """
    return [
        f"line {number}: {found[0]!r}, write: {instead}"
        for number, line in enumerate(text.splitlines(), start=1)
        for pattern, instead in UNPLAIN.items()
        for found in re.finditer(rf"\b(?:{pattern})\b", line, re.IGNORECASE)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the chapters, then what is missing or not plain; 1 if anything is.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="such as 02_online_zscore; default: all")
    parser.add_argument("--near", action="store_true", help="shown in the same section, or before")
    options = parser.parse_args(arguments)
    names = [Path(name).stem for name in options.names]
    paths = [ROOT / "notebooks" / f"{name}.ipynb" for name in names]
    notes = []
    print("chapter                   minutes  words  figures  median  longest")
    for path in paths or sorted((ROOT / "notebooks").glob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        s = size(nb)
        print(
            f"{path.stem:25} {s.minutes:7.0f} {s.words:6} {s.figures:8} {s.median:8g} {s.longest:8}"
        )
        notes += [f"{path.stem}: {each}" for each in unsupported(nb, near=options.near)]
        prose = "\n".join(cell.source for cell in nb.cells)
        notes += [f"{path.stem}: {each}" for each in unplain(prose)]
    print("\n".join(notes) or "every number is shown, every word is plain")
    return int(bool(notes))


if __name__ == "__main__":
    sys.exit(main())
