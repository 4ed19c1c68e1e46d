"""Where numbers come from: which code runs here, and what git says about it."""

import ast
import hashlib
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

__all__ = ["PACKAGE", "ROOT", "changed_files", "code_behind", "file_digest", "git",
           "modules_behind", "outside_files"]

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent


def git(*command: str, root: Path = ROOT) -> str | None:
    """What git says about a checkout, without the last line break.

    Parameters
    ----------
    *command : str
        Such as ``"rev-parse", "HEAD"``.
    root : Path
        Folder of the checkout; default: that of this package.

    Returns
    -------
    str or None
        None outside a checkout, and where there is no git.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(git("rev-parse", "HEAD", root=Path(folder)))
    None
    """
    if not (root / ".git").exists():
        return None
    try:
        run = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True,
                             check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file in hex; None where there is none.

    Examples
    --------
    >>> file_digest(Path("no such file")) is None
    True
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed_files(root: Path = ROOT) -> dict[str, str | None] | None:
    """Files of a checkout that are not as in its commit, and sources that it does not track.

    Parameters
    ----------
    root : Path
        Folder of the checkout.

    Returns
    -------
    dict of str to str, or None
        SHA-256 by name, None for a file that was removed; None outside a checkout.

    Examples
    --------
    >>> changed_files(Path("no such folder")) is None
    True
    """
    whole = ("-c", "core.quotepath=off")  # names as they are
    tracked = git(*whole, "diff", "--name-only", "--no-renames", "HEAD", root=root)
    others = git(*whole, "ls-files", "--others", "--exclude-standard", "--", "*.py", root=root)
    if tracked is None or others is None:
        return None
    return {name: file_digest(root / name)
            for name in sorted({*tracked.splitlines(), *others.splitlines()})}


def outside_files(root: Path = ROOT) -> list[dict[str, str | None]]:
    """Source files that run here and belong to no checkout, library or Python: name and SHA-256.

    Parameters
    ----------
    root : Path
        Folder of the checkout.

    Examples
    --------
    >>> all(set(file) == {"name", "sha256"} for file in outside_files())
    True
    """
    known = [root, *map(Path, sysconfig.get_paths().values())]
    files = {Path(file).resolve() for module in [*sys.modules.values()]
             if isinstance(file := getattr(module, "__file__", None), str) and file.endswith(".py")}
    return [{"name": file.name, "sha256": file_digest(file)} for file in sorted(files)
            if file.is_file() and "site-packages" not in file.parts
            and not any(file.is_relative_to(place) for place in known)]


def code_behind(*names: str) -> str:
    """Digest of modules of adlib, of packages whole, and of what they import of adlib.

    Parameters
    ----------
    *names : str
        Such as ``"adlib.base"``, ``"adlib.metrics"``.

    Returns
    -------
    str
        SHA-256 in hex: the same as long as none of these files is edited.

    Examples
    --------
    >>> code_behind("adlib.base") == code_behind("adlib.detectors.knn")
    False
    """
    digest = hashlib.sha256()
    for module in sorted(frozenset().union(*map(modules_behind, names))):
        digest.update(module.encode() + _file(module).read_bytes())
    return digest.hexdigest()


@cache
def modules_behind(name: str) -> frozenset[str]:
    """A module of adlib, or all of a package, with what it imports of adlib, directly or not.

    Imports inside functions count. Of a package only the modules that define the imported names
    do, so that a new module in it changes nothing behind the others.

    Parameters
    ----------
    name : str
        Such as ``"adlib.base"``.

    Returns
    -------
    frozenset of str

    Examples
    --------
    >>> "adlib.base" in modules_behind("adlib.detectors.knn")
    True
    """
    found: set[str] = set()
    left = _modules(name)
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left += _imported(module, _file(module).read_bytes())
    return frozenset(found)


def _file(module: str) -> Path:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _modules(name: str) -> list[str]:
    """The module of this name; of a package all."""
    file, root = _file(name), PACKAGE.parent
    if file.name != "__init__.py":
        return [name] if file.is_file() else []
    return [".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            for path in sorted(file.parent.rglob("*.py"))]


@cache
def _tree(source: bytes) -> ast.Module:
    return ast.parse(source)


@cache
def _imported(module: str, source: bytes) -> frozenset[str]:
    """Modules of adlib that the imports in a file of adlib name, wherever they stand in it."""
    found: set[str] = set()
    package = module.split(".")[: None if _file(module).name == "__init__.py" else -1]
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names if alias.name.split(".")[0] == "adlib"
                      for part in _modules(alias.name)}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            if origin.split(".")[0] == "adlib":
                found |= {part for alias in node.names for part in _defining(origin, alias.name)}
    return frozenset(found)


def _defining(origin: str, name: str) -> list[str]:
    """The modules that ``from origin import name`` needs."""
    if _file(f"{origin}.{name}").is_file():
        return [f"{origin}.{name}"]
    there = _modules(origin)
    return [module for module in there if name in _names(_file(module).read_bytes())] or there


@cache
def _names(source: bytes) -> frozenset[str]:
    """What a module defines at its top level."""
    found: set[str] = set()
    for node in _tree(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)
