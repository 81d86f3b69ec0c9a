"""Drives sources and sinks by hand, as the engine would."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from millstream.core.codec import Decoder, Lines
from millstream.core.sink import Sink, SinkContext
from millstream.core.source import BatchSource

CONTEXT = SinkContext("job", "out")


def batches(source: BatchSource[Any], position: Any = None) -> Iterator[tuple[list[Any], Any]]:
    """Yield batches as decoded records, each with the position behind it."""
    run = copy.copy(source)
    run.validate()
    run.open()
    try:
        for records, after in run.read(position):
            yield decoded(run, records), after
    finally:
        run.close()


def records(source: BatchSource[Any], position: Any = None) -> list[Any]:
    """Return all records from ``position`` on."""
    return [record for batch, _ in batches(source, position) for record in batch]


def decoded(source: BatchSource[Any], raw: Sequence[Any]) -> list[Any]:
    """Return the records in a batch: a block at once where that works, else one by one."""
    decoder = source.decoder
    if decoder is None:
        return list(raw)
    whole = _at_once(decoder, raw)
    if whole is None and decoder.skips_blank_lines:
        raw = Lines.of([line for line in raw if line.strip()])
        whole = _at_once(decoder, raw)
    return [decoder.decode(record) for record in raw] if whole is None else whole


def _at_once(decoder: Decoder[Any], raw: Sequence[Any]) -> list[Any] | None:
    if not isinstance(raw, Lines):
        return None
    try:
        whole = decoder.decode_block(raw)
    except Exception:  # noqa: BLE001  # found again line by line, as the engine does
        return None
    assert whole is None or len(whole) == len(raw)
    return whole


def one_by_one(source: BatchSource[Any]) -> list[Any]:
    """Return all records, decoded one by one."""
    run = copy.copy(source)
    run.open()
    try:
        decode = run.decoder.decode if run.decoder is not None else lambda record: record
        return [decode(record) for raw, _ in run.read(None) for record in raw]
    finally:
        run.close()


def assert_resumes_everywhere(source: BatchSource[Any]) -> None:
    """Check that reading from each position yielded gives exactly the rest."""
    everything = records(source)
    seen = 0
    for batch, after in batches(source):
        seen += len(batch)
        assert records(source, after) == everything[seen:]
    assert seen == len(everything)


def write(sink: Sink[Any], written: Iterable[Sequence[Any]], *, finish: bool = True) -> None:
    """Run a sink over batches, to the end or to just before it."""
    run = copy.copy(sink)
    run.validate()
    try:
        run.open(CONTEXT)
        for batch in written:
            run.invoke_batch(batch, CONTEXT)
        run.flush()
        if finish:
            run.finish()
    finally:
        run.close()
