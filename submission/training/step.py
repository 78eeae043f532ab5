"""One optimisation step of a VAE, and everything that changes with it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from submission.networks import VAE, Discriminator, NetworkShape, Posterior
from submission.objectives import (
    ForwardPass,
    Objective,
    Terms,
    bernoulli_reconstruction,
    discriminator_loss,
    kl_to_prior,
)
from submission.schedules import Capacity, plateau
from submission.training.distributed import Group
from submission.training.execution import Execution, use_tf32

# The mechanism of torch.amp.GradScaler (PyTorch 2.13, torch/optim/adam.py): Adam reads its own
# attribute `found_inf`, a float tensor, and where that is 1 its fused kernel leaves weights and
# moments as they are. So the skip is decided on the device, without a synchronisation.
_SKIP = "found_inf"


class Learner:
    """The networks with their optimisers, schedules and random generator.

    A step whose gradient is not finite is skipped and counted, so the weights are finite always.

    Args:
        model: The VAE, on its device.
        seed: Seeds the noise of the reparameterisation and of the permutations.
        learning_rate: Of Adam.
        adam_betas: Of Adam.
        discriminator: FactorVAE's classifier, on the same device; None for the other methods.
        discriminator_learning_rate: Of the discriminator's Adam.
        discriminator_adam_betas: Of the discriminator's Adam.
        discriminator_first: Whether the discriminator is updated before the VAE, not after it.
        execution: How the step is computed; plainly if left out.
        group: The processes that train together, each with a learner; else this one alone.

    Attributes:
        generator: Draws the noise; on the device, unless two devices shall have the same.
        step_count: Steps done, skipped ones included.
        skipped: Skipped steps, a scalar tensor on the device.
        skipped_running: Skipped steps since the last good one, a scalar tensor on the device.
    """

    def __init__(
        self,
        model: VAE,
        seed: int,
        learning_rate: float,
        adam_betas: tuple[float, float],
        discriminator: Discriminator | None = None,
        discriminator_learning_rate: float = 1e-4,
        discriminator_adam_betas: tuple[float, float] = (0.5, 0.9),
        discriminator_first: bool = False,
        execution: Execution | None = None,
        group: Group | None = None,
    ) -> None:
        self.model = model
        self.discriminator = discriminator
        self.device = next(model.parameters()).device
        self.execution = execution or Execution()
        self.group = group or Group()
        model.decoder.in_phases = self.execution.phases
        self._network = self.group.wrap(model)
        self._forward = self._compute_loss
        if self.execution.compiled:
            mode = "reduce-overhead" if self.execution.cuda_graphs else "default"
            self._forward = torch.compile(self._compute_loss, mode=mode)
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=learning_rate, betas=adam_betas, fused=True
        )
        self.plateau = plateau(self.optimizer)
        self.discriminator_optimizer = None
        if discriminator is not None:
            self.discriminator_optimizer = torch.optim.Adam(
                discriminator.parameters(),
                lr=discriminator_learning_rate,
                betas=discriminator_adam_betas,
                fused=True,
            )
        self._discriminator_first = discriminator_first
        self.generator = torch.Generator(self.device).manual_seed(seed)
        # On the device, so that neither a copy nor a new CUDA graph is needed when it grows.
        self._capacity = torch.zeros((), device=self.device)
        self._capacity_of_mean = Capacity().of_batch_mean
        self.step_count = 0
        self.skipped = torch.zeros((), device=self.device)
        self.skipped_running = torch.zeros((), device=self.device)
        self.epoch_loss = torch.zeros((), device=self.device)
        self.epoch_steps = torch.zeros((), device=self.device)

    @property
    def learning_rate(self) -> float:
        """The current learning rate."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def step(
        self,
        objective: Objective,
        images: Tensor,
        capacity: float,
        second_images: Callable[[], Tensor] | None = None,
    ) -> Terms:
        """Does one step.

        Args:
            objective: The loss to lower.
            images: `[batch, channels, 64, 64]` in [0, 1], this process's rows of the batch.
            capacity: C of Eq. 2, in nats.
            second_images: Gives the discriminator's second batch, this process's rows of it.

        Returns:
            The loss and its terms as scalar tensors, which stay on the device.
        """
        self._set_tf32()
        noise = self._noise(len(images))
        self._capacity.fill_(capacity)
        discriminator_terms: Terms = {}
        if self._discriminator_first:
            encoded = self._encode(images, noise)
            discriminator_terms = self._discriminator_step(encoded, second_images)
        terms, sample = self.backpropagate(objective, images, noise)
        loss = terms["loss"]
        good = self._apply(self.optimizer, self.model.parameters())
        if not self._discriminator_first:
            discriminator_terms = self._discriminator_step(sample, second_images)

        with torch.no_grad():
            self.skipped += ~good
            self.skipped_running = torch.where(good, 0.0, self.skipped_running + 1.0)
            self.epoch_loss += torch.where(good, loss, 0.0)
            self.epoch_steps += good
        self.step_count += 1
        return {name: term.detach() for name, term in (terms | discriminator_terms).items()}

    def backpropagate(
        self, objective: Objective, images: Tensor, noise: Tensor
    ) -> tuple[Terms, Tensor]:
        """The VAE's gradients, as its parameters' `grad`; C of Eq. 2 is the last step's.

        Args:
            objective: The loss to lower.
            images: `[batch, channels, 64, 64]` in [0, 1], this process's rows of the batch.
            noise: `[batch, latents]`, standard normal.

        Returns:
            The terms of the loss, and the sample `[batch, latents]` of the whole batch.
        """
        self._set_tf32()
        terms, sample = self._forward(objective, images, noise)
        self.optimizer.zero_grad(set_to_none=True)
        # The total correlation flows through the discriminator, whose weights are not to learn it.
        terms["loss"].backward(inputs=list(self.model.parameters()))
        return terms, sample

    def _set_tf32(self) -> None:
        """The switch is the process's, and forms are compared in one process."""
        if self.device.type == "cuda":
            use_tf32(self.execution.tf32)

    def _compute_loss(
        self, objective: Objective, images: Tensor, noise: Tensor
    ) -> tuple[Terms, Tensor]:
        """The terms of the loss, and the sample `[batch, latents]` of the whole batch."""
        with self._precision():
            posterior, sample, logits = self._network(images, noise)
        gather = self.group.gather
        posterior = Posterior(*(gather(value.float()) for value in posterior))
        sample = gather(sample.float())
        reconstruction = self.group.mean(bernoulli_reconstruction(logits.float(), images))
        forward = ForwardPass(
            posterior,
            sample,
            reconstruction,
            self._capacity,
            self.discriminator,
            self._capacity_of_mean,
            self._prior,
        )
        loss, terms = objective(forward)
        kl = kl_to_prior(posterior).sum(dim=1).mean()
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl, **terms}, sample

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.execution.bfloat16)

    def end_epoch(self) -> None:
        """Shows the epoch's mean loss to the learning rate's schedule."""
        if self.epoch_steps > 0:
            self.plateau.step(float(self.epoch_loss / self.epoch_steps))
        self.epoch_loss.zero_()
        self.epoch_steps.zero_()

    def _discriminator_step(
        self, sample: Tensor, second_images: Callable[[], Tensor] | None
    ) -> Terms:
        if self.discriminator is None or second_images is None:
            return {}
        assert self.discriminator_optimizer is not None
        images = second_images()
        second_sample = self._encode(images, self._noise(len(images)))
        # Every process sees the latents of the whole batch, and so computes the same gradient.
        loss = discriminator_loss(self.discriminator, sample, second_sample, self.generator)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._apply(self.discriminator_optimizer, self.discriminator.parameters())
        return {"discriminator_loss": loss}

    def _encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """The latents `[batch, latents]` of the whole batch, without a gradient."""
        with torch.no_grad(), self._precision():
            posterior = Posterior(*self.model.encoder(images))
            return self.group.gather(posterior.sample(noise).float())

    def _noise(self, rows: int) -> Tensor:
        """This process's rows of the noise that all draw for the whole batch."""
        return self.group.rows(self._prior(rows * self.group.world_size))

    def _prior(self, rows: int) -> Tensor:
        """Standard normal `[rows, latents]`, the same in all processes."""
        shape = (rows, self.model.shape.latents)
        drawn = torch.randn(shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device)

    def _apply(self, optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> Tensor:
        """Steps unless a gradient is not finite; returns whether it did, a bool tensor."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        good = torch.nn.utils.get_total_norm(gradients).isfinite()
        setattr(optimizer, _SKIP, (~good).float())
        optimizer.step()
        return good

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on bit by bit."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plateau": self.plateau.state_dict(),
            "generator": self.generator.get_state(),
            "step_count": self.step_count,
            "skipped": self.skipped,
            "skipped_running": self.skipped_running,
            "epoch_loss": self.epoch_loss,
            "epoch_steps": self.epoch_steps,
        }
        if self.discriminator is not None and self.discriminator_optimizer is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the state of a learner of the same shape, on whatever device."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plateau.load_state_dict(state["plateau"])
        self.step_count = state["step_count"]
        # "The desired state" is a byte tensor on the CPU, whichever device the generator draws on.
        drawn = state["generator"].cpu()
        if drawn.shape == self.generator.get_state().shape:
            self.generator.set_state(drawn)
        else:
            # Another kind of device has drawn so far, whose bits this one can't go on with.
            self.generator.manual_seed(self.generator.initial_seed() + self.step_count)
        for name in ("skipped", "skipped_running", "epoch_loss", "epoch_steps"):
            setattr(self, name, state[name].to(self.device))
        if self.discriminator is not None and self.discriminator_optimizer is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])


def new_model(
    shape: NetworkShape,
    seed: int,
    device: torch.device,
    mean_colour: Sequence[float] | None = None,
) -> VAE:
    """A VAE with freshly drawn weights that depend on the seed alone, in channels-last layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VAE(shape, mean_colour)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
