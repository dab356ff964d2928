# alga_layer(<name> [DEPENDS <layers>…] [LIBRARIES <targets>…] [PCH <headers>…])
#
# A folder under src/ is a layer: all its .cc files but the tests and benches make the static
# library alga_<name>; all its *_test.cc files make the program <name>_test. A layer sees only the
# layers it DEPENDS on; tools/check-layers holds the includes against the same picture.
function(alga_layer name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBRARIES;TEST_LIBRARIES;PCH" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|bench|fuzz)\\.cc$")
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")

  add_library(alga_${name} STATIC ${sources})
  target_include_directories(alga_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM arg_DEPENDS PREPEND alga_ OUTPUT_VARIABLE layers)
  target_link_libraries(alga_${name} PUBLIC ${layers} ${arg_LIBRARIES} Threads::Threads)
  if(arg_PCH)
    target_precompile_headers(alga_${name} PRIVATE ${arg_PCH})
  endif()

  if(ALGA_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE alga_${name} ${arg_TEST_LIBRARIES} GTest::gmock GTest::gtest_main)
    if(arg_PCH)
      target_precompile_headers(${name}_test PRIVATE ${arg_PCH})
    endif()
    add_test(NAME ${name} COMMAND ${name}_test --gtest_brief=1)
  endif()
endfunction()
