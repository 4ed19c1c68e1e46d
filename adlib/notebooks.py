"""What a chapter calls: :func:`setup` right after the parameters cell, :func:`interval` beside a
mean, :func:`slider` where one number is the lesson, :func:`diagram` for the drawing of a mechanism,
:func:`record` where the headline numbers are.

Importing this module makes the package ``exercises`` importable wherever the kernel was started:
the exercises lie beside the chapters, in ``notebooks/`` of a checkout.
"""

import ast
import json
import math
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adlib.files import replaced_file
from adlib.imports import nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

# what the chapters draw and compute with (interval, slider, diagram) changes along with them
__all__ = ["ParameterError", "record", "report_folder", "setup"]

ROOT = Path(__file__).resolve().parents[1]
_CHAPTERS = str(ROOT / "notebooks")
if Path(_CHAPTERS, "exercises").is_dir() and _CHAPTERS not in sys.path:
    sys.path.append(_CHAPTERS)  # last: it must not shadow what is installed


class ParameterError(ValueError):
    """A papermill parameter the notebook does not have, or of another type than its default."""

    def _render_traceback_(self) -> list[str]:
        # The sentence says all; IPython shows it instead of the frames that led here.
        return [f"{type(self).__name__}: {self}"]


def setup(seed: int = 0) -> None:
    """Bring a kernel into the state every notebook starts from; call it right after the parameters.

    Checks injected parameters (:func:`check_parameters`), keeps numerical libraries on one thread,
    sets the figure style and how arrays and tables print, and seeds the global generators of
    ``random`` and numpy. The seed is a safety net for code that forgets to pass one; notebooks hand
    ``random_state`` to everything that draws. Prints and returns nothing.

    Parameters
    ----------
    seed : int, default=0
        For the global generators.
    """
    import matplotlib as mpl
    import numpy as np
    import pandas as pd
    from threadpoolctl import threadpool_limits

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        check_parameters(shell.history_manager.input_hist_raw)
        shell.run_line_magic("matplotlib", "inline")  # whatever MPLBACKEND says
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")  # libraries not loaded yet
    threadpool_limits(1)  # those already loaded
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    np.set_printoptions(precision=3, suppress=True, linewidth=100)
    pd.set_option("display.precision", 3, "display.width", 100, "display.max_columns", 20)
    mpl.rc_file(Path(__file__).with_suffix(".mplstyle"), use_default_template=False)


@contextmanager
def said(*already: type[Warning]) -> Iterator[None]:
    """Print what a block warns of as notes, and end it in one sentence where it raises.

    Parameters
    ----------
    *already : type of warning
        Not printed, because it was said before.

    Raises
    ------
    ParameterError
        For any error that a parameter can cause.

    Examples
    --------
    >>> with said():
    ...     warnings.warn("the last row is incomplete")
    note: the last row is incomplete
    """
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        for category in already:
            warnings.simplefilter("ignore", category)
        try:
            yield
        except (OSError, TypeError, ValueError, ImportError) as error:
            raise ParameterError(" ".join(str(error).split())) from None
    for text in dict.fromkeys(str(warning.message) for warning in noticed):
        print("note:", text)


def check_parameters(sources: Sequence[str]) -> None:
    """Refuse injected parameters that the notebook does not have, in one sentence.

    Papermill only warns when a parameter is misspelt and then runs on the defaults, and its ``-p``
    turns ``true`` into a string. It puts what it was given into a cell that starts with
    ``# Parameters``, behind the cell that holds the defaults; the two are compared here.

    Parameters
    ----------
    sources : sequence of str
        Source of the cells executed so far, in order.

    Raises
    ------
    ParameterError
        For an unknown name, or a value whose type differs from the default's (``None`` fits all).

    Examples
    --------
    >>> check_parameters(["seeds = [0, 1]", "# Parameters\\nseeds = [7]"])
    >>> check_parameters(["seeds = [0, 1]", "# Parameters\\nseed = [7]"])
    Traceback (most recent call last):
    adlib.notebooks.ParameterError: no parameter 'seed' here, did you mean 'seeds'? ...
    """
    for before, source in zip(sources, sources[1:], strict=False):
        if not source.startswith("# Parameters\n"):
            continue
        defaults = _literals(before)
        for name, value in _literals(source).items():
            if name not in defaults:
                hint, takes = nearest(name, defaults, "."), ", ".join(defaults)
                raise ParameterError(f"no parameter {name!r} here{hint} There are: {takes}")
            wanted, given = type(defaults[name]), type(value)
            fits = wanted is given or (wanted, given) == (float, int)
            if not fits and defaults[name] is not None and value is not None:
                raise ParameterError(
                    f"{name} wants a {wanted.__name__} such as {defaults[name]!r}, got {value!r} "
                    f"(papermill keeps types with -y '{{{name}: ...}}' or -f, not with -p)"
                )


