# Sets CARGO_TARGET_DIR for the crate bridge/; wants $root. Sourced by whoever calls cargo.
# shellcheck shell=bash
# shellcheck disable=SC2154
if command -v rustup >/dev/null && [[ -z ${RUSTUP_TOOLCHAIN:-} ]]; then
  # The machine's own toolchain, not a download that rust-toolchain.toml would ask rustup for.
  RUSTUP_TOOLCHAIN=$(cd / && rustup show active-toolchain | awk '{print $1}')
  export RUSTUP_TOOLCHAIN
fi
# Named after the compiler and Wasmtime's version: another state of Cargo.lock finds most crates there.
if [[ -z ${CARGO_TARGET_DIR:-} ]]; then
  CARGO_TARGET_DIR=${ALGA_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/alga}/bridge-$({
    grep -A1 -x 'name = "wasmtime"' "$root/bridge/Cargo.lock"
    rustc --version --verbose
  } | sha256sum | cut -c1-16)
fi
export CARGO_TARGET_DIR
