# How everything is compiled.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(ALGA_TESTS "Build the tests" ON)
option(ALGA_FUZZ "Build the fuzzers (libFuzzer) too" OFF)
option(ALGA_LATE "What follows an answer comes late (base/late.h)" OFF)
set(ALGA_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_compile_options(
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wimplicit-fallthrough -Wthread-safety -Wno-missing-field-initializers
  -Wno-gnu-statement-expression -fstack-protector-strong -fno-omit-frame-pointer
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
# Builds without debug information by default: the build is half as long. Line tables stay.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-gline-tables-only -D_FORTIFY_SOURCE=2 -D_GLIBCXX_ASSERTIONS)
endif()
# ccache and precompiled headers
add_compile_options(-Xclang -fno-pch-timestamp)

add_link_options(-fuse-ld=lld -Wl,-z,relro,-z,now)
if(ALGA_SANITIZE)
  add_compile_options(-fsanitize=${ALGA_SANITIZE} -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${ALGA_SANITIZE})
endif()
if(ALGA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
