"""`node keys`: makes a node's key files, and shows what of them is public."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.options import AsJson, ConfigFile, PasswordFile
from node.cli.output import print_json, say
from node.errors import InputError

keys = typer.Typer(
    no_args_is_help=True, help="Make and list the key files of a node (never the operator's own)."
)

# Identity multihash of a protobuf with an ed25519 key, as libp2p names such peers.
_ED25519_PEER: Final = bytes.fromhex("002408011220")
_NAMES: Final = {
    "session.json": "session",
    "bls.json": "bls_key",
    "sealing.json": "sealing_key",
    "peer.json": "peer_id",
}


@keys.command("new")
def new(
    directory: Annotated[Path, typer.Argument(help="Folder to make; never overwritten.")],
    password_file: PasswordFile = None,
    json: AsJson = False,
) -> None:
    """Make fresh session, BLS, sealing and peer keys, encrypted with one password."""
    from node.keys import random_keys, read_password, save_keys  # noqa: PLC0415

    save_keys(directory, random_keys(), read_password(password_file))
    _show(directory, json=json)


@keys.command("list")
def list_keys(
    directory: Annotated[Path, typer.Argument(help="Folder of a key set.")],
    json: AsJson = False,
) -> None:
    """Show the public half of each key of one set; no password is needed."""
    _show(directory, json=json)


@keys.command("rotate")
def rotate(config: ConfigFile, json: AsJson = False) -> None:
    """Make the next key set beside the present one, and print the transaction that registers it.

    Restart the node first, then send the transaction from the operator's own account. Until that is
    done, the same set is shown again.
    """
    import trio  # noqa: PLC0415

    from node.config import load_config  # noqa: PLC0415
    from node.onchain.rotation import prepare_rotation  # noqa: PLC0415

    made = trio.run(prepare_rotation, load_config(config))
    transaction = {
        "from": "0x" + made.operator.hex(),
        "to": "0x" + made.step.to.hex(),
        "data": "0x" + made.step.data.hex(),
    }
    _show(made.folder, transaction, json=json)


def _show(directory: Path, more: Mapping[str, str] | None = None, *, json: bool) -> None:
    from chain.tables import base58  # noqa: PLC0415
    from node.keys import PEER_FILE, public_keys  # noqa: PLC0415

    if not directory.is_dir():
        raise InputError(f"there is no folder {directory}", "make keys: node keys new DIR")
    shown = {"directory": str(directory)}
    for file, digits in public_keys(directory).items():
        if file == PEER_FILE and digits:
            shown[_NAMES[file]] = base58(_ED25519_PEER + bytes.fromhex(digits))
        else:
            shown[_NAMES[file]] = "0x" + digits if digits else ""
    shown |= more or {}
    if json:
        print_json(shown)
        return
    for name, value in shown.items():
        say(f"{name:12} {value or 'not shown by its file'}")
