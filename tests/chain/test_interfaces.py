"""The signatures that nodes carry are those of the compiled contracts."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from chain import interfaces
from chain.abi import Event, Function
from devnet.artifacts import BUILT, EIGENLAYER

OURS = ("ProverRegistry", "ProofMarket", "SolvencyGate", "DemoStablecoin", "Groth16Verifier")
CORE = ("AllocationManager", "DelegationManager", "StrategyManager")


def canonical(parameter: dict[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(canonical(part) for part in parameter["components"])
    return f"({inner})" + kind.removeprefix("tuple")


@cache
def compiled() -> dict[str, dict[str, set[str]]]:
    """Kind of entry -> its signature -> what it returns, over all contracts that a node meets."""
    paths = [BUILT / f"{name}.sol" / f"{name}.json" for name in (*OURS, "TestToken")]
    paths += [EIGENLAYER / f"{name}.json" for name in CORE]
    found: dict[str, dict[str, set[str]]] = {"function": {}, "event": {}, "error": {}}
    for path in paths:
        for entry in json.loads(path.read_text())["abi"]:
            if entry["type"] not in found:
                continue
            inputs = [
                canonical(part) + (" indexed" if part.get("indexed") else "")
                for part in entry["inputs"]
            ]
            outputs = ",".join(canonical(part) for part in entry.get("outputs", []))
            signature = f"{entry['name']}({','.join(inputs)})"
            found[entry["type"]].setdefault(signature, set()).add(outputs)
    return found


def named(kind: type) -> list[Any]:
    return [value for value in vars(interfaces).values() if isinstance(value, kind)]


@pytest.mark.parametrize("function", named(Function), ids=lambda f: f.signature)
def test_a_function_is_as_compiled(function: Function) -> None:
    returned = compiled()["function"].get(function.signature)
    assert returned is not None, "no contract has this function"
    # Where we ignore what is returned, none is declared.
    assert not function.outputs or ",".join(function.outputs) in returned


@pytest.mark.parametrize("event", named(Event), ids=lambda e: e.signature)
def test_an_event_is_as_compiled(event: Event) -> None:
    assert event.signature in compiled()["event"]


def test_every_error_exists() -> None:
    known = {f"{error.name}({','.join(error.inputs)})" for error in interfaces.ERRORS}
    assert known <= compiled()["error"].keys()


def test_every_error_of_ours_can_be_named() -> None:
    known = {error.name for error in interfaces.ERRORS}
    for name in OURS:
        for entry in json.loads((BUILT / f"{name}.sol" / f"{name}.json").read_text())["abi"]:
            # The stablecoin's inherited refusals of zero addresses have no use here.
            if entry["type"] == "error" and not entry["name"].startswith("ERC20Invalid"):
                assert entry["name"] in known
