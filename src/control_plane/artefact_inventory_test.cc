// Compiled code in the bundle store is bounded, the least recently used out first; no object is
// there that no row tells of, whatever happens in between.

#include "control_plane/artefact_inventory.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>
#include <utility>

#include "base/testing_metrics.h"
#include "control_plane/operations.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view ours = "0123456789abcdef";
constexpr std::string_view former = "fedcba9876543210";

ContentHash bundle(char digit) { return *ContentHash::parse(std::string(64, digit)); }

/// What stands in the bundle store: engine, and first digit of the bundle.
using Objects = std::map<std::pair<std::string, char>, std::uint64_t>;

/// The compiler of one process.
class Compiler final : public domain::ArtefactCompiler {
 public:
  Compiler(Objects& objects, std::string_view engine) : objects_(objects), engine_(engine) {}
  Result<std::uint64_t> prepare(const ContentHash& bundle, const std::string&) override {
    if (before_store) before_store();
    if (error) return fail(*error);
    if (bytes != 0) objects_[{engine_, bundle.hex().front()}] = bytes;
    return bytes;
  }
  Result<bool> is_prepared(const ContentHash& bundle) override {
    return objects_.contains({engine_, bundle.hex().front()});
  }
  [[nodiscard]] std::string engine() const override { return engine_; }
  Status discard(const ContentHash& bundle, const std::string& engine) override {
    if (before_discard) std::exchange(before_discard, nullptr)();
    if (away) return fail(Kind::unavailable, "blob.unavailable", "away");
    objects_.erase({engine, bundle.hex().front()});
    return {};
  }
  std::function<void()> before_store, before_discard;
  std::optional<Error> error;
  std::uint64_t bytes = 400;
  bool away = false;

 private:
  Objects& objects_;
  const std::string engine_;
};

class ArtefactInventoryTest : public sql::testing::OnEveryDatabase {
 protected:
  /// A control plane as far as it is needed here.
  struct Process {
    Process(ArtefactInventoryTest& test, std::string_view engine)
        : compiler(test.objects_, engine),
          database(test.open()),
          core(dependencies(test)),
          inventory(core) {}
    Dependencies dependencies(ArtefactInventoryTest& test) {
      Dependencies deps;
      deps.database = database.get();
      deps.compiler = &compiler;
      deps.clock = &test.clock_;
      deps.random = &test.random_;
      deps.metrics = &metrics;
      deps.options.artefact_bytes = 1'000;
      return deps;
    }
    alga::testing::CountingMetrics metrics;
    Compiler compiler;
    std::unique_ptr<sql::Database> database;
    Core core;
    ArtefactInventory inventory;
  };
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    ASSERT_TRUE(migrate_schema(*database_, clock_));
    process_ = std::make_unique<Process>(*this, ours);
  }
  ArtefactInventory& inventory() { return process_->inventory; }
  Compiler& compiler() { return process_->compiler; }
  void prepare(Process& process, char digit) {
    const auto bytes = process.inventory.prepare(bundle(digit), "component.wasm");
    ASSERT_TRUE(bytes) << bytes.error().message;
    clock_.advance(1min);
  }
  void prepare(char digit) { prepare(*process_, digit); }
  /// The bundles in the store, of all engines, and of those that rows tell of.
  std::string stored() const {
    std::string all;
    for (const auto& [name, bytes] : objects_) all += name.second;
    return all;
  }
  std::string counted() {
    std::string all;
    const auto rows = database_->read([](sql::Executor& sql) {
      return sql.query("SELECT content_hash FROM compiled_artefact ORDER BY engine, content_hash");
    });
    for (const sql::Row& row : *rows) all += row.at<std::string>(0).front();
    return all;
  }

  ManualClock clock_;
  SystemRandom random_;
  Objects objects_;
  std::unique_ptr<Process> process_;
};
ALGA_ON_EVERY_DATABASE(ArtefactInventoryTest);

