# make run    install what running needs, mount, serve in the foreground
# make test   install what tests need, run all tests (PYTEST='-k meminfo -x' to choose)
# make soak   what is only there to be long, at full length: a million reads, 50 deaths (docs/reliability.md)
# make check  ruff and mypy
# make fuzz   the fuzz tests with other bytes each time, and fifty times as many (some twenty minutes)
# make mutants  change the code in 200 places, and print what no unit test notices (MUTANTS='--seed 2')
# make bench  measure all targets beside lxcfs, and write docs/performance.md (BENCH='--rounds 3' for options)

MOUNT_POINT ?= /var/lib/lxcfs
PYTEST ?=
BENCH ?=
MUTANTS ?=
IMAGE ?= ubuntu

VENV := .venv
BIN := $(VENV)/bin
RUN_PACKAGES := python3-venv gcc libc6-dev python3-dev pkg-config libfuse3-dev
TEST_PACKAGES := $(RUN_PACKAGES) ca-certificates docker.io podman crun lxc uidmap busybox-static debootstrap lxcfs htop procps util-linux strace user-mode-linux \
    qemu-system-x86 virtiofsd kmod tmux nodejs default-jre-headless systemd cpio rsync toybox

# Tests start the daemon hundreds of times; it need not be compiled each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test soak check fuzz mutants bench fuse run-packages test-packages

run: fuse $(VENV)/installed-run
	@mkdir -p $(MOUNT_POINT)
	@echo "To try it, in another terminal (Ctrl-C here ends it):"
	@echo "  docker run --rm -m 100m --cpuset-cpus 0" \
	    "\$$($(CURDIR)/$(BIN)/pylxcfsctl docker-args --mount-point $(MOUNT_POINT)) $(IMAGE)" \
	    "sh -c 'free -m; top -b -n1 -1 | head -n 6'"
	@exec $(BIN)/pylxcfs -f $(MOUNT_POINT)

test: test-packages $(VENV)/installed-test
	$(BIN)/pytest $(PYTEST)

soak: test-packages $(VENV)/installed-test
	PYLXCFS_SOAK=yes $(BIN)/pytest tests/load/test_soak.py tests/load/test_replacement.py tests/guests/test_old_kernel.py $(PYTEST)

check: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: test-packages $(VENV)/installed-test
	$(BIN)/pytest --hypothesis-profile=fuzz tests/fuzz $(PYTEST)

mutants: test-packages $(VENV)/installed-test
	@$(BIN)/pip install --quiet --disable-pip-version-check 'coverage>=7'
	$(BIN)/python -m benchmarks.mutants $(MUTANTS)

bench: test-packages $(VENV)/installed-test
	$(BIN)/python -m benchmarks.performance $(BENCH)

fuse:
	@[ -c /dev/fuse ] || { \
	    echo "make run: no /dev/fuse: modprobe fuse; in a container, docker run --device /dev/fuse --cap-add SYS_ADMIN" >&2; \
	    exit 1; }

run-packages:
	@scripts/install-packages $(RUN_PACKAGES)

test-packages:
	@scripts/install-packages $(TEST_PACKAGES)

# Packages first (order-only): the venv needs python3-venv, and pyfuse3 a compiler.
$(VENV)/installed-run: pyproject.toml | run-packages
	@scripts/make-venv $(VENV) .
	@touch $@

$(VENV)/installed-test: pyproject.toml | run-packages
	@scripts/make-venv $(VENV) '.[dev]'
	@touch $@
