"""The trainer on a small data set: real networks, real files, real exceptions."""

import csv
import json
import math
import time
from dataclasses import replace

import gin
import numpy as np
import pytest
import torch

from submission import objectives
from submission.configuration import configure, read_by
from submission.datasets import load
from submission.errors import UserError
from submission.runs.folder import RunFolder
from submission.runs.record import dataset_of
from submission.training import checkpoint
from submission.training.execution import Execution
from submission.training.plan import replanned
from submission.training.recipe import TRAINING
from submission.training.setup import Request, Setup, pretraining_settings
from submission.training.state import CHECKPOINT
from submission.training.step import Learner

STEPS = ["trainer.max_steps = 30", "pretraining.steps = 10"]


def model_bytes(folder) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in torch.jit.load(str(folder.model)).state_dict().items()}


def assert_same_model(first, second):
    first, second = model_bytes(first), model_bytes(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@gin.configurable
def fails_at_step(forward, step=20, kind="exception") -> tuple[torch.Tensor, objectives.Terms]:
    """The VAE's objective, until it breaks at a given step of its own counting."""
    fails_at_step.calls += 1
    if fails_at_step.calls > step:
        if kind == "exception":
            raise RuntimeError("the objective broke")
        return forward.reconstruction * float("nan"), {}
    return objectives.vae(forward)


@gin.configurable
def interrupts_at_step(forward, step=20) -> tuple[torch.Tensor, objectives.Terms]:
    """The VAE's objective, which wishes for an end at a given step, as a signal does."""
    interrupts_at_step.calls += 1
    if interrupts_at_step.calls == step:
        interrupts_at_step.interruption.reason = "SIGTERM"
    return objectives.vae(forward)


@gin.configurable
def slow_at_first(forward, steps=3, seconds=0.5) -> tuple[torch.Tensor, objectives.Terms]:
    """The VAE's objective, on a machine that is busy for its first steps."""
    slow_at_first.calls += 1
    if slow_at_first.calls <= steps:
        time.sleep(seconds)
    return objectives.vae(forward)


def test_a_run_leaves_everything_that_the_report_reads(trial):
    record = trial(*STEPS)
    folder = trial.folder()
    assert record.status == "finished"
    assert (record.steps, record.pretraining_steps) == (30, 10)
    assert json.loads(folder.record.read_text())["status"] == "finished"
    assert len(record.kl_per_latent) == len(record.posterior_std_per_latent) == 20
    assert len(record.posterior_mean_variance_per_latent) == 20
    rows = list(csv.DictReader(folder.history.open()))
    assert {row["phase"] for row in rows} == {"pretraining", "training"}
    assert rows[-1]["step"] == "30"
    assert math.isfinite(float(rows[-1]["total_correlation"]))
    assert torch.jit.load(str(folder.model))(torch.rand(2, 3, 64, 64)).shape == (2, 20)


def test_the_record_of_a_run_on_ones_own_images_tells_where_they_are(trial, squares, tmp_path):
    path = tmp_path / "my squares.npz"
    np.savez(path, images=squares.images)
    own = type(trial)(load(str(path)), tmp_path)
    record = own("trainer.max_steps = 1", "pretraining.steps = 0")
    assert (record.dataset, record.dataset_path) == ("my squares", str(path))
    assert dataset_of(vars(record)) == str(path)


@pytest.mark.parametrize(
    "method", ["beta_vae", "beta_tcvae", "factor_vae", "dip_vae_i", "dip_vae_ii", "info_vae", "vae"]
)
def test_every_method_reconstructs_what_the_mean_image_cannot(arms_trial, method):
    """A decoder that ignores the latents does no better than the mean image."""
    settings = ["pretraining.steps = 400", "trainer.max_steps = 60"]
    if method == "factor_vae":
        settings.append("discriminator.units = 32")
    larger = ["network.width = 0.25", "trainer.batch_size = 16"]
    arms_trial(*settings, *larger, "trainer.learning_rate = 2e-3", method=method, name=method)
    images = arms_trial.dataset.images / 255.0
    mean = images.mean(axis=0)
    blind = -(images * np.log(mean) + (1 - images) * np.log(1 - mean)).sum(axis=(1, 2, 3)).mean()
    rows = list(csv.DictReader(arms_trial.folder(method).history.open()))
    assert np.mean([float(row["reconstruction"]) for row in rows[-8:]]) < blind - 2.0


def test_equal_seeds_give_equal_models_and_other_seeds_others(trial):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trial(*STEPS, f"trainer.seed = {seed}", "pretraining.steps = 0", name=name)
    assert_same_model(trial.folder("a"), trial.folder("b"))
    with pytest.raises(AssertionError):
        assert_same_model(trial.folder("a"), trial.folder("c"))


def test_snapshots_are_kept_from_the_first_step_on(trial):
    trial(*STEPS, "trainer.snapshot_every = 15")
    snapshots = trial.folder().snapshots
    assert sorted(path.name for path in snapshots.iterdir()) == ["0", "15", "30"]
    assert_same_model(trial.folder(), RunFolder(snapshots / "30"))
    with pytest.raises(AssertionError):
        assert_same_model(trial.folder(), RunFolder(snapshots / "15"))


def test_without_training_steps_the_pre_trained_weights_are_what_is_left(trial):
    record = trial("pretraining.steps = 10", "trainer.max_steps = 0", method="vae")
    assert (record.status, record.steps, record.pretraining_steps) == ("finished", 0, 10)
    assert trial(*STEPS, name="other").pretraining_cached


@pytest.mark.parametrize("at_step", [4, 25])
def test_an_interrupted_run_resumes_to_the_bit_identical_model(trial, at_step):
    """At step 4 pre-training is interrupted, at step 25 training."""
    settings = [
        *STEPS,
        "trainer.objective = @interrupts_at_step",
        "pretraining.objective = @interrupts_at_step",
    ]
    interrupts_at_step.interruption = trial.interruption
    measured = 5
    settings.append(f"interrupts_at_step.step = {at_step + measured}")
    interrupts_at_step.calls = 10**6
    trial(*settings, name="whole")
    for cached in (trial.root / "pretrained").iterdir():
        cached.unlink()

    interrupts_at_step.calls = 0
    record = trial(*settings, name="killed")
    assert record.status == "interrupted"
    assert trial.folder("killed").checkpoint.exists()
    trial.interruption.reason = None
    record = trial(*settings, name="killed")
    assert record.status == "finished"
    assert record.steps == 30
    assert_same_model(trial.folder("whole"), trial.folder("killed"))
    histories = [
        [row["loss"] for row in csv.DictReader(trial.folder(name).history.open())]
        for name in ("whole", "killed")
    ]
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    ("method", "settings"), [("factor_vae", ["discriminator.units = 16"]), ("info_vae", [])]
)
def test_an_interrupted_run_of_the_authors_settings_resumes_to_the_same_model(
    trial, method, settings
):
    """Draws with replacement, draws of the prior, the discriminator's constant batch."""
    settings = ["trainer.max_steps = 20", *settings]
    trial(*settings, method=method, preset="authors", name="whole")
    show = trial.display.update

    def interrupt(phase: str, fraction: float, details: str) -> None:
        show(phase, fraction, details)
        if details.startswith("step 10/"):
            trial.interruption.reason = "SIGTERM"

    trial.display.update = interrupt
    record = trial(*settings, method=method, preset="authors", name="killed")
    assert (record.status, record.steps) == ("interrupted", 10)
    trial.interruption.reason, trial.display.update = None, show
    record = trial(*settings, method=method, preset="authors", name="killed")
    assert (record.status, record.steps) == ("finished", 20)
    assert_same_model(trial.folder("whole"), trial.folder("killed"))


