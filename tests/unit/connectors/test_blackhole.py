"""The sink that keeps nothing."""

from millstream.connectors import blackhole
from tests.unit.connectors.driving import CONTEXT, write


def test_it_takes_everything() -> None:
    write(blackhole.sink(), [[1, 2], range(5)])
    blackhole.sink().invoke(1, CONTEXT)
    assert blackhole.CONNECTOR.source is None
