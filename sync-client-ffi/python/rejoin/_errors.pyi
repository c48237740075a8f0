"""What type checkers see of the errors: their variants are put together when the package is loaded.

A test holds this against what is generated."""

import uuid

from ._native.rejoin import SyncTrouble

class _Error(Exception):
    text: str

class RejoinError(_Error):
    """Something that was not done. `text`, which `str` gives too, says what to do, for the developer."""

    class Closed(_Error): ...
    class Internal(_Error): ...
    class ReadOnly(_Error): ...
    class NoStore(_Error): ...
    class StoreLocked(_Error):
        path: str
    class StoreNewer(_Error):
        found: int
        supported: int
    class NotAStore(_Error):
        path: str
    class StoreDamaged(_Error):
        copy: str | None
    class StoreOfAnother(_Error):
        user: str
        device: uuid.UUID
    class NoIdentity(_Error): ...
    class DiskFull(_Error): ...
    class BadPath(_Error):
        path: str
    class BadEdit(_Error):
        path: str | None
    class Invalid(_Error): ...
    class NoDocument(_Error):
        document: uuid.UUID
    class Deleted(_Error):
        document: uuid.UUID
    class NewerSchema(_Error):
        document: uuid.UUID
        version: int
        writers_from: int
    class MigrationFailed(_Error):
        collection: str
        version: int
    class Unsettled(_Error):
        document: uuid.UUID
    class NoSpace(_Error): ...
    class NoAccess(_Error): ...
    class Offline(_Error): ...
    class Deadline(_Error): ...
    class NeedsAuth(_Error): ...
    class NeedsDevice(_Error):
        device: uuid.UUID
    class UpgradeRequired(_Error):
        update_url: str | None
    class Trouble(_Error):
        trouble: SyncTrouble
    class NoServer(_Error): ...
    class SignedOut(_Error):
        revoked: bool
    class LoginFailed(_Error): ...
    class TryLater(_Error):
        retry_after_ms: int | None
    class Forbidden(_Error): ...
    class NotFound(_Error): ...
    class CompanionRefused(_Error): ...
    class Unsent(_Error):
        edits: int
        changes: int
    class Stopped(_Error): ...
    class CredentialsStore(_Error): ...
    class Other(_Error): ...

class TokenProviderError(Exception):
    """Why there is no token."""

    class Unavailable(Exception):
        def __init__(self, reason: str) -> None: ...
    class SignedOut(Exception):
        def __init__(self) -> None: ...
