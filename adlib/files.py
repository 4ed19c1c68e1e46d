"""Write a file or a folder whole or not at all.

Both are written beside their place and renamed at the end, so a reader sees the old one or the new
one. Whatever fails on the way, an interrupt included, leaves the old one and nothing else.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replaced_file", "replaced_folder"]


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` when all has gone well.

    A new file gets the usual permissions; one that replaces another takes over its permissions. A
    symbolic link stays, and what it points to is replaced. Missing folders above are made.

    Parameters
    ----------
    path : Path

    Raises
    ------
    FileExistsError
        When ``path`` is a folder, or lies below a file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "numbers.txt"
    ...     with replaced_file(path) as draft:
    ...         _ = draft.write_text("1 2 3")
    ...     print(path.read_text(), len(list(Path(folder).iterdir())))
    1 2 3 1
    """
    path = path.resolve()
    if path.is_dir():
        raise FileExistsError(f"path is a folder, not a file: {path}")
    draft = _beside(path, ".draft")
    try:
        yield draft
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path, marker: str | None) -> Iterator[Path]:
    """An empty folder to write to, which takes the place of ``path`` when all has gone well.

    Parameters
    ----------
    path : Path
    marker : str or None
        Name of a file that every folder of this kind holds, such as ``"model.json"``: a folder
        without it is not replaced. None where the caller has looked at the folder already.

    Raises
    ------
    FileExistsError
        When ``path`` exists and holds no ``marker``, or lies below a file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     with replaced_folder(Path(home) / "mine", "model.json") as folder:
    ...         _ = (folder / "model.json").write_text("{}")
    ...     print(*(str(path.relative_to(home)) for path in Path(home).rglob("*.json")))
    mine/model.json
    """
    path = path.resolve()
    if marker is not None and path.exists() and not (path / marker).is_file():
        raise FileExistsError(f"path exists and is not a saved {Path(marker).stem}: {path}")
    folder, old = _beside(path, ".new"), _beside(path, ".old")
    try:
        folder.mkdir()
        yield folder
        if path.exists():
            shutil.copymode(path, folder)
            path.rename(old)
        folder.rename(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, suffix: str) -> Path:
    """A name in the same folder, hence on the same disk, that nobody else uses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise FileExistsError(f"path lies below a file: {path}") from None
    return path.with_name(f".{uuid.uuid4().hex}{suffix}")
