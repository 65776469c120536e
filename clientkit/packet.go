package clientkit

// Packet is one MQTT packet as the Trace function of a configuration sees it. The password of CONNECT is never in it;
// payloads are whole, and the answers of some services hold a secret: MindSphere's agent token, a device secret that
// IoTDA's provisioning issues.
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
