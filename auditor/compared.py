"""Two or more versions of one benchmark beside one another, control by control."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditor.scorecard import BenchmarkResult, Compared, Comparison, ControlResult


def comparisons(results: Iterable[BenchmarkResult]) -> tuple[Comparison, ...]:
    """One comparison for each benchmark of which several versions were decided."""
    by_id: dict[str, list[BenchmarkResult]] = {}
    for result in results:
        by_id.setdefault(result.benchmark.id, []).append(result)
    return tuple(_comparison(found) for found in by_id.values() if len(found) > 1)


def _comparison(results: Sequence[BenchmarkResult]) -> Comparison:
    """Rows in the order of the last version; what it no longer has stands where it once stood."""
    tables = [{_identity(item): item for item in result.controls} for result in results]
    order = list(tables[-1])
    for table in reversed(tables[:-1]):
        before: str | None = None
        for identity in table:
            if identity not in order:
                order.insert(order.index(before) + 1 if before is not None else 0, identity)
            before = identity
    rows = []
    for identity in order:
        cells = tuple(table.get(identity) for table in tables)
        newest = next(cell for cell in reversed(cells) if cell is not None)
        rows.append(Compared(identity, newest.control.title, cells))
    return Comparison(tuple(results), tuple(rows))


def _identity(item: ControlResult) -> str:
    return item.control.identity or item.control.id
