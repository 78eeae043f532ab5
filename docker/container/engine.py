"""The Docker engine, and one line with a remedy for what can be wrong with it."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any

import docker
import requests
import urllib3
from docker.context import Context
from docker.context.config import get_current_context_name
from docker.errors import APIError, DockerException
from docker.types import DeviceRequest

from submission.errors import UserError

# A busy disk can keep an engine from answering for a while; a build step's silence doesn't count.
_SECONDS_TO_ANSWER = 120
_SOCKET = "unix:///var/run/docker.sock"


def connect() -> docker.DockerClient:
    """Connects to the engine that the `docker` command would take.

    That is `DOCKER_HOST`, else the context that `DOCKER_CONTEXT` or `docker context use` names
    (Docker Desktop's, colima's, a rootless engine's), else the local socket.

    Raises:
        UserError: None answers, or this user may not use its socket.
    """
    context = None if os.environ.get("DOCKER_HOST") else _context()
    where = context.Host if context else os.environ.get("DOCKER_HOST", _SOCKET)
    named = f" (the Docker context {context.name})" if context else ""
    try:
        if context:
            client = docker.DockerClient(
                where, tls=context.TLSConfig or False, timeout=_SECONDS_TO_ANSWER
            )
        else:
            client = docker.from_env(timeout=_SECONDS_TO_ANSWER)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        if _number(error) in (errno.EACCES, errno.EPERM):
            raise UserError(
                f"no permission for the Docker socket {where}{named}: run `sudo usermod -aG docker "
                "$USER`, then log in again"
            ) from error
        raise UserError(
            f"no Docker engine answers at {where}{named}: start it (`sudo systemctl start "
            "docker`), or set DOCKER_HOST to where one listens"
        ) from error
    return client


def _context() -> Any:
    """The Docker context in use; None for the default one, the local socket.

    Raises:
        UserError: There is none of its name, or it can't be read.
    """
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name() or "default"
    if name == "default":
        return None
    try:
        context = Context.load_context(name)
    # docker-py raises bare Exceptions here.
    except Exception as error:
        raise UserError(f"the Docker context {name!r} can't be read ({error})") from error
    if context is None or not context.Host:
        raise UserError(
            f"there is no Docker context {name!r} (DOCKER_CONTEXT, or currentContext in "
            "~/.docker/config.json): `docker context ls` lists them"
        )
    return context


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
    except (
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.ProtocolError,
        ConnectionResetError,
    ) as error:
        raise UserError("the Docker engine went away: see its log, and start it again") from error


def gpu(client: docker.DockerClient) -> DeviceRequest | None:
    """What to ask of the engine for one NVIDIA GPU; None when it can't hand one out."""
    info = client.info()
    # Podman has neither key, and some engines have a null.
    if "nvidia" in (info.get("Runtimes") or {}):
        return DeviceRequest(count=1, capabilities=[["gpu"]])
    # CDI, as of Docker 28.3: nvidia.com/gpu=0, =1, =all, and each again by its UUID.
    devices = [str(one.get("ID")) for one in info.get("DiscoveredDevices") or ()]
    found = sorted(one for one in devices if one.startswith("nvidia.com/gpu="))
    return DeviceRequest(driver="cdi", device_ids=found[:1]) if found else None


def has_selinux(client: docker.DockerClient) -> bool:
    """Whether containers are confined by SELinux, which hides a file that isn't labelled theirs."""
    return any("name=selinux" in one for one in client.info().get("SecurityOptions") or ())


def tell_missing_limits(client: docker.DockerClient) -> None:
    """Warns of limits that the engine takes, and can't hold a container to."""
    info = client.info()
    limits = {"MemoryLimit": "memory", "PidsLimit": "processes"}
    missing = [name for key, name in limits.items() if not info.get(key, True)]
    if missing:
        print(f"warning: this Docker engine can't limit a container's {' and '.join(missing)}")


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
