"""Anvil's well-known accounts and what each is for. Their keys are public: devnets alone."""

from __future__ import annotations

from typing import Final

from eth_account import Account as HdAccount

from chain.transaction import Account
from devnet.anvil import MNEMONIC

OWNER: Final = 0
"""Owns the core, the registry and the market; the other roles follow it."""
REWARDS_UPDATER: Final = 1
REQUESTER: Final = 2
"""Asks for the demo's proofs and issues the demo's stablecoin."""
CUSTODY: Final = 3
"""Holds the reserves that SolvencyGate looks at."""
KEEPER: Final = 4
"""Sends what anyone may send, such as the turning of epochs."""
_FIRST_OPERATOR: Final = 10


def operator_index(position: int) -> int:
    """Index of the cold account of the operator at a position from 0."""
    return _FIRST_OPERATOR + 2 * position


def staker_index(position: int) -> int:
    """Index of the account that delegates its stake to that operator."""
    return _FIRST_OPERATOR + 2 * position + 1


def accounts_for(operators: int) -> int:
    """How many accounts Anvil needs for so many operators."""
    return _FIRST_OPERATOR + 2 * operators


def secret_of(index: int) -> bytes:
    """The 32-byte secp256k1 secret of the account that Anvil lists at this index."""
    HdAccount.enable_unaudited_hdwallet_features()
    derived = HdAccount.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return bytes(derived.key)


def account(index: int) -> Account:
    """The account that Anvil lists at this index; deriving it takes about 10 ms."""
    return Account(secret_of(index))
