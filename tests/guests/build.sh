#!/usr/bin/env bash
# Builds the JavaScript fixture guests: tests/guests/build.sh OUTDIR
#
# They are some 12 MB each and therefore not in the repository. A guest is rebuilt only when its
# source, the contract, the tool versions or this recipe changed. Needs node >= 20 and npm; fetches
# from the npm registry only, and only when the tools are not installed in OUTDIR yet.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:?usage: build.sh OUTDIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)

say() { printf 'guests: %s\n' "$*" >&2; }
digest() { cat "$@" | sha256sum | cut -c1-32; }

tools="$out/.tools-$(digest "$here/js/package.json" "$here/js/package-lock.json")"
install_tools() {
  [ -e "$tools/.complete" ] && return
  say "installing the JavaScript toolchain (about 400 MB)"
  rm -rf "$tools"
  mkdir -p "$tools"
  cp "$here/js/package.json" "$here/js/package-lock.json" "$tools/"
  # Not `npm ci`: it refuses when a registry lacks the tools' optional parts for other platforms. The
  # lock file is honoured all the same, integrity hashes included.
  (cd "$tools" && npm install --no-save --silent --no-audit --no-fund --ignore-scripts)
  touch "$tools/.complete"
}

# guest NAME SOURCE WIT DISABLED-FEATURES
guest() {
  local name=$1 source="$here/js/$2" wit="$root/wit/$3" disabled=$4
  local key
  key=$(digest "$source" "$wit" "$here/js/package-lock.json" "$here/js/build.mjs" <(echo "$disabled"))
  if [ -e "$out/$name.wasm" ] && [ "$(cat "$out/$name.key" 2>/dev/null)" = "$key" ]; then
    say "$name is up to date"
    return
  fi
  install_tools
  say "building $name"
  cp "$here/js/build.mjs" "$tools/build.mjs"
  (cd "$tools" && node build.mjs "$source" "$wit" "$out/$name.wasm.part" "$disabled" >&2)
  mv "$out/$name.wasm.part" "$out/$name.wasm"
  echo "$key" >"$out/$name.key"
  say "built $name: $(stat -c %s "$out/$name.wasm") bytes"
}

# As our own CLI builds: clocks, random and standard streams stay on.
guest js-echo echo.js extension-runner.wit http,fetch-event
# As the bundles of the reference system were built: everything off.
guest js-compat-echo compat-echo.js compat/extension-runner.wit http,fetch-event,random,clocks,stdio
# With the fetch() of the web platform.
guest js-fetch fetch.js extension-runner.wit fetch-event
# One that means harm.
guest js-hostile hostile.js extension-runner.wit http,fetch-event
