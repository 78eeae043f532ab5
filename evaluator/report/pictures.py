"""What encoder and decoder of a run show: reconstructions, latents moved, factors changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluator.latents import LEAST_VARIANCE, Latents
from evaluator.report.inline_images import webp
from evaluator.report.moving import Moving, Slider, prepare
from evaluator.report.traversals import (
    IMAGES_IN_A_ROW,
    MOST_TRAVERSALS,
    SEED,
    Autoencoder,
    first_images,
    model_missing,
    opened,
    strip,
    strip_png,
    traverse,
)
from submission.datasets import Dataset
from submission.errors import UserError
from submission.runs.folder import RunFolder

SAMPLE = 512
"""Images drawn at random, by which ranges, variances and errors are measured."""

RANGE = (0.01, 0.99)
"""A latent moves between these quantiles of its posterior means."""

BASES = 8
"""Images that each latent is moved in to measure how much it changes."""

LEAST_MOVED = 0.02
"""Latents of which a factor moves a smaller share aren't named."""

_MOST_MOVED = 4
_MOST_GROUPS = 10


@dataclass(frozen=True)
class MovedLatent:
    """A latent moved over its own range, all others held.

    Attributes:
        latent: Its number.
        low: Where its range begins: a quantile of its posterior means (`RANGE`).
        high: Where it ends.
        change: How far the pictures at both ends differ, over `BASES` images, as a share of how far
            two random reconstructions do; root mean squares of pixels.
        strip: The first image with the latent moved, WebP.
    """

    latent: int
    low: float
    high: float
    change: float
    strip: bytes


@dataclass(frozen=True)
class ChangedFactor:
    """One image with one factor changed, all others held.

    Attributes:
        name: The factor's.
        values: Of the factor in the images shown.
        originals: The true images, PNG.
        decoded: Their reconstructions, WebP.
        moved: Latents in use and the share of their variance that is left when all other factors
            are held, E[Var(mean | other factors)] / Var(mean) (Sobol's total index), largest first.
    """

    name: str
    values: Sequence[str]
    originals: bytes
    decoded: bytes
    moved: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class FactorError:
    """The reconstruction error by a factor's value.

    Attributes:
        name: The factor's.
        groups: Value, or neighbouring values, and the mean squared error a pixel over the images
            of the sample that have it; None where none has.
    """

    name: str
    groups: Sequence[tuple[str, float | None]]


@dataclass(frozen=True)
class RunPictures:
    """What encoder and decoder show.

    Attributes:
        pairs: Rows of an original and a reconstructed strip, PNG.
        error: Mean squared error a pixel over the sample.
        latents: Those in use, by how much they change; 20 at most, those of the largest variance.
        others: Of the other latents the 20 of the largest variance, likewise.
        in_use: How many latents are.
        ignored: How many aren't.
        recorded: Whether training recorded which; else the variance over the sample decides.
        factors: Each scored factor changed.
        no_factors: Why there are none.
        errors: By each scored factor's value; none where the images have no factors.
        moving: `latents`, for the reader to move; None where there are none.
    """

    pairs: list[tuple[bytes, bytes]]
    error: float
    latents: list[MovedLatent]
    others: list[MovedLatent]
    in_use: int
    ignored: int
    recorded: bool
    factors: list[ChangedFactor]
    no_factors: str
    errors: list[FactorError]
    moving: Moving | None


def draw_run(
    run_folder: Path, dataset: Dataset, latents: Latents | None
) -> tuple[RunPictures | None, str]:
    """Draws what a run's model shows.

    Args:
        run_folder: Holds `representation/pytorch_model.pt` and `training/decoder.pt`, or not.
        dataset: Where the images are drawn from.
        latents: Which are in use, by the record of training; None if it doesn't tell.

    Returns:
        The pictures, or None and why there are none.
    """
    run = RunFolder(run_folder)
    reason = model_missing(run)
    if reason:
        return None, reason
    try:
        with opened([run], dataset.observation_shape) as (model,):
            try:
                return pictures_of(model, dataset, latents), ""
            except UserError as error:
                # Anybody's module may stand there.
                return None, f"encoder and decoder fail on {dataset.name} ({error})"
    except UserError as error:
        return None, str(error)


