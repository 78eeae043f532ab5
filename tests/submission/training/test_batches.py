import dataclasses
import math

import gin
import numpy as np
import pytest
import torch

from submission.training.batches import Batches, epoch_order
from submission.training.distributed import Group

CPU = torch.device("cpu")


def rows(dataset, batch: torch.Tensor) -> list[int]:
    """Which images of the data set a batch holds."""
    pixels = (batch.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return [
        int(np.flatnonzero((dataset.images == image).all(axis=(1, 2, 3)))[0]) for image in pixels
    ]


def test_an_epoch_shows_every_image_once(squares):
    batches = Batches(squares, batch_size=8, seed=0, stream=0, device=CPU)
    seen = [row for step in range(batches.steps_per_epoch) for row in rows(squares, batches(step))]
    assert sorted(seen) == list(range(48))


def test_epochs_seeds_and_streams_have_their_own_orders(squares):
    first = rows(squares, Batches(squares, 48, seed=0, stream=0, device=CPU)(0))
    others = [
        rows(squares, Batches(squares, 48, seed=0, stream=0, device=CPU)(1)),
        rows(squares, Batches(squares, 48, seed=1, stream=0, device=CPU)(0)),
        rows(squares, Batches(squares, 48, seed=0, stream=1, device=CPU)(0)),
    ]
    assert all(first != other for other in others)


def test_a_repeated_epoch_is_one_draw_with_replacement():
    """Of N images drawn N times, a share 1 - (1 - 1/N)^N is seen: 1 - 1/e."""
    first, second = (epoch_order(10_000, (0, 1), epoch, repeats=True) for epoch in (0, 7))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) / 10_000 == pytest.approx(1 - math.exp(-1), abs=0.015)
    assert not np.array_equal(first, epoch_order(10_000, (1, 1), 0, repeats=True))


def test_a_batch_of_a_repeated_epoch_depends_on_the_step_alone(squares):
    gin.bind_parameter("epoch.repeats", True)
    walked = Batches(squares, 8, seed=3, stream=0, device=CPU)
    for step in range(10):
        expected = walked(step)
    assert torch.equal(Batches(squares, 8, seed=3, stream=0, device=CPU)(9), expected)
    assert torch.equal(walked(3), expected)


def test_a_batch_depends_on_the_step_alone(squares):
    walked = Batches(squares, 8, seed=3, stream=0, device=CPU)
    for step in range(10):
        expected = walked(step)
    torch.testing.assert_close(Batches(squares, 8, seed=3, stream=0, device=CPU)(9), expected)


def test_pixels_are_scaled_to_one_in_channels_last_memory(squares):
    batch = Batches(squares, 48, seed=0, stream=0, device=CPU)(0)
    assert batch.dtype == torch.float32
    assert batch.shape == (48, 3, 64, 64)
    assert float(batch.max()) == 1.0
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_a_data_set_smaller_than_a_batch_is_used_whole(squares):
    assert len(Batches(squares, 64, seed=0, stream=0, device=CPU)(0)) == 48


def test_painted_images_are_the_same_for_the_same_step(squares):
    painted = dataclasses.replace(
        squares, paint=lambda images, state: images * state.uniform(size=(len(images), 1, 1, 1))
    )
    first, again, later = (
        Batches(painted, 48, seed=0, stream=0, device=CPU)(step) for step in (0, 0, 1)
    )
    torch.testing.assert_close(first, again)
    assert not torch.equal(first.sort(dim=0).values, later.sort(dim=0).values)


def test_images_on_the_device_give_the_same_batches(squares):
    resident = torch.from_numpy(squares.images)
    gathered = Batches(squares, 8, seed=0, stream=0, device=CPU)
    drawn = Batches(squares, 8, seed=0, stream=0, device=CPU, resident=resident)
    for step in (0, 1, 7):
        assert torch.equal(gathered(step), drawn(step))


def test_a_team_shares_the_very_batch_of_one_process(squares):
    alone = Batches(squares, 8, seed=0, stream=0, device=CPU)
    shared = [Batches(squares, 8, 0, 0, CPU, group=Group(rank, 2)) for rank in range(2)]
    for step in range(3):
        assert torch.equal(torch.cat([each(step) for each in shared]), alone(step))
