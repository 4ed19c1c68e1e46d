"""A recurrent network that cleans each row in the light of the rows before it."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from adlib.detectors.autoencoder import COPIES, solve_readout
from adlib.training import ReconstructionDetector


class SequenceDetector(ReconstructionDetector):
    """Base of detectors that rebuild the rows of a window in order, from noised ones.

    A plain forecaster must guess a row it may not look at, and gives up what the channels of one
    row say about each other; a plain autoencoder looks and learns to copy. Rebuilding row t from
    *noised* rows up to t uses both: the noise makes memory and the other channels worth more than
    the value itself. A subclass says what the memory is, as a `SequenceNet`.

    Parameters
    ----------
    noise : float
        Standard deviation of the noise on training rows, in robust standard deviations of the
        features.
    ridge : float or None
        Penalty, in rows, of the readout that is solved after training. None: keep what Adam
        found.
    epochs, batch_size, learning_rate, weight_decay, patience, device, random_state
        See `adlib.training.DeepDetector`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    def __init__(self, *, noise: float = 0.3, ridge: float | None = 1.0, window: int = 8,
                 epochs: int = 30, learning_rate: float = 3e-3, weight_decay: float = 0.0,
                 **base: Any):
        super().__init__(window=window, epochs=epochs, learning_rate=learning_rate,
                         weight_decay=weight_decay, **base)
        self.noise = noise
        self.ridge = ridge

    def check_params(self) -> None:
        super().check_params()
        self._check_number("noise", above=0)
        self._check_number("ridge", above=0, optional=True)

    def _finish(self, net: Any, rows: Tensor) -> None:
        if self.ridge is not None:  # for the last row of each window, which is the one judged
            solve_readout(net.readout, rows, self.ridge,
                          lambda x: net.units(self._noised(x))[:, -1], copies=COPIES, last=True)


class SequenceNet(nn.Module):
    """Rows rebuilt linearly from the state of a memory and from themselves.

    Subclasses write ``states(x)``: (n, window, features) -> (n, window, width), where step t has
    seen rows up to t and none after.

    Parameters
    ----------
    n_features : int
    width : int
        Of the state.
    """

    def __init__(self, n_features: int, width: int):
        super().__init__()
        self.readout = nn.Linear(width + n_features, n_features)

    @abstractmethod
    def states(self, x: Tensor) -> Tensor:
        """What the memory holds after each row."""

    def units(self, x: Tensor) -> Tensor:
        """All that the readout sees: (n, window, width + features)."""
        return torch.cat([self.states(x), x], dim=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.units(x))


class LSTM(SequenceDetector):
    """Error of rebuilding a row from its noised self and a memory of the rows before it.

    Long short-term memory (Hochreiter and Schmidhuber 1997) as a denoising filter: the network
    reads a window of noised rows and rebuilds each; the error of the last one is the score, in
    units of each feature's typical error. Malhotra et al. (2015, 2016) score forecasts or whole
    reconstructed windows instead. After training the readout is solved in closed form for the last
    row, given the memory that was learned.

    Use it where the order of rows matters: values that are usual, but not now. With ``window=1``
    there is no past, and it is a small autoencoder. Fails on changes so slow that they look normal
    from row to row, and costs ``window`` steps a row.

    Parameters
    ----------
    hidden_size : int
        Width of the memory.
    n_layers : int
        LSTM layers above each other.
    noise : float
        Standard deviation of the noise on training rows, in robust standard deviations of the
        features; above 0. More noise makes it rely on the past.
    ridge : float or None
        Penalty, in rows, of the readout that is solved after training. None: keep what Adam found.
    epochs, batch_size, learning_rate, weight_decay, patience, device, random_state
        See `adlib.training.DeepDetector`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`. The default window is short; give it the length of the patterns that
        matter, 16 to 100 rows.

    Notes
    -----
    `contributions` are each feature's share of the mean and add up to the score.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.sin(np.arange(600) / 4)[:, None] + 0.05 * np.random.default_rng(0).normal(
    ...     size=(600, 1))
    >>> x[550] = 0.0 if abs(x[550]) > 0.5 else 1.0  # a usual value at the wrong time
    >>> detector = LSTM(random_state=0).fit(x[:400])
    >>> bool(detector.detect(x[500:]).is_anomaly[50])
    True
    """

    _pace = (4e-6, 8e-8, 1)

    def __init__(self, *, hidden_size: int = 64, n_layers: int = 1, **base: Any):
        super().__init__(**base)
        self.hidden_size = hidden_size
        self.n_layers = n_layers

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("hidden_size", "n_layers")

    def _network(self, n_features: int) -> nn.Module:
        return _Recurrent(n_features, int(self.hidden_size), int(self.n_layers))


class _Recurrent(SequenceNet):
    def __init__(self, n_features: int, hidden_size: int, n_layers: int):
        super().__init__(n_features, hidden_size)
        self.memory = nn.LSTM(n_features, hidden_size, n_layers, batch_first=True)

    def states(self, x: Tensor) -> Tensor:
        return self.memory(x)[0]
