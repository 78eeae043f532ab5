"""The record of a run: what was asked, on what, and how it went."""

import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from submission.errors import UserError
from submission.runs.files import NoObjectError, UnreadableError, read_object, write_json


@dataclass
class Record:
    """The content of `training/run.json`; every field is there from the first export on.

    Attributes:
        dataset_path: Where one's own data set was; empty for those of the catalogue.
        status: `running`, then `finished` (the budget or the steps are used up), `untrained` (the
            budget was too short for one step), `interrupted` (a signal) or `failed`.
        message: One sentence on the status.
        form: How a step was computed (`submission.training.execution.Execution`).
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
    dataset_path: str = ""
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


def read_record(path: Path) -> dict[str, Any]:
    """What a training recorded, by the names of `Record`'s fields.

    Args:
        path: Its `run.json`, which people and other programs may have changed.

    Returns:
        The fields, each of its type; an older version's record lacks some. Empty where there is no
        file.

    Raises:
        UserError: The file is damaged, or a field is of another type.
    """
    try:
        record = read_object(path)
    except FileNotFoundError:
        return {}
    except NoObjectError as error:
        raise UserError(f"{path} holds {error}: mend or remove it") from error
    except (NotADirectoryError, UnreadableError) as error:
        raise UserError(f"{path} can't be read ({error}): mend or remove it") from error
    for name, kind in get_type_hints(Record).items():
        if name in record and not _is_of(kind, record[name]):
            what = getattr(kind, "__name__", kind) if get_origin(kind) is None else kind
            raise UserError(
                f"{path}: {name} is {reprlib.repr(record[name])}, where a value of the type {what} "
                "belongs: mend or remove it"
            )
    return record


def dataset_of(record: Mapping[str, Any]) -> str | None:
    """What `--dataset` takes for the data set that was trained on; None where nothing tells it."""
    return record.get("dataset_path") or record.get("dataset")


def _is_of(kind: Any, value: Any) -> bool:
    """Whether a value that JSON gave is of the type of a field."""
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_of(get_args(kind)[0], one) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(
            _is_of(get_args(kind)[1], one) for one in value.values()
        )
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind
