"""The codes of a data set's images, each image encoded once for all metrics and seeds.

disentanglement_lib encodes whatever it draws, 970,000 images for the FactorVAE metric alone; but a
representation is a function of the image, so its codes can be looked up by the image's number.
"""

import math
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evaluator.ground_truth import GroundTruth
from evaluator.representations import Representation
from submission.datasets import Dataset
from submission.errors import UserError

# Images that are asked for a second time, beside those that every model is probed with.
_SHARE_ASKED_TWICE = 0.05
# Images that are encoded several times to see whether their codes are a function of them.
_PROBED = 256
# The batches of the reference, and single images.
_PROBED_BATCHES = (16, 1)
_PROBED_SINGLES = 8
# The sums of a network are rounded differently in batches of different sizes. Codes may differ by
# this share of the latent's largest code, and a latent that cancels to nearly 0 by a hundredth of
# this share of the largest code of all; float16 codes by 16 units in the last place.
_ROUNDING = 1e-4
_CANCELLING = 1e-2


class Codes:
    """A table of codes by image.

    The table takes images x latents numbers at most, 37 MB for 460,800 images, 20 latents and
    float32; only rows that are filled take memory.

    Attributes:
        ground_truth: The data set; it must draw no part of the image at random.
        dataset: The same, as it was read.
        representation: What encodes the images.
        exact: Whether all images that were asked for twice got the same bits twice.
    """

    def __init__(self, ground_truth: GroundTruth, representation: Representation) -> None:
        """Makes an empty table."""
        self.ground_truth = ground_truth
        self.dataset = ground_truth.dataset
        self.representation = representation
        self._table = np.empty((0, 0))
        self._known = np.zeros(len(self.dataset.images), dtype=bool)
        self.exact = True

    @classmethod
    def of_table(cls, dataset: Dataset, table: np.ndarray, name: str = "codes") -> "Codes":
        """A full table, which asks no model.

        Args:
            dataset: A data set that draws no part of the image at random.
            table: [images, latents], the code of each row of the data set's images.
            name: What messages call it.
        """
        table = np.ascontiguousarray(table)
        representation = Representation(
            Path(name), table.__getitem__, table.shape[1], repeatable=True, in_memory=True
        )
        codes = cls(GroundTruth(dataset), representation)
        codes._table = table
        codes._known[:] = True
        return codes

    @property
    def known(self) -> np.ndarray:
        """Which images have their code: int64 [n], rows of the data set's images."""
        return np.flatnonzero(self._known)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The codes of images.

        Args:
            indices: Integers of any shape, rows of the data set's images that were encoded.

        Returns:
            [*indices, latents], contiguous, in the representation's own number type.

        Raises:
            KeyError: An image was not encoded: the metric that looks it up doesn't name it in
                `Metric.images`.
        """
        if not self._known[indices].all():
            raise KeyError("a metric looks at an image that its Metric.images doesn't name")
        return self._table[indices]

    def encode(self, indices: np.ndarray) -> str | None:
        """Encodes images in an order that nobody knows, some of them twice.

        So a model that counts its calls, or remembers what it was asked, learns nothing of which
        image comes next; and one whose answer is no function of the image is seen.

        Args:
            indices: Integers [n], at least one; images that are known already are left out.

        Returns:
            Why the codes are no function of the image; None where they are, but for rounding.

        Raises:
            UserError: The representation fails, or gives codes that aren't finite.
        """
        missing = np.unique(indices[~self._known[indices]])
        if not len(missing):
            return None
        # Seeded by the operating system: of its numbers nothing tells the next.
        random = np.random.default_rng()
        twice = random.choice(missing, math.ceil(_SHARE_ASKED_TWICE * len(missing)), replace=False)
        # All batches are of one size, and none of a size that a model may refuse.
        size = self.representation.batch_size
        filled = random.choice(missing, -(len(missing) + len(twice)) % size)
        order = random.permutation(np.concatenate([missing, twice, filled]))
        again: list[tuple[np.ndarray, np.ndarray]] = []
        batches = order.reshape(-1, size)
        for batch, codes in zip(batches, self._encode_all(batches), strict=True):
            if not self._table.size:
                self._table = self._empty_table(codes.shape[1], codes.dtype)
            known = self._known[batch]
            again.append((batch[known], codes[known]))
            # Of an image that is twice in this batch the last code stays.
            self._table[batch[~known]] = codes[~known]
            self._known[batch] = True
        asked = np.concatenate([numbers for numbers, _ in again])
        second = np.concatenate([codes for _, codes in again])
        self.exact = self.exact and np.array_equal(self._table[asked], second)
        if _equal_but_for_rounding(self._table[asked], second, self._table[missing]):
            return None
        return "an image got another code when it was asked for again, in other company"

    def _empty_table(self, latents: int, dtype: np.dtype[Any]) -> np.ndarray:
        shape = (len(self._known), latents)
        needed = math.prod(shape) * dtype.itemsize
        if needed > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2:
            raise UserError(
                f"{self.representation.path} gives {latents:,} latents of {dtype}: the codes of "
                f"{shape[0]:,} images take {needed / 2**30:.0f} GB, over half of this machine's "
                "memory"
            )
        return np.empty(shape, dtype)

    def _encode_all(self, batches: np.ndarray) -> Iterator[np.ndarray]:
        """The codes of each batch of indices [batches, batch_size], in order.

        A batch is too small for several threads to share: each encodes batches of its own.
        """
        one = partial(encode, self.ground_truth, self.representation)
        threads = len(os.sched_getaffinity(0))
        if not self.representation.parallel or threads == 1 or len(batches) == 1:
            yield from map(one, batches)
            return
        with ThreadPoolExecutor(threads) as pool:
            try:
                yield from pool.map(one, batches)
            finally:
                pool.shutdown(cancel_futures=True)


def encode(
    ground_truth: GroundTruth, representation: Representation, indices: np.ndarray
) -> np.ndarray:
    """Encodes a batch in the fastest way that the representation has.

    Args:
        ground_truth: The data set; it must draw no part of the image at random.
        representation: What encodes.
        indices: int64 [n], rows of the data set's images.

    Returns:
        [n, latents].

    Raises:
        UserError: The representation fails, or gives codes that aren't finite.
    """
    dataset = ground_truth.dataset
    if representation.encode_pixels is not None:
        return representation.encode_pixels(dataset.images[indices], dataset.white)
    return representation.encode(ground_truth.observe(indices, np.random.RandomState(0)))


def why_no_table(ground_truth: GroundTruth, representation: Representation) -> str | None:
    """Tells why codes can't be looked up by image, if so.

    Some images are encoded in other company, in another order and in batches of other sizes.

    Args:
        ground_truth: The data set.
        representation: What encodes.

    Returns:
        The reason in a few words; None where the codes are a function of the image, but for
        rounding.

    Raises:
        UserError: The representation fails on batches that the reference asks for too.
    """
    if ground_truth.dataset.paint is not None:
        return f"{ground_truth.dataset.name} draws a part of each image at random"
    if not representation.repeatable:
        return "the same images gave other codes the second time"
    # Which images these are is nobody's business.
    random_state = np.random.RandomState(secrets.randbits(32))
    size = representation.batch_size
    indices = random_state.randint(len(ground_truth.dataset.images), size=_PROBED)
    codes = np.concatenate(
        [
            encode(ground_truth, representation, indices[start : start + size])
            for start in range(0, _PROBED, size)
        ]
    )
    order = random_state.permutation(_PROBED)
    for other in _PROBED_BATCHES:
        probed = order if other > 1 else order[:_PROBED_SINGLES]
        try:
            again = np.concatenate(
                [
                    representation.encode(ground_truth.observe(batch, random_state))
                    for batch in indices[probed].reshape(-1, other)
                ]
            )
        except UserError:
            # No metric asks for single images, so a model may fail on them.
            if other > 1:
                raise
            continue
        if not _equal_but_for_rounding(codes[probed], again, codes):
            return f"an image's code in a batch of {size} is another in a batch of {other}"
    return None


def _equal_but_for_rounding(one: np.ndarray, other: np.ndarray, every: np.ndarray) -> bool:
    """Whether codes differ by rounding only; `every` are the codes that tell their scale."""
    if every.dtype.kind != "f":
        return np.array_equal(one, other)
    one, other = one.astype(np.float64), other.astype(np.float64)
    largest = np.abs(every.astype(np.float64)).max(axis=0)
    share = max(_ROUNDING, 16 * float(np.finfo(every.dtype).eps))
    allowed = share * np.maximum(largest, _CANCELLING * largest.max())
    return bool((np.abs(one - other) <= allowed).all())
