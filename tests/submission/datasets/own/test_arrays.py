import pickle
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from submission.datasets import Dataset, load
from submission.errors import UserError

SIZES = (3, 4, 5)


def opened(path: Path, **arrays: Any) -> Dataset:
    np.savez(path, **arrays)
    return load(str(path))


def refusal(path: Path, **arrays: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(path, **arrays)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_the_shape_of_the_images_may_be_the_grid(path: Path, grid: np.ndarray) -> None:
    dataset = opened(path, images=grid)
    assert dataset.factor_sizes == SIZES
    assert dataset.factor_names == ("factor_0", "factor_1", "factor_2")
    assert dataset.scored_factors == (0, 1, 2)
    np.testing.assert_array_equal(dataset.images, grid.reshape(-1, 64, 64, 3))
    assert isinstance(dataset.images, np.memmap)


def test_sizes_and_names_may_stand_beside_images_in_the_order_of_the_grid(
    path: Path, images: np.ndarray
) -> None:
    dataset = opened(
        path, images=images, factor_sizes=SIZES, factor_names=["shade", "row", "column"]
    )
    assert dataset.is_grid and dataset.factor_sizes == SIZES
    assert dataset.factor_names == ("shade", "row", "column")


def test_rows_in_any_order_are_a_grid_where_each_combination_is_there_once(
    path: Path, grid: np.ndarray, images: np.ndarray, factors: np.ndarray
) -> None:
    order = np.random.RandomState(0).permutation(60)
    dataset = opened(path, images=images[order], factors=10 * factors[order])
    drawn = np.array([[0, 0, 0], [2, 3, 4], [1, 2, 3]])
    rows = dataset.image_indices(drawn, np.random.RandomState(0))
    np.testing.assert_array_equal(dataset.images[rows], grid[tuple(drawn.T)])
    assert dataset.factor_values[0].tolist() == [0, 10, 20]


def test_rows_that_cover_no_grid_keep_their_factors(
    path: Path, images: np.ndarray, factors: np.ndarray
) -> None:
    dataset = opened(path, images=images[:59], factors=factors[:59])
    assert not dataset.is_grid
    assert dataset.factor_sizes == SIZES
    np.testing.assert_array_equal(dataset.factors, factors[:59])
    twice = opened(path, images=images[[0, *range(59)]], factors=factors[[0, *range(59)]])
    assert not twice.is_grid


def test_images_alone_have_no_factors(path: Path, images: np.ndarray) -> None:
    dataset = opened(path, images=images)
    assert dataset.factor_names == () and dataset.scored_factors == ()
    assert dataset.no_scores == (
        "squares tells no factors of its images, so there is nothing to score by"
    )


def test_the_names_of_dsprites_and_shapes3d_will_do(
    path: Path, images: np.ndarray, factors: np.ndarray
) -> None:
    white = (images[..., 1] > 0).astype(np.uint8)
    of_dsprites = opened(path, imgs=white, latents_classes=factors)
    assert of_dsprites.white == 1 and of_dsprites.images.shape == (60, 64, 64, 1)
    assert isinstance(of_dsprites.images, np.memmap)
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["images"], file["labels"] = images, factors / 10
    assert load(str(path.with_suffix(".h5"))).factor_sizes == SIZES


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 1, 2, 64, 64, 3), "compression": "gzip"}])
@pytest.mark.parametrize("userblock", [0, 512])
def test_hdf5_holds_the_same_as_npz(
    path: Path, grid: np.ndarray, options: dict[str, Any], userblock: int
) -> None:
    names = ["shade", "row", "column"]
    with h5py.File(path.with_suffix(".HDF5"), "w", userblock_size=userblock) as file:
        file.create_dataset("images", data=grid, **options)
        file["factor_names"] = names
    dataset = load(str(path.with_suffix(".HDF5")))
    same = opened(path, images=grid, factor_names=names)
    np.testing.assert_array_equal(dataset.images, same.images)
    assert dataset.factor_names == same.factor_names
    assert dataset.fingerprint() == same.fingerprint()


def test_a_compressed_file_is_unpacked_once_beside_it(path: Path, grid: np.ndarray) -> None:
    np.savez_compressed(path, images=grid)
    first = load(str(path))
    cache = path.with_name("squares.npz.cache.npy")
    written = cache.stat().st_mtime_ns
    again = load(str(path))
    assert isinstance(again.images, np.memmap)
    assert cache.stat().st_mtime_ns == written
    assert again.fingerprint() == first.fingerprint()


def test_a_file_that_changes_is_read_anew(
    path: Path, images: np.ndarray, factors: np.ndarray
) -> None:
    before = opened(path, images=images / 255, factors=factors).fingerprint()
    changed = opened(path, images=images[::-1] / 255, factors=factors)
    np.testing.assert_array_equal(changed.images, images[::-1])
    assert changed.fingerprint() != before
    assert opened(path, images=images / 255, factors=factors[::-1]).fingerprint() != before


