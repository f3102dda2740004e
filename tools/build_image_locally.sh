#!/bin/sh
# Builds the image where no image registry can be reached, on a root file system of debootstrap, and tries it as it is
# meant to run: read-only, without any capability, as nobody. As root, on Debian, with debootstrap, buildah, podman and
# runc installed. Takes some minutes, and is no part of the test suite.
#
#   tools/build_image_locally.sh [DIRECTORY]     the work directory; what is there already is not made again
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$(mktemp -d)}
base=localhost/imds-verifier-base:local
image=localhost/imds-verifier:local
mkdir -p "$work"

if [ ! -e "$work/rootfs/usr/bin/python3" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/rootfs"
fi
tar -C "$work/rootfs" -c . | podman import --quiet - "$base" >/dev/null
digest=$(podman image inspect --format '{{.Digest}}' "$base")

# The build trusts the authorities that this machine does, and no setting of it goes into the image.
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$work/pip.conf"
printf 'system-certs = true\n' >"$work/uv.toml"

build() {
    buildah bud --isolation chroot --pull-never --format docker --network host \
        --volume /etc/ssl/certs:/etc/ssl/certs:ro \
        --volume "$work/pip.conf:/etc/pip.conf:ro" --volume "$work/uv.toml:/etc/uv/uv.toml:ro" \
        --build-arg BASE_IMAGE="${base%:*}@$digest" "$@" "$here"
}
build --layers --target sbom --output "type=local,dest=$work/sbom"
build --layers --build-arg REVISION="$(git -C "$here" rev-parse HEAD)" --tag "$image"

restricted() {
    podman --runtime runc run --rm --network host --read-only --tmpfs /tmp --cap-drop all \
        --security-opt no-new-privileges --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 "$@"
}
echo "== without tenants it does not listen openly"
status=0
restricted "$image" || status=$?
test "$status" -eq 2
echo "== it serves, and its health check passes"
restricted --detach --name imds-verifier-local --env VERIFIER_HOST=127.0.0.1 --env VERIFIER_PORT=18080 \
    --volume imds-verifier-local:/var/lib/imds-verifier "$image" >/dev/null
trap 'podman stop --time 20 imds-verifier-local >/dev/null; podman volume rm imds-verifier-local >/dev/null' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 2
    if podman healthcheck run imds-verifier-local; then break; fi
done
podman healthcheck run imds-verifier-local
podman exec imds-verifier-local python -P -m verifier.cli.health http://127.0.0.1:18080/readyz
podman exec imds-verifier-local python -c 'import os; print("uid", os.getuid(), open("/proc/self/status").read().split("CapEff:")[1].split()[0])'
if podman exec imds-verifier-local python -c 'open("/opt/x", "w")' 2>/dev/null; then exit 1; fi
echo "== the root is read-only, the process without capabilities"
podman image inspect --format '{{.Size}} bytes, labels {{.Labels}}' "$image"
