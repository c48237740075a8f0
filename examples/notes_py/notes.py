#!/usr/bin/env python3
"""Notes in the terminal, on the Python package: typed with no network, live on all devices, shared with others.

    python examples/notes_py/notes.py --store notes-data/laptop --server http://127.0.0.1:8787

Needs a running server, and `sync-client-ffi/python/generate` to have been run once (or the wheel to be installed).
"""

from __future__ import annotations

import argparse
import asyncio
import curses
import getpass
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "sync-client-ffi" / "python"
if (PACKAGE / "rejoin" / "_native").exists():
    sys.path.insert(0, str(PACKAGE))

import rejoin  # noqa: E402
from notebook import Notebook  # noqa: E402
from screen import Screen  # noqa: E402


def sign_in(folder: Path, server: str | None) -> rejoin.Session:
    """Who used this folder before, or whoever signs in now."""
    keep = folder / "login.json"
    try:
        return rejoin.Session.resume(keep)
    except rejoin.RejoinError.SignedOut:
        pass
    server = server or input("Server (http://127.0.0.1:8787): ") or "http://127.0.0.1:8787"
    account = rejoin.Account(server)
    new = input("Have you got an account there? (y/n) ").strip().lower().startswith("n")
    email = input("E-mail address: ")
    password = getpass.getpass("Password: ")
    if new:
        name = input("What do others call you? ")
        asyncio.run(account.sign_up(email, password, name))
    return asyncio.run(account.log_in(email, password, keep=keep, name=folder.name or "a computer"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Notes, with and without a network")
    parser.add_argument("--store", type=Path, default=Path("notes-data"), help="the folder that this device keeps its notes in")
    parser.add_argument("--server", help="the server's address, for the first time")
    options = parser.parse_args()
    options.store.mkdir(parents=True, exist_ok=True)
    try:
        session = sign_in(options.store, options.server)
        with rejoin.open(options.store / "store", session=session) as client:
            client.start()
            curses.wrapper(lambda window: Screen(window, Notebook(client, session)).run())
    except rejoin.RejoinError as error:
        print(f"notes: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
