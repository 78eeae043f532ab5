import numpy as np
import pytest

from evaluator.compare.ranking import mean_ranks, normalised_sums, standings


def test_a_rank_is_one_and_the_number_of_strictly_higher_scores() -> None:
    scores = np.array([[0.9, 0.2], [0.9, 0.3], [0.1, 0.3], [0.5, 0.1]])
    # First metric: 1, 1, 4, 3. Second: 3, 1, 1, 4.
    assert mean_ranks(scores).tolist() == [2.0, 1.0, 2.5, 3.5]


def test_one_entry_of_each_participant_counts_and_the_chosen_are_ranked_afresh() -> None:
    # All are ranked: 2, 2, 2, 4. Of the ties the earliest is a's best, and a's other entry goes.
    scores = np.array([[0.9, 0.1, 0.5], [0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.0, 0.0, 0.0]])
    found = standings(scores, ["a", "a", "b", "c"])
    # Of entries 0, 2 and 3: ranks 1, 2, 2 in order and 2, 1, 1, and 3 each.
    assert [entry for entry, _ in found] == [2, 0, 3]
    assert [rank for _, rank in found] == pytest.approx([4 / 3, 5 / 3, 3])


def test_ties_go_to_the_earlier_entry() -> None:
    same = np.full((3, 2), 0.5)
    assert standings(same, ["a", "b", "c"]) == [(0, 1.0), (1, 1.0), (2, 1.0)]


def test_the_papers_sum_divides_each_metric_by_its_largest_score() -> None:
    scores = np.array([[0.4, 0.1, 0.0], [0.2, 0.2, -0.1]])
    assert normalised_sums(scores).tolist() == [1.5, 1.5]
