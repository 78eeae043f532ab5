"""Ranges as a user writes them, and the ranges that a method has by itself."""

import math

import gin
import optuna
import pytest

from study.tune.search_space import DEFAULTS, Range, check, parse
from submission import configuration
from submission.errors import UserError
from submission.training import loop  # noqa: F401  (registers what can be set)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("beta_vae.beta = log(0.5, 20)", Range("beta_vae.beta", "log", (0.5, 20.0))),
        ("info_vae.alpha=float(-1, 1)", Range("info_vae.alpha", "float", (-1.0, 1.0))),
        ("network.latents = int(5, 30)", Range("network.latents", "int", (5, 30))),
        (
            "capacity.share = choice(None, 0.5)",
            Range("capacity.share", "choice", (None, 0.5)),
        ),
    ],
)
def test_a_range_is_read_and_written(text, expected):
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("beta_vae.beta", "write it as"),
        ("beta_vae.beta = 4", "write it as"),
        ("beta_vae.beta = uniform(1, 2)", "write it as"),
        ("beta_vae.beta = log(1, 2", "write it as"),
        ("beta_vae.beta = log(low=1, high=2)", "write it as"),
        ("beta_vae.beta = log(1, x)", "write it as"),
        ("= log(1, 2)", "write it as"),
        ("beta_vae.beta = log(1)", "two numbers, the lower one first"),
        ("beta_vae.beta = log(20, 1)", "two numbers, the lower one first"),
        ("beta_vae.beta = float(1, 1e999)", "two numbers, the lower one first"),
        ("beta_vae.beta = float(False, True)", "two numbers, the lower one first"),
        ("beta_vae.beta = log(0, 1)", "above 0"),
        ("network.latents = int(1.0, 2.0)", "two whole numbers"),
        ("network.latents = choice(10)", "two or more different"),
        ("network.latents = choice(10, 10)", "two or more different"),
        ("network.latents = choice((1,), (2,))", "two or more different"),
    ],
)
def test_another_way_of_writing_is_told(text, fragment):
    with pytest.raises(UserError, match="--search") as error:
        parse(text)
    assert fragment in str(error.value)


@pytest.mark.parametrize(
    ("texts", "fragment"),
    [
        (["beta_vae.bta = log(1, 2)"], "did you mean beta_vae.beta?"),
        (["beta_vae.beta = log(1, 2)", "beta_vae.beta = log(1, 3)"], "given twice"),
        (["trainer.seed = int(1, 2)"], "trainer.seed is no setting to search"),
        (["network.latents = log(5, 20)"], "network.latents is a whole number: use int"),
        (["study.threads = int(1, 2)"], "unknown setting study.threads"),
        (
            ["beta_tcvae.beta = log(1, 2)"],
            "no effect with --method beta_vae: did you mean beta_vae.beta",
        ),
        (["network.latents = int(0, 5)"], "network.latents is a whole number, 1 or more"),
    ],
)
def test_a_range_of_what_cannot_be_searched_is_told(texts, fragment):
    configuration.configure("beta_vae", "quick", [])
    with pytest.raises(UserError) as error:
        check([parse(text) for text in texts], fixed=["trainer.seed"])
    assert fragment in str(error.value)


@pytest.mark.parametrize("method", sorted(set(configuration.methods()) - {"vae"}))
def test_each_method_has_ranges_that_hold_the_papers_values(method):
    configuration.configure(method, "paper", [])
    space = [parse(text) for text in DEFAULTS[method]]
    check(space, fixed=())
    assert any(one.setting.startswith(f"{method}.") for one in space)
    for one in space:
        low, high = one.values
        assert low <= gin.query_parameter(one.setting) <= high


def drawn(text: str, count: int = 400) -> list:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [parse(text).suggest(study.ask()) for _ in range(count)]


def test_log_draws_as_often_below_the_geometric_mean_as_above():
    values = drawn("beta_vae.beta = log(1, 100)")
    assert sum(value < 10 for value in values) == pytest.approx(200, abs=40)
    assert min(values) >= 1 and max(values) <= 100


def test_float_draws_as_often_below_the_mean_as_above():
    values = drawn("beta_vae.beta = float(1, 100)")
    assert sum(value < 50.5 for value in values) == pytest.approx(200, abs=40)


def test_a_real_number_has_four_digits():
    for value in drawn("beta_vae.beta = log(1e-5, 1)"):
        assert value == float(f"{value:.3e}")


def test_rounding_does_not_leave_the_bounds():
    """To four digits, both are 1.235."""
    assert set(drawn("beta_vae.beta = float(1.23456, 1.23457)")) == {1.23457}


def test_int_and_choice_draw_everything_there_is():
    assert set(drawn("network.latents = int(5, 8)")) == {5, 6, 7, 8}
    assert set(drawn("capacity.share = choice(None, 0.5, 'x')")) == {None, 0.5, "x"}


def test_a_trial_that_has_a_value_keeps_it():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    value = parse("x.y = float(0, 1)").suggest(trial)
    assert math.isclose(parse("x.y = float(0, 1)").suggest(trial), value)
