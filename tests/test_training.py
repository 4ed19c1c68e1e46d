"""The training loop by hand-made networks, and the guards of the detectors that use it."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import adlib.training
from adlib.detectors import GAN, VAE, AutoEncoder
from adlib.training import DeepDetector, TrainingWarning, mlp, pick_device, seeded, train

ROWS = torch.linspace(-1, 1, 40).reshape(40, 1)


class Point(nn.Module):
    """One number that moves."""

    def __init__(self, start=0.0):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(start))


def _towards_mean(net, x):
    yield net, (net.at - x.mean()) ** 2


def _rebuild(net, x):
    noised = x + 0.1 * torch.randn_like(x)
    yield net, ((net(noised) - x) ** 2).mean()


def _network(seed=0):
    with seeded(seed):
        return nn.Sequential(mlp((1, 8), norm="batch", dropout=0.2), nn.Linear(8, 1))


def _weights(net):
    return torch.cat([p.detach().flatten() for p in net.state_dict().values()])


# -- the loop ----------------------------------------------------------------------------------


def test_early_stopping_restores_the_best_weights():
    """Training pulls the point from 0 past 1, where held-out rows want it, towards 10."""
    net = Point()
    history = train(net, _towards_mean, torch.full((4, 1), 10.0), epochs=100, learning_rate=0.1,
                    patience=4, held_out=torch.ones(4, 1))
    best = int(np.argmin(history["held_out"]))
    assert 5 < best < 20
    assert len(history["held_out"]) == len(history["train"]) == best + 1 + 4
    assert (net.at.item() - 1) ** 2 == pytest.approx(history["held_out"][best], abs=1e-7)
    assert abs(net.at.item() - 1) < 0.1


def test_patience_none_runs_to_the_end_and_keeps_the_best():
    net = Point()
    history = train(net, _towards_mean, torch.full((4, 1), 10.0), epochs=30, learning_rate=0.1,
                    patience=None, held_out=torch.ones(4, 1))
    assert len(history["held_out"]) == 30
    assert (net.at.item() - 1) ** 2 == pytest.approx(min(history["held_out"]), abs=1e-7)


def test_best_buffers_come_back_too():
    net = _network()
    history = train(net, _rebuild, ROWS, epochs=12, learning_rate=0.3, patience=None,
                    held_out=ROWS + 0.05)
    with torch.no_grad(), seeded(0):
        again = sum(float(loss) for _, loss in _rebuild(net, ROWS + 0.05))
    assert again == pytest.approx(min(history["held_out"]), rel=1e-6)
    assert again < history["held_out"][-1], "the last epoch is the best: no test of restoring"


def test_no_epochs_leave_the_network_as_it_was():
    net = _network()
    before = _weights(net)
    assert train(net, _rebuild, ROWS, epochs=0, held_out=ROWS) == {}
    assert (_weights(net) == before).all() and not net.training


def test_each_module_has_learned_before_the_next_is_judged():
    net = nn.ModuleDict({"first": Point(), "second": Point()})
    seen = []

    def losses(net, x):
        before = float(net["first"].at.detach())
        yield net["first"], (net["first"].at - 1) ** 2
        after = float(net["first"].at.detach())
        seen.append((before, after, float(net["second"].at.detach())))
        yield net["second"], (net["second"].at - net["first"].at) ** 2  # no step for the first
        assert float(net["first"].at.detach()) == after

    history = train(net, losses, ROWS, epochs=2, batch_size=40, learning_rate=0.1)
    assert seen[0] == (0.0, pytest.approx(0.1, rel=1e-3), 0.0)
    assert seen[1][0] > 0 and seen[1][2] > 0
    assert {name: len(loss) for name, loss in history.items()} == {"first": 2, "second": 2}
    assert history["second"][0] == pytest.approx(0.01, rel=1e-2), "judged before the first learned"


def test_history_is_a_mean_over_rows():
    """Parts of unequal length count by their rows; held-out rows may come in several parts."""
    x = torch.arange(5.0).reshape(5, 1) ** 2
    held_out = torch.arange(5_001.0).reshape(-1, 1) / 1_000

    def losses(net, x):
        yield net, x.mean() + 0 * net.at

    history = train(Point(), losses, x, epochs=1, batch_size=2, held_out=held_out)
    assert history["train"] == pytest.approx([6.0])
    assert history["held_out"] == pytest.approx([float(held_out.mean())])


def test_rate_falls_along_a_cosine():
    """With a constant gradient Adam's step is the rate itself."""
    net, at = Point(), []

    def losses(net, x):
        at.append(float(net.at.detach()))
        yield net, -net.at

    train(net, losses, ROWS, epochs=4, batch_size=40, learning_rate=0.1)
    steps = np.diff([*at, float(net.at.detach())])
    assert steps == pytest.approx(0.05 + 0.05 * np.cos(np.pi * np.arange(4) / 4), rel=1e-3)


