"""A small data set whose images spell their own factors, and encoders that can read them."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluator.ground_truth import GroundTruth
from evaluator.representations import Representation
from submission.datasets import Dataset


def _dataset(sizes: tuple[int, ...] = (2, 3, 4, 5), side: int = 4) -> Dataset:
    """Noise, but the first pixel holds the state's number in its first two channels."""
    count = math.prod(sizes)
    images = np.random.RandomState(0).randint(0, 256, (count, side, side, 3)).astype(np.uint8)
    images[:, 0, 0, 0] = np.arange(count) % 256
    images[:, 0, 0, 1] = np.arange(count) // 256
    names = tuple(f"factor {index}" for index in range(len(sizes)))
    return Dataset("spelled", images, names, sizes, tuple(range(len(sizes))))


class Lookup(nn.Module):
    """The perfect representation: the factors, read from the first pixel."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        bases = [math.prod(sizes[index + 1 :]) for index in range(len(sizes))]
        self.register_buffer("bases", torch.tensor(bases))
        self.register_buffer("sizes", torch.tensor(sizes))

    def forward(self, images: Tensor) -> Tensor:
        pixel = (images[:, :, 0, 0] * 255).round().long()
        state = pixel[:, 0] + 256 * pixel[:, 1]
        return (state.unsqueeze(1).div(self.bases, rounding_mode="floor") % self.sizes).float()


class Constant(nn.Module):
    """The same code for every image."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        return torch.full([images.shape[0], 5], self.value)


def _encoder(side: int = 4, latents: int = 6) -> nn.Module:
    """A random convolutional encoder, which tangles all factors."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * side * side, latents),
    ).eval()


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    return _dataset


@pytest.fixture
def make_encoder() -> Callable[..., nn.Module]:
    return _encoder


@pytest.fixture
def lookup() -> type[Lookup]:
    return Lookup


@pytest.fixture
def constant() -> type[Constant]:
    return Constant


@pytest.fixture
def ground_truth() -> GroundTruth:
    return GroundTruth(_dataset())


@pytest.fixture
def write_torchscript(tmp_path: Path) -> Callable[[nn.Module], Path]:
    """Writes a module as the challenge wants it; returns the representation folder."""

    def write(module: nn.Module) -> Path:
        folder = tmp_path / "run" / "representation"
        folder.mkdir(parents=True, exist_ok=True)
        torch.jit.save(torch.jit.script(module), str(folder / "pytorch_model.pt"))
        return folder

    return write


@pytest.fixture
def from_table() -> Callable[[np.ndarray], Representation]:
    """A representation that looks codes up by the number that an image's first pixel spells."""

    def make(table: np.ndarray) -> Representation:
        def encode(images: np.ndarray) -> np.ndarray:
            pixel = np.rint(images[:, 0, 0] * 255).astype(int)
            return table[(pixel[:, 0] + 256 * pixel[:, 1]) % len(table)]

        return Representation(Path("table"), encode, table.shape[1], repeatable=True)

    return make
