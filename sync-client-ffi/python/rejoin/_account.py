"""Accounts and sessions: signing in with what Python has at hand."""

from __future__ import annotations

import os
import platform as _platform
import sys
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias, Union

from ._document import adopt
from ._native import rejoin as _native
from ._watch import Watch, Watches

# Sessions outlive clients; what is observed on them ends with the interpreter.
watches = Watches()

Keep: TypeAlias = Union[str, "os.PathLike[str]", _native.CredentialsStore]
"""Where credentials are kept: a file that only its owner can read, or a store of the app's own (a keyring)."""


def this_platform() -> str:
    """This system, in the server's words."""
    return {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)


class Session(_native.Session):  # type: ignore[misc]
    """A signed-in device. A client that is opened with it renews its tokens by itself."""

    @classmethod
    def resume(cls, keep: Keep) -> Session:
        """At the app's start: goes on with what was kept. ``RejoinError.SignedOut`` if nothing was. Works offline."""
        if isinstance(keep, _native.CredentialsStore):
            return adopt(cls, _native.Session.resume(keep))
        return adopt(cls, _native.Session.resume_from_file(os.fspath(keep)))

    def account(self) -> Account:
        """Account routes for this device."""
        return adopt(Account, super().account())

    def observe(self, observer: Callable[[_native.SessionState], Any] | _native.SessionObserver) -> Watch:
        """Calls ``observer`` when it changes whether tokens come, until the watch is cancelled."""
        return watches.observe(observer, _native.SessionObserver, "on_session", super().observe)

    def __repr__(self) -> str:
        return f"<rejoin.Session of {self.user()} at {self.server()}>"


class Account(_native.Account):  # type: ignore[misc]
    """The account routes of a server. ``Account("https://sync.example.com")`` before anybody is signed in."""

    async def log_in(
        self,
        email: str,
        password: str,
        *,
        keep: Keep,
        name: str | None = None,
        platform: str | None = None,
        app_version: str = "0.0.0",
        device: uuid.UUID | None = None,
    ) -> Session:
        """Signs this device in with a password, and keeps what signs it in.

        ``name`` is what its owner calls it (this machine's name, if none is given). ``device`` is that of a store that is there
        from before, so that it goes on where it was.
        """
        proof = _native.SignInProof.PASSWORD(email, password)
        return await self._log_in(proof, keep, name, platform, app_version, device)

    async def log_in_with_id_token(
        self,
        token: str,
        *,
        keep: Keep,
        nonce: str | None = None,
        name: str | None = None,
        platform: str | None = None,
        app_version: str = "0.0.0",
        device: uuid.UUID | None = None,
    ) -> Session:
        """Signs this device in with the ID token of a configured OpenID provider, and keeps what signs it in."""
        proof = _native.SignInProof.ID_TOKEN(token, nonce)
        return await self._log_in(proof, keep, name, platform, app_version, device)

    async def _log_in(
        self,
        proof: Any,
        keep: Keep,
        name: str | None,
        platform: str | None,
        app_version: str,
        device: uuid.UUID | None,
    ) -> Session:
        new = _native.NewAccountDevice(
            name=name or _platform.node() or "a computer",
            platform=platform or this_platform(),
            app_version=app_version,
            device=device,
        )
        if isinstance(keep, _native.CredentialsStore):
            return adopt(Session, await self.sign_in(proof, new, keep))
        return adopt(Session, await self.sign_in_to_file(proof, new, os.fspath(keep)))
