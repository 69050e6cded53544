"""Reads the private CSV of account balances; every refusal names a line and a column."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

HEADER: Final = "account_id,balance"
MAX_ACCOUNTS: Final = 256
MAX_BALANCE: Final = 2**64 - 1
# 256 rows of the longest legal fields need 38 KB; more is not a file for this program.
MAX_FILE_BYTES: Final = 1 << 20
MAX_ID_LENGTH: Final = 128

_COLUMNS: Final = ("account_id", "balance")
_INTEGER: Final = re.compile(r"0|[1-9][0-9]*")
_NEGATIVE: Final = re.compile(r"-[0-9]+")


class AccountsFault(StrEnum):
    """Why a file of accounts is refused."""

    UNREADABLE = "accounts_unreadable"
    FILE_TOO_LARGE = "accounts_file_too_large"
    BAD_ENCODING = "accounts_bad_encoding"
    BAD_HEADER = "accounts_bad_header"
    WRONG_FIELD_COUNT = "accounts_wrong_field_count"
    BAD_ACCOUNT_ID = "accounts_bad_account_id"
    DUPLICATE_ACCOUNT_ID = "accounts_duplicate_account_id"
    BALANCE_NOT_INTEGER = "accounts_balance_not_integer"
    BALANCE_NEGATIVE = "accounts_balance_negative"
    BALANCE_TOO_LARGE = "accounts_balance_too_large"
    TOO_MANY_ACCOUNTS = "accounts_too_many"
    NO_ACCOUNTS = "accounts_none"


class AccountsError(Exception):
    """A file of accounts that can not be proven; `line`, `column` count from 1, 0 = the whole."""

    def __init__(self, fault: AccountsFault, cause: str, line: int = 0, column: int = 0) -> None:
        where = f"line {line}, " if line else ""
        where += f"column {column} ({_COLUMNS[column - 1]}): " if 0 < column <= 2 else ""
        super().__init__(f"{where}{cause}")
        self.fault = fault
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Account:
    """One row: an opaque id, unique in its file, and a balance in the smallest unit."""

    account_id: str
    balance: int


def read_accounts(path: Path) -> tuple[Account, ...]:
    """The accounts of a CSV file; raises AccountsError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        cause = f"can not read {path}: {exc.strerror}"
        raise AccountsError(AccountsFault.UNREADABLE, cause) from exc
    return parse_accounts(raw)


def parse_accounts(raw: bytes) -> tuple[Account, ...]:
    """The accounts of a CSV text: a header, then one `account_id,balance` a line, no quotes."""
    if len(raw) > MAX_FILE_BYTES:
        cause = f"the file is larger than {MAX_FILE_BYTES} bytes"
        raise AccountsError(AccountsFault.FILE_TOO_LARGE, cause)
    lines = _decode(raw).removeprefix("\ufeff").removesuffix("\n").split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    if lines[0] != HEADER:
        raise AccountsError(AccountsFault.BAD_HEADER, f"the first line must be {HEADER}", line=1)
    if len(lines) == 1:
        raise AccountsError(AccountsFault.NO_ACCOUNTS, "no account after the header", line=1)
    if len(lines) - 1 > MAX_ACCOUNTS:
        cause = f"more than {MAX_ACCOUNTS} accounts"
        raise AccountsError(AccountsFault.TOO_MANY_ACCOUNTS, cause, line=MAX_ACCOUNTS + 2)
    accounts = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        account = _parse_row(line, number)
        if account.account_id in first_line:
            cause = f"the id already stands in line {first_line[account.account_id]}"
            raise AccountsError(AccountsFault.DUPLICATE_ACCOUNT_ID, cause, number, 1)
        first_line[account.account_id] = number
        accounts.append(account)
    return tuple(accounts)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        before = raw[: exc.start]
        line = before.count(b"\n") + 1
        column = before[before.rfind(b"\n") + 1 :].count(b",") + 1
        cause = "the text is not UTF-8"
        raise AccountsError(AccountsFault.BAD_ENCODING, cause, line, column) from exc


def _parse_row(line: str, number: int) -> Account:
    fields = line.split(",")
    if len(fields) != 2:
        cause = f"expected 2 fields, found {len(fields)}" if line else "the line is empty"
        column = min(len(fields), 3)
        raise AccountsError(AccountsFault.WRONG_FIELD_COUNT, cause, number, column)
    account_id, balance = fields
    if not (0 < len(account_id) <= MAX_ID_LENGTH) or not account_id.isprintable():
        cause = f"an id has 1 to {MAX_ID_LENGTH} printable characters"
        raise AccountsError(AccountsFault.BAD_ACCOUNT_ID, cause, number, 1)
    if _NEGATIVE.fullmatch(balance):
        cause = "a liability can not be negative"
        raise AccountsError(AccountsFault.BALANCE_NEGATIVE, cause, number, 2)
    if not _INTEGER.fullmatch(balance):
        cause = "a balance is a plain decimal integer of the smallest unit"
        raise AccountsError(AccountsFault.BALANCE_NOT_INTEGER, cause, number, 2)
    if len(balance) > 20 or int(balance) > MAX_BALANCE:
        cause = f"a balance is at most {MAX_BALANCE}"
        raise AccountsError(AccountsFault.BALANCE_TOO_LARGE, cause, number, 2)
    return Account(account_id, int(balance))
