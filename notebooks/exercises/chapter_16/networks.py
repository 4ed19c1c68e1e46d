"""Patients 4 to 6: networks, their modes and their training."""

from copy import deepcopy

import numpy as np

from adlib.metrics import roc_auc
from exercises import Wrong, exercise, require


def _trained_network():
    """A network as training leaves it: dropout and batch statistics switched on."""
    import torch
    from torch import nn

    network = nn.Sequential(nn.Linear(6, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2),
                            nn.Linear(64, 6))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(30):
        rows = torch.randn(200, 2) @ torch.ones(2, 6)
        loss = ((network(rows) - rows) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@exercise("16.4")
def scoring_in_training_mode(answer):
    """Scoring is a function of the row: no random numbers, no neighbours."""
    import torch

    from adlib.training import seeded

    rng = np.random.default_rng(4)
    rows = rng.normal(size=(100, 6))
    rows = np.concatenate([rows, rows])  # every row stands in the batch twice
    with seeded(4):
        network = _trained_network()
        silent = deepcopy(network).eval()
        with torch.inference_mode():
            rebuilt = silent(torch.as_tensor(rows, dtype=torch.float32)).numpy()
        first, second = (np.asarray(answer(network, rows), float) for _ in range(2))
        few = np.asarray(answer(network, rows[:10]), float)
    changed = np.sum(first != second)
    require(changed == 0, f"{changed} of 200 rows get another score when they are scored again.")
    unequal = np.sum(~np.isclose(first[:100], first[100:], rtol=1e-4))
    require(unequal == 0, f"{unequal} of 100 rows that stand in the batch twice get two scores.")
    moved = np.sum(~np.isclose(first[:10], few, rtol=1e-4))
    require(moved == 0, f"{moved} of 10 rows get another score in a batch of their own.")
    expected = ((rows - rebuilt) ** 2).mean(axis=1)
    require(np.allclose(first, expected, rtol=1e-3),
            "The scores are steady, but not the errors of the network that was handed in.")
    return "200 rows: the same score in every call, in every place and in every batch."


@scoring_in_training_mode.solution
def _():
    import torch

    def reconstruction_error(network, rows):
        was_training = network.training
        network.eval()
        with torch.no_grad():
            rebuilt = network(torch.as_tensor(rows, dtype=torch.float32)).numpy()
        network.train(was_training)
        return ((rows - rebuilt) ** 2).mean(axis=1)

    return reconstruction_error


def _error(network, rows):
    import torch

    with torch.no_grad():
        return ((rows - network(torch.as_tensor(rows, dtype=torch.float32)).numpy()) ** 2).mean(1)


@scoring_in_training_mode.mistake("fixes the seed, so that the random numbers are the same")
def _():
    import torch

    def reconstruction_error(network, rows):
        torch.manual_seed(0)
        return _error(network, rows)

    return reconstruction_error


@scoring_in_training_mode.mistake("takes the mean of twenty noisy scores")
def _():
    return lambda network, rows: np.mean([_error(network, rows) for _ in range(20)], axis=0)


@scoring_in_training_mode.mistake("switches dropout off and forgets the batch statistics")
def _():
    from torch import nn

    def reconstruction_error(network, rows):
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.eval()
        return _error(network, rows)

    return reconstruction_error


@exercise("16.5")
def hidden_train(answer):
    """A name that the framework needs is not ours to take."""
    from adlib.training import seeded

    rng = np.random.default_rng(5)
    rows = rng.normal(size=(300, 1)) @ np.ones((1, 3)) + 0.1 * rng.normal(size=(300, 3))
    odd = rng.normal(size=(100, 3)) * 1.5
    with seeded(5):
        model = answer(3)
        train = model.fit if hasattr(model, "fit") else model.train
        train(rows)
        try:
            first, second = (np.asarray(model.score(rows), float) for _ in range(2))
        except Exception as error:  # what it is depends on the version of torch
            raise Wrong("Training runs through; the first score ends in a "
                        f"{type(error).__name__}.") from None
        odd_score = np.asarray(model.score(odd), float)
    changed = np.sum(first != second)
    require(changed == 0, f"{changed} of 300 rows get another score when they are scored again.")
    quality = roc_auc(np.repeat([0, 1], [300, 100]), np.concatenate([first, odd_score]))
    require(quality > 0.8, f"The trained network does not find odd rows: ROC-AUC {quality:.1f}.")
    if hasattr(model, "named_modules"):  # still a network: then it must behave like one
        for mode in (True, False):
            try:
                model.train(mode)
            except Exception as error:  # as above
                raise Wrong(f"train({mode}), by which PyTorch switches modes, ends in a "
                            f"{type(error).__name__}.") from None
            wrong = [part for _, part in model.named_modules() if part.training is not mode]
            require(not wrong, f"After train({mode}), {len(wrong)} of its parts are in the other "
                               "mode.")
    return "It trains, scores the same row the same way, and its modes can be switched."


@hidden_train.solution
def _():
    import torch
    from torch import nn

    class Autoencoder:
        def __init__(self, n_features):
            self.network = nn.Sequential(nn.Linear(n_features, 16), nn.ReLU(), nn.Dropout(0.1),
                                         nn.Linear(16, 1), nn.Linear(1, n_features))

        def fit(self, rows):
            rows = torch.as_tensor(rows, dtype=torch.float32)
            optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
            self.network.train()
            for _ in range(150):
                loss = ((self.network(rows) - rows) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        def score(self, rows):
            self.network.eval()
            rows = torch.as_tensor(rows, dtype=torch.float32)
            with torch.no_grad():
                return ((self.network(rows) - rows) ** 2).mean(dim=1).numpy()

    return Autoencoder


def _own_train(switch_off, by_type):
    import torch
    from torch import nn

    class Autoencoder(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(n_features, 16), nn.ReLU(), nn.Dropout(0.1),
                                        nn.Linear(16, 1), nn.Linear(1, n_features))

        def train(self, rows=True):
            if by_type and isinstance(rows, bool):
                return self
            rows = torch.as_tensor(rows, dtype=torch.float32)
            optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
            for _ in range(150):
                loss = ((self.layers(rows) - rows) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        def score(self, rows):
            switch_off(self)
            rows = torch.as_tensor(rows, dtype=torch.float32)
            with torch.no_grad():
                return ((self.layers(rows) - rows) ** 2).mean(dim=1).numpy()

    return Autoencoder


@hidden_train.mistake("takes out the line that ends in an error")
def _():
    return _own_train(lambda model: None, by_type=False)


@hidden_train.mistake("lets train(False) do nothing")
def _():
    return _own_train(lambda model: model.eval(), by_type=True)


@hidden_train.mistake("switches the layers off by hand, train stays hidden")
def _():
    return _own_train(lambda model: model.layers.eval(), by_type=False)


def _three_sets():
    """Normal rows and odd ones: beside a line, inside a ring, around a cloud."""
    rng = np.random.default_rng(6)
    n = 300
    line = rng.normal(size=(n, 1)) * [1.0, 1.0] + 0.15 * rng.normal(size=(n, 2))
    across = rng.normal(size=(n, 1)) * [1.0, -1.0]
    yield "a line", line, across[np.abs(across[:, 0]) > 0.5]
    angle = rng.uniform(0, 2 * np.pi, n)
    ring = 1.4 * np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * rng.normal(size=(n, 2))
    yield "a ring", ring, 0.3 * rng.normal(size=(n, 2))
    far = rng.normal(size=(n, 2))
    yield "a cloud", rng.normal(size=(n, 2)), 4 * far / np.linalg.norm(far, axis=1)[:, None]


@exercise("16.6")
def real_rows_only(answer):
    """A discriminator learns a difference, so it needs two sides."""
    from adlib.training import seeded

    areas = {}
    for name, rows, odd in _three_sets():
        fresh, half = rows[::2], rows[1::2]
        with seeded(6):
            score = answer(half)
            scores = np.asarray(score(np.concatenate([fresh, odd])), float)
        require(scores.shape == (len(fresh) + len(odd),),
                f"One score per row: {len(fresh) + len(odd)} rows gave shape {scores.shape}.")
        areas[name] = roc_auc(np.repeat([0, 1], [len(fresh), len(odd)]), scores)
    found = "ROC-AUC by shape of the normal rows (chance 0.5): " + ", ".join(
        f"{name} {area:.1f}" for name, area in areas.items()) + "."
    require(min(areas.values()) > 0.7, found)
    return found


def _discriminator(negatives, sign=-1.0, targets=(1.0, 0.0), epochs=200):
    import torch
    from torch import nn

    def fit_discriminator(rows):
        torch.manual_seed(0)
        real = torch.as_tensor(rows, dtype=torch.float32)
        network = nn.Sequential(nn.Linear(rows.shape[1], 32), nn.LeakyReLU(0.2),
                                nn.Linear(32, 1))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(epochs):
            fake = negatives(real)
            target = torch.tensor(targets).repeat_interleave(torch.tensor([len(real), len(fake)]))
            loss = nn.functional.binary_cross_entropy_with_logits(
                network(torch.cat([real, fake]))[:, 0], target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        def score(rows):
            with torch.no_grad():
                return sign * network(torch.as_tensor(rows, dtype=torch.float32))[:, 0].numpy()

        return score

    return fit_discriminator


@real_rows_only.solution
def _():
    import torch
    from torch import nn

    def fit_discriminator(rows, epochs=300):
        torch.manual_seed(0)
        real = torch.as_tensor(rows, dtype=torch.float32)
        network = nn.Sequential(nn.Linear(rows.shape[1], 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        target = torch.cat([torch.ones(len(real)), torch.zeros(len(real))])
        for _ in range(epochs):
            # New ones each time, wider than the real rows; a generator that learns is the other way
            fake = real.mean(dim=0) + 2 * real.std(dim=0) * torch.randn_like(real)
            logits = network(torch.cat([real, fake]))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        def score(rows):
            with torch.no_grad():
                return -network(torch.as_tensor(rows, dtype=torch.float32))[:, 0].numpy()

        return score

    return fit_discriminator


@real_rows_only.mistake("turns the sign of a score that knows nothing")
def _():
    return _discriminator(lambda real: real[:0], sign=1.0)


@real_rows_only.mistake("shows the real rows once more, as fakes")
def _():
    return _discriminator(lambda real: real)


@real_rows_only.mistake("takes fakes from a generator that nobody trains")
def _():
    import torch

    return _discriminator(lambda real: 3 + 0.1 * torch.randn_like(real))