def test_the_authors_second_batch_is_the_first_of_every_epoch(trial, squares):
    configure("factor_vae", "authors", ["network.width = 0.125", "trainer.batch_size = 8"])
    request = Request(
        "run", "factor_vae", "authors", squares, trial.folder(), trial.root, torch.device("cpu")
    )
    setup = Setup(request)
    batches, second_batches = setup.batches(TRAINING), setup.second_batches()
    for step in (0, 5, 6 * 7):
        assert torch.equal(second_batches(step), batches(0))
    assert torch.equal(batches(6 * 7), batches(0))


def test_pretrained_weights_are_shared_by_the_methods(trial):
    first = trial(*STEPS, method="beta_vae", name="a")
    second = trial(*STEPS, method="dip_vae_i", name="b")
    assert (first.pretraining_cached, second.pretraining_cached) == (False, True)
    assert second.pretraining_steps == 10


def test_other_pretraining_settings_have_their_own_weights(trial):
    trial(*STEPS, name="a")
    assert not trial(*STEPS, "network.latents = 5", name="b").pretraining_cached


@pytest.mark.parametrize(
    "setting",
    [
        "beta_vae.beta = 8.0",
        "capacity.final = 5.0",
        "speed.bfloat16 = True",
        "pretraining.steps = 11",
        "trainer.batch_size = 4",
    ],
)
def test_whatever_pretraining_reads_tells_its_weights_apart(setting):
    settings = ["pretraining.objective = @beta_vae", "beta_vae.beta = 2.0"]
    configure("beta_tcvae", "challenge", settings)
    before = pretraining_settings()
    # Under another objective, nothing reads beta_vae.beta.
    read_by("beta_tcvae", "challenge", [*settings, setting])
    assert pretraining_settings() != before


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ("vae", "trainer.max_steps = 7"),
        ("beta_vae", "capacity.final = 5.0"),
        ("beta_tcvae", "beta_tcvae.beta = 8.0"),
        ("dip_vae_i", "dip_vae_i.lambda_d = 8.0"),
        ("factor_vae", "discriminator.units = 32"),
        ("factor_vae", "trainer.discriminator_learning_rate = 1e-3"),
        ("info_vae", "trainer.seed = 0"),
        ("beta_vae", "scoring.every = '1m'"),
    ],
)
def test_neither_the_method_nor_what_it_alone_reads_tells_pretrained_weights_apart(method, setting):
    configure("beta_tcvae", "challenge", [])
    before = pretraining_settings()
    configure(method, "challenge", [setting])
    assert pretraining_settings() == before


