// Every route of the OpenAPI document, called with another tenant's identifiers by principals of
// every role: all refusals, nothing of the victim in an answer, nothing of the victim changed. The
// rows come from the document; a route with a body or a parameter that this file does not know
// fails, so that no new route stays without its row.

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "control_plane/openapi.h"
#include "control_plane/testing.h"
#include "json/parse.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::HeaderMap;
using testing::Platform;
using testing::Reply;

/// Stands in everything that belongs to the victim and that an attacker does not send.
constexpr std::string_view kCanary = "canary-of-the-victim";
constexpr std::string_view kVictim = "victim";
constexpr std::string_view kThief = "thief";

struct Route {
  std::string method, path;
  std::vector<std::string> path_params, query_params;
  bool has_body = false;
  bool tenant_scoped = false;  ///< an operator names the tenant in a header
  bool open = false;           ///< has a door of its own, or none
  [[nodiscard]] std::string name() const { return method + " " + path; }
};

struct Attacker {
  std::string name;
  std::string token;
  HeaderMap headers;
  bool is_operator = false;
  bool may_publish = false;
};

/// Routes that ask for something of the caller's own whatever the body says.
const std::set<std::string> kOwn{"POST /api/ext-bundles/upload-proxy"};
/// Answers 200 for what is not there, as the reference does.
const std::set<std::string> kNothingToDo{"POST /api/ext-bundles/abort"};
/// Operators may do these to every tenant, by design.
const std::set<std::string> kOperators{"POST /api/v1/api-keys", "GET /api/v1/api-keys",
                                       "DELETE /api/v1/api-keys/{id}"};

