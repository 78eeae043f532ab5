"""The Docker engine, and one line with a remedy for what can be wrong with it."""

import contextlib
import errno
import os
from collections.abc import Iterator

import docker
import requests
from docker.errors import APIError, DockerException

from submission.errors import UserError

# A busy disk can keep an engine from answering for a while; a build step's silence doesn't count.
_SECONDS_TO_ANSWER = 120


def connect() -> docker.DockerClient:
    """Connects to the engine that the environment names (`DOCKER_HOST`, else the local socket).

    Raises:
        UserError: None answers, or this user may not use its socket.
    """
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        client = docker.from_env(timeout=_SECONDS_TO_ANSWER)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        if _number(error) in (errno.EACCES, errno.EPERM):
            raise UserError(
                f"no permission for the Docker socket {where}: run `sudo usermod -aG docker "
                "$USER`, then log in again"
            ) from error
        raise UserError(
            f"no Docker engine answers at {where}: start it (`sudo systemctl start docker`), "
            "or set DOCKER_HOST to where one listens"
        ) from error
    return client


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """Turns an engine's error that the user can mend into a `UserError`."""
    try:
        yield
    except APIError as error:
        message = str(error.explanation or error)
        if is_full(message):
            raise UserError(full(message)) from error
        if "bind source path does not exist" in message:
            raise UserError(
                f"the Docker engine doesn't see this machine's files ({message}): "
                "use a local engine"
            ) from error
        if error.is_client_error():
            raise UserError(f"the Docker engine refuses: {' '.join(message.split())}") from error
        raise
    except requests.Timeout as error:
        raise UserError(
            f"the Docker engine hasn't answered for {_SECONDS_TO_ANSWER} seconds: see its log, or "
            "restart it"
        ) from error
    except requests.ConnectionError as error:
        raise UserError("the Docker engine went away: see its log, and start it again") from error


def has_gpu(client: docker.DockerClient) -> bool:
    """Whether the engine can hand a container an NVIDIA GPU."""
    return "nvidia" in client.info().get("Runtimes", {})


def is_full(message: str) -> bool:
    """Whether an engine's message says that a disk is full."""
    return "no space left on device" in message or "disk quota exceeded" in message


def full(message: str) -> str:
    """The one line for a full disk of the engine's."""
    last = message.strip().splitlines()[-1]
    return (
        f"no room on the Docker engine's disk ({last}): free some, for example with "
        "`docker system prune`"
    )


def _number(error: BaseException | None) -> int | None:
    """The operating system's error number beneath the layers of docker-py, requests and urllib3."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        inner = [one for one in error.args if isinstance(one, BaseException)]
        waiting += [error.__cause__, error.__context__, *inner]
    return None
