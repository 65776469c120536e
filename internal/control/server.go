package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// The limits of a connection to the admin API. A stream lifts the write limit and sets one for each flush.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	answerTimeout = time.Minute
	idleTimeout   = 2 * time.Minute
	headerBytes   = 32 << 10
)

// Server serves the admin API on any number of listeners.
type Server struct {
	http *http.Server
	stop context.CancelFunc // ends streams and waits
	done sync.WaitGroup
}

// Serve starts serving h on the listeners, which belong to the server from now on.
func Serve(h http.Handler, log *slog.Logger, listeners ...net.Listener) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{stop: stop, http: &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	for _, l := range listeners {
		s.done.Add(1)
		go func() {
			defer s.done.Done()
			if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				log.Error("the admin API has stopped", "address", l.Addr().String(), "cause", err)
			}
		}()
	}
	return s
}

// Close ends streams and waits at once, lets other calls end until ctx does, and then closes their
// connections. It returns when nothing is served any more.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.done.Wait()
	return err
}
