"""`python -m study audit`: what the metrics say of representations whose disentanglement is known.

Each family of representations is made from the data set's factors, with a dial from perfect to
spoilt; every metric scores each, and rules turn the scores into verdicts. No training, no images
but for the baselines.
"""

import argparse
from pathlib import Path

from evaluator import metrics
from study.audit.cases import PRESETS, UDR, Audit
from study.folder import StudyFolder, sole_study
from study.run.display import Display
from submission import datasets
from submission.command_line import EXIT_DONE, EXIT_FAILED, parse_count
from submission.errors import UserError, nearest

_DEFAULT_FOLDER = Path("scratch/audit")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `python -m study audit`."""
    parser.add_argument(
        "--dataset", default="mpi3d_mini", help="whose factors (default: %(default)s)"
    )
    parser.add_argument(
        "--preset",
        default="challenge",
        help="challenge, or quick: smaller samples, fewer values and seeds (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[*metrics.ALL_METRICS, UDR],
        metavar="METRIC",
        help="which metrics (default: all)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where the audit goes (default: {_DEFAULT_FOLDER}/DATASET-PRESET)",
    )
    parser.add_argument(
        "--table1",
        type=Path,
        metavar="FILE",
        help="a study report's table1.csv: its scores are placed on the dials beside the paper's",
    )
    parser.add_argument(
        "--workers", type=parse_count, metavar="N", help="processes at once (default: the cores)"
    )


def audit(arguments: argparse.Namespace) -> int:
    """Scores what is missing of an audit, and writes its page.

    Args:
        arguments: The command line's.

    Returns:
        The exit code.

    Raises:
        UserError: A mistake in the arguments or the data set, in one line.
    """
    planned = _planned(arguments)
    output = arguments.output or _DEFAULT_FOLDER / f"{planned.images.name}-{planned.preset}"
    folder = StudyFolder(output.absolute())
    # matplotlib and pandas are imported only now, so that most mistakes are told at once.
    from study.audit import page, running

    table1 = page.read_table1(arguments.table1) if arguments.table1 else None
    with sole_study(folder):
        total = len(planned.all_cases())
        display = Display()
        try:
            display.note(f"{total} representations of {planned.dataset}, each scored by itself")
            running.run(
                planned,
                folder.path / "scores",
                arguments.workers or running.default_workers(),
                lambda done: display.update(lambda: f"{done} of {total} scored"),
            )
        except running.Failed:
            display.note("a process of the audit ended early: the same command goes on from here")
            return EXIT_FAILED
        finally:
            display.close()
        written = page.write(planned, folder.path, table1)
    print(f"audit: {written}")
    return EXIT_DONE


def _planned(arguments: argparse.Namespace) -> Audit:
    datasets.checked_name(arguments.dataset)
    if arguments.preset not in PRESETS:
        raise UserError(
            f"unknown preset {arguments.preset!r}: {nearest(arguments.preset, PRESETS)}"
        )
    known = [*metrics.ALL_METRICS, UDR]
    for name in arguments.metrics:
        if name not in known:
            raise UserError(f"unknown metric {name!r}: {nearest(name, known)}")
    chosen = tuple(name for name in known if name in arguments.metrics)
    planned = Audit(arguments.dataset, arguments.preset, chosen)
    if planned.images.no_scores:
        raise UserError(planned.images.no_scores)
    if not planned.images.is_grid:
        raise UserError(
            f"{planned.images.name} doesn't have every combination of its factors once, "
            "which an audit needs"
        )
    return planned
