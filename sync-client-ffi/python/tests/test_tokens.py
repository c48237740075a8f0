"""Tokens of the app's own, which run out; and providers that hang, raise, lie or sign out."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import uuid
from pathlib import Path

import pytest
import rejoin
from conftest import PATIENCE, PATIENCE_MS, sign_up
from rejoin import RejoinError, SyncStatus, TokenProviderError
from server import Server

# Asked for a new one at once: it runs out soon.
SHORT = "1s"


class Issuer:
    """Makes tokens of a device, as the app's own identity provider does."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.user = f"issued-{uuid.uuid4().hex[:8]}"
        self.first, self.device = server.token(self.user)
        self.asked: queue.Queue[str | None] = queue.Queue()

    def good(self) -> str:
        return self.server.token(self.user, self.device)[0]

    def short(self) -> str:
        return self.server.token(self.user, self.device, SHORT)[0]

    def bad(self) -> str:
        return self.server.foreign_token(self.user, self.device)

    def options(self, token: str) -> dict[str, object]:
        return {"server": self.server.url, "token": token}


@pytest.fixture
def issuer(server: Server) -> Issuer:
    return Issuer(server)


async def until(client: rejoin.Client, statuses: rejoin.Changes[SyncStatus], wanted: SyncStatus) -> None:
    if client.status() == wanted:
        return
    async with asyncio.timeout(PATIENCE):
        async for status in statuses:
            if status == wanted:
                return


async def edits_reach_the_server(client: rejoin.Client) -> None:
    client.create("notes", {"title": "written"})
    assert await client.wait_durable(client.personal_space(), PATIENCE_MS)


async def test_a_coroutine_gives_the_next_token_on_the_apps_loop(issuer: Issuer, store: Path) -> None:
    loop, short = asyncio.get_running_loop(), issuer.short()

    async def provide(refused: str | None) -> str:
        assert asyncio.get_running_loop() is loop
        issuer.asked.put(refused)
        return await asyncio.to_thread(issuer.good)

    async with rejoin.Client.open(store, **issuer.options(short), token_provider=provide) as client:
        client.start()
        await edits_reach_the_server(client)
        assert issuer.asked.get_nowait() == short


def test_a_function_gives_the_next_token_without_any_loop(issuer: Issuer, store: Path) -> None:
    short = issuer.short()

    def provide(refused: str | None) -> str:
        issuer.asked.put(refused)
        return issuer.good()

    with rejoin.open(store, **issuer.options(short), token_provider=provide) as client:
        client.start()
        client.create("notes", {"title": "written"})
        assert issuer.asked.get(timeout=PATIENCE) == short
        assert asyncio.run(client.wait_durable(client.personal_space(), PATIENCE_MS))


async def test_a_provider_of_the_generated_class(issuer: Issuer, store: Path) -> None:
    class Provider(rejoin.TokenProvider):
        async def token(self, refused: str | None) -> str:
            return issuer.good()

    async with rejoin.Client.open(store, **issuer.options(issuer.short()), token_provider=Provider()) as client:
        client.start()
        await edits_reach_the_server(client)


