"""Results that appear whole, from one writer at a time."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import millstream as ms
from millstream.connectors import atomic_file
from millstream.connectors.atomic_file import AtomicFile, FileState, check_writable
from millstream.core.errors import ConfigError, SinkError
from millstream.core.two_phase import DataLossError

KILLED = """
import os, signal, sys
from pathlib import Path
from millstream.connectors.atomic_file import AtomicFile
file = AtomicFile(Path(sys.argv[1]), "test sink")
file.write(b"of the killed one")
file.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask_022() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_file_appears_whole_and_only_when_finished(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    file = AtomicFile(path, "test sink")
    file.write(b"new")
    file.flush()
    assert (tmp_path / ".out.txt.millstream.tmp").read_bytes() == b"new"
    assert path.read_text() == "old"
    file.finish()
    assert path.read_text() == "new"
    file.close()
    assert os.listdir(tmp_path) == ["out.txt"]


def test_closing_before_the_end_leaves_nothing(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "out.txt", "test sink")
    file.write(b"half")
    file.close()
    file.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("umask_022")
def test_a_new_file_gets_what_umask_says(tmp_path: Path) -> None:
    AtomicFile(tmp_path / "out.txt", "test sink").finish()
    assert mode_of(tmp_path / "out.txt") == 0o644


@pytest.mark.usefixtures("umask_022")
@pytest.mark.parametrize("mode", [0o640, 0o600, 0o666, 0o755])
def test_a_file_that_replaces_another_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    path.chmod(mode)
    file = AtomicFile(path, "test sink")
    assert mode_of(file.temporary) == mode  # nobody reads it meanwhile who may not later
    file.finish()
    assert mode_of(path) == mode


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "data" / "real")
    for text in (b"new", b"newer"):
        file = AtomicFile(link, "test sink")
        file.write(text)
        file.finish()
        assert link.is_symlink()
        assert (tmp_path / "data" / "real").read_bytes() == text
    assert os.listdir(tmp_path / "data") == ["real"]


def test_names_of_full_length_are_possible_and_kept_apart(tmp_path: Path) -> None:
    names = ["é" * 127, "é" * 126 + "e"]
    files = [AtomicFile(tmp_path / name, "test sink") for name in names]
    for file in files:
        file.finish()
    assert sorted(os.listdir(tmp_path)) == sorted(names)


# -- one writer -----------------------------------------------------------------------------------


def test_a_second_writer_of_the_same_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("out.txt")
    first = AtomicFile(tmp_path / "out.txt", "test sink")
    first.write(b"first")
    for name in ("out.txt", "link"):
        with pytest.raises(SinkError, match=r"'.*out.txt' is being written by another sink or job"):
            AtomicFile(tmp_path / name, "test sink")
    first.finish()
    assert (tmp_path / "out.txt").read_bytes() == b"first"
    AtomicFile(tmp_path / "out.txt", "test sink").finish()
    assert (tmp_path / "out.txt").read_bytes() == b""


def test_closing_again_leaves_the_next_writer_alone(tmp_path: Path) -> None:
    first = AtomicFile(tmp_path / "out.txt", "test sink")
    first.close()
    second = AtomicFile(tmp_path / "out.txt", "test sink")
    second.write(b"second")
    first.close()
    second.finish()
    assert (tmp_path / "out.txt").read_bytes() == b"second"


def test_two_sinks_of_a_job_on_one_path_fail_it_and_leave_the_path_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    job = ms.Job("twice")
    numbers = job.source(ms.sequence.source(3), uid="numbers")
    numbers.sink(ms.jsonl.sink(path), uid="one")
    numbers.sink(ms.jsonl.sink(path), uid="other")
    with pytest.raises(SinkError, match=r"out.jsonl' is being written by another sink or job"):
        ms.run(job)
    assert os.listdir(tmp_path) == ["out.jsonl"]
    assert path.read_text() == "old"


