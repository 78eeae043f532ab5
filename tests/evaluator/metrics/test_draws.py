import numpy as np
import pytest

from evaluator.compat import load_metric_module
from evaluator.ground_truth import GroundTruth
from evaluator.metrics.draws import draw, draw_votes
from submission.datasets import Dataset


@pytest.fixture(params=["all factors scored", "two of four scored"])
def dataset(request, make_dataset):
    every = make_dataset()
    if request.param == "all factors scored":
        return every
    return Dataset("spelled", every.images, every.factor_names, every.factor_sizes, (1, 3))


def spelled(images: np.ndarray) -> np.ndarray:
    pixel = np.rint(images[:, 0, 0] * 255).astype(int)
    return pixel[:, :1] + 256 * pixel[:, 1:2]


def same_state(one: np.random.RandomState, other: np.random.RandomState) -> bool:
    return one.randint(2**31, size=9).tolist() == other.randint(2**31, size=9).tolist()


@pytest.mark.parametrize("num", [1, 16, 100])
def test_batches_are_drawn_as_disentanglement_lib_draws_them(dataset, num):
    utils = load_metric_module("utils")
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    indices, factors = utils.generate_batch_factor_code(
        GroundTruth(dataset), spelled, num, theirs, 16
    )
    drawn = draw(dataset, num, 16, ours)
    assert drawn.indices.tolist() == indices[0].tolist()
    assert drawn.factors.tolist() == factors.T.tolist()
    assert same_state(ours, theirs)


def test_votes_are_drawn_as_disentanglement_lib_draws_them(dataset):
    factor_vae = load_metric_module("factor_vae")
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    fixed, indices = draw_votes(dataset, 30, 64, ours)
    for vote in range(30):
        seen = []

        def encode(images, seen=seen):
            seen.append(spelled(images)[:, 0])
            return np.random.RandomState(0).normal(size=(len(images), 3))

        factor, _ = factor_vae._generate_training_sample(
            GroundTruth(dataset), encode, 64, theirs, np.ones(3), np.ones(3, bool)
        )
        assert fixed[vote] == factor
        assert indices[vote].tolist() == seen[0].tolist()
    assert same_state(ours, theirs)
