# Shared by the scripts of the rig and of the demo: where things are kept, how to speak, how to wait.
# Sourced, never run.
# shellcheck shell=bash

rig=${TAGALONG_RIG:-${XDG_CACHE_HOME:-$HOME/.cache}/tagalong-rig}
export PATH="$rig/bin:$rig/cargo/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# wait_for SECONDS WHAT COMMAND…: returns as soon as the command holds; past the deadline it dies and says what was awaited.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    local limit=$1
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || die "waited $limit s for $what in vain"
        sleep 0.1
    done
}

# alive PIDFILE NAME: the process noted in the file runs, and is still the program of that name.
alive() {
    local pid
    [[ -s $1 ]] || return 1
    pid=$(<"$1")
    [[ -r /proc/$pid/comm && $(<"/proc/$pid/comm") == "${2:0:15}" ]]
}

# stop PIDFILE NAME SECONDS: ends the process noted in the file, asked first, forced after the deadline.
stop() {
    local pidfile=$1 name=$2 deadline=$((SECONDS + $3)) pid
    if alive "$pidfile" "$name"; then
        pid=$(<"$pidfile")
        kill -TERM "$pid"
        while alive "$pidfile" "$name"; do
            if ((SECONDS >= deadline)); then
                kill -KILL "$pid" 2>/dev/null || true
                break
            fi
            sleep 0.1
        done
    fi
    rm -f "$pidfile"
}

# free_port FIRST: the first port from FIRST on at which nothing listens on loopback.
free_port() {
    local port
    [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] || die "'$1' is no port"
    for ((port = $1; port < $1 + 100; port++)); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "no free port between $1 and $port"
}
