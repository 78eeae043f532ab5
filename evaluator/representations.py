"""Representations in the challenge's three formats and two more, read as functions of images.

What a submission looks like is fixed by the challenge's starter kit (AIcrowd,
neurips2019_disentanglement_challenge_starter_kit: `evaluate.py`, `utils_pytorch.py`,
`utils_numpy.py`); where several stand in one folder, the first of these counts:

* ``tfhub/``: a hub module in TensorFlow 1's format or a SavedModel, with a signature
  ``representation`` from ``images`` [n, h, w, c] to ``default`` [n, latents];
* ``pytorch_model.pt``: TorchScript, or a pickled ``nn.Module``, of float32 [n, c, h, w]. It runs in
  the mode it was saved in, as the challenge ran it: the kit's export calls ``eval()`` first;
* ``python_model.dill``: a function of a numpy array [n, c, h, w] that returns one;
* ``pytorch_model.pt2``: what ``torch.export.save`` writes, of images as TorchScript's;
* ``model.onnx``: an ONNX model, of images as TorchScript's.

The last two, which the challenge didn't know, are also read as ``pytorch_model.pt``.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluator import file_kinds
from evaluator.ground_truth import GroundTruth
from submission.datasets.pixels import tensor_in_unit_range
from submission.environment import Environment
from submission.errors import UserError

if TYPE_CHECKING:
    import torch

Encode = Callable[[np.ndarray], np.ndarray]
EncodePixels = Callable[[np.ndarray, int], np.ndarray]

TFHUB = "tfhub"
PYTORCH = "pytorch_model.pt"
DILL = "python_model.dill"
EXPORTED = "pytorch_model.pt2"
ONNX = "model.onnx"
# In the order in which they are looked for, each with what it should be.
FORMATS = {
    TFHUB: "a hub module or SavedModel",
    PYTORCH: "TorchScript, a torch.export archive, an ONNX model or a pickled nn.Module",
    DILL: "a dilled function",
    EXPORTED: "a torch.export archive",
    ONNX: "an ONNX model",
}

# The batches that the metrics ask for: 16 for most, 64 for FactorVAE, and what is left at the end.
_PROBED_BATCHES = (16, 64, 8)


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


@dataclass(frozen=True)
class Representation:
    """A representation that has answered a few batches correctly.

    Attributes:
        path: The file or folder it was read from.
        encode: Images [n, h, w, c] in [0, 1] to codes [n, latents], a numeric array. Raises
            `UserError` when the model fails, or when its codes aren't finite or not of that shape.
        latents: How many there are.
        repeatable: Whether the same images gave the same codes twice; a sampled posterior, or
            dropout left on, doesn't.
        encode_pixels: The same from uint8 [n, h, w, c] and the pixel value that means 1.0, without
            a copy of the images in another layout; None where the format has no such way.
        parallel: Whether `encode_pixels` may run in several threads at once.
        warnings: What the user should know of its scores.
        in_memory: Whether a program holds it and there is no file; `path` is then its name.
    """

    path: Path
    encode: Encode
    latents: int
    repeatable: bool
    encode_pixels: EncodePixels | None = None
    parallel: bool = False
    warnings: tuple[str, ...] = ()
    in_memory: bool = False

    def counted(self, count: Callable[[int], None]) -> "Representation":
        """The same, calling `count` with the number of images of every batch it has encoded."""

        def count_after(encode: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
            def encode_and_count(images: np.ndarray, *rest: int) -> np.ndarray:
                codes = encode(images, *rest)
                count(len(images))
                return codes

            return encode_and_count

        pixels = self.encode_pixels and count_after(self.encode_pixels)
        return replace(self, encode=count_after(self.encode), encode_pixels=pixels)


def find(given: Path, allow_pickle: bool = False) -> Path:
    """Finds a representation and tells what can't be one, without running any of its code.

    Args:
        given: The representation folder, the folder of a run that holds it, or the model itself.
        allow_pickle: Whether a file that can run code when it is read is acceptable.

    Returns:
        The path of the first format present, or of the one given.

    Raises:
        UserError: None of the formats is there, the file is something else, or it can run code and
            `allow_pickle` is false.
    """
    try:
        path = _locate(given)
        kind = file_kinds.kind_of(path)
    except OSError as error:
        raise UserError(f"{error.filename} can't be opened ({error.strerror})") from error
    mistake = kind.mistake
    if not mistake and path.name not in _HOMES[kind.name]:
        mistake = f"is {kind.name}"
        if kind.name != file_kinds.UNKNOWN:
            mistake += f", whose place is {_HOMES[kind.name][0]}"
    if mistake:
        raise UserError(f"{path} can't be read as {FORMATS[path.name]}: it {mistake}")
    if not allow_pickle and (path.name == DILL or kind.name in _CAN_RUN_CODE):
        raise UserError(
            f"reading {path} runs the code that it may hold: if you trust where it comes from, "
            "pass --allow-pickle"
        )
    return path


# Where each kind may stand, first where it belongs.
_HOMES = {
    file_kinds.SAVED_MODEL: (TFHUB,),
    file_kinds.TORCHSCRIPT: (PYTORCH,),
    file_kinds.EXPORTED: (EXPORTED, PYTORCH),
    file_kinds.ONNX: (ONNX, PYTORCH),
    file_kinds.PICKLE: (PYTORCH, DILL),
    # Their readers say more.
    file_kinds.UNKNOWN: (PYTORCH, DILL),
}
_SUFFIXES = (".pt", ".pth", ".pt2", ".ckpt", ".onnx", ".pb", ".dill", ".pkl")
# torch.export.load says of itself that it uses pickle, and must not be given what isn't trusted.
_CAN_RUN_CODE = (file_kinds.PICKLE, file_kinds.EXPORTED)


def _locate(given: Path) -> Path:
    """The model that a path leads to: the path itself, or the first format in a folder."""
    is_saved_model = (given / "saved_model.pb").is_file()
    if given.name in FORMATS and (given.is_file() or is_saved_model):
        return given
    for folder in (given, given / "representation"):
        for name in FORMATS:
            # A link to nowhere is opened, and told, as what it should be.
            if os.path.lexists(folder / name):
                return folder / name
    if not given.exists():
        raise UserError(f"there is no representation folder {given}")
    names = [f"{name}/" if name == TFHUB else name for name in FORMATS]
    if given.is_dir() and not is_saved_model:
        models = [path.name for path in given.iterdir() if path.suffix in _SUFFIXES]
        hint = f": if {min(models)} is the model, rename it" if models else ""
        raise UserError(f"{given} holds none of {', '.join(names[:-1])} and {names[-1]}{hint}")
    kind = file_kinds.kind_of(given)
    home = " or ".join(_HOMES[kind.name])
    mistake = f"is {kind.name}: call it {home}, in a folder of its own, and give that folder"
    raise UserError(f"{given} {kind.mistake or mistake}")


def load(folder: Path, ground_truth: GroundTruth, allow_pickle: bool = False) -> Representation:
    """Reads a representation and tries it on images of the data set.

    Args:
        folder: The representation folder.
        ground_truth: The data set; a few of its images are encoded, in batches of several sizes.
        allow_pickle: Whether to read a pickled module or function, which runs the code it holds.

    Returns:
        The representation.

    Raises:
        UserError: Nothing to read, an unreadable file, or a model that refuses the images or
            returns anything but finite numbers [n, latents].
    """
    path = find(folder, allow_pickle)
    if path.name == DILL:
        from evaluator import dilled

        images = ground_truth.sample_observations(max(_PROBED_BATCHES), np.random.RandomState(0))
        dilled.try_apart(path, images, _PROBED_BATCHES)
        return check(_read_dill(path), path, ground_truth)
    readers = {
        file_kinds.SAVED_MODEL: _read_tfhub,
        file_kinds.EXPORTED: _read_exported,
        file_kinds.ONNX: _read_onnx,
    }
    read = readers.get(file_kinds.kind_of(path).name, _read_pytorch)
    return check(read(path), path, ground_truth)


def sha256(path: Path) -> str:
    """Hashes a representation: a file's content, or a folder's file names and contents.

    Args:
        path: The file or folder.

    Returns:
        64 hexadecimal digits.
    """
    if path.is_file():
        return _sha256_of_file(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()} {_sha256_of_file(file)}\n".encode())
    return digest.hexdigest()


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

    device = _device()
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
    model = model.to(device)
    dtypes = {value.dtype for value in model.parameters() if value.is_floating_point()}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    fast = None
    if device == "cpu" and isinstance(model, torch.jit.ScriptModule):
        fast = encode_pixels(path, _channels_last(path), device, dtype)
    return Reading(
        encode_images(path, model, device, dtype),
        encode_pixels(path, model, device, dtype),
        fast,
        _of_training_mode(path, _left_in_training(model)),
    )


def _read_exported(path: Path) -> Reading:
    import torch
    from torch.export.passes import move_to_device_pass

    device = _device()
    try:
        program = torch.export.load(path)
        if file_kinds.names_a_gpu(path):
            program = move_to_device_pass(program, device)
        model = program.module().to(device)
    except Exception as error:
        if device == "cpu" and file_kinds.names_a_gpu(path):
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
        encode_images(path, model, device, images.dtype),
        encode_pixels(path, model, device, images.dtype),
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


def _device() -> str:
    """Where PyTorch runs a model, with the settings that make it repeatable."""
    import torch

    make_repeatable()
    return "cuda" if Environment.read().use_cuda and torch.cuda.is_available() else "cpu"


def make_repeatable() -> None:
    """Rules out what changes digits from one run to the next: TF32, and cuDNN's choice."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def encode_images(
    path: Path, model: "torch.nn.Module", device: str, dtype: "torch.dtype"
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
    path: Path, model: "torch.nn.Module", device: str, dtype: "torch.dtype"
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
    path: Path, model: "torch.nn.Module", batch: "Callable[[], torch.Tensor]"
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
        if scripted and not batch().is_cuda and file_kinds.names_a_gpu(path):
            raise _of_a_gpu(path) from error
        raise
    if not isinstance(codes, torch.Tensor):
        raise UserError(f"{path} returns a {type(codes).__name__}, not one tensor [n, latents]")
    return codes.cpu().numpy()


