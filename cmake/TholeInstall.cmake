# find_package(thole COMPONENTS queue) gives thole::queue and what it stands on.
include(CMakePackageConfigHelpers)
get_property(components GLOBAL PROPERTY THOLE_COMPONENTS)
foreach(name IN LISTS components)
  install(TARGETS thole_${name} EXPORT thole_${name}_targets COMPONENT ${name}
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  get_property(include GLOBAL PROPERTY THOLE_${name}_INCLUDE)
  install(DIRECTORY ${include}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT ${name})
  install(EXPORT thole_${name}_targets NAMESPACE thole:: FILE thole-${name}.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/thole COMPONENT ${name})
endforeach()
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/thole-config.cmake.in
  ${CMAKE_BINARY_DIR}/thole-config.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/thole)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/thole-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/thole-config.cmake ${CMAKE_BINARY_DIR}/thole-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/thole COMPONENT shm)
