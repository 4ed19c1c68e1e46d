"""Compare detectors on data sets: every model judged alike, chance and one-liners beside them.

The protocol of one cell (detector, data set, seed): fit on the training rows, one conformal
threshold from the calibration rows, metrics on the test rows. The three parts follow each other
in time with a purge gap, labels are read by metrics only, and what fails is a row with its reason.
"""

from .audit import Audit, Finding, audit
from .entities import by_entity
from .evidence import curves, events
from .exports import format_tables
from .grid import compare
from .protocol import CellScores, score_cell
from .released import audit_table, read_results
from .report import write_report
from .statistics import Ranking, by_kind, rank_detectors, summarise, triviality, verdict
from .unlabelled import Unlabelled, rank_unlabelled

__all__ = ["audit", "audit_table", "by_entity", "by_kind", "compare", "curves", "events",
           "format_tables", "rank_detectors", "rank_unlabelled", "read_results", "score_cell",
           "summarise", "triviality", "verdict", "write_report"]
