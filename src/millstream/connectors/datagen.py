"""Made-up records from a function of the user's, the same again for the same seed."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from millstream.connectors.options import bad_option, check_integer, check_rate
from millstream.connectors.pace import Pace
from millstream.core.connector import Connector
from millstream.core.errors import ConfigError, SourceError
from millstream.core.source import BatchSource, Boundedness, SourceBatch

T = TypeVar("T")

# Records per seeding. Seeding takes about 7 us, as much as making several records, so not per
# record; a restart makes at most this many again to come to the middle of a block.
BLOCK_SIZE = 1024


class DatagenSource(BatchSource[T]):
    """Emits ``function(i, random)`` for i = 0, 1, 2 …; its position is the next i."""

    def __init__(
        self,
        function: Callable[[int, random.Random], T],
        count: int | None,
        rate: float | None,
        seed: int,
    ) -> None:
        self.function = function
        self.count = count
        self.rate = rate
        self.seed = seed
        self.boundedness = Boundedness.UNBOUNDED if count is None else Boundedness.BOUNDED
        self._cancelled = threading.Event()

    def __copy__(self) -> DatagenSource[T]:
        """Return a copy that is cancelled by itself: a run may be cancelled before it opens."""
        return DatagenSource(self.function, self.count, self.rate, self.seed)

    def validate_position(self, position: Any) -> None:
        """Check that it is the number of a record.

        Raises:
            ConfigError: it is something else.
        """
        self._checked(position)

    def read(self, position: Any) -> Iterator[SourceBatch[T]]:
        """Yield lists of records; with a rate, what is due about every millisecond.

        Raises:
            SourceError: the function failed; the message has the record's number.
        """
        following = 0 if position is None else self._checked(position)
        pace = Pace(self.rate, self._cancelled)
        block = following // BLOCK_SIZE
        numbers = self._random(block)
        self._make(range(block * BLOCK_SIZE, following), numbers)  # brings ``numbers`` to its place
        while True:
            most = (block + 1) * BLOCK_SIZE - following
            if self.count is not None:
                most = min(most, self.count - following)
            count = pace.take(most) if most > 0 else 0
            if not count:
                return
            records = self._make(range(following, following + count), numbers)
            following += count
            if following % BLOCK_SIZE == 0:
                block += 1
                numbers = self._random(block)
            yield records, following

    def cancel(self) -> None:
        """End a wait for the next record."""
        self._cancelled.set()

    def describe(self) -> Mapping[str, Any]:
        """Return the options."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        return {"make": name, "count": self.count, "rate": self.rate, "seed": self.seed}

    def _random(self, block: int) -> random.Random:
        return random.Random(f"{self.seed}/{block}")

    def _make(self, indexes: range, numbers: random.Random) -> list[T]:
        make = self.function
        records: list[T] = []
        try:
            for index in indexes:
                records.append(make(index, numbers))
        except Exception as error:
            name = getattr(make, "__qualname__", repr(make))
            raise SourceError(
                f"datagen source: {name}({index}, random) failed: {type(error).__name__}: {error}"
            ) from error
        return records

    def _checked(self, position: Any) -> int:
        if isinstance(position, int) and not isinstance(position, bool) and position >= 0:
            return position
        raise ConfigError(
            f"datagen source: the saved position {position!r} is not the number of a record; "
            "it is another source's: start without the saved state"
        )


def source(
    make: Callable[[int, random.Random], T],
    count: int | None = None,
    rate: float | None = None,
    seed: int = 0,
) -> DatagenSource[T]:
    """Make a source of made-up records.

    Args:
        make: called as ``make(i, random)`` for i = 0, 1, 2 …, returns a record. To give the same
            records again after a restart it must depend on these two alone; ``random`` is a
            ``random.Random``.
        count: how many records; None never ends, and makes the source unbounded.
        rate: records per second; None for as fast as they are taken. A source that was held back
            catches up.
        seed: other seeds give other records.

    Raises:
        ConfigError: an option is of the wrong type or out of range.
    """
    who = "datagen source"
    _check_function(who, make)
    if count is not None:
        check_integer(who, "count", count, least=0)
    return DatagenSource(make, count, check_rate(who, rate), check_integer(who, "seed", seed))


def _check_function(who: str, make: Any) -> None:
    expected = "a function of (i, random) that returns a record"
    if not callable(make):
        raise bad_option(who, "make", expected, make)
    if inspect.iscoroutinefunction(make):
        raise bad_option(who, "make", expected, make, "it is 'async def'; nothing would await it")
    if inspect.isgeneratorfunction(make):
        raise bad_option(who, "make", expected, make, "it yields; let it return one record")
    try:
        inspect.signature(make).bind(0, None)
    except TypeError as error:
        raise bad_option(who, "make", expected, make, f"calling it: {error}") from None
    except ValueError:
        pass  # a built-in without a signature: calling it will tell


CONNECTOR = Connector("datagen", source=source)
