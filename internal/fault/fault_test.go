package fault

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
)

func newSet() (*Set, *journal.Journal) {
	j := journal.New(clock.New(), rule.NewTable(), journal.Options{})
	return New(j, ids.New(1)), j
}

func parse(t *testing.T, text string) Fault {
	t.Helper()
	var f Fault
	require.NoError(t, json.Unmarshal([]byte(text), &f))
	return f
}

func TestValidateNamesTheKey(t *testing.T) {
	for text, want := range map[string]string{
		`{"match":{"step":"lunch"},"action":{"drop":true}}`:                     "match.step",
		`{"match":{"step":"connect"},"action":{}}`:                              "action",
		`{"match":{"step":"connect"},"action":{"drop":true,"close":true}}`:      "exclude each other",
		`{"match":{"step":"connect"},"action":{"duplicate":true}}`:              "action.duplicate",
		`{"match":{"step":"connect"},"action":{"code":6}}`:                      "action.code",
		`{"match":{"step":"subscribe"},"action":{"code":5}}`:                    "action.code",
		`{"match":{"step":"dps.register"},"action":{"code":200}}`:               "action.code",
		`{"match":{"step":"dps.register"},"action":{"throttle":-1}}`:            "action.throttle",
		`{"match":{"step":"dps.register"},"action":{"drop":true,"delay":"1s"}}`: "action.delay",
		`{"match":{"step":"tls","device":"a"},"action":{"close":true}}`:         "match.device",
		`{"match":{"step":"connect","host":"a"},"action":{"close":true}}`:       "match.host",
		`{"match":{"step":"tls"},"action":{"servercert":"old"}}`:                "action.servercert",
		`{"match":{"step":"connect"},"action":{"servercert":"expired"}}`:        "action.servercert",
		`{"match":{"step":"connect"},"action":{"rounds":2}}`:                    "action.rounds",
		`{"match":{"step":"dps.register"},"action":{"rounds":101}}`:             "action.rounds",
		`{"match":{"step":"token"},"action":{"expire":"48h"}}`:                  "action.expire",
		`{"match":{"step":"token"},"action":{"expire":"-1s"}}`:                  "action.expire",
		`{"match":{"step":"token"},"action":{"drop":true}}`:                     "action.drop",
		`{"match":{"step":"token"},"action":{"delay":"1s"}}`:                    "action.delay",
		`{"match":{"step":"publish"},"action":{"delay":"1h"}}`:                  "action.delay",
		`{"match":{"step":"publish"},"action":{"drop":true},"probability":2}`:   "probability",
		`{"match":{"step":"publish"},"action":{"drop":true},"count":-1}`:        "count",
	} {
		err := parse(t, text).Validate()
		require.ErrorIs(t, err, ErrInvalid, text)
		require.ErrorContains(t, err, want, text)
	}
	for _, text := range []string{
		`{"match":{"step":"connect"},"action":{"code":3,"delay":"2s"},"count":2}`,
		`{"match":{"step":"publish","device":"meter-*"},"action":{"delay":"50ms"}}`,
		`{"match":{"step":"dps.poll"},"action":{"throttle":5}}`,
		`{"match":{"step":"dps.register"},"action":{"rounds":0}}`,
		`{"match":{"step":"token"},"action":{"expire":"5s"}}`,
	} {
		require.NoError(t, parse(t, text).Validate(), text)
	}
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
