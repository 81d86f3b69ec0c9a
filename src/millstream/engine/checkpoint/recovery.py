"""Puts the parts of a run back to where a checkpoint has them, before the run starts."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, BinaryIO  # Any: parts of a snapshot are of any type

from millstream.core.errors import ConfigError
from millstream.engine.assembly import Assembly
from millstream.engine.async_task import AsyncTask
from millstream.engine.checkpoint.journal import Checkpointing
from millstream.engine.checkpoint.state_files import (
    FINISHED,
    IN_FLIGHT,
    POSITIONS,
    SINKS,
    StateForm,
    described,
    state_form,
)
from millstream.engine.sink_driver import SinkDriver, SinkPart
from millstream.engine.source_cut import SourceCut
from millstream.engine.source_head import CollectHead, QueuedHead
from millstream.engine.task import Task
from millstream.engine.two_phase_driver import TwoPhaseDriver
from millstream.runtime.snapshot.codec import Codec
from millstream.runtime.snapshot.state_file import StateFileReader
from millstream.runtime.snapshot.type_description import type_changes
from millstream.runtime.state.base import StateBackend
from millstream.storage.checkpoints.base import StoredCheckpoint

_PARTS = (POSITIONS, SINKS, IN_FLIGHT, FINISHED)
Forms = dict[tuple[str, str], StateForm]


def equip(assembly: Assembly, checkpointing: Checkpointing, states: StateBackend) -> Forms:
    """Make the parts of a run ready for checkpoints, and restore them from one if there is one.

    Returns:
        How each state is written.

    Raises:
        ConfigError: a state cannot be kept, or the checkpoint does not fit the job.
        CheckpointDamagedError: the checkpoint is not what was written.
    """
    forms = _forms(assembly, states)
    for sink in assembly.sink_drivers():
        sink.checkpointed = True
        if isinstance(sink, TwoPhaseDriver):
            sink.epoch = checkpointing.journal.epoch
            sink.next_checkpoint = checkpointing.journal.first_id
            sink.faults = checkpointing.faults
    for source in assembly.source_drivers():
        source.make_snapshots()
    if checkpointing.restored is not None:
        _Restore(assembly, checkpointing.restored, states, forms).run()
    return forms


def check_restore(assembly: Assembly, stored: StoredCheckpoint, states: StateBackend) -> None:
    """Restore parts that will never run from a checkpoint.

    Of the user's code, migration functions are called and, of a source that is an iterator,
    ``validate_position``; nothing is opened, and a ``Source`` is not told its state.

    Raises:
        ConfigError, CheckpointDamagedError: it cannot be restored; see ``equip``.
    """
    _Restore(assembly, stored, states, _forms(assembly, states)).check()


def _forms(assembly: Assembly, states: StateBackend) -> Forms:
    job = assembly.graph.job
    return {(each.uid, each.name): state_form(job, each) for each in states.descriptions()}


class _Restore:
    """One restore."""

    def __init__(
        self,
        assembly: Assembly,
        stored: StoredCheckpoint,
        states: StateBackend,
        forms: Forms,
    ) -> None:
        self._assembly = assembly
        self._stored = stored
        self._states = states
        self._forms = forms
        self._dry = False
        self._parts: dict[str, dict[str, Any]] = {kind: {} for kind in _PARTS}
        self._where = f"checkpoint {stored.location} of job {assembly.graph.job!r}"

    def check(self) -> None:
        """Do what ``run`` does, but for telling sources of the class form their state."""
        self._dry = True
        self.run()

    def run(self) -> None:
        """Read every file, and hand out what is in it."""
        for name in self._stored.metadata.files:
            with self._stored.open_file(name) as file:
                self._read(name, file)
        self._restore_sources()
        self._restore_sinks()
        self._restore_tasks()

    def _read(self, name: str, file: BinaryIO) -> None:
        reader = StateFileReader(file, name)
        header = reader.header
        if header.kind in self._parts:
            self._parts[header.kind].update(reader.entries(Codec()))
            return
        saved = described(header)
        form = self._forms.get((header.uid, header.state))
        if form is None or header.state_version != form.header.state_version:
            # A migration function meets values of classes that may be gone: plain dicts.
            self._states.restore(saved, reader.slices(Codec(plain=True)))
            return
        changes = type_changes(header.type, form.header.type)
        if changes:
            raise ConfigError(
                f"state {header.state!r} of operator {header.uid!r}: {self._where} has another "
                f"type: {'; '.join(changes)}. Give the state a higher version= and migrate=, or "
                "run the old code, or begin anew with --fresh"
            )
        self._states.restore(saved, reader.slices(form.codec))

    def _restore_sources(self) -> None:
        cuts = {uid: SourceCut.from_value(value) for uid, value in self._parts[POSITIONS].items()}
        drivers = {each.uid: each for each in self._assembly.source_drivers()}
        self._refuse_missing("source", cuts.keys() - drivers.keys())
        for head in self._assembly.heads():
            cut = cuts.get(head.name)
            if cut is None:
                continue  # a new source: from the beginning
            self._refuse_other_form(head, cut)
            if isinstance(head, CollectHead):
                head.restore(cut.backlog)
            else:
                head.position = cut.position
            if not cut.finished and not (self._dry and isinstance(head, CollectHead)):
                drivers[head.name].restore(cut.position)
        self._assembly.finished_sources = frozenset(
            uid for uid, cut in cuts.items() if cut.finished
        )

    def _refuse_other_form(self, head: QueuedHead | CollectHead, cut: SourceCut) -> None:
        """Refuse a source that can make nothing of what another form of it has left."""
        records = cut.position.records
        if isinstance(head, CollectHead) and records and not cut.finished:
            raise ConfigError(
                f"source {head.name!r}: {self._where} is {records:,} records into a batch of it, "
                "and it is a Source now, which would bring them a second time; go on with it as "
                "it was (a BatchSource, an AsyncBatchSource or a generator), or begin anew with "
                "--fresh"
            )
        if isinstance(head, QueuedHead) and cut.backlog:
            raise ConfigError(
                f"source {head.name!r}: {self._where} has {len(cut.backlog):,} records that it had "
                "collected and nobody had asked for, and it is no Source any more: they would be "
                "lost; go on with it as it was, or begin anew with --fresh"
            )

    def _restore_sinks(self) -> None:
        parts = self._parts[SINKS]
        drivers = {each.uid: each for each in self._assembly.sink_drivers()}
        holding = {uid for uid, part in parts.items() if _holds(part)}
        self._refuse_missing("sink", holding - drivers.keys())
        for uid, driver in drivers.items():
            part = parts.get(uid, {})
            if part.get("handles") and not isinstance(driver, TwoPhaseDriver):
                raise ConfigError(
                    f"sink {uid!r}: {self._where} has transactions of it that are still to be "
                    "committed, and it is no TwoPhaseCommitSink any more; resume once with the "
                    "old sink"
                )
            stateful = isinstance(driver, SinkDriver) and driver.stateful
            if part.get("state") is not None and not stateful:
                raise ConfigError(
                    f"sink {uid!r}: {self._where} has a result of it that is still to appear, and "
                    "it is no StatefulSink any more: what it holds would be lost; go on with the "
                    "old sink, or begin anew with --fresh"
                )
            driver.restore(part)

    def _restore_tasks(self) -> None:
        finished = frozenset(self._parts[FINISHED])
        in_flight = dict(self._parts[IN_FLIGHT])
        for task in self._assembly.tasks():
            if isinstance(task, Task):
                self._refuse_input_of(task.chain.emits_at_end & finished)
                task.chain.finished = finished
            elif isinstance(task, AsyncTask) and task.name in in_flight:
                task.restore(in_flight.pop(task.name))
        self._refuse_missing("map_async", in_flight.keys())

    def _refuse_input_of(self, ended: AbstractSet[str]) -> None:
        """Refuse a source that brings records to what has emitted all it will ever emit."""
        sources = {head.name for head in self._assembly.heads()}
        sources -= self._assembly.finished_sources
        for operator in sorted(ended):
            for source in sorted(sources & self._assembly.graph.before(operator)):
                raise ConfigError(
                    f"source {source!r} leads into operator {operator!r}, whose input had ended in "
                    f"{self._where}: what it brings would be kept there and never appear; lead it "
                    "elsewhere, or begin anew with --fresh"
                )

    def _refuse_missing(self, kind: str, uids: AbstractSet[str]) -> None:
        for uid in sorted(uids):
            raise ConfigError(
                f"{self._where} has a {kind} {uid!r}, which the job no longer has: what it holds "
                "would be lost; bring it back, or begin anew with --fresh"
            )


def _holds(part: SinkPart) -> bool:
    """Return whether something is lost without the sink."""
    return bool(part.get("handles")) or part.get("state") is not None
