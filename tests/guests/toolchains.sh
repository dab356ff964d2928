#!/usr/bin/env bash
# Gets the tools of the guest languages other than JavaScript: tests/guests/toolchains.sh
#
# Prints a folder of programs to put in front of PATH: rustc and cargo that build for wasm32, and
# componentize-py. (C++ needs Debian packages, listed in apt-packages.txt.) They are kept in
# $ALGA_CACHE/guest-tools and come from Debian and PyPI only. Where one cannot be had, the file
# missing-LANGUAGE in the folder says why, and the exit status is still 0.
set -euo pipefail

COMPONENTIZE_PY=0.25.1
cache=${ALGA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/alga}
tools=$cache/guest-tools
rust=$cache/rust-web

mkdir -p "$tools/bin"
exec 9>"$tools/.lock"
flock 9

say() { printf 'guest tools: %s\n' "$*" >&2; }
missing() { # LANGUAGE REASON
  printf '%s\n' "$2" >"$tools/missing-$1"
  say "no $1: $2"
}

python() {
  rm -f "$tools/missing-python"
  [[ -x $tools/bin/componentize-py && $(cat "$tools/.python" 2>/dev/null) == "$COMPONENTIZE_PY" ]] && return
  say "installing componentize-py $COMPONENTIZE_PY"
  rm -rf "$tools/python"
  if ! python3 -m venv "$tools/python" >&2 || ! "$tools/python/bin/pip" install -q "componentize-py==$COMPONENTIZE_PY" >&2; then
    missing python "componentize-py $COMPONENTIZE_PY could not be installed from PyPI"
    return
  fi
  ln -sf ../python/bin/componentize-py "$tools/bin/componentize-py"
  echo "$COMPONENTIZE_PY" >"$tools/.python"
}

# The machine's own Rust where it has the target; else Debian's Rust for web browsers, unpacked
# beside it, with the standard library's source, which cargo then compiles.
rust() {
  rm -f "$tools/missing-rust"
  if ! command -v cargo >/dev/null; then
    missing rust 'there is no cargo'
    return
  fi
  if [[ -d $(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib ]]; then
    rm -f "$tools/bin/rustc" "$tools/bin/cargo"
    return
  fi
  if ! command -v wasm-ld-19 >/dev/null; then
    missing rust 'there is no wasm-ld-19 (package lld-19)'
    return
  fi
  if ! debian_rust; then
    missing rust "Debian's rustc-web, whose library is built for wasm32, could not be fetched"
    return
  fi
  write_wrapper rustc <<SH
LD_LIBRARY_PATH='$rust/usr/lib/x86_64-linux-gnu' exec '$rust/usr/bin/rustc' "\$@"
SH
  # The machine's cargo; of Debian's Rust only the compiler and the source of its library.
  write_wrapper cargo <<SH
export RUSTC='$tools/bin/rustc' CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19
exec '$(command -v cargo)' "\$@"
SH
}

write_wrapper() { # NAME; the body comes from standard input
  { printf '#!/bin/sh\n' && cat; } >"$tools/bin/$1.part"
  chmod 755 "$tools/bin/$1.part"
  mv "$tools/bin/$1.part" "$tools/bin/$1"
}

debian_rust() {
  [[ -e $rust/.complete ]] && return
  command -v apt-get >/dev/null || return 1
  say 'fetching Rust for wasm32 from Debian (about 160 MB)'
  rm -rf "$rust" && mkdir -p "$rust/debs"
  local standard llvm
  standard=$(apt-cache depends libstd-rust-web-dev | sed -n 's/^ *Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p' | head -n 1)
  llvm=$(apt-cache depends "${standard:-none}" | sed -n 's/^ *Depends: \(libllvm[0-9]*\)$/\1/p' | head -n 1)
  (cd "$rust/debs" && apt-get -q download rustc-web rust-web-src libstd-rust-web-dev "${standard:-none}" "${llvm:-none}" >&2) || return 1
  for package in "$rust"/debs/*.deb; do dpkg -x "$package" "$rust"; done
  rm -rf "$rust/debs"
  touch "$rust/.complete"
}

cpp() {
  rm -f "$tools/missing-cpp"
  if ! command -v clang++-19 >/dev/null || [[ ! -d /usr/include/wasm32-wasi || ! -d /usr/lib/llvm-19/lib/clang/19/lib/wasi ]]; then
    missing cpp 'clang-19 with wasi-libc, libc++-19-dev-wasm32, libc++abi-19-dev-wasm32 and libclang-rt-19-dev-wasm32 is not installed'
  fi
}

python
rust
cpp
printf '%s\n' "$tools/bin"
