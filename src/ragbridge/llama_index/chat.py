"""Chat models: the core's providers as LlamaIndex's LLMs, and LlamaIndex's LLMs as the core's."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, Final, NamedTuple, TypeVar, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW, DEFAULT_NUM_OUTPUTS
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools.types import BaseTool

from ragbridge import chat as core
from ragbridge._twins import Step, Work, arun, run
from ragbridge.errors import InvalidQueryError, UnsupportedQueryError, shorten
from ragbridge.llama_index._messages import (
    from_llama_index_messages,
    to_llama_index_message,
    to_llama_index_messages,
)
from ragbridge.llama_index._tools import (
    DescribedTool,
    calls_of,
    from_llama_index_tools,
    selections_of,
)
from ragbridge.retrievers import check_kind

__all__ = ["LlamaIndexModelProvider", "RagbridgeLLM"]

F = TypeVar("F", bound=Callable[..., Any])


class _Request(NamedTuple):
    """What a core provider is asked."""

    messages: list[core.ChatMessage]
    tools: list[core.FunctionTool]
    stop: str | Sequence[str] | None
    tool_required: bool


_KEYWORDS: Final = ("tools", "stop", "tool_required")


def _observed(callback: Callable[[], Callable[..., Any]]) -> Callable[[F], F]:
    """LlamaIndex's callbacks around a method, which keeps its signature and its docstring."""

    def decorate(method: F) -> F:
        known = signature(method)  # before the callback makes it unreadable
        observed = callback()(method)
        observed.__doc__ = method.__doc__
        observed.__signature__ = known
        return cast("F", observed)

    return decorate


