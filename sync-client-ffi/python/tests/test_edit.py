"""Editing, reading, reopening; what is refused, and what closed handles say."""

from __future__ import annotations

import asyncio
import gc
import json
import uuid
from pathlib import Path

import pytest
import rejoin
from conftest import PATIENCE
from rejoin import EditOp, MarkEdges, RejoinError


def test_edits_are_there_when_the_store_is_opened_again(store: Path) -> None:
    with rejoin.open(store, user="ann", device=uuid.uuid4()) as client:
        doc = client.create("notes", {"title": "Groceries", "body": rejoin.Text(), "items": []})
        with doc.edit() as edit:
            edit.splice("body", 0, insert="milk and bread").insert(("items", 0), "milk", "bread", "salt")
            edit.put("count", rejoin.Counter(1)).increment("count", 2)
        assert edit.number == 2
        doc.splice("body", 0, 4, "oats")
        doc.insert(("items", 1), "butter")
        doc.delete(("items", 0))
        del doc["items", 2]
        doc["title"] = "Weekend"
        device, whole = client.device(), doc.to_dict()
        assert whole == {"title": "Weekend", "body": "oats and bread", "items": ["butter", "bread"], "count": 3}
    with rejoin.open(store) as client:
        (doc,) = client.docs("notes")
        assert (client.user(), client.device()) == ("ann", device)
        assert doc.to_dict() == whole
        assert json.loads(doc.json()) == whole
        assert (doc.text("body"), doc.length("items"), doc.length("body"), doc.length("none")) == (whole["body"], 2, 14, None)


def test_a_block_is_one_edit_or_none(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"title": "a"})
    before = doc.edits()
    with doc.edit() as edit:
        edit.put("title", "b").put("more", 1)
    assert (edit.number, doc.edits()) == (before + 1, before + 1)
    with pytest.raises(ZeroDivisionError), doc.edit() as edit:
        edit.put("title", "c")
        1 / 0
    assert edit.number is None
    with pytest.raises(RejoinError.BadEdit) as error, doc.edit() as edit:
        edit.put("title", "d").splice("nothing", 0, insert="x")
    assert error.value.path == "/nothing"
    with doc.edit() as edit:
        pass
    assert edit.number is None
    assert (doc.to_dict(), doc.edits()) == ({"title": "b", "more": 1}, before + 1)


def test_operations_can_be_given_as_a_list(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    number = doc.edit([EditOp.PUT("/a", {"b": rejoin.Text("text")}), EditOp.PUT_JSON("/c", '{"d": [1, "e"]}', True)])
    assert number == 1
    assert doc["c", "d"] == [1, "e"]
    assert isinstance(doc["c", "d", 1], rejoin.Text)
    with pytest.raises(RejoinError.Invalid, match="not JSON"):
        doc.edit([EditOp.PUT_JSON("/c", "{", True)])


def test_marks(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"body": rejoin.Text("bold and plain")})
    with doc.edit() as edit:
        edit.mark("body", 0, 4, "bold").mark("body", 9, 14, "link", "https://example.com", MarkEdges.NEITHER)
    with pytest.raises(RejoinError.BadEdit), doc.edit() as edit:
        edit.mark("body", 9, 400, "bold")
    assert doc.text("body") == "bold and plain"


def test_positions_count_characters_as_python_does(offline: rejoin.Client) -> None:
    text = "a\N{PARTY POPPER}e\N{COMBINING ACUTE ACCENT}z"
    doc = offline.create("notes", {"body": rejoin.Text(text)})
    assert doc.length("body") == len(text)
    doc.splice("body", text.index("z"), 1, "y")
    assert doc.text("body") == text.replace("z", "y")


def test_nothing_null_and_a_default_are_told_apart(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"null": None})
    assert (doc["null"], doc.get("null"), doc.get("none"), doc.get("none", 7), doc.get("null", 7)) == (
        None,
        None,
        None,
        7,
        None,
    )
    with pytest.raises(KeyError):
        doc["none"]
    with pytest.raises(TypeError):
        iter(doc)


