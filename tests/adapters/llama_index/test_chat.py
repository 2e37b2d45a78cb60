"""Chat models between the core and LlamaIndex."""

import asyncio
import threading

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    DocumentBlock,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.llms import ChatMessage, ChatResponse, MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool as LlamaIndexTool
from pydantic import BaseModel, PrivateAttr

from ragbridge import (
    AudioDocument,
    ChatAssistantMessage,
    ChatFunctionMessage,
    ChatSystemMessage,
    ChatUserMessage,
    FileDocument,
    FunctionCall,
    FunctionTool,
    ImageDocument,
    InvalidConfigError,
    InvalidInputError,
    InvalidQueryError,
    ModelProvider,
    Prompt,
    TextDocument,
    UnsupportedQueryError,
)
from ragbridge.llama_index import LlamaIndexModelProvider, RagbridgeLLM

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")


class Scripted(ModelProvider):
    """Says what it was told to, and remembers what it was asked and how."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.ways = []

    def chat(self, messages, tools=(), stop=None):
        self.ways.append("chat")
        return self._answer(messages, tools, stop)

    async def achat(self, messages, tools=(), stop=None):
        self.ways.append("achat")
        return self._answer(messages, tools, stop)

    def _answer(self, messages, tools, stop):
        self.asked.append((list(messages), list(tools), stop))
        return self.answers.pop(0)


class ScriptedLLM(MockFunctionCallingLLM):
    """A LlamaIndex LLM that says what it was told to."""

    answers: list[ChatMessage]
    can_call: bool = True
    _asked: list = PrivateAttr(default_factory=list)

    @property
    def metadata(self):
        return LLMMetadata(is_chat_model=True, is_function_calling_model=self.can_call)

    def chat(self, messages, **kwargs):
        self._asked.append((messages, kwargs))
        return ChatResponse(message=self.answers.pop(0))

    async def achat(self, messages, **kwargs):
        self._asked.append(("async", messages, kwargs))
        return ChatResponse(message=self.answers.pop(0))

    def _prepare_chat_with_tools(self, tools, user_msg=None, chat_history=None, **kwargs):
        given = {name: value for name, value in kwargs.items() if name == "stop"}
        return {
            "messages": chat_history,
            "tools": [t.metadata.to_openai_tool() for t in tools],
            **given,
        }


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionCall("add", {"a": 1, "b": 2}, "call-1")
ADD_TOOL = LlamaIndexTool.from_defaults(add)
ADD_PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "minimum": 0}},
    "required": ["a"],
    "$defs": {"x": {"type": "string"}},
}
CONVERSATION = [
    ChatSystemMessage("Be brief.", name="boss"),
    ChatUserMessage("What is 1 + 2?", name="Ada"),
    ChatAssistantMessage("Let me see.", [ADD, FunctionCall("now", id="call-2")]),
    ChatFunctionMessage("add", "3", "call-1"),
    ChatFunctionMessage("now", None),
    ChatAssistantMessage(None, [ADD]),
    ChatAssistantMessage("", name="helper"),
    ChatUserMessage(""),
    ChatUserMessage("two\nlines"),
]


def user(text):
    return ChatMessage(role="user", content=text)


def assistant(text, *calls):
    blocks = [] if text is None else [TextBlock(text=text)]
    return ChatMessage(role="assistant", blocks=[*blocks, *calls])


class TestBothWays:
    @pytest.mark.parametrize("way", ["chat", "achat"])
    def test_what_goes_there_and_back_is_the_same(self, way):
        answer = ChatAssistantMessage("3", [ADD])
        provider = Scripted(answer)
        tool = FunctionTool("add", "Adds.", ADD_PARAMETERS)
        outer = LlamaIndexModelProvider(RagbridgeLLM(provider))
        if way == "chat":
            assert outer.chat(CONVERSATION, [tool], ["stop"]) == answer
        else:
            assert asyncio.run(outer.achat(CONVERSATION, [tool], ["stop"])) == answer
        assert provider.asked == [(CONVERSATION, [tool], ["stop"])]
        assert provider.ways == [way]

    def test_one_question_is_a_conversation_of_one(self):
        provider = Scripted(ChatAssistantMessage("4"))
        outer = LlamaIndexModelProvider(RagbridgeLLM(provider))
        assert outer.chat(ChatUserMessage("2 + 2?")) == ChatAssistantMessage("4")
        assert provider.asked == [([ChatUserMessage("2 + 2?")], [], None)]

    def test_prompts_keep_their_documents(self):
        prompt = Prompt(
            ["Compare ", " with ", ", ", " and ", "."],
            [
                ImageDocument(content=PNG),
                ImageDocument(content="https://example.org/b.png"),
                AudioDocument(content=b"ID3\x00sound"),
                FileDocument(content="https://example.org/c.pdf"),
            ],
        )
        provider = Scripted(ChatAssistantMessage("no"))
        LlamaIndexModelProvider(RagbridgeLLM(provider)).chat(ChatUserMessage(prompt))
        ((message,), _, _) = provider.asked[0]
        assert message.content == prompt

    def test_prompts_of_text_become_text(self):
        prompt = Prompt(["<", "|", ">"], ["one", TextDocument(content="two")])
        provider = Scripted(ChatAssistantMessage("no"))
        LlamaIndexModelProvider(RagbridgeLLM(provider)).chat(ChatUserMessage(prompt))
        assert provider.asked[0][0] == [ChatUserMessage("<one|two>")]


class TestRagbridgeLLM:
    def test_chat_and_complete(self):
        provider = Scripted(*map(ChatAssistantMessage, ["one", "two"]))
        llm = RagbridgeLLM(provider)
        response = llm.chat([user("a")], stop=["x"])
        assert (response.message.role, response.message.content) == ("assistant", "one")
        assert llm.complete("b", stop="y").text == "two"
        assert provider.asked == [
            ([ChatUserMessage("a")], [], ["x"]),
            ([ChatUserMessage("b")], [], "y"),
        ]

    async def test_async_methods_call_async_methods(self):
        provider = Scripted(*map(ChatAssistantMessage, ["one", "two", "three", "four"]))
        llm = RagbridgeLLM(provider)
        assert (await llm.achat([user("a")])).message.content == "one"
        assert (await llm.acomplete("b")).text == "two"
        chats = [each async for each in await llm.astream_chat([user("c")])]
        texts = [each async for each in await llm.astream_complete("d")]
        assert [each.delta for each in chats] == ["three"]
        assert [each.text for each in texts] == ["four"]
        assert provider.ways == ["achat"] * 4

    def test_streams_give_the_answer_in_one_piece(self):
        llm = RagbridgeLLM(Scripted(*map(ChatAssistantMessage, ["one", "two"])))
        (chat,) = llm.stream_chat([user("a")])
        (text,) = llm.stream_complete("b")
        assert (chat.delta, chat.message.content) == ("one", "one")
        assert (text.delta, text.text) == ("two", "two")

    def test_metadata_say_what_was_set(self):
        llm = RagbridgeLLM(
            Scripted(),
            model_name="m",
            context_window=99,
            num_output=9,
            is_function_calling_model=False,
        )
        metadata = llm.metadata
        assert (metadata.model_name, metadata.context_window, metadata.num_output) == ("m", 99, 9)
        assert metadata.is_chat_model
        assert not metadata.is_function_calling_model
        assert RagbridgeLLM(Scripted()).metadata.model_name == "Scripted"

    def test_completion_to_prompt_applies_to_what_is_not_formatted(self):
        provider = Scripted(*map(ChatAssistantMessage, ["", ""]))
        llm = RagbridgeLLM(provider, completion_to_prompt=lambda prompt: f"Q: {prompt}")
        llm.complete("a")
        llm.complete("b", formatted=True)
        assert [messages for messages, _, _ in provider.asked] == [
            [ChatUserMessage("Q: a")],
            [ChatUserMessage("b")],
        ]

    def test_events_are_those_of_other_llms(self):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        llm = RagbridgeLLM(
            Scripted(*map(ChatAssistantMessage, ["one", "two"])),
            callback_manager=CallbackManager([debug]),
        )
        llm.chat([user("a")])
        llm.complete("b")
        (_, chat), (_, completion) = debug.get_event_pairs(CBEventType.LLM)
        assert chat.payload["response"].message.content == "one"
        assert completion.payload["completion"].text == "two"
        assert "model_provider" not in llm.to_dict()

    @pytest.mark.parametrize("call", ["chat", "complete", "stream_chat", "stream_complete"])
    def test_unknown_keywords_are_refused(self, call):
        llm = RagbridgeLLM(Scripted(ChatAssistantMessage("x")))
        asked = "a" if "complete" in call else [user("a")]
        with pytest.raises(UnsupportedQueryError, match="temperature"):
            getattr(llm, call)(asked, temperature=0.5)

    @pytest.mark.parametrize("wrong", [None, "model", MockLLM()], ids=["none", "text", "llm"])
    def test_what_is_no_provider_is_refused(self, wrong):
        with pytest.raises(InvalidConfigError, match="model_provider"):
            RagbridgeLLM(wrong)


class TestMessages:
    @pytest.mark.parametrize(
        ("role", "kind"),
        [
            (MessageRole.SYSTEM, ChatSystemMessage),
            (MessageRole.DEVELOPER, ChatSystemMessage),
            (MessageRole.USER, ChatUserMessage),
            (MessageRole.ASSISTANT, ChatAssistantMessage),
            (MessageRole.CHATBOT, ChatAssistantMessage),
            (MessageRole.MODEL, ChatAssistantMessage),
        ],
    )
    def test_every_role_has_a_kind(self, role, kind):
        assert received(ChatMessage(role=role, content="x")) == [kind("x")]

    @pytest.mark.parametrize("role", ["tool", "function"])
    def test_an_answer_without_a_name_is_that_to_its_call(self, role):
        call = ToolCallBlock(tool_call_id="c", tool_name="add", tool_kwargs='{"a": 1}')
        answer = ChatMessage(role=role, content="3", additional_kwargs={"tool_call_id": "c"})
        assert received(assistant(None, call), answer) == [
            ChatAssistantMessage(None, [FunctionCall("add", {"a": 1}, "c")]),
            ChatFunctionMessage("add", "3", "c"),
        ]

    @pytest.mark.parametrize(
        ("message", "error", "named"),
        [
            (ChatMessage(role="tool", content="3"), InvalidQueryError, "tool_call_id"),
            (
                ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "c"}),
                InvalidQueryError,
                "tool_call_id",
            ),
            (
                assistant(None, ToolCallBlock(tool_name="add", tool_kwargs="{")),
                InvalidQueryError,
                "add",
            ),
            (
                assistant(None, ToolCallBlock(tool_name="add", tool_kwargs="[1]")),
                InvalidInputError,
                "arguments",
            ),
            (
                assistant("x", ThinkingBlock(content="hm")),
                UnsupportedQueryError,
                "ThinkingBlock",
            ),
            (
                ChatMessage(blocks=[CachePoint(cache_control={"type": "ephemeral"})]),
                UnsupportedQueryError,
                "CachePoint",
            ),
            (
                ChatMessage(role="assistant", additional_kwargs={"tool_calls": [{"id": "c"}]}),
                UnsupportedQueryError,
                "ToolCallBlock",
            ),
        ],
        ids=["nameless", "orphan", "no-json", "no-object", "thinking", "cache", "own-form"],
    )
    def test_what_cannot_be_said_is_refused(self, message, error, named):
        with pytest.raises(error, match=named):
            received(message)

    def test_blocks_of_media_become_documents(self, tmp_path):
        file = tmp_path / "a.png"
        file.write_bytes(PNG)
        message = ChatMessage(
            blocks=[
                TextBlock(text="a"),
                TextBlock(text="b"),
                ImageBlock(image=PNG),
                ImageBlock(path=file),
                AudioBlock(audio=b"ID3\x00sound"),
                DocumentBlock(data=b"%PDF-1.4"),
            ]
        )
        (made,) = received(message)
        assert made.content == Prompt(
            ["ab", "", "", "", ""],
            [
                ImageDocument(content=PNG),
                ImageDocument(content=str(file)),
                AudioDocument(content=b"ID3\x00sound"),
                FileDocument(content=b"%PDF-1.4"),
            ],
        )


def received(*messages):
    """What a core provider gets of LlamaIndex's messages."""
    provider = Scripted(ChatAssistantMessage("x"))
    RagbridgeLLM(provider).chat(list(messages))
    return provider.asked[0][0]


