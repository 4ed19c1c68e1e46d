"""Metrics: pure functions, ground truth first, 1 = anomaly, higher score = more anomalous.

``point`` judges rows one by one, ``volume`` lets rows near an event count in part, ``event``
judges runs of rows, ``ranges`` how far runs overlap and how near they lie, ``adjusted`` credits
whole events, ``benchmark`` scores as NAB and UCR do, ``clinical`` weighs what a diagnosis is
worth, ``review`` what a queue of fixed capacity brings, ``channels`` whether the right ones are
blamed, ``operating`` goes through all thresholds,
``reporting`` puts every value beside the one a random score gets. Undefined values are nan with a
warning, never a made-up 0.

A metric of adlib takes two files: its function, with its record (`record.judges`), and its test.
"""

# each module lists what it gives; a new metric is added there alone
from adlib.metrics.adjusted import *  # noqa: F403
from adlib.metrics.benchmark import *  # noqa: F403
from adlib.metrics.channels import *  # noqa: F403
from adlib.metrics.clinical import *  # noqa: F403
from adlib.metrics.event import *  # noqa: F403
from adlib.metrics.operating import *  # noqa: F403
from adlib.metrics.point import *  # noqa: F403
from adlib.metrics.ranges import *  # noqa: F403
from adlib.metrics.record import *  # noqa: F403
from adlib.metrics.reporting import *  # noqa: F403
from adlib.metrics.review import *  # noqa: F403
from adlib.metrics.volume import *  # noqa: F403

__all__ = sorted(name for name, thing in vars().items()
                 if not name.startswith("_") and str(getattr(thing, "__module__", "")).startswith(
                     "adlib.metrics."))
