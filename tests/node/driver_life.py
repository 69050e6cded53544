"""One life of a driver with the toy machine, until it is killed; the argument is the database.

Prints "sent NUMBER FRAME" for each statement that left, "journalled NUMBER" for each input taken.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import trio

from node.driver import Driver
from node.guard import SigningGuard
from node.store import Store
from protocol.codec import encode
from protocol.effects import Broadcast, Decided, Record
from protocol.inputs import SettleFailed
from tests.node.toy_machine import DOMAIN, KEYS, ME, ToyMachine


async def main(path: Path) -> None:
    store = Store.open(path)

    async def broadcast(effect: Broadcast) -> None:
        print("sent", effect.envelope.body.segment, encode(effect.envelope).hex(), flush=True)

    async def nothing(effect: object) -> None:
        pass

    guard = SigningGuard(store, lambda _: KEYS, DOMAIN, ME, began_view=-1)
    guard.open()
    driver = Driver(
        store=store,
        guard=guard,
        clock=SimpleNamespace(now_ms=lambda: time.time_ns() // 1_000_000),
        restore=ToyMachine,
        handlers={Broadcast: broadcast, Decided: nothing, Record: nothing},
    )
    async with trio.open_nursery() as nursery:
        machine = await nursery.start(driver.run)
        number = machine.taken
        print("journalled", number, flush=True)
        while True:
            number += 1
            await driver.submit(SettleFailed(number, ""))
            print("journalled", number, flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
