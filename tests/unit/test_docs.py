"""The documents are true: their code runs and prints what they show, and what they name exists."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import itertools
import linecache
import re
import runpy
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import millstream as ms
from millstream.api.job import Job
from millstream.cli.app import command
from millstream.control.wiring import plan
from millstream.graph.explain.data import to_data
from scripts import make_reference

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
PACKAGE = PROJECT / "src" / "millstream"
DECISIONS = DOCS / "decisions"
DOCUMENTS = sorted([*DOCS.rglob("*.md"), PROJECT / "README.md"])
PROJECT_PAGES = [*DOCUMENTS, PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md"]

ENGINE_CLASSES = [
    "Alignment",
    "Assembly",
    "Chain",
    "Dispatcher",
    "Group",
    "Inlet",
    "JobRun",
    "Outlet",
    "Segment",
    "SinkEdge",
    "Supervisor",
    "Task",
]

any_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT))
)


# -- Markdown -----------------------------------------------------------------------------------


@dataclass
class Fence:
    """A fenced block: its language, its text, the paragraph before it, and where it stands."""

    language: str
    text: str
    paragraph: str
    runs: bool
    line: int


def fences(document: Path) -> Iterator[Fence]:
    """Yield the fenced blocks of a document; a paragraph belongs to the block right behind it."""
    paragraph: list[str] = []
    runs, opened = True, None
    ends_paragraph = True
    for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
        if opened is not None:
            if line.strip() == "```":
                yield opened
                paragraph, runs, opened = [], True, None
            else:
                opened.text += line + "\n"
        elif line.startswith("```"):
            opened = Fence(line[3:].strip(), "", " ".join(paragraph), runs, number)
        elif line.strip() == "<!-- no-run -->":
            runs = False
        elif not line.strip():
            ends_paragraph = True
        else:
            paragraph = [] if ends_paragraph else paragraph
            paragraph.append(line.strip())
            ends_paragraph = False
    assert opened is None, f"{document}: a fence is never closed"


def prose(document: Path) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return what headings can be linked as, in the way that code hosts build it."""
    found: dict[str, int] = {}
    names = set()
    for title in re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title))
        name = plain.strip().lower().replace(" ", "-")
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


# -- code ---------------------------------------------------------------------------------------


class Reader:
    """Does what a reader of one document does: runs its blocks in order, in a folder of its own.

    A block "as `job.py`" is also saved. An output block is compared if its paragraph says that
    something prints it: "`python job.py run` prints", else the block before; or that a file
    contains it: "`totals.jsonl` contains". In what is shown, … stands for anything.
    """

    def __init__(self, document: Path) -> None:
        self.document = document
        self.names: dict[str, Any] = {"__name__": "document"}
        self.code = ""
        self.printed = ""

    def read(self) -> None:
        for fence in fences(self.document):
            if fence.language == "python":
                self.run(fence)
            elif fence.language in ("text", "") and re.search(
                r"\b(prints|contains)\b", fence.paragraph
            ):
                self.compare(fence)

    def run(self, fence: Fence) -> None:
        self.code = fence.text
        saved = re.search(r"\bas `([\w./-]+\.py)`", fence.paragraph)
        name = saved[1] if saved else f"<{self.document.name}:{fence.line}>"
        linecache.cache[name] = (len(fence.text), None, fence.text.splitlines(True), name)
        compiled = compile(fence.text, name, "exec")
        if saved:
            Path(name).write_text(fence.text, "utf-8")
        if fence.runs:
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compiled, self.names)  # noqa: S102  # our own documents
            self.printed = output.getvalue()

    def compare(self, fence: Fence) -> None:
        started = re.search(r"`((?:python|millstream) [^`]+)`", fence.paragraph)
        contained = re.search(r"`([\w./-]+)` (?:\w+ )?contains", fence.paragraph)
        if started:
            found = self.start(started[1].split(), fence.paragraph)
        elif contained:
            found = Path(contained[1]).read_text("utf-8")
        else:
            found = self.printed
        assert shows(fence.text, found), (
            f"{self.document.name}:{fence.line} shows\n{fence.text}\nbut there was\n{found}"
        )

    def start(self, words: list[str], paragraph: str) -> str:
        """Return what a command prints; the paragraph says where to, and how it ends."""
        if words[0] == "python" and not Path(words[1]).exists():
            Path(words[1]).write_text(self.code, "utf-8")  # a README's job has no other name
        output, errors, code = io.StringIO(), io.StringIO(), 0
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            importing_as_a_new_process(words[1:] if words[0] == "python" else words),
        ):
            try:
                if words[0] == "python":
                    runpy.run_path(words[1], run_name="__main__")
                else:
                    command()
            except SystemExit as left:
                code = int(left.code or 0)
        expected = re.search(r"exit code (\d+)", paragraph)
        assert code == int(expected[1] if expected else 0), errors.getvalue()
        return (errors if "standard error" in paragraph else output).getvalue()


@contextlib.contextmanager
def importing_as_a_new_process(arguments: list[str]) -> Iterator[None]:
    before = list(sys.path), list(sys.argv), set(sys.modules)
    sys.argv = arguments
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path[:], sys.argv = before[0], before[1]
        for name in set(sys.modules) - before[2]:
            if not name.startswith(("millstream", "rich", "structlog", "tenacity", "msgspec")):
                file = getattr(sys.modules[name], "__file__", None) or ""
                if Path(file).parent == Path.cwd():
                    del sys.modules[name]


