"""What holds for every test: how much Hypothesis tries, and that a run without a test is no success."""

import os

import pytest
from hypothesis import HealthCheck, settings

# A failure found by chance prints what is needed to see it again; nobody is failed for a slow machine.
settings.register_profile("default", print_blob=True, deadline=None)
# On a build server a red run must be about the change, so the dice fall the same way every time.
settings.register_profile(
    "ci",
    print_blob=True,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For nights and releases: twenty times as much.
settings.register_profile("long", print_blob=True, deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which every test was skipped, as pytest itself fails one that found none."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_worker = hasattr(session.config, "workerinput")
    if reporter is None or is_worker or session.config.option.collectonly:
        return
    if session.exitstatus == pytest.ExitCode.OK and not any(map(reporter.stats.get, ("passed", "xfailed"))):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
