"""Forms of a step that are wrong on purpose, on a CPU, and devices that no training can use.

No GPU has run this. PyTorch's `meta` device stands for one that fails: it computes no values. The
CPU stands for one that computes, and TF32 is what PyTorch's documentation says that it rounds.
"""

import contextlib
import json
import math
import re
import time
import weakref
from dataclasses import replace
from pathlib import Path

import gin
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from submission import objectives
from submission.budget import Budget
from submission.configuration import configure
from submission.errors import UserError
from submission.networks import VAE, Decoder, NetworkShape
from submission.supervision import Supervisor
from submission.training import checks, device, fallback
from submission.training.batches import Batches
from submission.training.checks import errors, first_gradient, tolerance
from submission.training.execution import Execution, next_form
from submission.training.fallback import check_resumed
from submission.training.plan import Plan, choose
from submission.training.recipe import TRAINING, Recipe
from submission.training.setup import Setup
from submission.training.state import begin
from submission.training.step import Learner, new_model

CPU, META = torch.device("cpu"), torch.device("meta")
METHODS = ("beta_vae", "beta_tcvae", "factor_vae", "dip_vae_i", "dip_vae_ii", "info_vae", "vae")
STEPS = ["trainer.max_steps = 4", "pretraining.steps = 0"]
PHASES = Execution(phases=True)
COMPILED = ["speed.measure = True", "speed.compile_from = '0s'"]


@gin.configurable
def draws(forward) -> tuple[torch.Tensor, objectives.Terms]:
    """The VAE's objective and a number drawn, as someone's own may have it."""
    loss, terms = objectives.vae(forward)
    return loss * (1 + torch.rand(())), terms


def wrong_forward(logits):
    return logits + 0.05


def wrong_loss(loss):
    return 1.01 * loss


def wrong_gradient(logits):
    """The right values; backwards, a fifth is missing."""
    return 0.8 * logits + (0.2 * logits).detach()


def endless_gradient(logits):
    logits.register_hook(lambda gradient: gradient * float("inf"))
    return logits


def endless_loss(logits):
    return logits * float("nan")


def too_large(logits):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def too_large_for_the_machine(logits):
    torch.empty(2**55)


def broken(logits):
    raise RuntimeError("no kernel image is available for execution on the device\nand more")


class Chosen:
    """What a run would be trained in, and what its log would say; nothing is exported."""

    def __init__(
        self, trial, *bindings: str, method: str = "beta_tcvae", preset: str = "challenge"
    ):
        width = [] if preset == "quick" else ["network.width = 0.125"]
        small = ["trainer.batch_size = 8", "speed.measure = False"]
        configure(method, preset, [*width, *small, *bindings])
        setup = Setup(trial.request("run", method, preset))
        self.notes: list[str] = []
        self.warnings: list[str] = []
        setup.load_resident(self.warnings.append)
        budget = Budget(3600.0, time.monotonic())
        plan = choose(setup, budget, self.notes.append, self.warnings.append)
        self.form, self.width = plan.execution, plan.shape.width


@pytest.fixture
def phases(monkeypatch):
    """Makes the decoder's polyphase form wrong."""
    right = torch.nn.functional.pixel_shuffle

    def break_it(fault):
        monkeypatch.setattr(
            "submission.polyphase.F.pixel_shuffle",
            lambda *args, **kwargs: fault(right(*args, **kwargs)),
        )

    return break_it


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (wrong_forward, "its loss is 0.0"),
        (wrong_gradient, "its gradient is 0.2 off the plain form's, where 0.05 may be rounding"),
        (endless_gradient, "its gradient isn't finite"),
        (endless_loss, "its loss isn't finite"),
        (too_large, "out of memory at 0.125 x"),
        (too_large_for_the_machine, "out of memory at 0.125 x"),
        (broken, "RuntimeError: no kernel image is available for execution on the device"),
    ],
)
def test_a_form_that_is_wrong_is_dropped_with_a_warning(trial, phases, fault, problem):
    phases(fault)
    chosen = Chosen(trial)
    assert chosen.form == Execution()
    (warning,) = chosen.warnings
    assert warning.startswith(f"decoder in phases: not to be had ({problem}")


