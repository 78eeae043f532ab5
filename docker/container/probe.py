"""Runs inside the submission's image for `portal.py check`: tells what is there."""

import json
import os
import pwd
import sys
from pathlib import Path

import torch


def main(report: Path) -> None:
    """Writes `probe.json` for `findings.py` to read.

    Args:
        report: The folder for it.
    """
    uids = [user.pw_uid for user in pwd.getpwall() if user.pw_name == "aicrowd"]
    found: dict[str, object] = {
        "uid": uids[0] if uids else None,
        "entry_point_runs": os.access("/home/aicrowd/run.sh", os.X_OK),
        "torch": torch.__version__,
        "torch_has_cuda": torch.version.cuda is not None,
    }
    report.mkdir()
    (report / "probe.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
