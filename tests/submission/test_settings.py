"""What `--gin` refuses before a training begins, each in one line that says what was meant."""

import inspect

import gin
import pytest
import torch

import submission.training.loop  # noqa: F401  (registers what can be configured)
from submission import objectives
from submission.configuration import configure, methods, read_by, reads_capacity, value_of
from submission.errors import UserError
from submission.networks import Posterior

WRONG = [
    # A value that can't be right, and what the line says of it.
    ("beta_tcvae.beta = '8'", "beta_tcvae.beta is '8': give a number, 0 or more"),
    ("beta_tcvae.beta = None", "beta_tcvae.beta is None"),
    ("beta_tcvae.beta = True", "beta_tcvae.beta is True"),
    ("beta_tcvae.beta = -1.0", "0 or more"),
    ("beta_tcvae.beta = 1e999", "beta_tcvae.beta is inf"),
    ("beta_tcvae.beta = nan", "nan"),
    ("network.latents = 0", "network.latents is 0: give a whole number, 1 or more"),
    ("network.latents = 10.0", "a whole number"),
    ("network.latents = True", "a whole number"),
    ("network.latents = 10**9", "network.latents"),
    ("network.width = 0", "above 0"),
    ("trainer.batch_size = 1", "2 or more"),
    ("trainer.batch_size = '64'", "a whole number"),
    ("trainer.max_steps = -5", "0 or more"),
    ("trainer.learning_rate = 0", "above 0"),
    ("trainer.learning_rate = 1e30", "at most 1"),
    ("trainer.adam_betas = (0.9,)", "a tuple of 2"),
    ("trainer.adam_betas = 0.9", "a tuple of 2"),
    ("trainer.adam_betas = (0.9, 1.0)", "below 1"),
    ("trainer.seed = -1", "0 or more"),
    ("trainer.seed = 4294967296", "at most 4,294,967,295"),
    ("trainer.budget = 300", "a duration such as 8h"),
    ("trainer.budget = '0'", "above 0"),
    ("trainer.budget = '5 minutes'", "trainer.budget is '5 minutes': give a duration"),
    ("trainer.checkpoint_every = 30", "a duration such as 8h"),
    ("trainer.checkpoint_every = None", "a duration such as 8h"),
    ("trainer.log_every = 0", "1 or more"),
    ("trainer.snapshot_every = 0", "1 or more"),
    ("pretraining.steps = -1", "0 or more"),
    ("pretraining.share = 1.5", "at most 1"),
    ("capacity.share = 0", "above 0"),
    ("plateau.factor = 1.0", "below 1"),
    ("plateau.threshold = 1.0", "below 1"),
    ("epoch.repeats = 1", "True or False"),
    ("info_vae.prior_samples = 10**6", "info_vae.prior_samples"),
    ("width.candidates = 0.5", "a tuple"),
    ("width.candidates = (1.0, 'half')", "a tuple"),
    ("speed.compile = 1", "True or False"),
    ("speed.compile_from = 3600", "a duration such as 8h"),
    ("scoring.every = 600", "a duration such as 8h"),
    ("scoring.share = 0", "above 0"),
    ("scoring.settings = ('dci.num_tran = 9',)", "did you mean dci.num_train?"),
    ("scoring.settings = ('beta_vae.beta = 9',)", "unknown setting beta_vae.beta"),
    ("scoring.settings = ('dci.num_train',)", "write it as 'dci.num_train = 10000'"),
    ("scoring.settings = ('dci.num_train = many',)", "write it as 'dci.num_train = 10000'"),
    ("scoring.settings = (9,)", "texts such as"),
    ("trainer.objective = 'beta_vae'", "with @ before it"),
    ("trainer.objective = @plateau", "with @ before it"),
    ("trainer.objective = @vae()", "write @vae"),
    ("pretraining.objective = None", "with @ before it"),
    # What would be recorded and change nothing.
    ("train/beta_tcvae.beta = 8.0", "the scope train/: write beta_tcvae.beta alone"),
    ("trainer.objective = @train/beta_tcvae", "write @beta_tcvae"),
    ("beta_vae.beta = 8.0", "did you mean beta_tcvae.beta or --method beta_vae?"),
    ("factor_vae.gamma = 8.0", "did you mean --method factor_vae?"),
    ("info_vae.prior_samples = 1000", "did you mean --method info_vae?"),
    ("trainer.constant_second_batch = True", "unless trainer.discriminator is set"),
    ("discriminator.units = 10", "did you mean --method factor_vae?"),
    ("trainer.discriminator_learning_rate = 1e-3", "unless trainer.discriminator is set"),
    ("trainer.discriminator = @discriminator", "beta_tcvae has no use for a discriminator"),
    ("trainer.objective = @factor_vae", "did you mean --method factor_vae?"),
    ("beta_tcvae.forward = 3", "unknown setting beta_tcvae.forward"),
    ("width.wanted_steps = 10", "unless width.candidates is set"),
    ("scoring.share = 0.5", "unless scoring.every is set"),
    # What gin has and isn't read here.
    ("beta_tcvae.beta = %B", "macros such as %B"),
    ("B = 8", "unknown setting B"),
    # An objective without what it needs.
    ("pretraining.objective = @beta_vae", "needs beta_vae.beta"),
    ("pretraining.objective = @factor_vae\nfactor_vae.gamma = 1.0", "needs a discriminator"),
]


