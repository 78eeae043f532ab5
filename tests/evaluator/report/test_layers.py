import base64
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evaluator.report.layers import decode, pack, packed_bytes, read_layers
from submission.errors import UserError
from submission.networks import Decoder, NetworkShape


def decoder(channels: int = 3, latents: int = 5, width: float = 0.03) -> Decoder:
    """The narrow one has layers of 8, 4 and so on channels."""
    torch.manual_seed(0)
    return Decoder(NetworkShape(channels, latents, width))


def parameter(model: torch.nn.Module) -> Callable[[int], NDArray[np.float32]]:
    return [one.detach().numpy() for one in model.parameters()].__getitem__


@pytest.mark.parametrize("channels", [1, 3])
def test_the_layers_compute_what_the_decoder_computes(channels: int) -> None:
    model = decoder(channels)
    codes = torch.randn(3, 5)
    with torch.no_grad():
        expected = torch.sigmoid(model(codes)).permute(0, 2, 3, 1).numpy()
    found = decode(read_layers(parameter(model), 5), codes.numpy())
    assert found.shape == (3, 64, 64, channels)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_rounded_weight_is_off_by_half_a_step_of_its_channels_at_most() -> None:
    layers = read_layers(parameter(decoder()), 5)
    for bits in (8, 16):
        for before, after in zip(layers, pack(layers, bits).layers, strict=True):
            step = np.abs(before.weight).max(axis=(0, 2, 3)) / (2 ** (bits - 1) - 1)
            off = np.abs(after.weight - before.weight).max(axis=(0, 2, 3))
            assert (off <= 0.51 * step).all()


def test_the_page_gets_the_rounded_weights_in_blocks_of_four_channels() -> None:
    layers = read_layers(parameter(decoder()), 5)
    packed = pack(layers, 8)
    weights = np.frombuffer(base64.b64decode(packed.content["weights"]), np.int8)
    start = 0
    for layer, told in zip(packed.layers, packed.content["layers"], strict=True):
        inputs, outputs, kernel = told["inputs"], told["outputs"], told["kernel"]
        assert inputs % 4 == outputs % 4 == 0
        part = weights[start : (start := start + inputs * outputs * kernel**2)]
        blocks = part.reshape(kernel, kernel, outputs // 4, inputs, 4)
        turned = blocks.transpose(3, 2, 4, 0, 1).reshape(inputs, outputs, kernel, kernel)
        scaled = turned * np.array(told["scale"])[:, None, None]
        known_inputs, known_outputs = layer.weight.shape[:2]
        np.testing.assert_allclose(scaled[:known_inputs, :known_outputs], layer.weight, rtol=1e-6)
        assert not scaled[known_inputs:].any() and not scaled[:, known_outputs:].any()
    assert start == len(weights)


def test_the_weights_of_the_papers_decoder_take_less_than_3_mb_in_8_bits() -> None:
    layers = read_layers(parameter(decoder(latents=20, width=1.0)), 20)
    assert packed_bytes(layers, 8) < 3_000_000 < packed_bytes(layers, 16)


def test_channels_without_a_weight_stay_without() -> None:
    model = decoder()
    with torch.no_grad():
        model.pixels.weight[:, 1] = 0
    packed = pack(read_layers(parameter(model), 5), 16)
    assert not packed.layers[-1].weight[:, 1].any()
    assert packed.content["layers"][-1]["scale"][1] == 0


def test_layers_of_other_shapes_are_refused() -> None:
    other = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Linear(8, 12))
    with pytest.raises(UserError, match="the decoder's layers aren't those"):
        read_layers(parameter(other), 5)


def test_weights_that_are_no_numbers_are_refused() -> None:
    model = decoder()
    with torch.no_grad():
        model.pixels.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        read_layers(parameter(model), 5)