def test_numbers_in_0_to_1_and_truth_values_become_uint8(
    path: Path, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    np.testing.assert_array_equal(opened(path, images=images / 255).images, images)
    assert "rounded to 256 levels" in caplog.text
    np.testing.assert_array_equal(opened(path, images=images.astype(np.int64)).images, images)
    white = images > 0
    np.testing.assert_array_equal(opened(path, images=white).images, white * np.uint8(255))


def test_other_sizes_are_resized_once_and_said_so(
    path: Path, images: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    small = images[:, ::2, ::4]
    dataset = opened(path, images=small)
    assert dataset.images.shape == (60, 64, 64, 3)
    assert "images of 16 x 32 pixels are resized to 64 x 64, which changes" in caplog.text
    caplog.clear()
    load(str(path))
    assert "resized" not in caplog.text


def test_black_and_white_keeps_its_white_when_it_is_resized(path: Path, images: np.ndarray) -> None:
    dataset = opened(path, images=(images[:, ::2, ::2, 0] > 0).astype(np.uint8))
    assert dataset.white == 255 and dataset.images.max() == 255
    assert dataset.observe(np.arange(60), np.random.RandomState(0)).max() == 1


def test_a_factor_of_one_value_is_not_scored(
    path: Path, images: np.ndarray, factors: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    constant = np.concatenate((np.zeros((60, 1), int), factors), axis=1)
    dataset = opened(path, images=images, factors=constant)
    assert dataset.factor_sizes == (1, *SIZES) and dataset.scored_factors == (1, 2, 3)
    assert "one value is all they take: factor_0" in caplog.text


def test_texts_are_factors_too(path: Path, images: np.ndarray, factors: np.ndarray) -> None:
    colours = np.array(["red", "green", "blue"])[factors[:, 0]]
    dataset = opened(path, images=images, factors=colours)
    assert dataset.factor_sizes == (3,)
    assert dataset.factor_values[0].tolist() == ["blue", "green", "red"]
    # One factor, of which many images share a value, is no grid.
    assert not dataset.is_grid


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((60, 3, 64, 64), "channels first; it must be .* np.moveaxis"),
        ((60, 64, 64, 4), "drop the alpha channel"),
        ((3, 4, 64, 64), r"images\[..., np.newaxis\]"),
        ((64, 64, 3), r"it must be \[images, height, width, channels\]"),
        ((60, 64), r"it must be \[images, height, width, channels\]"),
        ((0, 64, 64, 3), "holds no image"),
    ],
)
def test_a_wrong_shape_is_told_with_what_mends_it(
    path: Path, shape: tuple[int, ...], words: str
) -> None:
    message = refusal(path, images=np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match=words):
        raise UserError(message)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"factors": np.zeros((59, 2))}, "'factors' has 59 rows for 60 images"),
        ({"factors": np.zeros((60, 2, 2))}, r"it must be [images, factors]"),
        ({"factors": np.full((60, 2), np.nan)}, "no value in row 1 of 60 (nan)"),
        ({"factors": np.array([["red", 1]] * 60, object)}, "Object arrays cannot be loaded"),
        ({"factors": np.zeros((60, 1), complex)}, "must be numbers or texts"),
        ({"factor_sizes": (3, 4)}, "makes 12 combinations, of 60 images"),
        ({"factor_sizes": (-3, -20)}, "must be sizes such as"),
        ({"factors": np.arange(60), "factor_sizes": (3, 4, 5)}, "leave factor_sizes out"),
        ({"factor_sizes": (60, 1), "factor_names": ["one"]}, "must be 2 different names"),
    ],
)
def test_factors_that_do_not_fit_are_told(
    path: Path, images: np.ndarray, arrays: dict[str, Any], words: str
) -> None:
    assert words in refusal(path, images=images, **arrays)


def test_pickled_objects_are_never_read(path: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    assert "pickled objects, which are never read" in refusal(
        path, images=np.array([Harm()], object)
    )
    path.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(UserError, match="damaged"):
        load(str(path))
    assert not (tmp_path / "touched").exists()


def test_other_arrays_are_named(path: Path, images: np.ndarray) -> None:
    assert "holds no array 'images', only x, y" in refusal(path, x=images, y=np.arange(3))


@pytest.mark.parametrize("last", [2.0, -1.0, np.nan])
def test_numbers_beyond_their_range_are_told(path: Path, last: float) -> None:
    images = np.zeros((2, 64, 64), np.float32)
    images[1, 0, 0] = last
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "hold values from 0 to 1" in refusal(path, images=images)


def test_a_damaged_or_cut_file_is_named(path: Path, images: np.ndarray) -> None:
    np.savez_compressed(path, images=images)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"squares\.npz is damaged or cut short"):
        load(str(path))
    hdf5 = path.with_suffix(".h5")
    hdf5.write_bytes(b"no HDF5")
    with pytest.raises(UserError, match=r"squares\.h5 is damaged or cut short"):
        load(str(hdf5))
