#!/usr/bin/env bash
# Runs other people's clients, unmodified and pinned, against fakecloud: mosquitto, openssl, the Azure SDKs for
# Python, Node and Java, MQTT.js and MindSphere's SDK for Node, Huawei's SDKs for Python, Go and Java; and OpenSSL on our
# certificates. Installs what is missing; needs Linux with user namespaces, Python 3, Node and Java.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { # command, Debian package
  command -v "$1" >/dev/null && return
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
  fi
  command -v "$1" >/dev/null || { echo "vendor: $1 is missing; install $2" >&2; exit 1; }
}
need openssl openssl
need mosquitto mosquitto
need mosquitto_pub mosquitto-clients
need unshare util-linux
need ip iproute2
need python3 python3-venv
need node nodejs
need npm npm
need curl curl
need javac default-jdk-headless
need mvn maven

venv=build/venv
if ! cmp -s e2e/sdk/python/requirements.txt "$venv/installed.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r e2e/sdk/python/requirements.txt
  cp e2e/sdk/python/requirements.txt "$venv/installed.txt"
fi
for dir in e2e/sdk/node e2e/sdk/mindsphere; do
  if ! cmp -s "$dir/package-lock.json" "$dir/node_modules/.installed.json"; then
    (cd "$dir" && npm ci --silent --ignore-scripts && cp package-lock.json node_modules/.installed.json)
  fi
done
azure_java=build/java
if ! cat e2e/sdk/java/pom.xml e2e/sdk/java/*.java | cmp -s - "$azure_java/installed.txt"; then
  rm -rf "$azure_java"
  mvn -q -B -f e2e/sdk/java/pom.xml compiler:compile dependency:copy-dependencies
  cat e2e/sdk/java/pom.xml e2e/sdk/java/*.java > "$azure_java/installed.txt"
fi

java=build/huawei-java
if ! cmp -s e2e/sdk/huawei-java/pom.xml "$java/installed.xml"; then
  rm -rf "$java"
  mkdir -p "$java"
  mvn -q -B -f e2e/sdk/huawei-java/pom.xml dependency:build-classpath -Dmdep.outputFile="$PWD/$java/classpath"
  cp e2e/sdk/huawei-java/pom.xml "$java/installed.xml"
fi
javac -nowarn -d "$java" -cp "$(cat "$java/classpath")" e2e/sdk/huawei-java/Device.java
(cd e2e/sdk/huawei-go && go build -o ../../../build/huawei-go .)

# More at a time than there are processors: what runs beside other tests waits most of the time.
FAKECLOUD_HUAWEI_GO=$PWD/build/huawei-go FAKECLOUD_HUAWEI_JAVA=$PWD/$java:$(cat "$java/classpath") \
  FAKECLOUD_PROOFS=${FAKECLOUD_PROOFS:-} FAKECLOUD_PYTHON=$PWD/$venv/bin/python \
  go test -tags vendor -count=1 -timeout 20m -parallel 6 ./e2e/sdk/... ./internal/pki/...
