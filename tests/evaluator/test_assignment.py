"""Which latent stands for which factor."""

import numpy as np
import pytest

from evaluator.assignment import accuracies, assign, importances, information, sentence

FACTORS = np.stack(np.unravel_index(np.arange(3 * 4 * 5), (3, 4, 5)), axis=1).repeat(20, axis=0)


def codes():
    """Two latents of the factor 2, a latent of the factor 0, and noise; nothing tells 1."""
    noise = np.random.RandomState(0).standard_normal((len(FACTORS), 2))
    columns = [FACTORS[:, 2], 0.1 * noise[:, 0] - FACTORS[:, 2], FACTORS[:, 0], noise[:, 1]]
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("matrix", [information, accuracies])
def test_each_matrix_finds_the_factor_of_each_latent(matrix):
    found = assign(matrix(codes(), FACTORS))
    assert found.factor_of[:3] == (2, 2, 0)
    assert set(found.latents_of[2]) == {0, 1} and found.latents_of[0] == (2,)


def test_dcis_importances_need_one_of_two_copies_only():
    found = assign(importances(codes(), FACTORS))
    assert found.latents_of[2][0] in (0, 1) and found.latents_of[0] == (2,)


def test_a_latent_that_never_changes_tells_nothing():
    constant = np.concatenate([codes(), np.ones((len(FACTORS), 1), np.float32)], axis=1)
    matrix = information(constant, FACTORS)
    assert not matrix[-1].any() and assign(matrix).factor_of[-1] is None


def test_the_information_of_the_factor_itself_is_all_of_its_entropy():
    assert information(FACTORS.astype(float), FACTORS).round(9).tolist() == np.eye(3).tolist()


def test_pairs_are_one_to_one():
    found = assign(np.array([[0.9, 0.8], [0.8, 0.1]]))
    assert found.pairs == ((0, 1), (1, 0))


def test_words():
    found = assign(np.array([[0.9, 0.0], [0.5, 0.1]]))
    assert sentence(found, ["size", "shape"]) == "size by z0 and z1; shape by none"
