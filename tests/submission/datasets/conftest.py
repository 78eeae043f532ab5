"""What the tests of several data sets share: the real disentanglement_lib, and no user cache."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from evaluator.compat import load_tensorflow
from submission.datasets import Dataset


@pytest.fixture(autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache folder that only this test sees."""
    folder = tmp_path_factory.mktemp("user_cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of disentanglement_lib.data.ground_truth, with Pillow's old names."""
    load_tensorflow()
    thumbnail = PIL.Image.Image.thumbnail
    monkeypatch.setattr(PIL.Image, "ANTIALIAS", PIL.Image.Resampling.LANCZOS, raising=False)
    # It passes three numbers as a size; Pillow of 2019 looked at the first two.
    monkeypatch.setattr(
        PIL.Image.Image,
        "thumbnail",
        lambda image, size, *arguments: thumbnail(image, size[:2], *arguments),
    )
    return lambda name: importlib.import_module(f"disentanglement_lib.data.ground_truth.{name}")


@pytest.fixture
def same_draws() -> Callable[[Dataset, Any], None]:
    """Asserts that both draw the same factors and images from the same generator, repeatedly."""

    def check(dataset: Dataset, other: Any) -> None:
        ours, theirs = np.random.RandomState(7), np.random.RandomState(7)
        assert dataset.num_factors == other.num_factors
        assert dataset.factors_num_values == list(other.factors_num_values)
        assert dataset.observation_shape == list(other.observation_shape)
        for num in (1, 5, 16):
            factors = dataset.sample_factors(num, ours)
            expected = other.sample_factors(num, theirs)
            np.testing.assert_array_equal(factors, expected)
            assert factors.dtype == expected.dtype
            images = dataset.observe(dataset.image_indices(factors, ours), ours)
            np.testing.assert_array_equal(
                images, other.sample_observations_from_factors(expected, theirs).astype(np.float32)
            )
            assert images.dtype == np.float32
            assert images.min() >= 0 and images.max() <= 1
        assert ours.randint(2**31) == theirs.randint(2**31)  # nothing more was drawn

    return check
