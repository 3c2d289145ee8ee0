#!/bin/bash -eu
# Builds the fuzzers that run under a sanitizer, with the compiler and flags of the caller:
#   CXX CXXFLAGS   instrumented for a fuzzer and a sanitizer
#   LIB_FUZZING_ENGINE   what a fuzzer is linked with
#   SRC OUT   sources, and where programs, corpora and dictionaries go
# Libraries whose sources lie in SRC are built with that compiler first; others are the system's.
# With SANITIZER=none those of schedules and of forked processes are built, else the others.

install() {  # name, cmake argument...
  [[ -d $SRC/$1 ]] || return 0
  cmake -S "$SRC/$1" -B "$SRC/build-$1" -G Ninja -DCMAKE_CXX_STANDARD=20 \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX="$SRC/installed" "${@:2}"
  cmake --build "$SRC/build-$1" --target install
}
install abseil-cpp -DABSL_PROPAGATE_CXX_STD=ON
install googletest
install CLI11 -DCLI11_BUILD_TESTS=OFF -DCLI11_BUILD_EXAMPLES=OFF
install json -DJSON_BuildTests=OFF

# THOLE_SANITIZE only says that there is one: the flags are the caller's already.
sanitize=${SANITIZER:-address}
[[ $sanitize != none ]] || sanitize=
cmake -S "$SRC/thole" -B "$SRC/build-thole" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_PREFIX_PATH="$SRC/installed" -DTHOLE_FUZZERS=ON -DTHOLE_SANITIZE="$sanitize" \
  -DTHOLE_FUZZING_ENGINE="$LIB_FUZZING_ENGINE"
cmake --build "$SRC/build-thole" --target fuzzers

for program in "$SRC"/build-thole/fuzz/*_fuzzer; do
  name=$(basename "$program" _fuzzer)
  cp "$program" "$OUT/"
  zip -q -j "$OUT/${name}_fuzzer_seed_corpus.zip" "$SRC/thole/fuzz/corpus/$name"/*
  [[ ! -e $SRC/thole/fuzz/$name.dict ]] || cp "$SRC/thole/fuzz/$name.dict" "$OUT/${name}_fuzzer.dict"
done
