"""Serves a page on this machine alone, and the pictures that it asks for."""

import contextlib
import errno
import sys
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from submission.errors import UserError

ADDRESS = "127.0.0.1"
# A name that somebody else has resolve to this machine isn't among them.
_OWN_NAMES = (ADDRESS, "localhost")


class PageServer(ThreadingHTTPServer):
    """Gives the page to a browser, and decodes the codes that the page sends.

    Args:
        port: Where it listens.

    Attributes:
        page: HTML.
        latents: Size of a code.
        decode: Codes, float32 [n, latents], to images, float32 [n, height, width, channels] in
            [0, 1]. It is called by one thread at a time.
        decoding: Held meanwhile.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.page = b""
        self.latents = 0
        self.decode: Callable[[NDArray[np.float32]], NDArray[np.float32]]
        self.decoding = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a browser that has gone away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def listening(port: int) -> Iterator[PageServer]:
    """Takes a port.

    Args:
        port: Which.

    Yields:
        The server, whose page and decoder are still to be set.

    Raises:
        UserError: The port can't be had.
    """
    try:
        server = PageServer(port)
    except OSError as error:
        taken = (
            "is taken" if error.errno == errno.EADDRINUSE else f"can't be had ({error.strerror})"
        )
        raise UserError(f"port {port} of {ADDRESS} {taken}: name another with --port") from error
    with server:
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    # Of a browser that opens a connection and asks for nothing.
    timeout = 60

    def do_GET(self) -> None:
        if not self._is_own():
            self._answer(HTTPStatus.FORBIDDEN, b"this page is shown on its own machine alone")
        elif self.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, b"there is no such page")
        else:
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def do_POST(self) -> None:
        # A browser names the page that a script asks from, and no script can change that.
        if not self._is_own() or self.headers["Origin"] != f"http://{self.headers['Host']}":
            self._answer(HTTPStatus.FORBIDDEN, b"only the page served here may ask")
        elif self.path != "/decode":
            self._answer(HTTPStatus.NOT_FOUND, b"there is nothing to ask")
        elif self.headers["Content-Length"] != str(4 * self.server.latents):
            wanted = f"a code has {self.server.latents} numbers, float32"
            self._answer(HTTPStatus.BAD_REQUEST, wanted.encode())
        else:
            code = np.frombuffer(self.rfile.read(4 * self.server.latents), "<f4")
            self._decode(code[None].astype(np.float32))

    def _decode(self, code: NDArray[np.float32]) -> None:
        try:
            with self.server.decoding:
                images = self.server.decode(code)
        except UserError as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode())
            return
        pixels = np.rint(255 * np.nan_to_num(images)).astype(np.uint8)
        self._answer(HTTPStatus.OK, pixels.tobytes(), "application/octet-stream")

    def _is_own(self) -> bool:
        """Whether the browser means this machine, and not a name that only leads here."""
        try:
            return urlsplit(f"//{self.headers['Host']}").hostname in _OWN_NAMES
        except ValueError:
            return False

    def _answer(
        self, status: HTTPStatus, content: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        # No other page may show this one in a frame, for people to move it unawares.
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """One line for each picture would help nobody."""
