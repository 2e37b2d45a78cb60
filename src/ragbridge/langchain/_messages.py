"""Chat messages and tools between the core and LangChain, both ways."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages import ChatMessage as RoleMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from ragbridge.chat import (
    ChatAssistantMessage,
    ChatFunctionMessage,
    ChatMessage,
    ChatSystemMessage,
    ChatUserMessage,
    FunctionCall,
    FunctionTool,
    Prompt,
)
from ragbridge.documents import AudioDocument, Document, FileDocument, ImageDocument
from ragbridge.errors import InvalidInputError, shorten

_MEDIA: Final[Mapping[str, type[Document]]] = {
    "image": ImageDocument,
    "audio": AudioDocument,
    "file": FileDocument,
}


def from_langchain_messages(messages: Sequence[BaseMessage]) -> list[ChatMessage]:
    """The core's form of a conversation.

    Raises:
        InvalidInputError: a message is of a kind, or holds something, that the core does not model.
    """
    names = {
        str(call["id"]): call["name"]
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
    }
    return [_from_message(message, names) for message in messages]


def _from_message(message: object, names: Mapping[str, str]) -> ChatMessage:
    if isinstance(message, HumanMessage):
        return ChatUserMessage(_prompt(message), message.name)
    if isinstance(message, SystemMessage):
        return ChatSystemMessage(_prompt(message), message.name)
    if isinstance(message, AIMessage):
        return from_langchain_answer(message)
    if isinstance(message, ToolMessage):
        return _from_tool_message(message, names)
    if isinstance(message, FunctionMessage):
        return ChatFunctionMessage(message.name, _text(message))
    if isinstance(message, RoleMessage) and message.role in _ROLES:
        return _ROLES[message.role](_text(message), name=message.name)
    raise InvalidInputError(
        "messages must be those of a system, a human, a model or a tool, not "
        f"{shorten(message)}; give such a one in its place"
    )


_ROLES: Final[Mapping[str, Callable[..., ChatMessage]]] = {
    "user": ChatUserMessage,
    "system": ChatSystemMessage,
    "assistant": ChatAssistantMessage,
}


def from_langchain_answer(message: object) -> ChatAssistantMessage:
    """The core's form of what a LangChain model said: its text and the calls it wants.

    Raises:
        InvalidInputError: no AIMessage, or one with a tool call that could not be read.
    """
    if not isinstance(message, AIMessage):
        raise InvalidInputError(f"a model must answer with an AIMessage, not {shorten(message)}")
    if message.invalid_tool_calls:
        raise InvalidInputError(
            f"the model made a tool call that cannot be read: {shorten(message.invalid_tool_calls)}"
        )
    calls = [FunctionCall(call["name"], call["args"], call["id"]) for call in message.tool_calls]
    return ChatAssistantMessage(_text(message) or None, calls, message.name)


def _from_tool_message(message: ToolMessage, names: Mapping[str, str]) -> ChatFunctionMessage:
    name = message.name or names.get(message.tool_call_id)
    if name is None:
        raise InvalidInputError(
            f"a ToolMessage answers the call {message.tool_call_id!r}, which no message makes; give "
            "the AIMessage with that call too, or the ToolMessage a name"
        )
    return ChatFunctionMessage(name, _text(message), message.tool_call_id)


def _text(message: BaseMessage) -> str:
    return str(message.text)


def _prompt(message: BaseMessage) -> str | Prompt:
    if isinstance(message.content, str):
        return message.content
    strings, insertions = [""], []
    for block in message.content_blocks:
        if block["type"] == "text":
            strings[-1] += block["text"]
        else:
            insertions.append(_medium(dict(block)))
            strings.append("")
    return Prompt(strings, insertions) if insertions else strings[0]


def _medium(block: Mapping[str, Any]) -> Document:
    kind = _MEDIA.get(block["type"])
    content = b64decode(block["base64"]) if "base64" in block else block.get("url")
    if kind is None or content is None:
        raise InvalidInputError(
            "a message's content must be of texts, images, audio and files, in base64 or as a url, "
            f"not {shorten(block)}"
        )
    mime_type = block.get("mime_type")
    return kind(content=content, metadata={"mime_type": mime_type} if mime_type else {})


def to_langchain_messages(messages: Iterable[ChatMessage] | ChatUserMessage) -> list[BaseMessage]:
    """LangChain's form of a conversation.

    Raises:
        InvalidInputError: an item is no message.
    """
    given = [messages] if isinstance(messages, ChatUserMessage) else messages
    return [_to_message(message) for message in given]


def _to_message(message: object) -> BaseMessage:
    if isinstance(message, ChatUserMessage):
        return HumanMessage(_content(message.content), name=message.name)
    if isinstance(message, ChatSystemMessage):
        return SystemMessage(_content(message.content), name=message.name)
    if isinstance(message, ChatAssistantMessage):
        return to_langchain_answer(message)
    if isinstance(message, ChatFunctionMessage):
        # LangChain wants an id; without one, the name is all that tells calls apart.
        call = message.id or message.name
        return ToolMessage(message.content or "", tool_call_id=call, name=message.name)
    raise InvalidInputError(f"messages must be chat messages, not {shorten(message)}")


def to_langchain_answer(message: ChatAssistantMessage) -> AIMessage:
    """LangChain's form of what a core model said."""
    calls = [
        {"name": call.name, "args": dict(call.arguments), "id": call.id or call.name}
        for call in message.tool_calls
    ]
    return AIMessage(message.content or "", tool_calls=calls, name=message.name)


def _content(content: str | Prompt) -> Any:
    if isinstance(content, str) or not any(map(_is_medium, content.insertions)):
        return str(content)
    blocks: list[dict[str, Any]] = []
    text = content.strings[0]
    for insertion, after in zip(content.insertions, content.strings[1:], strict=True):
        if isinstance(insertion, Document) and _is_medium(insertion):
            blocks += [*_text_block(text), _media_block(insertion)]
            text = after
        else:
            text += str(Prompt(["", after], [insertion]))
    return [*blocks, *_text_block(text)]


def _is_medium(insertion: object) -> bool:
    return isinstance(insertion, tuple(_MEDIA.values()))


def _text_block(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _media_block(document: Document) -> dict[str, Any]:
    block: dict[str, Any] = {
        "type": next(name for name, kind in _MEDIA.items() if isinstance(document, kind))
    }
    if mime_type := document.metadata.get("mime_type"):
        block["mime_type"] = mime_type
    if isinstance(document.content, bytes):
        return {**block, "base64": b64encode(document.content).decode()}
    return {**block, "url": document.content}


def from_langchain_tool(tool: Any) -> FunctionTool:
    """The core's form of a tool: whatever LangChain can make a JSON schema of.

    Raises:
        InvalidInputError: no tool, or one that is no function.
    """
    try:
        made = convert_to_openai_tool(tool)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{shorten(tool)} is no tool: {error}") from error
    if made.get("type") != "function":
        raise InvalidInputError(f"tools must be functions, not {shorten(tool)}")
    function = made["function"]
    return FunctionTool(
        function["name"], function.get("description", ""), function.get("parameters")
    )


def to_langchain_tool(tool: FunctionTool) -> dict[str, Any]:
    """LangChain's form of a tool: a dict that every model's `bind_tools` takes."""
    parameters = tool.parameters or {"type": "object", "properties": {}}
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(parameters),
    }
    return {"type": "function", "function": function}
