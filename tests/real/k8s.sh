#!/usr/bin/env bash
# A real Kubernetes API on loopback, for tests: etcd, kube-apiserver and kube-controller-manager, without
# kubelet or containers. Nodes, pods' ends and logs are what a test says they are.
#
#   tests/real/k8s.sh setup              build once (about 8 CPU-minutes, Debian 12), then reuse
#   tests/real/k8s.sh built              exit 0 where that was done before
#   tests/real/k8s.sh start DIR [PORT]   start in DIR and print the path of a kubeconfig with two contexts:
#                                        `real` may do everything, `guest` nothing; PORT and the three
#                                        after it have to be free, as those are that are chosen without it
#   tests/real/k8s.sh stop DIR           end what `start DIR` started
#
#   VLLM_CIBENCH_TEST_KUBECONFIG=$(tests/real/k8s.sh start /tmp/k8s) cargo test --features kube --test it k8s
set -euo pipefail
home="${REAL_K8S_HOME:-$HOME/.cache/real-k8s}"
version=v1.20.2

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2; }

built() {
  [ -x "$home/bin/kube-apiserver" ] && [ -x "$home/bin/kube-controller-manager" ] && command -v etcd >/dev/null
}

setup() {
  mkdir -p "$home/bin"
  if built; then
    echo "ready: $home"
    return
  fi
  # Debian's source package is the one complete tree of Kubernetes with its dependencies that a package
  # registry carries; there are no binaries of the server.
  if ! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || ! [ -w /etc/apt/sources.list.d ]; then
    echo "a Kubernetes API is built from the source package of Debian 12, as root: not on this machine" >&2
    exit 1
  fi
  local list=/etc/apt/sources.list.d/debian-src.sources
  [ -f "$list" ] || sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources > "$list"
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends golang-1.19-go golang-github-modern-go-reflect2-dev etcd-server
  (cd "$home" && apt-get source --download-only -q kubernetes)
  build
  echo "ready: $home"
}

build() (
  cd "$home"
  mkdir -p gopath/src/k8s.io k8s
  tar xzf kubernetes_*.orig.tar.gz -C k8s --strip-components=1
  # The reflect2 in the tree crashes the server on the first custom resource when built by this Go.
  local reflect2=k8s/vendor/github.com/modern-go/reflect2
  rm -rf "$reflect2" && mkdir "$reflect2"
  cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$reflect2/"
  ln -sfn "$home/k8s" gopath/src/k8s.io/kubernetes
  export GOPATH="$home/gopath" GOCACHE="$home/gocache" GO111MODULE=off CGO_ENABLED=0 GOPROXY=off GOFLAGS=
  export PATH="/usr/lib/go-1.19/bin:$PATH"
  cd gopath/src/k8s.io/kubernetes

  # The tree comes without its generated OpenAPI definitions, and does not build without them.
  go build -o "$home/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  local inputs
  inputs=$( (grep -rl --include='*.go' '+k8s:openapi-gen=' pkg cmd plugin
             cd staging/src && grep -rl --include='*.go' '+k8s:openapi-gen=' k8s.io | sed 's#^#vendor/#') \
    | grep -vE 'code-generator|sample-apiserver|_test.go|kube-openapi|zz_generated' \
    | xargs -n1 dirname | sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd, )
  touch "$home/violations"
  "$home/bin/openapi-gen" --go-header-file hack/boilerplate/boilerplate.generatego.txt -i "$inputs" \
    -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi -r "$home/violations" -o "$home/gopath/src"

  local prefix=k8s.io/kubernetes/vendor/k8s.io stamp="-s -w" package program
  for package in component-base/version client-go/pkg/version; do
    stamp="$stamp -X $prefix/$package.gitVersion=$version -X $prefix/$package.gitMajor=1 -X $prefix/$package.gitMinor=20"
  done
  for program in kube-apiserver kube-controller-manager; do
    go build -p 2 -ldflags "$stamp" -o "$home/bin/$program" "./cmd/$program"
  done
  cd "$home"
  chmod -R u+w gopath k8s gocache
  rm -rf gopath k8s gocache kubernetes_*
)

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first of four ports in a row that are free.
free_ports() {
  local port=16443
  while taken $port || taken $((port + 1)) || taken $((port + 2)) || taken $((port + 3)); do port=$((port + 4)); done
  echo $port
}

# The ports: PORT for the API, and the three after it for etcd (twice) and the controller manager.
start() {
  local dir port etcd peer manager
  dir="$(mkdir -p "$1" && cd "$1" && pwd)"
  port="${2:-$(free_ports)}" etcd=$((port + 1)) peer=$((port + 2)) manager=$((port + 3))
  cd "$dir"
  openssl genrsa -out sa.key 2048 2>/dev/null
  openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  printf 'admin-token,admin,admin,"system:masters"\nguest-token,guest,guest\n' > tokens.csv
  setsid etcd --data-dir "$dir/etcd" --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer" > etcd.log 2>&1 &
  echo $! > pids
  setsid "$home/bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd" --cert-dir="$dir/certs" \
    --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$port" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file=sa.key \
    --service-account-key-file=sa.pub --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=RBAC \
    --token-auth-file=tokens.csv --endpoint-reconciler-type=none --disable-admission-plugins=ServiceAccount \
    --allow-privileged=true --kubelet-preferred-address-types=InternalIP > apiserver.log 2>&1 &
  echo $! >> pids
  wait_ready "https://127.0.0.1:$port/readyz" || { echo "not ready; see $dir/apiserver.log" >&2; stop "$dir"; exit 1; }
  cat > kubeconfig <<END
apiVersion: v1
kind: Config
current-context: real
contexts:
- {name: real, context: {cluster: real, user: admin, namespace: default}}
- {name: guest, context: {cluster: real, user: guest, namespace: default}}
clusters:
- {name: real, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$dir/certs/apiserver.crt"}}
users:
- {name: admin, user: {token: admin-token}}
- {name: guest, user: {token: guest-token}}
END
  # The garbage collector among them is what makes foreground deletion end.
  setsid "$home/bin/kube-controller-manager" --kubeconfig="$dir/kubeconfig" --cert-dir="$dir/kcm-certs" \
    --bind-address=127.0.0.1 --secure-port="$manager" --port=0 --leader-elect=false \
    --service-account-private-key-file=sa.key \
    --controllers=deployment,replicaset,statefulset,garbagecollector,namespace,endpoint,endpointslice,job,serviceaccount \
    > kcm.log 2>&1 &
  echo $! >> pids
  echo "$dir/kubeconfig"
}

wait_ready() {
  for _ in $(seq 1 240); do
    if curl -sk --max-time 2 "$1" -H 'Authorization: Bearer admin-token' 2>/dev/null | grep -q '^ok'; then return; fi
    sleep 0.5
  done
  return 1
}

stop() {
  [ -f "$1/pids" ] || return 0
  tac "$1/pids" | while read -r pid; do
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 1 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  done
  rm -f "$1/pids"
}

# In braces: read whole before it runs, so that an edit in the meantime does not matter.
{
  case "${1:-}" in
    setup) setup ;;
    built) built || exit 1 ;;
    start) [ $# -ge 2 ] || usage; start "$2" "${3:-}" ;;
    stop) [ $# -eq 2 ] || usage; stop "$2" ;;
    *) usage ;;
  esac
  exit
}
