"""What a GPU would be waited for, or handed from the host, counted on the CPU and on `meta`.

A tensor on `meta` has no values, so reading one is an error; and nothing but a step's own devices
can hide on it.
"""

import contextlib
import copy
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from submission import objectives
from submission.configuration import configure
from submission.networks import NetworkShape
from submission.training.execution import Execution
from submission.training.recipe import Recipe
from submission.training.step import Learner, new_model

CPU, META = torch.device("cpu"), torch.device("meta")
METHODS = ("beta_vae", "beta_tcvae", "factor_vae", "dip_vae_i", "dip_vae_ii", "info_vae", "vae")
SHAPE = NetworkShape(3, latents=4, width=0.125)
FORMS = [Execution(), Execution(phases=True), Execution(phases=True, bfloat16=True)]
# What a GPU's host waits for: a value, or a size that depends on values (a mask as index too).
WAITS = {
    "index",
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "bincount",
    "repeat_interleave.Tensor",
}
# What `torch.tensor`, `torch.as_tensor` and a list as index come as: made by the host and copied.
HOST_MADE = {"lift_fresh", "lift_fresh_copy", "_pin_memory"}


class Operations(TorchDispatchMode):
    """Counts the operations by name and the devices of what they give."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.devices: Counter[torch.device] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = str(func).removeprefix("aten.")
        self.names[name if name in WAITS else name.split(".")[0]] += 1
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.devices.update(tensor.device for tensor in tensors)
        return result

    def count(self, names: set[str]) -> int:
        return sum(self.names[name] for name in names)


class MetaGenerator(torch.Generator):
    """`meta` has no generator; its operations take the CPU's, and draw nothing."""

    device = META

    def __new__(cls, device):
        return super().__new__(cls, CPU)


class MetaLearner(Learner):
    """A learner as far as `meta` has it: there is no autocast, and Adam isn't fused."""

    def _precision(self):
        return contextlib.nullcontext()

    def _apply(self, optimizer, parameters):
        gradients = [p.grad for p in parameters if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients).isfinite()


def recipe(method: str, preset: str = "challenge") -> Recipe:
    configure(method, preset, ["discriminator.units = 16"] if method == "factor_vae" else [])
    return Recipe()


def learner(kind: type[Learner], settings: Recipe, device: torch.device, form: Execution):
    discriminator = (
        settings.discriminator(SHAPE.latents).to(device) if (settings.discriminator) else None
    )
    model = new_model(SHAPE, 0, device)
    return kind(
        model,
        0,
        1e-3,
        (0.9, 0.999),
        discriminator=discriminator,
        discriminator_first=settings.discriminator_first,
        execution=form,
    )


@pytest.mark.parametrize(
    ("method", "preset", "form"),
    [
        *((method, "challenge", form) for method in METHODS for form in FORMS),
        *((method, "authors", Execution()) for method in ("factor_vae", "dip_vae_ii", "info_vae")),
    ],
    ids=str,
)
def test_a_step_neither_waits_for_the_device_nor_hands_it_what_the_host_made(method, preset, form):
    settings = recipe(method, preset)
    ours = learner(Learner, settings, CPU, form)
    images = torch.rand(8, 3, 64, 64)
    with Operations() as seen:
        for step in range(3):
            ours.step(settings.objective, images, step / 10, lambda: images)
    assert seen.names["convolution"] and seen.names["_fused_adam_"]
    assert seen.count(WAITS | HOST_MADE) == 0, seen.names


@pytest.mark.parametrize("method", METHODS)
def test_every_tensor_of_a_step_is_made_on_the_learners_device(method, monkeypatch):
    """All but the optimiser, whose own step `meta` lacks."""
    monkeypatch.setattr(torch, "Generator", MetaGenerator)
    settings = recipe(method)
    ours = learner(MetaLearner, settings, META, Execution(phases=True))
    images = torch.rand(8, 3, 64, 64, device=META)
    with Operations() as seen:
        terms = ours.step(settings.objective, images, 1.0, lambda: images)
    assert seen.devices.keys() == {META}
    assert {term.device for term in terms.values()} == {META}


def test_the_counter_sees_what_it_is_to_find():
    """Each of the four mistakes, made on purpose."""
    loss = torch.rand(())
    with Operations() as seen:
        loss.item()
        bool(loss > 0)
        torch.tensor([1.0, 2.0])
        torch.rand(3)[torch.rand(3) > 0.5]
    assert seen.names["_local_scalar_dense"] + seen.names["is_nonzero"] == 2
    assert seen.names["lift_fresh"] == seen.names["index"] == 1


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_float32_where_the_networks_are_bfloat16(method):
    settings = recipe(method)
    seen = []

    def objective(forward):
        seen.extend([*forward.posterior, forward.sample, forward.reconstruction])
        return settings.objective(forward)

    ours = learner(Learner, settings, CPU, Execution(phases=True, bfloat16=True))
    images = torch.rand(8, 3, 64, 64)
    terms = ours.step(objective, images, 1.0, lambda: images)
    assert {value.dtype for value in [*seen, *terms.values()]} == {torch.float32}
    assert {p.grad.dtype for p in ours.model.parameters()} == {torch.float32}


def test_more_steps_read_nothing_more(trial):
    """The loop reads losses every `log_every` steps, at an epoch's end and for files, only."""

    def reads(steps: int) -> int:
        settings = ["pretraining.steps = 0", "trainer.log_every = 1000", "trainer.batch_size = 4"]
        with Operations() as seen:
            trial(f"trainer.max_steps = {steps}", *settings, name=f"steps {steps}")
        return seen.count(WAITS)

    assert reads(2) == reads(11)


def test_a_checkpoint_of_another_kind_of_device_is_gone_on_with():
    """A CUDA generator's state is 16 bytes, a CPU's 5,056: only the noise to come is another."""
    settings = recipe("vae")
    images = torch.rand(8, 3, 64, 64)
    first, second, third = (learner(Learner, settings, CPU, Execution()) for _ in range(3))
    first.step(objectives.vae, images, 0.0)
    state = first.state_dict() | {"generator": torch.zeros(16, dtype=torch.uint8)}
    for each in (second, third):
        each.load_state_dict(copy.deepcopy(state))
        each.step(objectives.vae, images, 0.0)
    assert second.step_count == 2
    weights = [[p.detach() for p in each.model.parameters()] for each in (second, third)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
