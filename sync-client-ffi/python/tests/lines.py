"""A pytest plugin: a line a test, as cargo has them, for `tests/run` to count."""

from __future__ import annotations

import pytest


def _name(report: pytest.TestReport) -> str:
    return "python::" + report.nodeid.removeprefix("tests/").replace(".py", "", 1)


class Lines:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._failed: set[str] = set()

    def _say(self, line: str) -> None:
        # Not by `print`, which is captured.
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        terminal.ensure_newline()
        terminal.write_line(line)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = _name(report)
        if report.failed and name not in self._failed:
            self._failed.add(name)
            self._say(f"test {name} ... FAILED")
        elif report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._say(f"test {name} ... skipped, {why.removeprefix('Skipped: ')}")
        elif report.when == "teardown" and report.passed and name not in self._failed and not self._skipped(report):
            self._say(f"test {name} ... ok")

    def _skipped(self, report: pytest.TestReport) -> bool:
        return any(skipped.nodeid == report.nodeid for skipped in self._stats("skipped"))

    def _stats(self, kind: str) -> list[pytest.TestReport]:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        return [report for report in terminal.stats.get(kind, []) if isinstance(report, pytest.TestReport)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        # No dots: the lines say it.
        if report.passed and report.when == "call":
            return "passed", "", ""
        if report.skipped:
            return "skipped", "", ""
        if report.failed:
            return ("failed" if report.when == "call" else "error"), "", ""
        return None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Lines(config), "lines-of-tests")
