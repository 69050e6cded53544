from __future__ import annotations

import json
import signal
from typing import Any

import pytest
import trio

from chain import client as client_module
from chain.abi import encode_all, solidity_error
from chain.client import Call, open_client
from chain.errors import (
    BadResponseError,
    ChainFault,
    ChainTimeoutError,
    NonceTooLowError,
    RefusedError,
    RevertedError,
    UnderfundedError,
    UnreachableError,
    WrongChainError,
)
from devnet.anvil import CHAIN_ID, Anvil
from tests.chain.endpoint import Answer, endpoint, error, result

DEEP = b"[" * 200_000


async def test_reads_what_anvil_serves(anvil: Anvil) -> None:
    client = anvil.client
    assert await client.chain_id() == CHAIN_ID
    assert await client.block_number() == 0
    head = await client.head()
    assert (head.number, await client.block(0)) == (0, head)
    assert await client.block(99) is None
    assert await client.receipt(bytes(32)) is None
    assert await client.code(b"\x01" * 20) == b""
    assert await client.logs(0, 0, [b"\x01" * 20]) == ()


async def test_a_batch_keeps_its_order_beyond_one_exchange(
    anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_MAX_BATCH", 7)
    calls = [Call("eth_getStorageAt", ("0x" + "01" * 20, hex(i), "latest")) for i in range(20)]
    calls[13] = Call("eth_chainId")
    found = await anvil.client.batch(calls)
    assert [int(value, 16) for value in found] == [0] * 13 + [CHAIN_ID] + [0] * 6
    assert await anvil.client.batch([]) == []


async def test_another_chain_is_refused(anvil: Anvil) -> None:
    with pytest.raises(WrongChainError) as caught:
        await anvil.client.check_chain(1)
    assert caught.value.fault is ChainFault.WRONG_CHAIN
    assert "31337" in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"id":1}',
        b'{"id":2,"result":"0x1"}',
        b'{"id":"1","result":"0x1"}',
        b'{"id":1,"error":"no"}',
        b'{"id":1,"error":{}}',
        b'{"id":1,"error":{"code":"3","message":"no"}}',
        b'{"id":1,"error":{"code":3,"message":"reverted","data":7}}',
        b'{"id":1,"result":7}',
        b'{"id":1,"result":"twelve"}',
        DEEP,
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_a_garbled_answer_is_a_bad_response(body: bytes) -> None:
    async with endpoint(lambda _: body) as served, open_client(served.url) as client:
        with pytest.raises(BadResponseError):
            await client.chain_id()
        assert len(served.requests) == 1, "what answers garbage is not asked again"


@pytest.mark.parametrize("kept", [0, 1, 3])
async def test_a_batch_that_is_answered_in_part_is_a_bad_response(kept: int) -> None:
    def answer(requests: Any) -> Answer:
        answers = [result(request, "0x1") for request in requests]
        return (answers * 2)[:kept]

    async with endpoint(answer) as served, open_client(served.url) as client:
        with pytest.raises(BadResponseError):
            await client.batch([Call("eth_chainId"), Call("eth_chainId")])


async def test_a_batch_with_a_foreign_id_is_a_bad_response() -> None:
    def answer(requests: Any) -> Answer:
        return [result(requests[0], "0x1"), {"id": [], "result": "0x1"}]

    async with endpoint(answer) as served, open_client(served.url) as client:
        with pytest.raises(BadResponseError):
            await client.batch([Call("eth_chainId"), Call("eth_chainId")])


async def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_MAX_ANSWER", 1_000)

    def answer(request: Any) -> Answer:
        return result(request, "0x" + "00" * 2_000)

    async with endpoint(answer) as served, open_client(served.url) as client:
        with pytest.raises(BadResponseError):
            await client.code(bytes(20))


async def test_nobody_listens() -> None:
    async with open_client("http://127.0.0.1:1", timeout_s=5) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.chain_id()
    assert caught.value.fault is ChainFault.UNREACHABLE


