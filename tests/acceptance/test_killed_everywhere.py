"""Killed by SIGKILL at every fault point that it comes to, a job with the real sinks is exact.

Not sampled: each point, each of its occurrences in the first checkpoints of a job, and each step of
a sink; also while it recovers. A run that the kill does not hit fails its test.
"""

from __future__ import annotations

import itertools
import queue
import shutil
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from millstream.core.ports import FAULT_POINTS
from tests.acceptance.exact_results import BATCHES, check
from tests.acceptance.exact_server import Server, memory_folder, said
from tests.acceptance.programs.exact import SINKS

SERVERS = 2  # processes that start runs; each waits for its own
CHECKPOINTS = BATCHES + 1  # and the final one
COMMITS = BATCHES * len(SINKS)

RECOVERY = ("restoring", "recover_and_commit", "recover_committed")  # only in a later run
BEFORE = ("leased", "cleaned_up", "created", "prepared")  # before there are any threads
ONCE = (*BEFORE, "publish", "ended")
OCCURRENCES = {
    **dict.fromkeys(ONCE, 1),
    **dict.fromkeys(("open", "recover_and_abort", "recovered"), len(SINKS)),
    **dict.fromkeys(("pre_commit", "pre_committed"), len(SINKS) * CHECKPOINTS),
    **dict.fromkeys(("begin_transaction", "staged", "commit", "committed"), COMMITS),
    **dict.fromkeys(("retain", "retained"), CHECKPOINTS - 2),  # two are kept
    "task": 4 * BATCHES,
}
"""How often each point is reached at least, so that a kill there must hit; others: once for each
checkpoint."""
POINTS = [point for point in FAULT_POINTS if point not in RECOVERY]
STEPS = 120  # of the sinks: more than two checkpoints of each, and the job has always more
RECOVERING_STEPS = 20  # until two SQLite sinks have recovered
SHARE = 20  # steps of one test


class Suite:
    """Runs the job, two at a time, and notes what has killed it."""

    def __init__(self, top: Path) -> None:
        self.hit: Counter[str] = Counter()
        self._top = top
        self._numbers = itertools.count()
        self._servers: queue.SimpleQueue[Server] = queue.SimpleQueue()
        for _ in range(SERVERS):
            self._servers.put(Server())

    def killed(self, *kills: str) -> bool:
        """Run the job, killed at each point in turn, then to its end, and check everything.

        Returns:
            Whether the last kill has hit; those before it must.
        """
        folder = self._top / str(next(self._numbers))
        folder.mkdir()
        with self._server() as server:
            for number, kill in enumerate(kills, 1):
                code = server.run(folder, f"kill {kill}")
                if code == 0 and number == len(kills):
                    check(folder, number - 1)
                    shutil.rmtree(folder)
                    return False
                assert code == -signal.SIGKILL, f"{kills}: {kill} did not hit: {said(folder, code)}"
            code = server.run(folder)
            assert code == 0, f"{kills}: {said(folder, code)}"
        try:
            check(folder, len(kills))
        except AssertionError as error:
            raise AssertionError(f"after {kills}: {error}") from error
        self.hit[kills[-1].partition(":")[0]] += 1
        shutil.rmtree(folder)
        return True

    def at_each(self, point: str, occurrences: Iterable[int], *before: str) -> None:
        """Kill at each occurrence of a point; each must hit."""

        def kill(occurrence: int) -> None:
            where = f"{point}:{occurrence}"
            assert self.killed(*before, where), f"{where} did not hit"

        with ThreadPoolExecutor(SERVERS) as pool:
            list(pool.map(kill, occurrences))

    def close(self) -> None:
        while not self._servers.empty():
            self._servers.get().close()

    @contextmanager
    def _server(self) -> Iterator[Server]:
        server = self._servers.get()
        try:
            yield server
        finally:
            self._servers.put(server)


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with memory_folder() as top:
        made = Suite(top)
        yield made
        made.close()
        print(f"\nkilled {made.hit.total()} times: {dict(sorted(made.hit.items()))}")


def test_a_run_that_nobody_kills_is_right(suite: Suite) -> None:
    assert not suite.killed("nowhere:1")
    assert set(OCCURRENCES) <= set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_occurrence_of_a_fault_point_it_goes_on_and_is_right(
    suite: Suite, point: str
) -> None:
    suite.at_each(point, range(1, OCCURRENCES.get(point, CHECKPOINTS) + 1))


@pytest.mark.parametrize("first", range(1, STEPS, SHARE))
def test_killed_at_each_step_of_a_sink_it_goes_on_and_is_right(suite: Suite, first: int) -> None:
    suite.at_each("step", range(first, first + SHARE))


@pytest.mark.parametrize("point", [*RECOVERY, *BEFORE, "open", "recover_and_abort", "recovered"])
def test_killed_while_it_recovers_it_goes_on_and_is_right(suite: Suite, point: str) -> None:
    occurrences = 1 if point in (*RECOVERY, *BEFORE) else len(SINKS)
    for commit in range(1, COMMITS, 2):  # so there is one to be recovered
        suite.at_each(point, range(1, occurrences + 1), f"commit:{commit}")


def test_killed_at_each_step_of_a_sink_that_recovers_it_is_right(suite: Suite) -> None:
    suite.at_each("step", range(1, RECOVERING_STEPS + 1), "commit:2")


@pytest.mark.parametrize(
    "kills",
    [
        ("commit:3", "recover_and_commit:1", "recover_committed:1", "recovered:2"),
        ("pre_committed:2", "begin_transaction:1", "durable:1", "durable:1", "row:1"),
        ("commit:2", "commit:1", "completed:1", "committed:1"),
        ("ended:1", "leased:1", "prepared:1", "publish:1", "ended:1"),
        ("leased:1", "cleaned_up:1", "open:1", "trigger:1"),
    ],
)
def test_killed_again_and_again_it_is_right(suite: Suite, kills: tuple[str, ...]) -> None:
    assert suite.killed(*kills)
