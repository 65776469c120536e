package outbound

import "github.com/fakecloud/fakecloud/internal/rule"

const ourselves = "fakecloud: outbound calls"

// Rules are what a Policy refuses.
var Rules = []rule.Rule{
	{ID: "OUT-1", Title: "Calls leave this machine only to hosts that were allowed", Source: ourselves, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "host", Why: "Nobody allowed calls to this host: it is not loopback, and neither the world nor --allow-outbound names it.",
			Fix: "Start with `--allow-outbound HOST` (also FAKECLOUD_ALLOW_OUTBOUND and serve.allow-outbound), or name the URL in the world file."},
		{ID: "address", Why: "The name leads to an address that it must not lead to: localhost beyond this machine, or any other name to a link-local, multicast or unspecified address.",
			Fix: "See what the name server answers for the name. A link-local address can be allowed by itself: `--allow-outbound 169.254.1.2`."},
		{ID: "url", Why: "What shall be called is no URL of HTTP.", Fix: "Give an absolute URL, such as http://localhost:7071/api/allocate."},
	}},
	{ID: "OUT-2", Title: "Calls have limits: 1 MiB each way, 10 s", Source: ourselves, Grade: rule.Documented, Causes: []rule.Cause{
		{ID: "request", Why: "What shall be sent is larger than 1 MiB.", Fix: "Look at what the request is made of: an initial twin or a payload of the device is too large."},
		{ID: "answer", Why: "The answer is larger than 1 MiB.", Fix: "Let the server answer with what was asked for only."},
		{ID: "time", Why: "The server did not answer within 10 s.", Fix: "See that the server runs and answers at once; a function that starts cold may need a first call by hand."},
	}},
}
