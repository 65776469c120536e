package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/fakecloud/fakecloud/emulators/iothub"
	"github.com/fakecloud/fakecloud/internal/rule"
	"github.com/fakecloud/fakecloud/internal/wire/azure"
)

// receive locks the oldest message and answers it; 204 where none is free.
func (c *call) receive() *rule.Refusal {
	if r := c.visit().AdmitReceive(); r != nil {
		return r
	}
	m, ok := c.head.hub.ReceiveC2D(c.id, lockTimeout(c.r.Header))
	if !ok {
		c.done(http.StatusNoContent, nil)
		return nil
	}
	h := c.w.Header()
	h["ETag"] = []string{`"` + m.Lock + `"`} // azure-iot-sdk-c looks it up in this spelling only
	to := m.To
	if to == "" {
		to = "/devices/" + c.id.DeviceID + "/messages/deviceBound"
	}
	for _, f := range [][2]string{
		{"iothub-messageid", m.MessageID}, {"iothub-to", to}, {"iothub-correlationid", m.CorrelationID}, {"iothub-userid", m.UserID},
		{"iothub-contenttype", m.ContentType}, {"iothub-contentencoding", m.ContentEncoding}, {"iothub-expiry", expiry(m)},
		{"iothub-ack", string(m.Ack)}, {"iothub-sequencenumber", strconv.FormatUint(m.Seq, 10)},
		{"iothub-enqueuedtime", m.EnqueuedAt.UTC().Format(http.TimeFormat)}, {"iothub-deliverycount", strconv.Itoa(m.DeliveryCount)},
		{"iothub-messagelocktoken", m.Lock},
	} {
		if f[1] != "" {
			h[f[0]] = []string{f[1]} // as spelled: SDKs look fields up in any case, people in this one
		}
	}
	for _, p := range m.Properties {
		name := azure.HubAppHeader(p.Name)
		h[name] = append(h[name], p.Value)
	}
	h.Set("Content-Type", "application/octet-stream")
	if m.ContentType != "" {
		h.Set("Content-Type", m.ContentType)
	}
	c.status = http.StatusOK
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(m.Body)
	return nil
}

// lockTimeout is how long a client asks to lock a message (IotHub-MessageLockTimeout of the REST reference,
// "Receive Device Bound Notification"), in seconds. Zero stands for the usual time; the reference does not say
// what becomes of a value that is no number of seconds, so that one counts for nothing.
func lockTimeout(h http.Header) time.Duration {
	s, err := strconv.ParseUint(h.Get("IotHub-MessageLockTimeout"), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(s) * time.Second
}

func expiry(m iothub.C2DMessage) string {
	if !m.ExpirySet {
		return ""
	}
	return m.Expiry.UTC().Format(time.RFC3339)
}

// settle completes a message, or rejects it where the query says so.
func (c *call) settle() *rule.Refusal {
	outcome := iothub.Completed
	if c.r.URL.Query().Has("reject") {
		outcome = iothub.Rejected
	}
	return c.conclude(outcome)
}

func (c *call) abandon() *rule.Refusal { return c.conclude(iothub.Abandoned) }

func (c *call) conclude(o iothub.Outcome) *rule.Refusal {
	c.visit()
	if err := c.head.hub.SettleC2D(c.id, c.path.ID, o); err != nil {
		return &rule.Refusal{Rule: "HUB-63/lock", Code: 412002, Detail: "the lock is not that of a message, or has run out",
			Seen: "lock " + shown(c.path.ID), Expected: "the ETag of the message's GET, within 60 seconds (or IotHub-MessageLockTimeout) and once"}
	}
	c.done(http.StatusNoContent, nil)
	return nil
}
