"""The decoder's last two layers in polyphase form: the same sums, in an order that is faster.

A transposed convolution of stride 2 writes every second row and column with the same part of its
kernel. The four parts are four ordinary convolutions, and the images that they make (the phases)
can be kept as channels: [4 c, h, w] instead of [c, 2 h, 2 w]. The largest tensor of the network
then never has to be interleaved: the last layer reads the phases as they are, and only its
three-channel result is (`pixel_shuffle`). See Shi et al. (2016), "Is the deconvolution layer the
same as a convolutional layer?", for the first step.

Channels stand in `pixel_shuffle`'s order: c is the slowest, then the row's phase, then the
column's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PHASES = 4


def decode_in_phases(layers: nn.Sequential, pixels: nn.ConvTranspose2d, features: Tensor) -> Tensor:
    """What `pixels(layers(features))` is, up to rounding.

    Args:
        layers: Ends with a transposed convolution (kernel 4, stride 2, no padding) and a ReLU.
        pixels: A transposed convolution, kernel 3, stride 1, no padding.
        features: What `layers` takes.

    Returns:
        Logits `[batch, channels, 64, 64]`.
    """
    upsampling, activation = layers[-2], layers[-1]
    assert isinstance(upsampling, nn.ConvTranspose2d)
    features = layers[:-2](features)
    phases = activation(_convolve(features, upsampling_kernel(upsampling.weight), upsampling.bias))
    logits = _convolve(phases, pixels_kernel(pixels.weight), pixels.bias)
    return F.pixel_shuffle(logits, upscale_factor=2)


def upsampling_kernel(weight: Tensor) -> Tensor:
    """The kernel `[4 outputs, inputs, 2, 2]` of stride 1 and padding 1 that makes the phases.

    Output row 2 i + a is the sum over taps t of input row i - t times kernel row 2 t + a.

    Args:
        weight: Of a transposed convolution of stride 2 and no padding, `[inputs, outputs, 4, 4]`.
    """
    inputs, outputs = weight.shape[:2]
    # [inputs, outputs, row tap, row phase, column tap, column phase]; tap t reads row i - t.
    taps = weight.reshape(inputs, outputs, 2, 2, 2, 2).flip(2, 4)
    return taps.permute(1, 3, 5, 0, 2, 4).reshape(_PHASES * outputs, inputs, 2, 2)


def pixels_kernel(weight: Tensor) -> Tensor:
    """The kernel `[4 outputs, 4 inputs, 2, 2]` of padding 1 that leads from phases to phases.

    Args:
        weight: Of a transposed convolution of stride 1 and no padding, `[inputs, outputs, 3, 3]`.
    """
    inputs, outputs = weight.shape[:2]
    # From phase c of the input to phase a of the output, tap s is kernel row 2 (1 - s) + a - c:
    # of the padded kernel, the window of 4 rows from a on, backwards, is [s, c].
    windows = F.pad(weight, (1, 1, 1, 1)).unfold(2, 4, 1).unfold(3, 4, 1).flip(4, 5)
    # [inputs, outputs, a, b, row tap, c, column tap, d]; b and d are the columns' phases.
    taps = windows.reshape(inputs, outputs, 2, 2, 2, 2, 2, 2).permute(1, 2, 3, 0, 5, 7, 4, 6)
    return taps.reshape(_PHASES * outputs, _PHASES * inputs, 2, 2)


def _convolve(features: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    assert bias is not None
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return F.conv2d(features, kernel, bias.repeat_interleave(_PHASES), padding=1)
