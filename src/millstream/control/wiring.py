"""The one place that puts the parts together."""

from __future__ import annotations

from millstream.api.job import Job
from millstream.control.job_file import refuse_while_loading
from millstream.core.errors import ConfigError
from millstream.core.job_graph import Guarantee, JobGraph
from millstream.core.job_result import JobResult
from millstream.graph.optimizer import optimize
from millstream.operators.program import Program
from millstream.runners.embedded import EmbeddedRunner, Execution


def plan(job: Job) -> JobGraph:
    """Return the JobGraph of a job.

    Raises:
        GraphError: the graph cannot run. ConfigError: the job asks for what it cannot have.
    """
    if not isinstance(job, Job):
        raise ConfigError(f"expected a Job; got {job!r}")
    job.stream_graph.validate()
    graph = optimize(job.stream_graph)
    if job.guarantee is not Guarantee.NONE:
        raise ConfigError(
            f"job {job.name!r} asks for {job.guarantee}, but gets {graph.guarantee} "
            f"({graph.guarantee_reason}); leave guarantee= out"
        )
    return graph


def prepare(job: Job) -> Execution:
    """Return a job that is ready to run in this process: ``wait()`` runs it to its end.

    Raises:
        ConfigError: the job cannot run.
    """
    refuse_while_loading()
    program = Program(plan(job), job.stream_graph.definitions())
    return EmbeddedRunner().prepare(program, job.engine)


def start(job: Job) -> Execution:
    """Start a job in this process; call ``wait()`` on what is returned.

    Raises:
        ConfigError: the job cannot run; nothing was started.
    """
    execution = prepare(job)
    execution.start()
    return execution


def run(job: Job) -> JobResult:
    """Run a job in this process, to its end.

    Ctrl-C cancels it and, when it has ended, raises ``KeyboardInterrupt``.

    Returns:
        How it ended: COMPLETED, with every operator's counts.

    Raises:
        ConfigError: the job cannot run; nothing was started.
        OperatorError, SourceError, SinkError: a callback failed; the user's own error is its cause.
        InconsistentError: records were lost inside the engine.
        StuckError: something did not end within its grace time.
    """
    result = prepare(job).wait()
    if result.error is not None:
        raise result.error
    return result


def explain(job: Job, format: str = "text") -> str:  # the word users know
    """Describe what would run: both graphs, and why.

    Args:
        job: the job.
        format: ``text``, ``mermaid``, ``json`` or ``svg``.
    """
    from millstream.graph.explain import explain as explain_graphs

    graph = plan(job)
    return explain_graphs(job.stream_graph, graph, format)
