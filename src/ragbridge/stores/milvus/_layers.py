"""Settings from arguments, the environment and profiles, the first that has one winning."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from ragbridge.errors import InvalidConfigError, shorten
from ragbridge.stores.milvus._address import Address, is_url, read_host, read_port, read_uri

PROFILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "lite": "Milvus Lite: a file, by default ragbridge.db",
        "local": "a server over http, by default on localhost, port 19530; no token needed",
        "cloud": "Zilliz Cloud, or another server over https, by default on port 443; a token needed",
    }
)
"""The profiles that `MilvusConfig.from_env` knows, and what each is for."""

TLS: Final = (
    "server_pem_path",
    "server_name",
    "ca_pem_path",
    "client_pem_path",
    "client_key_path",
)
_SECRETS: Final = ("token", "user", "password")
_PROFILE_SETTINGS: Final = {"lite": {"uri": "ragbridge.db"}, "local": {"host": "localhost"}}
_PROFILE_SCHEMES: Final = {"lite": ("",), "local": ("http", "https"), "cloud": ("https",)}
_VARIABLES: Final = {"index": "MILVUS_INDEX_TYPE", "metric": "MILVUS_METRIC_TYPE"}
"""The variables of settings that are not simply MILVUS_ and the setting's name."""
_NUMBERS: Final = {"timeout": float, "batch_size": int, "batch_bytes": int}
"""The settings whose texts in the environment are read as numbers."""


def find_settings(
    profile: str | None, arguments: Mapping[str, Any], settings: Collection[str]
) -> dict[str, Any]:
    """The settings of a configuration.

    Args:
        profile: One of `PROFILES`, or None.
        arguments: Settings by name, also `host`, `port`, `user`, `password`; None and "" count as not
            given.
        settings: The names of all that a configuration has.

    Raises:
        InvalidConfigError: see `MilvusConfig.from_env`.
    """
    check_pymilvus_environment()
    given, environment = _arguments(arguments, settings), _environment(settings)
    source, address = _find_address(given, environment, profile)
    if not address.scheme:
        environment = environment.without({*_SECRETS, *TLS})
    layers = (given, environment)
    token = _first_of(layers, "token", _Layer.token, source, address.token)
    _check_profile(profile, address, token)
    db_name = _first_of(layers, "db_name", _Layer.db_name, source, address.db_name)
    plain = {*settings} - {"uri", "token", "db_name"}
    found = {name: environment.read(name) for name in plain if name in environment}
    found |= {name: given.values[name] for name in plain if name in given}
    return {"uri": address.uri, "token": token, "db_name": db_name, **found}


def token_of_environment() -> str:
    """The token in MILVUS_TOKEN, or in MILVUS_USER and MILVUS_PASSWORD; "" where there is none."""
    return _environment({}).token()


def check_pymilvus_environment() -> None:
    """Refuse a MILVUS_URI with which pymilvus cannot be imported; to be called before it is.

    Raises:
        InvalidConfigError: MILVUS_URI is no http(s) address.
    """
    uri = os.environ.get("MILVUS_URI", "").strip()
    if uri and not is_url(uri):
        raise InvalidConfigError(
            "MILVUS_URI must start with http:// or https://: pymilvus reads it too, and cannot be "
            "imported otherwise; put a path into RAGBRIDGE_URI and unset MILVUS_URI"
        )


def agreed(name: str, one: str, other: str) -> str:
    """Whichever is not empty; neither is shown, as it may be a secret.

    Raises:
        InvalidConfigError: they differ.
    """
    if one and other and one != other:
        raise InvalidConfigError(
            f"{name} contradicts what the address, or user and password, say; leave one of them out"
        )
    return one or other


def check_secret(name: str, value: object) -> str:
    """`value` without spaces around it, which files and variables like to add.

    Raises:
        InvalidConfigError: it is no string.
    """
    if not isinstance(value, str):
        raise InvalidConfigError(f"{name} must be a string, not {type(value).__name__}")
    return value.strip()


def check_text(name: str, value: object) -> str:
    """`value` where it is a string.

    Raises:
        InvalidConfigError: it is none.
    """
    if not isinstance(value, str):
        raise InvalidConfigError(f"{name} must be a string, not {shorten(value)}")
    return value


