"""A pause for the collector of cyclic garbage, where many objects are made and none is cyclic."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Pause the search for cyclic garbage within the block.

    Decoding pages and evaluating checks make so many objects that searching them again and again
    takes longer than making them. Memory is freed all the same, by counting references.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
