"""What a store asks of its engine, and how many rows come back over the wire."""

from dataclasses import dataclass
from typing import Any

import pytest

__all__ = ["EngineCall", "record_calls", "written_data"]

METHODS = ("insert", "upsert", "delete", "flush", "search", "hybrid_search", "query")


@dataclass(frozen=True)
class EngineCall:
    """A call of pymilvus's sync client, and what came back."""

    method: str
    arguments: dict[str, Any]
    answer: Any

    @property
    def rows(self) -> int:
        """How many rows came back."""
        if self.method == "query":
            return len(self.answer)
        return sum(map(len, self.answer)) if self.method in ("search", "hybrid_search") else 0


def record_calls(patch: pytest.MonkeyPatch) -> list[EngineCall]:
    """The calls that stores make from now on, in their order."""
    from pymilvus import MilvusClient

    calls: list[EngineCall] = []

    def recording(name: str, method: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            answer = method(self, *args, **kwargs)
            calls.append(EngineCall(name, kwargs, answer))
            return answer

        return call

    for name in METHODS:
        patch.setattr(MilvusClient, name, recording(name, getattr(MilvusClient, name)))
    return calls


def written_data(calls: list[EngineCall]) -> list[Any]:
    """The rows of each call that wrote some."""
    return [call.arguments["data"] for call in calls if call.method in ("insert", "upsert")]
