"""Configurations: which setting wins, what is refused, and that no secret shows."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.errors import InvalidConfigError
from ragbridge.stores.base import SimilarityMetric
from ragbridge.stores.milvus.config import PROFILES, MilvusConfig, check_pymilvus_environment
from ragbridge.stores.milvus.indexes import Hnsw, IvfFlat

SECRET = "s3cret-Kq7"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("MILVUS_", "RAGBRIDGE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def environment(monkeypatch):
    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


# Addresses.


@pytest.mark.parametrize(
    ("uri", "read"),
    [
        ("http://localhost:19530", "http://localhost:19530"),
        ("http://localhost", "http://localhost:19530"),
        ("https://in03.cloud.zilliz.com", "https://in03.cloud.zilliz.com:443"),
        ("https://in03.cloud.zilliz.com:19535/", "https://in03.cloud.zilliz.com:19535"),
        ("  HTTP://LocalHost:1/  ", "http://localhost:1"),
        ("http://milvus_standalone:65535", "http://milvus_standalone:65535"),
        ("http://10.0.0.7", "http://10.0.0.7:19530"),
        ("http://[::1]", "http://[::1]:19530"),
        ("https://[2001:DB8::7]:8443", "https://[2001:db8::7]:8443"),
    ],
)
def test_addresses_of_servers(uri, read):
    config = MilvusConfig(uri=uri)
    assert config.uri == read
    assert not config.is_lite
    assert MilvusConfig(uri=read) == config


@pytest.mark.parametrize("uri", ["demo.db", "./demo.db", " demo.db ", "sub/../demo.db"])
def test_paths_are_files_of_milvus_lite(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = MilvusConfig(uri=uri)
    assert config.uri == str(tmp_path.resolve() / "demo.db")
    assert config.is_lite
    assert not list(tmp_path.iterdir())


def test_a_path_stays_where_it_was_when_the_working_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = MilvusConfig.from_env(uri=Path("demo.db"))
    monkeypatch.chdir("/")
    assert Path(config.client_options()["uri"]).parent == tmp_path.resolve()


def test_a_home_directory_is_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert MilvusConfig(uri="~/demo.db").uri == str(tmp_path.resolve() / "demo.db")


@pytest.mark.parametrize(
    "uri",
    [
        "", " ", "localhost:19530", "localhost", "demo", "demo.sqlite", "tcp://localhost:19530",
        "file:///demo.db", "http://", "http://:19530", "http://a b", "http://host:port", "http://h:0",
        "http://h:65536", "http://h:-1", "http://h?x=1", "http://h#x", "http://h/a/b", "http://[::1",
        "http://[::g]", "http://-h", "http://h..", "http://hö", "a\0.db", "~nobody-at-all/x.db",
        None, 5, b"demo.db",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(uri):
    with pytest.raises(InvalidConfigError, match=r"^uri "):
        MilvusConfig(uri=uri)


@pytest.mark.parametrize(
    ("host", "port", "read"),
    [
        ("localhost", None, "http://localhost:19530"),
        ("localhost", 19531, "http://localhost:19531"),
        ("localhost", " 19531 ", "http://localhost:19531"),
        (" localhost:7 ", None, "http://localhost:7"),
        ("localhost:7", 7, "http://localhost:7"),
        ("localhost/", None, "http://localhost:19530"),
        ("https://db.example.com/", None, "https://db.example.com:443"),
        ("https://db.example.com", 19530, "https://db.example.com:19530"),
        ("http://db.example.com:81", None, "http://db.example.com:81"),
        ("::1", None, "http://[::1]:19530"),
        ("[::1]", 5, "http://[::1]:5"),
        (" [::1]:6/", None, "http://[::1]:6"),
        ("http://[::1]:6", None, "http://[::1]:6"),
    ],
)
def test_hosts_as_people_write_them(host, port, read):
    assert MilvusConfig.from_env(host=host, port=port).uri == read


@pytest.mark.parametrize("host", ["a b", "ftp://h", "/", "./demo.db", "h:x", ":19530", 5, "[::1]x"])
def test_what_is_no_host_is_refused(host):
    with pytest.raises(InvalidConfigError, match=r"^host "):
        MilvusConfig.from_env(host=host)


@pytest.mark.parametrize("port", [0, 65536, -1, 1.5, True, "x", "1e3", "٣", [1]])
def test_what_is_no_port_is_refused(port):
    with pytest.raises(InvalidConfigError, match="port must be a port from 1 to 65535"):
        MilvusConfig.from_env(host="h", port=port)


def test_a_database_in_the_address():
    assert MilvusConfig(uri="http://h/sales").db_name == "sales"
    assert MilvusConfig(uri="http://h/sales/", db_name="sales").uri == "http://h:19530"
    with pytest.raises(InvalidConfigError, match="db_name contradicts"):
        MilvusConfig(uri="http://h/sales", db_name="stock")


@pytest.mark.parametrize("name", ["a-b", "1a", "a b", "ä", "a" * 256, 'x" or 1==1', 5])
def test_bad_database_names_are_refused(name):
    with pytest.raises(InvalidConfigError, match="db_name must be"):
        MilvusConfig(uri="http://h", db_name=name)


# Which setting wins.


def test_arguments_win_over_environment_over_profile(environment):
    assert MilvusConfig.from_env("local").uri == "http://localhost:19530"
    environment(MILVUS_HOST="environment", MILVUS_PORT="2", MILVUS_TIMEOUT="3")
    assert MilvusConfig.from_env("local").uri == "http://environment:2"
    assert MilvusConfig.from_env("local", port=4).uri == "http://environment:4"
    assert MilvusConfig.from_env("local", host="argument").uri == "http://argument:2"
    assert MilvusConfig.from_env("local", host="argument:5").uri == "http://argument:5"
    assert MilvusConfig.from_env("local", uri="http://argument").uri == "http://argument:19530"
    assert MilvusConfig.from_env("local").timeout == 3.0
    assert MilvusConfig.from_env("local", timeout=6).timeout == 6


def test_the_order_of_addresses_in_the_environment(environment, tmp_path):
    environment(MILVUS_HOST="third", MILVUS_PORT="3")
    assert MilvusConfig.from_env().uri == "http://third:3"
    environment(MILVUS_URI="http://second:2")
    assert MilvusConfig.from_env().uri == "http://second:2"
    environment(RAGBRIDGE_URI=str(tmp_path / "first.db"))
    assert MilvusConfig.from_env().uri == str(tmp_path.resolve() / "first.db")
    environment(RAGBRIDGE_URI="https://first:1")
    assert MilvusConfig.from_env().uri == "https://first:1"


def test_every_setting_can_come_from_the_environment(environment, tmp_path):
    pem = tmp_path / "server.pem"
    pem.touch()
    environment(
        RAGBRIDGE_URI="https://h",
        MILVUS_TOKEN=SECRET,
        MILVUS_DB_NAME="sales",
        MILVUS_INDEX_TYPE="hnsw",
        MILVUS_METRIC_TYPE="L2",
        MILVUS_TIMEOUT="2.5",
        MILVUS_BATCH_SIZE=" 7 ",
        MILVUS_BATCH_BYTES="4096",
        MILVUS_SERVER_PEM_PATH=str(pem),
        MILVUS_SERVER_NAME="milvus.test",
    )
    assert MilvusConfig.from_env() == MilvusConfig(
        uri="https://h:443",
        token=SECRET,
        db_name="sales",
        index=Hnsw(),
        metric=SimilarityMetric.EUCLIDEAN,
        timeout=2.5,
        batch_size=7,
        batch_bytes=4096,
        server_pem_path=str(pem),
        server_name="milvus.test",
    )


def test_empty_variables_and_arguments_count_as_not_given(environment):
    environment(RAGBRIDGE_URI=" ", MILVUS_URI="", MILVUS_HOST="h", MILVUS_PORT="", MILVUS_TOKEN=" ")
    config = MilvusConfig.from_env(uri=None, token="", host=None, index=None)
    assert config == MilvusConfig(uri="http://h:19530")


def test_the_constructor_reads_no_environment(environment):
    environment(MILVUS_TOKEN=SECRET, MILVUS_TIMEOUT="1", MILVUS_DB_NAME="sales")
    config = MilvusConfig(uri="http://h")
    assert (config.token, config.timeout, config.db_name) == ("", 60.0, "")


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("COSINE", SimilarityMetric.COSINE),
        ("cosine", SimilarityMetric.COSINE),
        ("L2", SimilarityMetric.EUCLIDEAN),
        ("euclidean", SimilarityMetric.EUCLIDEAN),
        (" ip ", SimilarityMetric.DOT_PRODUCT),
        ("dot_product", SimilarityMetric.DOT_PRODUCT),
        ("Jaccard", SimilarityMetric.JACCARD),
        (SimilarityMetric.COSINE, SimilarityMetric.COSINE),
    ],
)
def test_metrics_by_either_name(name, metric):
    assert MilvusConfig.from_env("local", metric=name).metric is metric


def test_indexes_by_name_or_made():
    assert MilvusConfig.from_env("local", index="IVF_FLAT").index == IvfFlat()
    assert MilvusConfig(uri="http://h", index=Hnsw(m=4)).index == Hnsw(m=4)


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("index", "HNWS", "index must be one of FLAT, AUTOINDEX, HNSW"),
        ("index", 5, "index must be one of"),
        ("metric", "SUBSTRUCTURE", "must be one of COSINE, L2, IP"),
        ("metric", 5, "must be one of COSINE, L2, IP"),
        ("timeout", 0, "timeout must be a positive number of seconds, not int 0"),
        ("timeout", -1.0, "timeout must be"),
        ("timeout", float("inf"), "timeout must be"),
        ("timeout", float("nan"), "timeout must be"),
        ("timeout", "5", "timeout must be"),
        ("timeout", True, "timeout must be"),
        ("batch_size", 0, "batch_size must be a positive integer, not int 0"),
        ("batch_size", 1.5, "batch_size must be"),
        ("batch_bytes", -1, "batch_bytes must be"),
        ("token", 5, "token must be a string, not int"),
        ("server_name", 5, "server_name must be a string"),
    ],
)
def test_wrong_settings_are_refused(setting, value, complaint):
    with pytest.raises(InvalidConfigError, match=complaint):
        MilvusConfig(uri="https://h", **{setting: value})
    with pytest.raises(InvalidConfigError, match=complaint):
        MilvusConfig.from_env(uri="https://h", **{setting: value})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MILVUS_TIMEOUT", "soon"),
        ("MILVUS_BATCH_SIZE", "1.5"),
        ("MILVUS_BATCH_BYTES", "32MB"),
        ("MILVUS_PORT", "x"),
        ("MILVUS_METRIC_TYPE", "SUBSTRUCTURE"),
    ],
)
def test_wrong_variables_are_refused_by_their_name(environment, variable, text):
    environment(MILVUS_HOST="h", **{variable: text})
    with pytest.raises(InvalidConfigError, match=rf"{variable}\b.*'{text}'"):
        MilvusConfig.from_env()


def test_unknown_settings_are_refused_with_those_that_there_are():
    with pytest.raises(
        InvalidConfigError, match=r"no setting is called 'urI'; there are .*, uri, user$"
    ):
        MilvusConfig.from_env(urI="http://h")


# Profiles.


def test_profiles(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert set(PROFILES) == {"lite", "local", "cloud"}
    assert MilvusConfig.from_env("lite").uri == str(tmp_path.resolve() / "ragbridge.db")
    assert MilvusConfig.from_env("lite", uri="other.db").uri == str(tmp_path.resolve() / "other.db")
    assert MilvusConfig.from_env("local") == MilvusConfig(uri="http://localhost:19530")
    assert MilvusConfig.from_env("local", host="https://h").uri == "https://h:443"
    cloud = MilvusConfig.from_env("cloud", host="in03-1.cloud.zilliz.com", token=SECRET)
    assert cloud == MilvusConfig(uri="https://in03-1.cloud.zilliz.com:443", token=SECRET)
    environment(MILVUS_TOKEN=SECRET)
    assert MilvusConfig.from_env("cloud", uri="https://h").token == SECRET


@pytest.mark.parametrize(
    ("profile", "arguments", "complaint"),
    [
        ("cloud", {"host": "h"}, "the profile cloud needs a token"),
        ("cloud", {"token": SECRET}, "no address: give uri or host"),
        ("cloud", {"uri": "http://h", "token": SECRET}, "does not go with the profile cloud"),
        ("cloud", {"uri": "demo.db"}, "does not go with the profile cloud"),
        ("lite", {"host": "h"}, "does not go with the profile lite"),
        ("lite", {"uri": "http://h"}, "does not go with the profile lite"),
        ("lite", {"port": 5}, "uri is the whole address; leave out port"),
        ("local", {"uri": "demo.db"}, "does not go with the profile local"),
        ("Local", {}, "profile must be one of lite, local, cloud, or None, not str 'Local'"),
        (5, {}, "profile must be one of"),
        (None, {}, "no address: give uri or host"),
    ],
)
def test_what_contradicts_a_profile_is_refused(profile, arguments, complaint):
    with pytest.raises(InvalidConfigError, match=complaint):
        MilvusConfig.from_env(profile, **arguments)


def test_an_address_of_the_environment_can_contradict_a_profile(environment):
    environment(MILVUS_URI="http://h")
    with pytest.raises(InvalidConfigError, match="does not go with the profile lite"):
        MilvusConfig.from_env("lite")


# Contradictions.


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"uri": "http://h", "host": "h"}, "uri is the whole address; leave out host"),
        ({"uri": "http://h", "port": 5}, "uri is the whole address; leave out port"),
        ({"host": "h:1", "port": 2}, "host has port 1, but port is 2"),
        ({"host": "h", "user": "root"}, "user and password go together"),
        ({"host": "h", "password": SECRET}, "user and password go together"),
        ({"host": "h", "user": "a:b", "password": SECRET}, "a user has no colon"),
        ({"host": "h", "user": "a", "password": SECRET, "token": "x"}, "token contradicts"),
        ({"uri": "http://a:b@h", "token": SECRET}, "token contradicts"),
        ({"uri": "http://a:b@h", "user": "a", "password": SECRET}, "token contradicts"),
        ({"uri": "http://h/sales", "db_name": "stock"}, "db_name contradicts"),
        ({"uri": "demo.db", "token": SECRET}, "token does not go with Milvus Lite"),
        ({"uri": "demo.db", "server_name": "h"}, "server_name needs an https:// address"),
    ],
)
def test_contradictions_are_refused(arguments, complaint):
    with pytest.raises(InvalidConfigError, match=complaint) as error:
        MilvusConfig.from_env(**arguments)
    assert SECRET not in str(error.value)


def test_a_port_argument_wins_over_one_inside_a_host_of_the_environment(environment):
    environment(MILVUS_HOST="h:1")
    assert MilvusConfig.from_env(port=2).uri == "http://h:2"


def test_a_port_of_the_environment_belongs_to_its_host_and_not_to_its_uri(environment):
    environment(MILVUS_URI="http://h", MILVUS_PORT="2")
    assert MilvusConfig.from_env().uri == "http://h:19530"
    assert MilvusConfig.from_env(host="other").uri == "http://other:19530"


def test_a_port_does_not_go_with_an_address_of_the_environment(environment):
    environment(MILVUS_URI="http://h:1")
    with pytest.raises(InvalidConfigError, match="MILVUS_URI is the whole address; leave out port"):
        MilvusConfig.from_env(port=2)


def test_ports_of_the_environment_that_differ(environment):
    environment(MILVUS_HOST="h:1", MILVUS_PORT="2")
    with pytest.raises(InvalidConfigError, match="MILVUS_HOST has port 1, but MILVUS_PORT is 2"):
        MilvusConfig.from_env()


def test_saying_the_same_twice_is_no_contradiction():
    one = MilvusConfig.from_env(uri="http://a:b@h/sales", token="a:b", db_name="sales")
    two = MilvusConfig.from_env(host="h:19530", port=19530, user="a", password="b", db_name="sales")
    assert one == two == MilvusConfig(uri="http://h", token="a:b", db_name="sales")


# Secrets.


@pytest.mark.parametrize(
    ("arguments", "token"),
    [
        ({"token": f" {SECRET}\n"}, SECRET),
        ({"user": "root", "password": "a:b"}, "root:a:b"),
        ({"uri": "http://root:p%40ss%2F@h"}, "root:p@ss/"),
        ({"uri": "https://key@h"}, "key"),
        ({"uri": None, "host": "root:a@h:5"}, "root:a"),
        ({}, ""),
    ],
)
def test_where_a_token_may_stand(arguments, token):
    config = MilvusConfig.from_env(**{"uri": "http://h", **arguments})
    assert config.token == token
    assert config.client_options().get("token", "") == token
    assert "@" not in config.uri


def test_tokens_of_arguments_win_over_those_of_the_environment(environment):
    environment(MILVUS_URI="http://root:environment@h", MILVUS_DB_NAME="sales")
    assert MilvusConfig.from_env().token == "root:environment"
    assert MilvusConfig.from_env(token="argument").token == "argument"
    assert MilvusConfig.from_env(uri="http://a:b@h").token == "a:b"
    assert MilvusConfig.from_env(uri="http://h").token == ""
    assert MilvusConfig.from_env(uri="http://h/stock").db_name == "stock"
    environment(MILVUS_URI="http://h", MILVUS_USER="root", MILVUS_PASSWORD="b")
    assert MilvusConfig.from_env(uri="http://other").token == "root:b"


def test_milvus_lite_leaves_the_secrets_of_the_environment_alone(environment, tmp_path):
    environment(MILVUS_TOKEN=SECRET, MILVUS_SERVER_PEM_PATH="server.pem", MILVUS_DB_NAME="sales")
    config = MilvusConfig.from_env(uri=tmp_path / "demo.db")
    assert config.client_options() == {
        "uri": str(tmp_path.resolve() / "demo.db"),
        "db_name": "sales",
    }


def test_the_token_does_not_show(environment):
    config = MilvusConfig(uri=f"https://root:{SECRET}@h")
    for text in (repr(config), str(config), f"{config}", repr([config])):
        assert SECRET not in text
    assert SECRET.encode() not in pickle.dumps(config)


@pytest.mark.parametrize(
    "uri",
    [
        f"http://root:{SECRET}@host:port",
        f"http://root:{SECRET}@",
        f"http://root:{SECRET}@h h",
        f"http://root:{SECRET}@h?x",
        f"http://root:{SECRET}/@h",
        f"http://root:{SECRET}?@h",
        f"http://root:x{SECRET}#@h",
        f"root:{SECRET}@localhost:1953o",
        f"tcp://root:{SECRET}@localhost:19530",
        f"http://root:{SECRET}@[::1",
        f"http://{SECRET}@h/a/b",
        f"http://root:1/{SECRET}@h",
        f"http://{SECRET} /x@h",
        f"http://root:{SECRET}@h".encode(),
    ],
)
@pytest.mark.parametrize("name", ["uri", "host"])
def test_no_error_shows_a_password(uri, name):
    with pytest.raises(InvalidConfigError) as error:
        MilvusConfig.from_env(**{name: uri})
    shown = "".join(traceback.format_exception(error.value, chain=True))
    assert SECRET not in shown


@given(
    password=st.text(min_size=8, max_size=20).map(lambda text: f"{text}{SECRET}"),
    rest=st.sampled_from(["@host:port", "@", "@h h", "@h?x#y", "@[::1", "@h:99999/x"]),
)
def test_no_error_shows_any_password(password, rest):
    with pytest.raises(InvalidConfigError) as error:
        MilvusConfig(uri=f"http://root:{password}{rest}")
    assert SECRET not in "".join(traceback.format_exception(error.value, chain=True))


def test_a_pickle_takes_its_token_from_the_environment(environment):
    config = MilvusConfig(uri="https://h", token=SECRET, timeout=5, index=Hnsw(m=4))
    stored = pickle.dumps(config)
    with pytest.raises(
        InvalidConfigError, match=r"https://h:443 was written down without its token; set"
    ):
        pickle.loads(stored)
    environment(MILVUS_TOKEN=SECRET)
    assert pickle.loads(stored) == config
    environment(MILVUS_TOKEN="", MILVUS_USER="root", MILVUS_PASSWORD="b")
    assert pickle.loads(stored) == dataclasses.replace(config, token="root:b")


def test_a_pickle_without_a_token_takes_none(environment):
    environment(MILVUS_TOKEN=SECRET)
    config = MilvusConfig(uri="http://h")
    assert pickle.loads(pickle.dumps(config)) == config


def test_copies_keep_the_token():
    config = MilvusConfig(uri="https://h", token=SECRET)
    assert copy.copy(config) == copy.deepcopy(config) == config
    assert dataclasses.replace(config, timeout=5).token == SECRET
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.token = ""


# TLS.


@pytest.fixture
def pem(tmp_path):
    path = tmp_path / "some.pem"
    path.touch()
    return str(path)


def test_certificates_go_to_the_client(pem):
    one_way = MilvusConfig(uri="https://h", server_pem_path=pem, server_name="milvus.test")
    assert one_way.client_options() == {
        "uri": "https://h:443",
        "server_pem_path": pem,
        "server_name": "milvus.test",
    }
    both = {"ca_pem_path": pem, "client_pem_path": pem, "client_key_path": pem}
    assert MilvusConfig(uri="https://h", **both).client_options() == {
        "uri": "https://h:443",
        **both,
    }


@pytest.mark.parametrize(
    ("uri", "settings", "complaint"),
    [
        (
            "http://h",
            ["server_pem_path"],
            "server_pem_path needs an https:// address, not http://h",
        ),
        (
            "https://h",
            ["ca_pem_path"],
            "there is only ca_pem_path; to trust a server's certificate",
        ),
        (
            "https://h",
            ["client_pem_path", "client_key_path"],
            "there is only client_pem_path, client",
        ),
        (
            "https://h",
            ["server_pem_path", "ca_pem_path", "client_pem_path", "client_key_path"],
            "server_pem_path does not go with ca_pem_path",
        ),
    ],
)
def test_certificates_that_would_be_ignored_are_refused(uri, settings, complaint, pem):
    with pytest.raises(InvalidConfigError, match=complaint):
        MilvusConfig(uri=uri, **dict.fromkeys(settings, pem))


def test_a_certificate_must_be_there(tmp_path):
    with pytest.raises(InvalidConfigError, match=r"server_pem_path is no file: .*missing\.pem"):
        MilvusConfig(uri="https://h", server_pem_path=str(tmp_path / "missing.pem"))


# pymilvus.


def test_a_path_in_milvus_uri_is_refused_with_the_way_out(environment):
    environment(MILVUS_URI="./demo.db")
    for use in (
        check_pymilvus_environment,
        MilvusConfig.from_env,
        lambda: MilvusConfig.from_env(uri="http://h"),
    ):
        with pytest.raises(InvalidConfigError, match=r"put a path into RAGBRIDGE_URI"):
            use()


@pytest.mark.parametrize(
    ("uri", "imports"), [("./demo.db", False), ("demo.db", False), ("http://h:1", True)]
)
def test_pymilvus_fails_where_we_say_so(uri, imports):
    run = subprocess.run(
        [sys.executable, "-c", "import pymilvus"],
        env=os.environ | {"MILVUS_URI": uri},
        capture_output=True,
        check=False,
    )
    assert (run.returncode == 0) is imports


def test_a_configuration_imports_no_pymilvus():
    code = (
        "import sys; from ragbridge.stores.milvus.config import MilvusConfig; "
        "MilvusConfig.from_env('local').client_options(); assert 'pymilvus' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("uri", "dialled"),
    [
        ("http://[::1]:19530", "http://%5B%3A%3A1%5D:19530"),
        ("https://[2001:db8::7]", "https://%5B2001%3Adb8%3A%3A7%5D:443"),
        ("http://127.0.0.1", "http://127.0.0.1:19530"),
    ],
)
def test_addresses_as_pymilvus_reaches_them(uri, dialled):
    assert MilvusConfig(uri=uri).client_options() == {"uri": dialled}
