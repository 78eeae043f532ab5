"""The command `python -m study`: runs a study, reports it, tunes a method, audits the metrics."""

import argparse
from pathlib import Path

from study import settings
from study.audit import auditing
from study.folder import StudyFolder, sole_study
from study.tune import tuning
from submission.command_line import Parser, parse_count, run_command_line

_DEFAULT_FOLDER = Path("scratch/study")

_EXAMPLES = """examples:
  python -m study run                                 the paper's study on a small machine, an hour
  python -m study run                                 again: goes on, or does nothing
  python -m study report                              tables, figures, statistics of what is there
  python -m study audit                               what the metrics measure, half an hour
  python -m study run --preset paper --cluster 10.0.0.1:6379 --output /shared/paper
  python -m study run --gin 'study.seeds = (0, 1, 2, 3, 4)' --gin 'trainer.max_steps = 8000'

exit codes: 0 done, 2 your mistake (one line says which), 1 anything else
"""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = Parser(
        prog="python -m study",
        description="The paper's study: methods x seeds, trained, scored and compared.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|report|tune|audit")

    run = commands.add_parser(
        "run",
        help="train and score what is missing of a study",
        description="Trains and scores the runs of a study; what is finished is never repeated.",
        allow_abbrev=False,
    )
    run.add_argument(
        "--preset", default="quick", help=", ".join(settings.presets()) + " (default: quick)"
    )
    run.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"the study's folder (default: {_DEFAULT_FOLDER}/PRESET)",
    )
    run.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="'X.y = z'",
        help="overrides a setting of the study, the trainer or a metric; repeatable",
    )
    run.add_argument(
        "--workers",
        type=parse_count,
        metavar="N",
        help="runs at once (default: one a GPU; without one, the cores / study.threads)",
    )
    run.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run on this Ray cluster, such as 10.0.0.1:6379, or auto for the one of this machine",
    )

    report = commands.add_parser(
        "report",
        help="write tables, figures and statistics of what is there",
        description="Writes report.html, and its tables as files, from a study's folder.",
        allow_abbrev=False,
    )
    report.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=_DEFAULT_FOLDER / "quick",
        metavar="FOLDER",
        help="the study's folder (default: %(default)s)",
    )

    tune = commands.add_parser(
        "tune",
        help="search one method's settings",
        description="Searches one method's settings with Optuna.",
        allow_abbrev=False,
    )
    tuning.add_arguments(tune)

    audit = commands.add_parser(
        "audit",
        help="ask what the metrics measure",
        description="Scores representations whose disentanglement is known; writes audit.html.",
        allow_abbrev=False,
    )
    auditing.add_arguments(audit)
    return parser.parse_args(arguments)


def main() -> int:
    """Does what the command line says; returns the exit code."""
    arguments = parse_arguments()
    if arguments.command == "tune":
        return tuning.tune(arguments)
    if arguments.command == "audit":
        return auditing.audit(arguments)
    if arguments.command == "report":
        from study.report.page import write_report

        print(f"report: {write_report(arguments.folder)}")
        return 0
    study = settings.read(arguments.preset, arguments.gin)
    output = arguments.output or _DEFAULT_FOLDER / arguments.preset
    folder = StudyFolder(output.absolute())
    if arguments.cluster is not None:
        from study.run.cluster import check_answers

        check_answers(arguments.cluster)
    with sole_study(folder):
        # PyTorch is imported only now, so that most mistakes are told at once.
        from study.run.running import run

        return run(study, folder, arguments.workers, arguments.cluster)


if __name__ == "__main__":
    run_command_line(main)
