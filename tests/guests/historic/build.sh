#!/usr/bin/env bash
# Builds guests with the toolchains that extensions of the field were made with:
#   tests/guests/historic/build.sh OUTDIR
#
# componentize-js 0.19 to 0.22, jco's QuickJS backend, C++ (clang for wasm32). Needs node >= 20 and npm,
# clang-19 and lld-19; the tools come from the npm registry, take 500 MB below OUTDIR and are deleted
# when everything is built. A guest is built anew only when what it is made of changed. Where the tools
# cannot be had, OUTDIR/missing says why and the exit status is still 0.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../../.." && pwd -P)
out=$(mkdir -p "${1:?usage: build.sh OUTDIR}" && cd "$1" && pwd -P)
contract=$root/wit/extension-runner.wit
compat=$root/wit/compat/extension-runner.wit
tools=$out/.tools
INSTALL_SECONDS=300

say() { printf 'historic guests: %s\n' "$*" >&2; }
digest() { cat "$@" | sha256sum | cut -c1-32; }

install_tools() {
  [[ -e $tools/.complete ]] && return
  say 'installing the toolchains (about 500 MB, until everything is built)'
  rm -rf "$tools"
  mkdir -p "$tools"
  cp "$here/package.json" "$here/package-lock.json" "$tools/"
  if ! (cd "$tools" && timeout "$INSTALL_SECONDS" npm install --no-save --silent --no-audit --no-fund --ignore-scripts >&2); then
    printf 'the toolchains could not be installed from the npm registry\n' >"$out/missing"
    rm -rf "$tools"
    say "left out: $(<"$out/missing")"
    exit 0
  fi
  touch "$tools/.complete"
}

# guest NAME SOURCES… -- COMMAND…: runs the command, with the place of the component as its last argument,
# unless NAME.wasm is made of these sources.
guest() {
  local name=$1 sources=() key
  shift
  while [[ $1 != -- ]]; do sources+=("$1") && shift; done
  shift
  key=$(digest "${sources[@]}" "$here/package-lock.json" "$here/build.mjs" "$0" <(echo "$name"))
  [[ -e $out/$name.wasm && $(cat "$out/$name.key" 2>/dev/null) == "$key" ]] && return
  rm -f "$out/$name.wasm"
  install_tools
  cp "$here/build.mjs" "$tools/"
  say "building $name"
  (cd "$tools" && "$@" "$out/$name.wasm.part" >&2)
  mv "$out/$name.wasm.part" "$out/$name.wasm"
  echo "$key" >"$out/$name.key"
}

quickjs() {
  cp "$here/handler.js" .
  node node_modules/@bytecodealliance/jco/dist/jco.js componentize handler.js --wit "$contract" \
    --world-name runner --backend quickjs --backend-qjs-disable-async --out "$1"
}

cpp() {
  local work=$tools/.cpp
  mkdir -p "$work"
  local target=(--target=wasm32 -O2 -fno-exceptions -fno-rtti -std=c++20 -nostdlib -ffreestanding)
  clang++-19 "${target[@]}" -fuse-ld=lld -Wl,--no-entry -Wl,--export-memory "$here/handler.cc" -o "$work/core.wasm"
  node node_modules/@bytecodealliance/jco/dist/jco.js embed "$work/core.wasm" --wit "$contract" \
    --world-name runner -o "$work/embedded.wasm"
  node node_modules/@bytecodealliance/jco/dist/jco.js new "$work/embedded.wasm" -o "$1"
}

rm -f "$out/missing"
script() { node build.mjs "$@"; }
for version in 0-19 0-20 0-21 0-22; do
  guest "componentize-js-$version" "$here/handler.js" "$contract" -- \
    script "componentize-js-$version" "$here/handler.js" "$contract" http,fetch-event
done
# As bundles of the reference system were built: the unversioned package, everything off.
echoes=$root/tests/guests/js/compat-echo.js
for version in 0-19 0-22; do
  guest "pure-$version" "$echoes" "$compat" -- \
    script "componentize-js-$version" "$echoes" "$compat" http,fetch-event,random,clocks,stdio
done
guest jco-quickjs "$here/handler.js" "$contract" -- quickjs
guest cpp "$here/handler.cc" "$contract" -- cpp
rm -rf "$tools"
