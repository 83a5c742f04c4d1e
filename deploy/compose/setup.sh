#!/usr/bin/env bash
# Writes deploy/compose/.env, which `docker compose` reads by itself: with keys for the S3 server that nobody else has.
source "$(dirname "$0")/../../scripts/common.sh"

usage() {
    cat <<USAGE
usage: deploy/compose/setup.sh [--test-server]

  --test-server   for machines that can pull no image: the S3 server of the project's own tests in the server's place
                  (\`make build\` makes it; it keeps everything in memory, and its keys are no secret)
USAGE
}

test_server=''
case ${1:-} in
'') ;;
--test-server) test_server=$CARGO_TARGET_DIR/release/fruitbatch-s3 ;;
-h | --help) usage && exit ;;
*) usage >&2 && exit 2 ;;
esac
[ -z "$test_server" ] || [ -x "$test_server" ] || fail "$test_server is not there" "run \`make build\`"

file=$root/deploy/compose/.env
[ ! -e "$file" ] || fail "$file is there already" "delete it for other keys, and the old volume with \`docker compose down --volumes\`"

random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

mkdir -p "$cache/models"
umask 077
{
    echo "COMPOSE_PROJECT_NAME=fruitbatch"
    echo "MODELS_FOLDER=$cache/models"
    if [ -n "$test_server" ]; then
        echo "COMPOSE_FILE=compose.yaml:compose.test-server.yaml"
        echo "S3_SERVER=$test_server"
        "$test_server" --keys
    else
        echo "S3_ACCESS_KEY=$(random 10)"
        echo "S3_SECRET_KEY=$(random 20)"
    fi
} >"$file.part"
mv "$file.part" "$file"

say "wrote $file"
compgen -G "$cache/models/*.onnx" >/dev/null || say "no model is here yet: run \`fruitbatch model fetch vgg16\`"
docker image inspect fruitbatch >/dev/null 2>&1 || say "no image \`fruitbatch\` is here yet: run scripts/docker-image.sh"
