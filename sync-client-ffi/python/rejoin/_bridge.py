"""What the generated module lacks: an event loop for every thread, errors that read well, an end that is known.

It is changed in its place, once, before anything is opened.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from . import _values, _wire
from ._native import rejoin as _native

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None

# Told whenever the library lets go of something of Python's.
_released = threading.Condition()


def background_loop() -> asyncio.AbstractEventLoop:
    """A loop on a thread of its own, for coroutines that the library calls where no loop runs."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="rejoin-loop", daemon=True).start()
        return _loop


def stop_background_loop() -> None:
    with _lock:
        if _loop is not None and not _loop.is_closed():
            _loop.call_soon_threadsafe(_loop.stop)


def _event_loop() -> asyncio.AbstractEventLoop:
    # The generated one knows one loop for the whole process, or none on the library's threads.
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return background_loop()


class _Handles(_native._UniffiHandleMap):  # type: ignore[misc]
    """What the library holds of Python's; says when it holds nothing any more."""

    def remove(self, handle: int) -> Any:
        removed = super().remove(handle)
        with _released:
            _released.notify_all()
        return removed


_OBSERVERS = tuple(
    getattr(_native, name)
    for name in dir(_native)
    if name.startswith("_UniffiFfiConverterType") and (name.endswith("Observer") or name.endswith("LogSink"))
)


def wait_released(timeout: float) -> bool:
    """Waits until the library will call no observer of Python's any more: all of them are out of its hands."""
    with _released:
        return _released.wait_for(lambda: not any(len(kind._handle_map) for kind in _OBSERVERS), timeout)


@_native._UNIFFI_FOREIGN_FUTURE_DROPPED_CALLBACK  # type: ignore[untyped-decorator, unused-ignore]
def _dropped(handle: int) -> None:
    # The generated one calls into the loop from another thread, which a loop that sleeps does not notice.
    _, future = _native._UNIFFI_FOREIGN_FUTURE_HANDLE_MAP.remove(handle)
    future.cancel()


class _Wait:
    """One poll of a future of the library's: whether it is done, or what to wait for."""

    __slots__ = ("done", "woken", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.woken: asyncio.Future[None] = loop.create_future()
        self.done = False


_waits = _native._UniffiHandleMap()


def _wake(wait: _Wait) -> None:
    if not wait.woken.done():
        wait.woken.set_result(None)


@_native._UNIFFI_RUST_FUTURE_CONTINUATION_CALLBACK  # type: ignore[untyped-decorator, unused-ignore]
def _continue(handle: int, code: int) -> None:
    wait = _waits.remove(handle)
    if code == _native._UNIFFI_RUST_FUTURE_POLL_READY:
        # Within the poll itself.
        wait.done = True
        return
    try:
        wait.loop.call_soon_threadsafe(_wake, wait)
    except RuntimeError:
        pass  # The loop has ended, and with it whoever waits.


async def _call_async(
    rust_future: Any, ffi_poll: Any, ffi_complete: Any, ffi_free: Any, lift: Any, error_converter: Any
) -> Any:
    # Between its end and the taking of its result the generated one can be cancelled: the result is lost then, and a store that
    # was just opened stays locked.
    loop = asyncio.get_running_loop()
    try:
        while True:
            wait = _Wait(loop)
            ffi_poll(rust_future, _continue, _waits.insert(wait))
            if wait.done:
                return lift(_native._uniffi_rust_call_with_error(error_converter, ffi_complete, rust_future))
            await wait.woken
    finally:
        ffi_free(rust_future)


def _error_text(error: Any) -> str:
    return str(error.text)


def _error_repr(error: Any) -> str:
    return f"RejoinError.{type(error).__name__}({error.text!r})"


def _shown(value: Any) -> str:
    return str(value)


def _hidden(value: Any) -> str:
    return f"{type(value).__qualname__}(…)"


# What must not land in a log by way of a debugger's or an error's text.
_SECRET = ("OpenOptions", "SignInProof", "Invitation")


def _readable(kind: type, hide: bool) -> None:
    if hide:
        kind.__str__ = _hidden  # type: ignore[method-assign, assignment]
    if "__str__" in vars(kind) or hide:
        kind.__repr__ = _shown  # type: ignore[method-assign, assignment]
    # Variants hang on their enum under their names, and derive from it.
    for name, variant in list(vars(kind).items()):
        if name.isupper() and isinstance(variant, type):
            _readable(variant, hide)
            for base in variant.__bases__:
                if base is not kind and "__str__" in vars(base):
                    _readable(base, hide)


def install() -> None:
    _wire.install()
    _values.install()
    _native._uniffi_get_event_loop = _event_loop
    _native._uniffi_rust_call_async = _call_async
    _native._uniffi_future_dropped_callback = _dropped
    for kind in _OBSERVERS:
        kind._handle_map = _Handles()
    _native.RejoinError.__str__ = _error_text
    for name, variant in vars(_native.RejoinError).items():
        if isinstance(variant, type) and issubclass(variant, _native.RejoinError):
            variant.__repr__ = _error_repr  # type: ignore[method-assign]
            variant.__name__, variant.__qualname__ = name, f"RejoinError.{name}"
            variant.__module__ = "rejoin"
    for name in _native.__all__:
        kind = getattr(_native, name)
        if isinstance(kind, type) and not issubclass(kind, BaseException):
            _readable(kind, name in _SECRET)
