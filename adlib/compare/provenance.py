"""Where numbers come from: what git says about the code that runs here."""

import subprocess
from pathlib import Path

__all__ = ["ROOT", "git"]

ROOT = Path(__file__).resolve().parents[2]


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
