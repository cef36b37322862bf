# Sourced by the scripts beside it: makes sure that the build's prerequisites are there, builds the servers if
# anything changed, and sets MERIDIAN_BIN to where the binaries are. With MERIDIAN_BUILT=1 the caller builds; with
# MERIDIAN_BUILT=any what was built some time ago will do.
#
# MERIDIAN_PROFILE=dev takes the build that the tests use: quicker to make after a change, slower to run. (`start` and
# `ctl` want the same.)

need() { # need COMMAND DEBIAN-PACKAGES HOMEBREW-PACKAGE: installs a missing command where that is possible
    command -v "$1" >/dev/null && return
    echo "meridian: $1 is missing, trying to install it" >&2
    local root=""
    if [ "$(id -u)" != 0 ]; then root="sudo -n"; fi
    if command -v apt-get >/dev/null && $root true 2>/dev/null; then
        # shellcheck disable=SC2086 # the package list is meant to be split
        $root apt-get install -y $2 >/dev/null 2>&1 ||
            { $root apt-get update >/dev/null 2>&1 && $root apt-get install -y $2 >/dev/null 2>&1; } || true
    elif command -v brew >/dev/null; then
        brew install "$3" >/dev/null || true
    fi
    command -v "$1" >/dev/null && return
    echo "meridian: please install $1 (Debian, Ubuntu: apt-get install $2; macOS: brew install $3) and try again" >&2
    exit 1
}

if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
if ! command -v cargo >/dev/null; then
    echo "meridian: please install Rust 1.90 or newer from https://rustup.rs and try again" >&2
    exit 1
fi
need cc "gcc libc6-dev" gcc
need protoc "protobuf-compiler libprotobuf-dev" protobuf

# Builds are kept outside of the checkout, so that several checkouts share the compiled dependencies.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/meridian/target}"
MERIDIAN_PROFILE="${MERIDIAN_PROFILE:-release}"
MERIDIAN_BIN="$CARGO_TARGET_DIR/${MERIDIAN_PROFILE/#dev/debug}"
case "${MERIDIAN_BUILT:-}" in
    1) return ;;
    any) if [ -x "$MERIDIAN_BIN/playground" ]; then return; fi ;;
esac
if [ ! -x "$MERIDIAN_BIN/playground" ]; then
    echo "meridian: building; the first time takes several minutes" >&2
fi
cargo build --profile "$MERIDIAN_PROFILE" --workspace --bins
