"""One test in a job: a pytest of its own, which collects that test only and sends its reports."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from governor.api import default
from governor.api.calls import Call, is_complete, value_of
from governor.api.limits import Limits
from governor.api.streams import Streams
from governor.errors import JobFailed
from governor.testing.plugin import INSIDE

_NOT_INSIDE: dict[str, Any] = {
    "basetemp": None,
    "capture": "fd",
    "collectonly": False,
    "deselect": None,
    "dist": "no",
    "failedfirst": False,
    "keyword": "",
    "lf": False,
    "log_file": None,
    "markexpr": "",
    "maxfail": 0,
    "newfirst": False,
    "numprocesses": None,
    "pastebin": None,
    "stepwise": False,
    "tx": [],
    "usepdb": False,
    "xmlpath": None,
}
"""Options that choose tests, share them out, or write reports: for the outer pytest only."""
_PLUGINS_NOT_INSIDE = ("terminal", "junitxml", "cacheprovider", "cov", "xdist")

_numbers = itertools.count(1)


def run(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run a test in a job and report on it as if it had run here."""
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    # What the tests before have set up, and the ones to come do not need, ends here as always.
    for report in [*_reports(item), *_torn_down(item, nextitem)]:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def _reports(item: pytest.Item) -> list[pytest.TestReport]:
    """The reports from the job; one of a failure if it has not sent any."""
    sent: list[pytest.TestReport] = []
    call = pytest.CallInfo.from_call(
        lambda: sent.extend(_run_in_job(item)), "call", (KeyboardInterrupt, pytest.exit.Exception)
    )
    if call.excinfo is None:
        return sent
    return [item.ihook.pytest_runtest_makereport(item=item, call=call)]


def _torn_down(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[pytest.TestReport]:
    state = item.session._setupstate
    call = pytest.CallInfo.from_call(lambda: state.teardown_exact(nextitem), "teardown")
    if call.excinfo is not None:
        yield item.ihook.pytest_runtest_makereport(item=item, call=call)


def _run_in_job(item: pytest.Item) -> list[pytest.TestReport]:
    limits = _limits(item)
    config = item.config
    # Absolute, since the job's pytest has no other idea of where it was started.
    test = "::".join([str(item.path), *item.nodeid.split("::")[1:]])
    arguments = ["--rootdir", str(config.rootpath), test]
    if config.inipath is not None:
        arguments = ["-c", str(config.inipath), *arguments]
    call = Call(_run_inside, (arguments, _options(config), item.nodeid))
    directory = config.invocation_params.dir
    with Streams(None, False, value=True) as streams:
        result = default.governor()._run(
            call, (), streams, {"name": item.name, "limits": limits, "cwd": directory}
        )
        assert streams.value is not None
        answer = bytes(streams.value.data)
    if result.timed_out or not is_complete(answer):
        # There are no reports; this says why.
        pytest.fail(str(JobFailed(item.name, result)), pytrace=False)
    load = config.hook.pytest_report_from_serializable
    reports = [load(config=config, data=data) for data in value_of(answer)]
    if result.refusals:
        refused = "\n".join(map(str, result.refusals))
        for report in reports:
            report.sections.append(("Refused by governor", refused))
    return reports


def _limits(item: pytest.Item) -> Limits:
    """Those of the marker, and of markers on class and module what the nearer do not say."""
    limits = Limits()
    for marker in item.iter_markers("governor"):
        wrong = [*map(repr, marker.args), *sorted(marker.kwargs.keys() - set(Limits._fields))]
        if wrong:
            words = ", ".join(Limits._fields)
            pytest.fail(f"pytest.mark.governor takes {words}, not {', '.join(wrong)}", False)
        limits = limits.over(Limits.of(**marker.kwargs))
    return limits


def _options(config: pytest.Config) -> dict[str, Any]:
    """The options of this pytest as far as they concern a single test, and can be sent."""
    given = {name: value for name, value in vars(config.option).items() if _is_plain(value)}
    known = {name: value for name, value in _NOT_INSIDE.items() if name in given}
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        # Within that of this session, which keeps it as long as its own.
        known["basetemp"] = str(factory.getbasetemp() / f"governor{next(_numbers)}")
    return given | known


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    return value is None or isinstance(value, str | int | float)


class _Only:
    """Runs one test and keeps the reports."""

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self.reports: list[dict[str, Any]] = []
        self.mistakes: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid == self._nodeid]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.mistakes.append(report.longreprtext)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self.config.hook
        data = hook.pytest_report_to_serializable(config=self.config, report=report)
        self.reports.append(data)

    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config


def _run_inside(arguments: list[str], options: dict[str, Any], nodeid: str) -> list[dict[str, Any]]:
    """In the job: run a pytest for this one test; its reports, as data."""
    only = _Only(nodeid)
    blocked = [word for name in _PLUGINS_NOT_INSIDE for word in ("-p", f"no:{name}")]
    config = pytest.Config.fromdictargs(options, [*blocked, *arguments])
    config.pluginmanager.register(only, INSIDE)
    config.hook.pytest_cmdline_main(config=config)
    if not only.reports:
        raise RuntimeError("\n".join(only.mistakes) or f"{nodeid} is not collected in its job")
    return only.reports