class Person(BaseModel):
    """A person."""

    name: str


class TestTools:
    def test_tools_are_described_to_the_provider(self):
        provider = Scripted(ChatAssistantMessage(None, [ADD]))
        llm = RagbridgeLLM(provider)
        response = llm.chat_with_tools([ADD_TOOL], user_msg="1 + 2?", chat_history=[user("hi")])
        (call,) = llm.get_tool_calls_from_response(response)
        assert (call.tool_id, call.tool_name, call.tool_kwargs) == (
            "call-1",
            "add",
            {"a": 1, "b": 2},
        )
        messages, (tool,), _ = provider.asked[0]
        assert messages == [ChatUserMessage("hi"), ChatUserMessage("1 + 2?")]
        assert tool.name == "add"
        assert "Add two numbers." in tool.description
        assert tool.parameters["required"] == ["a", "b"]

    @pytest.mark.parametrize(("parallel", "calls"), [(False, 1), (True, 2)])
    def test_calls_at_once_are_kept_where_they_are_wanted(self, parallel, calls):
        llm = RagbridgeLLM(Scripted(ChatAssistantMessage("so", [ADD, ADD])))
        response = llm.chat_with_tools([ADD_TOOL], "1 + 2?", allow_parallel_tool_calls=parallel)
        assert len(llm.get_tool_calls_from_response(response)) == calls
        assert response.message.content == "so"

    def test_predict_and_call_calls_the_function(self):
        llm = RagbridgeLLM(Scripted(ChatAssistantMessage(None, [ADD])))
        assert str(llm.predict_and_call([ADD_TOOL], "1 + 2?")) == "3"

    def test_a_required_call_that_is_not_made_raises(self):
        llm = RagbridgeLLM(Scripted(*[ChatAssistantMessage("I will not.")] * 3))
        with pytest.raises(InvalidQueryError, match="without a call"):
            llm.chat_with_tools([ADD_TOOL], "1 + 2?", tool_required=True)
        with pytest.raises(InvalidQueryError, match="without a call"):
            llm.predict_and_call([ADD_TOOL], "1 + 2?")
        response = llm.chat_with_tools([ADD_TOOL], "1 + 2?")
        assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []

    @pytest.mark.parametrize("way", ["sync", "async"])
    def test_structured_answers_come_by_a_call(self, way):
        llm = RagbridgeLLM(
            Scripted(ChatAssistantMessage(None, [FunctionCall("Person", {"name": "Ada"})]))
        )
        prompt = PromptTemplate("Who wrote {work}?")
        if way == "sync":
            person = llm.structured_predict(Person, prompt, work="notes")
        else:
            person = asyncio.run(llm.astructured_predict(Person, prompt, work="notes"))
        assert person == Person(name="Ada")

    def test_structured_answers_come_in_words_where_there_are_no_calls(self):
        provider = Scripted(ChatAssistantMessage('{"name": "Ada"}'))
        llm = RagbridgeLLM(provider, is_function_calling_model=False)
        assert llm.structured_predict(Person, PromptTemplate("Who?")) == Person(name="Ada")
        assert provider.asked[0][1] == []

    # LlamaIndex looks at all attributes of an agent, also at those that pydantic is giving up.
    @pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")
    @pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince211")
    async def test_an_agent_calls_functions_until_it_knows(self):
        provider = Scripted(ChatAssistantMessage(None, [ADD]), ChatAssistantMessage("It is 3."))
        agent = FunctionAgent(tools=[add], llm=RagbridgeLLM(provider), system_prompt="Be brief.")
        assert str(await agent.run("What is 1 + 2?")) == "It is 3."
        assert provider.asked[1][0] == [
            ChatSystemMessage("Be brief."),
            ChatUserMessage("What is 1 + 2?"),
            ChatAssistantMessage(None, [ADD]),
            ChatFunctionMessage("add", "3", "call-1"),
        ]

    @pytest.mark.parametrize("wrong", ["add", add, None], ids=["text", "function", "none"])
    def test_what_is_no_tool_is_refused(self, wrong):
        with pytest.raises(InvalidQueryError, match="tools"):
            RagbridgeLLM(Scripted()).chat([user("a")], tools=[wrong])


