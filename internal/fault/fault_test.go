package fault

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func newSet() (*Set, *journal.Journal) {
	j := journal.New(clock.New(), rule.NewTable(), journal.Options{})
	return New(j, ids.New(1), clock.New()), j
}

func parse(t *testing.T, text string) Fault {
	t.Helper()
	var f Fault
	require.NoError(t, json.Unmarshal([]byte(text), &f))
	return f
}

func TestValidateNamesTheKey(t *testing.T) {
	for text, want := range map[string]string{
		`{"match":{"step":"lunch"},"action":{"drop":true}}`:                                               "match.step",
		`{"match":{"step":"conect"},"action":{"drop":true}}`:                                              "twin.patch; did you mean connect?",
		`{"match":{"step":"connect"},"action":{}}`:                                                        "action",
		`{"match":{"step":"connect"},"action":{"drop":true,"close":true}}`:                                "exclude each other",
		`{"match":{"step":"connect"},"action":{"duplicate":true}}`:                                        "action.duplicate",
		`{"match":{"step":"connect"},"action":{"code":6}}`:                                                "action.code",
		`{"match":{"step":"subscribe"},"action":{"code":5}}`:                                              "action.code",
		`{"match":{"step":"dps.register"},"action":{"code":200}}`:                                         "action.code",
		`{"match":{"step":"dps.register"},"action":{"throttle":-1}}`:                                      "action.throttle",
		`{"match":{"step":"dps.register"},"action":{"drop":true,"delay":"1s"}}`:                           "action.delay",
		`{"match":{"step":"tls","device":"a"},"action":{"close":true}}`:                                   "match.device",
		`{"match":{"step":"connect","host":"a"},"action":{"close":true}}`:                                 "match.host",
		`{"match":{"step":"tls"},"action":{"servercert":"old"}}`:                                          "action.servercert",
		`{"match":{"step":"connect"},"action":{"servercert":"expired"}}`:                                  "action.servercert",
		`{"match":{"step":"connect"},"action":{"rounds":2}}`:                                              "action.rounds",
		`{"match":{"step":"dps.register"},"action":{"rounds":101}}`:                                       "action.rounds",
		`{"match":{"step":"token"},"action":{"expire":"48h"}}`:                                            "action.expire",
		`{"match":{"step":"token"},"action":{"expire":"-1s"}}`:                                            "action.expire",
		`{"match":{"step":"token"},"action":{"drop":true}}`:                                               "action.drop",
		`{"match":{"step":"token"},"action":{"delay":"1s"}}`:                                              "action.delay",
		`{"match":{"step":"token","platform":"dps"},"action":{"expire":"1s"}}`:                            "match.platform: step token is one of platform iothub and mindsphere",
		`{"match":{"step":"publish"},"action":{"delay":"1h"}}`:                                            "action.delay",
		`{"match":{"step":"publish"},"action":{"drop":true},"probability":2}`:                             "probability",
		`{"match":{"step":"publish"},"action":{"drop":true},"count":-1}`:                                  "count",
		`{"match":{"step":"connect"},"action":{"slow":0}}`:                                                "action.slow",
		`{"match":{"step":"connect"},"action":{"slow":2000000}}`:                                          "action.slow",
		`{"match":{"step":"deliver"},"action":{"reorder":"0s"}}`:                                          "action.reorder",
		`{"match":{"step":"deliver"},"action":{"reorder":"11m"}}`:                                         "action.reorder",
		`{"match":{"step":"hub"},"action":{"failover":"-1s"}}`:                                            "action.failover",
		`{"match":{"step":"hub","device":"a"},"action":{"failover":"1s"}}`:                                "match.device",
		`{"match":{"step":"hub"},"action":{"failover":"1s"},"count":1}`:                                   "count",
		`{"match":{"step":"hub"},"action":{"failover":"1s"},"seed":1}`:                                    "seed",
		`{"match":{"step":"hub"},"action":{"failover":"1s"},"probability":0.5}`:                           "probability",
		`{"match":{"step":"hub"},"action":{"failover":"1s","delay":"1s"}}`:                                "action.delay",
		`{"match":{"step":"hub"},"action":{"close":true}}`:                                                "single connections break at steps such as connect",
		`{"match":{"step":"twin.get"},"action":{"halfopen":true}}`:                                        "at step twin.get it is one of code, throttle, drop; halfopen works at connect, deliver",
		`{"match":{"step":"puback"},"action":{"reorder":"1s"}}`:                                           "reorder works at deliver, publish",
		`{"match":{"step":"connect"},"action":{"failover":"1s"}}`:                                         "failover works at hub",
		`{"match":{"step":"connect","platform":"azure"},"action":{"drop":true}}`:                          "match.platform",
		`{"match":{"step":"connect","device":"job[1"},"action":{"drop":true}}`:                            "match.device: it is a glob",
		`{"match":{"step":"tls","host":"[*"},"action":{"drop":true}}`:                                     "match.host: it is a glob",
		`{"match":{"step":"connect","device":"` + strings.Repeat("x", 513) + `"},"action":{"drop":true}}`: "match.device: at most 512",
		`{"match":{"step":"hub","platform":"dps"},"action":{"failover":"1s"}}`:                            "match.platform: step hub is one of platform iothub",
		`{"match":{"step":"dps.poll","platform":"edge"},"action":{"drop":true}}`:                          "match.platform: step dps.poll is one of platform dps",
	} {
		err := parse(t, text).Validate()
		require.ErrorIs(t, err, ErrInvalid, text)
		require.ErrorContains(t, err, want, text)
	}
	for _, text := range []string{
		`{"match":{"step":"connect"},"action":{"code":3,"delay":"2s"},"count":2}`,
		`{"match":{"step":"publish","device":"meter-*"},"action":{"delay":"50ms"}}`,
		`{"match":{"step":"dps.poll"},"action":{"throttle":5}}`,
		`{"match":{"step":"tls","platform":"arm"},"action":{"slow":1}}`,
		`{"match":{"step":"dps.register"},"action":{"rounds":0}}`,
		`{"match":{"step":"token"},"action":{"expire":"5s"}}`,
		`{"match":{"step":"connect"},"action":{"slow":1048576,"delay":"1s"}}`,
		`{"match":{"step":"hub"},"action":{"failover":"24h"}}`,
		`{"match":{"step":"deliver"},"action":{"reorder":"10m"},"probability":0.5,"seed":3}`,
	} {
		require.NoError(t, parse(t, text).Validate(), text)
	}
}

