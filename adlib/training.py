"""One training loop for all networks, and the detectors that own a network.

A deep detector states three things: its network, what to minimise, and the score of each row.
Seeds, devices, scaling, windows, early stopping, guards, batches and saving are here, once.
Networks train in float32 and score in float64: a score then does not depend on its batch.
"""

import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from adlib.arguments import listed, number, one_of, require_extra, whole
from adlib.base import Detector, Scores
from adlib.scaling import center_scale, standardise
from adlib.windows import windows

require_extra("torch", "deep")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

__all__ = ["DeepDetector", "ReconstructionDetector", "TrainingWarning", "mlp", "seeded", "train"]

Losses = Callable[[nn.Module, Tensor], Iterator[tuple[nn.Module, Tensor]]]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(0.2), "gelu": nn.GELU}
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}

_BATCH, _STEPS = 2_048, 16_384  # rows, and rows times window, whose hidden units fit the cache
_TRAIN_LIMIT = 1e6  # float32 squares and their sums stay finite
_SCORE_LIMIT = 1e30  # the same in float64


class TrainingWarning(UserWarning):
    """The network learned nothing, or can do its task without learning anything."""


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch inside the block; the caller's random state is as it was afterwards.

    Parameters
    ----------
    seed : int
    device : torch.device or str, default="cpu"
        Its generator is seeded, and put back, too.

    Examples
    --------
    >>> with seeded(0):
    ...     a = torch.rand(2)
    >>> with seeded(0):
    ...     b = torch.rand(2)
    >>> bool((a == b).all())
    True
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach other devices too
        for used in cuda:
            with torch.cuda.device(used):
                torch.cuda.manual_seed(seed)
        yield