def pictures_of(
    model: Autoencoder, dataset: Dataset, latents: Latents | None, served: bool = False
) -> RunPictures:
    """Draws what a model shows.

    Args:
        model: The exported model.
        dataset: Where the images are drawn from.
        latents: Which are in use, by the record of training; None if it doesn't tell.
        served: Whether a server will decode what the reader moves.

    Returns:
        The pictures.

    Raises:
        UserError: The model fails on these images, or gives what is no number.
    """
    chosen, originals = first_images(dataset)
    random_state = np.random.RandomState(SEED + 1)
    sample = random_state.randint(len(dataset.images), size=SAMPLE)
    images = dataset.observe(sample, random_state)
    first, codes = model.encode(originals), model.encode(images)
    decoded_first, decoded = model.decode(first), model.decode(codes)
    if not all(np.isfinite(one).all() for one in (first, codes, decoded_first, decoded)):
        raise UserError("codes or images are not finite")
    errors = np.square(images - decoded).mean(axis=(1, 2, 3), dtype=np.float64)
    spread = float(np.sqrt(2 * decoded.var(axis=0, dtype=np.float64).mean()))
    recorded = latents is not None and len(latents.kl) == codes.shape[1]
    in_use, ignored = (latents.in_use, latents.ignored) if latents and recorded else _parted(codes)

    def moved(which: Sequence[int]) -> list[MovedLatent]:
        rows = [_moved(model, first, codes, latent, spread) for latent in which]
        return sorted(rows, key=lambda row: -row.change)

    shown = moved(in_use[:MOST_TRAVERSALS])
    sliders = [Slider(one.latent, one.low, one.high) for one in shown]
    factors, no_factors = _changed(model, dataset, chosen[:1], sample, codes, in_use)
    return RunPictures(
        pairs=[
            (strip_png(originals[start:end]), strip_png(decoded_first[start:end]))
            for start, end in ((0, IMAGES_IN_A_ROW), (IMAGES_IN_A_ROW, 2 * IMAGES_IN_A_ROW))
        ],
        error=float(errors.mean()),
        latents=shown,
        others=moved([*in_use[MOST_TRAVERSALS:], *ignored][:MOST_TRAVERSALS]),
        in_use=len(in_use),
        ignored=len(ignored),
        recorded=recorded,
        factors=factors,
        no_factors=no_factors,
        errors=_errors(dataset, sample, errors),
        moving=prepare(model, originals, first, sliders, served) if shown else None,
    )


def _parted(codes: NDArray[np.float32]) -> tuple[Sequence[int], Sequence[int]]:
    """Latents that vary over a sample and those that don't, by falling variance."""
    variance = codes.var(axis=0, dtype=np.float64)
    order = np.argsort(-variance, kind="stable").tolist()
    in_use = [latent for latent in order if variance[latent] > LEAST_VARIANCE]
    return in_use, order[len(in_use) :]


def _moved(
    model: Autoencoder,
    first: NDArray[np.float32],
    codes: NDArray[np.float32],
    latent: int,
    spread: float,
) -> MovedLatent:
    low, high = np.quantile(codes[:, latent], RANGE).tolist()
    ends = np.repeat(first[:BASES], 2, axis=0)
    ends[0::2, latent], ends[1::2, latent] = low, high
    pictures = model.decode(ends)
    difference = np.square(pictures[1::2] - pictures[0::2]).mean(dtype=np.float64)
    values = np.linspace(low, high, IMAGES_IN_A_ROW)
    return MovedLatent(
        latent=latent,
        low=low,
        high=high,
        change=float(np.sqrt(difference)) / spread if spread else 0.0,
        strip=webp(strip(traverse(model, first[0], latent, values))),
    )


# --- By factor ----------------------------------------------------------------------------------


