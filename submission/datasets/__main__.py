"""`python -m submission.datasets`: which data sets are here, and getting those that aren't."""

import argparse
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from submission.command_line import Parser, run_command_line
from submission.datasets import (
    load,
    load_unchecked,
    mpi3d,
    mpi3d_mini,
    mpi3d_mini_secret,
    rendered,
)
from submission.datasets.catalogue import CATALOGUE, entry_of, remote_files
from submission.datasets.contact_sheet import contact_sheet
from submission.datasets.download import download
from submission.datasets.image_cache import has_room
from submission.datasets.origin import is_published, remember_as_known
from submission.environment import Environment
from submission.errors import UserError
from submission.runs.files import write_atomically

EXAMPLES = """examples:
  python -m submission.datasets list
  python -m submission.datasets download mpi3d_toy
  python -m submission.datasets download mpi3d_toy --challenge    the challenge's colours and shapes
  python -m submission.datasets check mpi3d_real
  python -m submission.datasets check path/to/images.npz    a data set of your own
  python -m submission.datasets render --grid full
  python -m submission.datasets render --grid 4,4,2,3,3,20,20 --output grid.npz
  python -m submission.datasets render --secret-seed    mpi3d_mini_secret, to score a training on
  python -m submission.datasets contact-sheet --output sheet.png
"""


