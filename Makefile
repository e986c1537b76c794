# For BSD make and GNU make alike.

# Tests start thousands of processes, which would each compile the sources anew where the environment forbids to keep it.
# Each of the two workers begins with one half, so that what a module shares is made once, and takes from the other's.
PYTEST = PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -n 2 --dist worksteal

.PHONY: help env run test test-postgres lint audit bench lock clean

help:
	@echo 'make env    build .venv and static/vendor from the lock files'
	@echo 'make run    try Cellblock with a simulated fleet'
	@echo 'make test   run the tests; those whose service is missing say so and are skipped'
	@echo '            (CELLBLOCK_TEST_SLOW=1 make test: also those that take minutes)'
	@echo 'make test-postgres  run those that use the database on PostgreSQL (CELLBLOCK_TEST_POSTGRES_URL)'
	@echo 'make lint   check format, style, types and settings for production'
	@echo 'make audit  ask for known vulnerabilities of the packages in use'
	@echo 'make bench  print the performance ratios'
	@echo 'make lock   make the lock files anew'
	@echo 'make clean  remove what make env built; data in .state stays'

env: .venv/.stamp-python static/vendor/icons.svg .env

.venv/.stamp-python: requirements-dev.txt
	@for python in "$${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo 'Python 3.11 or newer is needed: install it, or name it with PYTHON=... make env' >&2; exit 1; fi; \
	test -x .venv/bin/python || "$$found" -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@.venv/bin/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "cellblock.pth").write_text(str(pathlib.Path.cwd()) + "\n")'
	@touch $@

node_modules/.package-lock.json: .venv/.stamp-python package-lock.json requirements-node.txt
	@if command -v npm >/dev/null 2>&1; then npm ci --loglevel=error; else \
		.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-node.txt && \
		.venv/bin/python -m panel.assets npm ci --loglevel=error; \
	fi
	@touch $@

static/vendor/icons.svg: node_modules/.package-lock.json panel/assets.py panel/icons.txt
	.venv/bin/python -m panel.assets

.env:
	@printf '%s\n' '# This checkout is for trying and developing. For production see docs/install.md.' 'CELLBLOCK_DEMO=1' > $@

run: env
	@.venv/bin/python -m panel.supervise

test: env
	$(PYTEST) $(ARGS)

test-postgres: env
	CELLBLOCK_TEST_DATABASE_URL="$${CELLBLOCK_TEST_POSTGRES_URL:?names a PostgreSQL server the tests may make databases on}" \
		$(PYTEST) -m 'database and not browser and not sshd and not zfs and not slow' $(ARGS)

lint: env
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/bandit --quiet --configfile pyproject.toml --recursive jails panel manage.py
	CELLBLOCK_ENV_FILE=/dev/null CELLBLOCK_DEMO=0 CELLBLOCK_URL=https://panel.example CELLBLOCK_TRUSTED_PROXY=127.0.0.1 \
		CELLBLOCK_SECRET_KEY=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ CELLBLOCK_STATE_DIR=.state/lint \
		.venv/bin/python manage.py check --deploy --fail-level WARNING

audit: env
	.ci/audit

bench: env
	.venv/bin/python -m tests.bench

UV_LOCK = .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock: env
	$(UV_LOCK) pyproject.toml -o requirements.txt
	$(UV_LOCK) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(UV_LOCK) --group node -o requirements-node.txt
	npm install --package-lock-only --ignore-scripts

clean:
	rm -rf .venv node_modules static/vendor staticfiles .mypy_cache .pytest_cache .ruff_cache .hypothesis