def _literals(source: str) -> dict[str, Any]:
    """Names assigned a literal at the top level of `source`, with their values."""
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            value = ast.literal_eval(node.value)
            found |= {target.id: value for target in targets if isinstance(target, ast.Name)}
    return found


def interval(values: "ArrayLike", level: float = 0.95) -> tuple[Any, Any]:
    """Mean over independent repetitions, and half the width of its confidence interval.

    ``mean +- t * s / sqrt(n)`` with the sample standard deviation ``s`` (n - 1 degrees of
    freedom) and Student's t (Student 1908): with 5 repetitions the factor is 2.78, and the 1.96 of
    the normal distribution would cover 87.8 % instead of 95 %. It holds for values that are
    independent of each other and not far from normal: `adlib.compare` judges rows of a series.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, ...)
        One value, or one array of values, per repetition (seed, data set).
    level : float, default 0.95
        Share of such intervals that hold the true mean, between 0 and 1.

    Returns
    -------
    mean, half : float, or ndarray of shape (...)
        ``half`` is NaN for a single repetition: one run has no interval.

    Raises
    ------
    ValueError
        When there is no value, one is not finite, or `level` is not between 0 and 1.

    Examples
    --------
    >>> mean, half = interval([0.81, 0.79, 0.84, 0.80, 0.81])
    >>> print(f"{mean:.2f} +- {half:.3f}")
    0.81 +- 0.023
    """
    import numpy as np

    from adlib.metrics.blocks import mean_and_half

    try:
        each = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        each = np.empty(0)
    if each.ndim == 0 or not len(each) or not np.isfinite(each).all():
        raise ValueError(f"interval: values must be one or more finite numbers, got {values!r}")
    if isinstance(level, str) or not 0 < level < 1:
        raise ValueError(f"interval: level must lie between 0 and 1, got {level!r}")
    return mean_and_half(each, level)