class TestLlamaIndexModelProvider:
    def test_an_llm_without_chat_completes(self):
        provider = LlamaIndexModelProvider(MockLLM())
        assert provider.chat(ChatUserMessage("hello")).content == "user: hello\nassistant: "

    def test_tools_reach_the_llm_as_it_wants_them(self):
        llm = ScriptedLLM(
            answers=[
                assistant(
                    None, ToolCallBlock(tool_call_id="c", tool_name="add", tool_kwargs='{"a": 1}')
                )
            ]
        )
        tools = [
            FunctionTool("add", "Adds.", ADD_PARAMETERS),
            FunctionTool("now", "Tells the time."),
        ]
        answer = LlamaIndexModelProvider(llm).chat([ChatUserMessage("?")], tools, "end")
        assert answer == ChatAssistantMessage(None, [FunctionCall("add", {"a": 1}, "c")])
        ((_, given),) = llm._asked
        first, second = (tool["function"] for tool in given["tools"])
        assert first == {"name": "add", "description": "Adds.", "parameters": ADD_PARAMETERS}
        assert second["parameters"] == {"type": "object", "properties": {}}
        assert given["stop"] == ["end"]

    async def test_async_methods_use_no_threads(self, monkeypatch):
        llm = ScriptedLLM(answers=[assistant("one"), assistant("two")])
        provider = LlamaIndexModelProvider(llm)
        monkeypatch.setattr(threading.Thread, "start", None)
        assert (await provider.achat(ChatUserMessage("a"))).content == "one"
        tools = [FunctionTool("now", "Tells the time.")]
        assert (await provider.achat(ChatUserMessage("a"), tools)).content == "two"
        assert [asked[0] for asked in llm._asked] == ["async", "async"]

    @pytest.mark.parametrize(
        ("stop", "text"),
        [
            (None, "one two three"),
            ("two", "one "),
            (["three", "two"], "one "),
            (["four"], "one two three"),
        ],
    )
    def test_an_answer_ends_before_the_first_stop(self, stop, text):
        provider = LlamaIndexModelProvider(ScriptedLLM(answers=[assistant("one two three")]))
        assert provider.chat(ChatUserMessage("count"), stop=stop).content == text

    @pytest.mark.parametrize(
        ("keyword", "given"), [("stop_sequences", {"stop_sequences": ["x"]}), (None, {})]
    )
    def test_the_llm_is_told_to_stop_in_its_own_words(self, keyword, given):
        llm = ScriptedLLM(answers=[assistant("text")])
        LlamaIndexModelProvider(llm, stop_keyword=keyword).chat(ChatUserMessage("a"), stop="x")
        assert llm._asked[0][1] == given

    @pytest.mark.parametrize(
        "llm", [MockLLM(), ScriptedLLM(answers=[], can_call=False)], ids=["plain", "cannot"]
    )
    def test_tools_are_refused_where_none_can_be_called(self, llm):
        with pytest.raises(UnsupportedQueryError, match="cannot call functions"):
            LlamaIndexModelProvider(llm).chat(ChatUserMessage("a"), [FunctionTool("f", "F.")])

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (("hello",), "messages"),
            ((None,), "messages"),
            ((["hello"],), "messages"),
            ((ChatUserMessage("a"), ["f"]), "tools"),
            ((ChatUserMessage("a"), (), 7), "stop"),
            ((ChatUserMessage("a"), (), [""]), "stop"),
        ],
        ids=["text", "none", "texts", "tools", "stop", "empty-stop"],
    )
    def test_bad_arguments_are_refused(self, arguments, named):
        with pytest.raises(InvalidQueryError, match=named):
            LlamaIndexModelProvider(ScriptedLLM(answers=[])).chat(*arguments)

    @pytest.mark.parametrize("wrong", [None, "gpt", Scripted()], ids=["none", "text", "core"])
    def test_what_is_no_llm_is_refused(self, wrong):
        with pytest.raises(InvalidConfigError, match="llm"):
            LlamaIndexModelProvider(wrong)
