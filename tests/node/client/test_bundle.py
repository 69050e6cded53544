from __future__ import annotations

import copy
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.client.bundle import load_bundle, save_bundle, verify_bundle
from node.client.table_hash import table_hash
from node.errors import InputError, NodeUnreachableError
from tests.node.client.proven import table
from tests.node.client.test_verification import changed, failed, leaves

TRUSTED = "0x" + table_hash(table().operators).hex()
FILES = [
    "request.json",
    "manifest.json",
    "verifying_keys.json",
    "result.json",
    "batch.json",
    "inclusion.json",
    "certificate.json",
    "operator_table.json",
    "proofs/000.json",
    "proofs/001.json",
    "proofs/002.json",
]


@pytest.fixture
def saved(bundle, tmp_path):
    save_bundle(bundle, tmp_path / "proof")
    return tmp_path / "proof"


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_saved_bundle_is_readable_files_that_verify(bundle, tmp_path):
    folder = tmp_path / "deep" / "proof"
    assert save_bundle(bundle, folder) == FILES
    assert names(folder) == sorted(FILES)
    assert names(tmp_path) == [f"deep/proof/{name}" for name in sorted(FILES)]
    loaded = load_bundle(folder)
    assert verify_bundle(loaded, TRUSTED).ok
    del bundle["operator_table"]["seed"]
    assert loaded == bundle


def test_the_request_is_told_in_words_not_in_its_frame(saved, bundle):
    request = json.loads((saved / "request.json").read_text())
    assert request["request"]["program_id"] == "0x" + bundle["manifest"]["program_id"]
    assert request["bid"]["max_fee"] == str(5 * 10**15)
    assert len(request["request"]["input_hashes"]) == len(bundle["proofs"])


def test_saving_again_replaces_the_earlier_save(saved, bundle):
    (saved / "result.json").write_text("{}")
    save_bundle(bundle, saved)
    assert verify_bundle(load_bundle(saved), TRUSTED).ok
    assert names(saved.parent) == [f"proof/{name}" for name in sorted(FILES)]


def test_an_empty_folder_is_used(bundle, tmp_path):
    (tmp_path / "proof").mkdir()
    save_bundle(bundle, tmp_path / "proof")
    assert names(tmp_path / "proof") == sorted(FILES)


@pytest.mark.parametrize("foreign", ["notes.txt", "proofs/letter.txt", "request.json"])
def test_a_foreign_folder_is_left_alone(bundle, tmp_path, foreign):
    path = tmp_path / "proof" / foreign
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError):
        save_bundle(bundle, tmp_path / "proof")
    assert names(tmp_path) == [f"proof/{foreign}"]
    assert path.read_text() == "mine"


def test_the_save_of_another_request_is_left_alone(saved, bundle):
    other = {**bundle, "request_id": "0x" + "11" * 32}
    with pytest.raises(InputError):
        save_bundle(other, saved)
    assert verify_bundle(load_bundle(saved), TRUSTED).ok


def test_a_file_in_the_way_is_left_alone(bundle, tmp_path):
    (tmp_path / "proof").write_text("mine")
    with pytest.raises(InputError):
        save_bundle(bundle, tmp_path / "proof")
    with pytest.raises(InputError):
        save_bundle(bundle, tmp_path / "proof" / "inside")
    assert (tmp_path / "proof").read_text() == "mine"


