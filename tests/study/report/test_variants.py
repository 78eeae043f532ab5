import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study.report.variants import beyond_seeds, differences

NUMBERS = st.lists(st.floats(0, 1).map(lambda value: round(value, 6)), min_size=2, max_size=5)


def scores(*runs: tuple[str, str, float]) -> pd.DataFrame:
    """The MIG of runs, each with its method and variant."""
    frame = pd.DataFrame(runs, columns=["method", "variant", "mig"])
    return frame.assign(label=frame["method"] + " " + frame["variant"])


def of_one_method(first: list[float], changed: list[float]) -> pd.Series:
    runs = [("vae", "", value) for value in first] + [("vae", "new", value) for value in changed]
    (row,) = differences(scores(*runs), "", ["mig"]).to_dict("records")
    return pd.Series(row)


@settings(deadline=None)
@given(NUMBERS, NUMBERS)
def test_the_interval_is_students_for_two_independent_samples(first, changed):
    row = of_one_method(first, changed)
    assert row["difference"] == pytest.approx(np.mean(changed) - np.mean(first))
    # Of values that are all the same, SciPy warns.
    if min(np.ptp(first), np.ptp(changed)) > 1e-3:
        low, high = stats.ttest_ind(changed, first).confidence_interval(0.95)
        assert row["half_width"] == pytest.approx((high - low) / 2)
        assert row["difference"] - row["half_width"] == pytest.approx(low, abs=1e-9)


@settings(deadline=None)
@given(NUMBERS, NUMBERS)
def test_the_other_way_round_is_the_same_with_the_other_sign(first, changed):
    row, back = of_one_method(first, changed), of_one_method(changed, first)
    assert back["difference"] == pytest.approx(-row["difference"])
    assert back["half_width"] == pytest.approx(row["half_width"])


def test_each_variant_is_held_against_the_same_methods_first():
    rows = differences(
        scores(
            *[("vae", "", 0.1), ("vae", "wide", 0.4), ("vae", "narrow", 0.3)],
            *[("beta_vae", "wide", 0.9), ("info_vae", "", 0.5), ("info_vae", "wide", 0.2)],
        ),
        "",
        ["mig"],
    )
    found = {row.label: round(row.difference, 9) for row in rows.itertuples()}
    # There is nothing to hold the variant of beta_vae against.
    assert found == {"vae wide": 0.3, "vae narrow": 0.2, "info_vae wide": -0.3}


def test_single_runs_have_a_difference_and_no_interval():
    rows = differences(scores(("vae", "", 0.1), ("vae", "new", 0.4)), "", ["mig"])
    assert rows["difference"].tolist() == pytest.approx([0.3])
    assert math.isnan(rows["half_width"].iloc[0])
    assert not beyond_seeds(rows).any()


def test_runs_without_a_score_do_not_count():
    row = of_one_method([0.1, 0.2, math.nan], [0.3, math.nan, math.nan])
    assert (row["first_runs"], row["runs"]) == (2, 1)
    assert row["difference"] == pytest.approx(0.15)


def test_a_study_without_variants_has_no_rows():
    assert differences(scores(("vae", "", 0.1), ("beta_vae", "", 0.2)), "", ["mig"]).empty


@pytest.mark.parametrize(
    ("changed", "beyond"), [([0.9, 0.91, 0.92], True), ([0.1, 0.3, 0.2], False)]
)
def test_a_difference_counts_where_its_interval_leaves_out_0(changed, beyond):
    runs = [("vae", "", value) for value in (0.11, 0.2, 0.28)]
    runs += [("vae", "new", value) for value in changed]
    assert beyond_seeds(differences(scores(*runs), "", ["mig"])).tolist() == [beyond]
