"""Encodes many values at once, by the shape that they share.

Tags cost a Python call per value. So a slice's values are looked at column by column, by calls that
run through a column in C: a column of numbers, texts or None needs no tags; tuples and objects of
one class are columns of their parts. What they share is written once, as the slice's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any  # a serialisation edge: values are of any type

import msgspec

from millstream.runtime.snapshot.classes import is_record, record_fields, row_of
from millstream.runtime.snapshot.codec import Codec, decoding
from millstream.runtime.snapshot.errors import StateDecodeError, StateEncodeError
from millstream.runtime.snapshot.tags import NATIVE, NotKeptError

Shape = Any  # "any", ["tuple", …shapes], ["list", shape], ["record", class, fields, …shapes]
ANY = "any"
_MAX_COLUMNS = 64  # a longer tuple is no row of columns
_MAX_SHAPE = 8  # levels of shapes; what is nested deeper has tags

_encode = msgspec.msgpack.Encoder().encode
_split = msgspec.msgpack.Decoder(tuple[msgspec.Raw, msgspec.Raw, msgspec.Raw, msgspec.Raw]).decode
_Unpack = Callable[[Sequence[Any]], Sequence[Any]]


def encode_slice(codec: Codec, keys: Sequence[Any], values: Sequence[Any]) -> bytes:
    """Return the bytes of entries, given as parallel keys and values.

    Raises:
        StateEncodeError: one would not come back as it is.
    """
    try:
        key_shape, packed_keys = pack(codec, keys)
        value_shape, packed_values = pack(codec, values)
        return _encode((key_shape, value_shape, packed_keys, packed_values))
    except (OverflowError, UnicodeEncodeError):
        # A number or a text that msgpack does not hold is somewhere in it: rare, so nobody looks.
        return _encode((ANY, ANY, codec.tag_all(keys), codec.tag_all(values)))
    except StateEncodeError:
        codec.tag_all(keys)  # raises it with the place in the whole value, not in a column
        codec.tag_all(values)
        raise


class SliceDecoder:
    """Decodes what ``encode_slice`` has made; remembers the decoders of the shapes it has met."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._decoders: dict[bytes, Callable[[Any], Sequence[Any]]] = {}

    def decode(self, data: bytes) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return keys and values, in parallel.

        Raises:
            StateDecodeError: they do not fit the classes that are there now.
        """
        with decoding():
            key_shape, value_shape, keys, values = _split(data)
            return self._decoder(bytes(key_shape))(keys), self._decoder(bytes(value_shape))(values)

    def _decoder(self, shape: bytes) -> Callable[[Any], Sequence[Any]]:
        found = self._decoders.get(shape)
        if found is None:
            kind, unpack = _unpacker(self._codec, msgspec.msgpack.decode(shape))
            decode = msgspec.msgpack.Decoder(list[kind], ext_hook=self._codec.untag).decode  # type: ignore[valid-type]  # made at run time
            found = decode if unpack is None else _both(decode, unpack)
            self._decoders[shape] = found
        return found


def pack(codec: Codec, values: Sequence[Any], depth: int = 0) -> tuple[Shape, Sequence[Any]]:
    """Return the shape that values share, and what msgspec encodes in their place."""
    kinds = set(map(type, values))
    if kinds <= NATIVE:
        return ANY, values
    if len(kinds) == 1 and depth < _MAX_SHAPE:
        (kind,) = kinds
        packed = None
        if kind is tuple:
            packed = _pack_tuples(codec, values, depth)
        elif kind is list:
            packed = _pack_lists(codec, values, depth)
        elif kind is dict:
            packed = _pack_dicts(values)
        elif is_record(kind):
            packed = _pack_records(codec, kind, values, depth)
        if packed is not None:
            return packed
    return ANY, codec.tag_all(values)


def _pack_tuples(
    codec: Codec, values: Sequence[Any], depth: int
) -> tuple[Shape, Sequence[Any]] | None:
    lengths = set(map(len, values))
    if len(lengths) > 1 or max(lengths) > _MAX_COLUMNS:
        return None
    columns = list(zip(*values, strict=True))
    packed = [pack(codec, column, depth + 1) for column in columns]
    shape = ["tuple", *(each for each, _ in packed)]
    if all(after is before for before, (_, after) in zip(columns, packed, strict=True)):
        return shape, values  # msgspec writes a tuple as an array; the shape says that it is one
    return shape, list(zip(*(column for _, column in packed), strict=True))


def _pack_lists(
    codec: Codec, values: Sequence[Any], depth: int
) -> tuple[Shape, Sequence[Any]] | None:
    items = list(chain.from_iterable(values))
    shape, packed = pack(codec, items, depth + 1)
    if packed is items:
        return ["list", shape], values
    remaining = iter(packed)
    return ["list", shape], [list(islice(remaining, len(each))) for each in values]


def _pack_dicts(values: Sequence[dict[Any, Any]]) -> tuple[Shape, Sequence[Any]] | None:
    keys = chain.from_iterable(values)
    parts = chain.from_iterable(map(dict.values, values))
    native = NATIVE.issuperset(map(type, keys)) and NATIVE.issuperset(map(type, parts))
    return (ANY, values) if native else None


def _pack_records(
    codec: Codec, kind: type, values: Sequence[Any], depth: int
) -> tuple[Shape, Sequence[Any]] | None:
    fields = record_fields(kind)
    try:
        name, rows = codec.class_name(kind), list(map(row_of(fields), values))
    except (NotKeptError, AttributeError):
        return None  # tagging tells what is wrong, and where
    packed = _pack_tuples(codec, rows, depth)
    if packed is None:
        return None
    (_, *shapes), packed_rows = packed
    return ["record", name, fields, *shapes], packed_rows


def _unpacker(codec: Codec, shape: Shape) -> tuple[Any, _Unpack | None]:
    """Return the type as which msgspec decodes a value of a shape, and what is still to be done."""
    match shape:
        case "any":
            return Any, None
        case ["tuple", *shapes]:
            return _row_unpacker(codec, shapes)
        case ["record", name, fields, *shapes]:
            kind, unpack = _row_unpacker(codec, shapes)
            make = codec.maker(name, tuple(fields))
            return kind, make if unpack is None else _both(unpack, make)
        case ["list", inner]:
            kind, unpack = _unpacker(codec, inner)
            return list[kind], None if unpack is None else _list_unpacker(unpack)  # type: ignore[valid-type]  # made at run time
    raise StateDecodeError(
        f"saved state has a slice of the shape {shape!r}, which this version of Millstream does "
        "not know; read it with the version that wrote it, or a newer one"
    )


def _row_unpacker(codec: Codec, shapes: list[Shape]) -> tuple[Any, _Unpack | None]:
    parts = [_unpacker(codec, each) for each in shapes]
    kind: Any = tuple.__class_getitem__(tuple(part for part, _ in parts))
    unpacks = [unpack for _, unpack in parts]
    if not any(unpacks):
        return kind, None

    def unpack_rows(rows: Sequence[Any]) -> Sequence[Any]:
        columns = zip(*rows, strict=True)
        unpacked = [
            column if unpack is None else unpack(column)
            for column, unpack in zip(columns, unpacks, strict=False)
        ]
        return list(zip(*unpacked, strict=True))

    return kind, unpack_rows


def _list_unpacker(unpack: _Unpack) -> _Unpack:
    def unpack_lists(lists: Sequence[Any]) -> Sequence[Any]:
        remaining = iter(unpack(list(chain.from_iterable(lists))))
        return [list(islice(remaining, len(each))) for each in lists]

    return unpack_lists


def _both(first: Callable[[Any], Any], second: _Unpack) -> Callable[[Any], Sequence[Any]]:
    return lambda value: second(first(value))
