"""Holds a store open until its input ends: holder.py STORE."""

import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import rejoin

with rejoin.open(sys.argv[1], user="ann", device=uuid.UUID(int=1)) as client:
    client.create("notes", {"title": "held"})
    print("open", flush=True)
    sys.stdin.read()