HOSTILE = {
    "no object": lambda b: [b],
    "nothing": lambda b: {},
    "a path for an id": lambda b: {**b, "request_id": "../../etc/passwd"},
    "a line feed": lambda b: {**b, "request_id": b["request_id"] + "\n"},
    "capitals": lambda b: {**b, "registry": b["registry"].replace("05", "AB")},
    "a huge proof": lambda b: {**b, "proofs": [{**b["proofs"][0], "proof": "0x" + "00" * 70_000}]},
    "many proofs": lambda b: {**b, "proofs": b["proofs"] * 200},
    "no proofs": lambda b: {**b, "proofs": []},
    "a huge chain id": lambda b: {**b, "chain_id": 2**80},
    "a float": lambda b: {**b, "inclusion": {**b["inclusion"], "index": 1.0}},
    "a flag": lambda b: {**b, "inclusion": {**b["inclusion"], "index": True}},
    "a negative number": lambda b: {**b, "batch": {**b["batch"], "round": -1}},
    "a huge number": lambda b: {**b, "batch": {**b["batch"], "round": 2**64}},
    "an unknown status": lambda b: {**b, "result": {**b["result"], "status": 9}},
    "a huge fee": lambda b: {**b, "result": {**b["result"], "fee": str(2**96)}},
    "a leading zero": lambda b: {**b, "result": {**b["result"], "fee": "01"}},
    "a huge manifest": lambda b: {**b, "manifest": {**b["manifest"], "version": 2**70}},
    "another manifest": lambda b: {**b, "manifest": {**b["manifest"], "more": 1}},
    "no request": lambda b: {**b, "request": "0x95"},
    "no operators": lambda b: {**b, "operator_table": {"epoch": 1, "operators": []}},
    "one operator twice": lambda b: {
        **b,
        "operator_table": {"epoch": 3, "operators": b["operator_table"]["operators"][:1] * 2},
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_of_a_hostile_node_is_written(bundle, tmp_path, name):
    with pytest.raises(NodeUnreachableError):
        save_bundle(HOSTILE[name](bundle), tmp_path / "proof")
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_checked_is_not_saved(bundle, tmp_path):
    save_bundle({**bundle, "advice": "run this"}, tmp_path / "proof")
    assert "advice" not in "".join(path.read_text() for path in (tmp_path / "proof").glob("*.json"))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_named(saved, name):
    path = saved / name
    text = path.read_text()
    for damage in (text[:-3], "", "[" * 100_000, "\udc80".encode(errors="surrogateescape")):
        path.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
        with pytest.raises(InputError, match=path.name):
            load_bundle(saved)
    with path.open("w") as file:
        file.truncate(5 << 20)
    with pytest.raises(InputError, match="too large"):
        load_bundle(saved)
    path.unlink()
    if name == "proofs/002.json":
        assert failed(verify_bundle(load_bundle(saved)))[0] == "proofs"
    else:
        with pytest.raises(InputError, match=r"proofs|" + path.name):
            load_bundle(saved)


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        load_bundle(tmp_path / "proof")


def test_a_further_proof_is_noticed(saved):
    shutil.copy(saved / "proofs" / "000.json", saved / "proofs" / "003.json")
    assert failed(verify_bundle(load_bundle(saved)))[0] == "proofs"


STEP_OF_FILE = {
    "request.json": {"request"},
    "manifest.json": {"program", "verifying keys"},
    "verifying_keys.json": {"verifying keys"},
    "result.json": {"result", "claim", "inclusion"},
    "batch.json": {"batch", "inclusion"},
    "inclusion.json": {"inclusion"},
    "certificate.json": {"certificate", "batch"},
    "operator_table.json": {"certificate", "operator table"},
    "proofs/000.json": {"proofs", "claim"},
    "proofs/001.json": {"proofs", "claim"},
    "proofs/002.json": {"proofs", "claim"},
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_file_can_be_changed_unnoticed(saved, data):
    name = data.draw(st.sampled_from(FILES))
    path = saved / name
    honest = path.read_text()
    document = json.loads(honest)
    place = data.draw(st.sampled_from(leaves(document)))
    copied = copy.deepcopy(document)
    at = copied
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = changed(at[place[-1]])
    path.write_text(json.dumps(copied))
    try:
        report = verify_bundle(load_bundle(saved), TRUSTED)
    except InputError:
        # Of a form that is never saved, as a circuit of another name.
        assert name in {"manifest.json", "request.json"}
        return
    finally:
        path.write_text(honest)
    assert failed(report)[0] in STEP_OF_FILE[name]
