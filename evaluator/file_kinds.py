"""What a model's file or folder is, told from its bytes; no code that it may hold is run.

A pickle is read with a stand-in for each name in it, so that its structure shows and nothing of it
is imported or called.
"""

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

TORCHSCRIPT = "TorchScript"
EXPORTED = "a torch.export archive"
ONNX = "an ONNX model"
PICKLE = "a pickle"
SAVED_MODEL = "a SavedModel"
UNKNOWN = "of an unknown kind"


class Kind(NamedTuple):
    """What a file or folder is.

    Attributes:
        name: One of the constants above.
        mistake: Why it can't be a model and what to do, after "it"; empty if it may be one.
    """

    name: str
    mistake: str = ""


# What Python's reader raises of a damaged archive, or of one that is encrypted.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError)
# Bytes of what a zip archive may unpack for a look.
_LARGEST_PICKLE = 2**28

_SAVE_THE_NETWORK = (
    "load its weights into the network, and save that with "
    "torch.jit.save(torch.jit.script(network.eval()), path)"
)
_EXPORT_FROM_KERAS = "export the model with model.export(folder), and name the folder tfhub"
_CUT_SHORT = Kind(UNKNOWN, "is cut short: copy or download it again")
_EMPTY = Kind(UNKNOWN, "is empty: copy or download it again")
_GIT_LFS = Kind(UNKNOWN, "is a Git LFS pointer: fetch the file itself with `git lfs pull`")
_WEB_PAGE = Kind(UNKNOWN, "is a web page that was saved in its place: download the file itself")
_GIT_LFS_BEGINNING = b"version https://git-lfs"
_BEGINNINGS = (
    (_GIT_LFS_BEGINNING, _GIT_LFS),
    (b"\x1f\x8b", Kind(UNKNOWN, "is compressed with gzip: unpack it")),
    (b"\x89HDF\r\n\x1a\n", Kind(UNKNOWN, f"is an HDF5 file: {_EXPORT_FROM_KERAS}")),
    (b"\x93NUMPY", Kind(UNKNOWN, "is an array of numpy's, not a model")),
)
# Of onnx.proto's ModelProto: the numbers of its fields, and those of the needed ones, ir_version
# and graph.
_ONNX_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
_ONNX_NEEDED = {1, 7}
# What torch.save wrote first until 2020.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def kind_of(path: Path) -> Kind:
    """Tells what a file or folder is.

    Args:
        path: It exists.

    Returns:
        Its kind.

    Raises:
        OSError: It can't be read.
    """
    if path.is_dir():
        return _kind_of_folder(path)
    with path.open("rb") as file:
        start = file.read(512)
        if not start:
            return _EMPTY
        for beginning, kind in _BEGINNINGS:
            if start.startswith(beginning):
                return kind
        text = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:9].lower()
        if text.startswith((b"<!doctype", b"<html", b"<?xml")):
            return _WEB_PAGE
        if start[257:262] == b"ustar":
            return Kind(UNKNOWN, "is a tar archive: unpack it")
        if start[8:10] == b'{"' and int.from_bytes(start[:8], "little") < path.stat().st_size:
            return Kind(UNKNOWN, f"is a safetensors file, not a model: {_SAVE_THE_NETWORK}")
        file.seek(0)
        if start.startswith(b"PK\x03\x04"):
            try:
                return _kind_of_zip(file)
            except _ZIP_ERRORS:
                return Kind(UNKNOWN, "is damaged: copy or download it again")
        return _kind_of_pickle(file) if start.startswith(b"\x80") else _kind_of_protobuf(file)


def names_a_gpu(path: Path) -> bool:
    """Whether the code of a TorchScript file or a torch.export archive names a GPU."""
    with zipfile.ZipFile(path) as archive:
        code = [name for name in archive.namelist() if name.endswith((".py", ".json"))]
        return any(b'"cuda' in archive.read(name) for name in code)


def _kind_of_folder(folder: Path) -> Kind:
    if (folder / "saved_model.pb").is_file() or (folder / "saved_model.pbtxt").is_file():
        for file in sorted(folder.rglob("*")):
            if file.is_file() and _begins_as_git_lfs(file):
                return Kind(SAVED_MODEL, f"holds {file.relative_to(folder)}, which {_GIT_LFS[1]}")
        return Kind(SAVED_MODEL)
    inner = sorted(file.parent.relative_to(folder) for file in folder.rglob("saved_model.pb"))
    hint = f": that stands in its folder {inner[0]}, whose content belongs here" if inner else ""
    return Kind(UNKNOWN, f"is a folder without a saved_model.pb{hint}")


def _begins_as_git_lfs(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GIT_LFS_BEGINNING)) == _GIT_LFS_BEGINNING


