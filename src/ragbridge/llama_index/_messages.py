"""Chat messages, the core's <-> LlamaIndex's."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import ValidationError

from ragbridge import chat as core
from ragbridge.documents import AudioDocument, Document, FileDocument, ImageDocument
from ragbridge.errors import InvalidQueryError, UnsupportedQueryError, shorten

_Content: TypeAlias = str | core.Prompt


def to_llama_index_messages(
    messages: Sequence[core.ChatMessage] | core.ChatUserMessage,
) -> list[ChatMessage]:
    """The core's messages, or one question, as LlamaIndex's.

    Names, and the id and the name of a function that answers, go into `additional_kwargs`, where
    LlamaIndex's LLMs look for them.

    Raises:
        InvalidQueryError: no messages.
        UnsupportedQueryError: a document in a prompt that makes no block.
    """
    given: object = [messages] if isinstance(messages, core.ChatUserMessage) else messages
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidQueryError(
            f"messages must be a ChatUserMessage or a list of messages, not {shorten(messages)}"
        )
    return [to_llama_index_message(message) for message in given]


def to_llama_index_message(message: core.ChatMessage) -> ChatMessage:
    """One message; see `to_llama_index_messages`."""
    if isinstance(message, core.ChatSystemMessage):
        return _message(MessageRole.SYSTEM, _blocks(message.content), name=message.name)
    if isinstance(message, core.ChatUserMessage):
        return _message(MessageRole.USER, _blocks(message.content), name=message.name)
    if isinstance(message, core.ChatAssistantMessage):
        blocks = [*_blocks(message.content), *map(_call_block, message.tool_calls)]
        return _message(MessageRole.ASSISTANT, blocks, name=message.name)
    if isinstance(message, core.ChatFunctionMessage):
        blocks = _blocks(message.content)
        return _message(MessageRole.TOOL, blocks, name=message.name, tool_call_id=message.id)
    raise InvalidQueryError(f"messages must hold the core's messages, not {shorten(message)}")


def from_llama_index_messages(messages: Sequence[ChatMessage]) -> list[core.ChatMessage]:
    """LlamaIndex's messages as the core's.

    Developers' messages are the system's; those of a chatbot or a model the assistant's. A function's
    answer that does not name the function is that to the call with its id.

    Raises:
        InvalidQueryError: an answer of an unknown function, or arguments that are no JSON.
        UnsupportedQueryError: a block that the core has no words for.
    """
    names: dict[str, str] = {}
    return [_FROM[message.role](message, names) for message in messages]


def _message(role: MessageRole, blocks: list[Any], **details: str | None) -> ChatMessage:
    given = {name: value for name, value in details.items() if value is not None}
    return ChatMessage(role=role, blocks=blocks, additional_kwargs=given)


def _blocks(content: _Content | None) -> list[Any]:
    if content is None:
        return []
    if isinstance(content, str):
        return [TextBlock(text=content)]
    parts = chain.from_iterable(zip_longest(content.strings, content.insertions, fillvalue=""))
    blocks: list[Any] = []
    for part in map(_block, parts):
        if isinstance(part, str) and blocks and isinstance(blocks[-1], TextBlock):
            blocks[-1] = TextBlock(text=blocks[-1].text + part)
        elif part:
            blocks.append(TextBlock(text=part) if isinstance(part, str) else part)
    return blocks


def _block(part: str | Document) -> Any:
    """A document as a block where there is one for its kind, anything else as text."""
    if isinstance(part, Document):
        for kind, block, data in _MEDIA:
            if isinstance(part, kind):
                return _media_block(part, block, data)
    return str(core.Prompt(("", ""), (part,)))


def _media_block(document: Document, block: type[Any], data: str) -> Any:
    field = data if isinstance(document.content, bytes) else "url"
    try:
        return block(**{field: document.content})
    except ValidationError as error:
        raise UnsupportedQueryError(
            f"a {type(document).__name__} must hold bytes or a URL to be a {block.__name__}"
        ) from error


_MEDIA: Final[Sequence[tuple[type[Document], type[Any], str]]] = (
    (ImageDocument, ImageBlock, "image"),
    (AudioDocument, AudioBlock, "audio"),
    (FileDocument, DocumentBlock, "data"),
)
_RESOLVERS: Final = {"image": "resolve_image", "audio": "resolve_audio", "data": "resolve_document"}


def _call_block(call: core.FunctionCall) -> ToolCallBlock:
    return ToolCallBlock(
        tool_call_id=call.id, tool_name=call.name, tool_kwargs=dict(call.arguments)
    )


def _from_prompt(kind: Callable[[_Content, str | None], core.ChatMessage]) -> Callable[..., Any]:
    def convert(message: ChatMessage, _names: Mapping[str, str]) -> core.ChatMessage:
        return kind(_content(message), message.additional_kwargs.get("name"))

    return convert


def _from_assistant(message: ChatMessage, names: dict[str, str]) -> core.ChatAssistantMessage:
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if message.additional_kwargs.get("tool_calls") and not blocks:
        raise UnsupportedQueryError(
            "an assistant's message has its tool calls in additional_kwargs, in a form of one LLM's "
            "own; give them as ToolCallBlocks"
        )
    calls = [_call(block) for block in blocks]
    names.update({call.id: call.name for call in calls if call.id is not None})
    return core.ChatAssistantMessage(
        _text(message), calls, name=message.additional_kwargs.get("name")
    )


def _from_function(message: ChatMessage, names: Mapping[str, str]) -> core.ChatFunctionMessage:
    call_id = message.additional_kwargs.get("tool_call_id")
    name = message.additional_kwargs.get("name") or names.get(str(call_id))
    if name is None:
        raise InvalidQueryError(
            f"a {message.role.value} message must say in additional_kwargs which function it answers "
            f"for: its 'name', or the 'tool_call_id' of a call before it, not {shorten(call_id)}"
        )
    return core.ChatFunctionMessage(name, _text(message), id=call_id)


_FROM: Final[Mapping[MessageRole, Callable[[ChatMessage, dict[str, str]], core.ChatMessage]]] = {
    MessageRole.SYSTEM: _from_prompt(core.ChatSystemMessage),
    MessageRole.DEVELOPER: _from_prompt(core.ChatSystemMessage),
    MessageRole.USER: _from_prompt(core.ChatUserMessage),
    MessageRole.ASSISTANT: _from_assistant,
    MessageRole.CHATBOT: _from_assistant,
    MessageRole.MODEL: _from_assistant,
    MessageRole.FUNCTION: _from_function,
    MessageRole.TOOL: _from_function,
}


def _call(block: ToolCallBlock) -> core.FunctionCall:
    arguments = block.tool_kwargs
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as error:
            raise InvalidQueryError(
                f"the arguments of the call of {block.tool_name!r} are no JSON"
            ) from error
    return core.FunctionCall(block.tool_name, arguments, id=block.tool_call_id)


def _text(message: ChatMessage) -> str | None:
    for block in message.blocks:
        if not isinstance(block, TextBlock | ToolCallBlock):
            raise _unsayable(message, block)
    return message.content


def _content(message: ChatMessage) -> _Content:
    if all(isinstance(block, TextBlock) for block in message.blocks):
        return message.content or ""
    strings, insertions = [""], []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            strings[-1] += block.text
        else:
            insertions.append(_document(message, block))
            strings.append("")
    return core.Prompt(strings, insertions)


def _document(message: ChatMessage, block: Any) -> Document:
    for kind, known, data in _MEDIA:
        if isinstance(block, known):
            if getattr(block, data) is not None:
                return kind(content=getattr(block, _RESOLVERS[data])().read())
            return kind(content=str(block.url or block.path))
    raise _unsayable(message, block)


def _unsayable(message: ChatMessage, block: Any) -> UnsupportedQueryError:
    return UnsupportedQueryError(
        f"a {message.role.value} message holds a {type(block).__name__}, which the core's messages "
        "have no words for; leave it out"
    )
