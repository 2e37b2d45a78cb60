"""Sections of a text: what stands under which heading."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ragbridge.chunkers._splitting import split_text
from ragbridge.chunkers.base import Piece
from ragbridge.documents import JsonValue

LONGEST_TITLE: Final = 250


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading in a text.

    Attributes:
        level: 1 to 6; 0 for the title of the whole.
        title: Its plain text; may be empty.
        start: Where its first line begins, in code points.
        end: Where the text under it begins.
    """

    level: int
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """What belongs to one heading: `text[start:end]`, from `body` on without headings.

    Attributes:
        start: Where it begins, with the bare headings above its own.
        body: Where the text under its heading begins.
        end: Where the next section begins.
        path: The titles that it stands under, outermost first, its own last; long ones shortened.
    """

    start: int
    body: int
    end: int
    path: tuple[str, ...]

    @property
    def metadata(self) -> dict[str, JsonValue]:
        """`header` (the nearest heading's text) and `headers` (the path), if there are any."""
        return {"header": self.path[-1], "headers": list(self.path)} if self.path else {}


def find_sections(text: str, headings: Sequence[Heading], title: str = "") -> Iterator[Section]:
    """Sections that cover `text`, one for each heading, and one for what stands before the first.

    A heading with nothing under it but a deeper heading stands at the beginning of that one's
    section: on its own it would answer every question that repeats its words, with nothing.

    Args:
        text: The text.
        headings: In order.
        title: The whole text's title, for what stands before the first heading.
    """
    enclosing: list[Heading] = []
    begin = 0
    headings = [Heading(0, title, 0, 0), *headings]
    for place, heading in enumerate(headings):
        following = headings[place + 1] if place + 1 < len(headings) else None
        while enclosing and (enclosing[-1].level >= heading.level or not enclosing[-1].level):
            enclosing.pop()
        enclosing.append(heading)
        end = following.start if following else len(text)
        if following and following.level > heading.level and not text[heading.end : end].strip():
            continue
        path = tuple(_shorten(outer.title) for outer in enclosing if outer.title)
        yield Section(begin, heading.end, end, path)
        begin = end


def _shorten(title: str) -> str:
    # What is marked up as a heading by mistake may be as long as the text, and is in every chunk.
    return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"


def split_sections(
    text: str, sections: Iterable[Section], size: int, overlap: int, kind: str
) -> Iterator[Piece]:
    """The pieces of every section; see `split_text`."""
    for section in sections:
        part = text[section.start : section.end]
        lead = section.body - section.start
        for start, end in split_text(part, size, overlap, kind=kind, lead=lead):
            yield Piece(section.start + start, section.start + end, section.metadata)
