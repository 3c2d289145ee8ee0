# One function makes every component alike, another every test.
#
#   thole_component(queue DEPENDS shm SOURCES src/ring.cc ... HEADERS include/thole/queue/x.h ...)
#   thole_test(queue_ring_test COMPONENTS queue SOURCES tests/ring_test.cc [VARIANT checked|sim]
#              [LIBRARIES ...] [LABELS ...] [ARGUMENTS ...] [TIMEOUT seconds])
#   thole_test_support(queue COMPONENTS queue LIBRARIES ... SOURCES tests/support/...)
#
# A component is a static library `thole_X` (alias thole::X) that sees its own headers and those of
# the components it depends on, and no other. Two variants of it are for tests and never installed:
#   thole_X_checked   crash points and invariants compiled in
#   thole_X_sim       instrumented as for -fsanitize=thread, linked with the simulator's own runtime
# Every header is also compiled alone, so that it proves itself self-contained.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # What ccache must overlook where headers are precompiled; it still hashes their contents. Two
  # clones of the project share what they compile.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} ${CCACHE_PROGRAM})
endif()
# Four fifths of a small file's compile time are other people's headers.
set(THOLE_PRECOMPILED <absl/status/statusor.h> <algorithm> <array> <atomic> <functional> <map> <memory>
    <mutex> <optional> <span> <string> <string_view> <vector>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-fpch-preprocess)
endif()

# How the simulator's variant is compiled; without the built-in functions, so that they are seen.
set(THOLE_SIM_OPTIONS -fsanitize=thread -O2 -fno-builtin-memcpy -fno-builtin-memmove -fno-builtin-memset)

find_package(absl REQUIRED)
find_package(Threads REQUIRED)

add_library(thole_flags INTERFACE)
target_compile_options(thole_flags INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wpedantic -Werror
  -fno-omit-frame-pointer)
if(THOLE_SANITIZE)
  target_compile_options(thole_flags INTERFACE -fsanitize=${THOLE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(thole_flags INTERFACE -fsanitize=${THOLE_SANITIZE})
endif()

# The simulator replaces libtsan; it cannot be combined with a real sanitizer. The stepper runs the
# shipped machine code, which a sanitizer changes, with the trap flag that x86-64 has.
set(THOLE_SIMULATE OFF)
set(THOLE_STEP OFF)
if(THOLE_TESTS AND NOT THOLE_SANITIZE)
  set(THOLE_SIMULATE ON)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    set(THOLE_STEP ON)
  else()
    message(STATUS "The stepper needs x86-64: tests that link thole_step_main are not built")
  endif()
endif()

# What a fuzzer is told of our code: which branches were taken, and what was compared. Schedules say
# nothing about values, and a call at each comparison is dear where a run makes many.
function(thole_coverage_options out variant)
  if(variant STREQUAL "sim")
    set(${out} -fsanitize-coverage=inline-8bit-counters,pc-table PARENT_SCOPE)
  else()
    set(${out} -fsanitize=fuzzer-no-link PARENT_SCOPE)
  endif()
endfunction()

# One precompiled header for all libraries of a variant: "", checked or sim.
function(thole_library_headers target variant)
  if(THOLE_FUZZERS AND target MATCHES "^thole_testing")
    return()  # compiled unlike the components, see below
  endif()
  set(owner thole_library_headers)
  if(variant)
    string(APPEND owner _${variant})
  endif()
  thole_coverage_options(coverage "${variant}")
  if(NOT TARGET ${owner})
    set(source ${CMAKE_BINARY_DIR}/${owner}.cc)
    file(CONFIGURE OUTPUT ${source} CONTENT "// Nothing: the target exists for its headers.\n")
    add_library(${owner} OBJECT ${source})
    target_compile_options(${owner} PRIVATE -fno-exceptions
                           "$<$<STREQUAL:${variant},sim>:${THOLE_SIM_OPTIONS}>"
                           "$<$<BOOL:${THOLE_FUZZERS}>:${coverage}>")
    target_link_libraries(${owner} PRIVATE absl::status absl::statusor Threads::Threads thole_flags)
    target_precompile_headers(${owner} PRIVATE ${THOLE_PRECOMPILED})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
endfunction()

function(thole_variant target variant sources depends)
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -fno-exceptions)
  target_link_libraries(${target} PUBLIC ${depends} absl::status absl::statusor Threads::Threads)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:thole_flags>)
  if(variant STREQUAL "sim")
    target_compile_options(${target} PUBLIC ${THOLE_SIM_OPTIONS})
  elseif(variant STREQUAL "checked")
    target_compile_definitions(${target} PUBLIC THOLE_CHECKED=1)
  endif()
  thole_library_headers(${target} "${variant}")
  if(THOLE_FUZZERS)
    if(NOT target MATCHES "^thole_testing")  # the fuzzer sees which branches of ours are new
      thole_coverage_options(coverage "${variant}")
      target_compile_options(${target} PRIVATE ${coverage})
    endif()
    target_link_options(${target} INTERFACE $<BUILD_INTERFACE:-fsanitize=fuzzer-no-link>)
  endif()
