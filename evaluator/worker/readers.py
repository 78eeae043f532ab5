"""Reads a model in each of the challenge's formats and two more, which may run code of its own.

Only the worker does that, after it was confined.
"""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evaluator import file_kinds
from evaluator.formats import DILL, FORMATS
from submission.datasets.pixels import tensor_in_unit_range
from submission.errors import UserError

if TYPE_CHECKING:
    import torch

Encode = Callable[[np.ndarray], np.ndarray]
EncodePixels = Callable[[np.ndarray, int], np.ndarray]


class Reading(NamedTuple):
    """What a format's reader makes of a model.

    Attributes:
        encode: Codes of images.
        encode_pixels: Codes of pixels; None where the format has no such way.
        fast: The same faster, in several threads at once.
        warnings: What the user should know of the scores.
    """

    encode: Encode
    encode_pixels: EncodePixels | None = None
    fast: EncodePixels | None = None
    warnings: tuple[str, ...] = ()


def read(path: Path) -> Reading:
    """Reads a model, which runs the code that it may hold.

    Args:
        path: What `evaluator.formats.find` found.

    Returns:
        The model.

    Raises:
        UserError: It can't be read, or is no model from images to codes.
    """
    if path.name == DILL:
        return _read_dill(path)
    readers = {
        file_kinds.SAVED_MODEL: _read_tfhub,
        file_kinds.EXPORTED: _read_exported,
        file_kinds.ONNX: _read_onnx,
    }
    return readers.get(file_kinds.kind_of(path).name, _read_pytorch)(path)


class Decoder(NamedTuple):
    """A TorchScript decoder.

    Attributes:
        decode: Codes, float32 [n, latents], to images, float32 [n, h, w, c].
        parameters: What it has learnt, in the order of its code.
    """

    decode: Encode
    parameters: "list[torch.Tensor]"