TEST_P(ArtefactInventoryTest, WhatWasUsedLongestAgoMakesRoom) {
  for (const char digit : {'a', 'b'}) prepare(digit);
  EXPECT_EQ(process_->metrics.count("alga_shared_artefact_bytes"), 800);
  clock_.advance(2h);
  inventory().used(bundle('a'));
  EXPECT_THAT(*inventory().write_use(), IsEmpty());
  clock_.advance(1min);
  prepare('c');
  EXPECT_EQ(stored(), "ac") << "b was compiled after a, and a used after b";
  EXPECT_EQ(counted(), "ac");
  EXPECT_EQ(process_->metrics.count("alga_shared_artefact_bytes"), 800);
  EXPECT_EQ(process_->metrics.count("alga_shared_artefacts_evicted_total{idle}"), 1);
  prepare('d');
  EXPECT_EQ(stored(), "cd");
  EXPECT_EQ(process_->metrics.count("alga_shared_artefacts_evicted_total{used}"), 1)
      << "there is too little room for what is in use";
}

TEST_P(ArtefactInventoryTest, ExactlyTheBoundIsNotTooMuch) {
  compiler().bytes = 500;
  prepare('a');
  prepare('b');
  EXPECT_EQ(stored(), "ab");
  compiler().bytes = 1;
  prepare('c');
  EXPECT_EQ(stored(), "bc");
}

TEST_P(ArtefactInventoryTest, ArtefactsOfAnEngineThatNobodyRunsAnyMoreGoFirst) {
  Process old(*this, former);
  prepare(old, 'a');
  prepare('b');
  clock_.advance(24h);
  inventory().used(bundle('a'));  // by runners of this engine: the former one's stays unused
  EXPECT_THAT(*inventory().write_use(), ElementsAre(bundle('a')));
  inventory().used(bundle('b'));
  EXPECT_THAT(*inventory().write_use(), IsEmpty());
  prepare('a');
  EXPECT_EQ(objects_.size(), 2U);
  EXPECT_FALSE(objects_.contains({std::string(former), 'a'}));
}

TEST_P(ArtefactInventoryTest, TellsOnceWhatIsUsedAndNotThere) {
  prepare('a');
  inventory().used(bundle('a'));
  inventory().used(bundle('b'));
  inventory().used(bundle('b'));
  EXPECT_THAT(*inventory().write_use(), ElementsAre(bundle('b')));
  EXPECT_THAT(*inventory().write_use(), IsEmpty());
  EXPECT_TRUE(*inventory().is_prepared(bundle('a')));
  EXPECT_FALSE(*inventory().is_prepared(bundle('b')));
  objects_.clear();
  EXPECT_FALSE(*inventory().is_prepared(bundle('a'))) << "a row alone is no artefact";
}

TEST_P(ArtefactInventoryTest, WhatIsStoredAndNotCountedIsNotTakenForPrepared) {
  objects_[{std::string(ours), 'a'}] = 400;
  EXPECT_FALSE(*inventory().is_prepared(bundle('a')));
  prepare('a');
  EXPECT_TRUE(*inventory().is_prepared(bundle('a')));
}

TEST_P(ArtefactInventoryTest, WhatWasBegunAndNeverFinishedIsRemoved) {
  // Killed after the artefact was stored, and before its size was known.
  compiler().before_store = [&] {
    EXPECT_EQ(counted(), "a") << "the row is there before the artefact";
    objects_[{std::string(ours), 'a'}] = 400;
  };
  compiler().error = Error{Kind::unavailable, "compile.unavailable", "killed"};
  EXPECT_EQ(inventory().prepare(bundle('a'), "component.wasm").error().code, "compile.unavailable");
  EXPECT_FALSE(*inventory().is_prepared(bundle('a')));
  clock_.advance(59min);
  EXPECT_FALSE(*inventory().bound());
  EXPECT_EQ(stored(), "a") << "somebody may still be compiling";
  clock_.advance(2min);
  EXPECT_FALSE(*inventory().bound());
  EXPECT_EQ(stored() + counted(), "");
}

