# A short front door to Meson: `make help` lists the doors. On a fresh Debian 12, `make run` and
# `make test` are all there is to do: they install what is missing, and say what and why.
BUILD = build
ASAN = build-asan
TSAN = build-tsan
FUZZ_SECONDS = 60
SOAK_SECONDS = 600
SHORT = 15
SOURCES = $(shell git ls-files -co --exclude-standard 'src/*.[ch]' 'src/*.cpp' 'tests/*.[ch]' 2>/dev/null)

.DEFAULT_GOAL = build
.PHONY: build run test test-az check asan tsan fuzz format format-check lint rooms pure bench mutants soak install clean help

build: ## Build build/weir
	@tools/setup.sh run
	@tools/configure.sh $(BUILD)
	ninja -C $(BUILD)

run: ## Install what is missing, build, and run a demonstration on this machine
	@tools/setup.sh run
	@tools/configure.sh $(BUILD)
	ninja -C $(BUILD) weir
	$(BUILD)/weir demo

test: ## Install what is missing, build, and run every test
	@tools/setup.sh test
	@tools/configure.sh $(BUILD)
	ninja -C $(BUILD)
	@tools/test.sh $(BUILD) "meson e2e"

test-az: ## Run the Azure CLI against a control plane (installs the newest, or Debian's)
	@tools/setup.sh test
	@tools/configure.sh $(BUILD)
	ninja -C $(BUILD) weir
	WEIR_AZ=$$(tools/az.sh) WEIR_BIN=$(BUILD)/weir $$(tools/node.sh) --test --test-timeout=300000 tests/az/*.test.mjs

check: ## Everything that CI runs: tests, rooms, pure, mutants, format, lint, sanitizers, fuzzing
	@bash .ci/run

asan: configure-asan ## Build with ASan and UBSan, by clang; run every test, and a short soak
	@SOAK_SECONDS=$(SHORT) tools/test.sh $(ASAN) "meson e2e soak" --no-suite tools

tsan: ## Build with TSan; run the tests that start threads, and a short soak
	@tools/setup.sh test
	@# no -Werror: with sanitizers gcc warns of what is not there
	@tools/configure.sh $(TSAN) -Db_sanitize=thread -Db_lundef=false -Dtests=enabled -Dwerror=false
	@SOAK_SECONDS=$(SHORT) tools/test.sh $(TSAN) "meson soak" --suite threads

fuzz: configure-asan ## Fuzz each target for FUZZ_SECONDS (60)
	ninja -C $(ASAN)
	tools/fuzz.py run $(ASAN) $(FUZZ_SECONDS)

.PHONY: configure-asan
configure-asan: # one build serves ASan, UBSan, libFuzzer and clang-tidy
	@tools/setup.sh check
	@CC=clang-14 CXX=clang++-14 tools/configure.sh $(ASAN) -Db_sanitize=address,undefined -Db_lundef=false \
		-Dfuzz=true -Dtests=enabled

format: ## Lay out the code in the house style
	@tools/setup.sh check
	clang-format-14 -i $(SOURCES)

format-check: ## Complain where `make format` would change something
	@tools/setup.sh check
	clang-format-14 --dry-run --Werror $(SOURCES)

lint: configure-asan ## Let clang-tidy and cppcheck look for defects
	ninja -C $(ASAN)
	tools/lint.sh $(ASAN)

rooms: ## Check every #include against src/ROOMS
	tools/rooms.py check

pure: ## Check that the pure rooms call no system
	@tools/configure.sh $(BUILD)
	ninja -C $(BUILD)
	tools/check_pure.py $(BUILD)

bench: ## Measure CPU, memory and latency beside nginx and HAProxy, and counting beside other tokenizers
	@tools/setup.sh bench
	@tools/configure.sh $(BUILD)
	ninja -C $(BUILD) weir
	tools/bench.py --weir $(BUILD)/weir --out $(BUILD)/bench.json $(BENCH_FLAGS)
	$$(tools/node.sh) tools/bench_tokens.mjs $(BUILD)/weir --out $(BUILD)/bench-tokens.json

mutants: ## Change the code in small ways and see whether a test notices
	@tools/setup.sh test
	python3 tools/mutants.py

soak: ## Run under load for SOAK_SECONDS (600) and watch memory, descriptors and accounts
	@tools/setup.sh test
	@tools/configure.sh $(BUILD)
	ninja -C $(BUILD)
	@SOAK_SECONDS=$(SOAK_SECONDS) tools/test.sh $(BUILD) soak

install: build ## Install into /usr/local, or with DESTDIR
	meson install -C $(BUILD) --no-rebuild

clean: ## Remove all build directories
	rm -rf $(BUILD) $(ASAN) $(TSAN)

help: ## List these
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14
