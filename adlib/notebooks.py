"""What notebooks share: the set-up cell, recorded metrics, execution, refresh and reports.

Inside a notebook two calls matter: :func:`setup` right after the parameters cell and
:func:`record` where the headline numbers are. From outside, ``python -m adlib.notebooks`` executes
the notebooks with papermill and writes ``reports/index.html`` (``run``), writes the pages again
without executing (``report``), or re-executes the committed notebooks in place (``refresh``).
"""

import argparse
import ast
import base64
import difflib
import html
import io
import json
import math
import multiprocessing
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from adlib.files import replaced_file

ROOT = Path(__file__).resolve().parents[1]
CELL_TIMEOUT = 900  # seconds; a hung cell fails instead of stopping the whole run
START_TIMEOUT = 180  # seconds; a kernel on a busy machine needs more than the default minute

_STYLE = {
    "figure.figsize": (9.0, 3.2),
    "figure.dpi": 80,  # text sharp enough to read, notebooks small enough to review
    "figure.constrained_layout.use": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
}


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
    mpl.rcParams.update(_STYLE)


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
    found = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {t.id: ast.literal_eval(node.value) for t in targets if isinstance(t, ast.Name)}
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
        of this call. ``None``: shown, never compared (seconds, speed-ups).
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
        _write_json(Path(folder) / f"{notebook}.json", _recorded.get(notebook, {}))


