"""Execute the chapters, renew what is stored of them, and write the pages that show them.

    python tools/chapters.py run [02_online_zscore ...]      # papermill, then reports/index.html
    python tools/chapters.py report                          # the pages alone
    python tools/chapters.py refresh [02_online_zscore ...]  # re-execute in place, as committed

What a chapter itself calls is in :mod:`adlib.notebooks`.
"""

import argparse
import base64
import io
import json
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import choosing
import leaderboard
from adlib.compare.provenance import git
from adlib.files import replaced_file
from formulas import mathml

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).with_name("templates")
CELL_TIMEOUT = 900  # seconds; a hung cell fails instead of stopping the whole run
CELL_METADATA = ("tags", "tolerance", "jupyter")  # what a committed cell may carry
FOLDED = {"source_hidden": True}  # how JupyterLab knows a cell tagged hide-input
INDEX = "00_index"  # shows what the others found
LIGHT = ("00", "02", "06", "07")  # chapters of the light core, run as where there is no torch
WITHOUT_TORCH = Path(__file__).with_name("without_torch.py")
START_TIMEOUT = 180  # seconds; a kernel on a busy machine needs more than the default minute


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
    recorded = compared(recorded)
    if recorded.keys() != expected.keys():
        return [f"recorded {sorted(recorded)}, expected {sorted(expected)}"]
    return [
        f"{name}: {recorded[name]['value']} is not {metric['value']} +- {metric['tolerance']}"
        for name, metric in expected.items()
        if not abs(recorded[name]["value"] - metric["value"]) <= metric["tolerance"]
    ]


def compared(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded metrics that have a tolerance: the rest, such as seconds, is only shown.

    Parameters
    ----------
    recorded : mapping
        Content of a JSON file that `record` writes.

    Returns
    -------
    dict
    """
    return {name: m for name, m in recorded.items() if m["tolerance"] is not None}


@dataclass(frozen=True)
class Run:
    """How executing one notebook went.

    Attributes
    ----------
    notebook : str
        File name without its ending.
    seconds : float
        By the clock.
    error : str
        Last line of its failure, or empty.
    processor : float
        Seconds of processor time that its kernel took, with all that the kernel started.
    """

    notebook: str
    seconds: float
    error: str
    processor: float = 0.0


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
    # what torch compiles: by default in a folder that stays behind in the temporary one
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(metrics / "torch"))
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
    work = partial(_timed, _make, root)
    # papermill changes the working directory, so processes, not threads
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        paths = _paths(names, root)
        if root == ROOT and not names:
            paths.insert(0, leaderboard.COPY)  # the longest of all begins first
        return [_say(run) for run in pool.map(work, paths)]


def refresh(names: Iterable[str] = (), *, root: Path = ROOT) -> list[Run]:
    """Re-execute committed notebooks in place, normalise them, and renew their reference metrics.

    A notebook that fails is left as it was. Chapter 00 quotes the others, and docs/choosing.md: it
    comes last, and that page is written before it.

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
    paths.sort(key=lambda path: path.stem == INDEX)
    with tempfile.TemporaryDirectory() as folder:
        kernel_environment(Path(folder))
        try:
            return [_say(_timed(_in_place, root, path)) for path in paths]
        finally:
            os.environ.clear()
            os.environ.update(before)


def _timed(execute: Any, root: Path, path: Path) -> Run:
    started, spent, error = time.perf_counter(), _children(), ""
    try:
        execute(root, path)
    except Exception as failure:  # whatever went wrong is this notebook's result
        lines = [line for line in str(failure).splitlines() if line.strip()]
        error = lines[-1].strip() if lines else type(failure).__name__
    return Run(path.stem, time.perf_counter() - started, error, _children() - spent)


def _children() -> float:
    """Processor seconds of the processes that this one started and that have ended."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _make(root: Path, path: Path) -> None:
    """What `make` does of a chapter, or of the leaderboard."""
    if path != leaderboard.COPY:
        return _papermill(root, path)
    path.unlink(missing_ok=True)
    script = Path(leaderboard.__file__)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


def _papermill(root: Path, path: Path) -> None:
    import papermill

    executed = root / "reports" / "executed" / path.name
    for old in (executed, root / "reports" / "metrics" / f"{path.stem}.json"):
        old.unlink(missing_ok=True)
    with _without_torch() if path.stem[:2] in LIGHT else nullcontext():
        papermill.execute_notebook(
            path,
            executed,
            cwd=root / "notebooks",
            progress_bar=False,
            start_timeout=START_TIMEOUT,
            execution_timeout=CELL_TIMEOUT,
        )


@contextmanager
def _without_torch() -> Iterator[None]:
    """Kernels started in the block find no torch, as where it was never installed.

    IPython runs what lies in the folder ``startup`` of its profile before the first cell.
    """
    before = os.environ.get("IPYTHONDIR")
    with tempfile.TemporaryDirectory() as folder:
        startup = Path(folder, "profile_default", "startup")
        startup.mkdir(parents=True)
        shutil.copy(WITHOUT_TORCH, startup)
        os.environ["IPYTHONDIR"] = folder
        try:
            yield
        finally:
            del os.environ["IPYTHONDIR"]
            if before is not None:
                os.environ["IPYTHONDIR"] = before


def _in_place(root: Path, path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    if path.stem == INDEX and root == ROOT:
        choosing.write()
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
        _write_json(root / "notebooks" / "expected" / recorded.name, compared(_read_json(recorded)))


def normalise(nb: Any) -> Any:
    """Strip what differs between editors and machines from a notebook node, in place; return it.

    Code cells tagged ``hide-input`` open folded, in JupyterLab as in the reports and the book.
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
        kept = {key: cell.metadata[key] for key in CELL_METADATA if cell.metadata.get(key)}
        kept.pop("jupyter", None)
        if "hide-input" in kept.get("tags", []):
            kept["jupyter"] = FOLDED
        cell.metadata = type(cell.metadata)(kept)
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
    from jinja2 import Environment, FileSystemLoader

    reports = root / "reports"
    (reports / "html").mkdir(parents=True, exist_ok=True)
    templates = FileSystemLoader(TEMPLATES)
    layout = {"template_file": "offline.html.j2", "extra_loaders": [templates]}
    exporter = _exporter()
    pages = {"": exporter(**layout), "_no_code": exporter(**layout, exclude_input=True)}
    chapters = []
    findings = _findings(root)
    board = _board(reports, pages["_no_code"])
    for run in runs:
        if run.notebook == leaderboard.COPY.stem:
            board["run"] = run
            continue
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
        metrics = reports / "metrics" / f"{run.notebook}.json"
        recorded = _read_json(metrics) if metrics.exists() else {}
        chapters.append({
            "run": run,
            "title": _title(nb) or run.notebook,
            "question": _question(nb),
            "found": found(findings.get(run.notebook[:2], ""), recorded),
            "metrics": recorded,
            "figure": _key_figure(nb),
        })
    html = Environment(loader=templates, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    index = html.get_template("index.html.j2").render(
        chapters=chapters,
        board=board,
        book=(reports / "book" / "index.html").exists(),  # make book
        origin=_origin(root),
    )
    (reports / "index.html").write_text(index, encoding="utf-8")
    return reports / "index.html"


def _board(reports: Path, page: Any) -> dict[str, Any]:
    """The copy of the leaderboard as a page, and where it departs from the committed one."""
    import nbformat

    copy = reports / "html" / leaderboard.COPY.name
    if not copy.exists():
        return {}
    cell = nbformat.v4.new_markdown_cell(copy.with_suffix(".md").read_text(encoding="utf-8"))
    body, _ = page.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]),
                                      {"metadata": {"name": copy.stem}})
    copy.with_suffix(".html").write_text(body.replace('href="../', 'href="../../'), "utf-8")
    found = leaderboard.differences(_read_json(copy), _read_json(leaderboard.KEPT))
    return {"differences": found, "tolerance": leaderboard.TOLERANCE}


