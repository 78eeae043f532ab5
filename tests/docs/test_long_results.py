"""The table of the longer run is that of its scores."""

import csv
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "long"


def test_each_row_of_the_table_has_the_scores_of_its_step():
    text = (FOLDER / "README.md").read_text()
    with (FOLDER / "scores_by_step.csv").open() as file:
        for row in csv.DictReader(file):
            scores = [f"{float(row[metric]):.3f}" for metric in list(row)[2:]]
            assert f"| {int(row['step']):,} | {' | '.join(scores)} |" in text, row