@pytest.mark.parametrize(
    "bad",
    [
        lambda doc: doc.put(("items", 9), 1),
        lambda doc: doc.put(("title", "inside", "a string"), 1),
        lambda doc: doc.insert(("title", 0), 1),
        lambda doc: doc.delete("nothing"),
        lambda doc: doc.splice("title", 0, 0, "not a text"),
        lambda doc: doc.splice("body", 99, 0, "beyond"),
        lambda doc: doc.splice("body", 0, 99, "beyond"),
        lambda doc: doc.increment("title"),
        lambda doc: doc.put("", 1),
    ],
)
def test_an_edit_that_does_not_fit_the_document_changes_nothing(offline: rejoin.Client, bad: object) -> None:
    doc = offline.create("notes", {"title": "a", "items": [1], "body": rejoin.Text("b")})
    before = doc.to_dict()
    with pytest.raises(RejoinError.BadEdit) as error:
        bad(doc)
    assert str(error.value) == error.value.text != ""
    assert doc.to_dict() == before


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (lambda doc: doc.splice("body", -1, 0, "x"), ValueError),
        (lambda doc: doc.splice("body", 0, 0, b"x"), TypeError),
        (lambda doc: doc.splice("body", "0", 0, "x"), TypeError),
        (lambda doc: doc.increment("n", 1.5), TypeError),
        (lambda doc: doc.increment("n", 2**63), ValueError),
        (lambda doc: doc.edit(["no operation"]), (TypeError, AttributeError)),
        (lambda doc: doc.observe(3), TypeError),
        (lambda doc: doc.edit_state("1"), TypeError),
    ],
)
def test_arguments_of_wrong_types_are_refused(
    offline: rejoin.Client, bad: object, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    doc = offline.create("notes", {"body": rejoin.Text("b"), "n": rejoin.Counter(0)})
    with pytest.raises(error):
        bad(doc)
    assert doc.to_dict() == {"body": "b", "n": 0}


def test_ids_are_uuids(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    assert isinstance(doc.id(), uuid.UUID) and isinstance(doc.space(), uuid.UUID)
    assert offline.doc(doc.id()) == doc == offline.document(str(doc.space()), str(doc.id()))
    unknown = uuid.uuid4()
    with pytest.raises(RejoinError.NoDocument) as error:
        offline.doc(unknown)
    assert error.value.document == unknown
    with pytest.raises(RejoinError.NoSpace):
        offline.documents(uuid.uuid4())
    with pytest.raises(ValueError):
        offline.doc("not an id")


def test_a_deleted_document_says_so(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"title": "a"})
    offline.delete_document(doc.space(), doc.id())
    for call in (lambda: doc["title"], lambda: doc.put("title", "b"), lambda: offline.doc(doc.id())):
        with pytest.raises(RejoinError.Deleted):
            call()
    assert offline.docs() == []


def test_documents_are_listed_by_collection(offline: rejoin.Client) -> None:
    notes = [offline.create("notes") for _ in range(3)]
    lists = [offline.create("lists")]
    assert offline.docs("notes") == notes
    assert offline.docs() == [*notes, *lists]
    for name in ("", "x" * 1000, "a\0b"):
        with pytest.raises(RejoinError.Invalid):
            offline.create(name)


async def test_closed_handles_say_so(store: Path) -> None:
    async with rejoin.Client.open(store, user="ann", device=uuid.uuid4()) as client:
        doc = client.create("notes", {"title": "a"})
        space, edit = client.personal_space(), doc.edit()
        edit.put("title", "b")
        changes = doc.changes()
    client.close()
    calls = [
        lambda: doc["title"],
        lambda: doc.put("title", "b"),
        lambda: doc.observe(print),
        lambda: edit.__exit__(None),
        client.user,
        client.start,
        client.status,
        lambda: client.create("notes"),
        lambda: client.observe_status(print),
        lambda: client.set_presence(space, b"", 1000),
        lambda: client.sync_once_blocking(1000),
    ]
    for call in calls:
        with pytest.raises(RejoinError.Closed):
            call()
    with pytest.raises(RejoinError.Closed):
        await client.sync_once(1000)
    assert [event async for event in changes] == []
    # Ids were known before.
    assert doc.id() and "Document" in repr(doc)


def test_a_client_that_nobody_refers_to_gives_its_lock_back(store: Path) -> None:
    client = rejoin.open(store, user="ann", device=uuid.uuid4())
    client.create("notes", {"title": "a"})
    with pytest.raises(RejoinError.StoreLocked):
        rejoin.open(store)
    del client
    gc.collect()
    with rejoin.open(store) as client:
        assert [doc["title"] for doc in client.docs()] == ["a"]


async def test_many_tasks_edit_at_once(store: Path) -> None:
    async with rejoin.Client.open(store, user="ann", device=uuid.uuid4()) as client:
        doc = client.create("notes", {"count": rejoin.Counter(0)})
        await asyncio.gather(*[asyncio.to_thread(doc.increment, "count") for _ in range(100)])
        assert doc["count"] == 100


async def test_a_call_that_is_given_up_leaves_the_store_to_be_opened_again(store: Path) -> None:
    for turns in range(30):
        opening = asyncio.ensure_future(rejoin.Client.open(store, user="ann", device=uuid.UUID(int=1))._opened())
        # At another stage each time.
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        try:
            (await opening).close()
        except (asyncio.CancelledError, RejoinError.StoreLocked):
            # The latter where one that was given up is still on its way to its end.
            pass
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with rejoin.Client.open(store, user="ann", device=uuid.UUID(int=1)) as client:
                    assert client.user() == "ann"
                    return
            except RejoinError.StoreLocked:
                await asyncio.sleep(0)


def test_elements_move_and_history_tells_of_it(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"items": ["milk", "bread", "salt"]})
    doc.move("items", 0, 2)
    assert doc["items"] == ["bread", "salt", "milk"]
    with doc.edit() as edit:
        edit.move("items", 2, 0)
    assert doc["items"] == ["milk", "bread", "salt"]
    history = doc.history()
    assert history and all(entry.own for entry in history)
    assert json.loads(doc.json_at("items", [history[0].hash])) == ["milk", "bread", "salt"]


