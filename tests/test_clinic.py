"""The clinic: what notebook 16 shows is refused, and more than one repair is accepted."""

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import precision_recall_curve
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from adlib import metrics
from adlib.detectors import RobustZScore, RollingZScore
from adlib.notebooks import ROOT
from adlib.thresholds import Conformal
from adlib.windows import windows
from exercises import exercises, grade

PATIENTS = [each.name for each in exercises("16")]
CELLS = [
    cell
    for cell in nbformat.read(ROOT / "notebooks" / "16_clinic.ipynb", 4).cells
    if cell.cell_type == "code"
]


def test_the_clinic_has_as_many_patients_as_the_course():
    asked = [cell for cell in CELLS if 'check("16.' in cell.source]
    assert len(asked) == len(PATIENTS) and 15 <= len(PATIENTS) <= 17


@pytest.mark.parametrize("name", PATIENTS)
def test_the_code_in_the_notebook_is_refused_with_a_measurement(name):
    (cell,) = [cell for cell in CELLS if f'check("{name}",' in cell.source]
    scope, verdicts = {}, []
    exec(CELLS[1].source.partition("notebooks.setup(")[0], scope)  # the imports
    exec(CELLS[2].source, scope)  # the training loop
    scope["check"] = lambda given, answer: verdicts.append(grade(given, answer))
    exec(cell.source, scope)
    (verdict,) = verdicts
    assert not verdict.passed
    assert "With your answer came" not in verdict.message, "a broken version deserves a sentence"
    assert cell.outputs[0].text == f"{name}: {verdict.message}\n", "make refresh"


# ------------------------------------------------------------------ other ways to repair it


def copied_list(config):
    hidden = list(config["hidden_layers"])
    encoder = [config["input_dim"], *hidden, config["latent_dim"]]
    hidden.reverse()
    return encoder, [config["latent_dim"], *hidden, config["input_dim"]]


class ThresholdFromFit:
    def __init__(self, n_features, alpha=0.05):
        self.alpha, self.threshold = alpha, None

    def fit(self, rows):
        self.centre = rows.mean(axis=0)
        self.threshold = np.quantile(self.score(rows), 1 - self.alpha)
        return self

    def score(self, rows):
        return np.linalg.norm(rows - self.centre, axis=1)

    def detect(self, rows):
        if self.threshold is None:
            raise NotFittedError("call fit first")
        return self.score(rows) > self.threshold


class Scaled:
    def fit(self, rows):
        self.scaler = make_pipeline(StandardScaler())
        self.train = self.scaler.fit_transform(rows)
        return self

    def score(self, rows):
        near = NearestNeighbors(n_neighbors=1).fit(self.train)
        return near.kneighbors(self.scaler.transform(rows))[0][:, 0]


def evaluation_mode(network, rows):
    with torch.no_grad():
        rows = torch.as_tensor(rows, dtype=torch.float32)
        return ((network.eval()(rows) - rows) ** 2).mean(dim=1).numpy()


