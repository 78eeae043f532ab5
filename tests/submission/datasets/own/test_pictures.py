import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from submission.datasets import load
from submission.errors import UserError

COLOURS = ("red", "green", "blue")


@pytest.fixture
def folder(tmp_path: Path, images: np.ndarray) -> Path:
    """60 PNG files, 000.png to 059.png."""
    folder = tmp_path / "my squares"
    folder.mkdir()
    for number, image in enumerate(images):
        PIL.Image.fromarray(image).save(folder / f"{number:03}.png", compress_level=1)
    return folder


def table(folder: Path, rows: Sequence[Sequence[object]], separator: str = ",") -> Path:
    path = folder / "factors.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def rows_of(factors: np.ndarray) -> list[list[object]]:
    rows: list[list[object]] = [["file", "colour", "row", "column"]]
    rows += [
        [f"{number:03}.png", COLOURS[shade], row, column]
        for number, (shade, row, column) in enumerate(factors)
    ]
    return rows


def refusal(folder: Path, rows: Sequence[Sequence[object]]) -> str:
    table(folder, rows)
    with pytest.raises(UserError) as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_csv_tells_the_factors_of_pictures_in_any_order(
    folder: Path, images: np.ndarray, factors: np.ndarray
) -> None:
    header, *rows = rows_of(factors)
    order = np.random.RandomState(0).permutation(60)
    table(folder, [header, *(rows[row] for row in order)], ";")
    dataset = load(str(folder))
    assert dataset.name == "my squares"
    assert dataset.factor_names == ("colour", "row", "column")
    assert dataset.is_grid and dataset.factor_sizes == (3, 4, 5)
    np.testing.assert_array_equal(dataset.images, images)
    # Texts have no order but the alphabet's: blue is the first value.
    assert dataset.factor_values[0].tolist() == ["blue", "green", "red"]
    blue = dataset.image_indices(np.array([[0, 1, 2]]), np.random.RandomState(0))
    np.testing.assert_array_equal(factors[blue], [[2, 1, 2]])


def test_pictures_alone_have_no_factors(folder: Path) -> None:
    assert load(str(folder)).factor_names == ()


def test_names_are_found_in_other_case_and_in_folders(
    folder: Path, factors: np.ndarray, images: np.ndarray
) -> None:
    inside = folder / "Images"
    inside.mkdir()
    for path in folder.glob("*.png"):
        path.rename(inside / path.name.replace(".png", ".PNG"))
    table(folder, rows_of(factors))
    np.testing.assert_array_equal(load(str(folder)).images, images)


def test_accents_are_found_as_macos_writes_them(folder: Path, factors: np.ndarray) -> None:
    for path in folder.glob("*.png"):
        path.rename(folder / f"ba\N{COMBINING DIAERESIS}{path.name}")
    header, *rows = rows_of(factors)
    named = [[f"b\N{LATIN SMALL LETTER A WITH DIAERESIS}{name}", *values] for name, *values in rows]
    table(folder, [header, *named])
    assert load(str(folder)).is_grid


def test_folders_that_are_links_are_read_once(folder: Path, tmp_path: Path) -> None:
    (folder / "again").symlink_to(folder)
    assert len(load(str(folder)).images) == 60
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "images").symlink_to(folder)
    assert len(load(str(linked)).images) == 60


def test_the_row_numbers_of_pandas_are_no_factor(folder: Path, factors: np.ndarray) -> None:
    rows = [[number or "", *row] for number, row in enumerate(rows_of(factors))]
    table(folder, rows)
    assert load(str(folder)).factor_names == ("colour", "row", "column")


def test_a_picture_that_the_csv_does_not_name_is_left_out(
    folder: Path, factors: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    table(folder, rows_of(factors)[:-1])
    assert len(load(str(folder)).images) == 59
    assert "1 of 60 pictures are left out, which factors.csv doesn't name" in caplog.text


def test_a_csv_that_does_not_fit_is_told(folder: Path, factors: np.ndarray) -> None:
    rows = rows_of(factors)
    assert "'060.png' in row 61" in refusal(folder, [*rows, ["060.png", "red", 1, 2]])
    assert "in row 60 and in row 61" in refusal(folder, [*rows, rows[-1]])
    assert "2 cells in row 61; there must be 4" in refusal(folder, [*rows, ["a.png", "red"]])
    assert "first line must name the columns" in refusal(folder, rows[1:])
    assert "no column names PNG or JPEG files" in refusal(folder, [row[1:] for row in rows])
    assert "row has no value in row 60 of 60" in refusal(
        folder, [*rows[:-1], [*rows[-1][:2], "", 4]]
    )
    assert "two columns have one name" in refusal(folder, [["f", "a", "a", "b"], *rows[1:]])
    assert "must have a line that names" in refusal(folder, rows[:1])
    (folder / "factors.csv").write_bytes("file,größe\n000.png,1\n".encode("latin-1"))
    with pytest.raises(UserError, match="can't be read as CSV in UTF-8"):
        load(str(folder))
    (folder / "other.csv").touch()
    with pytest.raises(UserError, match=r"holds factors\.csv, other\.csv: leave the one"):
        load(str(folder))


def test_an_unreadable_picture_is_named(folder: Path) -> None:
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"007\.png is damaged or cut short"):
        load(str(folder))


def test_pictures_of_mixed_sizes_and_kinds_become_alike(
    folder: Path, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    PIL.Image.fromarray(images[1]).resize((100, 80)).save(folder / "001.png")
    PIL.Image.fromarray(images[2]).convert("RGBA").save(folder / "002.png")
    PIL.Image.fromarray(images[3]).convert("P").save(folder / "003.png")
    PIL.Image.fromarray(images[4]).convert("L").save(folder / "004.png")
    PIL.Image.fromarray(images[5]).save(folder / "005.JPEG")
    (folder / "._000.png").write_bytes(b"what macOS adds")
    dataset = load(str(folder))
    assert dataset.images.shape == (61, 64, 64, 3)
    assert "1 pictures of 100 x 80 pixels are resized to 64 x 64" in caplog.text
    np.testing.assert_array_equal(dataset.images[2], images[2])


def test_grey_pictures_have_one_channel_and_none_in_colour(
    folder: Path, images: np.ndarray
) -> None:
    PIL.Image.fromarray(images[0]).convert("L").save(folder / "000.png")
    with pytest.raises(UserError, match=r"001\.png is in colour, but 000\.png is grey"):
        load(str(folder))
    for number, image in enumerate(images):
        PIL.Image.fromarray(image).convert("L").save(folder / f"{number:03}.png")
    assert load(str(folder)).images.shape == (60, 64, 64, 1)
    PIL.Image.fromarray(images[0, ..., 0].astype(np.uint16) * 257).save(folder / "009.png")
    with pytest.raises(UserError, match=r"009\.png has more than 8 bits a channel"):
        load(str(folder))


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "images.npz").touch()
    with pytest.raises(UserError, match=r"holds no PNG or JPEG file; a \.npz or \.h5 is named"):
        load(str(tmp_path))
