"""The numbers that docs/results/audit/README.md tells are those of its scores."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from study.audit.dials import measured
from study.report import dials

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "results" / "audit"
ROW = re.compile(r"\(`(\w+)` ([\d.]+)\) \| [\w ]+ \(`(\w+)`\) \| ([\d.]+) \| ([\d.]+) \|")
ROWS = ROW.findall((FOLDER / "README.md").read_text())


@pytest.fixture(scope="module")
def means():
    scores = pd.read_csv(FOLDER / "scores.csv")
    return scores.groupby(["group", "metric", "dial"])["score"].mean()


def test_there_are_numbers():
    assert len(ROWS) > 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[:3]))
def test_a_number_is_the_mean_of_its_scores(row, means):
    group, dial, metric, before, after = row
    # A random linear map has no perfect representation to begin with.
    start = ("tangled", metric, 7.0) if group == "tangled" else ("perfect", metric, 0.0)
    assert before == f"{means[start]:.2f}"
    assert after == f"{means[group, metric, float(dial)]:.2f}"


def test_a_sine_of_two_values_is_a_constant_latent_to_modularity(means):
    assert "falls with `circled`" in (FOLDER.parents[1] / "audit.md").read_text()
    circled = means["circled", "modularity"]
    assert circled[0.25] == pytest.approx(means["perfect", "modularity", 0.0], abs=1e-6)
    assert (circled[[0.5, 0.75, 1.0]] < 0.95).all()


def test_the_dials_of_a_studys_page_are_those_of_the_scores():
    scores = pd.read_csv(FOLDER / "scores.csv")
    content = json.loads((FOLDER / "dials.json").read_text())
    assert content == measured("mpi3d_mini", scores)
    assert content == json.loads((dials.FOLDER / "mpi3d_mini.json").read_text())
