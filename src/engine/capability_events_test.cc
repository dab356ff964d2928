#include "engine/capability_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace alga::engine {
namespace {

using ::testing::ElementsAre;

class CapabilityEventsTest : public ::testing::Test {
 protected:
  void note(std::string_view kind, std::string_view what, const std::string& reason) {
    events_.note({kind, what, "about " + std::string(what), reason}, record_);
  }
  CapabilityEvents events_;
  std::vector<std::string> recorded_;
  const CapabilityEvents::Record record_ = [this](std::string kind, std::string target,
                                                  std::string reason) {
    recorded_.push_back(kind + '|' + target + '|' + reason);
  };
};

TEST_F(CapabilityEventsTest, TheFirstOfEachIsRecordedAtOnceAndTheRestIsCounted) {
  for (int i = 0; i < 10'000; ++i) note("secret_read", "key", "given");
  note("secret_read", "other", "given");
  note("secret_read", "key", "missing");
  EXPECT_THAT(recorded_, ElementsAre("secret_read|about key|given", "secret_read|about other|given",
                                     "secret_read|about key|missing"));
  recorded_.clear();
  events_.conclude(record_);
  EXPECT_THAT(recorded_, ElementsAre("secret_read|about key|given (9999 times more)"));
  recorded_.clear();
  events_.conclude(record_);
  EXPECT_THAT(recorded_, ElementsAre()) << "once";
}

TEST_F(CapabilityEventsTest, HoweverManyDifferentOnesHideNoSecretThatWasGiven) {
  for (int i = 0; i < 5'000; ++i) note("denied", "name " + std::to_string(i), "cap");
  EXPECT_EQ(recorded_.size(), CapabilityEvents::most_kinds);
  note("secret_read", "late", "given");
  EXPECT_EQ(recorded_.back(), "secret_read|about late|given");
  recorded_.clear();
  events_.conclude(record_);
  EXPECT_THAT(recorded_, ElementsAre("denied|(others)|4900 times more"));
}

}  // namespace
}  // namespace alga::engine
