"""The interpreter's end: no thread of the library's may call Python when there is none any more."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable

from . import _account, _bridge, _client
from ._native import rejoin as _native
from ._watch import Watches

# Observers that never return hold up the end no longer than this.
_PATIENCE_S = 5.0
_TOLD_S = 0.5

_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO, "DEBUG": logging.DEBUG}


class _Sink(_native.LogSink):  # type: ignore[misc]
    def __init__(self, keep: Callable[[_native.LogLine], object]) -> None:
        self._keep = keep

    def on_line(self, line: _native.LogLine) -> None:
        self._keep(line)


def _to_logging(line: _native.LogLine) -> None:
    logging.getLogger("rejoin").log(_LEVELS[line.level.name], "%s (%s)", line.text, line.target)


def log_to(
    keep: Callable[[_native.LogLine], object] | None = None, level: _native.LogLevel = _native.LogLevel.WARN
) -> bool:
    """Gives the library's log, from ``level`` on, to a callable, or to ``logging.getLogger("rejoin")``.

    Once in a process: ``False`` if somebody listens already. Lines hold no token, and nothing of a document's contents.
    """
    return bool(_native.log_to(_Sink(keep or _to_logging), level))


def _end() -> None:
    for client in _client.open_clients():
        client.close()
    _account.watches.cancel()
    _native.log_stop()
    # Observers are told what happened before; whoever still waits for something on a client holds that up.
    if not _bridge.wait_released(_TOLD_S):
        Watches.cancel_all()
        _bridge.wait_released(_PATIENCE_S)
    _bridge.stop_background_loop()


def install() -> None:
    atexit.register(_end)
