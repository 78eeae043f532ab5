"""Fixtures of the trainer's tests: a small data set and a small recipe, trained for real."""

import time
from collections.abc import Callable
from pathlib import Path

import gin
import numpy as np
import pytest
import torch

from submission.budget import Budget, parse_duration
from submission.configuration import configure
from submission.datasets import Dataset, mpi3d_mini
from submission.interruption import Interruption
from submission.runs.folder import RunFolder
from submission.runs.record import Record
from submission.supervision import Supervisor
from submission.training.loop import train
from submission.training.progress import LineDisplay
from submission.training.recipe import Recipe
from submission.training.setup import Request

WIDTH = "network.width = 0.125"
SMALL = [
    "trainer.batch_size = 8",
    "trainer.log_every = 5",
    "speed.measure = False",
]


# The tests' networks are so small that a second thread only waits for the first.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clear_gin():
    yield
    gin.clear_config()


@pytest.fixture(scope="session")
def squares() -> Dataset:
    """48 images of a square: factors x, y, brightness."""
    sizes = (4, 4, 3)
    images = np.zeros((*sizes, 64, 64, 3), dtype=np.uint8)
    for x in range(4):
        for y in range(4):
            for shade in range(3):
                images[x, y, shade, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = 85 * (shade + 1)
    return Dataset(
        name="squares",
        images=images.reshape(-1, 64, 64, 3),
        factor_names=("x", "y", "shade"),
        factor_sizes=sizes,
        scored_factors=(0, 1, 2),
        image_of_state=None,
        white=255,
        paint=None,
        path=None,
    )


@pytest.fixture(scope="session")
def arms() -> Dataset:
    """128 frames of mpi3d_mini: factors colour, size and the arm's two angles."""
    sizes = (4, 1, 2, 1, 1, 4, 4)
    return Dataset(
        name="arms",
        images=mpi3d_mini.render(sizes),
        factor_names=mpi3d_mini.FACTOR_NAMES,
        factor_sizes=sizes,
        scored_factors=tuple(range(7)),
        image_of_state=None,
        white=255,
        paint=None,
        path=None,
    )


class Trial:
    """A way to train on a data set as the command line would, in this process."""

    def __init__(self, dataset: Dataset, root: Path) -> None:
        self.dataset = dataset
        self.root = root
        self.interruption = Interruption()
        self.display = LineDisplay()
        self.device = torch.device("cpu")
        self.supervisor = Supervisor()
        self.gpu_problem = ""

    def folder(self, name: str = "run") -> RunFolder:
        return RunFolder(self.root / name)

    def request(self, name: str, method: str, preset: str) -> Request:
        return Request(
            name=name,
            method=method,
            preset=preset,
            dataset=self.dataset,
            folder=self.folder(name),
            pretrained=self.root / "pretrained",
            device=self.device,
            supervisor=self.supervisor,
            gpu_problem=self.gpu_problem,
        )

    def __call__(
        self,
        *bindings: str,
        method: str = "beta_tcvae",
        preset: str = "challenge",
        name: str = "run",
    ) -> Record:
        # The quick preset chooses the width.
        width = [] if preset == "quick" else [WIDTH]
        configure(method, preset, [*width, *SMALL, "trainer.budget = '1h'", *bindings])
        request = self.request(name, method, preset)
        seconds = parse_duration(Recipe().budget, "trainer.budget")
        return train(request, Budget(seconds, time.monotonic()), self.interruption, self.display)


@pytest.fixture
def trial(squares: Dataset, tmp_path: Path) -> Callable[..., Record]:
    return Trial(squares, tmp_path)


@pytest.fixture(scope="session")
def arms_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output folder, so that the methods share their pre-training."""
    return tmp_path_factory.mktemp("arms")


@pytest.fixture
def arms_trial(arms: Dataset, arms_root: Path) -> Callable[..., Record]:
    return Trial(arms, arms_root)
