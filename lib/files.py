"""Files that are whole or not there."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The path of a draft to write: after the block it stands at `path`; if the block fails, nothing is left behind."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".draft-") as folder:  # where a move is whole
        draft = Path(folder) / path.name
        yield draft
        draft.replace(path)


def check_writable(name: str, folder: Path) -> None:
    """Raise unless a file can be written in the folder, which the parameter `name` gives.

    Raises:
        ValueError: with the reason.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as reason:
        raise ValueError(f"{name} {folder}: expected a folder that can be written to ({reason.strerror})") from None
