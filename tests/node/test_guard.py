"""One statement for one slot, whatever is asked and however often the node restarts."""

from __future__ import annotations

import pytest

from node.crypto import Crypto
from node.guard import SigningGuard
from node.store import Store
from protocol.effects import Publish
from protocol.eip712 import signed_digest
from protocol.errors import LocalProtocolError
from protocol.messages import Accept, Commit, FetchBatches, Kind, Vote
from tests.node.toy_machine import DOMAIN, KEYS
from tests.node.toy_machine import ME as OPERATOR


@pytest.fixture
def path(tmp_path):
    return tmp_path / "node.db"


@pytest.fixture
def store(path):
    made = Store.open(path)
    yield made
    made.close()


def guard_of(store):
    return SigningGuard(store, lambda _: KEYS, DOMAIN, OPERATOR)


def prepare(value, round_number=7, slot=b"7/3"):
    return Publish(Kind.PREPARE, Vote(1, round_number, 3, value * 32), slot)


async def test_second_statement_is_the_first(store, path):
    first = await guard_of(store).sign(prepare(b"\x0a"))
    assert await guard_of(store).sign(prepare(b"\x0b")) == first
    store.close()
    again = Store.open(path)
    assert await guard_of(again).sign(prepare(b"\x0c")) == first
    again.close()


async def test_same_slot_name_of_another_kind_is_another_slot(store):
    guard = guard_of(store)
    lock = Publish(Kind.LOCK, Vote(1, 7, 3, b"\x0a" * 32), b"7/3")
    assert (await guard.sign(lock)).kind == Kind.LOCK
    assert (await guard.sign(prepare(b"\x0a"))).kind == Kind.PREPARE


async def test_signatures_verify_under_the_right_key(store):
    guard, crypto = guard_of(store), Crypto()
    commit = Publish(Kind.COMMIT, Commit(1, 7, *[bytes(32)], 0, *[bytes(32)] * 4), b"7")
    for publish in (prepare(b"\x0a"), commit):
        envelope = await guard.sign(publish)
        digest = signed_digest(DOMAIN, envelope)
        assert crypto.verify(KEYS.bls.public_key, digest, envelope.signature)
        assert envelope.sender == OPERATOR
    accept = Publish(Kind.ACCEPT, Accept(bytes(32), 0, OPERATOR, bytes(32)), b"a")
    envelope = await guard.sign(accept)
    digest = signed_digest(DOMAIN, envelope)
    assert crypto.recover(digest, envelope.signature) == KEYS.session.address


async def test_unsigned_kinds_are_kept_without_signature(store):
    envelope = await guard_of(store).sign(Publish(Kind.FETCH_BATCHES, FetchBatches(1), b"f"))
    assert envelope.signature == b""


async def test_nothing_is_signed_in_a_pruned_round(store):
    await guard_of(store).sign(prepare(b"\x0a"))
    await store.prune_statements(8)
    with pytest.raises(LocalProtocolError):
        await guard_of(store).sign(prepare(b"\x0b"))
    later = await guard_of(store).sign(prepare(b"\x0b", round_number=8, slot=b"8/3"))
    assert later.body.round == 8