def _of_a_gpu(path: Path) -> UserError:
    return UserError(
        f"{path} names a GPU in its code, so it runs nowhere else, nor in the scoring container: "
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


def check(
    reading: Reading, path: Path, ground_truth: GroundTruth, in_memory: bool = False
) -> Representation:
    """Adds the checks of every answer, and learns the number of latents from the first.

    The probes also decide how it is encoded: a faster way is taken only if it gives equal bits, and
    `repeatable` says whether the first probe, asked again after batches of other sizes, has the
    same codes, without which no table of codes may be used.

    Args:
        reading: The model, as its reader made it.
        path: Its file or folder, or what messages call it.
        ground_truth: The data set; a few of its images are encoded.
        in_memory: Whether there is no file.

    Returns:
        The representation.

    Raises:
        UserError: It refuses the images, or returns anything but finite numbers [n, latents].
    """
    encode = _apart(reading.encode)
    encode_pixels = reading.encode_pixels and _apart(reading.encode_pixels)
    fast = reading.fast and _apart(reading.fast)

    def ask(function: Callable[..., np.ndarray], images: np.ndarray, *rest: int) -> np.ndarray:
        try:
            codes = function(images, *rest)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            height, width, channels = images.shape[1:]
            raise UserError(
                f"{path} fails on a batch of {len(images)} images of {ground_truth.dataset.name} "
                f"({height} x {width}, {channels} channels): {_one_line(error)}"
            ) from error
        if codes.dtype.kind not in "fiub":
            raise UserError(f"{path} returns {codes.dtype}, not numbers")
        if codes.ndim != 2:
            raise UserError(
                f"{path} returns an array of rank {codes.ndim}, shape {list(codes.shape)}: "
                "a representation is [n, latents]"
            )
        if len(codes) != len(images):
            raise UserError(f"{path} returns {len(codes)} rows for a batch of {len(images)} images")
        if not np.isfinite(codes).all():
            raise UserError(f"{path} returns codes that are not finite (NaN or infinity)")
        return codes

    def sample(size: int) -> np.ndarray:
        return ground_truth.sample_observations(size, np.random.RandomState(0))

    probe = sample(_PROBED_BATCHES[0])
    first = ask(encode, probe)
    latents = first.shape[1]
    if latents == 0:
        raise UserError(f"{path} returns no latents")

    def ask_for_latents(
        function: Callable[..., np.ndarray], images: np.ndarray, *rest: int
    ) -> np.ndarray:
        codes = ask(function, images, *rest)
        if codes.shape[1] != latents:
            raise UserError(
                f"{path} returns {codes.shape[1]} latents for a batch of {len(images)} images, "
                f"after {latents} for a batch of {_PROBED_BATCHES[0]}"
            )
        return codes

    parallel = False
    if encode_pixels and fast and _give_equal_bits(encode_pixels, fast, ground_truth):
        encode_pixels, parallel = fast, True
    checked = partial(ask_for_latents, encode)
    checked_pixels = encode_pixels and partial(ask_for_latents, encode_pixels)
    for size in _PROBED_BATCHES[1:]:
        checked(sample(size))
    repeatable = np.array_equal(first, checked(probe))
    return Representation(
        path, checked, latents, repeatable, checked_pixels, parallel, reading.warnings, in_memory
    )


def _apart(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Shares no memory with a model: it may change its input, or give the same array again."""

    def call(images: np.ndarray, *rest: int) -> np.ndarray:
        return function(images.copy(), *rest).copy()

    return call


def _unreadable(path: Path, error: BaseException) -> UserError:
    return UserError(f"{path} can't be read as {FORMATS[path.name]}: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    """The telling sentence of an error; TorchScript's stands below its traceback."""
    if isinstance(error, SystemExit):
        return f"it calls exit({error.code!r})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"\w*Error: ", line)]
    return (named or lines or [type(error).__name__])[0].split(". ")[0]


def _give_equal_bits(one: EncodePixels, other: EncodePixels, ground_truth: GroundTruth) -> bool:
    """Whether two ways to encode agree on a batch, the second in a thread of its own."""
    import torch

    images, white = ground_truth.dataset.images, ground_truth.dataset.white
    batch = images[np.random.RandomState(0).randint(len(images), size=_PROBED_BATCHES[1])]
    try:
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return np.array_equal(one(batch, white), pool.submit(other, batch, white).result())
    except Exception:
        # Such as a model that views its kernels as rows.
        return False
