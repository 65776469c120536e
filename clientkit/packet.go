package clientkit

// Packet is one MQTT packet as the Trace function of a configuration sees it. Credentials are never in it.
type Packet struct {
	Sent        bool   // by the device; otherwise received
	Name        string // CONNECT, CONNACK, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PUBLISH, PUBACK, DISCONNECT
	ClientID    string // of CONNECT
	Username    string // of CONNECT
	HasPassword bool   // of CONNECT
	ReturnCode  byte   // of CONNACK
	Topic       string // of PUBLISH; the filter of SUBSCRIBE and UNSUBSCRIBE
	Payload     []byte // of PUBLISH; must not be changed
}
