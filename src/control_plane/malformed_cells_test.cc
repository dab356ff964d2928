// What stands in the database is this program's own; what somebody else has made of it is an error
// of that answer, and neither the end of the process nor a value to go on with.

#include <functional>
#include <string>
#include <vector>

#include "control_plane/core.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Reply;

TEST(MalformedColumns, AreErrorsThatNameTheColumnAndNothingOfItsText) {
  for (const char* text : {"", "{", "canary", "{\"canary\":1,}", "\"\xff\""}) {
    const auto read = from_column(text, "details");
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, "sql.malformed_json");
    EXPECT_EQ(read.error().kind, Kind::internal);
    EXPECT_TRUE(read.error().message.contains("details")) << read.error().message;
    EXPECT_FALSE(read.error().message.contains("canary")) << read.error().message;
  }
  for (const char* text : {"{", "[]", "1", "null", "\"{}\""}) {
    EXPECT_EQ(object_from_column(text, "config").error().code, "sql.malformed_json") << text;
  }
  for (const char* text : {"[", "{}", "null", "[1]", "[\"a\",null]", "[[\"a\"]]"}) {
    EXPECT_EQ(strings_from_column(text, "names").error().code, "sql.malformed_json") << text;
  }
  EXPECT_EQ(object_from_column(R"({"a":1})", "config").value(), (object{{"a", 1}}));
  EXPECT_EQ(strings_from_column(R"(["a","b"])", "names").value(),
            (std::vector<std::string>{"a", "b"}));
}

/// One of everything that has JSON in a column.
class MalformedCells : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(
        admin_, {{"capabilities", {"cap:storage.kv"}}, {"config", {{"region", "eu"}}}});
    expect(200, p().call("PUT", path("/secrets/api_key"), admin_, object{{"value", "v"}}));
    expect(201,
           p().call("POST", storage("/records"), admin_,
                    object{{"key", "k"}, {"value", {{"a", 1}}}, {"metadata", {{"by", "me"}}}}));
    expect(200, p().call("PUT", storage("/schemas/1"), admin_,
                         object{{"schema", {{"type", "object"}}}, {"status", "draft"}}));
    const Reply install = p().call("GET", path(""), admin_);
    const Status started = async::block_on(p().plane().executions().start(
        {.id = "x1",
         .who = {.tenant = "t1",
                 .extension = install.string("/install/extension_id"),
                 .install = install_,
                 .version = "v",
                 .request_id = "r1",
                 .trace_id = ""},
         .at = p().clock().wall()}));
    EXPECT_TRUE(started);
  }
  static void expect(int status, const Reply& reply) {
    EXPECT_EQ(reply.status, status) << reply.text;
  }
  [[nodiscard]] std::string path(const std::string& rest) const {
    return "/api/v1/installs/" + install_ + rest;
  }
  [[nodiscard]] std::string storage(const std::string& rest) const {
    return "/api/ext-storage/install/" + install_ + "/n" + rest;
  }
  Reply get(const std::string& path) { return p().call("GET", path, admin_); }
  /// Assembled anew, as after a change of the install.
  Reply install_config() {
    EXPECT_TRUE(p().database().write([](sql::Executor& sql) {
      return sql.execute("UPDATE tenant_extension_install SET generation = generation + 1");
    }));
    return p().send("POST", "/internal/runner/install-config", "",
                    R"({"tenantId":"t1","extensionId":"acme.hello"})",
                    {{"x-runner-auth", "token-of-config"}});
  }
  Reply install_for_another() {
    const std::string other = p().admin_of("t2");
    return p().call("POST", "/api/v1/installs", other, object{{"extension", "acme.hello"}});
  }
  /// Asks with each text in every cell of the column, and at the end with one that is right.
  void holds(const std::string& table, const std::string& column, const sql::Value& right,
             const std::vector<sql::Value>& malformed, const std::function<Reply()>& ask,
             std::string_view code = "sql.malformed_json") {
    for (const sql::Value& text : malformed) {
      write(table, column, text);
      const Reply reply = ask();
      EXPECT_EQ(reply.status, 500) << column << ' ' << reply.text;
      EXPECT_TRUE(reply.text.contains(code)) << column << ' ' << reply.text;
    }
    write(table, column, right);
    const Reply reply = ask();
    EXPECT_TRUE(reply.status == 200 || reply.status == 201) << column << ' ' << reply.text;
  }
  void write(const std::string& table, const std::string& column, const sql::Value& text) {
    const auto written = p().database().write([&](sql::Executor& sql) {
      return sql.execute("UPDATE " + table + " SET " + column + " = $1", {text});
    });
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_GT(*written, 0U) << column;
  }

  void change(const std::string& statement) {
    const auto changed =
        p().database().write([&](sql::Executor& sql) { return sql.execute(statement); });
    ASSERT_TRUE(changed) << changed.error().message;
  }
  std::string publisher_id(const std::string& name) {
    const auto row = p().database().read([&](sql::Executor& sql) {
      return sql.find("SELECT id FROM publishers WHERE name = $1", {name});
    });
    return row && *row ? (*row)->at<std::string>(0) : "";
  }
  /// As a key that nobody has asked about for a while.
  Reply whoami(const std::string& token) {
    p().clock().advance(std::chrono::seconds{2});
    return p().call("GET", "/api/v1/whoami", token);
  }

  static constexpr std::string_view kMalformedCell = "sql.malformed_cell";
  std::string admin_, install_;
};

