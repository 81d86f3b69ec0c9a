"""How much a sink's edge asks for: one record first, then what the sink takes in half a second."""

from __future__ import annotations

from millstream.core.element import Barrier, Chunk, Control
from millstream.engine.sink_edge import IN_FLIGHT_S, MAX_IN_FLIGHT, SinkEdge
from tests.support.probe import ManualPublisher
from tests.support.rules import rule


class Sink:
    """A sink that takes what it was handed at a rate the test sets."""

    def __init__(self) -> None:
        self.handed_over: list[Chunk | Control] = []
        self.edge = SinkEdge("sink", self.handed_over.append, self._fail)
        self.publisher = ManualPublisher()
        self.publisher.subscribe(self.edge)

    @staticmethod
    def _fail(error: BaseException) -> None:
        raise error

    def take(self, records: int, each_ms: float) -> None:
        """Let upstream give so many records, and the sink take them."""
        self.publisher.next(*[0] * records)
        self.edge.on_taken((records, int(records * each_ms * 1_000_000)))


@rule("2.1")
def test_demand_grows_with_what_a_fast_sink_takes() -> None:
    sink = Sink()
    while sink.publisher.demand < MAX_IN_FLIGHT:
        sink.take(sink.publisher.demand, each_ms=0.001)
    assert sink.publisher.requests == [2**n for n in range(15)]


@rule("2.1", "2.2")
def test_demand_of_a_slow_sink_is_bounded_by_time() -> None:
    """Or a barrier, which passes nothing that is before it, could not pass the sink in a second."""
    sink = Sink()
    for _ in range(20):
        sink.take(sink.publisher.demand, each_ms=50)
        assert sink.publisher.demand * 0.050 <= IN_FLIGHT_S
    for _ in range(20):
        sink.take(sink.publisher.demand, each_ms=2000)
    assert sink.publisher.demand == 1, "it goes on, one by one"


@rule("2.1", "no demand loss")
def test_demand_comes_again_for_a_quarter_of_the_window() -> None:
    sink = Sink()
    while sink.edge.window < 64:
        sink.take(sink.publisher.demand, each_ms=5)
    requests = len(sink.publisher.requests)
    for taken in range(1, 65):
        sink.take(1, each_ms=5)
        assert sink.publisher.demand > 0
        assert sink.publisher.demand <= sink.edge.window
        if taken < 8:
            assert len(sink.publisher.requests) <= requests + 1, "one record is not worth a request"
    assert len(sink.publisher.requests) > requests + 1


@rule("1.1")
def test_control_elements_are_handed_over_in_their_place_without_demand() -> None:
    sink = Sink()
    sink.publisher.next(1)
    sink.publisher.control(Barrier(1))
    chunk, barrier = sink.handed_over
    assert isinstance(chunk, Chunk)
    assert barrier == Barrier(1)
    assert sink.publisher.requests == [1]
