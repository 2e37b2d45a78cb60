"""LangChain, both ways: the core's objects as LangChain's, and LangChain's as the core's."""

from ragbridge import errors as _errors

try:
    import langchain_core as _  # noqa: F401 - what everything here is about
except ImportError as error:
    raise _errors.missing_dependency("langchain-core", "langchain") from error

from ragbridge.langchain.documents import from_langchain_document, to_langchain_document

__all__ = ["from_langchain_document", "to_langchain_document"]
