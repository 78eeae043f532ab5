"""A picture of a data set: each factor varied alone, a row a factor."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from submission.datasets.images import Dataset

PANEL = 96  # screen pixels along the side of a picture
GAP, CAPTION, MARGIN = 8, 20, 150
MOST_VALUES = 10  # of a factor that are shown


def contact_sheet(
    dataset: Dataset, value_names: Sequence[Sequence[object]] | Sequence[np.ndarray] = ()
) -> Image.Image:
    """Shows each factor varied alone around the middle of the grid.

    Args:
        dataset: The data set.
        value_names: A name for every value of the first factors; further ones show their numbers.

    Returns:
        The sheet; of a factor with more than ten values it shows ten, evenly spaced. Factors of
        one value are left out. Where the grid has gaps, the other factors are as near to the middle
        as an image is. Without factors there is one row of images.
    """
    sizes = dataset.factor_sizes
    factors = [factor for factor, size in enumerate(sizes) if size > 1]
    if not factors:
        # The number of the image is what varies.
        dataset = replace(
            dataset,
            factor_names=("image",),
            factor_sizes=(len(dataset.images),),
            factors=None,
            image_of_state=None,
        )
        sizes, factors, value_names = dataset.factor_sizes, [0], ()
    shown = [np.linspace(0, size - 1, min(size, MOST_VALUES)).round().astype(int) for size in sizes]
    row_height = PANEL + CAPTION + GAP
    width = MARGIN + max(len(shown[factor]) for factor in factors) * (PANEL + GAP) + GAP
    sheet = Image.new("RGB", (width, len(factors) * row_height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for row, factor in enumerate(factors):
        top = GAP + row * row_height
        draw.text(
            (MARGIN - 10, top + PANEL // 2),
            dataset.factor_names[factor],
            fill="black",
            font=font,
            anchor="rm",
        )
        pictures = _pictures(dataset, factor, shown[factor])
        for column, (value, picture) in enumerate(zip(shown[factor], pictures, strict=True)):
            left = MARGIN + column * (PANEL + GAP)
            sheet.paste(picture, (left, top))
            named = factor < len(value_names) and value < len(value_names[factor])
            draw.text(
                (left + PANEL // 2, top + PANEL + 2),
                _text(value_names[factor][value]) if named else str(value),
                fill="dimgray",
                font=font,
                anchor="ma",
            )
    return sheet


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, np.floating) else str(value)


def _pictures(dataset: Dataset, factor: int, values: np.ndarray) -> list[Image.Image]:
    rows = _rows(dataset, factor, values)
    pixels = (dataset.observe(rows, np.random.RandomState(0)) * 255).round().astype(np.uint8)
    if pixels.shape[-1] == 1:
        pixels = pixels.repeat(3, axis=-1)
    return [Image.fromarray(picture).resize((PANEL, PANEL)) for picture in pixels]


def _rows(dataset: Dataset, factor: int, values: np.ndarray) -> np.ndarray:
    """The images of some values of a factor: [values], rows of the data set's images."""
    middle = [size // 2 for size in dataset.factor_sizes]
    if dataset.factors is not None:
        # The factors that are elsewhere than in the middle, by image.
        away = np.delete(dataset.factors != middle, factor, axis=1).sum(axis=1)
        of_value = dataset.factors[:, factor] == values[:, np.newaxis]
        return np.where(of_value, away, dataset.factors.shape[1]).argmin(axis=1)
    states = np.array([middle] * len(values))
    states[:, factor] = values
    rows = np.ravel_multi_index(tuple(states.T), dataset.factor_sizes)
    return rows if dataset.image_of_state is None else dataset.image_of_state[rows]
