import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluator.latents import Latents, latents_of
from evaluator.report.traversals import (
    Autoencoder,
    draw_pictures_of_runs,
    opened,
    strip_png,
    traverse,
)
from submission.datasets import Dataset
from submission.runs.folder import RunFolder

LATENTS = 3


class FirstPixels(torch.nn.Module):
    """An encoder that reads the red of the first pixels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0, 0, :3]


class Bars(torch.nn.Module):
    """A decoder that paints latent j, halved and about grey, in rows of its own."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        rows = (0.5 + latents / 4).repeat_interleave(4, dim=1)
        return rows[:, None, :, None].expand(-1, 3, -1, 12)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("run")
    encoder, decoder = folder / "representation/pytorch_model.pt", folder / "training/decoder.pt"
    for path, module in ((encoder, FirstPixels()), (decoder, Bars())):
        path.parent.mkdir()
        torch.jit.script(module).save(str(path))
    return encoder, decoder


@pytest.fixture(scope="module")
def model(files: tuple[Path, Path]) -> Iterator[Autoencoder]:
    with opened([RunFolder(files[0].parent.parent)], (12, 12, 3)) as (model,):
        yield model


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    pixels = np.random.RandomState(0).randint(256, size=(6, 12, 12, 3)).astype(np.uint8)
    return Dataset("tiny", pixels, ("a", "b"), (2, 3), (0, 1))


class InPlace(torch.nn.Module):
    """Changes what it is given, and what it gave."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        given.mul_(2)
        return self.answer.add_(1)


def test_a_model_that_changes_tensors_in_place_changes_nothing_here(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for path, answer in ((run.model, torch.zeros(2, 3)), (run.decoder, torch.zeros(2, 1, 4, 4))):
        path.parent.mkdir()
        torch.jit.script(InPlace(answer)).save(str(path))
    grey = np.full((2, 4, 4, 1), 0.25, np.float32)
    codes = np.full((2, 3), 0.25, np.float32)
    with opened([run], (4, 4, 1)) as (model,):
        first = model.encode(grey), model.decode(codes)
        model.encode(grey), model.decode(codes)
    assert (grey == 0.25).all()
    assert (codes == 0.25).all()
    assert all((one == 1).all() for one in first)


def test_encoder_gets_channels_first(model: Autoencoder, dataset: Dataset) -> None:
    images = dataset.observe(np.arange(4), np.random.RandomState(0))
    np.testing.assert_array_equal(model.encode(images), images[:, 0, :3, 0])


def test_decoding_is_the_same_in_batches(model: Autoencoder) -> None:
    codes = np.random.RandomState(0).randn(70, LATENTS).astype(np.float32)
    single = np.concatenate([model.decode(codes[row : row + 1]) for row in range(len(codes))])
    np.testing.assert_array_equal(model.decode(codes), single)


def test_a_traversal_moves_one_latent_and_holds_the_others(model: Autoencoder) -> None:
    code = np.array([0.4, -0.4, 0.8], np.float32)
    images = traverse(model, code, 1, np.array([-2.0, 0.0, 2.0]))
    np.testing.assert_allclose(images[:, 4:8].mean(axis=(1, 2, 3)), [0.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(images[:, :4], 0.6, atol=1e-6)
    np.testing.assert_allclose(images[:, 8:], 0.7, atol=1e-6)


def test_a_strip_holds_the_images_pixel_by_pixel(dataset: Dataset) -> None:
    images = dataset.observe(np.arange(3), np.random.RandomState(0))
    strip = np.asarray(Image.open(io.BytesIO(strip_png(images))))
    for index in range(3):
        left = 13 * index
        np.testing.assert_array_equal(strip[:, left : left + 12, :3], dataset.images[index])
    assert (strip[:, 12, 3] == 0).all()


def test_grey_images_become_grey_pixels() -> None:
    strip = np.asarray(Image.open(io.BytesIO(strip_png(np.full((1, 4, 4, 1), 0.2, np.float32)))))
    assert strip[0, 0].tolist() == [51, 51, 51, 255]


def latents(variance: list[float]) -> Latents | None:
    """Of a nat or more each, so that the variance decides."""
    kl = [1.0] * len(variance)
    return latents_of({"kl_per_latent": kl, "posterior_mean_variance_per_latent": variance})


def test_rows_are_the_latents_that_carry_information(
    files: tuple[Path, Path], dataset: Dataset
) -> None:
    used = latents([0.7, 0.001, 2.0])
    ((pictures, reason),) = draw_pictures_of_runs([(files[0].parent.parent, used)], dataset)
    assert pictures is not None and not reason
    assert [(latent, variance) for latent, variance, _ in pictures.rows] == [(2, 2.0), (0, 0.7)]
    assert (pictures.values[0], pictures.values[-1]) == (-2.0, 2.0)


def test_the_same_files_give_the_same_pictures(files: tuple[Path, Path], dataset: Dataset) -> None:
    run = (files[0].parent.parent, latents([1.0, 1, 1]))
    assert draw_pictures_of_runs([run], dataset) == draw_pictures_of_runs([run], dataset)
