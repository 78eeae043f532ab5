"""The paper's encoder and decoder (Appendix A.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, NamedTuple

import gin
import torch
from torch import Tensor, nn

from submission.polyphase import decode_in_phases
from submission.values import Interval, Unless, Width

IMAGE_SIZE = 64

ENCODER_CHANNELS = (32, 32, 64, 128, 256)
DECODER_CHANNELS = (256, 256, 128, 128, 64, 64)


class Posterior(NamedTuple):
    """A batch of diagonal Gaussians q(z|x).

    Attributes:
        mean: `[batch, latents]`.
        log_variance: `[batch, latents]`.
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Reparameterised samples `[batch, latents]` from standard normal `noise` of that shape."""
        return self.mean + noise * torch.exp(0.5 * self.log_variance)


@gin.configurable("network")
@dataclass(frozen=True)
class NetworkShape:
    """What fixes the shape of the two networks.

    Attributes:
        image_channels: Channels of the images.
        latents: Dimensions of the latent space.
        width: Factor on the number of kernels of every layer; 1 is the paper's.
    """

    image_channels: int
    latents: Annotated[int, Interval(ge=1, le=10_000)] = 20
    width: Annotated[Width, Unless("width.candidates")] = 1.0

    def channels(self, paper: tuple[int, ...]) -> list[int]:
        """The paper's numbers of kernels, scaled by the width, and at least 4.

        Example:
            >>> NetworkShape(image_channels=3, width=0.5).channels((32, 64, 256))
            [16, 32, 128]
        """
        return [max(4, round(self.width * count)) for count in paper]


class Encoder(nn.Module):
    """Images to posteriors: five 3x3 convolutions of stride 2, then a linear layer.

    Args:
        shape: Number of channels, latents and width.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        channels = [shape.image_channels, *shape.channels(ENCODER_CHANNELS)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=2)
            layers += [convolution, nn.ReLU(inplace=True)]
        self.convolutions = nn.Sequential(*layers)
        self.posterior = nn.Linear(channels[-1], 2 * shape.latents)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance.

        Args:
            images: `[batch, channels, 64, 64]` in [0, 1].

        Returns:
            Two tensors `[batch, latents]`.
        """
        # 64 -> 31 -> 15 -> 7 -> 3 -> 1: one pixel is left.
        features = self.convolutions(images).flatten(1)
        mean, log_variance = self.posterior(features).chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """Latents to the logits of Bernoulli pixels: a 1x1 convolution and six transposed ones.

    The paper's "kernel sizes of 4, strides of 2" can't land on 64 pixels from one; the first
    layer has a padding of 1 and the last a kernel of 3 and stride 1, so that sizes run
    1, 2, 6, 14, 30, 62, 64.

    Args:
        shape: Number of channels, latents and width.

    Attributes:
        in_phases: Whether the last two layers are computed in polyphase form.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.in_phases = False
        channels = shape.channels(DECODER_CHANNELS)
        layers: list[nn.Module] = [
            nn.Conv2d(shape.latents, channels[0], kernel_size=1),
            nn.ReLU(inplace=True),
        ]
        for layer, (inputs, outputs) in enumerate(pairwise(channels)):
            padding = 1 if layer == 0 else 0
            upsampling = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=padding)
            layers += [upsampling, nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.pixels = nn.ConvTranspose2d(channels[-1], shape.image_channels, kernel_size=3)

    def forward(self, latents: Tensor) -> Tensor:
        """Logits `[batch, channels, 64, 64]` from latents `[batch, latents]`."""
        features = latents[:, :, None, None]
        if not torch.jit.is_scripting() and self.in_phases:  # type: ignore[attr-defined]
            return decode_in_phases(self.layers, self.pixels, features)
        logits: Tensor = self.pixels(self.layers(features))
        return logits


class VAE(nn.Module):
    """An encoder and a decoder.

    Args:
        shape: Number of channels, latents and width.
        mean_colour: See `initialise`.
    """

    def __init__(self, shape: NetworkShape, mean_colour: Sequence[float] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        initialise(self, mean_colour)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Posterior, Tensor, Tensor]:
        """Encodes, samples and decodes.

        Args:
            images: `[batch, channels, 64, 64]` in [0, 1].
            noise: `[batch, latents]`, standard normal.

        Returns:
            The posterior, its sample `[batch, latents]`, and logits of the images' shape.
        """
        posterior = Posterior(*self.encoder(images))
        sample = posterior.sample(noise)
        return posterior, sample, self.decoder(sample)


@gin.configurable("weights")
def initialise(model: VAE, mean_colour: Sequence[float] | None, xavier: bool = False) -> None:
    """Draws the weights that a VAE starts from.

    The paper doesn't say how they start. Here they are He et al.'s (2015, Eq. 10), made for
    ReLU: PyTorch's own default shrinks the signal in every layer, and on mpi3d_mini the first 600
    steps then pass before any latent is used; with these it is fewer than 100. The last bias
    starts where every pixel is the data set's mean colour.

    Args:
        model: The VAE, fresh.
        mean_colour: The images' mean in [0, 1], one value a channel; None for mid-grey.
        xavier: Draw them as the authors' code does (`common/utils.py`): Glorot & Bengio's (2010)
            for convolutions, He et al.'s for the linear layer, all biases PyTorch's.
    """
    if xavier:
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_normal_(module.weight)
        nn.init.kaiming_normal_(model.encoder.posterior.weight, nonlinearity="relu")
        return
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    # No ReLU follows the last layer of either network.
    for last in (model.encoder.posterior, model.decoder.pixels):
        with torch.no_grad():
            last.weight.mul_(0.5**0.5)
    bias = model.decoder.pixels.bias
    if mean_colour is not None and bias is not None:
        colour = torch.tensor(mean_colour).clamp(0.01, 0.99)
        with torch.no_grad():
            bias.copy_(torch.logit(colour))


@gin.configurable("discriminator")
class Discriminator(nn.Module):
    """FactorVAE's density-ratio classifier (Kim & Mnih 2018, Appendix A).

    Six layers of 1,000 leaky ReLU units (slope 0.2) and two logits: "joint" and "permuted".

    Args:
        latents: Dimensions of the latent space.
        units: Width of the hidden layers.
        hidden_layers: Number of hidden layers.
        kaiming: Draw the weights as the authors' code does (`common/utils.py`), He et al.'s (2015)
            normal ones, not PyTorch's default.
    """

    def __init__(
        self,
        latents: int,
        units: Annotated[int, Interval(ge=1, le=100_000)] = 1000,
        hidden_layers: Annotated[int, Interval(ge=1, le=100)] = 6,
        kaiming: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in range(hidden_layers):
            layers += [nn.Linear(latents if layer == 0 else units, units), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(units, 2))
        for module in self.layers:
            if kaiming and isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, latents: Tensor) -> Tensor:
        """Logits `[batch, 2]` of (joint, permuted) from latents `[batch, latents]`."""
        logits: Tensor = self.layers(latents)
        return logits
