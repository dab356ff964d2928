#include <fstream>

#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Reply;

class Tenancy : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    victim_ = p().admin_of("victim");
    thief_ = p().admin_of("thief");
    install_ = install_hello(victim_, {{"capabilities", {"cap:storage.kv"}}});
    p().call("PUT", "/api/v1/installs/" + install_ + "/secrets/key", victim_,
             object{{"value", "v"}});
    p().call("POST", "/api/ext-storage/install/" + install_ + "/n/records", victim_,
             object{{"key", "k"}, {"value", 1}});
  }
  std::string victim_, thief_, install_;
};

struct Attempt {
  const char* method;
  const char* path;  ///< `@` stands for the foreign id
  const char* body;
};

constexpr Attempt kAttempts[] = {
    {"GET", "/api/v1/installs/@", ""},
    {"DELETE", "/api/v1/installs/@", ""},
    {"POST", "/api/v1/installs/@/update", R"({"version":"1.0.0"})"},
    {"POST", "/api/v1/installs/@/enable", ""},
    {"POST", "/api/v1/installs/@/disable", ""},
    {"PUT", "/api/v1/installs/@/grants", R"({"capabilities":[]})"},
    {"GET", "/api/v1/installs/@/config", ""},
    {"PATCH", "/api/v1/installs/@/config", R"({"set":{"a":"b"}})"},
    {"GET", "/api/v1/installs/@/secrets", ""},
    {"PUT", "/api/v1/installs/@/secrets/key", R"({"value":"x"})"},
    {"DELETE", "/api/v1/installs/@/secrets/key", ""},
    {"GET", "/api/v1/installs/@/usage", ""},
    {"GET", "/api/ext-storage/install/@/n/records", ""},
    {"POST", "/api/ext-storage/install/@/n/records", R"({"key":"k","value":2})"},
    {"GET", "/api/ext-storage/install/@/n/records/k", ""},
    {"PUT", "/api/ext-storage/install/@/n/records/k", R"({"value":2})"},
    {"DELETE", "/api/ext-storage/install/@/n/records/k", ""},
};

TEST_P(Tenancy, AnswersForForeignIdsAsForIdsThatNeverWere) {
  for (const Attempt& attempt : kAttempts) {
    auto with = [&](const std::string& id) {
      std::string path = attempt.path;
      path.replace(path.find('@'), 1, id);
      Reply reply = p().send(attempt.method, path, thief_, attempt.body);
      // All that may differ is the name of the request.
      auto& error = reply.body.as_object()["error"].as_object();
      error.erase("request_id");
      return std::pair{reply.status, boost::json::serialize(reply.body)};
    };
    auto foreign = with(install_);
    EXPECT_EQ(foreign, with("01890000-0000-7000-8000-000000000000"))
        << attempt.method << " " << attempt.path;
    EXPECT_EQ(foreign.first, 404) << attempt.method << " " << attempt.path;
  }
  Reply untouched = p().call("GET", "/api/v1/installs/" + install_, victim_);
  EXPECT_EQ(untouched.at("/install/enabled"), true);
  EXPECT_EQ(untouched.at("/install/granted/0"), "cap:storage.kv");
}

TEST_P(Tenancy, RefusesATenantThatThePrincipalDoesNotBelongTo) {
  for (const char* path :
       {"/api/v1/installs", "/api/logs", "/api/v1/executions", "/api/v1/audit"}) {
    Reply reply = p().call("GET", path, thief_, {}, {{"x-tenant-id", "victim"}});
    EXPECT_EQ(reply.status, 403) << path;
  }
  Reply install = p().call("POST", "/api/v1/installs", thief_,
                           object{{"extension", "acme.hello"}, {"tenant", "victim"}});
  EXPECT_EQ(install.status, 403);
}