class Crossing : public testing::OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    set_up_victim();
    set_up_attackers();
    fill_bodies();
  }

  void set_up_victim() {
    publisher_ = p().publisher("acme");
    published("second", "1.0.0");
    published("hello", "1.0.0");
    admin_ = p().admin_of(std::string(kVictim));
    for (const char* slug : {"acme.hello", "acme.second"}) {
      expect(200, p().call("PUT", "/api/v1/extensions/" + std::string(slug) + "/pilot",
                           p().operator_token(), object{{"tenants", {kVictim}}}));
    }
    Reply made = p().call("POST", "/api/v1/installs", admin_,
                          object{{"extension", "acme.hello"},
                                 {"capabilities", {"cap:storage.kv", "cap:secrets.get"}},
                                 {"config", {{"note", kCanary}}}});
    expect(201, made);
    install_ = made.string("/install/id");
    extension_ = made.string("/install/extension_id");
    hash_ = made.string("/install/content_hash");
    expect(200, p().call("PUT", "/api/v1/installs/" + install_ + "/secrets/" + std::string(kCanary),
                         admin_, object{{"value", kCanary}}));
    expect(201, p().call("POST", "/api/ext-storage/install/" + install_ + "/n/records", admin_,
                         object{{"key", "k"}, {"value", kCanary}}));
    expect(200, p().call("PUT", "/api/ext-storage/install/" + install_ + "/n/schemas/1", admin_,
                         object{{"schema", {{"title", kCanary}}}, {"status", "draft"}}));
    Reply key = p().call("POST", "/api/v1/api-keys", admin_,
                         object{{"label", kCanary}, {"role", "tenant_user"}, {"tenant", kVictim}});
    expect(201, key);
    api_key_ = key.string("/id");
    victim_user_ = key.string("/key");
    signing_key_ = new_signing_key();
    Reply staged = p().send("POST", "/api/ext-bundles/upload-proxy?filename=b.tar.zst", publisher_,
                            Platform::bundle(Platform::manifest("hello", "2.0.0")));
    expect(200, staged);
    staging_ = staged.string("/upload/key");
    record();
  }

  void record() {
    domain::ExecutionIdentity who{.tenant = std::string(kVictim),
                                  .extension = extension_,
                                  .install = install_,
                                  .version = "v",
                                  .request_id = "request-of-the-victim",
                                  .trace_id = ""};
    p().plane().records().guest_log(
        {.who = who, .at = p().clock().wall(), .stream = "log", .message = std::string(kCanary)});
    ASSERT_TRUE(
        async::block_on(p().plane().executions().start({.id = execution_,
                                                        .who = who,
                                                        .at = p().clock().wall(),
                                                        .path = "/" + std::string(kCanary)})));
  }

  void published(const std::string& name, const std::string& version) {
    std::string manifest = Platform::manifest(name, version);
    std::string archive = archive::testing::TarBuilder()
                              .file("manifest.json", manifest)
                              .file("dist/main.wasm", std::string("\0asm\x0d\0\1\0", 8) + manifest)
                              .file("artifacts/source-map/main.js.map",
                                    "{\"version\":3,\"sources\":[\"" + std::string(kCanary) +
                                        "\"],\"names\":[],\"mappings\":\"AAAA\"}")
                              .zst();
    expect(200, p().publish(publisher_, archive));
  }

  static std::string public_key() { return crypto::SigningKey::generate().public_key().base64(); }
  /// Of another publisher of the victim's side, because one with a key must sign its bundles.
  std::string new_signing_key() {
    guild_ = p().publisher("guild");
    Reply made = p().call("POST", "/api/v1/publishers/guild/keys", guild_,
                          object{{"public_key", public_key()}});
    expect(201, made);
    return made.string("/key_id");
  }

  std::string key_of(const object& about) {
    object body{{"label", "k"}};
    for (const auto& [name, value] : about) body[name] = value;
    Reply made = p().call("POST", "/api/v1/api-keys", p().operator_token(), body);
    expect(201, made);
    return made.string("/key");
  }

  void set_up_attackers() {
    std::string thief = p().admin_of(std::string(kThief));
    auto of = [&](const char* role, std::string_view tenant) {
      return key_of({{"role", role}, {"tenant", tenant}});
    };
    attackers_ = {
        {.name = "nobody"},
        {.name = "a token that never was",
         .token = "alga_0000000000000000_" + std::string(43, 'x')},
        {.name = "another tenant's administrator", .token = thief},
        {.name = "another tenant's user", .token = of("tenant_user", kThief)},
        {.name = "another tenant's client", .token = of("client_user", kThief)},
        {.name = "another publisher", .token = p().publisher("evil"), .may_publish = true},
        {.name = "an operator who acts for another tenant",
         .token = p().operator_token(),
         .headers = {{"x-tenant-id", std::string(kThief)}},
         .is_operator = true},
    };
    // The same, claiming to be the victim's.
    for (const char* claimed : {"another tenant's administrator", "another tenant's user"}) {
      auto found = std::ranges::find(attackers_, claimed, &Attacker::name);
      Attacker liar = *found;
      liar.name += " with the victim's x-tenant-id";
      liar.headers = {{"x-tenant-id", std::string(kVictim)}};
      attackers_.push_back(std::move(liar));
    }
    lower_roles_ = {{.name = "a user of the same tenant", .token = victim_user_},
                    {.name = "a client of the same tenant", .token = of("client_user", kVictim)}};
  }

  /// What the attackers send; the rightful caller sends the same.
  void fill_bodies() {
    auto text = [](const object& body) { return boost::json::serialize(body); };
    object storage{{"operation", "get"}, {"namespace", "n"}, {"key", "k"}};
    object config{{"tenantId", kVictim}, {"extensionId", install_}};
    bodies_ = {
        {"POST /api/ext-bundles/abort", text({{"key", staging_}})},
        {"POST /api/ext-bundles/finalize", text({{"key", staging_}})},
        {"POST /api/ext-storage/install/{installId}/{namespace}/records",
         text({{"key", "new"}, {"value", 1}})},
        {"PUT /api/ext-storage/install/{installId}/{namespace}/records/{key}",
         text({{"value", 2}})},
        {"PUT /api/ext-storage/install/{installId}/{namespace}/schemas/{version}",
         text({{"schema", true}})},
        {"POST /api/internal/ext-runner/install-config", text(config)},
        {"POST /internal/runner/install-config", text(config)},
        {"POST /api/internal/ext-storage/install/{installId}", text(storage)},
        {"POST /api/v1/api-keys",
         text({{"label", "mine"}, {"role", "tenant_admin"}, {"tenant", kVictim}})},
        {"POST /api/v1/extensions/install",
         text({{"registryId", extension_}, {"version", "1.0.0"}})},
        {"POST /api/v1/extensions/uninstall", text({{"registryId", extension_}})},
        {"POST /api/v1/extensions/update",
         text({{"registryId", extension_}, {"version", "1.0.0"}})},
        {"PUT /api/v1/extensions/{extension}/pilot", text({{"tenants", {kVictim, kThief}}})},
        {"POST /api/v1/installs", text({{"extension", "acme.second"}, {"tenant", kVictim}})},
        {"PATCH /api/v1/installs/{id}/config", text({{"set", {{"note", "changed"}}}})},
        {"PUT /api/v1/installs/{id}/grants", text({{"capabilities", boost::json::array{}}})},
        {"PUT /api/v1/installs/{id}/secrets/{name}", text({{"value", "changed"}})},
        {"POST /api/v1/installs/{id}/update", text({{"version", "1.0.0"}})},
        {"POST /api/v1/publishers", text({{"name", "other"}})},
        {"POST /api/v1/publishers/{name}/keys", text({{"public_key", public_key()}})},
        {"POST /api/v1/tenants", text({{"id", "other"}})},
        {"PUT /api/v1/tenants/{tenant}/quota", text({{"invocations", 0}})},
        {"POST /internal/records", "{}"},
        {"POST /internal/secrets/redeem", text({{"token", "t"},
                                                {"tenant", kVictim},
                                                {"install", install_},
                                                {"version", "1"},
                                                {"public_key", public_key()}})},
    };
  }

  /// The victim's identifier for a parameter; none: this file does not know the parameter.
  std::optional<std::string> identifier(const Route& route, const std::string& name) const {
    bool of_key = route.path.starts_with("/api/v1/api-keys/");
    bool of_execution = route.path.starts_with("/api/v1/executions/");
    const std::map<std::string, std::string> known{
        {"installId", install_},
        {"namespace", "n"},
        {"key", "k"},
        {"id", of_key         ? api_key_
               : of_execution ? execution_
                              : install_},
        {"extension", route.path == "/api/installs/validate" ? extension_ : "acme.hello"},
        {"version", route.path.contains("/schemas/") ? "1" : "1.0.0"},
        {"name", route.path.starts_with("/api/v1/publishers/") ? "guild" : "api_key"},
        {"key_id", signing_key_},
        {"tenant", std::string(kVictim)},
        {"install", install_},
        {"request", "request-of-the-victim"},
        {"host", install_ + ".ext.example"},
        {"hash", hash_},
        {"expect", std::string(kVictim) + ":1:00"},
    };
    auto found = known.find(name);
    return found == known.end() ? std::nullopt : std::optional{found->second};
  }

  static void add_parameter(Route& route, const json::Value& parameter) {
    const std::set<std::string> harmless{"limit",  "follow",   "level",         "ts",
                                         "cursor", "stream",   "includeValues", "includeMetadata",
                                         "before", "status",   "since",         "keyPrefix",
                                         "size",   "filename", "declaredHash",  "ifRevision"};
    std::string name(parameter.at("name").as_string());
    if (parameter.at("in") == "header") {
      route.tenant_scoped |= name == "x-tenant-id";
    } else if (parameter.at("in") == "path") {
      route.path_params.push_back(name);
    } else if (!harmless.contains(name)) {
      route.query_params.push_back(name);
    }
  }

  std::vector<Route> routes() {
    json::Value document = json::parse(openapi_document()).value();
    std::vector<Route> routes;
    for (const auto& [path, item] : document.at("paths").as_object()) {
      for (const auto& [method, operation] : item.as_object()) {
        if (operation.at("x-role") != "control-plane") continue;
        Route route{.path = std::string(path)};
        std::string upper(method);
        std::ranges::transform(upper, std::back_inserter(route.method),
                               [](unsigned char c) { return std::toupper(c); });
        const auto& about = operation.as_object();
        if (const auto* list = about.if_contains("parameters")) {
          for (const json::Value& one : list->as_array()) add_parameter(route, one);
        }
        route.has_body = about.contains("requestBody");
        std::string security = boost::json::serialize(operation.at("security"));
        route.open = !security.contains("bearer");
        routes.push_back(std::move(route));
      }
    }
    return routes;
  }

  Reply attack(const Route& route, const Attacker& attacker) {
    std::string path = route.path;
    for (const std::string& name : route.path_params) {
      auto value = identifier(route, name);
      if (!value) {
        ADD_FAILURE() << route.name() << ": no row for the path parameter " << name;
        continue;
      }
      std::string placeholder = "{" + name + "}";
      path.replace(path.find(placeholder), placeholder.size(), *value);
    }
    std::string query;
    for (const std::string& name : route.query_params) {
      auto value = identifier(route, name);
      if (!value) {
        ADD_FAILURE() << route.name() << ": no row for the query parameter " << name;
        continue;
      }
      query += (query.empty() ? "?" : "&") + name + "=" + *value;
    }
    std::string body;
    if (route.has_body && !kOwn.contains(route.name())) {
      auto found = bodies_.find(route.name());
      if (found == bodies_.end()) {
        ADD_FAILURE() << route.name() << ": no row for its body";
      } else {
        body = found->second;
      }
    }
    return p().send(route.method, path + query, attacker.token, body, attacker.headers);
  }

  /// Everything that the database holds, but for seals, which come by themselves.
  std::string snapshot() {
    std::string text;
    auto rows = [&](const std::string& query) {
      auto answer = p().database().read([&](sql::Executor& sql) { return sql.query(query); });
      EXPECT_TRUE(answer.has_value()) << query;
      return answer.value_or(sql::Rows{});
    };
    const bool sqlite = p().database().dialect() == sql::Dialect::sqlite;
    const std::string_view quote = sqlite ? "quote" : "quote_nullable";
    const std::string tables =
        sqlite ? "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
               : "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables WHERE schemaname = "
                 "current_schema()";
    for (const sql::Row& table : rows(tables + " ORDER BY name")) {
      auto name = table.at<std::string>(0);
      if (name == "extension_audit_checkpoint") continue;
      std::string columns;
      for (const sql::Row& column :
           rows(sqlite ? "SELECT name FROM pragma_table_info('" + name + "')"
                       : "SELECT CAST(column_name AS TEXT) FROM information_schema.columns WHERE "
                         "table_schema = current_schema() AND table_name = '" +
                             name + "' ORDER BY ordinal_position")) {
        if (column.at<std::string>(0) == "batch") continue;
        columns += fmt::format("{}{}(\"{}\")", columns.empty() ? "" : " || ", quote,
                               column.at<std::string>(0));
      }
      for (const sql::Row& row : rows("SELECT " + columns + " FROM " + name + " ORDER BY 1")) {
        text += name + ": " + row.at<std::string>(0) + "\n";
      }
    }
    EXPECT_TRUE(text.contains("tenant_extension_install: ")) << "nothing was looked at";
    return text;
  }

  static void expect(int status, const Reply& reply) {
    EXPECT_EQ(reply.status, status) << reply.text;
  }

  std::string publisher_, guild_, admin_, victim_user_, install_, extension_, hash_, api_key_,
      staging_;
  std::string signing_key_;
  std::string execution_ = "01890000-0000-7000-8000-00000000000e";
  std::vector<Attacker> attackers_, lower_roles_;
  std::map<std::string, std::string> bodies_;
};

