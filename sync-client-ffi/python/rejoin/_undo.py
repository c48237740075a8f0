"""Undo and redo, as context managers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ._native import rejoin as _native


class UndoManager(_native.UndoManager):  # type: ignore[misc]
    """Undoes and redoes what this device edits while this lives, whatever others do meanwhile.

    ``with doc.undo_manager() as undo: …; undo.undo()``. An undo is a new edit: it changes what was edited back, wherever that is
    by now, and leaves alone what others have replaced or deleted since.
    """

    @contextlib.contextmanager
    def group(self) -> Iterator[None]:
        """Edits of the block are undone together: a word, and not a letter. Also where the block raises."""
        self.begin_group()
        try:
            yield
        finally:
            self.end_group()

    def __enter__(self) -> UndoManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

