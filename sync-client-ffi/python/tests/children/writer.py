"""Edits in a loop, and reports each edit's number once it returned: writer.py STORE CREDENTIALS DOCUMENT."""

import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import rejoin

store, credentials, document = sys.argv[1:]
client = rejoin.open(store, session=rejoin.Session.resume(credentials))
client.start()
doc = client.doc(uuid.UUID(document))
while True:
    place = doc.length("items")
    with doc.edit() as edit:
        edit.insert(("items", place), place).increment("count")
    sys.stdout.write(f"{place}\n")
    sys.stdout.flush()
