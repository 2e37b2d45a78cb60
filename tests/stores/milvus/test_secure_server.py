"""Configurations against a real server that wants passwords and speaks TLS."""

import asyncio
import logging
import pickle
import socket
import subprocess
from dataclasses import replace
from traceback import format_exception

import pytest

from milvus_server import MilvusServer, unavailable_reason
from ragbridge.errors import StoreAccessError
from ragbridge.stores.base import VectorStoreQuery
from ragbridge.stores.milvus import MilvusConfig, MilvusVectorStore
from ragbridge.testing._suite.samples import ids_of, make_entry

NAME = "milvus.test"  # what the server's certificate is for
LOOPBACKS = ["127.0.0.1"]
try:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
    LOOPBACKS.append("[::1]")
except OSError:
    pass  # a machine without IPv6

pytestmark = pytest.mark.stores("milvus")


class SecureServer(MilvusServer):
    """A server with authorization and TLS, which a plain probe could not reach."""

    def __init__(self, settings, tls):
        super().__init__(config={**settings, "common.security.authorizationEnabled": "true"})
        self._tls = tls

    def configured(self, **arguments):
        """A configuration for it: with its certificates and the password of a new server."""
        defaults = {"host": "https://127.0.0.1", "port": self.port, "token": "root:Milvus"}
        return MilvusConfig.from_env(**{**defaults, **self._tls, **arguments})

    def _probe(self):
        client = connect(self.configured())
        client.create_collection("probe", dimension=2, timeout=20)
        client.drop_collection("probe")
        client.close()


def connect(config):
    from pymilvus import MilvusClient

    # pymilvus would reuse a connection to the same address that was made with other certificates.
    return MilvusClient(**config.client_options(), timeout=5, dedicated=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and a server and a client that it signed for."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl(*new, "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        extension = ("-addext", f"subjectAltName=DNS:{NAME}")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        signed = ("-x509", "-CA", "ca.pem", "-CAkey", "ca.key")
        openssl(*new, *signed, "-subj", f"/CN={name}", *extension, *files)
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture(scope="module", params=["one-way", "mutual"])
def server(store_name, request, certificates):
    if reason := unavailable_reason():
        pytest.skip(reason)
    settings = {
        "tls.serverPemPath": certificates["server.pem"],
        "tls.serverKeyPath": certificates["server.key"],
        "tls.caPemPath": certificates["ca.pem"],
        "common.security.tlsMode": "1" if request.param == "one-way" else "2",
    }
    proof = {"server_pem_path": certificates["ca.pem"]}
    if request.param == "mutual":
        proof = {
            "ca_pem_path": certificates["ca.pem"],
            "client_pem_path": certificates["client.pem"],
            "client_key_path": certificates["client.key"],
        }
    with SecureServer(settings, {**proof, "server_name": NAME}) as server:
        yield server


@pytest.mark.parametrize("host", LOOPBACKS)
def test_a_configuration_opens_the_door(server, host):
    client = connect(server.configured(host=f"https://{host}"))
    assert client.list_collections() == []
    client.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "root:wrong"},
        {"token": "root:Milvus", "server_name": "other.test"},
    ],
)
def test_a_wrong_password_or_name_does_not(server, wrong):
    from pymilvus.exceptions import MilvusException

    with pytest.raises(MilvusException, match="Fail connecting"):
        connect(server.configured(**wrong))


def test_a_server_of_another_authority_is_not_trusted(server):
    from pymilvus.exceptions import MilvusException

    uri = f"https://root:Milvus@127.0.0.1:{server.port}"
    with pytest.raises(MilvusException, match="Fail connecting"):
        connect(MilvusConfig(uri=uri, server_name=NAME))


# Stores


def test_a_store_with_the_right_token_works(server):
    with MilvusVectorStore("secured", config=server.configured()) as store:
        assert store.ping() == "Milvus 2.3.5"
        store.add([make_entry("a"), make_entry("b")])
        assert ids_of(store.query(VectorStoreQuery(top_k=2))) == ["a", "b"]
        nearest = VectorStoreQuery(embedding=[1.0, 0.0, 0.0, 0.0])
        assert len(store.query(nearest)) == len(asyncio.run(store.aquery(nearest))) == 2
        assert asyncio.run(store.acount()) == 2
        assert asyncio.run(store.aping()) == "Milvus 2.3.5"
        store.clear()


@pytest.mark.parametrize("token", ["root:not-the-password", "nobody:Milvus", "an-api-key", ""])
def test_a_store_with_a_wrong_token_or_none_says_so(server, token, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    config = replace(server.configured(), token=token)
    with MilvusVectorStore("secured", config=config) as store:
        calls = [store.ping, store.count]
        calls += [lambda: asyncio.run(store.aping()), lambda: asyncio.run(store.acount())]
        for call in calls:
            with pytest.raises(StoreAccessError, match="UNAUTHENTICATED") as caught:
                call()
            if token:
                assert token not in "".join(format_exception(caught.value))
        if token:
            shown = [repr(store), repr(config), str(vars(store)), caplog.text, *capfd.readouterr()]
            assert not any(token in text for text in shown)
            assert token.encode() not in pickle.dumps(store)
