"""A job: a name, settings, and the streams built on it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar, overload

from millstream.api.place import Place, located, name_fault
from millstream.api.stream import Stream
from millstream.core.connector import find_connector
from millstream.core.duration import Duration
from millstream.core.errors import ConfigError, GraphError
from millstream.core.job_graph import Guarantee, JobMode
from millstream.core.settings import CheckpointSettings, EngineSettings
from millstream.core.source import (
    LOSSY,
    AsyncBatchSource,
    BatchSource,
    Boundedness,
    OverflowStrategy,
    Source,
    SourceBatch,
    as_source,
)
from millstream.graph.stream_graph import StreamGraph
from millstream.operators.endpoints import SourceOperator

T = TypeVar("T")
BUFFER_SIZE = 10_000  # records a push source may be ahead, unless buffer_size says otherwise


class Job:
    """Build a job; building runs nothing.

    Args:
        name: names the job in errors, logs and reports.
        mode: ``STREAMING``, ``BATCH_ROLLER`` or ``SQL_TASK``; part of the plan and its fingerprint.
        guarantee: what the job asks for; refused before the run where it cannot be given.
        parallelism: 1; more is refused until jobs can use several processes.
        chaining: False gives every operator a task of its own, to find out which one is slow.
        engine: how the run behaves.
        checkpoint_interval: how often what is there is saved, to go on from after a kill; a short
            form of ``checkpoints=CheckpointSettings(interval=…)``.
        checkpoints: when checkpoints are made, and what becomes of them.

    Raises:
        ConfigError: an option is of the wrong type or cannot be honoured.

    Example:
        >>> import millstream as ms
        >>> results = []
        >>> job = ms.Job("doubles")
        >>> doubled = job.source(ms.collection.source([1, 2, 3]), uid="numbers").map(ms.it * 2)
        >>> doubled.sink(ms.collection.sink(results), uid="results")
        >>> ms.run(job).status.value, results
        ('COMPLETED', [2, 4, 6])
    """

    def __init__(  # noqa: PLR0913  # options of one call, by keyword
        self,
        name: str,
        *,
        mode: JobMode | str = JobMode.STREAMING,
        guarantee: Guarantee | str = Guarantee.NONE,
        parallelism: int = 1,
        chaining: bool = True,
        engine: EngineSettings | None = None,
        checkpoint_interval: Duration | None = None,
        checkpoints: CheckpointSettings | None = None,
    ) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"Job(name): expected a non-empty string; got {name!r}")
        if fault := name_fault(name):
            raise ConfigError(f"Job(name): the name {fault}")
        self.name = name
        self.mode = _one_of(JobMode, mode, f"job {name!r}: mode")
        self.guarantee = _one_of(Guarantee, guarantee, f"job {name!r}: guarantee")
        if type(parallelism) is not int or parallelism < 1:
            raise ConfigError(f"job {name!r}: parallelism must be 1; got {parallelism!r}")
        if parallelism > 1:
            raise ConfigError(
                f"job {name!r}: parallelism={parallelism} is not there yet: a job runs in one "
                "process; set parallelism=1, or run several jobs over parts of the input"
            )
        if not isinstance(chaining, bool):
            raise ConfigError(f"job {name!r}: chaining must be True or False; got {chaining!r}")
        if engine is not None and not isinstance(engine, EngineSettings):
            raise ConfigError(f"job {name!r}: engine must be EngineSettings(…); got {engine!r}")
        self.chaining = chaining
        self.engine = engine or EngineSettings()
        self.checkpoints = _checkpoints(name, checkpoint_interval, checkpoints)
        self.stream_graph = StreamGraph(name, self.mode)

    @overload
    def source(
        self,
        source: Source[T] | BatchSource[T] | AsyncBatchSource[T],
        *,
        uid: str,
        overflow: OverflowStrategy | str | None = None,
        buffer_size: int | None = None,
    ) -> Stream[T]: ...
    @overload
    def source(
        self,
        source: (
            Callable[[Any], Iterator[SourceBatch[T]]]
            | Callable[[Any], AsyncIterator[SourceBatch[T]]]
        ),
        *,
        uid: str,
        boundedness: Boundedness | str | None = None,
    ) -> Stream[T]: ...
    @overload
    def source(self, source: str, *, uid: str, **options: Any) -> Stream[Any]: ...
    def source(
        self,
        source: Any,
        *,
        uid: str | None = None,
        boundedness: Boundedness | str | None = None,
        overflow: OverflowStrategy | str | None = None,
        buffer_size: int | None = None,
        **options: Any,
    ) -> Stream[Any]:
        """Begin a stream.

        Args:
            source: a ``Source``, ``BatchSource`` or ``AsyncBatchSource``; a generator function
                (``def`` or ``async def``) of the position to start from, yielding
                ``(records, position)``; or a connector's name, with its options.
            uid: names the source and its position.
            boundedness: for a generator that never ends, ``unbounded``.
            overflow: for a source that is pushed to: ``buffer``, ``drop``, ``latest``, ``error``.
            buffer_size: records held for such a source (10,000).
            options: the options of a connector given by name.

        Raises:
            ConfigError: an option is refused. GraphError: so is the uid.
        """
        place = Place(self.stream_graph, self.chaining)
        where = place.where("source", uid)
        bounds = boundedness
        if bounds is not None:
            bounds = _one_of(Boundedness, bounds, f"{where}: boundedness")
        with located(where):
            if isinstance(source, str):
                made = as_source(find_connector(source).make_source(options), bounds)
            elif options:
                raise ConfigError(
                    f"unknown options {', '.join(sorted(options))}; options like these are for a "
                    "connector given by name"
                )
            else:
                made = as_source(source, bounds)
        strategy = self._overflow(where, made, overflow, buffer_size)
        size = buffer_size or (BUFFER_SIZE if strategy is OverflowStrategy.BUFFER else 0)
        record_type = made.decoder.type if made.decoder else None
        definition = SourceOperator(made, strategy, size)
        return Stream(place.add(definition, uid, record_type=record_type, inputs=()))

    def _overflow(
        self, where: str, source: Any, overflow: OverflowStrategy | str | None, size: int | None
    ) -> OverflowStrategy | None:
        if overflow is None:
            if not source.can_be_slowed:
                raise GraphError(
                    f"{where}: {type(source).__name__} cannot be slowed, so say what happens when "
                    "it is faster than the job: overflow='buffer', 'drop', 'latest' or 'error'"
                )
            if size is not None:
                raise ConfigError(f"{where}: buffer_size has an effect only with overflow=…")
            return None
        strategy = _one_of(OverflowStrategy, overflow, f"{where}: overflow")
        if source.can_be_slowed:
            raise GraphError(
                f"{where}: overflow={strategy.value!r} is for sources that cannot be slowed; "
                f"{type(source).__name__} simply waits: leave it out"
            )
        if not isinstance(source, Source):
            raise GraphError(
                f"{where}: a source that cannot be slowed must be a Source with run(ctx); "
                f"got {inspect.getmro(type(source))[1].__name__}"
            )
        if strategy in LOSSY and self.guarantee is Guarantee.EXACTLY_ONCE:
            raise GraphError(
                f"{where}: overflow={strategy.value!r} loses records, which exactly_once forbids; "
                "use 'buffer' or 'error', or ask for less"
            )
        if size is not None and strategy is not OverflowStrategy.BUFFER:
            raise ConfigError(f"{where}: buffer_size has an effect only with overflow='buffer'")
        if size is not None and (type(size) is not int or size < 1):
            raise ConfigError(f"{where}: buffer_size must be 1 or more records; got {size!r}")
        return strategy

    def __repr__(self) -> str:
        return f"Job({self.name!r}, {sum(1 for _ in self.stream_graph.nodes())} operators)"


def _checkpoints(
    name: str, interval: Duration | None, settings: CheckpointSettings | None
) -> CheckpointSettings:
    if settings is not None and not isinstance(settings, CheckpointSettings):
        raise ConfigError(
            f"job {name!r}: checkpoints must be CheckpointSettings(…); got {settings!r}"
        )
    if interval is None:
        return settings or CheckpointSettings()
    if settings is not None:
        raise ConfigError(
            f"job {name!r}: give checkpoint_interval or checkpoints=CheckpointSettings(…), not both"
        )
    return CheckpointSettings(interval=interval)


Choice = TypeVar("Choice", JobMode, Guarantee, Boundedness, OverflowStrategy)


def _one_of(kind: type[Choice], value: Any, where: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(repr(each.value) for each in kind)
        raise ConfigError(f"{where}: expected one of {allowed}; got {value!r}") from None
