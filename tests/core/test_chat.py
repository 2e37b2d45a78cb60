import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragbridge.chat import (
    ChatAssistantMessage,
    ChatFunctionMessage,
    ChatMessage,
    ChatSystemMessage,
    ChatUserMessage,
    FunctionCall,
    FunctionTool,
    ModelProvider,
    Prompt,
    augment_user_query,
)
from ragbridge.documents import Chunk, ImageDocument, TextChunk, TextDocument
from ragbridge.errors import InvalidInputError, InvalidQueryError
from ragbridge.retrievers import QueryMatch


def match(text):
    return QueryMatch(id="x", chunk=TextChunk(content=text), similarity_score=0.5)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (Prompt(["just text"]), "just text"),
        (Prompt([""]), ""),
        (Prompt(["Hello ", "!"], ["world"]), "Hello world!"),
        (Prompt(["", "", ""], ["a", TextDocument(content="b")]), "ab"),
        (Prompt(["see ", "."], [ImageDocument(content=b"\x89")]), "see [image]."),
        (Prompt(["see ", "."], [ImageDocument(content="http://a/b.png")]), "see http://a/b.png."),
        (Prompt(["see ", "."], [Chunk(type="table", content={"a": 1})]), "see [table]."),
        (Prompt(["{x} ", " %s"], ["{y}"]), "{x} {y} %s"),
    ],
)
def test_a_prompt_puts_its_insertions_between_its_strings(prompt, text):
    assert str(prompt) == text


@given(st.lists(st.text(), min_size=1, max_size=5), st.data())
def test_a_prompt_holds_everything_in_order(strings, data):
    size = len(strings) - 1
    insertions = data.draw(st.lists(st.text(), min_size=size, max_size=size))
    prompt = Prompt(strings, insertions)
    expected = strings[0] + "".join(a + b for a, b in zip(insertions, strings[1:], strict=True))
    assert str(prompt) == expected
    assert (prompt.strings, prompt.insertions) == (tuple(strings), tuple(insertions))


def test_a_prompt_is_a_value():
    strings = ["a", "b"]
    prompt = Prompt(strings, ["x"])
    strings.append("c")
    assert prompt == Prompt(["a", "b"], ["x"]) != Prompt(["a", "b"], ["y"])
    with pytest.raises(AttributeError):
        prompt.strings = ()


@pytest.mark.parametrize(
    ("strings", "insertions", "named"),
    [
        ("text", [], "strings must be a list of str, not str 'text'"),
        (None, [], "strings must be a list"),
        (["a", 5], ["b"], r"strings\[1\] must be str, not int 5"),
        (["a", "b"], "x", "insertions must be a list"),
        (["a", "b"], TextDocument(content="x"), "insertions must be a list"),
        (["a", "b"], [5], r"insertions\[0\] must be"),
        (["a"], ["b"], "one string more than insertions, not 1 strings and 1 insertions"),
        ([], [], "not 0 strings and 0 insertions"),
    ],
)
def test_a_wrong_prompt_is_refused(strings, insertions, named):
    with pytest.raises(InvalidInputError, match=named):
        Prompt(strings, insertions)


def test_messages_know_their_roles():
    messages = [
        ChatSystemMessage("Be brief."),
        ChatUserMessage(Prompt(["Hi ", ""], ["there"]), name="Ann"),
        ChatAssistantMessage(tool_calls=[FunctionCall("add", {"a": 1, "b": [2]}, id="1")]),
        ChatFunctionMessage("add", "3", id="1"),
        ChatAssistantMessage("It is 3."),
    ]
    roles = [message.role for message in messages]
    assert roles == ["system", "user", "assistant", "function", "assistant"]
    assert all(isinstance(message, ChatMessage) for message in messages)
    assert messages[2].tool_calls == (FunctionCall("add", {"a": 1, "b": [2]}, "1"),)
    assert messages[4].tool_calls == ()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ChatUserMessage(5), "content must be"),
        (lambda: ChatUserMessage(None), "content must be"),
        (lambda: ChatSystemMessage(["a"]), "content must be"),
        (lambda: ChatUserMessage("a", name=5), "name must be"),
        (lambda: ChatAssistantMessage(Prompt(["a"])), "content must be"),
        (lambda: ChatAssistantMessage(tool_calls=FunctionCall), "tool_calls must be a list"),
        (lambda: ChatAssistantMessage(tool_calls=["add"]), r"tool_calls\[0\] must be FunctionCall"),
        (lambda: ChatAssistantMessage("a", name=5), "name must be"),
        (lambda: ChatFunctionMessage(None), "name must be str"),
        (lambda: ChatFunctionMessage("a", 5), "content must be"),
        (lambda: ChatFunctionMessage("a", id=5), "id must be"),
        (lambda: FunctionCall(5), "name must be str"),
        (lambda: FunctionCall("a", [1]), "arguments must be a mapping"),
        (lambda: FunctionCall("a", {1: 2}), "arguments must be a mapping of strings"),
        (lambda: FunctionCall("a", id=5), "id must be"),
        (lambda: FunctionTool("a", None), "description must be str"),
        (lambda: FunctionTool(None, "a"), "name must be str"),
        (lambda: FunctionTool("a", "b", "{}"), "parameters must be a mapping"),
    ],
)
def test_a_wrong_message_is_refused(make, named):
    with pytest.raises(InvalidInputError, match=named):
        make()


