import numpy as np
import pytest
import torch

from submission.datasets.pixels import in_unit_range, tensor_in_unit_range

LEVELS = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("white", [1, 255])
def test_arrays_and_tensors_have_the_same_bits_in_either_layout(white):
    pixels = np.tile(LEVELS, 3).reshape(2, 8, 16, 3)
    array = in_unit_range(pixels, white)
    assert array.dtype == np.float32
    tensor = tensor_in_unit_range(torch.from_numpy(pixels).permute(0, 3, 1, 2), white)
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, torch.from_numpy(np.moveaxis(array, 3, 1).copy()))
    assert tensor.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("white", [1, 255])
def test_float64_rounds_to_the_same_float32(white):
    double = in_unit_range(LEVELS, white, np.float64)
    assert double.dtype == np.float64
    np.testing.assert_array_equal(double, LEVELS / float(white))
    np.testing.assert_array_equal(double.astype(np.float32), in_unit_range(LEVELS, white))