def _changed(
    model: Autoencoder,
    dataset: Dataset,
    image: NDArray[np.int64],
    sample: NDArray[np.int64],
    codes: NDArray[np.float32],
    in_use: Sequence[int],
) -> tuple[list[ChangedFactor], str]:
    """Changes each scored factor: of one image, to be shown, and of the sample, to measure."""
    if not dataset.scored_factors:
        return [], f"{dataset.name} tells no factors of its images"
    if not dataset.is_grid:
        return [], f"{dataset.name} is no grid, on which each factor can be changed alone"
    shares = _moved_by_factors(model, dataset, sample, codes)
    own = _factors_of(dataset, image)
    found = []
    for factor, share in zip(dataset.scored_factors, shares, strict=True):
        values = _spaced(dataset.factor_sizes[factor], IMAGES_IN_A_ROW)
        grid = np.repeat(own, len(values), axis=0)
        grid[:, factor] = values
        images = _observe_alike(dataset, _images_of(dataset, grid))
        order = sorted(in_use, key=lambda latent: -share[latent])[:_MOST_MOVED]
        found.append(
            ChangedFactor(
                name=dataset.factor_names[factor],
                values=[_value(dataset, factor, value) for value in values],
                originals=strip_png(images),
                decoded=webp(strip(model.decode(model.encode(images)))),
                moved=[(one, float(share[one])) for one in order if share[one] >= LEAST_MOVED],
            )
        )
    return found, ""


def _moved_by_factors(
    model: Autoencoder, dataset: Dataset, sample: NDArray[np.int64], codes: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Estimates Sobol's total index of each scored factor and latent (Jansen 1999).

    Returns:
        [factors, latents] in [0, 1].
    """
    if dataset.paint is not None:
        codes = model.encode(_observe_alike(dataset, sample))
    random_state = np.random.RandomState(SEED)
    factors = _factors_of(dataset, sample)
    drawn, alone = [codes], []
    for factor in dataset.scored_factors:
        size = dataset.factor_sizes[factor]
        grid = factors.copy()
        grid[:, factor] += random_state.randint(1, size, size=len(sample))
        grid[:, factor] %= size
        drawn.append(model.encode(_observe_alike(dataset, _images_of(dataset, grid))))
        # Half the mean square of differences is the variance; less, as no value is drawn twice.
        square = np.square(drawn[-1] - codes).mean(axis=0, dtype=np.float64)
        alone.append(square / 2 * (size - 1) / size)
    # Of all that was drawn: less noise than of the sample alone.
    variance = np.concatenate(drawn).var(axis=0, dtype=np.float64)
    return np.clip(np.array(alone) / np.where(variance > 0, variance, 1), 0, 1)


def _errors(
    dataset: Dataset, sample: NDArray[np.int64], errors: NDArray[np.float64]
) -> list[FactorError]:
    if not dataset.scored_factors:
        return []
    factors = _factors_of(dataset, sample)
    found = []
    for factor in dataset.scored_factors:
        size = dataset.factor_sizes[factor]
        groups: list[tuple[str, float | None]] = []
        for group in np.array_split(np.arange(size), min(size, _MOST_GROUPS)):
            own = errors[np.isin(factors[:, factor], group)]
            ends = dict.fromkeys(_value(dataset, factor, value) for value in (group[0], group[-1]))
            groups.append(("\N{EN DASH}".join(ends), float(own.mean()) if len(own) else None))
        found.append(FactorError(dataset.factor_names[factor], groups))
    return found


def _spaced(count: int, most: int) -> NDArray[np.int64]:
    """All of `count` places, or `most` that are evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _value(dataset: Dataset, factor: int, value: int) -> str:
    """What people call a factor's value: what their own data tell, else its number."""
    if not dataset.factor_values:
        return str(value)
    own = dataset.factor_values[factor][value]
    return f"{own:g}" if isinstance(own, np.floating) else str(own)


def _factors_of(dataset: Dataset, images: NDArray[np.int64]) -> NDArray[np.int64]:
    """The values of all factors of images: [n, factors]."""
    if dataset.factors is not None:
        return dataset.factors[images]
    order = dataset.image_of_state
    states = images if order is None else np.argsort(order)[images]
    return np.stack(np.unravel_index(states, dataset.factor_sizes), axis=1)


def _images_of(dataset: Dataset, factors: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images of the values of all factors."""
    states = np.ravel_multi_index(tuple(factors.T), dataset.factor_sizes)
    return states if dataset.image_of_state is None else dataset.image_of_state[states]


def _observe_alike(dataset: Dataset, images: NDArray[np.int64]) -> NDArray[np.float32]:
    """Reads images; where a part is painted at random, all get the same."""
    if dataset.paint is None:
        return dataset.observe(images, np.random.RandomState(SEED))
    return np.concatenate(
        [dataset.observe(one, np.random.RandomState(SEED)) for one in images[:, None]]
    )
