# Type `make` for what there is.

# A checkout that belongs to somebody else, or none at all, has no version to stamp: that mustn't stop a build.
export GOFLAGS ?= -buildvcs=false

.PHONY: help demo build test lint bench bench-latency bench-idle bench-unicast bench-broadcast bench-million bench-foreign bench-run bench-growth bench-import soak chaos chaos-breaks chaos-build chaos-short services clean web web-needs web-lint web-test web-size

help:
	@echo 'make demo      the product on this machine with a loan book made for it: needs Go, nothing else'
	@echo 'make test      everything that CI runs; installs what is missing on Debian as root, else says what to install'
	@echo 'make lint      formatting, go vet, staticcheck, govulncheck, go.mod'
	@echo 'make bench     benchmarks (make bench-latency: from a status change to the screen; make bench-idle, bench-unicast,'
	@echo '               bench-broadcast, bench-million: the pusher beside others; bench-run: a million reminders due at once; bench-growth: books of all sizes;'
	@echo '               bench-import: a book by the API; see docs/benchmarks.md)'
	@echo 'make soak      an hour of work (MINUTES=5: less), and whether memory, files or goroutines get more meanwhile'
	@echo 'make build     the four programs into bin/'
	@echo 'make chaos     faults of every kind under load for ten minutes, then a check that nothing was lost (SEED=n replays one,'
	@echo '               FORM=services or embedded; make chaos-short: what make test runs of it; make chaos-breaks: whether it finds'
	@echo '               what is broken on purpose; see docs/chaos.md)'
	@echo 'make web       the client, the Vue components and the demo page from their sources (make web-size: what they weigh)'
	@echo 'make services  a shell with a private PostgreSQL and Redis for single tests: go test ./store/...'
	@echo 'make clean     removes bin/ and what was built in web/'

# Whoever tries it waits for the compiler, from empty caches: no debug information, and no inlining in go-redis, whose
# generated commands take a fifth of the time with it.
demo_flags := -ldflags='-s -w' -gcflags=all=-dwarf=false -gcflags='github.com/redis/go-redis/v9=-l -dwarf=false'

demo:
	@echo 'Compiling Duebell; the first time takes a minute or two.'
	@CGO_ENABLED=0 go build $(demo_flags) -o bin/duebell ./cmd/duebell
	@exec bin/duebell demo

build:
	CGO_ENABLED=0 go build -o bin/ ./cmd/...

# Pointer checks inside of the translated SQLite take half of the time of every test on it, and aren't ours.
race_flags := -gcflags='modernc.org/...=-d=checkptr=0'

test:
	@scripts/install-test-needs
	@$(MAKE) --no-print-directory lint build web-lint web-test
	CGO_ENABLED=0 go test -C tools ./...
	CGO_ENABLED=0 go test -run DoesNotAllocate ./delivery/socket # the race detector allocates
	CGO_ENABLED=0 go test -C chaos ./...
	CGO_ENABLED=0 go test -C bench ./...
	@$(MAKE) --no-print-directory chaos-short
	scripts/with-services env CGO_ENABLED=1 go test -race $(race_flags) -timeout 20m ./...

# Without cgo all of this shares the build cache of `build`.
lint:
	@echo 'gofmt -l'; unformatted=$$(find . -name '*.go' -not -path '*/node_modules/*' -exec gofmt -l {} +) && test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go mod tidy -diff
	CGO_ENABLED=0 go vet ./...
	CGO_ENABLED=0 go vet -C tools ./...
	CGO_ENABLED=0 go vet -C bench ./...
	CGO_ENABLED=0 go vet -C chaos ./...
	CGO_ENABLED=0 go build -C tools -o ../bin/ honnef.co/go/tools/cmd/staticcheck golang.org/x/vuln/cmd/govulncheck ./vulncheck
	CGO_ENABLED=0 bin/staticcheck ./...
	@for module in tools bench chaos; do echo "staticcheck of $$module/"; (cd $$module && CGO_ENABLED=0 ../bin/staticcheck ./...) || exit 1; done
	CGO_ENABLED=0 bin/vulncheck bin/govulncheck . tools bench chaos