def differences(recorded: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Where recorded metrics leave the tolerance of the expected ones, as sentences.

    Parameters
    ----------
    recorded, expected : mapping
        Contents of the JSON files that `record` writes.

    Returns
    -------
    list of str
        Empty when all is within its tolerance.
    """
    if recorded.keys() != expected.keys():
        return [f"recorded {sorted(recorded)}, expected {sorted(expected)}"]
    return [
        f"{name}: {recorded[name]['value']} is not {metric['value']} +- {metric['tolerance']}"
        for name, metric in expected.items()
        if metric["tolerance"] is not None
        and not abs(recorded[name]["value"] - metric["value"]) <= metric["tolerance"]
    ]


def report_folder() -> Path | None:
    """Folder ``reports/`` while ``make`` or ``make refresh`` executes a notebook, else None.

    What a notebook writes there belongs to its default run; a reader's own run leaves it alone.

    Returns
    -------
    Path or None
    """
    folder = os.environ.get("ADLIB_REPORTS")
    return Path(folder) if folder else None


@dataclass(frozen=True)
class Run:
    """How executing one notebook went.

    Attributes
    ----------
    notebook : str
        File name without its ending.
    seconds : float
    error : str
        Last line of its failure, or empty.
    """

    notebook: str
    seconds: float
    error: str


def kernel_environment(metrics: Path, reports: Path | None = None) -> None:
    """Set this process's environment as its kernels shall inherit it.

    One thread each, inline figures, metrics recorded in the folder `metrics`, `reports` as what
    `report_folder` gives them; a relative ``ADLIB_DATA`` is read from the repository's root, since
    kernels start in ``notebooks/``.

    Parameters
    ----------
    metrics : Path
        Where `record` writes.
    reports : Path, optional
        None: the run is not one of ``make``.
    """
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
    os.environ.update(ADLIB_METRICS=str(metrics), PYDEVD_DISABLE_FILE_VALIDATION="1")
    os.environ.pop("MPLBACKEND", None)
    os.environ.pop("ADLIB_REPORTS", None)
    if reports is not None:
        os.environ["ADLIB_REPORTS"] = str(reports)
    if data := os.environ.get("ADLIB_DATA"):
        os.environ["ADLIB_DATA"] = str((ROOT / data).resolve())


def execute_all(names: Iterable[str] = (), *, jobs: int = 2, root: Path = ROOT) -> list[Run]:
    """Execute notebooks with papermill on their default parameters, at most `jobs` at once.

    Executed copies go to ``reports/executed/``, metrics to ``reports/metrics/``. A failing notebook
    is a :class:`Run` with its error; the rest still run.

    Parameters
    ----------
    names : iterable of str, default=()
        Such as ``"02_online_zscore"``; none: all.
    jobs : int, default=2
        Kernels at once.
    root : path
        Folder that holds ``notebooks/``; default: this repository.

    Returns
    -------
    list of Run
        In the order of the notebooks.

    Raises
    ------
    FileNotFoundError
        When there is no notebook of that name.
    """
    (root / "reports" / "executed").mkdir(parents=True, exist_ok=True)
    kernel_environment(root / "reports" / "metrics", root / "reports")
    work = partial(_timed, _papermill, root)
    # papermill changes the working directory, so processes, not threads
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [_say(run) for run in pool.map(work, _paths(names, root))]


def refresh(names: Iterable[str] = (), *, root: Path = ROOT) -> list[Run]:
    """Re-execute committed notebooks in place, normalise them, and renew their reference metrics.

    A notebook that fails is left as it was.

    Parameters
    ----------
    names : iterable of str, default=()
        Such as ``"02_online_zscore"``; none: all.
    root : path
        Folder that holds ``notebooks/``; default: this repository.

    Returns
    -------
    list of Run
        In the order of the notebooks.

    Raises
    ------
    FileNotFoundError
        When there is no notebook of that name.
    """
    paths, before = _paths(names, root), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        kernel_environment(Path(folder), root / "reports")
        try:
            return [_say(_timed(_in_place, root, path)) for path in paths]
        finally:
            os.environ.clear()
            os.environ.update(before)


def _timed(execute: Any, root: Path, path: Path) -> Run:
    started, error = time.perf_counter(), ""
    try:
        execute(root, path)
    except Exception as failure:  # whatever went wrong is this notebook's result
        lines = [line for line in str(failure).splitlines() if line.strip()]
        error = lines[-1].strip() if lines else type(failure).__name__
    return Run(path.stem, time.perf_counter() - started, error)


def _papermill(root: Path, path: Path) -> None:
    import papermill

    executed = root / "reports" / "executed" / path.name
    for old in (executed, root / "reports" / "metrics" / f"{path.stem}.json"):
        old.unlink(missing_ok=True)
    papermill.execute_notebook(
        path,
        executed,
        cwd=root / "notebooks",
        progress_bar=False,
        start_timeout=START_TIMEOUT,
        execution_timeout=CELL_TIMEOUT,
    )


def _in_place(root: Path, path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    nb = normalise(nbformat.read(path, as_version=4))
    NotebookClient(
        nb,
        timeout=CELL_TIMEOUT,
        startup_timeout=START_TIMEOUT,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(root / "notebooks")}},
    ).execute()
    nbformat.write(normalise(nb), path)
    recorded = Path(os.environ["ADLIB_METRICS"]) / f"{path.stem}.json"
    if recorded.exists():
        _write_json(root / "notebooks" / "expected" / recorded.name, _read_json(recorded))


def normalise(nb: Any) -> Any:
    """Strip what differs between editors and machines from a notebook node, in place; return it.

    Pictures are stored with a palette, which makes them small enough to be committed.

    Parameters
    ----------
    nb : NotebookNode
        Changed in place.

    Returns
    -------
    NotebookNode
        The same.
    """
    nb.metadata = type(nb.metadata)(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
    )
    nb.nbformat, nb.nbformat_minor = 4, 5  # the first version with cell ids
    seen: set[str] = set()
    for position, cell in enumerate(nb.cells):
        tags = cell.metadata.get("tags")
        cell.metadata = type(cell.metadata)(tags=tags) if tags else type(cell.metadata)()
        if cell.get("id") in seen or not cell.get("id"):
            cell["id"] = f"cell-{position:02d}"
        seen.add(cell["id"])
        for output in cell.get("outputs", []):
            if "image/png" in (data := output.get("data", {})):
                data["image/png"] = _with_palette(data["image/png"])
    return nb


def _with_palette(png: str) -> str:
    """The same picture (base64) in 256 colours: about half the size, in every version git keeps."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "P":
        return png
    smaller = io.BytesIO()
    picture.convert("RGB").quantize(256).save(smaller, "png", optimize=True)
    return base64.b64encode(smaller.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>adlib: notebooks</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: auto; padding: 1rem }}
