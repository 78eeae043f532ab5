import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from submission.networks import (
    VAE,
    Decoder,
    Discriminator,
    Encoder,
    NetworkShape,
    Posterior,
    initialise,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_decoder_lands_on_64_pixels(channels):
    shape = NetworkShape(image_channels=channels, latents=7)
    assert Decoder(shape)(torch.zeros(2, 7)).shape == (2, channels, 64, 64)


def test_encoder_gives_mean_and_log_variance_of_each_latent():
    mean, log_variance = Encoder(NetworkShape(3, latents=20))(torch.zeros(2, 3, 64, 64))
    assert mean.shape == log_variance.shape == (2, 20)


def test_layers_are_those_of_appendix_a():
    model = VAE(NetworkShape(3))
    encoder = [m for m in model.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size, m.stride) for m in encoder] == [
        (channels, (3, 3), (2, 2)) for channels in (32, 32, 64, 128, 256)
    ]
    decoder = [m for m in model.decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [m.out_channels for m in decoder] == [256, 128, 128, 64, 64, 3]
    assert all(m.kernel_size == (4, 4) and m.stride == (2, 2) for m in decoder[:-1])


def test_a_step_at_batch_64_costs_the_known_number_of_operations():
    model = VAE(NetworkShape(3))
    with FlopCounterMode(display=False) as counter:
        _, _, logits = model(torch.rand(64, 3, 64, 64), torch.randn(64, 20))
        logits.sum().backward()
    assert counter.get_total_flops() == pytest.approx(41.6e9, rel=0.001)


def test_width_scales_every_layer():
    narrow = VAE(NetworkShape(3, width=0.25))
    assert narrow.encoder.convolutions[0].out_channels == 8
    assert narrow.decoder.layers[0].out_channels == 64


def test_the_authors_weights_are_glorots_and_the_biases_pytorchs():
    """Glorot and Bengio (2010), Eq. 12: the variance is 2 / (inputs + outputs of a unit)."""
    torch.manual_seed(0)
    model = VAE(NetworkShape(3), mean_colour=(0.1, 0.5, 0.9))
    initialise(model, (0.1, 0.5, 0.9), xavier=True)
    for module in model.modules():
        if not isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            continue
        units = module.in_channels + module.out_channels
        expected = math.sqrt(2 / (units * math.prod(module.kernel_size)))
        count = module.weight.numel()
        assert float(module.weight.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * count))
    linear = model.encoder.posterior.weight
    assert float(linear.std()) == pytest.approx(math.sqrt(2 / 256), rel=0.03)


def test_posterior_samples_have_its_mean_and_variance():
    posterior = Posterior(torch.full((100_000, 1), 2.0), torch.full((100_000, 1), -1.0))
    sample = posterior.sample(torch.randn(100_000, 1, generator=torch.Generator().manual_seed(0)))
    assert float(sample.mean()) == pytest.approx(2.0, abs=0.01)
    assert float(sample.var()) == pytest.approx(torch.tensor(-1.0).exp().item(), abs=0.01)


def test_the_authors_discriminator_has_six_linear_layers_with_he_et_als_weights():
    torch.manual_seed(0)
    discriminator = Discriminator(20, hidden_layers=5, kaiming=True)
    layers = [m for m in discriminator.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in layers] == [1000] * 5 + [2]
    defaults = [m for m in Discriminator(20).modules() if isinstance(m, torch.nn.Linear)]
    for layer, default in zip(layers, defaults, strict=False):
        inputs = layer.in_features
        assert float(layer.weight.var()) == pytest.approx(2 / inputs, rel=0.12)
        assert float(default.weight.var()) == pytest.approx(1 / (3 * inputs), rel=0.12)


def test_discriminator_is_that_of_kim_and_mnih():
    layers = [m for m in Discriminator(20).modules() if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in layers] == [1000] * 6 + [2]
