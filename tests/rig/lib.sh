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

# slowly WHAT LOG COMMAND…: runs the command with its output in the file LOG, and says every 15 s that it still runs and since
# when. The status is the command's.
slowly() {
    local what=$1 log=$2 began=$SECONDS ticker code=0
    shift 2
    (
        # Nothing of this may hold the script's streams once that has ended.
        exec </dev/null >/dev/null
        for ((ticks = 1; ; ticks++)); do
            sleep 1 2>/dev/null
            kill -0 $$ 2>/dev/null || exit 0
            ((ticks % 15)) || say "    $what: $((SECONDS - began)) s so far"
        done
    ) &
    ticker=$!
    "$@" >"$log" 2>&1 || code=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    return "$code"
}

# built LOG ARGUMENT…: cargo build with these arguments, in the folder that it stands in. A terminal sees cargo's own progress;
# elsewhere a line every 15 s says how far it is. Everything cargo says is in LOG.
built() {
    local log=$1 cores began=$SECONDS
    shift
    cores=$(nproc)
    # Measured on two cores; a build that has been made before takes seconds.
    say "    cargo build $*: the first time about $((14 / cores > 2 ? 14 / cores : 2)) min on the $cores cores here, and it fetches its crates; later some seconds"
    if [[ -t 2 ]]; then
        cargo build "$@" || return 1
    else
        # Cargo names what it need not compile again only if it is asked to say more.
        { cargo fetch --locked && printf 'Crates %s\n' "$(crates)" && cargo build --verbose "$@"; } 2>&1 | tee "$log" | compiled || return 1
    fi
    say "    built in $((SECONDS - began)) s"
}

# crates: how many there are to compile. Asked before they are fetched, cargo would fetch them and say nothing of it.
crates() { cargo tree --locked --edges normal,build --prefix none --format '{p}' 2>/dev/null | sed 's/ (\*)$//' | sort -u | wc -l; }

# compiled: reads what cargo says, and how many crates there are, and says now and then how far it is; what cargo complains of is
# given on as it is.
compiled() {
    local line all=0 made=0 fresh=0 left fetched=0 next=$((SECONDS + 15)) began=$SECONDS status what='fetching crates'
    while :; do
        status=0
        IFS= read -r -t 15 line || status=$?
        # More than 128: nothing was said for 15 s; else it has ended.
        if ((status > 0 && status <= 128)); then break; fi
        if ((status == 0)); then
            case $line in
                *Compiling\ *) made=$((made + 1)) what="compiling ${line##*Compiling }" what=${what%% (*} ;;
                *Downloaded\ *) fetched=$((fetched + 1)) what="fetching ${line##*Downloaded }" ;;
                Crates\ *) all=${line#Crates } ;;
                *Fresh\ *) fresh=$((fresh + 1)) ;;
                *Downloading* | *Updating* | *Locking* | *Finished* | *Dirty\ * | *Running\ *) ;;
                *) say "$line" ;;
            esac
        fi
        if ((SECONDS >= next)); then
            if ((all > 0)); then
                left=$((all - fresh > made ? all - fresh : made))
                say "    $made of about $left crates are compiled, $((SECONDS - began)) s so far; $what"
            else
                say "    $fetched crates are fetched, $((SECONDS - began)) s so far; $what"
            fi
            next=$((SECONDS + 15))
        fi
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
