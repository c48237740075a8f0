"""The guide's examples are run, in their order, against a real server; its table names every error that there is."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
import rejoin
from server import ROOT, Server

GUIDE = (ROOT / "docs" / "mobile.md").read_text()
BLOCKS = [(match.start(), match[1]) for match in re.finditer(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S)]


def line_of(position: int) -> int:
    return GUIDE.count("\n", 0, position) + 1


async def test_every_example_of_the_guide_runs(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(BLOCKS) >= 10
    monkeypatch.chdir(tmp_path)
    token, _ = server.token("the app's own")

    async def my_token() -> str:
        return token

    names: dict[str, object] = {"my_token": my_token, "__name__": "guide"}
    for position, text in BLOCKS:
        # Lines as in the guide, so that what fails can be found.
        text = "\n" * line_of(position) + text.replace("https://sync.example.com", server.url)
        code = compile(text, "docs/mobile.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)  # noqa: S307 - our own guide
        if inspect.iscoroutine(result):
            await result
    assert "on this device only" in capsys.readouterr().out


def test_the_table_names_every_error_and_no_other() -> None:
    section = GUIDE.split("\n## Errors\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)`", section, re.M)
    there = [
        name
        for name, variant in vars(rejoin.RejoinError).items()
        if isinstance(variant, type) and issubclass(variant, rejoin.RejoinError)
    ]
    assert sorted(listed) == sorted(there)


def test_type_checkers_see_every_error_with_its_fields() -> None:
    stub = ast.parse((Path(rejoin.__file__).parent / "_errors.pyi").read_text())
    (seen,) = [node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "RejoinError"]
    classes = [node for node in seen.body if isinstance(node, ast.ClassDef)]
    listed = {
        node.name: ["text", *(line.target.id for line in node.body if isinstance(line, ast.AnnAssign))] for node in classes
    }
    there = {
        name: [field for field in inspect.signature(variant.__init__).parameters if field != "self"]
        for name, variant in vars(rejoin.RejoinError).items()
        if isinstance(variant, type) and issubclass(variant, rejoin.RejoinError)
    }
    assert listed == there
