"""What holds the repository together: requirements, import direction, the README as written."""

import ast
import doctest
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import datetime, timedelta
from email.message import Message
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import dependencies
from adlib.realtime.config import EngineConfig
from prose import references

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = PROJECT["dependencies"] + [
    requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra
]


def fresh_python(code):
    """Standard output of `code` in a new process."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout


# ------------------------------------------------------------------ requirements


def test_environment_yml_repeats_pyproject():
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = [line for line in pip["pip"] if not line.startswith("-")]
    assert listed == REQUIREMENTS
    assert {"-c requirements.lock", "-e ."} <= set(pip["pip"])
    python = next(line.partition("=")[2] for line in conda if line.startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python)


def test_every_locked_package_may_be_used_freely_and_stands_on_the_page(monkeypatch):
    pins = [pin.name for pin in dependencies.locked()]
    families = {name: dependencies.licence(name) for name in pins}  # one without is refused
    words = {word for family in families.values() for word in family.split(" and ")}
    assert len(families) > 150 and words <= set(dependencies.LICENCES.values())
    if sys.platform == "linux":  # elsewhere other packages are installed
        assert dependencies.PAGE.read_text() == dependencies.page(), "python tools/dependencies.py"
    stated = Message()
    monkeypatch.setattr(dependencies.metadata, "metadata", lambda name: stated)
    with pytest.raises(ValueError, match="numpy states no licence"):
        dependencies.licence("numpy")
    stated["License"] = "see MIT-style notes"
    for expression, found in {
            "GPL-3.0-or-later AND MIT": None, "LicenseRef-Proprietary AND Apache-2.0": None,
            "AGPL-3.0-only": None, "(MIT AND GPL-2.0-only)": None,
            "GPL-2.0-only OR MIT": "MIT", "MIT AND PSF-2.0": "MIT and PSF"}.items():
        del stated["License-Expression"]
        stated["License-Expression"] = expression
        if found:
            assert dependencies.licence("numpy") == found
        else:
            with pytest.raises(ValueError, match="numpy states no licence"):
                dependencies.licence("numpy")


def test_lock_pins_everything_pyproject_asks_for():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    for pin in pins:
        (pinned,) = pin.specifier
        assert pinned.operator == "==" and pin.url is None, f"{pin} is not a plain pin"
        assert Version(pinned.version).local is None, f"{pin} exists on one index only"
    faults = []
    for requirement in map(Requirement, REQUIREMENTS):
        found = [
            next(iter(p.specifier)).version for p in pins if p.name == requirement.name.lower()
        ]
        if not found or not all(map(requirement.specifier.contains, found)):
            faults.append(f"{requirement}, locked {found}: make lock")
    assert faults == []


# ------------------------------------------------------------------ imports

# Lower layers know nothing of higher ones. The README draws them, highest first; a line begins with
# its modules, and two spaces end the list.
DRAWN = re.search(r"^```text\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)[1]
LAYERS = {
    name: layer
    for layer, line in enumerate(reversed(DRAWN.splitlines()))
    for name in line.partition("  ")[0].split(", ")
}


def imports(source, package):
    """Full names of the modules that `source` imports anywhere, its relative imports resolved."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parts, *filter(None, [node.module])]) if node.level else node.module
            found.add(base)
            if base == "adlib":  # "from adlib import metrics" imports a module
                found |= {f"adlib.{alias.name}" for alias in node.names}
    return found


