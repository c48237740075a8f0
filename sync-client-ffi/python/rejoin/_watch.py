"""Observing: callables and async iterators over the library's observers."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from ._native import rejoin as _native

_log = logging.getLogger("rejoin")

T = TypeVar("T")

# What waits for an `async for`; whoever is further behind is told to look again.
WAITING_MAX = 256


class Watch(_native.Watch):
    """Something observed, until ``cancel`` is called, a ``with`` block over it ends, or its client is closed."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call: Callable[..., Any] | None = call
        self._held: Any = None
        self._owner: Watches | None = None

    def _tell(self, *arguments: Any) -> None:
        call = self._call
        if call is None:
            return
        try:
            call(*arguments)
        except Exception:
            # Its own affair: the next call comes all the same.
            _log.exception("an observer failed")

    def cancel(self) -> None:
        """Observes no longer; no call begins after this. May be called from within the observer, and again."""
        self._call = None
        held, self._held = self._held, None
        if held is not None:
            held.cancel()
        if self._owner is not None:
            self._owner.discard(self)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


@functools.cache
def _observer(kind: Any, method: str) -> Any:
    class Observer(kind):  # type: ignore[misc]
        def __init__(self, watch: Watch) -> None:
            self.watch = watch

    setattr(Observer, method, lambda self, *arguments: self.watch._tell(*arguments))
    return Observer


class Watches:
    """What is observed on a client: it ends with it."""

    # Also those of clients that are gone: what the library holds refers to its watches.
    _all: weakref.WeakSet[Watches] = weakref.WeakSet()
    _all_lock = threading.Lock()

    def __init__(self) -> None:
        with self._all_lock:
            self._all.add(self)
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self._streams: weakref.WeakSet[Changes[Any]] = weakref.WeakSet()

    def observe(self, call: Any, kind: type, method: str, subscribe: Callable[[Any], Any]) -> Watch:
        """Observes with a callable, or with an object of the generated observer class ``kind``."""
        if isinstance(call, kind):
            call = getattr(call, method)
        if not callable(call):
            raise TypeError(f"an observer is a callable, not {type(call).__name__}")
        watch = Watch(call)
        watch._held = subscribe(_observer(kind, method)(watch))
        watch._owner = self
        with self._lock:
            self._watches.add(watch)
        # The first call may have come before this line, and cancelled.
        if watch._call is None:
            watch.cancel()
        return watch

    def discard(self, watch: Watch) -> None:
        with self._lock:
            self._watches.discard(watch)

    @classmethod
    def cancel_all(cls) -> None:
        """Observes nothing any more, anywhere."""
        with cls._all_lock:
            everything = list(cls._all)
        for watches in everything:
            watches.cancel()

    def cancel(self) -> None:
        """Observes nothing any more."""
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.cancel()

    def add_stream(self, stream: Changes[Any]) -> None:
        with self._lock:
            self._streams.add(stream)

    def close(self) -> None:
        """The client is shut: the library tells its observers what happened before, and lets go of them."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()


class Changes(AsyncIterator[T], Generic[T]):
    """What is observed, as an async iterator. Ends when it is closed, its client is, or nothing refers to it any more.

    What comes faster than it is taken waits, up to a bound; beyond it all that waits gives way to one event that says to look
    again. For one reader, on the event loop that it was made on.
    """

    def __init__(self, watches: Watches, waiting_max: int, instead: Callable[[T], T]) -> None:
        if waiting_max < 1:
            raise ValueError("at least one event has to wait")
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lock = threading.Lock()
        self._waiting: deque[T] = deque()
        self._max = waiting_max
        self._instead = instead
        self._watch: Watch | None = None
        self._closed = False
        watches.add_stream(self)

    def _push(self, event: T, last: bool = False) -> None:
        with self._lock:
            if self._closed:
                return
            if len(self._waiting) >= self._max:
                self._waiting.clear()
                self._waiting.append(event if last else self._instead(event))
            else:
                self._waiting.append(event)
            self._closed = last
        self._rouse()

    def _rouse(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            # The loop has ended, and with it the reader.
            self.close()

    def close(self) -> None:
        """Ends it; what waits can still be taken."""
        with self._lock:
            was, self._closed = self._closed, True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        if not was and not self._loop.is_closed():
            self._rouse()

    async def aclose(self) -> None:
        """The same, as async generators call it."""
        self.close()

    def __aiter__(self) -> Changes[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                if self._closed:
                    raise StopAsyncIteration
                self._wake.clear()
            await self._wake.wait()

    async def __aenter__(self) -> Changes[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        watch = getattr(self, "_watch", None)
        if watch is not None:
            watch.cancel()


def stream(
    watches: Watches,
    kind: type,
    method: str,
    subscribe: Callable[[Any], Any],
    waiting_max: int,
    instead: Callable[[Any], Any],
    is_last: Callable[[Any], bool] = lambda event: False,
) -> Changes[Any]:
    """An async iterator over what an observer of that kind is told. An observer without arguments is told ``None``."""
    changes: Changes[Any] = Changes(watches, waiting_max, instead)
    # The library holds the observer: only a weak reference lets whoever stops reading go.
    target = weakref.ref(changes)

    def tell(event: Any = None) -> None:
        reader = target()
        if reader is not None:
            reader._push(event, is_last(event))

    changes._watch = watches.observe(tell, kind, method, subscribe)
    return changes


def look_again(event: Any) -> Any:
    """In the place of more events than can wait."""
    return _native.DocumentEvent.LOOK_AGAIN(event.space, event.document)
