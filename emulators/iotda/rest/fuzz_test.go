package rest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fakecloud/fakecloud/emulators/iotda"
	"github.com/fakecloud/fakecloud/emulators/iotda/rest"
	"github.com/fakecloud/fakecloud/internal/clock"
	"github.com/fakecloud/fakecloud/internal/ids"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/store"
)

// Whatever the Authorization header says, a call that is not signed with the secret key is answered with 401,
// and whatever the query of a device search says, it is answered with 200 or 400.
func FuzzSignatureHeader(f *testing.F) {
	for _, seed := range []string{basicSignature, derivedSignature, "", "Bearer x", "SDK-HMAC-SHA256 Access=,SignedHeaders=;;,Signature=",
		"V11-HMAC-SHA256 Credential=AK1//,SignedHeaders=host;host,Signature=00", "SDK-HMAC-SHA256 Access=AK1, SignedHeaders=" + strings.Repeat("a;", 60) + ", Signature=x"} {
		f.Add(seed, "select * from device where status = 'ONLINE' limit 1, 2")
	}
	c := clock.New()
	j := journal.New(c, rule.NewTable(iotda.Rules), journal.Options{Events: 100})
	s := iotda.New(iotda.Config{Clock: c, IDs: ids.New(1), Journal: j, Store: store.New()})
	f.Cleanup(s.Close)
	for _, i := range []iotda.Instance{{Name: "signed", ProjectID: project, AccessKeys: []iotda.AccessKey{{Access: "AK1", Secret: "a secret that no input knows"}}},
		{Name: "open", ProjectID: strings.Repeat("0", 32)}} {
		_, err := s.PutInstance(i)
		require.NoError(f, err)
	}
	server := rest.New(rest.Config{Service: s, Clock: c, Journal: j})
	call := func(projectID, header, body string) int {
		r := httptest.NewRequest(http.MethodPost, "/v5/iot/"+projectID+"/search/query-devices", strings.NewReader(body))
		r.Header["Authorization"] = []string{header}
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Code
	}
	f.Fuzz(func(t *testing.T, header, sql string) {
		require.Equal(t, http.StatusUnauthorized, call(project, header, `{}`))
		body := `{"sql":` + string(mustJSON(t, sql)) + `}`
		require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, call(strings.Repeat("0", 32), "", body))
	})
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}
