"""Edits until the disk is full, or its files may not grow, then with room again: full_disk.py STORE disk|limit."""

import resource
import signal
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import rejoin

ROOM = 512 << 10

store, way = Path(sys.argv[1]), sys.argv[2]
filler = store.with_name("filler")
client = rejoin.open(store, user="ann", device=uuid.uuid4())
doc = client.create("notes", {"n": 0, "pad": ""})
if way == "limit":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
else:
    filler.write_bytes(bytes(256 << 10))
kept = 0
try:
    for n in range(1, 10_000):
        doc.edit([rejoin.EditOp.PUT("/n", n), rejoin.EditOp.PUT("/pad", str(n) * 2000)])
        kept = n
except rejoin.RejoinError as error:
    print(type(error).__name__.removeprefix("RejoinError."), "|", error)
# Reading goes on, and shows what is kept.
print(kept, doc["n"])
if way == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    filler.unlink()
doc["n"] = kept + 1
client.close()
with rejoin.open(store) as client:
    print(kept + 1, client.docs()[0]["n"])
