"""Which stores the tests run over, the server they share, and how the session is judged."""

import os

import pytest
from hypothesis import settings

from backends import STORE_NAMES, Backend, SharedServer, make_backend
from ragbridge.stores.base import SimilarityMetric
from session_report import SessionReport

SERVER_FIXTURE = "milvus_server"
SERVER = pytest.StashKey[SharedServer]()

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
    if config.getoption("hypothesis_seed") is None:
        config.option.hypothesis_seed = str(int.from_bytes(os.urandom(4)))
    config.stash[SERVER] = SharedServer(config.getoption("milvus_uri"))
    config.pluginmanager.register(SessionReport(fail_on_skips=_in_ci()))


def _in_ci():
    return os.environ.get("CI", "").lower() in ("1", "true")


def pytest_report_header(config):
    return f"random tests: repeat with --hypothesis-seed={config.getoption('hypothesis_seed')}"


def pytest_generate_tests(metafunc):
    if "store_name" in metafunc.fixturenames:
        names = metafunc.config.getoption("stores")
        marker = metafunc.definition.get_closest_marker("stores")
        wanted = [name for name in names if marker is None or name in marker.args]
        # Session scope groups the tests by store, so the slow server comes last.
        metafunc.parametrize("store_name", wanted, scope="session")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if store := _store_of(item):
            item.user_properties.append(("store", store))
    unwanted = [item for item in items if not _is_wanted(item, config.getoption("stores"))]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if item not in set(unwanted)]


def _store_of(item):
    params = item.callspec.params if hasattr(item, "callspec") else {}
    store = params.get("store_name")
    return "milvus" if store is None and SERVER_FIXTURE in item.fixturenames else store


def _is_wanted(item, names):
    return _store_of(item) in (None, *names)


def pytest_collection_finish(session):
    needed = any(_store_of(item) == "milvus" for item in session.items)
    if needed and not session.config.getoption("collectonly"):
        session.config.stash[SERVER].start()


def pytest_unconfigure(config):
    if SERVER in config.stash:
        config.stash[SERVER].stop()


@pytest.fixture(scope="session")
def milvus_server(request):
    """The Milvus 2.3.5 server that the tests share; make collections of your own in it."""
    return request.config.stash[SERVER].wait()


@pytest.fixture(scope="session")
def backend(store_name, request, tmp_path_factory) -> Backend:
    """Where the stores under test are made; see `pytest --stores`."""
    if store_name == "milvus":
        return make_backend(store_name, request.getfixturevalue(SERVER_FIXTURE).uri)
    return make_backend(store_name, str(tmp_path_factory.mktemp("lite") / "rows.db"))


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