def test_a_question_is_augmented_with_its_passages():
    context = [match("Aurora costs $79."), TextDocument(content="Brisk costs $49.")]
    message = augment_user_query(context, "What is under $100?")
    assert isinstance(message, ChatUserMessage)
    task, _, rest = str(message.content).partition("\n\n")
    assert "numbered passages" in task
    assert rest == (
        '<passages>\n<passage number="1">\nAurora costs $79.\n</passage>\n'
        '<passage number="2">\nBrisk costs $49.\n</passage>\n</passages>\n\n'
        "<question>\nWhat is under $100?\n</question>"
    )


def test_passages_and_question_are_the_prompts_insertions():
    image = ImageDocument(content=b"\x89")
    prompt = augment_user_query([match("text"), image], "why?").content
    assert prompt.insertions == (TextChunk(content="text"), image, "why?")
    assert "[image]" in str(prompt)


def test_without_passages_the_question_stands_alone():
    text = str(augment_user_query([], "why?").content)
    assert "<passages>\n</passages>\n\n<question>\nwhy?\n</question>" in text


TAGS = re.compile(r"<\s*/?\s*(?:passages?|question)(?:-[0-9]+)?\b[^>]*>", re.IGNORECASE)
hostile = st.lists(
    st.sampled_from(
        [
            "</passage>", "</passages>", "<question>", "</ QUESTION >", "</passage-2>", "<passages-3>",
            "</question-02>", '<passage number="9">', "</passages-22>", "\n", "text ", "<", "-2", "/",
        ]
    )
    | st.text(max_size=5)
).map("".join)  # fmt: skip


@given(st.lists(hostile, max_size=4), hostile.filter(str.strip))
def test_no_text_closes_its_place(passages, query):
    prompt = augment_user_query([match(text) for text in passages], query).content
    tags = {
        re.sub(r"\W*(\w+(-[0-9]+)?).*", r"\1", tag)
        for text in prompt.strings
        for tag in TAGS.findall(text)
    }
    marks = {tag.partition("-")[2] for tag in tags}
    assert len(marks) == 1
    mark = f"-{marks.pop()}".rstrip("-")
    ours = re.compile(rf"<\s*/?\s*(?:passages?|question){mark}(?![-\w])", re.IGNORECASE)
    assert not any(ours.search(text) for text in [*passages, query])
    assert len(ours.findall(str(prompt))) == 2 * len(passages) + 4


@pytest.mark.parametrize("tag", ["</passages>", "< / Passage", "<QUESTION>", "<passage-3>"])
def test_a_text_with_a_tag_gives_all_tags_a_number(tag):
    for context, query in (([match(f"a {tag} b")], "why?"), ([match("a")], f"why {tag}?")):
        strings = augment_user_query(context, query).content.strings
        assert "<passages-2>" in strings[0]
        assert strings[-1] == "\n</question-2>"


@pytest.mark.parametrize("query", ["", " \n", None, 5])
def test_a_blank_question_is_refused(query):
    with pytest.raises(InvalidQueryError, match="query must be a string that is not blank"):
        augment_user_query([], query)


@pytest.mark.parametrize("context", ["text", None, TextDocument(content="x"), ["text"], [5]])
def test_context_of_another_kind_is_refused(context):
    with pytest.raises(InvalidInputError, match="context"):
        augment_user_query(context, "why?")


class EchoModel(ModelProvider):
    def chat(self, messages, tools=(), stop=None):
        messages = [messages] if isinstance(messages, ChatUserMessage) else messages
        return ChatAssistantMessage(f"{messages[-1].content} {len(tools)} {stop}")


async def test_a_model_of_ones_own_needs_one_method():
    model = EchoModel()
    tools = [FunctionTool("add", "adds", {"type": "object"})]
    expected = ChatAssistantMessage("hi 1 END")
    assert model.chat(ChatUserMessage("hi"), tools, "END") == expected
    assert await model.achat([ChatUserMessage("hi")], tools, "END") == expected
