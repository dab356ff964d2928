// Tenants take turns where components are made ready.

#include <future>
#include <string>
#include <vector>

#include "engine/testing.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;

class ComponentLines : public testing::EngineTest {};

TEST_F(ComponentLines, WhoFloodsTheCompilerLeavesOthersTheirTurn) {
  const fs::path script = folder() / "worker", opened = folder() / "opened";
  testing::write_file(script, "#!/bin/sh\nwhile [ ! -e '" + opened.string() +
                                  "' ]; do sleep 0.02; done\nexec '" +
                                  fs::read_symlink("/proc/self/exe").string() + "' \"$@\"\n");
  fs::permissions(script, fs::perms::owner_all);
  options.self = script;
  options.compile_processes = 1;
  std::vector<std::future<Loaded>> flood;
  constexpr std::size_t most_in_line = 64;
  for (std::size_t i = 0; i < most_in_line; ++i) {
    flood.push_back(start_load("echo", std::to_string(i)));
  }
  const Loaded refused = load("echo", "one too many");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "engine.overload");
  EXPECT_EQ(refused.error().kind, Kind::unavailable);
  EXPECT_GT(refused.error().retry_after_s, 0U);
  // Another tenant's is compiled after the one under way and one more, or a few where this thread
  // and the one that looks on the disk are slow.
  auto of_other = start_load("echo", "of another", "other");
  testing::write_file(opened, "");
  ASSERT_TRUE(of_other.get());
  EXPECT_LE(loads_from("compile"), 10);
  // What was refused is not remembered as broken.
  EXPECT_TRUE(start_load("echo", "one too many", "third").get());
  close();
  for (std::future<Loaded>& each : flood) {
    const Loaded loaded = each.get();
    EXPECT_TRUE(loaded || loaded.error().code == "engine.unavailable");
  }
}

}  // namespace
}  // namespace alga::engine
