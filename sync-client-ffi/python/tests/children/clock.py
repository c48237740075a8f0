"""Writes and syncs under the clock that it is started with: clock.py STORE URL TOKEN."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import rejoin

store, url, token = sys.argv[1:]
with rejoin.open(store, server=url, token=token) as client:
    doc = client.create("notes", {"title": "from 1970"})
    client.sync_once_blocking(30_000)
    pending = client.pending(client.personal_space())
    print(time.gmtime().tm_year, doc.edits(), pending.edits + pending.changes)