def modules():
    for path in sorted((ROOT / "adlib").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        package = ".".join(parts[:-1])
        yield parts[1].removesuffix("__init__"), path, imports(path.read_text(), package)


def test_imports_are_read_as_python_reads_them():
    source = (
        "import torch.nn\nfrom ..base import Detector\nfrom . import x\n"
        "def f():\n    from adlib import metrics"
    )
    found = imports(source, "adlib.detectors")
    assert found == {"torch.nn", "adlib.base", "adlib.detectors", "adlib", "adlib.metrics"}


def test_imports_point_one_way():
    graph, faults = {}, []
    for own, path, found in modules():
        if not own:  # adlib/__init__ names everything and imports on demand
            continue
        if own not in LAYERS:
            faults.append(f"adlib.{own}: draw the new module in the README")
            continue
        ours = {name.split(".")[1] for name in found if name.startswith("adlib.")} - {own}
        graph.setdefault(own, set()).update(ours & LAYERS.keys())
        faults += [f"{path.relative_to(ROOT)} must not import adlib.{other}"
                   for other in sorted(ours & LAYERS.keys()) if LAYERS[other] >= LAYERS[own]]
    faults += [f"the README draws adlib.{name}, which is not there" for name in LAYERS
               if name not in graph]
    assert faults == []


def test_no_modules_import_each_other_in_a_circle():
    files = {}
    for _, path, found in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        files[name] = {other for other in found if other.startswith("adlib.")} - {name}
    del files["adlib"]  # names everything and imports on demand
    list(TopologicalSorter(files).static_order())  # CycleError names the circle


def foreign_underscores(source):
    """Underscore names that `source` takes from elsewhere: imported, or read of another object."""
    tree = ast.parse(source)
    own = {node.attr for node in ast.walk(tree)
           if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    own |= {node.name for node in ast.walk(tree) if hasattr(node, "name") and node.name}
    own |= {node.target.id for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names
                      if alias.name.startswith("_") and not alias.name.startswith("__")]
        elif isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            of = ast.unparse(node.value)
            if node.attr not in own and of not in ("self", "cls", "super()"):
                found.append(f"{of}.{node.attr}")
    return found


def test_foreign_underscore_names_are_seen():
    source = ("from adlib.base import _draw_seed\n"
              "def f(self, model):\n    self._mine = 1\n    return self._mine, model._features")
    assert foreign_underscores(source) == ["adlib.base._draw_seed", "model._features"]


def test_no_module_reaches_for_the_private_names_of_another():
    theirs = {"_replace": "a namedtuple's public method", "_getframe": "Python's own",
              "_exit": "the way out of a process that is public, in spite of its name",
              "_config": "multiprocessing has no public word for a daemon's children",
              "_getvalue": "numba's, where an intrinsic is written"}
    faults = [f"{path.relative_to(ROOT)}: {name}" for _, path, _ in modules()
              for name in foreign_underscores(path.read_text())
              if name.rpartition(".")[2] not in theirs]
    assert faults == []


def test_torch_stays_with_training_and_deep_detectors():
    users = {own for own, _, found in modules() if any(n.split(".")[0] == "torch" for n in found)}
    assert users <= {"training", "detectors"}


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import adlib", {"torch", "sklearn", "pandas", "numba", "scipy", "matplotlib"}),
        ("import adlib; dir(adlib)", {"torch", "sklearn", "pandas", "numba"}),
        ("import adlib.metrics", {"torch", "sklearn", "pandas"}),
    ],
)
def test_fresh_import_is_light(statement, heavy):
    loaded = fresh_python(f"{statement}; import sys; print(*sys.modules)").split()
    assert "adlib" in loaded and not heavy & set(loaded)


# ------------------------------------------------------------------ tracked files


def tracked():
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).exists()]