def pick_device(device: str) -> torch.device:
    """The device of a name: "cpu", "cuda" (also "cuda:1"), or "auto" for cuda if there is one.

    Parameters
    ----------
    device : str

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        For another name, or a CUDA device that is not at hand.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(device, str) or not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'auto', got {device!r}")
    found = torch.device(device)
    if found.type == "cuda" and (found.index or 0) >= (count := torch.cuda.device_count()):
        raise ValueError(f"device={device!r}, but torch finds {count or 'no'} CUDA device"
                         f"{'s' * (count > 1)}; use 'cpu' or 'auto'")
    return found


def batches(rows: Tensor) -> Iterator[Tensor]:
    """Rows (n, window, features) in parts, as views, for passes without gradients.

    Parameters
    ----------
    rows : Tensor of shape (n, window, features)

    Yields
    ------
    Tensor of shape (m, window, features)
    """
    yield from rows.split(max(1, min(_BATCH, _STEPS // rows.shape[1])))


def train(net: nn.Module, losses: Losses, rows: Tensor, *, epochs: int = 100,
          batch_size: int = 128, learning_rate: float = 1e-3, weight_decay: float = 0.0,
          betas: tuple[float, float] = (0.9, 0.999),
          patience: int | None = 10, held_out: Tensor | None = None, seed: int = 0,
          name: str = "network") -> dict[str, list[float]]:
    """Fit a network by Adam on shuffled mini-batches; the best weights stay.

    Parameters
    ----------
    net : Module
        Trained in place; in evaluation mode afterwards.
    losses : callable
        ``losses(net, x)`` yields ``(module, loss)`` pairs for one batch. Each module takes its step
        before the next pair is asked for, so a discriminator has learned when its generator is
        judged.
    rows : Tensor of shape (n_samples, ...)
        On the device of the network; batches are gathered from it, so a view of overlapping
        windows costs no memory. In a batch of one row BatchNorm keeps to its running statistics.
    epochs : int
        Passes over the rows at most; 0 leaves the network untrained.
    batch_size, learning_rate, weight_decay, betas
        Of Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019), the
        rate falling to zero along a cosine.
    patience : int or None
        Epochs without a better held-out loss after which training stops. None: never.
    held_out : Tensor, optional
        Rows to judge each epoch by, later in time; the same noise is drawn for them each time.
    seed : int
        Of shuffling, noise and dropout.
    name : str
        For the progress bar.

    Returns
    -------
    dict of str to list of float
        Mean loss of each epoch: ``"train"`` (by name of the part where there are several) and
        ``"held_out"``.

    Examples
    --------
    >>> line = nn.Linear(1, 1)
    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> def losses(net, x):
    ...     yield net, ((net(x) - 2 * x) ** 2).mean()
    >>> history = train(line, losses, x, learning_rate=0.1)
    >>> bool(history["train"][-1] < 0.01)
    True
    """
    step = _Steps(net, learning_rate, betas, weight_decay)
    history: dict[str, list[float]] = {}
    best, best_epoch, best_state = np.inf, -1, None
    with seeded(seed, rows.device):
        bar = tqdm(range(epochs), desc=f"training {name}", unit="epoch", delay=1, leave=False,
                   disable=None)
        for epoch in bar:
            step.rate = learning_rate * (0.5 + 0.5 * np.cos(np.pi * epoch / epochs))
            for key, total in _epoch(net, losses, rows, batch_size, step).items():
                history.setdefault(key, []).append(total)
            if held_out is None:
                continue
            loss = _mean_loss(net, losses, held_out, seed)
            history.setdefault("held_out", []).append(loss)
            bar.set_postfix(held_out=f"{loss:.3g}", refresh=False)
            if loss < best:
                best, best_epoch = loss, epoch
                best_state = {k: v.detach().clone() for k, v in net.state_dict().items()}
            elif patience is not None and epoch - best_epoch >= patience:
                break
    if best_state is not None:
        net.load_state_dict(best_state)
    net.eval()
    return history


class _Steps:
    """One optimiser for each module that a loss is given for, all at one rate."""

    def __init__(self, net: nn.Module, learning_rate: float, betas: tuple[float, float],
                 weight_decay: float):
        self.names = {id(module): key for key, module in net.named_modules() if key}
        self.settings: dict[str, Any] = {"lr": learning_rate, "betas": betas,
                                         "weight_decay": weight_decay, "fused": True}
        self.optimisers: dict[int, torch.optim.AdamW] = {}
        self.rate = learning_rate

    def __call__(self, module: nn.Module, loss: Tensor) -> str:
        """Take a step, and return the name of the part that took it."""
        optimiser = self.optimisers.get(id(module))
        if optimiser is None:
            optimiser = torch.optim.AdamW(module.parameters(), **self.settings)
            self.optimisers[id(module)] = optimiser
        optimiser.param_groups[0]["lr"] = self.rate
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return self.names.get(id(module), "train")


def _epoch(net: nn.Module, losses: Losses, rows: Tensor, batch_size: int, step: _Steps
           ) -> dict[str, float]:
    """One pass over shuffled rows; mean loss of each part that took steps."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm1d)]
    n = len(rows)
    totals: dict[str, Any] = {}
    net.train()
    order = torch.randperm(n, device=rows.device)
    for part in order.tensor_split(max(1, -(-n // batch_size))):
        for norm in norms:
            norm.train(len(part) > 1)  # one row has no variance
        for module, loss in losses(net, rows[part]):
            key = step(module, loss)
            totals[key] = totals.get(key, 0.0) + loss.detach() * (len(part) / n)
    net.eval()
    return {key: float(total) for key, total in totals.items()}


@torch.no_grad()
def _mean_loss(net: nn.Module, losses: Losses, rows: Tensor, seed: int) -> float:
    """Loss of rows that are not trained on, with the same noise each time."""
    with seeded(seed, rows.device):
        return sum(float(loss) * len(part) / len(rows) for part in batches(rows)
                   for _, loss in losses(net, part))


def mlp(sizes: tuple[int, ...], *, activation: str = "relu", norm: str | None = None,
        dropout: float = 0.0) -> nn.Sequential:
    """Blocks of Linear, norm ("batch", "layer" or None), activation and dropout, one per step.

    Parameters
    ----------
    sizes : sequence of int
        Widths from input to output.
    activation : str, default="relu"
    norm : {"batch", "layer"} or None, default=None
    dropout : float, default=0.0
        In [0, 1).

    Returns
    -------
    Sequential

    Examples
    --------
    >>> [type(part).__name__ for part in mlp((8, 4), norm="layer", dropout=0.2)]
    ['Linear', 'LayerNorm', 'ReLU', 'Dropout']
    """
    widths = [whole(size, "sizes", 1) for size in listed(sizes, "sizes")]
    one_of(activation, "activation", ACTIVATIONS)
    one_of(norm, "norm", (None, *NORMS))
    number(dropout, "dropout", least=0, below=1)
    parts: list[nn.Module] = []
    for wide, narrow in zip(widths, widths[1:], strict=False):
        linear = nn.Linear(wide, narrow)
        if activation == "tanh":  # an odd function: layers of it bend only where biases spread
            nn.init.uniform_(linear.bias, -1, 1)
        parts.append(linear)
        if norm is not None:
            parts.append(NORMS[norm](narrow))
        parts.append(ACTIVATIONS[activation]())
        if dropout:
            parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)


class DeepDetector(Detector):
    """Base of detectors with a network. Subclasses say what it is and how it scores rows.

    Subclasses write ``_network(n_features)``, ``_losses(net, x)`` yielding ``(module, loss)``
    pairs, and ``_row_scores(net, x)``. Everywhere ``x`` has shape (batch, window, features), scaled
    by median and interquartile range; with ``window=1`` the middle axis has length 1. Windows are
    gathered batch by batch and never materialised.

    A detector that rebuilds its input stands on `ReconstructionDetector` instead.

    Parameters
    ----------
    epochs : int
        Passes over the training rows at most; 0 leaves the network untrained.
    batch_size : int
        Rows per step.
    learning_rate, weight_decay : float
        Of AdamW; the rate falls to zero along a cosine.
    patience : int or None
        Epochs without improvement on the last tenth of the training rows, in time, after which
        training stops; the best weights stay. None: all epochs, on all rows.
    device : {"cpu", "cuda", "auto"}
        Where the network lives.
    random_state : int, NumPy generator or None
        Initial weights, shuffling, noise, dropout.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Attributes
    ----------
    history_ : dict of str to list of float
        Loss of each epoch, to plot: on training rows and ``"held_out"``.
    weights_ : dict of str to ndarray
        The network's state.
    center_, scale_ : ndarray of shape (n_features,)

    Examples
    --------
    A network that tells rows from noise is unsure where rows are rare (Steinwart et al., 2005):

    >>> class AgainstNoise(DeepDetector):
    ...     def _network(self, n_features):
    ...         return nn.Sequential(mlp((self.window_ * n_features, 32)), nn.Linear(32, 1))
    ...     def _losses(self, net, x):
    ...         rows = x.flatten(1)
    ...         noise = 10 * torch.rand_like(rows) - 5
    ...         yield net, nn.functional.softplus(torch.cat([net(rows), -net(noise)])).mean()
    ...     def _row_scores(self, net, x):
    ...         return net(x.flatten(1))[:, 0]
    >>> X = np.random.default_rng(0).normal([3, -3], 0.1, size=(400, 2))
    >>> detector = AgainstNoise(epochs=60, learning_rate=0.01, random_state=0).fit(X)
    >>> detector.detect([[3, -3], [2, -2]]).is_anomaly.tolist()
    [False, True]
    """

    _expensive = True
    _betas = (0.9, 0.999)
    # seconds of training a row once, and for each value in its window; 1: the first for each step
    _pace = (1.5e-5, 1.5e-7, 0)

    def __init__(self, *, epochs: int = 15, batch_size: int = 128, learning_rate: float = 1e-3,
                 weight_decay: float = 1.0, patience: int | None = 5, device: str = "cpu",
                 random_state: Any = None, **base: Any):
        super().__init__(**base)
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.device = device
        self.random_state = random_state

    # -- what a subclass writes -------------------------------------------------------------

    @abstractmethod
    def _network(self, n_features: int) -> nn.Module:
        """A fresh network; called with torch seeded."""

    @abstractmethod
    def _losses(self, net: nn.Module, x: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        """Yield ``(module, loss)`` for a batch (n, window, features).

        A loss is a mean over the rows. ``self._weight`` (features,) is one over the variance of
        each feature: errors that it multiplies weigh alike.
        """

    @abstractmethod
    def _row_scores(self, net: nn.Module, x: Tensor) -> Tensor:
        """Score the last row of each window: (n, window, features) -> (n,), in float64.

        Higher is more anomalous. Nothing is seeded here: what is drawn would depend on a row's
        place in the batch.
        """

    def _finish(self, net: nn.Module, rows: Tensor) -> None:
        """Anything to change of the network after training, in float64, on the training rows."""

    def _training_scores(self, X: NDArray[np.float64]) -> Scores:
        """Scores of the training rows, once the network is what it will be.

        Override it to learn from them what scoring needs.
        """
        return self._score(X)

    # -- the rest ---------------------------------------------------------------------------

    def check_params(self) -> None:
        super().check_params()
        self._check_whole("epochs", least=0)
        self._check_whole("batch_size")
        self._check_number("learning_rate", above=0)
        self._check_number("weight_decay", least=0)
        self._check_whole("patience", optional=True)
        pick_device(self.device)

    def __getstate__(self) -> dict[str, Any]:
        """Without the network: it is made again from its weights where scores are asked for."""
        return {k: v for k, v in super().__getstate__().items() if k != "_net"}

    def _whole(self, n: int) -> slice:
        return slice(self._gap, None)  # windows are a view of rows without a hole

    def windowed(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        return windows(X, self.window_)  # a view: (n, window, features)

    def _scaled(self, X: NDArray[np.float64], dtype: torch.dtype, limit: float) -> Tensor:
        """Windows (n, window, features) as a view of scaled rows on the device."""
        single = np.concatenate([X[0, :-1], X[:, -1]])
        Z = np.clip(standardise(single, self.center_, self.scale_), -limit, limit)
        rows = torch.as_tensor(Z, dtype=dtype, device=pick_device(self.device))
        return rows.unfold(0, X.shape[1], 1).transpose(1, 2)

    def _fit(self, X: NDArray[np.float64]) -> None:
        self.__dict__.pop("_net", None)
        self.center_, self.scale_ = center_scale(np.concatenate([X[0, :-1], X[:, -1]]), robust=True)
        rows = self._scaled(X, torch.float32, _TRAIN_LIMIT)
        # heavy tails are wide in units of quartiles: in the loss all features weigh alike
        variance = rows[:, -1].var(dim=0, unbiased=False)
        self._weight = torch.where(variance > 1e-6, 1 / variance.clamp_min(1e-6), 1.0)
        with seeded(self.seed_, rows.device):
            net = self._network(X.shape[2]).to(rows)  # float32, whatever torch's default is
        held = len(rows) // 10 if self.patience is not None else 0
        cut = len(rows) - held - (X.shape[1] - 1)  # no window on both sides
        if held < 3 or cut < held:
            held, cut = 0, len(rows)
        self.history_ = train(
            net, self._losses, rows[:cut], epochs=self.epochs, batch_size=self.batch_size,
            learning_rate=self.learning_rate, weight_decay=self.weight_decay, betas=self._betas,
            patience=self.patience, held_out=rows[-held:] if held else None, seed=self.seed_,
            name=type(self).__name__)
        del self._weight
        net = net.double()
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        with seeded(self.seed_, rows.device):
            self._finish(net, self._scaled(X, torch.float64, _TRAIN_LIMIT))
        self.weights_ = {k: v.cpu().numpy().copy() for k, v in net.state_dict().items()}
        score = self._training_scores(X)  # of a network made from the weights, as after loading
        for doubt in (self._doubt_about_loss(), self._doubt_about_scores(X, score)):
            if doubt:
                warnings.warn(doubt, TrainingWarning, stacklevel=4)

    def _work(self, n: int, d: int) -> tuple[float, float]:
        start, value, recurrent = self._pace
        pass_s = start * self.window_**recurrent + value * d
        return n * (self.epochs + 1) * pass_s, 0.5 * pass_s

    def _values(self, n: int, d: int) -> float:
        return 25.0 * n * self.n_features_in_ + 1e7  # no windows; the network, batches

    def _doubt_about_loss(self) -> str | None:
        """A sentence where the losses say that training came to nothing."""
        losses = self.history_.get("held_out") or self.history_.get("train") or []
        if len(losses) > 1 and not min(losses[1:]) < losses[0]:
            return (f"the loss of {type(self).__name__} did not fall in {len(losses)} epochs (from "
                    f"{losses[0]:.3g} to {losses[-1]:.3g}): lower learning_rate, or see history_")
        return None

    def _doubt_about_scores(self, X: NDArray[np.float64], score: Scores) -> str | None:
        """A sentence where the scores of the training rows say so."""
        if self.epochs and len(score) >= 10 and np.ptp(score) <= 1e-9 * np.abs(score).max():
            return (f"{type(self).__name__} gives all training rows one score ({score[0]:.3g}): it "
                    f"collapsed, or the data are constant")
        return None

    @property
    def network_(self) -> nn.Module:
        """The trained network, in evaluation mode, on the device that is set."""
        device = pick_device(self.device)
        if "_net" not in vars(self):
            with seeded(0):
                net = self._network(self.n_features_in_).double().eval()
            state = {k: torch.as_tensor(self.weights_[k]).reshape(v.shape)
                     for k, v in net.state_dict().items()}
            net.load_state_dict(state)
            self._net = net
        return self._net.to(device)

    def check_loaded(self) -> None:
        weights = vars(self).get("weights_")
        if weights is None:
            return
        if getattr(self, "n_layers", 0) <= len(weights):  # or making them would take for ever
            with torch.device("meta"):  # shapes without memory: a file may claim any width
                wanted = self._network(self.n_features_in_).state_dict()
            if all(np.size(weights.get(k, ())) == v.numel() for k, v in wanted.items()):
                return
        raise ValueError("weights_ are not those of the network that its parameters describe")

    def _batch_results(self, X: NDArray[np.float64],
                       function: Callable[[nn.Module, Tensor], Any]) -> list[Any]:
        """What a function of the network and a batch gives, over all rows, without gradients."""
        net = self.network_
        with torch.inference_mode():
            return [function(net, x)
                    for x in batches(self._scaled(X, torch.float64, _SCORE_LIMIT))]

    def _score(self, X: NDArray[np.float64]) -> Scores:
        scores = self._batch_results(X, self._row_scores)
        return np.concatenate([part.cpu().numpy() for part in scores])


class ReconstructionDetector(DeepDetector):
    """Base of networks that rebuild their input: the error of each value is the score.

    Subclasses write ``_network(n_features)``, and instead of ``_row_scores`` the loss and errors of
    their own: ``_losses(net, x)`` and ``_errors(net, x)``. By default the network gives back its
    input, trained on rows to which ``noise`` is added. A row's score is the mean over its features
    of squared error in units of the feature's typical one, so that a noisy feature does not drown
    the rest, plus the penalty a subclass may add. Of a window only the last row is judged, in the
    light of those before it: errors of the whole window would raise the alarm again for every row
    that remembers the anomaly.

    Parameters
    ----------
    epochs, batch_size, learning_rate, weight_decay, patience, device, random_state
        See `DeepDetector`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.

    Attributes
    ----------
    typical_ : ndarray of shape (n_features,)
        Mean squared error on training rows.
    """

    noise: float = 0.0  # on training rows, in robust standard deviations of the features

    def _noised(self, x: Tensor) -> Tensor:
        return x + self.noise * torch.randn_like(x) if self.noise else x

    def _losses(self, net: nn.Module, x: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        yield net, (self._weight * (net(self._noised(x)) - x) ** 2).mean()

    def _errors(self, net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Squared errors (n, window, features), and a penalty (n,) or 0 added to the score.

        Nothing is seeded here: what is drawn would depend on a row's place in the batch.
        """
        return (net(x) - x) ** 2, 0.0

    def _last_errors(self, net: nn.Module, x: Tensor
                     ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Squared errors of the last row of each window (n, features), and penalties (n,)."""
        errors, penalty = self._errors(net, x)
        penalty = torch.as_tensor(penalty).expand(len(x))
        return errors[:, -1].cpu().numpy(), penalty.cpu().numpy()

    def _row_scores(self, net: nn.Module, x: Tensor) -> Tensor:
        errors, penalty = self._last_errors(net, x)
        return torch.from_numpy((errors / self.typical_).mean(axis=1) + penalty)

    def _training_scores(self, X: NDArray[np.float64]) -> Scores:
        parts = self._batch_results(X, self._last_errors)
        errors, penalty = (np.concatenate(part) for part in zip(*parts, strict=True))
        typical = errors.mean(axis=0)
        # a feature that is rebuilt almost exactly must not turn rounding into anomalies
        self.typical_ = np.maximum(typical, max(1e-3 * typical.max(), 1e-12))
        return (errors / self.typical_).mean(axis=1) + penalty

    def _doubt_about_scores(self, X: NDArray[np.float64], score: Scores) -> str | None:
        variance = self._scaled(X, torch.float64, _TRAIN_LIMIT)[:, -1].var(dim=0, unbiased=False)
        doubt = super()._doubt_about_scores(X, score)
        if not doubt and self.epochs and len(score) >= 10 and (
                self.typical_ >= 0.99 * variance.cpu().numpy()).all():
            return (f"{type(self).__name__} rebuilds training rows no better than their mean does: "
                    f"it collapsed; train longer, or regularise less")
        return doubt

    def _contributions(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        errors = [part for part, _ in self._batch_results(X, self._last_errors)]
        return np.concatenate(errors) / self.typical_ / len(self.typical_)


class CodeDetector(ReconstructionDetector):
    """Base of detectors that encode a row and decode it again, in blocks of an `mlp`.

    Parameters
    ----------
    hidden_layers : tuple of int
        Widths of the encoder; the decoder mirrors them.
    latent_dim : int
        Width of the code.
    ridge : float or None
        Penalty, in rows, of the readout that is solved after training. None: keep what Adam found.
    activation : {"tanh", "relu", "leaky_relu", "gelu"}
    norm : {"batch", "layer"} or None
        Normalisation in each hidden block.
    dropout : float
        In [0, 1), in each hidden block, while training.
    epochs, batch_size, learning_rate, weight_decay, patience, device, random_state
        See `DeepDetector`.
    window, alpha, threshold, calibration, smoothing, missing
        See `adlib.Detector`.
    """

    def __init__(self, *, hidden_layers: tuple[int, ...] = (128, 64), latent_dim: int | None = 32,
                 ridge: float | None = 1.0, activation: str = "tanh", norm: str | None = None,
                 dropout: float = 0.0, **base: Any):
        super().__init__(**base)
        self.hidden_layers = hidden_layers
        self.latent_dim = latent_dim
        self.ridge = ridge
        self.activation = activation
        self.norm = norm
        self.dropout = dropout

    def check_params(self) -> None:
        super().check_params()
        one_of(self.activation, "activation", ACTIVATIONS)
        one_of(self.norm, "norm", (None, *NORMS))
        self._check_number("dropout", least=0, below=1)
        layers = self.hidden_layers
        whole = isinstance(layers, (tuple, list)) and all(
            isinstance(width, (int, np.integer)) and not isinstance(width, bool) and width > 0
            for width in layers)
        if not whole or not layers:
            raise ValueError(f"hidden_layers must be a tuple of widths, each a whole number >= 1, "
                             f"got {layers!r}")
        self._check_whole("latent_dim", optional=True)
        self._check_number("ridge", above=0, optional=True)
