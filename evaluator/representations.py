"""A model as a function of images, each of its answers checked."""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from evaluator.ground_truth import GroundTruth
from evaluator.worker import client, operations
from evaluator.worker.readers import Encode, EncodePixels, Reading, one_line
from submission.errors import UserError

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
        warnings: What the user should know of its scores.
        in_memory: Whether a program holds it and there is no file; `path` is then its name.
        sha256: Of what it was read from; None for what a program holds.
        batch_size: How many images it is given at a time. The default is the batch of the FactorVAE
            metric, so a model that the challenge scored takes it; larger ones are no faster on a
            processor, whose cache holds the activations of 64 images.
    """

    path: Path
    encode: Encode
    latents: int
    repeatable: bool
    encode_pixels: EncodePixels | None = None
    parallel: bool = False
    warnings: tuple[str, ...] = ()
    in_memory: bool = False
    sha256: str | None = None
    batch_size: int = 64

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


def start(
    path: Path, *, trust: bool = False, worker: Path | None = None, parallel: bool = True
) -> AbstractContextManager[client.Worker]:
    """Has a representation read in a process of its own, which ends with the context.

    Args:
        path: The model, as `evaluator.formats.find` found it.
        trust: Whether a model that nothing confines may run though its code names files.
        worker: Where to listen for a process that somebody else starts; None starts one.
        parallel: Whether it may be asked from several threads.

    Returns:
        The process, for `read`.

    Raises:
        UserError: Nothing confines it and it isn't trusted, or nobody connects.
    """
    if worker:
        return client.awaited(path, worker)
    return client.started(path, trust=trust, parallel=parallel)


def read(process: client.Worker, ground_truth: GroundTruth) -> Representation:
    """Waits for a representation and tries it on images of the data set.

    Args:
        process: What reads it.
        ground_truth: The data set; a few of its images are encoded, in batches of several sizes.

    Returns:
        The representation, for as long as its process runs.

    Raises:
        UserError: An unreadable file, a model that refuses the images or returns anything but
            finite numbers [n, latents], or that ends its process.
    """
    # Now, since the file may be another one by the time that all images are encoded.
    digest = sha256(process.path)
    reading = process.reading(ground_truth.dataset.float64)
    return replace(check(reading, process.path, ground_truth), sha256=digest)


def sha256(path: Path) -> str:
    """Hashes a representation: a file's content, or the names and contents of several files.

    Several are a folder, or an ONNX model with the weights that it keeps beside it.

    Args:
        path: The file or folder.

    Returns:
        64 hexadecimal digits.
    """
    files = files_of(path)
    if files == [path]:
        return _sha256_of_file(path)
    digest = hashlib.sha256()
    root = path.parent if path.is_file() else path
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()} {_sha256_of_file(file)}\n".encode())
    return digest.hexdigest()


def files_of(path: Path) -> list[Path]:
    """All files that a representation is read from.

    Args:
        path: The file or folder.
    """
    if path.is_file():
        return operations.with_files_beside([path])
    return sorted(file for file in path.rglob("*") if file.is_file())


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    encode, encode_pixels, fast = reading.encode, reading.encode_pixels, reading.fast
    # Whoever knew which images come first could tell a model what they are.
    seed = secrets.randbits(32)

    def ask(function: Callable[..., np.ndarray], images: np.ndarray, *rest: int) -> np.ndarray:
        try:
            codes = function(images, *rest)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            height, width, channels = images.shape[1:]
            raise UserError(
                f"{path} fails on a batch of {len(images)} images of {ground_truth.dataset.name} "
                f"({height} x {width}, {channels} channels): {one_line(error)}"
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
        # Truth values can neither be binned nor subtracted.
        return codes.astype(np.float64) if codes.dtype.kind == "b" else codes

    def sample(size: int) -> np.ndarray:
        return ground_truth.sample_observations(size, np.random.RandomState(seed))

    probe = sample(_PROBED_BATCHES[0])
    first = ask(encode, probe)
    latents = first.shape[1]
    if not 0 < latents <= client.MOST_LATENTS:
        raise UserError(
            f"{path} returns {latents or 'no'} latents: 1 to {client.MOST_LATENTS:,} can be scored"
        )

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
    if encode_pixels and fast and _give_equal_bits(encode_pixels, fast, ground_truth, seed):
        encode_pixels, parallel = fast, True
    checked = partial(ask_for_latents, encode)
    checked_pixels = encode_pixels and partial(ask_for_latents, encode_pixels)
    for size in _PROBED_BATCHES[1:]:
        checked(sample(size))
    repeatable = np.array_equal(first, checked(probe))
    return Representation(
        path, checked, latents, repeatable, checked_pixels, parallel, reading.warnings, in_memory
    )


def _give_equal_bits(
    one: EncodePixels, other: EncodePixels, ground_truth: GroundTruth, seed: int
) -> bool:
    """Whether two ways to encode agree on a batch."""
    images, white = ground_truth.dataset.images, ground_truth.dataset.white
    batch = images[np.random.RandomState(seed).randint(len(images), size=_PROBED_BATCHES[1])]
    try:
        return np.array_equal(one(batch, white), other(batch, white))
    except (client.FailedError, UserError):
        # Such as a model that views its kernels as rows.
        return False
