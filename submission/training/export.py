"""The challenge's representation: a TorchScript file from images to posterior means."""

import io

import torch
from torch import Tensor, nn

from submission.networks import IMAGE_SIZE, VAE, Decoder, Encoder
from submission.runs.files import write_bytes
from submission.runs.folder import RunFolder


class _PosteriorMean(nn.Module):
    """Images `[N, channels, 64, 64]` to posterior means `[N, latents]`."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        mean, _ = self.encoder(images)
        return mean


class _PixelMean(nn.Module):
    """Latents `[N, latents]` to the means of Bernoulli pixels, `[N, channels, 64, 64]`."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(latents))


class ExportError(Exception):
    """The exported file doesn't compute what the network computes."""


def export(model: VAE, folder: RunFolder) -> None:
    """Writes `representation/` and `training/decoder.pt`, each file atomically.

    The files are made for a machine without a GPU. What was written is read back and compared
    with the network before it replaces an older representation.

    Args:
        model: The trained VAE, on any device.
        folder: The run's folder.

    Raises:
        ExportError: The network's output isn't finite, or the file's differs from it.
        UserError: The files can't be written.
    """
    twin = VAE(model.shape)
    twin.load_state_dict({name: value.cpu() for name, value in model.state_dict().items()})
    generator = torch.Generator().manual_seed(0)
    size = (2, model.shape.image_channels, IMAGE_SIZE, IMAGE_SIZE)
    images = torch.rand(size, generator=generator)
    latents = torch.randn((2, model.shape.latents), generator=generator)

    representation = _checked_script(_PosteriorMean(twin.encoder), images)
    decoder = _checked_script(_PixelMean(twin.decoder), latents)
    write_bytes(folder.model, representation)
    write_bytes(folder.decoder, decoder)
    (folder.representation / "results").mkdir(exist_ok=True)


def _checked_script(module: nn.Module, example: Tensor) -> bytes:
    """The bytes of a module's TorchScript, after a comparison of its output with the module's."""
    # A wrapper is in training mode until told otherwise, whatever it wraps.
    module.eval()
    buffer = io.BytesIO()
    with torch.inference_mode():
        torch.jit.save(torch.jit.script(module), buffer)
        buffer.seek(0)
        expected, actual = module(example), torch.jit.load(buffer)(example)
    if not expected.isfinite().all():
        raise ExportError("the network's output is not finite")
    if not torch.allclose(expected, actual, rtol=1e-4, atol=1e-5):
        raise ExportError("the TorchScript file computes something else than the network")
    return buffer.getvalue()