class Renamed(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(n_features, 16), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Linear(16, 1), nn.Linear(1, n_features)),
        )

    def fit(self, rows):
        rows = torch.as_tensor(rows, dtype=torch.float32)
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        for _ in range(150):
            loss = ((self.layers(rows) - rows) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def score(self, rows):
        self.eval()
        rows = torch.as_tensor(rows, dtype=torch.float32)
        with torch.no_grad():
            return ((self.layers(rows) - rows) ** 2).mean(dim=1)


class Dispatching(Renamed):
    fit = property()  # there is none: train does both

    def train(self, rows=True):
        return super().train(rows) if isinstance(rows, bool) else Renamed.fit(self, rows)


def uniform_negatives(rows):
    torch.manual_seed(0)
    real = torch.as_tensor(rows, dtype=torch.float32)
    low, high = real.amin(0), real.amax(0)
    network = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(400):
        fake = low - (high - low) / 2 + 2 * (high - low) * torch.rand_like(real)
        loss = (network(fake) + 1).pow(2).mean() + (network(real) - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lambda rows: -network(torch.as_tensor(rows, dtype=torch.float32)).detach().numpy()[:, 0]


def shares_below(reference, scores, weights):
    below = [np.searchsorted(np.sort(r), s) for r, s in zip(reference.T, scores.T, strict=True)]
    return np.transpose(below) / len(reference) @ weights


def robust_combination(reference, scores, weights):
    low, centre, high = np.percentile(reference, [25, 50, 75], axis=0)
    return ((scores - centre) / (high - low)) @ weights


def conformal(reference, scores, alpha=0.05):
    return scores > Conformal(alpha).fit(reference).value_


def smallest_p(reference, scores, alpha=0.05):
    return np.array([(1 + np.sum(reference >= s)) / (1 + len(reference)) < alpha for s in scores])


def largest_channel(series, rebuilt, threshold):
    return (np.abs(series - rebuilt) > np.sqrt(threshold)).any(axis=1)


def window_pca(history, series, length=25):
    past, now = (windows(v[:, None], length) for v in (history, series))
    past, now = past.reshape(len(past), -1), now.reshape(len(now), -1)
    pca = PCA(2).fit(past)
    return ((now - pca.inverse_transform(pca.transform(now))) ** 2).mean(axis=1)


def gate_and_release(values):
    detector = RollingZScore(window=50, warm_up=50, gate=4.0, release=30)
    return detector.process(values[:, None]) > 4.0


def robust_z(values):
    return RobustZScore(window=50, warm_up=50).process(values[:, None]) > 4.0


def two_quantiles(reference, errors):
    warning, critical = np.quantile(reference, [0.95, 0.995])
    return [
        "critical" if error > critical else "warning" if error > warning else "info"
        for error in errors
    ]


def smallest_and_largest(detectors, train, test, y, seeds):
    values = {
        name: [metrics.average_precision(y, detector(train, test, seed)) for seed in seeds]
        for name, detector in detectors.items()
    }
    table = pd.DataFrame(values).T
    return pd.DataFrame(
        {"detector": table.index, "mean": table.mean(axis=1), "low": table.min(axis=1),
         "high": table.max(axis=1)}
    )  # fmt: skip


def from_the_curve(validation_y, validation_score, test_y, test_score):
    precision, recall, cuts = precision_recall_curve(validation_y, validation_score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    threshold = np.nextafter(cuts[f1[:-1].argmax()], -np.inf)
    return threshold, metrics.f1(test_y, test_score > threshold)


def masks(n_rows, window):
    row = np.arange(n_rows)
    return row < n_rows // 2, row >= n_rows // 2 + 2 * window


def forest(train, test, random_state=None):
    model = IsolationForest(n_estimators=20, random_state=random_state).fit(train)
    return -model.score_samples(test)


REPAIRS = {
    "16.1": [copied_list],
    "16.2": [ThresholdFromFit],
    "16.3": [Scaled],
    "16.4": [evaluation_mode],
    "16.5": [Renamed, Dispatching],
    "16.6": [uniform_negatives],
    "16.7": [shares_below, robust_combination],
    "16.8": [conformal, smallest_p],
    "16.9": [largest_channel],
    "16.10": [window_pca],
    "16.11": [gate_and_release, robust_z],
    "16.12": [two_quantiles],
    "16.13": [smallest_and_largest],
    "16.14": [from_the_curve],
    "16.15": [masks],
    "16.16": [metrics.average_precision, metrics.roc_auc, metrics.best_f1],
    "16.17": [forest],
}


def test_every_patient_can_be_repaired_in_another_way():
    assert list(REPAIRS) == PATIENTS


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, found in REPAIRS.items() for answer in found]
)
def test_other_repairs_are_accepted(name, answer):
    verdict = grade(name, answer)
    assert verdict.passed, verdict.message
