"""Turns values into bytes and back: equal, type included, also what is nested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from itertools import chain
from typing import Any  # a serialisation edge: values are of any type

import msgspec

from millstream.core.wording import shown
from millstream.runtime.snapshot import tags
from millstream.runtime.snapshot.classes import (
    Classes,
    enum_member,
    find_enum_member,
    is_record,
    maker,
    record_fields,
    row_of,
)
from millstream.runtime.snapshot.errors import StateDecodeError, StateEncodeError
from millstream.runtime.snapshot.tags import (
    FROM_BYTES,
    NATIVE,
    TO_BYTES,
    NotKeptError,
    TooDeepError,
)

MAX_DEPTH = 64  # levels: far below Python's own limit, which depends on who calls
_INT_FROM, _INT_TO = -(2**63), 2**64  # what msgpack's integers hold
_KEPT = (
    "state keeps None, bool, int, float, str, bytes, bytearray, Decimal, UUID, date, time, "
    "datetime, timedelta, Enum, msgspec.Struct, dataclass, named tuple, and list, tuple, dict, set "
    "and frozenset of these, but no subclasses of them"
)
_Tag = Callable[[Any, int], Any]
_encode = msgspec.msgpack.Encoder().encode


class Codec:
    """Encodes values with tags for what msgpack does not keep, and decodes them.

    Safe to use from several threads.

    Args:
        declared: the classes that the declared type of a state names, see ``declared_classes``.
        plain: decode without any class: an object comes back as a dict of its fields, an enum
            member as its name. For tools, and for migration functions, which meet state of classes
            that have changed.
    """

    def __init__(self, declared: Iterable[type] = (), *, plain: bool = False) -> None:
        self._classes = Classes(declared)
        self._plain = plain
        self._tags: dict[type, _Tag] = {
            int: _tag_int,
            str: _tag_str,
            list: self._tag_list,
            dict: self._tag_dict,
            tuple: self._tagger_of_items(tags.TUPLE),
            set: self._tagger_of_items(tags.SET),
            frozenset: self._tagger_of_items(tags.FROZENSET),
            **dict.fromkeys(NATIVE - {int, str}, _untouched),
            **{kind: _leaf(kind) for kind in TO_BYTES.keys() - {int, str}},
        }
        self._makers: dict[tuple[str, tuple[str, ...]], Callable[[Any], list[Any]]] = {}
        self._decode = msgspec.msgpack.Decoder(ext_hook=self.untag).decode

    def encode(self, value: Any) -> bytes:
        """Return a value's bytes.

        Raises:
            StateEncodeError: it would not come back as it is.
        """
        return _encode(self.tag(value))

    def decode(self, data: bytes | memoryview) -> Any:
        """Return the value of such bytes.

        Raises:
            StateDecodeError: they do not fit the classes that are there now.
        """
        with decoding():
            return self._decode(data)

    def check(self, value: Any) -> None:
        """Refuse a value that could not be encoded.

        Raises:
            StateEncodeError: with its type and where in the value it is.
        """
        self.tag(value)

    def tag(self, value: Any) -> Any:
        """Return what msgspec encodes in a value's place.

        Raises:
            StateEncodeError: it would not come back as it is.
        """
        return self.tag_all((value,))[0]

    def tag_all(self, values: Sequence[Any]) -> list[Any]:
        """Return what msgspec encodes in the values' place.

        Raises:
            StateEncodeError: one would not come back as it is.
        """
        try:
            return self._tag_items(values, 0)
        except NotKeptError as error:
            path, culprit, reason = self._locate(values, "", error)
        path = f"value{path[path.index(']') + 1 :]}"  # which of the values is no part of its path
        kind = type(culprit)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise StateEncodeError(
            f"{path} is {shown(culprit)} of type {name} and cannot be kept in state: {reason}",
            type_name=name,
            path=path,
        )

    def untag(self, code: int, data: memoryview) -> Any:
        """Return the value of an extension; what msgspec calls as ``ext_hook``."""
        if code in FROM_BYTES:
            return FROM_BYTES[code](data)
        inner = self._decode(data)
        match code:
            case tags.TUPLE:
                return tuple(inner)
            case tags.SET:
                return set(inner)
            case tags.FROZENSET:
                return frozenset(inner)
            case tags.DICT:
                return dict(zip(inner[::2], inner[1::2], strict=True))
            case tags.ENUM:
                name, member = inner
                return member if self._plain else find_enum_member(self._classes.find(name), member)
            case tags.RECORD:
                name, fields = inner
                return self.maker(name, tuple(fields))([tuple(fields.values())])[0]
        raise StateDecodeError(
            f"saved state has a value with the tag {code}, which this version of Millstream does "
            "not know; read it with the version that wrote it, or a newer one"
        )

    def class_name(self, cls: type) -> str:
        """Return what a class is called in a snapshot.

        Raises:
            NotKeptError: under that name it would not be found again.
        """
        return self._classes.name(cls)

    def maker(self, name: str, fields: tuple[str, ...]) -> Callable[[Any], list[Any]]:
        """Return what makes objects of the class of that name from rows of their fields' values.

        Raises:
            StateDecodeError: there is no such class, or it has other fields.
        """
        found = self._makers.get((name, fields))
        if found is None:
            found = _dicts(fields) if self._plain else maker(self._classes.find(name), fields)
            self._makers[name, fields] = found
        return found

    def _tag_items(self, items: Iterable[Any], depth: int) -> list[Any]:
        known, tagger = self._tags.get, self._tagger
        return [(known(type(each)) or tagger(type(each)))(each, depth) for each in items]

    def _tagger(self, kind: Any) -> _Tag:
        """Return, and remember, how objects of a class are tagged.

        Raises:
            NotKeptError: they cannot be.
        """
        if issubclass(kind, Enum):
            tagger = self._tagger_of_enum(kind)
        elif is_record(kind):
            tagger = self._tagger_of_record(kind)
        else:
            raise NotKeptError(_KEPT)
        self._tags[kind] = tagger
        return tagger

    def _tag_list(self, value: list[Any], depth: int) -> list[Any]:
        return self._tag_items(value, _deeper(depth))

    def _tag_dict(self, value: dict[Any, Any], depth: int) -> Any:
        depth = _deeper(depth)
        keys, values = self._tag_items(value, depth), self._tag_items(value.values(), depth)
        if NATIVE.issuperset(map(type, keys)):
            return dict(zip(keys, values, strict=True))
        pairs = chain.from_iterable(zip(keys, values, strict=True))
        return msgspec.msgpack.Ext(tags.DICT, _encode(list(pairs)))

    def _tagger_of_items(self, code: int) -> _Tag:
        def tag_items(value: Iterable[Any], depth: int) -> msgspec.msgpack.Ext:
            return msgspec.msgpack.Ext(code, _encode(self._tag_items(value, _deeper(depth))))

        return tag_items

    def _tagger_of_enum(self, kind: type[Enum]) -> _Tag:
        name = self._classes.name(kind)
        return lambda value, _: msgspec.msgpack.Ext(tags.ENUM, _encode((name, enum_member(value))))

    def _tagger_of_record(self, kind: type) -> _Tag:
        name, fields = self._classes.name(kind), record_fields(kind)
        take = row_of(fields)

        def tag_record(value: Any, depth: int) -> msgspec.msgpack.Ext:
            try:
                row = take(value)
            except AttributeError as error:
                raise NotKeptError(f"one of its fields has no value: {error}") from error
            tagged = self._tag_items(row, _deeper(depth))
            data = _encode((name, dict(zip(fields, tagged, strict=True))))
            return msgspec.msgpack.Ext(tags.RECORD, data)

        return tag_record

    def _locate(self, value: Any, path: str, error: NotKeptError) -> tuple[str, Any, NotKeptError]:
        """Return the innermost part of a value that cannot be tagged: path, part, reason."""
        for name, part in _parts(value):
            try:
                self._tag_items((part,), 0)
            except TooDeepError as inner:
                return path + name, part, inner
            except NotKeptError as inner:
                return self._locate(part, path + name, inner)
        return path, value, error


@contextmanager
def decoding() -> Iterator[None]:
    """Turn what a decoder or a class raises on foreign bytes into a ``StateDecodeError``."""
    try:
        yield
    except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
        what = f"{type(error).__name__}: {error}"
        raise StateDecodeError(f"saved state cannot be read: {what}") from error


def _tag_int(value: int, _depth: int) -> Any:
    return value if _INT_FROM <= value < _INT_TO else _tag_leaf(int, value)


def _tag_str(value: str, _depth: int) -> Any:
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:  # lone surrogates
        return _tag_leaf(str, value)
    return value


def _tag_leaf(kind: type, value: Any) -> msgspec.msgpack.Ext:
    code, to_bytes = TO_BYTES[kind]
    return msgspec.msgpack.Ext(code, to_bytes(value))


def _leaf(kind: type) -> _Tag:
    code, to_bytes = TO_BYTES[kind]
    return lambda value, _: msgspec.msgpack.Ext(code, to_bytes(value))


def _untouched(value: Any, _depth: int) -> Any:
    return value


def _deeper(depth: int) -> int:
    if depth == MAX_DEPTH:
        raise TooDeepError(f"it is nested deeper than {MAX_DEPTH} levels, or holds itself")
    return depth + 1


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    """Return what a value is made of, with how each part is reached."""
    kind = type(value)
    if kind is dict:
        keys = [(f" key {shown(key)}", key) for key in value]
        return [*keys, *((f"[{shown(key)}]", each) for key, each in value.items())]
    if kind in (list, tuple):
        return [(f"[{index}]", each) for index, each in enumerate(value)]
    if kind in (set, frozenset):
        return [(f" member {shown(each)}", each) for each in value]
    if is_record(kind):
        return [(f".{name}", getattr(value, name, None)) for name in record_fields(kind)]
    return []


def _dicts(fields: tuple[str, ...]) -> Callable[[Any], list[Any]]:
    return lambda rows: [dict(zip(fields, row, strict=True)) for row in rows]
