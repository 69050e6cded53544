"""Which of a node's key sets signs: the one that the operator table of the epoch names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from node.errors import KeystoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from node.keys import NodeKeys
    from protocol.inputs import Operator, TableOpened
    from protocol.types import Address

MEND: Final = "put that set back into keys_dir; if it is lost, see docs/security.md"


def set_named(
    sets: Iterable[NodeKeys], session: bytes, bls_key: bytes, sealing_key: bytes
) -> NodeKeys:
    """The set with these public keys (20, 48 compressed and 32 bytes).

    Raises:
        KeystoreError: none has; names the first key that is another one.
    """
    named = (session, bls_key, sealing_key)
    name = "session key"
    for keys in sets:
        held = (keys.session.address, keys.bls.public_key, keys.sealing.public_key)
        if held == named:
            return keys
        if keys.session.address == session:
            name = "BLS key" if keys.bls.public_key != bls_key else "sealing key"
    raise KeystoreError(
        f"no key set here has the {name} registered with session 0x{session.hex()}", MEND
    )


class EpochKeys:
    """The signing keys of one operator by epoch.

    A row is remembered for good, a few hundred bytes an epoch: a statement of a round may still be
    due when the replica has dropped the round's table.
    """

    def __init__(
        self,
        sets: Sequence[NodeKeys],
        operator: Address,
        tables: Callable[[], Iterable[TableOpened]],
        in_force: Callable[[], int],
    ) -> None:
        self._sets = sets
        self._operator = operator
        self._tables = tables
        self._in_force = in_force
        self._rows: dict[int, Operator] = {}

    def learn(self, table: TableOpened) -> None:
        """Take note of an epoch's table."""
        for row in table.operators:
            if row.operator == self._operator:
                self._rows[table.epoch] = row

    def at(self, epoch: int | None) -> NodeKeys:
        """The keys that count in an epoch; None: in that of the round at work.

        What names no epoch is checked by the tables that its reader holds, its own and the one
        before: keys of a table that others may not have seen yet would be strange to them.

        Raises:
            KeystoreError: the table names keys that are not here.
        """
        for table in self._tables():
            self.learn(table)
        wanted = self._in_force() if epoch is None else epoch
        known = [number for number in self._rows if number <= wanted]
        if not known:
            return self._sets[-1]  # in no table yet: nobody listens, whatever signs
        row = self._rows[max(known)]
        return set_named(self._sets, row.session, row.bls_key, row.sealing_key)