def test_a_warning_is_one_line_of_the_log_and_stands_in_the_record(trial, capsys, phases):
    phases(wrong_gradient)
    record = trial(*STEPS)
    assert record.status == "finished"
    assert Execution(**record.form) == Execution()
    (warning,) = (line for line in record.warnings if "decoder in phases" in line)
    assert capsys.readouterr().out.count(warning) == 1
    assert json.loads(trial.folder().record.read_text())["warnings"] == record.warnings


def test_where_the_plain_form_is_broken_too_its_exception_is_raised(trial, monkeypatch):
    monkeypatch.setattr("submission.networks.VAE.forward", lambda *_: broken(None))
    with pytest.raises(RuntimeError, match="no kernel image"):
        Chosen(trial)


def test_a_width_that_is_too_large_for_the_memory_is_passed_over(trial, monkeypatch):
    def limited(self, images, noise):
        return too_large(images) if self.shape.width > 0.2 else right(self, images, noise)

    right = VAE.forward
    monkeypatch.setattr(VAE, "forward", limited)
    candidates = ["width.candidates = (0.25, 0.125)", "width.wanted_steps = 1"]
    chosen = Chosen(trial, *candidates, preset="quick")
    assert chosen.width == 0.125
    assert any("out of memory at 0.25 x" in line for line in chosen.warnings)


# --- The compiler -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (wrong_loss, "compiled: not to be had (its loss is"),
        (too_large, "compiled: not to be had (out of memory"),
        (broken, "compiled: not to be had (RuntimeError: no kernel image"),
    ],
)
def test_a_compiled_form_that_is_wrong_is_dropped(trial, monkeypatch, fault, told):
    """A compiler that there isn't is a line of the log; one that is wrong, a warning too."""

    def compiled(function, mode):
        def run(*args):
            terms, sample = function(*args)
            return terms | {"loss": fault(terms["loss"])}, sample

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    chosen = Chosen(trial, *COMPILED)
    assert not chosen.form.compiled
    lines = chosen.notes if fault is broken else chosen.warnings
    assert any(told in line for line in lines)


def test_a_compiler_without_room_is_told_as_such():
    told = checks.told(
        RuntimeError("C++ compile error\n\nOutput:\nas: main.o: No space left on device\n")
    )
    assert told.startswith("RuntimeError: no room on the disk")
    assert "TMPDIR" in told


def test_after_a_crash_before_the_first_checkpoint_nothing_is_compiled(trial):
    trial.supervisor = Supervisor(crashes=("SIGSEGV",))
    assert not any("torch.compile" in line for line in Chosen(trial, *COMPILED).notes)


# --- The first steps, and a run that goes on ----------------------------------------------------


class FromCall:
    """A fault that a function has from one of its calls on."""

    def __init__(self, call: int, fault) -> None:
        self.left, self.fault = call, fault

    def __call__(self, value):
        self.left -= 1
        return self.fault(value) if self.left <= 0 else value


def test_out_of_memory_in_the_first_step_is_undone_and_the_run_is_the_plain_forms(trial, phases):
    """One pass is checked and three steps are timed before."""
    settings = [*STEPS, "trainer.log_every = 1"]
    trial(*settings, "speed.phases = False", name="plain")
    phases(FromCall(5, too_large))
    record = trial(*settings, name="fallen back")
    assert Execution(**record.form) == Execution()
    assert any("goes on with: plain decoder" in line for line in record.warnings)
    models, rows = [], []
    for name in ("plain", "fallen back"):
        models.append(torch.jit.load(str(trial.folder(name).model)).state_dict())
        lines = trial.folder(name).history.read_text().splitlines()
        rows.append([line.split(",")[1:2] + line.split(",")[3:] for line in lines])
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    assert rows[0] == rows[1] and len(rows[0]) == 5


