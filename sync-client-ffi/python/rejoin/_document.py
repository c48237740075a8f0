"""Documents: edits as blocks, paths in any form, Python's own values."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any, overload

from . import _undo, _values, _watch
from ._native import rejoin as _native
from ._paths import Path, pointer
from ._values import Value
from ._watch import Changes, Watch, Watches


class Edit:
    """The operations of one edit, which takes effect as a whole at the end of its ``with`` block, or not at all.

    ``number`` is the edit's, once it is on disk: ``Document.edit_state`` tells what becomes of it.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._ops: list[_native.EditOp] = []
        self.number: int | None = None

    def op(self, op: _native.EditOp) -> Edit:
        """Any operation."""
        self._ops.append(op)
        return self

    def put(self, path: Path, value: Value) -> Edit:
        """Sets a key of a map, or replaces an element of a list."""
        _values.check(value)
        return self.op(_native.EditOp.PUT(pointer(path), value))

    def delete(self, path: Path) -> Edit:
        """Removes a key of a map, or an element of a list."""
        return self.op(_native.EditOp.DELETE(pointer(path)))

    def insert(self, path: Path, *values: Value) -> Edit:
        """Inserts elements into a list, before the index that ends the path."""
        _values.check(values)
        return self.op(_native.EditOp.INSERT(pointer(path), list(values)))

    def splice(self, path: Path, at: int, remove: int = 0, insert: str = "") -> Edit:
        """Replaces a part of a text. Positions count characters, as ``len`` does."""
        return self.op(_native.EditOp.SPLICE(pointer(path), at, remove, insert))

    def mark(
        self,
        path: Path,
        start: int,
        end: int,
        name: str,
        value: Value = True,
        edges: _native.MarkEdges = _native.MarkEdges.END,
    ) -> Edit:
        """Marks the characters from ``start`` up to ``end`` of a text; the value ``None`` unmarks them."""
        _values.check(value)
        return self.op(_native.EditOp.MARK(pointer(path), start, end, name, value, edges))

    def increment(self, path: Path, by: int = 1) -> Edit:
        """Adds to a counter."""
        return self.op(_native.EditOp.INCREMENT(pointer(path), by))

    def move(self, path: Path, from_index: int, to_index: int) -> Edit:
        """Moves an element of a list; what others do to it at the same time is done to the old one, and lost."""
        return self.op(_native.EditOp.MOVE(pointer(path), from_index, to_index))

    def __enter__(self) -> Edit:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A block that was left by an exception has done nothing.
        if kind is None and self._ops:
            self.number = self._document.edit(self._ops)