def test_what_a_killed_process_left_behind_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    command = [sys.executable, "-c", KILLED, os.fspath(path)]
    assert subprocess.run(command, check=False).returncode == -9
    left = tmp_path / ".out.txt.millstream.tmp"
    assert left.read_bytes() == b"of the killed one"
    file = AtomicFile(path, "test sink")
    file.write(b"new")
    file.finish()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_what_another_process_writes_is_not_cleared_away(tmp_path: Path) -> None:
    temporary = tmp_path / ".out.txt.millstream.tmp"
    with temporary.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SinkError, match="is being written by another sink or job"):
            AtomicFile(tmp_path / "out.txt", "test sink")
        assert temporary.exists()


def test_what_was_left_behind_is_never_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    temporary = tmp_path / ".out.txt.millstream.tmp"
    os.link(precious, temporary)
    file = AtomicFile(tmp_path / "out.txt", "test sink")
    file.write(b"new")
    file.finish()
    temporary.symlink_to("precious")
    with pytest.raises(SinkError, match=r"symbolic links \(.*\.millstream\.tmp\)"):
        AtomicFile(tmp_path / "out.txt", "test sink")
    assert precious.read_text() == "precious"


def test_a_writer_that_ends_as_the_next_one_comes_keeps_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the temporary name and locking it, its file may have become the result."""
    path = tmp_path / "out.txt"
    first = AtomicFile(path, "test sink")
    first.write(b"first")
    flock = fcntl.flock

    def finish_first(descriptor: int, operation: int) -> None:
        if not first.finished:
            first.finish()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    second = AtomicFile(path, "test sink")
    second.write(b"second")
    second.flush()
    assert path.read_bytes() == b"first"
    second.finish()
    assert path.read_bytes() == b"second"


def test_a_writer_whose_file_is_cleared_away_before_it_is_locked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making the temporary file and locking it, another writer may take it for a rest."""
    path = tmp_path / "out.txt"
    others: list[AtomicFile] = []
    flock = fcntl.flock

    def overtake(descriptor: int, operation: int) -> None:
        if not others:
            monkeypatch.setattr(fcntl, "flock", flock)
            others.append(AtomicFile(path, "test sink"))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", overtake)
    with pytest.raises(SinkError, match="is being written by another sink or job"):
        AtomicFile(path, "test sink")
    others[0].write(b"the other's")
    others[0].finish()
    assert path.read_bytes() == b"the other's"
    assert os.listdir(tmp_path) == ["out.txt"]


# -- what cannot be written -----------------------------------------------------------------------


def test_a_folder_that_is_not_there_or_not_writable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*make it first"):
        AtomicFile(tmp_path / "no" / "out", "test sink")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"there is no folder .*file' for .*file/out'"):
        AtomicFile(tmp_path / "file" / "out", "test sink")
    with pytest.raises(ConfigError, match="is a folder"):
        AtomicFile(tmp_path, "test sink")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(ConfigError, match="no permission to read and write in"):
        AtomicFile(tmp_path / "out", "test sink")


def test_a_file_that_must_not_be_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda asked, mode: asked != path)
    with pytest.raises(ConfigError, match=r"no permission to write .*, which is there already"):
        AtomicFile(path, "test sink")


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").symlink_to(".")
    (tmp_path / "loop").symlink_to("loop")
    for path in (Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=r"no regular file, .*for the screen use console"):
            check_writable(path, "test sink")
    with pytest.raises(ConfigError, match="is a folder"):
        check_writable(tmp_path / "folder", "test sink")
    with pytest.raises(ConfigError, match="Too many levels of symbolic links"):
        check_writable(tmp_path / "loop", "test sink")
    with pytest.raises(ConfigError, match="File name too long"):
        check_writable(tmp_path / ("x" * 300), "test sink")


def test_the_file_behind_standard_output_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    script = (
        "import sys; from pathlib import Path\n"
        "from millstream.connectors.atomic_file import check_writable\n"
        "from millstream.core.errors import ConfigError\n"
        "for path in ('/dev/stdout', '/dev/fd/1', 'link'):\n"
        "    try: check_writable(Path(path), 'test sink')\n"
        "    except ConfigError as error: print(error)\n"
    )
    with (tmp_path / "behind").open("wb") as output:
        command = [sys.executable, "-c", script]
        subprocess.run(command, stdout=output, cwd=tmp_path, check=True)
    refused = (tmp_path / "behind").read_text().splitlines()
    assert len(refused) == 3
    assert all("stands for one that is open already" in line for line in refused)


