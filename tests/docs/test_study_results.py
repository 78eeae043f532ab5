"""The numbers that docs/results/README.md tells of the study are those of its tables."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from evaluator.paper import METRIC_TITLES
from study.report import table
from study.report.wording import decimals

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results"
README = " ".join((FOLDER / "README.md").read_text().split())


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / name)


@pytest.fixture(scope="module")
def summary():
    return table.summarise(read("scores.csv"))


def test_table_1_is_that_of_the_runs(summary):
    columns = ["label", "metric", "mean", "half_width", "runs", "best", "paper", "difference"]
    pd.testing.assert_frame_equal(summary[columns], read("table1.csv")[columns])


def test_the_order_against_the_papers_is_told(summary):
    orders = table.order_against_paper(summary).set_index("metric")["kendall"]
    told = ", ".join(f"{orders[metric]:.2f}" for metric in METRIC_TITLES)
    assert f"| {told} | | the same by" in README
    assert f"the same by the normalised sum | 0.60 | {orders['normalised_sum']:.2f} |" in README


def test_how_often_orders_differ_is_told():
    apart = read("agreement.csv")["single_differently"].mean()
    own = read("seed_disagreement.csv")["differently"].mean()
    assert re.search(rf"on the same runs \| \d+ % \| {apart * 100:.0f} % \|", README)
    assert re.search(rf"on the runs of another seed \| \d+ % \| {own * 100:.0f} % \|", README)


def test_the_lowest_correlation_is_told():
    pairs = read("agreement.csv")
    lowest = pairs.loc[pairs["kendall"].idxmin()]
    names = " and ".join(METRIC_TITLES[lowest[place]] for place in ("first", "second"))
    assert f"{names}, τ {decimals(lowest['kendall'], 2)} |" in README


def test_what_the_method_explains_is_told():
    shares = read("variance_components.csv").set_index("metric")["share"]
    told = ", ".join(f"{100 * shares[metric]:.0f}" for metric in METRIC_TITLES)
    assert f"| {told} % |" in README


def test_which_means_are_above_models_without_training_is_told(summary):
    from evaluator.report.baselines import band

    known = summary[summary["metric"].isin(list(METRIC_TITLES))]
    highest = {metric: band("mpi3d_mini", metric, 20).high for metric in METRIC_TITLES}
    above = known[known["mean"] > known["metric"].map(highest)]
    assert set(zip(above["label"], above["metric"], strict=True)) == {
        ("β-TCVAE", "dci"),
        ("β-TCVAE", "mig"),
        ("Factor-VAE", "mig"),
    }
    assert "Only β-TCVAE's DCI, and β-TCVAE's and Factor-VAE's MIG, have a mean above it" in README


def test_the_latents_in_use_are_told():
    runs = read("scores.csv").groupby("label")["latents_in_use"]
    most = runs.min().idxmax()
    low, high = runs.min().drop(most).min(), runs.max().drop(most).max()
    assert f"{most} has the most here, {runs.min()[most]} to {runs.max()[most]} of 20" in README
    assert f"the other methods have {low} to {high} (" in README


def test_the_plan_is_the_presets():
    study = json.loads((FOLDER / "study.json").read_text())["study"]
    assert (len(study["methods"]), len(study["seeds"]), study["dataset"]) == (6, 3, "mpi3d_mini")