def _exporter() -> Any:
    """nbconvert's exporter of pages, with formulas as MathML instead of a script's work."""
    from jinja2 import pass_context
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body: str) -> str:
            return mathml(body, display=True)

        def inline_math(self, body: str) -> str:
            return mathml(body)

    class Exporter(HTMLExporter):
        @pass_context
        def markdown2html(self, context: Any, source: str) -> str:
            return MarkdownWithMath(renderer=Renderer(escape=False)).render(source)

    return Exporter


def _title(nb: Any) -> str:
    """The first heading, or nothing."""
    found = re.search(r"^# (.+)$", "\n".join(cell.source for cell in nb.cells), re.MULTILINE)
    return found[1] if found else ""


def _question(nb: Any) -> str:
    """What the chapter asks: the first paragraph below its title, or nothing."""
    lines = nb.cells[0].source.partition("\n\n")[2] if nb.cells else ""
    asked = re.sub(r"<!--.*?-->|[*`]", "", lines.partition("\n\n")[0], flags=re.DOTALL)
    return " ".join(asked.split())


def _findings(root: Path) -> dict[str, str]:
    """What each chapter found, with names for its figures, by its number."""
    import yaml

    path = root / "notebooks" / "findings.yaml"
    sentences = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}) or {}
    for chapter, sentence in sentences.items():
        if not (isinstance(chapter, str) and isinstance(sentence, str)):
            got = f"{chapter!r}: {sentence!r}"
            raise ValueError(f'findings.yaml: wants "02": a sentence, got {got}')
    return sentences


def found(template: str, recorded: Mapping[str, Any]) -> str:
    """What a chapter found, in a sentence: `template` with the figures that it recorded.

    Parameters
    ----------
    template : str
        From ``notebooks/findings.yaml``.
    recorded : mapping
        Content of a JSON file that `record` writes.

    Returns
    -------
    str
        Empty when a figure is missing: the run failed, or was made on other data.

    Raises
    ------
    ValueError
        When the braces of `template` hold anything but a name and a format.

    Examples
    --------
    >>> found("a plain window finds {plain:.0%}", {"plain": {"value": 0.17, "tolerance": 0.02}})
    'a plain window finds 17 %'
    """
    try:
        filled = template.format_map({name: metric["value"] for name, metric in recorded.items()})
    except KeyError:
        return ""
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"findings.yaml: {template!r} cannot be filled in: {error}") from None
    return re.sub(" ?%", " %", filled)


def _key_figure(nb: Any) -> str:
    """The figure of the cell tagged ``key-figure``, else the first one, in base64; or nothing."""
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    cells.sort(key=lambda cell: "key-figure" not in cell.metadata.get("tags", []))
    pngs = (o.get("data", {}).get("image/png") for cell in cells for o in cell.outputs)
    return next(filter(None, pngs), "")


def _origin(root: Path) -> str:
    """Which code, when and on what: a number without its origin is worth little."""
    commit = git("describe", "--always", "--dirty", root=root) or "unknown"
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Commit {commit}, {when}, Python {platform.python_version()}, {platform.machine()}."


def _say(run: Run) -> Run:
    print(f"{run.notebook}: {run.error or 'ok'} ({run.seconds:.0f} s, {run.processor:.0f} s of "
          "processor time)", flush=True)
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
    parser = argparse.ArgumentParser(description="Execute, refresh and show the chapters.")
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
