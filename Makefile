# Every verb of the project, once. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo

.PHONY: help setup check test demo bench fuzz build kernel

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

setup: ## Install what building and testing need (Debian 12, as root or with sudo)
	@scripts/setup

check: ## The quick inner loop: format, lints, unit tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings
	$(CARGO) test --quiet --lib

build: setup ## The program, optimised: target/release/remint
	$(CARGO) build --release --bin remint

test: setup ## Every test there is
	scripts/lint
	$(CARGO) test --no-fail-fast

demo: build ## The main job, before your eyes: capture a disk over HTTP, deploy it to a larger one
	scripts/demo

bench: build ## Speed against partclone, ntfsclone and fsarchiver, as ratios
	$(CARGO) build --release --example bare_cost
	scripts/bench

kernel: ## Our own kernel from Debian's sources: target/boot/own/vmlinuz (docs/kernel.md)
	scripts/kernel-own

fuzz: setup ## Fuzz every parser for SECONDS each (default 60); needs a nightly toolchain and cargo-fuzz
	scripts/fuzz $(or $(SECONDS_EACH),60)
