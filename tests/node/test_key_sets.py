"""Key sets follow each other beside the first one; none is ever overwritten."""

from __future__ import annotations

import stat

import pytest

from node.errors import KeystoreError
from node.key_sets import add_key_set, load_key_sets, set_folders
from node.keys import KEY_FILES, SESSION_FILE, load_keys, random_keys, save_keys
from node.keystore import DEVNET

PASSWORD = "password"
FIRST = random_keys()


@pytest.fixture
def folder(tmp_path):
    save_keys(tmp_path / "keys", FIRST, PASSWORD, DEVNET)
    return tmp_path / "keys"


def add(folder):
    return add_key_set(folder, PASSWORD, FIRST.peer_seed, DEVNET)


def sessions(folder):
    return [keys.session.address for keys in load_key_sets(folder, PASSWORD)]


def test_a_set_is_added_beside_the_first(folder):
    before = {name: (folder / name).read_bytes() for name in KEY_FILES}
    made = add(folder)
    assert {name: (folder / name).read_bytes() for name in KEY_FILES} == before
    assert set_folders(folder) == [folder, folder / "2"]
    assert stat.S_IMODE((folder / "2").stat().st_mode) == 0o700
    assert sessions(folder) == [FIRST.session.address, made.session.address]
    for old, new in (
        (FIRST.session.secret, made.session.secret),
        (FIRST.bls.secret, made.bls.secret),
        (FIRST.sealing.secret, made.sealing.secret),
    ):
        assert old != new
    assert load_keys(folder / "2", PASSWORD).peer_seed == FIRST.peer_seed


def test_sets_are_in_the_order_in_which_they_were_made(folder):
    made = [add(folder).session.address for _ in range(9)]
    assert [place.name for place in set_folders(folder)][-2:] == ["9", "10"]
    assert sessions(folder) == [FIRST.session.address, *made]


def test_a_retired_set_can_be_removed_and_its_number_does_not_come_again(folder):
    second, third = add(folder), add(folder)
    for name in KEY_FILES:
        (folder / name).unlink()
    assert sessions(folder) == [second.session.address, third.session.address]
    for name in KEY_FILES:
        (folder / "2" / name).unlink()
    (folder / "2").rmdir()
    add(folder)
    assert [place.name for place in set_folders(folder)] == ["3", "4"]


def test_half_a_set_is_an_error_and_not_overlooked(folder):
    add(folder)
    (folder / SESSION_FILE).unlink()
    with pytest.raises(KeystoreError) as caught:
        load_key_sets(folder, PASSWORD)
    assert SESSION_FILE in caught.value.cause
    (folder / "2" / SESSION_FILE).unlink()
    with pytest.raises(KeystoreError):
        load_key_sets(folder, PASSWORD)


def test_the_set_of_another_node_is_refused(folder):
    save_keys(folder / "2", random_keys(), PASSWORD, DEVNET)
    with pytest.raises(KeystoreError) as caught:
        load_key_sets(folder, PASSWORD)
    assert "peer identity" in caught.value.cause


def test_no_keys_at_all(tmp_path):
    with pytest.raises(KeystoreError) as caught:
        load_key_sets(tmp_path / "none", PASSWORD)
    assert "node keys new" in caught.value.mend


def test_a_set_of_the_same_number_is_not_overwritten(folder):
    made = add(folder)
    with pytest.raises(KeystoreError):
        save_keys(folder / "2", random_keys(), PASSWORD, DEVNET)
    assert load_keys(folder / "2", PASSWORD).session.address == made.session.address