def test_a_version_is_restored_by_a_new_edit(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"items": ["milk", "bread"], "likes": rejoin.Counter(1)})
    before = [doc.history(1)[0].hash]
    with doc.edit() as edit:
        edit.delete(("items", 0)).increment("likes", 4).put("new", True)
    assert doc.restore("items", before) == doc.edits()
    assert doc.to_dict() == {"items": ["milk", "bread"], "likes": 5, "new": True}
    assert doc.restore("", before) == doc.edits()
    assert doc.to_dict() == {"items": ["milk", "bread"], "likes": 1}
    assert doc.restore("", before) is None
    with pytest.raises(RejoinError.Invalid):
        doc.restore("", ["not a hash"])


def test_documents_come_in_pages(offline: rejoin.Client) -> None:
    made = [offline.create("notes").id() for _ in range(5)]
    found, after = [], None
    while True:
        page = offline.document_page(offline.personal_space(), "notes", after, 2)
        assert len(page.documents) <= 2
        found += [entry.document for entry in page.documents]
        if (after := page.next) is None:
            break
    assert found == made


async def test_leaving_keeps_or_deletes_the_store(store: Path) -> None:
    client = rejoin.open(store, user="ann", device=uuid.uuid4())
    doc = client.create("notes", {"title": "a"})
    with pytest.raises(RejoinError.Unsent) as error:
        await client.leave(rejoin.Leave.WIPE_WHEN_SENT)
    assert error.value.edits + error.value.changes > 0
    assert doc["title"] == "a"
    changes = doc.changes()
    await client.leave(rejoin.Leave.WIPE_NOW)
    assert [event async for event in changes] == []
    assert not store.exists()
    with pytest.raises(RejoinError.Closed):
        doc["title"]
