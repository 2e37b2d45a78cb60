"""Chunkers: a document in, its chunks out.

`AUTO` gives Markdown, HTML and plain text the chunker that each needs. Splitting is done by
libraries of the extra `text`, which are imported when a chunker is made.
"""

from ragbridge.chunkers._fields import FieldExtractor
from ragbridge.chunkers.base import Chunker, TextChunker
from ragbridge.chunkers.choice import AUTO, AutoChunker, choose_chunker
from ragbridge.chunkers.html import HtmlChunker, html_to_text
from ragbridge.chunkers.markdown import MarkdownChunker
from ragbridge.chunkers.recursive import RecursiveChunker

__all__ = [
    "AUTO",
    "AutoChunker",
    "Chunker",
    "FieldExtractor",
    "HtmlChunker",
    "MarkdownChunker",
    "RecursiveChunker",
    "TextChunker",
    "choose_chunker",
    "html_to_text",
]
