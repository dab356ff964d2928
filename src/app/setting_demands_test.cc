#include "app/setting_demands.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "app/settings.h"
#include "config/config.h"
#include "crypto/sign.h"

namespace alga::app {
namespace {

struct Case {
  std::vector<std::string> good, bad;
  std::string code = "config.bad_value";
};

std::map<std::string, Case> cases() {
  const std::string key = crypto::SigningKey::generate().public_key().base64();
  const Case keys{.good = {key},
                  .bad = {"nonsense", key.substr(4), std::string(43, 'A') + "="},
                  .code = "config.bad_key"};
  const Case names{.good = {"gateway.test", "spiffe://alga/runner"}, .bad = {"two words", "ü"}};
  const Case paths{.good = {"transit", "team/transit"},
                   .bad = {"sys", "/transit", "a//b", "a/../b"}};
  const Case transit_keys{.good = {"alga-key"}, .bad = {"a/b", "..", "a b"}};
  return {
      {"server.public_url", {{"https://app.example.com/x"}, {"https://ü.example"}}},
      {"server.trusted_proxies", {{"10.0.0.0/8", "fd00::/8"}, {"10.0.0.1/8", "10.0.0.0", "lan"}}},
      {"database.url",
       {{"postgres://u@h/d?sslmode=verify-full", "postgresql://h1:1,h2:2/d", "sqlite:/tmp/a"},
        {"mysql://u@h/d", "postgres://u@h:0/d", "postgres://u@h:99999/d",
         "sqlite:", "postgres://u@h/d?sslmode=on", "postgres://u@h/d?no_such=1",
         "postgres://u@h/d?password=hunter2", "postgres://u@[::1/d"}}},
      {"bundles.s3.endpoint",
       {{"https://s3.example.com", "http://127.0.0.1:9000/"}, {"https://s3.example.com/path"}}},
      {"bundles.s3.bucket", {{"alga-bundles"}, {"ab", "Upper", "-a-b", "a..b", "a/b"}}},
      {"bundles.s3.prefix", {{"a", "a/b"}, {"/a", "a/", "a//b", "../a"}}},
      {"bundles.s3.region", {{"eu-central-1"}, {"eu central", "eu/central"}}},
      {"engine.artefact_keys", keys},
      {"runner.client_names", names},
      {"runner.grant_keys", keys},
      {"runner.ui.content_security_policy", {{"default-src 'self'"}, {"ü"}}},
      {"runner.ui.frame_ancestors", {{"https://app.example.com"}, {"a b", "a;b", "a,b"}}},
      {"egress.rules",
       {{"https://api.example.com", "GET https://*.example.com:8443/v1", "cidr:10.1.0.0/16"},
        {"api.example.com", "ftp://a", "get https://a", "https://*a.com", "cidr:0.0.0.0/0"}}},
      {"egress.own_addresses", {{"203.0.113.7", "2001:db8::1"}, {"host", "10.0.0.0/8", "[::1]"}}},
      {"egress.fixed_addresses",
       {{"api.test:443:10.0.0.7", "a:1:10.0.0.1,::1", "a:1:[::1]"},
        {"api.test:443", "api.test:443:name", ":443:10.0.0.1", "a:0:10.0.0.1", "a:x:10.0.0.1",
         "a:1:10.0.0.1,", "a:70000:10.0.0.1"}}},
      {"secrets.broker_runners", names},
      {"vault.namespace", {{"team/a"}, {}}},
      {"vault.login_mount", {{"approle", "team/approle"}, {"/a", "a//b"}}},
      {"vault.app_path", {{"kv/data/app"}, {"kv/app", "/kv/data/a", "sys/data/a"}}},
      {"vault.tenant_path",
       {{"kv/data/{tenantId}/s"}, {"kv/data/tenants", "kv/{tenantId}", "kv/data/{tenant}"}}},
      {"vault.transit_mount", paths},
      {"vault.transit_key", transit_keys},
      {"vault.wrapping_key", transit_keys},
      {"vault.allowed_mounts", paths},
      {"control_plane.runners",
       {{"https://runner:8443"}, {"runner:8443", "https://", "https://r?x", "ftp://r"}}},
      {"control_plane.domain_root",
       {{"ext.example.com"}, {"Ext.example.com", "a b", "a:80", "a."}}},
      {"publishing.legacy_modules_until", {{"2027-03-01T00:00:00Z"}, {"2027-03-01", "soon"}}},
      {"publishing.pilot_tenants", {{"acme"}, {"a b", "../a", "-a"}}},
      {"gateway.allowed_origins",
       {{"https://app.example.com", "http://localhost:3000"},
        {"app.example.com", "https://app.example.com/", "https://App.example.com", "*",
         "https://app.example.com:443", "http://app.example.com:80", "null"}}},
      {"gateway.extra_request_headers", {{"x-mine", "X-Mine"}, {"x mine", "x:mine"}}},
  };
}

/// From a file, where a comma is part of an item.
config::Loaded with(const std::string& setting, const std::string& value) {
  const auto all = settings();
  const bool list =
      std::ranges::find(all, setting, &config::Setting::name)->type == config::Type::list;
  const std::size_t dot = setting.rfind('.');
  const std::string quoted = list ? "[\"" + value + "\"]" : '"' + value + '"';
  return config::load(all, {.file_name = "f",
                            .file_text = "[" + setting.substr(0, dot) + "]\n" +
                                         setting.substr(dot + 1) + " = " + quoted + "\n"});
}

TEST(SettingDemands, AreTheRulesOfWhoeverUsesTheSetting) {
  for (const auto& [setting, values] : cases()) {
    for (const std::string& value : values.good) {
      EXPECT_TRUE(with(setting, value).config) << setting << " = " << value;
    }
    for (const std::string& value : values.bad) {
      const config::Loaded loaded = with(setting, value);
      ASSERT_EQ(loaded.faults.size(), 1U) << setting << " = " << value;
      EXPECT_EQ(loaded.faults[0].code, values.code) << loaded.faults[0].text();
      EXPECT_EQ(loaded.faults[0].setting, setting);
      EXPECT_EQ(loaded.faults[0].where, "f:2");
      EXPECT_FALSE(loaded.faults[0].message.contains("hunter2")) << loaded.faults[0].message;
    }
  }
}

TEST(SettingDemands, AreMadeOfEveryListThatHasNoChoices) {
  const auto known = cases();
  for (const config::Setting& setting : settings()) {
    EXPECT_EQ(static_cast<bool>(setting.demand), known.contains(setting.name)) << setting.name;
    if (setting.type != config::Type::list || !setting.choices.empty()) continue;
    EXPECT_TRUE(setting.demand) << setting.name << ": whoever reads it refuses no wrong item";
  }
}

TEST(SettingDemands, NameEachWrongItemOfAFileByItsLine) {
  const config::Loaded loaded = config::load(
      settings(), {.file_name = "algad.toml",
                   .file_text = "[egress]\nrules = [\n  \"https://a.example\",\n  \"nonsense\",\n  "
                                "\"cidr:10.0.0.0/33\",\n]\n[engine]\nartefact_keys = [\"x\"]\n"});
  std::set<std::string> texts;
  for (const config::Fault& fault : loaded.faults) texts.insert(fault.text());
  EXPECT_EQ(texts.size(), 3U);
  for (const char* begin : {"algad.toml:4: egress.rules item 2 is no egress rule: ",
                            "algad.toml:5: egress.rules item 3 is no egress rule: ",
                            "algad.toml:8: engine.artefact_keys item 1 must be a public key"}) {
    EXPECT_TRUE(std::ranges::any_of(texts, [&](const auto& t) { return t.starts_with(begin); }))
        << begin;
  }
}

}  // namespace
}  // namespace alga::app
