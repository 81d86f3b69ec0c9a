"""The ``millstream`` command, and the same commands for one job file (``python job.py run``)."""

from __future__ import annotations

from typing import Annotated

import typer

from millstream.api.job import Job
from millstream.cli.commands import explain_job, run_job, show_version
from millstream.control.job_file import load_job, refuse_while_loading
from millstream.core.errors import ConfigError

_JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job file (job.py) or package.module:name.")
]
_Format = Annotated[str, typer.Option("--format", "-f", help="One of: text, mermaid, json, svg.")]
_OPTIONS = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # or a job named "[red]" would colour the help, or break it
}


def command() -> None:
    """Run the ``millstream`` command."""
    app = typer.Typer(help="Streams, syncs and exports on one machine.", **_OPTIONS)  # type: ignore[arg-type]

    @app.command()
    def run(job: _JobArgument) -> None:
        """Run a job to its end."""
        run_job(lambda: load_job(job))

    @app.command()
    def explain(job: _JobArgument, format: _Format = "text") -> None:
        """Show what would run, and why."""
        explain_job(lambda: load_job(job), format)

    @app.command()
    def version() -> None:
        """Show the version."""
        show_version()

    app()


def main(job: Job) -> None:
    """Make a job file a command line: ``python job.py run`` and ``python job.py explain``.

    Args:
        job: the job that the commands are about.
    """
    if not isinstance(job, Job):
        raise ConfigError(f"main(job): expected a Job; got {job!r}")
    refuse_while_loading()
    app = typer.Typer(help=f"The job {job.name!r}.", **_OPTIONS)  # type: ignore[arg-type]

    @app.command()
    def run() -> None:
        """Run the job to its end."""
        run_job(lambda: job)

    @app.command()
    def explain(format: _Format = "text") -> None:
        """Show what would run, and why."""
        explain_job(lambda: job, format)

    app()
