#include "control_plane/keep_compiled.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "blob/layout.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using ::testing::ElementsAre;
using testing::Platform;
using testing::Reply;
using ::testing::UnorderedElementsAre;

/// An engine that knows which bundles it has compiled. With `holds` a compile lasts until abort().
class Compiler final : public domain::ArtefactCompiler {
 public:
  Result<std::uint64_t> prepare(const ContentHash& bundle, const std::string& component) override {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(std::filesystem::is_regular_file(component)) << component;
    attempts_.push_back(bundle.prefixed());
    changed_.notify_all();
    if (holds) {
      EXPECT_TRUE(changed_.wait_for(lock, 60s, [this] { return aborted_; }))
          << "who stops waits for the compile";
      return fail(Kind::unavailable, "compile.unavailable", "the server is stopping");
    }
    if (error) return fail(*std::exchange(error, std::nullopt));
    prepared.insert(bundle.prefixed());
    return 400U;
  }
  [[nodiscard]] std::string engine() const override { return name; }
  Status discard(const ContentHash& bundle, const std::string& engine) override {
    const std::scoped_lock lock(mutex_);
    if (engine == this->engine()) prepared.erase(bundle.prefixed());
    discarded.push_back(engine + " " + bundle.prefixed());
    changed_.notify_all();
    return {};
  }
  Result<bool> is_prepared(const ContentHash& bundle) override {
    const std::scoped_lock lock(mutex_);
    ++questions_;
    changed_.notify_all();
    return prepared.contains(bundle.prefixed());
  }
  void abort() noexcept override {
    const std::scoped_lock lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }
  /// Waits for that many compiles.
  std::vector<std::string> attempts(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 10s, [&] { return attempts_.size() >= count; }));
    return attempts_;
  }
  void wait_for_questions(int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 10s, [&] { return questions_ >= count; }));
  }
  void forget(const std::string& bundle) {
    const std::scoped_lock lock(mutex_);
    prepared.erase(bundle);
  }
  std::vector<std::string> discarded_now() {
    const std::scoped_lock lock(mutex_);
    return discarded;
  }
  std::optional<Error> error;
  std::set<std::string> prepared;
  std::vector<std::string> discarded;
  std::string name = "eeeeeeeeeeeeeeee";  ///< of the engine
  bool holds = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> attempts_;
  int questions_ = 0;
  bool aborted_ = false;
};

/// A bundle store whose downloads last until abort().
class SilentStore final : public domain::BundleStore {
 public:
  Status get(std::string_view, std::uint64_t, domain::ByteSink) override {
    std::unique_lock lock(mutex_);
    asked_ = true;
    changed_.notify_all();
    EXPECT_TRUE(changed_.wait_for(lock, 60s, [this] { return aborted_; }))
        << "who stops waits for the store";
    return fail(Kind::unavailable, "blob.unavailable", "aborted");
  }
  Status put_file(std::string_view, const std::string&) override { return silence(); }
  Status remove(std::string_view) override { return silence(); }
  Result<bool> exists(std::string_view) override { return std::unexpected(silence().error()); }
  Status probe() override { return silence(); }
  void abort() noexcept override {
    const std::scoped_lock lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }
  void wait_until_asked() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 10s, [this] { return asked_; }));
  }

 private:
  static Status silence() { return fail(Kind::unavailable, "blob.unavailable", "no answer"); }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ = false;
  bool aborted_ = false;
};

/// Notes what it is told.
class Runner final : public domain::WarmUpTarget {
 public:
  Result<Answer> warm_up(const domain::WarmUpOrder& order) override {
    const std::scoped_lock lock(mutex_);
    told_.insert(order.bundle.prefixed());
    changed_.notify_all();
    return Answer::ready;
  }
  bool was_told(const std::string& bundle) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 10s, [&] { return told_.contains(bundle); });
  }
  bool has_been_told(const std::string& bundle) {
    const std::scoped_lock lock(mutex_);
    return told_.contains(bundle);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> told_;
};

