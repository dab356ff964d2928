#!/usr/bin/env bash
# Builds one handler with the toolchains that extensions of the field were made with:
#   tests/guests/historic/build.sh OUTDIR
#
# componentize-js 0.19 to 0.22, jco's QuickJS backend, C++ (clang for wasm32) and Rust (bench/guests).
# Needs node >= 20 and npm, clang-19 and lld-19; the tools take 500 MB below OUTDIR. Not part of ./x test
# for that reason: bridge/tests/historic.rs runs what is found in $ALGA_HISTORIC_GUESTS.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../../.." && pwd -P)
out=$(mkdir -p "${1:?usage: build.sh OUTDIR}" && cd "$1" && pwd -P)
contract=$root/wit/extension-runner.wit

say() { printf 'historic guests: %s\n' "$*" >&2; }

tools=$out/.tools-$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -c1-32)
if [[ ! -e $tools/.complete ]]; then
  say "installing the toolchains (about 500 MB)"
  mkdir -p "$tools"
  cp "$here/package.json" "$here/package-lock.json" "$tools/"
  (cd "$tools" && npm install --no-save --silent --no-audit --no-fund --ignore-scripts)
  touch "$tools/.complete"
fi
cp "$here/build.mjs" "$here/handler.js" "$tools/"

# guest NAME COMMAND…: runs the command, with the place of the component as its last argument.
guest() {
  local name=$1
  shift
  say "building $name"
  (cd "$tools" && "$@" "$out/$name.wasm.part" >&2)
  mv "$out/$name.wasm.part" "$out/$name.wasm"
}

quickjs() {
  node node_modules/@bytecodealliance/jco/dist/jco.js componentize handler.js --wit "$contract" \
    --world-name runner --backend quickjs --backend-qjs-disable-async --out "$1"
}

cpp() {
  local work=$out/.cpp
  mkdir -p "$work"
  local target=(--target=wasm32 -O2 -fno-exceptions -fno-rtti -std=c++20 -nostdlib -ffreestanding)
  clang++-19 "${target[@]}" -fuse-ld=lld -Wl,--no-entry -Wl,--export-memory "$here/handler.cc" -o "$work/core.wasm"
  node node_modules/@bytecodealliance/jco/dist/jco.js embed "$work/core.wasm" --wit "$contract" \
    --world-name runner -o "$work/embedded.wasm"
  node node_modules/@bytecodealliance/jco/dist/jco.js new "$work/embedded.wasm" -o "$1"
}

for version in 0-19 0-20 0-21 0-22; do
  guest "componentize-js-$version" node build.mjs "componentize-js-$version" handler.js "$contract"
done
guest jco-quickjs quickjs
guest cpp cpp

if [[ $("$root/bench/guests/build.sh" "$out/.bench" >&2 && ls "$out/.bench") == *rust-trivial.wasm* ]]; then
  cp "$out/.bench/rust-trivial.wasm" "$out/rust.wasm"
fi
