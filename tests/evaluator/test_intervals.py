import math

import numpy as np
import pytest

from evaluator.intervals import t_interval


def test_the_half_width_is_students():
    """t(0.975, 4) = 2.776445 of any table; the deviation of 1..5 is sqrt(2.5)."""
    interval = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert interval.mean == 3.0
    assert interval.half_width == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)
    assert interval.scores == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_nineteen_of_twenty_intervals_hold_the_mean():
    random_state = np.random.RandomState(0)
    intervals = [t_interval(random_state.normal(0.3, 0.01, size=5)) for _ in range(4000)]
    held = np.mean([abs(one.mean - 0.3) <= one.half_width for one in intervals])
    # Four standard errors of a share of 0.95 in 4000.
    assert held == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_equal_scores_leave_no_doubt():
    assert t_interval([0.25, 0.25]).half_width == 0


def test_it_reads_as_mean_and_half_width():
    assert str(t_interval([0.130, 0.132, 0.134])) == "0.132 ± 0.005"
    assert str(t_interval([-1e-9, 0.0])) == "0.000 ± 0.000"


@pytest.mark.parametrize("scores", [[], [0.1]])
def test_one_score_has_no_interval(scores):
    with pytest.raises(ValueError, match="two scores"):
        t_interval(scores)
