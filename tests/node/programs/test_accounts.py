from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node.programs.accounts import (
    HEADER,
    MAX_ACCOUNTS,
    MAX_BALANCE,
    MAX_FILE_BYTES,
    Account,
    AccountsError,
    AccountsFault,
    parse_accounts,
    read_accounts,
)

ROOT = Path(__file__).resolve().parents[3]
ids = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters=","),
    min_size=1,
    max_size=20,
).filter(str.isprintable)
balances = st.integers(0, MAX_BALANCE)


def text(*rows: str) -> bytes:
    return "\n".join((HEADER, *rows, "")).encode()


@given(st.dictionaries(ids, balances, min_size=1, max_size=40), st.sampled_from(("\n", "\r\n")))
def test_every_legal_file_is_read_as_it_is(accounts: dict[str, int], newline: str) -> None:
    lines = [HEADER, *(f"{name},{balance}" for name, balance in accounts.items()), ""]
    expected = tuple(Account(name, balance) for name, balance in accounts.items())
    assert parse_accounts(newline.join(lines).encode()) == expected


@pytest.mark.parametrize(
    ("raw", "fault", "line", "column"),
    [
        (b"", AccountsFault.BAD_HEADER, 1, 0),
        (b"id,amount\na,1\n", AccountsFault.BAD_HEADER, 1, 0),
        (text(), AccountsFault.NO_ACCOUNTS, 1, 0),
        (text("a,1", "b,-5"), AccountsFault.BALANCE_NEGATIVE, 3, 2),
        (text("a,1.5"), AccountsFault.BALANCE_NOT_INTEGER, 2, 2),
        (text("a,"), AccountsFault.BALANCE_NOT_INTEGER, 2, 2),
        (text("a,1e9"), AccountsFault.BALANCE_NOT_INTEGER, 2, 2),
        (text("a, 1"), AccountsFault.BALANCE_NOT_INTEGER, 2, 2),
        (text("a,007"), AccountsFault.BALANCE_NOT_INTEGER, 2, 2),
        (text("a,1_000"), AccountsFault.BALANCE_NOT_INTEGER, 2, 2),
        (text("a,\u0661"), AccountsFault.BALANCE_NOT_INTEGER, 2, 2),
        (text("a,1", f"b,{2**64}"), AccountsFault.BALANCE_TOO_LARGE, 3, 2),
        (text("a," + "9" * 10_000), AccountsFault.BALANCE_TOO_LARGE, 2, 2),
        (text("a,1", "b,2", "a,3"), AccountsFault.DUPLICATE_ACCOUNT_ID, 4, 1),
        (text(",1"), AccountsFault.BAD_ACCOUNT_ID, 2, 1),
        (text("a\x00b,1"), AccountsFault.BAD_ACCOUNT_ID, 2, 1),
        (text("x" * 129 + ",1"), AccountsFault.BAD_ACCOUNT_ID, 2, 1),
        (text("a"), AccountsFault.WRONG_FIELD_COUNT, 2, 1),
        (text("a,1,2"), AccountsFault.WRONG_FIELD_COUNT, 2, 3),
        (text("a,1", "", "b,2"), AccountsFault.WRONG_FIELD_COUNT, 3, 1),
        (text("a,1") + b"b\xff,2\n", AccountsFault.BAD_ENCODING, 3, 1),
        (text("a,1") + b"b,\xff\n", AccountsFault.BAD_ENCODING, 3, 2),
        (text(*(f"a{i},1" for i in range(257))), AccountsFault.TOO_MANY_ACCOUNTS, 258, 0),
        (b"x" * (MAX_FILE_BYTES + 1), AccountsFault.FILE_TOO_LARGE, 0, 0),
    ],
)
def test_refusals_name_line_and_column(
    raw: bytes, fault: AccountsFault, line: int, column: int
) -> None:
    with pytest.raises(AccountsError) as caught:
        parse_accounts(raw)
    error = caught.value
    assert (error.fault, error.line, error.column) == (fault, line, column)
    assert "\n" not in str(error)
    assert not line or f"line {line}" in str(error)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf" + text("a,1"))
@example(text("a,1") + b"\r")
def test_any_bytes_are_accounts_or_a_named_refusal(raw: bytes) -> None:
    for candidate in (raw, HEADER.encode() + b"\n" + raw):
        accounts: tuple[Account, ...] = ()
        refusal = None
        try:
            accounts = parse_accounts(candidate)
        except AccountsError as exc:
            refusal = exc
        if refusal is None:
            assert 0 < len(accounts) <= MAX_ACCOUNTS
            assert len({account.account_id for account in accounts}) == len(accounts)
        else:
            assert refusal.line <= candidate.count(b"\n") + 1


def test_missing_file_and_endless_file(tmp_path: Path) -> None:
    with pytest.raises(AccountsError) as caught:
        read_accounts(tmp_path / "none.csv")
    assert caught.value.fault is AccountsFault.UNREADABLE
    with pytest.raises(AccountsError) as caught:
        read_accounts(Path("/dev/zero"))
    assert caught.value.fault is AccountsFault.FILE_TOO_LARGE


def test_drawn_file_is_legal_reproducible_and_heavy_tailed(tmp_path: Path) -> None:
    script = ROOT / "examples" / "solvency" / "draw.py"

    def drawn(seed: int) -> bytes:
        out = tmp_path / f"{seed}.csv"
        command = [sys.executable, script, "--accounts", "256", "--seed", str(seed), "--out", out]
        subprocess.run(command, check=True, timeout=30)
        return out.read_bytes()

    first = drawn(7)
    assert first == drawn(7) != drawn(8)
    amounts = sorted((account.balance for account in parse_accounts(first)), reverse=True)
    assert len(amounts) == MAX_ACCOUNTS
    assert sum(amounts[:26]) > sum(amounts[26:])
