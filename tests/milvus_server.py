"""A real Milvus standalone server for tests, from the wheel `milvus` (Linux x86-64 only).

    with MilvusServer() as server:
        client = MilvusClient(server.uri)

Every server has a data directory and ports of its own, so several run side by side. `kill` and
`start` again on the same object is a crash and a restart; `pause` is a server that hangs.
"""

import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import psutil

__all__ = ["MilvusServer", "unavailable_reason"]

_PORT_OPTIONS = (
    "--proxy-port",
    "--proxy-internal-port",
    "--root-coord-port",
    "--query-coord-port",
    "--query-node-port",
    "--index-coord-port",
    "--index-node-port",
    "--data-coord-port",
    "--data-node-port",
    "--etcd-port",
)
_COMPONENTS = (
    "rootCoord",
    "proxy",
    "queryCoord",
    "queryNode",
    "indexNode",
    "dataCoord",
    "dataNode",
)
_SETTINGS = {
    "common.session.ttl": "10",  # how long a restart waits for its dead predecessor
    "queryCoord.distPullInterval": "100",
    "log.level": "warn",
}
_HIDDEN_SETTINGS = {  # which its configuration file lacks; with them collections are loaded sooner
    "QUERYCOORD_CHECKCHANNELINTERVAL": "100",
    "QUERYCOORD_CHECKSEGMENTINTERVAL": "100",
}
_PORT_RANGE = range(20_000, 32_000)  # below the ports that the kernel gives to outgoing connections
_START_ATTEMPTS = 3
_PROBE = "readiness_probe"


def unavailable_reason() -> str | None:
    """Why no server can run here, or None."""
    if importlib.util.find_spec("milvus") is None:
        return "the server's wheel (milvus==2.3.5, Linux x86-64 only) is not installed"
    return None


class MilvusServer:
    """One server: started on entering, killed with all its processes on leaving.

    Args:
        data_dir: Where it keeps its rows; by default a temporary directory, removed at the end.
        time_tick_ms: The proxy's time tick, on which Strong reads wait. The server's own default,
            200, makes every read after a write that slow.
        config: More settings by dotted name, e.g. `{"common.security.authorizationEnabled": "true"}`;
            only names that the server's configuration file has.
        token: `user:password` for the readiness probe of a server with authorization on.
        start_timeout: Seconds.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        time_tick_ms: int = 20,
        config: Mapping[str, str] | None = None,
        token: str = "",
        start_timeout: float = 120.0,
    ) -> None:
        self._temporary: Path | None = None
        self._data_dir = data_dir
        self._config = {
            "proxy.timeTickInterval": str(time_tick_ms),
            **_SETTINGS,
            **(config or {}),
        }
        self._token = token
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self._ports[0]

    @property
    def uri(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not killed since."""
        return self._process is not None

    def start(self) -> None:
        """Start, on the same ports if it ran before, and wait until it answers.

        Raises:
            RuntimeError: it did not come up; the message ends with its log's tail.
        """
        attempts = 1 if self._ports else _START_ATTEMPTS
        for attempt in range(1, attempts + 1):
            self._ports = self._ports or _free_ports(len(_PORT_OPTIONS) + 3)
            try:
                self._launch()
                self._wait_until_ready()
                break
            except RuntimeError:
                self.kill()
                if attempt == attempts:
                    raise
                self._ports = []  # another process may have taken one of them

    def kill(self) -> None:
        """`kill -9` for all its processes, as a crash would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    @property
    def _home(self) -> Path:
        if self._data_dir is None:
            self._data_dir = self._temporary = Path(tempfile.mkdtemp(prefix="milvus-"))
        return self._data_dir

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Within the block the server hangs: connections are accepted, nothing is answered."""
        self._signal(signal.SIGSTOP)
        while any(process.status() != psutil.STATUS_STOPPED for process in self._processes()):
            time.sleep(0.01)
        try:
            yield
        finally:
            self.resume()

    def resume(self) -> None:
        """Go on after a pause."""
        self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that it wrote."""
        logs = sorted((self._home / "logs").glob("*std*.log"))
        tails = [log.read_text(errors="replace").splitlines()[-lines:] for log in logs]
        return "\n".join(line for tail in tails for line in tail)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _remove(self) -> None:
        self.kill()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._data_dir = self._temporary = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server is not running")
        os.killpg(self._process.pid, number)

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        launcher = psutil.Process(self._process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def _launch(self) -> None:
        _share_binaries(self._home)
        *ports, etcd_client, etcd_peer, metrics = self._ports
        arguments = ["--data", str(self._home)]
        for option, port in zip(_PORT_OPTIONS, ports, strict=True):
            arguments += [option, str(port)]
        for name, value in ({f"{c}.ip": "127.0.0.1" for c in _COMPONENTS} | self._config).items():
            arguments += ["--extra-config", f"{name}={value}"]
        etcd = {"ETCD_CONFIG_PATH": str(self._etcd_config(etcd_client, etcd_peer))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER.format(metrics=metrics), *arguments],
            env={**os.environ, **_HIDDEN_SETTINGS, **etcd},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _etcd_config(self, client: int, peer: int) -> Path:
        """The embedded etcd has no options for its ports, but reads a file of its own."""
        path = self._home / "etcd.json"  # JSON is YAML
        settings = {
            "name": "default",
            "listen-client-urls": f"http://127.0.0.1:{client}",
            "advertise-client-urls": f"http://127.0.0.1:{client}",
            "listen-peer-urls": f"http://127.0.0.1:{peer}",
            "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
            "initial-cluster": f"default=http://127.0.0.1:{peer}",
        }
        path.write_text(json.dumps(settings))
        return path

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        error: Exception | None = None
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self._probe()
            except Exception as failure:  # noqa: BLE001 - pymilvus and grpc each raise their own
                error = failure
                time.sleep(0.25)
        raise RuntimeError(f"the Milvus server did not start: {error}\n{self.log_tail()}")

    def _probe(self) -> None:
        """A collection made, loaded and dropped: every part of the server has answered."""
        from pymilvus import MilvusClient

        client = MilvusClient(self.uri, token=self._token, timeout=5)
        try:
            client.drop_collection(_PROBE, timeout=10)
            client.create_collection(_PROBE, dimension=2, timeout=20)
            client.drop_collection(_PROBE, timeout=10)
        finally:
            client.close()


# `milvus-server`, made to take exactly the ports it is given (after a crash it would find its own
# still occupied by dying connections, and move on silently) and one for its health check. When the
# other end of its input is closed, whoever started it is gone, in whatever way, and it goes too.
_LAUNCHER = """
import os, signal, socket, sys, threading, milvus

def go_with_the_other_end():
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=go_with_the_other_end, daemon=True).start()
milvus.MilvusServerConfig.resolve_port = lambda self, port: (port, socket.socket())
milvus.default_server.webservice_port = {metrics}
sys.argv[0] = "milvus-server"
milvus.main()
"""


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    for port in random.SystemRandom().sample(_PORT_RANGE, len(_PORT_RANGE)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free ports")


def _share_binaries(home: Path) -> None:
    """Let the server unpack its 400 MB of binaries once for all data directories."""
    import fcntl  # no part of Python on Windows, where the wheel does not install either

    from milvus import _initialize_data_files

    shared = Path(tempfile.gettempdir()) / f"milvus-2.3.5-{os.getuid()}"
    shared.mkdir(mode=0o700, exist_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _initialize_data_files(str(shared))
    if not (home / "bin").exists():
        (home / "bin").symlink_to(shared / "bin")
