"""Detectors of other libraries themselves: signs, causality, refusals. Skipped where one is absent.

    python -m venv peers && peers/bin/pip install -e . pytest pyod aeon dtaianomaly river
    peers/bin/python -m pytest tests/test_peers.py -p no:cacheprovider
"""

from importlib.util import find_spec

import numpy as np
import pytest

from adlib.compare import compare
from adlib.compare.models import named_detectors
from adlib.datasets import Dataset
from adlib.foreign import wrap
from adlib.metrics import roc_auc

AEON, DTAI = "aeon.anomaly_detection.series", "dtaianomaly.anomaly_detection"
ROWS = [f"pyod.models.{name}" for name in (
    "knn:KNN", "lof:LOF", "iforest:IForest", "ecod:ECOD", "hbos:HBOS", "pca:PCA",
    "ocsvm:OCSVM", "mcd:MCD", "gmm:GMM", "kde:KDE", "inne:INNE", "loda:LODA", "cblof:CBLOF")]
ROWS += ["river.anomaly:HalfSpaceTrees(height=6, window_size=100, limits={0: (-9.0, 9.0)})"]
WINDOWED = [
    "pyod.models.ts_od:TimeSeriesOD(window_size=10)",
    f"{AEON}.distance_based:KMeansAD(window_size=10, n_clusters=5)",
    f"{AEON}.distance_based:LOF(window_size=10)",
    f"{AEON}.outlier_detection:IsolationForest(window_size=10)",
    f"{AEON}.outlier_detection:OneClassSVM(window_size=10)",
    f"{DTAI}:KMeansAnomalyDetector(window_size=10)",
    f"{DTAI}:IsolationForest(window_size=10)",
    f"{DTAI}:KNearestNeighbors(window_size=10)",
    f"{DTAI}:PrincipalComponentAnalysis(window_size=10)",
]
REFUSED = {  # what only scores the rows it is given together, by its own words or ours
    "pyod.models.ts_matrix_profile:MatrixProfile(window_size=10)": "transductive detector",
    "pyod.models.ts_spectral_residual:SpectralResidual": "scores a row by all rows",
    "pyod.models.copod:COPOD": "scores a row by all rows",
    f"{AEON}.distance_based:STOMP(window_size=10)": "scores a row by all rows",
    f"{DTAI}:MatrixProfileDetector(window_size=10, novelty=False)": "scores a row by all rows",
}


def own(names):
    return [pytest.param(name, id=name.rpartition(".")[2].split("(")[0], marks=pytest.mark.skipif(
        find_spec(name.split(".")[0]) is None, reason=f"{name.split('.')[0]} is not installed"))
        for name in names]


@pytest.fixture(scope="module")
def data():
    """A season with noise; in the test two events lie far out. One column: some take no more."""
    rng, t = np.random.default_rng(0), np.arange(1_200)
    X = (np.sin(2 * np.pi * t / 25) + rng.normal(0, 0.2, t.size))[:, None]
    y = np.zeros(t.size, bool)
    for start in (900, 1_100):
        y[start:start + 10] = True
        X[start:start + 10] += 6
    return Dataset("season", X, y, train_end=700)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", own(ROWS + WINDOWED))
def test_signs(name, data):
    table = compare(name, data, [0], metrics="roc_auc", baselines=False, n_random=0,
                    progress=False)
    assert table.status.tolist() == ["ok"], table.reason.tolist()
    assert table.value[0] > 0.8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", own(WINDOWED))
def test_windows_are_causal(name, data):
    (model,) = named_detectors(name).values()
    detector = wrap(model, random_state=0).fit(data.X[:700])
    wild = data.X.copy()
    wild[1_000:] = 50
    begin = detector.context_
    score, other = detector.anomaly_score(data.X)[begin:], detector.anomaly_score(wild)[begin:]
    order = np.argsort(score[:1_000 - begin], kind="stable")
    assert (np.diff(other[order]) > -1e-5 * np.ptp(other)).all()  # no later row changes it
    assert not np.allclose(score[1_000 - begin:], other[1_000 - begin:])
    assert roc_auc(data.y[begin:], score) > 0.8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", own(REFUSED))
def test_what_is_transductive_is_refused(name, data):
    table = compare(name, data, [0], metrics="roc_auc", baselines=False, progress=False)
    assert table.status[0] == "failed" and REFUSED[name] in table.reason[0], table.reason[0]
