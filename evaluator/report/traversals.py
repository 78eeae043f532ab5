"""Reconstructions and latent traversals of an exported model (paper, Figures 1 to 6)."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluator.latents import NOT_RECORDED, Latents
from evaluator.worker import client
from submission.datasets import Dataset
from submission.errors import UserError
from submission.runs.folder import RunFolder

TRAVERSAL_RANGE = 2.0
"""Traversals run from minus to plus this many standard deviations of the prior, N(0, 1)."""

SEED = 0
"""Chooses the images that the page shows."""

IMAGES_IN_A_ROW = 7

MOST_TRAVERSALS = 20
"""A page shows no more latents, however large the latent space is."""

# Images that are decoded at a time.
_BATCH_SIZE = 64
# A gap of one image pixel keeps neighbouring frames apart without a border that reads as content.
_GAP = 1


@dataclass(frozen=True)
class Autoencoder:
    """The two halves of an exported model.

    Attributes:
        encode: Images, float32 [n, height, width, channels] in [0, 1], to posterior means, float32
            [n, latents].
        decode: Codes, float32 [n, latents], to images likewise.
        parameter: What the decoder has learnt, float32, by its place in the decoder's code.
    """

    encode: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    decode: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    parameter: Callable[[int], NDArray[np.float32]]


@contextmanager
def opened(runs: Sequence[RunFolder], shape: Sequence[int]) -> Iterator[list[Autoencoder]]:
    """Has the models of runs read in a process of their own.

    Args:
        runs: They hold `representation/pytorch_model.pt` and `training/decoder.pt`.
        shape: Height, width and channels of an image.

    Yields:
        A model of each; its functions raise `UserError` where it can't be read or fails.

    Raises:
        UserError: Nothing confines that process, and the models' code names files.
    """
    height, width, channels = shape

    def model(worker: client.Worker, number: int) -> Autoencoder:
        def decode(codes: NDArray[np.float32]) -> NDArray[np.float32]:
            batches = [
                worker.decode(number, codes[start : start + _BATCH_SIZE], (height, width, channels))
                for start in range(0, len(codes), _BATCH_SIZE)
            ]
            return np.concatenate(batches).clip(0, 1)

        return Autoencoder(
            partial(worker.encode, number), decode, partial(worker.parameter, number)
        )

    halves = [(run.model, run.decoder) for run in runs]
    if not halves:
        yield []
        return
    with client.started_autoencoders(halves) as worker:
        yield [model(worker, number) for number in range(len(halves))]


def traverse(
    model: Autoencoder, code: NDArray[np.float32], latent: int, values: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Decodes a code with one latent moved along `values`, the others held.

    Args:
        model: The exported model.
        code: float32 [latents], usually the posterior mean of one image.
        latent: Which one to move.
        values: [n], in standard deviations of the prior.

    Returns:
        float32 [n, height, width, channels] in [0, 1].
    """
    codes = np.repeat(code[None], len(values), axis=0)
    codes[:, latent] = values
    return model.decode(codes)


def strip_png(images: NDArray[np.float32]) -> bytes:
    """What `strip` gives, as a PNG."""
    file = io.BytesIO()
    strip(images).save(file, "PNG")
    return file.getvalue()


def strip(images: NDArray[np.float32]) -> Image.Image:
    """One row of images, with transparent gaps between them.

    Args:
        images: float32 [n, height, width, channels] in [0, 1].
    """
    pixels = _to_rgb(images)
    count, height, width, _ = pixels.shape
    row = np.zeros((height, count * (width + _GAP) - _GAP, 4), np.uint8)
    for index, image in enumerate(pixels):
        left = index * (width + _GAP)
        row[:, left : left + width, :3] = image
        row[:, left : left + width, 3] = 255
    return Image.fromarray(row)


def _to_rgb(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey images become colour ones: [..., height, width, 1 or 3] to uint8 [..., 3]."""
    pixels = np.rint(images * 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


@dataclass(frozen=True)
class Pictures:
    """A run's latents in use, each moved over the same range of the prior (paper, Figures 1 to 6).

    Attributes:
        rows: A latent, the variance of its posterior mean and its strip, PNG, by falling variance;
            one image is moved. There are 20 at most.
        values: Where a strip's images stand, in standard deviations of the prior.
        no_rows: Why there are no rows.
    """

    rows: list[tuple[int, float, bytes]]
    values: list[float]
    no_rows: str


def draw_pictures_of_runs(
    runs: Sequence[tuple[Path, Latents | None]], dataset: Dataset
) -> list[tuple[Pictures | None, str]]:
    """Draws traversals of the models of several runs of one origin, by one process.

    Args:
        runs: Folder, which holds `representation/pytorch_model.pt` and `training/decoder.pt` or
            not, and latents of each; None if unknown.
        dataset: Where the image is drawn from.

    Returns:
        Of each the pictures, or None and why there are none.
    """
    lacking = [model_missing(RunFolder(folder)) for folder, _ in runs]
    there = [RunFolder(folder) for (folder, _), one in zip(runs, lacking, strict=True) if not one]
    drawn: list[tuple[Pictures | None, str]] = []
    try:
        with opened(there, dataset.observation_shape) as models:
            left = iter(models)
            for (_, latents), reason in zip(runs, lacking, strict=True):
                drawn.append((None, reason) if reason else _try(next(left), dataset, latents))
    except UserError as error:
        return [(None, reason or str(error)) for reason in lacking]
    return drawn


def model_missing(run: RunFolder) -> str:
    """Which half of a run's model isn't there, in a sentence; "" if both are."""
    for path in (run.model, run.decoder):
        if not path.is_file():
            return f"there is no {path.relative_to(run.path)}"
    return ""


def _try(
    model: Autoencoder, dataset: Dataset, latents: Latents | None
) -> tuple[Pictures | None, str]:
    try:
        return _draw(model, dataset, latents), ""
    except UserError as error:
        # Anybody's module may stand there.
        return None, f"encoder and decoder fail on {dataset.name} ({error})"


def _draw(model: Autoencoder, dataset: Dataset, latents: Latents | None) -> Pictures:
    (code,) = model.encode(first_images(dataset)[1][:1])
    reason = no_latents(latents, len(code))
    values = np.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, IMAGES_IN_A_ROW)
    rows = []
    if latents is not None and not reason:
        rows = [
            (latent, latents.variance[latent], strip_png(traverse(model, code, latent, values)))
            for latent in latents.in_use[:MOST_TRAVERSALS]
        ]
    return Pictures(rows, values.tolist(), reason)


def no_latents(latents: Latents | None, count: int) -> str:
    """Why none of an encoder's latents is recorded as in use, in a sentence; "" if some is.

    Args:
        latents: Those of the training's record; None if it doesn't tell.
        count: How many the encoder has.
    """
    if latents is None:
        return NOT_RECORDED
    if len(latents.kl) != count:
        return f"training/run.json has {len(latents.kl)} latents, the encoder {count}"
    return "" if latents.in_use else f"all {count} latents are ignored"


def first_images(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Draws the images that every page shows, two rows; the first is the one that is moved.

    Returns:
        Their places in the data set, and the images, float32 [n, height, width, channels].
    """
    random_state = np.random.RandomState(SEED)
    chosen = random_state.randint(len(dataset.images), size=2 * IMAGES_IN_A_ROW)
    return chosen, dataset.observe(chosen, random_state)
