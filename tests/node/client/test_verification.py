from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.client.bundle import verify_bundle
from node.client.table_hash import table_hash
from node.client.verification import STEPS
from node.errors import InputError
from node.proving.artifacts import encode_manifest_json
from protocol.batch import Batch
from protocol.documents import certificate_json
from protocol.eip712 import batch_digest
from tests.node.client.proven import DOMAIN, FEE, certify, table

TRUSTED = "0x" + table_hash(table().operators).hex()


def failed(report):
    return [step.name for step in report.steps if not step.ok]


def test_an_honest_bundle_verifies(bundle):
    report = verify_bundle(bundle, TRUSTED)
    assert failed(report) == []
    assert report.ok
    assert tuple(step.name for step in report.steps) == STEPS
    details = {step.name: step.detail for step in report.steps}
    assert "total 190000000000000020 of 20 accounts" in details["claim"]
    assert f"settled for {FEE} wei" in details["result"]
    assert "3 of 4 operators" in details["certificate"]


def test_without_a_trusted_table_it_says_what_is_left_to_trust(bundle):
    report = verify_bundle(bundle)
    last = report.steps[-1]
    assert report.ok
    assert (report.table_hash, report.table_compared) == (TRUSTED, False)
    for part in ("NOT compared", TRUSTED, "tableHashOf(3)", "0x" + "05" * 20, "chain 31337"):
        assert part in last.detail


def test_the_report_is_json(bundle):
    shown = json.loads(json.dumps(verify_bundle(bundle, TRUSTED).as_json()))
    assert shown["ok"] is True
    assert [step["name"] for step in shown["steps"]] == list(STEPS)


@pytest.mark.parametrize("text", ["0x12", "nonsense", "0x" + "0g" * 32])
def test_a_trusted_hash_is_32_bytes(bundle, text):
    with pytest.raises(InputError):
        verify_bundle(bundle, text)


def flip_hex(text):
    """Another text of the same form: the last digit changed."""
    return text[:-1] + ("1" if text[-1] != "1" else "2")


def changed(value):
    if isinstance(value, bool) or value is None:
        raise AssertionError("no such value is in a bundle")
    if isinstance(value, int):
        return value + 1
    if value.startswith("0x"):
        return flip_hex(value)
    if value.isdecimal():
        return str(int(value) + 1)
    return flip_hex(value)


def leaves(value, path=()):
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for key, item in enumerate(value) for leaf in leaves(item, (*path, key))]
    return [path]


def tampered(bundle, path):
    copied = copy.deepcopy(bundle)
    at = copied
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = changed(at[path[-1]])
    return copied


CULPRITS = {
    ("request_id",): {"request"},
    ("request",): {"request"},
    ("bid",): {"request"},
    ("chain_id",): {"request"},
    ("registry",): {"request"},
    ("manifest",): {"program", "verifying keys"},
    ("verifying_keys",): {"verifying keys"},
    ("proofs", "prover"): {"claim"},
    ("proofs",): {"proofs"},
    ("result", "status"): {"result"},
    ("result", "issued_at"): {"result"},
    ("result", "claim"): {"claim"},
    ("result", "fee"): {"inclusion"},
    ("batch", "epoch"): {"batch"},
    ("batch", "root"): {"inclusion"},
    ("batch",): {"batch"},
    ("inclusion",): {"inclusion"},
    ("certificate", "non_signers"): {"certificate"},
    ("certificate", "signature"): {"certificate"},
    ("certificate",): {"batch"},
    ("operator_table", "epoch"): {"certificate"},
    ("operator_table", "operators"): {"certificate", "operator table"},
}
"""The first step that fails when a field is changed; the longest path that fits counts."""


def culprits(path):
    named = tuple(key for key in path if isinstance(key, str))
    for length in (2, 1):
        if named[:length] in CULPRITS:
            return CULPRITS[named[:length]]
    raise AssertionError(f"nobody says who notices {path}")