TEST_P(Crossing, IsAllRefusals) {
  std::string before = snapshot();
  int rows = 0;
  for (const Route& route : routes()) {
    bool foreign = !route.path_params.empty() || !route.query_params.empty() || route.has_body;
    if (kOwn.contains(route.name())) continue;
    for (const Attacker& attacker : attackers_) {
      if (attacker.is_operator && (!route.tenant_scoped || kOperators.contains(route.name()))) {
        continue;
      }
      Reply reply = attack(route, attacker);
      ++rows;
      std::string what = route.name() + " by " + attacker.name + ": " +
                         std::to_string(reply.status) + " " + reply.text;
      EXPECT_EQ(reply.text.find(kCanary), std::string::npos) << what;
      bool refused = reply.status == 401 || reply.status == 403 || reply.status == 404;
      bool idle = kNothingToDo.contains(route.name()) && reply.string("/status") == "noop";
      if (foreign && !refused && !idle) {
        // A list that is filtered by somebody else's identifier is an empty list.
        EXPECT_TRUE(route.path_params.empty() && route.method == "GET" && reply.status == 200)
            << what;
        EXPECT_EQ(reply.text.find(install_), std::string::npos) << what;
      }
      if (!foreign && reply.status == 200) {
        EXPECT_EQ(reply.text.find(install_), std::string::npos) << what;
        EXPECT_EQ(reply.text.find(api_key_), std::string::npos) << what;
      }
    }
  }
  EXPECT_GT(rows, 400);
  EXPECT_EQ(snapshot(), before) << "an attack changed something";
}

