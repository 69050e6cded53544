"""`node jobs` and `node job ID`: what happened to requests; saves their proofs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
import typer

from node.cli.options import DEFAULT_NODES, AsJson, NodeUrls, PasswordFile
from node.cli.output import amount, console, print_json, say
from node.cli.submit import job_table
from node.errors import ExitCode, InputError, NodeUnreachableError

if TYPE_CHECKING:
    from node.client.api import Json


def jobs(
    node: NodeUrls = DEFAULT_NODES,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 20,
    after: Annotated[str, typer.Option("--after", help="Request id to page on from.")] = "",
    json: AsJson = False,
) -> None:
    """List requests that the node knows, newest first."""
    params: dict[str, str | int] = {"limit": limit}
    if after:
        params["after"] = parse_id(after)
    answer = trio.run(_get, node, "/v1/requests", params)
    if json:
        print_json(answer)
        return
    from node.client.api import as_documented  # noqa: PLC0415

    with as_documented():
        for row in answer["requests"]:
            result = row.get("result") or {}
            fee = f"  fee {amount(result['fee'])}" if result else ""
            reason = f"  {row['reason']}" if row.get("reason") else ""
            say(f"{row['request_id']}  {row['state']:10}{fee}{reason}")
        if not answer["requests"]:
            say("no requests")
        if answer["next"]:
            say(f"more: node jobs --after {answer['next']}")


def job(
    request_id: Annotated[str, typer.Argument(help="Request id.")],
    action: Annotated[
        str, typer.Argument(metavar="[cancel]", help="Take an unserved request back.")
    ] = "",
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="Save proofs, keys, certificate and inclusion proof here."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Requester's web3 keystore file, to cancel.")
    ] = None,
    password_file: PasswordFile = None,
    node: NodeUrls = DEFAULT_NODES,
    json: AsJson = False,
) -> int:
    """Show one request, save its proof for `node verify`, or take it out of the market."""
    request_id = parse_id(request_id)
    if action not in {"", "cancel"}:
        raise InputError(
            f"{action!r} is nothing to do with a request", "write `cancel`, or nothing"
        )
    if action == "cancel":
        if key is None:
            raise InputError("only its owner can cancel a request", "give --key FILE")
        document = trio.run(_cancel, node, request_id, key, password_file)
        if json:
            print_json(document)
        else:
            _show(document)
            if document["state"] != "refunded":
                say("not cancelled: only a request that nobody was assigned can be")
        return ExitCode.OK if document["state"] == "refunded" else ExitCode.ANSWER_NO
    if proof is not None:
        from node.client.bundle import save_bundle  # noqa: PLC0415

        bundle = trio.run(_get, node, f"/v1/requests/{request_id}/proof", {})
        if bundle.get("request_id") != request_id:
            raise NodeUnreachableError(
                "the node answered with another request's proof", "ask another node"
            )
        files = save_bundle(bundle, proof)
        if json:
            print_json({"request_id": request_id, "directory": str(proof), "files": files})
        else:
            say(f"saved {len(files)} files in {proof}; check them: node verify {proof}")
        return ExitCode.OK
    document = trio.run(_get, node, f"/v1/requests/{request_id}", {})
    if json:
        print_json(document)
    else:
        _show(document)
    return ExitCode.OK


def _show(document: Json) -> None:
    from node.client.api import as_documented  # noqa: PLC0415

    with as_documented():
        if document.get("segments"):
            console.print(job_table(document))
        else:
            say(f"{document['request_id']}  {document['state']}")
        result = document.get("result")
        if result:
            say(
                f"{result['status']} in round {result['round']}, {result['voters']} of"
                f" {result['operators']} operators signed, fee {amount(result['fee'])}"
            )
        if document.get("reason"):
            say(f"reason: {document['reason']}")


async def _cancel(nodes: list[str], request_id: str, key: Path, password_file: Path | None) -> Json:
    from node.client.api import NodeClient, open_http  # noqa: PLC0415
    from node.client.submit import cancel  # noqa: PLC0415
    from node.keys import load_session_key, read_password  # noqa: PLC0415

    owner = load_session_key(key, read_password(password_file))
    async with open_http() as http:
        return await cancel(NodeClient(nodes, http), bytes.fromhex(request_id[2:]), owner)


async def _get(nodes: list[str], path: str, params: dict[str, str | int]) -> Json:
    from node.client.api import NodeClient, open_http  # noqa: PLC0415

    async with open_http() as http:
        return await NodeClient(nodes, http).get(path, params)


def parse_id(text: str) -> str:
    """A request id as nodes write it; raises InputError."""
    digits = text.removeprefix("0x").lower()
    if len(digits) != 64 or not all(c in "0123456789abcdef" for c in digits):
        raise InputError(f"{text!r} is no request id", "write 0x and 64 hexadecimal digits")
    return "0x" + digits
