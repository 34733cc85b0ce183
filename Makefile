# Every verb of the project, once. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo

.PHONY: help setup check test demo bench fuzz build agent stock-kernel kernel initramfs initramfs-list boot-image pxe iso usb scenario

help: ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

setup: ## Install what building and testing need (Debian 12, as root or with sudo)
	@scripts/setup

check: ## The quick inner loop: format, lints, unit tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings
	$(CARGO) test --quiet --lib

build: setup ## The program, optimised: target/release/remint
	$(CARGO) build --release --bin remint

agent: setup ## The static program of the boot image: target/boot/remint
	@scripts/agent

stock-kernel: setup ## Debian's signed kernel and its modules: target/boot/vmlinuz, target/boot/modules
	@scripts/kernel stock

initramfs: agent $(if $(filter own,$(KERNEL)),kernel,stock-kernel) ## What a machine boots into: target/boot/initramfs.img (FIRMWARE=DIR adds firmware)
	@scripts/initramfs

initramfs-list: ## What is inside: path, size, and the package or module tree it came from
	@cat $(or $(CARGO_TARGET_DIR),target)/boot/$(if $(filter own,$(KERNEL)),own/)initramfs.list

iso: initramfs ## A disc or stick to boot from: target/boot/remint.iso (SETTINGS=FILE; docs/media.md)
	@scripts/media iso $(if $(SETTINGS),--settings "$(SETTINGS)")

usb: initramfs ## A stick with a partition for images: target/boot/remint-usb.img (SETTINGS=FILE SIZE=8G)
	@scripts/media usb $(if $(SETTINGS),--settings "$(SETTINGS)") $(if $(SIZE),--size "$(SIZE)")

pxe: initramfs ## What machines boot from the network: target/boot/pxe (SERVER=URL, ARGUMENTS=TEXT)
	@scripts/pxe $(if $(SERVER),--server '$(SERVER)') $(if $(ARGUMENTS),--arguments '$(ARGUMENTS)')

boot-image: initramfs pxe iso usb ## Everything that machines boot from: all of target/boot

scenario: boot-image ## One virtual machine of tests/scenarios/: make scenario NAME=network-bios
	$(CARGO) test --test boot -- $(NAME)

test: setup ## Every test there is
	# What a machine boots takes one processor for minutes: the rest is built beside it. Neither is left running where one fails.
	(scripts/lint && $(CARGO) test --no-run) & rest=$$!; made=0; $(MAKE) boot-image || made=$$?; \
	  wait $$rest || { echo "make: scripts/lint or the build of the tests failed, see above" >&2; exit 1; }; exit $$made
	$(CARGO) test --no-fail-fast || { cat $(or $(CARGO_TARGET_DIR),target)/boot/logs/failures 2>/dev/null; false; }

demo: build initramfs ## The main job, before your eyes: on files, then in virtual machines (MACHINE=uefi for UEFI and GPT)
	scripts/demo
	scripts/demo-machines $(or $(MACHINE),bios)

bench: build ## Speed against partclone, ntfsclone and fsarchiver, as ratios
	$(CARGO) build --release --example bare_cost
	scripts/bench

kernel: ## Our own kernel from Debian's sources: target/boot/own/vmlinuz (docs/kernel.md)
	scripts/kernel-own

fuzz: setup ## Fuzz every parser for SECONDS each (default 60); needs a nightly toolchain and cargo-fuzz
	scripts/fuzz $(or $(SECONDS_EACH),60)
