"""When a starting node may sign: who has to answer, and what a faulty answer can not do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
import trio.testing

from node.services.listening import Listening, round_told
from protocol.codec import decode, encode
from protocol.inputs import Received
from protocol.messages import Accept, Envelope, FetchBatches, Kind, Recall, Recalled
from protocol.params import DEVNET
from protocol.rotation import OperatorTable
from protocol.rounds.phases import Phase
from tests.node.operators import OPERATORS, WORD, row

TABLE = OperatorTable(1, WORD, tuple(row(index) for index in range(4)))
VIEW_S = DEVNET.view_ms / 1_000


class Around:
    """What a listening node sees: a network that keeps what is sent, a machine at some round."""

    def __init__(self):
        self.sent = []
        self.heard = []
        self.signs = trio.Event()
        self.changed = trio.Event()
        self.round = SimpleNamespace(round=5, phase=Phase.IDLE)
        replica = SimpleNamespace(
            tables=lambda: {1: TABLE},
            setup=SimpleNamespace(me=OPERATORS[0], params=DEVNET),
            state=SimpleNamespace(round=self.round),
        )
        self.listening = Listening(
            replica=lambda: replica,
            driver=self,
            guard=self,
            ingress=self,
            horizon=lambda: None,
            network=self,
            clock=SimpleNamespace(now_ms=lambda: 0),
        )

    # the network
    async def send(self, operator, frame):
        self.sent.append((operator, decode(frame).body))

    def connected(self):
        return frozenset(OPERATORS[1:4])

    # the driver and the guard
    async def put(self, received):
        self.heard.append(decode(received.frame))

    submit = put

    async def hear(self, envelope):
        pass

    async def start_signing(self):
        self.signs.set()

    async def wait_changed(self):
        await self.changed.wait()

    # ingress
    async def admit(self, peer, frame, now_ms, horizon):
        return Received(frame)

    def nonces(self):
        return [body.nonce for _, body in self.sent if isinstance(body, Recall)]

    async def answer(self, index, number=5, nonce=None, envelopes=()):
        body = Recalled(nonce or self.nonces()[-1], number, envelopes)
        envelope = Envelope(int(Kind.RECALLED), OPERATORS[index], body, b"")
        await self.listening.take(Received(encode(envelope)))

    def enter_round(self, number):
        self.round.round = number
        self.changed.set()
        self.changed = trio.Event()


@pytest.fixture
async def around(nursery):
    made = Around()
    nursery.start_soon(made.listening.run)
    await trio.testing.wait_all_tasks_blocked()
    return made


async def test_it_signs_at_once_when_everybody_has_answered(around, autojump_clock):
    assert {operator for operator, _ in around.sent} == set(OPERATORS[1:4])
    start = trio.current_time()
    for index in (1, 2, 3):
        assert not around.signs.is_set()
        await around.answer(index)
    await around.signs.wait()
    assert trio.current_time() == start


async def test_two_thirds_are_enough_once_the_last_one_had_a_view_to_answer(around, autojump_clock):
    start = trio.current_time()
    await around.answer(1)
    await around.answer(2)
    await around.signs.wait()
    assert trio.current_time() - start == VIEW_S


async def test_with_less_than_two_thirds_it_asks_on_and_signs_nothing(around, autojump_clock):
    await around.answer(1)
    await trio.sleep(100 * VIEW_S)
    assert not around.signs.is_set()
    assert len(around.nonces()) > 100


async def test_an_answer_to_another_question_does_not_count(around, autojump_clock):
    for index in (1, 2, 3):
        await around.answer(index, nonce=b"\x09" * 16)
    await trio.sleep(10 * VIEW_S)
    assert not around.signs.is_set()


async def test_it_catches_up_and_asks_again_before_it_signs(around, autojump_clock):
    for index in (1, 2, 3):
        await around.answer(index, 9)
    await trio.testing.wait_all_tasks_blocked()
    assert not around.signs.is_set()
    first = around.nonces()[0]
    around.enter_round(9)
    await trio.testing.wait_all_tasks_blocked()
    assert around.nonces()[-1] != first
    for index in (1, 2, 3):
        await around.answer(index, 9)
    await around.signs.wait()


async def test_it_asks_one_after_the_other_for_rounds_that_nobody_sends_any_more(
    around, autojump_clock
):
    for _ in range(3):
        for index, number in ((1, 9), (2, 5), (3, 9)):
            await around.answer(index, number)
        await trio.sleep(1.5 * VIEW_S)
    asked = [(to, body) for to, body in around.sent if isinstance(body, FetchBatches)]
    first, second = sorted([OPERATORS[1], OPERATORS[3]])
    assert asked[:3] == [(to, FetchBatches(5)) for to in (first, second, first)]
    assert not around.signs.is_set()


async def test_a_faulty_answer_can_not_keep_it_silent(around, autojump_clock):
    await around.answer(1, 2**64 - 1)
    await around.answer(2)
    await around.answer(3)
    await around.signs.wait()


async def test_of_an_answer_only_its_own_word_and_certificates_are_taken(around, autojump_clock):
    def accept(index):
        body = Accept(WORD, 0, OPERATORS[index], WORD)
        return encode(Envelope(int(Kind.ACCEPT), OPERATORS[index], body, bytes(65)))

    await around.answer(1, envelopes=(accept(0), accept(2), b"\x01garbage"))
    assert [envelope.sender for envelope in around.heard] == [OPERATORS[0]]


async def test_while_a_round_is_open_it_asks_one_operator_a_view(around, autojump_clock):
    for index in (1, 2, 3):
        await around.answer(index)
    await around.signs.wait()
    idle = len(around.sent)
    await trio.sleep(10 * VIEW_S)
    assert len(around.sent) == idle
    around.round.phase = Phase.COLLECTING
    around.enter_round(6)
    await trio.sleep(8.5 * VIEW_S)
    asked = [operator for operator, _ in around.sent[idle:]]
    assert 6 <= len(asked) <= 9
    assert set(asked) == set(OPERATORS[1:4])


def test_the_round_told_is_one_that_an_honest_operator_can_have_said():
    assert round_told(TABLE, {}) == 0
    assert round_told(TABLE, {OPERATORS[1]: 9}) == 0
    assert round_told(TABLE, {OPERATORS[1]: 9, OPERATORS[2]: 4}) == 4
    assert round_told(TABLE, dict.fromkeys(OPERATORS[1:4], 7)) == 7
