# shellcheck shell=bash
# Shared by the scripts beside it; sourced, never run. It sets `root` (the checkout), `cache` (everything that is
# downloaded or built for the project and does not belong in the checkout) and `build_dir`, and enters the checkout.

set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?"set HOME or XDG_CACHE_HOME"}/.cache}/aitbc
build_dir=${CARGO_TARGET_DIR:-$root/target}
[[ $build_dir == /* ]] || build_dir=$root/$build_dir
cd "$root"

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE [HINT]
die() {
    say "error: $1"
    [[ -z ${2:-} ]] || say "hint: $2"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Asks on a terminal; goes ahead without one, in CI, and where a calling script has asked already.
confirm() {
    [[ -z ${CI:-} && -z ${AITBC_ASSUME_YES:-} && -t 0 && -t 2 ]] || return 0
    local answer
    read -r -p "$1 [Y/n] " answer
    [[ -z $answer || $answer == [Yy]* ]]
}

# at_least VERSION NEEDED
at_least() { [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# Sets `work` to a folder in the cache (so that moving a result to its place is a rename) that is removed when this
# shell exits.
temporary_folder() {
    mkdir -p "$cache"
    # Left over where a shell was killed.
    find "$cache" -maxdepth 1 -name 'work.*' -mmin +1440 -exec rm -rf {} +
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

# Runs a command of many words silently; shows them when it fails. Needs `temporary_folder`.
logged() {
    "$@" >"$work/log" 2>&1 || {
        tail -n 40 "$work/log" >&2
        die "failed: $1 $2 (its last lines are above)" "check the network, and this machine's settings for ${1##*/}"
    }
}

# Serialises scripts that fill the same place in the cache; held until this shell exits.
lock() {
    local descriptor
    mkdir -p "$cache/locks"
    exec {descriptor}>"$cache/locks/$1"
    flock "$descriptor"
}

# provide FOLDER COMMAND...: runs COMMAND, which fills FOLDER, unless an earlier run completed it.
provide() {
    local folder=$1
    shift
    [[ ! -e $folder/.complete ]] || return 0
    lock "${folder##*/}"
    [[ ! -e $folder/.complete ]] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    "$@"
    touch "$folder/.complete"
}

# python_package FOLDER PACKAGE==VERSION: unpacks one wheel; its programs land in FOLDER/bin.
python_package() {
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
        --no-deps --only-binary :all: --target "$1" "$2" >&2 ||
        die "cannot install $2" "check the network and pip's configuration"
}
