"""The Milvus server that all tests of a run share, whichever process they run in.

Run by one process, that process has it. Run by several workers (`pytest -n`), their controller has
it, and the two sides leave notes for one another in a folder: a worker that has tests for a server
says so, and the controller starts one and answers with its address.
"""

import json
import shutil
import signal
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from milvus_server import MilvusServer, unavailable_reason

__all__ = ["BorrowedServer", "RunningServer", "ServerDesk", "SharedServer", "StartedServer"]

_WANTED, _ANSWER = "wanted", "answer.json"


@dataclass(frozen=True)
class RunningServer:
    """A server that others use as well."""

    uri: str

    @property
    def port(self) -> int:
        """Where clients connect."""
        port = urlsplit(self.uri).port
        assert port is not None
        return port


class SharedServer(Protocol):
    """How a process gets at the server."""

    def start(self) -> None:
        """Begin to start it, unless none can run here."""

    def wait(self) -> RunningServer:
        """The running server; skips the test where none can run."""

    def stop(self) -> None:
        """End what this process started."""


class StartedServer:
    """A server that this process starts, while tests that need none are running.

    Args:
        uri: One that is running already, to be used instead.
    """

    def __init__(self, uri: str | None = None) -> None:
        self._running = RunningServer(uri) if uri else None
        self._server = MilvusServer()
        self._starting: Future[RunningServer] | None = None

    def start(self) -> None:
        if self._running or self._starting or unavailable_reason():
            return
        # Ended as by Ctrl-C, so that what the server wrote is not left behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with_one_thread = ThreadPoolExecutor(1, thread_name_prefix="milvus-server")
        self._starting = with_one_thread.submit(self._start)
        with_one_thread.shutdown(wait=False)

    def wait(self) -> RunningServer:
        if self._running:
            return self._running
        if reason := unavailable_reason():
            pytest.skip(reason)
        self.start()
        assert self._starting is not None
        return self._starting.result()

    def stop(self) -> None:
        if self._starting is not None:
            self._starting.exception()
            self._server.__exit__()
            self._starting = None

    def _start(self) -> RunningServer:
        self._server.start()
        return RunningServer(self._server.uri)


class ServerDesk:
    """The controller's side: starts the server as soon as a worker wants it, and says where it is."""

    def __init__(self, server: StartedServer) -> None:
        self._server = server
        self._answering: Future[None] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="server-desk-"))

    def look(self) -> None:
        """See whether a worker wants a server."""
        if self._answering is None and (self.folder / _WANTED).exists():
            self._server.start()
            with_one_thread = ThreadPoolExecutor(1, thread_name_prefix="server-desk")
            self._answering = with_one_thread.submit(self._answer)
            with_one_thread.shutdown(wait=False)

    def close(self) -> None:
        """Clear the desk."""
        if self._answering is not None:
            self._answering.exception()
        shutil.rmtree(self.folder)

    def _answer(self) -> None:
        try:
            answer = {"uri": self._server.wait().uri}
        except RuntimeError as error:
            answer = {"error": str(error)}
        draft = self.folder / "draft"
        draft.write_text(json.dumps(answer))
        draft.replace(self.folder / _ANSWER)


class BorrowedServer:
    """A worker's side.

    Args:
        folder: The desk's.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def start(self) -> None:
        (self._folder / _WANTED).touch()

    def wait(self) -> RunningServer:
        if reason := unavailable_reason():
            pytest.skip(reason)
        answer = self._folder / _ANSWER
        while not answer.exists():
            assert self._folder.exists(), "the controller is gone"
            time.sleep(0.1)
        said = json.loads(answer.read_text())
        if "error" in said:
            raise RuntimeError(said["error"])
        return RunningServer(said["uri"])

    def stop(self) -> None:
        """Nothing: it is the controller's."""
