import pytest
import torch
import torch.nn.functional as F

from submission.networks import VAE, NetworkShape
from submission.polyphase import pixels_kernel, upsampling_kernel


def draw(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_phases_are_those_of_a_transposed_convolution_of_stride_two(size):
    features, weight = draw(2, 3, size, size), draw(3, 5, 4, 4)
    phases = F.conv2d(features, upsampling_kernel(weight), padding=1)
    expected = F.conv_transpose2d(features, weight, stride=2)
    torch.testing.assert_close(F.pixel_shuffle(phases, 2), expected)


@pytest.mark.parametrize("size", [2, 4, 10])
def test_the_last_layer_leads_from_phases_to_phases(size):
    image, weight = draw(2, 5, size, size), draw(5, 3, 3, 3)
    phases = F.conv2d(F.pixel_unshuffle(image, 2), pixels_kernel(weight), padding=1)
    torch.testing.assert_close(F.pixel_shuffle(phases, 2), F.conv_transpose2d(image, weight))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_decoder_in_phases_has_the_plain_ones_output_and_gradients(channels):
    model = VAE(NetworkShape(channels, latents=4, width=0.125)).double()
    latents = draw(3, 4).requires_grad_()
    towards = draw(3, channels, 64, 64)
    results = []
    for in_phases in (False, True):
        model.decoder.in_phases = in_phases
        logits = model.decoder(latents)
        weights = [latents, *model.decoder.parameters()]
        results.append([logits, *torch.autograd.grad((logits * towards).sum(), weights)])
    torch.testing.assert_close(*results)
