"""Small parts in microseconds: what a frame, a vote, a journal record, a certificate cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.records import ROOT, load, microseconds, save, spread
from node.crypto import BlsKey, Crypto, SessionKey
from node.ingress_checks import Checks, Horizon
from node.store import Store
from protocol.codec import decode, encode
from protocol.eip712 import Domain, digest, signed_digest, vote_digest
from protocol.inputs import Operator
from protocol.messages import (
    Certificate,
    Envelope,
    Kind,
    ProofRequest,
    Vote,
)
from protocol.rotation import OperatorTable
from protocol.types import Address, Hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.records import Json

_DOMAIN: Final = Domain(31_337, Address(b"\x05" * 20))
_EPOCH, _ROUND, _VIEW = 1, 7, 3
_RECORD_BYTES: Final = 600
"""About a vote with its envelope, as the journal holds it."""
_BATCH: Final = 16
_SEGMENTS: Final = 9


class _Network:
    """Operators with real keys and their table."""

    def __init__(self, size: int) -> None:
        self.sessions = [SessionKey.random() for _ in range(size)]
        self.keys = [BlsKey.random() for _ in range(size)]
        rows = tuple(
            Operator(
                Address(session.address),
                session.address,
                key.public_key,
                bytes(32),
                f"peer {place}",
                (),
                100,
            )
            for place, (session, key) in enumerate(zip(self.sessions, self.keys, strict=True))
        )
        self.table = OperatorTable(_EPOCH, Hash(bytes(32)), rows)
        self.horizon = Horizon({_EPOCH: self.table}, _ROUND)

    def vote(self, place: int, value: bytes) -> Envelope:
        """A signed PREPARE."""
        body = Vote(_EPOCH, _ROUND, _VIEW, value)
        unsigned = Envelope(int(Kind.PREPARE), self.sessions[place].address, body, b"")
        signature = self.keys[place].sign(signed_digest(_DOMAIN, unsigned))
        return Envelope(unsigned.kind, unsigned.sender, body, signature)

    def signatures(self, value: bytes, signers: int) -> list[bytes]:
        """PREPARE signatures of the first so many operators of one Value."""
        signed = vote_digest(_DOMAIN, Kind.PREPARE, _EPOCH, _ROUND, _VIEW, value)
        return [key.sign(signed) for key in self.keys[:signers]]

    def certificate(self, crypto: Crypto, value: bytes, signatures: list[bytes]) -> Certificate:
        """Their certificate."""
        return Certificate(
            int(Kind.PREPARE),
            _EPOCH,
            _ROUND,
            _VIEW,
            value,
            vote_digest(_DOMAIN, Kind.PREPARE, _EPOCH, _ROUND, _VIEW, value),
            tuple(range(len(signatures), len(self.keys))),
            crypto.aggregate(signatures),
        )


async def measure(say: Callable[[str], None], *, quick: bool) -> None:
    """Everything that takes microseconds, and the memory of imports."""
    runs = 20 if quick else 200
    busy = load()
    figures = {**_frames(runs), **_votes(runs), **await _journal(runs)}
    save("micro", {"unit": "microseconds", "load_before": busy, "figures": figures})
    shown = {name: found["median"] for name, found in figures.items()}
    say(f"micro: {json.dumps(shown)}")
    save("imports", _imports())


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _frames(runs: int) -> Json:
    network, crypto = _Network(4), Crypto()
    votes = [encode(network.vote(0, _word(number))) for number in range(runs + 1)]
    requests = [encode(_request(number)) for number in range(runs + 1)]

    def admit(frames: list[bytes], peer: bytes | None) -> Callable[[int], object]:
        checks = Checks(_DOMAIN, crypto)

        def work(number: int) -> None:
            envelope = decode(frames[number])
            checks.expiry(envelope, network.horizon)
            checks.membership(peer, envelope, network.horizon)
            checks.signatures(envelope, network.horizon)

        return work

    return {
        "decode a vote": microseconds(lambda number: decode(votes[number]), runs),
        "decode a request of 8 segments": microseconds(
            lambda number: decode(requests[number]), runs
        ),
        "decode and check a vote": microseconds(admit(votes, network.sessions[0].address), runs),
        "decode and check a request": microseconds(admit(requests, None), runs),
    }


def _request(number: int) -> Envelope:
    key = SessionKey.random()
    amount = _word(5)
    hashes = (_word(1),) * _SEGMENTS
    request = ProofRequest(_word(1), key.address, hashes, 1, amount, 5, 900, (), _word(number))
    return Envelope(int(Kind.REQUEST), key.address, request, key.sign(digest(_DOMAIN, request)))


def _votes(runs: int) -> Json:
    crypto = Crypto()
    key = BlsKey.random()
    digests = [vote_digest(_DOMAIN, Kind.LOCK, 1, 1, 1, _word(n)) for n in range(runs + 1)]
    signatures = [key.sign(signed) for signed in digests]
    found: Json = {
        "BLS sign": microseconds(lambda number: key.sign(digests[number]), runs),
        "BLS verify, digest seen first": microseconds(
            lambda number: crypto.verify(key.public_key, digests[number], signatures[number]), runs
        ),
        "BLS verify, digest known": microseconds(
            lambda _: crypto.verify(key.public_key, digests[0], signatures[0]), runs
        ),
    }
    for size, signers in ((4, 3), (85, 57), (85, 85)):
        found |= _certificates(crypto, size, signers, max(5, runs // 10))
    return found


def _certificates(crypto: Crypto, size: int, signers: int, runs: int) -> Json:
    """The fewest that are a quorum, or everyone."""
    network = _Network(size)
    signed = [network.signatures(_word(number), signers) for number in range(runs + 1)]
    made = [network.certificate(crypto, _word(n), held) for n, held in enumerate(signed)]

    def assemble(number: int) -> object:
        return network.certificate(crypto, _word(number), signed[number])

    def check(number: int) -> None:
        Checks(_DOMAIN, crypto).certificate(made[number], network.horizon)

    return {
        f"assemble a certificate, {signers} of {size} sign": microseconds(assemble, runs),
        f"check a certificate, {signers} of {size} sign": microseconds(check, runs),
    }


async def _journal(runs: int) -> Json:
    one: list[float] = []
    many: list[float] = []
    records = [os.urandom(_RECORD_BYTES) for _ in range(_BATCH)]
    with tempfile.TemporaryDirectory(prefix="provernet-") as folder:
        store = Store.open(Path(folder) / "node.sqlite")
        for _ in range(runs):
            for found, batch in ((one, records[:1]), (many, records)):
                started = time.perf_counter_ns()
                await store.append(batch)
                found.append((time.perf_counter_ns() - started) / 1_000)
            await trio.lowlevel.checkpoint()
        store.close()
    return {
        "journal an input, with fsync": spread(one, 1),
        f"journal {_BATCH} inputs at once": spread(many, 1),
    }


def _imports() -> Json:
    command = [sys.executable, "-m", "benchmarks.import_memory"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: Json = json.loads(ran.stdout)
    return found
