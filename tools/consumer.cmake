# Installs one component and what it stands on, and builds and runs a program against that alone, as
# a stranger would.
#
#   cmake -DBUILD=build/release -DCOMPONENT=queue -DDEPENDS=shm -DHEADER=thole/queue/x.h -P tools/consumer.cmake
string(REPLACE "," ";" DEPENDS "${DEPENDS}")
set(folder ${BUILD}/consumer/${COMPONENT})
file(REMOVE_RECURSE ${folder})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGN}\nended with ${status}:\n${output}")
  endif()
endfunction()

foreach(component IN LISTS DEPENDS ITEMS ${COMPONENT})
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${folder}/prefix --component ${component})
endforeach()
file(GLOB headers RELATIVE ${folder}/prefix/include/thole ${folder}/prefix/include/thole/*)
set(expected ${DEPENDS} ${COMPONENT})
list(SORT expected)
if(NOT headers STREQUAL expected)
  message(FATAL_ERROR "installed headers of '${headers}', expected '${expected}'")
endif()

file(WRITE ${folder}/CMakeLists.txt "cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(thole REQUIRED COMPONENTS ${COMPONENT})
add_executable(consumer main.cc)
target_link_libraries(consumer PRIVATE thole::${COMPONENT})
")
file(WRITE ${folder}/main.cc "#include <${HEADER}>
#include <thole/shm/crc32c.h>
int main() { return thole::shm::Crc32c(\"123456789\", 9) == 0xe3069283 ? 0 : 1; }
")
run(${CMAKE_COMMAND} -S ${folder} -B ${folder}/build -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_PREFIX_PATH=${folder}/prefix -DCMAKE_CXX_COMPILER=${CXX})
run(${CMAKE_COMMAND} --build ${folder}/build)
run(${folder}/build/consumer)
file(REMOVE_RECURSE ${folder})