TEST_P(Crossing, RefusesUsersOfTheSameTenantWhatAdministratorsMay) {
  std::string before = snapshot();
  for (const Route& route : routes()) {
    if (route.open || kOwn.contains(route.name())) continue;
    for (const Attacker& attacker : lower_roles_) {
      Reply reply = attack(route, attacker);
      std::string what = route.name() + " by " + attacker.name + ": " +
                         std::to_string(reply.status) + " " + reply.text;
      if (reply.status == 200) {
        // What everybody who is signed in may see: oneself, and what can be installed.
        EXPECT_TRUE(route.path == "/api/v1/whoami" || route.path == "/api/v1/extensions" ||
                    route.path == "/api/v1/extensions/{extension}")
            << what;
      } else {
        EXPECT_EQ(reply.status, 403) << what;
      }
    }
  }
  EXPECT_EQ(snapshot(), before);
}

/// Machines show the token of a role or the grant of an execution, and say whom they mean: what
/// they say must belong together, and a grant outweighs what else is said.
TEST_P(Crossing, RefusesMachinesWhatDoesNotBelongTogether) {
  published("shared", "1.0.0");
  const auto install = [&](std::string_view tenant, std::string_view note) {
    Reply made = p().call("POST", "/api/v1/installs", p().operator_token(),
                          object{{"extension", "acme.shared"},
                                 {"capabilities", {"cap:storage.kv"}},
                                 {"config", {{"note", note}}}},
                          {{"x-tenant-id", std::string(tenant)}});
    expect(201, made);
    return made.string("/install/id");
  };
  const std::string theirs = install(kVictim, kCanary);
  const std::string own = install(kThief, "own");
  expect(201, p().call("POST", "/api/ext-storage/install/" + theirs + "/n/records", admin_,
                       object{{"key", "k"}, {"value", kCanary}}));

  std::string grant;
  for (const char* path :
       {"/internal/runner/install-config", "/api/internal/ext-runner/install-config"}) {
    const auto config = [&](const std::string& ref) {
      return p().call("POST", path, "", object{{"tenantId", kThief}, {"extensionId", ref}},
                      {{"x-runner-auth", "token-of-config"}});
    };
    for (const std::string& foreign : {theirs, install_, extension_, std::string("acme.hello")}) {
      const Reply refused = config(foreign);
      EXPECT_EQ(refused.status, 404) << path << " " << foreign << " " << refused.text;
    }
    const Reply granted = config("acme.shared");
    EXPECT_EQ(granted.string("/installId"), own) << granted.text;
    EXPECT_EQ(granted.text.find(kCanary), std::string::npos) << granted.text;
    grant = granted.string("/grant");
  }

  const std::string before = snapshot();
  const object operations[] = {
      {{"operation", "get"}, {"namespace", "n"}, {"key", "k"}},
      {{"operation", "list"}, {"namespace", "n"}, {"includeValues", true}},
      {{"operation", "put"}, {"namespace", "n"}, {"key", "k"}, {"value", "taken"}},
      {{"operation", "delete"}, {"namespace", "n"}, {"key", "k"}},
      {{"operation", "bulkPut"}, {"namespace", "n"}, {"items", {{{"key", "k"}, {"value", 1}}}}},
  };
  for (const std::string& foreign : {theirs, install_}) {
    for (const object& operation : operations) {
      for (const char* token : {"", "token-of-storage"}) {
        HeaderMap headers{{"x-alga-grant", grant}};
        if (*token != '\0') headers["x-runner-auth"] = token;
        const Reply refused = p().call("POST", "/api/internal/ext-storage/install/" + foreign, "",
                                       operation, headers);
        EXPECT_EQ(refused.status, 403) << boost::json::serialize(operation) << refused.text;
        EXPECT_EQ(refused.text.find(kCanary), std::string::npos) << refused.text;
      }
    }
  }
  const Reply nothing = p().call("POST", "/api/internal/ext-storage/install/" + own, "",
                                 operations[0], {{"x-alga-grant", grant}});
  EXPECT_EQ(nothing.status, 404) << "the grant is good, and sees its own install: " << nothing.text;
  const Reply valid = p().call("GET",
                               "/api/installs/validate?tenant=" + std::string(kThief) +
                                   "&extension=" + extension_ + "&hash=" + hash_,
                               "", {}, {{"x-api-key", "token-of-registry"}});
  EXPECT_EQ(valid.text, R"({"valid":false})");
  EXPECT_EQ(snapshot(), before);
}

