"""Versions of a fitted engine in one folder, and which of them is in use.

The folder that ``fit`` writes is version 1, as it is; a version that was fitted later lies in
``versions/N/``, a saved engine too, beside its record. ``current`` names the one in use and those
before it. Each is written whole or not at all, and this file alone decides: an engine that runs
looks at it, one that starts begins with it.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from adlib.arguments import whole
from adlib.files import replaced_file, replaced_folder
from adlib.realtime.doors.process import user

_ENGINE, _RECORD, _CURRENT = "engine.json", "version.json", "current"
_REMEMBERED = 50  # versions that were in use


@dataclass(frozen=True, slots=True)
class Version:
    """What is known of a version, whether it was ever used or not.

    Attributes
    ----------
    number : int
    made : float
        Wall clock, POSIX seconds.
    why : str
        What asked for it.
    outcome : {"better", "unsure", "refused", "failed"}
        May take over, may if somebody says so, should not, or could not be fitted at all.
    says : str
        The reason, with the comparison in words.
    until : float or None
        Time of the last row that it was fitted on.
    rows : int
        That it was fitted on.
    comparison : dict
        Of both models on the recent past: see `adlib.realtime.refit`.
    after : dict of str to int
        Of streams that have drifted: number of the first row of the new normal.
    """

    number: int
    made: float
    why: str = "fit"
    outcome: Literal["better", "unsure", "refused", "failed"] = "better"
    says: str = ""
    until: float | None = None
    rows: int = 0
    comparison: dict[str, Any] | None = None
    after: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Current:
    """Which version is in use.

    Attributes
    ----------
    used : tuple of int
        Versions that were in use; the last one is.
    by, why : str
        Who decided so.
    at : float
        Wall clock, POSIX seconds.
    held : bool
        An operator went back to an earlier version: what is fitted from then on waits until
        somebody says ``use``.
    """

    used: tuple[int, ...] = (1,)
    by: str = ""
    why: str = ""
    at: float = 0.0
    held: bool = False

    @property
    def version(self) -> int:
        """The one in use."""
        return self.used[-1]


def place(folder: Path, number: int) -> Path:
    """Where a version lies."""
    return folder if number == 1 else folder / "versions" / str(number)


def saved(folder: Path) -> Path:
    """The file that makes a folder a saved engine; FileNotFoundError where there is none."""
    if not (path := folder / _ENGINE).is_file():
        raise FileNotFoundError(f"path is not a saved engine (no {_ENGINE}): {folder}; "
                                "fit an engine and save it there first")
    return path


def current(folder: Path) -> Current:
    """The version in use; the first one where nobody chose.

    Raises
    ------
    ValueError
        When the file that says so is damaged.
    """
    path = folder / _CURRENT
    try:
        found = Current(**json.loads(path.read_bytes()))
        if not found.used:
            raise ValueError("no version was ever used")
        return replace(found, used=tuple(whole(number, "used", 1) for number in found.used))
    except (FileNotFoundError, NotADirectoryError):
        return Current()
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): `python -m adlib.realtime model {folder} "
                         f"use N` writes it again") from error


def listed(folder: Path) -> list[Version]:
    """Records of all versions, by number.

    Raises
    ------
    FileNotFoundError
        When the folder is no saved engine.
    """
    found = [Version(1, saved(folder).stat().st_mtime)]
    for path in (folder / "versions").glob(f"[1-9]*/{_RECORD}"):
        with suppress(OSError, TypeError, ValueError):  # it was just removed, or is damaged
            found.append(replace(Version(**json.loads(path.read_bytes())),
                                 number=int(path.parent.name)))
    return sorted(found, key=lambda version: version.number)


def numbers(folder: Path) -> list[int]:
    """Of all versions that there are, whole or not."""
    return sorted({1, *(int(path.name) for path in folder.glob("versions/*")
                        if path.name.isdecimal())})


def add(folder: Path, record: Version, save: Callable[[Path], Any] | None, keep: int) -> Version:
    """Write a version behind the last one, and remove old ones; its record, with its number.

    Parameters
    ----------
    folder : Path
    record : Version
        Of any number.
    save : callable or None
        Fills an empty folder; None: there is nothing to keep but the record.
    keep : int
        Versions that stay beside the first one and the last two that were in use.
    """
    home = folder / "versions"
    home.mkdir(exist_ok=True)
    known = numbers(folder)[1:]
    record = replace(record, number=numbers(folder)[-1] + 1)
    with replaced_folder(home / str(record.number), None) as draft:
        if save is not None:
            save(draft)
        (draft / _RECORD).write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    spare = [number for number in known if number not in current(folder).used[-2:]]
    drafts = [path for path in home.glob(".*.*") if path.is_dir()]  # of one that was killed
    old = spare[:max(len(spare) + 1 - keep, 0)]
    for path in [*drafts, *(home / str(number) for number in old)]:
        shutil.rmtree(path, ignore_errors=True)
    return record


def use(folder: Path, number: int, by: str = "", why: str = "", *, held: bool = False) -> Current:
    """Let a version be the one in use, from the next batch of a running engine on.

    Parameters
    ----------
    folder : Path
    number : int
    by, why : str
        Who decides so; default: the user's name.
    held : bool
        Whether later versions wait for somebody who says so.

    Raises
    ------
    ValueError
        When there is no such version, or it holds no model.
    """
    number = whole(number, "version", 1)
    if not (place(folder, number) / _ENGINE).is_file():
        models = [str(v.number) for v in listed(folder) if v.outcome != "failed"]
        raise ValueError(f"{folder} holds no model of version {number}: use one of "
                         f"{', '.join(models)}")
    try:
        used = current(folder).used
    except ValueError:  # damaged: this is how it is written anew
        used = (1,)
    return _write(folder, used if used[-1] == number else (*used, number), by, why, held)


def rollback(folder: Path, by: str = "", why: str = "rolled back") -> Current:
    """Go back to the version that was in use before; once more, to the one before that.

    Raises
    ------
    ValueError
        When no earlier version is left.
    """
    saved(folder)
    used = current(folder).used
    back = [number for number in used[:-1] if (place(folder, number) / _ENGINE).is_file()]
    if not back:
        raise ValueError(f"version {used[-1]} is the first of {folder} that was in use: there is "
                         f"no earlier one")
    return _write(folder, tuple(back), by, why, True)


def _write(folder: Path, used: tuple[int, ...], by: str, why: str, held: bool) -> Current:
    found = Current(used[-_REMEMBERED:], by or user(), why, time.time(), held)
    with replaced_file(folder / _CURRENT) as draft:
        draft.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one who fits a version.

    Raises
    ------
    BlockingIOError
        When another process does so.
    """
    (folder / "versions").mkdir(exist_ok=True)
    with open(folder / "versions" / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"another process fits a version of {folder}: wait for its end"
                                  ) from None
        yield
