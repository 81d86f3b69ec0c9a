"""The ``millstream`` command, and the same commands for one job file (``python job.py run``)."""

from __future__ import annotations

from typing import Annotated

import typer

from millstream.api.job import Job
from millstream.cli.commands import (
    RunChoices,
    StateChoice,
    explain_job,
    get_state,
    run_job,
    scan_state,
    show_savepoints,
    show_version,
    view_checkpoints,
)
from millstream.cli.job_commands import (
    show_status,
    stop_job,
    trigger_checkpoint,
    trigger_savepoint,
)
from millstream.control.job_file import load_job, refuse_while_loading
from millstream.core.errors import ConfigError

_JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job file (job.py) or package.module:name.")
]
_Format = Annotated[str, typer.Option("--format", "-f", help="One of: text, mermaid, json, svg.")]
_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of a job.")]
_Checkpoint = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Such as chk-7.")]
_AnyCheckpoint = Annotated[
    str | None, typer.Argument(metavar="[CHECKPOINT]", help="Such as chk-7; else all.")
]
_Folder = Annotated[
    str | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Keep checkpoints and history there.",
        show_default=".millstream/JOB",
    ),
]
_Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Begin anew.")]
_SkipDamaged = Annotated[
    bool,
    typer.Option("--skip-damaged", help="Go on from an older one where the last is damaged."),
]
_Operator = Annotated[
    str | None, typer.Option("--operator", metavar="UID", help="Of this operator only.")
]
_State = Annotated[str | None, typer.Option("--state", metavar="NAME", help="This state only.")]
_Limit = Annotated[int | None, typer.Option("--limit", min=0, help="So many entries at most.")]
_Key = Annotated[
    str, typer.Argument(metavar="KEY", help="As scan shows it; quotes may be left out.")
]
_FromSavepoint = Annotated[
    str | None,
    typer.Option(
        "--from-savepoint", metavar="SAVEPOINT", help="Go on from it: its number or its folder."
    ),
]
_To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="DIR",
        help="Put the savepoint there.",
        show_default="savepoints in the job's folder",
    ),
]
_Savepoint = Annotated[
    bool, typer.Option("--savepoint", help="Make a savepoint, and process nothing behind it.")
]
_Drain = Annotated[
    bool,
    typer.Option("--drain", help="Let all sources end, emit all results; with a savepoint."),
]
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
    def run(
        job: _JobArgument,
        folder: _Folder = None,
        resume: _Resume = False,
        fresh: _Fresh = False,
        skip_damaged: _SkipDamaged = False,
        from_savepoint: _FromSavepoint = None,
    ) -> None:
        """Run a job to its end; what was killed or stopped goes on from its last checkpoint."""
        choices = RunChoices(folder, resume, fresh, skip_damaged, from_savepoint)
        run_job(lambda: load_job(job), choices)

    @app.command()
    def explain(job: _JobArgument, format: _Format = "text") -> None:
        """Show what would run, and why."""
        explain_job(lambda: load_job(job), format)

    @app.command()
    def status(job: _NameArgument, folder: _Folder = None) -> None:
        """Show where a running job stands."""
        show_status(job, folder)

    @app.command()
    def stop(
        job: _NameArgument,
        folder: _Folder = None,
        savepoint: _Savepoint = False,
        drain: _Drain = False,
        to: _To = None,
    ) -> None:
        """Stop a running job; the next run goes on where this one has stopped, unless drained."""
        stop_job(job, folder, (savepoint, drain, to))

    savepoints = typer.Typer(help="Make and list the savepoints of a job.", **_OPTIONS)  # type: ignore[arg-type]
    app.add_typer(savepoints, name="savepoint")

    @savepoints.command("trigger")
    def trigger_savepoint_(job: _NameArgument, folder: _Folder = None, to: _To = None) -> None:
        """Have a running job make a savepoint, and go on."""
        trigger_savepoint(job, folder, to)

    @savepoints.command("list")
    def list_savepoints(job: _NameArgument, folder: _Folder = None) -> None:
        """List them, newest first."""
        show_savepoints(job, folder)

    checkpoints = typer.Typer(help="Make, and look at, the checkpoints of a job.", **_OPTIONS)  # type: ignore[arg-type]
    app.add_typer(checkpoints, name="checkpoints")

    @checkpoints.command()
    def trigger(job: _NameArgument, folder: _Folder = None) -> None:
        """Have a running job make a checkpoint now."""
        trigger_checkpoint(job, folder)

    @checkpoints.command("list")
    def list_(job: _NameArgument, folder: _Folder = None) -> None:
        """List them, newest first."""
        view_checkpoints(job, folder, lambda view: view.overview())

    @checkpoints.command()
    def show(job: _NameArgument, checkpoint: _Checkpoint, folder: _Folder = None) -> None:
        """Show what is in one of them."""
        view_checkpoints(job, folder, lambda view: view.show(checkpoint))

    @checkpoints.command()
    def verify(
        job: _NameArgument, checkpoint: _AnyCheckpoint = None, folder: _Folder = None
    ) -> None:
        """Read one of them, or all, and compare every checksum."""
        view_checkpoints(job, folder, lambda view: view.verify(checkpoint))

    state = typer.Typer(help="Look at the state in a checkpoint, as JSON.", **_OPTIONS)  # type: ignore[arg-type]
    app.add_typer(state, name="state")

    @state.command()
    def get(
        job: _NameArgument,
        checkpoint: _Checkpoint,
        key: _Key,
        operator: _Operator = None,
        name: _State = None,
        folder: _Folder = None,
    ) -> None:
        """Show what is kept under a key."""
        get_state(StateChoice(job, folder, checkpoint, operator, name), key)

    @state.command()
    def scan(
        job: _NameArgument,
        checkpoint: _Checkpoint,
        operator: _Operator = None,
        name: _State = None,
        limit: _Limit = None,
        folder: _Folder = None,
    ) -> None:
        """Show every entry, a line each."""
        scan_state(StateChoice(job, folder, checkpoint, operator, name), limit)

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
    def run(
        folder: _Folder = None,
        resume: _Resume = False,
        fresh: _Fresh = False,
        skip_damaged: _SkipDamaged = False,
        from_savepoint: _FromSavepoint = None,
    ) -> None:
        """Run the job to its end; what was killed or stopped goes on from its last checkpoint."""
        run_job(lambda: job, RunChoices(folder, resume, fresh, skip_damaged, from_savepoint))

    @app.command()
    def explain(format: _Format = "text") -> None:
        """Show what would run, and why."""
        explain_job(lambda: job, format)

    app()
