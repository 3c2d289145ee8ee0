# The checks of the house as tests. Included at the end of the top CMakeLists.txt.
#
#   includes_X_without_Y   a header of Y cannot be found from a target that links only thole::X
#   includes_Y_alone       the same header compiles where it may, so that the test above can fail
#   installed_X            a program finds, links and runs an installed X without the other components
#   examples_X             the examples in the heads of X's public headers compile
# and, where the whole house is built:
#   tidy, tidy_self_test   the rules of tools/tidy.py hold, and can fail
#   bench_self_test        the runner, medians, ratios and goals of tools/bench are right
#   mutants_self_test      the operators of tools/mutants do what they say, no excuse is stale
#   seeded_self_test       every seeded bug still fits the sources
#   operations             every public mutating operation is stepped and simulated
#   crash_points           every step of a step table is died at by some test
#   house, format, examples_documents
# Who may see whom. Written here once more, so that a dependency added by mistake is a red test.
set(thole_may_see_shm "")
foreach(name alloc registry queue)
  set(thole_may_see_${name} shm)
endforeach()
set(thole_may_see_comm shm alloc registry queue)

get_property(thole_components GLOBAL PROPERTY THOLE_COMPONENTS)
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# The include flags that linking thole::X gives, transitive ones included.
macro(thole_include_flags variable component)
  set(${variable}
    "-I$<JOIN:$<REMOVE_DUPLICATES:$<TARGET_PROPERTY:thole_${component},INTERFACE_INCLUDE_DIRECTORIES>>,$<SEMICOLON>-I>")
endmacro()

function(thole_house_test name)
  add_test(NAME ${name} COMMAND ${ARGN} COMMAND_EXPAND_LISTS WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS house TIMEOUT 120)
endfunction()

set(compile ${CMAKE_CXX_COMPILER} -std=c++20 -fsyntax-only)
foreach(other IN LISTS thole_components)
  get_property(include GLOBAL PROPERTY THOLE_${other}_INCLUDE)
  file(GLOB headers RELATIVE ${include} ${include}/thole/${other}/*.h)
  list(GET headers 0 header)
  set(source ${CMAKE_BINARY_DIR}/includes/${other}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include <${header}>\n")
  thole_include_flags(flags ${other})
  thole_house_test(includes_${other}_alone ${compile} "${flags}" ${source})

  foreach(name IN LISTS thole_components)
    if(NOT other STREQUAL name AND NOT other IN_LIST thole_may_see_${name})
      thole_include_flags(flags ${name})
      thole_house_test(includes_${name}_without_${other} ${compile} "${flags}" ${source})
      set_tests_properties(includes_${name}_without_${other} PROPERTIES
        PASS_REGULAR_EXPRESSION "${header}: No such file|'${header}' file not found")
    endif()
  endforeach()

  list(JOIN thole_may_see_${other} "," depends)
  if(NOT THOLE_SANITIZE)
    thole_house_test(installed_${other} ${CMAKE_COMMAND} -DBUILD=${CMAKE_BINARY_DIR} -DCOMPONENT=${other}
      "-DDEPENDS=${depends}" -DHEADER=${header} -DCXX=${CMAKE_CXX_COMPILER} -P tools/consumer.cmake)
    set_tests_properties(installed_${other} PROPERTIES LABELS "house;slow")
  endif()

  thole_include_flags(flags ${other})
  thole_house_test(examples_${other}
    Python3::Interpreter tools/examples.py --headers ${include} -- ${compile} "${flags}")
endforeach()

if("comm" IN_LIST thole_components)
  thole_house_test(tidy Python3::Interpreter tools/tidy.py)
  thole_house_test(tidy_self_test Python3::Interpreter tools/tidy.py --self-test)
  thole_house_test(bench_self_test
    Python3::Interpreter -m unittest discover -s tools/benchmarks -t tools -p *_test.py)
  thole_house_test(mutants_self_test Python3::Interpreter tools/mutants --self-test)
  thole_house_test(seeded_self_test Python3::Interpreter tools/seeded.py --self-test)
  thole_house_test(house Python3::Interpreter tools/house.py --check-readme)
  if(EXISTS ${CMAKE_SOURCE_DIR}/tools/operations.py)
    thole_house_test(operations Python3::Interpreter tools/operations.py)
  endif()
  thole_house_test(crash_points
    Python3::Interpreter tools/crash_points.py --build ${CMAKE_BINARY_DIR})
  thole_include_flags(flags comm)
  thole_house_test(examples_documents
    Python3::Interpreter tools/examples.py --documents . -- ${compile} "${flags}")
  find_program(CLANG_FORMAT clang-format-19)
  if(CLANG_FORMAT)
    thole_house_test(format tools/format --check)
  else()
    message(STATUS "clang-format-19 is missing: no test of the format")
  endif()
endif()
