"""Each statement is signed with the keys that the table of its epoch names."""

from __future__ import annotations

import pytest

from node.crypto import Crypto
from node.epoch_keys import EpochKeys, set_named
from node.errors import ExitCode, KeystoreError
from node.guard import SigningGuard
from node.keys import random_keys
from node.store import Store
from protocol.effects import Publish
from protocol.eip712 import signed_digest
from protocol.inputs import Operator, TableOpened
from protocol.messages import Accept, Kind, Vote
from tests.node.toy_machine import DOMAIN, ME

OLD, FRESH, STRANGE = random_keys(), random_keys(), random_keys()
OTHER = b"\x09" * 20


def table(epoch, keys, operator=ME):
    row = Operator(
        operator=operator,
        session=keys.session.address,
        bls_key=keys.bls.public_key,
        sealing_key=keys.sealing.public_key,
        peer_id="",
        multiaddrs=(),
        weight=1,
    )
    return TableOpened(epoch, bytes(32), (row,))


class Machine:
    """The tables that a replica holds, and the epoch of its round."""

    def __init__(self, *tables):
        self.tables = {found.epoch: found for found in tables}
        self.epoch = min(self.tables, default=1)
        self.keys = EpochKeys((OLD, FRESH), ME, self.tables.values, lambda: self.epoch)


def test_an_epochs_statements_are_signed_with_its_keys():
    machine = Machine(table(1, OLD), table(2, FRESH))
    assert machine.keys.at(1) is OLD
    assert machine.keys.at(2) is FRESH


def test_what_names_no_epoch_follows_the_round_and_not_the_newest_table():
    machine = Machine(table(1, OLD), table(2, FRESH))
    assert machine.keys.at(None) is OLD
    machine.epoch = 2
    assert machine.keys.at(None) is FRESH


def test_a_row_outlives_the_replicas_table():
    machine = Machine(table(1, OLD), table(2, FRESH))
    assert machine.keys.at(2) is FRESH
    del machine.tables[1]
    assert machine.keys.at(1) is OLD


def test_a_table_told_by_the_chain_counts_before_the_replica_has_taken_it():
    machine = Machine()
    machine.keys.learn(table(4, OLD))
    machine.tables[5] = table(5, FRESH)
    assert machine.keys.at(4) is OLD


def test_who_left_signs_with_the_keys_of_its_last_table():
    machine = Machine(table(1, OLD), table(2, STRANGE, OTHER))
    assert machine.keys.at(2) is OLD


def test_keys_that_are_not_here_are_missed_when_their_epoch_comes():
    machine = Machine(table(1, OLD), table(2, STRANGE))
    assert machine.keys.at(1) is OLD
    with pytest.raises(KeystoreError) as caught:
        machine.keys.at(2)
    assert caught.value.exit_code is ExitCode.KEYSTORE
    assert STRANGE.session.address.hex() in caught.value.cause


@pytest.mark.parametrize("changed", ["BLS key", "sealing key", "session key"])
def test_one_key_of_another_set_is_named(changed):
    named = [OLD.session.address, OLD.bls.public_key, OLD.sealing.public_key]
    place = ["session key", "BLS key", "sealing key"].index(changed)
    named[place] = (STRANGE.session.address, FRESH.bls.public_key, FRESH.sealing.public_key)[place]
    with pytest.raises(KeystoreError) as caught:
        set_named((OLD, FRESH), *named)
    assert changed in caught.value.cause


async def test_the_guard_signs_votes_by_their_epoch_and_keeps_what_it_said(tmp_path):
    machine = Machine(table(1, OLD), table(2, FRESH))
    store = Store.open(tmp_path / "node.db")
    guard, crypto = SigningGuard(store, machine.keys.at, DOMAIN, ME, began_view=-1), Crypto()
    guard.open()
    for epoch, keys in ((1, OLD), (2, FRESH)):
        vote = Publish(Kind.PREPARE, Vote(epoch, 7 + epoch, 3, bytes(32)), bytes([epoch]))
        envelope = await guard.sign(vote)
        digest = signed_digest(DOMAIN, envelope)
        assert crypto.verify(keys.bls.public_key, digest, envelope.signature)
    accept = Publish(Kind.ACCEPT, Accept(bytes(32), 0, ME, bytes(32)), b"a")
    said = await guard.sign(accept)
    assert crypto.recover(signed_digest(DOMAIN, said), said.signature) == OLD.session.address
    machine.epoch = 2
    assert await guard.sign(accept) == said
    store.close()
