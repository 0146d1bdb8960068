# Shared by the scripts beside it; source it, do not run it.
# shellcheck shell=bash

# Everything started through `start`, so that `clean_up` ends these processes and no others.
STARTED=()
# Scratch space of the calling script; made by `make_scratch`, removed by `clean_up`.
SCRATCH=""

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

die() {
    warn "${0##*/}: $*"
    exit 1
}

# Prints the comment block at the top of the calling script, which is its help text.
print_help() {
    awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
}

# Makes $SCRATCH. It is readable by all because servers started by root drop to another user.
make_scratch() {
    SCRATCH="$(mktemp -d "${TMPDIR:-/tmp}/millpond-XXXXXX")"
    chmod 755 "$SCRATCH"
}

# Ends what this script started, newest first, and removes its scratch space. Meant for `trap ... EXIT`.
clean_up() {
    local i pid
    for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do
        pid="${STARTED[i]}"
        kill -TERM "$pid" 2>/dev/null || continue
        # A process that ignores SIGTERM must not hold up the script for ever.
        for _ in {1..50}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    STARTED=()
    if [[ -n "$SCRATCH" ]]; then rm -rf "$SCRATCH"; fi
}

# start NAME COMMAND...: runs a server in the background; its output goes to $SCRATCH/NAME.log, its id to $STARTED_PID.
start() {
    local name="$1"
    shift
    "$@" >"$SCRATCH/$name.log" 2>&1 &
    STARTED_PID=$!
    STARTED+=("$STARTED_PID")
}

# stop PID: ends one process that `start` started.
stop() {
    local pid="$1" kept=() other
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    for other in "${STARTED[@]}"; do
        if [[ "$other" != "$pid" ]]; then kept+=("$other"); fi
    done
    STARTED=("${kept[@]+"${kept[@]}"}")
}

# can_connect PORT: whether something on the loopback address accepts connections.
can_connect() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Prints a loopback port on which nothing listens, below the range from which the kernel takes outgoing ports.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((10000 + RANDOM % 20000))
        if ! can_connect "$port"; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "found no free port between 10000 and 30000"
}

# wait_for NAME PID PORT: returns when the port accepts connections; dies with the log if the process ends or takes 20 s.
wait_for() {
    local name="$1" pid="$2" port="$3"
    for _ in {1..200}; do
        if ! kill -0 "$pid" 2>/dev/null; then
            warn "--- output of $name"
            cat "$SCRATCH/$name.log" >&2
            die "$name ended before it listened on port $port"
        fi
        if can_connect "$port"; then return; fi
        sleep 0.1
    done
    cat "$SCRATCH/$name.log" >&2
    die "$name did not listen on port $port within 20 s"
}

# As root where the package manager needs it.
as_root() {
    if [[ "$(id -u)" -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages needs root or sudo; install them yourself and run this again: $*"
    fi
}

# apt_install PACKAGE...: installs without questions, without starting services, and fetches the package lists once.
apt_install() {
    command -v apt-get >/dev/null ||
        die "this machine has no apt-get; install these by other means and run this again: $*"
    local quiet=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l)
    if [[ -z "${APT_UPDATED:-}" ]]; then
        as_root "${quiet[@]}" apt-get update -qq || die "apt-get update failed"
        # Exported so that a script called by this one does not fetch the lists again.
        export APT_UPDATED=1
    fi
    without_service_starts \
        as_root "${quiet[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        die "apt-get could not install: $*"
}

# Runs a command under a policy that forbids package scripts to start services: the tests start their own.
without_service_starts() {
    local policy=/usr/sbin/policy-rc.d code=0
    if [[ -e "$policy" ]]; then
        "$@"
        return
    fi
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    "$@" || code=$?
    as_root rm -f "$policy"
    return "$code"
}

# ensure_command COMMAND PACKAGE...: installs the packages if the command is missing.
ensure_command() {
    local command="$1"
    shift
    if command -v "$command" >/dev/null; then return; fi
    say "installing $* (for $command)"
    apt_install "$@"
    command -v "$command" >/dev/null || die "$command is still missing after installing: $*"
}

# ensure_cargo_tool NAME VERSION: builds a cargo subcommand once, into target/tools, which a CI service can keep, unless one
# is installed. In the debug profile: compiling is the cost here, not running.
ensure_cargo_tool() {
    local name="$1" version="$2" root
    root="$(realpath -m "${CARGO_TARGET_DIR:-target}/tools")"
    PATH="$root/bin:$PATH"
    if command -v "$name" >/dev/null; then return; fi
    say "installing $name $version"
    cargo install "$name" --version "$version" --locked --debug --quiet --root "$root" --target-dir "$root/build"
}
