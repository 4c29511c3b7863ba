# Each target is a script in scripts/; `make` alone lists them.
SEEDS ?= 200
PREFIX ?= $(HOME)/.local
PROMPT ?= Hello AITBC
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench sim install

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

demo: ## Run one job on this machine, from prompt to verified receipt (PROMPT=TEXT)
	@scripts/demo '$(subst ','\'',$(PROMPT))'

test: ## Run every test; installs what they need (ARGS=arguments of cargo nextest run)
	@scripts/test $(ARGS)

lint: ## Check format, clippy, the contract, dependencies and scripts
	@scripts/lint

bench: ## Measure a release build (ARGS=arguments of aitbc-bench)
	@scripts/bench $(ARGS)

sim: ## Simulate the cores over a faulty network (SEEDS=N, default 200; ARGS=more arguments of aitbc-sim)
	@scripts/sim --seeds $(SEEDS) $(ARGS)

install: ## Install the three programs below PREFIX (default ~/.local)
	@scripts/install '$(PREFIX)'