@pytest.mark.parametrize("url", ["", "localhost:8545", "http://", "ftp://127.0.0.1/", "http://[::"])
async def test_what_is_no_url_is_unreachable(url: str) -> None:
    async with open_client(url, timeout_s=2) as client:
        with pytest.raises(UnreachableError):
            await client.chain_id()


async def test_silence_ends_at_the_deadline() -> None:
    async with endpoint(lambda _: None) as served, open_client(served.url, timeout_s=0.2) as client:
        with trio.fail_after(2), pytest.raises(ChainTimeoutError) as caught:
            await client.chain_id()
    assert caught.value.fault is ChainFault.TIMEOUT


async def test_an_anvil_that_hangs_is_told_and_found_again(anvil: Anvil) -> None:
    async with open_client(anvil.url, timeout_s=0.3) as client:
        assert await client.chain_id() == CHAIN_ID
        anvil.child.send_signal(signal.SIGSTOP)
        try:
            with trio.fail_after(3), pytest.raises(ChainTimeoutError):
                await client.head()
        finally:
            anvil.child.send_signal(signal.SIGCONT)
        assert (await anvil.client.head()).number == 0
        assert (await client.head()).number == 0


async def test_a_passing_failure_is_not_seen_by_reads() -> None:
    replies: list[Answer] = [503, 429]

    def answer(request: Any) -> Answer:
        return replies.pop(0) if replies else result(request, "0x7a69")

    async with endpoint(answer) as served, open_client(served.url) as client:
        assert await client.chain_id() == CHAIN_ID
        assert len(served.requests) == 3


async def test_a_lasting_failure_is_told_after_three_attempts() -> None:
    async with endpoint(lambda _: 502) as served, open_client(served.url) as client:
        with pytest.raises(UnreachableError):
            await client.chain_id()
        assert len(served.requests) == 3


async def test_a_transaction_is_handed_over_once() -> None:
    async with endpoint(lambda _: 502) as served, open_client(served.url) as client:
        with pytest.raises(UnreachableError):
            await client.send_raw(b"\x02")
        assert len(served.requests) == 1


async def test_reverts_are_decoded() -> None:
    raised = solidity_error("StakeBelowMinimum(uint256,uint256)")
    data = raised.selector + encode_all(["uint256", "uint256"], [1, 2])

    def answer(request: Any) -> Answer:
        return error(request, code=3, message="execution reverted", data="0x" + data.hex())

    async with endpoint(answer) as served, open_client(served.url) as client:
        with pytest.raises(RevertedError) as caught:
            await client.execute(bytes(20), b"")
    assert (caught.value.error, caught.value.data) == ("StakeBelowMinimum", data)
    assert caught.value.detail == "StakeBelowMinimum(1, 2)"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("nonce too low", NonceTooLowError),
        ("Insufficient funds for gas * price + value", UnderfundedError),
        ("the method does not exist", RefusedError),
    ],
)
async def test_errors_have_kinds(message: str, kind: type[Exception]) -> None:
    def answer(request: Any) -> Answer:
        return error(request, code=-32_000, message=message)

    async with endpoint(answer) as served, open_client(served.url) as client:
        with pytest.raises(kind):
            await client.send_raw(b"\x02")


async def test_many_callers_at_once_get_their_own_answers() -> None:
    def answer(request: Any) -> Answer:
        return result(request, request["params"][0]["data"])

    async def ask(number: int) -> None:
        wanted = number.to_bytes(32, "big")
        assert await client.execute(bytes(20), wanted) == wanted

    async with (
        endpoint(answer) as served,
        open_client(served.url) as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(60):
            nursery.start_soon(ask, number)
    ids = [request["id"] for request in served.requests]
    assert len(set(ids)) == len(ids) == 60
    assert json.dumps(served.requests[0])
