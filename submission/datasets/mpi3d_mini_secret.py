"""The data set `mpi3d_mini_secret`: mpi3d_mini as no file can know it, to score a training on.

The grid is that of mpi3d_mini; the appearance is drawn by a seed from the operating system. The
images' file, which a training container sees, holds them in an order that the same seed draws, so
that no row tells its factors. The seed stands in a folder that isn't mounted there; without it the
images have no labels.
"""

import hashlib
import logging
import math
import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np

from submission.datasets import mpi3d_mini, rendered
from submission.datasets.image_cache import exclusive, fingerprint_of, has_room, open_images
from submission.datasets.images import Dataset
from submission.datasets.secret_scene import order, scene
from submission.errors import UserError
from submission.runs.files import UnreadableError, read_object, write_json

NAME = "mpi3d_mini_secret"
FILE = rendered.file_of(NAME)
FACTOR_SIZES = mpi3d_mini.DEFAULT_SIZES
SECRETS = ".secret"
"""The folder of the seed in a data root; docker/ mounts no name that begins with a dot."""
SEED_FILE = Path(SECRETS) / f"{NAME}.json"
HOW_TO_RENDER = "`python -m submission.datasets render --secret-seed`"

_SEED_BITS = 128
_FEW = 2**64  # seeds, which could all be tried

log = logging.getLogger(__name__)


def load(name: str, data_root: Path) -> Dataset:
    """Opens the rendering; where its seed isn't to be found, its images have no labels.

    Args:
        name: `NAME`.
        data_root: The folder of the data sets.

    Returns:
        The data set; without labels, of no factors.

    Raises:
        UserError: It wasn't rendered, is damaged, or the seed is another rendering's.
    """
    path = data_root / FILE
    if not path.exists():
        raise UserError(f"{name} is missing: there is no {path}; {HOW_TO_RENDER} makes it")
    source, sizes = rendered.open_file(path)
    images, fingerprint = open_images(source)
    seed = _recorded_seed(data_root / SEED_FILE, path, fingerprint)
    dataset = Dataset(
        name=name,
        images=images,
        factor_names=(),
        factor_sizes=(),
        scored_factors=(),
        path=path,
        float64=True,
        known_fingerprint=fingerprint,
    )
    if seed is None:
        log.info("the images of %s have no labels here: their seed is elsewhere", name)
        return dataset
    return replace(
        dataset,
        factor_names=mpi3d_mini.FACTOR_NAMES,
        factor_sizes=sizes,
        scored_factors=tuple(range(len(sizes))),
        image_of_state=np.argsort(order(seed, len(images))),
    )


def write(data_root: Path, seed: int | None = None) -> Dataset:
    """Renders it, where there is none yet, and records the seed.

    Args:
        data_root: The folder of the data sets.
        seed: One that was recorded, for the same bytes again; None for a new one.

    Returns:
        The data set.

    Raises:
        UserError: There is one already, or it can't be written.
    """
    path, seed_file = data_root / FILE, data_root / SEED_FILE
    if seed is None:
        seed = secrets.randbits(_SEED_BITS)
    elif seed < _FEW:
        log.warning("a seed below 2**64 can be guessed: without a number, a long one is drawn")
    with exclusive(path.parent):
        if path.exists():
            raise UserError(
                f"{path} is there already, its seed in {seed_file}: remove both to render another"
            )
        wanted = math.prod(FACTOR_SIZES) * math.prod(rendered.IMAGE_SHAPE) + rendered.SPARE_BYTES
        if not has_room(path.parent, wanted):
            raise UserError(f"no room on the disk for {path}: it takes {wanted:,} bytes")
        images = rendered.render(FACTOR_SIZES, scene(seed))[order(seed, math.prod(FACTOR_SIZES))]
        if len({hashlib.blake2b(image).digest() for image in images}) < len(images):
            raise UserError("two images of this seed are the same: take another seed")
        # First, so that no rendering is without its seed.
        write_json(seed_file, {"seed": str(seed), "fingerprint": fingerprint_of(images)})
        rendered.write_file(path, images, FACTOR_SIZES)
    return load(NAME, data_root)


def _recorded_seed(seed_file: Path, path: Path, fingerprint: str) -> int | None:
    """The seed of a rendering; None where there is no record of it."""
    try:
        record = read_object(seed_file)
        seed = int(record["seed"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (UnreadableError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{seed_file} can't be read as the seed of {path}") from error
    if record.get("fingerprint") != fingerprint:
        raise UserError(f"{seed_file} is the seed of another rendering than {path}")
    return seed
