"""A stranger's model in a container of its own, and what asks it for codes in another."""

from dataclasses import replace
from pathlib import Path

import docker
from docker.types import Mount

from container import results, sandbox
from container.live_log import LiveLog
from container.sandbox import Job, Limits
from evaluator import formats
from submission.errors import UserError

REPRESENTATION = "/REPRESENTATION"
SOCKET = "/SOCKET"
WORKER = f"{SOCKET}/worker"
# What the model's container may take to end once what asked it is gone.
_SECONDS_TO_END = 5.0


def run(
    client: docker.DockerClient, job: Job, representation: Path, limits: Limits, log: LiveLog
) -> None:
    """Runs a container to its end, beside one in which a model answers it.

    The model's container sees the representation and, read-only, the folder of a Unix socket. The
    other one sees both too; it listens at `WORKER`.

    Args:
        client: The engine.
        job: What asks.
        representation: The folder that holds the model.
        limits: What each container may use, but for the memory, of which each has a half.
        log: Takes the output of both, the model's with `model: ` before each line.

    Raises:
        UserError: There is no model in the folder, a container had to be stopped, or the one that
            asks told a mistake.
        RuntimeError: That one failed.
    """
    half = replace(limits, memory=limits.memory // 2)
    with (
        results.readable_copy(representation, limits.output) as copy,
        sandbox.socket_folder(client, SOCKET) as (listens, connects),
    ):
        # Of the original, whose path is the one to tell where it can be no model.
        model = formats.find(representation, allow_pickle=True).relative_to(representation)
        asks = replace(
            job,
            mounts={**job.mounts, REPRESENTATION: copy},
            volumes=[*job.volumes, listens],
        )
        answers = model_job(job.image, copy, model, connects)
        with (
            sandbox.started(client, asks, half, log) as asking,
            sandbox.started(client, answers, half, log, source="model") as answering,
        ):
            ending = sandbox.watch(asking, beside=answering)
            # The end of the one may have been told before the engine knows of the other's.
            seconds = _SECONDS_TO_END if ending.exit_code else 0.0
            models = sandbox.end(answering, seconds)
    if models.stopped or log.is_full.is_set():
        raise UserError(f"{job.title}: the submission's code {models.stopped or ending.stopped}")
    sandbox.check(ending, job.title, log, "it")


def model_job(image: str, folder: Path, model: Path, socket: Mount) -> Job:
    """What the model's container runs.

    Args:
        image: The image's id.
        folder: Holds the model; the container's user can read it.
        model: Its path in the folder.
        socket: The folder of the socket.
    """
    return Job(
        title="model",
        image=image,
        entrypoint=["python", "-m", "evaluator.worker"],
        arguments=[f"{REPRESENTATION}/{model}", "--connect", WORKER],
        environment={},
        mounts={REPRESENTATION: folder},
        volumes=[socket],
    )