def test_seeds_decide_and_nothing_else():
    def trained(seed):
        net = _network()
        train(net, _rebuild, ROWS, epochs=3, batch_size=8, seed=seed)
        return _weights(net)

    torch.manual_seed(5)
    first = trained(1)
    torch.manual_seed(6)
    assert (trained(1) == first).all()
    assert not torch.allclose(trained(2), first)


def test_random_states_of_the_caller_stay(monkeypatch):
    for name in ("manual_seed", "manual_seed_all"):  # of devices that were not asked for
        monkeypatch.setattr(torch.cuda, name, lambda seed: pytest.fail("seeded a CUDA device"))
    ours, theirs = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(_network(), _rebuild, ROWS, epochs=2, held_out=ROWS)
    detector = VAE(epochs=1, samples=2, dropout=0.1, random_state=0)
    detector.fit(np.random.default_rng(0).normal(size=(60, 2))).anomaly_score([[0.0, 1.0]])
    assert (torch.get_rng_state() == ours).all()
    assert (np.random.get_state()[1] == theirs).all()  # noqa: NPY002


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_state_on_the_gpu_stays():
    torch.cuda.manual_seed(3)
    state = torch.cuda.get_rng_state()
    for device in ("cpu", "cuda"):
        with seeded(0, device):
            torch.rand(3, device=device)
        assert (torch.cuda.get_rng_state() == state).all(), device


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_a_batch_of_one_row_does_not_stop_batch_norm(n, batch_size):
    net = _network()
    before = _weights(net)
    train(net, _rebuild, ROWS[:n], epochs=2, batch_size=batch_size, held_out=ROWS[:1])
    after = _weights(net)
    assert torch.isfinite(after).all() and not torch.equal(after, before)


