"""`python docker/portal.py`: builds the image, trains in it as the portal did, and scores."""

# ruff: noqa: E402 (what is missing must be told by the imports)

import argparse
import re
import sys
from pathlib import Path
from typing import Any

# Behind the libraries: docker/ and gin/ there mustn't stand for the libraries of these names.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from submission.packages import tell_missing

tell_missing()

import docker
from docker.types import DeviceRequest

from container import engine, findings, image, interrupts, ownership, sandbox, scoring, simulation
from container.live_log import plain
from container.sandbox import Limits
from container.scoring import Scoring
from container.simulation import Round
from evaluator import outputs
from evaluator.arguments import training_record
from submission import datasets
from submission.budget import parse_duration
from submission.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_USER_ERROR,
    Parser,
    run_command_line,
)
from submission.environment import Environment
from submission.errors import UserError
from submission.runs.files import TEMPORARY_PREFIX
from submission.runs.folder import RunFolder
from submission.runs.record import dataset_of

_EXAMPLES = """examples:
  python docker/portal.py build --cpu
  python docker/portal.py check
  python docker/portal.py simulate                      as the portal: 8 hours
  python docker/portal.py simulate --time-limit 20m -- --method factor_vae --budget 15m
  python docker/portal.py score their/representation --dataset mpi3d_toy --output scratch/theirs
  python docker/portal.py score --verify scratch/shared/experiment_name/scores.json

exit codes: 0 done, 2 a mistake that one line tells, 1 anything else (--verify: the scores differ)
"""

_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}


