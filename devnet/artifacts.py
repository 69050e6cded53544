"""Contract artifacts: creation bytecode, and calls encoded by their ABI."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain.abi import decode_all, encode_all
from devnet.errors import DevnetError
from protocol.hashing import keccak

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
EIGENLAYER = ROOT / ".artifacts" / "eigenlayer"
BUILT = ROOT / "contracts" / "out"
OPENZEPPELIN = ROOT / "contracts" / "node_modules" / "@openzeppelin" / "contracts" / "build"


@dataclass(frozen=True, slots=True)
class Function:
    """One function of an ABI; types in canonical form."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def selector(self) -> bytes:
        """The first four bytes of the hash of the signature."""
        return bytes(keccak(f"{self.name}({','.join(self.inputs)})".encode())[:4])


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract."""

    name: str
    bytecode: bytes
    constructor: tuple[str, ...]
    functions: Mapping[str, Function]

    def creation(self, *args: object) -> bytes:
        """The data of the transaction that creates the contract."""
        return self.bytecode + encode_all(self.constructor, args)

    def call(self, function: str, *args: object) -> bytes:
        """The data of a call; `function` is a name, or a signature where the name is overloaded."""
        found = self.functions[function]
        return found.selector + encode_all(found.inputs, args)

    def result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """What a call returned, addresses as 20 bytes; raises BadResponseError for other data."""
        return decode_all(self.functions[function].outputs, data, f"{self.name}.{function}")


def eigenlayer(name: str) -> Artifact:
    """A contract of the EigenLayer core."""
    return _load(EIGENLAYER / f"{name}.json", name)


def built(name: str) -> Artifact:
    """A contract of ours, as forge built it."""
    return _load(BUILT / f"{name}.sol" / f"{name}.json", name)


def openzeppelin(name: str) -> Artifact:
    """A contract of OpenZeppelin, as its package ships it."""
    return _load(OPENZEPPELIN / "contracts" / f"{name}.json", name)


def _load(path: Path, name: str) -> Artifact:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise DevnetError(
            f"the artifact of {name} can not be read ({exc}); run: make setup"
        ) from exc
    code = content["bytecode"]
    code = code["object"] if isinstance(code, dict) else code
    if "__$" in code:
        raise DevnetError(
            f"{name} needs libraries linked in, which the devnet does not do; inline them"
        )
    return Artifact(
        name=name,
        bytecode=bytes.fromhex(code.removeprefix("0x")),
        constructor=_constructor(content["abi"]),
        functions=_functions(content["abi"]),
    )


def _constructor(abi: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    for entry in abi:
        if entry["type"] == "constructor":
            return _types(entry["inputs"])
    return ()


def _functions(abi: Sequence[Mapping[str, Any]]) -> dict[str, Function]:
    functions: dict[str, Function] = {}
    for entry in abi:
        if entry["type"] != "function":
            continue
        function = Function(entry["name"], _types(entry["inputs"]), _types(entry["outputs"]))
        functions.setdefault(function.name, function)
        functions[f"{function.name}({','.join(function.inputs)})"] = function
    return functions


def _types(parameters: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(_canonical(parameter) for parameter in parameters)


def _canonical(parameter: Mapping[str, Any]) -> str:
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_types(parameter['components']))})" + kind.removeprefix("tuple")
