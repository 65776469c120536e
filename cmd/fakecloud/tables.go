package main

import (
	"github.com/fakecloud/fakecloud"
	"github.com/fakecloud/fakecloud/internal/rule"
)

// allRules returns every rule that this version enforces; no instance has to run for it.
func allRules() *rule.Table { return fakecloud.Rules() }
