#include "base/fair_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace alga {
namespace {

std::vector<int> drain(FairQueue<int>& queue) {
  std::vector<int> out;
  while (auto taken = queue.pop()) out.push_back(taken->item);
  return out;
}

TEST(FairQueue, LinesTakeTurnsAndKeepTheirOrder) {
  FairQueue<int> queue;
  for (const int item : {1, 2, 3, 4}) queue.push("many", item);
  queue.push("few", 10);
  queue.push("other", 20);
  queue.push("few", 11);
  EXPECT_EQ(queue.size(), 7U);
  EXPECT_EQ(queue.size("many"), 4U);
  EXPECT_EQ(drain(queue), (std::vector<int>{1, 10, 20, 2, 11, 3, 4}));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.size("many"), 0U);
}

TEST(FairQueue, ALineThatComesBackIsLastInTurn) {
  FairQueue<int> queue;
  queue.push("a", 1);
  queue.push("b", 10);
  queue.push("b", 11);
  EXPECT_EQ(queue.pop()->item, 1);
  queue.push("a", 2);
  EXPECT_EQ(drain(queue), (std::vector<int>{10, 2, 11}));
}

TEST(FairQueue, WhoMayNotIsPassedAndKeepsItsTurn) {
  FairQueue<int> queue;
  queue.push("a", 1);
  queue.push("b", 10);
  queue.push("b", 11);
  const auto not_a = [](const std::string& line) { return line != "a"; };
  const auto taken = queue.pop(not_a);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->line, "b");
  EXPECT_EQ(queue.pop()->item, 1);
  queue.push("a", 2);
  EXPECT_EQ(queue.pop(not_a)->item, 11);
  EXPECT_FALSE(queue.pop(not_a));
  EXPECT_EQ(queue.size(), 1U);
}

}  // namespace
}  // namespace alga
