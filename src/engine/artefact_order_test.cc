// Which compiled component leaves the disk first, and which one is made ready after a restart:
// what counts is the last use, also of what was in memory all the time.

#include <chrono>
#include <filesystem>

#include "engine/testing.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;
using domain::Limit;

class ArtefactOrderTest : public testing::EngineTest {
 protected:
  /// Empty: it is not on the disk.
  [[nodiscard]] fs::path artefact(std::string_view guest) const {
    const std::string hash = testing::hash_of(testing::guest_file(guest)).hex();
    for (const auto& entry : fs::directory_iterator(options.cache)) {
      const fs::path& path = entry.path();
      if (path.extension() == ".cwasm" && path.filename().string().starts_with(hash)) return path;
    }
    return {};
  }
  [[nodiscard]] bool is_ready(std::string_view guest) {
    return engine().find_ready(testing::hash_of(testing::guest_file(guest))) != nullptr;
  }
  void reopen_with_room_for(std::uint64_t components) {
    ASSERT_TRUE(options.limits.set_value(Limit::components_in_memory, components));
    options.preload_time = std::chrono::seconds{20};
    open();
  }
};

TEST_F(ArtefactOrderTest, WhatIsUsedFromMemoryStaysOnTheDisk) {
  ASSERT_TRUE(options.limits.set_value(Limit::components_on_disk, 2));
  options.note_uses_every = std::chrono::milliseconds{0};
  for (const char* guest : {"echo", "trap", "echo", "log"}) ASSERT_TRUE(load(guest)) << guest;
  EXPECT_EQ(loads_from("memory"), 1);
  EXPECT_FALSE(artefact("echo").empty());
  EXPECT_TRUE(artefact("trap").empty());
}

TEST_F(ArtefactOrderTest, IsKeptWithTheDiskAtTheLatestWhenTheEngineCloses) {
  for (const char* guest : {"echo", "trap", "log", "echo"}) ASSERT_TRUE(load(guest)) << guest;
  EXPECT_EQ(loads_from("memory"), 1) << "within the minute: the disk does not know yet";
  reopen_with_room_for(2);
  EXPECT_FALSE(is_ready("trap"));
  EXPECT_TRUE(is_ready("log"));
  EXPECT_TRUE(is_ready("echo"));
}

TEST_F(ArtefactOrderTest, DoesNotChangeByWhatAStartMakesReady) {
  const auto yesterday = fs::file_time_type::clock::now() - std::chrono::hours{24};
  for (const char* guest : {"echo", "trap"}) ASSERT_TRUE(load(guest)) << guest;
  close();
  for (const char* guest : {"echo", "trap"}) fs::last_write_time(artefact(guest), yesterday);
  reopen_with_room_for(2);
  close();
  for (const char* guest : {"echo", "trap"}) {
    EXPECT_EQ(fs::last_write_time(artefact(guest)), yesterday) << guest;
  }
}

}  // namespace
}  // namespace alga::engine
