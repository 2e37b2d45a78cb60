"""A store's arguments as JSON, and back; the token stays behind."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Final

from ragbridge.documents import JsonValue
from ragbridge.errors import InvalidConfigError, shorten
from ragbridge.stores._full_text import FullTextOptions
from ragbridge.stores.milvus.config import MilvusConfig, restored
from ragbridge.stores.milvus.foreign.layouts import CollectionLayout
from ragbridge.stores.milvus.indexes import INDEXES

_TYPES: Final = {each.__name__: each for each in (str, int, float, bool)}


def describe(
    collection_name: str, config: MilvusConfig, told: Mapping[str, Any]
) -> dict[str, JsonValue]:
    """What makes a store again.

    Args:
        collection_name: Its collection.
        config: Its connection.
        told: Its other arguments.
    """
    described = {name: _DESCRIBERS.get(name, _plain)(value) for name, value in told.items()}
    return {
        "collection_name": collection_name,
        "config": _describe_config(config),
        "has_token": bool(config.token),
        **{name: value for name, value in described.items() if value is not None},
    }


def arguments_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the store that `describe` described.

    Raises:
        InvalidConfigError: something in it is wrong, or there is no token.
    """
    arguments = {name: description[name] for name in ("tenant", "partition") if name in description}
    for name, read in _READERS.items():
        if name in description:
            arguments[name] = read(description[name])
    return {
        "collection_name": description["collection_name"],
        "config": _config(description),
        **arguments,
    }


def _config(description: Mapping[str, Any]) -> MilvusConfig:
    shown = dict(description["config"])
    if index := shown.get("index"):
        shown["index"] = INDEXES[index["name"]](**index["parameters"])
    if token := description.get("token"):
        return replace(restored(MilvusConfig, shown, False), token=token)
    return restored(MilvusConfig, shown, bool(description["has_token"]))


def _describe_config(config: MilvusConfig) -> dict[str, JsonValue]:
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    del values["token"]
    if config.index is not None:
        values["index"] = {"name": config.index.name, "parameters": asdict(config.index)}
    if config.metric is not None:
        values["metric"] = str(config.metric)
    return values


def _plain(value: Any) -> Any:
    return value


def _describe_full_text(value: FullTextOptions | bool | None) -> Any:
    if not isinstance(value, FullTextOptions):
        return value
    options = value.to_dict()
    words = options["stop_words"]
    return options | {"stop_words": list(words) if isinstance(words, tuple) else words}


def _describe_types(value: Mapping[Any, type] | None) -> Any:
    """Keys and types; a list, since keys may be paths."""
    if value is None:
        return None
    return [
        [list(key) if isinstance(key, tuple) else key, kind.__name__] for key, kind in value.items()
    ]


def _describe_layout(value: CollectionLayout | str | None) -> Any:
    if not isinstance(value, CollectionLayout):
        return value
    places = asdict(value).items()
    return {name: list(each) if isinstance(each, tuple) else each for name, each in places}


def _read_full_text(value: Any) -> FullTextOptions | bool:
    return FullTextOptions(**value) if isinstance(value, Mapping) else bool(value)


def _read_layout(value: Any) -> CollectionLayout | str:
    if not isinstance(value, Mapping):
        return str(value)
    places: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in value.items()
    }
    return CollectionLayout(**places)


def _read_types(value: Any) -> dict[Any, type]:
    return {tuple(key) if isinstance(key, list) else key: _read_type(name) for key, name in value}


def _read_type(name: object) -> type:
    if name not in _TYPES:
        raise InvalidConfigError(f"a type must be one of {', '.join(_TYPES)}, not {shorten(name)}")
    return _TYPES[str(name)]


_DESCRIBERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "full_text": _describe_full_text,
    "metadata_fields": _describe_types,
    "json_indexes": _describe_types,
    "layout": _describe_layout,
}
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "full_text": _read_full_text,
    "metadata_fields": _read_types,
    "json_indexes": _read_types,
    "layout": _read_layout,
}
