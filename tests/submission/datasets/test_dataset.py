import numpy as np
import pytest

from submission.datasets import Dataset


def make(count: int = 6, **changes: object) -> Dataset:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(2, axis=2)
    settings = {
        "name": "test",
        "images": images,
        "factor_names": ("a", "b"),
        "factor_sizes": (2, 3),
        "scored_factors": (0, 1),
    }
    return Dataset(**(settings | changes))


def test_states_are_row_major_with_the_last_factor_fastest() -> None:
    rows = make().image_indices(
        np.array([[0, 0], [0, 2], [1, 0], [1, 2]]), np.random.RandomState(0)
    )
    assert rows.tolist() == [0, 2, 3, 5]
    assert rows.dtype == np.int64


def test_image_of_state_maps_states_to_rows() -> None:
    dataset = make(image_of_state=np.array([5, 4, 3, 2, 1, 0]))
    assert dataset.image_indices(np.array([[0, 1]]), np.random.RandomState(0)).tolist() == [4]


def test_unscored_factors_are_drawn() -> None:
    dataset = make(scored_factors=(1,))
    rows = dataset.image_indices(np.full((200, 1), 2), np.random.RandomState(0))
    assert set(rows.tolist()) == {2, 5}
    assert not dataset.is_deterministic
    assert dataset.factors_num_values == [3]


def test_a_factor_out_of_range_is_refused() -> None:
    for factors in ([[2, 0]], [[0, 3]], [[-1, 0]]):
        with pytest.raises(ValueError):
            make().image_indices(np.array(factors), np.random.RandomState(0))


def test_white_is_one() -> None:
    dataset = make(white=5)
    observation = dataset.observe(np.array([5, 0]), np.random.RandomState(0))
    assert observation.dtype == np.float32
    np.testing.assert_array_equal(observation, [[[[1], [1]]], [[[0], [0]]]])


def test_without_paint_observing_draws_nothing() -> None:
    random_state = np.random.RandomState(3)
    make().observe(np.array([0, 1]), random_state)
    assert random_state.randint(2**31) == np.random.RandomState(3).randint(2**31)


def test_paint_makes_three_channels_and_is_not_deterministic() -> None:
    dataset = make(paint=lambda images, random_state: images.repeat(3, axis=3).astype(np.float64))
    assert dataset.observation_shape == [1, 2, 3]
    assert not dataset.is_deterministic
    assert dataset.observe(np.array([1]), np.random.RandomState(0)).dtype == np.float32


def test_images_that_do_not_fit_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="6 states, but 5 images"):
        make(count=5)
    with pytest.raises(ValueError, match="uint8"):
        make(images=np.zeros((6, 1, 2, 1)))


def test_fingerprint_depends_on_pixels_and_shape() -> None:
    images = make().images
    other = images.copy()
    other[0, 0, 0, 0] += 1
    prints = {
        make().fingerprint(),
        make(images=other).fingerprint(),
        make(images=images.reshape(6, 2, 1, 1)).fingerprint(),
    }
    assert len(prints) == 3
    assert make().fingerprint() in prints
