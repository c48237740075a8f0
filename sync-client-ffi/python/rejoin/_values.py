"""Python's own values in documents: what they become there, and how they come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias, Union

from ._native import rejoin as _native
from ._wire import Builder, Stream


class Text(str):
    """A text that people type: concurrent insertions are merged character by character.

    A plain ``str`` in a document is replaced as a whole.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Text({super().__repr__()})"


class Counter(int):
    """A number to which concurrent increments add up."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Counter({super().__repr__()})"


class Timestamp(int):
    """Milliseconds since 1970: what a ``datetime`` is in a document, where it is out of ``datetime``'s range."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Timestamp({super().__repr__()})"


Value: TypeAlias = Union[
    None, bool, int, float, str, bytes, datetime, Text, Counter, Timestamp, Mapping[str, "Value"], Sequence["Value"]
]
"""What a document holds: these, dicts with string keys and lists of them."""

# Deeper than a document may be, and shallower than any stack.
_DEPTH_MAX = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)

# The variants of the generated `Value`, by their numbers on the wire.
NULL, BOOL, INT, UINT, FLOAT, STR, BYTES, COUNTER, TIMESTAMP, TEXT, FIELDS, ITEMS = range(1, 13)


def _milliseconds(value: datetime) -> int:
    if value.tzinfo is None:
        raise ValueError("a datetime in a document needs a time zone: datetime.now(timezone.utc), for example")
    return (value - _EPOCH) // _MILLISECOND


def _datetime(milliseconds: int) -> datetime | Timestamp:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return Timestamp(milliseconds)


def _signed(value: int, what: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise OverflowError(f"{what} in a document has 64 bits: {int(value)} is out of range")
    return value


def _put_int(value: int, to: Builder, _: int) -> None:
    if -(2**63) <= value < 2**63:
        to.write_i32(INT)
        to.write_i64(value)
    elif 0 < value < 2**64:
        to.write_i32(UINT)
        to.write_u64(value)
    else:
        raise OverflowError(f"an integer in a document has 64 bits: {value} is out of range")


def _put_text(text: str, to: Builder) -> None:
    encoded = text.encode("utf-8")
    to.write_i32(len(encoded))
    to.write(encoded)


def _put_none(_: None, to: Builder, __: int) -> None:
    to.write_i32(NULL)


def _put_bool(value: bool, to: Builder, _: int) -> None:
    to.write_i32(BOOL)
    to.write_u8(value)


def _put_float(value: float, to: Builder, _: int) -> None:
    to.write_i32(FLOAT)
    to.write_double(value)


def _put_str(value: str, to: Builder, _: int) -> None:
    to.write_i32(STR)
    _put_text(value, to)


def _put_characters(value: Text, to: Builder, _: int) -> None:
    to.write_i32(TEXT)
    _put_text(value, to)


def _put_bytes(value: bytes | bytearray | memoryview, to: Builder, _: int) -> None:
    to.write_i32(BYTES)
    value = bytes(value)
    to.write_i32(len(value))
    to.write(value)


def _put_counter(value: Counter, to: Builder, _: int) -> None:
    to.write_i32(COUNTER)
    to.write_i64(_signed(value, "a counter"))


def _put_timestamp(value: Timestamp, to: Builder, _: int) -> None:
    to.write_i32(TIMESTAMP)
    to.write_i64(_signed(value, "a time"))


def _put_datetime(value: datetime, to: Builder, _: int) -> None:
    to.write_i32(TIMESTAMP)
    to.write_i64(_milliseconds(value))


def _put_fields(value: Mapping[str, Any], to: Builder, depth: int) -> None:
    to.write_i32(FIELDS)
    to.write_i32(len(value))
    for key, inner in value.items():
        if not isinstance(key, str):
            raise TypeError(f"a key in a document is a str, not {type(key).__name__}: {key!r}")
        _put_text(key, to)
        _put(inner, to, depth + 1)


def _put_items(value: Sequence[Any], to: Builder, depth: int) -> None:
    to.write_i32(ITEMS)
    to.write_i32(len(value))
    for inner in value:
        _put(inner, to, depth + 1)


_Put = Callable[[Any, Builder, int], None]
_PUT: dict[type, _Put] = {
    type(None): _put_none,
    bool: _put_bool,
    int: _put_int,
    float: _put_float,
    str: _put_str,
    bytes: _put_bytes,
    bytearray: _put_bytes,
    memoryview: _put_bytes,
    datetime: _put_datetime,
    Text: _put_characters,
    Counter: _put_counter,
    Timestamp: _put_timestamp,
    dict: _put_fields,
    list: _put_items,
    tuple: _put_items,
}
# For types that derive from these; the first that fits.
_DERIVED: tuple[tuple[type, _Put], ...] = (
    (Text, _put_characters),
    (Counter, _put_counter),
    (Timestamp, _put_timestamp),
    (datetime, _put_datetime),
    (int, _put_int),
    (float, _put_float),
    (str, _put_str),
    (Mapping, _put_fields),
    (list, _put_items),
    (tuple, _put_items),
)


def _put(value: Any, to: Builder, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise ValueError(f"nested more than {_DEPTH_MAX} deep: does it contain itself?")
    put = _PUT.get(type(value))
    if put is None:
        put = next((put for kind, put in _DERIVED if isinstance(value, kind)), None)
    if put is None:
        kinds = "None, bool, int, float, str, bytes, datetime, dict, list, Text and Counter"
        raise TypeError(f"a document cannot hold a {type(value).__name__}: it holds {kinds}")
    put(value, to, depth)


def _get_text(stream: Stream) -> str:
    return stream.read(stream.read_i32()).decode("utf-8")


def _get_fields(stream: Stream) -> dict[str, Any]:
    count = stream.read_i32()
    # In the order of the keys, which the document gives them; what crosses is in none.
    fields = [(_get_text(stream), _get(stream)) for _ in range(count)]
    fields.sort(key=lambda field: field[0])
    return dict(fields)


_GET: dict[int, Callable[[Stream], Any]] = {
    NULL: lambda stream: None,
    BOOL: lambda stream: stream.read_u8() != 0,
    INT: Stream.read_i64,
    UINT: Stream.read_u64,
    FLOAT: Stream.read_double,
    STR: _get_text,
    BYTES: lambda stream: stream.read(stream.read_i32()),
    COUNTER: lambda stream: Counter(stream.read_i64()),
    TIMESTAMP: lambda stream: _datetime(stream.read_i64()),
    TEXT: lambda stream: Text(_get_text(stream)),
    FIELDS: _get_fields,
    ITEMS: lambda stream: [_get(stream) for _ in range(stream.read_i32())],
}


def _get(stream: Stream) -> Any:
    return _GET[stream.read_i32()](stream)


def _write(value: Any, to: Builder) -> None:
    _put(value, to, 0)


def _lower(value: Any) -> Any:
    builder = Builder()
    _put(value, builder, 0)
    return builder.finalize()


def check(value: Any) -> None:
    """Raises what writing this value would."""
    if type(value) in (str, Text, bool, float, bytes, type(None)):
        return
    _put(value, Builder(), 0)


def install() -> None:
    """Lets Python's own values cross wherever the generated `Value` does: in edits, reads and observed steps."""
    converter = _native._UniffiFfiConverterTypeValue
    converter.read = staticmethod(_get)
    converter.write = staticmethod(_write)
    converter.lower = staticmethod(_lower)
    # Whatever is wrong shows when it is written, before anything is called.
    converter.check_lower = staticmethod(lambda value: None)
