"""What a fit is going to cost is said beforehand: in seconds, about, and not of short ones."""

import warnings
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from adlib import cost
from adlib.base import Detector
from adlib.compare import grid
from adlib.compare.models import named_detectors
from adlib.compare.protocol import cell_cost, score_cell
from adlib.compare.workers import Task
from adlib.cost import Bounded, CostWarning, spoken
from adlib.datasets import Dataset
from adlib.detectors import KNN, Ensemble, PCAReconstruction, Voting, all_detectors, baselines


class Silent(Detector):
    """One that does not say what it costs."""

    def _fit(self, X):
        pass

    def _score(self, X):
        return X[:, 0]


def rows(n, d=3):
    return np.random.default_rng(0).normal(size=(n, d))


@pytest.mark.parametrize("name", sorted(all_detectors() | baselines()))
def test_every_detector_says_what_it_costs(name):
    model = (all_detectors() | baselines())[name](calibration="split")
    small, long, longer, wide = (model.expected_cost(*shape) for shape in (
        (1_000, 5), (200_000, 5), (2_000_000, 5), (1_000, 100)))
    assert 0 < small.fit_s < 60 and 0 < small.score_s < 60
    assert long.fit_s > small.fit_s and long.score_s > small.score_s and long.mib > small.mib
    assert wide.fit_s > small.fit_s and wide.mib > small.mib
    assert longer.fit_s < 12 * long.fit_s  # of ten times the rows
    assert not hasattr(model, "n_features_in_")


def test_a_parameter_out_of_range_is_named_before_its_cost():
    with pytest.raises(ValueError, match="max_rows must be"):
        KNN(max_rows="x").expected_cost(100, 3)


def test_the_folds_and_the_members_count():
    once, folds = (KNN(calibration=how).expected_cost(5_000, 5) for how in (None, "cross"))
    assert folds.fit_s > 3 * once.fit_s and folds.score_s == once.score_s
    both = Ensemble(members=[KNN(), PCAReconstruction()], calibration=None).expected_cost(5_000, 5)
    pca = PCAReconstruction(calibration=None).expected_cost(5_000, 5)
    assert both.fit_s == pytest.approx(once.fit_s + pca.fit_s)
    assert np.isnan(Silent().expected_cost(1_000, 2).fit_s)
    assert Ensemble(members=[KNN(), Silent()], calibration=None).expected_cost(
        5_000, 5).fit_s == once.fit_s  # who does not say counts for nothing


def test_a_long_fit_says_so_before_it_starts_and_what_would_be_cheaper(monkeypatch):
    X = rows(500)
    monkeypatch.setattr(cost, "LONG", 0.0)
    with pytest.warns(CostWarning, match=r"KNN: fitting 500 rows x 3 columns takes about 0 s on on"
                                         r"e core .*; cheaper: fewer rows") as said:
        KNN().fit(X)
    assert said[0].filename == __file__
    monkeypatch.setattr("adlib.base.LONG", 0.0)
    with pytest.warns(CostWarning, match=r"cheaper: calibration='split' \(about 0 s\), fewer rows"):
        PCAReconstruction().fit(X)
    with pytest.warns(CostWarning, match="Ensemble") as said:
        model = Ensemble(members=[KNN(), PCAReconstruction()]).fit(X)
    assert len(said) == 1 and not any(row["reason"] for row in model.report_)
    with pytest.warns(CostWarning, match="LocalOutlierFactor"):
        score_cell(LocalOutlierFactor(novelty=True), Dataset("noise", X))


def test_nothing_is_said_of_short_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("error", CostWarning)
        for model in (KNN(), Voting(), Silent()):
            model.fit(rows(200))


def test_much_memory_is_said(monkeypatch):
    monkeypatch.setattr(cost, "_memory", lambda: 1e-3)
    with pytest.warns(CostWarning, match="MiB"):
        KNN().fit(rows(200))


def test_what_is_named_learns_from_a_bounded_number_of_rows(monkeypatch):
    monkeypatch.setattr(Bounded, "max_rows", 100)
    X = rows(300)
    for name in ("LocalOutlierFactor", "OneClassSVM"):
        (named,) = named_detectors(name).values()
        with pytest.warns(UserWarning, match="learned from 100 of 300 rows"):
            named.fit(X)
        assert type(named[-1]).__name__ == name and named[-1].n_features_in_ == 3
    assert len(named[-1].support_) <= 100
    own = make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(X)
    assert own[-1].n_samples_fit_ == 300
    reasons = [row["reason"] for row in Voting().fit(X).report_]
    assert any("learned from 100 of" in reason for reason in reasons)


def test_a_comparison_knows_what_its_cells_cost():
    data = Dataset("noise", rows(1_000))
    assert cell_cost(KNN(), data) > 0 and cell_cost("AlwaysNormal", data) == 0
    assert cell_cost(LocalOutlierFactor(novelty=True), data) > 0
    assert np.isnan(cell_cost(Silent(), data))


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (91, "2 minutes"),
                                               (5_400, "2 hours"), (1e6, "12 days")])
def test_spoken(seconds, text):
    assert spoken(seconds) == text


def test_a_comparison_says_what_it_takes_where_a_bar_is_shown(monkeypatch):
    task = Task(KNN(), Dataset("noise", rows(1_000)), (0,), 0.05, 0, 0, [], (), 0, False)
    monkeypatch.setattr(grid, "LONG", 0.0)
    for hidden, wanted in ((False, "about 0 s on one core, of which knn takes 0 s\n"), (True, "")):
        with tqdm(total=1, file=(shown := StringIO()), disable=hidden) as bar:
            progress = SimpleNamespace(bar=bar, say=shown.write)
            grid._announce(progress, [task], {"knn": task.model})
        assert (wanted.strip() in shown.getvalue()) and (wanted or not shown.getvalue())