def test_pretraining_by_an_objective_with_another_weight_is_done_anew(trial):
    settings = [*STEPS, "pretraining.objective = @beta_vae"]
    trial(*settings, "beta_vae.beta = 2.0", name="a")
    assert not trial(*settings, "beta_vae.beta = 8.0", name="b").pretraining_cached
    assert trial(*settings, "beta_vae.beta = 8.0", name="c").pretraining_cached


def test_networks_of_another_measured_width_have_their_own_pretrained_weights(trial):
    settings = [*STEPS, "width.wanted_steps = 1"]
    for width in ("0.25", "0.125"):
        record = trial(*settings, f"width.candidates = ({width},)", name=width, preset="quick")
        assert (record.width, record.pretraining_cached) == (float(width), False)


def test_cached_and_fresh_pretraining_lead_to_the_same_model(trial):
    trial(*STEPS, name="fresh")
    trial(*STEPS, name="cached")
    assert_same_model(trial.folder("fresh"), trial.folder("cached"))


def test_an_exception_exports_what_was_learnt_and_is_raised(trial):
    fails_at_step.calls = 0
    with pytest.raises(RuntimeError, match="the objective broke"):
        trial(*STEPS, "pretraining.steps = 0", "trainer.objective = @fails_at_step")
    record = json.loads(trial.folder().record.read_text())
    assert record["status"] == "failed"
    assert "the objective broke" in record["message"]
    # Two of the objective's twenty calls checked the form, three measured the speed.
    assert record["steps"] == 20 - 2 - 3
    assert torch.jit.load(str(trial.folder().model))(torch.rand(1, 3, 64, 64)).isfinite().all()


def test_a_loss_that_stays_non_finite_ends_the_run_with_the_last_good_model(trial):
    fails_at_step.calls = 0
    settings = ["trainer.max_steps = 1000", "pretraining.steps = 0"]
    broken = ["trainer.objective = @fails_at_step", "fails_at_step.kind = 'nan'"]
    with pytest.raises(FloatingPointError, match="100 steps in a row"):
        trial(*settings, *broken)
    record = json.loads(trial.folder().record.read_text())
    assert record["status"] == "failed"
    assert record["nonfinite_steps"] >= 100
    assert torch.jit.load(str(trial.folder().model))(torch.rand(1, 3, 64, 64)).isfinite().all()


def test_weights_that_overflow_leave_the_last_representation_and_a_record_that_says_so(
    trial, monkeypatch
):
    # No learning rate that is let pass makes weights overflow so soon.
    monkeypatch.setattr("submission.configuration.fits", lambda value, kind: True)
    with pytest.raises(FloatingPointError):
        trial("trainer.max_steps = 300", "pretraining.steps = 0", "trainer.learning_rate = 1e30")
    record = json.loads(trial.folder().record.read_text())
    assert record["status"] == "failed"
    assert any("that of the last export" in warning for warning in record["warnings"])
    assert torch.jit.load(str(trial.folder().model))(torch.rand(2, 3, 64, 64)).isfinite().all()


