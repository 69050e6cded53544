from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def requirements() -> dict[str, str]:
    """Name -> its lines in requirements.lock."""
    text = (ROOT / "requirements.lock").read_text()
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return {block.split("==")[0].lower(): block for block in blocks if "==" in block}


def test_the_python_lock_names_no_place_to_fetch_from() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    # No --index-url, --find-links, --trusted-host: hashes are the only option.
    assert set(re.findall(r"(?<!\S)-[-a-zA-Z]+", text)) == {"--hash"}


def test_every_locked_package_has_an_exact_version_and_a_hash() -> None:
    blocks = requirements()
    assert len(blocks) > 100
    for name, block in blocks.items():
        assert re.match(r"[A-Za-z0-9._-]+==[0-9A-Za-z.+!]+ \\\n", block), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), name


def test_the_lock_holds_what_the_project_asks_for() -> None:
    blocks = requirements()
    for file in ("requirements.in", "requirements-dev.in"):
        for line in (ROOT / file).read_text().splitlines():
            if line and not line.startswith(("#", "-r")):
                name, version = re.sub(r"\[.*\]", "", line).split("==")
                locked = blocks[name.lower()].split(" ")[0].split("==")[1]
                assert locked == version, name


def test_the_npm_lock_names_no_place_to_fetch_from_and_has_hashes() -> None:
    lock = json.loads((ROOT / "contracts" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) >= 6
    for name, entry in packages.items():
        assert "resolved" not in entry, name
        assert entry["integrity"].startswith("sha512-"), name
