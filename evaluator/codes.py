"""The codes of a data set's images, each image encoded once for all metrics and seeds.

disentanglement_lib encodes whatever it draws, 970,000 images for the FactorVAE metric alone; but a
representation is a function of the image, so its codes can be looked up by the image's number.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from evaluator.ground_truth import GroundTruth
from evaluator.representations import Representation
from submission.datasets import Dataset
from submission.errors import UserError

# The batch of the FactorVAE metric, so a model that the challenge scored takes it. Larger ones are
# no faster: the activations of 64 images fit the processor's cache.
BATCH_SIZE = 64

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
    """A table of codes by image, filled as images are asked for.

    The table takes images x latents numbers at most, 37 MB for 460,800 images, 20 latents and
    float32; only rows that are filled take memory.

    Attributes:
        ground_truth: The data set; it must draw no part of the image at random.
        dataset: The same, as it was read.
        representation: What encodes the images.
    """

    def __init__(self, ground_truth: GroundTruth, representation: Representation) -> None:
        """Makes an empty table."""
        self.ground_truth = ground_truth
        self.dataset = ground_truth.dataset
        self.representation = representation
        self._table: np.ndarray | None = None
        self._known = np.zeros(len(self.dataset.images), dtype=bool)

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

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The codes of images, encoding those that were never asked for.

        Args:
            indices: Integers [n], rows of the data set's images.

        Returns:
            [n, latents], contiguous, in the representation's own number type.

        Raises:
            UserError: The representation fails, or gives codes that aren't finite.
        """
        self.fill(indices)
        assert self._table is not None
        return self._table[indices]

    def fill(self, indices: np.ndarray) -> None:
        """Encodes images in full batches; worth a call before many small look-ups.

        Args:
            indices: Integers of any shape, at least one.

        Raises:
            UserError: As for a look-up.
        """
        missing = np.unique(indices[~self._known[indices]])
        # The last batch is filled up with images from the start of the list: all batches are of
        # one size, and none of a size that a model may refuse.
        batches = -(-len(missing) // BATCH_SIZE)
        full = np.resize(missing, (batches, BATCH_SIZE))
        for batch, codes in zip(full, self._encode_all(full), strict=True):
            if self._table is None:
                self._table = np.empty((len(self._known), codes.shape[1]), codes.dtype)
            self._table[batch] = codes
            self._known[batch] = True

    def _encode_all(self, batches: np.ndarray) -> Iterator[np.ndarray]:
        """The codes of each batch of indices [batches, BATCH_SIZE], in order.

        A batch is too small for several threads to share: each encodes batches of its own.
        """
        one = partial(encode, self.ground_truth, self.representation)
        threads = len(os.sched_getaffinity(0))
        if not self.representation.parallel or threads == 1 or len(batches) == 1:
            yield from map(one, batches)
            return
        import torch

        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
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
    random_state = np.random.RandomState(0)
    indices = random_state.randint(len(ground_truth.dataset.images), size=_PROBED)
    codes = np.concatenate(
        [encode(ground_truth, representation, batch) for batch in indices.reshape(-1, BATCH_SIZE)]
    )
    order = random_state.permutation(_PROBED)
    for size in _PROBED_BATCHES:
        probed = order if size > 1 else order[:_PROBED_SINGLES]
        try:
            again = np.concatenate(
                [
                    representation.encode(ground_truth.observe(batch, random_state))
                    for batch in indices[probed].reshape(-1, size)
                ]
            )
        except UserError:
            # No metric asks for single images, so a model may fail on them.
            if size > 1:
                raise
            continue
        if not _equal_but_for_rounding(codes[probed], again, codes):
            return f"an image's code in a batch of {BATCH_SIZE} is another in a batch of {size}"
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
