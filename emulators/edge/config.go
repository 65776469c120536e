package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/wire/edgeroute"
)

// config is what a gateway runs by: the desired properties of its $edgeHub.
type config struct {
	schema   string
	routes   []namedRoute  // by priority, then by name
	ttl      time.Duration // negative is for ever
	maxBytes int           // of what is stored; 0 is no limit of its own
}

type namedRoute struct {
	name     string
	route    *edgeroute.Route
	priority int
	ttl      time.Duration // 0 takes the configuration's
}

// defaultTTL is what deployment manifests begin with.
const defaultTTL = 7200 * time.Second

// defaultConfig sends everything to the hub: so a gateway works before its first deployment.
func defaultConfig() config {
	r, err := edgeroute.Parse("FROM /* INTO $upstream")
	if err != nil {
		panic(err) // tested
	}
	return config{routes: []namedRoute{{name: "route", route: r, priority: defaultPriority}}, ttl: defaultTTL}
}

func (c config) ttlOf(r namedRoute) time.Duration {
	if r.ttl > 0 {
		return r.ttl
	}
	return c.ttl
}

func (c config) shown() string {
	const most = 4
	var texts []string
	for i, r := range c.routes {
		if i == most {
			texts = append(texts, "…")
			break
		}
		texts = append(texts, r.route.Text)
	}
	if len(texts) == 0 {
		return "none"
	}
	return strings.Join(texts, "; ")
}

// desiredProperties are those of $edgeHub ("Properties of the IoT Edge agent and IoT Edge hub module twins").
type desiredProperties struct {
	SchemaVersion   json.RawMessage            `json:"schemaVersion"`
	Routes          map[string]json.RawMessage `json:"routes"`
	StoreAndForward *struct {
		TimeToLiveSecs *int64 `json:"timeToLiveSecs"`
		StoreLimits    *struct {
			MaxSizeBytes *int64 `json:"maxSizeBytes"`
		} `json:"storeLimits"`
	} `json:"storeAndForwardConfiguration"`
}

// CheckDesired says what is wrong with desired properties for $edgeHub, nil for nothing.
func CheckDesired(desired map[string]any) error {
	_, err := readConfig(desired)
	return err
}

// readConfig reads desired properties. Members that start with $ are the hub's.
func readConfig(desired map[string]any) (config, error) {
	text, err := json.Marshal(desired)
	if err != nil {
		return config{}, err
	}
	var d desiredProperties
	if err := json.Unmarshal(text, &d); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return config{}, fmt.Errorf("%s: is a %s, which it may not be", wrong.Field, wrong.Value)
		}
		return config{}, err
	}
	c := config{ttl: defaultTTL}
	priorities, err := c.readSchema(d.SchemaVersion)
	if err != nil {
		return config{}, err
	}
	for name, text := range d.Routes {
		r, err := readRoute(text, priorities)
		if err != nil {
			return config{}, fmt.Errorf("routes.%s: %w", name, err)
		}
		if r.route != nil {
			r.name = name
			c.routes = append(c.routes, r)
		}
	}
	sort.Slice(c.routes, func(i, j int) bool {
		a, b := &c.routes[i], &c.routes[j]
		if a.priority != b.priority {
			return a.priority < b.priority
		}
		return a.name < b.name
	})
	if f := d.StoreAndForward; f != nil {
		if f.TimeToLiveSecs != nil {
			c.ttl = seconds(*f.TimeToLiveSecs)
		}
		if l := f.StoreLimits; l != nil && l.MaxSizeBytes != nil {
			if *l.MaxSizeBytes <= 0 {
				return config{}, errors.New("storeAndForwardConfiguration.storeLimits.maxSizeBytes: is more than 0")
			}
			c.maxBytes = int(min(*l.MaxSizeBytes, 1<<50))
		}
	}
	return c, nil
}

// seconds is a time to live; negative keeps for ever.
func seconds(n int64) time.Duration {
	if n < 0 {
		return -1
	}
	const most = 100 * 365 * 24 * 3600
	return time.Duration(min(n, most)) * time.Second
}