def test_out_of_memory_in_a_later_step_is_the_supervisors_to_mend(trial, phases):
    phases(FromCall(8, too_large))
    with pytest.raises(torch.OutOfMemoryError):
        trial(*STEPS)


def test_any_other_exception_of_a_first_step_ends_the_run(trial, phases):
    phases(FromCall(5, broken))
    with pytest.raises(RuntimeError, match="no kernel image"):
        trial(*STEPS)


def test_a_run_whose_form_no_longer_works_is_resumed_in_another(trial, phases):
    trial.interruption.reason = "SIGTERM"
    assert trial(*STEPS).status == "interrupted"
    trial.interruption.reason = None
    phases(wrong_forward)
    record = trial(*STEPS)
    assert (record.status, record.steps) == ("finished", 4)
    assert Execution(**record.form) == Execution()
    assert any("decoder in phases: not to be had (its loss" in line for line in record.warnings)


@pytest.mark.parametrize(("left", "compiled"), [(60.0, False), (600.0, True)])
def test_a_run_that_is_resumed_near_its_end_is_not_compiled_any_more(
    trial, monkeypatch, left, compiled
):
    configure("beta_vae", "challenge", ["network.width = 0.125"])
    setup = Setup(trial.request("run", "beta_vae", "challenge"))
    form = Execution(phases=True, compiled=True)
    shape = NetworkShape(3, width=0.125)
    state = begin(setup, Plan(shape, form), 3600.0)
    checked = []
    monkeypatch.setattr(fallback, "check_form", lambda setup, learner: checked.append(learner))
    check_resumed(setup, state, left, pytest.fail)
    assert checked[0].execution == state.plan.execution == replace(form, compiled=compiled)


def test_forms_go_from_what_is_special_to_what_is_plain():
    form, names = Execution(phases=True, compiled=True, cuda_graphs=True, tf32=True), []
    while form is not None:
        names.append(str(form))
        form = next_form(form)
    assert names == [
        "decoder in phases, compiled with CUDA graphs, TF32",
        "decoder in phases, compiled, TF32",
        "decoder in phases, TF32",
        "plain decoder, TF32",
        "plain decoder",
    ]


# --- The device ---------------------------------------------------------------------------------


def test_a_gpu_that_fails_leaves_training_to_the_cpu(trial, capsys):
    trial.device = META
    record = trial(*STEPS)
    (warning,) = (line for line in record.warnings if "the GPU can't be trained on" in line)
    assert "training happens on the CPU" in warning
    assert capsys.readouterr().out.count(warning) == 1
    assert (record.status, record.device) == ("finished", "cpu")


def test_a_gpu_that_pytorch_cannot_use_is_told_before_hours_go_into_the_cpu(trial):
    trial.gpu_problem = "PyTorch 9 is built for the CPU alone"
    record = trial(*STEPS)
    (warning,) = (line for line in record.warnings if "built for the CPU alone" in line)
    assert warning.endswith("training happens on the CPU")
    with pytest.raises(UserError, match=r"PyTorch 9 .* speed.cpu_fallback = True"):
        trial(*STEPS, "speed.cpu_fallback = False", "trainer.seed = 7")


