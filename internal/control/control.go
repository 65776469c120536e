package control

import (
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fakecloud/fakecloud/internal/plane"
)

// Options of the admin API. The zero value serves everything to whoever passes the Host and Origin checks.
type Options struct {
	AdminToken  string   // bearer token that every call needs; empty: none
	ViewerToken string   // bearer token that is good for reading, the world with its secrets excepted
	Advertised  []string // names that a Host header may carry beside the private ones
	// LAN shows only the CA, explain and health to connections that did not come in on loopback.
	LAN   bool
	Ready func() bool // whether every listener accepts; nil is yes
	Log   *slog.Logger
}

// api is one instance's admin API.
type api struct {
	plane *plane.Plane
	opt   Options
	log   *slog.Logger
	huma  huma.API
	mux   *http.ServeMux
	slots chan struct{} // one per stream or wait that is open
}

// maxOpen is how many streams and waits may be open at a time.
const maxOpen = 1024

// New returns the admin API of p.
func New(p *plane.Plane, opt Options) http.Handler {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Ready == nil {
		opt.Ready = func() bool { return true }
	}
	a := &api{plane: p, opt: opt, log: opt.Log, mux: http.NewServeMux(), slots: make(chan struct{}, maxOpen)}
	a.huma = humago.New(a.mux, describe(p.Version))
	a.health()
	a.info()
	a.certificates()
	a.events()
	a.devices()
	a.hubs()
	a.registrars()
	a.containers()
	a.explain()
	a.rules()
	a.world()
	a.adopt()
	a.life()
	a.clock()
	a.faults()
	a.scenarios()
	a.edge()
	a.iotda()
	a.mux.HandleFunc("/", a.unknown)
	a.describePages()
	namePaths(a.huma.OpenAPI())
	return a.guard(a.mux)
}

// call describes an operation for OpenAPI, with what the guard answers in its place.
func call(method, path, id, summary string) huma.Operation {
	op := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary,
		Errors: []int{http.StatusBadRequest, http.StatusForbidden}}
	if !open[path] {
		op.Errors = append(op.Errors, http.StatusUnauthorized)
	}
	if method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
		if !needsNoRoom(path) {
			op.Errors = append(op.Errors, http.StatusServiceUnavailable)
		}
	}
	return op
}