class RagbridgeLLM(FunctionCallingLLM):
    """A core chat model as a LlamaIndex LLM.

    Calls take the keywords `stop` and `tools`; others are refused, since a core provider has its
    settings of its own. A core provider does not stream: the streaming methods give the whole answer
    in one piece. Whether a tool is called is the model's choice; where a call is required, an answer
    without one raises.

    Args:
        model_provider: The core provider.
        model_name: What to call it; by default its class.
        context_window: How many tokens it takes and gives in all; LlamaIndex packs prompts by it.
        num_output: How many of them it gives.
        is_function_calling_model: Whether it can ask for functions. Where it cannot, LlamaIndex asks
            for structured answers in words.
        settings: The other fields of LlamaIndex's `LLM`: `callback_manager`, `system_prompt`,
            `messages_to_prompt`, ...

    Raises:
        InvalidConfigError: `model_provider` is no core provider.
    """

    model_provider: core.ModelProvider = Field(exclude=True)
    model_name: str
    context_window: int
    num_output: int
    is_function_calling_model: bool

    def __init__(
        self,
        model_provider: core.ModelProvider,
        *,
        model_name: str | None = None,
        context_window: int = DEFAULT_CONTEXT_WINDOW,
        num_output: int = DEFAULT_NUM_OUTPUTS,
        is_function_calling_model: bool = True,
        **settings: Any,
    ) -> None:
        check_kind(model_provider, core.ModelProvider, "model_provider")
        super().__init__(
            model_provider=model_provider,
            model_name=model_name or type(model_provider).__name__,
            context_window=context_window,
            num_output=num_output,
            is_function_calling_model=is_function_calling_model,
            **settings,
        )

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex knows this class."""
        return "RagbridgeLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex must know of the model."""
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.num_output,
            is_chat_model=True,
            is_function_calling_model=self.is_function_calling_model,
            model_name=self.model_name,
        )

    @_observed(llm_chat_callback)
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The model's answer.

        Args:
            messages: The conversation so far.
            kwargs: `stop`, where it must stop writing; `tools`, LlamaIndex's or the core's.

        Raises:
            InvalidQueryError: a message or a tool is none, or a required call was not made.
            UnsupportedQueryError: the core has no words for a block of a message or a keyword.
        """
        return run(self._answer(_request(messages, kwargs)))

    @_observed(llm_chat_callback)
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Async twin of `chat`."""
        return await arun(self._answer(_request(messages, kwargs)))

    @_observed(llm_chat_callback)
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The answer of `chat`, in one piece."""
        request = _request(messages, kwargs)

        def pieces() -> ChatResponseGen:
            yield run(self._answer(request))

        return pieces()

    @_observed(llm_chat_callback)
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Async twin of `stream_chat`."""
        request = _request(messages, kwargs)

        async def pieces() -> ChatResponseAsyncGen:
            yield await arun(self._answer(request))

        return pieces()

    @_observed(llm_completion_callback)
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The model's answer to one question.

        Args:
            prompt: The question.
            formatted: Whether it is in the model's own form; else `completion_to_prompt` puts it there.
            kwargs: `stop`, where it must stop writing.

        Raises:
            UnsupportedQueryError: a keyword that the core has no words for.
        """
        return run(self._completion(self._question(prompt, formatted, kwargs)))

    @_observed(llm_completion_callback)
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """Async twin of `complete`."""
        return await arun(self._completion(self._question(prompt, formatted, kwargs)))

    @_observed(llm_completion_callback)
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """The answer of `complete`, in one piece."""
        request = self._question(prompt, formatted, kwargs)

        def pieces() -> CompletionResponseGen:
            yield run(self._completion(request))

        return pieces()

    @_observed(llm_completion_callback)
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Async twin of `stream_complete`."""
        request = self._question(prompt, formatted, kwargs)

        async def pieces() -> CompletionResponseAsyncGen:
            yield await arun(self._completion(request))

        return pieces()

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **_kwargs: Any
    ) -> list[ToolSelection]:
        """The calls in an answer.

        Raises:
            InvalidQueryError: there is none, and `error_on_no_tool_call` is true.
        """
        selections = selections_of(response.message)
        if error_on_no_tool_call:
            _check_called(response)
        return selections

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002 - LlamaIndex passes it; there is nothing to tell
        allow_parallel_tool_calls: bool = False,  # noqa: ARG002 - seen to when the answer is there
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or [])
        if user_msg is not None:
            messages.append(ChatMessage(user_msg) if isinstance(user_msg, str) else user_msg)
        return {"messages": messages, "tools": tools, "tool_required": tool_required, **kwargs}

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],  # noqa: ARG002 - LlamaIndex's signature
        allow_parallel_tool_calls: bool = False,
        **_kwargs: Any,
    ) -> ChatResponse:
        if not allow_parallel_tool_calls:
            _keep_first_call(response.message)
        return response

    def _question(self, prompt: str, formatted: bool, kwargs: Mapping[str, Any]) -> _Request:
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        return _request([ChatMessage(prompt)], kwargs)

    def _answer(self, request: _Request) -> Work[ChatResponse]:
        answer = yield from self._ask(request)
        response = ChatResponse(message=to_llama_index_message(answer), delta=answer.content or "")
        if request.tool_required:
            _check_called(response)
        return response

    def _completion(self, request: _Request) -> Work[CompletionResponse]:
        answer = yield from self._ask(request)
        text = answer.content or ""
        return CompletionResponse(text=text, delta=text)

    def _ask(self, request: _Request) -> Step[core.ChatAssistantMessage]:
        provider = self.model_provider
        return Step(provider.chat, provider.achat, request.messages, request.tools, request.stop)