@pytest.mark.parametrize("kind", ["raises", "no str", "the same", "raises in a coroutine"])
async def test_a_provider_that_fails_is_asked_again(
    issuer: Issuer, store: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def provide(refused: str | None) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            return issuer.good()
        match kind:
            case "raises":
                raise OSError("no network")
            case "no str":
                return 3
            case "the same":
                return refused
            case _:
                raise AssertionError(kind)

    async def provide_later(refused: str | None) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            return issuer.good()
        raise OSError("no network")

    provider = provide_later if kind == "raises in a coroutine" else provide
    with caplog.at_level(logging.ERROR, "rejoin"):
        async with rejoin.Client.open(store, **issuer.options(issuer.bad()), token_provider=provider) as client:
            client.start()
            await edits_reach_the_server(client)
    assert calls == 2
    assert ("no network" in caplog.text) == ("raises" in kind)


@pytest.mark.parametrize("kind", ["function", "coroutine"])
async def test_while_a_provider_hangs_edits_go_on_and_the_client_can_be_closed(
    issuer: Issuer, store: Path, kind: str
) -> None:
    asked, end = threading.Event(), threading.Event()
    cancelled = asyncio.Event()

    def hang(_: str | None) -> str:
        asked.set()
        end.wait(PATIENCE)
        return issuer.first

    async def hang_later(_: str | None) -> str:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return issuer.first

    provider = hang if kind == "function" else hang_later
    try:
        async with rejoin.Client.open(store, **issuer.options(issuer.bad()), token_provider=provider) as client:
            client.start()
            doc = client.create("notes", {"title": "a"})
            assert await asyncio.to_thread(asked.wait, PATIENCE)
            doc["title"] = "b"
            with pytest.raises((RejoinError.NeedsAuth, RejoinError.Deadline)):
                await client.sync_once(500)
            assert doc["title"] == "b"
        if kind == "coroutine":
            # It is not left hanging: the library gives it up with the client.
            await asyncio.wait_for(cancelled.wait(), PATIENCE)
    finally:
        end.set()
    with rejoin.open(store) as client:
        assert [doc["title"] for doc in client.docs()] == ["b"]


async def test_a_provider_says_that_nobody_is_signed_in(issuer: Issuer, store: Path) -> None:
    async def provide(refused: str | None) -> str:
        issuer.asked.put(refused)
        raise TokenProviderError.SignedOut()

    async with rejoin.Client.open(store, **issuer.options(issuer.bad()), token_provider=provide) as client:
        statuses = client.statuses()
        client.start()
        await until(client, statuses, SyncStatus.NEEDS_AUTH())
        await asyncio.to_thread(issuer.asked.get, timeout=PATIENCE)
        client.create("notes", {"title": "a"})
        # The user signs in again.
        client.set_token(issuer.good())
        await edits_reach_the_server(client)
        assert issuer.asked.empty()


async def test_without_a_provider_the_app_sets_the_next_token(issuer: Issuer, store: Path) -> None:
    async with rejoin.Client.open(store, **issuer.options(issuer.bad())) as client:
        statuses = client.statuses()
        client.start()
        await until(client, statuses, SyncStatus.NEEDS_AUTH())
        client.create("notes", {"title": "a"})
        with pytest.raises(RejoinError.NeedsAuth):
            await client.sync_once(PATIENCE_MS)
        client.set_token("no token")
        with pytest.raises(RejoinError.NeedsAuth):
            await client.sync_once(PATIENCE_MS)
        client.set_token(issuer.good())
        assert await client.wait_durable(client.personal_space(), PATIENCE_MS)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"server": "http://127.0.0.1:1", "token": "no token"}, RejoinError.Invalid),
        ({"server": "no address", "user": "ann", "device": uuid.uuid4()}, RejoinError.Invalid),
        ({"user": "ann"}, RejoinError.Invalid),
        ({"user": "ann", "device": uuid.uuid4(), "platform": "linux"}, RejoinError.Invalid),
        ({}, RejoinError.NoIdentity),
        ({"token_provider": 3}, TypeError),
        ({"session": "no session"}, TypeError),
        ({"user": "ann", "device": "no id"}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ],
)
def test_options_that_make_no_sense_are_refused(
    store: Path, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        rejoin.open(store, **options)


async def test_a_revoked_device_is_told_and_keeps_what_it_has(server: Server, tmp_path: Path) -> None:
    person = await sign_up(server, tmp_path)
    laptop = await person.sign_in("laptop")
    session = await person.sign_in("phone")
    ended: queue.Queue[rejoin.SessionState] = queue.Queue()
    async with rejoin.Client.open(person.store("phone"), session=session) as phone:
        note = phone.create("notes", {"title": "a"})
        await phone.sync_once(PATIENCE_MS)
        with session.observe(ended.put):
            phone.start()
            await laptop.account().revoke_device(session.device())
            while not isinstance(state := await asyncio.to_thread(ended.get, timeout=PATIENCE), rejoin.SessionState.ENDED):
                pass
        assert state.revoked and state.text
        note["title"] = "b"
        assert note["title"] == "b"
        with pytest.raises(RejoinError.SignedOut) as error:
            await session.account().devices()
        assert error.value.revoked
