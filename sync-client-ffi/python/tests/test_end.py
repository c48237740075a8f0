"""The interpreter ends cleanly with engine threads alive, and everything written is there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
import rejoin
from conftest import PATIENCE, Person

WAYS = {"plain": 0, "coroutine": 0, "tasks": 0, "provider": 0, "busy": 0, "raise": 3, "interrupt": 1}


@pytest.mark.parametrize("way", WAYS)
async def test_the_interpreter_ends(person: Person, way: str, child: Callable[..., subprocess.Popen[str]]) -> None:
    await person.sign_in("laptop")
    process = child("ending.py", way, person.store("laptop"), person.credentials("laptop"))
    output, errors = process.communicate(timeout=PATIENCE)
    assert output == "ended\n", errors
    if way == "interrupt":
        # As the shell has it: ended by the signal, or by the exception that it became.
        assert process.returncode in (1, 130, -2), errors
        assert "KeyboardInterrupt" in errors
    else:
        assert process.returncode == WAYS[way], errors
    for sign in ("Fatal", "panicked", "Exception ignored", "Segmentation", "exception not rethrown"):
        assert sign not in errors
    with rejoin.open(person.store("laptop")) as client:
        assert client.docs()[0]["n"] >= 50
