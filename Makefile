# The two commands of the README: `make demo` and `make test`. The rest serves developers.
.PHONY: demo test test-s3 build packages clean bench-boot bench-boot-replay bench-nbd bench-observe bench-launches bench-map bench-compose bench-storm bench-fairness bench-gate bench-history bench-dedup bench-tier bench-predict bench-agent bench-patterns deb bench-pollution bench-migrate bench-pull bench-place bench-ramp

BUILD := build/release
JOBS  := 2

packages:
	@packaging/install

$(BUILD)/build.ninja: CMakeLists.txt CMakePresets.json | packages
	cmake --preset release

build: packages $(BUILD)/build.ninja
	cmake --build --preset release --parallel $(JOBS)

demo: build
	demo/run
	demo/move

test: build
	cd $(BUILD) && ctest --output-on-failure -j $(JOBS)

# The S3 driver against a real radosgw (Ceph), which this installs: 64 MB.
test-s3: build
	packaging/install packages-s3.txt
	cd $(BUILD) && ctest --output-on-failure -L s3

# WITH, TRAINED_ON: components of a composed image and the images it is foreseen from (bench/boot --help).
bench-boot: build
	bench/boot $(if $(WITH),--with $(WITH)) $(if $(TRAINED_ON),--trained-on $(TRAINED_ON)) --out build/bench/boot.json

bench-boot-replay: build
	bench/boot_replay --out build/bench/boot_replay.json

bench-nbd: build
	bench/nbd --out build/bench/nbd.json

bench-observe: build
	mkdir -p build/bench
	$(BUILD)/bin/observe_bench --benchmark_out=build/bench/observe.json --benchmark_out_format=json

bench-map: build
	mkdir -p build/bench
	$(BUILD)/bin/map_bench build/bench/map.json $$(git rev-parse --short=12 HEAD || echo unknown)

bench-compose: build
	bench/compose --out build/bench/compose.json

bench-fairness: build
	mkdir -p build/bench
	$(BUILD)/bin/fairness_bench build/bench/fairness.json $$(git rev-parse --short=12 HEAD || echo unknown)

bench-gate: build
	mkdir -p build/bench
	$(BUILD)/bin/gate_bench build/bench/gate.json $$(git rev-parse --short=12 HEAD || echo unknown)

bench-pull: build
	mkdir -p build/bench
	$(BUILD)/bin/pull_bench build/bench/pull.json $$(git rev-parse --short=12 HEAD || echo unknown)
	bench/pull/real.py --programs $(BUILD)/bin --out build/bench/pull.json

bench-history: build
	mkdir -p build/bench
	$(BUILD)/bin/history_bench build/bench/history.json $$(git rev-parse --short=12 HEAD || echo unknown)

bench-storm: build
	bench/storm --out build/bench/storm.json

bench-dedup: build
	bench/dedup --out build/bench/dedup.json

# LAUNCHES: the folder of the traces (docs/launches.md).
bench-launches: build
	bench/launches $(if $(LAUNCHES),--data $(LAUNCHES)) --out build/bench/launches.json

# DAYS: a folder of days of PlanetLab, or an archive of one (docs/simulate.md).
bench-place: build
	bench/place $(if $(DAYS),--data $(DAYS)) --out build/bench/place.json

# Real guests in the lab; needs root. RAMP: more arguments (bench/ramp --help).
bench-ramp: build
	bench/ramp $(RAMP) --out build/bench/ramp.json

# BLOCKS: traces of block requests (docs/replay.md).
bench-predict: build
	bench/predict $(BLOCKS) --out build/bench/predict.json

bench-agent: build
	bench/agent --out build/bench/agent.json

# FIRST_SEED: of the mixes; those from 1 to 1000 are what thresholds were chosen on.
bench-patterns: build
	bench/patterns $(if $(FIRST_SEED),--first-seed $(FIRST_SEED)) --out build/bench/patterns.json

# The agent's Debian package, for guests: build/forerun-agent.deb.
deb: build
	packaging/agent/build-deb $(BUILD)/bin/forerun-agent build/forerun-agent.deb

# TRACES: traces of block requests (bench/pollution_replay/README.md).
bench-pollution: build
	bench/pollution $(TRACES) --out build/bench/pollution.json

# MIGRATE: more arguments (bench/migrate --help).
bench-migrate: build
	bench/migrate $(MIGRATE) --out build/bench/migrate.json

clean:
	rm -rf build

# TRACES: CSV files, a request a line (bench/tier/README.md).
bench-tier: build
	mkdir -p build/bench
	$(BUILD)/bin/tier_replay build/bench/tier.json $$(git rev-parse --short=12 HEAD || echo unknown) $(TRACES)
