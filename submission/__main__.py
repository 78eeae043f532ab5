"""`python -m submission`: trains a method inside a budget and exports its representation."""

import time

# The budget is wall clock, and a signal may come at any time: both begin before the imports that
# take seconds.
STARTED = time.monotonic()

import os
import sys

from submission.interruption import Interruption
from submission.supervision import Supervisor, is_supervised, supervise

INTERRUPTION = Interruption()
SUPERVISOR = Supervisor(STARTED)
if __name__ == "__main__":
    # torchrun has an answer of its own to the crash of one of several processes.
    if not is_supervised() and os.environ.get("WORLD_SIZE", "1") == "1":
        sys.exit(supervise(STARTED))
    INTERRUPTION.install()
    SUPERVISOR = Supervisor.of_this_process() or SUPERVISOR

import argparse
from pathlib import Path

from submission import datasets
from submission.budget import Budget, parse_duration
from submission.command_line import EXIT_DONE, EXIT_FAILED, Parser, parse_seed, run_command_line
from submission.configuration import check_names, configure, methods, presets
from submission.environment import Environment
from submission.errors import UserError
from submission.runs.folder import RunFolder, check_room

# A checkpoint, its temporary twin and the exports of the widest method (FactorVAE), with room.
_BYTES_NEEDED = 256 * 2**20

_EXAMPLES = """examples:
  ./run.sh                                            beta-TCVAE on mpi3d_mini, 5 minutes
  ./run.sh --method factor_vae --budget 20m --name factor_20m
  ./run.sh --method beta_vae --gin 'beta_vae.beta = 6.0' --gin 'network.latents = 10'
  ./run.sh --dataset mpi3d_toy --preset challenge     the paper's values, 8 hours

exit codes: 0 done, 2 your mistake (one line says which), 1 anything else
"""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's options; what is left out comes from the environment and the preset."""
    parser = Parser(
        prog="./run.sh",
        description="Trains a disentangled representation inside a wall-clock budget.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--method", default="beta_tcvae", help=", ".join(methods()))
    parser.add_argument(
        "--dataset",
        help=f"{', '.join(datasets.NAMES)}; or the path of your own: a .npz or HDF5 file, or a "
        "folder of PNG or JPEG files (docs/datasets.md)",
    )
    parser.add_argument("--budget", help="wall-clock time, such as 5m or 8h (the preset's)")
    parser.add_argument("--preset", help=", ".join(presets()) + " (quick; challenge on the portal)")
    parser.add_argument("--seed", type=parse_seed, help="the random seed (0)")
    parser.add_argument("--name", help="the run's name (experiment_name)")
    parser.add_argument(
        "--gin",
        action="append",
        default=[],
        metavar="'X.y = z'",
        help="overrides a setting of gin/; can be given several times",
    )
    parser.add_argument(
        "--gin-file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a file of such lines, read before --gin; can be given several times",
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Trains as the command line and the environment say; returns the exit code."""
    arguments = parse_arguments()
    environment = Environment.read()
    preset = arguments.preset or ("challenge" if environment.is_grading else "quick")
    name = arguments.name or environment.evaluation_name
    if not name or name in (".", "..") or "/" in name:
        raise UserError(f"--name is {name!r}: give a name for a folder, such as beta_vae_1")

    check_names(arguments.method, preset)
    dataset_name = datasets.checked_name(arguments.dataset or environment.dataset_name)
    if arguments.budget is not None:
        parse_duration(arguments.budget, "--budget", above_zero=True)

    # PyTorch is imported only now, so that a mistyped option is told at once.
    import torch

    from submission.training.device import gpu_problem
    from submission.training.distributed import Group
    from submission.training.loop import train
    from submission.training.progress import choose_display
    from submission.training.recipe import Recipe, Scoring
    from submission.training.setup import Request

    bindings = list(arguments.gin)
    if arguments.budget is not None:
        bindings.append(f"trainer.budget = {arguments.budget!r}")
    if arguments.seed is not None:
        bindings.append(f"trainer.seed = {arguments.seed}")
    configure(arguments.method, preset, bindings, arguments.gin_file)
    recipe = Recipe()
    SUPERVISOR.tell_restarts(recipe.restarts)
    budget = Budget(parse_duration(recipe.budget, "trainer.budget"), SUPERVISOR.started)
    folder = RunFolder(environment.output_path / name)
    check_room(folder, _BYTES_NEEDED)

    on_gpu = environment.use_cuda and torch.cuda.is_available()
    dataset = datasets.load(dataset_name, environment.data_root)
    if Scoring().every and dataset.no_scores:
        raise UserError(f"scoring.every: {dataset.no_scores}: leave it out")
    group = Group.join(on_gpu)
    display = choose_display(environment.is_grading, goes_on=bool(SUPERVISOR.crashes))
    if group.is_leader:
        processes = f", {group.world_size} processes" if group.world_size > 1 else ""
        display.note(
            f"{arguments.method} on {dataset.name} ({len(dataset.images):,} images), "
            f"preset {preset}, on the {'GPU' if on_gpu else 'CPU'}{processes}"
        )
    request = Request(
        name=name,
        method=arguments.method,
        preset=preset,
        dataset=dataset,
        folder=folder,
        pretrained=environment.output_path / "pretrained",
        device=torch.device("cuda" if on_gpu else "cpu"),
        group=group,
        supervisor=SUPERVISOR,
        gpu_problem=gpu_problem() if environment.use_cuda and not on_gpu else "",
    )
    record = train(request, budget, INTERRUPTION, display)
    group.leave()
    where = os.path.relpath(folder.representation, Path.cwd())
    if group.is_leader:
        print(f"{record.status}: {record.message}; the representation is in {where}", flush=True)
    return EXIT_DONE if record.status in ("finished", "untrained") else EXIT_FAILED


if __name__ == "__main__":
    run_command_line(main, INTERRUPTION)