# -- devices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "", None, 0,
                                    torch.device("cpu")])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'auto', got"):
        AutoEncoder(device=device).fit(np.zeros((20, 2)))


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="device='cuda', but torch finds no CUDA device; use"):
        AutoEncoder(device="cuda").fit(np.zeros((20, 2)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device='cuda:2', but torch finds 2 CUDA devices"):
        pick_device("cuda:2")


def test_auto_takes_what_there_is(monkeypatch):
    for there, found in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pick_device("auto").type == found


# -- guards ------------------------------------------------------------------------------------


def _curve(n=300):
    rng = np.random.default_rng(0)
    t = rng.uniform(-3, 3, size=(n, 1))
    return np.hstack([t, np.sin(t), np.cos(t)]) + 0.05 * rng.normal(size=(n, 3))


def _messages(detector, X):
    """What a fit, and scoring afterwards, warn of; each must name the line of the caller."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrainingWarning)
        detector.fit(X)
        fitted = len(caught)
        detector.__setstate__(detector.__getstate__())
        detector.anomaly_score(X[:3])
    assert len(caught) == fitted, "a fitted detector warned again"
    caught = [warning for warning in caught if warning.category is TrainingWarning]
    assert [warning.filename for warning in caught] == [__file__] * len(caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("detector", [
    AutoEncoder(), AutoEncoder(noise=0, skip=False, ridge=None, activation="relu"), VAE(),
    VAE(norm="layer", activation="relu", dropout=0.2, ridge=None), GAN(), AutoEncoder(epochs=0),
    AutoEncoder(epochs=1), AutoEncoder(window=4), AutoEncoder(noise=0, skip=False, latent_dim=2),
], ids=lambda detector: str(detector)[:60])
def test_ordinary_training_warns_of_nothing(detector):
    detector.set_params(epochs=min(detector.epochs, 5), calibration="split", random_state=0)
    assert _messages(detector, _curve()) == []


def test_training_that_diverges_is_told():
    said = _messages(AutoEncoder(learning_rate=10.0, ridge=None, calibration=None, random_state=0,
                                 epochs=8), _curve())
    assert any("loss of AutoEncoder did not fall in" in text for text in said), said


class Deaf(DeepDetector):
    """Hears nothing of its input."""

    def _network(self, n_features):
        return nn.Linear(n_features, 1)

    def _losses(self, net, x):
        yield net, (net(torch.zeros_like(x)) ** 2).mean()

    def _row_scores(self, net, x):
        return x.new_ones(len(x))


def test_one_score_for_all_is_told():
    (said,) = _messages(Deaf(epochs=3, calibration=None, random_state=0), _curve())
    assert "Deaf gives all training rows one score (1)" in said
    constant = AutoEncoder(epochs=3, calibration="split", random_state=0)
    assert any("or the data are constant" in text
               for text in _messages(constant, np.full((60, 2), 3.0)))
    assert _messages(Deaf(epochs=0, calibration=None), _curve()) == []  # untrained on purpose


@pytest.mark.parametrize("detector", [
    VAE(kl_weight=100.0), VAE(kl_weight=100.0, ridge=None, window=4),
    AutoEncoder(weight_decay=500.0, ridge=None, skip=False)], ids=str)
def test_a_code_that_carries_nothing_is_told(detector):
    detector.set_params(epochs=15, calibration="split", random_state=0)
    said = _messages(detector, _curve(600))
    assert any("rebuilds training rows no better than their mean" in text for text in said), said


@pytest.mark.parametrize(("how", "warns"), [
    ({"noise": 0}, True), ({"noise": 0, "skip": False, "latent_dim": 3}, True),
    ({"noise": 0, "skip": False, "latent_dim": 2}, False), ({"noise": 0, "skip": False}, False),
    ({"noise": 0.1, "latent_dim": 64}, False)])
def test_an_autoencoder_that_can_copy_is_told(how, warns):
    said = _messages(AutoEncoder(**how, epochs=2, calibration="split", random_state=0), _curve())
    assert ["can learn the identity" in text and "below the 3 inputs" in text
            for text in said] == [True] * warns


def test_a_single_value_cannot_but_copy():
    how = {"noise": 0, "skip": False, "epochs": 1, "calibration": "split", "random_state": 0}
    (said,) = _messages(AutoEncoder(**how), _curve()[:, :1])
    assert "below the 1 inputs" in said
    assert _messages(AutoEncoder(window=4, **how), _curve()[:, :1]) == []


# -- what the loop is given ---------------------------------------------------------------------


@pytest.fixture
def given(monkeypatch):
    """Calls of `train`: rows and held-out rows."""
    calls = []

    def spy(net, losses, rows, **how):
        calls.append((rows, how["held_out"]))
        return train(net, losses, rows, **how)

    monkeypatch.setattr(adlib.training, "train", spy)
    return calls


@pytest.mark.parametrize("window", [1, 8])
def test_no_window_lies_on_both_sides(given, window):
    """The first feature is the number of its row."""
    X = np.column_stack([np.arange(300.0), np.random.default_rng(0).normal(size=300)])
    detector = AutoEncoder(window=window, epochs=1, calibration="split", random_state=0).fit(X)
    ((rows, held_out),) = given
    times = [np.rint(part[..., 0].numpy() * detector.scale_[0] + detector.center_[0])
             for part in (rows, held_out)]
    assert times[0].min() == 0 and times[1].max() == 239, "a fifth is kept for calibration"
    assert len(held_out) == (240 - window + 1) // 10
    assert times[0].max() + 1 == times[1].min(), "a shared row, or rows that nobody uses"
    assert rows.shape[1:] == (window, 2)


def test_patience_none_trains_on_all_rows(given):
    AutoEncoder(patience=None, epochs=1, calibration=None).fit(_curve(50))
    AutoEncoder(epochs=1, calibration=None).fit(_curve(20))  # too few to hold any out
    assert [(len(rows), held_out) for rows, held_out in given] == [(50, None), (20, None)]


def test_windows_are_a_view(given):
    AutoEncoder(window=16, epochs=1, calibration=None, hidden_layers=(4,)).fit(_curve(500))
    ((rows, held_out),) = given
    for part in (rows, held_out):
        assert part.untyped_storage().nbytes() == 500 * 3 * 4


# -- a detector that rebuilds nothing -----------------------------------------------------------