@pytest.mark.parametrize(("binding", "words"), WRONG)
def test_a_setting_that_cannot_be_right_is_refused_in_one_line(binding, words):
    with pytest.raises(UserError) as caught:
        configure("beta_tcvae", "challenge", [binding])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_width_that_measuring_would_replace_is_refused():
    with pytest.raises(UserError, match=r"network.width has no effect with width.candidates"):
        configure("beta_tcvae", "quick", ["network.width = 0.25"])
    configure("beta_tcvae", "quick", ["network.width = 0.25", "width.candidates = ()"])
    assert value_of("network.width") == 0.25


@pytest.mark.parametrize(
    "setting", ["final = 30.0", "steps = 9", "share = 0.5", "of_batch_mean = True"]
)
def test_a_capacity_that_no_loss_of_the_run_reads_is_refused(setting):
    with pytest.raises(
        UserError, match=r"capacity\.\w+ has no effect with --method vae, whose loss"
    ):
        configure("vae", "challenge", [f"capacity.{setting}"])
    pretraining = ["pretraining.objective = @beta_vae", "beta_vae.beta = 2.0"]
    configure("vae", "challenge", [f"capacity.{setting}", *pretraining])


@pytest.mark.parametrize("method", methods())
def test_a_loss_is_known_to_read_the_capacity_if_it_changes_with_it(method):
    function = getattr(objectives, method)
    parameters = inspect.signature(function).parameters
    weights = {name: 0.5 for name, one in parameters.items() if one.default is gin.REQUIRED}
    posterior = Posterior(torch.zeros(2, 3), torch.zeros(2, 3))

    def loss(capacity: float) -> float:
        forward = objectives.ForwardPass(
            posterior, torch.zeros(2, 3), torch.zeros(()), capacity, lambda latents: latents[:, :2]
        )
        return float(function(forward, **weights)[0])

    assert reads_capacity(function) == (loss(1.0) != loss(2.0))


def test_factor_vae_keeps_its_discriminator():
    with pytest.raises(UserError, match="--method factor_vae needs a discriminator"):
        configure("factor_vae", "challenge", ["trainer.discriminator = None"])


@pytest.mark.parametrize(
    "binding",
    [
        "beta_vae.beta = 4",
        "trainer.objective = @beta_vae",
        "trainer.adam_betas = [0.5, 0.9]",
        "trainer.snapshot_every = None",
        "trainer.checkpoint_every = '0s'",
        "trainer.seed = 4294967295",
        "capacity.share = None",
        "width.candidates = (0.25, 1)",
        "scoring.every = '10m'\nscoring.settings = ('irs.diff_quantile = 1', 'dci.num_test = 50')",
        "pretraining.objective = @beta_tcvae\nbeta_tcvae.beta = 3.0",
    ],
)
def test_a_right_setting_is_let_pass(binding):
    configure("beta_vae", "challenge", [binding])


def test_the_settings_of_what_pre_trains_are_read():
    settings = ["beta_tcvae.beta = 3.0", "pretraining.objective = @beta_tcvae"]
    configure("beta_vae", "challenge", settings)
    with pytest.raises(UserError, match=r"beta_tcvae\.beta has no effect"):
        configure("beta_vae", "challenge", [*settings[:1], "pretraining.steps = 0"])


def test_of_settings_for_several_methods_each_reads_its_own():
    bindings = ["beta_vae.beta = 3.0", "capacity.steps = 9", "network.latents = 10"]
    assert read_by("beta_vae", "challenge", bindings) == tuple(bindings)
    assert read_by("beta_tcvae", "challenge", bindings) == tuple(bindings[1:])
    assert read_by("vae", "challenge", bindings) == (bindings[2],)


def test_a_file_comes_before_the_command_line(tmp_path):
    path = tmp_path / "mine.gin"
    path.write_text("# mine\nbeta_vae.beta = 3.0\nnetwork.latents = 10\n")
    configure("beta_vae", "challenge", ["beta_vae.beta = 5.0"], [path])
    assert (value_of("beta_vae.beta"), value_of("network.latents")) == (5.0, 10)


def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path):
    path = tmp_path / "mine.gin"
    path.write_text("network.latents = 10\n\nbeta_vae.beta = -3.0\n")
    with pytest.raises(UserError, match=r"mine.gin, line 3: beta_vae.beta is -3.0: give a number"):
        configure("beta_vae", "challenge", [], [path])


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_is_none_is_told(tmp_path, content):
    path = tmp_path / "mine.gin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"--gin-file .*mine.gin can't be read"):
        configure("beta_vae", "challenge", [], [path])
