"""Building the image that goes to the portal."""

import os
import re
import string
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from container import engine
from container.live_log import ESCAPES
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TAG = "disentanglement-submission"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

_REVISION = "org.opencontainers.image.revision"
# Docker's "Step 2/9 : RUN", and Podman's "STEP 2/9: RUN" or "[1/3] STEP 2/9: RUN".
_STEP = re.compile(r"(?:\[\d+/\d+\] )?(?:Step|STEP) (\d+)/(\d+) ?: (.*)")


def build(
    client: docker.DockerClient,
    tag: str,
    arguments: Mapping[str, str],
    network: str | None,
    context: Path = ROOT,
) -> str:
    """Builds a Dockerfile, with a progress bar on a terminal and a line a step elsewhere.

    Args:
        client: The engine.
        tag: The image's name.
        arguments: The Dockerfile's build arguments.
        network: The network of the build's steps; None is the engine's default.
        context: The folder of the Dockerfile.

    Returns:
        The image's id, `sha256:…`.

    Raises:
        UserError: The base image can't be had, the engine's disk is full, or a step failed.
    """
    console = Console()
    columns = (
        TextColumn("build"),
        BarColumn(20),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("sending the files", total=None)
        step = ""
        values: dict[str, str] = {}
        answers = client.api.build(
            path=str(context),
            tag=tag,
            buildargs=dict(arguments),
            network_mode=network,
            rm=True,
            forcerm=True,
            decode=True,
        )
        last_line = ""
        for answer in answers:
            if "error" in answer:
                raise UserError(_failure(answer["error"], step, last_line, values))
            for line in ESCAPES.sub("", answer.get("stream", "")).splitlines():
                match = _STEP.match(line)
                if match:
                    number, count, step = match.groups()
                    if step.startswith("ARG "):
                        values.update(_argument(step, arguments))
                    progress.update(
                        task, description=step[:60], completed=int(number) - 1, total=int(count)
                    )
                    if not console.is_terminal:
                        print(f"build: {number}/{count} {step[:100]}", flush=True)
                elif line.strip() and not line.startswith(
                    ("Removing intermediate", " --->", "-->")
                ):
                    last_line = line.strip()
    return str(client.images.get(tag).id)


def get(client: docker.DockerClient, tag: str) -> Any:
    """Finds an image of the engine's.

    Raises:
        UserError: There is none of that name.
    """
    try:
        return client.images.get(tag)
    except ImageNotFound as error:
        raise UserError(
            f"the Docker engine has no image {tag}: build it with `python docker/portal.py build`"
        ) from error


def revision(image: Any) -> str:
    """The git revision that an image was built from, or "unknown"."""
    return str((image.labels or {}).get(_REVISION, "unknown"))


def source_arguments() -> dict[str, str]:
    """The build arguments that say which commit is built; none outside a git checkout."""
    described = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    version = _git("describe", "--always", "--dirty", "--tags")
    found = {"REVISION": described, "VERSION": version}
    return {name: value for name, value in found.items() if value}


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _argument(step: str, given: Mapping[str, str]) -> dict[str, str]:
    """The value that an `ARG` step gives its name."""
    name, _, default = step.removeprefix("ARG ").partition("=")
    return {name: given.get(name, default)}


def _failure(message: str, step: str, last_line: str, values: Mapping[str, str]) -> str:
    """The one line for a failed build."""
    reason = " ".join(message.split())
    if engine.is_full(f"{message} {last_line}"):
        return engine.full(message)
    if step.startswith("FROM"):
        base = string.Template(step.split()[1]).safe_substitute(values)
        return (
            f"the base image {base} can't be pulled ({reason}): name one that the "
            "engine has or can pull with --base-image"
        )
    return f"the build failed at `{step[:80]}`: {last_line or reason}"


def default_network() -> str | None:
    """The network of a build's steps that the environment sets."""
    return os.environ.get("BUILD_NETWORK") or None


def default_arguments() -> dict[str, str]:
    """The build arguments that the environment sets."""
    names = ("BASE_IMAGE", "TORCH_INDEX")
    return {name: os.environ[name] for name in names if os.environ.get(name)}
