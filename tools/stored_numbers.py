"""Compare the stored outputs of notebooks with numbers read as numbers: a pytest plugin over nbval.

Another processor adds in another order, so the last printed digit of a result can differ. Texts
(streams, ``text/plain``, ``text/html``) agree when their words are the same and each number is near
the stored one. Near is at most two units of the last printed digit, of the text that prints more of
them: 0.94 and 0.96 agree, 0.94 and 0.97 do not, 57% and 59% do, 1.00e-05 and 9.98e-06 do.

A whole number must be the same: it counts rows, wins or events, or names one of them, and two units
would hide a lost win. So must ``nan`` and ``inf``, which are words here. Version numbers and digits
inside words are words too. Blanks are layout: a table is wider where a number got a sign. A picture
inside HTML is not compared, as one of its own is not.

A cell whose numbers differ by more (a network is trained, data are drawn again) says how much and
why, in its metadata, and ``make refresh`` keeps it::

    "tolerance": {"absolute": 0.05, "why": "eight networks, trained in float32"}

``absolute`` is in printed units (57% is 57), ``relative`` a share of the stored number; both hold
for all numbers that the cell prints, whole ones too.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from decimal import Decimal
from functools import partial
from typing import Any

from nbval.plugin import IPyNbCell

UNITS = 2  # of the last printed digit

NUMBER = re.compile(
    r"""(?<![\w.])  # neither inside a word nor inside a version number
    [+-]?
    (?:\d{1,3}(?:,\d{3})+(?!\d) | \d+ | (?=\.\d))
    (?:\.\d*)?
    (?:e[+-]?\d+)?
    (?!\.?\d)
    (?:[ ]?%)?""",
    re.VERBOSE | re.IGNORECASE,
)
PICTURE = re.compile(r"data:image/\w+;base64,[\w+/=]+")
WHOLE = re.compile(r"[+-]?[\d,]+\.?")  # NumPy prints 1.000 as "1."


def check_tolerance(tolerance: Mapping[str, Any]) -> None:
    """Refuse a cell's tolerance that is not a size and a reason.

    Parameters
    ----------
    tolerance : mapping
        ``metadata.tolerance`` of a cell.

    Raises
    ------
    ValueError
        In one sentence.

    Examples
    --------
    >>> check_tolerance({"relative": 0.1, "why": "trained in float32"})
    >>> check_tolerance({"relative": 0.1})
    Traceback (most recent call last):
    ValueError: tolerance wants {"absolute" or "relative": number, "why": reason}, got ...
    """
    sizes = [tolerance[size] for size in ("absolute", "relative") if size in tolerance]
    known = set(tolerance) <= {"absolute", "relative", "why"}
    positive = all(isinstance(size, int | float) and 0 < size < float("inf") for size in sizes)
    if not (known and sizes and positive and str(tolerance.get("why", "")).strip()):
        raise ValueError(
            'tolerance wants {"absolute" or "relative": number, "why": reason}, '
            f"got {dict(tolerance)}"
        )


def near(stored: str, computed: str, tolerance: Mapping[str, Any] | None = None) -> bool:
    """Whether two printed numbers agree.

    Parameters
    ----------
    stored, computed : str
        As :data:`NUMBER` finds them.
    tolerance : mapping, optional
        Of the cell.

    Returns
    -------
    bool

    Examples
    --------
    >>> near("0.94", "0.96"), near("0.94", "0.97"), near("263", "265")
    (True, False, False)
    >>> near("263", "265", {"relative": 0.01, "why": "drawn again"})
    True
    """
    if stored.endswith("%") != computed.endswith("%"):
        return False
    (first, unit), (second, other_unit) = _read(stored), _read(computed)
    allowed = [UNITS * min(unit, other_unit)]
    if WHOLE.fullmatch(stored) and WHOLE.fullmatch(computed):
        allowed = [Decimal(0)]
    if tolerance:
        allowed.append(Decimal(str(tolerance.get("absolute", 0))))
        allowed.append(Decimal(str(tolerance.get("relative", 0))) * abs(first))
    return abs(first - second) <= max(allowed)


def _read(number: str) -> tuple[Decimal, Decimal]:
    """Value of a printed number and the unit of its last digit."""
    value = Decimal(number.rstrip(" %").replace(",", ""))
    return value, Decimal(1).scaleb(int(value.as_tuple().exponent))


def settle(stored: str, computed: str, tolerance: Mapping[str, Any] | None = None) -> str:
    """The computed text, with the stored one wherever the two agree.

    Parameters
    ----------
    stored, computed : str
        Text or HTML.
    tolerance : mapping, optional
        Of the cell.

    Returns
    -------
    str
        Equal to `stored` exactly when everything agrees; what is left differs beyond tolerance.

    Examples
    --------
    >>> settle("recall 0.94, 12 found", "recall 0.95, 11 found")
    'recall 0.94, 11 found'
    >>> settle("recall 0.94", "precision 0.95")
    'precision 0.95'
    """
    pictures = iter(PICTURE.findall(stored))
    computed = PICTURE.sub(lambda found: next(pictures, found[0]), computed)
    lines, others = stored.split("\n"), computed.split("\n")
    if len(lines) != len(others):
        return computed
    pairs = zip(lines, others, strict=True)
    return "\n".join(_settled_line(*pair, tolerance) for pair in pairs)


def _settled_line(stored: str, computed: str, tolerance: Mapping[str, Any] | None) -> str:
    numbers, others = NUMBER.findall(stored), NUMBER.findall(computed)
    if len(numbers) != len(others) or _words(stored) != _words(computed):
        return computed
    chosen = (a if near(a, b, tolerance) else b for a, b in zip(numbers, others, strict=True))
    return NUMBER.sub(lambda _: next(chosen), stored)


def _words(line: str) -> list[str]:
    return [" ".join(words.split()) for words in NUMBER.split(line)]


def settle_outputs(
    stored: Sequence[Any], computed: Sequence[Any], tolerance: Mapping[str, Any] | None = None
) -> list[Any]:
    """Computed outputs of a cell, with the stored text wherever the two agree.

    Parameters
    ----------
    stored, computed : sequence of NotebookNode
        Outputs of one cell; texts of one kind are compared in their order.
    tolerance : mapping, optional
        Of the cell.

    Returns
    -------
    list of NotebookNode
        Copies.
    """
    known = defaultdict(list)
    for kind, holder, key in _texts(stored):
        known[kind].append(holder[key])
    settled = [deepcopy(output) for output in computed]
    for kind, holder, key in _texts(settled):
        if known[kind]:
            holder[key] = settle(known[kind].pop(0), holder[key], tolerance)
    return settled


def _texts(outputs: Sequence[Any]) -> Iterator[tuple[str, Any, str]]:
    """Each text with its kind: the name of its stream, or its MIME type."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.name, output, "text"
        for mime, text in output.get("data", {}).items():
            if isinstance(text, str):
                yield mime, output["data"], mime


def pytest_itemcollected(item: Any) -> None:
    if isinstance(item, IPyNbCell):
        item.compare_outputs = partial(_compare, item)


def _compare(item: Any, computed: Any, stored: Any) -> bool:
    """In place of nbval's comparison, which then judges and reports what does not agree."""
    tolerance = item.cell.metadata.get("tolerance")
    if tolerance is not None:
        check_tolerance(tolerance)
    return IPyNbCell.compare_outputs(item, settle_outputs(stored, computed, tolerance), stored)
