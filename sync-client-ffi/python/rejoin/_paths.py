"""Paths into documents: JSON Pointers, made of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, Union

Step: TypeAlias = Union[str, int]
"""A key of a map, or an index into a list."""

Path: TypeAlias = Union[str, int, Sequence[Step]]
"""A JSON Pointer (``"/items/3/title"``), one step (``"title"``), or steps (``("items", 3, "title")``)."""

_INDEX_MAX = 2**64 - 1


def path(*steps: Step) -> str:
    """The path of these steps, as a JSON Pointer: ``path("items", 3, "title")`` is ``"/items/3/title"``.

    A ``str`` is a key and an ``int`` an index: ``path("3")`` is the key, written ``"/~23"``.
    """
    return "".join([_step(step) for step in steps])


def _step(step: Step) -> str:
    if type(step) is str:
        if step.isascii() and step.isdigit():
            return "/~2" + step
        if "~" in step or "/" in step:
            step = step.replace("~", "~0").replace("/", "~1")
        return "/" + step
    if isinstance(step, bool):
        raise TypeError("a step of a path is a str or an int, not bool")
    if isinstance(step, int):
        if not 0 <= step <= _INDEX_MAX:
            raise ValueError(f"an index counts from 0: {step}")
        return f"/{int(step)}"
    if isinstance(step, str):
        return _step(str(step))
    raise TypeError(f"a step of a path is a str or an int, not {type(step).__name__}")


def pointer(place: Path) -> str:
    """A path in any form, as a JSON Pointer."""
    if isinstance(place, str):
        # With a slash further on it is a pointer that lacks its first one: the library says so.
        if place == "" or place[0] == "/" or "/" in place:
            return place
        return _step(place)
    if isinstance(place, (int, bool)):
        return _step(place)
    if isinstance(place, (tuple, list)):
        return path(*place)
    raise TypeError(f"a path is a str, or a tuple of str and int, not {type(place).__name__}")


def steps(pointer: str) -> tuple[Step, ...]:
    """The steps of a JSON Pointer: ``("items", 3, "title")`` of ``"/items/3/title"``."""
    from ._native import rejoin as _native

    return tuple(step.key if step.is_KEY() else step.index for step in _native.path_steps(pointer))
