"""The `ragbridge` command, run in process and as a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foreign_layouts import MADE, open_made
from ragbridge.cli import main

CATALOG = Path(__file__).parent.parent / "examples" / "data" / "product_catalog.md"
QUESTION = "What wireless headphones are available under $100?"
FILTER = 'price < 100 and category == "Wireless Headphones"'
CHEAP = {"Aurora Lite 200", "Brisk Buds", "Calder Over-Ear 45", "Kitekids Safe"}


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def store(tmp_path):
    return tmp_path / "shop.db"


def headers(output):
    return [match["metadata"]["header"] for match in json.loads(output)["matches"]]


def test_asks_files_without_a_store(run):
    code, out, err = run(
        "ask", QUESTION, "--store", "memory:", "--ingest", CATALOG, "--extract",
        "--filter", FILTER, "--top-k", "3", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert len(headers(out)) == 3
    assert set(headers(out)) <= CHEAP


def test_ingests_once_and_asks_later(run, store):
    assert run("ingest", CATALOG, "--store", store, "--extract")[0] == 0
    code, out, _ = run("ask", QUESTION, "--store", store, "--filter", FILTER, "--json")
    assert code == 0
    assert set(headers(out)) == CHEAP


def test_filter_may_be_json(run, store):
    run("ingest", CATALOG, "--store", store, "--extract")
    filters = {"filters": [{"key": "category", "operator": "==", "value": "Cameras"}]}
    assert run("count", "--store", store, "--filter", json.dumps(filters))[1] == "5\n"


def test_ingesting_again_replaces(run, store, tmp_path):
    note = tmp_path / "note.md"
    note.write_text("# A\n\none\n\n# B\n\ntwo\n")
    run("ingest", note, "--store", store)
    assert run("count", "--store", store)[1] == "2\n"
    note.write_text("# A\n\none\n")
    run("ingest", note, "--store", store)
    assert run("count", "--store", store)[1] == "1\n"


def test_reads_directories_and_every_kind_of_text(run, store, tmp_path):
    folder = tmp_path / "docs" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.md").write_text("# Title\n\nmarkdown text")
    (folder / "b.html").write_text("<h1>Page</h1><p>html text</p><script>no()</script>")
    (folder.parent / "c.txt").write_text("plain text")
    (folder / "picture.png").write_bytes(b"\x89PNG\xff")
    code, out, _ = run("ingest", tmp_path / "docs", "--store", store, "--json")
    assert (code, json.loads(out)["documents"]) == (0, 3)
    matches = json.loads(run("ask", "text", "--store", store, "--json")[1])["matches"]
    assert {match["metadata"]["mime_type"] for match in matches} == {
        "text/markdown", "text/html", "text/plain"
    }  # fmt: skip
    assert not any("no()" in match["content"] for match in matches)


def test_deletes_by_filter_by_document_and_all(run, store, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("something else")
    run("ingest", CATALOG, other, "--store", store, "--extract")
    before = int(run("count", "--store", store)[1])
    assert (
        run("delete", "--store", store, "--filter", 'category == "Laptops"')[1]
        == "5 rows deleted\n"
    )
    assert run("delete", "--store", store, "--document", other.resolve())[1] == "1 rows deleted\n"
    assert int(run("count", "--store", store)[1]) == before - 6
    assert json.loads(run("delete", "--store", store, "--all", "--json")[1]) == {
        "deleted": before - 6
    }
    assert run("count", "--store", store)[1] == "0\n"


def test_info(run, store):
    run("ingest", CATALOG, "--store", store)
    code, out, _ = run("info", "--store", store, "--json")
    info = json.loads(out)
    assert code == 0
    assert (info["collection"], info["metric"]) == ("ragbridge", "cosine")
    assert info["rows"] > 27
    assert "rows:" in run("info", "--store", store)[1]


def test_info_of_what_another_tool_made(run, store):
    with open_made(MADE["rocketride"], str(store), metric="euclidean") as made:
        where = ("--store", store, "--collection", made.collection_name)
        info = json.loads(run("info", *where, "--json")[1])
        assert (info["made_by"], info["metric"], info["rows"]) == ("RocketRide", "euclidean", 0)
        assert info["fields"]["document_id"] == "meta.objectId"
        assert "document_id in meta.objectId" in run("info", *where)[1]
        assert run("count", *where)[1] == "0\n"
        code, _, err = run("info", "--store", store, "--collection", "nobodys")
        assert code == 1
        assert "no collection 'nobodys'" in err


def test_prints_a_prompt_for_a_model(run, store):
    run("ingest", CATALOG, "--store", store)
    out = run("ask", QUESTION, "--store", store, "--prompt")[1]
    assert QUESTION in out
    assert any(name in out for name in CHEAP)


def test_says_when_nothing_matches(run, store):
    run("ingest", CATALOG, "--store", store)
    assert run("ask", "x", "--store", store, "--filter", "price < 0") == (0, "no matches\n", "")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("count", "--store", "missing.db"), "missing.db does not exist"),
        (("count", "--store", "data.sqlite"), "must be a path ending in .db"),
        (("count", "--store", "memory:"), "ask --ingest"),
        (("ask", "x", "--store", "memory:"), "ask --ingest"),
        (("ask", "x", "--store", "missing.db", "--filter", "price <"), "cannot read the filter"),
        (("ask", "x", "--store", "missing.db", "--filter", "{"), "no JSON"),
        (("delete", "--store", "missing.db"), "--all"),
        (("delete", "--store", "missing.db", "--all", "--filter", "a == 1"), "--all"),
        (("ask", "x", "--store", "memory:", "--ingest", "no-such-file.md"), "cannot read"),
        (("ask", " ", "--store", "memory:", "--ingest", str(CATALOG)), "query"),
        (("ask", "x", "--top-k", "0", "--store", "memory:", "--ingest", str(CATALOG)), "top_k"),
        (("ingest", str(CATALOG), "--store", "x.db", "--collection", "a b"), "collection"),
    ],
)
def test_one_line_says_what_is_wrong(run, arguments, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("ragbridge: ")
    assert hint in err
    assert err.count("\n") == 1


def test_refuses_a_file_that_is_no_text(run, store, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\xff")
    code, _, err = run("ingest", picture, "--store", store)
    assert code == 1
    assert "picture.png is no UTF-8 text" in err


@pytest.mark.parametrize("arguments", [[], ["fly"], ["ask", "x"], ["ask", "--store", "x.db"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: ragbridge" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["ingest"], ["ask"], ["count"], ["delete"], ["info"]])
def test_helps(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    assert "usage: ragbridge" in capsys.readouterr().out


def test_is_quiet_in_a_pipe(tmp_path):
    lines = "\n".join(f"# Part {number}\n\nSome text of part {number}.\n" for number in range(3000))
    (tmp_path / "long.md").write_text(lines)
    result = subprocess.run(
        [sys.executable, "-m", "ragbridge.cli", "ask", "part", "--store", "memory:", "--ingest",
         str(tmp_path / "long.md"), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stderr == ""
    assert len(json.loads(result.stdout)["matches"]) == 5


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    (tmp_path / "long.txt").write_text("many words " * 200_000)
    command = (
        f"{sys.executable} -m ragbridge.cli ask words --top-k -1 --store memory: "
        f"--ingest {tmp_path / 'long.txt'} | head -c 10; exit ${{PIPESTATUS[0]}}"
    )
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stderr == ""