/// A platform that published two versions and installed the first of them; then another process
/// starts on its database, whose engine is another one.
class AfterAnUpgrade : public ::testing::Test {
 protected:
  AfterAnUpgrade() {
    const std::string publisher = before_.publisher("acme");
    const auto publish = [&](const std::string& version) {
      const Reply reply =
          before_.publish(publisher, Platform::bundle(Platform::manifest("hello", version)));
      EXPECT_EQ(reply.status, 200) << reply.text;
      return reply.string("/contentHash");
    };
    first_ = publish("1.0.0");
    admin_ = before_.admin_of("t1");
    const Reply made =
        before_.call("POST", "/api/v1/installs", admin_, object{{"extension", "acme.hello"}});
    EXPECT_EQ(made.status, 201) << made.text;
    install_ = "/api/v1/installs/" + made.string("/install/id");
    second_ = publish("1.1.0");
  }
  void restart(std::function<void(Options&)> adjust = {}) {
    after_ = std::make_unique<Platform>(
        open(), std::move(adjust), before_.secrets(), [this](Dependencies& deps) {
          deps.bundles =
              silent_ ? static_cast<domain::BundleStore*>(silent_.get()) : &before_.bundles();
          deps.compiler = &compiler_;
          deps.warm_up = {&runner_};
        });
  }
  std::unique_ptr<sql::Database> open() {
    return std::move(*sql::open_database("sqlite:" + folder_.path() + "/alga.db"));
  }

  sql::testing::TemporaryFolder folder_;
  Platform before_{open()};
  Compiler compiler_;
  std::unique_ptr<SilentStore> silent_;
  Runner runner_;
  std::string admin_, install_, first_, second_;
  std::unique_ptr<Platform> after_;
};

TEST_F(AfterAnUpgrade, CompilesWhatInstallsUseAndTellsRunners) {
  restart();
  EXPECT_THAT(compiler_.attempts(1), ElementsAre(first_)) << "nobody uses the other version";
  EXPECT_TRUE(runner_.was_told(first_));
  // What somebody begins to use later is compiled then.
  EXPECT_EQ(after_->call("POST", install_ + "/update", admin_, object{}).status, 200);
  EXPECT_THAT(compiler_.attempts(2), ElementsAre(first_, second_));
  EXPECT_TRUE(runner_.was_told(second_));
}

TEST_F(AfterAnUpgrade, CompilesNothingThatIsThere) {
  compiler_.name = before_.compiler().engine();
  compiler_.prepared.insert(first_);
  restart();
  compiler_.wait_for_questions(1);
  EXPECT_EQ(after_->call("POST", install_ + "/disable", admin_).status, 200);
  EXPECT_EQ(after_->call("POST", install_ + "/enable", admin_).status, 200);
  compiler_.wait_for_questions(2);
  EXPECT_THAT(compiler_.attempts(0), ElementsAre());
}

TEST_F(AfterAnUpgrade, CountsWhatIsThereAndWasNeverCounted) {
  compiler_.prepared.insert(first_);
  restart();
  EXPECT_THAT(compiler_.attempts(1), ElementsAre(first_));
  EXPECT_EQ(after_->call("POST", install_ + "/update", admin_, object{}).status, 200);
  EXPECT_TRUE(runner_.was_told(second_));
  EXPECT_FALSE(runner_.has_been_told(first_)) << "they could have it all the time";
}

TEST_F(AfterAnUpgrade, CompilesAgainWhatHadToMakeRoomAsSoonAsItIsUsed) {
  ASSERT_TRUE(before_.database().write([](sql::Executor& sql) {
    return sql.execute("UPDATE compiled_artefact SET used_at = 1");  // the clocks here stand still
  }));
  restart([](Options& options) {
    options.artefact_bytes = 1'500;  // of the former engine 2,000 are there
    options.artefact_upkeep = 5ms;
  });
  EXPECT_TRUE(runner_.was_told(first_));
  EXPECT_EQ(after_->call("POST", install_ + "/update", admin_, object{}).status, 200);
  EXPECT_TRUE(runner_.was_told(second_));
  // As another process does that needs the room.
  const auto deleted = [&] {
    return *after_->database().write([&](sql::Executor& sql) {
      return sql.execute(
          "DELETE FROM compiled_artefact WHERE engine = 'eeeeeeeeeeeeeeee' AND size_bytes = 400 "
          "AND content_hash = $1",
          {second_.substr(std::string("sha256:").size())});
    });
  };
  const auto patience = std::chrono::steady_clock::now() + 10s;
  while (deleted() == 0) {
    ASSERT_LT(std::chrono::steady_clock::now(), patience) << "it was never counted";
    std::this_thread::sleep_for(5ms);
  }
  compiler_.forget(second_);
  EXPECT_EQ(compiler_.attempts(2).size(), 2U) << "nobody uses it yet";
  const Reply config = after_->call("POST", "/internal/runner/install-config", "",
                                    object{{"tenantId", "t1"}, {"extensionId", "acme.hello"}},
                                    {{"x-runner-auth", "token-of-config"}});
  EXPECT_EQ(config.status, 200) << config.text;
  EXPECT_THAT(compiler_.attempts(3), ElementsAre(first_, second_, second_));
  EXPECT_THAT(compiler_.discarded_now(), ::testing::Each(::testing::StartsWith("0123456789abcdef")))
      << "of the engine that nobody runs any more";
}

