"""A switch that nodes are plugged into, so that it can be pulled apart and put together again.

Each node has a network namespace of its own and a cable to the switch; a partition plugs cables
into different bridges. What is cut drops silently, as on a broken line: no end is told.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from devnet.errors import DevnetError
from devnet.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_NETWORK: Final = "10.77.0"
_BRIDGES: Final = ("whole", "apart")


@dataclass(frozen=True, slots=True)
class Socket:
    """Where a node is plugged in: `address` is for its peers, `port` the other end of its cable."""

    namespace: Namespace
    address: str
    port: str


class Switch:
    """Connects namespaces by name; everything is connected at first."""

    def __init__(self, bridges: Namespace, sockets: dict[str, Socket]) -> None:
        self._bridges = bridges
        self.sockets = sockets

    def cut(self, apart: Collection[str]) -> None:
        """Cut these off from all others; among themselves they stay connected."""
        unknown = set(apart) - self.sockets.keys()
        if unknown:
            raise DevnetError(f"{', '.join(sorted(unknown))} is not on the switch")
        for name in self.sockets:
            self._plug(name, _BRIDGES[name in apart])

    def heal(self) -> None:
        """Connect everything again."""
        self.cut(())

    def _plug(self, name: str, bridge: str) -> None:
        self._bridges.ip("link", "set", "dev", self.sockets[name].port, "master", bridge)


def missing_for_switch() -> str:
    """Why this machine can not have one, with the mend; empty if it can."""
    try:
        with open_switch(("one", "two")):
            return ""
    except DevnetError as exc:
        return str(exc)


@contextmanager
def open_switch(names: Sequence[str]) -> Iterator[Switch]:
    """A switch with a namespace for each name; all of it is gone afterwards.

    Raises:
        DevnetError: the kernel does not allow it, or a program for it is missing.
    """
    with ExitStack() as stack:

        def namespace() -> Namespace:
            made = Namespace()
            stack.callback(made.close)
            return made

        bridges = namespace()
        for bridge in _BRIDGES:
            bridges.ip("link", "add", "name", bridge, "type", "bridge")
            bridges.ip("link", "set", "dev", bridge, "up")
        switch = Switch(bridges, {})
        for place, name in enumerate(names, 1):
            one = Socket(namespace(), f"{_NETWORK}.{place}", f"port{place}")
            cable = ("link", "add", "name", one.port, "type", "veth", "peer", "name", "net")
            bridges.ip(*cable, "netns", one.namespace.path)
            bridges.ip("link", "set", "dev", one.port, "up")
            one.namespace.ip("address", "add", f"{one.address}/24", "dev", "net")
            one.namespace.ip("link", "set", "dev", "net", "up")
            switch.sockets[name] = one
        switch.heal()
        yield switch