def test_no_tracked_file_mentions_a_path_of_somebodys_machine():
    local = re.compile(r"(?<![\w.])/(?:work|farm|root)/|(?<![\w.])/(?:tmp)/\w{3}|/(?:Users)/\w")
    faults = []
    for path in tracked():
        try:
            found = local.search(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:  # a binary file
            continue
        if found:
            faults.append(f"{path.relative_to(ROOT)}: {found.group()}")
    assert faults == []


TOP_LEVEL = """
.ci .devcontainer .gitattributes .github .gitignore
CHANGELOG.md CITATION.cff CONTRIBUTING.md LICENSE Makefile README.md
adlib benchmarks conftest.py data docs environment.yml notebooks pyproject.toml reports
requirements.lock tests tools
"""


def test_nothing_new_lies_at_the_top():
    """What a script leaves in the working directory was committed once."""
    assert sorted({path.relative_to(ROOT).parts[0] for path in tracked()}) == TOP_LEVEL.split()


def test_tracked_files_are_small():
    assert {p.name: p.stat().st_size for p in tracked() if p.stat().st_size > 1_500_000} == {}


# ------------------------------------------------------------------ the README as written


def blocks(language, *pages):
    text = "".join(page.read_text() for page in pages or (README,))
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


LIVE = ROOT / "docs" / "live.md"
PYTHON = blocks("python", README, LIVE)


def commands():
    return [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture
def checkout(tmp_path):
    """What a reader's commands see at the repository's root, with a CSV of their own."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "reports").mkdir()
    rows, start = ["time,flow,pressure,label"], datetime(2024, 1, 1)
    for i in range(1200):
        flow, pressure, label = (i % 24) / 24, (i * 7 % 11) / 11, int(1000 <= i < 1012)
        rows.append(f"{start + timedelta(minutes=i)},{flow + 5 * label},{pressure},{label}")
    (tmp_path / "my.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def shell(command, cwd):
    environment = {k: v for k, v in os.environ.items() if k not in ("ADLIB_METRICS", "MPLBACKEND")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_readme_python_runs(number, checkout):
    (checkout / "block.py").write_text(PYTHON[number])
    run = shell("python block.py", checkout)
    assert run.returncode == 0, run.stderr


def test_the_configuration_of_the_live_page_is_one(monkeypatch):
    for name in ("HEARTBEAT", "SLACK_WEBHOOK", "PAGER"):
        monkeypatch.setenv(name, "https://example.org/hook")
    monkeypatch.setenv("PAGER_KEY", "secret")
    (text,) = blocks("yaml", LIVE)
    assert EngineConfig.from_any(yaml.safe_load(text)).per == "1/week"


def test_readme_papermill_commands_run(checkout):
    mine = [line for line in commands() if line.startswith(("papermill ", "python "))]
    assert mine
    for command in mine:
        run = shell(command, checkout)
        assert run.returncode == 0, f"{command}\n{run.stderr[-3000:]}"
    assert list((checkout / "reports").glob("*.ipynb"))


def test_readme_commands_exist():
    known = ("git clone ", "cd ", "source ", "conda ", "papermill ", "python ", "make", "#")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in filter(None, commands()):
        assert line.startswith(known), f"no test knows what to do with {line!r}"
        if line.startswith("make"):
            words = line.split("#")[0].split()[1:]
            assert {word for word in words if "=" not in word} <= targets, line


def test_the_examples_of_the_guide_run():
    result = doctest.testfile(str(ROOT / "docs" / "guide.md"), module_relative=False,
                              optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 40 and not result.failed


def test_a_work_is_cited_in_one_way():
    ways = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for work, title in references(nbformat.read(path, 4)).items():
            ways.setdefault(work, set()).add(re.match(r".+?\.(?= |$)", title)[0])
    assert len(ways) > 20 and {work: each for work, each in ways.items() if len(each) > 1} == {}


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md",
                                  "docs/running.md", "docs/glossary.md", "docs/choosing.md",
                                  "docs/guide.md", "docs/live.md", "docs/reading.md",
                                  "docs/metric_names.md", "docs/llms.txt"])
def test_links_lead_somewhere(name):
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_readme_lists_every_notebook():
    listed = set(re.findall(r"notebooks/(\d\d_\w+)\.ipynb", README.read_text()))
    assert listed == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_reading_page_and_chapter_05_say_alike_what_is_read():
    chapter = json.loads((ROOT / "notebooks" / "05_model_comparison.ipynb").read_text())
    pages = [(ROOT / "docs" / "reading.md").read_text(),
             *("".join(cell["source"]) for cell in chapter["cells"])]
    tables = [re.search(r"^\| \| is read;.*\n(\|.*\n)+", page, re.MULTILINE) for page in pages]
    found = [table[0] for table in tables if table]
    assert len(found) == 2 and found[0] == found[1]


BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.Assert,
            ast.comprehension, ast.match_case)


def branches(function):
    """Ways through a function, one that counts comprehensions, assertions and and/or too."""
    return 1 + sum(len(node.values) - 1 if isinstance(node, ast.BoolOp)
                   else isinstance(node, BRANCHES) for node in ast.walk(function))


def test_no_function_has_more_than_fifteen_branches():
    """Split by meaning: named steps that can be read alone."""
    tangled = [f"{path.relative_to(ROOT / folder).as_posix()}:{node.name}"
               for folder in ("adlib", "tools", "notebooks/exercises")
               for path in sorted((ROOT / folder).rglob("*.py"))
               for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and branches(node) > 15]
    assert tangled == []


def test_the_types_hold():
    run = subprocess.run([sys.executable, "-m", "mypy", "--no-error-summary"],
                         cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_linter_finds_nothing():
    run = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "."],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
