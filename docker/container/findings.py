"""What the portal would refuse, found before the upload."""

import contextlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import docker

from container import apart, image, ownership, results, sandbox
from container.live_log import LiveLog
from container.sandbox import SHARED, UID, Job, Limits
from submission.errors import UserError
from submission.installation import ROOT

# The challenge's, from its starter kit.
_CHALLENGE = "aicrowd-neurips-2019-disentanglement-challenge"
_ENTRY_POINT = "/home/aicrowd/run.sh"

_MOST_GIGABYTES = {"CPU": 3.0, "CUDA": 10.0}
_MOST_FILE_BYTES = 10 * 2**20
_MOST_CONTEXT_BYTES = 50 * 2**20
# The rest of an image is the distribution's and Python's packages, with keys in their examples.
_OWN_FOLDERS = ("home", "root", "tmp", "srv", "app", "workspace")
_DATA_ENDINGS = {
    ".npz",
    ".npy",
    ".h5",
    ".hdf5",
    ".mat",
    ".tar",
    ".tgz",
    ".gz",
    ".zip",
    ".pt",
    ".ckpt",
}
_SECRET_NAMES = re.compile(
    r"(\.env(\..+)?|\.netrc|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx)"
    r"|credentials(\.json)?|environ_secret\.sh|\.aws|\.ssh|\.docker)"
)
_SECRETS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    rb"|\bgithub_pat_[A-Za-z0-9_]{40,}|\bglpat-[A-Za-z0-9_-]{20}|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    rb"|\bhf_[A-Za-z0-9]{34}|\bpypi-[A-Za-z0-9_-]{50,}|://[^/\s:@\"']+:[^/\s@\"']+@"
)
_SECRET_VARIABLES = re.compile(
    r"PIP_.*|(.*_)?(TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_KEY)(_.*)?"
)
# Of an image only the names that no distribution has.
_PACKAGING_NAMES = re.compile(
    r"pip\.conf|\.netrc|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)"
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: What was found.
        remedy: What to do about it; "" when it is right.
    """

    what: str
    remedy: str = ""


def check(
    client: docker.DockerClient,
    tag: str,
    representation: Path | None,
    limits: Limits,
    root: Path = ROOT,
) -> Iterator[Finding]:
    """Looks at the files, at the image, and at a representation.

    Args:
        client: The engine.
        tag: The name of the submission's image.
        representation: The folder to try; None for none.
        limits: What the representation's code may use.
        root: The folder of the submission.

    Yields:
        A finding for each thing, right or wrong.
    """
    manifest, found = _check_manifest(root / "aicrowd.json")
    yield from found
    yield _check_run_sh(root / "run.sh")
    yield from _check_context(root)
    try:
        inspected = image.get(client, tag)
    except UserError as error:
        yield Finding("there is no image", str(error))
        return
    yield from _check_image(inspected)
    yield from check_shipped(inspected)
    try:
        probe = _probe(client, tag, limits)
    except (UserError, RuntimeError) as error:
        yield Finding(f"the image couldn't be tried: {error}", "mend that first")
        return
    yield from _check_probe(probe, inspected, manifest)
    yield _check_representation(client, representation, limits)


def _check_manifest(path: Path) -> tuple[dict[str, Any], list[Finding]]:
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        return {}, [Finding(f"{path.name} can't be read ({error})", "write one: docs/container.md")]
    if not isinstance(manifest, dict):
        return {}, [Finding(f"{path.name} holds no JSON object", "write one: docs/container.md")]
    found = []
    for key in ("challenge_id", "grader_id"):
        value = manifest.get(key)
        remedy = "" if value == _CHALLENGE else f'set it to "{_CHALLENGE}"'
        found.append(Finding(f"{path.name}: {key} is {value!r}", remedy))
    authors = manifest.get("authors")
    named = isinstance(authors, list) and authors and all(isinstance(one, str) for one in authors)
    right = named and not any(one.strip() in ("", "your-aicrowd-username") for one in authors or ())
    remedy = "" if right else "list your AIcrowd user names"
    found.append(Finding(f"{path.name}: authors is {authors!r}", remedy))
    gpu = manifest.get("gpu")
    remedy = "" if isinstance(gpu, bool) else "set it to true or false"
    found.append(Finding(f"{path.name}: gpu is {json.dumps(gpu)}", remedy))
    return manifest, found


def _check_run_sh(path: Path) -> Finding:
    if not path.is_file():
        return Finding("there is no run.sh", "add it: the portal starts it")
    if not os.access(path, os.X_OK):
        return Finding("run.sh isn't executable", "chmod +x run.sh")
    first = path.read_bytes().split(b"\n", 1)[0]
    if not first.startswith(b"#!") or first.endswith(b"\r"):
        return Finding(
            f"run.sh begins with {first[:40]!r}",
            "begin it with #!/usr/bin/env bash, and end its lines as on Linux",
        )
    return Finding("run.sh is executable")


def _check_context(root: Path) -> Iterator[Finding]:
    """Data sets and secrets in what a build sends to the engine."""
    total = wrong = 0
    for path in image.sent(root):
        name = path.relative_to(root)
        size = path.stat().st_size
        total += size
        if size > _MOST_FILE_BYTES or path.suffix in _DATA_ENDINGS:
            wrong += 1
            yield Finding(
                f"{name} ({size / 2**20:.1f} MiB) goes into the image: a data set or a model?",
                "name it in .dockerignore",
            )
        elif any(_SECRET_NAMES.fullmatch(part) for part in name.parts) or _SECRETS.search(
            path.read_bytes()
        ):
            wrong += 1
            yield Finding(
                f"{name} goes into the image and looks like a secret",
                "name it in .dockerignore; if it was ever pushed, revoke it",
            )
    if total > _MOST_CONTEXT_BYTES:
        yield Finding(
            f"the build sends {total / 2**20:.0f} MiB to the engine",
            "name in .dockerignore what the Dockerfile doesn't copy",
        )
    elif not wrong:
        yield Finding(
            f"no data set and no secret in the {total / 2**20:.1f} MiB that a build sends"
        )


def _check_image(inspected: Any) -> Iterator[Finding]:
    config = inspected.attrs["Config"]
    user = config.get("User") or "root"
    remedy = "" if user in ("aicrowd", str(UID)) else "end the Dockerfile with USER aicrowd"
    yield Finding(f"the image's user is {user}", remedy)
    entry_point = config.get("Entrypoint") or []
    remedy = "" if entry_point == [_ENTRY_POINT] else f'set ENTRYPOINT ["{_ENTRY_POINT}"]'
    yield Finding(f"the image's entry point is {' '.join(entry_point) or 'missing'}", remedy)
    revision = image.revision(inspected)
    clean = revision != "unknown" and not revision.endswith("-dirty")
    remedy = "" if clean else "commit, then build with `python docker/portal.py build`"
    yield Finding(f"the image's code is git revision {revision}", remedy)


def check_shipped(inspected: Any) -> Iterator[Finding]:
    """Secrets, and what is large, in an image's environment, its commands and its layers.

    A layer keeps a file that a later one removes.

    Args:
        inspected: The image.

    Yields:
        A finding for each, none of which shows the secret; or one that all is right.
    """
    remedy = "leave it out of the image that the last stage of the Dockerfile begins with"
    found = []
    for entry in inspected.attrs["Config"].get("Env") or ():
        name, _, value = entry.partition("=")
        if _SECRET_VARIABLES.fullmatch(name.upper()) or _SECRETS.search(value.encode()):
            found.append(f"the image's environment holds {name}, which may tell a secret")
    for step in inspected.history():
        command = str(step.get("CreatedBy"))
        if _SECRETS.search(command.encode()):
            found.append(f"the image's history tells a secret, in `{command[:20]}…`")
    with contextlib.closing(inspected.save()) as chunks:
        found += _wrong_files(results.as_file(chunks))
    yield from (Finding(what, remedy) for what in found)
    if not found:
        yield Finding("no secret, wheel or data set in the image's environment and layers")


def _wrong_files(saved: IO[bytes]) -> list[str]:
    """What shouldn't ship in the layers of an image as `docker save` gives it."""
    found = set()
    with tarfile.open(fileobj=saved, mode="r|") as archive:
        for part in archive:
            content = archive.extractfile(part) if part.isreg() else None
            # Of the other parts, all are JSON.
            if content is None or part.name.endswith(".json") or part.size < tarfile.BLOCKSIZE:
                continue
            with (
                contextlib.suppress(tarfile.ReadError),
                tarfile.open(fileobj=content, mode="r|*") as layer,
            ):
                found |= set(_wrong_in_layer(layer))
    return sorted(found)


def _wrong_in_layer(layer: tarfile.TarFile) -> Iterator[str]:
    for member in layer:
        path = PurePosixPath(member.name)
        if not member.isreg():
            continue
        if path.suffix in (".whl", *_DATA_ENDINGS) and member.size > _MOST_FILE_BYTES:
            yield f"a layer of the image holds /{path} ({member.size / 2**20:.0f} MiB)"
        elif _PACKAGING_NAMES.fullmatch(path.name):
            yield f"a layer of the image holds /{path}, which may tell a secret"
        elif path.parts[0] in _OWN_FOLDERS and member.size < _MOST_FILE_BYTES:
            content = layer.extractfile(member)
            if content is not None and _SECRETS.search(content.read()):
                yield f"a layer of the image holds /{path}, which looks like a secret"


def _probe(client: docker.DockerClient, tag: str, limits: Limits) -> dict[str, Any]:
    """Runs probe.py in the submission's image, without a GPU."""

    def run(job: Job, log: LiveLog) -> None:
        sandbox.check(sandbox.run(client, job, limits, log), "check", log)

    with _answer(client, tag, "probe", [], limits, run) as path:
        return read_probe(path)


def _try(client: docker.DockerClient, representation: Path, limits: Limits) -> dict[str, str]:
    """Runs trial.py in this checkout's image, without a GPU, and the model beside it."""

    def run(job: Job, log: LiveLog) -> None:
        apart.run(client, job, representation, limits, log)

    tag = str(image.of_checkout(client).id)
    with _answer(client, tag, "trial", [apart.WORKER], limits, run) as path:
        return dict(json.loads(path.read_text()))


@contextlib.contextmanager
def _answer(
    client: docker.DockerClient,
    tag: str,
    script: str,
    arguments: Sequence[str],
    limits: Limits,
    run: Callable[[Job, LiveLog], None],
) -> Iterator[Path]:
    """Runs a script of this folder's in an image; yields the path of the answer that it leaves."""
    with ownership.temporary_folder() as place:
        with (
            sandbox.output(client, tag, limits.output, limits.seconds) as shared,
            LiveLog("check", limits.seconds, place / "log.txt", limits.printed) as log,
        ):
            job = Job(
                title="check",
                image=tag,
                entrypoint=["python", "-c", (Path(__file__).parent / f"{script}.py").read_text()],
                arguments=[*arguments, f"{SHARED}/{script}"],
                environment={},
                mounts={},
                volumes=[shared.volume],
            )
            run(job, log)
            left = place / "left"
            left.mkdir()
            results.take(shared, script, left, limits.output)
        yield left / f"{script}.json"


def read_probe(path: Path) -> dict[str, Any]:
    """Reads what the probe found; the image's own Python wrote it, and may have written anything.

    Raises:
        UserError: It isn't what probe.py writes.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "uid": (int, type(None)),
        "entry_point_runs": (bool,),
        "torch": (str,),
        "torch_has_cuda": (bool,),
    }
    try:
        probe = json.loads(path.read_text(encoding="utf-8"))
        right = all(type(probe[key]) in kind for key, kind in kinds.items())
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError("it left no answer that can be read") from error
    if not right:
        raise UserError("its answer isn't one that docker/container/probe.py gives")
    return dict(probe)


def _check_probe(
    probe: dict[str, Any], inspected: Any, manifest: dict[str, Any]
) -> Iterator[Finding]:
    uid = probe["uid"]
    remedy = "" if uid == UID else f"make the user with `useradd --uid {UID} aicrowd`"
    yield Finding(f"the uid of aicrowd in the image is {uid}", remedy)
    runs = probe["entry_point_runs"]
    remedy = "" if runs else f"copy run.sh to {_ENTRY_POINT}, executable"
    yield Finding(f"{_ENTRY_POINT} {'can' if runs else 'can not'} be run", remedy)
    build = "CUDA" if probe["torch_has_cuda"] else "CPU"
    gigabytes = inspected.attrs["Size"] / 1e9
    most = _MOST_GIGABYTES[build]
    remedy = (
        "" if gigabytes < most else "find what is large with `docker history`, and leave it out"
    )
    yield Finding(f"the image has {gigabytes:.2f} GB, of {most:.0f} ({build} build)", remedy)
    if manifest.get("gpu") is True and build == "CPU":
        yield Finding(
            f"aicrowd.json asks for a GPU, and the image holds torch {probe['torch']} without CUDA",
            "build without --cpu, or set gpu to false",
        )


def _check_representation(
    client: docker.DockerClient, folder: Path | None, limits: Limits
) -> Finding:
    if folder is None:
        return Finding(
            "there is no representation to try",
            "run `python docker/portal.py simulate`, or name a folder",
        )
    try:
        trial = _try(client, folder, limits)
    except (UserError, RuntimeError) as error:
        return Finding(f"the representation couldn't be tried: {error}", "mend that first")
    if trial["mistake"]:
        return Finding(
            f"the representation fails without a GPU: {trial['mistake']}", "export it anew"
        )
    return Finding(f"without a GPU, the representation gives {trial['gives']}")
