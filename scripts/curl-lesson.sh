#!/usr/bin/env bash
# A whole test with curl as its only tool: a device provisions although DPS throttles it twice, its live token
# expires because the clock is moved an hour, and it comes back with a fresh one. Each step is asserted on the
# journal, which is waited for and never polled.
#
#   scripts/curl-lesson.sh DEVICE COMMAND...
#
# COMMAND runs the device under test, here in the background: it registers as DEVICE in the enrollment group
# demo-symmetric, sends telemetry, reconnects when it is dropped and ends by itself. The group's key is in
# GROUP_KEY. FAKECLOUD_ADMIN is the instance's admin API (default http://127.0.0.1:8484), LESSON_WAIT how long
# each step may take (default 20s).
set -euo pipefail

device=$1
shift
admin=${FAKECLOUD_ADMIN:-http://127.0.0.1:8484}/api/v1
# Well-known, as all keys of the default world.
export GROUP_KEY=ZmFrZWNsb3VkLXRlc3QtZ3JvdXAtbWFzdGVyLWtleS0wMDAxLWZha2VjbG91ZC10ZXN0LWdyb3VwLW1hc3Rlcg==
tmp=$(mktemp -d)
client=
finish() {
  local code=$?
  if ((code != 0)); then
    echo "curl-lesson: failed; what the journal holds of $device:" >&2
    curl -sS "$admin/events?device=$device" >&2 || true
    cat "$tmp/client" >&2 || true
  fi
  [[ -z $client ]] || kill "$client" 2>/dev/null || true
  rm -rf "$tmp"
}
trap finish EXIT
say() { echo "curl-lesson: $*"; }
post() { curl -fsS -H 'Content-Type: application/json' -d "$2" "$admin/$1" > "$tmp/answer"; }

# wait_for COUNT QUERY: the events after $since; afterwards $since is behind the last one. When they do not
# come, curl fails and shows the answer: how many matched, and which were near misses.
since=0
wait_for() {
  curl -sS --fail-with-body -D "$tmp/head" -o "$tmp/events" "$admin/events?device=$device&since=$since&wait=${LESSON_WAIT:-20s}&count=$1&$2" ||
    { cat "$tmp/events" >&2; exit 1; }
  since=$(tr -d '\r' < "$tmp/head" | sed -n 's/^[Xx]-[Nn]ext-[Ss]ince: //p')
}
has() { grep -q -- "$1" "$tmp/events" || { echo "curl-lesson: no $1 in:" >&2; cat "$tmp/events" >&2; exit 1; }; }

post reset "{\"device\":\"$device\"}"
post faults "{\"match\":{\"step\":\"dps.register\",\"device\":\"$device\"},\"action\":{\"throttle\":1},\"count\":2}"
begin=$(date +%s)
"$@" > "$tmp/client" 2>&1 &
client=$!

wait_for 2 kind=fault
wait_for 1 kind=telemetry
say "$device is throttled twice, assigned all the same, and sends"

curl -fsS "$admin/events?device=$device&platform=dps" > "$tmp/events"
[[ $(grep -c 'errorCode.*429001' "$tmp/events") == 2 ]] || { echo "curl-lesson: not answered 429 twice" >&2; exit 1; }
has /res/200/

post clock/advance '{"by":"1h15m"}' # the token's hour, and the hub's ten minutes of grace
wait_for 1 rule=HUB-24/expired
wait_for 1 'platform=iothub&kind=connack&match=code=0'
wait_for 1 'kind=telemetry&match=payload.n>1'
say "its token has expired, it has come back with a fresh one and sends"

wait "$client"
client=
say "done in $(($(date +%s) - begin)) s"
