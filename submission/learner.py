"""One optimisation step of a VAE, and everything that changes with it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from submission.networks import VAE, Discriminator, NetworkShape
from submission.objectives import (
    ForwardPass,
    Objective,
    Terms,
    bernoulli_reconstruction,
    discriminator_loss,
    kl_to_prior,
)
from submission.schedules import plateau

# torch.optim.Adam skips a step, on the device and without a synchronisation, when its attribute
# `found_inf` is 1; torch.amp.GradScaler uses the same door.
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

    Attributes:
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
    ) -> None:
        self.model = model
        self.discriminator = discriminator
        self.device = next(model.parameters()).device
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
        self.generator = torch.Generator(self.device).manual_seed(seed)
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
            images: `[batch, channels, 64, 64]` in [0, 1].
            capacity: C of Eq. 2, in nats.
            second_images: Gives the discriminator's second batch.

        Returns:
            The loss and its terms as scalar tensors, which stay on the device.
        """
        posterior, sample, logits = self.model(images, self._noise(len(images)))
        reconstruction = bernoulli_reconstruction(logits, images)
        forward = ForwardPass(posterior, sample, reconstruction, capacity, self.discriminator)
        loss, terms = objective(forward)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        good = self._apply(self.optimizer, self.model)

        terms = {"loss": loss, "reconstruction": reconstruction, **terms}
        terms["kl"] = kl_to_prior(posterior).sum(dim=1).mean()
        if self.discriminator is not None and second_images is not None:
            terms["discriminator_loss"] = self._discriminator_step(sample, second_images())

        with torch.no_grad():
            self.skipped += ~good
            self.skipped_running = torch.where(good, 0.0, self.skipped_running + 1.0)
            self.epoch_loss += torch.where(good, loss, 0.0)
            self.epoch_steps += good
        self.step_count += 1
        return {name: term.detach() for name, term in terms.items()}

    def end_epoch(self) -> None:
        """Shows the epoch's mean loss to the learning rate's schedule."""
        if self.epoch_steps > 0:
            self.plateau.step(float(self.epoch_loss / self.epoch_steps))
        self.epoch_loss.zero_()
        self.epoch_steps.zero_()

    def _discriminator_step(self, sample: Tensor, images: Tensor) -> Tensor:
        assert self.discriminator is not None and self.discriminator_optimizer is not None
        with torch.no_grad():
            mean, log_variance = self.model.encoder(images)
            second_sample = mean + self._noise(len(images)) * torch.exp(0.5 * log_variance)
        loss = discriminator_loss(self.discriminator, sample, second_sample, self.generator)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._apply(self.discriminator_optimizer, self.discriminator)
        return loss

    def _noise(self, batch: int) -> Tensor:
        shape = (batch, self.model.shape.latents)
        return torch.randn(shape, generator=self.generator, device=self.device)

    def _apply(self, optimizer: torch.optim.Optimizer, module: nn.Module) -> Tensor:
        """Steps unless a gradient is not finite; returns whether it did, a bool tensor."""
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
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
        """Takes over the state of a learner of the same shape."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plateau.load_state_dict(state["plateau"])
        self.generator.set_state(state["generator"].cpu())
        self.step_count = state["step_count"]
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
