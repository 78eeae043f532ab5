"""Finding a data set's files, and the one line that says how to get them."""

from pathlib import Path

from submission.errors import UserError


def require(path: Path, name: str) -> Path:
    """Returns the path if it exists.

    Args:
        path: The file or folder that is looked for.
        name: The data set that needs it.

    Returns:
        The path itself.

    Raises:
        UserError: There is nothing at the path.
    """
    if not path.exists():
        raise UserError(
            f"the data set {name} is missing: there is no {path}; get it with "
            f"`python -m submission.datasets download {name}`, "
            "or set DISENTANGLEMENT_LIB_DATA to the folder that holds it"
        )
    return path