TEST_F(AfterAnUpgrade, TriesAgainWhatMayPass) {
  compiler_.error = Error{Kind::unavailable, "compile.unavailable", "no memory"};
  restart();
  compiler_.attempts(1);
  // With the next order, or after a minute.
  EXPECT_EQ(after_->call("POST", install_ + "/update", admin_, object{}).status, 200);
  EXPECT_THAT(compiler_.attempts(3), UnorderedElementsAre(first_, second_, first_));
}

TEST_F(AfterAnUpgrade, TriesAgainWhatAStoreRefusedWhoseKeysWereExchanged) {
  compiler_.error = Error{Kind::denied, "blob.denied", "no such key"};
  restart([](Options& options) { options.artefact_upkeep = 5ms; });
  EXPECT_THAT(compiler_.attempts(2), ElementsAre(first_, first_));
  EXPECT_TRUE(runner_.was_told(first_));
}

TEST_F(AfterAnUpgrade, LooksAtWhatIsRefusedOnceHoweverOftenItIsUsed) {
  compiler_.error = Error{Kind::unprocessable, "compile.too_expensive", "two minutes"};
  restart([](Options& options) { options.artefact_upkeep = 5ms; });
  compiler_.attempts(1);
  const auto use = [&] {
    return after_
        ->call("POST", "/internal/runner/install-config", "",
               object{{"tenantId", "t1"}, {"extensionId", "acme.hello"}},
               {{"x-runner-auth", "token-of-config"}})
        .status;
  };
  EXPECT_EQ(use(), 200);
  // An order looks at once; whatever the upkeep queued before it was looked at first.
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(after_->call("POST", install_ + "/update", admin_, object{}).status, 200);
  EXPECT_THAT(compiler_.attempts(2), ElementsAre(first_, second_));
}

TEST_F(AfterAnUpgrade, GivesUpWhatIsRefused) {
  compiler_.error = Error{Kind::unprocessable, "compile.refused", "no such import"};
  restart();
  compiler_.attempts(1);
  EXPECT_EQ(after_->call("POST", install_ + "/update", admin_, object{}).status, 200);
  EXPECT_THAT(compiler_.attempts(2), ElementsAre(first_, second_));
  EXPECT_TRUE(runner_.was_told(second_));
}

TEST_F(AfterAnUpgrade, StopsInTheMiddleOfACompileAndDoesItAfterTheNextStart) {
  compiler_.holds = true;
  restart();
  compiler_.attempts(1);
  after_.reset();
  compiler_.holds = false;
  restart();
  EXPECT_THAT(compiler_.attempts(2), ElementsAre(first_, first_));
  EXPECT_TRUE(runner_.was_told(first_));
}

TEST_F(AfterAnUpgrade, StopsWhileTheBundleStoreIsSilentAndDoesItAfterTheNextStart) {
  silent_ = std::make_unique<SilentStore>();
  restart();
  silent_->wait_until_asked();
  after_.reset();
  silent_.reset();
  restart();
  EXPECT_THAT(compiler_.attempts(1), ElementsAre(first_));
  EXPECT_TRUE(runner_.was_told(first_));
}

TEST_F(AfterAnUpgrade, CompilesNothingFromABundleThatWasReplaced) {
  const auto hash = *ContentHash::parse(first_);
  const std::string other = Platform::bundle(Platform::manifest("evil", "1.0.0"));
  before_.bundles().put(blob::shared_bundle_key(hash), other);
  restart();
  compiler_.wait_for_questions(1);
  EXPECT_EQ(after_->call("POST", install_ + "/update", admin_, object{}).status, 200);
  EXPECT_THAT(compiler_.attempts(1), ElementsAre(second_));
}

}  // namespace
}  // namespace alga::control_plane
