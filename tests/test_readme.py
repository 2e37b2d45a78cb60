"""Every snippet of the README does what the README says."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, text) for kind, text in BLOCK.findall(README)]
SCRIPTS = [text for kind, text in BLOCKS if kind == "python"]
COMMANDS = [
    line
    for kind, text in BLOCKS
    if kind == "bash"
    for line in text.replace("\\\n", " ").splitlines()
]


def test_every_block_is_of_a_kind_that_is_run():
    assert {kind for kind, _ in BLOCKS} <= {"python", "bash", "text"}


def test_python_snippets_run_in_one_go(tmp_path, monkeypatch, capsys):
    """They build on one another, as a reader would type them; `# ->` comments show what is printed."""
    monkeypatch.chdir(tmp_path)
    Path("examples").symlink_to(ROOT / "examples")
    names = {}
    for script in SCRIPTS:
        exec(compile(script, "README.md", "exec"), names)
        expected = re.findall(r"# -> (.*)", script)
        assert capsys.readouterr().out.splitlines() == expected, script


def test_the_main_command_finds_wireless_headphones_under_100_dollars(tmp_path):
    install, command = COMMANDS[0].split(" && .venv/bin/ragbridge ")
    assert install == "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]'"
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    program = Path(sys.executable).parent / "ragbridge"
    result = subprocess.run(
        [program, *shlex.split(command), "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    top = json.loads(result.stdout)["matches"][:3]
    assert len(top) == 3
    for match in top:
        assert match["metadata"]["category"] == "Wireless Headphones"
        assert match["metadata"]["price"] < 100


def test_the_commands_on_the_store_it_made(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    bin_directory = Path(sys.executable).parent
    for line in COMMANDS[0:1] + [
        line for line in COMMANDS if line.startswith(".venv/bin/ragbridge")
    ]:
        command = line.split(" && ")[-1].replace(".venv/bin", str(bin_directory))
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True)


def test_ci_installs_and_tests_as_the_readme_says():
    test_command = next(line for line in COMMANDS if "pytest" in line)
    assert test_command == (
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest -n 4"
    )
    script = ROOT / ".ci" / "run"
    for part in ("-m venv", "bin/pip\" install -q -e '.[dev]'", 'bin/pytest" -n 4'):
        assert part in script.read_text()


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_run(example, tmp_path):
    result = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert list(tmp_path.iterdir()) == []
