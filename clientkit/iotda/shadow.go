package iotda

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/fakecloud/fakecloud/clientkit/internal/session"
	wire "github.com/fakecloud/fakecloud/internal/wire/iotda"
)

// ShadowService is the shadow of one service. Numbers are json.Number.
type ShadowService struct {
	ServiceID    string
	Desired      map[string]any
	DesiredTime  time.Time
	Reported     map[string]any
	ReportedTime time.Time
	Version      int64
}

// randomID is a request or event id; request ids must not hold = or /.
func randomID() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

// Shadow reads the shadow of a service, of all services when serviceID is empty. It asks again when the
// connection is lost before the answer. Errors: those of Report, or ErrNoAnswer.
func (d *Device) Shadow(ctx context.Context, serviceID string) ([]ShadowService, error) {
	return d.shadow(ctx, wire.PropertyGet{ServiceID: serviceID})
}

// ChildShadow reads the shadow of a gateway's child; as Shadow.
func (d *Device) ChildShadow(ctx context.Context, childID, serviceID string) ([]ShadowService, error) {
	return d.shadow(ctx, wire.PropertyGet{ObjectDeviceID: childID, ServiceID: serviceID})
}

func (d *Device) shadow(ctx context.Context, ask wire.PropertyGet) ([]ShadowService, error) {
	var body []byte
	err := d.session.Again(ctx, "shadow not asked for", "shadow not answered", func(l *session.Link) (err error) {
		body, err = d.askShadow(ctx, l, wire.Encode(ask))
		return err
	})
	if err != nil {
		return nil, err
	}
	var answer wire.ShadowAnswer
	if err := wire.Decode(body, &answer); err != nil {
		return nil, fmt.Errorf("iotda: the shadow cannot be read: %w", err)
	}
	list := make([]ShadowService, len(answer.Shadow))
	for i, s := range answer.Shadow {
		desired, _ := wire.ParseTime(s.Desired.EventTime) // zero where there is none
		reported, _ := wire.ParseTime(s.Reported.EventTime)
		list[i] = ShadowService{s.ServiceID, s.Desired.Properties, desired, s.Reported.Properties, reported, s.Version}
	}
	return list, nil
}

// askShadow asks on l and waits for the answer.
func (d *Device) askShadow(ctx context.Context, l *session.Link, body []byte) ([]byte, error) {
	topic := d.own(wire.ShadowGet)
	topic.RequestID = d.ids()
	answered := make(chan []byte, 1)
	d.mu.Lock()
	d.shadows[topic.RequestID] = answered
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.shadows, topic.RequestID)
		d.mu.Unlock()
	}()
	if err := l.Publish(ctx, topic.Format(), body); err != nil {
		return nil, err
	}
	select {
	case body := <-answered:
		return body, nil
	case <-l.Lost():
		return nil, session.ErrLost
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.cfg.Timing.After(answerTimeout):
		return nil, fmt.Errorf("%w within %s", ErrNoAnswer, answerTimeout)
	}
}

func (d *Device) shadowArrived(requestID string, body []byte) {
	d.mu.Lock()
	answered := d.shadows[requestID]
	delete(d.shadows, requestID)
	d.mu.Unlock()
	if answered != nil {
		answered <- body
	}
}
