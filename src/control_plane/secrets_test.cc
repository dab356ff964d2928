#include <atomic>
#include <fstream>
#include <functional>
#include <span>
#include <sstream>
#include <thread>

#include "base/bytes.h"
#include "control_plane/operations.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class SecretsAtRest : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_, {{"capabilities", {"cap:secrets.get"}}});
  }
  Reply set(const std::string& name, const std::string& value) {
    return p().call("PUT", path() + "/" + name, admin_, object{{"value", value}});
  }
  std::string path() const { return "/api/v1/installs/" + install_ + "/secrets"; }
  Reply config() {
    return p().call("POST", "/internal/runner/install-config", "",
                    object{{"tenantId", "t1"}, {"extensionId", install_}},
                    {{"x-runner-auth", "token-of-config"}});
  }
  /// All text and bytes of every table, as a dump would show them.
  std::string dump() {
    auto rows = p().database().read([&](sql::Executor& sql) -> Result<std::string> {
      bool sqlite = sql.dialect() == sql::Dialect::sqlite;
      TRY(sql::Rows tables,
          sql.query(sqlite ? "SELECT name FROM sqlite_schema WHERE type = 'table'"
                           : "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE "
                             "table_schema = 'public'"));
      std::string all;
      for (const sql::Row& table : tables) {
        auto name = table.at<std::string>(0);
        TRY(sql::Rows columns,
            sqlite ? sql.query("SELECT name FROM pragma_table_info('" + name + "')")
                   : sql.query("SELECT CAST(column_name AS TEXT) FROM information_schema.columns "
                               "WHERE table_name = $1",
                               {name}));
        for (const sql::Row& column : columns) {
          std::string quoted = "\"" + column.at<std::string>(0) + "\"";
          TRY(sql::Rows values,
              sql.query(sqlite ? "SELECT CAST(" + quoted + " AS TEXT) FROM " + name
                               : "SELECT CAST(" + quoted + " AS TEXT) FROM " + name));
          for (const sql::Row& value : values) {
            all += value.at<std::optional<std::string>>(0).value_or("") + "\n";
          }
        }
      }
      return all;
    });
    EXPECT_TRUE(rows) << rows.error().message;
    return rows.value_or("");
  }
  std::string admin_, install_;
};

TEST_P(SecretsAtRest, ShowsNamesAndNeverValues) {
  ASSERT_EQ(set("b", "canary-3141").status, 200);
  Reply names = set("a", "canary-2718");
  EXPECT_EQ(names.at("/names"), (boost::json::array{"a", "b"}));
  Reply listed = p().call("GET", path(), admin_);
  EXPECT_EQ(listed.at("/names"), (boost::json::array{"a", "b"}));
  EXPECT_EQ(listed.string("/version"), names.string("/version"));
  for (const std::string& text :
       {names.text, listed.text, p().call("GET", "/api/v1/audit", admin_).text,
        p().call("GET", "/api/v1/installs", admin_).text, config().text, dump()}) {
    for (const char* canary : {"canary-3141", "canary-2718"}) {
      EXPECT_FALSE(text.contains(canary));
      EXPECT_FALSE(text.contains(base64_encode(as_bytes(canary)).substr(0, 12)));
      EXPECT_FALSE(text.contains(hex_encode(as_bytes(canary))));
    }
  }
}

TEST(SecretsInSqlite, LeaveNoTraceInItsFiles) {
  sql::testing::TemporaryFolder folder;
  auto database = sql::open_database("sqlite:" + folder.path() + "/test.db");
  ASSERT_TRUE(database);
  Platform platform(std::move(*database));
  platform.publish(platform.publisher("acme"),
                   Platform::bundle(Platform::manifest("hello", "1.0.0")));
  std::string admin = platform.admin_of("t1");
  Reply install =
      platform.call("POST", "/api/v1/installs", admin, object{{"extension", "acme.hello"}});
  Reply set =
      platform.call("PUT", "/api/v1/installs/" + install.string("/install/id") + "/secrets/key",
                    admin, object{{"value", "canary-in-files-9876"}});
  ASSERT_EQ(set.status, 200) << set.text;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    std::ostringstream text;
    text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    EXPECT_FALSE(text.str().contains("canary-in-files")) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 2);  // the database and its log
}

TEST_P(SecretsAtRest, ChangesNothingWhenEncryptionFails) {
  ASSERT_EQ(set("key", "first").status, 200);
  std::string before = p().call("GET", path(), admin_).text;
  std::string other = p().admin_of("t2");
  std::string install = install_hello(other);
  p().keys().broken = true;
  Reply refused = p().call("PUT", "/api/v1/installs/" + install + "/secrets/key", other,
                           object{{"value", "x"}});
  EXPECT_EQ(refused.status, 503);
  p().keys().broken = false;
  EXPECT_EQ(p().call("GET", "/api/v1/installs/" + install + "/secrets", other).at("/names"),
            boost::json::array{});
  EXPECT_EQ(p().call("GET", path(), admin_).text, before);
}