def slider(draw: Callable[..., None], /, **choices: Iterable[Any]) -> None:
    """Draw a figure that depends on a few numbers, with sliders where someone can move them.

    In JupyterLab or an editor's notebook the sliders appear above the figure. Without a reader
    (papermill, nbval, a report) the plain figure is drawn once; it is what is stored and tested.

    Parameters
    ----------
    draw : callable
        Draws for given values; ends with ``plt.show()``. It should take less than half a second.
    **choices : iterable
        For each argument of `draw` the values to choose from, ascending, two or more. The first
        figure has the value in the middle (of an even number, the lower of the two).

    Raises
    ------
    ValueError
        When an argument has fewer than two values, or two that print alike.

    Examples
    --------
    >>> slider(lambda window: print(f"window {window}"), window=(5, 20, 80))
    window 20
    """
    options = {name: _options(name, values) for name, values in choices.items()}
    middle = {name: (len(values) - 1) // 2 for name, values in options.items()}
    if not attended():
        draw(**{name: values[middle[name]][1] for name, values in options.items()})
        return
    import ipywidgets
    from IPython.display import display

    moved = {
        name: ipywidgets.SelectionSlider(
            options=values, index=middle[name], description=name.replace("_", " "),
            continuous_update=False,
            style={"description_width": "initial"}, layout={"width": "min(32rem, 95%)"})
        for name, values in options.items()
    }
    display(*moved.values(), ipywidgets.interactive_output(draw, moved))


def _options(name: str, choices: Iterable[Any]) -> list[tuple[str, Any]]:
    """Label and value of each choice; short labels where they differ."""
    values = list(choices)
    labels = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    if len(set(labels)) < len(values):
        labels = list(map(str, values))
    if len(values) < 2 or len(set(labels)) < len(values):
        raise ValueError(f"slider: {name} must be two values or more, all different, "
                         f"got {values!r}")
    return list(zip(labels, values, strict=True))


def attended() -> bool:
    """Whether a person sits at this kernel and can move a widget.

    JupyterLab and editors say so to the kernels they start; what runs notebooks by itself
    (papermill, nbval, ``make``) starts kernels directly.

    Returns
    -------
    bool
    """
    if "ADLIB_METRICS" in os.environ or "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    names = shell.user_ns if shell is not None else {}
    if any(text.startswith("# Parameters\n") for text in names.get("In", ())):
        return False  # papermill from a notebook of JupyterLab inherits its environment
    marks = ("__vsc_ipynb_file__", "__session__")
    started = {"JPY_SESSION_NAME", "VOILA_BASE_URL"} & os.environ.keys()
    return bool(started) or any(mark in names for mark in marks) or (
        "google.colab" in sys.modules)


def diagram(boxes: Mapping[str, tuple[float, float, str]],
            arrows: Sequence[tuple[str, ...]], *, colours: Mapping[str, str] | None = None,
            unit: tuple[float, float] = (1.5, 0.8), ax: "Axes | None" = None) -> "Axes":
    """Draw boxes and the arrows between them: how the parts of a method hang together.

    Parameters
    ----------
    boxes : mapping of str to (x, y, text)
        Name of a box, its place in steps to the right and upwards, and what stands in it. A text
        in parentheses is drawn without a frame.
    arrows : sequence of (from, to) or (from, to, text)
        Names of boxes; ``text`` stands beside the arrow. A third item that ends in ``"..."`` makes
        the arrow dashed (a loss, a gradient, a second way).
    colours : mapping of str to str, optional
        Colour of a box; light grey where none is given. A colour repeats what the text says.
    unit : (float, float), default (1.5, 0.8)
        Size of a step in inches; a box takes four fifths of it.
    ax : Axes, optional
        Default: a figure of the size that the boxes need.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        When an arrow names a box that is not there.
    """
    import matplotlib.pyplot as plt

    unknown = [name for arrow in arrows for name in arrow[:2] if name not in boxes]
    if unknown:
        raise ValueError(f"diagram: arrows name {unknown}, boxes are {list(boxes)}")
    xs, ys = [x for x, *_ in boxes.values()], [y for _, y, _ in boxes.values()]
    if ax is None:
        width, height = (max(v) - min(v) + 1 for v in (xs, ys))
        _, ax = plt.subplots(figsize=(width * unit[0], height * unit[1]))
    ax.set(xlim=(min(xs) - 0.5, max(xs) + 0.5), ylim=(min(ys) - 0.5, max(ys) + 0.5))
    ax.axis("off")
    drawn = {name: _box(ax, *box, (colours or {}).get(name, "0.92")) for name, box in boxes.items()}
    for start, end, *label in arrows:
        _arrow(ax, boxes[start], boxes[end], drawn[start], drawn[end], label[0] if label else "")
    return ax


def _box(ax: "Axes", x: float, y: float, text: str, colour: str) -> Any:
    from matplotlib.patches import FancyBboxPatch

    bare = text.startswith("(") and text.endswith(")")
    wide = 0.3 if bare else 0.76
    ax.text(x, y, text[1:-1] if bare else text, ha="center", va="center", fontsize=9,
            color="black", linespacing=1.15, zorder=3)
    return ax.add_patch(FancyBboxPatch(
        (x - wide / 2, y - 0.3), wide, 0.6, boxstyle="round,pad=0.02", mutation_aspect=1.5,
        facecolor="none" if bare else colour, edgecolor="none" if bare else "0.35",
        linewidth=1, zorder=2))


def _arrow(ax: "Axes", start: tuple[float, float, str], end: tuple[float, float, str],
           leaves: Any, meets: Any, text: str) -> None:
    (x0, y0, _), (x1, y1, _) = start, end
    ax.annotate("", (x1, y1), (x0, y0), zorder=1, arrowprops={
        "arrowstyle": "-|>", "color": "0.3", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 1,
        "patchA": leaves, "patchB": meets, "linestyle": "--" if text.endswith("...") else "-"})
    if beside := text.removesuffix("..."):
        ax.text((x0 + x1) / 2, (y0 + y1) / 2, beside, fontsize=8, ha="center", va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=4)


_recorded: dict[str, dict[str, dict]] = {}


def record(notebook: str, *, tolerance: float | None = 0.02, **metrics: float) -> None:
    """Record headline metrics of a notebook; call it once or more, with finite numbers.

    The values go to ``<notebook>.json`` in the folder that the environment variable
    ``ADLIB_METRICS`` names, and nowhere when it is unset (a reader at work). ``make`` shows them in
    the report, ``make refresh`` commits them as ``notebooks/expected/<notebook>.json``, and
    ``make test`` compares what the notebook computes now with that reference.

    Parameters
    ----------
    notebook : str
        File name without its ending, such as ``"02_online_zscore"``.
    tolerance : float or None, default 0.02
        Largest absolute difference from the reference that ``make test`` lets pass, for the metrics
        of this call. ``None``: shown, neither stored nor compared (seconds, speed-ups).
    **metrics : float
        Name and value.

    Raises
    ------
    ValueError
        When a value is not a finite number.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise ValueError(f"record: {name} must be a finite number, got {value}")
        # six digits: the rest differs between CPUs and would only fill diffs
        entry = {"value": float(f"{value:.6g}"), "tolerance": tolerance}
        _recorded.setdefault(notebook, {})[name] = entry
    if folder := os.environ.get("ADLIB_METRICS"):
        with replaced_file(Path(folder) / f"{notebook}.json") as draft:
            draft.write_text(json.dumps(_recorded.get(notebook, {}), indent=1) + "\n", "utf-8")


def report_folder() -> Path | None:
    """Folder ``reports/`` while ``make`` executes a notebook, else None.

    What a notebook writes there belongs to its default run; a reader's own run leaves it alone.

    Returns
    -------
    Path or None
    """
    folder = os.environ.get("ADLIB_REPORTS")
    return Path(folder) if folder else None
