"""What docs/results/long/README.md tells of the longer run is what its scores say."""

import csv
from pathlib import Path

import pandas as pd

from evaluator.paper import METRIC_TITLES, TABLE_1

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "long"
README = (FOLDER / "README.md").read_text()


def test_each_row_of_the_table_has_the_scores_of_its_step():
    with (FOLDER / "scores_by_step.csv").open() as file:
        for row in csv.DictReader(file):
            scores = [f"{float(row[metric]):.3f}" for metric in list(row)[2:]]
            assert f"| {int(row['step']):,} | {' | '.join(scores)} |" in README, row


def test_the_papers_scores_stand_below_each_method():
    for method in ("beta_tcvae", "dip_vae_ii"):
        scores = " | ".join(f"{score:.3f}" for score in TABLE_1[method][:5])
        assert f"| the paper, 200,000 | {scores} |" in README


def test_the_two_stand_in_the_papers_order_from_step_2000_on():
    scores = pd.read_csv(FOLDER / "scores_by_step.csv").query("step >= 2000")
    one, other = (
        scores[scores["method"] == method].reset_index() for method in ("beta_tcvae", "dip_vae_ii")
    )
    assert len(one) == len(other) == 10
    for place, metric in enumerate(METRIC_TITLES):
        is_higher = TABLE_1["beta_tcvae"][place] > TABLE_1["dip_vae_ii"][place]
        assert ((one[metric] > other[metric]) == is_higher).all(), metric


def test_the_learning_rate_never_fell():
    for method in ("beta_tcvae", "dip_vae_ii"):
        history = pd.read_csv(FOLDER / f"{method}.csv")
        assert history["learning_rate"].unique().tolist() == [0.001]
        assert 2.5 <= history["epoch"].max() < 2.6
