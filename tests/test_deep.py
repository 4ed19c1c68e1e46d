"""Autoencoder, variational autoencoder and GAN: their forms, their scores, what they are for."""

import copy
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from adlib import persist
from adlib.datasets import (
    make_fraud,
    make_intrusion,
    make_manufacturing,
    make_medical,
    make_sine,
)
from adlib.detectors import GAN, VAE, AutoEncoder
from adlib.detectors.vae import _divergence
from adlib.metrics import roc_auc
from adlib.training import seeded

TUTORIAL = {"noise": 0, "skip": False, "ridge": None, "activation": "relu"}
BLOCKS = {"norm": "layer", "activation": "relu", "dropout": 0.2, "ridge": None}
FORMS = {
    "AutoEncoder": AutoEncoder(),
    "AutoEncoder(tutorial)": AutoEncoder(**TUTORIAL),
    "AutoEncoder(batch norm)": AutoEncoder(norm="batch", dropout=0.3, activation="gelu"),
    "AutoEncoder(window)": AutoEncoder(window=4),
    "VAE": VAE(),
    "VAE(blocks)": VAE(**BLOCKS),
    "VAE(samples)": VAE(samples=3, window=3),
    "VAE(learn_variance)": VAE(learn_variance=True),
    "GAN": GAN(),
    "GAN(window)": GAN(window=4, norm="batch", ridge=None),
}


