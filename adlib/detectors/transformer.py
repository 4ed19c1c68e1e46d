"""Causal attention that cleans each row in the light of the rows before it."""

from typing import Any

import torch
from torch import Tensor, nn

from adlib.detectors.lstm import SequenceDetector, SequenceNet


class Transformer(SequenceDetector):
    """Error of rebuilding a row from its noised self and attention to the rows before it.

    A small encoder of the kind of Vaswani et al. (2017), layer normalisation first, with learned
    positions. Attention is causal: no row is rebuilt with the help of a later one. Trained and
    scored like `LSTM`, with attention as the memory: every row of the window is one step away,
    which suits patterns that repeat after a while; cost grows with the square of the window.

    Fails where training rows are few (it assumes less than a recurrent network does) or hold
    anomalies, which it learns to expect sooner than the others (`benchmarks/windows.py` measures
    it), and on changes so slow that they look normal from row to row.

    Parameters
    ----------
    width : int
        Of the rows' embedding; a multiple of ``n_heads``.
    n_layers, n_heads : int
        Attention layers, and heads in each.
    dropout : float
        In [0, 1), while training.
    noise, ridge
        As in `LSTM`.
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
    >>> detector = Transformer(random_state=0).fit(x[:400])
    >>> bool(detector.detect(x[500:]).is_anomaly[50])
    True
    """

    _pace = (1.4e-5, 8e-8, 1)

    def __init__(self, *, width: int = 64, n_layers: int = 2, n_heads: int = 4,
                 dropout: float = 0.0, learning_rate: float = 2e-3, **base: Any):
        super().__init__(learning_rate=learning_rate, **base)
        self.width = width
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dropout = dropout

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("width", "n_layers", "n_heads")
        self._check_number("dropout", least=0, below=1)
        if self.width % self.n_heads:
            raise ValueError(f"width must be a multiple of n_heads={self.n_heads}, got "
                             f"{self.width}")

    def _network(self, n_features: int) -> nn.Module:
        return _Attention(n_features, self.window_, self.width, self.n_layers, self.n_heads,
                          self.dropout)


class _Attention(SequenceNet):
    def __init__(self, n_features: int, window: int, width: int, n_layers: int, n_heads: int,
                 dropout: float):
        super().__init__(n_features, width)
        self.embed = nn.Linear(n_features, width)
        self.position = nn.Parameter(0.02 * torch.randn(window, width))
        layer = nn.TransformerEncoderLayer(width, n_heads, 2 * width, dropout, "gelu",
                                           batch_first=True, norm_first=True)
        self.memory = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        later = torch.ones(window, window, dtype=torch.bool).triu(diagonal=1)
        self.register_buffer("later", later, persistent=False)

    def states(self, x: Tensor) -> Tensor:
        return self.memory(self.embed(x) + self.position, mask=self.later)
