"""A real engine, the real image, and submissions of any kind to try on them."""

import functools
import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
# The scripts of docker/ are modules to each other.
sys.path.append(str(ROOT / "docker"))

from container import image  # noqa: E402
from submission import datasets  # noqa: E402
from submission.errors import UserError  # noqa: E402

DATA = Path(os.environ.get("DISENTANGLEMENT_LIB_DATA", ROOT / "scratch/dataset")).absolute()


@dataclass(frozen=True)
class Answer:
    """What `docker/portal.py` answered."""

    code: int
    output: str
    errors: str

    @property
    def error(self) -> str:
        """The one line of a mistake."""
        assert self.code == 2, (self.code, self.output, self.errors)
        assert self.errors.count("\n") == 1, self.errors
        assert self.errors.startswith("error: ")
        return self.errors.removeprefix("error: ").rstrip()


class Portal:
    """Runs `docker/portal.py` as a person does."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder = folder
        self.image = image
        self.prefix: list[str] = []
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("AICROWD_")}
        self.environment["AICROWD_OUTPUT_PATH"] = str(folder)
        self.environment["DISENTANGLEMENT_LIB_DATA"] = str(DATA)

    def start(
        self, command: str, *arguments: object, image: str = "", **variables: str
    ) -> subprocess.Popen[str]:
        before, separator, after = " ".join(map(str, arguments)).partition(" -- ")
        words = before.split()
        if command != "score":
            words += ["--image", image or self.image]
        return subprocess.Popen(
            [*self.prefix, sys.executable, ROOT / "docker/portal.py", command, *words]
            + ([separator.strip(), *after.split()] if separator else []),
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(
        self, command: str, *arguments: object, image: str = "", **variables: str
    ) -> Answer:
        process = self.start(command, *arguments, image=image, **variables)
        output, errors = process.communicate(timeout=280)
        return Answer(process.returncode, output, errors)

    def score(self, representation: Path, *arguments: object) -> Answer:
        """Scores by one metric, with little memory and time."""
        limits = ("--time-limit", "60s", "--grace", "2s", "--memory", "3g")
        if "--" not in arguments:
            arguments = (*arguments, "--", "--metrics", "mig")
        given = ("--dataset", "mpi3d_mini", "--output", self.folder / "scored")
        return self("score", representation, *given, *limits, *arguments)


def left_behind(client: docker.DockerClient) -> list[str]:
    """The containers and volumes of the portal's that are still there."""
    containers = client.containers.list(all=True, filters={"name": "portal-"})
    volumes = client.volumes.list(filters={"name": "portal-"})
    return [one.name for one in [*containers, *volumes]]


@pytest.fixture(scope="session")
def client() -> docker.DockerClient:
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except docker.errors.DockerException as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Docker engine: {error}")
    return client


@pytest.fixture
def left_on_engine(client: docker.DockerClient) -> Callable[[], list[str]]:
    """Lists the portal's containers and volumes that are there."""
    return functools.partial(left_behind, client)


@pytest.fixture(scope="session")
def built(client: docker.DockerClient) -> str:
    """The real image."""
    tag = "disentanglement-test"
    try:
        image.build_checkout(client, tag, image.default_arguments(), image.default_network())
    except UserError as error:
        if os.environ.get("CI") or "can't be pulled" not in str(error):
            raise
        pytest.skip(str(error))
    return tag


@pytest.fixture(scope="session")
def data_set() -> datasets.Dataset:
    return datasets.load("mpi3d_mini", DATA)


@pytest.fixture
def bare_portal(tmp_path: Path) -> Portal:
    """The command, with no promise of an engine or an image."""
    return Portal(tmp_path, "disentanglement-absent")


@pytest.fixture
def portal(
    client: docker.DockerClient, built: str, data_set: datasets.Dataset, tmp_path: Path
) -> Iterator[Portal]:
    """The command; after each test, nothing of it is left on the engine."""
    yield Portal(tmp_path, built)
    assert left_behind(client) == []


@pytest.fixture
def make_submission(
    client: docker.DockerClient, built: str, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Builds an image whose entry point is a script of the test's, with further lines and files."""
    made = []

    def make(script: str, *lines: str, **files: str) -> str:
        context = tmp_path / f"context-{len(made)}"
        context.mkdir()
        (context / "run.sh").write_text(f"#!/bin/bash\n{script}\n")
        (context / "run.sh").chmod(0o755)
        for name, content in files.items():
            (context / name).write_text(content)
            (context / name).chmod(0o755)
        lines = (f"FROM {built}", "COPY run.sh /home/aicrowd/run.sh", *lines)
        (context / "Dockerfile").write_text("\n".join(lines))
        tag = f"disentanglement-test-{uuid.uuid4().hex[:8]}"
        image.build(client, tag, {}, None, context)
        made.append(tag)
        return tag

    yield make
    for tag in made:
        client.images.remove(tag, force=True)


class Pixels(nn.Module):
    """The first pixels: a representation that costs nothing."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :4000:500]


class _Runs:
    """Runs code where it is unpickled."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self._code,)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A representation folder."""
    folder = tmp_path / "run" / "representation"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def write_torchscript(folder: Path) -> Callable[[nn.Module], Path]:
    def write(module: nn.Module) -> Path:
        torch.jit.save(torch.jit.script(module), str(folder / "pytorch_model.pt"))
        return folder

    return write


@pytest.fixture
def write_hostile_dill(folder: Path) -> Callable[[str], Path]:
    """Writes a dill file that runs code when it is read."""

    def write(code: str) -> Path:
        (folder / "python_model.dill").write_bytes(pickle.dumps(_Runs(code)))
        return folder

    return write


@pytest.fixture
def pixels() -> nn.Module:
    return Pixels()
