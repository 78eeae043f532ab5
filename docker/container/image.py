"""Building the image that goes to the portal, and finding the one that scores."""

import hashlib
import os
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound
from docker.utils import exclude_paths
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from container import engine
from container.live_log import ESCAPES
from submission.errors import UserError
from submission.installation import ROOT
from submission.runs.files import UnreadableError, read_object, write_json
from submission.runs.provenance import git_revision

TAG = "disentanglement-submission"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# The image that was built last from this checkout. What its own labels say, another may say too.
_RECORD = ROOT / "scratch/image.json"
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


def build_checkout(
    client: docker.DockerClient, tag: str, arguments: Mapping[str, str], network: str | None
) -> str:
    """Builds this checkout's image, and notes that it is the one to score in.

    Args:
        client: The engine.
        tag: The image's name.
        arguments: The Dockerfile's build arguments, but for the git revision.
        network: See `build`.

    Returns:
        The image's id.

    Raises:
        UserError: See `build`.
    """
    sources = _digest()
    identity = build(client, tag, {**arguments, "REVISION": git_revision()}, network)
    write_json(_RECORD, {"sources": sources, "image": identity})
    return identity


def of_checkout(client: docker.DockerClient) -> Any:
    """Finds the image that was built from the code of this checkout as it stands.

    Raises:
        UserError: None was built, or the code has changed since, or the engine hasn't it.
    """
    remedy = "scores are computed in it alone: run `python docker/portal.py build`"
    try:
        record = read_object(_RECORD)
    except (OSError, UnreadableError) as error:
        raise UserError(f"this checkout's image isn't built; {remedy}") from error
    if record.get("sources") != _digest():
        raise UserError(f"the code has changed since this checkout's image was built; {remedy}")
    try:
        return client.images.get(str(record.get("image")))
    except ImageNotFound as error:
        raise UserError(f"the Docker engine hasn't this checkout's image; {remedy}") from error


def sent(root: Path = ROOT) -> Iterator[Path]:
    """The regular files that a build sends to the engine, in order of their names.

    Args:
        root: The folder of the Dockerfile.
    """
    ignore = root / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.exists() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for name in sorted(exclude_paths(str(root), patterns)):
        path = root / name
        if path.is_file() and not path.is_symlink():
            yield path


def _digest() -> str:
    """Of this checkout's code, and all else that goes into its image but the base and PyTorch."""
    digest = hashlib.sha256()
    for path in sent():
        content = path.read_bytes()
        executable = os.access(path, os.X_OK)
        digest.update(f"{path.relative_to(ROOT)} {executable} {len(content)}\n".encode() + content)
    return digest.hexdigest()


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