def test_a_run_fails_with_its_record_on_a_device_that_gives_nothing_any_more(trial, monkeypatch):
    def dies(*_):
        # From here on nothing can be read from it.
        monkeypatch.setattr("submission.training.outputs.export", dies)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Learner, "step", dies)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trial("trainer.max_steps = 2")
    record = json.loads(trial.folder().record.read_text())
    assert record["status"] == "failed"
    assert "illegal memory access" in record["message"]
    assert any("that of the last export" in warning for warning in record["warnings"])
    assert torch.jit.load(str(trial.folder().model))(torch.rand(2, 3, 64, 64)).isfinite().all()


def test_a_resumed_runs_first_steps_which_may_compile_are_not_taken_for_its_speed(
    trial, monkeypatch
):
    seen = []

    def listening(plan, setup, step, most, seconds, left):
        seen.append((step, seconds is None))
        return replanned(plan, setup, step, most, seconds, left)

    monkeypatch.setattr("submission.training.loop.replanned", listening)
    interrupts_at_step.calls = 0
    interrupts_at_step.interruption = trial.interruption
    settings = [
        *("pretraining.steps = 0", "trainer.log_every = 10", "trainer.max_steps = 50"),
        *("trainer.objective = @interrupts_at_step", "interrupts_at_step.step = 25"),
    ]
    assert trial(*settings).status == "interrupted"
    trial.interruption.reason = None
    assert trial(*settings).status == "finished"
    resumed = seen.index((30, True))
    assert seen[:resumed] == [(1, True), (10, True), (20, False)]
    assert seen[resumed:] == [(30, True), (40, False), (50, False)]


def test_statistics_that_overflow_are_unknown_in_the_record(trial, monkeypatch):
    """JSON has no infinity; the run must not end for want of a number to write."""
    overflow = torch.tensor([[1e38, 0.0], [-1e38, 0.0]])
    monkeypatch.setattr("submission.training.outputs.kl_to_prior", lambda _: overflow.square())
    assert trial(*STEPS).status == "finished"
    record = json.loads(trial.folder().record.read_text())
    assert record["kl_per_latent"] == []
    assert len(record["posterior_std_per_latent"]) == 20


def test_a_budget_too_short_for_one_step_exports_an_untrained_model_with_a_warning(trial):
    record = trial("trainer.budget = '0.01s'")
    assert record.status == "untrained"
    assert "untrained" in record.warnings[0]
    assert torch.jit.load(str(trial.folder().model))(torch.rand(1, 3, 64, 64)).shape == (1, 20)


def test_training_ends_inside_its_budget(trial):
    record = trial("trainer.budget = '6s'", "pretraining.steps = 5")
    assert record.status == "finished"
    assert record.steps > 0
    assert record.seconds_spent <= 6.0


def test_a_plan_too_short_for_the_capacity_is_told(trial):
    record = trial(*STEPS)
    assert any("capacity" in warning for warning in record.warnings)


def test_the_quick_preset_shortens_the_capacity_schedule_to_the_plan(trial):
    settings = [*STEPS, "trainer.max_steps = 40", "width.candidates = ()", "network.width = 0.125"]
    record = trial(*settings, preset="quick")
    assert record.warnings == []
    rows = [r for r in csv.DictReader(trial.folder().history.open()) if r["phase"] == TRAINING]
    assert float(rows[-1]["capacity"]) == 25.0


def test_the_capacity_never_falls_when_the_plan_grows_nor_when_the_run_resumes(trial, monkeypatch):
    """At step 20, by when the capacity has almost its final value, the plan grows to 100 steps."""
    monkeypatch.setattr(
        "submission.training.loop.replanned",
        lambda plan, setup, step, *_: replace(plan, steps=40 if step < 20 else 100),
    )
    interrupts_at_step.calls = 0
    interrupts_at_step.interruption = trial.interruption
    settings = [
        *("pretraining.steps = 0", "width.candidates = ()", "network.width = 0.125"),
        *("trainer.log_every = 1", "trainer.max_steps = 52"),
        *("trainer.objective = @interrupts_at_step", "interrupts_at_step.step = 30"),
    ]
    assert trial(*settings, preset="quick").status == "interrupted"
    trial.interruption.reason = None
    assert trial(*settings, preset="quick").status == "finished"
    rows = list(csv.DictReader(trial.folder().history.open()))
    capacities = [float(row["capacity"]) for row in rows]
    assert max(capacities[:20]) > 20.0
    assert capacities == sorted(capacities)
    assert capacities[-1] == 25.0


