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
# A long build says what it compiles, how far it is, and about how long it still takes.
#
# Cargo counts compilations, of which the last few take as long as the first few hundred. `done_share` is how much of a
# first build's time has passed by a share of them, in percent: (share, time) as measured on two cores.
done_share() { # done_share COMPILED ALL
    awk -v n="$1" -v all="$2" 'BEGIN {
        points = split("0 0 20 4 40 12 60 22 70 30 80 42 90 58 95 70 98 84 100 100", p, " ")
        share = all > 0 ? 100 * n / all : 0
        for (i = 3; i < points; i += 2)
            if (share <= p[i]) { printf "%d", p[i-1] + (p[i+1] - p[i-1]) * (share - p[i-2]) / (p[i] - p[i-2]); exit }
        print 100 }'
}

build() { # build CARGO-ARGUMENTS…
    local log begin=$SECONDS state="" shown="" said=0
    log="$(mktemp)"
    CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=160 CARGO_TERM_COLOR=never \
        cargo build "$@" 2>"$log" &
    local cargo=$!
    # What runs beside a script does not hear Ctrl-C.
    trap 'kill "$cargo" 2>/dev/null; rm -f "$log"; exit 130' INT TERM HUP
    while kill -0 "$cargo" 2>/dev/null; do
        sleep 0.5
        # The newest of cargo's own progress bars: "Building [==>   ] 120/424: tokio, h2".
        state="$(tail -c 2000 "$log" | tr '\r' '\n' | sed -n 's/^ *Building \[[^]]*\] *\([0-9]*\)\/\([0-9]*\): *\(.*\)$/\1 \2 \3/p' | tail -n 1)"
        [ -n "$state" ] || continue
        local compiled all names elapsed=$((SECONDS - begin)) share left=""
        read -r compiled all names <<<"$state"
        share="$(done_share "$compiled" "$all")"
        # Too early, an estimate is a guess; and what was compiled before costs no time.
        if [ "$share" -ge 5 ] && [ "$elapsed" -ge 10 ]; then
            left=$((elapsed * (100 - share) / share))
            if [ "$left" -ge 90 ]; then left=", about $(((left + 30) / 60)) min left"; else left=", about $left s left"; fi
        fi
        shown="building: $compiled of $all, $share %$left: $names"
        if [ -t 2 ]; then
            printf '\r\033[K%.*s' "$(($(tput cols 2>/dev/null || echo 80) - 1))" "$shown" >&2
        elif [ $((elapsed - said)) -ge 15 ]; then
            said=$elapsed
            echo "meridian: $shown" >&2
        fi
    done
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    if ! wait "$cargo"; then
        tr '\r' '\n' <"$log" | grep -vE '^ *(Compiling|Building|Downloaded|Downloading|Blocking|$)' >&2
        rm -f "$log"
        echo "meridian: the build failed; what is above says why" >&2
        return 1
    fi
    rm -f "$log"
    trap - INT TERM HUP
    if [ $((SECONDS - begin)) -ge 15 ]; then echo "meridian: built in $((SECONDS - begin)) s" >&2; fi
}

if [ ! -x "$MERIDIAN_BIN/playground" ]; then
    echo "meridian: building; the first time takes several minutes" >&2
fi
build --profile "$MERIDIAN_PROFILE" --workspace --bins
