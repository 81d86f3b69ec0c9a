"""Where streams begin: what a user's source implements, and what it is given."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from millstream.core.codec import Decoder
from millstream.core.errors import ConfigError
from millstream.core.function_kind import (
    call_fault,
    is_async,
    is_async_generator,
    is_coroutine,
    is_generator,
    name_of,
)
from millstream.core.method_check import check_method

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

SourceBatch = tuple[Sequence[T], Any]
"""``(records, position)``: ``position`` means "next after these records".

Only the source reads it, so its type is the source's own (JSON-like values survive a restart)."""


class Boundedness(StrEnum):
    """Whether a source ends by itself (Flink's ``Boundedness``)."""

    BOUNDED = "bounded"
    UNBOUNDED = "unbounded"


class OverflowStrategy(StrEnum):
    """What a source that cannot be slowed does with a record nobody asked for yet."""

    BUFFER = "buffer"  # keep up to the buffer's capacity, then fail the job
    DROP = "drop"  # drop the new record, and count it
    LATEST = "latest"  # keep only the newest record, and count the one it replaces
    ERROR = "error"  # fail the job at once


LOSSY = frozenset({OverflowStrategy.DROP, OverflowStrategy.LATEST})


class SourceContext(Protocol[T_contra]):
    """What ``Source.run`` is given. Its methods may be called from any thread of the source's."""

    @property
    def uid(self) -> str:
        """The source's uid."""

    @property
    def checkpoint_lock(self) -> AbstractContextManager[Any]:
        """Hold it around ``collect`` and the change of position that belongs to it.

        A snapshot of the source is taken under this lock, so it sees both or neither. Do nothing
        else under it that waits: the engine needs it to take what was collected. It is
        released while ``collect`` waits for demand, so a full pipeline does not delay one.
        """

    @property
    def cancelled(self) -> bool:
        """True once the source is to stop; a loop in ``run`` ends when it sees it."""

    def collect(self, value: T_contra) -> None:
        """Emit one record.

        Blocks while downstream has no demand (unless the source declares an overflow strategy:
        then it never blocks). Returning means that the engine holds the record, not that a sink
        has it.

        Raises:
            CancelledError: the run ends; let it pass through.
        """

    def collect_batch(self, values: Sequence[T_contra]) -> None:
        """Emit several records in order; as ``collect``, with less to pay.

        It blocks before the first one, while downstream has no demand, and then takes them all: a
        snapshot sees all of them or none. Those nobody has asked for yet are saved with it.
        """


class _AnySource(ABC):
    """What the forms of a source share."""

    boundedness: Boundedness = Boundedness.BOUNDED
    decoder: Decoder[Any] | None = None
    """Turns what the source emits (bytes) into records, in the engine, at the head of the chain.
    None: the source emits records."""
    can_be_slowed: ClassVar[bool] = True
    """False for a source that is pushed to (a socket, a callback): it needs an ``overflow``."""

    def validate(self) -> None:
        """Check the outside world (a file is there, a server answers) before anything runs.

        Raises:
            ConfigError: with what to do.
        """

    def validate_position(self, position: Any) -> None:
        """Check that the source still has what follows a saved position, before anything runs.

        Called in a run that goes on from a checkpoint, after ``validate`` and before ``open``; of a
        ``Source`` with what ``snapshot_state`` returned.

        Raises:
            ConfigError: with what to do.
        """

    def describe(self) -> Mapping[str, Any]:
        """Return the options to show in plans and fingerprints; never a secret."""
        return {}


class _BlockingSource(_AnySource):
    """What the forms that have a thread of their own share."""

    def open(self) -> None:
        """Acquire what the source needs; called on its thread, before anything else.

        Work on what is acquired here, not in ``__init__``: building a job runs nothing, and each
        run works on a copy of the object the job was given.
        """

    def close(self) -> None:
        """Release what ``open`` acquired; called on the source's thread, always."""

    def cancel(self) -> None:
        """Make a blocking ``run`` or ``read`` return soon; called on another thread, repeatedly."""


class Source(_BlockingSource, Generic[T]):
    """The architecture's form of a source: it runs, and pushes into its context.

    ``run`` is called once, on a thread of the source's own, and may block there as long as it
    likes; it returns when the input ends. ``snapshot_state`` is called under the
    ``checkpoint_lock``, on another thread. Prefer ``BatchSource`` or a plain generator: they need
    no lock, and move records by the list.
    """

    @abstractmethod
    def run(self, ctx: SourceContext[T]) -> None:
        """Emit records until the input ends or ``ctx.cancelled``."""

    def snapshot_state(self) -> Any:
        """Return the position: next after the last record that ``collect`` accepted."""
        return None

    def restore_state(self, state: Any) -> None:
        """Go on from what ``snapshot_state`` returned; called before ``run``."""


class BatchSource(_BlockingSource, Generic[T]):
    """The form the engine prefers: an iterator of ``(records, position)``.

    ``read`` is called once, on a thread of the source's own, and may block there. The engine reads
    ahead of demand by at most 8,192 records and the batch in hand, cuts batches as it needs, and
    remembers how far it came: the source is never asked for its state.
    """

    @abstractmethod
    def read(self, position: Any) -> Iterator[SourceBatch[T]]:
        """Yield batches from ``position`` on (None: from the beginning).

        An empty batch with a position is fine: it says that the source has moved on.
        """


