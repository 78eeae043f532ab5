from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from submission.datasets import Dataset, dsprites, load
from submission.errors import UserError

SIZES = (1, 3, 2, 4, 3, 2)


def write(root: Path, sizes: tuple[int, ...] = SIZES, brightest: int = 1) -> None:
    """Writes a small file with the published file's keys, pickled metadata included."""
    path = root / dsprites.FILE
    path.parent.mkdir(exist_ok=True)
    random_state = np.random.RandomState(1)
    images = random_state.randint(brightest + 1, size=(int(np.prod(sizes)), 64, 64))
    np.savez_compressed(
        path,
        imgs=images.astype(np.uint8),
        metadata=np.array({"latents_sizes": np.array(sizes)}, dtype=object),
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(dsprites, "FACTOR_SIZES", SIZES)
    write(tmp_path)
    (tmp_path / "scream").mkdir()
    picture = np.random.RandomState(2).randint(256, size=(130, 100, 3)).astype(np.uint8)
    Image.fromarray(picture).resize((300, 400)).save(tmp_path / dsprites.SCREAM_FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "class_name", "scored"),
    [
        ("dsprites_full", "DSprites", [1, 2, 3, 4, 5]),
        ("dsprites_noshape", "DSprites", [2, 3, 4, 5]),
        ("color_dsprites", "ColorDSprites", [1, 2, 3, 4, 5]),
        ("noisy_dsprites", "NoisyDSprites", [1, 2, 3, 4, 5]),
        ("scream_dsprites", "ScreamDSprites", [1, 2, 3, 4, 5]),
    ],
)
def test_factors_and_images_are_those_of_disentanglement_lib(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: Callable[[str], Any],
    same_draws: Callable[[Dataset, Any], None],
    name: str,
    class_name: str,
    scored: list[int],
) -> None:
    module = reference("dsprites")
    monkeypatch.setattr(module, "DSPRITES_PATH", str(root / dsprites.FILE))
    monkeypatch.setattr(module, "SCREAM_PATH", str(root / dsprites.SCREAM_FILE))
    other = getattr(module, class_name)(scored)
    other.full_factor_sizes = SIZES
    dataset = load(name, root)
    same_draws(dataset, other)
    # Only the constant colour (and the shape) may be left unscored here.
    assert dataset.is_deterministic is False
    assert dataset.white == 1


def test_the_published_grid_has_disentanglement_libs_factors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reference: Callable[[str], Any],
) -> None:
    monkeypatch.setattr(dsprites, "SIDE", 2)
    path = tmp_path / dsprites.FILE
    path.parent.mkdir()
    pixels = np.random.RandomState(0).bytes(737_280 * 4)
    images = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 2, 2) & 1
    metadata = np.array({"latents_sizes": np.array([1, 3, 6, 40, 32, 32])}, dtype=object)
    np.savez(path, imgs=images, metadata=metadata)
    module = reference("dsprites")
    monkeypatch.setattr(module, "DSPRITES_PATH", str(path))
    dataset, other = load("dsprites_full", tmp_path), module.DSprites([1, 2, 3, 4, 5])
    assert dataset.factors_num_values == other.factors_num_values
    factors = dataset.sample_factors(1000, np.random.RandomState(0))
    np.testing.assert_array_equal(
        dataset.observe(dataset.image_indices(factors, np.random.RandomState(1)), None),
        other.sample_observations_from_factors(factors, np.random.RandomState(1)),
    )


def test_the_variants_share_one_copy_of_the_images(root: Path) -> None:
    paths = {load(name, root).images.filename for name in ("dsprites_full", "noisy_dsprites")}
    assert len(paths) == 1


def test_pixels_other_than_0_and_1_are_refused(root: Path) -> None:
    write(root, brightest=255)
    with pytest.raises(UserError, match="must hold 0 to 1 only"):
        load("dsprites_full", root)


def test_the_wrong_number_of_images_is_refused(root: Path) -> None:
    write(root, sizes=(1, 3, 2, 4, 3, 1))
    with pytest.raises(UserError, match=r"shape \[72, 64, 64\]; it must be \[144, 64, 64\]"):
        load("dsprites_full", root)


def test_a_missing_scream_names_the_path_and_the_command(root: Path) -> None:
    (root / dsprites.SCREAM_FILE).unlink()
    with pytest.raises(UserError, match="download scream_dsprites") as caught:
        load("scream_dsprites", root)
    assert str(root / "scream" / "scream.jpg") in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 half a picture"])
def test_a_scream_that_is_no_picture_is_refused(root: Path, content: bytes) -> None:
    (root / dsprites.SCREAM_FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"scream\.jpg is damaged") as caught:
        load("scream_dsprites", root)
    assert "\n" not in str(caught.value)


def test_a_truncated_scream_is_refused(root: Path) -> None:
    path = root / dsprites.SCREAM_FILE
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"scream\.jpg is damaged"):
        load("scream_dsprites", root)


def test_a_scream_too_small_to_cut_patches_from_is_refused(root: Path) -> None:
    Image.new("RGB", (64, 400)).save(root / dsprites.SCREAM_FILE)
    with pytest.raises(UserError, match="over 64x64"):
        load("scream_dsprites", root)


def test_a_grey_scream_is_read_as_colours(root: Path) -> None:
    Image.new("L", (200, 200), 51).save(root / dsprites.SCREAM_FILE)
    scream = dsprites.read_scream(root / dsprites.SCREAM_FILE)
    assert scream.shape == (200, 200, 3)
    np.testing.assert_allclose(scream, 0.2)
