import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluator.latents import Latents, latents_of
from evaluator.report.pictures import SAMPLE, RunPictures, draw_run, pictures_of
from evaluator.report.traversals import SEED, Autoencoder, opened
from submission.datasets import Dataset
from submission.runs.folder import RunFolder

SIZES = (2, 5)


class FirstPixels(torch.nn.Module):
    """An encoder that reads the red of the first pixels, and a latent that is always 0."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        codes = 4 * images[:, 0, 0, :3]
        return torch.cat((codes, 0 * codes[:, :1]), dim=1)


class Bars(torch.nn.Module):
    """A decoder that paints latent j in three rows of its own."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        rows = (latents / 8 + 0.25).repeat_interleave(3, dim=1)
        return rows[:, None, :, None].expand(-1, 3, -1, 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for name, module in (
        ("representation/pytorch_model.pt", FirstPixels()),
        ("training/decoder.pt", Bars()),
    ):
        (folder / name).parent.mkdir()
        torch.jit.script(module).save(str(folder / name))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[Autoencoder]:
    with opened([RunFolder(folder)], (12, 12, 3)) as (model,):
        yield model


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Latent 0 is told by colour alone, latent 1 by size alone and latent 2 by both."""
    pixels = np.full((10, 12, 12, 3), 60, np.uint8)
    colour, size = np.unravel_index(np.arange(10), SIZES)
    pixels[:, 0, 0, 0] = 255 * colour
    pixels[:, 0, 1, 0] = 50 * size
    pixels[:, 0, 2, 0] = 100 * colour + 30 * size
    # What the decoder never paints, in red of one size alone.
    pixels[size == 3, 5:, :, 1] = 250
    return Dataset("tiny", pixels, ("colour", "size"), SIZES, (0, 1))


def used(*variance: float) -> Latents | None:
    """Of a nat each, so that the variance decides."""
    kl = [1.0] * len(variance)
    return latents_of({"kl_per_latent": kl, "posterior_mean_variance_per_latent": list(variance)})


@pytest.fixture(scope="module")
def pictures(model: Autoencoder, dataset: Dataset) -> RunPictures:
    return pictures_of(model, dataset, used(1.0, 2.0, 3.0, 0.0))


def sampled(dataset: Dataset) -> np.ndarray:
    return np.random.RandomState(SEED + 1).randint(len(dataset.images), size=SAMPLE)


def codes_of(dataset: Dataset) -> np.ndarray:
    return dataset.images[sampled(dataset), 0, :3, 0] / 255 * 4


def test_a_latent_is_moved_over_its_own_range(pictures: RunPictures, dataset: Dataset) -> None:
    codes = codes_of(dataset)
    for row in pictures.latents:
        expected = np.quantile(codes[:, row.latent], [0.01, 0.99])
        np.testing.assert_allclose([row.low, row.high], expected, rtol=1e-5)
    strip = np.asarray(Image.open(io.BytesIO(pictures.latents[0].strip)).convert("RGB"))
    assert strip[1, 0, 0] < strip[1, -1, 0]


def test_latents_stand_by_how_much_of_the_picture_they_change(
    pictures: RunPictures, dataset: Dataset
) -> None:
    """A quarter of the rows is a latent's; two random pictures differ by all of their variances."""
    codes = codes_of(dataset)
    low, high = np.quantile(codes, [0.01, 0.99], axis=0)
    expected = (high - low) / np.sqrt(2 * codes.var(axis=0).sum())
    order = np.argsort(-expected).tolist()
    assert [row.latent for row in pictures.latents] == order
    np.testing.assert_allclose([row.change for row in pictures.latents], expected[order], rtol=1e-3)


def test_the_others_are_kept_apart(pictures: RunPictures) -> None:
    (other,) = pictures.others
    assert (other.latent, other.low, other.high, other.change) == (3, 0, 0, 0)


def test_without_a_record_latents_that_vary_are_in_use(
    model: Autoencoder, dataset: Dataset, pictures: RunPictures
) -> None:
    unrecorded = pictures_of(model, dataset, None)
    assert not unrecorded.recorded
    assert unrecorded.latents == pictures.latents
    assert unrecorded.others == pictures.others


def test_a_factor_moves_what_tells_it_alone_by_all_of_its_variance(pictures: RunPictures) -> None:
    colour, size = pictures.factors
    assert (colour.name, colour.values) == ("colour", ["0", "1"])
    assert (size.name, size.values) == ("size", ["0", "1", "2", "3", "4"])
    # The two factors add up in latent 2: 100²/4 and 30²·2 in variance.
    both = np.array([2500, 1800]) / 4300
    assert dict(colour.moved) == pytest.approx({0: 1, 2: both[0]}, rel=0.1)
    assert dict(size.moved) == pytest.approx({1: 1, 2: both[1]}, rel=0.1)


def test_a_factors_images_hold_all_others(pictures: RunPictures, dataset: Dataset) -> None:
    chosen = np.random.RandomState(SEED).randint(len(dataset.images), size=1)
    colour, _ = np.unravel_index(chosen, SIZES)
    strip = np.asarray(Image.open(io.BytesIO(pictures.factors[1].originals)))
    expected = dataset.images[5 * colour[0] : 5 * colour[0] + 5]
    for place, image in enumerate(expected):
        np.testing.assert_array_equal(strip[:, 13 * place : 13 * place + 12, :3], image)


def test_the_error_by_value_is_the_mean_of_the_images_that_have_it(
    pictures: RunPictures, dataset: Dataset
) -> None:
    rows = (codes_of(dataset) / 8 + 0.25)[:, :, None].repeat(3, axis=2).reshape(-1, 9)
    rows = np.concatenate((rows, np.full((SAMPLE, 3), 0.25)), axis=1).clip(0, 1)
    images = dataset.images[sampled(dataset)] / 255
    errors = np.square(images - rows[:, :, None, None]).mean(axis=(1, 2, 3))
    sizes = sampled(dataset) % 5
    by_size = pictures.errors[1]
    assert (by_size.name, [label for label, _ in by_size.groups]) == ("size", list("01234"))
    np.testing.assert_allclose(
        [error for _, error in by_size.groups],
        [errors[sizes == size].mean() for size in range(5)],
        rtol=1e-4,
    )
    assert max(by_size.groups, key=lambda group: group[1] or 0)[0] == "3"


def test_many_values_are_put_together(model: Autoencoder) -> None:
    pixels = np.zeros((25, 12, 12, 3), np.uint8)
    values = (np.linspace(0, 1.2, 25),)
    many = Dataset("many", pixels, ("angle",), (25,), (0,), factor_values=values, is_own=True)
    pictures = pictures_of(model, many, None)
    labels = [label for label, _ in pictures.errors[0].groups]
    assert (len(labels), labels[0], labels[-1]) == (10, "0\N{EN DASH}0.1", "1.15\N{EN DASH}1.2")
    assert len(pictures.factors[0].values) == 7


def test_images_that_are_no_grid_have_errors_by_value_alone(
    model: Autoencoder, dataset: Dataset
) -> None:
    factors = np.stack(np.unravel_index(np.arange(10), SIZES), axis=1)[[0, 1, 2, 9]]
    some = Dataset(
        "some", dataset.images[[0, 1, 2, 9]], ("colour", "size"), SIZES, (0, 1), factors=factors
    )
    pictures = pictures_of(model, some, used(1.0, 2.0, 3.0, 0.0))
    assert pictures.no_factors == "some is no grid, on which each factor can be changed alone"
    assert [error is None for _, error in pictures.errors[1].groups] == [0, 0, 0, 1, 0]


def test_images_without_factors_have_neither(model: Autoencoder, dataset: Dataset) -> None:
    bare = Dataset("bare", dataset.images, (), (), ())
    pictures = pictures_of(model, bare, used(1.0, 2.0, 3.0, 0.0))
    assert (pictures.factors, pictures.errors) == ([], [])
    assert pictures.no_factors == "bare tells no factors of its images"


def test_what_is_painted_at_random_is_the_same_in_all_images_of_a_row(
    model: Autoencoder, dataset: Dataset
) -> None:
    def paint(images: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        return images * random_state.uniform(size=(len(images), 1, 1, 3))

    grey = np.full((10, 12, 12, 1), 200, np.uint8)
    painted = Dataset("painted", grey, ("colour", "size"), SIZES, (0, 1), paint=paint)
    pictures = pictures_of(model, painted, None)
    strip = np.asarray(Image.open(io.BytesIO(pictures.factors[1].originals)))
    shown = strip[strip[..., 3] == 255]
    assert (shown == shown[0]).all()


class Broken(torch.nn.Module):
    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.full((len(latents), 3, 12, 12), float("nan"))


def test_a_decoder_of_no_numbers_is_told(folder: Path, dataset: Dataset, tmp_path: Path) -> None:
    for name in ("representation", "training"):
        (tmp_path / name).mkdir()
    encoder = "representation/pytorch_model.pt"
    (tmp_path / encoder).write_bytes((folder / encoder).read_bytes())
    torch.jit.script(Broken()).save(str(tmp_path / "training/decoder.pt"))
    pictures, reason = draw_run(tmp_path, dataset, None)
    assert pictures is None
    assert reason == "encoder and decoder fail on tiny (codes or images are not finite)"


def test_the_same_files_give_the_same_pictures(
    folder: Path, dataset: Dataset, pictures: RunPictures
) -> None:
    assert draw_run(folder, dataset, used(1.0, 2.0, 3.0, 0.0)) == (pictures, "")
