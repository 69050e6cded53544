from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.proving.journal import Checkpoint, ProofJournal, Stage
from protocol.types import Hash

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = Hash(bytes(range(32)))
OTHER = Hash(bytes(32))
CHECKPOINT = Checkpoint(bytes(32), Stage.PROOF, (bytes(32), b"\x01" * 32), b"proof")


@pytest.fixture
def journal(tmp_path: Path) -> ProofJournal:
    return ProofJournal(tmp_path / "journal")


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "journal").rglob("*") if path.is_file()]


def test_inputs_and_checkpoints_survive_a_restart(tmp_path: Path, journal: ProofJournal) -> None:
    journal.hold_input(REQUEST, 3, b"private")
    journal.save(REQUEST, 3, CHECKPOINT)
    restarted = ProofJournal(tmp_path / "journal")
    assert restarted.input(REQUEST, 3) == b"private"
    assert restarted.load(REQUEST, 3) == CHECKPOINT
    assert restarted.held() == ((REQUEST, 3),)
    assert restarted.load(REQUEST, 4) is None is restarted.input(OTHER, 3)


def test_private_inputs_are_readable_by_the_owner_alone(
    tmp_path: Path, journal: ProofJournal
) -> None:
    journal.hold_input(REQUEST, 0, b"private")
    for path in (tmp_path / "journal").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_forget_deletes_every_byte_of_one_request(tmp_path: Path, journal: ProofJournal) -> None:
    for request in (REQUEST, OTHER):
        journal.hold_input(request, 0, b"private of " + request)
        journal.save(request, 0, CHECKPOINT)
    journal.forget(REQUEST)
    journal.forget(REQUEST)
    left = b"".join(path.read_bytes() for path in files(tmp_path))
    assert b"private of " + REQUEST not in left
    assert b"private of " + OTHER in left
    assert journal.held() == ((OTHER, 0),)


def test_work_that_ends_after_forget_brings_nothing_back(
    tmp_path: Path, journal: ProofJournal
) -> None:
    journal.hold_input(REQUEST, 0, b"private")
    journal.forget(REQUEST)
    journal.save(REQUEST, 0, CHECKPOINT)
    assert files(tmp_path) == []


def test_half_written_files_are_swept_at_the_start(tmp_path: Path, journal: ProofJournal) -> None:
    journal.hold_input(REQUEST, 0, b"private")
    (folder,) = (tmp_path / "journal").iterdir()
    (folder / ".abc.part").write_bytes(b"half of a private input")
    ProofJournal(tmp_path / "journal")
    assert [path.name for path in files(tmp_path)] == ["0.input"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_treated_as_absent(
    tmp_path: Path, journal: ProofJournal, data: st.DataObject
) -> None:
    journal.hold_input(REQUEST, 0, b"private")
    journal.save(REQUEST, 0, CHECKPOINT)
    path = data.draw(st.sampled_from(sorted(files(tmp_path))))
    raw = path.read_bytes()
    cut = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:cut] + bytes([raw[cut] ^ data.draw(st.integers(1, 255))]) + raw[cut + 1 :]
    path.write_bytes(data.draw(st.sampled_from((raw[:cut], flipped))))
    found = journal.input(REQUEST, 0), journal.load(REQUEST, 0)
    assert found in ((None, CHECKPOINT), (b"private", None))
