"""Rejoin: documents that are edited with no network, survive a kill, and meet again on the server.

::

    async with rejoin.Client.open("notes.rejoin", session=session) as client:
        client.start()                                           # live in the background, from now on
        note = client.create("notes", {"title": "Groceries", "body": rejoin.Text()})
        with note.edit() as edit:                                # on disk when the block ends, all of it or nothing
            edit.put("title", "Weekend").splice("body", 0, insert="milk")
        async for event in note.changes():                       # local and remote, in order
            print(note.to_dict())

Without an event loop: ``with rejoin.open(…) as client: …`` and ``note.observe(print)``. Errors are ``RejoinError`` and its
variants (``RejoinError.StoreLocked``); their text says what to do.
"""

from typing import TYPE_CHECKING

from . import _bridge, _end

# Before anything else has a hold of what it changes.
_bridge.install()
_end.install()

from ._account import Account, Keep, Session  # noqa: E402
from ._client import Client, Opening, open  # noqa: A004, E402
from ._document import DeviceId, DocId, Document, Edit, SpaceId  # noqa: E402
from ._end import log_to  # noqa: E402
from ._native.rejoin import (  # noqa: E402
    AccessObserver,
    ChangeState,
    CollectionEvent,
    CollectionObserver,
    CollectionSchema,
    CollectionVersion,
    Companion,
    CredentialsStore,
    CredentialsStoreError,
    Device,
    DeviceObserver,
    DocumentEntry,
    DocumentEvent,
    DocumentMigration,
    DocumentObserver,
    DocumentPage,
    DocumentStep,
    EditChange,
    EditEvent,
    EditObserver,
    EditOp,
    ExportObserver,
    ExportProgress,
    ExportReport,
    HistoryEntry,
    HttpHeader,
    HttpResponse,
    HttpTransport,
    HttpTransportError,
    InternalError,
    Invitation,
    Leave,
    ListObserver,
    LogLevel,
    LogLine,
    MarkEdges,
    Member,
    NewAccountDevice,
    OpenInvitation,
    OpenOptions,
    Peer,
    PendingCounts,
    PresenceObserver,
    QuarantineReason,
    QuarantinedChange,
    QuarantinedExport,
    Removal,
    Role,
    SchemaState,
    SessionObserver,
    SessionState,
    SignInProof,
    SpaceInfo,
    StatusObserver,
    StepKind,
    SyncStatus,
    SyncSummary,
    SyncTrouble,
    TokenProvider,
    repair_store,
)
if TYPE_CHECKING:
    from ._errors import RejoinError, TokenProviderError
else:
    from ._native.rejoin import RejoinError, TokenProviderError

from ._paths import Path, Step, path, steps  # noqa: E402
from ._provider import TokenSource  # noqa: E402
from ._schema import Migration, Schema  # noqa: E402
from ._undo import UndoManager  # noqa: E402
from ._values import Counter, Text, Timestamp, Value  # noqa: E402
from ._watch import Changes, Watch  # noqa: E402

__all__ = [name for name in dir() if not name.startswith("_") and name != "TYPE_CHECKING"]
