import numpy as np
import pytest

from evaluator.report.holdings import holdings
from submission.runs.scores import Scores

IMPORTANCE = [[0.0, 0.1, 0.0], [0.9, 0.45, 0.0], [0.1, 0.45, 0.1], [0.0, 0.0, 0.0]]


def scores(**matrices: object) -> Scores:
    return Scores(
        matrices={"factors": ["size", "colour", "shape"], **matrices},
        provenance={"factors_num_values": [2, 4, 5]},
    )


def test_latents_stand_by_the_factor_that_they_tell_most_of():
    (found,) = holdings(scores(importance=IMPORTANCE))
    assert [latent for latent, _ in found.rows] == [1, 2]
    assert found.factor_of == {1: "size", 2: "colour"}
    assert found.latents_by_factor == [("size", [1]), ("colour", [2])]


def test_latents_that_tell_little_of_any_factor_stand_apart():
    (found,) = holdings(scores(importance=IMPORTANCE))
    assert [latent for latent, _ in found.faint] == [3, 0]


def test_of_thousands_of_latents_those_that_tell_most_are_shown():
    importance = np.random.RandomState(0).uniform(0, 0.3, (4096, 3))
    (found,) = holdings(scores(importance=importance.tolist()))
    shown = {latent for latent, _ in found.rows}
    assert shown == set(np.argsort(-importance.max(axis=1))[:50].tolist())
    assert found.left_out == 4096 - 50 - len(found.faint)


def test_a_factor_is_told_by_each_latent_that_tells_half_of_what_the_best_does():
    """Also by one that tells another factor better."""
    (found,) = holdings(scores(importance=IMPORTANCE))
    assert dict(found.told_by) == {"size": [1], "colour": [1, 2], "shape": []}


def test_an_accuracy_is_shown_from_chance_to_certainty():
    (found,) = holdings(scores(accuracy=[[0.5, 1.0, 0.6], [0.75, 0.1, 0.2]]))
    shown = dict(found.rows)
    np.testing.assert_allclose(shown[0], [0, 1, 0.5])
    np.testing.assert_allclose(shown[1], [0.5, 0, 0])


@pytest.mark.parametrize(
    "matrix", [None, "text", [[1, 2]], [[0.1, 0.2, float("nan")]], [[1], [1, 2]], [], {"a": 1}]
)
def test_what_is_no_matrix_is_left_out(matrix):
    assert holdings(scores(importance=matrix)) == []


def test_scores_of_earlier_versions_have_none():
    assert holdings(Scores(scores={"mig": 0.1})) == []
