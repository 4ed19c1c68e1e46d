"""What a fresh process loads: a detector brings its own libraries and no other's."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "numba", "skops", "river", "seaborn", "scikit_posthocs", "matplotlib"}
KNN_FOLDER = Path(__file__).parent / "data" / "format-1" / "knn"
DATA = """
import numpy as np
from adlib.datasets import Dataset
X = np.random.default_rng(0).normal(size=(200, 2))
"""


def loaded(code, *arguments):
    """Top-level modules of a fresh process after running code."""
    code += "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
                          check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_adlib():
    assert not loaded("import adlib") & (HEAVY | {"numpy", "pandas", "sklearn", "scipy"})


def test_loading_a_saved_detector_imports_its_own_module(tmp_path):
    from adlib.detectors import PCAReconstruction
    from adlib.persist import save

    saved = save(PCAReconstruction().fit([[0.0, 1.0], [1.0, 2.0], [2.0, 1.0]] * 20),
                 tmp_path / "pca")
    code = ("import sys, adlib\nadlib.load(sys.argv[1])\n"
            "assert 'adlib.detectors.knn' not in sys.modules")
    assert not loaded(code, saved) & HEAVY


@pytest.mark.parametrize("named", ["'KNN'", "'PCAReconstruction(n_components=1)'"])
def test_compare_imports_what_it_compares(named):
    code = DATA + f"""
from adlib.compare import compare
data = Dataset("noise", X, np.arange(200) > 190, train_end=100)
compare([{named}], [data], [0], n_random=0, intervals=False, progress=False)"""
    assert not loaded(code) & (HEAVY - {"matplotlib"})


def test_an_engine_with_a_classical_detector():
    pytest.importorskip("pydantic")
    code = DATA + """
from adlib.realtime import RealTimeAnomalyDetector
RealTimeAnomalyDetector({"deep_config": None, "stat_config": None, "window_size": 10,
                         "detectors": ["PCAReconstruction"]})"""
    assert not loaded(code) & HEAVY


def test_a_missing_library_is_one_sentence_that_names_the_extra():
    code = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
import adlib
assert "KNN" in adlib.all_detectors() and "VAE" not in adlib.all_detectors()
for ask in ("from adlib.detectors import VAE", "import adlib.training",
            "adlib.detectors.find_detector('VAE')"):
    try:
        exec(ask)
        raise SystemExit(ask)
    except ImportError as error:
        assert str(error).startswith("torch is not installed: pip install -e '.[deep]'"), error
"""
    loaded(code)
