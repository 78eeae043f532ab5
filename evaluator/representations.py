"""Representations in the challenge's three formats, each read as one function of images.

What a submission looks like is fixed by the challenge's starter kit (AIcrowd,
neurips2019_disentanglement_challenge_starter_kit: `evaluate.py`, `utils_pytorch.py`,
`utils_numpy.py`); where several stand in one folder, the first of these counts:

* ``tfhub/``: a hub module in TensorFlow 1's format or a SavedModel, with a signature
  ``representation`` from ``images`` [n, h, w, c] to ``default`` [n, latents];
* ``pytorch_model.pt``: TorchScript, or a pickled ``nn.Module``, of float32 [n, c, h, w]. It runs in
  the mode it was saved in, as the challenge ran it: the kit's export calls ``eval()`` first;
* ``python_model.dill``: a function of a numpy array [n, c, h, w] that returns one.
"""

import hashlib
import re
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluator.ground_truth import GroundTruth
from submission.environment import Environment
from submission.errors import UserError

if TYPE_CHECKING:
    import torch

Encode = Callable[[np.ndarray], np.ndarray]
EncodePixels = Callable[[np.ndarray, int], np.ndarray]
# A format's ways to encode: images, pixels, and pixels faster, in several threads at once.
Reading = tuple[Encode, EncodePixels | None, EncodePixels | None]

TFHUB = "tfhub"
PYTORCH = "pytorch_model.pt"
DILL = "python_model.dill"

# The batches that the metrics ask for: 16 for most, 64 for FactorVAE, and what is left at the end.
_PROBED_BATCHES = (16, 64, 8)


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
    """

    path: Path
    encode: Encode
    latents: int
    repeatable: bool
    encode_pixels: EncodePixels | None = None
    parallel: bool = False

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


def find(folder: Path, allow_pickle: bool = False) -> Path:
    """Finds the representation in a folder, without reading it.

    Args:
        folder: The representation folder.
        allow_pickle: Whether a file that can run code when it is read is acceptable.

    Returns:
        The path of the first format present.

    Raises:
        UserError: There is no folder or none of the formats in it, or it is a pickle and
            `allow_pickle` is false.
    """
    if not folder.is_dir():
        raise UserError(f"there is no representation folder {folder}")
    for name in (TFHUB, PYTORCH, DILL):
        path = folder / name
        if path.exists():
            if not allow_pickle and (name == DILL or (name == PYTORCH and _is_pickle(path))):
                raise UserError(
                    f"{path} is a pickle, and reading it runs the code it holds: "
                    "if you trust where it comes from, pass --allow-pickle"
                )
            return path
    raise UserError(f"{folder} holds none of {TFHUB}/, {PYTORCH} and {DILL}")


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
    readers = {TFHUB: _read_tfhub, PYTORCH: _read_pytorch, DILL: _read_dill}
    return _checked(readers[path.name](path), path, ground_truth)


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


def _is_pickle(path: Path) -> bool:
    """Whether torch.save wrote it: a bare pickle until 2020, since then a zip without code."""
    if not path.is_file():
        return False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).name for name in archive.namelist()}
        # TorchScript keeps its constants beside data.pkl; before PyTorch 1.4 it was a model.json.
        return "data.pkl" in names and not names & {"constants.pkl", "model.json"}
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _read_tfhub(path: Path) -> Reading:
    from evaluator.compat import load_tensorflow

    tensorflow = load_tensorflow()
    # The graph that a hub module is scored with bears no tag; it may hold others, for training.
    tags: list[str] | None = [] if (path / "tfhub_module.pb").exists() else None
    try:
        model = tensorflow.saved_model.load(str(path), tags=tags)
    except Exception as error:
        raise _unreadable(path, "a hub module or SavedModel", error) from error
    if "representation" not in model.signatures:
        raise UserError(
            f"{path} has no signature `representation`, only {sorted(model.signatures)}"
        )
    signature = model.signatures["representation"]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if set(inputs) != {"images"} or "default" not in outputs:
        raise UserError(
            f"{path}: the signature `representation` must lead from `images` to `default`, "
            f"not from {sorted(inputs)} to {sorted(outputs)}"
        )
    wanted = inputs["images"]

    def encode(images: np.ndarray) -> np.ndarray:
        # A TF1 graph's shapes are checked when it is fed, which this way of calling it isn't.
        if not wanted.shape.is_compatible_with(images.shape):
            raise ValueError(f"its signature takes images {wanted.shape}")
        batch = tensorflow.constant(np.asarray(images, wanted.dtype.as_numpy_dtype))
        # The model has to stay referenced, or TensorFlow drops its variables.
        return model.signatures["representation"](images=batch)["default"].numpy()

    return encode, None, None


def _read_pytorch(path: Path) -> Reading:
    import torch

    device = "cuda" if Environment.read().use_cuda and torch.cuda.is_available() else "cpu"
    # TF32 and cuDNN's choice of algorithm change digits from one run to the next.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if _is_pickle(path):
                model = torch.load(path, map_location="cpu", weights_only=False)
            else:
                model = torch.jit.load(str(path), map_location="cpu")
    except (Exception, SystemExit) as error:
        raise _unreadable(path, "TorchScript or a pickled nn.Module", error) from error
    if not isinstance(model, torch.nn.Module):
        raise UserError(
            f"{path} holds a {type(model).__name__}, not a model: save the module with "
            "torch.jit.save(torch.jit.script(model), path)"
        )
    model = model.to(device)

    def codes_of(model: torch.nn.Module, batch: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            codes = model(batch)
        if not isinstance(codes, torch.Tensor):
            raise UserError(f"{path} returns a {type(codes).__name__}, not one tensor [n, latents]")
        return codes.cpu().numpy()

    def encode(images: np.ndarray) -> np.ndarray:
        return codes_of(model, torch.from_numpy(np.moveaxis(images, 3, 1)).float().to(device))

    def encode_pixels(model: torch.nn.Module, pixels: np.ndarray, white: int) -> np.ndarray:
        # The transposed view is PyTorch's channels-last layout, so nothing is copied but the bytes
        # to floats; dividing float32 by 255 or 1 gives what dividing float64 and rounding does.
        batch = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
        return codes_of(model, batch.float().div_(white))

    fast = None
    if device == "cpu" and isinstance(model, torch.jit.ScriptModule):
        fast = partial(encode_pixels, _channels_last(path))
    return encode, partial(encode_pixels, model), fast


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
        return dilled.read(path), None, None
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise _unreadable(path, "a dilled function", error) from error


def _checked(reading: Reading, path: Path, ground_truth: GroundTruth) -> Representation:
    """Adds the checks of every answer, and learns the number of latents from the first."""
    encode, encode_pixels, fast = (one and _apart(one) for one in reading)
    assert encode is not None

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
    return Representation(path, checked, latents, repeatable, checked_pixels, parallel)


def _apart(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Shares no memory with a model: it may change its input, or give the same array again."""

    def call(images: np.ndarray, *rest: int) -> np.ndarray:
        return function(images.copy(), *rest).copy()

    return call


def _unreadable(path: Path, expected: str, error: BaseException) -> UserError:
    return UserError(f"{path} can't be read as {expected}: {_one_line(error)}")


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
