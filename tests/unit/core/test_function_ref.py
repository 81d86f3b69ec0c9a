"""A function's name and the hash of its code."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import pytest

from millstream.core.function_ref import function_ref
from tests.support.hash_seeds import printed_under_hash_seeds

STABLE = """
from millstream.core.function_ref import function_ref

def outer(record):
    def inner(value):
        return value in {"a", "b", "c", "d", "e", (1, "f"), None}
    return [inner(each) for each in record if each not in {"x", "y", "z"}]

class Owner:
    @staticmethod
    def check(value):
        return value in {"p", "q", "r", "s"}

print(function_ref(outer), function_ref(Owner), function_ref(lambda v: v in {"k", "l", "m"}))
"""


def compiled(source: str, name: str = "f") -> Any:
    """Return what ``name`` is after running ``source`` as a module of the user's."""
    namespace: dict[str, Any] = {"__name__": "job"}
    exec(source, namespace)  # noqa: S102  # only a compiler makes code objects
    return namespace[name]


def code_of(source: str) -> str:
    return function_ref(compiled(source)).code


def test_name_is_module_and_qualified_name() -> None:
    assert function_ref(compiled("def f(x): pass")).name == "job:f"
    assert function_ref(compiled("f = lambda x: x")).name == "job:<lambda>"
    assert function_ref(str.upper).name == "builtins:str.upper"
    assert function_ref(operator.itemgetter(0)).name == "operator:itemgetter"


def test_method_class_and_callable_object_have_names() -> None:
    source = "class f:\n  def method(self): pass\n  def __call__(self): pass"
    owner = compiled(source)
    assert function_ref(owner).name == "job:f"
    assert function_ref(owner()).name == "job:f"
    assert function_ref(owner().method).name == "job:f.method"


def test_partial_and_decorated_function_stand_for_the_function_inside() -> None:
    function = compiled("def f(x, y): return x + y")

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    assert function_ref(functools.partial(function, 1)) == function_ref(function)
    assert function_ref(wrapper) == function_ref(function)


def test_moving_a_function_changes_nothing() -> None:
    source = "def f(x):\n  def g(y):\n    return y + 1\n  return [g(y) for y in x]\n"
    assert code_of(source) == code_of("import os\n\n\n# a comment\n" + source)
    assert code_of(source) == code_of(source.replace("  return [g", "  # a comment\n\n  return [g"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f = lambda x: x + 1", "f = lambda x: x + 2"),
        ("f = lambda x: x + 1", "f = lambda x: x - 1"),
        ("f = lambda x: x * 1 + 23", "f = lambda x: x * 12 + 3"),  # constants in one row
        ("f = lambda x: x.a", "f = lambda x: x.b"),
        ("f = lambda x: x == 1", "f = lambda x: x == True"),
        ("f = lambda x: x in {1, 2}", "f = lambda x: x in {1, 3}"),
        ("f = lambda x: x in {1, 2}", "f = lambda x: x in (1, 2)"),
        ("f = lambda x: (lambda: 1)", "f = lambda x: (lambda: 2)"),
        ("f = lambda x: x", "f = lambda *x: x"),
        ("def f(x, by=1): return x * by", "def f(x, by=2): return x * by"),
        ("def f(x, *, by=1): return x * by", "def f(x, *, by=2): return x * by"),
        (
            "def f(x):\n  a(x)\n  try: b(x)\n  except E: c(x)",
            "def f(x):\n  try:\n    a(x); b(x)\n  except E: c(x)",
        ),
        ("class f:\n  def m(self): return 1", "class f:\n  def m(self): return 2"),
        (
            "class f:\n  @staticmethod\n  def m(): return 1",
            "class f:\n  @staticmethod\n  def m(): return 2",
        ),
        (
            "class f:\n  @classmethod\n  def m(cls): return 1",
            "class f:\n  @classmethod\n  def m(cls): return 2",
        ),
        (
            "class f:\n  @property\n  def m(self): return 1",
            "class f:\n  @property\n  def m(self): return 2",
        ),
    ],
)
def test_another_body_has_another_code(before: str, after: str) -> None:
    assert code_of(before) == code_of(before)
    assert code_of(before) != code_of(after)


def test_default_without_a_stable_repr_counts_by_its_type() -> None:
    source = "class C: pass\ndef f(x, by=C()): return by"
    assert code_of(source) == code_of(source)


def test_code_is_the_same_after_the_interpreter_has_specialised_it() -> None:
    function: Callable[[int], int] = compiled("def f(x):\n  return sum(y + x for y in range(9))")
    before = function_ref(function)
    for number in range(2000):
        function(number)
    assert function_ref(function) == before


def test_code_does_not_depend_on_the_hash_seed() -> None:
    assert len(printed_under_hash_seeds(STABLE)) == 1
