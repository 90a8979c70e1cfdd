"""Who gets in: calling AE titles, each from its own addresses, and how often."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from monai_spine.service.configuration import Limits, Peer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MINUTE = 60.0
_MOST_ADDRESSES = 10000
"""Addresses whose connections are counted at once; only those on the list are."""


class Admission:
    """Decides about connections and associations.

    Parameters
    ----------
    clock
        Seconds; for tests.
    """

    def __init__(self, peers: Sequence[Peer], limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._networks: dict[str, list[Network]] = {}
        for peer in peers:
            own = self._networks.setdefault(peer.ae_title.strip(), [])
            own += [ipaddress.ip_network(address) for address in peer.addresses]
        self._limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._recent: dict[str, deque[float]] = {}
        self._shaking: Counter[str] = Counter()

    def refuses_connection(self, address: str, associations: Sequence[str]) -> str:
        """Why a connection is closed before a byte of it is read; empty if it is not.

        ``associations`` are the addresses of the associations that are open.
        """
        if not any(_within(address, networks) for networks in self._networks.values()):
            return "address"
        with self._lock:
            if self._too_often(address):
                return "rate"
            shaking = dict(self._shaking)
        if list(associations).count(address) + shaking.get(address, 0) >= self._limits.associations_per_address:
            return "associations_per_address"
        if len(associations) + sum(shaking.values()) >= self._limits.associations:
            return "associations"
        return ""

    def refuses_association(self, ae_title: str, address: str) -> bool:
        """Whether a calling AE title is not on the list, or comes from an address that is not its own."""
        return not _within(address, self._networks.get(ae_title.strip(), ()))

    @contextmanager
    def shaking(self, address: str) -> Iterator[None]:
        """Count a connection while its TLS is set up."""
        with self._lock:
            self._shaking[address] += 1
        try:
            yield
        finally:
            with self._lock:
                self._shaking[address] -= 1
                self._shaking += Counter()  # drops what is 0

    def _too_often(self, address: str) -> bool:
        now = self._clock()
        recent = self._recent.setdefault(address, deque())
        while recent and now - recent[0] >= _MINUTE:
            recent.popleft()
        if len(recent) >= self._limits.connections_per_minute:
            return True
        recent.append(now)
        if len(self._recent) > _MOST_ADDRESSES:
            self._recent = {one: times for one, times in self._recent.items() if now - times[-1] < _MINUTE}
        return False


def _within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in a network; IPv4 that is written as IPv6 (::ffff:10.0.0.1) is IPv4."""
    peer = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks if network.version == peer.version)
