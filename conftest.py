"""One environment for the tests and for the kernels that nbval starts among them."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from chapters import ROOT, differences, kernel_environment

pytest_plugins = ["stored_numbers"]  # in tools/

_metrics = pytest.StashKey[Path]()

LONGEST = {"test_browser", "test_realtime_chaos", "test_realtime_crash", "test_realtime_stop",
           "test_realtime_takeover", "test_realtime_refit", "test_notebook_05", "test_repository",
           "test_fuzz", "test_outside", "test_leaderboard", "05_model_comparison"}


def pytest_configure(config):
    # Metrics of this run go to a folder of their own: a reference is never compared with what an
    # earlier `make` left behind.
    config.stash[_metrics] = Path(tempfile.mkdtemp(prefix="adlib-metrics-"))
    kernel_environment(config.stash[_metrics])
    os.environ["MPLBACKEND"] = "Agg"  # tests draw without a window; notebooks switch to inline


def pytest_unconfigure(config):
    shutil.rmtree(config.stash[_metrics], ignore_errors=True)


class RecordedMetrics(pytest.Item):
    """Last item of a committed notebook: what it recorded, against the reference.

    Part of the notebook's own file, so that `pytest -n 2 --dist loadfile` runs it where the
    notebook ran.
    """

    def runtest(self):
        recorded = Path(os.environ["ADLIB_METRICS"]) / f"{self.path.stem}.json"
        assert recorded.exists(), f"{self.path.name} ran and recorded nothing"
        expected = self.path.parent / "expected" / recorded.name
        assert differences(*(json.loads(path.read_text()) for path in (recorded, expected))) == []

    def reportinfo(self):
        return self.path, None, f"{self.path.name}: recorded metrics"


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(items):
    notebooks = {item.parent: item for item in items if item.path.parent == ROOT / "notebooks"}
    for notebook, last in notebooks.items():
        cells = json.loads(notebook.path.read_text())["cells"]
        whole = sum(cell["cell_type"] == "code" for cell in cells)
        if sum(item.parent is notebook for item in items) == whole:
            at = items.index(last) + 1
            items.insert(at, RecordedMetrics.from_parent(notebook, name="recorded metrics"))
    # One process runs a whole file (`--dist loadfile`). The longest files begin first, so that at
    # the end no process works alone on one of them; then come notebooks, then all others.
    items.sort(key=lambda item: (item.path.stem not in LONGEST, item.path.suffix != ".ipynb"))