class AsyncBatchSource(_AnySource, Generic[T]):
    """A ``BatchSource`` whose ``read`` is an async generator on the engine's event loop.

    Nothing in it may block: the loop is shared. It is cancelled as asyncio tasks are.
    """

    async def open(self) -> None:
        """Acquire what the source needs, before anything else."""

    async def close(self) -> None:
        """Release what ``open`` acquired; called always, also when the run is cancelled."""

    @abstractmethod
    def read(self, position: Any) -> AsyncIterator[SourceBatch[T]]:
        """Yield batches from ``position`` on (None: from the beginning)."""


AnySource = Source[Any] | BatchSource[Any] | AsyncBatchSource[Any]


class _GeneratorSource(BatchSource[T]):
    def __init__(self, function: Callable[[Any], Iterator[SourceBatch[T]]]) -> None:
        self.function = function

    def read(self, position: Any) -> Iterator[SourceBatch[T]]:
        return self.function(position)

    def describe(self) -> Mapping[str, Any]:
        return {"generator": name_of(self.function)}


class _AsyncGeneratorSource(AsyncBatchSource[T]):
    def __init__(self, function: Callable[[Any], AsyncIterator[SourceBatch[T]]]) -> None:
        self.function = function

    def read(self, position: Any) -> AsyncIterator[SourceBatch[T]]:
        return self.function(position)

    def describe(self) -> Mapping[str, Any]:
        return {"generator": name_of(self.function)}


_FORMS: tuple[type, ...] = (Source, BatchSource, AsyncBatchSource)
_METHODS = (
    "run", "read", "open", "close", "cancel", "snapshot_state", "restore_state",
    "validate", "validate_position", "describe",
)  # fmt: skip
_INSTEAD = {
    "run": "derive from BatchSource and yield (records, position) from read, or emit each record "
    "by ctx.collect(record)",
    "read": "",
}


def as_source(source: Any, boundedness: Boundedness | None = None) -> AnySource:
    """Return ``source`` as one of the class forms; a generator function is wrapped.

    Raises:
        ConfigError: it is none of the forms, with what it should have been.
    """
    wrapped: AnySource
    if isinstance(source, Source | BatchSource | AsyncBatchSource):
        _check_methods(source)
        if boundedness is not None:
            raise ConfigError(
                f"boundedness= is for generator functions; {type(source).__name__} "
                f"declares its own ({source.boundedness})"
            )
        return source
    if is_generator(source):
        wrapped = _GeneratorSource(source)
    elif is_async_generator(source):
        wrapped = _AsyncGeneratorSource(source)
    else:
        raise ConfigError(
            "a source is a generator function of (records, position), a Source or a BatchSource; "
            f"got {_guess(source)}"
        )
    if call_fault(source, 1):
        raise ConfigError(
            f"generator source {name_of(source)!r} must take one argument, the position to "
            "start from (None at first)"
        )
    if boundedness is not None:
        wrapped.boundedness = boundedness
    return wrapped


def _check_methods(source: AnySource) -> None:
    """Refuse a method that the engine would call without awaiting it, or await in vain."""
    kind = type(source).__name__
    form = next(each for each in _FORMS if isinstance(source, each))
    if not isinstance(source.boundedness, Boundedness):
        raise ConfigError(
            f"{kind}.boundedness must be Boundedness.BOUNDED or Boundedness.UNBOUNDED; "
            f"got {source.boundedness!r}"
        )
    for name in _METHODS:
        if not hasattr(form, name):
            continue
        method = getattr(source, name)
        awaited = form is AsyncBatchSource and name not in (
            "validate",
            "validate_position",
            "describe",
        )
        if not awaited and is_async(method):
            raise ConfigError(
                f"{kind}.{name} is 'async def', but nothing would await it; derive from "
                "AsyncBatchSource for what waits on the event loop"
            )
        check_method(source, form, name, _INSTEAD.get(name, "take the yield out of it"))
        if not awaited:
            continue
        if name == "read" and (is_generator(method) or is_coroutine(method)):
            raise ConfigError(
                f"{kind}.read must be an async generator ('async def' with yield); derive from "
                "BatchSource for one that blocks"
            )
        if name != "read" and not is_coroutine(method):
            raise ConfigError(
                f"{kind}.{name} is not 'async def', but AsyncBatchSource's methods are awaited; "
                "derive from BatchSource for one that blocks"
            )


def _guess(source: object) -> str:
    if isinstance(source, type):
        return f"the class {source.__name__}; did you forget to make an instance?"
    if inspect.isgenerator(source):
        return (
            f"the generator object {source.__name__!r}; pass the function itself, without (), "
            "so that a restart can begin it again"
        )
    if callable(source):
        return f"the function {name_of(source)!r}, which does not yield"
    return f"{source!r}; for a list of records use millstream.collection.source([...])"
