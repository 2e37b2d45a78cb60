"""Where a Milvus store connects to, and how: from arguments, the environment and profiles.

    MilvusConfig(uri="./demo.db")                          # Milvus Lite
    MilvusConfig.from_env()                                # RAGBRIDGE_URI, MILVUS_URI, MILVUS_HOST, …
    MilvusConfig.from_env("cloud", host=host, token=key)   # Zilliz Cloud

Nothing is sent and no file is made before a store needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from ragbridge.errors import InvalidConfigError, shorten
from ragbridge.stores.base import SimilarityMetric
from ragbridge.stores.milvus._address import dialable, is_url, read_uri
from ragbridge.stores.milvus._layers import (
    PROFILES,
    TLS,
    agreed,
    check_pymilvus_environment,
    check_secret,
    check_text,
    find_settings,
    token_of_environment,
)
from ragbridge.stores.milvus.indexes import METRICS, VectorIndex, index_from_name
from ragbridge.stores.milvus.names import check_name

__all__ = [
    "PROFILES",
    "MilvusConfig",
    "check_consistency_level",
    "check_pymilvus_environment",
    "check_timeout",
]

_CONSISTENCY_LEVELS: Final = ("Strong", "Session", "Bounded", "Eventually")
_MUTUAL_TLS = ("ca_pem_path", "client_pem_path", "client_key_path")
_METRICS: Final[Mapping[str, SimilarityMetric]] = MappingProxyType(
    {
        **{name: metric for metric, name in METRICS.items()},
        **{metric.upper(): metric for metric in SimilarityMetric},
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusConfig:
    """A connection to Milvus, and the defaults of the stores on it.

    The token never shows: in no repr, no error and no pickle. A pickled configuration that had one
    takes it from MILVUS_TOKEN, or MILVUS_USER and MILVUS_PASSWORD, where it is loaded; where there
    is none, loading raises InvalidConfigError.

    Attributes:
        uri: `http://` or `https://` with a host, or the path of a Milvus Lite file, which ends in
            `.db`. User, password and database in it move to `token` and `db_name`.
        token: An API key, or `user:password`.
        db_name: The database; "" is the default one.
        index: The index of dense vectors; None lets the store choose.
        metric: How dense or binary vectors are compared; None lets the store choose.
        consistency_level: Which writes reads see: "Strong", "Session", "Bounded" or "Eventually". None
            sees all that this process wrote, which is as fast as "Session" while nothing is written.
        timeout: Seconds for one operation.
        batch_size: Rows in one request of a bulk write, at the most. None: as many as the engine writes
            the fastest, 1,000 on Milvus Lite and 5,000 on servers; 1,000 as other tools lay them out.
        batch_bytes: Bytes in one, roughly, at the most. Servers take 64 MiB unless told otherwise.
        server_pem_path: Certificate of the server, or of the authority that signed it, where the
            system does not know it.
        server_name: The name in the server's certificate, where it is not the host's.
        ca_pem_path: With the next two, where the server wants the client's certificate: the
            authority's.
        client_pem_path: The client's certificate.
        client_key_path: The client's key.

    Raises:
        InvalidConfigError: a setting is wrong, or contradicts another.
    """

    uri: str
    token: str = field(default="", repr=False)
    db_name: str = ""
    index: VectorIndex | None = None
    metric: SimilarityMetric | None = None
    consistency_level: str | None = None
    timeout: float = 60.0
    batch_size: int | None = None
    batch_bytes: int = 16 * 2**20
    server_pem_path: str = ""
    server_name: str = ""
    ca_pem_path: str = ""
    client_pem_path: str = ""
    client_key_path: str = ""

    def __post_init__(self) -> None:
        address = read_uri(self.uri, "uri")
        token = agreed("token", check_secret("token", self.token), address.token)
        db_name = agreed("db_name", check_text("db_name", self.db_name), address.db_name)
        self._put("uri", address.uri)
        self._put("token", token)
        self._put("db_name", check_name(db_name, "db_name") if db_name else "")
        self._put("index", _as_index(self.index))
        self._put("metric", _as_metric(self.metric))
        if self.consistency_level is not None:
            self._put("consistency_level", check_consistency_level(self.consistency_level))
        check_timeout(self.timeout)
        if self.batch_size is not None:
            _check_count("batch_size", self.batch_size)
        _check_count("batch_bytes", self.batch_bytes)
        if self.is_lite and token:
            raise InvalidConfigError(
                f"token does not go with Milvus Lite ({self.uri}), which asks nobody who they are"
            )
        self._check_tls()

    @classmethod
    def from_env(cls, profile: str | None = None, **arguments: Any) -> Self:
        """A configuration from arguments, then the environment, then a profile: the first wins.

        The address is in `uri`, or in `host` (a name, with scheme, port, slash or spaces if need be)
        and `port`; the token in `token`, or in `user` and `password`. In the environment
        RAGBRIDGE_URI takes any address and goes before MILVUS_URI, which takes http(s) only, and that
        before MILVUS_HOST and MILVUS_PORT; MILVUS_TOKEN, MILVUS_USER and MILVUS_PASSWORD are the
        secret; the others are MILVUS_INDEX_TYPE, MILVUS_METRIC_TYPE, and MILVUS_ with the attribute's
        name. Milvus Lite leaves the environment's secret and certificates alone.

        Args:
            profile: One of `PROFILES`, or None.
            arguments: The attributes of this class, and `host`, `port`, `user`, `password`. None and
                "" count as not given. `index` and `metric` may be Milvus's names.

        Raises:
            InvalidConfigError: no address, an unknown argument, a wrong setting, settings that
                contradict each other or the profile, or a MILVUS_URI that pymilvus would fail on.
        """
        settings = [each.name for each in fields(cls)]
        return cls(**find_settings(profile, arguments, settings))

    @property
    def is_lite(self) -> bool:
        """Whether it is a file of Milvus Lite."""
        return not is_url(self.uri)

    def client_options(self) -> dict[str, Any]:
        """The arguments of pymilvus's `MilvusClient` and `AsyncMilvusClient`, with the token."""
        options = {name: getattr(self, name) for name in ("token", "db_name", *TLS)}
        return {"uri": dialable(self.uri), **{name: v for name, v in options.items() if v}}

    def _put(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_tls(self) -> None:
        given = [name for name in TLS if check_text(name, getattr(self, name))]
        if given and not self.uri.startswith("https://"):
            raise InvalidConfigError(f"{given[0]} needs an https:// address, not {self.uri}")
        mutual = [name for name in given if name in _MUTUAL_TLS]
        if mutual and len(mutual) < len(_MUTUAL_TLS):
            raise InvalidConfigError(
                f"{', '.join(_MUTUAL_TLS)} go together, but there is only {', '.join(mutual)}; "
                "to trust a server's certificate or its authority's, use server_pem_path"
            )
        if mutual and self.server_pem_path:
            raise InvalidConfigError(
                "server_pem_path does not go with ca_pem_path, which proves the server too"
            )
        for name in given:
            if name != "server_name" and not Path(getattr(self, name)).is_file():
                raise InvalidConfigError(f"{name} is no file: {getattr(self, name)}")

    # A copy by way of pickling would have no token.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "token"}
        return restored, (type(self), shown, bool(self.token))


def restored(
    config_class: type[MilvusConfig], shown: Mapping[str, Any], had_token: bool
) -> MilvusConfig:
    """A configuration without its token, with that of the environment.

    Raises:
        InvalidConfigError: it had a token, and the environment has none.
    """
    token = token_of_environment() if had_token else ""
    if had_token and not token:
        raise InvalidConfigError(
            f"the configuration of {shown['uri']} was written down without its token; set MILVUS_TOKEN, or "
            "MILVUS_USER and MILVUS_PASSWORD, where it is loaded"
        )
    return config_class(token=token, **shown)


def _as_index(index: Any) -> VectorIndex | None:
    if index is None or isinstance(index, VectorIndex):
        return index
    return index_from_name(index)


def _as_metric(metric: object) -> SimilarityMetric | None:
    if metric is None:
        return None
    found = _METRICS.get(metric.strip().upper()) if isinstance(metric, str) else None
    if found is None:
        raise InvalidConfigError(
            f"metric (MILVUS_METRIC_TYPE) must be one of {', '.join(_METRICS)}, not {shorten(metric)}"
        )
    return found


def check_consistency_level(value: object) -> str:
    """`value` as Milvus writes it.

    Raises:
        InvalidConfigError: there is no such level; the message lists them.
    """
    level = value.strip().capitalize() if isinstance(value, str) else ""
    if level not in _CONSISTENCY_LEVELS:
        raise InvalidConfigError(
            f"consistency_level must be one of {', '.join(_CONSISTENCY_LEVELS)}, not {shorten(value)}"
        )
    return level


def check_timeout(value: object) -> None:
    """Refuse what is no time to wait.

    Raises:
        InvalidConfigError: no positive number of seconds.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < inf:
        raise InvalidConfigError(
            f"timeout must be a positive number of seconds, not {shorten(value)}"
        )


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidConfigError(f"{name} must be a positive integer, not {shorten(value)}")
