# The everyday commands. `make demo` and `make test` set up what is missing first.
SHELL := /bin/bash
ARGS ?=
SWIFT ?= swift
PROGRAM := .build/release/hedgerow
# So many tests at a time: all at once, they starve each other on a small machine.
TOGETHER := --experimental-maximum-parallelization-width 8

.PHONY: help setup build demo down test screenshots compatibility torture bench-edge bench-hub bench-solution package test-package format lint clean fuzz

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## install what is missing (Debian packages), prepare the base image of the sample
	@scripts/setup $(ARGS)

build: ## the program, optimised: .build/release/hedgerow
	@scripts/setup --build-only
	$(SWIFT) build -c release --product hedgerow

demo: setup ## the whole story on this machine: make demo ARGS="--platform arm32v7 --exit-after-messages 5"
	$(SWIFT) build -c release --product hedgerow
	@$(PROGRAM) up examples/sunshine $(ARGS)

down: ## stop what a demo with --detach left running
	@$(PROGRAM) down

test: ## every test: unit, contract and end to end; FILTER=Name runs some of them
	@scripts/setup --for-tests
	$(SWIFT) build --build-tests
	@scripts/with-engine $(SWIFT) test --skip-build $(TOGETHER) $(if $(FILTER),--filter $(FILTER))

compatibility: ## drive the public clients against a hub and write docs/compatibility.md
	@scripts/setup --for-tests
	$(SWIFT) build --build-tests
	@rm -rf .hedgerow/compatibility && mkdir -p .hedgerow/compatibility
	HEDGEROW_RESULTS=$(CURDIR)/.hedgerow/compatibility $(SWIFT) test --skip-build \
	    --filter 'ServiceSDKTests|AMQPClientTests|ProvisioningClientTests|FileUploadClientTests'
	@scripts/compatibility .hedgerow/compatibility

screenshots: ## the pictures of docs/images, taken of a small fleet that runs
	@scripts/setup --for-tests
	$(SWIFT) build --build-tests
	HEDGEROW_SCREENSHOTS=$(CURDIR)/docs/images $(SWIFT) test --skip-build --filter DashboardInBrowser.Pictures
	@if command -v optipng > /dev/null; then optipng -quiet -o2 docs/images/*.png; fi

torture: ## kill a hub under load again and again: make torture KILLS=300
	$(SWIFT) build --build-tests
	HEDGEROW_KILLS=$(or $(KILLS),300) $(SWIFT) test --skip-build --filter DurabilityTests

bench-edge: ## the edge hub against mosquitto: throughput, latency, drain rate, bytes written, memory
	@scripts/setup --for-bench
	$(SWIFT) build -c release --product hedgerow
	@scripts/bench-edge

bench-hub: ## the hub against mosquitto, and a registry of a million twins
	@scripts/setup --for-bench
	$(SWIFT) build -c release --product hedgerow
	@Benchmarks/hub.py $(PROGRAM)

fuzz: ## give every decoder hostile inputs: make fuzz INPUTS=10000000
	HEDGEROW_FUZZ=$(or $(INPUTS),10000000) $(SWIFT) test -c release -Xswiftc -enable-testing --filter FuzzTests

bench-solution: ## our solution tool and the former one, in alternation
	@scripts/setup --for-tests
	$(SWIFT) build -c release --product hedgerow
	@scripts/with-engine Benchmarks/solution.py $(PROGRAM)

# With Swift's libraries inside, which changes every object, so in a folder beside that of the demo.
STATIC := -c release --static-swift-stdlib --scratch-path .build-package

package: ## Debian packages and images of hub and edge, compose.yaml, checksums: dist/
	@scripts/setup --for-packages
	$(SWIFT) build $(STATIC) --product hedgerow
	$(SWIFT) build $(STATIC) --product hedgerow-edge
	@scripts/package

test-package: package ## install, upgrade, remove and purge the packages in a clean Debian 12, run the images
	@scripts/test-packages
	@scripts/with-engine scripts/test-images

format: ## rewrite the sources in the house style
	$(SWIFT) format -i -r Sources Tests Package.swift

lint: ## style, and the floors of docs/architecture.md
	$(SWIFT) format lint -r --strict Sources Tests Package.swift
	@scripts/check-floors

clean: ## remove what was built (not the caches under ~/.cache/hedgerow)
	@if [ -x $(PROGRAM) ]; then $(PROGRAM) down > /dev/null 2>&1 || true; fi
	rm -rf .build .build-package .hedgerow dist