def _kind_of_zip(file: BinaryIO) -> Kind:
    if not zipfile.is_zipfile(file):
        return _CUT_SHORT
    with zipfile.ZipFile(file) as archive:
        paths = archive.namelist()
        names = {Path(path).name for path in paths}
        if any("/aotinductor/" in path for path in paths):
            return Kind(
                UNKNOWN,
                "is an AOTInductor package, compiled for one kind of machine: save what it was "
                "compiled from with torch.export.save",
            )
        if names & {"archive_format", "serialized_exported_program.json"}:
            return Kind(EXPORTED)
        # TorchScript keeps its constants beside data.pkl; before PyTorch 1.4 it was a model.json.
        if names & {"constants.pkl", "model.json"}:
            return Kind(TORCHSCRIPT)
        if "data.pkl" in names:
            pickled = next(path for path in paths if Path(path).name == "data.pkl")
            if archive.getinfo(pickled).file_size > _LARGEST_PICKLE:
                return Kind(PICKLE)
            return _kind_of_pickle(io.BytesIO(archive.read(pickled)))
    if "model.weights.h5" in names:
        return Kind(UNKNOWN, f"is a Keras file: {_EXPORT_FROM_KERAS}")
    if names and all(name.endswith(".npy") for name in names):
        return Kind(UNKNOWN, "is arrays of numpy's, not a model")
    return Kind(UNKNOWN, "is a zip archive of other files: unpack it")


def _kind_of_pickle(file: BinaryIO) -> Kind:
    try:
        value = _InertUnpickler(file).load()
        if value == _LEGACY_MAGIC:
            # The protocol and the machine stand before the object.
            value = [_InertUnpickler(file).load() for _ in range(3)][-1]
    except Exception as error:
        if isinstance(error, EOFError | struct.error) or "exhausted" in str(error):
            return _CUT_SHORT
        # Such as a class that dill carries whole: only reading it in earnest tells what it is.
        return Kind(PICKLE)
    name = type(value).__name__
    if _is_tensor(value):
        return Kind(PICKLE, "holds a tensor, not a function or a model")
    if isinstance(value, dict) and name in ("dict", "OrderedDict", "defaultdict"):
        keys = ", ".join(repr(key)[:40] for key in list(value)[:5])
        what = "state_dict" if _is_state_dict(value) else "checkpoint"
        return Kind(
            PICKLE, f"holds a {what} ({keys}), which is {name}, not a model: {_SAVE_THE_NETWORK}"
        )
    # A name alone, such as that of a library's function, is a class of ours.
    if not isinstance(value, _StandIn | type):
        return Kind(PICKLE, f"holds a {name}, not a function or a model")
    return Kind(PICKLE)


def _is_state_dict(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_tensor, value.values()))


def _is_tensor(value: object) -> bool:
    """Whether it is a call of `_rebuild_tensor_v2` or `_rebuild_parameter`, as PyTorch writes."""
    return isinstance(value, _StandIn) and type(value).__name__.startswith("_rebuild_")


class _StandIn(dict[object, object]):
    """Takes every argument, item and state that a pickle gives an object."""

    def __new__(cls, *arguments: object, **named: object) -> "_StandIn":
        return super().__new__(cls)

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__()


# It can't be hashed: the hash of tuples within tuples takes twice as long for each.
_Tuple = type("tuple", (list,), {})


def _unhashable(load: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(unpickler: Any) -> None:
        load(unpickler)
        unpickler.stack[-1] = _Tuple(unpickler.stack[-1])

    return run


# In Python, since the one in C makes room for as many objects as a pickle says that it holds.
class _InertUnpickler(pickle._Unpickler):
    """Reads a pickle with a stand-in for each name in it: nothing is imported, no code is run."""

    dispatch = pickle._Unpickler.dispatch | {
        code[0]: _unhashable(pickle._Unpickler.dispatch[code[0]])
        for code in (pickle.TUPLE, pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)
    }

    def find_class(self, module: str, name: str) -> type:
        """See `pickle`."""
        return type(name, (_StandIn,), {})

    def persistent_load(self, identity: object) -> object:
        """The numbers of PyTorch's tensors, which stand outside the pickle."""
        return identity


def _kind_of_protobuf(file: BinaryIO) -> Kind:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    fields = set()
    while file.tell() < size:
        tag = _varint(file)
        number, wire_type = tag >> 3, tag & 7
        if number not in _ONNX_FIELDS or wire_type not in (0, 2):
            return Kind(UNKNOWN)
        fields.add(number)
        length = _varint(file)
        if wire_type == 2:
            # A length of a damaged file may be more than a file can have.
            file.seek(min(file.tell() + length, size + 1))
    if not fields >= _ONNX_NEEDED:
        return Kind(UNKNOWN)
    return Kind(ONNX) if file.tell() == size else _CUT_SHORT


def _varint(file: BinaryIO) -> int:
    """Protobuf's numbers: seven bits a byte, the lowest first; the last byte is below 128."""
    number = shift = 0
    while byte := file.read(1):
        number |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128 or shift > 63:
            break
    return number
