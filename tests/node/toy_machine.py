"""A small deterministic machine: counts inputs, says one thing about each, decides tens."""

from __future__ import annotations

import json

from node.box import SealingKey
from node.crypto import BlsKey, SessionKey
from node.keys import NodeKeys
from protocol.codec import decode
from protocol.effects import Decided, Publish, Record
from protocol.eip712 import Domain
from protocol.inputs import Received, SettleFailed, Tick
from protocol.messages import Accept, Certificate, DecidedRound, Kind, Value

WORD = b"\x0a" * 32
ME = b"\x06" * 20
DOMAIN = Domain(31_337, b"\x05" * 20)
KEYS = NodeKeys(
    SessionKey(b"\x01" * 32), BlsKey(b"\x02" * 32), SealingKey(b"\x03" * 32), b"\x04" * 32
)
PER_ROUND = 10


class ToyMachine:
    """Takes SettleFailed(n) for n = 1, 2, 3 ... and publishes Accept(n), which names the time."""

    def __init__(self, snapshot=None):
        held = json.loads(snapshot or b'{"taken": 0, "said": {}, "ticks": [], "due": null}')
        self.taken = held["taken"]
        self.said = held["said"]
        self.ticks = held["ticks"]
        self.due = held["due"]
        self.out_of_order = 0

    def snapshot(self):
        return json.dumps(
            {"taken": self.taken, "said": self.said, "ticks": self.ticks, "due": self.due}
        ).encode()

    def next_deadline_ms(self):
        return self.due

    def step(self, event, now_ms):
        match event:
            case SettleFailed(sequence=number) if number == self.taken + 1:
                self.taken = number
                effects = [self._publish(number, now_ms)]
                if number % PER_ROUND == 0:
                    effects.insert(0, Decided(decided(number // PER_ROUND)))
                return effects
            case SettleFailed():
                self.out_of_order += 1
                return []
            case Received(frame=frame):
                body = decode(frame).body
                self.said[str(body.segment)] = frame.hex()
                return [Record("said", now_ms, (("number", body.segment),))]
            case Tick():
                self.ticks.append(now_ms)
                self.due = None
                return []
            case _:
                raise AssertionError(event)

    def resume(self, now_ms):
        unsaid = range(max(1, self.taken - 20), self.taken + 1)
        return [self._publish(number, now_ms) for number in unsaid]

    def _publish(self, number, now_ms):
        body = Accept(WORD, number, ME, now_ms.to_bytes(32, "big"))
        return Publish(Kind.ACCEPT, body, number.to_bytes(8, "big"))


def decided(number):
    value = Value(1, number, WORD, (), (), (), (), 1)
    held = Certificate(int(Kind.COMMIT), 1, number, 0, WORD, WORD, (), bytes(96))
    return DecidedRound(value, held, (), ())
