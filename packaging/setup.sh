#!/usr/bin/env bash
# Creates .venv with the pinned packages, FFCV built against two OpenCV libraries only, and this package.
# Environment: PYTHON (interpreter, default python3), VENV (default .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}
system_packages=(libopencv-imgproc-dev libturbojpeg0-dev pkg-config)

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
  die "$("$python" --version) at $(command -v "$python"); Python 3.10 to 3.13 is needed. Set PYTHON=/path/to/python3.11"
"$python" -c 'import venv, ensurepip' 2>/dev/null || system_packages+=(python3-venv)
"$python" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
  system_packages+=(python3-dev)
command -v c++ >/dev/null || system_packages+=(g++)

missing=()
for package in "${system_packages[@]}"; do
  case $package in
    libopencv-imgproc-dev) [ -e /usr/include/opencv4/opencv2/imgproc.hpp ] || missing+=("$package") ;;
    libturbojpeg0-dev) [ -e /usr/include/turbojpeg.h ] || missing+=("$package") ;;
    pkg-config) command -v pkg-config >/dev/null || missing+=("$package") ;;
    *) missing+=("$package") ;;
  esac
done
if [ ${#missing[@]} -gt 0 ]; then
  advice="These system packages are missing: ${missing[*]}
  Debian or Ubuntu:  sudo apt-get install --no-install-recommends ${missing[*]}
  elsewhere: a C++ compiler, pkg-config, and the headers of OpenCV 4 (core, imgproc) and libjpeg-turbo (turbojpeg.h) under /usr/include"
  command -v apt-get >/dev/null || die "$advice"
  if [ "$(id -u)" = 0 ]; then root=(); elif sudo -n true 2>/dev/null; then root=(sudo -n); else die "$advice"; fi
  say "Installing system packages: ${missing[*]}"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "$advice"
fi

[ -x "$venv/bin/python" ] || { say "Creating $venv"; "$python" -m venv "$venv"; }
pip=("$venv/bin/python" -m pip --disable-pip-version-check -q)
pin() { sed -n "s/^\($1==[^ ]*\)$/\1/p" constraints.txt; }
"${pip[@]}" install -r packaging/build-requirements.txt

torch=$(pin torch)
if ! "$venv/bin/python" -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '${torch#torch==}')" 2>/dev/null; then
  say "Installing $torch"
  # Without a GPU the CPU wheel saves gigabytes; where its index cannot be reached, the default one has torch too.
  command -v nvidia-smi >/dev/null ||
    "${pip[@]}" install --retries 0 --timeout 10 --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null ||
    true
  "${pip[@]}" install "$torch"
fi

if "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  say "Installing the pinned packages (constraints.txt)"
  # The list is complete, so pip must not resolve again: ffcv's metadata asks for opencv-python, which clashes with -headless.
  "${pip[@]}" install --no-deps -r <(grep -vE '^(torch|ffcv)==' constraints.txt)
else
  say "Python 3.10: constraints.txt was made for 3.11 and later; resolving from pyproject.toml's ranges instead"
  PKG_CONFIG_PATH="$PWD/packaging/ffcv" "${pip[@]}" install --no-build-isolation -e '.[dev]'
fi
if ! "$venv/bin/python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('ffcv') is None)"; then
  say "Building FFCV"
  PKG_CONFIG_PATH="$PWD/packaging/ffcv" "${pip[@]}" install --no-deps --no-build-isolation "$(pin ffcv)"
fi
"${pip[@]}" install --no-deps --no-build-isolation -e .
touch "$venv/.ready"
say "Ready: $venv"
