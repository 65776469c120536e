package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	mindHost   = "mindconnectmqtt.eu1.mindsphere.io"
	mindTenant = "bench"
	// mindWorld provisions at once: what is measured is the work, not the pause that clients make.
	mindWorld = "mindsphere: {tenants: [{name: " + mindTenant + ", provisioning: 0s, certificates: [{name: demo-ca, ca: demo-ca}]}]}"
	fleet     = 500 // agents that come at once
)

// mindModel maps one data point.
const mindModel = `{"id":"m","data":{"typeModel":{
"aspectTypes":[{"referenceId":"a","id":"bench.climate","name":"climate","category":"dynamic","scope":"private","variables":[{"referenceId":"v","name":"t","dataType":"DOUBLE"}]}],
"assetTypes":[{"referenceId":"b","id":"bench.pump","name":"pump","parentTypeId":"core.basicasset","instantiable":true,"scope":"private","aspects":[{"referenceId":"c","name":"climate","aspectTypeId":"bench.climate"}],"variables":[]}]},
"instanceModel":{"assets":[{"referenceId":"p","typeId":"bench.pump","name":"pump"}]},
"mappingModel":{"mappings":[{"referenceId":"m","dataPointId":"t","assetReferenceId":"p","aspectName":"climate","variableName":"t"}]}}}`

// mindValue is one value, filled up to payloadSize.
var mindValue = fmt.Sprintf(`%-*s`, payloadSize, `{"timeseries":[{"timestamp":"2026-01-01T00:00:00.000Z","values":[{"dataPointId":"t","value":"21.5","qualityCode":"0"}]}]}`)

// issuer signs agents.
type issuer struct {
	pair tls.Certificate
	cert *x509.Certificate
}

func (t target) issuer() (*issuer, error) {
	pair, err := tls.X509KeyPair([]byte(t.DeviceCA), []byte(t.DeviceCAKey))
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	return &issuer{pair, cert}, err
}

// agent makes a certificate with a key for a common name.
func (i *issuer) agent(name string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.pair.PrivateKey)
	return tls.Certificate{Certificate: [][]byte{der, i.cert.Raw}, PrivateKey: key}, err
}

// mindConfig is a client's side of mutual TLS for an agent; floors present another name.
func (t target) mindConfig(floor bool, cert tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(t.CA))
	name := mindHost
	if floor {
		name = hubHost
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}, ServerName: name}
}

// mindDial connects an agent and reports whether it got CONNACK 0; false is a connection that was dropped.
func mindDial(address string, config *tls.Config, clientID string) (net.Conn, bool, error) {
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		return nil, false, err
	}
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60}, byte(len(clientID)>>8), byte(len(clientID)))
	body = append(body, clientID...)
	answer := make([]byte, 4)
	if _, err = c.Write(append([]byte{0x10, byte(len(body))}, body...)); err == nil {
		_, err = io.ReadFull(c, answer)
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil, false, c.Close()
	case err == nil && answer[3] != 0:
		err = fmt.Errorf("CONNACK %d", answer[3])
	}
	if err != nil {
		_ = c.Close()
		return nil, false, err
	}
	return c, true, nil
}

// benchMindSphere measures the onboarding of a fleet that comes at once, and time series.
func benchMindSphere(ctx context.Context, s settings) error {
	if err := benchFleet(ctx, s); err != nil {
		return err
	}
	return benchSeries(ctx, s)
}

// benchFleet: each agent is dropped once, provisioned, and accepted, beside two bare TLS connects. The target is
// that of the DPS onboarding: at most 1.3 x two bare connects.
func benchFleet(ctx context.Context, s settings) error {
	servers, stop, err := startAll(ctx, "fakecloud/ecdsa", "tls/ecdsa")
	if err != nil {
		return err
	}
	defer stop()
	round := 0
	costs, err := rounds(s, servers, func(p *process) (cost, error) {
		round++
		ca, err := p.target.issuer()
		if err != nil {
			return cost{}, err
		}
		configs, names := make([]*tls.Config, fleet), make([]string, fleet)
		for i := range fleet {
			name := fmt.Sprintf("f%d-%d", round, i)
			cert, err := ca.agent(name)
			if err != nil {
				return cost{}, err
			}
			names[i], configs[i] = mindTenant+"_"+name, p.target.mindConfig(isFloor(p), cert)
		}
		return measure(p, fleet, func() error {
			return atOnce(fleet, func(i int) error { return onboard(p, configs[i], names[i]) })
		})
	})
	if err != nil {
		return err
	}
	report(fmt.Sprintf("MindSphere eu1, onboarding of %d agents at once: dropped, provisioned, accepted (target: <= 1.3 x the CPU of two connects to tls)", fleet), servers, costs)
	return nil
}

