#!/bin/sh
# Sets the working copy up: system check, .venv from the lock, npm packages, EigenLayer artifacts, contract build.
#
# Every step leaves a stamp with the hash of what it was made from, so a second run does nothing. `--check` stops after
# the check of the system packages.
set -eu
export LC_ALL=C
umask 022
cd "$(dirname "$0")/.."
# Never let a half-active virtual environment leak in; our own Python is always called by path.
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH 2>/dev/null || true

EIGENSDK=eigensdk==0.1.0
EIGENSDK_SHA256=8f5e6a971c255fc652ec6ec3d1e427199c70ac0617a457d278bc660a71a1c23c
EIGENLAYER="AllocationManager AVSDirectory DelegationManager PermissionController RewardsCoordinator StrategyManager"
STAMPS=.artifacts/stamps
LOG=.artifacts/setup.log

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}
hash_of() { cat "$@" | sha256sum | cut -c1-64; }
is_done() { [ -f "$STAMPS/$1" ] && [ "$(cat "$STAMPS/$1")" = "$2" ]; }
set_done() { printf '%s\n' "$2" >"$STAMPS/$1.new" && mv "$STAMPS/$1.new" "$STAMPS/$1"; }

# run CAUSE MEND COMMAND...: quiet when it works; its last lines, the cause and the mend when it does not.
run() {
    cause=$1 mend=$2
    shift 2
    if ! "$@" >"$LOG" 2>&1; then
        tail -n 20 "$LOG" >&2
        fail "$cause; $mend (whole log: $LOG)"
    fi
}

# --- 1. system packages ------------------------------------------------------------------------------------------

real_python() { # is it Python 3.11+ with venv and headers, and no virtual environment's?
    "$1" - >/dev/null 2>&1 <<'PYTHON'
import ensurepip, os, sys, sysconfig, venv
ok = sys.version_info >= (3, 11) and sys.prefix == sys.base_prefix
sys.exit(0 if ok and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")) else 1)
PYTHON
}

find_python() {
    for name in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$name" ] || continue
        rest=$PATH:
        while [ -n "$rest" ]; do
            folder=${rest%%:*} rest=${rest#*:}
            case $name in /*) candidate=$name rest= ;; *) candidate=$folder/$name ;; esac
            [ -x "$candidate" ] || continue
            [ -e "$(dirname "$candidate")/../pyvenv.cfg" ] && continue
            real_python "$candidate" && { printf '%s\n' "$candidate"; return 0; }
        done
    done
    return 1
}

compiles() { # compiles HEADER: does the C compiler see it?
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" | "${CC:-cc}" -fsyntax-only -x c - >/dev/null 2>&1
}

check_system() {
    case "$(uname -s) $(uname -m)" in
        "Linux x86_64") ;;
        *) fail "this is $(uname -s) $(uname -m), but the compiled tools (anvil, forge) come for Linux x86-64 only; use such a machine, container or virtual machine" ;;
    esac
    missing='' packages='' afterwards=''
    lacks() { missing="${missing:+$missing, }$1" packages="${packages:+$packages }$2"; }
    PYTHON=$(find_python) || lacks "Python 3.11+ with venv and headers" "$(python_packages_of_system)"
    if ! command -v "${CC:-cc}" >/dev/null 2>&1; then
        lacks "gcc" "gcc libc6-dev"
        lacks "GMP headers" "libgmp-dev"
    elif ! compiles stdio.h; then
        lacks "C library headers" "libc6-dev"
    elif ! compiles gmp.h; then
        lacks "GMP headers" "libgmp-dev"
    fi
    if NODEJS=$(sh scripts/nodejs.sh); then
        NPM=$(find_npm) || lacks "npm" "npm"
    else
        candidate=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: *//p')
        case $candidate in
            *nodesource*) lacks "Node.js 20+ with npm" "nodejs" ;;
            # The system has an older one: its npm fetches a newer Node.js.
            [0-9].* | 1[0-9].*) lacks "Node.js 20+ with npm" "npm" && afterwards=" && sudo npm install -g node@20" ;;
            *) lacks "Node.js 20+ with npm" "nodejs npm" ;;
        esac
    fi
    [ -z "$missing" ] || fail "missing: $missing; install with: sudo apt-get install -y $packages$afterwards"
    export NODEJS
}

python_packages_of_system() { # a system whose python3 is too old may have 3.11 beside it
    if command -v python3 >/dev/null 2>&1 && ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "python3.11 python3.11-venv python3.11-dev"
    else
        echo "python3 python3-venv python3-dev"
    fi
}

