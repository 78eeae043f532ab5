import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluator.codes import Codes, why_no_table
from evaluator.ground_truth import GroundTruth
from tests.evaluator.reading import encode_all, read_representation


@pytest.fixture
def truth(make_dataset):
    return GroundTruth(make_dataset((4, 5, 6, 7)))


@pytest.fixture
def load(truth, write_torchscript):
    return lambda module: read_representation(write_torchscript(module), truth)


def test_codes_are_those_of_the_images(truth, load, lookup):
    codes = encode_all(truth, load(lookup((4, 5, 6, 7))))
    indices = np.array([839, 0, 7, 7, 411])
    expected = np.stack(np.unravel_index(indices, (4, 5, 6, 7)), axis=1)
    assert codes[indices].tolist() == expected.tolist()


def test_each_image_is_encoded_once_in_full_batches(truth, load, make_encoder):
    batches = []
    codes = Codes(truth, load(make_encoder()).counted(batches.append))
    codes.encode(np.arange(400))
    assert set(batches) == {64}
    # One in twenty is asked for twice, and what fills up the last batch.
    assert 420 <= sum(batches) < 420 + 64
    codes.encode(np.arange(840))
    assert set(batches) == {64}
    assert sum(batches) < 840 + 42 + 2 * 64
    before = len(batches)
    codes.encode(np.arange(840))
    assert len(batches) == before


def test_no_two_tables_are_asked_for_in_the_same_order(truth, load, make_encoder):
    representation = load(make_encoder())
    orders = []
    for _ in range(2):
        asked = []

        def remember(pixels, white, asked=asked):
            asked.extend((pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 0, 1].astype(int)).tolist())
            return representation.encode_pixels(pixels, white)

        watched = replace(representation, encode_pixels=remember, parallel=False)
        codes = encode_all(truth, watched)
        orders.append(asked)
        assert sorted(set(asked)) == list(range(840))
        assert codes.exact
    assert orders[0] != orders[1]


def test_a_model_that_remembers_what_it_was_asked_is_seen(truth, from_table):
    """It counts its calls, and gives each image the code of the next state in order."""
    calls = itertools.count()

    def encode(images):
        return np.array([[next(calls)] * 3 for _ in images], np.float32)

    counting = replace(from_table(np.zeros((840, 3), np.float32)), encode=encode)
    reason = Codes(truth, counting).encode(np.arange(840))
    assert reason is not None
    assert "other company" in reason


def test_an_image_that_no_metric_names_has_no_code(truth, load, make_encoder):
    codes = Codes(truth, load(make_encoder()))
    codes.encode(np.arange(10))
    assert codes.known.tolist() == list(range(10))
    with pytest.raises(KeyError, match="its Metric"):
        codes[np.array([3, 10])]


def test_the_number_type_is_the_representations(truth, from_table):
    for dtype in (np.float16, np.float32, np.float64, np.int64):
        table = np.arange(840 * 3).reshape(840, 3).astype(dtype)
        found = encode_all(truth, from_table(table))[np.array([3, 839])]
        assert found.dtype == dtype
        assert found.flags.c_contiguous
        assert found.tolist() == table[[3, 839]].tolist()


def test_pixels_and_images_give_equal_codes(truth, load, make_encoder):
    representation = load(make_encoder())
    pixels = truth.dataset.images[:64]
    images = truth.observe(np.arange(64), np.random.RandomState(0))
    assert representation.encode_pixels is not None
    np.testing.assert_allclose(
        representation.encode_pixels(pixels, 255),
        representation.encode(images),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("white", [1, 255])
def test_bytes_become_the_very_floats_that_the_reference_encodes(white):
    values = np.arange(white + 1, dtype=np.uint8)
    theirs = (values / float(white)).astype(np.float32)
    ours = torch.from_numpy(values).float().div_(white).numpy()
    assert ours.tolist() == theirs.tolist()


# What is no function of the image


class Normalised(nn.Module):
    """Batch normalisation that was left in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images.flatten(1)[:, :6])


class Sized(nn.Module):
    """Codes that tell the size of the batch."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) / images.shape[0]


class Neighbour(nn.Module):
    """Codes of the image before."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).roll(1, 0)


class Sampled(nn.Module):
    """A sampled posterior."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((2, 3))
        return mean + 1e-3 * torch.randn_like(mean)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Normalised(), "in a batch of"),
        (Sized(), "in a batch of 16"),
        (Neighbour(), "in a batch of"),
        (Sampled(), "second time"),
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.1)), "second time"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_codes_that_are_no_function_of_the_image_are_noticed(truth, load, module, reason):
    assert reason in why_no_table(truth, load(module))


def test_images_that_are_painted_at_random_are_noticed(truth, load, make_encoder):
    painted = replace(truth.dataset, paint=lambda images, random_state: images)
    assert "at random" in why_no_table(GroundTruth(painted), load(make_encoder()))


# What is one


class Half(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).half()


class Uneven(nn.Module):
    """A huge latent, a tiny one, a constant one, and one that cancels to the rounding of a sum."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((2, 3))
        cancels = images.flatten(1).sum(1) - images.flatten(2).sum(2).sum(1)
        tiny = mean[:, 1] * 1e-6
        return torch.stack([mean[:, 0], tiny, 0 * tiny + 0.1, 1e-3 * cancels], 1)


class SingleRefused(nn.Module):
    """As a `squeeze()` does, it loses the batch of a single image; no metric asks for that."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).squeeze()


@pytest.mark.parametrize(
    "module",
    [Half(), Uneven(), SingleRefused()],
    ids=lambda module: type(module).__name__,
)
def test_rounding_is_no_reason(truth, load, module):
    assert why_no_table(truth, load(module)) is None


def test_a_network_as_large_as_the_challenges_is_a_function(make_dataset, write_torchscript):
    torch.manual_seed(0)
    channels = (3, 32, 32, 64, 128, 256)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, 2), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 20)).eval()
    truth = GroundTruth(make_dataset((3, 100), side=64))
    assert math.prod(truth.factors_num_values) > 256
    assert why_no_table(truth, read_representation(write_torchscript(network), truth)) is None
