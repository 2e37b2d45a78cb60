"""Functions that a model may ask for, the core's <-> LlamaIndex's."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Never

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool, ToolMetadata

from ragbridge.chat import FunctionCall, FunctionTool
from ragbridge.errors import InvalidQueryError, UnsupportedQueryError, shorten

_NOTHING: Mapping[str, Any] = {"type": "object", "properties": {}}


class DescribedTool(BaseTool):
    """A core tool as LlamaIndex's: it describes a function, for a model to ask for, and is none."""

    def __init__(self, tool: FunctionTool) -> None:
        self._metadata = ToolMetadata(
            name=tool.name,
            description=tool.description,
            fn_schema=_schema_of(tool),
        )

    @property
    def metadata(self) -> ToolMetadata:
        """What the model is told."""
        return self._metadata

    def __call__(self, *_args: Any, **_kwargs: Any) -> Never:
        raise UnsupportedQueryError(
            f"{self._metadata.name!r} is a description of a function, which the caller of the model "
            "calls"
        )


class _Arguments(BaseModel):
    """Arguments that a given JSON schema describes."""

    schema_: ClassVar[Mapping[str, Any]] = _NOTHING

    @classmethod
    def model_json_schema(cls, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        return dict(cls.schema_)


def _schema_of(tool: FunctionTool) -> type[BaseModel]:
    return type(
        tool.name, (_Arguments,), {"schema_": tool.parameters or _NOTHING, "__module__": __name__}
    )


def from_llama_index_tools(tools: Sequence[BaseTool | FunctionTool]) -> list[FunctionTool]:
    """LlamaIndex's tools, or the core's, as the core's.

    Raises:
        InvalidQueryError: an item is no tool, or has no name.
    """
    return [tool if isinstance(tool, FunctionTool) else _from_tool(tool) for tool in tools]


def _from_tool(tool: object) -> FunctionTool:
    if not isinstance(tool, BaseTool) or not tool.metadata.name:
        raise InvalidQueryError(f"tools must hold tools with a name, not {shorten(tool)}")
    metadata = tool.metadata
    return FunctionTool(metadata.get_name(), metadata.description, metadata.get_parameters_dict())


def calls_of(selections: Sequence[ToolSelection]) -> list[FunctionCall]:
    """What LlamaIndex reads from an LLM's answer, as the core's calls."""
    return [
        FunctionCall(each.tool_name, each.tool_kwargs, id=each.tool_id or None)
        for each in selections
    ]


def selections_of(message: ChatMessage) -> list[ToolSelection]:
    """The calls in a message that was made of a core answer."""
    return [
        ToolSelection(
            tool_id=block.tool_call_id or "",
            tool_name=block.tool_name,
            tool_kwargs=block.tool_kwargs,
        )
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