endfunction()

function(thole_component name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;SOURCES;HEADERS" ${ARGN})
  list(TRANSFORM ARG_DEPENDS PREPEND thole_ OUTPUT_VARIABLE depends)
  thole_variant(thole_${name} "" "${ARG_SOURCES}" "${depends}")
  add_library(thole::${name} ALIAS thole_${name})
  set_target_properties(thole_${name} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY THOLE_COMPONENTS ${name})
  set_property(GLOBAL PROPERTY THOLE_${name}_DEPENDS "${ARG_DEPENDS}")
  set_property(GLOBAL PROPERTY THOLE_${name}_INCLUDE ${CMAKE_CURRENT_SOURCE_DIR}/include)

  # Each header alone.
  set(lonely)
  foreach(header IN LISTS ARG_HEADERS)
    string(MAKE_C_IDENTIFIER ${header} id)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/lonely/${id}.cc)
    string(REGEX REPLACE "^include/" "" header ${header})
    file(CONFIGURE OUTPUT ${source} CONTENT "#include <${header}>\n")
    list(APPEND lonely ${source})
  endforeach()
  if(THOLE_TESTS AND lonely AND NOT THOLE_SANITIZE)
    add_library(thole_${name}_headers OBJECT ${lonely})
    target_link_libraries(thole_${name}_headers PRIVATE thole_${name} thole_flags)
  endif()

  if(THOLE_TESTS)
    list(TRANSFORM depends APPEND _checked OUTPUT_VARIABLE depends_checked)
    thole_variant(thole_${name}_checked checked "${ARG_SOURCES}" "${depends_checked}")
  endif()
  if(THOLE_SIMULATE)
    list(TRANSFORM depends APPEND _sim OUTPUT_VARIABLE depends_sim)
    thole_variant(thole_${name}_sim sim "${ARG_SOURCES}" "${depends_sim}")
  endif()
endfunction()

# One precompiled header for all tests of a variant.
function(thole_test_headers name variant)
  set(owner thole_test_headers)
  set(shm thole_shm)
  if(variant)
    string(APPEND owner _${variant})
    string(APPEND shm _${variant})
  endif()
  if(NOT TARGET ${owner})
    set(source ${CMAKE_BINARY_DIR}/${owner}.cc)
    file(CONFIGURE OUTPUT ${source} CONTENT "// Nothing: the target exists for its headers.\n")
    add_library(${owner} OBJECT ${source})
    target_link_libraries(${owner} PRIVATE ${shm} thole_flags GTest::gmock)
    target_precompile_headers(${owner} PRIVATE ${THOLE_PRECOMPILED} <gtest/gtest.h>)
  endif()
  target_precompile_headers(${name} REUSE_FROM ${owner})
endfunction()

# thole_test_support(queue COMPONENTS ... LIBRARIES ... SOURCES ...): what several tests share, once for
# each variant, as queue_test_support[_checked|_sim].
function(thole_test_support name)
  cmake_parse_arguments(ARG "" "" "COMPONENTS;LIBRARIES;SOURCES" ${ARGN})
  if(NOT THOLE_TESTS)
    return()
  endif()
  set(variants "" checked)
  if(THOLE_SIMULATE)
    list(APPEND variants sim)
  endif()
  list(TRANSFORM ARG_COMPONENTS PREPEND thole_ OUTPUT_VARIABLE libraries)
  list(APPEND libraries ${ARG_LIBRARIES})
  foreach(variant IN LISTS variants)
    set(suffix "")
    if(variant)
      set(suffix _${variant})
    endif()
    set(target ${name}_test_support${suffix})
    add_library(${target} STATIC ${ARG_SOURCES})
    list(TRANSFORM libraries APPEND "${suffix}" OUTPUT_VARIABLE of_variant)
    target_link_libraries(${target} PUBLIC ${of_variant} PRIVATE thole_flags GTest::gmock)
    thole_test_headers(${target} "${variant}")
  endforeach()
endfunction()

function(thole_test name)
  cmake_parse_arguments(ARG "" "VARIANT;TIMEOUT" "COMPONENTS;SOURCES;LIBRARIES;LABELS;ARGUMENTS" ${ARGN})
  if(NOT THOLE_TESTS OR (ARG_VARIANT STREQUAL "sim" AND NOT THOLE_SIMULATE))
    return()
  endif()
  if("thole_step_main" IN_LIST ARG_LIBRARIES AND NOT THOLE_STEP)
    return()
  endif()
  list(TRANSFORM ARG_COMPONENTS PREPEND thole_ OUTPUT_VARIABLE libraries)
  if(ARG_VARIANT)
    list(TRANSFORM libraries APPEND _${ARG_VARIANT})
  endif()
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_VARIANT STREQUAL "sim")
    target_link_libraries(${name} PRIVATE thole_sim_runtime)
  endif()
  target_link_libraries(${name} PRIVATE ${libraries} ${ARG_LIBRARIES} thole_flags GTest::gtest_main GTest::gmock)
  thole_test_headers(${name} "${ARG_VARIANT}")
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGUMENTS})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()