TEST_P(Tenancy, ListsNothingOfOthers) {
  EXPECT_EQ(p().call("GET", "/api/v1/installs", thief_).at("/installs").as_array().size(), 0U);
  EXPECT_EQ(p().call("GET", "/api/logs", thief_).at("/lines").as_array().size(), 0U);
  EXPECT_EQ(p().call("GET", "/api/logs?install=" + install_, thief_).at("/lines").as_array().size(),
            0U);
  EXPECT_EQ(p().call("GET", "/api/v1/executions?install=" + install_, thief_)
                .at("/executions")
                .as_array()
                .size(),
            0U);
  for (const auto& event : p().call("GET", "/api/v1/audit", thief_).at("/events").as_array()) {
    EXPECT_EQ(event.at("tenant"), "thief");
  }
  Reply keys = p().call("GET", "/api/v1/api-keys", thief_);
  ASSERT_EQ(keys.at("/api_keys").as_array().size(), 1U);
  EXPECT_EQ(keys.at("/api_keys/0/tenant"), "thief");
}

TEST_P(Tenancy, KeepsEveryRoleWithinItsRoutes) {
  std::string publisher = p().publisher("acme");
  const Attempt operator_only[] = {
      {"POST", "/api/v1/tenants", R"({"id":"x"})"},
      {"GET", "/api/v1/tenants", ""},
      {"POST", "/api/v1/publishers", R"({"name":"x"})"},
      {"GET", "/api/v1/publishers", ""},
      {"PUT", "/api/v1/extensions/acme.hello/pilot", R"({"tenants":[]})"},
  };
  for (const Attempt& attempt : operator_only) {
    for (const std::string& token : {victim_, publisher}) {
      EXPECT_EQ(p().send(attempt.method, attempt.path, token, attempt.body).status, 403)
          << attempt.method << " " << attempt.path;
    }
    EXPECT_EQ(p().send(attempt.method, attempt.path, "", attempt.body).status, 401);
    EXPECT_EQ(p().send(attempt.method, attempt.path, "alga_x_y", attempt.body).status, 401);
  }
  EXPECT_EQ(p().call("GET", "/api/v1/installs", publisher).status, 403);
  EXPECT_EQ(p().call("POST", "/api/ext-bundles/abort", victim_, object{{"key", "x"}}).status, 403);
  Reply user_key = p().call("POST", "/api/v1/api-keys", victim_,
                            object{{"label", "u"}, {"role", "tenant_user"}, {"tenant", "victim"}});
  ASSERT_EQ(user_key.status, 201);
  std::string user = user_key.string("/key");
  EXPECT_EQ(p().call("GET", "/api/v1/whoami", user).at("/principal/roles/0"), "tenant_user");
  EXPECT_EQ(p().call("GET", "/api/v1/installs/" + install_ + "/secrets", user).status, 403);
  EXPECT_EQ(p().call("GET", "/api/logs", user).status, 403);
}

TEST_P(Tenancy, LetsATenantsAdministratorMakeKeysOfTheTenantOnly) {
  auto make = [&](object request) {
    request["label"] = "k";
    return p().call("POST", "/api/v1/api-keys", thief_, request).status;
  };
  EXPECT_EQ(make({{"role", "tenant_user"}, {"tenant", "thief"}}), 201);
  EXPECT_EQ(make({{"role", "tenant_admin"}, {"tenant", "victim"}}), 403);
  EXPECT_EQ(make({{"role", "operator"}}), 403);
  EXPECT_EQ(make({{"role", "operator"}, {"tenant", "thief"}}), 400);
  EXPECT_EQ(make({{"role", "publisher"}, {"publisher", "acme"}}), 403);
}

TEST_P(Tenancy, RevokesAndExpiresKeys) {
  Reply made = p().call(
      "POST", "/api/v1/api-keys", p().operator_token(),
      object{{"label", "short"},
             {"role", "tenant_admin"},
             {"tenant", "victim"},
             {"expires_at", format_rfc3339(p().clock().wall() + std::chrono::seconds{100})}});
  std::string key = made.string("/key");
  EXPECT_EQ(p().call("GET", "/api/v1/whoami", key).status, 200);
  EXPECT_EQ(p().call("DELETE", "/api/v1/api-keys/" + made.string("/id"), thief_).status, 404);
  EXPECT_EQ(p().call("GET", "/api/v1/whoami", key).status, 200);
  p().clock().advance(std::chrono::seconds{101});
  EXPECT_EQ(p().call("GET", "/api/v1/whoami", key).status, 401);

  std::string own = p().call("GET", "/api/v1/whoami", victim_).string("/principal/id");
  std::string id = own.substr(own.find(':') + 1);
  EXPECT_EQ(p().call("DELETE", "/api/v1/api-keys/" + id, victim_).status, 204);
  EXPECT_EQ(p().call("GET", "/api/v1/whoami", victim_).status, 401);
}

