"""Values and paths: what goes in comes out, in Python's own types."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta, timezone

import pytest
import rejoin
from rejoin import _values, _wire
from rejoin._native import rejoin as native

NOW = datetime(2026, 11, 26, 22, 30, 1, 234_000, tzinfo=timezone.utc)

VALUES = [
    None,
    True,
    False,
    0,
    -(2**63),
    2**63 - 1,
    2**64 - 1,
    1.5,
    float("inf"),
    "",
    "Grüße, \N{PARTY POPPER}",
    b"",
    bytes(range(256)),
    NOW,
    datetime(1, 1, 1, tzinfo=timezone.utc),
    rejoin.Text("typed"),
    rejoin.Counter(-7),
    rejoin.Timestamp(2**62),
    {},
    [],
    {"a": [1, {"b": rejoin.Text("c")}], "": None},
    [[[[["deep"]]]]],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was(offline: rejoin.Client, value: object) -> None:
    doc = offline.create("values")
    doc.put("value", value)
    found = doc["value"]
    assert found == value
    assert type(found) is type(value)


class Colour(enum.IntEnum):
    RED = 3


class Name(str):
    pass


def test_relatives_of_these_types_are_taken(offline: rejoin.Client) -> None:
    doc = offline.create("values")
    berlin = timezone(timedelta(hours=1))
    with doc.edit() as edit:
        edit.put("tuple", (1, (2, 3))).put("enum", Colour.RED).put("name", Name("Ann"))
        edit.put("bytearray", bytearray(b"ab")).put("time", NOW.astimezone(berlin))
    assert doc.to_dict() == {"bytearray": b"ab", "enum": 3, "name": "Ann", "time": NOW, "tuple": [1, [2, 3]]}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (object(), TypeError),
        ({1: "a"}, TypeError),
        ({"a": {"b": object()}}, TypeError),
        ({1, 2}, TypeError),
        (1j, TypeError),
        (2**64, OverflowError),
        (-(2**63) - 1, OverflowError),
        (rejoin.Counter(2**63), OverflowError),
        (datetime(2026, 1, 1), ValueError),
        ("\ud800", ValueError),
    ],
    ids=repr,
)
def test_what_no_document_holds_is_refused_and_nothing_is_done(
    offline: rejoin.Client, value: object, error: type[Exception]
) -> None:
    doc = offline.create("values", {"before": 1})
    edits = doc.edits()
    with pytest.raises(error):
        doc.put("value", value)
    with pytest.raises(error), doc.edit() as edit:
        edit.put("before", 2)
        edit.put("value", [value])
    assert (doc.to_dict(), doc.edits()) == ({"before": 1}, edits)


def test_what_contains_itself_is_refused(offline: rejoin.Client) -> None:
    doc = offline.create("values")
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contain itself"):
        doc.put("loop", loop)


def test_deeper_than_a_document_may_be_is_an_error_that_says_so(offline: rejoin.Client) -> None:
    doc = offline.create("values")
    deep: object = 1
    for _ in range(150):
        deep = [deep]
    with pytest.raises(rejoin.RejoinError.BadEdit):
        doc.put("deep", deep)
    assert doc.to_dict() == {}


GENERATED = [
    (_values.NULL, lambda: native.Value.NULL(), None),
    (_values.BOOL, lambda: native.Value.BOOL(True), True),
    (_values.INT, lambda: native.Value.INT(-5), -5),
    (_values.UINT, lambda: native.Value.UINT(2**63), 2**63),
    (_values.FLOAT, lambda: native.Value.FLOAT(0.5), 0.5),
    (_values.STR, lambda: native.Value.STR("a"), "a"),
    (_values.BYTES, lambda: native.Value.BYTES(b"a"), b"a"),
    (_values.COUNTER, lambda: native.Value.COUNTER(1), rejoin.Counter(1)),
    (_values.TIMESTAMP, lambda: native.Value.TIMESTAMP(1), rejoin.Timestamp(1)),
    (_values.TEXT, lambda: native.Value.TEXT("a"), rejoin.Text("a")),
    (_values.FIELDS, lambda: native.Value.FIELDS({}), {}),
    (_values.ITEMS, lambda: native.Value.ITEMS([]), []),
]


@pytest.mark.parametrize(("number", "make", "value"), GENERATED)
def test_variants_have_the_numbers_that_the_generated_module_gives_them(
    number: int, make: object, value: object
) -> None:
    """The package writes values itself: this fails when the library's own `Value` is changed."""
    names = [name for name in vars(native.Value) if name.isupper()]
    assert len(names) == len(GENERATED)
    # In the order of their declaration, which is that of their numbers.
    assert names.index(type(make()).__qualname__.split(".")[-1]) == number - 1
    builder = _wire.Builder()
    _values._write(value, builder)
    assert int.from_bytes(builder.data[:4], "big") == number


PATHS = [
    ((), ""),
    (("items", 3, "title"), "/items/3/title"),
    (("3",), "/~23"),
    (("~23",), "/~023"),
    (("a/b~c",), "/a~1b~0c"),
    (("",), "/"),
    (("Grüße", 2**64 - 1), "/Grüße/18446744073709551615"),
]


@pytest.mark.parametrize(("steps", "pointer"), PATHS)
def test_paths_are_those_of_the_library(steps: tuple[str | int, ...], pointer: str) -> None:
    assert rejoin.path(*steps) == pointer
    assert rejoin.steps(pointer) == steps


def test_a_path_may_be_given_in_any_form(offline: rejoin.Client) -> None:
    doc = offline.create("paths", {"items": [{"title": "milk"}], "3": "a key", "a/b": "a slash"})
    for path in ["/items/0/title", ("items", 0, "title"), ["items", 0, "title"], rejoin.path("items", 0, "title")]:
        assert doc.get(path) == "milk"
        assert doc[path] == "milk"
    assert doc["items", 0, "title"] == "milk"
    assert (doc["3"], doc["/~23"], doc[("a/b",)]) == ("a key", "a key", "a slash")
    assert ("items" in doc, ("items", 1) in doc, "nothing" in doc) == (True, False, False)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("items/0", rejoin.RejoinError.BadPath),
        ("/~9", rejoin.RejoinError.BadPath),
        (("items", -1), ValueError),
        (("items", True), TypeError),
        (("items", 1.0), TypeError),
        (("items", None), TypeError),
        (1.5, TypeError),
        (None, TypeError),
    ],
)
def test_what_is_no_path_is_refused(offline: rejoin.Client, path: object, error: type[Exception]) -> None:
    doc = offline.create("paths", {"items": [1]})
    calls = [
        lambda: doc.get(path),
        lambda: doc.put(path, 1),
        lambda: doc.text(path),
        lambda: doc.length(path),
        lambda: doc.json(path),
        lambda: doc.delete(path),
        lambda: doc.splice(path, 0, 0, "a"),
        lambda: doc.increment(path),
    ]
    for call in calls:
        with pytest.raises(error):
            call()
