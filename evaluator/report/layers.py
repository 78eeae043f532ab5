"""A decoder that a page computes itself: that of `submission.networks`, as arrays."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from submission.errors import UserError

# Kernel, stride and padding of each layer. The first, a 1x1 convolution of one pixel, is a
# transposed one like the others.
_GEOMETRY = ((1, 1, 0), (4, 2, 1), *[(4, 2, 0)] * 4, (3, 1, 0))
# The page computes so many channels at a time.
_BLOCK = 4


@dataclass(frozen=True)
class Layer:
    """A transposed convolution.

    Attributes:
        weight: [inputs, outputs, kernel, kernel].
        bias: [outputs].
        stride: Pixels of the output from one pixel of the input to the next.
        padding: Pixels that are cut from each side of the output.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int
    padding: int


def read_layers(parameter: Callable[[int], NDArray[np.float32]], latents: int) -> list[Layer]:
    """Takes a decoder's parameters for those of `submission.networks.Decoder`.

    Another decoder may have parameters of the same shapes: `decode` shows whether it is this one.

    Args:
        parameter: The decoder's parameters by their place.
        latents: Size of its codes.

    Returns:
        Its layers.

    Raises:
        UserError: Their shapes aren't those, or a number isn't finite.
    """
    layers = []
    inputs = latents
    for number, (kernel, stride, padding) in enumerate(_GEOMETRY):
        weight, bias = parameter(2 * number), parameter(2 * number + 1)
        if weight.ndim == 4 and not number:
            weight = weight.swapaxes(0, 1)
        if bias.ndim != 1 or weight.shape != (inputs, len(bias), kernel, kernel):
            raise UserError("the decoder's layers aren't those of submission/networks.py")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise UserError("the decoder's weights are not finite")
        layers.append(Layer(weight, bias, stride, padding))
        inputs = len(bias)
    return layers


def decode(layers: Sequence[Layer], codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """What such a decoder computes: ReLUs between the layers, and a sigmoid at the end.

    Args:
        layers: From the code to the pixels.
        codes: [n, latents].

    Returns:
        Images [n, height, width, channels] in [0, 1].
    """
    features = codes[:, None, None]
    for number, layer in enumerate(layers):
        if number:
            features = np.maximum(features, 0)
        features = _transposed_convolution(layer, features)
    return expit(features)


def _transposed_convolution(layer: Layer, features: NDArray[np.float32]) -> NDArray[np.float32]:
    count, height, width, _ = features.shape
    _, outputs, kernel, _ = layer.weight.shape
    stride, padding = layer.stride, layer.padding
    size = [(length - 1) * stride + kernel for length in (height, width)]
    full = np.zeros((count, *size, outputs), np.float32)
    for y in range(kernel):
        for x in range(kernel):
            spread = full[:, y : y + stride * height : stride, x : x + stride * width : stride]
            spread += features @ layer.weight[:, :, y, x]
    return full[:, padding : size[0] - padding, padding : size[1] - padding] + layer.bias


@dataclass(frozen=True)
class Packed:
    """Layers whose weights are whole numbers times a scale of each output channel.

    Attributes:
        layers: What they are then.
        content: The same for a page's script: each layer's `inputs`, `outputs`, `kernel`, `stride`,
            `padding`, `scale` and `bias`; the `bits` of a weight, and all weights in base64,
            little-endian, in the order [layer, y, x, outputs / 4, inputs, 4]. Channels are filled
            up to multiples of four.
    """

    layers: list[Layer]
    content: dict[str, Any]


def pack(layers: Sequence[Layer], bits: int) -> Packed:
    """Rounds the weights of layers.

    Args:
        layers: With finite weights.
        bits: 8 or 16 for each weight.

    Returns:
        The rounded layers.
    """
    largest = 2 ** (bits - 1) - 1
    rounded, described, weights = [], [], []
    for layer in layers:
        scale = np.abs(layer.weight).max(axis=(0, 2, 3)) / largest
        whole = np.rint(layer.weight / np.where(scale, scale, 1)[:, None, None])
        weight = (whole * scale[:, None, None]).astype(np.float32)
        rounded.append(Layer(weight, layer.bias, layer.stride, layer.padding))
        more = [-length % _BLOCK for length in weight.shape[:2]]
        whole = np.pad(whole, ((0, more[0]), (0, more[1]), (0, 0), (0, 0)))
        inputs, outputs, kernel, _ = whole.shape
        described.append(
            {
                "inputs": inputs,
                "outputs": outputs,
                "kernel": kernel,
                "stride": layer.stride,
                "padding": layer.padding,
                "scale": _short(np.pad(scale, (0, more[1]))),
                "bias": _short(np.pad(layer.bias, (0, more[1]))),
            }
        )
        blocks = whole.reshape(inputs, outputs // _BLOCK, _BLOCK, kernel, kernel)
        weights.append(blocks.transpose(3, 4, 1, 0, 2).astype(f"<i{bits // 8}").tobytes())
    encoded = base64.b64encode(b"".join(weights)).decode()
    return Packed(rounded, {"bits": bits, "layers": described, "weights": encoded})


def packed_bytes(layers: Sequence[Layer], bits: int) -> int:
    """About how many bytes of a page the weights take."""
    return sum(layer.weight.size for layer in layers) * bits // 8 * 4 // 3


def _short(values: NDArray[np.floating]) -> list[float]:
    """Numbers that are written with no more digits than float32 has."""
    return [float(f"{value:.7g}") for value in values.tolist()]
