import numpy as np
import pytest
import torch

from evaluator.compat import load_tensorflow
from evaluator.ground_truth import GroundTruth
from submission.datasets import Dataset


@pytest.fixture
def published(tmp_path, monkeypatch):
    """disentanglement_lib's own MPI3D class and our data set, over the same file."""
    images = np.random.RandomState(0).randint(0, 256, (460_800, 2, 2, 3)).astype(np.uint8)
    (tmp_path / "mpi3d_toy").mkdir()
    np.savez(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz", images=images)
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    load_tensorflow()
    from disentanglement_lib.data.ground_truth.mpi3d import MPI3D

    sizes = (4, 4, 2, 3, 3, 40, 40)
    return MPI3D("mpi3d_toy"), GroundTruth(
        Dataset("mpi3d_toy", images, tuple("abcdefg"), sizes, tuple(range(7)), float64=True)
    )


def test_draws_and_images_are_those_of_disentanglement_libs_mpi3d(published):
    theirs, ours = published
    assert ours.num_factors == theirs.num_factors
    assert ours.factors_num_values == theirs.factors_num_values
    states = np.random.RandomState(3), np.random.RandomState(3)
    for size in (16, 64, 8):
        their_factors, their_images = theirs.sample(size, states[0])
        factors, images = ours.sample(size, states[1])
        np.testing.assert_array_equal(factors, their_factors)
        np.testing.assert_array_equal(images, their_images)
        assert images.dtype == their_images.dtype == np.float64
    assert states[0].randint(2**31) == states[1].randint(2**31)


def test_unscored_factors_are_drawn_as_disentanglement_lib_draws_them():
    load_tensorflow()
    from disentanglement_lib.data.ground_truth.util import SplitDiscreteStateSpace

    sizes, scored = (3, 4, 5), (0, 2)
    images = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1)
    ours = GroundTruth(Dataset("smallnorb", images, ("a", "b", "c"), sizes, scored))
    theirs = SplitDiscreteStateSpace(sizes, scored)
    states = np.random.RandomState(1), np.random.RandomState(1)
    expected = theirs.sample_all_factors(theirs.sample_latent_factors(50, states[0]), states[0])
    _, observed = ours.sample(50, states[1])
    numbers = np.rint(observed[:, 0, 0, 0] * 255).astype(int)
    np.testing.assert_array_equal(numbers, np.ravel_multi_index(tuple(expected.T), sizes))


def test_a_float32_network_sees_the_same_pixels_in_float64_images():
    levels = np.arange(256, dtype=np.uint8)
    single = np.divide(levels, np.float32(255), dtype=np.float32)
    assert torch.equal(torch.from_numpy(levels / 255.0).float(), torch.from_numpy(single))


def test_images_without_a_grid_are_drawn_alike():
    images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    plain = GroundTruth(Dataset("plain", images, (), (), ()))
    drawn = plain.sample_observations(400, np.random.RandomState(0))
    counts = np.unique((drawn[:, 0, 0, 0] * 255).round(), return_counts=True)[1]
    assert drawn.shape == (400, 2, 2, 1) and counts.min() > 70
