"""Compare every number in the README and the hand-written docs with where it comes from.

    python tools/claims.py [--write]

``docs/claims.yaml`` lists, by page, phrases and their source. ``{}`` in a phrase is a number, or a
word such as "three", that is compared with the source; a list gives a source for each. Sources are

* ``results fleet.ms_per_window``: what a benchmark recorded last;
* ``chapter 17 coverage_by_events``: what a chapter recorded;
* ``code adlib.realtime.engine.GRACE``: a constant, the default of a field or of a parameter, or the
  length of a collection;
* ``file Makefile http://[^:]+:(\\d+)``: the group of a regular expression, or the number of its
  matches where it has no group (a blank stands for any space);
* ``test tests/test_base.py::test_name``: a test that fails where the phrase is wrong;
* ``name, the question of a chapter``, or whatever else it is that claims nothing.

``/ 60`` or ``* 100`` behind one of the first four changes the unit. Printed are numbers that no
phrase holds, phrases that the page does not have, wrong figures, which ``--write`` corrects, and
praise without a figure.
"""

import argparse
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from prose import NAMES, NOT_TEXT, UNPLAIN, supports
from stored_numbers import NUMBER

ROOT = Path(__file__).resolve().parents[1]
WORDS = {  # one and two are articles
    "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40,
    "fifty": 50, "ninety": 90, "hundred": 100, "thousand": 1000, "million": 10**6}
VALUE = re.compile(rf"{NUMBER.pattern}|\b(?:{'|'.join(WORDS)})\b", re.VERBOSE | re.IGNORECASE)
PRAISE = re.compile(rf"\b(?:blazing|fast|quick(?:ly)?|well under|lightweight|powerful|easily|"
                    rf"within seconds|{'|'.join(UNPLAIN)})\b", re.IGNORECASE)
Cure = tuple[int, int, str]  # begin and end of a wrong figure, and the right one
_ADDRESS = re.compile(r"https?://\S+")
_SOURCE = re.compile(r"(\w+) (\S+)(?: (.+?))??(?: ([/*]) ([\d.]+))?")


@cache
def claims() -> dict[str, Any]:
    """What ``docs/claims.yaml`` holds."""
    return yaml.safe_load((ROOT / "docs" / "claims.yaml").read_text(encoding="utf-8"))


def _code(path: str) -> Any:
    """A value by its dotted path; what a class or function lacks is a field or a parameter."""
    try:
        value = pkgutil.resolve_name(path)
    except AttributeError:
        owner, _, name = path.rpartition(".")
        found = pkgutil.resolve_name(owner)
        fields = getattr(found, "model_fields", {})
        value = (fields[name].get_default(call_default_factory=True) if name in fields
                 else inspect.signature(found).parameters[name].default)
    return len(value) if hasattr(value, "__len__") else value


def value_of(source: str) -> float:
    """What a source says now, in the unit of the phrase.

    Parameters
    ----------
    source : str
        Such as ``"code adlib.realtime.engine.GRACE / 60"``.

    Returns
    -------
    float
    """
    found = _SOURCE.fullmatch(source)
    kind, path, rest, sign, by = found.groups() if found else (source, *4 * [""])
    value: Any
    if kind == "results":
        script, _, name = path.partition(".")
        record = yaml.safe_load((ROOT / "benchmarks" / "results.yaml").read_text(encoding="utf-8"))
        value = record[script]["figures"][name]["after"]
    elif kind == "chapter":
        (file,) = (ROOT / "notebooks" / "expected").glob(f"{path}_*.json")
        value = json.loads(file.read_text(encoding="utf-8"))[rest]["value"]
    elif kind == "code":
        value = _code(path)
    elif kind == "file":
        pattern = re.compile(rest.replace(" ", r"\s+"), re.MULTILINE)
        matches = pattern.findall((ROOT / path).read_text(encoding="utf-8"))
        value = matches[0] if pattern.groups else len(matches)
    else:
        raise ValueError(f"no source begins with {kind!r}")
    factor = float(by or 1)
    return float(value) / factor if sign == "/" else float(value) * factor