# Node.js 20.19 or later, the machine's or one in bin/node, and the packages of the lock file.
with_node := scripts/with-node
node_modules := web/node_modules/.package-lock.json

$(node_modules): web/package-lock.json
	cd web && ../$(with_node) npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

web: $(node_modules)
	cd web && ../$(with_node) npm run build

web-lint: $(node_modules)
	cd web && ../$(with_node) npm run lint

# In browsers too, against the programs in bin/.
web-test: $(node_modules) build web-size
	cd web && ../$(with_node) npm run verify -w demo
	cd web && DUEBELL_BIN=$(CURDIR)/bin/duebell ../$(with_node) npm test

# Minified and gzipped, in KB of 1,000 bytes; fails above the budget.
web-size: $(node_modules)
	@cd web && ../$(with_node) npm run --silent size

bench:
	@scripts/install-test-needs
	scripts/with-services go test -bench . -benchmem -run '^$$' ./...

# The pusher beside Centrifugo and gorilla/websocket; the first time Centrifugo has to be compiled, some minutes.
bench-idle bench-unicast bench-broadcast bench-million: build
	@scripts/install-test-needs
	@CGO_ENABLED=0 go build -C bench -o ../bin/bench .
	@test -x bin/centrifugo || { echo 'Compiling Centrifugo'; CGO_ENABLED=0 go build -C bench -trimpath -ldflags='-s -w' -o ../bin/centrifugo github.com/centrifugal/centrifugo/v6; }
	@scripts/with-services bin/bench -bin bin $(@:bench-%=%)

# What needs no peer, on a PostgreSQL that waits for its disk. bench-run: a million reminders due at once; bench-latency: from
# POST /v1/status-changes to the frame, 500 a second, and the same during such a run; bench-growth: a run over
# 10,000 reminders in books of ten thousand to ten million installments (BOOK=1000000 makes none larger); bench-import: ten million
# installments through the API (ROWS=200000: fewer).
BOOK ?= 0
ROWS ?= 0

bench-foreign bench-run bench-latency bench-growth bench-import: build
	@scripts/install-test-needs
	@CGO_ENABLED=0 go build -C bench -o ../bin/bench .
	@scripts/with-large-database bin/bench -bin bin -book $(BOOK) -rows $(ROWS) $(@:bench-%=%)

# The programs at a fifth of what the machine holds, or at RATE status changes a second: fails if one of them grows.
MINUTES ?= 60
RATE ?= 0

soak: build
	@scripts/install-test-needs
	@CGO_ENABLED=0 go build -C bench -o ../bin/bench .
	@scripts/with-large-database bin/bench -bin bin -for $(MINUTES)m -rate $(RATE) soak

# It starts a PostgreSQL and a Redis of its own, since it kills them.
SEED ?= 0
FORM ?= both

chaos: chaos-build
	bin/chaos -bin bin -seed $(SEED) -form $(FORM)

# Two minutes of fixed seeds, of which nothing is left that Asynq finds only after two minutes more.
chaos-short: chaos-build
	bin/chaos -bin bin -seed 21 -form services -duration 45s -faults-every 2500ms
	bin/chaos -bin bin -seed 5 -form embedded -duration 30s -faults-every 2s

# Whether the harness finds what was broken on purpose: patches in chaos/breaks, on a copy.
chaos-breaks: chaos-build
	chaos/breaks/run

chaos-build: build
	@scripts/install-test-needs
	@CGO_ENABLED=0 go build -C chaos -o ../bin/chaos .

services:
	@scripts/install-test-needs
	-@scripts/with-services

clean:
	rm -rf bin web/node_modules web/*/dist
