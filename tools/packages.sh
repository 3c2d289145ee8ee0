# shellcheck shell=bash
# Sourced by the other tools: `need PACKAGE...` makes sure that Debian packages are there.
#
# A package counts as there when its probe is: a command, or a file (a pattern is fine). So nothing is installed where another
# distribution, or a newer tool, already provides it.

declare -A package_probe=(
  [g++]=g++
  [cmake]=cmake
  [ninja-build]=ninja
  [ccache]=ccache
  [python3]=python3
  [libabsl-dev]='/usr/include/absl/status/statusor.h'
  [libgtest-dev]='/usr/include/gtest/gtest.h'
  [libgmock-dev]='/usr/include/gmock/gmock.h'
  [libcli11-dev]='/usr/include/CLI/CLI.hpp'
  [librapidcheck-dev]='/usr/include/rapidcheck/state.h'
  [nlohmann-json3-dev]='/usr/include/nlohmann/json.hpp'
  [libbenchmark-dev]='/usr/include/benchmark/benchmark.h'
  [libboost-dev]='/usr/include/boost/interprocess/managed_shared_memory.hpp'
  [libpmemobj-dev]='/usr/include/libpmemobj.h'
  [libjemalloc-dev]='/usr/include/jemalloc/jemalloc.h'
  [libmimalloc-dev]='/usr/include/mimalloc.h'
  [python3-matplotlib]='/usr/lib/python3/dist-packages/matplotlib/__init__.py'
  [clang-19]=clang++-19
  [clang-format-19]=clang-format-19
  [clang-tidy-19]=clang-tidy-19
  [llvm-19]=llvm-cov-19
  [libclang-rt-19-dev]='/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.asan-*.a'
)

is_there() {  # probe
  if [[ $1 == /* ]]; then
    compgen -G "$1" >/dev/null
  else
    command -v "$1" >/dev/null
  fi
}

need() {  # package...
  local missing=() package
  for package in "$@"; do
    is_there "${package_probe[$package]}" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0

  local as_root=()
  if ((EUID != 0)); then
    as_root=(sudo -n)
    if ! sudo -n true 2>/dev/null; then
      echo "missing: ${missing[*]}" >&2
      echo "Install them and try again: sudo apt-get install ${missing[*]}" >&2
      return 1
    fi
  fi
  if ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (Debian names); there is no apt-get here to install them with" >&2
    return 1
  fi
  echo "installing: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -q -y --no-install-recommends install "${missing[@]}"; } </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "apt-get could not install: ${missing[*]}" >&2
    return 1
  fi
  rm -f "$log"
  for package in "${missing[@]}"; do
    is_there "${package_probe[$package]}" || {
      echo "installed $package, but ${package_probe[$package]} is still not there" >&2
      return 1
    }
  done
}
