"""Public collections: where they come from, under which licence, and how to trust a file.

A file is fetched only if its SHA-256 is known here. The sums of the data files were computed from
copies of the collections; that of NAB's ``combined_windows.json`` (at the pinned commit) was taken
from several independent public records of it. Files without a sum are refused, not trusted: put a
copy into the folder that ``ADLIB_DATA`` names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from adlib.arguments import one_of
from adlib.arguments import path as as_path

__all__ = ["card"]


@dataclass(frozen=True)
class Collection:
    """One public collection of data sets.

    Attributes
    ----------
    name : str
        Name of its folder below ``ADLIB_DATA``.
    title, origin, licence : str
        What to cite.
    commit : str
        Commit of the public repository that files are fetched from.
    url : str
        Address of the folder of that commit that corresponds to the local one.
    parts : tuple of str
        Folders by which a public archive is known that was unpacked without an outer folder.
    """

    name: str
    title: str
    origin: str
    licence: str
    commit: str = ""
    url: str = ""
    parts: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """One line for ``Dataset.source``."""
        at = f" at {self.commit[:12]}" if self.commit else ""
        return f"{self.title}, {self.origin}{at}, {self.licence}"

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 by path, for every file that may be fetched; as ``sha256sum`` writes them."""
        if not self.url:
            return {}
        lines = (Path(__file__).parent / "checksums" / f"{self.name}.txt").read_text().splitlines()
        return {path: sha for sha, path in (line.split("  ", 1) for line in lines)}

    def folder(self, root: str | os.PathLike | None) -> Path | None:
        """The local folder: below ``root``, else below ``ADLIB_DATA`` if there is one."""
        home = os.environ.get("ADLIB_DATA") if root is None else as_path(root, "root")
        folder = Path(home) / self.name if home else None
        if folder is not None and folder.is_dir():
            return folder
        if folder is not None and any((folder.parent / part).is_dir() for part in self.parts):
            return folder.parent
        if root is not None:
            raise FileNotFoundError(f"no folder {folder}: root must hold a folder {self.name!r}")
        return None

    def paths(self, root: str | os.PathLike | None, pattern: str) -> list[str]:
        """Paths that can be loaded: those of the local folder, else those with a checksum."""
        if (folder := self.folder(root)) is not None:
            return sorted(p.relative_to(folder).as_posix() for p in folder.glob(pattern))
        return sorted(p for p in self.checksums if Path(p).match(pattern))

    def file(self, path: str, root: str | os.PathLike | None) -> Path:
        """The local file, or the fetched and verified one."""
        folder = self.folder(root)
        if folder is not None and (folder / path).is_file():
            return folder / path
        if root is not None:
            raise FileNotFoundError(f"no file {path!r} in {folder}")
        if path not in self.checksums:
            raise FileNotFoundError(
                f"{self.name}: {path!r} is neither below ADLIB_DATA nor among the "
                f"{len(self.checksums)} files whose checksum is known, so it is not fetched"
            )
        import pooch

        url = f"{self.url}/{path}"
        try:
            fetched = pooch.retrieve(
                url,
                known_hash=f"sha256:{self.checksums[path]}",
                fname=path.replace("/", "__"),
                path=pooch.os_cache("adlib") / self.name,
            )
        except OSError as error:  # what requests raises derives from it
            raise ConnectionError(
                f"could not fetch {url} ({type(error).__name__}); "
                f"put a copy into the folder {self.name!r} below ADLIB_DATA"
            ) from error
        return Path(fetched)


NAB = Collection(
    name="nab",
    title="Numenta Anomaly Benchmark",
    origin="github.com/numenta/NAB (Lavin and Ahmad 2015)",
    licence="MIT",
    commit="ea702d75cc2258d9d7dd35ca8e5e2539d71f3140",
    url="https://raw.githubusercontent.com/numenta/NAB/ea702d75cc2258d9d7dd35ca8e5e2539d71f3140",
)

ADBENCH = Collection(
    name="adbench",
    title="ADBench",
    origin="github.com/Minqi824/ADBench (Han et al. 2022)",
    licence="BSD-2-Clause for the collection, each set has its own origin",
    commit="f7fed68dea6901fe9a81ed51b251b1d2456790cd",
    url="https://raw.githubusercontent.com/Minqi824/ADBench/f7fed68dea6901fe9a81ed51b251b1d2456790cd/adbench/datasets/Classical",
)

SKAB = Collection(
    name="skab",
    title="Skoltech Anomaly Benchmark",
    origin="github.com/waico/SKAB (Katser and Kozitsin 2020)",
    licence="GPL-3.0",
    commit="b2c0d46c2971dcbfe71e26087b6d231998bb91c2",
    url="https://raw.githubusercontent.com/waico/SKAB/b2c0d46c2971dcbfe71e26087b6d231998bb91c2/data",
)

TSB = Collection(
    name="tsb",
    title="TSB-AD",
    origin="github.com/TheDatumOrg/TSB-AD (Liu and Paparrizos 2024)",
    licence="each series has that of its source",
    parts=("TSB-AD-U", "TSB-AD-M"),
)

ODD = Collection(
    name="odd",
    title="macrOData",
    origin="OddBench and OvRBench (2026)",
    licence="states none",
    parts=("oddbench", "ovrbench"),
)

COLLECTIONS = {c.name: c for c in (NAB, ADBENCH, SKAB, TSB, ODD)}


def card(name: str) -> str:
    """Origin, licence and state of the checksums of a public collection.

    Parameters
    ----------
    name : {"nab", "adbench", "skab", "tsb"}

    Returns
    -------
    str

    Raises
    ------
    ValueError
        When there is no collection of that name.

    Examples
    --------
    >>> print(card("nab"))
    Numenta Anomaly Benchmark
    origin:  github.com/numenta/NAB (Lavin and Ahmad 2015)
    licence: MIT
    commit:  ea702d75cc2258d9d7dd35ca8e5e2539d71f3140
    fetched: 30 files with a known SHA-256; others are read from a local folder only
    """
    c = COLLECTIONS[one_of(name, "name", sorted(COLLECTIONS))]
    return (
        f"{c.title}\norigin:  {c.origin}\nlicence: {c.licence}\ncommit:  {c.commit or 'none'}\n"
        f"fetched: {len(c.checksums)} files with a known SHA-256; others are read from a local "
        "folder only"
    )
