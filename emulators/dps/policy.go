package dps

import (
	"fmt"
	"slices"
	"strings"
)

// Rights are what a shared access policy of an instance allows (how-to-control-access.md).
type Rights byte

// The rights.
const (
	ServiceConfig Rights = 1 << iota
	EnrollmentRead
	EnrollmentWrite
	RegistrationStatusRead
	RegistrationStatusWrite

	AllRights = ServiceConfig | EnrollmentRead | EnrollmentWrite | RegistrationStatusRead | RegistrationStatusWrite
)

var rightNames = [...]string{"ServiceConfig", "EnrollmentRead", "EnrollmentWrite", "RegistrationStatusRead", "RegistrationStatusWrite"}

// Names lists the rights in the vendor's order.
func (r Rights) Names() []string {
	var names []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// String joins the names: "EnrollmentRead, EnrollmentWrite".
func (r Rights) String() string { return strings.Join(r.Names(), ", ") }

// ParseRight reads the name of one right, without case.
func ParseRight(name string) (Rights, error) {
	for i, known := range rightNames {
		if strings.EqualFold(name, known) {
			return 1 << i, nil
		}
	}
	return 0, wrong("rights", "%q is none of %s", clip(name), strings.Join(rightNames[:], ", "))
}

// OwnerPolicy is the shared access policy that every instance has; it may do everything.
const OwnerPolicy = "provisioningserviceowner"

// maxPolicies bounds the policies of an instance; our own.
const maxPolicies = 100

// Policy is a shared access policy. A missing key stays as it is in the instance that is replaced, else
// it is generated.
type Policy struct {
	Name   string `json:"name"` // 1 to 64 characters, unique without case
	Rights Rights `json:"rights"`
	SymmetricKey
}

// Policy returns the policy of that name.
func (i Instance) Policy(name string) (Policy, bool) {
	for _, p := range i.Policies {
		if strings.EqualFold(p.Name, name) {
			return p, true
		}
	}
	return Policy{}, false
}

// completePolicies adds the owner's policy where it is missing, and keys where they are.
func (i *Instance) completePolicies(old Instance) error {
	if _, ok := i.Policy(OwnerPolicy); !ok {
		i.Policies = append([]Policy{{Name: OwnerPolicy, Rights: AllRights}}, i.Policies...)
	}
	if len(i.Policies) > maxPolicies {
		return wrong("policies", "%d policies; the limit is %d", len(i.Policies), maxPolicies)
	}
	for n := range i.Policies {
		p := &i.Policies[n]
		field := fmt.Sprintf("policies[%d]", n)
		twice := slices.ContainsFunc(i.Policies[:n], func(other Policy) bool { return strings.EqualFold(other.Name, p.Name) })
		switch {
		case p.Name == "" || len(p.Name) > 64:
			return wrong(field+".name", "%q is no policy name: 1 to 64 characters", clip(p.Name))
		case twice:
			return wrong(field+".name", "%q is given twice", clip(p.Name))
		case p.Rights == 0 || p.Rights&^AllRights != 0:
			return wrong(field+".rights", "some of %s", strings.Join(rightNames[:], ", "))
		}
		had, _ := old.Policy(p.Name)
		if p.Primary == "" {
			p.Primary = had.Primary
		}
		if p.Secondary == "" {
			p.Secondary = had.Secondary
		}
		if err := p.normalise(field); err != nil {
			return err
		}
	}
	return nil
}
