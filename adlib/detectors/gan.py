"""A bidirectional generative adversarial network, and a score that does carry information."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from adlib.detectors.autoencoder import COPIES, solve_readout
from adlib.training import CodeDetector, batches, mlp

_SWAPPED = 0.3  # share of a row's values that are taken from other rows
_NOISE = 0.2  # on the encoder's input, in robust standard deviations, as in AutoEncoder


class GAN(CodeDetector):
    """What the generator cannot produce: reconstruction error, as values and as features.

    A generator turns random codes into rows and a discriminator separates them from real ones
    (Goodfellow et al. 2014). An encoder learns the way back beside them, so that the best code for
    a row is one pass away and not a search (Donahue et al. 2017; Schlegl et al. 2019). A row is
    unusual when the generator cannot produce it from that code: the error counts in the values and
    in the features of the discriminator's first block (Salimans et al. 2016). The discriminator
    also learns to refuse real rows in which some values are swapped with other rows', since
    generated ones soon leave it nothing to learn about how features hang together.

    The discriminator's own output is not part of the score. It judges real against generated, not
    normal against strange, and is arbitrary away from both: by itself it ranks near chance, and
    upside down where it saw no fakes at all. Fails like an autoencoder; training is a game without
    a loss that must fall, so there is no early stopping.

    On tables it does not pay: against ``KNN(method="mean")`` AUC -.015 [-.034, .004], AP -.028
    [-.049, -.010] on 89 sets of ADBench and macrOData; against its untrained copy (``epochs=0``)
    +.007 [-.011, .025] and +.022 [.010, .037] (`benchmarks/networks.py`, 95 % intervals
    over sets).

    Parameters
    ----------
    hidden_layers : tuple of int
        Widths of encoder and discriminator; the generator mirrors them.
    latent_dim : int
        Width of the code.
    adversarial_weight : float
        Weight of fooling the discriminator beside rebuilding rows, at least 0.
    feature_weight : float
        Weight of the error in the discriminator's features, at least 0.
    ridge : float or None
        Penalty, in rows, of the generator's readout that is solved after training. None: keep what
        the game found.
    dropout : float
        In the discriminator, in [0, 1), while training.
    activation, norm
        Of encoder and generator, as in `AutoEncoder`. The discriminator's is LeakyReLU(0.2).
    epochs, batch_size, learning_rate, weight_decay, device, random_state
        See `adlib.training.DeepDetector`.
    patience : None
        No early stopping.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    `contributions` split the error in values; with the error in features, which belongs to no one
    value, they add up to the score.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-3, 3, size=(500, 1))
    >>> X = np.hstack([t, np.sin(t)]) + 0.05 * rng.normal(size=(500, 2))
    >>> detector = GAN(random_state=0, calibration="split").fit(X)
    >>> detector.detect([[1.5, 1.0], [1.5, -2.0]]).is_anomaly.tolist()  # off the curve
    [False, True]
    """

    latent_dim: int
    _pace = (4.5e-5, 1.8e-7, 0)
    _betas = (0.5, 0.999)  # long memories let the two players chase each other

    def __init__(self, *, adversarial_weight: float = 1.0, feature_weight: float = 0.3,
                 dropout: float = 0.3, epochs: int = 8, learning_rate: float = 2e-3,
                 weight_decay: float = 0.0, patience: None = None, **base: Any):
        super().__init__(dropout=dropout, epochs=epochs, learning_rate=learning_rate,
                         weight_decay=weight_decay, patience=patience, **base)
        self.adversarial_weight = adversarial_weight
        self.feature_weight = feature_weight

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("latent_dim")
        self._check_number("adversarial_weight", "feature_weight", least=0)
        if self.patience is not None:
            raise ValueError(f"patience must be None, got {self.patience!r}: the loss of a GAN "
                             f"need not fall, so it cannot say when to stop")

    def _network(self, n_features: int) -> nn.Module:
        return _Net(self.window_ * n_features, tuple(self.hidden_layers), self.latent_dim,
                    self.dropout, activation=self.activation, norm=self.norm)

    def _losses(self, net: Any, x: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        real = x.flatten(1)
        fake = net.players.generate(real.new_empty(len(real), self.latent_dim).normal_())
        judged = net.discriminator(torch.cat([real, fake.detach(), _swapped(real)]))
        judged, false, swapped = judged.squeeze(1).chunk(3)
        yield net.discriminator, (softplus(-judged) + softplus(false) / 2
                                  + softplus(swapped) / 2).mean()
        code = net.players.encoder(real + _NOISE * torch.randn_like(real))
        rebuilt = (net.players.generate(code).view(x.shape) - x) ** 2
        # codes of real rows must lie where random ones are drawn
        place = (code.mean(dim=0)**2 + (code.var(dim=0, unbiased=False) - 1) ** 2).mean()
        fooled = softplus(-net.discriminator(fake)).mean()
        yield net.players, ((self._weight * rebuilt).mean() + 0.01 * place
                            + self.adversarial_weight * fooled)

    def _finish(self, net: Any, rows: Tensor) -> None:
        if self.ridge is not None:
            solve_readout(net.players.generator[1], rows, self.ridge,
                          lambda x: net.players.generator[0](net.players.encoder(
                              (x + _NOISE * torch.randn_like(x)).flatten(1))), copies=COPIES)
        self.typical_feature_ = 1.0
        errors = torch.cat([self._errors(net, part)[1] for part in batches(rows)])
        if self.feature_weight:
            self.typical_feature_ = max(float(errors.mean()) / self.feature_weight, 1e-12)

    def _feature_error(self, net: Any, x: Tensor, rebuilt: Tensor) -> Tensor:
        changed = torch.cat([x[:, :-1], rebuilt[:, -1:]], dim=1)  # only the last row is judged
        features = net.discriminator[0][:2]  # Linear and LeakyReLU of the first block
        difference = features(x.flatten(1)) - features(changed.flatten(1))
        return (difference**2).mean(dim=1) / self.typical_feature_

    def _errors(self, net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        rebuilt = net.players.generate(net.players.encoder(x.flatten(1))).view(x.shape)
        return (rebuilt - x) ** 2, self.feature_weight * self._feature_error(net, x, rebuilt)


def _swapped(rows: Tensor) -> Tensor:
    """Rows in which a share of the values comes from other rows, each feature's law unchanged."""
    order = torch.rand_like(rows).argsort(dim=0)
    return torch.where(torch.rand_like(rows) < _SWAPPED, rows.gather(0, order), rows)


class _Players(nn.Module):
    """Generator and encoder: one side of the game, and one optimiser."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], latent: int, **form: Any):
        super().__init__()
        self.encoder = nn.Sequential(mlp((inputs, *hidden), **form), nn.Linear(hidden[-1], latent))
        self.generator = nn.Sequential(mlp((latent, *hidden[::-1]), **form),
                                       nn.Linear(hidden[0], inputs))

    def generate(self, code: Tensor) -> Tensor:
        """(n, latent) -> (n, window * features)."""
        return self.generator(code)


class _Net(nn.Module):
    def __init__(self, inputs: int, hidden: tuple[int, ...], latent: int, dropout: float,
                 **form: Any):
        super().__init__()
        self.players = _Players(inputs, hidden, latent, **form)
        judge = mlp((inputs, *hidden), activation="leaky_relu", dropout=dropout)
        self.discriminator = nn.Sequential(judge, nn.Linear(hidden[-1], 1))
