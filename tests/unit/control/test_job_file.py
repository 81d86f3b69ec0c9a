"""Finding the job in a file or a module."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

import millstream as ms
from millstream.control.job_file import load_job
from millstream.core.errors import ConfigError

JOB = """
import millstream as ms

job = ms.Job("orders")
job.source("sequence", stop=3, uid="n").sink(ms.blackhole.sink(), uid="out")
"""
TWO = JOB + 'other = ms.Job("other")\n'
NEITHER_IS_JOB = TWO.replace("job =", "orders =").replace("job.", "orders.")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text(JOB)
    (tmp_path / "pack" / "inner.py").write_text(TWO)
    (tmp_path / "my_job.py").write_text(JOB)
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "neither.py").write_text(NEITHER_IS_JOB)
    (tmp_path / "alias.py").write_text(JOB.replace("job", "orders") + "same = orders\n")
    (tmp_path / "empty.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("my_job.py", "orders"),
        ("./my_job.py", "orders"),
        ("my_job.py:job", "orders"),
        ("my_job.py:", "orders"),
        ("my_job", "orders"),
        ("my_job:job", "orders"),
        ("pack", "orders"),
        ("pack:job", "orders"),
        ("pack.inner", "orders"),
        ("pack.inner:other", "other"),
        ("pack/inner.py:other", "other"),
        ("two.py", "orders"),
        ("two.py:other", "other"),
        ("neither.py:orders", "orders"),
        ("alias.py", "orders"),
        ("alias.py:same", "orders"),
    ],
)
def test_a_job_is_found_by_file_or_module_and_name(folder: Path, reference: str, name: str) -> None:
    assert load_job(reference).name == name


def test_a_job_is_found_by_its_absolute_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert load_job(str(folder / "my_job.py")).name == "orders"
    assert load_job(f"{folder / 'two.py'}:other").name == "other"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("", "'' names no job file; write job.py or package.module:job"),
        (":job", "':job' names no job file"),
        ("missing.py", r"no job file 'missing\.py': looked for /.*/missing\.py"),
        ("pack/missing.py:job", r"no job file 'pack/missing\.py'"),
        ("missing", "no module 'missing', and no file of that name; a job file ends in .py"),
        ("pack.missing:job", r"no module 'pack\.missing'"),
        ("missing.inner", r"no module 'missing\.inner'"),
        ("./pack", "no module './pack'"),
        (".", r"'\.' is a folder; name a job file in it: job\.py"),
        ("folder/", r"'folder/' is a folder; name a job file in it: folder/job\.py"),
        ("folder", "'folder' is a folder"),
        ("..my_job", r"no module '\.\.my_job'"),
        ("pack/", "no module 'pack/'"),
        ("a b", "no module 'a b'"),
        ("empty.py", r"'empty\.py' defines no job; write job = millstream\.Job\('name'\)"),
        ("json", "'json' defines no job"),
        ("neither.py", r"several jobs; name one: neither\.py:orders, neither\.py:other"),
        ("my_job.py:orders", r"'my_job\.py:orders': 'orders' is not there; jobs in it: job$"),
        ("neither.py:job", r"'neither\.py:job': 'job' is not there; jobs in it: orders, other$"),
        ("empty.py:job", r"'empty\.py:job': 'job' is not there$"),
        ("my_job.py:ms", r"'ms' is a module, not a Job"),
        ("my_job.py:a:b", "'a:b' is not there"),
    ],
)
def test_a_reference_that_names_no_job_says_what_was_looked_for(
    folder: Path, reference: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_job(reference)


def test_a_file_that_is_not_python_is_refused(folder: Path) -> None:
    (folder / "job.yaml").write_text("name: orders")
    with pytest.raises(ConfigError, match=r"'job\.yaml' is not a Python file; a job file ends in"):
        load_job("job.yaml")


@pytest.mark.parametrize("name", ["json", "queue", "millstream"])
def test_a_file_that_would_hide_a_module_is_refused(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(JOB)
    before = sys.modules[name]
    with pytest.raises(ConfigError, match=f"would hide the module '{name}' .* another name"):
        load_job(f"{name}.py")
    assert sys.modules[name] is before


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import not_installed_at_all\n", ModuleNotFoundError),
        ("1 / 0\n", ZeroDivisionError),
        ("def f(:\n", SyntaxError),
        ("raise SystemExit(3)\n", SystemExit),
    ],
)
@pytest.mark.parametrize("reference", ["broken.py", "broken", "broken:job"])
def test_an_error_inside_the_file_passes_through_as_it_is(
    folder: Path, text: str, error: type[BaseException], reference: str
) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(error) as raised:
        load_job(reference)
    if issubclass(error, Exception):
        file = reference.removesuffix(":job")
        note = f"{file!r} failed while it was being loaded; no job was started"
        assert raised.value.__notes__ == [note]
    assert "broken" not in sys.modules


def test_a_module_that_the_file_imports_in_vain_is_not_taken_for_the_file(folder: Path) -> None:
    (folder / "pack" / "broken.py").write_text("import pack.not_there\n")
    with pytest.raises(ModuleNotFoundError, match=r"pack\.not_there"):
        load_job("pack.broken")


def test_a_file_imports_its_neighbours_as_a_script_does(folder: Path) -> None:
    (folder / "pack" / "names.py").write_text("NAME = 'from a neighbour'\n")
    (folder / "pack" / "using.py").write_text(
        "from names import NAME\nimport millstream as ms\njob = ms.Job(NAME)\n"
    )
    assert load_job("pack/using.py").name == "from a neighbour"


def test_loading_again_makes_the_job_anew(folder: Path) -> None:
    first = load_job("my_job.py")
    (folder / "my_job.py").write_text(JOB.replace("orders", "changed by now"))
    assert (first.name, load_job("my_job.py").name) == ("orders", "changed by now")


def test_files_of_one_name_in_two_folders_are_two_jobs(folder: Path) -> None:
    (folder / "pack" / "my_job.py").write_text(JOB.replace("orders", "inner"))
    assert [load_job(each).name for each in ("my_job.py", "pack/my_job.py", "my_job.py")] == [
        "orders",
        "inner",
        "orders",
    ]


@pytest.mark.parametrize("call", ["ms.run(job)", "ms.start(job)", "ms.main(job)"])
def test_a_file_that_runs_its_job_while_it_is_loaded_is_refused(folder: Path, call: str) -> None:
    (folder / "eager.py").write_text(JOB + call)
    with pytest.raises(
        ConfigError, match=r"'eager\.py' runs its job while it is being loaded; put"
    ):
        load_job("eager.py")


@pytest.mark.parametrize("call", ["ms.run(job)", "ms.main(job)"])
def test_a_call_under_main_is_not_made(folder: Path, call: str) -> None:
    (folder / "guarded.py").write_text(f'{JOB}\nif __name__ == "__main__":\n    {call}\n')
    assert load_job("guarded.py").name == "orders"


def test_a_job_may_be_run_once_its_file_is_loaded(folder: Path) -> None:
    with pytest.raises(ConfigError):
        load_job("missing.py")
    assert ms.run(load_job("my_job.py")).status is ms.JobStatus.COMPLETED


def test_loading_in_one_thread_does_not_keep_another_from_running(folder: Path) -> None:
    (folder / "slow.py").write_text(
        "import threading\nimport millstream as ms\n" + JOB.replace("import millstream as ms", "")
        + "other = ms.Job('other')\nother.source('sequence', stop=1, uid='n')"
        ".sink('blackhole', uid='out')\n"
        "thread = threading.Thread(target=ms.run, args=(other,))\n"
        "thread.start()\nthread.join()\n"
    )  # fmt: skip
    errors: list[threading.ExceptHookArgs] = []
    threading.excepthook, before = errors.append, threading.excepthook
    try:
        load_job("slow.py")
    finally:
        threading.excepthook = before
    assert errors == []
