"""Two devices and a server: what one writes, the other reads."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
import rejoin
from conftest import PASSWORD, PATIENCE, PATIENCE_MS, Person, sign_up
from rejoin import ChangeState, RejoinError, SyncStatus
from server import Server


async def both(person: Person) -> tuple[rejoin.Client, rejoin.Client]:
    return await person.open("laptop"), await person.open("phone")


async def test_two_devices_exchange_edits(person: Person) -> None:
    laptop, phone = await both(person)
    with laptop, phone:
        note = laptop.create("notes", {"title": "Groceries", "body": rejoin.Text("milk"), "seen": rejoin.Counter(0)})
        summary = await laptop.sync_once(PATIENCE_MS)
        assert summary.requests > 0 and summary.bytes_sent > 0
        await phone.sync_once(PATIENCE_MS)
        (other,) = phone.docs("notes")
        assert other == note and other.to_dict() == note.to_dict()
        # Both at the same time, with no network between.
        note.splice("body", 4, insert=", bread")
        note.increment("seen")
        other.splice("body", 0, insert="oats, ")
        other.increment("seen", 2)
        other["title"] = "Weekend"
        for client in (laptop, phone, laptop):
            await client.sync_once(PATIENCE_MS)
        assert note.to_dict() == other.to_dict()
        assert other.to_dict() == {"title": "Weekend", "body": "oats, milk, bread", "seen": 3}


async def test_live_edits_arrive_by_themselves(person: Person) -> None:
    laptop, phone = await both(person)
    with laptop, phone:
        lists = phone.lists()
        laptop.start()
        phone.start()
        note = laptop.create("notes", {"body": rejoin.Text()})
        async with asyncio.timeout(PATIENCE):
            await anext(lists)
            other = phone.doc(note.id())
            for word in ("milk", "bread", "salt"):
                note.splice("body", 0, insert=word)
                assert await other.wait_for_text("body", word, PATIENCE_MS)
            assert await phone.wait_durable(phone.personal_space(), PATIENCE_MS)


async def test_what_becomes_of_an_edit(person: Person) -> None:
    async with await person.open("laptop") as client:
        space = client.personal_space()
        note = client.create("notes")
        edit = note.put("title", "Groceries")
        assert note.edit_state(edit).is_LOCAL()
        pending = client.pending(space)
        assert pending.edits + pending.changes > 0
        statuses = client.statuses()
        client.start()
        assert await client.wait_durable(space, PATIENCE_MS)
        state = note.edit_state(edit)
        assert isinstance(state, ChangeState.DURABLE) and state.seq > 0
        async with asyncio.timeout(PATIENCE):
            async for status in statuses:
                if status == SyncStatus.IDLE():
                    break
        pending = client.pending(space)
        assert (pending.edits, pending.changes) == (0, 0)


async def test_a_store_goes_on_where_it_was(person: Person) -> None:
    async with await person.open("laptop") as client:
        note = client.create("notes", {"title": "Groceries"})
        await client.sync_once(PATIENCE_MS)
        device = client.device()
    async with await person.open("laptop") as client:
        assert client.device() == device
        client.doc(note.id())["title"] = "Weekend"
        await client.sync_once(PATIENCE_MS)
    async with await person.open("phone") as client:
        await client.sync_once(PATIENCE_MS)
        assert client.doc(note.id())["title"] == "Weekend"


async def test_without_a_server_edits_go_on_and_wait(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    server.start()
    try:
        person = await sign_up(server, tmp_path)
        laptop, phone = await both(person)
        with laptop, phone:
            note = laptop.create("notes", {"body": rejoin.Text()})
            await laptop.sync_once(PATIENCE_MS)
            server.stop()
            with pytest.raises(RejoinError.Offline):
                await laptop.sync_once(2_000)
            with pytest.raises(RejoinError.Offline):
                laptop.sync_once_blocking(2_000)
            note.splice("body", 0, insert="written with no server")
            laptop.start()
            server.start()
            laptop.on_network_changed(True)
            assert await laptop.wait_durable(laptop.personal_space(), PATIENCE_MS)
            await phone.sync_once(PATIENCE_MS)
            assert phone.doc(note.id()).text("body") == "written with no server"
    finally:
        server.stop()


def test_no_server_is_an_error_of_its_own(offline: rejoin.Client) -> None:
    with pytest.raises(RejoinError.NoServer):
        offline.start()
    with pytest.raises(RejoinError.NoServer):
        offline.sync_once_blocking(1000)


async def test_the_background_takes_a_client_on_and_off_line(person: Person) -> None:
    async with await person.open("laptop") as client:
        statuses = client.statuses()
        client.start()
        async with asyncio.timeout(PATIENCE):
            async for status in statuses:
                if status.is_IDLE():
                    break
            client.on_background()
            async for status in statuses:
                if status.is_ASLEEP():
                    break
            client.on_foreground()
            async for status in statuses:
                if status.is_IDLE():
                    break
        client.stop()
        client.stop()


async def test_accounts(server: Server, person: Person) -> None:
    account = rejoin.Account(server.url)
    with pytest.raises(RejoinError.Invalid):
        rejoin.Account("no address")
    session = await account.log_in(person.email, PASSWORD, keep=person.credentials("laptop"), name="Ann's laptop")
    assert (person.credentials("laptop").stat().st_mode & 0o077) == 0
    (device,) = await session.account().devices()
    assert (device.name, device.device, device.current) == ("Ann's laptop", session.device(), True)
    again = rejoin.Session.resume(person.credentials("laptop"))
    assert (again.user(), again.device(), again.server()) == (session.user(), session.device(), server.url)
    with rejoin.open(person.store("laptop"), user="bob", device=uuid.uuid4()):
        pass
    with pytest.raises(RejoinError.StoreOfAnother) as error:
        rejoin.open(person.store("laptop"), session=again)
    assert error.value.user == "bob"
    await again.log_out(False)
    with pytest.raises(RejoinError.SignedOut):
        await again.account().devices()
    with pytest.raises(RejoinError.LoginFailed):
        await account.log_in(person.email, "wrong", keep=person.credentials("other"))
    assert not person.credentials("other").exists()
    with pytest.raises(RejoinError.SignedOut):
        rejoin.Session.resume(person.credentials("other"))
    with pytest.raises(RejoinError.TryLater) as later:
        await account.log_in(person.email, "wrong", keep=person.credentials("other"))
    assert 0 < later.value.retry_after_ms <= 1000


class Keyring(rejoin.CredentialsStore):
    """Keeps credentials as a keyring does, and fails when told to."""

    def __init__(self) -> None:
        self.secret: bytes | None = None
        self.broken = False

    def load(self) -> bytes | None:
        return self.secret

    def save(self, secret: bytes) -> None:
        if self.broken:
            raise OSError("the keyring is locked")
        self.secret = secret

    def clear(self) -> None:
        self.secret = None


async def test_credentials_are_kept_where_the_app_says(server: Server, person: Person) -> None:
    keyring, account = Keyring(), rejoin.Account(server.url)
    keyring.broken = True
    with pytest.raises(RejoinError.CredentialsStore, match="the keyring is locked"):
        await account.log_in(person.email, PASSWORD, keep=keyring)
    keyring.broken = False
    session = await account.log_in(person.email, PASSWORD, keep=keyring)
    assert keyring.secret
    assert rejoin.Session.resume(keyring).device() == session.device()
    session.forget()
    assert keyring.secret is None
    with pytest.raises(RejoinError.SignedOut):
        rejoin.Session.resume(keyring)