def _curve(n, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.uniform(-3, 3, size=(n, 1))
    return np.hstack([t, np.sin(t), np.cos(t)]) + 0.05 * rng.normal(size=(n, 3))


def _quick(detector, X=None, **how):
    """A clone, trained for a few epochs."""
    how = {"epochs": 3, "calibration": "split", "random_state": 0} | how
    return clone(detector).set_params(**how).fit(_curve(250) if X is None else X)


@pytest.fixture(scope="module", params=FORMS)
def fitted(request):
    """One of the forms, fitted; tests must not change it."""
    return _quick(FORMS[request.param])


def _net(detector):
    return detector.network_.requires_grad_(False)


ROWS = np.vstack([_curve(40, seed=1), 5 * _curve(10, seed=2)])


# -- forms --------------------------------------------------------------------------------------


def _layers(net):
    """What a network is made of, in order: (n_in, n_out) of linear layers, names of others."""
    return [(part.in_features, part.out_features) if isinstance(part, nn.Linear)
            else type(part).__name__ for part in net.modules() if not list(part.children())]


def _blocks(*sizes, parts=("ReLU",)):
    return [layer for pair in zip(sizes, sizes[1:], strict=False) for layer in (pair, *parts)]


def test_blocks_of_linear_norm_relu_dropout():
    widths = [16, 8]
    detector = VAE(hidden_layers=widths, latent_dim=2, **BLOCKS)
    net = _net(_quick(detector, epochs=0))
    parts = ("LayerNorm", "ReLU", "Dropout")
    assert _layers(net.encoder) == _blocks(3, 16, 8, parts=parts)
    assert _layers(net.decoder) == [*_blocks(2, 8, 16, parts=parts), (16, 3)]
    assert (_layers(net.mean), _layers(net.log_var)) == ([(8, 2)], [(8, 2)])
    drops = [part.p for part in net.modules() if isinstance(part, nn.Dropout)]
    assert drops == [0.2] * 4
    assert widths == [16, 8] and detector.hidden_layers is widths
    assert str(detector._network(3)) == str(detector._network(3)) == str(net)


def test_variational_autoencoder_by_default():
    detector = VAE()
    net = detector._network(100)
    assert _layers(net.encoder)[::2] == [(100, 128), (128, 64)]
    assert (_layers(net.mean), _layers(net.log_var)) == ([(64, 32)], [(64, 32)])
    assert _layers(net.decoder)[::2] == [(32, 64), (64, 128), (128, 100)]
    assert detector.kl_weight == 0.1


@pytest.mark.parametrize(("inputs", "latent_dim", "latent"),
                         [(100, 32, 32), (100, None, 32), (40, None, 20), (3, None, 1), (9, 5, 5)])
def test_autoencoder_of_the_tutorials(inputs, latent_dim, latent):
    net = AutoEncoder(latent_dim=latent_dim, **TUTORIAL)._network(inputs)
    assert _layers(net) == [*_blocks(inputs, 128, 64), (64, latent),
                            *_blocks(latent, 64, 128), (128, inputs)]
    assert net.encode(torch.zeros(5, 1, inputs)).shape == (5, latent)


def test_autoencoder_by_default():
    """The readout sees the inputs and every layer; noise makes a bottleneck needless."""
    net = AutoEncoder()._network(3)
    assert net.readout.in_features == 3 + 128 + 64 + 32 + 64 + 128
    x = torch.randn(5, 1, 3)
    assert torch.equal(net.units(x)[:, :3], x.flatten(1))


def test_two_players():
    net = GAN()._network(10)
    judge = list(net.discriminator.modules())
    assert _layers(net.discriminator) == [(10, 128), "LeakyReLU", "Dropout", (128, 64),
                                          "LeakyReLU", "Dropout", (64, 1)]
    assert {part.negative_slope for part in judge if isinstance(part, nn.LeakyReLU)} == {0.2}
    assert {part.p for part in judge if isinstance(part, nn.Dropout)} == {0.3}
    assert _layers(net.players.generator)[::2] == [(32, 64), (64, 128), (128, 10)]
    assert net.players.generate(torch.zeros(5, 32)).shape == (5, 10)


def test_both_players_learn():
    before, after = (_quick(GAN(ridge=None), epochs=epochs) for epochs in (0, 2))
    assert {name.split(".")[0] for name in after.weights_} == {"players", "discriminator"}
    still = [name for name in after.weights_
             if np.array_equal(before.weights_[name], after.weights_[name])]
    assert not still
    assert {name: len(loss) for name, loss in after.history_.items()} == {
        "discriminator": 2, "players": 2}


def test_a_discriminator_learns_to_refuse_fakes():
    detector = _quick(GAN(), _curve(600), epochs=10, ridge=None)
    net = _net(detector)
    real = detector._scaled(
        detector.windowed(_curve(400, seed=3)), torch.float64, 1e6).flatten(1)
    with seeded(0):
        code = torch.randn(400, 32, dtype=torch.float64)
        swapped = real.gather(0, torch.rand_like(real).argsort(dim=0))
        said = [net.discriminator(x).squeeze(1).numpy()
                for x in (real, net.players.generate(code), swapped)]
    y = np.r_[np.zeros(400), np.ones(400)]
    assert roc_auc(y, -np.r_[said[0], said[2]]) > 0.6, "values that do not belong together"
    assert abs(said[0].mean() - said[1].mean()) > 0.05, "no opinion about the generator's rows"


# -- scores --------------------------------------------------------------------------------------


def test_scores_do_not_change_with_the_call(fitted):
    score = fitted.anomaly_score(ROWS)
    assert (fitted.anomaly_score(ROWS) == score).all()
    assert not any(part.training for part in fitted.network_.modules())
    gap = fitted.window - 1
    for size in (1, 7, 3_000):
        rows = np.tile(ROWS, (size // len(ROWS) + 1, 1))
        parts = np.concatenate([fitted.anomaly_score(rows[max(0, i - gap):i + size])[min(i, gap):]
                                for i in range(0, len(ROWS), size)])
        np.testing.assert_allclose(parts[:len(ROWS)], score, rtol=1e-9)


def test_scores_survive_travel(fitted, tmp_path):
    score = fitted.anomaly_score(ROWS)
    for again in (persist.load(persist.save(fitted, tmp_path / "model")),
                  pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert "_net" not in vars(again), "weights are carried twice"
        assert (again.anomaly_score(ROWS) == score).all()
        assert again.threshold_ == fitted.threshold_ and again.history_ == fitted.history_
    assert "_net" in vars(fitted), "a copy took the network of the original along"


def test_same_seed_same_weights():
    for detector in (AutoEncoder(), VAE(samples=2), GAN()):
        first, second, other = (_quick(detector, random_state=seed, epochs=1) for seed in (0, 0, 1))
        assert all(np.array_equal(first.weights_[k], second.weights_[k]) for k in first.weights_)
        assert (first.anomaly_score(ROWS) == second.anomaly_score(ROWS)).all()
        assert not np.allclose(first.anomaly_score(ROWS), other.anomaly_score(ROWS))


def test_contributions_and_a_penalty_are_the_score(fitted):
    share = fitted.contributions(ROWS).sum(axis=1)
    penalty = fitted.anomaly_score(ROWS) - share
    if isinstance(fitted, AutoEncoder):
        np.testing.assert_allclose(penalty, 0, atol=1e-9 * share.max())
    else:
        _, want = fitted._errors(_net(fitted), fitted._scaled(
            fitted.windowed(ROWS), torch.float64, 1e30))
        np.testing.assert_allclose(penalty, want.numpy(), atol=1e-9 * share.max())
        assert penalty.min() > 0


def test_a_window_is_judged_by_its_last_row():
    """By hand: window after window, scaled, through the network, error over typical error."""
    train = _curve(250)
    detector = _quick(AutoEncoder(window=8), train)
    net = _net(detector)

    def errors(X):
        Z = (X - detector.center_) / detector.scale_
        windows = [Z[np.maximum(np.arange(t - 7, t + 1), 0)] for t in range(len(Z))]
        return np.array([(net(torch.tensor(w)[None])[0, -1].numpy() - w[-1]) ** 2
                         for w in windows])

    # the fifth that calibrates, and rows without a full past, were not trained on
    typical = errors(train[:200])[7:].mean(axis=0)
    rows = train[180:]
    want = (errors(rows) / np.maximum(typical, 1e-3 * typical.max())).mean(axis=1)
    np.testing.assert_allclose(detector.anomaly_score(rows), want, rtol=1e-9)


def test_windows_are_never_all_in_memory():
    """30,000 windows of 64 rows x 2 are 31 MB; batches are small, and so is what is kept."""
    X = np.random.default_rng(0).normal(size=(30_000, 2))
    sizes = []

    class Watched(AutoEncoder):
        def _losses(self, net, x):
            sizes.append(x.numel())
            return super()._losses(net, x)

        def _errors(self, net, x):
            sizes.append(x.numel())
            return super()._errors(net, x)

    detector = Watched(window=64, hidden_layers=(4,), epochs=1, batch_size=1_000,
                           ridge=None, calibration=None, random_state=0)
    tracemalloc.start()
    try:
        detector.fit(X).anomaly_score(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(sizes) <= 64 * 2 * 1_000
    assert peak < 15e6, "NumPy held more than a few copies of the rows"


def test_units_of_features_do_not_matter():
    by = np.array([10.0, 1.0, 1 / 10])
    for detector in (AutoEncoder(), VAE(), GAN()):
        plain, scaled = _quick(detector), _quick(detector, _curve(250) * by)
        np.testing.assert_allclose(scaled.anomaly_score(ROWS * by), plain.anomaly_score(ROWS),
                                   rtol=1e-4)


@pytest.mark.parametrize(("detector", "least"), [
    (AutoEncoder(), 0.9), (VAE(), 0.8), (GAN(), 0.8)], ids=["AutoEncoder", "VAE", "GAN"])
def test_one_noisy_feature_does_not_drown_the_rest(detector, least):
    """A row off the curve is found beside a feature of a hundred times the noise."""
    rng = np.random.default_rng(0)
    train, normal, off = _curve(800), _curve(400, seed=1), _curve(200, seed=2)
    off[:, 1] *= -1
    noise = 100 * rng.normal(size=(1_400, 1))
    train, rows = (np.hstack([X, noise[part]]) for X, part in (
        (train, slice(800)), (np.vstack([normal, off]), slice(800, None))))
    model = _quick(detector, train, epochs=20)
    share = model.contributions(rows[:400]).mean(axis=0)
    assert share.max() < 4 * share.min()
    y = np.r_[np.zeros(400), np.ones(200)]
    assert roc_auc(y, model.anomaly_score(rows)) > least


def test_extreme_rows_score_finite_and_high(fitted):
    train = _curve(250)
    high = fitted.anomaly_score(train).max()
    for value in (1e6, 1e12, -1e155, 1e300, -5e307):
        rows = np.repeat(train[:fitted.window], 2, axis=0)[-fitted.window:]
        rows[-1] = value
        score = fitted.anomaly_score(rows)[-1]
        assert np.isfinite(score) and score > high, value


def test_constant_columns():
    X = np.hstack([_curve(250), np.full((250, 1), 7.0)])
    for detector in (AutoEncoder(), AutoEncoder(norm="batch"), VAE(), VAE(learn_variance=True),
                     GAN()):
        model = _quick(detector, X)
        fresh = np.hstack([_curve(100, seed=1), np.full((100, 1), 7.0)])
        assert np.isfinite(model.anomaly_score(fresh)).all()
        assert model.detect(fresh).is_anomaly.mean() < 0.3
        assert model.detect(fresh + [0, 0, 0, 1.0]).is_anomaly.all()


@pytest.mark.parametrize("n", [2, 3, 4, 11])
def test_few_rows(n):
    for detector in (AutoEncoder(norm="batch", batch_size=2), VAE(**BLOCKS, batch_size=1),
                     GAN(norm="batch", batch_size=2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of budgets that so few rows cannot give
            model = _quick(detector, _curve(n), calibration="cross")
        assert np.isfinite(model.anomaly_score(ROWS)).all()


def test_default_type_of_torch_does_not_matter():
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        for detector in (AutoEncoder(), VAE(samples=2), GAN()):
            model = _quick(detector, epochs=1)
            assert np.isfinite(model.anomaly_score(ROWS)).all()
    finally:
        torch.set_default_dtype(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_devices_agree(fitted):
    score = fitted.anomaly_score(ROWS)
    moved = copy.deepcopy(fitted).set_params(device="cuda")
    np.testing.assert_allclose(moved.anomaly_score(ROWS), score, rtol=1e-3)
    np.testing.assert_allclose(moved.set_params(device="cpu").anomaly_score(ROWS), score, rtol=1e-9)
    trained = clone(fitted).set_params(device="cuda").fit(_curve(250))
    np.testing.assert_allclose(trained.set_params(device="cpu").anomaly_score(ROWS),
                               trained.set_params(device="cuda").anomaly_score(ROWS), rtol=1e-3)


# -- the divergence and the draws ----------------------------------------------------------------


def test_divergence_by_hand():
    """0.5 * (mean^2 + variance - 1 - ln variance), summed over the code."""
    mean = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
    log_var = torch.log(torch.tensor([[1.0, 1.0], [1.0, 4.0]], dtype=torch.float64))
    assert _divergence(mean, log_var).tolist() == pytest.approx([0, 0.5 + 3.5 - np.log(2)])


def test_the_weight_of_the_divergence():
    """Untrained networks are the same, whatever the weight."""
    light, heavy = (_quick(VAE(kl_weight=weight, ridge=None), epochs=0) for weight in (0.0, 3.0))
    np.testing.assert_allclose(light.contributions(ROWS).sum(axis=1), light.anomaly_score(ROWS))
    Z = torch.tensor((ROWS - heavy.center_) / heavy.scale_)[:, None]
    mean, log_var = _net(heavy).encode(Z)
    want = 3.0 * _divergence(mean, log_var).numpy() / 3
    np.testing.assert_allclose(heavy.anomaly_score(ROWS) - light.anomaly_score(ROWS), want)


def test_draws_average_to_their_expectation():
    """With many draws: squared error at the mean plus the variance that the code brings."""
    few, many = (_quick(VAE(samples=samples, hidden_layers=(8,), latent_dim=2, kl_weight=0.0))
                 for samples in (0, 1_000))
    net, x = _net(many), many._scaled(many.windowed(ROWS), torch.float64, 1e30)
    errors = [model._errors(net, x)[0].numpy() for model in (few, many)]
    mean, log_var = net.encode(x)
    rng = np.random.default_rng(1)
    draws = torch.tensor(rng.normal(size=(1_000, 1, 2)))
    spread = net.decoder(mean + (0.5 * log_var).exp() * draws).var(dim=0).numpy()[:, None]
    bias = net.decoder(mean + (0.5 * log_var).exp() * draws).mean(dim=0).numpy()[:, None]
    want = spread + (bias - x.numpy()) ** 2
    assert np.abs(errors[1] - want).max() < 0.1 * want.max()
    assert errors[1].sum() > errors[0].sum()


def test_learned_variance_knows_which_feature_is_noise():
    X = np.column_stack([*_curve(400).T, np.random.default_rng(0).normal(size=400)])
    how = {"hidden_layers": (16,), "latent_dim": 1, "epochs": 30, "learning_rate": 0.01}
    learned, given = (_quick(VAE(learn_variance=learn, **how), X) for learn in (True, False))
    assert learned.weights_["log_variance"].argmax() == 3
    assert (given.weights_["log_variance"] == 0).all()


# -- what they are for ---------------------------------------------------------------------------


EXAMPLES = {make.__name__: make for make in (make_fraud, make_intrusion, make_manufacturing,
                                             make_medical, make_sine)}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("form", ["AutoEncoder", "AutoEncoder(tutorial)", "VAE", "VAE(blocks)",
                                  "GAN"])
def test_finds_what_the_examples_hide(name, form):
    dataset = EXAMPLES[name](random_state=0)
    model = clone(FORMS[form]).set_params(
        window=16 if name == "make_sine" else 1, epochs=10, random_state=0, calibration=None)
    score = model.fit(dataset.train.X).anomaly_score(dataset.test.X)
    assert roc_auc(dataset.test.y, score) > 0.75


def test_networks_see_what_no_single_value_shows():
    rows = np.vstack([_curve(400, seed=1), _curve(200, seed=2)])
    rows[400:, 1] *= -1  # each value is ordinary, together they are not
    y = np.r_[np.zeros(400), np.ones(200)]
    for detector, least in ((AutoEncoder(), 0.95), (VAE(), 0.9), (GAN(), 0.85)):
        model = _quick(detector, _curve(800), epochs=20)
        untrained = _quick(detector, _curve(800), epochs=0, ridge=None)
        found, chance = (roc_auc(y, m.anomaly_score(rows)) for m in (model, untrained))
        assert found > least and found > chance + 0.1, (detector, found, chance)


# -- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "how", "said"), [
    (AutoEncoder, {"epochs": -1}, "epochs must be a whole number >= 0, got -1"),
    (AutoEncoder, {"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
    (AutoEncoder, {"learning_rate": 0}, "learning_rate must be a number above 0, got 0"),
    (AutoEncoder, {"weight_decay": -1}, "weight_decay must be a number >= 0, got -1"),
    (AutoEncoder, {"patience": 0}, "patience must be a whole number >= 1, got 0"),
    (AutoEncoder, {"noise": -0.1}, "noise must be a number >= 0, got -0.1"),
    (AutoEncoder, {"ridge": 0}, "ridge must be a number above 0, got 0"),
    (AutoEncoder, {"latent_dim": 0}, "latent_dim must be a whole number >= 1, got 0"),
    (AutoEncoder, {"hidden_layers": ()}, "hidden_layers must be a tuple of widths"),
    (AutoEncoder, {"hidden_layers": 64}, "hidden_layers must be a tuple of widths.*got 64"),
    (AutoEncoder, {"hidden_layers": (64, 0.5)}, "each a whole number >= 1, got .64, 0.5."),
    (AutoEncoder, {"activation": "sine"}, "activation must be one of 'tanh', 'relu', .*'sine'"),
    (AutoEncoder, {"activation": None}, "activation must be one of 'tanh', .*got None"),
    (AutoEncoder, {"activation": ["relu"]}, "activation must be one of"),
    (VAE, {"norm": "group"}, "norm must be one of None, 'batch', 'layer', got 'group'"),
    (VAE, {"dropout": 1.0}, "dropout must be a number >= 0 and below 1, got 1.0"),
    (VAE, {"latent_dim": None}, "latent_dim must be a whole number >= 1, got None"),
    (VAE, {"samples": -1}, "samples must be a whole number >= 0, got -1"),
    (VAE, {"kl_weight": "light"}, "kl_weight must be a number >= 0, got 'light'"),
    (GAN, {"latent_dim": None}, "latent_dim must be a whole number"),
    (GAN, {"adversarial_weight": -1}, "adversarial_weight must be a number >= 0"),
    (GAN, {"feature_weight": -1}, "feature_weight must be a number >= 0"),
    (GAN, {"patience": 5}, "patience must be None, got 5: the loss of a GAN"),
])
def test_parameters_are_checked(cls, how, said):
    with pytest.raises(ValueError, match=said):
        cls(**how).fit(_curve(20))
