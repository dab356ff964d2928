#include "runner/preparations.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <vector>

#include "runner/testing.h"

namespace alga::runner::testing {
namespace {

using domain::Limit;

class PreparationsTest : public ::testing::Test {
 protected:
  /// Takes a place and keeps it; the limit in the way otherwise.
  std::optional<Limit> take(const std::string& tenant, const std::string& install) {
    auto place = all_.take(tenant, install);
    if (!place) return place.error();
    places_.push_back(std::move(*place));
    return std::nullopt;
  }
  alga::testing::CountingMetrics metrics_;
  Gauge& gauge_ = metrics_.gauge("now", "");
  Preparations all_{{.process = 6, .tenant = 4, .install = 3}, gauge_};
  std::vector<Preparations::Place> places_;
};

TEST_F(PreparationsTest, HoldsEachBoundAndNamesTheOneInTheWay) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(take("t1", "a"), std::nullopt);
  EXPECT_EQ(take("t1", "a"), Limit::executions_per_install);
  EXPECT_EQ(take("t1", "b"), std::nullopt) << "the others of the tenant have room";
  EXPECT_EQ(take("t1", "b"), Limit::executions_per_tenant);
  EXPECT_EQ(take("t1", "a"), Limit::executions_per_tenant) << "the tenant's comes first";
  EXPECT_EQ(take("t2", "a"), std::nullopt) << "other tenants have room";
  EXPECT_EQ(take("t3", "a"), std::nullopt);
  EXPECT_EQ(take("t4", "a"), Limit::executions);
  EXPECT_EQ(all_.size(), 6U);
  EXPECT_EQ(all_.tenants(), 3U) << "whoever was refused is not remembered";
  EXPECT_EQ(metrics_.count("now"), 6);
}

TEST_F(PreparationsTest, APlaceIsGivenBackOnce) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(take("t1", "a"), std::nullopt);
  std::vector<Preparations::Place> moved = std::move(places_);
  EXPECT_EQ(all_.size(), 3U);
  moved.pop_back();
  EXPECT_EQ(take("t1", "a"), std::nullopt);
  EXPECT_EQ(take("t1", "a"), Limit::executions_per_install);
  moved.clear();
  places_.clear();
  EXPECT_EQ(all_.size(), 0U);
  EXPECT_EQ(all_.tenants(), 0U);
  EXPECT_EQ(metrics_.count("now"), 0);
}

/// Executions that go on beside each other, on this thread.
class SlowPreparing : public RunnerTest {
 protected:
  struct Answers {
    int done = 0;
    std::vector<domain::ExecuteResponse> refused;
  };
  void start(const TenantId& tenant, const std::string& install, Answers& answers) {
    domain::ExecuteRequest asked = request();
    asked.tenant = tenant;
    asked.install = InstallId::parse(install);
    asked.providers = {"cap:secrets.get"};
    asked.envelope = domain::SecretEnvelope{};
    boost::asio::co_spawn(context_, role_->execute(std::move(asked)),
                          [&answers](const std::exception_ptr& thrown, auto response) {
                            EXPECT_FALSE(thrown);
                            ++answers.done;
                            if (response.status != 201) answers.refused.push_back(response);
                          });
    context_.restart();
    context_.poll();
  }
  boost::asio::io_context context_;
};

TEST_F(SlowPreparing, ATenantThatFloodsIsRefusedBeforeOthersAre) {
  const TenantId other = *TenantId::parse("t2");
  store_.put(blob::bundle_key(other, extension_, hash_), archive_);
  Options options = drop_in();
  ASSERT_TRUE(options.limits.set_value(Limit::executions, 4));
  const domain::Lines most = domain::lines_of(4);
  ASSERT_EQ(most.process, 16U);
  ASSERT_EQ(most.tenant, 4U);
  ASSERT_EQ(most.install, 3U);
  role(std::move(options));
  // The bundle is there from now on; the secrets are what takes long.
  for (const TenantId& tenant : {tenant_, other}) {
    domain::ExecuteRequest first = request();
    first.tenant = tenant;
    ASSERT_EQ(execute(*role_, std::move(first)).status, 201);
  }
  opener_.hold = true;
  Answers flood, of_other;
  for (int i = 0; i < 5; ++i) start(tenant_, "i1", flood);
  ASSERT_EQ(flood.refused.size(), 2U) << "the install has its share";
  EXPECT_EQ(flood.refused[0].status, 429);
  EXPECT_EQ(flood.refused[0].error, "execute_failed: engine.overload");
  EXPECT_EQ(flood.refused[0].end_class, "overload");
  EXPECT_EQ(flood.refused[0].retry_after_s, 1U);
  EXPECT_THAT(records_.executions.back().author_error, ::testing::HasSubstr("the install has"));
  for (int i = 0; i < 3; ++i) start(tenant_, "i2", flood);
  ASSERT_EQ(flood.refused.size(), 4U) << "and so has the tenant";
  EXPECT_EQ(flood.refused.back().status, 429);
  EXPECT_THAT(records_.executions.back().author_error, ::testing::HasSubstr("the tenant has"));
  EXPECT_EQ(metrics_.count("alga_limit_hits_total{executions_per_install}"), 2);
  EXPECT_EQ(metrics_.count("alga_limit_hits_total{executions_per_tenant}"), 2);

  opener_.ready = engine_.in_memory = true;
  Answers of_ready;
  start(tenant_, "i1", of_ready);
  EXPECT_EQ(of_ready.done, 1) << "what finds all ready waits for nobody";
  EXPECT_TRUE(of_ready.refused.empty());
  opener_.ready = engine_.in_memory = false;
  start(other, "i1", of_other);
  EXPECT_EQ(of_other.done, 0) << "it is prepared, as there is room";
  EXPECT_EQ(metrics_.count("alga_executions_preparing"), 5);
  opener_.answer_held();
  context_.restart();
  context_.poll();
  EXPECT_EQ(of_other.done, 1);
  EXPECT_TRUE(of_other.refused.empty());
  EXPECT_EQ(flood.done, 8);
  EXPECT_EQ(flood.refused.size(), 4U);
  EXPECT_EQ(metrics_.count("alga_executions_preparing"), 0);
}

TEST_F(SlowPreparing, AServerThatPreparesAllItMaySaysSo) {
  Options options = drop_in();
  ASSERT_TRUE(options.limits.set_value(Limit::executions, 1));
  const domain::Lines most = domain::lines_of(1);
  role(std::move(options));
  opener_.hold = true;
  Answers answers;
  std::vector<TenantId> tenants;
  for (std::uint32_t i = 0; i <= most.process; ++i) {
    tenants.push_back(*TenantId::parse("t" + std::to_string(i + 10)));
    store_.put(blob::bundle_key(tenants.back(), extension_, hash_), archive_);
    domain::ExecuteRequest first = request();
    first.tenant = tenants.back();
    ASSERT_EQ(execute(*role_, std::move(first)).status, 201);
  }
  for (const TenantId& tenant : tenants) start(tenant, "i1", answers);
  ASSERT_EQ(answers.refused.size(), 1U);
  EXPECT_EQ(answers.refused[0].status, 503);
  EXPECT_EQ(answers.refused[0].code, "engine.overload");
  EXPECT_EQ(metrics_.count("alga_limit_hits_total{executions}"), 1);
  opener_.answer_held();
  context_.restart();
  context_.poll();
  EXPECT_EQ(answers.done, static_cast<int>(tenants.size()));
}

}  // namespace
}  // namespace alga::runner::testing
