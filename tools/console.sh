# Output, time, progress and the end of every process: sourced by ./x.
# shellcheck shell=bash

# The last line of ./x, when a command wants one.
CLOSING_LINE=

START=$EPOCHSECONDS
# Every process that ./x starts inherits this mark; at the end whoever still carries it is ended.
export X_RUN_ID="x-$$-$START-$RANDOM"
LOGS=

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
  warn "x: $*"
  exit 1
}

clock() { # SECONDS -> "1m 05s"
  if (($1 < 60)); then printf '%ds' "$1"; else printf '%dm %02ds' $(($1 / 60)) $(($1 % 60)); fi
}

# Starts a folder for logs that is removed at the end.
open_logs() {
  [[ -n $LOGS ]] && return
  LOGS=$(mktemp -d "${TMPDIR:-/tmp}/alga-x.XXXXXX")
}

# run LABEL COMMAND…: runs it out of sight, tells every 20 s that it still runs, and shows the end
# of its output when it fails. The status is the command's.
run() {
  local label=$1 log began pid beat status=0
  shift
  open_logs
  log=$LOGS/$(tr -c 'a-zA-Z0-9\n' '-' <<<"$label").log
  began=$EPOCHSECONDS
  say "→ $label"
  if [[ -n ${ALGA_VERBOSE:-} ]]; then
    "$@" </dev/null &
  else
    "$@" </dev/null >"$log" 2>&1 &
  fi
  pid=$!
  heartbeat "$label" "$log" "$began" &
  beat=$!
  wait "$pid" || status=$?
  { kill "$beat" && wait "$beat"; } 2>/dev/null || true
  if ((status)); then
    warn "✗ $label failed ($(clock $((EPOCHSECONDS - began))), status $status); the end of its output:"
    [[ -e $log ]] && tail -n 60 "$log" >&2
    return "$status"
  fi
  say "✓ $label ($(clock $((EPOCHSECONDS - began))))"
}

heartbeat() { # LABEL LOG BEGAN; waits without a process of its own
  local never last
  exec {never}<> <(:)
  while :; do
    read -r -t 20 -u "$never" || true
    last=$(tail -n 1 "$2" 2>/dev/null | tr -d '\r' | cut -c1-100)
    say "  … $1: $(clock $((EPOCHSECONDS - $3)))${last:+  | $last}"
  done
}

# The ids of the processes that carry our mark, this shell's own forks excepted.
marked() {
  local dir pid
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    [[ $pid == "$$" || $pid == "$BASHPID" ]] && continue
    grep -qsz "^X_RUN_ID=$X_RUN_ID\$" "$dir/environ" 2>/dev/null && printf '%s\n' "$pid"
  done
}

# Ends what this run started: forks of this shell, then every process that carries the mark, also
# those that left the process group. First politely, after three seconds by force.
end_processes() {
  local pids round
  mapfile -t pids < <(jobs -p)
  ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
  for round in {1..30}; do
    mapfile -t pids < <(marked)
    ((${#pids[@]})) || return 0
    if ((round == 1)); then kill -TERM "${pids[@]}" 2>/dev/null; fi
    sleep 0.1
  done
  kill -KILL "${pids[@]}" 2>/dev/null
  return 0
}

finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  end_processes || true
  [[ -n $LOGS ]] && rm -rf "$LOGS"
  if [[ -n ${COMMAND:-} ]]; then say "./x $COMMAND: $(clock $((EPOCHSECONDS - START))) in total"; fi
  # The count stays the last line, for those who read only that.
  if [[ -n $CLOSING_LINE ]]; then say "$CLOSING_LINE"; fi
  exit "$status"
}

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# One ./x at a time in one checkout: two builds in one folder would trip over each other.
take_turn() {
  mkdir -p "$ROOT/build"
  exec {TURN}>"$ROOT/build/.turn"
  if ! flock -n "$TURN"; then
    say "another ./x is at work in this checkout; waiting for it"
    until flock -w 20 "$TURN"; do say "  … still waiting ($(clock $((EPOCHSECONDS - START))))"; done
  fi
}
