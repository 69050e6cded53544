"""`node submit`: asks the network for a proof and stays until it is settled or refunded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import trio
import typer
from rich.live import Live

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls, PasswordFile
from node.cli.output import UNITS, amount, cell, print_json, progress_console, say, short
from node.errors import ExitCode, InputError
from node.programs.accounts import AccountsError, read_accounts
from protocol.bounds import MAX_ALLOWLIST
from protocol.clearing import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from node.client.api import Json


MAX_DEADLINE_S: Final = 30 * 86_400


def submit(
    program: Annotated[str, typer.Argument(help="Program name or id, for instance `solvency`.")],
    input_file: Annotated[Path, typer.Argument(help="Private CSV: account_id,balance.")],
    max_fee: Annotated[str, typer.Option("--max-fee", help="Most to pay, in wei or as 0.5ether.")],
    key: Annotated[Path, typer.Option("--key", help="Requester's web3 keystore file.")],
    deadline: Annotated[
        int, typer.Option("--deadline", min=1, max=MAX_DEADLINE_S, help="Seconds from now.")
    ] = 120,
    reserve: Annotated[
        str | None,
        typer.Option(
            help="Escrow to set aside: public, at least the sealed fee. Default: the power of two"
            " above it, in wei."
        ),
    ] = None,
    operators: Annotated[
        list[str] | None,
        typer.Option("--operator", help="Only these operators may see the input."),
    ] = None,
    password_file: PasswordFile = None,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> int:
    """Prove the total of a private list of balances.

    The maximum fee is sealed: nobody learns it before the round that clears it is decided.

    The provers that the award names see the rows that they prove; nobody else does. The total
    becomes public.
    """
    from node.keys import load_session_key, read_password  # noqa: PLC0415

    try:
        accounts = read_accounts(input_file)
    except AccountsError as exc:
        raise InputError(f"{input_file}: {exc}", "mend the file") from exc
    fee = parse_amount(max_fee)
    requester = load_session_key(key, read_password(password_file))
    allowlist = parse_allowlist(operators or [])
    set_aside = 0 if reserve is None else parse_amount(reserve)

    async def go() -> Json:
        from node.client.api import NodeClient, as_documented, open_http  # noqa: PLC0415
        from node.client.submit import Order, prepare  # noqa: PLC0415
        from node.client.submit import submit as hand_in  # noqa: PLC0415

        order = Order(program, accounts, fee, deadline, allowlist, set_aside)
        async with open_http() as http:
            client = NodeClient(node, http)
            about = await client.get("/v1/node")
            with as_documented():
                prepared = prepare(order, requester, about)
            if json:
                return await hand_in(client, prepared, lambda _document: None)
            with Live(console=progress_console, transient=False) as live:
                ended = await hand_in(client, prepared, lambda d: live.update(job_table(d)))
            if not progress_console.is_terminal:
                progress_console.print()  # Live ends its last table with a new line on terminals
            return ended

    document = trio.run(go)
    settled = document["state"] == "settled" and document["root_matches"]
    if json:
        print_json(document)
    else:
        say(_verdict(document))
    return ExitCode.OK if settled else ExitCode.ANSWER_NO


def job_table(document: Json) -> Table:
    """A request and its segments as a table."""
    from rich.table import Table  # noqa: PLC0415

    title = f"request {short(document.get('request_id', ''))}  {document.get('state', '')}"
    table = Table(title=cell(title), title_justify="left")
    for column in ("segment", "prover", "attempt", "state"):
        table.add_column(column)
    rows = document.get("segments", ())
    for row in rows:
        name = "combine" if row["segment"] == len(rows) - 1 else str(row["segment"])
        values = (name, short(row["operator"]), row["attempt"], row["state"])
        table.add_row(*map(cell, values))
    return table


def _verdict(document: Json) -> str:
    result = document.get("result") or {}
    if document["state"] != "settled":
        reason = document.get("reason") or "no reason given"
        last = document.get("verdict") or ""
        if last and last != Verdict.WON.code:
            reason += f" (its last clearing: {last}; `node explain` has all)"
        if not result:
            return f"not admitted: {reason}; nothing was charged"
        return f"refunded: {reason}; charged {amount(result['fee'])}, the bid fee"
    matches = "is" if document["root_matches"] else "IS NOT"
    return (
        f"settled in transaction {result['settle_tx']} ({result['gas_used']} gas), fee"
        f" {amount(result['fee'])}; the settled root {matches} the one computed here"
    )


def parse_amount(text: str) -> int:
    """Wei of `123`, `0.5ether` or `20gwei`; raises InputError."""
    digits, places = text, 0
    for unit, decimals in UNITS:
        if text.endswith(unit):
            digits, places = text.removesuffix(unit).strip(), decimals
            break
    whole, _, part = digits.partition(".")
    if not (whole + part).isascii() or not (whole + part).isdigit() or len(part) > places:
        raise InputError(f"{text!r} is no amount", "write wei, 20gwei or 0.5ether")
    wei: int = int(whole or "0") * 10**places + int((part + "0" * places)[:places] or "0")
    if not 0 < wei < 2**96:
        raise InputError(f"{text!r} is out of range", "give more than 0 and less than 2**96 wei")
    return wei


def parse_allowlist(texts: Sequence[str]) -> tuple[bytes, ...]:
    """Distinct addresses, at most as many as a request may name; raises InputError."""
    addresses = dict.fromkeys(parse_address(text) for text in texts)
    if len(addresses) > MAX_ALLOWLIST:
        raise InputError(f"{len(addresses)} operators", f"name at most {MAX_ALLOWLIST}")
    return tuple(addresses)


def parse_address(text: str) -> bytes:
    """20 bytes of a hexadecimal address; raises InputError."""
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 20:
        raise InputError(f"{text!r} is no address", "write 0x and 40 hexadecimal digits")
    return value
