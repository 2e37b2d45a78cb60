"""How many tests ran over each store, what they measured, and in CI: no skip without a reason."""

import re
from collections import Counter, defaultdict
from typing import Any

import pytest

__all__ = ["ALLOWED_SKIPS", "SessionReport"]

ALLOWED_SKIPS = {
    r"Skipping benchmark": "benchmarks are run by a command of their own",
    r"the CACM collection is not beside": "its texts are not ours to ship",
    r"init_from_env_params not specified": "our chat model has no settings of its own to read",
    r"no (FAISS|Qdrant) here": "these wrapped stores are looked at where they are installed",
    r"Model is not serializable": "a model provider is a Python object, which LangChain cannot write",
}
"""Patterns of skip reasons that do not fail a run in CI, and why."""

_FORBIDDEN = "forbidden skips"


class SessionReport:
    """A pytest plugin; see the module."""

    def __init__(self, *, fail_on_skips: bool) -> None:
        self._fail_on_skips = fail_on_skips
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._forbidden: dict[str, None] = {}  # in their order, once
        self._measured: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        expected = hasattr(report, "wasxfail")
        if report.skipped and not expected:
            self._note_skip(report)
        store = dict(report.user_properties).get("store")
        if store and (report.when == "call" or not report.passed):
            self._outcomes[str(store)]["xfailed" if expected else report.outcome] += 1

        if report.when == "call":
            self._measured += [text for name, text in report.user_properties if name == "measured"]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note_skip(report)

    def _note_skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(pattern, reason) for pattern in ALLOWED_SKIPS):
            self._forbidden[f"{report.nodeid}: {reason}"] = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker, whose modules that skip themselves nobody reports, has left a list."""
        self._forbidden |= dict.fromkeys(getattr(node, "workeroutput", {}).get(_FORBIDDEN, ()))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_FORBIDDEN] = list(self._forbidden)
        if self._forbidden and self._fail_on_skips and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._outcomes:
            terminalreporter.section("tests per store")
        for store, outcomes in sorted(self._outcomes.items()):
            counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
            terminalreporter.line(f"store {store}: {counts}")
        if self._measured:
            terminalreporter.section("measured")
        for line in self._measured:
            terminalreporter.line(line)
        if self._forbidden and self._fail_on_skips:
            terminalreporter.section("skips that are not on the list in tests/session_report.py")
            for skip in self._forbidden:
                terminalreporter.line(skip)
