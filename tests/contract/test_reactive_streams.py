"""The contract suite, on every channel, source adapter, operator, sink and overflow strategy."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.core.job_graph import OperatorKind
from tests.contract.operators import OPERATORS
from tests.contract.processors import ProcessorSubject
from tests.contract.publisher_contract import PublisherContract
from tests.contract.sinks import SINKS
from tests.contract.sources import SOURCES
from tests.contract.subscriber_contract import SubscriberContract
from tests.support.rules import rule

PROCESSORS = tuple(map(ProcessorSubject, OPERATORS))


class TestSources(PublisherContract):
    @pytest.fixture(params=SOURCES, ids=str)
    def publisher(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestSinks(SubscriberContract):
    @pytest.fixture(params=SINKS, ids=str)
    def subscriber(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestProcessorsAsPublishers(PublisherContract):
    @pytest.fixture(params=PROCESSORS, ids=str)
    def publisher(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestProcessorsAsSubscribers(SubscriberContract):
    @pytest.fixture(params=PROCESSORS, ids=str)
    def subscriber(self, request: pytest.FixtureRequest) -> Any:
        return request.param


@rule("4.1")
def test_both_suites_run_on_every_kind_of_operator() -> None:
    edges = {OperatorKind.SOURCE, OperatorKind.SINK}
    later = {OperatorKind.WINDOW}  # there is none yet
    names = " ".join(map(str, PROCESSORS))
    missing = {kind for kind in OperatorKind if kind.value not in names} - edges - later
    assert not missing