TEST_P(Tenancy, ShowsAPilotToItsTenantsOnly) {
  auto pilot = [&](const object& body) {
    return p()
        .call("PUT", "/api/v1/extensions/acme.hello/pilot", p().operator_token(), body)
        .status;
  };
  EXPECT_EQ(pilot({{"tenants", {"victim"}}}), 200);
  EXPECT_EQ(p().call("GET", "/api/v1/extensions/acme.hello", victim_).status, 200);
  EXPECT_EQ(p().call("GET", "/api/v1/extensions/acme.hello", thief_).status, 404);
  EXPECT_EQ(
      p().call("POST", "/api/v1/installs", thief_, object{{"extension", "acme.hello"}}).status,
      404);
  // A misspelt tenant leaves everything as it was.
  for (const char* nobody : {"victin", "*", "", "Victim", "vi\u202etim"}) {
    EXPECT_NE(pilot({{"tenants", {"thief", nobody}}}), 200) << nobody;
  }
  EXPECT_EQ(p().call("GET", "/api/v1/extensions/acme.hello", thief_).status, 404);
  EXPECT_EQ(pilot({}), 200);
  EXPECT_EQ(p().call("GET", "/api/v1/extensions/acme.hello", thief_).status, 200);
}

TEST_P(Tenancy, RefusesRequestsThatNameACallerATenantOrAParameterTwice) {
  const auto refusal = [&](const std::string& path, const testing::HeaderMap& headers) {
    const Reply reply = p().send("GET", path, victim_, "", headers);
    return std::to_string(reply.status) + " " + reply.string("/error/code");
  };
  const std::string ambiguous = "400 request.ambiguous";
  const std::string installs = "/api/v1/installs";
  EXPECT_EQ(refusal(installs, {{"Authorization", "Bearer " + thief_}}), ambiguous);
  EXPECT_EQ(refusal(installs, {{"authorization", "Bearer " + victim_}}), ambiguous);
  EXPECT_EQ(refusal(installs, {{"x-api-key", thief_}}), ambiguous);
  EXPECT_EQ(refusal(installs, {{"x-tenant-id", "victim"}, {"X-Tenant-Id", "thief"}}), ambiguous);
  EXPECT_EQ(refusal("/api/logs?limit=1&limit=2", {}), ambiguous);
  EXPECT_EQ(refusal("/api/logs?install=" + install_ + "&%69nstall=" + install_, {}), ambiguous);
  EXPECT_EQ(p().send("GET", installs, victim_, "", {{"x-api-key", victim_}}).status, 200)
      << "the same key, twice said";
}

TEST_P(Tenancy, TakesNoNamesThatLookLikeOthers) {
  for (const char* name :
       {"Ac\u202eme", "Acme\u2028Ltd", "Acme\u200f", "Ac\u2067me", "Acme\u0085"}) {
    const Reply tenant = p().call("POST", "/api/v1/tenants", p().operator_token(),
                                  object{{"id", "another"}, {"name", name}});
    EXPECT_EQ(tenant.status, 400) << name;
    const Reply key = p().call("POST", "/api/v1/api-keys", victim_,
                               object{{"label", name}, {"role", "tenant_user"}});
    EXPECT_EQ(key.status, 400) << name;
  }
  const Reply tenant = p().call("POST", "/api/v1/tenants", p().operator_token(),
                                object{{"id", "another"}, {"name", "Ärzte & Söhne – 会社 😀"}});
  EXPECT_EQ(tenant.status, 201) << tenant.text;
}

ALGA_ON_EVERY_DATABASE(Tenancy);

}  // namespace
}  // namespace alga::control_plane
