package iothub

import (
	"crypto/x509"
	"encoding/json"
	"strings"
	"time"

	"github.com/fakecloud/fakecloud/internal/store"
)

// What a data directory holds of rows whose own JSON is made for readers of the registry, or loses
// something.

// hubRow is a Hub with its certificates in DER and its place among the hubs.
type hubRow struct {
	Hub
	CAs   []caRow
	Order int
}

type caRow struct {
	Name     string
	DER      []byte
	Verified bool
}

func keptHub() store.Codec[Hub] {
	return store.As(func(h Hub) hubRow {
		row := hubRow{Hub: h, Order: h.order}
		for _, ca := range h.CAs {
			row.CAs = append(row.CAs, caRow{ca.Name, ca.Certificate.Raw, ca.Verified})
		}
		return row
	}, func(row hubRow) (Hub, error) {
		h := row.Hub
		h.order = row.Order
		for _, ca := range row.CAs {
			c, err := x509.ParseCertificate(ca.DER)
			if err != nil {
				return h, err
			}
			h.CAs = append(h.CAs, CA{Name: ca.Name, Certificate: c, Verified: ca.Verified})
		}
		return h, nil
	})
}

// deviceRow is a Device with its initial twin. Nobody is connected in the next life.
type deviceRow struct {
	Device
	InitialTwin json.RawMessage `json:"initialTwin,omitempty"`
}

func keptDevice() store.Codec[Device] {
	return store.As(func(d Device) deviceRow {
		row := deviceRow{Device: d, InitialTwin: d.InitialTwin}
		if row.ConnectionState == Connected {
			row.ConnectionState = Disconnected
		}
		return row
	}, func(row deviceRow) (Device, error) {
		row.Device.InitialTwin = row.InitialTwin
		return row.Device, nil
	})
}

func keptModule() store.Codec[Module] {
	return store.As(func(m Module) Module {
		if m.ConnectionState == Connected {
			m.ConnectionState = Disconnected
		}
		return m
	}, func(m Module) (Module, error) { return m, nil })
}

// feedbackRow is a Feedback with its hub. Its number is the log's.
type feedbackRow struct {
	Feedback
	Hub string `json:"hub"`
}

func keptFeedback() store.Codec[Feedback] {
	return store.As(func(f Feedback) feedbackRow { return feedbackRow{Feedback: f, Hub: f.Hub} },
		func(row feedbackRow) (Feedback, error) {
			row.Feedback.Hub = row.Hub
			return row.Feedback, nil
		})
}

// recover mends what an earlier process has left: an identity whose creation was cut short has no twin
// yet, one whose removal was cut short has left something, and the queues' timers run again. A lock on a
// message ends with the process that gave it. Only keys are looked at: there may be many rows.
func (s *Service) recover() {
	for _, h := range s.hubs.List("") {
		s.order = max(s.order, h.order)
	}
	twins := map[string]bool{}
	for _, k := range s.twins.Keys("") {
		twins[k] = true
	}
	devices := map[string]bool{}
	for _, k := range s.devices.Keys("") {
		devices[k] = true
		hub, id, _ := strings.Cut(k, keySeparator)
		if twin := twinKey(hub, id, ""); twins[twin] {
			delete(twins, twin)
		} else if d, ok := s.devices.Get(k); ok {
			s.startTwin(hub, d)
		}
	}
	for _, k := range s.modules.Keys("") {
		parts := strings.SplitN(k, keySeparator, 3) // hub, device, module
		if !devices[key(parts[0], parts[1])] {
			s.modules.Delete(k)
			continue
		}
		if !twins[k] {
			s.twins.Put(k, s.newTwin(parts[1], parts[2], nil))
		}
		delete(twins, k)
	}
	for k := range twins {
		s.twins.Delete(k)
		s.c2d.Delete(k)
	}
	s.recoverC2D()
}

// recoverC2D lets queued messages expire when they would have.
func (s *Service) recoverC2D() {
	s.c2dMu.Lock()
	defer s.c2dMu.Unlock()
	now, wall := s.clock.Now(), s.clock.Wall()
	for _, k := range s.c2d.Keys("") {
		parts := strings.Split(k, keySeparator)
		if len(parts) != 3 {
			continue
		}
		box := mailbox{parts[0], parts[1], parts[2]}
		left := map[uint64]time.Duration{}
		q, _ := s.c2d.Touch(k, func(q c2dQueue) (c2dQueue, error) {
			for i := range q.Messages {
				m := &q.Messages[i]
				left[m.Seq] = m.Expiry.Sub(wall)
				m.deadline = now.Add(left[m.Seq])
			}
			return q, nil
		})
		for _, m := range q.Messages {
			s.armC2D(box, m, left[m.Seq])
		}
	}
}
