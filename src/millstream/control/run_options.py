"""How a run in a folder was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from millstream.core.errors import ConfigError
from millstream.core.ports import NO_FAULTS, FaultPoints


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How ``millstream run`` was called.

    Attributes:
        folder: the job's; None: ``.millstream/<job>``.
        resume: True: go on from the last checkpoint; False: begin anew; None: go on if the last
            execution did not end COMPLETED and there is a checkpoint of it.
        skip_damaged: go on from an older checkpoint where the last one is damaged.
        from_savepoint: its number or its folder: go on from it, whatever was last.
        faults: where a test makes the run fail.
    """

    folder: str | Path | None = None
    resume: bool | None = None
    skip_damaged: bool = False
    from_savepoint: str | Path | None = None
    faults: FaultPoints = NO_FAULTS

    def __post_init__(self) -> None:
        if self.from_savepoint is not None and self.resume is not None:
            raise ConfigError(
                "--from-savepoint says what to go on from, and so do --resume and --fresh: "
                "choose one"
            )
