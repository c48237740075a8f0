"""Stores that cannot be opened or written: another process, a newer version, somebody's file, a full disk, a wrong clock."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import rejoin
from conftest import PATIENCE, PATIENCE_MS
from rejoin import RejoinError
from server import Server

Child = Callable[..., "subprocess.Popen[str]"]


def test_a_store_that_another_process_has_is_locked_until_that_ends(store: Path, child: Child) -> None:
    for end in ("its input ends", "it is killed"):
        holder = child("holder.py", store)
        assert holder.stdout.readline() == "open\n", holder.communicate()
        with pytest.raises(RejoinError.StoreLocked) as error:
            rejoin.open(store)
        assert error.value.path == str(store) and str(store) in str(error.value)
        if end == "it is killed":
            holder.kill()
        else:
            holder.stdin.close()
        holder.wait(PATIENCE)
        with rejoin.open(store) as client:
            assert client.docs()[0]["title"] == "held"


async def test_a_store_that_this_process_has_is_locked_too(offline: rejoin.Client, store: Path) -> None:
    with pytest.raises(RejoinError.StoreLocked):
        await rejoin.Client.open(store)
    offline.close()
    async with rejoin.Client.open(store) as client:
        assert client.user() == "ann"


def test_a_store_of_a_newer_version_is_left_alone(store: Path) -> None:
    with rejoin.open(store, user="ann", device=uuid.uuid4()):
        pass
    with sqlite3.connect(store) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute(f"PRAGMA user_version = {version + 5}")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    before = store.read_bytes()
    with pytest.raises(RejoinError.StoreNewer, match="update the app") as error:
        rejoin.open(store)
    assert (error.value.found, error.value.supported) == (version + 5, version)
    assert store.read_bytes() == before


def test_a_file_that_is_no_store_is_left_alone(store: Path) -> None:
    store.write_bytes(b"somebody's letters " * 100)
    with pytest.raises(RejoinError.NotAStore) as error:
        rejoin.open(store, user="ann", device=uuid.uuid4())
    assert error.value.path == str(store)
    assert store.read_bytes() == b"somebody's letters " * 100


async def test_a_damaged_store_is_copied_aside_and_repaired(store: Path) -> None:
    with rejoin.open(store, user="ann", device=uuid.uuid4()) as client:
        for n in range(50):
            client.create("notes", {"title": f"note {n}", "pad": "x" * 1000})
    with store.open("r+b") as file:
        file.truncate(store.stat().st_size // 2)
    try:
        with rejoin.open(store) as client:
            with pytest.raises(RejoinError.StoreDamaged):
                for doc in client.docs():
                    doc.to_dict()
    except RejoinError.StoreDamaged as error:
        assert Path(error.copy).exists()
    copy = await rejoin.repair_store(str(store))
    assert Path(copy).exists()
    with rejoin.open(store, user="ann", device=uuid.uuid4()) as client:
        client.create("notes")


def test_a_store_of_another_is_not_opened(offline: rejoin.Client, store: Path) -> None:
    device = offline.device()
    offline.close()
    with pytest.raises(RejoinError.StoreOfAnother) as error:
        rejoin.open(store, user="bob", device=uuid.uuid4())
    assert (error.value.user, error.value.device) == ("ann", device)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "store", tmp_path):
        with pytest.raises(RejoinError):
            rejoin.open(path, user="ann", device=uuid.uuid4())
    for path in (3, None):
        with pytest.raises(TypeError):
            rejoin.open(path, user="ann", device=uuid.uuid4())


def written_until_full(process: subprocess.Popen[str]) -> str:
    """The error that ended it; all that was acknowledged before is there, and more fits once there is room."""
    output, errors = process.communicate("room\n", timeout=PATIENCE)
    assert process.returncode == 0, errors
    error, kept, again = output.splitlines()
    number, shown = map(int, kept.split())
    assert number == shown > 0
    expected, found = map(int, again.split())
    assert expected == found
    return error


def test_on_a_full_disk_nothing_is_lost_and_edits_go_on_later(tmp_path: Path, child: Child) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        error = written_until_full(child("full_disk.py", disk / "store", "disk"))
        assert error.startswith("DiskFull | ") and "free some space" in error
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_file_that_may_not_grow_loses_nothing(store: Path, child: Child) -> None:
    pytest.importorskip("resource", reason="needs limits of the size of files")
    assert written_until_full(child("full_disk.py", store, "limit")).startswith(("DiskFull | ", "Other | "))


def test_a_clock_of_1970_harms_nothing(server: Server, tmp_path: Path, store: Path, child: Child) -> None:
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("needs the program faketime")
    library = subprocess.run([faketime, "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"], capture_output=True, text=True)
    user = f"early-{uuid.uuid4().hex[:8]}"
    token, _ = server.token(user)
    clock = {"LD_PRELOAD": library.stdout.strip(), "FAKETIME": "@1970-01-02 00:00:00", "DONT_FAKE_MONOTONIC": "1"}
    early = child("clock.py", store, server.url, token, env=clock)
    output, errors = early.communicate(timeout=PATIENCE)
    assert early.returncode == 0, errors
    assert output.split() == ["1970", "1", "0"]
    token, _ = server.token(user)
    with rejoin.open(tmp_path / "other", server=server.url, token=token) as client:
        client.sync_once_blocking(PATIENCE_MS)
        assert [doc["title"] for doc in client.docs()] == ["from 1970"]