func TestValidateNotANumber(t *testing.T) {
	f := parse(t, `{"match":{"step":"publish"},"action":{"drop":true}}`)
	f.Probability = math.NaN()
	require.ErrorContains(t, f.Validate(), "probability")
}

// Every action at every step is either taken or refused by its own key.
func TestEveryActionAtEveryStep(t *testing.T) {
	actions := map[string]string{"code": "3", "throttle": "1", "rounds": "1", "expire": `"1s"`, "close": "true", "reset": "true", "drop": "true", "duplicate": "true",
		"halfopen": "true", "slow": "100", "reorder": `"1s"`, "servercert": `"expired"`, "failover": `"1s"`, "delay": `"1s"`}
	taken := map[string]string{
		"tls":           "close delay drop halfopen reset servercert slow",
		"connect":       "close code delay drop halfopen reset slow",
		"subscribe":     "close code delay drop halfopen reset slow",
		"publish":       "close delay drop duplicate halfopen reorder reset slow",
		"puback":        "close delay drop halfopen reset slow",
		"deliver":       "close delay drop duplicate halfopen reorder reset slow",
		"dps.register":  "code drop rounds throttle",
		"token":         "expire",
		"dps.poll":      "code drop throttle",
		"twin.get":      "code drop throttle",
		"twin.patch":    "code drop throttle",
		"method":        "drop",
		"edge.upstream": "drop",
		"hub":           "failover",
	}
	require.ElementsMatch(t, Steps(), slices.Collect(maps.Keys(taken)))
	for step, list := range taken {
		require.ElementsMatch(t, strings.Fields(list), Actions(Step(step)), step)
		for action, value := range actions {
			if action == "code" && step == "subscribe" {
				value = "128"
			} else if action == "code" && step != "connect" {
				value = "500"
			}
			err := parse(t, `{"match":{"step":"`+step+`"},"action":{"`+action+`":`+value+`}}`).Validate()
			if slices.Contains(strings.Fields(list), action) {
				require.NoError(t, err, "%s at %s", action, step)
				continue
			}
			var wrong *Error
			require.ErrorAs(t, err, &wrong, "%s at %s", action, step)
			require.Equal(t, "action."+action, wrong.Key)
			require.Contains(t, wrong.Text, "at step "+step+" it is ")
		}
	}
}

