import json

import pytest

from study.report.published import NORMALISED_SUM, compare, table_1
from study.report.results import read

PAPER = {"dataset": "mpi3d_toy", "steps": 200_000, "width": 1.0, "latents": 20}


@pytest.fixture
def study_as(drawn):
    """A study of one run with the given record and settings, scored on so many images."""

    def write(images=460_800, preset="paper", settings=(), variants=(), **record):
        folder = drawn.write_run("beta_vae", 0, {"mig": 0.2}, **PAPER | record)
        scores = {"scores": {"mig": 0.2}, "provenance": {"images": images}}
        drawn.write_json(folder / "scores.json", scores)
        drawn.write_plan(["beta_vae"])
        plan = json.loads((drawn.folder / "study.json").read_text())
        plan["study"] |= {"preset": preset, "settings": ["trainer.snapshot_every = 7", *settings]}
        plan["study"]["variants"] = {"": list(variants)}
        drawn.write_json(drawn.folder / "study.json", plan)
        return read(drawn.folder)

    return write


def test_the_values_are_those_of_the_papers_table_1():
    table = table_1()
    assert table.loc["beta_tcvae"].tolist() == [0.392, 0.458, 0.132, 0.203, 0.646, 4.706]
    assert table.loc["dip_vae_ii", "factor_vae_metric"] == 0.584
    assert table[NORMALISED_SUM].tolist() == [4.706, 4.611, 4.599, 4.591, 4.351, 4.023]


def test_levels_are_comparable_where_the_settings_are_the_papers(study_as):
    comparison = compare(study_as())
    assert comparison.differing == []
    assert comparison.statement.startswith("Comparable: the levels")


@pytest.mark.parametrize(
    ("change", "name", "here"),
    [
        ({"dataset": "mpi3d_mini"}, "Data set", "mpi3d_mini, 460,800 images"),
        ({"images": 1_036_800}, "Data set", "mpi3d_toy, 1,036,800 images"),
        ({"steps": 100_000}, "Steps", "100,000"),
        ({"width": 0.25}, "Network width", "0.25"),
        ({"latents": 10}, "Latents", "10"),
        ({"preset": "authors"}, "Preset", "authors"),
        ({"settings": ["capacity.final = 9"]}, "Settings of its own", "capacity.final = 9"),
        ({"variants": ["beta_vae.beta = 9"]}, "Settings of its own", "beta_vae.beta = 9"),
    ],
)
def test_levels_are_not_comparable_where_a_setting_differs(study_as, change, name, here):
    comparison = compare(study_as(**change))
    assert comparison.differing == [name]
    assert "Not comparable: the level of any score" in comparison.statement
    assert f"differ in {name.lower()}." in comparison.statement
    assert "Comparable with care: the order of the methods" in comparison.statement
    assert here in {row[1] for row in comparison.rows}


def test_the_papers_single_runs_are_told(drawn):
    drawn.write(methods=("beta_vae", "vae"), seeds=(0, 1))
    (drawn.run("vae", 1) / "scores.json").unlink()
    rows = {name: (here, paper) for name, here, paper in compare(read(drawn.folder)).rows}
    assert rows["Runs of each method"] == ("1 to 2", "1")


def test_a_study_without_runs_is_compared_without_values(drawn):
    drawn.write_plan(["beta_vae"])
    assert compare(read(drawn.folder)).rows[0][1] == ""
