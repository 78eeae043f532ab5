"""The record of a run: what was asked, on what, and how it went."""

import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from submission.files import write_json

_PACKAGES = ("torch", "numpy", "gin-config", "h5py", "tensorboardX")


@dataclass
class Record:
    """The content of `training/run.json`; every field is there from the first export on.

    Attributes:
        status: `running`, then `finished` (the budget or the steps are used up), `untrained` (the
            budget was too short for one step), `interrupted` (a signal) or `failed`.
        message: One sentence on the status.
        form: How a step was computed (`submission.form.Form`).
        processes: That trained together.
        kl_per_latent: KL(q(z_j|x) || p(z_j)) in nats, averaged over a fixed sample of images.
        posterior_std_per_latent: The posterior's standard deviation, averaged likewise.
        posterior_mean_variance_per_latent: The variance of the posterior's mean over that sample,
            by which Burda et al. (2016, Section 5) tell the latents in use: above 0.01.
    """

    name: str
    method: str
    dataset: str
    dataset_fingerprint: str
    preset: str
    seed: int
    budget_seconds: float
    started: str
    image_shape: list[int]
    latents: int
    width: float
    device: str
    threads: int
    gin_config: str
    git_revision: str
    versions: dict[str, str]
    processes: int = 1
    form: dict[str, bool] = field(default_factory=dict)
    seconds_spent: float = 0.0
    steps: int = 0
    planned_steps: int = 0
    pretraining_steps: int = 0
    pretraining_cached: bool = False
    nonfinite_steps: int = 0
    status: str = "running"
    message: str = ""
    warnings: list[str] = field(default_factory=list)
    kl_per_latent: list[float] = field(default_factory=list)
    posterior_std_per_latent: list[float] = field(default_factory=list)
    posterior_mean_variance_per_latent: list[float] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Writes the record atomically as JSON."""
        write_json(path, asdict(self))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that training depends on."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in _PACKAGES
    }


def git_revision() -> str:
    """The commit of this code, with `+changes` if the tree differs from it.

    Without a checkout it is what `GIT_REVISION` says, as in this project's image; else `unknown`.
    """
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_REVISION", "unknown")