class Document(_native.Document):
    """A document that is here. Holding it keeps nothing in memory: it is loaded when it is used.

    ``doc["title"]``, ``doc["items", 3, "title"] = "milk"`` and ``del doc["title"]`` read and edit; each is an edit of its own.
    """

    _watches: Watches

    @classmethod
    def _of(cls, made: Any, watches: Watches) -> Document:
        document = adopt(cls, made)
        document._watches = watches
        return document

    @overload
    def edit(self) -> Edit: ...
    @overload
    def edit(self, ops: Iterable[_native.EditOp]) -> int: ...
    def edit(self, ops: Iterable[_native.EditOp] | None = None) -> Edit | int:
        """One edit of many operations, as a block: ``with doc.edit() as e: e.put("title", "Milk")``.

        It is on disk when the block ends; if the block raises, nothing is done. With a list of operations it is made at once,
        and its number returned.
        """
        if ops is None:
            return Edit(self)
        return int(super().edit(list(ops)))

    def put(self, path: Path, value: Value) -> int:
        """One edit that sets a key of a map, or replaces an element of a list; gives its number."""
        return int(super().put(pointer(path), value))

    def delete(self, path: Path) -> int:
        """One edit that removes a key of a map, or an element of a list."""
        return self.edit([_native.EditOp.DELETE(pointer(path))])

    def insert(self, path: Path, *values: Value) -> int:
        """One edit that inserts elements into a list, before the index that ends the path."""
        return self.edit([_native.EditOp.INSERT(pointer(path), list(values))])

    def move(self, path: Path, from_index: int, to_index: int) -> int:
        """One edit that moves an element of a list."""
        return self.edit([_native.EditOp.MOVE(pointer(path), from_index, to_index)])

    def splice(self, path: Path, at: int, remove: int = 0, insert: str = "") -> int:
        """One edit that replaces a part of a text. Positions count characters, as ``len`` does."""
        return int(super().splice(pointer(path), at, remove, insert))

    def increment(self, path: Path, by: int = 1) -> int:
        """One edit that adds to a counter."""
        return int(super().increment(pointer(path), by))

    def get(self, path: Path = "", default: Any = None) -> Any:
        """The value at a path with all that is in it; ``default`` if there is none. A null is ``None``."""
        if default is None:
            return super().get(pointer(path))
        place = pointer(path)
        found = super().get(place)
        return default if found is None and super().json(place) is None else found

    def to_dict(self) -> dict[str, Any]:
        """The whole document in Python's own values."""
        whole = super().get("")
        return whole if isinstance(whole, dict) else {}

    def json(self, path: Path = "") -> str | None:
        """The value at a path as JSON: bytes become base64, counters and times numbers. ``None`` if there is none."""
        return super().json(pointer(path))

    def json_at(self, path: Path, hashes: list[str]) -> str | None:
        """The same as it was when exactly these changes of its `history`, and those they were made upon, were there."""
        return super().json_at(pointer(path), hashes)

    def restore(self, path: Path, hashes: list[str]) -> int | None:
        """One edit that makes the value at a path what it was then; gives its number, ``None`` where it is so already.

        What is there in both states stays as it is, so that what others do to it meanwhile is kept.
        """
        return super().restore(pointer(path), hashes)

    def text(self, path: Path) -> str | None:
        """The text at a path; ``None`` if there is none."""
        return super().text(pointer(path))

    def length(self, path: Path = "") -> int | None:
        """Elements of the list or map, or characters of the text, at a path; ``None`` if there is none."""
        return super().length(pointer(path))

    async def wait_for_text(self, path: Path, wanted: str, timeout_ms: int = 30_000) -> bool:
        """Waits until the text at a path contains something. ``False`` if it does not in time. For tests and scripts."""
        return bool(await super().wait_for_text(pointer(path), wanted, timeout_ms))

    def undo_manager(self) -> _undo.UndoManager:
        """Keeps the edits of this document from now on, at most 200 of them, so that they can be undone.

        All managers of a document share one list, which is gone with the last of them.
        """
        return adopt(_undo.UndoManager, super().undo_manager())

    def observe(self, observer: Callable[[_native.DocumentEvent], Any] | _native.DocumentObserver) -> Watch:
        """Calls ``observer`` with every change, in order, on a thread of the library's own, until the watch is cancelled.

        What it raises is logged (``logging.getLogger("rejoin")``), and the next event comes all the same.
        """
        return self._watches.observe(observer, _native.DocumentObserver, "on_event", super().observe)

    def observe_edits(self, observer: Callable[[_native.EditEvent], Any] | _native.EditObserver) -> Watch:
        """Calls ``observer`` with what becomes of this device's edits of the document, from now on."""
        return self._watches.observe(observer, _native.EditObserver, "on_edits", super().observe_edits)

    def changes(self, waiting_max: int = _watch.WAITING_MAX) -> Changes[_native.DocumentEvent]:
        """Every change as an async iterator: ``async for event in doc.changes(): …``. Ends when the document is deleted.

        Up to ``waiting_max`` events wait; if there are more, one ``LOOK_AGAIN`` comes in their place: read the document again.
        It listens from this call on, not from the first ``async for`` step.
        """
        return _watch.stream(
            self._watches,
            _native.DocumentObserver,
            "on_event",
            super().observe,
            waiting_max,
            _watch.look_again,
            lambda event: event.is_DELETED(),
        )

    def __getitem__(self, path: Path) -> Any:
        place = pointer(path)
        found = super().get(place)
        # A null is there; nothing is not.
        if found is None and super().json(place) is None:
            raise KeyError(path)
        return found

    def __setitem__(self, path: Path, value: Value) -> None:
        self.put(path, value)

    def __delitem__(self, path: Path) -> None:
        self.delete(path)

    def __contains__(self, path: Path) -> bool:
        return super().json(pointer(path)) is not None

    # Else Python would take a document for a sequence, and ask for element 0.
    __iter__ = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented
        return (self.space(), self.id()) == (other.space(), other.id())

    def __hash__(self) -> int:
        return hash(self.id())

    def __repr__(self) -> str:
        return f"<rejoin.Document {self.id()}>"


def adopt(kind: Any, made: Any) -> Any:
    """The same object of the library's, as the class of this package."""
    adopted = kind.__new__(kind)
    adopted._handle, made._handle = made._handle, None
    return adopted


SpaceId = uuid.UUID
DocId = uuid.UUID
DeviceId = uuid.UUID
