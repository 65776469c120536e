// Package arm is the part of the Azure Resource Manager (management.azure.com) that concerns DPS: instances
// as resources, their keys, and their CA certificates with the proof of possession (Learn, REST reference
// "Dps Certificate"), with the core of package dps behind it.
//
// Subscriptions and resource groups are not emulated: any name is taken and given back.
package arm
