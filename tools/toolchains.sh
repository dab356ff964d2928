# What a fresh Debian 12 lacks and how it gets here: sourced by ./x.
# shellcheck shell=bash

ALGA_CACHE=${ALGA_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/alga}
RUST_MINIMUM=1.95
NODE_MINIMUM=20
NODE_PACKAGE='node@22'
NPM_PACKAGE='npm@10'

at_least() { # VERSION MINIMUM
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    warn "x: this needs root: $*"
    return 1
  fi
}

listed_packages() { sed 's/#.*//' "$1" | awk 'NF {print $1}'; }

missing_packages() { # PACKAGE… -> those not installed
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      printf '%s\n' "$package"
  done
}

# Installs Debian packages. A package that would start a service is kept from doing so.
apt_install() {
  local policy=/usr/sbin/policy-rc.d ours='' status=0
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o 'DPkg::Lock::Timeout=300'
    -o Acquire::Retries=3)
  if [[ ! -e $policy ]]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null || return 1
    as_root chmod 755 "$policy"
  fi
  # An installation that was interrupted is finished first.
  as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a || true
  if as_root "${apt[@]}" update; then
    as_root "${apt[@]}" install --no-install-recommends "$@" || status=$?
  else
    status=1
  fi
  [[ -z $ours ]] || as_root rm -f "$policy"
  return "$status"
}

get_packages() { # LABEL PACKAGE…; MISSING holds what had to be installed
  local label=$1
  shift
  mapfile -t MISSING < <(missing_packages "$@")
  ((${#MISSING[@]})) || return 0
  run "install $label: ${#MISSING[@]} Debian packages" apt_install "${MISSING[@]}"
}

need_packages() { # LABEL PACKAGE…
  get_packages "$@" ||
    die "these Debian packages are missing and could not be installed: ${MISSING[*]}
   as root: apt-get update && apt-get install --no-install-recommends ${MISSING[*]}"
}

# Like need_packages, for what only some tests look for: those skip where it cannot be had, and say so.
want_packages() { # LABEL PACKAGE…
  get_packages "$@" ||
    warn "x: some tests will be skipped, for these Debian packages could not be installed: ${MISSING[*]}"
}

rust_version() { (cd / && rustc --version 2>/dev/null | awk '{print $2}') || true; }

# Rust from PATH or from Debian's own newest package (named -web: it is kept for browsers).
need_rust() {
  local version candidate
  version=$(rust_version)
  if [[ -z $version ]] || ! at_least "$version" "$RUST_MINIMUM" || ! command -v cargo >/dev/null; then
    if command -v rustup >/dev/null; then
      die "Rust $RUST_MINIMUM or newer is needed, rustup here offers ${version:-none}: rustup update stable"
    fi
    run "read Debian's package lists" as_root env apt-get -q update ||
      die "Debian's package lists cannot be read, and Rust $RUST_MINIMUM is missing"
    candidate=$(apt-cache policy rustc-web | awk '/Candidate:/ {print $2}')
    at_least "${candidate:-0}" "$RUST_MINIMUM" ||
      die "Rust $RUST_MINIMUM is missing; Debian offers rustc-web ${candidate:-not at all}.
   Turn on the suite bookworm-security in the machine's package sources, or install Rust yourself."
    need_packages 'Rust' rustc-web cargo-web
    version=$(rust_version)
  fi
  # The machine's own choice, not a download that a toolchain file would ask rustup for.
  if command -v rustup >/dev/null; then
    RUSTUP_TOOLCHAIN=$(cd / && rustup show active-toolchain | awk '{print $1}')
    export RUSTUP_TOOLCHAIN
  fi
  say "  Rust $version"
}

node_version() { node --version 2>/dev/null | sed 's/^v//' || true; }

# Node.js from PATH or as the npm package `node`, kept in the cache folder.
need_node() {
  local own=$ALGA_CACHE/node version
  version=$(node_version)
  if [[ -z $version ]] || ! at_least "$version" "$NODE_MINIMUM" || ! command -v npm >/dev/null; then
    # A Node.js of our own trusts what the machine trusts.
    [[ ! -r /etc/ssl/certs/ca-certificates.crt ]] ||
      export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}
    if [[ ! -x $own/node_modules/.bin/npm ]] || ! "$own/node_modules/.bin/node" --version >/dev/null 2>&1; then
      command -v npm >/dev/null || need_packages 'npm' npm
      mkdir -p "$own"
      run 'install Node.js from the npm registry' \
        npm install --prefix "$own" --no-audit --no-fund "$NODE_PACKAGE" "$NPM_PACKAGE" ||
        die "Node.js $NODE_MINIMUM or newer is missing and the npm package $NODE_PACKAGE cannot be installed"
    fi
    PATH=$own/node_modules/.bin:$PATH
    export PATH
    hash -r
    version=$(node_version)
    at_least "${version:-0}" "$NODE_MINIMUM" || die "Node.js $NODE_MINIMUM is needed, found ${version:-none}"
  fi
  say "  Node.js $version"
}

setup() {
  [[ -r /etc/debian_version && $(dpkg --print-architecture 2>/dev/null) == amd64 ]] ||
    warn "x: this is not Debian on amd64; package names may differ"
  local packages
  mapfile -t packages < <(listed_packages "$ROOT/apt-packages.txt")
  need_packages 'compiler, libraries and servers' "${packages[@]}"
  need_rust
  need_node
}

# What tests look for and nothing else does. The tools of guest languages print their folder; where one cannot be
# had, they say why, and so do the tests.
setup_tests() {
  local packages
  mapfile -t packages < <(listed_packages "$ROOT/apt-packages-tests.txt")
  want_packages 'a browser and checkers' "${packages[@]}"
  export ALGA_CACHE
  run 'tools of the guest languages' "$ROOT/tests/guests/toolchains.sh" || true
}
