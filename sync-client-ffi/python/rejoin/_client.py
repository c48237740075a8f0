"""The client: an open store and its connection to the server."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from . import _provider, _schema, _watch
from ._document import Document, adopt
from ._native import rejoin as _native
from ._provider import TokenSource
from ._schema import Schema
from ._values import Value
from ._watch import Changes, Watch, Watches

_open_lock = threading.Lock()
_open_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client(_native.RejoinClient):  # type: ignore[misc]
    """An open store and its connection to the server.

    ``async with Client.open("notes.rejoin", session=session) as client: …``, or ``with rejoin.open(…) as client: …`` where no
    event loop runs. Editing and reading never wait for the network.
    """

    _watches: Watches

    @classmethod
    def open(  # type: ignore[override]
        cls,
        path: str | os.PathLike[str],
        *,
        session: _native.Session | None = None,
        server: str | None = None,
        token: str | None = None,
        token_provider: TokenSource | None = None,
        user: str | None = None,
        device: uuid.UUID | None = None,
        live: bool = True,
        platform: str | None = None,
        app_version: str | None = None,
        schemas: Iterable[Schema | _native.CollectionSchema] = (),
        **more: Any,
    ) -> Opening:
        """Opens a store, or makes it; replays what a kill left. Nothing waits for the network.

        ``session`` says who is signed in. An app with tokens of its own gives ``server``, ``token`` and ``token_provider``
        instead; a store that is to be used before anybody has a token, ``user`` and ``device``. ``schemas`` say what the
        documents of collections are made of. ``more`` are further fields of ``OpenOptions``.

        The store is one process's: another one gets ``RejoinError.StoreLocked``. After ``os.fork`` a child opens its own.
        """
        return Opening(
            cls,
            path,
            dict(
                session=session,
                server=server,
                token=token,
                token_provider=_provider.of(token_provider),
                user=user,
                device=device,
                live=live,
                platform=platform,
                app_version=app_version,
                schemas=_schema.of(schemas),
                **more,
            ),
        )

    @classmethod
    def _of(cls, made: Any) -> Client:
        client: Client = adopt(cls, made)
        client._watches = Watches()
        with _open_lock:
            _open_clients.add(client)
        return client

    def close(self) -> None:
        """Shuts the store: the session ends, the lock is given back, and every handle of this client says ``Closed``."""
        self.shutdown()

    def shutdown(self) -> None:
        """The same, under the name that it has in all languages."""
        watches = getattr(self, "_watches", None)
        super().shutdown()
        if watches is not None:
            watches.close()

    async def leave(self, how: _native.Leave) -> None:
        """Shuts the client, and keeps or deletes its store. ``RejoinError.Unsent``: nothing has happened, and it goes on."""
        await super().leave(how)
        self.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self.close))

    def create(
        self, collection: str, content: Mapping[str, Value] | None = None, *, space: uuid.UUID | None = None
    ) -> Document:
        """Creates a document, with its first fields if there are any; it is on disk when this returns.

        In the user's own space, if no other is given.
        """
        document = self.create_document(space or self.personal_space(), collection)
        if content:
            with document.edit() as edit:
                for key, value in content.items():
                    edit.put((key,), value)
        return document

    def named(self, collection: str, name: str, *, space: uuid.UUID | None = None) -> Document:
        """Opens the document of that name, or makes it: the same one on every device, also where several make it offline.

        In the user's own space, if no other is given.
        """
        return self.open_or_create(space or self.personal_space(), collection, name)

    def doc(self, document: uuid.UUID, *, space: uuid.UUID | None = None) -> Document:
        """Opens a document that is here."""
        return self.document(space or self.personal_space(), document)

    def docs(self, collection: str | None = None, *, space: uuid.UUID | None = None) -> list[Document]:
        """The documents of a space, or of one collection in it, in the order in which they were made."""
        space = space or self.personal_space()
        return [self.document(space, entry.document) for entry in self.documents(space, collection)]

    def create_document(self, space: uuid.UUID, collection: str) -> Document:
        """Creates a document; it is on disk when this returns."""
        return Document._of(super().create_document(space, collection), self._watches)

    def open_or_create(self, space: uuid.UUID, collection: str, name: str) -> Document:
        """Opens the document of that name in a collection of a space, or makes it."""
        return Document._of(super().open_or_create(space, collection, name), self._watches)

    def document(self, space: uuid.UUID, document: uuid.UUID) -> Document:
        """Opens a document that is here."""
        return Document._of(super().document(space, document), self._watches)

    def observe_status(self, observer: Callable[[_native.SyncStatus], Any] | _native.StatusObserver) -> Watch:
        """Calls ``observer`` with how synchronisation stands, at each change."""
        return self._watches.observe(observer, _native.StatusObserver, "on_status", super().observe_status)

    def observe_documents(self, space: uuid.UUID, observer: Callable[[], Any] | _native.ListObserver) -> Watch:
        """Calls ``observer`` when documents of a space came or went: the list has to be read again."""
        subscribe = super().observe_documents
        return self._watches.observe(observer, _native.ListObserver, "on_list", lambda told: subscribe(space, told))

    def observe_collection(
        self,
        space: uuid.UUID,
        collection: str | None,
        observer: Callable[[_native.CollectionEvent], Any] | _native.CollectionObserver,
    ) -> Watch:
        """Calls ``observer`` with which documents of a space, or of one collection in it, came, changed or went.

        Observe first and list second, then nothing is missed.
        """
        subscribe = super().observe_collection
        return self._watches.observe(
            observer,
            _native.CollectionObserver,
            "on_collection",
            lambda told: subscribe(space, collection, told),
        )

    def observe_access(self, space: uuid.UUID, observer: Callable[[], Any] | _native.AccessObserver) -> Watch:
        """Calls ``observer`` when access to a space was lost or came back, or a change was refused for want of it."""
        subscribe = super().observe_access
        return self._watches.observe(observer, _native.AccessObserver, "on_access", lambda told: subscribe(space, told))

    def observe_presence(
        self, space: uuid.UUID, observer: Callable[[list[_native.Peer]], Any] | _native.PresenceObserver
    ) -> Watch:
        """Calls ``observer`` with all who show themselves in a space, at each change."""
        subscribe = super().observe_presence
        return self._watches.observe(
            observer, _native.PresenceObserver, "on_presence", lambda told: subscribe(space, told)
        )

    def statuses(self) -> Changes[_native.SyncStatus]:
        """How synchronisation stands, at each change, as an async iterator; whoever is behind gets the last one."""
        subscribe = super().observe_status
        return _watch.stream(self._watches, _native.StatusObserver, "on_status", subscribe, 1, lambda status: status)

    def lists(self, space: uuid.UUID | None = None) -> Changes[None]:
        """An async iterator that steps when documents of a space came or went: read the list again."""
        subscribe, space = super().observe_documents, space or self.personal_space()
        return _watch.stream(
            self._watches, _native.ListObserver, "on_list", lambda told: subscribe(space, told), 1, lambda _: None
        )

    def presences(self, space: uuid.UUID) -> Changes[list[_native.Peer]]:
        """All who show themselves in a space, at each change, as an async iterator; whoever is behind gets the last."""
        subscribe = super().observe_presence
        return _watch.stream(
            self._watches,
            _native.PresenceObserver,
            "on_presence",
            lambda told: subscribe(space, told),
            1,
            lambda peers: peers,
        )


class Opening:
    """A store that is being opened: ``await`` it, or enter it with ``async with``."""

    def __init__(self, kind: type[Client], path: str | os.PathLike[str], options: dict[str, Any]) -> None:
        self._kind = kind
        self._options = _native.OpenOptions(path=os.fspath(path), **options)
        self._client: Client | None = None

    async def _opened(self) -> Client:
        return self._kind._of(await _native.RejoinClient.open(self._options))

    def __await__(self) -> Generator[Any, None, Client]:
        return self._opened().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self
        return self._client

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.__aexit__(*error)

    def now(self) -> Client:
        """Opens on this thread, in the time of some disk reads."""
        return self._kind._of(_native.RejoinClient.open_blocking(self._options))


def open(  # noqa: A001 - as the class's, for code without an event loop
    path: str | os.PathLike[str],
    *,
    session: _native.Session | None = None,
    server: str | None = None,
    token: str | None = None,
    token_provider: TokenSource | None = None,
    user: str | None = None,
    device: uuid.UUID | None = None,
    live: bool = True,
    platform: str | None = None,
    app_version: str | None = None,
    schemas: Iterable[Schema | _native.CollectionSchema] = (),
    **more: Any,
) -> Client:
    """Opens a store as ``Client.open`` does, on this thread, in the time of some disk reads."""
    opening = Client.open(
        path,
        session=session,
        server=server,
        token=token,
        token_provider=token_provider,
        user=user,
        device=device,
        live=live,
        platform=platform,
        app_version=app_version,
        schemas=schemas,
        **more,
    )
    return opening.now()


def open_clients() -> list[Client]:
    """All that are open in this process."""
    with _open_lock:
        return list(_open_clients)
