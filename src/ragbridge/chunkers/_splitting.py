"""Cutting a text into spans that fit, each with some of the one before it."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final, TypeAlias

from ragbridge.errors import missing_dependency

Span: TypeAlias = tuple[int, int]
Splitter: TypeAlias = Callable[[str], list[tuple[int, str]]]

TEXT: Final = "TextSplitter"
MARKDOWN: Final = "MarkdownSplitter"

_BLOCK: Final = 100_000


@lru_cache(maxsize=256)
def splitter(kind: str, capacity: int | tuple[int, int]) -> Splitter:
    """What splits text without a gap into (offset, text) of at most `capacity` code points.

    Raises:
        MissingDependencyError: semantic-text-splitter is not installed.
    """
    try:
        import semantic_text_splitter
    except ImportError as error:
        raise missing_dependency("semantic-text-splitter", "text") from error
    made: Splitter = getattr(semantic_text_splitter, kind)(capacity, trim=False).chunk_indices
    return made


def split_text(
    text: str, size: int, overlap: int, *, kind: str = TEXT, lead: int = 0
) -> list[Span]:
    """Spans that cover `text`, each at most `size` long, none of them blank.

    Cuts are made at the highest boundary that fits: paragraphs, sentences, words, characters. The
    splitter's own overlap is made of whole units of the level at which it cuts, so between
    paragraphs there is none; here every span but the first reaches back into the one before it.

    Args:
        text: Any text; blank text has no spans.
        size: The most code points in a span, but for white space that fits nowhere.
        overlap: The most code points that a span shares with the one before it.
        kind: Which splitter: `TEXT` or `MARKDOWN`.
        lead: How much of the text's beginning (a heading) should not stand alone.
    """
    if len(text) <= size:
        return [(0, len(text))] if text.strip() else []
    lead = _with_blanks_after(text, lead)
    lead = lead if lead + overlap <= size // 2 else 0
    ends = _cut(text, kind, size - overlap - lead)
    return list(_reach_back(text, _join_blanks(text, ends, lead), size, overlap))


def _cut(text: str, kind: str, capacity: int) -> Iterator[int]:
    """Where the pieces of `text` end.

    Block by block: the splitter takes time in the square of a text without sentences or lines.
    """
    split = splitter(kind, capacity)
    length = max(_BLOCK, 2 * capacity)
    start = 0
    while start < len(text):
        ends = [start + offset + len(part) for offset, part in split(text[start : start + length])]
        if ends[-1] < len(text):
            ends.pop()  # the last piece goes on in the next block
        yield from ends
        start = ends[-1]


def _with_blanks_after(text: str, place: int) -> int:
    return len(text) - len(text[place:].lstrip()) if place else 0


def _join_blanks(text: str, ends: Iterable[int], lead: int) -> list[Span]:
    spans: list[Span] = []
    begin = 0
    for end in ends:
        if text[max(begin, lead) : end].strip():
            spans.append((begin, end))
        elif spans:
            spans[-1] = (spans[-1][0], end)
        else:
            continue  # blank so far: the first span begins here
        begin = end
    return spans


def _reach_back(text: str, spans: list[Span], size: int, overlap: int) -> Iterator[Span]:
    begin = -1
    for start, end in spans:
        room = min(overlap, size - (end - start))
        begin = _good_start(text, max(begin + 1, start - room), start) if begin >= 0 else start
        yield begin, end


def _good_start(text: str, low: int, high: int) -> int:
    """Where to begin between `low` and `high`; at `high` where only white space lies between.

    At the first boundary of the highest kind that the first half has, so that half is left of what
    may overlap.
    """
    window = text[low:high].rstrip()
    if not window:
        return high
    half = len(window) // 2
    if half:
        low += len(splitter(TEXT, (1, half))(window)[0][1])
    return low + len(text[low:high]) - len(text[low:high].lstrip())
