"""The command `python -m evaluator.worker`: the process in which a stranger's model runs.

It gives up all rights but to read the model and its libraries before it imports any of them; then
it answers what comes through its sockets, and ends with them.
"""

import argparse
import os
import socket
import time
from pathlib import Path

from evaluator.worker import confinement, operations
from submission.command_line import Parser, run_command_line
from submission.errors import UserError
from submission.runs.processes import end_with

_SECONDS_TO_CONNECT = 300.0


def main() -> None:
    """Serves one model; the arguments come from the scorer, or from `docker/portal.py`.

    Raises:
        UserError: No scorer listens.
    """
    arguments = _parse()
    if arguments.parent is not None:
        end_with(arguments.parent)
    connections = _connections(arguments)
    files = arguments.autoencoders or [arguments.model]
    confinement.confine(operations.with_files_beside(files), _memory())
    from evaluator.worker import serving

    if arguments.autoencoders:
        serving.serve_autoencoders(files, connections[0])
    else:
        serving.serve(arguments.model, connections)


def _connections(arguments: argparse.Namespace) -> list[socket.socket]:
    if arguments.connect is None:
        return [socket.socket(fileno=int(one)) for one in arguments.descriptors.split(",")]
    connections = []
    others = confinement.most_in_parallel()
    for _ in range(1 + others):
        connections.append(_connect(arguments.connect))
    connections[0].sendall(bytes([others]))
    return connections


def _connect(place: Path) -> socket.socket:
    """Connects to a scorer that may not listen yet."""
    deadline = time.monotonic() + _SECONDS_TO_CONNECT
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(place))
            return connection
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            if time.monotonic() > deadline:
                raise UserError(f"no scorer listens at {place}") from error
            time.sleep(0.05)


def _memory() -> int:
    """Bytes that the model may take: three quarters of the machine's."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4


def _parse() -> argparse.Namespace:
    parser = Parser(
        prog="python -m evaluator.worker",
        description="Runs a model apart from what scores it. The evaluator starts it.",
    )
    models = parser.add_mutually_exclusive_group(required=True)
    models.add_argument("model", type=Path, nargs="?")
    models.add_argument(
        "--autoencoders", type=Path, nargs="+", metavar="FILE", help="encoder, decoder, encoder …"
    )
    sockets = parser.add_mutually_exclusive_group(required=True)
    sockets.add_argument("--descriptors", help="open sockets, separated by commas")
    sockets.add_argument("--connect", type=Path, metavar="SOCKET", help="where a scorer listens")
    parser.add_argument("--parent", type=int, help="the process with which this one ends")
    return parser.parse_args()


if __name__ == "__main__":
    run_command_line(main)
