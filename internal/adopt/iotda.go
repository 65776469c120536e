package adopt

import (
	"crypto/x509"
	"strings"

	"github.com/fakecloud/fakecloud/internal/wire/iotda"
	"github.com/fakecloud/fakecloud/internal/world"
)

// authCertificates is the auth_type of devices that prove themselves by certificate.
const authCertificates = "CERTIFICATES"

// planIoTDA lets a device in that its instance does not know, whose certificate it does not know, or that is
// barred. A password tells nothing of the secret behind it.
func planIoTDA(w *world.World, a *Attempt) (*world.World, error) {
	id, err := iotda.ParseClientID(a.ClientID)
	if err != nil || id.DeviceID != a.Username {
		return nil, fault(a)
	}
	instance := findInstance(w, a.Endpoint)
	known, registered := findIoTDADevice(instance, id.DeviceID)
	change := world.IoTDAInstance{Name: instance.Name}
	device := world.IoTDADevice{DeviceID: id.DeviceID, ProductID: known.ProductID}
	switch a.Rule {
	case "DA-11/frozen":
		device.Frozen = &no
	case "DA-11/plain":
		device.SecureAccess = &no
	case "DA-15/unverified":
		name, ok := unverified(a, uploads(instance))
		if !ok {
			return nil, fault(a)
		}
		change.Certificates = []world.IoTDACertificate{{CACertificate: world.CACertificate{Name: name, Verified: &yes}}}
		return instances(change), nil
	case "DA-15/chain":
		ca, ok := authority(a)
		if !ok {
			return nil, cannot("the device did not send the certificate of its CA%s: fakecloud add ca FILE --to iotda/%s", issuedBy(a), instance.Name)
		}
		change.Certificates = []world.IoTDACertificate{{Space: spaceOf(instance, known), CACertificate: world.CACertificate{
			Name: "adopted-" + strings.ToLower(id.DeviceID), PEM: pemOf(ca), Verified: &yes}}}
		return instances(change), nil
	case "DA-15/fingerprint", "DA-16/learned", "DA-17/no-password", "DA-9/unknown":
		if len(a.Certificates) == 0 {
			return nil, secretNeeded(instance, id.DeviceID)
		}
		device.AuthType, device.Fingerprint = authCertificates, thumbprintOf(a.Certificates[0])
	case "DA-2/password":
		return nil, secretNeeded(instance, id.DeviceID)
	default:
		return nil, fault(a)
	}
	if !registered {
		product, node, isNew := productFor(instance, id.DeviceID)
		device.ProductID, device.NodeID = product, node
		if isNew {
			change.Products = []world.Product{{ProductID: product}}
		}
	}
	change.Devices = []world.IoTDADevice{device}
	return instances(change), nil
}

// secretNeeded is the answer to a device that signs in with a password: the line registers it with its secret.
func secretNeeded(instance world.IoTDAInstance, device string) error {
	product, node, isNew := productFor(instance, device)
	line := "fakecloud add iotda-device " + node + " --product " + product
	if d, ok := findIoTDADevice(instance, device); ok {
		line, isNew = "fakecloud add iotda-device "+d.Node()+" --replace --product "+d.ProductID, false
		product, node = d.ProductID, d.Node()
	}
	if product+"_"+node != device {
		line += " --id " + device
	}
	line += " --secret SECRET"
	if isNew {
		line += " (after fakecloud add product " + product + ")"
	}
	return cannot("the device signs in with an HMAC of its secret, which cannot be read from it; give the world the secret: %s", line)
}

// productFor returns the product and the node id that a device id is made of: PRODUCT_NODE with the longest
// product that the instance has, else with one that is new. An id that is not made so goes to the first product.
func productFor(i world.IoTDAInstance, device string) (product, node string, isNew bool) {
	for _, p := range i.Products {
		if rest, ok := strings.CutPrefix(device, p.ProductID+"_"); ok && rest != "" && len(p.ProductID) > len(product) {
			product, node = p.ProductID, rest
		}
	}
	if product != "" {
		return product, node, false
	}
	if before, after, ok := strings.Cut(device, "_"); ok && before != "" && after != "" {
		return before, after, true
	}
	if len(i.Products) > 0 {
		return i.Products[0].ProductID, device, false
	}
	return "adopted", device, true
}

func findInstance(w *world.World, name string) world.IoTDAInstance {
	for _, i := range w.IoTDA.Instances {
		if strings.EqualFold(i.Name, name) {
			return i
		}
	}
	return world.IoTDAInstance{Name: name}
}

func findIoTDADevice(i world.IoTDAInstance, id string) (world.IoTDADevice, bool) {
	for _, d := range i.Devices {
		if d.DeviceID == id {
			return d, true
		}
	}
	return world.IoTDADevice{}, false
}

// spaceOf is the resource space of a device: its product's.
func spaceOf(i world.IoTDAInstance, d world.IoTDADevice) string {
	for _, p := range i.Products {
		if p.ProductID == d.ProductID {
			return p.Space
		}
	}
	return ""
}

func uploads(i world.IoTDAInstance) []world.CACertificate {
	var all []world.CACertificate
	for _, c := range i.Certificates {
		all = append(all, c.CACertificate)
	}
	return all
}

// issuedBy names who has issued a client's certificate.
func issuedBy(a *Attempt) string {
	if len(a.Certificates) == 0 {
		return ""
	}
	return " (" + a.Certificates[0].Issuer.String() + ")"
}

// thumbprintOf is a certificate's SHA-256 thumbprint in the form of the world file.
func thumbprintOf(c *x509.Certificate) string {
	thumbprint, err := world.SHA256Thumbprint([]byte(pemOf(c)))
	if err != nil { // a parsed certificate has one
		return ""
	}
	return thumbprint
}

func instances(i world.IoTDAInstance) *world.World {
	return &world.World{IoTDA: world.IoTDA{Instances: []world.IoTDAInstance{i}}}
}
