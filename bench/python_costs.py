#!/usr/bin/env python3
"""What a call costs through Python over the same call in Rust: an edit, a keystroke, a block, 100 fields as JSON.

    sync-client-ffi/build-phone && cargo build --release -p sync-bench -p uniffi-bindgen
    UNIFFI_BINDGEN=target/release/uniffi-bindgen sync-client-ffi/python/generate target/phone/libsync_client_ffi.so
    python3 bench/python_costs.py --rust target/release/sync-bench

Stores are in memory (`--folder`, /dev/shm), so that no disk is in the figures. A debug library says nothing. Both sides make the
same calls in the same order, in turns; figures are medians of all rounds, and the cost of Python is their difference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sync-client-ffi" / "python"))

import rejoin  # noqa: E402

CALLS, ROUNDS = 200, 10
# What is promised: microseconds over Rust for an edit, and in all for the read.
EDIT_OVER_US, READ_US = 20.0, 200.0


def measure(store: Path) -> dict[str, float]:
    with rejoin.open(store, user="ann", device=uuid.uuid4()) as client:
        edited, typed, wide = client.create("notes"), client.create("notes"), client.create("notes")
        typed.put("text", rejoin.Text())
        for field in range(100):
            wide.put(f"field{field}", f"value {field}")
        at = 0

        def type_one() -> None:
            nonlocal at
            typed.splice("text", at, 0, "a")
            at += 1

        def block() -> None:
            with edited.edit() as edit:
                edit.put("a", 1).put("b", "two").put("c", True)

        calls: dict[str, Callable[[], object]] = {
            "put": lambda: edited.put("title", "Groceries"),
            "splice": type_one,
            "block of 3": block,
            "json of 100 fields": wide.json,
            "json of 100 fields, parsed": lambda: json.loads(wide.json()),
            "to_dict of 100 fields": wide.to_dict,
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        clock = time.perf_counter
        for _ in range(ROUNDS):
            for name, call in calls.items():
                for _ in range(CALLS):
                    began = clock()
                    call()
                    times[name].append((clock() - began) * 1e6)
    return {name: statistics.median(measured) for name, measured in times.items()}


def in_rust(program: Path, store: Path) -> dict[str, float]:
    told = subprocess.run([program, "calls", store], capture_output=True, text=True, check=True).stdout
    return {name: float(us) for name, us in (line.split("\t") for line in told.splitlines())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rust", type=Path, help="sync-bench, built in release; without it there is nothing to compare with")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where stores are made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        python = measure(Path(folder) / "python")
        rust = in_rust(options.rust, Path(folder) / "rust") if options.rust else {}
    missed = False
    print("| call | Python | Rust | over Rust | target |\n| --- | --- | --- | --- | --- |")
    for name, us in python.items():
        same = rust.get(name)
        over = None if same is None else us - same
        target = ""
        if name.startswith("json"):
            target = f"≤ {READ_US:.0f} µs {'met' if us <= READ_US else 'missed'}"
            missed |= us > READ_US
        elif over is not None:
            target = f"≤ {EDIT_OVER_US:.0f} µs over Rust {'met' if over <= EDIT_OVER_US else 'missed'}"
            missed |= over > EDIT_OVER_US
        shown = ["—" if figure is None else f"{figure:.1f} µs" for figure in (us, same, over)]
        print(f"| {name} | {' | '.join(shown)} | {target} |")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
