#!/bin/sh
# Resolves requirements*.in into requirements.lock: exact versions and hashes, no address of any package index.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
    --output-file requirements.lock "$@" requirements-dev.in