@pytest.mark.parametrize(
    ("driver", "hidden", "cuda", "words"),
    [
        (True, None, None, "is built for the CPU alone"),
        (True, "0", "13.0", "too old for CUDA 13.0?"),
        (True, "", "13.0", ""),
        (True, "-1", "13.0", ""),
        (False, None, "13.0", ""),
    ],
)
def test_why_a_gpu_is_not_used_is_known(tmp_path, monkeypatch, driver, hidden, cuda, words):
    if driver:
        (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(device, "_DRIVER", tmp_path / "nvidiactl")
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    problem = device.gpu_problem()
    assert words in problem and bool(words) == bool(problem)


def test_cudnns_words_for_no_memory_are_known_and_not_hidden():
    words = "FIND was unable to find an engine to execute this computation"
    assert checks.out_of_memory(RuntimeError(words))
    # A card that the build has no kernels for is told alike.
    assert words in checks.told(RuntimeError(words))


@pytest.mark.parametrize("channels", [1, 3])
def test_drawn_images_lie_in_memory_as_batches_do(squares, channels):
    dataset = replace(squares, images=squares.images[..., :channels])
    batch = Batches(dataset, 8, 0, 0, CPU)(0)
    assert checks.drawn_images(8, NetworkShape(channels), CPU).stride() == batch.stride()


def test_without_the_fallback_a_gpu_that_fails_ends_the_run_with_one_line(trial):
    trial.device = META
    with pytest.raises(UserError, match=r"can't be trained on .* speed.cpu_fallback = True"):
        trial(*STEPS, "speed.cpu_fallback = False")
    assert not trial.folder().model.exists()


@pytest.fixture
def setup(trial):
    configure("info_vae", "challenge", ["network.width = 0.125", "trainer.batch_size = 8"])
    return Setup(trial.request("run", "info_vae", "challenge"))


def test_a_device_that_computes_what_the_cpu_does_has_no_problem(setup):
    assert checks.device_problem(setup, CPU) is None


@pytest.mark.parametrize("fault", [wrong_forward, wrong_gradient, endless_loss, broken])
def test_a_device_that_computes_something_else_is_found_out(setup, monkeypatch, fault):
    """Here the CPU stands for the device: the fourth pass is the device's."""
    right, wrong = Decoder.forward, FromCall(4, fault)
    monkeypatch.setattr(Decoder, "forward", lambda self, latents: wrong(right(self, latents)))
    assert checks.device_problem(setup, CPU) is not None


def test_an_objective_that_draws_is_not_held_against_a_device(setup, monkeypatch):
    """Devices draw other numbers."""
    assert checks._comparable(setup, setup.shape) == setup.recipe.objective
    configure("vae", "challenge", ["trainer.objective = @draws", "network.width = 0.125"])
    assert checks._comparable(Setup(setup.request), setup.shape) == objectives.vae


def mirrored(dataset, device, wanted):
    return torch.from_numpy(dataset.images).flip(2)


def does_not_fit(dataset, device, wanted):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("resident", [mirrored, does_not_fit])
def test_a_data_set_that_does_not_arrive_in_the_gpus_memory_is_streamed(
    setup, squares, monkeypatch, resident
):
    monkeypatch.setattr("submission.training.setup.load_resident", resident)
    warnings = []
    setup.load_resident(warnings.append)
    (warning,) = warnings
    assert "the data set doesn't stay in the GPU's memory" in warning
    assert torch.equal(setup.batches(TRAINING)(0), Batches(squares, 8, 0, 1, CPU)(0))


def test_a_data_set_leaves_the_gpus_memory_where_that_runs_out(trial, phases, monkeypatch):
    """Here it lies in the CPU's, and the form has no memory as long as it does."""
    resident = []

    def load_resident(dataset, device, wanted):
        images = torch.from_numpy(dataset.images)
        resident.append(weakref.ref(images))
        return images

    monkeypatch.setattr("submission.training.setup.load_resident", load_resident)
    phases(lambda logits: too_large(logits) if resident[0]() is not None else logits)
    chosen = Chosen(trial)
    assert chosen.form == PHASES
    assert any("the data set leaves the GPU's" in line for line in chosen.warnings)


def test_a_batch_that_only_the_form_has_memory_for_is_checked_with_fewer_images(setup, monkeypatch):
    """A compiled form is checked with the whole batch, here of 8."""
    seen, right = [], VAE.forward

    def limited(self, images, noise):
        seen.append(len(images))
        too_many = len(images) > 4 and not self.decoder.in_phases
        return too_large(images) if too_many else right(self, images, noise)

    monkeypatch.setattr(VAE, "forward", limited)
    monkeypatch.setattr(checks, "_FEW_IMAGES", 4)
    monkeypatch.setattr(torch, "compile", lambda function, mode: function)
    form = Execution(phases=True, compiled=True)
    checks.check_form(setup, checks.fresh_learner(setup, setup.shape, form))
    # Whether the objective draws is asked with two images, twice.
    assert seen == [2, 2, 8, 4, 4]


# --- What a check leaves alone ------------------------------------------------------------------


def assert_same_model(trial, *names):
    first, second = (torch.jit.load(str(trial.folder(one).model)).state_dict() for one in names)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("method", ["factor_vae", "draws"])
def test_a_check_changes_no_bit_of_a_run(trial, monkeypatch, method):
    settings = [*STEPS, "trainer.seed = 1"]
    settings += ["discriminator.units = 16"] if method == "factor_vae" else []
    settings += ["trainer.objective = @draws"] if method == "draws" else []
    known = method if method != "draws" else "vae"
    torch.manual_seed(0)
    trial(*settings, method=known, name="checked")
    monkeypatch.setattr("submission.training.plan.check_form", lambda *_: None)
    torch.manual_seed(0)
    trial(*settings, method=known, name="unchecked")
    assert_same_model(trial, "checked", "unchecked")


# --- What rounding does -------------------------------------------------------------------------


class RoundedToTF32(TorchDispatchMode):
    """Rounds what goes into convolutions and matrix products, backwards too, to 10 bits."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if "convolution" in name or name in ("mm", "addmm", "bmm"):
            bias = {"convolution": 2, "addmm": 0}.get(name)
            args = [rounded(a) if n != bias else a for n, a in enumerate(args)]
        return func(*args, **(kwargs or {}))


def rounded(value):
    """To the nearest float32 with 10 bits of mantissa, ties to even."""
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
        return value
    bits = value.view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def test_tf32_keeps_ten_bits():
    assert rounded(torch.tensor(1 + 2**-10)) == 1 + 2**-10
    assert rounded(torch.tensor(1 + 2**-12)) == 1
    assert rounded(torch.tensor(math.pi)) == 3.140625


@pytest.mark.parametrize("method", METHODS)
def test_rounding_is_let_pass(method):
    """Each form's errors are below a half of what is let pass."""
    configure(method, "challenge", ["discriminator.units = 16"] if method == "factor_vae" else [])
    recipe, shape = Recipe(), NetworkShape(3, width=0.125)
    found = {}
    images = checks.drawn_images(8, shape, CPU)
    for form in (Execution(), PHASES, Execution(bfloat16=True), Execution(tf32=True)):
        torch.manual_seed(0)
        discriminator = recipe.discriminator(shape.latents) if recipe.discriminator else None
        model = new_model(shape, 0, CPU)
        learner = Learner(model, 0, 1e-4, (0.9, 0.999), discriminator, execution=form)
        with RoundedToTF32() if form.tf32 else contextlib.nullcontext():
            found[form] = first_gradient(learner, recipe.objective, images)
        loss, gradient = errors(found[form], found[Execution()])
        assert loss <= tolerance(form).loss / 2
        assert gradient <= tolerance(form).gradient / 2


def test_the_document_tells_the_limits():
    table = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    for name, form in (
        ("float32", Execution()),
        ("TF32", Execution(tf32=True)),
        ("bfloat16", Execution(bfloat16=True)),
    ):
        cells = re.search(rf"\| {name}[^|]*\| ([\de.-]+) \| \S+ \| ([\de.-]+) \|", table).groups()
        assert tuple(map(float, cells)) == (tolerance(form).loss, tolerance(form).gradient)
