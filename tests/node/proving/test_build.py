from __future__ import annotations

import hashlib
import re
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from node.proving import build
from node.proving.artifacts import LOCK, MANIFEST, BuiltProgram, load_program, load_programs
from node.proving.build import build_program, main
from node.proving.errors import BackendError, BackendFault
from protocol.programs import COMBINE, SEGMENT, program_id
from tests.node.proving.conftest import CIRCOMLIB, SOURCE

if TYPE_CHECKING:
    from pathlib import Path


def fault_of(folder: Path) -> BackendFault:
    with pytest.raises(BackendError) as caught:
        load_program(folder)
    return caught.value.fault


@pytest.fixture
def copied(built: BuiltProgram, tmp_path: Path) -> Path:
    return shutil.copytree(built.folder, tmp_path / built.folder.name)


def test_the_shipped_program(built: BuiltProgram) -> None:
    manifest = built.manifest
    assert (manifest.name, manifest.accounts_per_segment, manifest.max_segments) == (
        "solvency",
        16,
        16,
    )
    assert built.program_id == program_id(manifest)
    assert (manifest.segment.public_values, manifest.combine.public_values) == (6, 21)
    assert 5_000 < manifest.combine.constraints < 2**14 > manifest.segment.constraints > 5_000
    assert "contract SegmentVerifier" in built.solidity_verifier_path("segment").read_text()
    assert "contract CombineVerifier" in built.solidity_verifier_path("combine").read_text()


def test_a_second_build_compiles_nothing(
    built: BuiltProgram, copied: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in copied.iterdir()}
    again = build_program(SOURCE, copied.parent, [CIRCOMLIB])
    assert again.folder == copied
    assert again.program_id == built.program_id
    assert {path.name: path.stat().st_mtime_ns for path in copied.iterdir()} == before
    assert capfd.readouterr() == ("", "")


def test_command_prints_folder_and_id(
    built: BuiltProgram, copied: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main([str(SOURCE), str(copied.parent), str(CIRCOMLIB)])
    assert capfd.readouterr().out == f"{copied}\n{built.program_id.hex()}\n"


@pytest.mark.parametrize("name", [MANIFEST, "segment.vk", "combine.pk"])
def test_a_changed_file_is_noticed(copied: Path, name: str) -> None:
    raw = (copied / name).read_bytes()
    (copied / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    if name == MANIFEST:
        assert fault_of(copied) is BackendFault.ARTIFACT_CORRUPT
        return
    program = load_program(copied)
    with pytest.raises(BackendError) as caught:
        program.read_checked(name)
    assert caught.value.fault is BackendFault.ARTIFACT_CORRUPT


def test_a_missing_lock_or_file_is_noticed(copied: Path) -> None:
    (copied / "segment.vk").unlink()
    with pytest.raises(BackendError):
        load_program(copied).verifying_key("segment")
    (copied / LOCK).unlink()
    assert fault_of(copied) is BackendFault.ARTIFACT_CORRUPT


def test_a_manifest_can_not_claim_another_program_id(copied: Path) -> None:
    raw = (copied / MANIFEST).read_bytes().replace(b'"version": 1', b'"version": 2')
    (copied / MANIFEST).write_bytes(raw)
    hashes = msgspec.json.decode((copied / LOCK).read_bytes())
    hashes[MANIFEST] = hashlib.sha256(raw).hexdigest()
    (copied / LOCK).write_bytes(msgspec.json.encode(hashes))
    assert fault_of(copied) is BackendFault.ARTIFACT_CORRUPT


def test_half_built_folders_are_no_programs(copied: Path) -> None:
    shutil.copytree(copied, copied.parent / f".{copied.name}-x")
    (copied.parent / "unrelated").mkdir()
    assert [program.folder for program in load_programs(copied.parent).values()] == [copied]


def test_of_two_builds_at_once_the_first_to_finish_wins(
    built: BuiltProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_after_the_other(folder: Path, _folders: object) -> None:
        shutil.copytree(built.folder, tmp_path / built.folder.name)
        (folder / "loser").touch()

    monkeypatch.setattr(build, "_build_into", build_after_the_other)
    assert build_program(SOURCE, tmp_path, [CIRCOMLIB]).program_id == built.program_id
    assert [path.name for path in tmp_path.iterdir()] == [built.folder.name]


@pytest.mark.parametrize("circuit", [SEGMENT, COMBINE])
def test_the_solidity_verifier_holds_the_same_key(built: BuiltProgram, circuit: str) -> None:
    raw = built.verifying_key(circuit)
    words = [int.from_bytes(raw[i : i + 32], "big") for i in range(0, len(raw), 32)]
    source = built.solidity_verifier_path(circuit).read_text()
    body = source[source.index("function verifyingKey") : source.index("function verifyProof")]
    assert [int(number) for number in re.findall(r"uint256\((\d{20,})\)", body)] == words


def test_a_circuit_that_does_not_compile_is_named_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for name in ("segment", "combine"):
        (source / f"{name}.circom").write_text("pragma circom 2.1.6;\ntemplate {")
    with pytest.raises(BackendError) as caught:
        build_program(source, out)
    assert caught.value.fault is BackendFault.COMPILE_FAILED
    assert "segment" in caught.value.detail
    assert list(out.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_missing_include_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError) as caught:
        build_program(SOURCE, tmp_path)
    assert caught.value.fault is BackendFault.COMPILE_FAILED
    assert "circom" in caught.value.detail
