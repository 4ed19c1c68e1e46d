"""What a chapter calls: :func:`setup` right after the parameters cell, :func:`record` where the
headline numbers are.

Importing this module makes the package ``exercises`` importable wherever the kernel was started:
the exercises lie beside the chapters, in ``notebooks/`` of a checkout.
"""

import ast
import difflib
import json
import math
import os
import random
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adlib.files import replaced_file

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
                close = difflib.get_close_matches(name, defaults, n=1)
                hint = f", did you mean {close[0]!r}?" if close else "."
                takes = ", ".join(defaults)
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


def report_folder(*, kept: bool = False) -> Path | None:
    """Folder ``reports/`` while ``make`` or ``make refresh`` executes a notebook, else None.

    What a notebook writes there belongs to its default run; a reader's own run leaves it alone.

    Parameters
    ----------
    kept : bool, default False
        For files that the repository keeps: None unless ``make refresh`` renews them.

    Returns
    -------
    Path or None
    """
    folder = os.environ.get("ADLIB_REPORTS")
    renewed = os.environ.get("ADLIB_REFRESH") or not kept
    return Path(folder) if folder and renewed else None