def _number(printed: str) -> tuple[float, int, bool]:
    """A printed number or word, its decimals, and whether it is in percent."""
    plain = printed.rstrip(" %").replace(",", "")
    return (float(WORDS.get(printed.lower(), 0) or plain), len(plain.partition(".")[2]),
            "%" in printed)


def _printed(value: float, like: str) -> str:
    """A value as the page has it: a word, with as many decimals, in percent."""
    _, digits, percent = _number(like)
    word = next((word for word, number in WORDS.items() if number == value), None)
    if like.lower() in WORDS and word:
        return word.capitalize() if like[0].isupper() else word
    return f"{value * 100:,.{digits}f} %" if percent else f"{value:,.{digits}f}"


def _lacking(source: str) -> bool:
    file, _, name = source.removeprefix("test ").partition("::")
    text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).exists() else ""
    return not re.search(rf"^(?:async )?def {re.escape(name)}\(", text, re.MULTILINE)


def _compared(phrase: str, sources: Sequence[str], places: Sequence[re.Match]
              ) -> Iterator[tuple[str, Cure | None]]:
    """What is wrong with a phrase where the text has it."""
    if not places:
        yield f"no such text: {phrase!r}", None
    if sources[0].startswith("test ") and _lacking(sources[0]):
        yield f"{phrase!r}: no {sources[0]}", None
    for place, (at, source) in product(places, enumerate(sources, start=1)):
        if not source.startswith(("test ", "name, ")):
            value, (number, digits, percent) = value_of(source), _number(place[at])
            if not supports(value, number, digits, percent):
                cure = (*place.span(at), _printed(value, place[at]))
                yield f"{place[at]} in {phrase!r} is {cure[2]} by {source}", cure


def faults(text: str, phrases: Mapping[str, Any]) -> Iterator[tuple[str, Cure | None]]:
    """What is wrong with the numbers of a text.

    Parameters
    ----------
    text : str
    phrases : mapping of str to str or list of str
        Phrases of the text and their source.

    Yields
    ------
    fault : str
    cure : (int, int, str) or None
        Begin and end of a wrong figure, and the right one.
    """
    apart = [found.span() for pattern in (NOT_TEXT, _ADDRESS) for found in pattern.finditer(text)]
    covered = apart + [found.span() for found in NAMES.finditer(text)]
    for phrase, given in phrases.items():
        escaped = re.sub(r"(?:\\[ \n])+", lambda _: r"\s+", re.escape(phrase))
        pattern = escaped.replace(r"\{\}", f"({VALUE.pattern})")
        places = list(re.finditer(pattern, text, re.VERBOSE | re.IGNORECASE))
        covered += [place.span() for place in places]
        yield from _compared(phrase, [given] if isinstance(given, str) else given, places)
    for found in VALUE.finditer(text):
        if not any(begin <= found.start() and found.end() <= end for begin, end in covered):
            around = text[max(found.start() - 40, 0) : found.end() + 30]
            yield f"no source for {found[0]}: ...{' '.join(around.split())}...", None
    for found in PRAISE.finditer(text):
        if not any(begin <= found.start() < end for begin, end in apart):
            yield f"{found[0]!r} needs a figure, or a plain word", None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong on each page; 1 if anything is.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the right figures into the text")
    write, left = parser.parse_args(arguments).write, []
    for name, phrases in claims()["pages"].items():
        text = (ROOT / name).read_text(encoding="utf-8")
        found = list(faults(text, phrases))
        if write:
            for start, end, right in sorted((cure for _, cure in found if cure), reverse=True):
                text = text[:start] + right + text[end:]
            (ROOT / name).write_text(text, encoding="utf-8")
        left += [f"{name}: {fault}" for fault, cure in found if not (write and cure)]
    print("\n".join(left) or "every number has its source")
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
