"""Files written whole or not at all: a crash or a full disk never leaves half of one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write `data` beside `path` and put it in place in one step, making folders as needed.

    `data` may come in parts, which are written as they come.

    Raises `OSError`; whatever stood at `path` before then still stands there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
