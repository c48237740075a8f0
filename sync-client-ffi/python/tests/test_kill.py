"""A process that edits and syncs is killed at a random moment, twenty times: what it reported is there, once."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable

import rejoin
from conftest import PATIENCE, PATIENCE_MS, Person

KILLS = 20
# Edits until the kill; the moment within the next one is the scheduler's.
EDITS_MAX = 60


async def test_twenty_kills_lose_no_reported_edit(person: Person, child: Callable[..., subprocess.Popen[str]]) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with await person.open("laptop") as laptop:
        document = laptop.create("runs", {"items": [], "count": rejoin.Counter(0)})
        await laptop.sync_once(PATIENCE_MS)
    phone = await person.open("phone")
    with phone:
        for _ in range(KILLS):
            writer = child("writer.py", person.store("laptop"), person.credentials("laptop"), document.id())
            first = writer.stdout.readline()
            assert first, writer.communicate()[1]
            reported = [int(first)]
            for _ in range(chance.randrange(EDITS_MAX)):
                reported.append(int(writer.stdout.readline()))
            writer.send_signal(signal.SIGKILL)
            # What it still said before it died was reported, too. A line that breaks off was not.
            rest = writer.stdout.read()
            assert writer.wait(PATIENCE) == -signal.SIGKILL, writer.stderr.read()
            reported += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]

            async with await person.open("laptop") as laptop:
                doc = laptop.doc(document.id())
                items = doc["items"]
                # Each in its place, once; at most one more, which returned to nobody.
                assert items == list(range(len(items)))
                assert reported == list(range(reported[0], reported[-1] + 1))
                assert len(items) - 1 in (reported[-1], reported[-1] + 1)
                assert doc["count"] == len(items)
                await laptop.sync_once(PATIENCE_MS)
                assert await laptop.wait_durable(laptop.personal_space(), PATIENCE_MS)
                await phone.sync_once(PATIENCE_MS)
                assert phone.doc(document.id()).to_dict() == doc.to_dict()
    # A device that was never there before has it from the server alone.
    async with await person.open("tablet") as tablet:
        await tablet.sync_once(PATIENCE_MS)
        found = tablet.doc(document.id())
        assert found["items"] == items and found["count"] == len(items)
