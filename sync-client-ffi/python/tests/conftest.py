"""What all tests share: a server, and people with devices."""

from __future__ import annotations

import itertools
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import rejoin  # noqa: E402
from server import Server  # noqa: E402

# Longer than anything here takes on a busy machine; what is waited for comes by an event.
PATIENCE = 30.0
PATIENCE_MS = 30_000
PASSWORD = "A long enough passw0rd!"
CHILDREN = Path(__file__).resolve().parent / "children"

_people = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


class Person:
    """Somebody with an account, and as many devices as there are stores."""

    def __init__(self, server: Server, folder: Path, name: str) -> None:
        self.server, self.folder, self.name = server, folder, name
        self.email = f"{name}@example.com"

    def credentials(self, device: str) -> Path:
        return self.folder / f"{self.name}-{device}.json"

    def store(self, device: str) -> Path:
        return self.folder / f"{self.name}-{device}.rejoin"

    async def sign_in(self, device: str) -> rejoin.Session:
        if self.credentials(device).exists():
            return rejoin.Session.resume(self.credentials(device))
        account = rejoin.Account(self.server.url)
        return await account.log_in(self.email, PASSWORD, keep=self.credentials(device), name=device, platform="linux")

    async def open(self, device: str, **options: object) -> rejoin.Client:
        return await rejoin.Client.open(self.store(device), session=await self.sign_in(device), **options)


@pytest.fixture
async def person(server: Server, tmp_path: Path) -> Person:
    """A new account."""
    return await sign_up(server, tmp_path)


async def sign_up(server: Server, folder: Path) -> Person:
    person = Person(server, folder, f"person{next(_people)}-{uuid.uuid4().hex[:8]}")
    await rejoin.Account(server.url).sign_up(person.email, PASSWORD, person.name)
    return person


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.rejoin"


@pytest.fixture
def offline(store: Path) -> Iterator[rejoin.Client]:
    """A client that has no server."""
    with rejoin.open(store, user="ann", device=uuid.uuid4()) as client:
        yield client


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a script of `children/` as a process; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(CHILDREN / script), *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
