"""Millstream: streams, paged-API syncs and long SQL exports on one machine.

``import millstream as ms`` loads nothing heavy: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millstream.api.job import Job as Job
    from millstream.api.stream import KeyedStream as KeyedStream
    from millstream.api.stream import Stream as Stream
    from millstream.cli.app import main as main
    from millstream.connectors import blackhole as blackhole
    from millstream.connectors import collection as collection
    from millstream.connectors import console as console
    from millstream.connectors import csv as csv
    from millstream.connectors import datagen as datagen
    from millstream.connectors import jsonl as jsonl
    from millstream.connectors import sequence as sequence
    from millstream.connectors import sqlite as sqlite
    from millstream.control.wiring import explain as explain
    from millstream.control.wiring import run as run
    from millstream.control.wiring import start as start
    from millstream.core import errors as errors
    from millstream.core.aggregate import count as count
    from millstream.core.aggregate import max as max
    from millstream.core.aggregate import mean as mean
    from millstream.core.aggregate import min as min
    from millstream.core.aggregate import sum as sum
    from millstream.core.codec import Decoder as Decoder
    from millstream.core.codec import json as json
    from millstream.core.codec import text as text
    from millstream.core.connector import Connector as Connector
    from millstream.core.expression import col as col
    from millstream.core.expression import it as it
    from millstream.core.expression import lit as lit
    from millstream.core.expression import when as when
    from millstream.core.job_graph import Guarantee as Guarantee
    from millstream.core.job_graph import JobMode as JobMode
    from millstream.core.job_result import JobResult as JobResult
    from millstream.core.job_status import JobStatus as JobStatus
    from millstream.core.operator import KeyedProcessFunction as KeyedProcessFunction
    from millstream.core.operator import ProcessContext as ProcessContext
    from millstream.core.retry import Retry as Retry
    from millstream.core.settings import CheckpointSettings as CheckpointSettings
    from millstream.core.settings import EngineSettings as EngineSettings
    from millstream.core.sink import AsyncSink as AsyncSink
    from millstream.core.sink import Sink as Sink
    from millstream.core.sink import SinkContext as SinkContext
    from millstream.core.source import AsyncBatchSource as AsyncBatchSource
    from millstream.core.source import BatchSource as BatchSource
    from millstream.core.source import Boundedness as Boundedness
    from millstream.core.source import OverflowStrategy as OverflowStrategy
    from millstream.core.source import Source as Source
    from millstream.core.source import SourceContext as SourceContext
    from millstream.core.state import AggregatingStateDescriptor as AggregatingStateDescriptor
    from millstream.core.state import ListStateDescriptor as ListStateDescriptor
    from millstream.core.state import MapStateDescriptor as MapStateDescriptor
    from millstream.core.state import OperatorStateDescriptor as OperatorStateDescriptor
    from millstream.core.state import ReducingStateDescriptor as ReducingStateDescriptor
    from millstream.core.state import ValueStateDescriptor as ValueStateDescriptor
    from millstream.core.state_kinds import AggregateFunction as AggregateFunction
    from millstream.core.state_kinds import AggregatingState as AggregatingState
    from millstream.core.state_kinds import ListState as ListState
    from millstream.core.state_kinds import MapState as MapState
    from millstream.core.state_kinds import ReducingState as ReducingState
    from millstream.core.state_kinds import ValueState as ValueState
    from millstream.core.state_ttl import StateTtlConfig as StateTtlConfig
    from millstream.core.timers import TimerService as TimerService
    from millstream.core.two_phase import StatefulSink as StatefulSink
    from millstream.core.two_phase import TransactionId as TransactionId
    from millstream.core.two_phase import TwoPhaseCommitSink as TwoPhaseCommitSink
    from millstream.runners.embedded import Execution as Execution

_HOME = {
    "api.job": ["Job"],
    "api.stream": ["KeyedStream", "Stream"],
    "cli.app": ["main"],
    "control.wiring": ["explain", "run", "start"],
    "core.aggregate": ["count", "max", "mean", "min", "sum"],
    "core.codec": ["Decoder", "json", "text"],
    "core.connector": ["Connector"],
    "core.expression": ["col", "it", "lit", "when"],
    "core.job_graph": ["Guarantee", "JobMode"],
    "core.job_result": ["JobResult"],
    "core.job_status": ["JobStatus"],
    "core.operator": ["KeyedProcessFunction", "ProcessContext"],
    "core.retry": ["Retry"],
    "core.settings": ["CheckpointSettings", "EngineSettings"],
    "core.sink": ["AsyncSink", "Sink", "SinkContext"],
    "core.source": [
        "AsyncBatchSource",
        "BatchSource",
        "Boundedness",
        "OverflowStrategy",
        "Source",
        "SourceContext",
    ],
    "core.state": [
        "AggregatingStateDescriptor",
        "ListStateDescriptor",
        "MapStateDescriptor",
        "OperatorStateDescriptor",
        "ReducingStateDescriptor",
        "ValueStateDescriptor",
    ],
    "core.state_kinds": [
        "AggregateFunction",
        "AggregatingState",
        "ListState",
        "MapState",
        "ReducingState",
        "ValueState",
    ],
    "core.state_ttl": ["StateTtlConfig"],
    "core.timers": ["TimerService"],
    "core.two_phase": ["StatefulSink", "TransactionId", "TwoPhaseCommitSink"],
    "runners.embedded": ["Execution"],
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}
_CONNECTORS = (
    "blackhole", "collection", "console", "csv", "datagen", "jsonl", "sequence", "sqlite",
)  # fmt: skip

__all__ = [*sorted([*_MODULES, *_CONNECTORS, "errors"])]  # noqa: PLE0604  # names, all str


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    elif name in _CONNECTORS:
        value = import_module(f"{__name__}.connectors.{name}")
    elif name == "errors":
        value = import_module(f"{__name__}.core.errors")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
