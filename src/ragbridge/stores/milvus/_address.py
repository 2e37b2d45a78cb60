"""Reading the addresses that people write: URIs, paths of files, hosts with and without ports.

No error quotes what may hold a password: of an address only what follows its last `@` is shown.
"""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from ragbridge.errors import InvalidConfigError, shorten

DEFAULT_PORTS: Final = {"http": 19530, "https": 443}

_HOST_AND_PORT = re.compile(r"(\[[^][]*\]|[^][:]*)(:[0-9]*)?")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Milvus is.

    Attributes:
        scheme: `http` or `https`; "" for a file.
        host: The server's, IPv6 in brackets; or the file's path, absolute.
        port: None where it was not given.
        token: From the user and password in the address.
        db_name: From its path.
    """

    scheme: str
    host: str
    port: int | None = None
    token: str = field(default="", repr=False)
    db_name: str = ""

    @property
    def uri(self) -> str:
        """Without token and database, with a port."""
        if not self.scheme:
            return self.host
        return f"{self.scheme}://{self.host}:{self.port or DEFAULT_PORTS[self.scheme]}"


def read_uri(uri: object, name: str) -> Address:
    """The address in `uri`.

    Args:
        uri: `http(s)://[user:password@]host[:port][/database]`, or a path that ends in `.db`.
        name: What to call it in errors.

    Raises:
        InvalidConfigError: it is neither.
    """
    text = str(uri).strip() if isinstance(uri, str | Path) else ""
    if is_url(text):
        return _read_url(text, name)
    if text.endswith(".db") and "://" not in text:
        return _read_path(text, name)
    raise InvalidConfigError(
        f"{name} must start with http:// or https://, or be a path that ends in .db, not {_shown(uri)}"
    )


def read_host(host: object, scheme: str, name: str) -> Address:
    """The address of a server's host.

    Args:
        host: A name or an IP address, perhaps with a scheme, a port, slashes or spaces around it.
        scheme: Where `host` has none.
        name: What to call it in errors.

    Raises:
        InvalidConfigError: it is no host.
    """
    text = host.strip() if isinstance(host, str) else ""
    if "://" not in text:
        text = f"{scheme}://{f'[{text}]' if _is_ipv6(text) else text}"
    if not is_url(text):
        raise InvalidConfigError(f"{name} must be a host, not {_shown(host)}")
    return _read_url(text, name)


def read_port(port: object, name: str) -> int:
    """A port, also from its digits.

    Raises:
        InvalidConfigError: it is no integer from 1 to 65535.
    """
    text = port.strip() if isinstance(port, str) else port
    if isinstance(text, str) and text.isascii() and text.isdigit():
        text = int(text)
    if not isinstance(text, int) or isinstance(text, bool) or not 0 < text < 65536:
        raise InvalidConfigError(f"{name} must be a port from 1 to 65535, not {shorten(port)}")
    return text


def is_url(text: str) -> bool:
    """Whether it is the address of a server."""
    return text.lower().startswith(("http://", "https://"))


def dialable(uri: str) -> str:
    """`uri` as pymilvus must be given it.

    pymilvus takes the brackets off an IPv6 address, and gRPC then finds no port; it undoes the
    percent-encoding, though, where it looks the host up.
    """
    scheme, separator, rest = uri.partition("://[")
    if not separator:
        return uri
    host, _, port = rest.partition("]")
    return f"{scheme}://{quote(f'[{host}]', safe='')}{port}"


def _read_url(text: str, name: str) -> Address:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # Without its cause, which quotes what it could not read.
        raise InvalidConfigError(f"{name} is no address: {_shown(text)}") from None
    database = parts.path.strip("/ ")
    whole = _HOST_AND_PORT.fullmatch(parts.netloc.rpartition("@")[2])
    # An @ behind the host is one in a password that should have been written %40.
    if not whole or parts.query or parts.fragment or set("/@") & set(database) or port == 0:
        raise InvalidConfigError(
            f"{name} must be http(s)://host:port/database at the most, not {_shown(text)}"
        )
    host = parts.hostname or ""
    if not _is_ipv6(host) and not _HOST_NAME.fullmatch(host):
        raise InvalidConfigError(f"{name} names no host: {_shown(text)}")
    credentials = (unquote(part) for part in (parts.username, parts.password) if part)
    return Address(
        scheme=parts.scheme,
        host=f"[{host}]" if ":" in host else host,
        port=port,
        token=":".join(credentials),
        db_name=unquote(database),
    )


def _read_path(text: str, name: str) -> Address:
    try:
        return Address("", str(Path(text).expanduser().resolve()))
    except (ValueError, RuntimeError, OSError) as error:
        raise InvalidConfigError(f"{name} is no path: {shorten(text)}: {error}") from error


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _shown(address: object) -> str:
    if not isinstance(address, str | Path):
        return type(address).__name__
    return shorten(str(address).rpartition("@")[2])
