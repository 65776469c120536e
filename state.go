package fakecloud

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/journal"
	"github.com/fakecloud/fakecloud/internal/store"
	"github.com/fakecloud/fakecloud/internal/world"
)

// stateDir holds the state within the data directory.
const stateDir = "state"

// What the instance remembers of itself.
const (
	keptWorld  = "world"  // hash of the world that the state was last filled from
	keptStarts = "starts" // how often it has started before

	keptTargets = "outbound" // hosts that worlds have named for outbound calls, separated by spaces
)

// openState opens the store, in the data directory if there is one, and makes the platforms' cores on it.
func (c *Cloud) openState() error {
	c.state = store.New()
	if c.config.DataDir != "" {
		var err error
		if c.state, err = store.Open(filepath.Join(c.config.DataDir, stateDir), c.config.Log); err != nil {
			return fmt.Errorf("%w (--data takes another directory, --ephemeral none)", err)
		}
		c.state.OnTrouble(c.tellTrouble)
	}
	c.kept = store.NewTable[string](c.state, "fakecloud.instance", nil)
	text, _ := c.kept.Get(keptStarts)
	before, _ := strconv.ParseUint(text, 10, 64) // none is 0
	c.starts = before + 1
	c.keepStarts()
	// Ids that an earlier life has given out must not come again.
	const lives = 1_000_003
	c.idSeed = c.seed + before*lives
	g := c.newGeneration(c.state.Part())
	g.hosts = c.hosts
	c.current.Store(g)
	return nil
}

// trouble returns why nothing new can be kept, nil while it can. Until then connections are refused as by a cloud
// that has no room: with return code 3, and over HTTP with status 503.
func (c *Cloud) trouble() error {
	if err := c.state.Trouble(); err != nil {
		return fmt.Errorf("state cannot be kept in %s: %w", c.config.DataDir, err)
	}
	return nil
}

// tellTrouble tells the journal when nothing can be kept any more, and when it can again.
func (c *Cloud) tellTrouble(err error) {
	e := journal.Event{Kind: journal.State, Detail: "state can be kept again; what waited for its acknowledgement has it"}
	if err != nil {
		e.Detail = fmt.Sprintf("state cannot be kept in %s: nothing is acknowledged, and nobody is let in, until it can", c.config.DataDir)
		e.Seen, e.Fix = err.Error(), "make room on the disk that holds the data directory; nothing needs a restart"
	}
	c.journal.Append(e)
}

func (c *Cloud) keepStarts() { c.kept.Put(keptStarts, strconv.FormatUint(c.starts, 10)) }

// seedWorld puts the first world into an empty store. A store that was filled before wins over the world:
// where that has changed since, only what the store lacks is added, and one line says so.
func (c *Cloud) seedWorld(w *world.World) error {
	if _, err := c.makeCAs(w); err != nil {
		return fmt.Errorf("world: %w", err)
	}
	before, again := c.kept.Get(keptWorld)
	now := worldHash(w)
	if before != now {
		p := c.gen().cores
		p.gaps = &gaps{}
		if err := p.apply(w, c.caPEM); err != nil {
			return fmt.Errorf("world: %w", err)
		}
		if again {
			c.config.Log.Info("the world has changed since the state was made: what the state holds stays as it is, what it lacked was added; a reset takes the new world",
				"data", c.config.DataDir, "added", p.gaps.String())
		}
		c.kept.Put(keptWorld, now)
	}
	c.nameOutbound(w)
	return c.gen().nameHosts()
}

// worldHash stands for what a world says of the platforms.
func worldHash(w *world.World) string {
	platforms := *w
	platforms.Serve, platforms.Faults = world.Serve{}, nil
	sum := sha256.Sum256(world.Format(&platforms))
	return hex.EncodeToString(sum[:])
}

// gaps are what a world names and the cores lack.
type gaps struct {
	filled []string
	// only, where set, lets nothing but devices of these ids be put.
	only func(id string) bool
}

// takes reports whether the world's word on a thing is to be put into the cores: always without gaps,
// else if it does not exist.
func (g *gaps) takes(exists bool, what string) bool {
	if g == nil {
		return true
	}
	if g.only != nil || exists {
		return false
	}
	g.filled = append(g.filled, what)
	return true
}

// leaves reports whether a device is to be left alone.
func (g *gaps) leaves(id string) bool { return g != nil && g.only != nil && !g.only(id) }

// takesDevice is takes for what belongs to one device: an identity, an enrollment of its own.
func (g *gaps) takesDevice(exists bool, what, id string) bool {
	if g == nil || g.only == nil {
		return g.takes(exists, what+" "+id)
	}
	return !exists && g.only(id)
}

// String names the first few.
func (g *gaps) String() string {
	const most = 8
	switch n := len(g.filled); {
	case n == 0:
		return "nothing"
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(g.filled[:most], ", "), n-most)
	}
	return strings.Join(g.filled, ", ")
}

// putHub puts a hub, or where only gaps are filled and it exists, the CAs that it lacks.
func (p platforms) putHub(h iothub.Hub) error {
	old, err := p.hub.GetHub(h.Host)
	if p.gaps.takes(err == nil && strings.EqualFold(old.Host, h.Host), "hub "+h.Host) {
		_, err := p.hub.PutHub(h)
		return err
	}
	for _, ca := range h.CAs {
		has := slices.ContainsFunc(old.CAs, func(o iothub.CA) bool { return o.Name == ca.Name })
		if p.gaps.takes(has, "hub certificate "+ca.Name) {
			if err := p.hub.PutCA(h.Host, ca); err != nil {
				return err
			}
		}
	}
	return nil
}