def read_decoder(path: Path) -> Decoder:
    """Reads a decoder, as training exports one.

    Args:
        path: The file.

    Returns:
        The decoder.

    Raises:
        UserError: It can't be read.
    """
    import torch

    try:
        decoder = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:
        raise UserError(f"{path} can't be read as TorchScript: {one_line(error)}") from error

    def decode(codes: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return decoder(torch.from_numpy(codes)).numpy().transpose(0, 2, 3, 1)

    return Decoder(decode, list(decoder.parameters()))


def _read_tfhub(path: Path) -> Reading:
    from evaluator.compat import load_tensorflow

    tensorflow = load_tensorflow()
    # The graph that a hub module is scored with bears no tag; it may hold others, for training.
    tags: list[str] | None = [] if (path / "tfhub_module.pb").exists() else None
    try:
        model = tensorflow.saved_model.load(str(path), tags=tags)
    except Exception as error:
        raise _unreadable(path, error) from error
    names = sorted(model.signatures)
    # What Keras and TensorFlow 2 export has one signature, whose names mean nothing.
    name = "serving_default" if names == ["serving_default"] else "representation"
    if name not in names:
        trained = "gaussian_encoder" in names
        hint = (
            ": it is the trained model, of which the representation is another" if trained else ""
        )
        raise UserError(f"{path} has no signature `representation`, only {names}{hint}")
    signature = model.signatures[name]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if name == "representation" and (set(inputs) != {"images"} or "default" not in outputs):
        raise UserError(
            f"{path}: the signature `representation` must lead from `images` to `default`, "
            f"not from {sorted(inputs)} to {sorted(outputs)}"
        )
    if name == "serving_default" and not len(inputs) == len(outputs) == 1:
        raise UserError(
            f"{path}: its signature `serving_default` leads from {sorted(inputs)} to "
            f"{sorted(outputs)}: save it with one `representation` from `images` to `default`"
        )
    argument, wanted = next(iter(inputs.items()))
    answer = "default" if name == "representation" else next(iter(outputs))

    def encode(images: np.ndarray) -> np.ndarray:
        # A TF1 graph's shapes are checked when it is fed, which this way of calling it isn't.
        if not wanted.shape.is_compatible_with(images.shape):
            raise ValueError(f"its signature takes images {wanted.shape}")
        batch = tensorflow.constant(np.asarray(images, wanted.dtype.as_numpy_dtype))
        # The model has to stay referenced, or TensorFlow drops its variables.
        return model.signatures[name](**{argument: batch})[answer].numpy()

    return Reading(encode)


def _read_pytorch(path: Path) -> Reading:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if file_kinds.kind_of(path).name == file_kinds.PICKLE:
                model = torch.load(path, map_location="cpu", weights_only=False)
            else:
                model = torch.jit.load(str(path), map_location="cpu")
    except (Exception, SystemExit) as error:
        raise _unreadable(path, error) from error
    if not isinstance(model, torch.nn.Module):
        raise UserError(
            f"{path} holds a {type(model).__name__}, not a model: save the module with "
            "torch.jit.save(torch.jit.script(module.eval()), path)"
        )
    dtypes = {value.dtype for value in model.parameters() if value.is_floating_point()}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    fast = None
    if isinstance(model, torch.jit.ScriptModule):
        fast = encode_pixels(path, _channels_last(path), "cpu", dtype)
    return Reading(
        encode_images(path, model, "cpu", dtype),
        encode_pixels(path, model, "cpu", dtype),
        fast,
        _of_training_mode(path, _left_in_training(model)),
    )


def _read_exported(path: Path) -> Reading:
    import torch
    from torch.export.passes import move_to_device_pass

    try:
        program = torch.export.load(path)
        if file_kinds.names_a_gpu(path):
            program = move_to_device_pass(program, "cpu")
        model = program.module()
    except Exception as error:
        if file_kinds.names_a_gpu(path):
            raise _of_a_gpu(path) from error
        raise _unreadable(path, error) from error
    nodes = list(program.graph.nodes)
    inputs = [one for one in nodes if one.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        raise UserError(f"{path} takes {len(inputs)} inputs, not one batch of images")
    images = inputs[0].meta["val"]
    if isinstance(images.shape[0], int):
        raise UserError(
            f"{path} takes batches of {images.shape[0]} images alone: export it with "
            'dynamic_shapes=({0: torch.export.Dim("n")},)'
        )
    operators = {str(one.target).split(".")[1]: one.args for one in nodes if "." in str(one.target)}
    left = {name for name, at in _TRAINS.items() if operators.get(name, ())[at : at + 1] == (True,)}
    return Reading(
        encode_images(path, model, "cpu", images.dtype),
        encode_pixels(path, model, "cpu", images.dtype),
        warnings=_of_training_mode(path, left),
    )


# Which argument tells an operator of PyTorch's that it trains.
_TRAINS = {"batch_norm": 5, "dropout": 2, "feature_dropout": 2, "alpha_dropout": 2}


def _read_onnx(path: Path) -> Reading:
    import onnxruntime

    # What it says of a graph that it simplifies would stand on the terminal.
    onnxruntime.set_default_logger_severity(3)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _unreadable(path, error) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(
            f"{path} leads from {[one.name for one in inputs]} to {[one.name for one in outputs]}: "
            "export it from one batch of images to one tensor [n, latents]"
        )
    images = inputs[0]
    if images.shape and isinstance(images.shape[0], int):
        raise UserError(
            f"{path} takes batches of {images.shape[0]} images alone: export it with "
            f"dynamic_axes={{{images.name!r}: {{0: 'n'}}}}"
        )
    dtypes = {"tensor(double)": np.float64, "tensor(float16)": np.float16}
    dtype = dtypes.get(images.type, np.float32)

    def encode(batch: np.ndarray) -> np.ndarray:
        channels_first = np.ascontiguousarray(np.moveaxis(batch, 3, 1), np.float32)
        return session.run(None, {images.name: channels_first.astype(dtype)})[0]

    return Reading(encode)


def encode_images(
    path: Path, model: "Callable[[torch.Tensor], Any]", device: str, dtype: "torch.dtype"
) -> Encode:
    """A PyTorch model as a function of images.

    Args:
        path: What messages call it.
        model: On `device`.
        device: Where it runs.
        dtype: What it is given.

    Returns:
        From [n, h, w, c] in [0, 1] to [n, latents].
    """
    import torch

    def encode(images: np.ndarray) -> np.ndarray:
        def batch() -> torch.Tensor:
            channels_first = torch.from_numpy(np.moveaxis(images, 3, 1))
            return channels_first.to(device, torch.float32, copy=True).to(dtype)

        return _codes_of(path, model, batch)

    return encode


def encode_pixels(
    path: Path, model: "Callable[[torch.Tensor], Any]", device: str, dtype: "torch.dtype"
) -> EncodePixels:
    """The same of uint8 [n, h, w, c] and the pixel value that means 1.0."""
    import torch

    def encode(pixels: np.ndarray, white: int) -> np.ndarray:
        # The transposed view is PyTorch's channels-last layout, so nothing is copied but the bytes
        # to floats; dividing float32 by 255 or 1 gives what dividing float64 and rounding does.
        def batch() -> torch.Tensor:
            channels_first = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
            return tensor_in_unit_range(channels_first, white).float().to(dtype)

        return _codes_of(path, model, batch)

    return encode


def _codes_of(
    path: Path, model: "Callable[[torch.Tensor], Any]", batch: "Callable[[], torch.Tensor]"
) -> np.ndarray:
    """The model's answer to a batch, which is made anew for each call, since it may be changed."""
    import torch

    try:
        with torch.no_grad():
            try:
                codes = model(batch())
            except RuntimeError:
                # `x.view(len(x), -1)` refuses the channels-last layout, which a convolution keeps
                # today; in the challenge's time it answered in the other one.
                codes = model(batch().contiguous())
    except RuntimeError as error:
        scripted = isinstance(model, torch.jit.ScriptModule)
        if scripted and file_kinds.names_a_gpu(path):
            raise _of_a_gpu(path) from error
        raise
    if not isinstance(codes, torch.Tensor):
        raise UserError(f"{path} returns a {type(codes).__name__}, not one tensor [n, latents]")
    return as_array(codes)


def as_array(tensor: "torch.Tensor") -> np.ndarray:
    """A tensor's numbers; it may have a gradient, and lie on a GPU."""
    tensor = tensor.detach().cpu()
    # numpy has no bfloat16, whose numbers are all among those of float32.
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def _of_a_gpu(path: Path) -> UserError:
    return UserError(
        f"{path} names a GPU in its code, and a model is run on the CPU: "
        "export it again after model.cpu().eval(), with images on the CPU"
    )


def _left_in_training(model: "torch.nn.Module") -> set[str]:
    """The types of layers that do something else in training, and were left in that mode."""
    names = {
        getattr(module, "original_name", type(module).__name__)
        for module in model.modules()
        # A frozen module has lost its mode.
        if getattr(module, "training", False)
    }
    return {
        name for name in names if re.fullmatch(r"(Sync)?BatchNorm(\dd)?|\w*Dropout(\dd)?", name)
    }


def _of_training_mode(path: Path, layers: set[str]) -> tuple[str, ...]:
    if not layers:
        return ()
    return (
        f"{path} was saved in training mode: through {' and '.join(sorted(layers))}, the code of "
        "an image depends on its batch or on chance; call eval() before you export the model",
    )


def _channels_last(path: Path) -> "torch.nn.Module":
    """A TorchScript file, its kernels laid out as the images are, so that no call turns them."""
    import torch

    model = torch.jit.load(str(path), map_location="cpu")
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def _read_dill(path: Path) -> Reading:
    from evaluator import dilled

    try:
        return Reading(dilled.read(path))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> UserError:
    return UserError(f"{path} can't be read as {FORMATS[path.name]}: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """The telling sentence of an error; TorchScript's stands below its traceback."""
    if isinstance(error, SystemExit):
        return f"it calls exit({error.code!r})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"\w*Error: ", line)]
    return (named or lines or [type(error).__name__])[0].split(". ")[0]
