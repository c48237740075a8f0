"""Observers: callables and async iterators, local and remote, and such as misbehave."""

from __future__ import annotations

import asyncio
import gc
import logging
import queue
import threading
import weakref

import pytest
import rejoin
from conftest import PATIENCE, PATIENCE_MS, Person
from rejoin import DocumentEvent, StepKind


def text_of(steps: list[rejoin.DocumentStep]) -> list[tuple[str, str, bool]]:
    inserted = StepKind.INSERT_TEXT
    return [(step.path, step.kind.text, step.local) for step in steps if isinstance(step.kind, inserted)]


def test_a_callable_hears_of_edits_in_order(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"body": rejoin.Text(), "n": rejoin.Counter(0), "list": []})
    heard: queue.Queue[DocumentEvent] = queue.Queue()
    with doc.observe(heard.put) as watch:
        with doc.edit() as edit:
            edit.splice("body", 0, insert="milk").increment("n", 2).insert(("list", 0), rejoin.Text("a"))
            edit.put("at", {"x": 1})
        event = heard.get(timeout=PATIENCE)
        assert isinstance(event, DocumentEvent.CHANGED)
        assert (event.space, event.document) == (doc.space(), doc.id())
        assert all(step.local for step in event.steps)
        assert text_of(event.steps)[0] == ("/body", "milk", True)
        (moved,) = [step.kind.by for step in event.steps if isinstance(step.kind, StepKind.INCREMENT)]
        assert moved == 2
        (put,) = [step for step in event.steps if step.path == "/at"]
        assert isinstance(put.kind, StepKind.PUT) and isinstance(put.kind.value, dict)
    watch.cancel()
    # What comes behind the next one would have come before it.
    with doc.observe(lambda event: (heard.put(event), None)):
        doc["title"] = "b"
        assert heard.get(timeout=PATIENCE)
    assert heard.empty()


async def test_others_edits_are_heard_as_theirs(person: Person) -> None:
    laptop, phone = await person.open("laptop"), await person.open("phone")
    with laptop, phone:
        note = laptop.create("notes", {"body": rejoin.Text()})
        await laptop.sync_once(PATIENCE_MS)
        await phone.sync_once(PATIENCE_MS)
        async with phone.doc(note.id()).changes() as changes:
            phone.start()
            laptop.start()
            note.splice("body", 0, insert="milk")
            async with asyncio.timeout(PATIENCE):
                async for event in changes:
                    if isinstance(event, DocumentEvent.CHANGED) and text_of(event.steps):
                        assert text_of(event.steps) == [("/body", "milk", False)]
                        break


def test_an_observer_that_raises_is_logged_and_called_again(
    offline: rejoin.Client, caplog: pytest.LogCaptureFixture
) -> None:
    doc = offline.create("notes")
    heard: queue.Queue[object] = queue.Queue()

    def fail(event: DocumentEvent) -> None:
        heard.put(event)
        raise ZeroDivisionError("mine")

    with caplog.at_level(logging.ERROR, "rejoin"), doc.observe(fail):
        doc["a"] = 1
        heard.get(timeout=PATIENCE)
        doc["a"] = 2
        heard.get(timeout=PATIENCE)
    assert "mine" in caplog.text


def test_an_observer_calls_back_in(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"n": 0})
    done = threading.Event()

    def edit(_: DocumentEvent) -> None:
        n = doc["n"]
        if n == 5:
            done.set()
        else:
            doc["n"] = n + 1

    with doc.observe(edit):
        doc["n"] = 1
        assert done.wait(PATIENCE)
    assert doc["n"] == 5


