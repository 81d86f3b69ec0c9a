"""What becomes of saved entries where the job declares another version, or another time to live."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any  # state is of any type

from millstream.core.errors import ConfigError
from millstream.core.state_descriptor import Migrate, StateDescriptor
from millstream.core.wording import said, shown
from millstream.runtime.state.base import Slice, StateDescription


def check_kind(stored: StateDescription, declared: StateDescription) -> None:
    """Refuse a state of another kind.

    Raises:
        ConfigError: with both.
    """
    if stored.kind != declared.kind:
        raise ConfigError(
            f"state {stored.name!r} of operator {stored.uid!r}: the snapshot has a {stored.kind} "
            f"state, the job declares a {declared.kind} state: give the new one another name"
        )


def refuse_timers(stored: StateDescription, slices: Iterable[Slice]) -> None:
    """Refuse timers that nothing would fire, if there are any.

    Raises:
        ConfigError: with what to do.
    """
    pending = sum(len(keys) for keys, _ in slices)
    if pending:
        raise ConfigError(
            f"the snapshot has {stored.name} of operator {stored.uid!r} that are still to fire "
            f"({pending:,}), and the job has no on_timer there, so they never would; bring "
            "on_timer back (one that does nothing, until they have fired), or begin anew with "
            "--fresh"
        )


def converter(
    stored: StateDescription,
    declared: StateDescription,
    descriptor: StateDescriptor[Any] | None,
    now_ms: int,
) -> Migrate | None:
    """Return what makes of an entry's saved value the one to keep; None if they are the same.

    Args:
        stored: the form of what was saved.
        declared: the form of what is to be kept.
        descriptor: of a state that a process function declares.
        now_ms: since when values live that had no time to live before.

    Raises:
        ConfigError: there is no way from the version that was saved.
    """
    migrate = _migration(stored, declared, descriptor)
    if migrate is None and stored.ttl is declared.ttl:
        return None

    def one(value: Any) -> Any:
        value, updated_ms = value if stored.ttl else (value, now_ms)
        if migrate is not None:
            value = migrate(value)
        return (value, updated_ms) if declared.ttl else value

    if declared.kind in ("list", "operator"):
        return lambda values: [one(value) for value in values]
    if declared.kind == "map":
        return lambda entries: {key: one(value) for key, value in entries.items()}
    return one


def _migration(
    stored: StateDescription, declared: StateDescription, descriptor: StateDescriptor[Any] | None
) -> Migrate | None:
    """Return what makes of a saved value one of the declared version; None if it is one."""
    where = f"state {stored.name!r} of operator {stored.uid!r}"
    versions = (
        f"{where}: the snapshot has version {stored.version}, the job declares version "
        f"{declared.version}"
    )
    if stored.version == declared.version:
        return None
    if stored.version > declared.version:
        raise ConfigError(
            f"{versions}: run the version of the job that wrote it, or restore an older snapshot"
        )
    migrate = None if descriptor is None else descriptor.migrate
    if migrate is None:
        raise ConfigError(
            f"{versions}: declare migrate=…, a function from the old value to the new one"
        )
    if callable(migrate):
        steps = [migrate]
    elif stored.version in migrate:  # then all later steps are there, see StateDescriptor
        steps = [migrate[step] for step in range(stored.version, declared.version)]
    else:
        raise ConfigError(f"{versions}: migrate has no step from version {stored.version}")

    def migrated(value: Any) -> Any:
        new = value
        try:
            for step in steps:
                new = step(new)
        except Exception as error:
            raise ConfigError(
                f"{where}: migrate failed on the saved value {shown(value)}: {said(error)}"
            ) from error
        return new

    return migrated
