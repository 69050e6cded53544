"""Peer ids: the libp2p name of an ed25519 key."""

from __future__ import annotations

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID

SEED_BYTES = 32


def key_pair_of(seed: bytes) -> KeyPair:
    """The ed25519 key pair of a 32-byte seed. Raises ValueError for any other length."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"an ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
    return create_new_key_pair(seed)


def peer_id_of_seed(seed: bytes) -> str:
    """The base58 peer id that belongs to a 32-byte ed25519 seed."""
    return str(ID.from_pubkey(key_pair_of(seed).public_key))


def peer_id_bytes(peer_id: str) -> bytes:
    """The multihash bytes of a base58 peer id, as registered on chain. Raises ValueError."""
    raw = ID.from_string(peer_id).to_bytes()
    if str(ID(raw)) != peer_id or not raw:
        raise ValueError("not a canonical base58 peer id")
    return raw


def peer_id_from_bytes(raw: bytes) -> str:
    """The base58 peer id of the registered multihash bytes."""
    return str(ID(raw))