def test_an_observer_cancels_itself(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    watches: list[rejoin.Watch] = []
    ready, heard, after = threading.Event(), [], threading.Event()

    def once(event: DocumentEvent) -> None:
        ready.wait(PATIENCE)
        watches[0].cancel()
        heard.append(event)

    watches.append(doc.observe(once))
    ready.set()
    doc["a"] = 1
    with doc.observe(lambda event: after.set() if heard else None):
        doc["a"] = 2
        n = 3
        while not after.wait(0.05):
            doc["a"] = n
            n += 1
            assert n < 1000
    assert len(heard) == 1


def test_an_observer_closes_the_client(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    closed = threading.Event()

    def close(_: DocumentEvent) -> None:
        offline.close()
        closed.set()

    doc.observe(close)
    doc["a"] = 1
    assert closed.wait(PATIENCE)
    with pytest.raises(rejoin.RejoinError.Closed):
        doc["a"]


def test_an_observer_that_nobody_holds_hears_until_the_client_is_closed(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    heard: queue.Queue[object] = queue.Queue()
    doc.observe(heard.put)
    gc.collect()
    doc["a"] = 1
    assert heard.get(timeout=PATIENCE)
    doc["a"] = 2
    # What happened before the close is told.
    offline.close()
    assert heard.get(timeout=PATIENCE)


def test_objects_of_the_generated_classes_are_observers_too(offline: rejoin.Client) -> None:
    heard: queue.Queue[object] = queue.Queue()

    class Observer(rejoin.ListObserver):
        def on_list(self) -> None:
            heard.put(None)

    with offline.observe_documents(offline.personal_space(), Observer()):
        offline.create("notes")
        heard.get(timeout=PATIENCE)


async def test_an_iterator_that_is_behind_is_told_to_look_again(offline: rejoin.Client) -> None:
    doc = offline.create("notes", {"n": 0})
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    changes = doc.changes(waiting_max=3)
    for n in range(1, 7):
        told.clear()
        with doc.observe(lambda event: loop.call_soon_threadsafe(told.set)):
            doc["n"] = n
            # One event each: the next edit comes when this one was told.
            await asyncio.wait_for(told.wait(), PATIENCE)
    changes.close()
    events = [event async for event in changes]
    assert len(events) <= 3
    assert isinstance(events[0], DocumentEvent.LOOK_AGAIN)
    assert events[0].document == doc.id()


async def test_an_iterator_ends_with_the_document(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    changes = doc.changes()
    offline.delete_document(doc.space(), doc.id())
    async with asyncio.timeout(PATIENCE):
        events = [event async for event in changes]
    assert isinstance(events[-1], DocumentEvent.DELETED)


async def test_an_iterator_ends_with_the_client(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    changes, statuses = doc.changes(), offline.statuses()
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    offline.close()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StopAsyncIteration):
            await waiting
        assert [status async for status in statuses] == []


async def test_an_iterator_that_nobody_reads_any_more_is_let_go(offline: rejoin.Client) -> None:
    doc = offline.create("notes")
    changes = doc.changes()
    doc["a"] = 1
    async with asyncio.timeout(PATIENCE):
        async for _ in changes:
            break
    gone = weakref.ref(changes)
    del changes
    gc.collect()
    assert gone() is None
    assert not offline._watches._watches


def test_an_iterator_whose_loop_has_ended_holds_up_nobody(offline: rejoin.Client) -> None:
    doc = offline.create("notes")

    async def leave() -> object:
        return doc.changes()

    changes = asyncio.run(leave())
    heard: queue.Queue[object] = queue.Queue()
    with doc.observe(heard.put):
        doc["a"] = 1
        heard.get(timeout=PATIENCE)
    assert changes is not None


async def test_presence(person: Person) -> None:
    laptop, phone = await person.open("laptop"), await person.open("phone")
    with laptop, phone:
        space = laptop.personal_space()
        presences = phone.presences(space)
        laptop.start()
        phone.start()
        laptop.set_presence(space, b"line 3", 30_000)
        async with asyncio.timeout(PATIENCE):
            async for peers in presences:
                if peers:
                    break
        (peer,) = peers
        assert (peer.user, peer.device, peer.data) == (laptop.user(), laptop.device(), b"line 3")
        assert phone.peers(space) == peers
        laptop.clear_presence(space)
        async with asyncio.timeout(PATIENCE):
            async for peers in presences:
                if not peers:
                    break
        with pytest.raises(rejoin.RejoinError.Invalid, match="show less"):
            laptop.set_presence(space, bytes(1 << 20), 1000)
        with pytest.raises(TypeError):
            laptop.set_presence(space, "text", 1000)


async def test_collections_and_edits_are_observed(person: Person) -> None:
    async with await person.open("laptop") as client:
        listed: queue.Queue[rejoin.CollectionEvent] = queue.Queue()
        saved: queue.Queue[rejoin.EditEvent] = queue.Queue()
        client.observe_collection(client.personal_space(), "notes", listed.put)
        doc = client.create("notes")
        event = await asyncio.to_thread(listed.get, timeout=PATIENCE)
        assert isinstance(event, rejoin.CollectionEvent.CHANGED) and event.added == [doc.id()]
        doc.observe_edits(saved.put)
        number = doc.put("title", "a")
        client.start()
        assert (await doc.wait_for_edit(number, PATIENCE_MS)).is_DURABLE()
        event = await asyncio.to_thread(saved.get, timeout=PATIENCE)
        assert isinstance(event, rejoin.EditEvent.CHANGED) and event.changes[0].first == number
