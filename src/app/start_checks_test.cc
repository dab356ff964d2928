#include "app/start_checks.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "app/settings.h"
#include "base/testing_folder.h"
#include "tls/testing_authority.h"

namespace alga::app {
namespace {

/// Keeps the code of each error line.
class KeptCodes final : public LogSink {
 public:
  [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel level, std::string_view, std::string_view,
             std::span<const LogField> fields) noexcept override {
    if (level != LogLevel::error) return;
    for (const LogField& field : fields) {
      const auto* text = std::get_if<std::string_view>(&field.value);
      if (field.key == "code" && text != nullptr) codes.emplace_back(*text);
    }
  }
  std::vector<std::string> codes;
};

/// A PostgreSQL that knows nothing but the time.
class OnlyAClock final : public sql::Database {
 public:
  explicit OnlyAClock(WallTime now) : now_(now) {}
  [[nodiscard]] sql::Dialect dialect() const override { return sql::Dialect::postgres; }
  Status probe() override { return {}; }

 protected:
  Status run_read(SteadyTime, Work work) override {
    Teller teller(now_);
    return work(teller);
  }
  Status run_write(const sql::WriteOptions&, Work) override {
    return fail(Kind::internal, "sql.failed", "nothing is written");
  }

 private:
  class Teller final : public sql::Executor {
   public:
    explicit Teller(WallTime now) : now_(now) {}
    [[nodiscard]] sql::Dialect dialect() const override { return sql::Dialect::postgres; }
    Result<sql::Rows> query(std::string_view, const std::vector<sql::Value>&) override {
      const auto since =
          std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch());
      sql::Rows rows;
      rows.emplace_back(std::vector<sql::Value>{since.count()});
      return rows;
    }
    Result<std::uint64_t> execute(std::string_view, const std::vector<sql::Value>&) override {
      return 0;
    }
    Status script(std::string_view) override { return {}; }

   private:
    WallTime now_;
  };
  WallTime now_;
};

class StartChecksTest : public ::testing::Test {
 protected:
  /// A configuration whose listener shows this certificate.
  config::Config showing(const tls::TestingIdentity& identity) const {
    auto loaded = config::load(
        settings(), {.flags = {{"tls.certificate", folder_.put("c.pem", identity.certificate)},
                               {"tls.key", folder_.put("k.pem", identity.private_key)}}});
    return std::move(*loaded.config);
  }

  alga::testing::TestingFolder folder_;
  tls::TestingAuthority authority_;
  std::shared_ptr<KeptCodes> kept_ = std::make_shared<KeptCodes>();
  Logger log_{kept_, "test"};
};

TEST_F(StartChecksTest, ReportCertificatesOutsideTheirTimeAndRefuseNone) {
  const WallTime now = SystemClock{}.wall();
  const config::Config good = showing(authority_.issue({"DNS:a.test"}));
  EXPECT_TRUE(check_files(good, now, log_).has_value());
  EXPECT_TRUE(kept_->codes.empty());

  EXPECT_TRUE(check_files(good, now - std::chrono::days{400}, log_).has_value());
  EXPECT_EQ(kept_->codes, std::vector<std::string>{"tls.certificate_early"});
  EXPECT_TRUE(check_files(good, now + std::chrono::days{400}, log_).has_value());
  EXPECT_EQ(kept_->codes.back(), "tls.certificate_expired");
}

TEST_F(StartChecksTest, RefuseAFileThatIsNotThereByItsSetting) {
  const config::Config config = showing(authority_.issue({"DNS:a.test"}));
  std::filesystem::remove(folder_.path("k.pem"));
  const Status refused = check_files(config, SystemClock{}.wall(), log_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, "tls.bad_files");
  EXPECT_TRUE(refused.error().message.starts_with("tls.certificate: ")) << refused.error().message;
}

TEST_F(StartChecksTest, ReportClocksThatDifferByMoreThanGrantsTolerate) {
  const SystemClock clock;
  const auto codes_with = [&](std::chrono::seconds ahead) {
    kept_->codes.clear();
    OnlyAClock database(clock.wall() + ahead);
    check_surroundings({.database = &database}, clock, log_);
    return kept_->codes;
  };
  EXPECT_TRUE(codes_with(std::chrono::seconds{0}).empty());
  EXPECT_TRUE(codes_with(std::chrono::seconds{3}).empty());
  EXPECT_EQ(codes_with(std::chrono::seconds{3600}), std::vector<std::string>{"clock.skewed"});
  EXPECT_EQ(codes_with(std::chrono::seconds{-3600}), std::vector<std::string>{"clock.skewed"});
}

}  // namespace
}  // namespace alga::app
