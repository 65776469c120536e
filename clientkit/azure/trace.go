package azure

// Packet is one MQTT packet as [ProvisionConfig.Trace] and [HubConfig.Trace] see it. Credentials are
// never in it.
type Packet struct {
	Sent        bool   // by the device; otherwise received
	Name        string // CONNECT, CONNACK, SUBSCRIBE, SUBACK, PUBLISH, PUBACK, DISCONNECT
	ClientID    string // of CONNECT
	Username    string // of CONNECT
	HasPassword bool   // of CONNECT
	ReturnCode  byte   // of CONNACK
	Topic       string // of PUBLISH; the filter of SUBSCRIBE
	Payload     []byte // of PUBLISH; must not be changed
}

// tracer may be nil.
type tracer func(Packet)

func (t tracer) sent(p Packet) {
	if t != nil {
		p.Sent = true
		t(p)
	}
}

func (t tracer) received(p Packet) {
	if t != nil {
		t(p)
	}
}
