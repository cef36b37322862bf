# Sourced by the scripts beside it: a cluster of its own for drills, stopped and removed at the end.
MERIDIAN_BUILT=1 MERIDIAN_PROFILE="${MERIDIAN_PROFILE:-dev}"
. ./playground/build.sh

work="$(mktemp -d)"
playground=""
cluster=(--tag drills --data "$work")
end_cluster() {
    if [ -n "$playground" ]; then kill -INT "$playground" 2>/dev/null && wait "$playground" || true; fi
    playground=""
}
finish() {
    end_cluster
    rm -rf "$work"
}
trap finish EXIT

start_cluster() { # start_cluster SIZE…
    "$MERIDIAN_BIN/playground" "${cluster[@]}" "$@" >"$work/playground.log" 2>&1 &
    playground=$!
    until grep -q "Ctrl-C stops everything" "$work/playground.log"; do
        kill -0 "$playground" 2>/dev/null || { cat "$work/playground.log" >&2; playground=""; exit 1; }
        sleep 0.2
    done
}

newest_report() { # the directory of the last drill's report
    local reports=("$work"/drills/drills/*/)
    echo "${reports[-1]%/}"
}

need_quietly() { # need_quietly COMMAND DEBIAN-PACKAGES: installs it where that is possible, and says whether it is there
    command -v "$1" >/dev/null && return
    (need "$1" "$2" "$2") >/dev/null 2>&1
}
