# Building and testing: sourced by ./x.
# shellcheck shell=bash

# As many compilers as cores, but no more than memory carries (2 GiB each).
jobs_for_machine() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
  ((memory < 1)) && memory=1
  printf '%s' "${ALGA_JOBS:-$((cores < memory ? cores : memory))}"
}

build() { # PRESET [TARGET]
  local folder=$ROOT/build/$1
  # A configured folder that was moved is of no use to CMake.
  if [[ -e $folder/CMakeCache.txt ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT" "$folder/CMakeCache.txt"; then
    rm -rf "$folder"
  fi
  CARGO_BUILD_JOBS=$(jobs_for_machine)
  export ALGA_CACHE CARGO_BUILD_JOBS
  run "configure ($1)" cmake --preset "$1"
  run "build ($1, $CARGO_BUILD_JOBS at a time)" cmake --build "$folder" --parallel "$CARGO_BUILD_JOBS" ${2:+--target "$2"} -- -k 20
}

# The guests that the tests run. tests/guests/build.sh keeps its tools and results in the cache folder
# and builds only what changed; this checkout links to its own state of them.
fixtures() {
  local cache=$ALGA_CACHE/guests
  export ALGA_GUESTS=$ROOT/build/guests
  [[ -x $ROOT/tests/guests/build.sh ]] || return 0
  mkdir -p "$cache" "$ALGA_GUESTS"
  run 'guests of the tests' flock "$cache" bash -c '
    set -euo pipefail
    "$1/tests/guests/build.sh" "$2"
    for guest in "$2"/*.wasm; do ln -f "$guest" "$3/" 2>/dev/null || cp -f "$guest" "$3/"; done
  ' guests "$ROOT" "$cache" "$ALGA_GUESTS"
  # Wanted, not needed: without the old tools their tests are skipped; a component that they could not build fails one.
  run 'guests of older toolchains' flock "$cache" bash -c '
    set -euo pipefail
    "$1/tests/guests/historic/build.sh" "$2"
    rm -rf "$3" && mkdir -p "$3"
    for file in "$2"/*.wasm "$2"/missing; do [[ ! -e $file ]] || ln -f "$file" "$3/" 2>/dev/null || cp -f "$file" "$3/"; done
  ' guests "$ROOT" "$cache/historic" "$ALGA_GUESTS/historic" || true
}

run_tests() {
  local status=0
  # Replaced by the real count once there is one.
  CLOSING_LINE='0 passed, 1 failed'
  setup
  setup_tests
  build "$PRESET"
  fixtures
  test_servers
  open_logs
  ALGA_SUMMARY=$LOGS/summary
  # When ./x began: the last suite runs only while there is time for it.
  export ALGA_SUMMARY PRESET ROOT ALGA_BEGAN=$START
  /usr/bin/python3 "$ROOT/tools/run-tests" --preset "$PRESET" "$@" </dev/null &
  wait $! || status=$?
  # shellcheck disable=SC2034  # read by finish()
  if [[ -s $ALGA_SUMMARY ]]; then CLOSING_LINE=$(<"$ALGA_SUMMARY"); fi
  return "$status"
}

run_ci() {
  say "machine: $(nproc) cores, $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), $(df -h --output=avail "$ROOT" | tail -n 1 | tr -d ' ') free"
  run_tests "$@"
  if command -v ccache >/dev/null; then ccache --show-stats 2>/dev/null | head -n 6 || true; fi
}
