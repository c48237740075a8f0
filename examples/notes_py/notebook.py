"""What there is to show: the notes of a space, live, and who else is there. Knows nothing of terminals."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable

import rejoin
from rejoin import DocumentEvent, RejoinError, StepKind

COLLECTION = "notes"
# How long others still see somebody whose connection broke off.
SHOWN_MS = 30_000


class Notebook:
    """The notes of the space that is open. `on_news` is called, from any thread, when something has to be drawn anew."""

    def __init__(self, client: rejoin.Client, session: rejoin.Session) -> None:
        self.client, self.session = client, session
        self.on_news: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._steps: list[rejoin.DocumentStep] = []
        self._watches: list[rejoin.Watch] = []
        self._note: rejoin.Document | None = None
        self._note_watch: rejoin.Watch | None = None
        self.names: dict[uuid.UUID, str] = {client.personal_space(): "My notes"}
        client.observe_status(lambda status: self.on_news())
        session.observe(lambda state: self.on_news())
        self.open_space(client.personal_space())

    def open_space(self, space: uuid.UUID) -> None:
        """Shows the notes of that space from now on."""
        for watch in self._watches:
            watch.cancel()
        self.select(None)
        self.client.add_space(space)
        self.space = space
        self._watches = [
            self.client.observe_documents(space, lambda: self.on_news()),
            self.client.observe_access(space, lambda: self.on_news()),
            self.client.observe_presence(space, lambda peers: self.on_news()),
        ]

    def notes(self) -> list[rejoin.Document]:
        """Oldest first: ids begin with the time at which they were made."""
        return sorted(self.client.docs(COLLECTION, space=self.space), key=lambda note: note.id())

    def title(self, note: rejoin.Document) -> str:
        try:
            return str(note.get("title", "")) or "(untitled)"
        except RejoinError.Deleted:
            return "(deleted)"

    def text(self, note: rejoin.Document) -> str:
        try:
            return note.text("text") or ""
        except RejoinError.Deleted:
            return ""

    def add(self, title: str) -> rejoin.Document:
        return self.client.create(COLLECTION, {"title": title, "text": rejoin.Text()}, space=self.space)

    def remove(self, note: rejoin.Document) -> None:
        self.select(None)
        self.client.delete_document(self.space, note.id())

    def select(self, note: rejoin.Document | None) -> None:
        """Listens to that note, and shows others that one is there."""
        if note == self._note:
            return
        if self._note_watch is not None:
            self._note_watch.cancel()
            self._note_watch = None
            self.client.clear_presence(self.space)
        with self._lock:
            self._steps.clear()
        self._note = note
        if note is not None:
            self._note_watch = note.observe(self._heard)
            shown = json.dumps({"note": str(note.id())}).encode()
            self.client.set_presence(self.space, shown, SHOWN_MS)

    def _heard(self, event: DocumentEvent) -> None:
        if isinstance(event, DocumentEvent.CHANGED):
            with self._lock:
                self._steps += [step for step in event.steps if not step.local and step.path == "/text"]
        self.on_news()

    def moved(self, cursor: int) -> int:
        """Where a cursor in the selected note is, after what others did to its text since this was asked last."""
        with self._lock:
            steps, self._steps = self._steps, []
        for step in steps:
            match step.kind:
                case StepKind.INSERT_TEXT(at=at, text=text) if at < cursor:
                    cursor += len(text)
                case StepKind.REMOVE(at=at, count=count) if at < cursor:
                    cursor -= min(count, cursor - at)
        return cursor

    def others(self, note: rejoin.Document | None) -> int:
        """How many others look at that note now."""

        def looks(data: bytes) -> bool:
            try:
                return note is not None and json.loads(data)["note"] == str(note.id())
            except (ValueError, KeyError, TypeError):
                return False

        return sum(looks(peer.data) for peer in self.client.peers(self.space))

    def standing(self) -> str:
        """How synchronisation stands, in a few words."""
        pending = self.client.pending(self.space)
        waiting = pending.edits + pending.changes
        state = self.session.state()
        if isinstance(state, rejoin.SessionState.ENDED):
            return f"signed out: {state.text}"
        if not self.client.has_access(self.space):
            return "you are no member here any more: what you have stays to be read"
        status = type(self.client.status()).__name__.split(".")[-1].lower().replace("_", " ")
        return f"{status}, {waiting} waiting" if waiting else status

    # What needs the server.

    def spaces(self) -> list[tuple[uuid.UUID, str]]:
        """The spaces that the user may enter; those that are known already, if the server cannot be asked."""
        try:
            for space in asyncio.run(self.session.account().spaces()):
                self.names.setdefault(space.space, space.name or "My notes")
        except RejoinError:
            pass
        return list(self.names.items())

    def create_space(self, name: str) -> None:
        space = asyncio.run(self.session.account().create_space(name))
        self.names[space.space] = name
        self.open_space(space.space)

    def invite(self) -> str:
        """What one person can join the open space with."""
        return asyncio.run(self.session.account().invite(self.space, rejoin.Role.WRITER)).token

    def join(self, invitation: str) -> None:
        space = asyncio.run(self.session.account().accept_invitation(invitation.strip()))
        self.names[space.space] = space.name or "Shared"
        self.open_space(space.space)
