"""What a score is worth nothing below, as pages read it."""

import json

import pytest

from evaluator.report import baselines
from evaluator.report.baselines import Band, band

MEASURED = {"metrics": {"mig": {"2": [0.0, 0.1], "10": [0.01, 0.05], "50": [0.0, 0.2]}}}


@pytest.fixture(autouse=True)
def measured(tmp_path, monkeypatch):
    (tmp_path / "squares.json").write_text(json.dumps(MEASURED))
    monkeypatch.setattr(baselines, "FOLDER", tmp_path)


@pytest.mark.parametrize(("latents", "nearest"), [(1, 2), (10, 10), (20, 10), (30, 50), (400, 50)])
def test_a_band_is_that_of_the_nearest_number_of_latents_measured(latents, nearest):
    found = band("squares", "mig", latents)
    assert found == Band(*MEASURED["metrics"]["mig"][str(nearest)], nearest)


def test_what_was_not_measured_has_none():
    assert band("circles", "mig", 10) is None
    assert band("squares", "dci", 10) is None
    for unknown in (None, "10", 0, True):
        assert band("squares", "mig", unknown) is None


def test_a_band_in_words():
    assert str(Band(0.004, 0.161, 10)) == "0.00 to 0.16"