func isFloor(p *process) bool { return !strings.HasPrefix(p.name, "fakecloud") }

// onboard connects twice, and where the agent is still being provisioned again.
func onboard(p *process, config *tls.Config, clientID string) error {
	const most = 50
	for n := 0; n < most; n++ {
		c, accepted, err := mindDial(p.target.Address, config, clientID)
		if err != nil {
			return err
		}
		if accepted {
			if err := c.Close(); err != nil {
				return err
			}
			if n > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("%s was dropped %d times", clientID, most)
}

// atOnce runs n operations beside each other.
func atOnce(n int, operation func(int) error) error {
	var group sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		group.Go(func() { errs[i] = operation(i) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// benchSeries measures time series that are parsed, mapped and stored, beside a bare mochi that only acknowledges.
func benchSeries(ctx context.Context, s settings) error {
	servers, stop, err := startAll(ctx, "fakecloud/ecdsa", "mochi/ecdsa")
	if err != nil {
		return err
	}
	defer stop()
	configs := map[*process][]*tls.Config{}
	for _, p := range servers {
		if configs[p], err = seriesAgents(p); err != nil {
			return err
		}
	}
	costs, err := rounds(s, servers, func(p *process) (cost, error) { return seriesRound(p, configs[p], s.messages) })
	if err != nil {
		return err
	}
	report(fmt.Sprintf("MindSphere eu1, time series with QoS 1 over TLS, %d B with one value, %d agents, %d in flight", payloadSize, devices, window), servers, costs)
	return nil
}

func seriesAgent(d int) (name, topic string) {
	name = fmt.Sprintf("s%d", d)
	return name, "tc/" + mindTenant + "/" + mindTenant + "_" + name + "/o/"
}

// seriesAgents makes the agents of the load; ours are provisioned and have their model.
func seriesAgents(p *process) ([]*tls.Config, error) {
	ca, err := p.target.issuer()
	if err != nil {
		return nil, err
	}
	configs := make([]*tls.Config, devices)
	for d := range devices {
		name, topic := seriesAgent(d)
		cert, err := ca.agent(name)
		if err != nil {
			return nil, err
		}
		configs[d] = p.target.mindConfig(isFloor(p), cert)
		if isFloor(p) {
			continue
		}
		if err := onboard(p, configs[d], mindTenant+"_"+name); err != nil {
			return nil, err
		}
		c, _, err := mindDial(p.target.Address, configs[d], mindTenant+"_"+name)
		if err != nil {
			return nil, err
		}
		packet, _ := mindPublish(topic+"amo_v4/mi", mindModel)
		err = streamPackets(c, packet, 0, 1)
		if err = errors.Join(err, c.Close()); err != nil {
			return nil, err
		}
	}
	return configs, nil
}

// mindPublish is a QoS 1 PUBLISH with packet id 1, and where the id stands.
func mindPublish(topic, payload string) (packet []byte, idAt int) {
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	idAt = len(body)
	body = append(append(body, 0, 1), payload...)
	packet = []byte{0x32, byte(len(body)%128) | 0x80, byte(len(body) / 128)}
	return append(packet, body...), idAt + len(packet)
}

func seriesRound(p *process, configs []*tls.Config, messages int) (cost, error) {
	conns := make([]net.Conn, 0, devices)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for d := range devices {
		name, _ := seriesAgent(d)
		c, accepted, err := mindDial(p.target.Address, configs[d], mindTenant+"_"+name)
		if err == nil && !accepted {
			err = errors.New("dropped")
		}
		if err != nil {
			return cost{}, fmt.Errorf("%s: %w", p.name, err)
		}
		conns = append(conns, c)
	}
	return measure(p, messages, func() error {
		return atOnce(devices, func(d int) error {
			_, topic := seriesAgent(d)
			packet, idAt := mindPublish(topic+"mc_v3/ts", mindValue)
			return streamPackets(conns[d], packet, idAt, messages/devices)
		})
	})
}
