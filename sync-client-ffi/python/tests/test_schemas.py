"""Schemas: documents that several phones make offline, and older documents that are brought to a newer version."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import rejoin
from rejoin import EditOp, RejoinError


def first() -> rejoin.Schema:
    return rejoin.Schema("notes").version({"title": "", "body": rejoin.Text(), "items": []})


def renamed(before: Any, edit: rejoin.Migration) -> None:
    edit.put("name", before["title"].upper()).delete("title")


def test_a_named_document_is_made_as_its_schema_says(store: Path) -> None:
    with rejoin.open(store, user="ann", device=uuid.uuid4(), schemas=[first()]) as client:
        doc = client.named("notes", "today")
        assert doc.to_dict() == {"title": "", "body": "", "items": []}
        doc.splice("body", 0, insert="milk")
        assert client.named("notes", "today").id() == doc.id() != client.named("notes", "tomorrow").id()
        assert client.open_or_create(client.personal_space(), "notes", "today")["body"] == "milk"
        assert doc.schema() == rejoin.SchemaState(version=1, declared=1, may_write=True)
        assert client.create("lists", {"a": 1}).schema().version == 0
        with pytest.raises(RejoinError.Invalid):
            client.named("notes", "")
        client.delete_document(client.personal_space(), doc.id())
        with pytest.raises(RejoinError.Deleted):
            client.named("notes", "today")


def test_an_older_document_is_migrated_before_its_first_edit(store: Path) -> None:
    with rejoin.open(store, user="ann", device=uuid.uuid4(), schemas=[first()]) as client:
        doc = client.named("notes", "today")
        doc["title"] = "milk"
    newer = first().version({"likes": rejoin.Counter(0)}, migrate=renamed)
    with rejoin.open(store, schemas=[newer]) as client:
        doc = client.named("notes", "today")
        assert doc.schema().version == 1
        assert doc.upgrade() == rejoin.SchemaState(version=2, declared=2, may_write=True)
        doc.increment("likes", 2)
        assert doc.to_dict() == {"name": "MILK", "body": "", "items": [], "likes": 2}


def test_an_app_that_is_too_old_may_only_read(store: Path) -> None:
    strict = first().version(writers_from=2)
    with rejoin.open(store, user="ann", device=uuid.uuid4(), schemas=[strict]) as client:
        client.named("notes", "today")["title"] = "milk"
    with rejoin.open(store, schemas=[first()]) as client:
        doc = client.named("notes", "today")
        assert doc["title"] == "milk" and not doc.schema().may_write
        with pytest.raises(RejoinError.NewerSchema) as refused:
            doc["title"] = "bread"
        assert (refused.value.document, refused.value.version, refused.value.writers_from) == (doc.id(), 2, 2)


def test_a_migration_that_fails_leaves_the_document_as_it_was(store: Path) -> None:
    with rejoin.open(store, user="ann", device=uuid.uuid4(), schemas=[first()]) as client:
        client.named("notes", "today")["title"] = "milk"

    def breaks(before: Any, edit: rejoin.Migration) -> None:
        raise KeyError("colour")

    def twice(before: Any, edit: rejoin.Migration) -> None:
        edit.put("list", [])

    for migrate, why in [(breaks, "colour"), (twice, "/list")]:
        with rejoin.open(store, schemas=[first().version(migrate=migrate)]) as client:
            doc = client.named("notes", "today")
            with pytest.raises(RejoinError.MigrationFailed, match=why) as failed:
                doc["title"] = "bread"
            assert (failed.value.collection, failed.value.version) == ("notes", 2)
            assert (doc["title"], doc.schema().version) == ("milk", 1)


def test_what_is_no_schema_is_refused(store: Path) -> None:
    wrong = rejoin.Schema("notes").version([EditOp.INCREMENT("/likes", 1)])
    for schema in [wrong, rejoin.Schema("notes"), first().version(writers_from=3)]:
        with pytest.raises(RejoinError.Invalid):
            rejoin.open(store, user="ann", device=uuid.uuid4(), schemas=[schema])
