"""Formulas of the chapters as MathML: browsers draw it without a script and without a network."""

import re
from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree

# Between dollar signs, as JupyterLab, nbconvert and MyST read them; code is left out before.
_CODE = re.compile(r"```.*?```|`[^`\n]*`|<!--.*?-->", re.DOTALL)
_FORMULA = re.compile(
    r"(?<!\\)\$\$(?P<block>.+?)(?<!\\)\$\$|(?<![$\\\w])\$(?!\s)(?P<inline>[^$]+?)(?<![\s\\])\$(?![\d$])",
    re.DOTALL,
)
_MATH = "http://www.w3.org/1998/Math/MathML"
_PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "mroot": 2}
_LIMITS = {"min", "max", "lim", "sup", "inf", "arg min", "arg max"}
_SUMS = {"\u2211", "\u220f"}
_BELOW = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
_WORDS = {"log", "ln", "exp", "sin", "cos", "tanh", "Pr"}
_BARS = {"|", "\u2016", "\u2223", "\u2225"}


def mathml(tex: str, *, display: bool = False) -> str:
    """One formula as a ``<math>`` element.

    Parameters
    ----------
    tex : str
        LaTeX without its dollar signs.
    display : bool, default False
        On a line of its own.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        When the formula cannot be converted, or holds a command that would be shown as it is
        written.

    Examples
    --------
    >>> mathml(r"\\sqrt{n}")
    '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">...</msqrt></mrow></math>'
    >>> mathml(r"\\sqroot{n}")
    Traceback (most recent call last):
    ValueError: the formula '\\\\sqroot{n}' holds \\sqroot, which is not known
    """
    from latex2mathml.converter import convert

    try:
        found = convert(tex.strip(), display="block" if display else "inline")
        tree = ElementTree.fromstring(found)
    except Exception as error:  # the converter raises one class per fault, without the formula
        raise ValueError(f"the formula {tex!r} cannot be read: {type(error).__name__}") from None
    if left := re.search(r"\\[A-Za-z]+", found):
        raise ValueError(f"the formula {tex!r} holds {left[0]}, which is not known")
    if "operatorname*" in tex:
        raise ValueError(f"the formula {tex!r} holds \\operatorname*, which would show its star")
    for parent in list(tree.iter()):
        wanted = _PARTS.get(parent.tag.removeprefix(f"{{{_MATH}}}"), len(parent))
        if len(parent) != wanted:
            raise ValueError(f"the formula {tex!r} cannot be read: a part is missing")
        _set_in_type(parent, display)
    ElementTree.register_namespace("", _MATH)
    return ElementTree.tostring(tree, encoding="unicode", short_empty_elements=False)


def _set_in_type(parent: ElementTree.Element, display: bool) -> None:
    """What the converter leaves to the eye: limits below, names upright, bars of one height."""
    words = {child.text for child in parent if _upright(child)} | _WORDS
    for child in parent:
        tag = child.tag.removeprefix(f"{{{_MATH}}}")
        if display and tag in _BELOW and child[0].text in _LIMITS | _SUMS:
            child.tag = f"{{{_MATH}}}{_BELOW[tag]}"
        elif tag == "mo" and child.text in _BARS and "fence" not in child.attrib:
            child.set("stretchy", "false")
            if child.text != "\u2223":  # "given" alone stands apart from both sides
                child.attrib |= {"lspace": "0", "rspace": "0"}
    for position, (word, argument) in reversed(list(enumerate(pairwise(parent), start=1))):
        if word.text in words and argument.text not in ("(", "[", ")"):
            parent.insert(position, ElementTree.Element(f"{{{_MATH}}}mspace", width="0.17em"))


def _upright(child: ElementTree.Element) -> bool:
    """Make a name of an operator, which would stand apart from its bracket; whether it was one."""
    named = child.tag == f"{{{_MATH}}}mo" and re.fullmatch("[A-Za-z]{2,}", child.text or "")
    if named and child.text not in _LIMITS:
        child.tag = f"{{{_MATH}}}mi"
        return True
    return False


def formulas(markdown: str) -> Iterator[tuple[str, bool]]:
    """The formulas of a text, and whether each stands on a line of its own.

    Parameters
    ----------
    markdown : str

    Yields
    ------
    (str, bool)

    Examples
    --------
    >>> list(formulas("the mean $m$ costs \\\\$5, `$x$` is code, $$m = 1$$"))
    [('m', False), ('m = 1', True)]
    """
    for found in _FORMULA.finditer(_CODE.sub(" ", markdown)):
        yield found["block"] or found["inline"], found["block"] is not None
