#!/usr/bin/env bash
# Builds the guests of the benchmarks: bench/guests/build.sh OUTDIR [peers]
#
# One handler in six builds: js-trivial (StarlingMonkey), pure-trivial (the same with everything switched
# off), qjs-trivial (QuickJS), rust-trivial, cpp-trivial and, with `peers`, js-trivial-http for `wasmtime serve`. A guest is rebuilt only when its source, the contract,
# the tools or this recipe changed. Needs node >= 20 and npm; Rust for wasm32 comes from Debian's
# rustc-web (1.96), whose standard library cargo compiles, and is left out where that cannot be had.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
out=$(mkdir -p "${1:?usage: build.sh OUTDIR [peers]}" && cd "$1" && pwd -P)
cache=${ALGA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/alga}

say() { printf 'guests: %s\n' "$*" >&2; }
digest() { cat "$@" | sha256sum | cut -c1-32; }

# The tools of the fixture guests, in their folder when it is there.
name=.tools-$(digest "$root/tests/guests/js/package.json" "$root/tests/guests/js/package-lock.json")
tools=${ALGA_GUESTS:-$cache/guests}/$name
[[ -e $tools/.complete ]] || tools=$out/$name
install_tools() {
  [[ -e $tools/.complete ]] && return
  say "installing the JavaScript toolchain (about 400 MB)"
  mkdir -p "$tools"
  cp "$root/tests/guests/js/package.json" "$root/tests/guests/js/package-lock.json" "$tools/"
  (cd "$tools" && npm install --no-save --silent --no-audit --no-fund --ignore-scripts)
  touch "$tools/.complete"
}

# guest NAME SOURCES… -- COMMAND…: runs the command unless NAME.wasm is made of these sources.
guest() {
  local name=$1 sources=() key
  shift
  while [[ $1 != -- ]]; do sources+=("$1") && shift; done
  shift
  key=$(digest "${sources[@]}" "$root/tests/guests/js/package-lock.json" "$0")
  [[ -e $out/$name.wasm && $(cat "$out/$name.key" 2>/dev/null) == "$key" ]] && return
  say "building $name"
  "$@" "$out/$name.wasm.part"
  mv "$out/$name.wasm.part" "$out/$name.wasm"
  echo "$key" >"$out/$name.key"
  say "built $name: $(stat -c %s "$out/$name.wasm") bytes"
}

# starling FEATURES OUT: without these features.
starling() {
  install_tools
  cp "$root/tests/guests/js/build.mjs" "$tools/build.mjs"
  (cd "$tools" && node build.mjs "$here/trivial.js" "$contract" "$2" "$1" >&2)
}

quickjs() {
  install_tools
  # Synchronous exports: the other runtime of this tool uses the asynchronous component model.
  (cd "$tools" && node node_modules/componentize-qjs/cli.mjs --sync --wit "$contract" --world runner \
    --js "$here/trivial.js" --output "$1" >&2)
}

starling_http() {
  install_tools
  local wit=$out/.wit
  rm -rf "$wit" && mkdir -p "$wit/deps"
  cp "$(wasi_wit)"/*.wit "$wit/deps/"
  # The engine inside componentize-js 0.23 exports this patch of wasi:http.
  sed -i 's/^package wasi:http@.*/package wasi:http@0.2.10;/; s/\(wasi:http\/[a-z-]*\)@[0-9.]*/\1@0.2.10/g' "$wit/deps/http.wit"
  cat >"$wit/peer.wit" <<'WIT'
package bench:peer;
world runner {
  export wasi:http/incoming-handler@0.2.10;
}
WIT
  cp "$root/tests/guests/js/build.mjs" "$tools/build.mjs"
  (cd "$tools" && node build.mjs "$here/trivial-http.js" "$wit" "$1" '' >&2)
}

# The interfaces of WASI as the crate that the bridge is built with carries them.
wasi_wit() {
  cargo metadata --format-version 1 --locked --manifest-path "$root/bridge/Cargo.toml" |
    python3 -c 'import json, pathlib, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "wasmtime-wasi-http":
        print(pathlib.Path(package["manifest_path"]).parent / "wit" / "deps")'
}

# Debian's Rust for web browsers, unpacked beside the machine's own.
rust=$cache/rust-web
have_rust() {
  [[ -e $rust/.complete ]] && return
  command -v apt-get >/dev/null || return 1
  say "fetching Rust for wasm32 from Debian (about 160 MB)"
  rm -rf "$rust" && mkdir -p "$rust/debs"
  local standard
  standard=$(apt-cache depends libstd-rust-web-dev | sed -n 's/^ *Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p' | head -1)
  local llvm
  llvm=$(apt-cache depends "${standard:-none}" | sed -n 's/^ *Depends: \(libllvm[0-9]*\)$/\1/p' | head -1)
  (cd "$rust/debs" && apt-get download rustc-web rust-web-src libstd-rust-web-dev \
    "${standard:-none}" "${llvm:-none}" >&2) || return 1
  for package in "$rust"/debs/*.deb; do dpkg -x "$package" "$rust"; done
  rm -rf "$rust/debs"
  touch "$rust/.complete"
}

rust_guest() {
  install_tools
  local target=$out/.cargo
  # The machine's cargo; of Debian's Rust only the compiler and the source of its library.
  RUSTC="$rust/usr/bin/rustc" LD_LIBRARY_PATH="$rust/usr/lib/x86_64-linux-gnu" RUSTC_BOOTSTRAP=1 \
    CARGO_TARGET_DIR="$target" RUSTFLAGS="-Clinker=wasm-ld-19" cargo build --quiet --release --manifest-path "$here/rust/Cargo.toml" \
    -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown >&2
  (cd "$tools" && node node_modules/@bytecodealliance/jco/dist/jco.js new \
    "$target/wasm32-unknown-unknown/release/trivial.wasm" -o "$1" >&2)
}

cpp_guest() {
  install_tools
  local work=$out/.cpp
  mkdir -p "$work"
  clang++-19 --target=wasm32 -O2 -std=c++20 -nostdlib -ffreestanding -fno-exceptions -fno-rtti -fuse-ld=lld \
    -Wl,--no-entry -Wl,--export-memory "$here/trivial.cc" -o "$work/core.wasm"
  local jco=$tools/node_modules/@bytecodealliance/jco/dist/jco.js
  (cd "$tools" && node "$jco" embed "$work/core.wasm" --wit "$contract" --world-name runner -o "$work/embedded.wasm" >&2 &&
    node "$jco" new "$work/embedded.wasm" -o "$1" >&2)
}

contract=$root/wit/extension-runner.wit
guest js-trivial "$here/trivial.js" "$contract" -- starling http,fetch-event
guest pure-trivial "$here/trivial.js" "$contract" -- starling http,fetch-event,random,clocks,stdio
guest cpp-trivial "$here/trivial.cc" "$contract" -- cpp_guest
guest qjs-trivial "$here/trivial.js" "$contract" -- quickjs
if have_rust; then
  guest rust-trivial "$here/rust/Cargo.toml" "$here/rust/src/lib.rs" "$contract" -- rust_guest
else
  say 'no Rust for wasm32 here: the Rust guest is left out'
fi
[[ ${2:-} != peers ]] || guest js-trivial-http "$here/trivial-http.js" -- starling_http