TEST_P(MalformedCells, OfAnInstallOpenNothing) {
  const std::vector<sql::Value> configs{"{", "[]", R"({"region":1})"};
  const std::string table = "tenant_extension_install_config";
  holds(table, "config", R"({"region":"eu"})", configs, [&] { return get(path("/config")); });
  holds(table, "config", R"({"region":"eu"})", configs, [&] { return install_config(); });
  holds("tenant_extension_install_secrets", "names", R"(["api_key"])", {"[", "{}", "[1]"},
        [&] { return get(path("/secrets")); });
}

TEST_P(MalformedCells, OfAVersionGrantNothing) {
  const auto listed = [&] { return get("/api/v1/extensions/acme.hello"); };
  holds("extension_version", "capabilities", R"(["cap:storage.kv"])", {"[", ""}, listed);
  holds("extension_version", "egress", "[]", {"[", ""}, listed);
  const std::vector<sql::Value> malformed{"[", "{}", "[1]"};
  holds("extension_version", "capabilities", "[]", malformed, [&] { return install_config(); });
  holds("extension_version", "egress", "[]", malformed, [&] { return install_config(); });
  write("extension_version", "capabilities", "{}");
  EXPECT_EQ(install_for_another().status, 500);
}

TEST_P(MalformedCells, OfTheStorageAreNoRecords) {
  const std::string table = "ext_storage_records";
  const sql::Blob one{"1"};
  const sql::Blob broken{"{"};
  const std::string page = storage("/records?includeValues=true&includeMetadata=true");
  for (const std::string& asked : {storage("/records/k"), page}) {
    holds(table, "value", one, {broken}, [&] { return get(asked); });
    holds(table, "metadata", "{}", {"{", "[]"}, [&] { return get(asked); });
  }
  holds("ext_storage_schemas", "schema_document", "{}", {"{"},
        [&] { return get(storage("/schemas")); });
  expect(200, p().call("PUT", storage("/schemas/2"), admin_,
                       object{{"schema", {{"type", "object"}}}, {"status", "active"}}));
  holds("ext_storage_schemas", "schema_document", "{}", {"{"}, [&] {
    return p().call("POST", storage("/records"), admin_,
                    object{{"key", "checked"}, {"value", object{}}});
  });
}

TEST_P(MalformedCells, OfRecordsAreAnErrorOfTheirPage) {
  holds("extension_audit_log", "details", "{}", {"{"}, [&] { return get("/api/v1/audit"); });
  holds("extension_execution_log", "metrics", "{}", {"{"},
        [&] { return get("/api/v1/executions"); });
}

TEST_P(MalformedCells, OfAKeyLetNobodyIn) {
  const std::string publisher = p().publisher("guild");
  const auto admin = [&] { return whoami(admin_); };
  // A role that the key is not bound for would be somebody else's rights.
  holds("api_keys", "role", "tenant_admin", {"", "root", "Operator", "operator", "publisher"},
        admin, kMalformedCell);
  holds("api_keys", "tenant", "t1", {std::nullopt}, admin, kMalformedCell);
  change("UPDATE api_keys SET tenant = NULL");
  const std::string id = publisher_id("guild");
  const auto ask = [&] { return whoami(publisher); };
  holds("api_keys", "role", "publisher", {"operator", "client_user"}, ask, kMalformedCell);
  holds("api_keys", "publisher_id", id, {std::nullopt}, ask, kMalformedCell);
}

TEST_P(MalformedCells, OfAHashInvokeNothing) {
  const std::string table = "tenant_extension_install";
  const std::string hash(64, 'a');
  const std::vector<sql::Value> malformed{"", "sha256", std::string(63, 'a')};
  holds(table, "content_hash", hash, malformed, [&] { return install_config(); }, kMalformedCell);
  change("UPDATE tenant_extension_install SET runner_domain = 'a.ext.example'");
  const auto by_host = [&] {
    return p().call("GET", "/api/installs/lookup-by-host?host=a.ext.example", "", {},
                    {{"x-api-key", "token-of-registry"}});
  };
  holds(table, "content_hash", hash, malformed, by_host, kMalformedCell);
}

TEST_P(MalformedCells, OfAnInstallsIdLeadNowhere) {
  const std::string other = p().admin_of("t2");
  expect(201, p().call("POST", "/api/v1/installs", other, object{{"extension", "acme.hello"}}));
  for (const char* part : {"grant", "egress", "config", "secrets"}) {
    change("DELETE FROM tenant_extension_install_" + std::string(part) + " WHERE tenant = 't2'");
  }
  for (const auto& [id, status] : {std::pair{"no id", 500}, {"../i", 500}, {"i2", 200}}) {
    change("UPDATE tenant_extension_install SET generation = generation + 1, id = '" +
           std::string(id) + "' WHERE tenant = 't2'");
    std::vector<Reply> replies;
    replies.push_back(p().send("POST", "/internal/runner/install-config", "",
                               R"({"tenantId":"t2","extensionId":"acme.hello"})",
                               {{"x-runner-auth", "token-of-config"}}));
    for (const char* asked :
         {"/api/v1/installs/acme.hello/usage", "/api/ext-storage/install/acme.hello/n/records",
          "/api/ext-storage/install/acme.hello/n/schemas"}) {
      replies.push_back(p().call("GET", asked, other));
    }
    for (const Reply& reply : replies) {
      expect(status, reply);
      EXPECT_EQ(reply.text.contains(kMalformedCell), status == 500) << reply.text;
    }
  }
}

TEST_P(MalformedCells, OfASlugPublishNothing) {
  holds(
      "extension_registry", "slug", "acme.hello", {"acme.other"},
      [&] { return publish_hello("1.0.1"); }, kMalformedCell);
}

ALGA_ON_EVERY_DATABASE(MalformedCells);

}  // namespace
}  // namespace alga::control_plane