def test_pretraining_is_planned_anew_once_the_machine_is_no_longer_busy(trial):
    """By the first steps, of half a second each, its share of the time affords about ten."""
    slow_at_first.calls = 0
    record = trial(
        *("trainer.objective = @slow_at_first", "trainer.max_steps = 3"),
        *("trainer.budget = '60s'", "pretraining.share = 0.1", "pretraining.steps = 40"),
    )
    assert record.pretraining_steps == 40


def test_the_quick_preset_chooses_the_width_by_measuring(trial):
    settings = [
        *("trainer.budget = '60s'", "trainer.max_steps = 5", "pretraining.steps = 0"),
        *("width.candidates = (0.5, 0.125)", "width.wanted_steps = 100000"),
    ]
    assert trial(*settings, preset="quick").width == 0.125


def test_the_form_of_a_step_is_measured_told_and_kept(trial, capsys):
    trial(*STEPS, "speed.measure = True", "speed.compile = False")
    record = json.loads(trial.folder().record.read_text())
    chosen = str(Execution(**record["form"]))
    assert f"chosen: {chosen}" in capsys.readouterr().out


def test_without_measuring_the_first_form_is_used(trial):
    assert Execution(**trial(*STEPS).form) == Execution(phases=True)


def test_a_finished_run_of_the_same_name_is_kept(trial):
    trial(*STEPS, method="beta_vae")
    trial(*STEPS, method="dip_vae_i")
    kept = json.loads((trial.root / "run.1" / "training" / "run.json").read_text())
    assert kept["method"] == "beta_vae"
    assert json.loads(trial.folder().record.read_text())["method"] == "dip_vae_i"


def test_a_run_whose_record_is_broken_is_kept(trial):
    trial(*STEPS)
    trial.folder().record.write_text("{")
    assert trial(*STEPS).status == "finished"
    assert (trial.root / "run.1" / "training" / "run.json").read_text() == "{"
    assert (trial.root / "run.1" / "representation" / "pytorch_model.pt").exists()


@pytest.fixture
def killed(trial):
    """A run that was killed at step 25, and the settings to go on with."""
    settings = [*STEPS, "trainer.objective = @interrupts_at_step", "interrupts_at_step.step = 25"]
    interrupts_at_step.interruption = trial.interruption
    interrupts_at_step.calls = 0
    assert trial(*settings).status == "interrupted"
    trial.interruption.reason = None
    return settings


def assert_begun_anew(trial, settings: list[str], capsys, why: str) -> None:
    """The run of before is kept, and the new one owes nothing to it."""
    before = trial.folder().checkpoint.read_bytes()
    capsys.readouterr()
    record = trial(*settings)
    output = capsys.readouterr().out
    assert (record.status, record.steps) == ("finished", 30)
    assert why in output
    assert "kept as" in output
    assert (trial.root / "run.1" / "training" / "checkpoint.pt").read_bytes() == before


def test_a_run_with_a_truncated_checkpoint_is_kept_and_begun_anew(trial, killed, capsys):
    path = trial.folder().checkpoint
    path.write_bytes(path.read_bytes()[:100_000])
    assert_begun_anew(trial, killed, capsys, "checkpoint.pt can't be read")


def test_a_run_with_another_programs_checkpoint_is_kept_and_begun_anew(trial, killed, capsys):
    torch.save({"state_dict": {}, "epoch": 3}, trial.folder().checkpoint)
    assert_begun_anew(trial, killed, capsys, "is no file of this version's training")


def test_whatever_another_version_left_out_of_a_checkpoint_it_is_known_for_another(trial, killed):
    path = trial.folder().checkpoint
    whole = torch.load(path, weights_only=True)
    assert whole.keys() == set(CHECKPOINT)
    for key in whole:
        torch.save({k: v for k, v in whole.items() if k != key}, path)
        with pytest.raises(UserError, match="is no file of this version's training"):
            checkpoint.load(path, CHECKPOINT)


def test_a_later_versions_record_in_a_checkpoint_is_kept(trial, killed, capsys):
    state = torch.load(trial.folder().checkpoint, weights_only=True)
    state["record"]["of_a_later_version"] = 1
    torch.save(state, trial.folder().checkpoint)
    assert_begun_anew(trial, killed, capsys, "kept as")


def test_damaged_pretrained_weights_are_trained_anew(trial, capsys):
    trial(*STEPS, name="first")
    (cached,) = (trial.root / "pretrained").iterdir()
    whole = cached.read_bytes()
    cached.write_bytes(whole[:1000])
    assert not trial(*STEPS, name="second").pretraining_cached
    assert f"{cached.name} can't be read" in capsys.readouterr().out
    assert trial(*STEPS, name="third").pretraining_cached
