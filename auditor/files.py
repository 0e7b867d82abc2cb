"""Files written whole or not at all: a crash or a full disk never leaves half of one."""

from __future__ import annotations

import contextlib
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and put it in place in one step, making folders as needed.

    Raises `OSError`; whatever stood at `path` before then still stands there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
