"""A variational autoencoder: what it cannot rebuild, and what it has to encode in odd places."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from adlib.detectors.autoencoder import COPIES, solve_readout
from adlib.training import CodeDetector, mlp


class VAE(CodeDetector):
    """Reconstruction error plus ``kl_weight`` times the divergence of the latent code, per value.

    The encoder gives each row a normal law over the latent space instead of a point, kept close to
    the standard normal (Kingma and Welling 2014). A row is unusual when it is badly rebuilt from
    the mean of its law, or when that law lies far from where normal rows are encoded. The same
    weight stands in training, where it is the beta of Higgins et al. (2017), and in the score.
    After training the decoder's last layer is solved in closed form, given the hidden units that
    were learned. Fails like an autoencoder, and where ``kl_weight`` is so large that the code
    carries nothing (posterior collapse).

    On tables it does not pay: against ``KNN(method="mean")`` AUC -.023 [-.044, -.002], AP -.021
    [-.041, -.003] on 89 sets of ADBench and macrOData; against its untrained copy (``epochs=0``)
    +.015 [-.015, .044] and +.045 [.019, .073] (`benchmarks/networks.py`, 95 % intervals
    over sets).

    Blocks of Linear, LayerNorm, ReLU, Dropout(0.2) are ``VAE(norm="layer", activation="relu",
    dropout=0.2, ridge=None)``; the default is what measured best.

    Parameters
    ----------
    hidden_layers : tuple of int
        Widths of the encoder; the decoder mirrors them.
    latent_dim : int
        Width of the code.
    kl_weight : float
        Weight of the divergence, at least 0.
    samples : int
        0: rebuild from the mean of the code. Otherwise the error is averaged over this many draws,
        the same for every row and every call.
    learn_variance : bool
        Learn the output variance of each feature (Rybkin, Daniilidis and Levine 2021) instead of
        weighing each by its variance in the data.
    ridge : float or None
        Penalty, in rows, of the readout that is solved after training. None: keep what Adam found.
    activation, norm, dropout
        Of the hidden blocks, as in `AutoEncoder`.
    epochs, batch_size, learning_rate, weight_decay, patience, device, random_state
        See `adlib.training.DeepDetector`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    `contributions` split the reconstruction; with the divergence, which belongs to no feature, they
    add up to the score.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-3, 3, size=(500, 1))
    >>> X = np.hstack([t, np.sin(t)]) + 0.05 * rng.normal(size=(500, 2))
    >>> detector = VAE(random_state=0, calibration="split").fit(X)
    >>> detector.detect([[1.5, 1.0], [1.5, -2.0]]).is_anomaly.tolist()  # off the curve
    [False, True]
    """

    latent_dim: int
    _pace = (1.2e-5, 3e-8, 0)

    def __init__(self, *, kl_weight: float = 0.1, samples: int = 0, learn_variance: bool = False,
                 epochs: int = 50, learning_rate: float = 3e-3, weight_decay: float = 0.0,
                 patience: int | None = 10, **base: Any):
        super().__init__(epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay,
                         patience=patience, **base)
        self.kl_weight = kl_weight
        self.samples = samples
        self.learn_variance = learn_variance

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("latent_dim")
        self._check_whole("samples", least=0)
        self._check_number("kl_weight", least=0)

    def _network(self, n_features: int) -> nn.Module:
        return _Net(self.window_ * n_features, tuple(self.hidden_layers), self.latent_dim,
                    activation=self.activation, norm=self.norm, dropout=self.dropout)

    def _losses(self, net: Any, x: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        mean, log_var = net.encode(x)
        error = (net.decode(_draw(mean, log_var), x.shape) - x) ** 2
        if self.learn_variance:
            width = net.log_variance.view(x.shape[1:]).clamp(-10, 10)  # constants have none
            error = error * (-width).exp() + width
        else:
            error = error * self._weight
        yield net, (error.flatten(1).sum(dim=1)
                    + self.kl_weight * _divergence(mean, log_var)).mean() / x[0].numel()

    def _finish(self, net: Any, rows: Tensor) -> None:
        if self.ridge is not None:
            solve_readout(net.decoder[1], rows, self.ridge,
                          lambda x: net.decoder[0](_draw(*net.encode(x))), copies=COPIES)

    def _errors(self, net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = net.encode(x)
        penalty = self.kl_weight * _divergence(mean, log_var) / x[0].numel()
        if not self.samples:
            return (net.decode(mean, x.shape) - x) ** 2, penalty
        # one draw for all rows: a row's score must not depend on where in the batch it stands
        draws = torch.Generator().manual_seed(self.seed_)
        noise = torch.randn(self.samples, mean.shape[1], generator=draws, dtype=mean.dtype)
        deviation = (0.5 * log_var).exp()
        return sum((net.decode(mean + deviation * e, x.shape) - x) ** 2
                   for e in noise.to(mean.device)) / self.samples, penalty


def _draw(mean: Tensor, log_var: Tensor) -> Tensor:
    return mean + torch.randn_like(mean) * (0.5 * log_var).exp()


def _divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Kullback-Leibler divergence of each row's code from the standard normal, in nats: (n,)."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(dim=1)


class _Net(nn.Module):
    def __init__(self, inputs: int, hidden: tuple[int, ...], latent: int, **form: Any):
        super().__init__()
        self.encoder = mlp((inputs, *hidden), **form)
        self.mean = nn.Linear(hidden[-1], latent)
        self.log_var = nn.Linear(hidden[-1], latent)
        self.decoder = nn.Sequential(mlp((latent, *hidden[::-1]), **form),
                                     nn.Linear(hidden[0], inputs))
        self.log_variance = nn.Parameter(torch.zeros(inputs))  # of the outputs, where learned

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, window, features) -> mean and log variance of the code, (n, latent)."""
        h = self.encoder(x.flatten(1))
        return self.mean(h), self.log_var(h).clamp(-10, 10)  # far rows must not overflow

    def decode(self, code: Tensor, shape: torch.Size) -> Tensor:
        """(n, latent) -> rows of this shape."""
        return self.decoder(code).view(shape)
