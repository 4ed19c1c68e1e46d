"""A denoising autoencoder with a readout that is solved, not searched."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adlib.detectors.random_features import ridge_readout
from adlib.training import CodeDetector, TrainingWarning, mlp

COPIES = 4  # noised copies of each row behind the readout
_CHUNK = 4_096  # rows whose hidden units are in memory at once


class AutoEncoder(CodeDetector):
    """Mean reconstruction error of a denoising autoencoder.

    What the network cannot rebuild is unusual (Hinton and Salakhutdinov 2006). By default rows are
    rebuilt from noised copies (Vincent et al. 2008), so that copying its input is no solution
    however wide it is, and the readout sees inputs and all hidden layers. After training the
    readout is solved once more in closed form, given the hidden units that were learned.

    On tables it is level with ``KNN(method="mean")``, at many times the cost: AUC -.008
    [-.034, .019], AP -.005 [-.030, .021] on 89 sets of ADBench and macrOData. Training adds little
    to random hidden units (``epochs=0``): +.003 [-.001, .007] and +.007 [.002, .012]
    (`benchmarks/networks.py`, 95 % intervals over sets). On nine to twenty columns it
    rather gains (seed 0, mean of both +.026 [-.000, .050], 21 sets); on at most four it rather
    loses (-.043 [-.094, .009], 26 sets): gaps between normal rows say more there than what a value
    tells of another.

    The autoencoder of the tutorials, 128-64-32-64-128 with ReLU and a bottleneck, is
    ``AutoEncoder(noise=0, skip=False, ridge=None, activation="relu")``. Fails on anomalies that are
    easy to rebuild, such as a constant; on single columns without a window there is nothing to
    rebuild a value from but itself; and where the quartiles of a column lie many orders of
    magnitude closer together than its extremes: its errors, in units of the quartiles, drown those
    of all others.

    Parameters
    ----------
    hidden_layers : tuple of int
        Widths of the encoder; the decoder mirrors them.
    latent_dim : int or None
        Width of the innermost layer. None: 32; without noise at most half of the inputs.
    noise : float
        Standard deviation of the noise on training rows, in robust standard deviations of the
        features; 0 needs a bottleneck, or the identity can be learned.
    skip : bool
        Let the readout see the inputs and every hidden layer, not only the last.
    ridge : float or None
        Penalty, in rows, of the readout that is solved after training. None: keep what Adam found.
    activation : {"tanh", "relu", "leaky_relu", "gelu"}
    norm : {"batch", "layer"} or None
        Normalisation in each hidden block.
    dropout : float
        In [0, 1), in each hidden block, while training.
    epochs, batch_size, learning_rate, weight_decay, patience, device, random_state
        See `adlib.training.DeepDetector`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Notes
    -----
    `contributions` are each feature's share of the mean and add up to the score.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> t = rng.uniform(-3, 3, size=(500, 1))
    >>> X = np.hstack([t, np.sin(t)]) + 0.05 * rng.normal(size=(500, 2))
    >>> detector = AutoEncoder(random_state=0, calibration="split").fit(X)
    >>> detector.detect([[1.5, 1.0], [1.5, -1.0]]).is_anomaly.tolist()  # off the curve
    [False, True]
    """

    def __init__(self, *, latent_dim: int | None = None, noise: float = 0.2, skip: bool = True,
                 **base: Any):
        super().__init__(latent_dim=latent_dim, **base)
        self.noise = noise
        self.skip = skip

    def check_params(self) -> None:
        super().check_params()
        self._check_number("noise", least=0)

    def _network(self, n_features: int) -> nn.Module:
        inputs = self.window_ * n_features
        return _Net(inputs, tuple(self.hidden_layers), self._latent(inputs), self.skip,
                    activation=self.activation, norm=self.norm, dropout=self.dropout)

    def _latent(self, inputs: int) -> int:
        return self.latent_dim or (32 if self.noise else min(32, max(1, inputs // 2)))

    def _finish(self, net: Any, rows: Tensor) -> None:
        inputs = rows[0].numel()
        if not self.noise and (self.skip or self._latent(inputs) >= inputs):
            warnings.warn("AutoEncoder can learn the identity: give noise > 0, or skip=False and "
                          f"latent_dim below the {inputs} inputs", TrainingWarning, stacklevel=5)
        if self.ridge is None:
            return
        solve_readout(net.readout, rows, self.ridge,
                      lambda x: net.units(self._noised(x)), copies=COPIES if self.noise else 1)


def solve_readout(readout: nn.Linear, rows: Tensor, ridge: float,
                  units: Callable[[Tensor], Tensor], *, copies: int = 1,
                  last: bool = False) -> None:
    """Set a last layer to the penalised least squares fit of rows by the units below it.

    Parameters
    ----------
    readout : Linear
        Changed in place.
    rows : Tensor of shape (n, window, features)
    ridge : float
        Penalty of the squared weights, in rows, above 0.
    units : callable
        From rows to what the readout sees, (n, n_units); may draw noise.
    copies : int
        How often each row is asked for.
    last : bool
        The last row of each window is the target, instead of the whole.
    """
    def pairs() -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        order = torch.arange(len(rows), device=rows.device).repeat(copies)
        for part in order.split(_CHUNK):  # windows are gathered: together they may not fit
            clean = rows[part]
            seen = units(clean)
            seen = torch.cat([seen, seen.new_ones(len(seen), 1)], dim=1)
            target = clean[:, -1] if last else clean.flatten(1)
            yield seen.cpu().numpy(), target.cpu().numpy()

    solved = torch.as_tensor(ridge_readout(pairs(), ridge * copies))
    readout.weight.copy_(solved[:-1].T)
    readout.bias.copy_(solved[-1])


class _Net(nn.Module):
    def __init__(self, inputs: int, hidden: tuple[int, ...], latent: int, skip: bool, *,
                 activation: str, norm: str | None, dropout: float):
        super().__init__()
        form: dict[str, Any] = {"activation": activation, "norm": norm, "dropout": dropout}
        sizes = (inputs, *hidden)
        blocks: list[nn.Module] = []
        blocks += [mlp(pair, **form) for pair in zip(sizes, sizes[1:], strict=False)]
        blocks.append(nn.Linear(sizes[-1], latent))
        sizes = (latent, *hidden[::-1])
        blocks += [mlp(pair, **form) for pair in zip(sizes, sizes[1:], strict=False)]
        self.blocks = nn.ModuleList(blocks)
        self.skip = skip
        seen = inputs + 2 * sum(hidden) + latent if skip else sizes[-1]
        self.readout = nn.Linear(seen, inputs)
        if skip:
            nn.init.zeros_(self.readout.weight)

    def encode(self, x: Tensor) -> Tensor:
        """(n, window, features) -> (n, latent)."""
        h = x.flatten(1)
        for block in self.blocks[:len(self.blocks) // 2 + 1]:
            h = block(h)
        return h

    def units(self, x: Tensor) -> Tensor:
        """All that the readout sees: (n, n_units)."""
        h = x.flatten(1)
        seen = [h]
        for block in self.blocks:
            h = block(h)
            seen.append(h)
        return torch.cat(seen, dim=1) if self.skip else h

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.units(x)).view(x.shape)
