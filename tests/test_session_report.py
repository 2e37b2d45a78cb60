"""What the session report says and when it fails a run."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

CONFTEST = """
import sys
sys.path.insert(0, {tests!r})
from session_report import SessionReport

def pytest_configure(config):
    config.pluginmanager.register(SessionReport(fail_on_skips={fail}))

def pytest_collection_modifyitems(items):
    for item in items:
        item.user_properties.append(("store", "memory"))
"""

FORBIDDEN = {
    "marked": "import pytest\n@pytest.mark.skip(reason='{reason}')\ndef test_it(): pass",
    "inside": "import pytest\ndef test_it(): pytest.skip('{reason}')",
    "module": "import pytest\npytest.skip('{reason}', allow_module_level=True)",
    "imported": "import pytest\npytest.importorskip('no_such_module', reason='{reason}')",
}
ALLOWED = {
    "passes": "def test_it(): pass",
    "listed": "import pytest\ndef test_it(): pytest.skip('Skipping benchmark (because)')",
    "xfails": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it(): assert 0",
}


@pytest.fixture(params=[0, 2], ids=["alone", "workers"])
def run(request):
    return partial(run_pytest, workers=request.param)


def run_pytest(directory, modules, *, fail, workers):
    directory.joinpath("conftest.py").write_text(CONFTEST.format(tests=str(TESTS), fail=fail))
    for name, code in modules.items():
        text = code.replace("{reason}", f"no server for {name}")
        directory.joinpath(f"test_{name}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".",
         "-p", "xdist", "-n", str(workers)],
        cwd=directory,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def test_every_skip_that_is_not_listed_fails_a_run_in_ci(run, tmp_path):
    result = run(tmp_path, FORBIDDEN | ALLOWED, fail=True)
    assert result.returncode == 1
    listed = result.stdout.partition("skips that are not on the list")[2]
    assert set(re.findall(r"no server for (\w+)", listed)) == FORBIDDEN.keys()


def test_listed_skips_pass_in_ci(run, tmp_path):
    result = run(tmp_path, ALLOWED, fail=True)
    assert result.returncode == 0, result.stdout


def test_skips_pass_elsewhere_and_tests_are_counted_per_store(run, tmp_path):
    result = run(tmp_path, FORBIDDEN | ALLOWED, fail=False)
    assert result.returncode == 0, result.stdout
    assert "store memory: 1 passed, 3 skipped, 1 xfailed" in result.stdout
    failing = run(tmp_path, {"fails": "def test_it(): assert 0"}, fail=False)
    assert "store memory: 1 failed, 1 passed, 3 skipped, 1 xfailed" in failing.stdout


def test_what_tests_measured_is_shown(run, tmp_path):
    code = "def test_it(record_property): record_property('measured', 'speed: 3 m/s')"
    result = run(tmp_path, {"measures": code}, fail=False)
    assert "speed: 3 m/s" in result.stdout