def test_every_changed_field_is_noticed_by_the_right_step(bundle):
    refused = []
    for path in leaves(bundle):
        if path == ("operator_table", "seed"):
            continue  # draws gateways; not kept, nothing rests on it
        try:
            report = verify_bundle(tampered(bundle, path), TRUSTED)
        except InputError:
            refused.append(path)
            continue
        assert not report.ok, path
        assert failed(report)[0] in culprits(path), (path, failed(report))
    # No honest node could have made these: refused before the first step.
    assert sorted(refused) == [
        ("manifest", "combine", "name"),
        ("manifest", "segment", "name"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        ("proofs", 0, "proof"),
        ("proofs", 2, "publics", 3),
        ("manifest", "name"),
        ("manifest", "program_id"),
        ("verifying_keys", "segment"),
        ("certificate", "non_signers", 0),
        ("operator_table", "operators", 1, "weight"),
        ("operator_table", "operators", 1, "peer_id"),
        ("operator_table", "operators", 1, "sealing_key"),
        ("batch", "paid"),
    ],
)
def test_a_step_names_what_was_changed(bundle, path):
    report = verify_bundle(tampered(bundle, path), TRUSTED)
    assert failed(report)[0] in culprits(path)


FROZEN = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)


@FROZEN
@given(data=st.data())
def test_no_flipped_bit_of_a_signed_or_proven_byte_survives(bundle, data):
    path = data.draw(
        st.sampled_from(
            [
                ("request",),
                ("bid", "sealed"),
                ("bid", "salt"),
                ("result", "claim"),
                ("certificate", "signature"),
                ("verifying_keys", "combine"),
                *[("proofs", place, "proof") for place in range(3)],
                *[("proofs", 1, "publics", place) for place in range(6)],
            ]
        )
    )
    copied = copy.deepcopy(bundle)
    at = copied
    for key in path[:-1]:
        at = at[key]
    raw = bytearray.fromhex(at[path[-1]][2:])
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    at[path[-1]] = "0x" + raw.hex()
    try:
        assert not verify_bundle(copied, TRUSTED).ok
    except InputError:
        assert path in {("request",), ("bid", "sealed")}


@FROZEN
@given(data=st.data())
def test_anything_else_than_a_bundle_is_an_input_error(bundle, data):
    path = data.draw(st.sampled_from(leaves(bundle)))
    junk = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.lists(st.none())
    copied = copy.deepcopy(bundle)
    at = copied
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = data.draw(junk)
    try:
        report = verify_bundle(copied, TRUSTED)
    except InputError:
        return
    assert not report.ok or copied == bundle or path == ("operator_table", "seed")


def test_missing_proofs_are_noticed(bundle):
    for change in (lambda p: p[:-1], lambda p: p[::-1], lambda p: [*p, p[-1]]):
        copied = {**bundle, "proofs": change(bundle["proofs"])}
        assert failed(verify_bundle(copied))[0] == "proofs"


def test_a_proof_of_another_program_does_not_pass(bundle, built):
    """A manifest with other keys has another id, whatever it says of itself."""
    manifest = {**bundle["manifest"], "version": 2}
    assert failed(verify_bundle({**bundle, "manifest": manifest}))[0] == "program"
    assert json.loads(encode_manifest_json(built.manifest)) == bundle["manifest"]


def test_a_certificate_without_quorum_does_not_pass(bundle):
    """The two heaviest of four hold 750 of 1,250: not more than two thirds."""
    header = bundle["batch"]
    batch = Batch(
        header["epoch"],
        header["round"],
        bytes.fromhex(header["value"][2:]),
        header["sequence"],
        bytes.fromhex(header["parent"][2:]),
        bytes.fromhex(header["root"][2:]),
        int(header["paid"]),
        bytes.fromhex(header["debits_hash"][2:]),
    )
    weak = certify(batch_digest(DOMAIN, batch), batch.value, absent=(1, 2))
    report = verify_bundle({**bundle, "certificate": certificate_json(weak)}, TRUSTED)
    assert failed(report) == ["certificate"]
    assert "no quorum: weight 750 of 1250" in report.steps[8].detail


def test_a_table_of_invented_operators_is_caught_by_the_trusted_hash_alone(bundle):
    rows = copy.deepcopy(bundle["operator_table"])
    rows["operators"][0]["session"] = "0x" + "99" * 20
    assert verify_bundle({**bundle, "operator_table": rows}).ok
    assert failed(verify_bundle({**bundle, "operator_table": rows}, TRUSTED)) == ["operator table"]


def test_a_table_whose_peer_changed_can_not_be_compared(bundle):
    rows = copy.deepcopy(bundle["operator_table"])
    rows["operators"][0]["peer_id"] = ""
    copied = {**bundle, "operator_table": rows}
    assert "it has no hash" in verify_bundle(copied).steps[-1].detail
    assert failed(verify_bundle(copied, TRUSTED)) == ["operator table"]
