"""Who keeps the epochs turning: anyone may, when the registry says it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain import onboarding

if TYPE_CHECKING:
    from chain.contracts import ProverRegistry
    from chain.deployments import Contracts
    from chain.onboarding import Step

BLOCKHASH_WINDOW = 256


async def due_step(registry: ProverRegistry, contracts: Contracts, head: int) -> Step | None:
    """The call that the block after `head` would take: freeze the next table, or open its epoch.

    Two senders at once do no harm: the later one reverts.
    """
    following = head + 1
    current = await registry.current_epoch()
    frozen = await registry.epoch_of(current + 1)
    if frozen is not None:
        seed_block = frozen.frozen_block + await registry.table_seed_delay()
        if following > seed_block + BLOCKHASH_WINDOW:
            return onboarding.freeze_table(contracts)
        return onboarding.open_epoch(contracts) if following > seed_block else None
    if current:
        opened = await registry.epoch_of(current)
        last = await registry.epoch_blocks() + (opened.opened_block if opened else 0)
        if following < last:
            return None
    return onboarding.freeze_table(contracts)
