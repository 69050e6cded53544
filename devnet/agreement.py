"""Whether all nodes of a cluster tell the same of every round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from devnet.errors import NotTrueError
from node.client.api import NodeClient, open_http

if TYPE_CHECKING:
    from collections.abc import Sequence

AGREE_DEADLINE_S: Final = 30.0
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Agreed:
    """Where every node stands."""

    round: int
    last_sequence: int
    certificates: tuple[str, ...]
    """Digests of the rounds from the first on."""


async def agreed(urls: Sequence[str], deadline_s: float = AGREE_DEADLINE_S) -> Agreed:
    """Wait until the nodes of these APIs have the same ledger; then compare each decided round.

    Raises:
        NotTrueError: they do not come to the same ledger, or a round was decided in two ways.
        NodeUnreachableError, RefusedError: one of them does not answer.
    """
    async with open_http() as http:
        clients = [NodeClient([url], http) for url in urls]
        heads: list[tuple[int, int]] = []
        with trio.move_on_after(deadline_s):
            while True:
                nodes = [await client.get("/v1/node") for client in clients]
                heads = [(int(node["round"]), int(node["last_sequence"])) for node in nodes]
                if len(set(heads)) == 1:
                    break
                await trio.sleep(_LOOK_S)  # a head is not announced, it is asked for
        if len(set(heads)) != 1:
            raise NotTrueError(f"all nodes come to the same ledger: {heads}")
        last, sequence = heads[0]
        digests = []
        for number in range(1, last + 1):
            rounds = [await client.get(f"/v1/rounds/{number}") for client in clients]
            told = {str(document["certificate"]["digest"]) for document in rounds}
            if len(told) != 1:
                raise NotTrueError(f"round {number} has one certificate: {sorted(told)}")
            digests.append(told.pop())
    return Agreed(last, sequence, tuple(digests))
