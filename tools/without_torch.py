"""Hide torch from this interpreter, as where it is not installed.

`tools/chapters.py` has IPython run this before the first cell of the chapters of the light core;
to import it does nothing.
Nothing is put into ``sys.modules``: a None there is taken for a module by those who look.
"""

import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class WithoutTorch(importlib.machinery.PathFinder):
    """Finds what the ordinary finder finds, but for torch."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Where a module lies, or None."""
        if fullname.partition(".")[0] == "torch":
            return None
        return super().find_spec(fullname, path, target)


if __name__ == "__main__":
    place = sys.meta_path.index(importlib.machinery.PathFinder)
    sys.meta_path[place] = WithoutTorch
