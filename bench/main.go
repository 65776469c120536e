package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
)

// settings are the sizes of a run.
type settings struct {
	rounds   int // alternating rounds, of which the median counts
	connects int // CONNECTs a round
	messages int // telemetry messages a round
	keys     []string
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == roleFlag {
		serveRole(os.Args[2])
		return
	}
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "alternating rounds of each server")
	flag.IntVar(&s.connects, "connects", 400, "connections a round")
	flag.IntVar(&s.messages, "messages", 40_000, "messages a round")
	flag.Parse()
	s.keys = []string{"ecdsa", "rsa"}
	what := flag.Args()
	if len(what) == 0 {
		what = []string{"connect", "publish", "mindsphere", "iotda", "edge", "iothub", "reset", "startup"}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, b := range []struct {
		name string
		run  func(context.Context, settings) error
	}{{"connect", benchConnect}, {"publish", benchPublish}, {"mindsphere", benchMindSphere}, {"iotda", benchIoTDA}, {"edge", benchEdge}, {"drain", benchDrain}, {"iothub", benchIoTHub}, {"reset", benchReset}, {"startup", benchStartup}} {
		if !slices.Contains(what, b.name) {
			continue
		}
		if err := b.run(ctx, s); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", b.name, err)
			os.Exit(1)
		}
	}
}
