"""Diffusion time estimation (Livernoche et al., ICLR 2024): a detector from outside adlib."""

import torch
from torch import nn

from adlib.training import DeepDetector, mlp

STEPS, BINS = 300, 10


class DiffusionTime(DeepDetector):
    """Expected diffusion time of a row: how much noise a network believes it has seen.

    Training rows are noised to a random step of a diffusion, and a network learns to say in which
    part of the diffusion that step lies (the categorical DTE of the paper, section 4). A row far
    from the training rows looks like one that was noised for long.
    """

    def __init__(self, *, hidden_layers=(64, 64), epochs=50, learning_rate=3e-3, weight_decay=0.0,
                 patience=None, **base):
        super().__init__(epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay,
                         patience=patience, **base)
        self.hidden_layers = hidden_layers

    def _network(self, n_features):
        inputs = self.window_ * n_features
        return nn.Sequential(mlp((inputs, *self.hidden_layers)),
                             nn.Linear(self.hidden_layers[-1], BINS))

    def _losses(self, net, x):
        rows = x.flatten(1)
        kept = torch.linspace(1e-4, 0.02, STEPS).neg().add(1).cumprod(0)  # of the variance
        step = torch.randint(STEPS, (len(rows),))
        kept = kept[step, None].to(rows)
        noised = kept.sqrt() * rows + (1 - kept).sqrt() * torch.randn_like(rows)
        wanted = (step * BINS // STEPS).to(rows.device)
        yield net, nn.functional.cross_entropy(net(noised), wanted)

    def _row_scores(self, net, x):
        likely = net(x.flatten(1)).softmax(dim=1)
        return likely @ torch.arange(BINS).to(likely)
