// Control planes of one database that make, or wrap, signing keys at the same time.

#include "control_plane/signing_keys.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control_plane/operations.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

constexpr KeyPurpose kPurposes[] = {KeyPurpose::grant, KeyPurpose::audit, KeyPurpose::broker,
                                    KeyPurpose::answer};

/// A database before which somebody else is faster, once: right after we have read.
class ReadTooEarly final : public testing::PassingDatabase {
 public:
  using PassingDatabase::PassingDatabase;
  std::function<void()> other;

 protected:
  Status run_read(SteadyTime deadline, Work work) override {
    Status done = PassingDatabase::run_read(deadline, std::move(work));
    if (const auto once = std::exchange(other, {})) once();
    return done;
  }
};

/// Keys after whose first wrapping somebody else is faster, once.
class WrappedTooEarly final : public domain::KeyProvider {
 public:
  explicit WrappedTooEarly(domain::KeyProvider& real) : real_(real) {}
  Result<domain::WrappedKey> wrap(ByteSpan key, const std::string& context) override {
    auto wrapped = real_.wrap(key, context);
    if (const auto once = std::exchange(other, {})) once();
    return wrapped;
  }
  Result<crypto::LockedBytes> unwrap(const domain::WrappedKey& wrapped,
                                     const std::string& context) override {
    return real_.unwrap(wrapped, context);
  }
  Result<std::string> current_key_id() override { return real_.current_key_id(); }
  Result<std::string> rotate() override { return real_.rotate(); }
  std::function<void()> other;

 private:
  domain::KeyProvider& real_;
};

class SigningKeysOfTwo : public sql::testing::OnEveryDatabase {
 protected:
  /// The keys of one control plane.
  struct Plane {
    explicit Plane(Dependencies deps) : core(std::move(deps)) {}
    [[nodiscard]] std::vector<std::string> kids(KeyPurpose purpose) const {
      std::vector<std::string> kids;
      for (const GrantKey& key : keys.verifiers(purpose)) kids.push_back(key.kid);
      return kids;
    }
    Core core;
    SigningKeys keys{core};
  };

  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    auto migrated = migrate_schema(*database_, clock_);
    ASSERT_TRUE(migrated) << migrated.error().message;
    auto ring = vault::LocalKeyProvider::open(secrets_);
    ASSERT_TRUE(ring) << ring.error().message;
    ring_ = std::move(*ring);
  }
  Dependencies on(sql::Database& database) {
    Dependencies deps;
    deps.database = &database;
    deps.keys = ring_.get();
    deps.clock = &clock_;
    deps.random = &random_;
    deps.metrics = &metrics_;
    return deps;
  }
  std::vector<std::string> wrapped_by() {
    auto rows = database_->read([](sql::Executor& sql) {
      return sql.query("SELECT wrapping_key_id FROM signing_keys ORDER BY wrapping_key_id");
    });
    std::vector<std::string> ids;
    for (const sql::Row& row : rows.value()) ids.push_back(row.at<std::string>(0));
    return ids;
  }

  ManualClock clock_;
  SystemRandom random_;
  NoMetrics metrics_;
  vault::testing::MemorySecrets secrets_;
  std::unique_ptr<vault::LocalKeyProvider> ring_;
};

TEST_P(SigningKeysOfTwo, AreTheSameWhenBothStartAtOnce) {
  ReadTooEarly early(open());
  Plane ours(on(early));
  Plane theirs(on(*database_));
  bool faster = false;
  early.other = [&] { faster = theirs.keys.load().has_value(); };
  const Status loaded = ours.keys.load();
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_TRUE(faster);
  for (const KeyPurpose purpose : kPurposes) {
    EXPECT_EQ(ours.kids(purpose).size(), 1U);
    EXPECT_EQ(ours.kids(purpose), theirs.kids(purpose));
    EXPECT_EQ(ours.keys.signer(purpose)->public_key().id(),
              theirs.keys.signer(purpose)->public_key().id());
  }
}

TEST_P(SigningKeysOfTwo, KeepTheWrappingOfWhoeverRotatedLast) {
  Plane before(on(*database_));
  ASSERT_TRUE(before.keys.load());
  WrappedTooEarly early(*ring_);
  Result<KeyRotation> theirs = fail(Kind::internal, "test.not_run", "nobody was faster");
  early.other = [&] { theirs = rotate_keys(*database_, *ring_); };
  const auto ours = rotate_keys(*database_, early);
  ASSERT_TRUE(theirs) << theirs.error().message;
  ASSERT_TRUE(ours) << ours.error().message;
  EXPECT_EQ(theirs->rewrapped, std::size(kPurposes));
  EXPECT_EQ(ours->rewrapped, 0U) << "each was wrapped anew meanwhile";
  EXPECT_EQ(wrapped_by(), std::vector<std::string>(std::size(kPurposes), theirs->new_key_id));
  Plane after(on(*database_));
  ASSERT_TRUE(after.keys.load());
  for (const KeyPurpose purpose : kPurposes) EXPECT_EQ(after.kids(purpose), before.kids(purpose));
}

ALGA_ON_EVERY_DATABASE(SigningKeysOfTwo);

}  // namespace
}  // namespace alga::control_plane
