"""Labelled data: the container, generators, injectors and loaders."""

# each module lists what it gives; a new generator or loader is added there alone
from adlib.datasets import dataset, generators, injectors, loaders, sources, tables
from adlib.datasets.dataset import *  # noqa: F403
from adlib.datasets.dataset import Splits
from adlib.datasets.generators import *  # noqa: F403
from adlib.datasets.injectors import *  # noqa: F403
from adlib.datasets.injectors import Event
from adlib.datasets.loaders import *  # noqa: F403
from adlib.datasets.sources import *  # noqa: F403
from adlib.datasets.tables import *  # noqa: F403

__all__ = sorted(name for module in (dataset, generators, injectors, loaders, sources, tables)
                 for name in module.__all__)