find_npm() { # npm as a JavaScript file, because its own shebang would find the wrong `node` inside a venv
    prefix=$(dirname "$(dirname "$(readlink -f "$NODEJS")")")
    for file in "$prefix/lib/node_modules/npm/bin/npm-cli.js" "$prefix/share/nodejs/npm/bin/npm-cli.js" \
        "$(dirname "$NODEJS")/npm" "$(command -v npm)"; do
        file=$(readlink -f "$file") || continue
        case $file in *.js) [ -f "$file" ] && { printf '%s\n' "$file"; return 0; } ;; esac
    done
    return 1
}

# --- 2. Python ---------------------------------------------------------------------------------------------------

python_packages() {
    key=$({ cat requirements.lock; pwd; } | hash_of -) # a moved working copy breaks its .venv
    if ! is_done python "$key" || [ ! -x .venv/bin/python ]; then
        say "Python: virtual environment in .venv and locked packages (1-3 minutes the first time)"
        rm -f "$STAMPS/project"
        if ! real_venv; then
            rm -rf .venv
            run "no virtual environment could be made with $PYTHON" "look at its venv module" "$PYTHON" -m venv .venv
        fi
        run "the locked Python packages could not be installed" "look at the network and the pip settings, then run it again" \
            .venv/bin/python -m pip install --require-hashes --no-deps --disable-pip-version-check -r requirements.lock
        set_done python "$key"
    fi
    # An editable install lists the top-level packages that were there.
    key=$({ cat pyproject.toml requirements.lock; ls -d protocol chain node devnet 2>/dev/null; } | hash_of -)
    if ! is_done project "$key"; then
        say "Python: this project, editable"
        run "the project could not be installed" "look at pyproject.toml" \
            .venv/bin/python -m pip install --no-deps --no-build-isolation --disable-pip-version-check -e .
        set_done project "$key"
    fi
}

real_venv() { [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1; }

# --- 3. npm ------------------------------------------------------------------------------------------------------

npm_packages() {
    key=$(hash_of contracts/package.json contracts/package-lock.json)
    if ! is_done npm "$key" || [ ! -d contracts/node_modules ]; then
        say "npm: Foundry, Solidity compiler, OpenZeppelin, circomlib"
        run "the locked npm packages could not be installed" "look at the network and the npm settings, then run it again" \
            "$NODEJS" "$NPM" --prefix contracts ci --no-progress
        set_done npm "$key"
    fi
}

# --- 4. EigenLayer -----------------------------------------------------------------------------------------------

eigenlayer_artifacts() {
    for name in $EIGENLAYER; do
        [ -f ".artifacts/eigenlayer/$name.json" ] || rm -f "$STAMPS/eigenlayer"
    done
    if ! is_done eigenlayer "$EIGENSDK_SHA256"; then
        say "EigenLayer: core v1.4.0 artifacts"
        rm -rf .artifacts/wheel .artifacts/eigenlayer
        mkdir -p .artifacts/wheel
        # Never installed: the package would drop foreign top-level modules into the environment.
        run "$EIGENSDK could not be downloaded" "look at the network and the pip settings, then run it again" \
            .venv/bin/python -m pip download --no-deps --only-binary :all: --disable-pip-version-check \
            -d .artifacts/wheel "$EIGENSDK"
        wheel=$(echo .artifacts/wheel/*.whl)
        found=$(sha256sum "$wheel" | cut -c1-64)
        [ "$found" = "$EIGENSDK_SHA256" ] ||
            fail "$wheel has sha256 $found instead of $EIGENSDK_SHA256; do not use it, and look where pip gets it from"
        run "the EigenLayer artifacts could not be unpacked" "remove .artifacts and run it again" \
            .venv/bin/python scripts/unpack_eigenlayer.py "$wheel" .artifacts/eigenlayer $EIGENLAYER
        rm -rf .artifacts/wheel
        set_done eigenlayer "$EIGENSDK_SHA256"
    fi
}

# --- 5. contracts ------------------------------------------------------------------------------------------------

build_contracts() {
    key=$({
        find contracts/src contracts/test contracts/script -name '*.sol' 2>/dev/null | sort | xargs -r sha256sum
        sha256sum contracts/foundry.toml contracts/package-lock.json contracts/bin/solc contracts/bin/solc.js
    } | sha256sum | cut -c1-64)
    if ! is_done contracts "$key" || [ ! -d contracts/out ]; then
        say "contracts: forge build"
        mkdir -p contracts/src contracts/out
        # forge looks for its compiler from the folder it is started in.
        run "the contracts do not build" "mend the first error above" \
            sh -c "cd contracts && node_modules/@foundry-rs/forge-linux-amd64/bin/forge build"
        set_done contracts "$key"
    fi
}

check_system
[ "${1:-}" = --check ] && exit 0
mkdir -p "$STAMPS"
# Two set-ups at once (a demo and a test run) would build the same folders: the second waits for the first.
exec 9>.artifacts/setup.lock
flock -n 9 || { say "waiting for another set-up of this working copy"; flock 9; }
python_packages
npm_packages
eigenlayer_artifacts
build_contracts