/// Without this the matrix could pass because its identifiers are wrong.
TEST_P(Crossing, LetsTheRightfulCallerThroughWithTheSameIdentifiers) {
  // Reading first, and what takes things away last.
  auto rank = [](const Route& route) {
    bool last = route.method == "DELETE" || route.path.ends_with("/uninstall") ||
                route.path.ends_with("/abort");
    return route.method == "GET" ? 0 : last ? 2 : 1;
  };
  std::vector<Route> all;
  for (int wanted : {0, 1, 2}) {
    std::ranges::copy_if(routes(), std::back_inserter(all),
                         [&](const Route& route) { return rank(route) == wanted; });
  }
  for (const Route& route : all) {
    if (route.open || kOwn.contains(route.name())) continue;
    bool publishing = route.path.starts_with("/api/ext-bundles/");
    bool of_guild = route.path.starts_with("/api/v1/publishers/");
    Attacker rightful{.name = "the rightful caller",
                      .token = publishing ? publisher_
                               : of_guild ? guild_
                                          : p().operator_token(),
                      .headers = {{"x-tenant-id", std::string(kVictim)}}};
    Reply reply = attack(route, rightful);
    EXPECT_FALSE(reply.status == 401 || reply.status == 403)
        << route.name() << ": " << reply.status << " " << reply.text;
    bool gone = route.path == "/api/v1/installs/{id}" || route.method == "DELETE";
    if (route.method == "GET") EXPECT_EQ(reply.status, 200) << route.name() << " " << reply.text;
    if (!gone) EXPECT_NE(reply.status, 404) << route.name() << " " << reply.text;
  }
}

ALGA_ON_EVERY_DATABASE(Crossing);

}  // namespace
}  // namespace alga::control_plane