TEST_P(SecretsAtRest, KeepsBothOfTwoChangesThatMeet) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3; ++i) {
        while (set("s" + std::to_string(t) + "-" + std::to_string(i), "v").status == 409) {
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(p().call("GET", path(), admin_).at("/names").as_array().size(), 12U);
}

TEST_P(SecretsAtRest, RemovesOneNameAtATime) {
  set("a", "1");
  set("b", "2");
  EXPECT_EQ(p().call("DELETE", path() + "/a", admin_).at("/names"), boost::json::array{"b"});
  EXPECT_EQ(p().call("DELETE", path() + "/a", admin_).status, 404);
  EXPECT_EQ(p().call("DELETE", path() + "/b", admin_).at("/names"), boost::json::array{});
  EXPECT_TRUE(config().at("/secretEnvelope").is_null());
}

TEST_P(SecretsAtRest, RefusesNamesAndSizesBeyondTheLimits) {
  EXPECT_EQ(set("..", "v").status, 400);
  EXPECT_EQ(set("a..b", "v").status, 400);
  EXPECT_EQ(set("k", std::string(64U << 10U, 'v')).status, 200);
  EXPECT_EQ(set("k2", std::string((64U << 10U) + 1, 'v')).status, 413);
}

TEST_P(SecretsAtRest, OpensOldCiphertextAfterTheWrappingKeyRotated) {
  set("key", "v");
  std::string version = config().string("/secretsVersion");
  auto ciphertext = [&] {
    auto row = p().database().read([](sql::Executor& sql) {
      return sql.find("SELECT ciphertext FROM tenant_extension_install_secrets");
    });
    return row.value()->at<sql::Blob>(0).bytes;
  };
  std::string before = ciphertext();
  auto rotation = rotate_keys(p().database(), p().keys());
  ASSERT_TRUE(rotation) << rotation.error().message;
  EXPECT_EQ(rotation->rewrapped, 5U);  // one data key; keys of grants, audit, broker, answers
  EXPECT_EQ(ciphertext(), before);
  auto old_left = p().database().read([&](sql::Executor& sql) {
    return sql.query("SELECT 1 FROM tenant_data_keys WHERE wrapping_key_id <> $1",
                     {rotation->new_key_id});
  });
  EXPECT_TRUE(old_left->empty());
  // A process that starts now has only the new wrapping.
  Platform second(open(), {}, p().secrets());
  EXPECT_EQ(second.operator_token(), "");
  Reply config_there = second.call("POST", "/internal/runner/install-config", "",
                                   object{{"tenantId", "t1"}, {"extensionId", install_}},
                                   {{"x-runner-auth", "token-of-config"}});
  EXPECT_EQ(config_there.string("/secretsVersion"), version);
  EXPECT_TRUE(config_there.at("/secretEnvelope").is_object());
}

TEST_P(SecretsAtRest, WarnsOfASecretAmongTheConfiguration) {
  Reply reply = p().call("PATCH", "/api/v1/installs/" + install_ + "/config", admin_,
                         object{{"set", {{"api_key", "canary-42"}, {"region", "eu"}}}});
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.at("/warnings").as_array().size(), 1U);
  EXPECT_FALSE(reply.string("/warnings/0").contains("canary-42"));
}

TEST_P(SecretsAtRest, KeepsConfigurationKeysOutOfJavaScriptsInnards) {
  auto set_config = [&](const char* key) {
    return p()
        .send("PATCH", "/api/v1/installs/" + install_ + "/config", admin_,
              std::string(R"({"set":{")") + key + R"(":"v"}})")
        .status;
  };
  EXPECT_EQ(set_config("__proto__"), 400);
  EXPECT_EQ(set_config("constructor"), 400);
  EXPECT_EQ(set_config(""), 400);
  EXPECT_EQ(set_config("fine"), 200);
}

/// Randomness that lets something happen right before it is given, once in a call of its own.
class InterruptedRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    if (armed && !interrupting_.exchange(true)) {
      interrupt();
      interrupting_ = false;
    }
    system_.fill(out);
  }
  std::atomic<bool> armed = false;
  std::function<void()> interrupt;  ///< set before anybody asks

 private:
  std::atomic<bool> interrupting_ = false;
  SystemRandom system_;
};

class SecretsThatChangeTooFast : public SecretsAtRest {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    random_.interrupt = [this] {
      EXPECT_EQ(set("other-" + std::to_string(faster_++), "v").status, 200);
    };
    platform_ = std::make_unique<Platform>(
        std::move(database_), [](Options&) {}, nullptr,
        [this](Dependencies& deps) { deps.random = &random_; });
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_, {{"capabilities", {"cap:secrets.get"}}});
  }
  void TearDown() override { platform_.reset(); }
  InterruptedRandom random_;
  std::atomic<int> faster_ = 0;
};

TEST_P(SecretsThatChangeTooFast, AreAConflictAndKeepWhatOthersSaved) {
  ASSERT_EQ(set("kept", "v").status, 200);
  // The new version's id is made between the reading of the secrets and their writing: there
  // another administrator is faster, each time.
  random_.armed = true;
  const Reply refused = set("mine", "v");
  const Reply not_removed = p().call("DELETE", path() + "/kept", admin_);
  random_.armed = false;
  EXPECT_EQ(faster_, 10) << "five attempts each";
  for (const Reply* reply : {&refused, &not_removed}) {
    EXPECT_EQ(reply->status, 409) << reply->text;
    EXPECT_EQ(reply->string("/error/code"), "secrets.changed_meanwhile");
  }
  const auto names = p().call("GET", path(), admin_).at("/names");
  EXPECT_EQ(names.as_array().size(), 11U) << "what others saved, and what was not removed";
  EXPECT_EQ(set("mine", "v").status, 200);
}

ALGA_ON_EVERY_DATABASE(SecretsAtRest);
ALGA_ON_EVERY_DATABASE(SecretsThatChangeTooFast);

}  // namespace
}  // namespace alga::control_plane
