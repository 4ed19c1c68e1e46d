"""A source from outside adlib: a queue that forgets a row once it is acknowledged."""

import numpy as np

from adlib.realtime import Sample, Source


class Plant(Source):
    """Rows of a simulated plant; row 900 on is a fault."""

    def __init__(self, spec="plant:"):
        rows = np.random.default_rng(1).normal(size=(int(spec.partition(":")[2] or 1000), 2))
        rows[900:] += 8
        self.kept = dict(enumerate(rows))

    async def samples(self, *, features=None, position=-1):
        async def acknowledge(seq):
            del self.kept[seq]

        for seq, row in list(self.kept.items()):
            if seq > position:
                yield Sample(seq, float(seq), row, lambda seq=seq: acknowledge(seq))
