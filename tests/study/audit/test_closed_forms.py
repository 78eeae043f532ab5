"""Closed forms, against the metrics themselves and against arithmetic."""

import math

import numpy as np
import pytest

from evaluator.given_codes import score_table
from evaluator.metrics import choose
from study.audit import closed_forms
from study.audit.families import FAMILIES
from study.audit.grid import Grid, factors_of

SIZES = (4, 3, 10, 10, 10)
GRID = Grid(
    "ten",
    np.broadcast_to(np.zeros(1, np.uint8), (math.prod(SIZES), 1, 1, 1)),
    tuple("abcde"),
    SIZES,
    (0, 1, 2, 3, 4),
)


def measured(name, dial, metric):
    table = FAMILIES[name].build(factors_of(GRID), dial, np.random.RandomState(0))
    return score_table(GRID, table.astype(np.float32), choose([metric]))[metric].score


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_mig_under_uniform_noise_is_what_the_channel_lets_through(share):
    (form,) = [
        form
        for form in closed_forms.closed_forms(GRID)
        if form.metric == "mig" and form.dial == share
    ]
    assert closed_forms.Check(form, measured("drowned", share, "mig")).holds


def test_a_channel_without_noise_lets_everything_through_and_one_of_noise_nothing():
    assert closed_forms.mig_of_uniform_noise((4, 10), 1e-9) == pytest.approx(1)
    assert closed_forms.mig_of_uniform_noise((4, 10), 1.0) == pytest.approx(0, abs=1e-12)


def test_a_channel_by_hand():
    """Of two values: the outer ones of three bins tell the value, the middle has half of both."""
    assert closed_forms.mig_of_uniform_noise((2,), 2 / 3, bins=3) == pytest.approx(0.5)


def test_sap_of_the_perfect_representation_is_half():
    """Ten equally spaced values are named by lines: only the outer ones are ever the highest."""
    assert closed_forms.sap_of_perfect((10,)) == pytest.approx(0.2 - 0.1)
    assert closed_forms.sap_of_perfect((4, 3)) == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert measured("perfect", 0, "sap_score") == pytest.approx(
        closed_forms.sap_of_perfect(SIZES), abs=0.02
    )


def test_factor_vae_of_noise_is_chance():
    score = measured("samples_of_noise", 0, "factor_vae_metric")
    assert score == pytest.approx(1 / len(SIZES), abs=4 * math.sqrt(0.2 * 0.8 / 5_000))
