#include "engine/component_report.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace alga::engine {
namespace {

/// A description with these counts and with one memory and one table of these sizes.
std::string description(int instances, int memories, int tables, long pages = 1, long elements = 1,
                        long span = 0, long data = 0) {
  return R"({"kind":"component","size":1,"imports":[],"exports":[],"producers":[],)"
         R"("memories":[{"initial_pages":)" +
         std::to_string(pages) + R"(}],"tables":[{"initial":)" + std::to_string(elements) +
         R"(}],"core_modules":1,"core_instances":)" + std::to_string(instances) +
         R"(,"instantiated_memories":)" + std::to_string(memories) + R"(,"instantiated_tables":)" +
         std::to_string(tables) + R"(,"image_span_bytes":)" + std::to_string(span) +
         R"(,"data_bytes":)" + std::to_string(data) + "}";
}

std::vector<std::string> beyond(const std::string& text) {
  auto report = read_report(text);
  EXPECT_TRUE(report);
  return report ? report->beyond_slots : std::vector<std::string>{};
}

TEST(ComponentReport, HoldsComponentsToWhatASlotOfThePoolHas) {
  using Reasons = std::vector<std::string>;
  EXPECT_EQ(beyond(description(64, 4, 8)), Reasons{});
  EXPECT_EQ(beyond(description(65, 4, 8)), Reasons{"65 core instances; a slot has 64"});
  EXPECT_EQ(beyond(description(1, 5, 9)),
            (Reasons{"5 memories; a slot has 4", "9 tables; a slot has 8"}));
  EXPECT_EQ(beyond(description(1, 1, 1, 16'385)),
            Reasons{"1073807360 bytes of one memory at the start; a slot has 1073741824"});
  EXPECT_EQ(beyond(description(1, 1, 1, 1, 100'001)),
            Reasons{"100001 elements of one table at the start; a slot has 100000"});
}

TEST(ComponentReport, TellsOfAnImageThatIsTooSparseForCopyOnWrite) {
  const auto sparse = [](long span, long data) {
    return read_report(description(1, 1, 1, 1, 1, span, data)).value().sparse_image_bytes;
  };
  constexpr long mib = 1 << 20;
  EXPECT_EQ(sparse(9 * mib, 3 * mib), 0U) << "as componentize-js makes them";
  EXPECT_EQ(sparse(128 * mib, 1), 0U);
  EXPECT_EQ(sparse(128 * mib + 1, 1), 128U * mib + 1);
  EXPECT_EQ(sparse(200 * mib, 101 * mib), 0U) << "more than half of it is data";
}

TEST(ComponentReport, RefusesADescriptionThatLacksTheCounts) {
  EXPECT_FALSE(read_report(R"({"kind":"component","size":1,"imports":[],"exports":[]})"));
}

}  // namespace
}  // namespace alga::engine
