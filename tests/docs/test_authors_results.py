"""The numbers that docs/results/authors/README.md tells are those of its scores."""

import re
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results" / "authors"
COLUMNS = ("dci", "factor_vae_metric", "sap_score", "mig", "irs", "kl", "reconstruction")
README = (FOLDER / "README.md").read_text()
ROWS = re.findall(r"^\| .* \(`(\w+)`\) \| `(\w+)` \| (.*) \|$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def runs():
    return pd.read_csv(FOLDER / "scores.csv").groupby(["method", "variant"])


def test_every_variant_has_a_row(runs):
    assert {(method, variant) for method, variant, _ in ROWS} == {
        name for name in runs.groups if name[1] != "text"
    }


@pytest.mark.parametrize(("method", "variant", "cells"), ROWS)
def test_a_difference_and_its_interval_are_those_of_the_runs(runs, method, variant, cells):
    """Student's interval of the difference of two means; bold where 0 lies outside."""
    text, changed = runs.get_group((method, "text")), runs.get_group((method, variant))
    for column, cell in zip(COLUMNS, cells.split(" | "), strict=True):
        test = stats.ttest_ind(changed[column], text[column])
        low, high = test.confidence_interval(0.95)
        digits = len(cell.strip("*").rpartition(".")[2])
        told = f"{(low + high) / 2:+.{digits}f} ± {(high - low) / 2:.{digits}f}"
        assert cell == (f"**{told}**" if test.pvalue < 0.05 else told)


def test_the_sentences_have_the_runs_numbers(runs):
    bold = sum(cell[0] == "*" for _, _, cells in ROWS for cell in cells.split(" | ")[:5])
    assert f"Of the {5 * len(ROWS)} intervals of scores {bold} exclude 0" in README
    kl, irs = runs["kl"].mean(), runs["irs"]
    capacity = 25 * (905 - 1) / 2000
    scalar, mean = kl["dip_vae_ii", "scalar"], kl["beta_vae", "mean"]
    assert f"raises the KL to {scalar:.1f} nats, where C is {capacity:.1f}" in " ".join(
        README.split()
    )
    assert f"from {kl['beta_vae', 'text']:.1f} nats down to {mean:.1f}" in README
    lowered = irs.mean()["dip_vae_ii", "text"] - irs.mean()["dip_vae_ii", "scalar"]
    assert round(lowered / irs.std()["dip_vae_ii", "text"]) == 3