def _request(messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> _Request:
    for name, value in kwargs.items():
        if name not in _KEYWORDS and value is not None:
            raise UnsupportedQueryError(
                f"RagbridgeLLM does not know the keyword {name!r}; it knows "
                f"{', '.join(_KEYWORDS)}. Set the core provider up with other settings"
            )
    return _Request(
        from_llama_index_messages(messages),
        from_llama_index_tools(kwargs.get("tools") or ()),
        kwargs.get("stop"),
        bool(kwargs.get("tool_required")),
    )


def _check_called(response: ChatResponse) -> None:
    if not selections_of(response.message):
        raise InvalidQueryError(
            "the model was to call a tool, but answered without a call; a core provider leaves that "
            "to the model: say in the prompt that it must"
        )


def _keep_first_call(message: ChatMessage) -> None:
    first = next((block for block in message.blocks if isinstance(block, ToolCallBlock)), None)
    message.blocks = [
        block for block in message.blocks if block is first or not isinstance(block, ToolCallBlock)
    ]


class LlamaIndexModelProvider(core.ModelProvider):
    """A LlamaIndex LLM as a core chat model.

    Args:
        llm: The LLM. Functions can be asked for where it is a `FunctionCallingLLM` whose model can.
        stop_keyword: The keyword under which it takes the texts at which it must stop: `stop` with
            most, `stop_sequences` with some. None where it takes none. In any case an answer ends
            before the first of them.

    Raises:
        InvalidConfigError: `llm` is no LlamaIndex LLM.
    """

    def __init__(self, llm: LLM, *, stop_keyword: str | None = "stop") -> None:
        check_kind(llm, LLM, "llm")
        self.llm = llm
        self.stop_keyword = stop_keyword

    def chat(
        self,
        messages: Sequence[core.ChatMessage] | core.ChatUserMessage,
        tools: Sequence[core.FunctionTool] = (),
        stop: str | Sequence[str] | None = None,
    ) -> core.ChatAssistantMessage:
        """The model's answer.

        Args:
            messages: The conversation so far, or a single question.
            tools: The functions that it may ask for.
            stop: Where it must stop writing.

        Raises:
            InvalidQueryError: an argument is wrong; the message names it.
            UnsupportedQueryError: there are tools, but the LLM cannot call functions.
        """
        return run(self._chat(messages, tools, stop))

    async def achat(
        self,
        messages: Sequence[core.ChatMessage] | core.ChatUserMessage,
        tools: Sequence[core.FunctionTool] = (),
        stop: str | Sequence[str] | None = None,
    ) -> core.ChatAssistantMessage:
        """Async twin of `chat`."""
        return await arun(self._chat(messages, tools, stop))

    def _chat(
        self,
        messages: Sequence[core.ChatMessage] | core.ChatUserMessage,
        tools: Sequence[core.FunctionTool],
        stop: str | Sequence[str] | None,
    ) -> Work[core.ChatAssistantMessage]:
        conversation, stops = to_llama_index_messages(messages), _check_stop(stop)
        keyword = self.stop_keyword
        settings: dict[str, Any] = {keyword: stops} if stops and keyword else {}
        if not tools:
            llm = self.llm
            response = yield from Step(llm.chat, llm.achat, conversation, **settings)
            return core.ChatAssistantMessage(_cut(response.message.content, stops))
        caller = self._function_caller()
        response = yield from Step(
            caller.chat_with_tools,
            caller.achat_with_tools,
            [DescribedTool(tool) for tool in from_llama_index_tools(tools)],
            chat_history=conversation,
            allow_parallel_tool_calls=True,
            **settings,
        )
        calls = calls_of(caller.get_tool_calls_from_response(response, error_on_no_tool_call=False))
        text = _cut(response.message.content, stops)
        return core.ChatAssistantMessage((text or None) if calls else text, calls)

    def _function_caller(self) -> FunctionCallingLLM:
        llm = self.llm
        if isinstance(llm, FunctionCallingLLM) and llm.metadata.is_function_calling_model:
            return llm
        raise UnsupportedQueryError(
            f"{type(llm).__name__} cannot call functions; give no tools, or another LLM"
        )


def _check_stop(stop: object) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list | tuple) or not all(isinstance(s, str) and s for s in stops):
        raise InvalidQueryError(
            f"stop must be a text, a list of texts, or None, not {shorten(stop)}; none of them empty"
        )
    return list(stops)


def _cut(text: str | None, stops: Sequence[str]) -> str | None:
    """What stands before the first of `stops`."""
    if text is None:
        return None
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]
