"""Which stores the tests run over, the server they share, and how the session is judged."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from backends import STORE_NAMES, Backend, make_backend
from milvus_server import MilvusServer, unavailable_reason
from ragbridge.stores.base import SimilarityMetric
from session_report import SessionReport
from shared_server import BorrowedServer, ServerDesk, SharedServer, StartedServer
from work_groups import GroupScheduling, in_turns, write_groups

SERVER_FIXTURES = {"milvus_server", "fragile_server"}
SERVER = pytest.StashKey[SharedServer]()
DESK = pytest.StashKey[ServerDesk]()

settings.register_profile("dev", max_examples=50, deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=100, deadline=None, print_blob=True)
settings.register_profile("long", max_examples=5000, deadline=None, print_blob=True)
ENGINE_SHARE = 5  # an example costs an engine far more than it costs plain Python


def pytest_addoption(parser):
    parser.addoption(
        "--stores",
        type=_store_names,
        default=list(STORE_NAMES),
        help=f"comma-separated stores to test, of {','.join(STORE_NAMES)} (default: all of them)",
    )
    parser.addoption(
        "--congruence-steps", type=int, default=400, help="how long stores are compared; see there"
    )
    parser.addoption(
        "--milvus-uri", help="a running server to use, instead of one that the session starts"
    )


def _store_names(text):
    names = text.split(",")
    if unknown := set(names) - set(STORE_NAMES):
        raise pytest.UsageError(f"--stores: no stores called {', '.join(sorted(unknown))}")
    return names


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.addinivalue_line("markers", "stores(*names): run only over these stores")
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if _in_ci() else "dev"))
    from_controller = getattr(config, "workerinput", {})
    if config.getoption("hypothesis_seed") is None:
        chosen = from_controller.get("hypothesis_seed", str(int.from_bytes(os.urandom(4))))
        config.option.hypothesis_seed = chosen
    config.stash[SERVER] = _shared_server(config.getoption("milvus_uri"), from_controller)
    config.pluginmanager.register(SessionReport(fail_on_skips=_in_ci()))


def _shared_server(uri, from_controller):
    if from_controller and not uri:
        return BorrowedServer(from_controller["server_desk"])
    return StartedServer(uri)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """The controller makes a worker."""
    stash = node.config.stash
    if DESK not in stash:
        stash[DESK] = ServerDesk(stash[SERVER])
    node.workerinput["server_desk"] = str(stash[DESK].folder)
    node.workerinput["hypothesis_seed"] = node.config.getoption("hypothesis_seed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The controller is to say which worker runs which tests."""
    return GroupScheduling(config, log, config.stash[DESK].folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node):
    """A worker knows its tests."""
    node.config.stash[DESK].look()


def _in_ci():
    return os.environ.get("CI", "").lower() in ("1", "true")


def pytest_terminal_summary(terminalreporter, config):
    seed = config.getoption("hypothesis_seed")
    terminalreporter.line(f"random tests: repeat with --hypothesis-seed={seed}")


def pytest_generate_tests(metafunc):
    if "store_name" in metafunc.fixturenames:
        names = metafunc.config.getoption("stores")
        marker = metafunc.definition.get_closest_marker("stores")
        wanted = [name for name in names if marker is None or name in marker.args]
        # Session scope groups the tests by store, so the slow server comes last.
        metafunc.parametrize("store_name", wanted, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if store := _store_of(item):
            item.user_properties.append(("store", store))
    unwanted = [item for item in items if not _is_wanted(item, config.getoption("stores"))]
    config.hook.pytest_deselected(items=unwanted)
    dropped = set(unwanted)
    items[:] = [item for item in items if item not in dropped]
    if hasattr(config, "workerinput"):
        items[:] = in_turns(items, _store_of)


def _store_of(item):
    params = item.callspec.params if hasattr(item, "callspec") else {}
    store = params.get("store_name")
    needs_server = not SERVER_FIXTURES.isdisjoint(item.fixturenames)
    return "milvus" if store is None and needs_server else store


def _is_wanted(item, names):
    return _store_of(item) in (None, *names)


@pytest.hookimpl(tryfirst=True)  # before the controller hears of it
def pytest_collection_finish(session):
    needed = any(_store_of(item) == "milvus" for item in session.items)
    if needed and not session.config.getoption("collectonly"):
        session.config.stash[SERVER].start()
    if from_controller := getattr(session.config, "workerinput", None):
        write_groups(session.items, _store_of, Path(from_controller["server_desk"]))


def pytest_unconfigure(config):
    if SERVER in config.stash:
        config.stash[SERVER].stop()
    if DESK in config.stash:
        config.stash[DESK].close()


@pytest.fixture(scope="session")
def milvus_server(request):
    """The Milvus 2.3.5 server that the tests share; make collections of your own in it."""
    return request.config.stash[SERVER].wait()


@pytest.fixture(scope="session")
def _fragile_server():
    if reason := unavailable_reason():
        pytest.skip(reason)
    with MilvusServer() as server:
        yield server


@pytest.fixture
def fragile_server(_fragile_server):
    """A server for the tests that pause and kill it, which others would not bear."""
    yield _fragile_server
    if not _fragile_server.is_running:  # a test failed before it started it again
        _fragile_server.start()


@pytest.fixture(scope="session")
def backend(store_name, request, tmp_path_factory) -> Iterator[Backend]:
    """Where the stores under test are made; see `pytest --stores`."""
    if store_name == "milvus":
        uri = request.getfixturevalue("milvus_server").uri
    else:
        uri = str(tmp_path_factory.mktemp("lite") / "rows.db")
    backend = make_backend(store_name, uri)
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def milvus_uri(backend) -> str:
    """Where the Milvus under test is, for tests that run over no other store."""
    return backend.uri


@pytest.fixture
def make_store(backend):
    """A function that makes a new store: `make_store(metric=..., **options)`."""
    stores = []

    def make(*, metric=SimilarityMetric.COSINE, **options):
        stores.append(backend.new_store(metric=metric, **options))
        return stores[-1]

    yield make
    for store in stores:
        backend.remove(store)


@pytest.fixture
def few_examples(store_name):
    """Fewer examples for property tests where a store is an engine."""
    profile = settings.get_current_profile_name()
    if store_name != "memory":
        settings.register_profile(
            "engine", settings(), max_examples=max(1, settings().max_examples // ENGINE_SHARE)
        )
        settings.load_profile("engine")
    yield
    settings.load_profile(profile)
