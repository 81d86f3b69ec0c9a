"""The one place that puts the parts together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from millstream.api.job import Job
from millstream.control.job_file import refuse_while_loading
from millstream.control.planning import plan
from millstream.control.run_options import RunOptions
from millstream.core.errors import ConfigError
from millstream.core.job_graph import Guarantee
from millstream.core.job_result import JobResult
from millstream.core.settings import CheckpointSettings
from millstream.core.two_phase import TwoPhaseCommitSink
from millstream.operators.definition import OperatorDefinition
from millstream.operators.endpoints import SinkOperator
from millstream.operators.program import Program
from millstream.runners.embedded import EmbeddedRunner, Execution

if TYPE_CHECKING:
    from millstream.control.durable_run import DurableExecution

__all__ = ["explain", "plan", "prepare", "prepare_in_folder", "run", "start"]


def prepare(job: Job) -> Execution:
    """Return a job that is ready to run in this process: ``wait()`` runs it to its end.

    Raises:
        ConfigError: the job cannot run.
    """
    refuse_while_loading()
    graph, definitions = plan(job), job.stream_graph.definitions()
    if (
        job.guarantee is not Guarantee.NONE
        or job.checkpoints != CheckpointSettings()
        or any(map(_is_transactional, definitions.values()))
    ):
        raise ConfigError(
            f"job {job.name!r} makes checkpoints, so it needs a folder to keep them in: run it by "
            "`millstream run`, or by millstream.run(job, folder=…)"
        )
    return EmbeddedRunner().prepare(Program(graph, definitions), job.engine)


def prepare_in_folder(job: Job, options: RunOptions) -> DurableExecution:
    """Return a job that is ready to run in its folder: with metadata, lease and checkpoints.

    Raises:
        ConfigError: the job cannot run, or another process runs it.
        CheckpointDamagedError: what it would go on from is not what was written.
    """
    from millstream.control.durable_run import prepare_durable

    return prepare_durable(job, options)


def start(job: Job) -> Execution:
    """Start a job in this process; call ``wait()`` on what is returned.

    Raises:
        ConfigError: the job cannot run; nothing was started.
    """
    execution = prepare(job)
    execution.start()
    return execution


def run(
    job: Job,
    *,
    folder: str | Path | None = None,
    resume: bool | None = None,
    skip_damaged: bool = False,
    from_savepoint: str | Path | None = None,
) -> JobResult:
    """Run a job in this process, to its end.

    Ctrl-C cancels it and, when it has ended, raises ``KeyboardInterrupt``.

    Args:
        job: the job.
        folder: where its checkpoints and its history are kept; without one, there are none.
        resume: True goes on from the last checkpoint in the folder, False begins anew; by default
            the run goes on if the last one did not end COMPLETED.
        skip_damaged: where the last checkpoint is damaged, go on from the newest one that is whole:
            what sinks have shown since then appears a second time.
        from_savepoint: a savepoint to go on from, whatever was last: its number or its folder.

    Returns:
        How it ended, with every operator's counts: COMPLETED, or CANCELLED by `millstream stop`.

    Raises:
        ConfigError: the job cannot run; nothing was started.
        OperatorError, SourceError, SinkError: a callback failed; the user's own error is its cause.
        InconsistentError: records were lost inside the engine.
        StuckError: something did not end within its grace time.
    """
    if folder is None:
        if resume is not None or skip_damaged or from_savepoint is not None:
            raise ConfigError(
                "resume=, skip_damaged= and from_savepoint= have an effect only with folder=…, "
                "where checkpoints are"
            )
        result = prepare(job).wait()
    else:
        options = RunOptions(folder, resume, skip_damaged, from_savepoint)
        result = prepare_in_folder(job, options).wait()
    if result.error is not None:
        raise result.error
    return result


def _is_transactional(definition: OperatorDefinition) -> bool:
    return isinstance(definition, SinkOperator) and isinstance(definition.sink, TwoPhaseCommitSink)


def explain(job: Job, format: str = "text") -> str:  # the word users know
    """Describe what would run: both graphs, and why.

    Args:
        job: the job.
        format: ``text``, ``mermaid``, ``json`` or ``svg``.
    """
    from millstream.graph.explain import explain as explain_graphs

    graph = plan(job)
    return explain_graphs(job.stream_graph, graph, format)