@dataclass(frozen=True, slots=True)
class _Layer:
    """The settings from one place, and what each is called there."""

    values: Mapping[str, Any] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, setting: str) -> bool:
        return setting in self.values

    def name(self, setting: str) -> str:
        return self.names.get(setting, setting)

    def without(self, settings: Collection[str]) -> "_Layer":
        left = {name: value for name, value in self.values.items() if name not in settings}
        return replace(self, values=left)

    def read(self, setting: str) -> Any:
        """Its text, or its number if it is one."""
        text = self.values[setting]
        try:
            return _NUMBERS.get(setting, str)(text)
        except ValueError as error:
            raise InvalidConfigError(
                f"{self.name(setting)} must be a number, not {shorten(text)}"
            ) from error

    def port(self) -> int | None:
        return read_port(self.values["port"], self.name("port")) if "port" in self else None

    def db_name(self) -> str:
        return check_text(self.name("db_name"), self.values.get("db_name", ""))

    def token(self) -> str:
        """The one in `token`, or in `user` and `password`."""
        token, user, password = (
            check_secret(self.name(setting), self.values.get(setting, "")) for setting in _SECRETS
        )
        if not user and not password:
            return token
        if not user or not password or ":" in user:
            raise InvalidConfigError(
                f"{self.name('user')} and {self.name('password')} go together; a user has no colon"
            )
        return agreed(self.name("token"), token, f"{user}:{password}")


def _arguments(arguments: Mapping[str, Any], settings: Collection[str]) -> _Layer:
    known = {*settings, "host", "port", "user", "password"}
    unknown = sorted(arguments.keys() - known)
    if unknown:
        raise InvalidConfigError(
            f"no setting is called {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )
    return _Layer({name: v for name, v in arguments.items() if v is not None and v != ""})


def _environment(settings: Collection[str]) -> _Layer:
    known = {*settings, "host", "port", *_SECRETS}
    names = {name: _VARIABLES.get(name, f"MILVUS_{name.upper()}") for name in known}
    names["uri"] = "RAGBRIDGE_URI" if os.environ.get("RAGBRIDGE_URI", "").strip() else "MILVUS_URI"
    texts = {name: os.environ.get(variable, "").strip() for name, variable in names.items()}
    layer = _Layer({name: text for name, text in texts.items() if text}, names)
    return layer.without({"host", "port"}) if "uri" in layer else layer


def _profile(profile: str | None) -> _Layer:
    if profile is not None and profile not in PROFILES:
        raise InvalidConfigError(
            f"profile must be one of {', '.join(PROFILES)}, or None, not {shorten(profile)}"
        )
    return _Layer(_PROFILE_SETTINGS.get(profile or "", {}))


def _find_address(
    given: _Layer, environment: _Layer, profile: str | None
) -> tuple[_Layer, Address]:
    """The address, and the layer that it is from."""
    layers = (given, environment, _profile(profile))
    source = next((layer for layer in layers if "uri" in layer or "host" in layer), None)
    if source is None:
        raise InvalidConfigError(
            "no address: give uri or host, or set RAGBRIDGE_URI, MILVUS_URI or MILVUS_HOST, or take "
            "the profile lite or local"
        )
    if "uri" not in source:
        return source, _address_of_host(source, given, environment, profile)
    stray = [setting for setting in ("host", "port") if setting in given]
    if stray:
        raise InvalidConfigError(
            f"{source.name('uri')} is the whole address; leave out {' and '.join(stray)}"
        )
    return source, read_uri(source.values["uri"], source.name("uri"))


def _address_of_host(
    source: _Layer, given: _Layer, environment: _Layer, profile: str | None
) -> Address:
    scheme = "https" if profile == "cloud" else "http"
    address = read_host(source.values["host"], scheme, source.name("host"))
    beside = source.port()
    if beside and address.port and beside != address.port:
        raise InvalidConfigError(
            f"{source.name('host')} has port {address.port}, but {source.name('port')} is {beside}"
        )
    return replace(address, port=given.port() or address.port or beside or environment.port())


def _check_profile(profile: str | None, address: Address, token: str) -> None:
    if profile is None:
        return
    if address.scheme not in _PROFILE_SCHEMES[profile]:
        raise InvalidConfigError(
            f"{address.uri} does not go with the profile {profile}: {PROFILES[profile]}"
        )
    if profile == "cloud" and not token:
        raise InvalidConfigError(
            "the profile cloud needs a token (an API key): give token, or set MILVUS_TOKEN"
        )


def _first_of(
    layers: tuple[_Layer, ...],
    setting: str,
    read: Callable[[_Layer], str],
    source: _Layer,
    in_address: str,
) -> str:
    """The first value that is not empty; the address's own counts to the layer it is from."""
    for layer in layers:
        value = agreed(layer.name(setting), read(layer), in_address if layer is source else "")
        if value:
            return value
    return ""