def test_a_platform_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_file, "fcntl", None)
    with pytest.raises(ConfigError, match="written under a lock, on Linux and macOS only"):
        check_writable(tmp_path / "out", "test sink")


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = AtomicFile(tmp_path / "out", "test sink")
    file.write(b"data")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError, match=r"test sink: cannot write .*: No space left on device"):
        file.finish()
    file.close()
    assert os.listdir(tmp_path) == []


def test_permissions_that_cannot_be_kept_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "out"
    path.write_text("old")
    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(SinkError, match=r"cannot write .*out: Operation not permitted"):
        AtomicFile(path, "test sink")
    assert os.listdir(tmp_path) == ["out"]
    assert path.read_text() == "old"


# -- going on after a kill ------------------------------------------------------------------------


def begun(path: Path, data: bytes) -> FileState:
    """Return the state of a file whose writer was killed after it had written more."""
    file = AtomicFile(path, "test sink")
    file.write(data)
    state = file.snapshot()
    file.write(b"lost")
    file.close()
    return state


@pytest.mark.parametrize("data", [b"", b"1", b"x" * 10_000])
def test_a_file_goes_on_where_its_state_says(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "out.txt"
    state = begun(path, data)
    for _ in range(3):
        file = AtomicFile(path, "test sink", state)
        file.write(b"more")
        state = file.snapshot()
        file.close()
    assert os.listdir(tmp_path) == [".out.txt.millstream.tmp"]
    file = AtomicFile(path, "test sink", state)
    file.finish()
    assert path.read_bytes() == data + b"more" * 3
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_state_is_durable_and_so_is_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    file = AtomicFile(tmp_path / "out.txt", "test sink")
    file.write(b"data")
    file.snapshot()
    file.snapshot()
    assert synced == [False, True, False]
    file.close()


def test_a_file_that_is_begun_anew_forgets_its_state(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    begun(path, b"old")
    file = AtomicFile(path, "test sink")
    file.write(b"new")
    file.finish()
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_finishing_again_after_a_kill_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    file = AtomicFile(path, "test sink")
    file.write(b"all")
    state = file.snapshot()
    file.finish()
    again = AtomicFile(path, "test sink", state)
    again.flush()
    assert again.snapshot() == state
    with pytest.raises(SinkError, match="appeared at the end of an earlier run, but its input has"):
        again.write(b"more")
    again.finish()
    again.close()
    assert path.read_bytes() == b"all"


@pytest.mark.parametrize("change", ["gone", "cut", "changed", "older result"])
def test_what_is_not_what_was_written_is_not_gone_on_with(tmp_path: Path, change: str) -> None:
    path = tmp_path / "out.txt"
    state = begun(path, b"abcdef")
    temporary = tmp_path / ".out.txt.millstream.tmp"
    if change == "cut":
        os.truncate(temporary, 5)
    elif change == "changed":
        temporary.write_bytes(b"abcdefg"[::-1])
    else:
        temporary.unlink()
    if change == "older result":  # of the same length
        path.write_bytes(b"ABCDEF")
    before = sorted((each.name, each.read_bytes()) for each in tmp_path.iterdir())
    for _ in range(2):
        with pytest.raises(
            DataLossError,
            match=r"cannot go on with .*out.txt, of which 6 bytes were written: .*tmp",
        ):
            AtomicFile(path, "test sink", state)
    assert sorted((each.name, each.read_bytes()) for each in tmp_path.iterdir()) == before


def test_a_file_that_somebody_goes_on_with_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    state = begun(path, b"abc")
    file = AtomicFile(path, "test sink", state)
    for attempt in (None, state):
        with pytest.raises(SinkError, match="is being written by another sink or job"):
            AtomicFile(path, "test sink", attempt)
    file.finish()


def test_a_state_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"test sink: the saved state \{'offset': 3\} is not one"):
        FileState.of({"offset": 3}, "test sink")