def shows(shown: str, found: str) -> bool:
    """Return whether text is what a document shows of it."""
    pattern = ".*?".join(map(re.escape, shown.strip().split("…")))
    lines = "\n".join(line.rstrip() for line in found.strip().splitlines())
    return re.fullmatch(pattern, lines, re.DOTALL) is not None


@any_document
def test_the_code_in_a_document_runs_and_prints_what_it_shows(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Reader(document).read()


# -- links and names ----------------------------------------------------------------------------


@pytest.mark.parametrize("document", PROJECT_PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_within_the_project_leads_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        if not page.exists() or (anchor and anchor not in anchors(page)):
            broken.append(target)
    assert not broken


def test_every_document_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+\.md)", (DOCS / "README.md").read_text("utf-8")))
    missing = [
        path.relative_to(DOCS).as_posix()
        for path in DOCS.rglob("*.md")
        if path != DOCS / "README.md" and path.parent != DECISIONS
    ]
    assert sorted(set(missing) - linked) == []


def test_every_decision_is_listed_with_its_status_and_has_the_parts_of_the_template() -> None:
    rows = (DECISIONS / "README.md").read_text("utf-8")
    files = sorted(DECISIONS.glob("[0-9]*.md"))
    for number, path in enumerate(files, 1):
        text = path.read_text("utf-8")
        title = re.match(rf"# {number:04}: (.+)\n\nStatus: (.+)\n", text)
        assert title, f"{path.name}: expected '# {number:04}: …' and 'Status: …'"
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]
        row = f"| [{number:04}]({path.name}) | "
        assert row in rows, f"{path.name} is not in the list"
        assert rows.partition(row)[2].partition("\n")[0].endswith(f"| {title[2]} |")


def test_every_file_that_the_explanations_name_exists() -> None:
    for document in (DOCS / "explanation").glob("*.md"):
        for name in re.findall(r"`([\w./-]+\.(?:py|md|toml))`", document.read_text("utf-8")):
            assert (PACKAGE / name).exists() or (PROJECT / name).exists(), f"{document}: {name}"


def test_the_words_of_the_glossary_are_in_order_and_its_classes_exist() -> None:
    text = (DOCS / "glossary.md").read_text("utf-8")
    words = re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)
    assert words == sorted(words, key=str.lower)
    assert len(words) == len(set(words))
    for name, file in re.findall(r"`(\w+)` in `([\w/]+)\.py`", text):
        module = importlib.import_module(f"millstream.{file.replace('/', '.')}")
        assert hasattr(module, name), f"{file}.py has no {name}"


@pytest.mark.parametrize("name", ENGINE_CLASSES)
def test_the_main_classes_of_the_engine_are_in_the_glossary(name: str) -> None:
    text = (DOCS / "glossary.md").read_text("utf-8")
    assert re.search(rf"`{name}` in `engine/\w+\.py`", text)


# -- the reference ------------------------------------------------------------------------------


def test_the_generated_parts_of_the_reference_are_up_to_date() -> None:
    stale = [
        path.name
        for path, text in make_reference.documents().items()
        if path.read_text("utf-8") != text
    ]
    assert not stale, f"out of date: {', '.join(stale)}; run: {make_reference.COMMAND}"


def test_every_public_name_is_in_the_reference() -> None:
    headings = anchors(DOCS / "reference" / "api.md")
    assert [name for name in ms.__all__ if name.lower() not in headings] == []


def test_every_setting_of_a_job_and_of_the_engine_is_in_the_reference() -> None:
    text = (DOCS / "reference" / "settings.md").read_text("utf-8")
    options = [
        *Job.__init__.__annotations__,
        *(f.name for f in dataclasses.fields(ms.EngineSettings)),
    ]
    for option in set(options) - {"return"}:
        assert f"| `{option}` |" in text


def test_explain_as_json_has_exactly_the_documented_paths() -> None:
    text = (DOCS / "reference" / "explain-json.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `([a-z_.\[\]*]+)` \|", text, re.MULTILINE))
    job = example_job()
    found = set(paths("", to_data(job.stream_graph, plan(job))))
    assert found == documented


def paths(prefix: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        free = prefix.endswith(".options")
        for key, each in value.items():
            yield from ([f"{prefix}.*"] if free else paths(f"{prefix}.{key}".strip("."), each))
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(paths(f"{prefix}[]", each) for each in value)
    else:
        yield prefix


def example_job() -> Job:
    class Seen(ms.KeyedProcessFunction[int, int]):
        seen = ms.ValueStateDescriptor(int, default=0)

        def process_element(self, value: int, ctx: ms.ProcessContext[int]) -> None:
            ctx.output("odd", value)

    job = ms.Job("example")
    numbers = job.source(ms.sequence.source(3), uid="numbers").map(lambda n: n + 1)
    seen = numbers.key_by(ms.it % 2).process(Seen(), side_outputs=["odd"], uid="seen")
    seen.sink(ms.blackhole.sink(), uid="out")
    seen.side_output("odd").sink(ms.blackhole.sink(), uid="odd")
    return job
