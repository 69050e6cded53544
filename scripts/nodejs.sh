#!/bin/sh
# Prints the absolute path of Node.js 20+, or fails silently.
#
# Inside .venv the console script `node` is this project's own program, so Node.js is looked for by path: $NODEJS,
# then every folder of PATH that is no virtual environment.
set -u

accept() {
    case $1 in /*) ;; *) return 1 ;; esac
    [ -x "$1" ] || return 1
    [ -e "$(dirname "$1")/../pyvenv.cfg" ] && return 1
    case $("$1" --version 2>/dev/null) in
        v[2-9][0-9].* | v[1-9][0-9][0-9].*) printf '%s\n' "$1" ;;
        *) return 1 ;;
    esac
}

if [ -n "${NODEJS:-}" ]; then accept "$NODEJS" && exit 0; fi
IFS=:
for folder in ${PATH:-}; do accept "$folder/node" && exit 0; done
exit 1