def main() -> None:
    """Runs the command line.

    Raises:
        UserError: As the commands do.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = _parser().parse_args()
    data_root = arguments.data_root or Environment.read().data_root
    if arguments.command == "list":
        print(list_data_sets(data_root))
    elif arguments.command == "download":
        download(remote_files(arguments.name, arguments.challenge), data_root)
    elif arguments.command == "check":
        check(arguments.name, arguments.output, data_root)
    elif arguments.command == "render" and arguments.secret_seed is not None:
        render_secret(arguments.secret_seed, arguments.grid, arguments.output, data_root)
    elif arguments.command == "render":
        render(arguments.grid, arguments.output, data_root)
    else:
        write_contact_sheet(arguments.output, data_root)


def list_data_sets(data_root: Path) -> str:
    """Lists all data sets: whether they are there, their images and factor sizes.

    Args:
        data_root: The folder of the data sets.

    Returns:
        A table, a data set a line.
    """
    lines = [f"{'name':20}{'here':6}{'images':>10}  {'factor sizes':17}  in {data_root}"]
    for name, entry in CATALOGUE.items():
        missing = entry.missing_files(data_root)
        state, note = "yes", ""
        if missing:
            state = "no"
            note = "rendered on first use" if entry.is_rendered else f"no {missing[0]}"
        try:
            sizes = entry.sizes_here(data_root)
        except UserError as error:
            state, note, sizes = "bad", str(error), entry.factor_sizes
        grid = "x".join(map(str, sizes))
        lines.append(f"{name:20}{state:6}{math.prod(sizes):>10,}  {grid:17}  {note}".rstrip())
    return "\n".join(lines)


def render(grid: str | None, output: Path | None, data_root: Path) -> None:
    """Renders `mpi3d_mini` on a grid into a file.

    Args:
        grid: `default` (as None is), `full`, `published`, or the factor sizes, separated by commas.
        output: The `.npz` file; None for the place where `load` finds the two named data sets.
        data_root: The folder of the data sets.

    Raises:
        UserError: The grid or the output is wrong, or there is no room for it.
    """
    grid = "default" if grid is None else grid
    if output is None:
        names = {grid_name: name for name, grid_name in rendered.GRID_OF_NAME.items()}
        if grid not in names:
            raise UserError(f"the grid {grid} is no data set of its own: say --output FILE.npz")
        dataset = load(names[grid], data_root)
        print(f"{names[grid]}: {len(dataset.images):,} images in {dataset.path or 'memory'}")
        return
    if output.suffix != ".npz":
        raise UserError(f"--output {output} must end in .npz")
    sizes = rendered.GRIDS.get(grid) or _parse_sizes(grid)
    wanted = math.prod(sizes) * math.prod(rendered.IMAGE_SHAPE) + rendered.SPARE_BYTES
    if not has_room(output.parent, wanted):
        raise UserError(f"no room on the disk for {output}: it takes {wanted:,} bytes")
    rendered.write_file(output, rendered.render(sizes), sizes)
    print(f"{math.prod(sizes):,} images in {output}")


def render_secret(seed: str, grid: str | None, output: Path | None, data_root: Path) -> None:
    """Renders `mpi3d_mini_secret`.

    Args:
        seed: Digits; empty for a new seed.
        grid: None, since its grid is that of `mpi3d_mini`.
        output: None, since it has its place.
        data_root: The folder of the data sets.

    Raises:
        UserError: The seed is no number, a grid or an output is given, or as `write` does.
    """
    if grid is not None or output is not None:
        raise UserError("--secret-seed has a grid and a place of its own: omit --grid and --output")
    if seed and not (seed.isascii() and seed.isdigit()):
        raise UserError(f"--secret-seed is {seed!r}: it must be a whole number of 0 or more")
    dataset = mpi3d_mini_secret.write(data_root, int(seed) if seed else None)
    print(
        f"{dataset.name}: {len(dataset.images):,} images in {dataset.path}; their seed, which no "
        f"submission may see, in {data_root / mpi3d_mini_secret.SEED_FILE}"
    )


def check(name: str, output: Path | None, data_root: Path) -> None:
    """Writes a PNG that shows each factor of a data set varied alone, and says what it must show.

    Whoever has seen it isn't warned of this MPI3D file again.

    Args:
        name: The data set's name, or the path of one's own.
        output: The PNG file; None for `<name>.png` in the working folder.
        data_root: The folder of the data sets.

    Raises:
        UserError: The data set is missing or damaged, or the PNG can't be written.
    """
    dataset = load_unchecked(name, data_root)
    output = output or Path(f"{dataset.name}.png")
    value_names: Sequence[Sequence[object]] | Sequence[np.ndarray] = dataset.factor_values
    if not dataset.is_own and (names_of := entry_of(name).value_names):
        value_names = names_of(dataset.factor_sizes)
    sheet = contact_sheet(dataset, value_names)
    write_atomically(output, lambda file: sheet.save(file, format="png"))
    sizes = "x".join(map(str, dataset.factor_sizes)) or "no factors"
    if dataset.factors is not None:
        combinations = math.prod(dataset.factor_sizes)
        there = len(np.unique(dataset.factors, axis=0))
        sizes += f", {there:,} of {combinations:,} combinations"
    print(f"{dataset.name}: {len(dataset.images):,} images ({sizes}) in {dataset.path or 'memory'}")
    if not dataset.factor_sizes:
        print(f"{output}: some of the images")
        return
    if name in mpi3d.NAMES and dataset.path is not None:
        known = is_published(name, dataset.path)
        print(
            f"{'a checksum' if known else 'none of the checksums'} known of the published file fits"
        )
        remember_as_known(dataset)
    print(
        f"{output}: look whether in every row the named factor changes, step by step, and nothing "
        "else does, and whether each value is what is written below it. Noise, torn pictures, and "
        "rows in which another thing changes or nothing does mean a scrambled file or other order: "
        "don't train on it."
    )


def write_contact_sheet(output: Path, data_root: Path) -> None:
    """Writes a PNG that shows each factor of `mpi3d_mini` varied alone.

    Args:
        output: The PNG file.
        data_root: The folder of the data sets.

    Raises:
        UserError: The file can't be written.
    """
    dataset = load("mpi3d_mini", data_root)
    sheet = mpi3d_mini.contact_sheet(dataset.images, dataset.factor_sizes)
    write_atomically(output, lambda file: sheet.save(file, format="png"))
    print(output)


def _parse_sizes(grid: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in grid.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) != len(mpi3d_mini.FACTOR_NAMES) or min(sizes) < 1:
        raise UserError(
            f"--grid {grid} is neither {', '.join(rendered.GRIDS)} nor 7 sizes like "
            f"{','.join(map(str, rendered.GRIDS['default']))}"
        )
    return sizes


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m submission.datasets",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        help="the folder of the data sets (DISENTANGLEMENT_LIB_DATA, else ./scratch/dataset)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names, whether they are here, images, factor sizes")
    fetching = commands.add_parser("download", help="fetch the published files of a data set")
    fetching.add_argument("name", metavar="NAME", help="a name that `list` shows")
    fetching.add_argument(
        "--challenge",
        action="store_true",
        help="mpi3d_toy and mpi3d_realistic: keep the 460,800 images of the challenge's colours "
        "and shapes, of the 1,036,800 published since (its own files are gone)",
    )
    checking = commands.add_parser("check", help="a picture of a data set, to see that it's whole")
    checking.add_argument(
        "name", metavar="NAME", help="a name that `list` shows, or the path of your own data set"
    )
    checking.add_argument("--output", type=Path, metavar="PNG", help="where to (./NAME.png)")
    rendering = commands.add_parser("render", help="render mpi3d_mini on a grid")
    rendering.add_argument("--grid", help="default (this one), full, published, or 4,4,2,3,3,10,10")
    rendering.add_argument("--output", type=Path, metavar="PATH.npz", help="where to")
    rendering.add_argument(
        "--secret-seed",
        nargs="?",
        const="",
        metavar="N",
        help="render mpi3d_mini_secret, whose appearance and order a seed draws: a new one, or N "
        "to repeat a rendering",
    )
    sheet = commands.add_parser("contact-sheet", help="a picture of every factor varied alone")
    sheet.add_argument("--output", type=Path, default=Path("mpi3d_mini.png"), metavar="PNG")
    return parser


if __name__ == "__main__":
    run_command_line(main)
