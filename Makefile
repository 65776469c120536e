# `make verify` runs everything that CI runs and installs what it needs beside Go: a missing tool fails.
SHELL := /bin/bash -o pipefail
GO ?= go
BUILD := build
FUZZTIME ?= 1000x
SOAKTIME ?= 10m

.PHONY: check lint test soak coverage fuzz vendor container bench docs verify tools

tools: $(BUILD)/staticcheck
$(BUILD)/staticcheck: tools/go.mod tools/go.sum
	@mkdir -p $(BUILD)
	$(GO) build -modfile=tools/go.mod -o $@ honnef.co/go/tools/cmd/staticcheck

check: lint test

lint: $(BUILD)/staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags vendor ./e2e/... ./internal/pki/...
	$(BUILD)/staticcheck -tags vendor ./...
	$(GO) mod tidy -diff

test:
	$(GO) test -race -shuffle=on ./...

# What takes minutes: a process that is killed a hundred times under load, and one that must not grow in ten minutes
# of mixed traffic.
soak:
	FAKECLOUD_KILLS=100 $(GO) test -count=1 -timeout 20m -run 'TestKilled' -v ./e2e
	FAKECLOUD_SOAK=$(SOAKTIME) $(GO) test -count=1 -timeout 24h -run 'TestSoak' -v ./e2e

# The figure is made from what passing tests have proven, so nothing may come from the test cache.
coverage:
	@mkdir -p $(BUILD)
	@rm -f $(CURDIR)/$(BUILD)/proofs
	FAKECLOUD_PROOFS=$(CURDIR)/$(BUILD)/proofs $(GO) test -race -shuffle=on -count=1 ./...
	$(GO) run ./internal/rule/coverage $(BUILD)/proofs

fuzz:
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

vendor:
	scripts/vendor.sh

container:
	scripts/container.sh

bench:
	scripts/bench.sh

docs:
	$(GO) run ./internal/rule/rulesdoc

verify: lint coverage fuzz vendor container