TEST_P(ArtefactInventoryTest, AStoreThatIsAwayIsAskedAgain) {
  for (const char digit : {'a', 'b'}) prepare(digit);
  compiler().away = true;
  prepare('c');
  EXPECT_EQ(stored(), "abc") << "what was compiled counts as prepared all the same";
  EXPECT_FALSE(*inventory().bound()) << "it was tried a minute ago";
  EXPECT_EQ(stored(), "abc");
  compiler().away = false;
  clock_.advance(5min);
  EXPECT_FALSE(*inventory().bound());
  EXPECT_EQ(stored(), "bc");
  EXPECT_EQ(counted(), "bc");
}

TEST_P(ArtefactInventoryTest, NobodyStoresWhatIsJustBeingRemoved) {
  for (const char digit : {'a', 'b'}) prepare(digit);
  Process other(*this, ours);
  compiler().before_discard = [&] {
    other.compiler.before_store = [] { FAIL() << "it would be gone with the former one"; };
    const auto refused = other.inventory.prepare(bundle('a'), "component.wasm");
    other.compiler.before_store = nullptr;
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, "compile.unavailable");
    EXPECT_NE(refused.error().retry_after_s, 0U);
    EXPECT_FALSE(*other.inventory.is_prepared(bundle('a')));
  };
  prepare('c');
  EXPECT_EQ(stored(), "bc");
  prepare(other, 'a');
  EXPECT_EQ(stored(), "ac");
  EXPECT_EQ(counted(), "ac");
}

TEST_P(ArtefactInventoryTest, TwoProcessesRemoveNoMoreThanHasToGo) {
  for (const char digit : {'a', 'b'}) prepare(digit);
  Process other(*this, ours);
  compiler().before_discard = [&] { EXPECT_FALSE(*other.inventory.bound()); };
  prepare('c');
  EXPECT_EQ(stored(), "bc");
  EXPECT_EQ(counted(), "bc");
}

TEST_P(ArtefactInventoryTest, RemovesSoManyAtATimeAndSaysThatThereAreMore) {
  constexpr int many = ArtefactInventory::most_removals + 2;
  ASSERT_TRUE(database_->write([](sql::Executor& sql) -> Status {
    for (int number = 1; number <= many; ++number) {
      const std::string hex = fmt::format("{:064x}", number);
      TRY_VOID(sql.execute(
          "INSERT INTO compiled_artefact (content_hash, engine, size_bytes, used_at) VALUES ($1, "
          "'0123456789abcdef', 1000, $2)",
          {hex, number}));
    }
    return {};
  }));
  EXPECT_EQ(*inventory().bound(), true);
  EXPECT_EQ(counted().size(), 2U);
  EXPECT_EQ(*inventory().bound(), false);
  EXPECT_EQ(counted().size(), 1U) << "as much as there may be";
}

TEST_P(ArtefactInventoryTest, WhatFoundNoRoomOnTheDiskIsNotCounted) {
  compiler().bytes = 0;
  EXPECT_EQ(*inventory().prepare(bundle('a'), "component.wasm"), 0U);
  EXPECT_FALSE(*inventory().is_prepared(bundle('a')));
}

TEST_P(ArtefactInventoryTest, ARowThatNamesNoBundleKeepsNobodyFromTheirTurn) {
  ASSERT_TRUE(database_->write([](sql::Executor& sql) {
    return sql.execute(
        "INSERT INTO compiled_artefact (content_hash, engine, size_bytes, used_at) VALUES ('x', "
        "'0123456789abcdef', 900, 1), ($1, '../x', 900, 2)",
        {bundle('e').hex()});
  }));
  for (const char digit : {'a', 'b', 'c'}) prepare(digit);
  EXPECT_EQ(stored(), "bc");
  EXPECT_EQ(counted(), "bc");
}

}  // namespace
}  // namespace alga::control_plane
