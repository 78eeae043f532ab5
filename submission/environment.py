"""The challenge's environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def _is_set(value: str | None) -> bool:
    return value is not None and value.strip().lower() not in ("", "0", "false", "no")


@dataclass(frozen=True)
class Environment:
    """What the portal, or a person simulating it, says through the environment.

    Attributes:
        output_path: `AICROWD_OUTPUT_PATH`, where runs are written.
        evaluation_name: `AICROWD_EVALUATION_NAME`, the run's name.
        dataset_name: `AICROWD_DATASET_NAME`.
        data_root: `DISENTANGLEMENT_LIB_DATA`, the folder of the data sets.
        is_grading: `AICROWD_IS_GRADING`, whether this is the portal.
        use_cuda: `AICROWD_CUDA`, whether a GPU may be used (it may, unless the variable says no).
    """

    output_path: Path
    evaluation_name: str
    dataset_name: str
    data_root: Path
    is_grading: bool
    use_cuda: bool

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> "Environment":
        """Reads the variables; each has the default that the challenge's starter kit gave it.

        Relative paths start at `NDC_ROOT` when that is set, as in the challenge's image.
        """
        root = Path(variables.get("NDC_ROOT", "."))
        return cls(
            output_path=root / variables.get("AICROWD_OUTPUT_PATH", "scratch/shared"),
            evaluation_name=variables.get("AICROWD_EVALUATION_NAME", "experiment_name"),
            dataset_name=variables.get("AICROWD_DATASET_NAME", "mpi3d_mini"),
            data_root=root / variables.get("DISENTANGLEMENT_LIB_DATA", "scratch/dataset"),
            is_grading=_is_set(variables.get("AICROWD_IS_GRADING")),
            use_cuda=_is_set(variables.get("AICROWD_CUDA", "1")),
        )
