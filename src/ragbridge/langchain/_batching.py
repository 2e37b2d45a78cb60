"""Retrievers that answer a batch of queries at once, with a run of callbacks for each."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.callbacks.manager import AsyncCallbackManager, CallbackManager
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from ragbridge._twins import Step, Work, arun, run
from ragbridge.errors import VectorStoreError

_Outcome: TypeAlias = list[Document] | Exception


class BatchedRetriever(BaseRetriever):
    """A retriever that describes its work for many queries; one query is a batch of one."""

    @abstractmethod
    def _answers(self, queries: list[str], arguments: dict[str, Any]) -> Work[list[list[Document]]]:
        """The documents for each query.

        Args:
            queries: What is asked.
            arguments: What `invoke` or `batch` was given beside the queries.
        """

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - nothing runs below this
        **kwargs: Any,
    ) -> list[Document]:
        return run(self._answers([query], _without_verbose(kwargs)))[0]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
        **kwargs: Any,
    ) -> list[Document]:
        return (await arun(self._answers([query], _without_verbose(kwargs))))[0]

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """The documents for each query: one embedding call and one search for all of them.

        Every query has a run of its own for callbacks. `max_concurrency` bounds how many go at once.

        Args:
            inputs: The queries.
            config: One for all of them, or one for each.
            return_exceptions: Give back what a query fails with, instead of raising it.
            **kwargs: What `invoke` takes.
        """
        return run(self._batch(CallbackManager, inputs, config, kwargs, return_exceptions))

    async def abatch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[list[Document]]:
        """Async twin of `batch`."""
        work = self._batch(AsyncCallbackManager, inputs, config, kwargs, return_exceptions)
        return await arun(work)

    def _batch(
        self,
        managers: type[CallbackManager | AsyncCallbackManager],
        inputs: Sequence[str],
        config: RunnableConfig | list[RunnableConfig] | None,
        kwargs: Mapping[str, Any],
        keep_exceptions: bool,
    ) -> Work[list[Any]]:
        if not inputs:
            return []
        configs = get_config_list(config, len(inputs))
        shared = (
            None if isinstance(config, Sequence) else self._manager(managers, configs[0], kwargs)
        )
        size = configs[0].get("max_concurrency") or len(inputs)
        outcomes: list[_Outcome] = []
        for start in range(0, len(inputs), size):
            part = slice(start, start + size)
            runs = []
            for query, each in zip(inputs[part], configs[part], strict=True):
                manager = shared or self._manager(managers, each, kwargs)
                runs.append((yield from self._start(manager, query, each)))
            found = yield from self._outcomes(list(inputs[part]), kwargs, keep_exceptions)
            for of_query, outcome in zip(runs, found, strict=True):
                yield from _end(of_query, outcome)
            if not keep_exceptions:
                _raise_first(found)
            outcomes += found
        return outcomes

    def _manager(self, managers: Any, config: RunnableConfig, kwargs: Mapping[str, Any]) -> Any:
        return managers.configure(
            config.get("callbacks"),
            None,
            verbose=kwargs.get("verbose", False),
            inheritable_tags=config.get("tags"),
            local_tags=self.tags,
            inheritable_metadata={
                **(config.get("metadata") or {}),
                **self._get_ls_params(**kwargs),
            },
            local_metadata=self.metadata,
        )

    def _start(self, manager: Any, query: str, config: RunnableConfig) -> Work[Any]:
        start = manager.on_retriever_start
        name = config.get("run_name") or self.get_name()
        return (yield from Step(start, start, None, query, name=name, run_id=config.get("run_id")))

    def _outcomes(
        self, queries: list[str], kwargs: Mapping[str, Any], keep_exceptions: bool
    ) -> Work[Sequence[_Outcome]]:
        try:
            return (yield from self._answers(queries, _without_verbose(kwargs)))
        except VectorStoreError as error:  # what the store fails at, it fails at for every query
            return [error] * len(queries)
        except Exception as error:  # noqa: BLE001 - it goes to the callbacks and to the caller
            if len(queries) == 1 or not keep_exceptions:
                return [error] * len(queries)
        outcomes: list[_Outcome] = []
        for query in queries:  # one of them may be what is wrong
            outcomes += yield from self._outcomes([query], kwargs, keep_exceptions)
        return outcomes


def _raise_first(outcomes: Sequence[_Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def _end(of_query: Any, outcome: _Outcome) -> Work[None]:
    failed = isinstance(outcome, Exception)
    end = of_query.on_retriever_error if failed else of_query.on_retriever_end
    yield from Step(end, end, outcome)


def _without_verbose(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What is meant for the search; `verbose` is for the callbacks."""
    return {name: value for name, value in kwargs.items() if name != "verbose"}
