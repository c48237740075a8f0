"""Ends with everything alive, in one of several ways: ending.py WAY STORE CREDENTIALS."""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import rejoin

way, store, credentials = sys.argv[1:]
rejoin.log_to(level=rejoin.LogLevel.DEBUG)
session = rejoin.Session.resume(credentials)
seen = threading.Event()


def heard(*_: object) -> None:
    seen.set()


def run(client: rejoin.Client) -> rejoin.Document:
    client.observe_status(heard)
    client.observe_documents(client.personal_space(), heard)
    client.observe_presence(client.personal_space(), heard)
    session.observe(heard)
    client.start()
    doc = client.create("notes", {"n": rejoin.Counter(0)})
    doc.observe(heard)
    for _ in range(50):
        doc.increment("n")
    seen.wait(30)
    return doc


async def provide(refused: str | None) -> str:
    await asyncio.Event().wait()
    return ""


async def main() -> None:
    client = await rejoin.Client.open(store, session=session)
    doc = run(client)
    if way == "tasks":
        # Given up half-way, with the loop.
        asyncio.ensure_future(client.sync_once(60_000))
        asyncio.ensure_future(doc.wait_for_text("none", "nothing", 60_000))
        asyncio.ensure_future(anext(doc.changes()))
        await asyncio.sleep(0)


if way in ("coroutine", "tasks"):
    asyncio.run(main())
elif way == "provider":
    client = rejoin.open(store, server=session.server(), token_provider=provide, user=session.user(), device=session.device())
    run(client)
elif way == "busy":
    # An observer in the middle of its work, and edits on another thread, when the interpreter ends.
    client = rejoin.open(store, session=session)
    doc = run(client)
    doc.observe(lambda event: sum(range(200_000)))

    def edit() -> None:
        try:
            while True:
                doc.increment("n")
        except rejoin.RejoinError.Closed:
            pass

    threading.Thread(target=edit, daemon=True).start()
    for _ in range(20):
        doc.increment("n")
elif way == "raise":
    client = rejoin.open(store, session=session)
    run(client)
    print("ended", flush=True)
    raise SystemExit(3)
elif way == "interrupt":
    client = rejoin.open(store, session=session)
    run(client)
    print("ended", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(30)
else:
    client = rejoin.open(store, session=session)
    run(client)
print("ended", flush=True)
