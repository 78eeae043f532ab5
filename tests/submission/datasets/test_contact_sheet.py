import logging
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from submission.datasets import Dataset, dsprites, load, mpi3d
from submission.datasets.__main__ import check
from submission.datasets.contact_sheet import CAPTION, GAP, MARGIN, PANEL, contact_sheet

SIZES = (1, 3, 12)


def grey_levels(image_of_state: np.ndarray | None = None) -> Dataset:
    """Every image has the grey level of its state's number."""
    levels = np.arange(36, dtype=np.uint8)
    if image_of_state is not None:
        levels = np.argsort(image_of_state).astype(np.uint8)
    images = levels[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    return Dataset("grey", images, ("one", "b", "c"), SIZES, (0, 1, 2), image_of_state)


def levels_of(sheet: PIL.Image.Image) -> list[list[int]]:
    pixels = np.asarray(sheet)
    rows = (pixels.shape[0] - GAP) // (PANEL + CAPTION + GAP)
    columns = (pixels.shape[1] - MARGIN) // (PANEL + GAP)
    middle = PANEL // 2
    levels = [
        [
            int(
                pixels[
                    GAP + row * (PANEL + CAPTION + GAP) + middle,
                    MARGIN + column * (PANEL + GAP) + middle,
                    0,
                ]
            )
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    return [[level for level in row if level < 255] for row in levels]


@pytest.mark.parametrize("shuffled", [False, True])
def test_each_row_varies_one_factor_around_the_middle(shuffled: bool) -> None:
    order = np.random.RandomState(0).permutation(36) if shuffled else None
    levels = levels_of(contact_sheet(grey_levels(order)))
    # The factor of one value has no row; the one of twelve shows ten, evenly spaced.
    assert levels == [[6, 18, 30], [12, 13, 14, 16, 17, 18, 19, 21, 22, 23]]


def test_images_that_are_painted_are_shown_as_the_metrics_see_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = Dataset(
        "color_dsprites",
        np.ones((6, 64, 64, 1), np.uint8),
        ("color", "shape"),
        (1, 6),
        (1,),
        white=1,
        paint=dsprites.paint_color,
    )
    levels = levels_of(contact_sheet(dataset))
    assert len(set(levels[0])) > 1
    assert min(levels[0]) >= 127


def test_check_writes_the_sheet_says_what_to_look_for_and_ends_the_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sizes = (6, 6, 2, 3, 3, 2, 2)
    count = math.prod(sizes)
    monkeypatch.setattr(mpi3d, "PUBLISHED_SIZES", sizes)
    monkeypatch.setattr(mpi3d, "SIZES_OF_COUNT", {count: sizes})
    pixels = np.random.RandomState(0).randint(256, size=(count, 64, 64, 3)).astype(np.uint8)
    np.savez(tmp_path / "mpi3d_real.npz", images=pixels)
    output = tmp_path / "sheet.png"
    with caplog.at_level(logging.WARNING):
        check("mpi3d_real", output, tmp_path)
        load("mpi3d_real", tmp_path)
    assert caplog.text == ""
    with PIL.Image.open(output) as sheet:
        assert sheet.format == "PNG"
        assert sheet.height == GAP + 7 * (PANEL + CAPTION + GAP)
    said = capsys.readouterr().out
    assert str(tmp_path / "mpi3d_real.npz") in said
    assert "none of the checksums known of the published file" in said
    assert "in every row the named factor changes" in said
