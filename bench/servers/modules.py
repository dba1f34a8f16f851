"""The PyTorch modules of the benchmark."""

from __future__ import annotations

import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.mean(dim=(1, 2)))  # type: ignore[no-any-return]


MODULES = {"mlp": Mlp, "image": Image}
