"""One statement for one slot, whatever is asked and however often the node restarts."""

from __future__ import annotations

import pytest

from node.crypto import Crypto
from node.errors import AnotherInstanceError, ExitCode
from node.guard import SigningGuard
from node.store import Store
from protocol.effects import Publish
from protocol.eip712 import signed_digest
from protocol.errors import LocalProtocolError
from protocol.messages import Accept, Commit, Envelope, FetchBatches, Kind, Timeout, Vote
from protocol.slots import slot_named
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


def guard_of(store, began_view=-1, *, may_sign=True):
    guard = SigningGuard(store, lambda _: KEYS, DOMAIN, OPERATOR, began_view)
    if may_sign:
        guard.open()
    return guard


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


def timeout(view, round_number=7):
    body = Timeout(1, round_number, view, OPERATOR, 0, bytes(32), None)
    return Publish(Kind.TIMEOUT, body, slot_named(Kind.TIMEOUT, body))


async def said_elsewhere(tmp_path, publish):
    """The statement as another process signs it, with the same keys and another disk."""
    other = Store.open(tmp_path / "other.db")
    envelope = await guard_of(other).sign(publish)
    other.close()
    return envelope


async def test_before_it_is_open_only_what_is_stored_is_said(store):
    said = await guard_of(store).sign(timeout(3))
    closed = guard_of(store, may_sign=False)
    assert await closed.sign(timeout(3)) == said
    assert await closed.sign(timeout(4)) is None
    closed.open()
    assert (await closed.sign(timeout(4))).body.view == 4


async def test_nothing_new_is_said_in_a_view_that_had_begun_before_this_process(store):
    said = await guard_of(store).sign(timeout(3))
    guard = guard_of(store, began_view=5)
    assert await guard.sign(timeout(3)) == said
    assert await guard.sign(timeout(5)) is None
    assert (await guard.sign(timeout(6))).body.view == 6


async def test_what_peers_heard_takes_its_slot(store, tmp_path):
    accept = Publish(Kind.ACCEPT, Accept(bytes(32), 0, OPERATOR, b"\x01" * 32), b"")
    slot = slot_named(Kind.ACCEPT, accept.body)
    heard = await said_elsewhere(tmp_path, accept)
    guard = guard_of(store, began_view=5)
    await guard.hear(heard)
    other = Publish(Kind.ACCEPT, Accept(bytes(32), 0, OPERATOR, b"\x02" * 32), slot)
    assert await guard.sign(other) == heard


async def test_an_old_statement_that_is_heard_stops_nothing(store, tmp_path):
    await guard_of(store, began_view=5).hear(await said_elsewhere(tmp_path, timeout(5)))


async def test_a_statement_made_since_the_start_and_not_here_is_another_process(store, tmp_path):
    guard = guard_of(store, began_view=5)
    await guard.hear(await guard.sign(timeout(7)))
    heard = await said_elsewhere(tmp_path, timeout(6))
    with pytest.raises(AnotherInstanceError) as caught:
        await guard.hear(heard)
    assert caught.value.exit_code is ExitCode.ANOTHER_INSTANCE
    assert await guard.sign(timeout(6)) == heard


async def test_a_statement_of_a_pruned_round_is_not_taken_for_another_process(store, tmp_path):
    guard = guard_of(store, began_view=5)
    await guard.sign(timeout(6))
    await store.prune_statements(8)
    await guard.hear(await said_elsewhere(tmp_path, timeout(6)))


async def test_the_commit_of_an_earlier_life_stands(store):
    guard = guard_of(store)
    word = bytes(32)
    heard = Commit(1, 7, word, 0, word, b"\x0e" * 32, word, word)
    await guard.hear(Envelope(Kind.COMMIT, OPERATOR, heard, bytes(96)))
    other = Commit(1, 7, word, 0, word, b"\x0d" * 32, word, word)
    said = await guard.sign(Publish(Kind.COMMIT, other, slot_named(Kind.COMMIT, other)))
    assert said.body == heard
