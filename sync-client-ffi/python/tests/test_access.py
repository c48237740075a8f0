"""Shared spaces: invitations, roles, and edits that the server refuses."""

from __future__ import annotations

import asyncio
import queue
from pathlib import Path

import pytest
import rejoin
from conftest import PATIENCE, PATIENCE_MS, Person, sign_up
from rejoin import QuarantineReason, RejoinError, Role
from server import Server


class Shared:
    """Ann's space with a note in it, and Bob."""

    ann: rejoin.Client
    bob: rejoin.Client
    owner: rejoin.Account
    member: rejoin.Account
    space: rejoin.SpaceId


@pytest.fixture
async def shared(server: Server, person: Person, tmp_path: Path) -> Shared:
    shared = Shared()
    other = await sign_up(server, tmp_path)
    mine, theirs = await person.sign_in("laptop"), await other.sign_in("laptop")
    shared.owner, shared.member = mine.account(), theirs.account()
    shared.space = (await shared.owner.create_space("Our home")).space
    shared.ann = await rejoin.Client.open(person.store("laptop"), session=mine)
    shared.bob = await rejoin.Client.open(other.store("laptop"), session=theirs)
    yield shared
    shared.ann.close()
    shared.bob.close()


async def join(shared: Shared, role: Role) -> rejoin.Document:
    """Bob joins; gives the note as he has it."""
    shared.ann.add_space(shared.space)
    note = shared.ann.create("notes", {"body": rejoin.Text("water the plants")}, space=shared.space)
    await shared.ann.sync_once(PATIENCE_MS)
    invitation = await shared.owner.invite(shared.space, role)
    joined = await shared.member.accept_invitation(invitation.token)
    assert (joined.space, joined.role, joined.name) == (shared.space, role, "Our home")
    # Whoever prints an invitation must not print what lets people in.
    assert invitation.token not in repr(invitation)
    shared.bob.add_space(shared.space)
    await shared.bob.sync_once(PATIENCE_MS)
    return shared.bob.doc(note.id(), space=shared.space)


async def test_a_writer_writes(shared: Shared) -> None:
    note = await join(shared, Role.WRITER)
    note.splice("body", 0, insert="please ")
    await shared.bob.sync_once(PATIENCE_MS)
    await shared.ann.sync_once(PATIENCE_MS)
    assert shared.ann.doc(note.id(), space=shared.space).text("body") == "please water the plants"
    members = await shared.owner.members(shared.space)
    assert sorted(member.role.name for member in members) == ["OWNER", "WRITER"]


async def test_a_readers_edits_end_in_quarantine_and_are_kept(shared: Shared) -> None:
    note = await join(shared, Role.READER)
    edit = note.splice("body", 0, insert="never mind: ")
    await shared.bob.sync_once(PATIENCE_MS)
    (kept,) = shared.bob.quarantine(shared.space)
    assert kept.document == note.id()
    assert isinstance(kept.reason, (QuarantineReason.REFUSED, QuarantineReason.NO_ACCESS))
    # Nobody else ever sees it.
    await shared.ann.sync_once(PATIENCE_MS)
    assert shared.ann.doc(note.id(), space=shared.space).text("body") == "water the plants"
    if isinstance(kept.reason, QuarantineReason.REFUSED):
        assert kept.reason.code == "not_a_writer"
        assert note.edit_state(edit).is_REJECTED()
        assert note.text("body") == "water the plants"
    # What comes after it, in a space of one's own, is not held up.
    shared.bob.create("notes", {"title": "mine"})
    await shared.bob.sync_once(PATIENCE_MS)
    assert await shared.bob.wait_durable(shared.bob.personal_space(), PATIENCE_MS)


async def test_whoever_is_taken_out_hears_of_it_and_can_still_read(shared: Shared) -> None:
    note = await join(shared, Role.WRITER)
    heard: queue.Queue[None] = queue.Queue()
    with shared.bob.observe_access(shared.space, lambda: heard.put(None)):
        shared.bob.start()
        (bob,) = [m.user for m in await shared.owner.members(shared.space) if m.role == Role.WRITER]
        await shared.owner.remove_member(shared.space, bob)
        await asyncio.to_thread(heard.get, timeout=PATIENCE)
    assert not shared.bob.has_access(shared.space)
    assert note.text("body") == "water the plants"
    with pytest.raises(RejoinError.NoAccess):
        note.splice("body", 0, insert="a")


async def test_what_one_may_not_do_is_refused(shared: Shared) -> None:
    await join(shared, Role.WRITER)
    with pytest.raises(RejoinError.Forbidden):
        await shared.member.invite(shared.space, Role.WRITER)
    with pytest.raises(RejoinError.NotFound):
        await shared.member.accept_invitation("rji_nothing")
    with pytest.raises(RejoinError.Invalid):
        await shared.owner.create_space("")
    with pytest.raises(TypeError):
        await shared.owner.create_space(None)