// A failover begins when it is set, is seen by all that asks, and ends by the timers clock, or when it is cleared.
func TestFailover(t *testing.T) {
	c := clock.New()
	c.Freeze()
	j := journal.New(c, rule.NewTable(), journal.Options{})
	s := New(j, ids.New(1), c)
	changes := 0
	s.Watch(func() { changes++ })
	failover := parse(t, `{"id":"f","match":{"step":"hub","endpoint":"Hub-1"},"action":{"failover":"30s"}}`)
	_, err := s.Put(failover)
	require.NoError(t, err)
	require.Equal(t, 1, changes)
	require.True(t, s.FailingOver("hub-1"))
	require.False(t, s.FailingOver("hub-2"))
	_, hit := s.At(Where{Step: Hub, Platform: "iothub", Endpoint: "hub-1"})
	require.True(t, hit)
	_, hit = s.At(Where{Step: Hub, Platform: "iothub", Endpoint: "hub-2"})
	require.False(t, hit)
	require.NoError(t, c.Advance(20*time.Second))
	require.Equal(t, Duration(10*time.Second), *s.List()[0].Action.Failover, "what is left")
	_, err = s.Put(failover)
	require.NoError(t, err)
	require.NoError(t, c.Advance(29*time.Second))
	require.True(t, s.FailingOver("hub-1"), "the same id begins anew")
	require.NoError(t, c.Advance(time.Second))
	require.False(t, s.FailingOver("hub-1"))
	require.Empty(t, s.List())
	events, _ := j.Select(journal.Filter{Kind: journal.Fault})
	require.Len(t, events, 4, "twice begun, once met, once over")
	require.Contains(t, events[3].Detail, "fault f at hub is over")
	require.Equal(t, 3, changes)

	for _, end := range []func(){func() { s.Delete("f") }, s.Clear} {
		_, err = s.Put(failover)
		require.NoError(t, err)
		end()
		require.False(t, s.FailingOver("hub-1"))
	}
	require.Equal(t, 7, changes)
	require.NoError(t, c.Advance(time.Hour))
	require.Equal(t, 7, changes)
	var none *Set
	require.False(t, none.FailingOver("hub-1"))
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 50, Pace(0).Piece(50))
		require.Equal(t, 1, Pace(5).Piece(50))
		require.Equal(t, 10, Pace(100).Piece(50))
		require.Equal(t, 5, Pace(100).Piece(5))
		start := time.Now()
		open := make(chan struct{})
		require.True(t, Pace(0).Wait(50, open))
		require.Zero(t, time.Since(start))
		require.True(t, Pace(100).Wait(50, open))
		require.Equal(t, 500*time.Millisecond, time.Since(start))
		close(open)
		require.False(t, Pace(1).Wait(50, open))
		require.Equal(t, 500*time.Millisecond, time.Since(start))
	})
}

func TestPutIsAllOrNothing(t *testing.T) {
	s, _ := newSet()
	_, err := s.Put(parse(t, `{"match":{"step":"publish"},"action":{"drop":true}}`), Fault{})
	require.ErrorIs(t, err, ErrInvalid)
	require.Empty(t, s.List())
}

func TestFiresByMatchAndCount(t *testing.T) {
	s, j := newSet()
	put, err := s.Put(parse(t, `{"match":{"step":"publish","device":"meter-*"},"action":{"drop":true},"count":2}`))
	require.NoError(t, err)
	require.NotEmpty(t, put[0].ID)
	at := func(step Step, device string) bool {
		_, hit := s.At(Where{Step: step, Device: device})
		return hit
	}
	require.False(t, at(Publish, "other"))
	require.False(t, at(Connect, "meter-1"))
	require.True(t, at(Publish, "meter-1"))
	require.Equal(t, 1, s.List()[0].Count)
	require.True(t, at(Publish, "meter-2"))
	require.False(t, at(Publish, "meter-3"), "the count is used up")
	require.Empty(t, s.List())
	events, _ := j.Select(journal.Filter{Kind: journal.Fault})
	require.Len(t, events, 2)
	require.Contains(t, events[0].Detail, `{"drop":true}`)
}

func TestProbabilityFollowsTheSeed(t *testing.T) {
	run := func(seed uint64) (fired []bool) {
		s, _ := newSet()
		_, err := s.Put(Fault{Match: Match{Step: Puback}, Action: Action{Drop: true}, Probability: 0.5, Seed: seed})
		require.NoError(t, err)
		for range 64 {
			_, hit := s.At(Where{Step: Puback})
			fired = append(fired, hit)
		}
		return fired
	}
	require.Equal(t, run(7), run(7))
	require.NotEqual(t, run(7), run(8))
}

func TestReplaceDeleteAndClear(t *testing.T) {
	s, _ := newSet()
	f := Fault{ID: "one", Match: Match{Step: Publish}, Action: Action{Drop: true}}
	for range 2 {
		_, err := s.Put(f)
		require.NoError(t, err)
	}
	require.Len(t, s.List(), 1, "the same id replaces")
	require.True(t, s.Delete("one"))
	require.False(t, s.Delete("one"))
	_, err := s.Put(f)
	require.NoError(t, err)
	s.Clear()
	_, hit := s.At(Where{Step: Publish})
	require.False(t, hit)
	var none *Set
	_, hit = none.At(Where{Step: Publish})
	require.False(t, hit)
}
