"""docs/settings.md lists what can be set, as the code has it."""

import gin
import pytest

from docs import settings
from evaluator.metrics import ALL_METRICS
from study import settings as study_settings
from submission.configuration import settings as bindable
from submission.installation import GIN_FOLDER


@pytest.fixture(autouse=True)
def no_configuration():
    yield
    gin.clear_config()


def test_the_page_is_what_the_code_says():
    """If this fails: .venv/bin/python -m docs.settings"""
    assert settings.PAGE.read_text() == settings.page()


def test_every_setting_has_a_line_with_a_meaning_and_a_default():
    lines = [line for line in settings.PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = {line.split("`")[1]: line.replace(r"\|", "").split("|")[1:-1] for line in lines}
    # Other tests, which may have run before, give gin functions of their own and the library's.
    groups = {
        one.name
        for _, one in gin.config._REGISTRY.items()
        if one.fn_or_cls.__module__.startswith(("submission.", "evaluator.", "study."))
    }
    wanted = {name for name in bindable() if name.split(".")[0] in groups}
    wanted |= {name for metric in ALL_METRICS.values() for name in metric.settings}
    assert cells.keys() == wanted
    assert all(cell.strip() for row in cells.values() for cell in row)


def test_the_choices_tell_of_each_line_of_the_authors_preset():
    preset = GIN_FOLDER / "presets/authors.gin"
    lines = [line for line in preset.read_text().splitlines() if " = " in line and line[0] != "#"]
    told = (settings.PAGE.parent / "choices.md").read_text()
    assert [line for line in lines if f"`{line}`" not in told] == []


def test_the_study_of_the_authors_code_has_each_line_of_their_preset():
    """But its length and the pre-training, which the study gives to all alike."""
    gin.clear_config()
    study = study_settings.read("authors", [])
    gin.clear_config()
    preset = (GIN_FOLDER / "presets/authors.gin").read_text().splitlines()
    lines = [line for line in preset if " = " in line and line[0] != "#"]
    apart = ("trainer.budget", "trainer.max_steps", "pretraining.")
    assert set(study.variants["code"]) == {line for line in lines if not line.startswith(apart)}
    alone = {line for settings in study.variants.values() for line in settings}
    assert alone == set(study.variants["code"])


def test_a_docstring_says_what_a_name_means():
    text = """Adds.

    Args:
        first: What is
            added to.
        second: What is added: a number.

    Returns:
        third: No argument.
    """
    text = "\n".join(line.removeprefix("    ") for line in text.splitlines())
    assert settings.meanings(text) == {
        "first": "What is added to.",
        "second": "What is added: a number.",
    }


@pytest.mark.parametrize(
    ("defaults", "told"),
    [
        ({(): 1}, "`1`"),
        ({("vae", "quick"): 1, ("vae", "paper"): 2}, "`1` (quick), `2` (paper)"),
        ({("quick",): 1, ("paper",): 2, ("challenge",): 2}, "`2`, `1` (quick)"),
        ({("vae", "quick"): gin.REQUIRED, ("beta_vae", "quick"): 2.0}, "`2.0`"),
    ],
)
def test_a_default_says_what_it_depends_on(defaults, told):
    assert settings._default(defaults) == told
