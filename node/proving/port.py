"""The proving engine as the services see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.programs.witness import UnsatisfiedWitness
from node.proving.engine import ProofCheck, ProvingEngine, ProvingTask
from protocol.errors import Rejection, RejectionReason
from protocol.programs import COMBINE, SEGMENT

if TYPE_CHECKING:
    from protocol.types import Address, Hash


class EngineProver:
    """The `Prover` port over an open engine, for one operator."""

    def __init__(self, engine: ProvingEngine, me: Address) -> None:
        self._engine = engine
        self._me = me

    async def hold_input(self, request_id: Hash, segment: int, private_input: bytes) -> None:
        """See `node.ports.Prover`."""
        await self._engine.hold_input(request_id, segment, private_input)

    async def held_inputs(self) -> tuple[tuple[Hash, int], ...]:
        """See `node.ports.Prover`."""
        return await self._engine.held_inputs()

    async def prove(
        self, request_id: Hash, segment: int, program_id: Hash, combining: bool
    ) -> tuple[tuple[bytes, ...], bytes]:
        """See `node.ports.Prover`."""
        task = ProvingTask(request_id, segment, program_id, _circuit(combining), self._me)
        try:
            made = await self._engine.prove(task)
        except UnsatisfiedWitness as exc:
            raise Rejection(RejectionReason.UNSATISFIABLE, str(exc)) from exc
        return made.values, made.proof

    async def check(
        self, program_id: Hash, combining: bool, values: tuple[bytes, ...], proof: bytes
    ) -> None:
        """See `node.ports.Prover`."""
        await self._engine.verify(ProofCheck(program_id, _circuit(combining), values, proof))

    async def forget(self, request_id: Hash) -> None:
        """See `node.ports.Prover`."""
        await self._engine.forget(request_id)


def _circuit(combining: bool) -> str:
    return COMBINE if combining else SEGMENT
