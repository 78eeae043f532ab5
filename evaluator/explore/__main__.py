"""The command `python -m evaluator.explore`: a run's page, with the decoder behind it."""

import argparse
import sys
from pathlib import Path

from evaluator.arguments import check_is_run, dataset_of_run, training_record
from evaluator.explore.server import ADDRESS, listening
from evaluator.latents import latents_of
from evaluator.report.page import render
from evaluator.report.pictures import pictures_of
from evaluator.report.traversals import model_missing, opened
from submission.command_line import Parser, parse_port, run_command_line
from submission.errors import UserError
from submission.runs.folder import RunFolder

_EXAMPLES = """\
examples:
  # move the latents of what ./run.sh has trained
  python -m evaluator.explore scratch/shared/experiment_name

  # of a run on another machine: there
  python -m evaluator.explore scratch/shared/experiment_name
  # and here, then open the address that it has printed
  ssh -N -L 8017:127.0.0.1:8017 MACHINE
"""


def main() -> None:
    """Serves the page until a signal; the arguments come from the command line.

    Raises:
        UserError: A mistake in the arguments, no model, nothing to move, or a port that is taken.
    """
    arguments = _parse(sys.argv[1:])
    run = RunFolder(arguments.run)
    check_is_run(run.path)
    missing = model_missing(run)
    if missing:
        raise UserError(f"{run.path} has nothing to decode: {missing}")
    record = training_record(run.representation)
    dataset = dataset_of_run(run.path, arguments.dataset, record)
    with (
        listening(arguments.port) as server,
        opened([run], dataset.observation_shape) as (model,),
    ):
        try:
            pictures = pictures_of(model, dataset, latents_of(record), served=True)
        except UserError as error:
            raise UserError(f"{run.path} fails on {dataset.name}: {error}") from error
        if pictures.moving is None:
            raise UserError(f"{run.path} has nothing to move: none of its latents is in use")
        server.page = render(run.path, dataset, pictures).encode()
        server.latents, server.decode = len(pictures.moving.content["codes"][0]), model.decode
        print(
            f"{run.path} is shown at http://{ADDRESS}:{server.server_port}/ until Ctrl-C",
            flush=True,
        )
        server.serve_forever()


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m evaluator.explore",
        description="Shows a run's report in a browser of this machine, with sliders that move the "
        "latents; the run's own decoder decodes, in a process that can do nothing else.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="holds a model and training/")
    parser.add_argument("--dataset", help="(what training/run.json says)")
    parser.add_argument(
        "--port", type=parse_port, default=8017, help="(8017); 0 takes one that is free"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_command_line(main)