// readSchema reads schemaVersion, 1.0 to 1.3; routes have priorities from 1.1 on.
func (c *config) readSchema(raw json.RawMessage) (priorities bool, err error) {
	var text string
	if len(raw) == 0 || string(raw) == "null" {
		return false, errors.New("schemaVersion: is missing; it is \"1.0\", \"1.1\", \"1.2\" or \"1.3\"")
	}
	if json.Unmarshal(raw, &text) != nil {
		text = string(bytes.TrimSpace(raw))
	}
	switch text {
	case "1.0", "1.1", "1.2", "1.3":
		c.schema = text
		return text != "1.0", nil
	}
	return false, fmt.Errorf("schemaVersion: is %s; it is \"1.0\", \"1.1\", \"1.2\" or \"1.3\"", quote(text))
}

// readRoute reads a route's text, or an object with priority and time to live. A blank text is no route.
func readRoute(raw json.RawMessage, priorities bool) (namedRoute, error) {
	r := namedRoute{priority: defaultPriority}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		if !priorities {
			return r, errors.New("is a text in schemaVersion 1.0; an object with priority and timeToLiveSecs needs 1.1")
		}
		var object struct {
			Route    *string `json:"route"`
			Priority *int64  `json:"priority"`
			TTL      *int64  `json:"timeToLiveSecs"`
		}
		if err := json.Unmarshal(raw, &object); err != nil || object.Route == nil {
			return r, errors.New(`is a text, or {"route":"FROM …","priority":0,"timeToLiveSecs":0}`)
		}
		text = *object.Route
		if p := object.Priority; p != nil {
			if *p < 0 || *p > 9 {
				return r, fmt.Errorf("priority: is %d; it is 0 (first) to 9", *p)
			}
			r.priority = int(*p)
		}
		if t := object.TTL; t != nil {
			if *t < 0 {
				return r, fmt.Errorf("timeToLiveSecs: is %d; it is at least 0, which takes the configuration's", *t)
			}
			r.ttl = seconds(*t)
		}
	}
	if strings.TrimSpace(text) == "" {
		return r, nil
	}
	var err error
	r.route, err = edgeroute.Parse(text)
	return r, err
}

// loadConfig takes up the configuration that an earlier life has kept.
func (g *gateway) loadConfig() {
	t, ok := g.svc.twins.Get(g.twinKey(g.ownID()))
	if !ok || len(t.Desired) == 0 {
		return
	}
	if c, err := readConfig(t.Desired); err == nil {
		g.mu.Lock()
		g.config = c
		g.mu.Unlock()
	}
}

// applyConfig takes desired properties of $edgeHub, and reports how that went. Bad ones leave the old
// configuration in force.
func (g *gateway) applyConfig(desired map[string]any, version int64) {
	c, err := readConfig(desired)
	status := map[string]any{"code": 200, "description": ""}
	e := g.event(journal.Twin, g.ownID().Name(), "routes applied")
	e.Dir, e.Properties = journal.In, map[string]string{"version": strconv.FormatInt(version, 10)}
	report := map[string]any{"lastDesiredVersion": version, "lastDesiredStatus": status,
		"version": map[string]any{"version": "fakecloud", "build": nil, "commit": nil}}
	if err != nil {
		status["code"], status["description"] = 400, "Error while parsing desired properties - "+err.Error()
		g.svc.journal.Refuse(e, refusal("EDGE-38/config", "the desired properties of $edgeHub cannot be applied, the old ones stay in force: "+err.Error(),
			clipped(desired), "schemaVersion, routes and storeAndForwardConfiguration as the deployment manifest has them"))
	} else {
		g.mu.Lock()
		g.config = c
		g.mu.Unlock()
		report["schemaVersion"] = c.schema
		e.Detail += ": " + c.shown()
		g.svc.journal.Append(e)
	}
	g.reportOwn(report)
}

func clipped(v any) string {
	const most = 300
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = append(text[:most:most], "…"...)
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}
