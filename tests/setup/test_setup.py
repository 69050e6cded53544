from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENV_BIN = Path(sys.prefix) / "bin"
FORGE = ROOT / "contracts/node_modules/@foundry-rs/forge-linux-amd64/bin/forge"
TOOLS = ("sh", "cat", "cut", "dirname", "env", "readlink", "sed", "sha256sum", "uname")


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A folder to be the whole PATH of a machine that has everything; tests take things away."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (folder / tool).symlink_to(found)
    (folder / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    executable(folder / "cc", "#!/bin/sh\nexit 0\n")
    executable(folder / "node", "#!/bin/sh\necho v20.1.0\n")
    (tmp_path / "lib/node_modules/npm/bin").mkdir(parents=True)
    (tmp_path / "lib/node_modules/npm/bin/npm-cli.js").touch()
    return folder


def check(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "scripts/setup.sh", "--check"],
        cwd=ROOT,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_whole_system_passes_in_silence(system: Path) -> None:
    result = check(str(system))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("gone", "missing", "packages"),
    [
        (["python3"], "Python 3.11+ with venv and headers", "python3 python3-venv python3-dev"),
        (["cc"], "gcc, GMP headers", "gcc libc6-dev libgmp-dev"),
        (["node"], "Node.js 20+ with npm", "nodejs npm"),
        (
            ["python3", "cc", "node"],
            "Python 3.11+ with venv and headers, gcc, GMP headers, Node.js 20+ with npm",
            "python3 python3-venv python3-dev gcc libc6-dev libgmp-dev nodejs npm",
        ),
    ],
)
def test_what_is_missing_is_one_line_with_the_command(
    system: Path, gone: list[str], missing: str, packages: str
) -> None:
    for name in gone:
        (system / name).unlink()
    result = check(str(system))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"setup: missing: {missing}; install with: sudo apt-get install -y {packages}\n"
    )


def test_missing_gmp_headers_are_told(system: Path) -> None:
    executable(
        system / "cc",
        "#!/bin/sh\nwhile read -r line; do case $line in *gmp*) exit 1;; esac; done\n",
    )
    assert (
        "missing: GMP headers; install with: sudo apt-get install -y libgmp-dev"
        in check(str(system)).stderr
    )


def test_missing_npm_is_told(system: Path) -> None:
    shutil.rmtree(system.parent / "lib")
    assert "missing: npm; install with: sudo apt-get install -y npm" in check(str(system)).stderr


@pytest.mark.parametrize("version", ["v18.20.4", "provernet 0.1.0", ""])
def test_an_old_or_foreign_node_is_not_node_js(system: Path, version: str) -> None:
    executable(system / "node", f"#!/bin/sh\necho {version}\n")
    assert "missing: Node.js 20+ with npm" in check(str(system)).stderr


def test_an_old_python_is_told_with_the_newer_packages(system: Path) -> None:
    (system / "python3").unlink()
    executable(system / "python3", "#!/bin/sh\nexit 1\n")
    assert "python3.11 python3.11-venv python3.11-dev" in check(str(system)).stderr


def test_a_system_whose_own_node_js_is_too_old_gets_a_newer_one(system: Path) -> None:
    (system / "node").unlink()
    executable(system / "apt-cache", "#!/bin/sh\necho '  Candidate: 18.20.4+dfsg-1'\n")
    line = check(str(system)).stderr
    assert line.endswith("sudo apt-get install -y npm && sudo npm install -g node@20\n")


def test_the_python_and_node_of_a_virtual_environment_do_not_count(system: Path) -> None:
    """Our own `node` lies in .venv/bin: it must never be taken for Node.js."""
    venv = system.parent / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    executable(venv / "bin" / "node", "#!/bin/sh\necho v99.0.0\n")
    found = subprocess.run(
        ["/bin/sh", "scripts/nodejs.sh"],
        cwd=ROOT,
        env={"PATH": f"{venv}/bin:{system}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"{system}/node\n"


def test_the_contracts_build_with_the_virtual_environment_first_on_path(tmp_path: Path) -> None:
    """The compiler is a Node.js program, and `node` is ours there."""
    assert (VENV_BIN / "node").exists(), "the console script that shadows Node.js is not installed"
    # forge asks for the compiler by the folder it is started in.
    subprocess.run(
        [
            *(FORGE, "build", "--force", "src/devnet"),
            *("--out", tmp_path / "out", "--cache-path", tmp_path / "cache"),
        ],
        cwd=ROOT / "contracts",
        env={**os.environ, "PATH": f"{VENV_BIN}:{os.environ['PATH']}"},
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "out/NoPods.sol/NoPods.json").exists()


def test_a_finished_set_up_has_nothing_to_do_with_the_virtual_environment_first() -> None:
    result = subprocess.run(
        ["/bin/sh", "scripts/setup.sh", "--check"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{VENV_BIN}:{os.environ['PATH']}", "VIRTUAL_ENV": sys.prefix},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
