"""The rules of the verdicts, on curves made by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from study.audit import verdicts
from study.audit.families import FAMILIES
from study.audit.verdicts import Curve, judge, place


def curve(*means, name="rotated", spread=0.0, dials=None):
    scores = np.array(means)[:, None] + spread * np.arange(len(means))[:, None] * [[-1, 0, 1]]
    dials = dials or tuple(float(dial) for dial in range(len(means)))
    return Curve(FAMILIES[name], "mig", dials, scores)


@pytest.mark.parametrize(
    ("means", "kind"),
    [
        ((1.0, 0.5, 0.2), verdicts.FALLS),
        ((1.0, 0.99, 0.95), verdicts.STAYS),
        ((0.3, 0.5, 0.9), verdicts.RISES),
    ],
)
def test_a_change_of_a_tenth_of_the_range_counts(means, kind):
    assert judge(curve(*means), 1.0).kind == kind


def test_a_change_is_in_units_of_the_range():
    assert judge(curve(0.5, 0.46), 1.0).kind == verdicts.STAYS
    assert judge(curve(0.5, 0.46), 0.2).kind == verdicts.FALLS


def test_a_change_within_its_noise_is_open():
    assert judge(curve(1.0, 0.8, spread=0.3), 1.0).kind == verdicts.OPEN


def test_without_a_range_or_a_score_there_is_no_verdict():
    assert judge(curve(1.0, 0.0), math.nan).kind == verdicts.NOTHING
    assert judge(curve(1.0, math.nan), 1.0).kind == verdicts.NOTHING
    assert math.isnan(verdicts.Range(0.5, 0.45).size)


def test_where_nothing_should_change_the_largest_change_counts():
    scaled = curve(1.0, 0.2, 1.0, name="with_constants", dials=(0.0, 1.0, 10.0))
    judged = judge(scaled, 1.0)
    assert (judged.kind, judged.at, judged.end) == (verdicts.FALLS, 1.0, pytest.approx(0.2))


def test_where_nothing_should_change_the_surest_change_counts():
    means = np.array([0.0, 0.12, 0.13])[:, None]
    spreads = np.array([0.0, 0.005, 0.1])[:, None] * [[-1, 0, 1]]
    family = FAMILIES["with_constants"]
    judged = judge(Curve(family, "mig", (0.0, 1.0, 10.0), means + spreads), 1.0)
    assert (judged.kind, judged.at) == (verdicts.RISES, 1.0)


def test_where_nothing_should_change_what_may_be_a_change_anywhere_is_open():
    means = np.array([0.0, 0.018, 0.02])[:, None]
    spreads = np.array([0.0, 0.05, 0.02])[:, None] * [[-1, 0, 1]]
    family = FAMILIES["with_constants"]
    judged = judge(Curve(family, "mig", (0.0, 1.0, 10.0), means + spreads), 1.0)
    assert (judged.kind, judged.at) == (verdicts.OPEN, 1.0)


def test_a_score_that_falls_on_the_way_and_comes_back_does_not_stay():
    assert judge(curve(1.0, 0.3, 1.0), 1.0).kind == verdicts.OPEN


def test_a_step_back_is_not_monotone_unless_it_is_noise():
    assert judge(curve(1.0, 0.5, 0.2), 1.0).monotone
    assert not judge(curve(1.0, 0.2, 0.5), 1.0).monotone
    assert judge(curve(1.0, 0.2, 0.25, spread=0.2), 1.0).monotone


def test_a_property_is_rewarded_where_the_score_falls_on_all_its_dials():
    falls, stays = judge(curve(1.0, 0.0), 1.0), judge(curve(1.0, 1.0), 1.0)
    rises = judge(curve(0.0, 1.0), 1.0)
    told = {
        verdicts.Summary("modularity", members).word
        for members in ((falls, falls), (stays, stays), (rises, rises), (falls, stays))
    }
    assert told == {"rewards", "ignores", "punishes", "mixed"}
    assert (
        verdicts.Summary("modularity", (falls, stays)).counts == "falls with 1, stays with 1 of 2"
    )
    assert verdicts.Summary("invariance", (stays, stays)).word == "invariant"


def test_what_the_intervals_leave_open_is_no_finding():
    stays = judge(curve(1.0, 1.0), 1.0)
    unsure = judge(curve(1.0, 0.9, spread=0.4), 1.0)
    assert (stays.kind, unsure.kind) == (verdicts.STAYS, verdicts.OPEN)
    assert verdicts.Summary("invariance", (stays, unsure)).word == verdicts.OPEN


def test_an_open_dial_leaves_a_property_open_that_it_may_decide():
    falls, stays = judge(curve(1.0, 0.0), 1.0), judge(curve(1.0, 1.0), 1.0)
    unsure = judge(curve(1.0, 0.9, spread=0.4), 1.0)
    assert verdicts.Summary("modularity", (falls, unsure)).word == verdicts.OPEN
    assert verdicts.Summary("modularity", (falls, unsure, stays)).word == "mixed"


def test_a_curve_starts_with_the_perfect_representation():
    rows = [("perfect", 0.0, 0, "mig", 1.0), ("rotated", 5.0, 0, "mig", 0.5)]
    scores = pd.DataFrame(rows, columns=["group", "dial", "seed", "metric", "score"])
    found = verdicts.curves(scores)["rotated", "mig"]
    assert found.dials == (0.0, 5.0) and found.means.tolist() == [1.0, 0.5]


def test_a_score_stands_where_the_dial_first_has_it():
    assert place(curve(1.0, 0.5, 0.0), 0.25) == pytest.approx(1.5)
    assert place(curve(1.0, 0.5, 1.0), 0.75) == pytest.approx(0.5)
    assert place(curve(1.0, 0.5, 0.2), 0.1) is None


def test_bias_and_spread_are_against_the_most_samples():
    samples = Curve(FAMILIES["samples"], "mig", (10.0, 100.0), np.array([[0.4, 0.6], [0.2, 0.2]]))
    (few, bias, spread), (most, none, _) = verdicts.bias_and_spread(samples)
    assert (few, most, none) == (10.0, 100.0, 0.0)
    assert (bias, spread) == (pytest.approx(0.3), pytest.approx(math.sqrt(0.02)))
