#!/usr/bin/env bash
# Builds the image and proves it: healthy, small, stops within a second; a second container on a user
# network, where the vendors' names are aliases of fakecloud, provisions and sends telemetry, once with the
# client kit and once with the Azure SDK for Python; scripts/curl-lesson.sh passes against it. Runs the
# README's docker block as it is printed. Wants a Docker engine, curl and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

image=fakecloud:verify client=fakecloud-client:verify
net=fakecloud-verify-$$ name=fakecloud-verify-$$
tmp=$(mktemp -d)
cleanup() {
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker network rm "$net" >/dev/null 2>&1 || true
  rm -rf "$tmp"
}
trap cleanup EXIT
fail() { echo "container: $*" >&2; docker logs "$name" >&2 || true; exit 1; }

# The README's own lines, as printed: they want ports 8883 and 8484 of this machine.
docker rm -f fakecloud >/dev/null 2>&1 || true
lines=$(sed -n '/^```sh docker$/,/^```$/p' README.md | grep -v '^```')
[[ -n $lines ]] || { echo "container: README.md has no docker block" >&2; exit 1; }
timeout 1200 bash -ec "$lines" >/dev/null || { docker logs fakecloud >&2; docker rm -f fakecloud; echo "container: the README's lines fail" >&2; exit 1; }
echo "container: the README's lines work"

docker build --quiet --network host --tag "$image" . >/dev/null
docker build --quiet --network host --tag "$client" e2e/sdk/python >/dev/null

size=$(docker image inspect --format '{{.Size}}' "$image")
echo "container: image $((size / 1000)) kB"
((size <= 20000000)) || fail "the image is larger than 20 MB"
[[ $(docker image inspect --format '{{.Config.User}}' "$image") == 65532:65532 ]] || fail "the image runs as root"

docker network create "$net" >/dev/null
docker run -d --name "$name" --network "$net" --network-alias fakecloud \
  --network-alias global.azure-devices-provisioning.net \
  --network-alias fakecloud-hub.azure-devices.net -p 127.0.0.1::8484 "$image" >/dev/null
for _ in $(seq 50); do
  state=$(docker inspect --format '{{.State.Health.Status}}' "$name")
  [[ $state == healthy ]] && break
  sleep 0.2
done
[[ $state == healthy ]] || fail "not healthy but $state"
echo "container: healthy"

fakecloud() { docker run --rm --network "$net" -e FAKECLOUD_ADMIN=http://fakecloud:8484 "$image" "$@"; }

fakecloud device azure --id container-kit --count 1 || fail "the client kit does not get through"

cat > "$tmp/env" <<ENV
CA_FILE=/certs/ca.pem
PROVISIONING_HOST=global.azure-devices-provisioning.net
PROVISIONING_IDSCOPE=0ne00FAKE01
PROVISIONING_REGISTRATION_ID=container-sdk
CERT_FILE=/certs/container-sdk.pem
KEY_FILE=/certs/container-sdk.key
ENV
mkdir "$tmp/certs"
docker run --rm --network "$net" --entrypoint bash -v "$tmp/certs:/certs" "$client" -ec '
  cd /certs
  /sdk/venv/bin/python - <<PY
import json, requests
base = "http://fakecloud:8484/api/v1"
open("ca.pem", "w").write(requests.get(base + "/ca.pem").text)
answer = requests.post(base + "/pki/devices", json={"commonName": "container-sdk"})
answer.raise_for_status()
issued = answer.json()
open("container-sdk.pem", "w").write(issued["chain"])
open("container-sdk.key", "w").write(issued["privateKey"])
PY'
docker run --rm --network "$net" -v "$tmp/certs:/certs" --env-file "$tmp/env" "$client" ||
  fail "the Azure SDK for Python does not get through"

for device in container-kit container-sdk; do
  fakecloud events --kind telemetry --device "$device" | grep -q telemetry || fail "no telemetry of $device"
done
echo "container: telemetry of both devices seen"

# The test tool from this machine's shell, with curl alone; the device is another container.
FAKECLOUD_ADMIN=http://$(docker port "$name" 8484/tcp) scripts/curl-lesson.sh container-lesson bash -c 'exec docker run --rm --init \
  --network "$0" -e FAKECLOUD_ADMIN=http://fakecloud:8484 "$1" device azure --id container-lesson \
  --group-key "$GROUP_KEY" --count 10 --interval 300ms' "$net" "$image" || fail "the lesson with curl fails"

start=$(date +%s%N)
docker stop --time 5 "$name" >/dev/null
took=$((($(date +%s%N) - start) / 1000000))
code=$(docker inspect --format '{{.State.ExitCode}}' "$name")
echo "container: stopped in $took ms with exit code $code"
[[ $code == 0 ]] || fail "exit code $code"
((took <= 1500)) || fail "stopping took $took ms (a second, and the engine's own share)"
