"""Compare detectors on data sets: every model judged alike, chance and one-liners beside them.

The protocol of one cell (detector, data set, seed): fit on the training rows, one conformal
threshold from the calibration rows, metrics on the test rows. The three parts follow each other
in time with a purge gap, labels are read by metrics only, and what fails is a row with its reason.
"""

from .audit import Audit, Finding, audit
from .grid import compare
from .protocol import CellScores, score_cell
from .statistics import Ranking, by_kind, rank_detectors, summarise, triviality, verdict

__all__ = ["Audit", "CellScores", "Finding", "Ranking", "audit", "by_kind", "compare",
           "rank_detectors", "score_cell", "summarise", "triviality", "verdict"]
