"""From a job to its JobGraph."""

from __future__ import annotations

from millstream.api.job import Job
from millstream.core.errors import ConfigError
from millstream.core.job_graph import Guarantee, JobGraph
from millstream.graph.optimizer import optimize

_ORDER = list(Guarantee)  # the least comes first


def plan(job: Job) -> JobGraph:
    """Return the JobGraph of a job.

    Raises:
        GraphError: the graph cannot run. ConfigError: the job asks for what it cannot have.
    """
    if not isinstance(job, Job):
        raise ConfigError(f"expected a Job; got {job!r}")
    job.stream_graph.validate()
    graph = optimize(job.stream_graph)
    if _ORDER.index(job.guarantee) > _ORDER.index(graph.guarantee):
        raise ConfigError(
            f"job {job.name!r} asks for {job.guarantee}, but gets {graph.guarantee}: "
            f"{graph.guarantee_reason}; use others there, or ask for {graph.guarantee}"
        )
    return graph
