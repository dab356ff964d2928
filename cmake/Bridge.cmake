# The imported target alga_bridge: the Rust crate bridge/ as a static library, with its C header.
#
# tools/build-bridge runs cargo in a folder outside the checkout (Wasmtime takes minutes to compile)
# and copies the library into the build folder. The system libraries are those that rustc prints
# with --print native-static-libs; the script fails when that list changes.
include_guard(GLOBAL)
set(bridge_dir ${PROJECT_SOURCE_DIR}/bridge)
set(bridge_library ${CMAKE_BINARY_DIR}/bridge/libalga_bridge.a)
file(GLOB_RECURSE bridge_sources CONFIGURE_DEPENDS ${bridge_dir}/src/*.rs ${bridge_dir}/src/*.wat)
file(GLOB_RECURSE bridge_wit CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/wit/*.wit ${bridge_dir}/wit/*.wit)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/bridge)

add_custom_command(
  OUTPUT ${bridge_library}
  COMMAND ${PROJECT_SOURCE_DIR}/tools/build-bridge ${bridge_library}
  DEPENDS ${bridge_sources} ${bridge_wit} ${bridge_dir}/Cargo.toml ${bridge_dir}/Cargo.lock
          ${PROJECT_SOURCE_DIR}/tools/build-bridge
  COMMENT "Building the bridge (Wasmtime) with cargo"
  USES_TERMINAL
  VERBATIM)
add_custom_target(alga_bridge_archive DEPENDS ${bridge_library})

add_library(alga_bridge STATIC IMPORTED GLOBAL)
set_target_properties(alga_bridge PROPERTIES IMPORTED_LOCATION ${bridge_library})
target_include_directories(alga_bridge INTERFACE ${bridge_dir}/include)
target_link_libraries(alga_bridge INTERFACE gcc_s util rt Threads::Threads m ${CMAKE_DL_LIBS})
add_dependencies(alga_bridge alga_bridge_archive)
