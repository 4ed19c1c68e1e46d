"""What arrives at somebody who installs the wheel, with and without the extras."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def python(*arguments, path, cwd):
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, text=True,
                          env=os.environ | {"PYTHONPATH": str(path)}, capture_output=True)


# ------------------------------------------------------------------ the wheel

REPORT = """
import sys
from pathlib import Path

import adlib.notebooks
from adlib.compare import compare, write_report
from adlib.datasets import make_sensor_stream

assert "exercises" not in sys.modules and not any(p.endswith("notebooks") for p in sys.path)
stream = make_sensor_stream(400, 0.05, random_state=0)
table = compare("MaxAbsZ", stream, [0], baselines=False, progress=False, n_random=0)
page = write_report(table, "report", datasets=[stream], title="A <title>")
assert "A &lt;title&gt;" in page.read_text("utf-8")
print(adlib.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder that a wheel of this tree was installed into, without anything else."""
    folder = tmp_path_factory.mktemp("package")
    tree = folder / "tree"  # a build writes beside what it builds
    shutil.copytree(ROOT / "adlib", tree / "adlib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip = ["-m", "pip", "--quiet", "--no-input"]
    build = python(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index",
                   "--wheel-dir", folder, tree, path="", cwd=folder)
    assert build.returncode == 0, build.stderr
    (wheel,) = folder.glob("adlib-*.whl")
    home = folder / "home"
    done = python(*pip, "install", "--no-deps", "--no-index", "--target", home, wheel,
                  path="", cwd=folder)
    assert done.returncode == 0, done.stderr
    return home


def test_the_wheel_holds_every_file_of_the_package(installed):
    wanted = {path.relative_to(ROOT) for path in (ROOT / "adlib").rglob("*")
              if path.is_file() and "__pycache__" not in path.parts}
    there = {path.relative_to(installed) for path in (installed / "adlib").rglob("*")
             if "__pycache__" not in path.parts}
    assert Path("adlib", "py.typed") in wanted
    assert sorted(wanted - there) == []


def test_the_installed_package_renders_a_report(installed, tmp_path):
    run = python("-c", REPORT, path=installed, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).is_relative_to(installed)
# ------------------------------------------------------------------ without the extras

WITHOUT = """
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {library!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Refuse())
try:
    {statement}
except ImportError as error:
    print(error)
"""


DRAWN = """import pandas as pd; from adlib import compare, plots
    plots.critical_difference(compare.rank_detectors(pd.DataFrame(
        [(d, "detector", s, 0, "average_precision", v, "ok") for s in "abcdef"
         for d, v in (("A", 0.8), ("B", 0.7), ("C", 0.6))], columns=[
            "detector", "role", "dataset", "seed", "metric", "value", "status"])))"""


@pytest.mark.parametrize(("library", "extra", "statement"), [
    ("torch", "deep", "import adlib.detectors; adlib.detectors.VAE"),
    ("torch", "deep", "import adlib.training"),
    ("pydantic", "live", "import adlib.realtime"),
    ("river", "live", "from adlib.drift import DriftMonitor; "
                      "DriftMonitor().fit([i % 7.0 for i in range(999)])"),
    ("skops", "sklearn", "import adlib; from sklearn.decomposition import PCA; "
                         "adlib.save(PCA(1).fit([[0.0, 1], [1, 0]]), 'model')"),
    ("scikit_posthocs", "notebooks", DRAWN),
])
def test_a_missing_extra_is_one_sentence_that_names_it(library, extra, statement, tmp_path):
    code = WITHOUT.format(library=library, statement=statement)
    run = python("-c", code, path=ROOT, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout == (
        f"{library} is not installed: pip install -e '.[{extra}]' in adlib's folder\n")
