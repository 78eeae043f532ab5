"""The sampled protocol's draws."""

import numpy as np
import pytest

from evaluator.metrics.draws import draw, draw_votes
from evaluator.rows import Rows


def make(count=300, sizes=(3, 4, 5), **options):
    draws = np.random.RandomState(7)
    values = np.stack([draws.randint(size, size=count) for size in sizes], axis=1)
    return Rows(
        name="rows",
        images=np.zeros((count, 1, 1, 1), np.uint8),
        factor_names=tuple("abc"),
        factor_sizes=sizes,
        scored_factors=(0, 1, 2),
        values=values,
        **options,
    )


def test_each_row_is_drawn_once_before_any_is_drawn_again():
    drawn = draw(make(), 600, 16, np.random.RandomState(0)).indices
    assert sorted(drawn[:300]) == sorted(drawn[300:]) == list(range(300))
    assert drawn[:300].tolist() != drawn[300:].tolist()


def test_a_row_comes_with_its_own_factors():
    rows = make()
    drawn = draw(rows, 100, 16, np.random.RandomState(0))
    assert np.array_equal(drawn.factors, rows.values[drawn.indices])


def test_what_is_tested_on_was_not_trained_on():
    rows, random_state = make(share=2 / 3, training=200), np.random.RandomState(0)
    train = draw(rows, 200, 16, random_state).indices
    test = draw(rows, 100, 16, random_state).indices
    assert sorted([*train, *test]) == list(range(300))


def test_a_vote_is_a_group_that_shares_the_factors_value():
    rows, random_state = make(share=2 / 3, training=50 * 8), np.random.RandomState(0)
    groups = []
    for votes in (50, 25):
        fixed, indices = draw_votes(rows, votes, 8, random_state)
        for factor, group in zip(fixed, indices, strict=True):
            assert len(np.unique(rows.values[group, factor])) == 1
        groups.append(set(indices.ravel()))
    assert not groups[0] & groups[1]
    assert len(groups[0]) > 150


def test_pairs_share_the_factors_value_and_nothing_else():
    """As BetaVAE draws them: two draws, one factor of the second set to the first's values."""
    rows, random_state = make(3000), np.random.RandomState(0)
    one = rows.sample_factors(2000, random_state)
    other = rows.sample_factors(2000, random_state)
    other[:, 1] = one[:, 1]
    first = rows.values[rows.image_indices(one, random_state)]
    second = rows.values[rows.image_indices(other, random_state)]
    assert np.array_equal(first, one)
    assert np.array_equal(second[:, 1], one[:, 1])
    # Of 3 and of 5 values as likely, two rows share a third and a fifth.
    assert (first[:, [0, 2]] == second[:, [0, 2]]).mean(axis=0) == pytest.approx(
        [1 / 3, 0.2], abs=0.04
    )


def test_each_row_that_shares_the_value_is_as_likely():
    rows, random_state = make(30), np.random.RandomState(0)
    counts = np.zeros(30)
    for _ in range(2000):
        factors = rows.sample_factors(5, random_state)
        factors[:, 0] = 1
        np.add.at(counts, rows.image_indices(factors, random_state), 1)
    shares = counts[rows.values[:, 0] == 1]
    assert counts.sum() == shares.sum() == 10_000
    assert shares == pytest.approx(10_000 / len(shares), rel=0.15)


def test_rows_are_asked_for_by_the_array_that_was_drawn():
    rows, random_state = make(), np.random.RandomState(0)
    with pytest.raises(ValueError, match="the very array"):
        rows.image_indices(rows.sample_factors(5, random_state).copy(), random_state)
