#!/usr/bin/env bash
# Proves the README's two commands on a machine that has nothing: a minimal Debian with python3, git, make and a compiler.
#
#   sudo tests/machines/fresh_machine.sh FOLDER root|user [COMMAND…]
#
# FOLDER takes the machine (2 GB) and is kept, so that a second call starts there; delete it to start anew. As `user`
# the commands run without rights, after root has installed the three system packages that the README names.
# COMMAND… replaces the default: `make demo ENV=test`, then `make test`.
# BIND="/etc/pip.conf /srv/wheels" lends files and folders of this machine, read-only: pip's configuration, a cache of wheels.
set -euo pipefail
[ $# -ge 2 ] && [ "$(id -u)" = 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
project=$(cd "$(dirname "$0")/../.." && pwd)
machine=$(realpath -m "$1") who=$2
shift 2
[ "$who" = root ] || [ "$who" = user ] || { echo "fresh_machine: the second word is root or user, not $who" >&2; exit 2; }
command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null; }

# Everything is mounted in a namespace of its own, so nothing stays mounted when this script ends or is killed.
[ -n "${FRESH_MACHINE:-}" ] || FRESH_MACHINE=1 exec unshare --mount --propagation private "$0" "$machine" "$who" "$@"

codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true)
mirror=${MIRROR:-$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' <<<"$sources" | sed -n 1p)}
if [ ! -e "$machine/etc/debian_version" ]; then
  time debootstrap --variant=minbase --include=python3,python3-venv,python3-dev,git,make,g++,ca-certificates \
    "$codename" "$machine" "$mirror" >"$machine.log" 2>&1 || { tail -5 "$machine.log" >&2; exit 1; }
fi
mount -t proc proc "$machine/proc"
mount --rbind /dev "$machine/dev"
cp /etc/resolv.conf /etc/hosts "$machine/etc/"
cp -r /etc/apt/sources.list* /etc/apt/apt.conf.d "$machine/etc/apt/"
for path in ${BIND:-}; do
  [ -e "$path" ] || continue
  if [ -d "$path" ]; then mkdir -p "$machine$path"; else mkdir -p "$machine$(dirname "$path")" && touch "$machine$path"; fi
  mount --bind -o ro "$path" "$machine$path"
done
inside() { chroot "$machine" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"; }
home=/root
if [ "$who" = user ]; then
  home=/home/user
  inside id user >/dev/null 2>&1 || inside useradd --create-home user
  inside DEBIAN_FRONTEND=noninteractive apt-get update -qq
  inside DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    libopencv-imgproc-dev libturbojpeg0-dev pkg-config >/dev/null
fi
rm -rf "$machine$home/cdm-kedro"
git -c safe.directory="$project" clone -q "$project" "$machine$home/cdm-kedro"
chown -R "$(stat -c %u:%g "$machine$home")" "$machine$home/cdm-kedro"
mapfile -t lent < <(env | grep "^PIP_" || true)
[ $# -gt 0 ] || set -- "make demo ENV=test" "make test"
for command in "$@"; do
  echo "== $who: $command"
  start=$SECONDS
  chroot --userspec="$(stat -c %u:%g "$machine$home")" "$machine" \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="$home" "${lent[@]}" \
    bash -c 'cd ~/cdm-kedro && eval "$1"' - "$command"
  echo "== $who: $command took $((SECONDS - start)) s"
done
