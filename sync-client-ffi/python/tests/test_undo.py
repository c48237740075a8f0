"""Undo and redo of this device's edits."""

from __future__ import annotations

import pytest
import rejoin
from rejoin import RejoinError


def test_edits_are_undone_and_redone_each_or_in_groups(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"body": rejoin.Text("one")})
    with doc.undo_manager() as undo:
        doc.splice("body", 3, insert=" two")
        with undo.group():
            doc.splice("body", 7, insert=" th")
            doc.splice("body", 10, insert="ree")
        assert (doc.text("body"), undo.undo_steps(), undo.redo_steps()) == ("one two three", 2, 0)
        assert undo.undo() == doc.edits()
        assert doc.text("body") == "one two"
        assert undo.undo() is not None
        assert doc.text("body") == "one"
        assert undo.undo() is None
        assert (undo.redo() is not None, undo.redo() is not None, undo.redo()) == (True, True, None)
        assert doc.text("body") == "one two three"
    with pytest.raises(RejoinError.Closed):
        undo.undo()
    with doc.undo_manager() as undo:
        assert undo.undo_steps() == 0


def test_a_group_ends_also_where_its_block_raises(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    with doc.undo_manager() as undo:
        with pytest.raises(ZeroDivisionError), undo.group():
            doc["a"] = 1
            1 / 0
        doc["b"] = 2
        doc["c"] = 3
        undo.undo()
        assert doc.to_dict() == {"a": 1, "b": 2}


def test_all_managers_of_a_document_share_one_list(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"items": ["milk", "bread"]})
    with doc.undo_manager() as mine, doc.undo_manager() as shared:
        doc["items", 0] = "oats"
        assert shared.undo_steps() == 1
        mine.undo()
        assert (doc["items"], shared.undo_steps(), shared.redo_steps()) == (["milk", "bread"], 0, 1)
