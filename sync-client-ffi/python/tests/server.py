"""The real server, as a process of its own, and what its command line gives."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

CONFIG = """
[accounts]
memory_kib = 8
iterations = 1

[limits]
rules = []
"""


def binary() -> Path:
    """`REJOIN_SERVER` names it; else it is where cargo puts it."""
    named = os.environ.get("REJOIN_SERVER")
    return Path(named) if named else Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "sync-server"


class Server:
    """A running server, which can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(CONFIG)
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def _arguments(self) -> list[str]:
        return ["--config", str(self.config), "--data", str(self.folder / "data")]

    def start(self) -> None:
        listen = self.url.removeprefix("http://") or "127.0.0.1:0"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), "serve", *self._arguments(), "--listen", listen],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        # It takes requests when it has said where.
        line = self._process.stdout.readline()
        assert line.startswith("listening on "), (self.folder / "log").read_text()
        self.url = line.removeprefix("listening on ").strip()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def token(self, user: str, device: uuid.UUID | None = None, ttl: str = "1h") -> tuple[str, uuid.UUID]:
        """An access token for development, and the device in it."""
        which = str(device) if device else "new"
        command = [binary(), "token", *self._arguments(), "--user", user, "--device", which, "--ttl", ttl]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = re.search(r"^device:? +([0-9a-f-]{36})$", done.stderr, re.M)
        assert said, done.stderr
        return done.stdout.strip(), uuid.UUID(said[1])

    def foreign_token(self, user: str, device: uuid.UUID) -> str:
        """A token that this server does not take: another one signed it."""
        command = [binary(), "token", "--data", str(self.folder / "foreign"), "--user", user, "--device", str(device)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def let_in(self, space: uuid.UUID, user: str, role: str) -> None:
        """Says what a user may do in a space."""
        command = [binary(), "members", "set", *self._arguments()]
        command += ["--space", str(space), "--user", user, "--role", role]
        subprocess.run(command, capture_output=True, check=True)
