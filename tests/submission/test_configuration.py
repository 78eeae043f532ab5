import gin
import pytest

import submission.training.loop  # noqa: F401  (registers what can be configured)
from submission.configuration import configure, methods, presets
from submission.errors import UserError
from submission.training.recipe import Pretraining, Recipe


@pytest.fixture(autouse=True)
def clear():
    yield
    gin.clear_config()


def test_the_six_methods_and_the_vae_have_a_file():
    six = ["beta_tcvae", "beta_vae", "dip_vae_i", "dip_vae_ii", "factor_vae", "info_vae"]
    assert methods() == [*six, "vae"]


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize("preset", presets())
def test_every_method_and_preset_can_be_read(method, preset):
    configure(method, preset, [])
    assert Recipe().objective.__name__ == method
    assert Pretraining().objective.__name__ == "vae"


@pytest.mark.parametrize("preset", ["challenge", "paper"])
def test_table_2_is_the_default(preset):
    configure("beta_tcvae", preset, [])
    values = {
        "trainer.batch_size": 64,
        "trainer.learning_rate": 1e-3,
        "trainer.adam_betas": (0.9, 0.999),
        "network.latents": 20,
        "network.width": 1.0,
        "capacity.final": 25.0,
        "capacity.steps": 2000,
        "plateau.factor": 0.95,
        "plateau.minimum": 1e-4,
        "beta_tcvae.beta": 2.0,
    }
    assert {name: gin.query_parameter(name) for name in values} == values


def test_the_authors_steps_are_13_epochs_of_the_challenges_images():
    """The first multiple of an epoch's steps above 90,000."""
    configure("vae", "authors", [])
    epoch = 460_800 // Recipe().batch_size
    assert Recipe().max_steps == 13 * epoch == (90_000 // epoch + 1) * epoch


def test_steps_are_100k_on_the_portal_and_200k_in_the_paper():
    steps = []
    for preset in ("challenge", "paper"):
        configure("vae", preset, [])
        steps.append(Recipe().max_steps)
    assert steps == [100_000, 200_000]


def test_a_binding_of_the_command_line_wins():
    configure("beta_vae", "quick", ["beta_vae.beta = 6.0", "beta_vae.beta = 7.0"])
    assert gin.query_parameter("beta_vae.beta") == 7.0


@pytest.mark.parametrize(
    ("binding", "hint"),
    [
        ("beta_vae.betta = 4", "did you mean beta_vae.beta?"),
        ("beta_va.beta = 4", "did you mean beta_vae.beta?"),
        ("trainer.batchsize = 4", "did you mean trainer.batch_size?"),
        ("network.latent = 4", "did you mean network.latents?"),
        ("beta = 4", "unknown setting beta"),
        ("beta_vae.beta 4", "beta_vae.beta 4"),
        ("beta_vae.beta = four", "beta_vae.beta = four"),
        ("beta_vae.beta = (4,", "beta_vae.beta = (4,"),
        ("import os", "only bindings"),
        ("trainer.objective = @beta_tcva", "beta_tcva"),
    ],
)
def test_a_wrong_binding_is_one_line_with_the_nearest_valid_name(binding, hint):
    with pytest.raises(UserError) as error:
        configure("beta_vae", "quick", [binding])
    assert hint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_misspelt_method_names_the_nearest():
    with pytest.raises(UserError, match="did you mean beta_tcvae"):
        configure("beta_tcva", "quick", [])


def test_a_misspelt_preset_names_the_nearest():
    with pytest.raises(UserError, match="did you mean quick"):
        configure("vae", "quik", [])
