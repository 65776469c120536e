// Package plane is what the control plane sees of a running instance: a struct of the parts that the
// root package has wired, so that the admin API needs neither the root package nor the platforms.
package plane
