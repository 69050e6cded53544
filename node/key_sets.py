"""All key sets of a node, in the order in which they were made.

The first lies in the folder itself, where `node keys new` made it; `node keys rotate` puts each
later one into a numbered folder beside its files: 2, 3 ... A set is removed by removing its files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from node.errors import KeystoreError
from node.keys import KEY_FILES, NodeKeys, load_keys, random_keys, save_keys
from node.keystore import STANDARD, Cost

if TYPE_CHECKING:
    from pathlib import Path


def set_folders(folder: Path) -> list[Path]:
    """Where the sets are, oldest first; the folder itself if there is none at all."""
    later = _later(folder)
    first = any((folder / name).exists() for name in KEY_FILES)
    return [folder, *later] if first or not later else later


def load_key_sets(folder: Path, password: str) -> tuple[NodeKeys, ...]:
    """Decrypt every set, oldest first; they share one peer identity.

    Raises:
        KeystoreError: as `load_keys`; or two sets have another peer identity.
    """
    folders = set_folders(folder)
    sets = tuple(load_keys(place, password) for place in folders)
    for place, keys in zip(folders, sets, strict=True):
        if keys.peer_seed != sets[0].peer_seed:
            raise KeystoreError(
                f"{place} holds another peer identity than {folders[0]}",
                "put each node's keys into a folder of their own",
            )
    return sets


def add_key_set(folder: Path, password: str, peer_seed: bytes, cost: Cost = STANDARD) -> NodeKeys:
    """Make a set with fresh session, BLS and sealing keys and write it beside the earlier ones.

    Raises:
        KeystoreError: it can not be written; nothing is ever overwritten.
    """
    later = _later(folder)
    number = int(later[-1].name) + 1 if later else 2
    keys = replace(random_keys(), peer_seed=peer_seed)
    save_keys(folder / str(number), keys, password, cost)
    return keys


def _later(folder: Path) -> list[Path]:
    try:
        numbered = [place for place in folder.iterdir() if place.name.isdecimal()]
    except OSError:
        return []  # what is wrong with it, reading its files will tell
    return sorted(numbered, key=lambda place: int(place.name))
