"""Run one of these benchmarks on the code of an earlier commit.

    git worktree add ../then 2da3fbf
    ADLIB_DATA=... python benchmarks/before.py ../then nab.py --keep before

The earlier code stands first on the path. Loaders that it had not yet (macrOData, TSB-AD) are run
by a process of today's code, so that both see the same rows; usual periods and smoothing, which are
part of a protocol and not of a detector, are today's; anything else that is missing is an empty
class.
"""

import ast
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
LENT = ("adlib.smoothing", "adlib.periods")
FIELDS = ("name", "X", "y", "time", "feature_names", "train_end", "source")
LOAD = """
import pickle, sys
import adlib.datasets
name, given, named, fields = pickle.load(sys.stdin.buffer)
found = getattr(adlib.datasets, name)(*given, **named)
plain = lambda data: {field: getattr(data, field) for field in fields}
found = {k: plain(v) for k, v in found.items()} if isinstance(found, dict) else plain(found)
pickle.dump(found, sys.stdout.buffer)
"""


def lent_loader(name: str) -> Callable[..., Any]:
    """A loader of today, which gives data sets of the earlier code."""
    def load(*given: Any, **named: Any) -> Any:
        from adlib.datasets import Dataset
        done = subprocess.run([sys.executable, "-c", LOAD], cwd=HERE.parent, check=True,
                              env=ENVIRONMENT, stdout=subprocess.PIPE,
                              input=pickle.dumps((name, given, named, FIELDS)))
        found = pickle.loads(done.stdout)
        if "X" in found:
            return Dataset(**found)
        return {key: Dataset(**value) for key, value in found.items()}
    return load


def asked(script: Path) -> Iterator[tuple[str, str]]:
    """What a script imports from adlib, and what the benchmarks do that it imports."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.startswith("adlib"):
                yield from ((node.module, alias.name) for alias in node.names)
            elif (other := HERE / f"{node.module}.py").is_file():
                yield from asked(other)


def lend(module: str, name: str) -> None:
    """Give a module of the earlier code a name that it had not."""
    try:
        place = import_module(module)
    except ImportError:
        place = sys.modules[module] = ModuleType(module)
    if not hasattr(place, name):
        setattr(place, name, lent_loader(name) if name.startswith("load_") else type(name, (), {}))


if __name__ == "__main__":
    import os
    then, script = Path(sys.argv[1]).resolve(), HERE / sys.argv[2]
    ENVIRONMENT = os.environ | {"PYTHONPATH": str(HERE.parent)}
    sys.path[:0] = [str(then), str(HERE)]
    import adlib
    assert Path(adlib.__file__).is_relative_to(then), adlib.__file__
    for module in LENT:  # they import numpy alone
        sys.modules[module] = lent = ModuleType(module)
        file = HERE.parent / (module.replace(".", "/") + ".py")
        exec(compile(file.read_text(encoding="utf-8"), file, "exec"), lent.__dict__)
    for module, name in asked(script):
        lend(module, name)
    sys.argv = [str(script), *sys.argv[3:]]
    runpy.run_path(str(script), run_name="__main__")
