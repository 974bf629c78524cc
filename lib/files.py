"""Files that are whole or not there, and that one process at a time writes."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The path of a draft to write: after the block it stands at `path`; if the block fails, nothing is left behind."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".draft-") as folder:  # where a move is whole
        draft = Path(folder) / path.name
        yield draft
        draft.replace(path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Of all processes, on whatever machines, that want to write `path`, one at a time is inside the block.

    The lock is a byte of the file `.lock` beside, at a place that follows from the name; it is gone when its process is.
    A file system without locks does without.
    """
    import fcntl  # not on Windows

    byte = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
    with open(path.parent / ".lock", "ab") as locks:
        with suppress(OSError):
            fcntl.lockf(locks, fcntl.LOCK_EX, 1, byte)
        yield


def check_writable(name: str, folder: Path) -> None:
    """Raise unless a file can be written in the folder, which the parameter `name` gives.

    Raises:
        ValueError: with the reason.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as reason:
        raise ValueError(f"{name} {folder}: expected a folder that can be written to ({reason.strerror})") from None
