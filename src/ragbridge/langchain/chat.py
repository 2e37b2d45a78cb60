"""Chat models: the core's as LangChain's, and LangChain's as the core's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import ConfigDict

from ragbridge._twins import Step, Work, arun, run
from ragbridge.chat import (
    ChatAssistantMessage,
    ChatMessage,
    ChatUserMessage,
    FunctionTool,
    ModelProvider,
)
from ragbridge.errors import InvalidQueryError, RagbridgeError, UnsupportedQueryError, shorten
from ragbridge.langchain._messages import (
    from_langchain_answer,
    from_langchain_messages,
    from_langchain_tool,
    to_langchain_answer,
    to_langchain_messages,
    to_langchain_tool,
)
from ragbridge.retrievers import check_kind

__all__ = ["LangChainModelProvider", "RagbridgeChatModel"]


class RagbridgeChatModel(BaseChatModel):
    """A core model provider as a LangChain chat model.

    Messages of every role go through, with names, tool calls and their results; of a human's and a
    system's content also images, audio and files. What is asked for at a call is `stop`, `tools` and
    `tool_choice`; other settings belong to the provider, and are refused here. `stream` gives the
    answer in one piece, since providers give it so.

    Attributes:
        provider: The core's model.

    Raises:
        InvalidConfigError: provider is no `ModelProvider`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    provider: ModelProvider

    def __init__(self, provider: ModelProvider, **settings: Any) -> None:
        check_kind(provider, ModelProvider, "provider")
        super().__init__(provider=provider, **settings)

    @property
    def _llm_type(self) -> str:
        return "ragbridge"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"provider": type(self.provider).__name__}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "ragbridge"
        params.setdefault("ls_model_name", type(self.provider).__name__)
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may ask for.

        Args:
            tools: Functions, tools, pydantic classes or JSON schemas.
            tool_choice: None or "auto" leaves it to the model, "none" offers none. "any", "required"
                and True want a call, and so does a tool's name, which is then the only one offered:
                an answer without a call raises a RagbridgeError, since providers cannot be forced.
            kwargs: Further arguments for each call, such as `stop`.

        Raises:
            InvalidInputError: a tool is no function.
            InvalidQueryError: tool_choice names no tool.
        """
        offered = [to_langchain_tool(from_langchain_tool(tool)) for tool in tools]
        _Offer.of(offered, tool_choice)
        return self.bind(tools=offered, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        return run(self._answer(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        return await arun(self._answer(messages, stop, **kwargs))

    def _answer(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        *,
        tools: Sequence[Any] = (),
        tool_choice: Any = None,
        **unknown: Any,
    ) -> Work[ChatResult]:
        if unknown:
            raise InvalidQueryError(
                f"RagbridgeChatModel does not know {', '.join(unknown)}; it takes stop, tools and "
                "tool_choice, and other settings are the provider's"
            )
        offer = _Offer.of(tools, tool_choice)
        said = yield from Step(
            self.provider.chat,
            self.provider.achat,
            from_langchain_messages(messages),
            offer.tools,
            stop,
        )
        offer.check(said)
        return ChatResult(generations=[ChatGeneration(message=to_langchain_answer(said))])


class _Offer(NamedTuple):
    """The tools that a model may ask for, and whether it must."""

    tools: list[FunctionTool]
    wanted: bool

    @classmethod
    def of(cls, tools: Sequence[Any], choice: Any) -> "_Offer":
        offered = [from_langchain_tool(tool) for tool in tools]
        if choice in (None, False, "auto"):
            return cls(offered, wanted=False)
        if choice == "none":
            return cls([], wanted=False)
        if choice in (True, "any", "required"):
            return cls(offered, wanted=True)
        name = choice.get("function", choice).get("name") if isinstance(choice, dict) else choice
        chosen = [tool for tool in offered if tool.name == name]
        if not chosen:
            raise InvalidQueryError(
                "tool_choice must be 'auto', 'none', 'any' or one of the tools "
                f"{', '.join(tool.name for tool in offered) or '(there are none)'}, "
                f"not {shorten(choice)}"
            )
        return cls(chosen, wanted=True)

    def check(self, answer: ChatAssistantMessage) -> None:
        if self.wanted and not answer.tool_calls:
            raise RagbridgeError(
                "the model asked for none of the tools "
                f"{', '.join(tool.name for tool in self.tools)}, although tool_choice wants a call; "
                "ask again, or use tool_choice='auto'"
            )


class LangChainModelProvider(ModelProvider):
    """A LangChain chat model as a core model provider; its async twin is the model's own.

    Images, audio and files among a prompt's insertions reach the model as content blocks.

    Args:
        model: A chat model, or a runnable around one.

    Raises:
        InvalidConfigError: model is no runnable.
    """

    def __init__(self, model: Runnable[LanguageModelInput, AIMessage]) -> None:
        check_kind(model, Runnable, "model")
        self.model = model

    def chat(
        self,
        messages: Sequence[ChatMessage] | ChatUserMessage,
        tools: Sequence[FunctionTool] = (),
        stop: str | Sequence[str] | None = None,
    ) -> ChatAssistantMessage:
        """The model's answer.

        Args:
            messages: The conversation so far, or a single question.
            tools: The functions that it may ask for.
            stop: Where it must stop writing.

        Raises:
            UnsupportedQueryError: the model takes no tools.
            InvalidInputError: a message is none, or the model's answer cannot be read.
        """
        return run(self._chat(messages, tools, stop))

    async def achat(
        self,
        messages: Sequence[ChatMessage] | ChatUserMessage,
        tools: Sequence[FunctionTool] = (),
        stop: str | Sequence[str] | None = None,
    ) -> ChatAssistantMessage:
        """Async twin of `chat`."""
        return await arun(self._chat(messages, tools, stop))

    def _chat(
        self,
        messages: Sequence[ChatMessage] | ChatUserMessage,
        tools: Sequence[FunctionTool],
        stop: str | Sequence[str] | None,
    ) -> Work[ChatAssistantMessage]:
        model = self._offering(tools) if tools else self.model
        if stop is not None:
            model = model.bind(stop=[stop] if isinstance(stop, str) else list(stop))
        asked = to_langchain_messages(messages)
        said = yield from Step(model.invoke, model.ainvoke, asked)
        return from_langchain_answer(said)

    def _offering(self, tools: Sequence[FunctionTool]) -> Runnable[LanguageModelInput, AIMessage]:
        name = type(self.model).__name__
        bind_tools = getattr(self.model, "bind_tools", None)
        if bind_tools is None:
            raise UnsupportedQueryError(f"{name} takes no tools; give the chat model itself")
        try:
            bound: Runnable[LanguageModelInput, AIMessage] = bind_tools(
                [to_langchain_tool(tool) for tool in tools]
            )
        except NotImplementedError as error:
            raise UnsupportedQueryError(f"{name} takes no tools; use a model that does") from error
        return bound
