"""The numbers that docs/results/authors/README.md tells are those of its scores."""

import re
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results" / "authors"
# With what the README multiplies them by.
COLUMNS = {
    **dict.fromkeys(("dci", "factor_vae_metric", "sap_score", "mig", "irs", "kl"), 1.0),
    "reconstruction_error": 1e4,
}
README = (FOLDER / "README.md").read_text()
ROWS = re.findall(r"^\| .* \(`(\w+)`\) \| `(\w+)` \| (.*) \|$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def runs():
    scores = pd.read_csv(FOLDER / "scores.csv", keep_default_na=False)
    return scores.astype(dict.fromkeys(COLUMNS, float)).groupby(["method", "variant"])


def test_every_variant_has_a_row(runs):
    assert {(method, variant) for method, variant, _ in ROWS} == {
        name for name in runs.groups if name[1]
    }
    assert runs.size().unique().tolist() == [3]


@pytest.mark.parametrize(("method", "variant", "cells"), ROWS)
def test_a_difference_and_its_interval_are_those_of_the_runs(runs, method, variant, cells):
    """Student's interval of the difference of two means; bold where 0 lies outside."""
    text, changed = runs.get_group((method, "")), runs.get_group((method, variant))
    for (column, factor), cell in zip(COLUMNS.items(), cells.split(" | "), strict=True):
        test = stats.ttest_ind(factor * changed[column], factor * text[column])
        low, high = test.confidence_interval(0.95)
        digits = len(cell.strip("*").rpartition(".")[2])
        told = f"{(low + high) / 2:+.{digits}f} ± {(high - low) / 2:.{digits}f}"
        assert cell == (f"**{told}**" if test.pvalue < 0.05 else told)


def test_the_sentences_have_the_runs_numbers(runs):
    readme = " ".join(README.split())
    bold = sum(cell[0] == "*" for _, _, cells in ROWS for cell in cells.split(" | ")[:5])
    assert f"Of the {5 * len(ROWS)} intervals of scores {bold} leave out 0" in readme
    kl, irs = runs["kl"].mean(), runs["irs"]
    scalar, mean = kl["dip_vae_ii", "scalar"], kl["beta_vae", "mean"]
    assert f"raises the KL to {scalar:.1f} nats, where C is {25 * 1000 / 2000}" in readme
    assert f"β-VAE's KL from {kl['beta_vae', '']:.1f} nats to {mean:.1f}" in readme
    lowered = irs.mean()["dip_vae_ii", ""] - irs.mean()["dip_vae_ii", "scalar"]
    assert round(lowered / irs.std()["dip_vae_ii", ""]) == 3


def test_the_texts_runs_are_the_quick_studys_at_step_1000(runs):
    quick = pd.read_csv(FOLDER.parent / "scores_by_step.csv").query("step == 1000")
    for method, own in quick.groupby("method"):
        text = runs.get_group((method, ""))
        for column in list(COLUMNS)[:5]:
            assert sorted(text[column]) == sorted(own[column])