def main() -> int:
    """Runs a subcommand; returns the exit code."""
    arguments, passed_on = parse(sys.argv[1:])
    interrupts.install()
    try:
        with engine.errors_told():
            client = engine.connect()
            engine.tell_missing_limits(client)
            code: int = arguments.command(client, arguments, passed_on)
    except KeyboardInterrupt as interruption:
        told = str(interruption) or "interrupted: the containers and what they wrote are removed"
        print(told, file=sys.stderr)
        return EXIT_FAILED
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except PermissionError as error:
        raise UserError(
            f"{error.filename} can't be used ({error.strerror}): choose a folder of yours"
        ) from error
    return code


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Splits the command line at `--`: this command's options, and what the container gets."""
    passed_on: list[str] = []
    if "--" in words:
        place = words.index("--")
        words, passed_on = words[:place], words[place + 1 :]
    parser = Parser(
        prog="python docker/portal.py",
        description="Builds the submission's image, and trains in it as the portal did. Scores are "
        "computed in the image that `build` made of this checkout, whichever one has trained.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="build the image")
    build.add_argument("--base-image", help="instead of the Dockerfile's (environment: BASE_IMAGE)")
    build.add_argument(
        "--cpu", action="store_true", help="PyTorch's CPU build, gigabytes smaller; no GPU then"
    )
    build.add_argument(
        "--network", help="of the build's steps, such as host (environment: BUILD_NETWORK)"
    )
    build.set_defaults(command=_build)

    simulate = commands.add_parser(
        "simulate", help="train in the image, and score (-- OPTIONS of run.sh)"
    )
    simulate.add_argument(
        "--dataset", help="a name or a path (AICROWD_DATASET_NAME, else mpi3d_mini)"
    )
    simulate.add_argument("--name", help="the run's folder (AICROWD_EVALUATION_NAME)")
    simulate.add_argument("--time-limit", default="8h", help="training's wall clock (8h)")
    simulate.add_argument("--scoring-time-limit", default="4h", help="scoring's wall clock (4h)")
    simulate.add_argument(
        "--save-every", default="10m", help="how often what training wrote is copied out (10m)"
    )
    simulate.add_argument("--gpu", choices=("auto", "yes", "no"), default="auto")
    simulate.set_defaults(command=_simulate)

    score = commands.add_parser(
        "score", help="score a representation (-- OPTIONS of python -m evaluator)"
    )
    score.add_argument("representation", type=Path, nargs="?", help="the folder")
    score.add_argument(
        "--dataset", help="(what training recorded, else AICROWD_DATASET_NAME, else mpi3d_mini)"
    )
    score.add_argument(
        "--output", type=Path, help="where the scores go (as of python -m evaluator)"
    )
    score.add_argument(
        "--verify",
        type=Path,
        metavar="SCORES.JSON",
        help="compute these again, and tell whether they are the same",
    )
    score.add_argument("--time-limit", default="4h", help="wall clock (4h)")
    score.set_defaults(command=_score)

    check = commands.add_parser("check", help="tell what the portal would refuse")
    check.add_argument(
        "representation", type=Path, nargs="?", help="the folder (the last run's, if there is one)"
    )
    check.set_defaults(command=_check)

    for command in (build, simulate, check):
        command.add_argument(
            "--image", default=image.TAG, help=f"the submission's image ({image.TAG})"
        )
    for command in (simulate, score):
        command.add_argument("--grace", default="30s", help="from SIGTERM to SIGKILL (30s)")
        command.add_argument("--memory", help="such as 8g (3/4 of the machine's, at most 16g)")
        command.add_argument("--processes", type=int, default=1024, help="and threads (1024)")
        command.add_argument("--cpus", type=float, help="(all)")
        command.add_argument("--output-limit", default="2g", help="what a run may write (2g)")
    arguments = parser.parse_args(words)
    if passed_on and arguments.command not in (_simulate, _score):
        raise UserError("nothing may follow `--` here (--help shows the usage)")
    return arguments, passed_on


def _build(client: docker.DockerClient, arguments: argparse.Namespace, passed_on: list[str]) -> int:
    chosen = image.default_arguments()
    if arguments.base_image:
        chosen["BASE_IMAGE"] = arguments.base_image
    if arguments.cpu:
        chosen["TORCH_INDEX"] = image.CPU_INDEX
    network = arguments.network or image.default_network()
    identity = image.build_checkout(client, arguments.image, chosen, network)
    size = image.get(client, arguments.image).attrs["Size"] / 1e9
    print(f"built {arguments.image}, {size:.2f} GB, {identity}")
    return EXIT_DONE


def _simulate(
    client: docker.DockerClient, arguments: argparse.Namespace, passed_on: list[str]
) -> int:
    environment = Environment.read()
    ownership.sweep(client, [environment.output_path])
    gpu = _choose_gpu(client, arguments.gpu)
    name = arguments.name or environment.evaluation_name
    if not name or name in (".", "..") or "/" in name or name.startswith(TEMPORARY_PREFIX):
        raise UserError(f"--name is {name!r}: give a name for a folder, such as beta_vae_1")
    training = _limits(client, arguments, "--time-limit", arguments.time_limit)
    simulation.tell_early_end(passed_on, training.seconds)
    scored = _limits(client, arguments, "--scoring-time-limit", arguments.scoring_time_limit)
    image.get(client, arguments.image)
    scorer = _scorer(client, None)
    # Last, since it may have to be rendered.
    dataset = datasets.load(arguments.dataset or environment.dataset_name, environment.data_root)
    one = Round(
        image=arguments.image,
        scorer=scorer,
        arguments=passed_on,
        name=name,
        dataset=dataset,
        data_root=environment.data_root,
        output=environment.output_path,
        gpu=gpu,
        save_every=parse_duration(arguments.save_every, "--save-every", above_zero=True),
        training=training,
        scoring=scored,
    )
    simulation.simulate(client, one)
    return EXIT_DONE


def _score(client: docker.DockerClient, arguments: argparse.Namespace, passed_on: list[str]) -> int:
    environment = Environment.read()
    before = None
    dataset = arguments.dataset
    if arguments.verify:
        before = scoring.read_scores(arguments.verify)
        recorded = before["provenance"]["dataset"]
        if recorded not in datasets.NAMES and not dataset:
            raise UserError(f"{recorded} is one's own data set: name its path with --dataset")
        if passed_on or arguments.output or (dataset and recorded in datasets.NAMES):
            raise UserError(
                "--verify takes the data set and the options from the scores: leave them out"
            )
        passed_on = scoring.arguments_of(before)
        dataset = dataset or recorded
    representation = arguments.representation
    if representation is None:
        if before is None:
            raise UserError("name the representation's folder (--help shows the usage)")
        representation = outputs.representation_of(arguments.verify)
    limits = _limits(client, arguments, "--time-limit", arguments.time_limit)
    output = arguments.output or outputs.folder_for(representation)
    output.mkdir(parents=True, exist_ok=True)
    if before is None:
        recorded = dataset_of(training_record(representation))
        dataset = dataset or recorded or environment.dataset_name
    opened = datasets.load(dataset, environment.data_root)
    if opened.no_scores:
        raise UserError(opened.no_scores)
    task = Scoring(
        image=_scorer(client, before),
        representation=representation,
        dataset=opened,
        data_root=environment.data_root,
        arguments=passed_on,
        limits=limits,
    )
    ownership.sweep(client, [output])
    with ownership.temporary_folder(output) as place:
        scoring.score(client, task, place)
        if before is not None:
            return _tell_differences(before, scoring.read_scores(place / "scores.json"))
        if (output / outputs.SCORES).exists() and not _stand_in(place, output):
            print(f"{output} held other scores, which are in {outputs.set_aside(output).name} now")
        print(f"scores: {simulation.move_scores(place, output)}")
    return EXIT_DONE


def _stand_in(place: Path, output: Path) -> bool:
    """Whether an output folder's scores are those that a container left in `place`."""
    try:
        before = scoring.read_scores(output / outputs.SCORES)
    except UserError:
        return False
    return not scoring.differences(before, scoring.read_scores(place / outputs.SCORES))[0]


def _check(client: docker.DockerClient, arguments: argparse.Namespace, passed_on: list[str]) -> int:
    environment = Environment.read()
    folder = arguments.representation
    if folder is None:
        run = RunFolder(environment.output_path / environment.evaluation_name)
        folder = run.representation if run.representation.is_dir() else None
    limits = Limits(
        seconds=600.0,
        grace=0.0,
        memory=sandbox.default_memory(client),
        processes=1024,
        cpus=sandbox.default_cpus(client),
        output=2**30,
    )
    ownership.sweep(client, [])
    wrong = 0
    for finding in findings.check(client, arguments.image, folder, limits):
        wrong += bool(finding.remedy)
        remedy = f": {finding.remedy}" if finding.remedy else ""
        told = plain(f"{finding.what}{remedy}")
        print(f"{'WRONG' if finding.remedy else 'ok   '}  {told}", flush=True)
    return EXIT_USER_ERROR if wrong else EXIT_DONE


def _choose_gpu(client: docker.DockerClient, wish: str) -> DeviceRequest | None:
    if wish == "no":
        return None
    gpu = engine.gpu(client)
    if gpu is None and wish == "yes":
        raise UserError(
            "--gpu yes: this Docker engine has no NVIDIA runtime and no CDI device; install the "
            "NVIDIA Container Toolkit and restart the engine, or leave --gpu out"
        )
    if gpu is None:
        print("no GPU: this Docker engine offers none, so training has the processor", flush=True)
    return gpu


def _limits(
    client: docker.DockerClient, arguments: argparse.Namespace, option: str, seconds: str
) -> Limits:
    memory = arguments.memory
    return Limits(
        seconds=parse_duration(seconds, option, above_zero=True),
        grace=parse_duration(arguments.grace, "--grace"),
        memory=_bytes(memory, "--memory") if memory else sandbox.default_memory(client),
        processes=arguments.processes,
        cpus=arguments.cpus or sandbox.default_cpus(client),
        output=_bytes(arguments.output_limit, "--output-limit"),
    )


def _bytes(text: str, option: str) -> int:
    match = re.fullmatch(r"(\d+)([kmg])b?", text.strip().lower())
    if not match or not int(match[1]):
        raise UserError(f"{option} is {text!r}: give a size such as 512m or 8g")
    return int(match[1]) * _UNITS[match[2]]


def _scorer(client: docker.DockerClient, scores: dict[str, Any] | None) -> str:
    """The image to score in; tells where scores to compare with were computed in another one."""
    found = str(image.of_checkout(client).id)
    earlier = scores["provenance"].get("image") if scores else None
    if earlier not in (None, found):
        print(f"warning: these scores are of the image {earlier}, and computed anew in {found}")
    return found


def _tell_differences(before: dict[str, Any], now: dict[str, Any]) -> int:
    numbers, origin = scoring.differences(before, now)
    for line in origin + numbers:
        print(line)
    if numbers:
        count = "1 number differs" if len(numbers) == 1 else f"{len(numbers)} numbers differ"
        print(f"not identical: {count}")
        return EXIT_FAILED
    print("identical: all numbers" + ("" if origin else ", and where they come from"))
    return EXIT_DONE


if __name__ == "__main__":
    run_command_line(main)
