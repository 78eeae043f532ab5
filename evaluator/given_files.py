"""`python -m evaluator --codes FILE --factors FILE`: codes and factors that lie in files."""

import importlib.util
import itertools
import re
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from evaluator import evaluation, metrics, shown
from evaluator.given_arrays import read_codes, read_factors
from evaluator.given_codes import begin_codes
from evaluator.metrics import Metric
from submission.errors import UserError, require_packages

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")


def score_files(
    codes: Path,
    factors: Path | None,
    chosen: Sequence[Metric],
    *,
    seeds: range,
    preset: str,
    bindings: Sequence[str],
    output: Path | None,
) -> None:
    """Scores codes in a file, and prints what `python -m evaluator` prints of a representation.

    Args:
        codes: A table [n, latents].
        factors: A table [n, factors]; None where `codes` is an .npz that holds both.
        chosen: The metrics.
        seeds: Of the draws.
        preset: One of `metrics.PRESETS`.
        bindings: Checked bindings.
        output: Where `metrics/` and `scores.json` go, which can be written; None for nowhere.

    Raises:
        UserError: A file that can't be read, or doesn't hold what it should.
    """
    if factors is None and codes.suffix.lower() != ".npz":
        raise UserError(f"--factors is missing: {codes} is no .npz that could hold them too")
    file = factors or codes
    known = read_factors(read_table(file, "factors"), name=f"factors in {file}")
    table = read_codes(read_table(codes, "codes"), f"codes in {codes}")
    found, score = begin_codes(
        table, known, seeds=seeds, preset=preset, bindings=bindings, name=str(codes)
    )
    # Paths and warnings may hold square brackets, which are markup to rich.
    console = Console(markup=False, highlight=False)
    console.print(
        f"{codes}: {table.shape[1]} latents of {len(table):,} rows, {found.protocol} protocol, "
        f"preset {preset}, seed {seeds[0]}",
        soft_wrap=True,
    )
    for warning in found.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
    stopped = None
    try:
        for metric in chosen:
            shown.show_sizes(console, metric, preset, bindings)
            found.add(metric, score, partial(shown.show_result, console, first_seed=seeds[0]))
    except KeyboardInterrupt as error:
        if not found.results:
            raise
        # What is finished is kept: the metrics that have their scores for all seeds.
        stopped = error
    console.print(found.table())
    if output is not None:
        written = evaluation.Written(found, output, [metrics.ALL_METRICS[m] for m in found.results])
        shown.show_set_aside(console, output, written)
        for name in found.results:
            written.add(metrics.ALL_METRICS[name])
        console.print(f"scores: {written.finish()}", soft_wrap=True)
    if stopped is not None:
        raise stopped


def read_table(path: Path, key: str) -> Any:
    """Reads an array, or a table of pandas; nothing that could run code.

    Args:
        path: `.npy`; `.npz`; `.csv`, whose first row names the columns unless it holds numbers
            only (other than 0, 1, 2, …), and whose cells commas, semicolons, tabs or spaces
            part, or what a line above them names (`sep=;`); `.parquet`. A first column without a
            name, as pandas writes it, numbers the rows.
        key: What the array is called in an `.npz` that holds several.

    Returns:
        What `read_codes` and `read_factors` take.

    Raises:
        UserError: It can't be read, or is none of these.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path} must be one of {', '.join(SUFFIXES)}")
    if path.is_fifo():
        raise UserError(f"{path} is a pipe, which can be read only once: give a file")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UserError(f"{path} can't be opened ({error.strerror})") from error
    if suffix in (".csv", ".parquet"):
        require_packages(f"reading {path}", "pandas")
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            f"reading {path} needs pyarrow, which {sys.executable} lacks: pip install pyarrow"
        )
    readers = {".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet}
    try:
        return _read_npz(path, key) if suffix == ".npz" else readers[suffix](path)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} can't be read as {suffix}: {reason}") from error


def _read_npy(path: Path) -> Any:
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(path: Path, key: str) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        names = list(arrays)
        if key in names:
            return arrays[key]
        if len(names) != 1 or names[0] in ("codes", "factors"):
            raise UserError(f"{path} holds {', '.join(names) or 'nothing'}, and no {key!r}")
        return arrays[names[0]]


def _read_csv(path: Path) -> Any:
    import pandas

    with path.open(encoding="utf-8-sig") as file:
        # As spreadsheets write it.
        named = re.fullmatch("(?i)sep=(.)", file.readline().rstrip("\r\n"))
        file.seek(0)
        lines = file if named is None else itertools.islice(file, 1, None)
        filled = (line.strip("\n ") for line in lines if line.strip())
        first_two = list(itertools.islice(filled, 2))
    separator, decimal = _separators(first_two, named[1] if named else "")
    read = partial(
        pandas.read_csv,
        path,
        sep=separator,
        decimal=decimal,
        skipinitialspace=True,
        skiprows=1 if named else 0,
    )
    first = read(header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    # 0, 1, 2, … is what pandas writes above columns that have no names.
    numbers = all(_is_number(cell.replace(decimal, ".")) for cell in first)
    if numbers and list(first) != [str(place) for place in range(len(first))]:
        return read(header=None)
    with warnings.catch_warnings():
        # Of rows that are longer than the first line pandas drops the rest.
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        return read(index_col=0 if first[0] == "" else False)


def _separators(lines: Sequence[str], named: str) -> tuple[str, str]:
    """What stands between two cells of a CSV file, and before the decimals of a number.

    Args:
        lines: The first two.
        named: What the file says stands between cells; empty where it says nothing.
    """

    def decimal(separator: str) -> str:
        return "," if separator != "," and any("," in line for line in lines[-1:]) else "."

    if named:
        return named, decimal(named)
    for separator in (";", "\t"):
        counts = {line.count(separator) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return separator, decimal(separator)
    widths = {len(line.split()) for line in lines}
    if len(widths) == 1 and widths != {1} and not any("," in line for line in lines):
        return r"\s+", "."
    return ",", "."


def _read_parquet(path: Path) -> Any:
    import pandas

    return pandas.read_parquet(path)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
