"""The lists of the README are whole."""

import re
from pathlib import Path

import gin
import pytest

from submission.configuration import configure, methods, presets
from submission.datasets.catalogue import CATALOGUE
from submission.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture(autouse=True)
def no_configuration():
    yield
    gin.clear_config()


@pytest.mark.parametrize("preset", presets())
def test_the_readme_and_the_help_tell_each_preset_and_its_budget(preset):
    configure("vae", preset, [])
    budget = Recipe().budget
    assert re.search(rf"^\| `{preset}`[^|]*\| {budget} \|", README, re.MULTILINE)
    assert f"{preset} ({budget})" in (ROOT / "run.sh").read_text()


@pytest.mark.parametrize("name", [*methods(), *CATALOGUE])
def test_the_readme_names_each_method_and_each_data_set(name):
    assert f"`{name}`" in README