article {{ display: grid; grid-template-columns: 1fr 22rem; gap: 1.5rem; padding: 1rem 0;
  border-top: 1px solid #ccc }}
h2 {{ font-size: 1.1rem; margin: 0 }} img {{ width: 100% }} td {{ padding-right: 1.5rem }}
table {{ font-variant-numeric: tabular-nums }} .ok {{ color: #17692b }} .failed {{ color: #b00020 }}
footer {{ border-top: 1px solid #ccc; color: #555; font-size: .85rem }}
</style></head><body><h1>adlib: notebooks</h1><p>{summary}</p>
{articles}<footer><p>{origin}</p></footer></body></html>
"""

_ARTICLE = """<article><div><h2>{title}</h2>
<p><span class="{css}">{status}</span>, {seconds:.0f} s &middot; <a href="html/{name}.html">page</a>
&middot; <a href="html/{name}_no_code.html">without code</a></p>
<table>{metrics}</table></div><div>{figure}</div></article>
"""

# nbconvert's page without what it would fetch from the network
_OFFLINE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js_requirejs %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
"""


def build_reports(runs: Sequence[Run], *, root: Path = ROOT) -> Path:
    """Write HTML pages of the executed notebooks and ``reports/index.html``; return its path.

    Parameters
    ----------
    runs : sequence of Run
        What to show, in order.
    root : path
        Folder that holds ``notebooks/``; default: this repository.

    Returns
    -------
    Path
        ``reports/index.html``.
    """
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    reports = root / "reports"
    (reports / "html").mkdir(parents=True, exist_ok=True)
    template = {
        "template_file": "offline.html.j2",
        "extra_loaders": [DictLoader({"offline.html.j2": _OFFLINE})],
    }
    pages = {"": HTMLExporter(**template), "_no_code": HTMLExporter(**template, exclude_input=True)}
    articles = []
    for run in runs:
        executed = reports / "executed" / f"{run.notebook}.ipynb"
        if not executed.exists():  # it failed before it began: show the notebook itself
            executed = root / "notebooks" / executed.name
        nb = nbformat.read(executed, as_version=4)
        for suffix, page in pages.items():
            body, _ = page.from_notebook_node(nb, {"metadata": {"name": run.notebook}})
            # A link stands as seen from the notebook; the page lies elsewhere, among other pages.
            body = re.sub(r'href="(\d\d_\w+)\.ipynb"', rf'href="\1{suffix}.html"', body)
            body = body.replace('href="../', 'href="../../')
            (reports / "html" / f"{run.notebook}{suffix}.html").write_text(body, encoding="utf-8")
        title = re.search(r"^# (.+)$", "\n".join(cell.source for cell in nb.cells), re.MULTILINE)
        metrics = reports / "metrics" / f"{run.notebook}.json"
        rows = _read_json(metrics).items() if metrics.exists() else ()
        articles.append(
            _ARTICLE.format(
                title=html.escape(title[1] if title else run.notebook),
                name=run.notebook,
                css="failed" if run.error else "ok",
                status=html.escape(f"failed: {run.error}" if run.error else "ok"),
                seconds=run.seconds,
                metrics="".join(f"<tr><td>{k}</td><td>{v['value']:.4g}</td></tr>" for k, v in rows),
                figure=_key_figure(nb),
            )
        )
    failed = sum(bool(run.error) for run in runs)
    book = reports / "book" / "index.html"  # make book
    page = _PAGE.format(
        summary=f"{len(runs)} notebooks on their default parameters, {failed} failed."
        + (' <a href="book/index.html">The book</a>.' if book.exists() else ""),
        articles="".join(articles),
        origin=_origin(root),
    )
    (reports / "index.html").write_text(page, encoding="utf-8")
    return reports / "index.html"


def _key_figure(nb: Any) -> str:
    """The figure of the cell tagged ``key-figure``, else the first one, as an img element."""
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    cells.sort(key=lambda cell: "key-figure" not in cell.metadata.get("tags", []))
    pngs = (o.get("data", {}).get("image/png") for cell in cells for o in cell.outputs)
    png = next(filter(None, pngs), None)
    return f'<img alt="key figure" src="data:image/png;base64,{png}">' if png else ""


def _origin(root: Path) -> str:
    """Which code, when and on what: a number without its origin is worth little."""
    git = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # an archive, not a clone
        commit = "unknown"
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Commit {commit}, {when}, Python {platform.python_version()}, {platform.machine()}."


def _say(run: Run) -> Run:
    print(f"{run.notebook}: {run.error or 'ok'} ({run.seconds:.0f} s)", flush=True)
    return run


def _paths(names: Iterable[str], root: Path) -> list[Path]:
    paths = [root / "notebooks" / f"{Path(name).stem}.ipynb" for name in names]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no notebook named {path.stem!r} in notebooks/")
    return paths or sorted((root / "notebooks").glob("*.ipynb"))


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, content: Any) -> None:
    with replaced_file(path) as draft:
        draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 when a notebook failed.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the command line.

    Returns
    -------
    int
    """
    parser = argparse.ArgumentParser(prog="python -m adlib.notebooks", description=__doc__)
    parser.add_argument("command", choices=["run", "report", "refresh"])
    parser.add_argument("names", nargs="*", help="such as 02_online_zscore; default: all")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder that holds notebooks/")
    options = parser.parse_intermixed_args(arguments)
    root, log = options.root.resolve(), options.root.resolve() / "reports" / "runs.json"
    if options.command == "refresh":
        return int(any(run.error for run in refresh(options.names, root=root)))
    if options.command == "run":
        runs = execute_all(options.names, root=root)
        _write_json(log, [asdict(run) for run in runs])
    else:
        runs = [Run(**run) for run in _read_json(log)]
    print(f"wrote {build_reports(runs, root=root).relative_to(root)}")
    return int(any(run.error for run in runs))


if __name__ == "__main__":
    sys.exit(main())
