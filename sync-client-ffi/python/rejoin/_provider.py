"""Tokens of the app's own: plain functions and coroutines as the library's token provider."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TypeAlias, Union

from . import _bridge
from ._native import rejoin as _native

_log = logging.getLogger("rejoin")

TokenSource: TypeAlias = Union[
    Callable[[Union[str, None]], Union[str, Awaitable[str]]],
    _native.TokenProvider,
]
"""Gives a token other than the one that was refused (or runs out): a function, a coroutine function, or a TokenProvider."""

# Plain functions that hang keep their threads; the library asks again after 30 seconds.
_HANGING_MAX = 4


class Provider(_native.TokenProvider):  # type: ignore[misc]
    """Runs what the app gave: a coroutine on the app's loop, a function on a thread, where it may take its time."""

    def __init__(self, source: TokenSource, loop: asyncio.AbstractEventLoop | None) -> None:
        self._ask = source.token if isinstance(source, _native.TokenProvider) else source
        if not callable(self._ask):
            raise TypeError(f"a token provider is a callable, not {type(source).__name__}")
        self._loop = loop
        self._room = threading.BoundedSemaphore(_HANGING_MAX)

    async def token(self, refused: str | None) -> str:
        try:
            token = await self._asked(refused)
            if not isinstance(token, str):
                raise TypeError(f"a token is a str, not {type(token).__name__}")
            return token
        except _native.TokenProviderError:
            raise
        except Exception as error:
            _log.exception("the token provider failed")
            # Only its kind: the text may hold what must not be logged twice.
            raise _native.TokenProviderError.Unavailable(type(error).__name__) from error

    async def _asked(self, refused: str | None) -> object:
        if _is_async(self._ask):
            return await self._on_loop(self._ask(refused))
        answer = await self._in_thread(refused)
        return await self._on_loop(answer) if inspect.isawaitable(answer) else answer

    async def _on_loop(self, answer: object) -> object:
        async def waited() -> object:
            return await answer  # type: ignore[misc, no-any-return]

        loop = self._loop
        if loop is None or loop is asyncio.get_running_loop():
            return await waited()
        work = waited()
        try:
            future = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:
            work.close()
            raise
        return await asyncio.wrap_future(future)

    async def _in_thread(self, refused: str | None) -> object:
        if not self._room.acquire(blocking=False):
            raise RuntimeError(f"{_HANGING_MAX} calls of the token provider hang")
        here = asyncio.get_running_loop()
        done: asyncio.Future[object] = here.create_future()

        def settle(error: BaseException | None, answer: object) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(answer)
            else:
                done.set_exception(error)

        def run() -> None:
            error, answer = None, None
            try:
                answer = self._ask(refused)
            except Exception as raised:
                error = raised
            finally:
                self._room.release()
            try:
                here.call_soon_threadsafe(settle, error, answer)
            except RuntimeError:
                pass  # The loop has ended: nobody waits.

        # Not one of an executor's: the interpreter would wait for it when it ends.
        threading.Thread(target=run, name="rejoin-token", daemon=True).start()
        return await done


def _is_async(ask: object) -> bool:
    return inspect.iscoroutinefunction(ask) or inspect.iscoroutinefunction(getattr(ask, "__call__", None))


def of(source: TokenSource | None) -> Provider | None:
    """The provider of what the app gave; coroutines run on the loop that runs now, or on one of the package's own."""
    if source is None:
        return None
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    _bridge.background_loop()
    return Provider(source, loop)
