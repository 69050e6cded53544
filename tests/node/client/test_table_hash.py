"""The registry's own encoding is checked on chain in tests/chain; here against eth_abi."""

from __future__ import annotations

import msgspec
import pytest
from eth_abi import encode

from node.client.table_hash import TableHashError, table_hash
from node.crypto import eip2537_g1
from protocol.hashing import keccak
from tests.node.client.proven import table

ENTRY = "(address,address,uint96,bytes32[3],bytes32,bytes32)[]"
ROWS = table().operators


def abi_hash(rows, peer_ids):
    entries = []
    for row, peer_id in zip(rows, peer_ids, strict=True):
        point = eip2537_g1(row.bls_key)
        packed = point[16:64] + point[80:128]
        words = [packed[:32], packed[32:64], packed[64:]]
        key = keccak(peer_id)
        entries.append((row.operator, row.session, row.weight, words, row.sealing_key, key))
    return keccak(encode([ENTRY], [entries]))


def peer_ids(count):
    return [b"\x00\x24\x08\x01\x12\x20" + bytes([place + 96]) * 32 for place in range(count)]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_it_is_the_hash_of_abi_encode(count):
    assert table_hash(ROWS[:count]) == abi_hash(ROWS[:count], peer_ids(count))


def test_the_known_table_keeps_its_hash():
    known = "fbbf8dc7de119fae4d50b9934c48d5371ec32ff5b465cf3b3bec7357ffc81b09"
    assert table_hash(ROWS).hex() == known


def test_order_counts():
    assert table_hash(ROWS) != table_hash(ROWS[::-1])


@pytest.mark.parametrize(
    "change", [{"peer_id": ""}, {"peer_id": "12D30"}, {"bls_key": b"\xc0" + bytes(47)}]
)
def test_a_row_that_lacks_something_is_named(change):
    broken = msgspec.structs.replace(ROWS[1], **change)
    with pytest.raises(TableHashError, match=broken.operator.hex()):
        table_hash([ROWS[0], broken])
