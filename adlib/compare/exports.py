"""What a report gives away: tables as Markdown and LaTeX, figures as PNG, SVG and PDF."""

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, Template, select_autoescape

from adlib.arguments import one_of

from .sections import Cell, Table, key_tables
from .statistics import by_look_ahead, rank_detectors, summarise

__all__ = ["format_tables"]

STYLES = {"markdown": "table.md.j2", "latex": "table.tex.j2"}
NO_DATES: dict[str, dict[str, Any]] = {  # the same figure is the same file
    "png": {"Software": None}, "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
         "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "…": r"\ldots{}",
         "–": "--", '"': r"\char34{}", "'": r"\char39{}", "`": r"\char96{}", "-": "{-}",
         **{sign: "\\" + sign for sign in "&%$#_{}"}}
IN_ANY_FONT = re.compile(r"[ -~À-ÖØ-öø-ÿßÆæØø–…]")
LONGEST = 60  # characters of a name in LaTeX


def format_tables(table: pd.DataFrame, style: str = "markdown") -> dict[str, str]:
    """Ranking, values by data set and p-values as text for a paper or a page.

    The best value of a column is bold. Nothing in a name can become markup. `write_report` writes
    the same texts as files.

    Parameters
    ----------
    table : pandas.DataFrame
        From `compare`, of one look-ahead.
    style : {"markdown", "latex"}
        A LaTeX table needs the packages booktabs and graphicx and shrinks to the width of the line.
        Letters that pdfTeX has no font for stand as their number (U+4E2D) there, and as themselves
        in LuaTeX and XeTeX.

    Returns
    -------
    dict of str to str
        "ranking" and "per_set"; "differences" (best against each other) and "p_values" (all pairs)
        where something was tested. Empty where nobody is ranked.

    Raises
    ------
    ValueError
        When the table is not one of `compare`, or ``style`` is neither of the two.

    Examples
    --------
    >>> cells = pd.DataFrame({"detector": ["KNN", "a_b"], "role": "detector", "dataset": "x",
    ...     "seed": 0, "metric": "average_precision", "value": [0.8, 0.6], "low": [0.7, 0.5],
    ...     "high": [0.9, 0.75], "random": 0.1, "status": "ok"})
    >>> print(format_tables(cells, "latex")["per_set"])
    % needs \\usepackage{booktabs,graphicx}
    \\begin{table}
    ...
    KNN & \\textbf{0.800} \\\\
    a\\_b & 0.600 \\\\
    ...
    """
    one_of(style, "style", tuple(STYLES))
    parts = by_look_ahead(table)
    if len(parts) > 1:
        raise ValueError(f"table must hold scores of one look-ahead, got {', '.join(parts)}")
    (part,) = parts.values()
    if part.empty:
        return {}
    return formatted(key_tables(summarise(part), rank_detectors(part)), style)


def formatted(tables: Mapping[str, Table], style: str) -> dict[str, str]:
    """Tables by name as text of a style."""
    return {name: template(STYLES[style]).render(block=block, name=name)
            for name, block in tables.items()}


def rendered(draw: Callable[..., Any], size: tuple[float, float]) -> dict[str, bytes]:
    """A figure by format; ``draw`` gets it empty as ``axes``, ``size`` is in inches."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure, found = Figure(figsize=size, dpi=150, layout="constrained"), {}
    FigureCanvasAgg(figure)
    with mpl.rc_context({"svg.hashsalt": "adlib"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name: it stands in the tables
        draw(axes=figure)
        for form, metadata in NO_DATES.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, metadata=metadata)
            found[form] = buffer.getvalue()
            figure.set_layout_engine("none")  # the first one's will do
    return found


def template(name: str) -> Template:
    """A template of this package; in HTML everything that it is given is escaped."""
    environment = Environment(loader=PackageLoader("adlib.compare"), keep_trailing_newline=True,
                              autoescape=select_autoescape(["html.j2"]))
    environment.filters |= {"plain": plain, "latex": latex, "latex_cell": _latex_cell}
    return environment.get_template(name)


def one_line(text: str) -> str:
    """Without line breaks and other control characters."""
    return "".join(" " if c.isspace() else c for c in text if c.isspace()
                   or unicodedata.category(c)[0] != "C")


def plain(text: str) -> str:
    """Text in Markdown that no name can turn into HTML, a link, a formula or another cell."""
    text = re.sub(r"([\\`*\[\]|~])|(?<!\w)_|_(?!\w)", r"\\\g<0>", escape(one_line(text), False))
    return text.replace("$", "&#36;")


def latex(text: str) -> str:
    """Text in LaTeX that compiles whatever is in it."""
    return "".join(LATEX.get(c, c) if IN_ANY_FONT.fullmatch(c) else
                   rf"\ifdefined\Umathchar {c}\else U+{ord(c):04X}\fi{{}}" for c in one_line(text))


def _latex_cell(cell: Cell) -> str:
    text = cell.text
    if len(text) > LONGEST:
        text = f"{text[:LONGEST // 2]}…{text[-LONGEST // 4:]}"
    return latex(text).replace("{-}", "$-$") if cell.is_number else latex(text)
