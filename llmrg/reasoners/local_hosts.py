"""Is a host this machine or a private network?

Promise: a name counts as local only if every address it resolves to does; when in doubt it is refused.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable

from llmrg.errors import SettingsError

PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)


def resolve(host: str) -> list[str]:
    """Addresses of a name, as this machine resolves it."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def is_local(host: str, resolver: Callable[[str], Iterable[str]] = resolve) -> bool:
    """Whether every address of ``host`` is loopback or private.

    Args:
        host: a name or an address.
        resolver: addresses of a name.

    >>> [is_local(host) for host in ("127.0.0.1", "::1", "192.168.1.20", "8.8.8.8", "172.32.0.1")]
    [True, True, True, False, False]
    >>> is_local("half.example", lambda name: ["10.0.0.1", "93.184.216.34"])
    False
    """
    try:
        return _private(host)
    except ValueError:
        pass
    try:
        found = list(resolver(host))
        return bool(found) and all(_private(address) for address in found)
    except (OSError, ValueError, UnicodeError):
        return False


def refuse_unless_local(host: str, resolver: Callable[[str], Iterable[str]] = resolve) -> None:
    """Refuse any other host.

    Raises:
        SettingsError: the host is neither loopback nor private, or cannot be resolved.
    """
    if not is_local(host, resolver):
        raise SettingsError(
            f"language_model.local_only: expected a host that is loopback or private, found {host!r}; "
            "nothing was sent to it",
            name="language_model.local_only",
        )


def _private(text: str) -> bool:
    address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in PRIVATE)
