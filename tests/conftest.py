"""One environment for the tests and for the kernels that nbval starts among them."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from adlib.notebooks import kernel_environment

_metrics = pytest.StashKey[Path]()


def pytest_configure(config):
    # Metrics of this run go to a folder of their own: a reference is never compared with what an
    # earlier `make` left behind.
    config.stash[_metrics] = Path(tempfile.mkdtemp(prefix="adlib-metrics-"))
    kernel_environment(config.stash[_metrics])
    os.environ["MPLBACKEND"] = "Agg"  # tests draw without a window; notebooks switch to inline


def pytest_unconfigure(config):
    shutil.rmtree(config.stash[_metrics], ignore_errors=True)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("after_notebooks") is not None)
