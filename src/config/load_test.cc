#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "config/config.h"

namespace alga::config {
namespace {

using namespace std::chrono_literals;

Loaded load_file(std::string text) {
  return load(all_settings({}), {.file_name = "algad.toml", .file_text = std::move(text)});
}
Loaded load_environment(std::map<std::string, std::string> environment) {
  return load(all_settings({}), {.environment = std::move(environment)});
}

std::string texts(const std::vector<Fault>& faults) {
  std::string out;
  for (const Fault& fault : faults) out += fault.code + " " + fault.text() + "\n";
  return out;
}

/// Code of the only fault.
std::string only_code(const Loaded& loaded) {
  EXPECT_EQ(loaded.faults.size(), 1U) << texts(loaded.faults);
  EXPECT_EQ(loaded.config.has_value(), loaded.faults.empty());
  return loaded.faults.empty() ? "" : loaded.faults[0].code;
}

TEST(ConfigLoad, StandsOnDefaultsAlone) {
  Loaded loaded = load_file("");
  ASSERT_TRUE(loaded.config) << texts(loaded.faults);
  EXPECT_EQ(loaded.config->text("server.listen"), "127.0.0.1:8080");
  EXPECT_EQ(loaded.config->duration("gateway.timeout"), 30s);
  EXPECT_EQ(loaded.config->list("server.roles"), std::vector<std::string>{"all"});
  EXPECT_FALSE(loaded.config->flag("secrets.allow_inline"));
  EXPECT_FALSE(loaded.config->is_set("server.listen"));
  EXPECT_TRUE(loaded.warnings.empty());
}

TEST(ConfigLoad, ReadsEveryKindOfValueFromTheFile) {
  Loaded loaded = load_file(R"(
[server]
listen = "0.0.0.0:80"
development = true
io_threads = 4
drain_time = "1m"
roles = ["runner"]
[bundles]
store = "http"
url = "https://store.example/ext"
[bundles.cache]
max_bytes = "1 GiB"
[engine]
compile_processes = 0
artefact_keys = ["k"]
[log]
execution_sample = 0.25
level = "warn"
[runner]
service_token = "env:TOKEN"
[control_plane]
url = "https://control-plane.example"
)");
  ASSERT_TRUE(loaded.config) << texts(loaded.faults);
  const Config& config = *loaded.config;
  EXPECT_EQ(config.text("server.listen"), "0.0.0.0:80");
  EXPECT_TRUE(config.flag("server.development"));
  EXPECT_EQ(config.number("server.io_threads"), 4U);
  EXPECT_EQ(config.duration("server.drain_time"), 60s);
  EXPECT_EQ(config.size("bundles.cache.max_bytes"), 1U << 30U);
  EXPECT_EQ(config.fraction("log.execution_sample"), 0.25);
  EXPECT_TRUE(config.is_set("log.level"));
}

TEST(ConfigLoad, PutsEnvironmentOverFileAndFlagsOverBoth) {
  Sources sources{
      .file_name = "f",
      .file_text = "[log]\nlevel = \"debug\"\nformat = \"text\"\n[gateway]\ngrace = 1\n",
      .environment = {{"ALGA_LOG_LEVEL", "warn"}, {"ALGA_LOG_FORMAT", "json"}},
      .flags = {{"log.level", "error"}}};
  Loaded loaded = load(all_settings({}), sources);
  ASSERT_TRUE(loaded.config) << texts(loaded.faults);
  EXPECT_EQ(loaded.config->text("log.level"), "error");
  EXPECT_EQ(loaded.config->text("log.format"), "json");
  EXPECT_EQ(loaded.config->duration("gateway.grace"), 1ms);
}

TEST(ConfigLoad, ReportsEveryFaultAtOnceWithFileAndLine) {
  Loaded loaded = load_file(R"([server]
lisen = "127.0.0.1:1"
io_threads = "four"
[log]
level = "inof"
[gatway]
timeout = 1
[gateway]
timeout = "1h"
)");
  EXPECT_FALSE(loaded.config);
  ASSERT_EQ(loaded.faults.size(), 5U) << texts(loaded.faults);
  std::string all = texts(loaded.faults);
  for (const char* expected :
       {"config.unknown_key algad.toml:2: server.lisen is not a setting; did you mean "
        "server.listen?",
        "config.wrong_type algad.toml:3: server.io_threads must be a whole number",
        "config.bad_value algad.toml:5: log.level must be one of: debug, info, warn, error; did "
        "you "
        "mean info?",
        "config.unknown_key algad.toml:6: [gatway] is not a table of settings; did you mean "
        "[gateway]?",
        "config.out_of_range algad.toml:9: gateway.timeout must be between 1ms and 2m"}) {
    EXPECT_NE(all.find(expected), std::string::npos) << expected << "\nin\n" << all;
  }
}

TEST(ConfigLoad, ReportsBrokenTomlWithItsLine) {
  Loaded loaded = load_file("[server]\nlisten = \n");
  EXPECT_EQ(only_code(loaded), "config.malformed");
  EXPECT_TRUE(loaded.faults[0].where.starts_with("algad.toml:")) << loaded.faults[0].where;
  EXPECT_EQ(only_code(load_file("[log]\nlevel=\"info\"\nlevel=\"warn\"\n")), "config.malformed");
}

TEST(ConfigLoad, RefusesWrongTypes) {
  EXPECT_EQ(only_code(load_file("[server]\ndevelopment = \"true\"")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("[server]\nio_threads = 1.5")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("[server]\nroles = \"all\"")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("[server]\nroles = [1]")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("[server]\nlisten = 8080")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("[server.listen]\nport = 1")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("server = 1")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("[log]\nexecution_sample = \"half\"")), "config.wrong_type");
  EXPECT_EQ(only_code(load_file("[server]\nlisten = 2026-01-01")), "config.wrong_type");
  EXPECT_EQ(only_code(load_environment({{"ALGA_SERVER_DEVELOPMENT", "yes"}})), "config.wrong_type");
  EXPECT_EQ(only_code(load_environment({{"ALGA_GATEWAY_TIMEOUT", "soon"}})), "config.wrong_type");
}

TEST(ConfigLoad, RefusesValuesOutOfRange) {
  EXPECT_EQ(only_code(load_file("[server]\nio_threads = 257")), "config.out_of_range");
  EXPECT_EQ(only_code(load_file("[server]\nio_threads = -1")), "config.out_of_range");
  EXPECT_EQ(only_code(load_file("[gateway]\ntimeout = 0")), "config.out_of_range");
  EXPECT_EQ(only_code(load_file("[log]\nexecution_sample = 1.01")), "config.out_of_range");
  EXPECT_EQ(only_code(load_file("[log]\nexecution_sample = nan")), "config.out_of_range");
  EXPECT_EQ(only_code(load_file("[bundles.cache]\nmax_bytes = \"1KiB\"")), "config.out_of_range");
}

TEST(ConfigLoad, RefusesBadAddressesUrlsAndLines) {
  for (const char* line :
       {"[server]\nlisten = \"8080\"", "[server]\nlisten = \":80\"",
        "[server]\nlisten = \"127.0.0.1:65536\"", "[server]\nlisten = \"name.test:80\"",
        "[server]\npublic_url = \"example.com\"", "[server]\npublic_url = \"https://a/?b\"",
        "[server]\ndata_dir = \"a\\nb\"", "[server]\nroles = [\"\"]",
        "[server]\nroles = [\"rnner\"]"}) {
    EXPECT_EQ(only_code(load_file(line)), "config.bad_value") << line;
  }
}

TEST(ConfigLoad, RefusesUrlsThatNobodyCouldCall) {
  for (const char* url : {"https://", "http://:80", "https://a:0", "https://a:65536", "https://a:b",
                          "https://a:", "http://[::1", "http://[nix]:80", "http://a b",
                          "http:///path", "ftp://a", "https://a,b"}) {
    EXPECT_EQ(only_code(load_file("[runner]\nurl = \"" + std::string(url) + '"')),
              "config.bad_value")
        << url;
  }
  for (const char* url :
       {"http://a", "https://a:65535/b/", "http://[::1]:80", "http://127.0.0.1:1"}) {
    EXPECT_TRUE(load_file("[runner]\nurl = \"" + std::string(url) + '"').config) << url;
  }
}

/// Settings of which one demands even digits, for the items of a list and for a text.
std::vector<Setting> demanding() {
  const Demand even = [](const std::string& text) -> Status {
    if (text.find_first_not_of("02468") == std::string::npos) return {};
    return fail(Kind::invalid, "egress.invalid_rule", "must be even");
  };
  std::vector<Setting> all = all_settings({});
  for (Setting& setting : all) {
    if (setting.name == "runner.grant_keys" || setting.name == "database.url") {
      setting.demand = even;
    }
  }
  return all;
}

TEST(ConfigLoad, HoldsEveryItemOfAListToItsDemandWithItsOwnLine) {
  Loaded loaded =
      load(demanding(), {.file_name = "f",
                         .file_text = "[runner]\ngrant_keys = [\n  \"2\",\n  \"3\",\n  "
                                      "\"44\",\n  \"5\",\n]\n[database]\nurl = \"7\"\n"});
  EXPECT_EQ(texts(loaded.faults),
            "config.bad_value f:9: database.url must be even\n"
            "config.bad_value f:4: runner.grant_keys item 2 must be even\n"
            "config.bad_value f:6: runner.grant_keys item 4 must be even\n");
  loaded = load(demanding(), {.environment = {{"ALGA_RUNNER_GRANT_KEYS", "1, 2"}},
                              .flags = {{"database.url", "9", "--database"}}});
  EXPECT_EQ(texts(loaded.faults),
            "config.bad_value environment ALGA_RUNNER_GRANT_KEYS: runner.grant_keys item 1 must be "
            "even\n"
            "config.bad_value --database: database.url must be even\n");
  EXPECT_TRUE(load(demanding(), {.flags = {{"runner.grant_keys", "2,4"}}}).config);
}

TEST(ConfigLoad, NamesEachItemThatIsNoChoiceOrNoLine) {
  Loaded loaded = load_file("[server]\nroles = [\"rnner\", \"gateway\", \"\"]");
  EXPECT_EQ(texts(loaded.faults),
            "config.bad_value algad.toml:2: server.roles item 1 must be one of: all, "
            "control-plane, gateway, runner; did you mean runner?\n"
            "config.bad_value algad.toml:2: server.roles item 3 must be a line of UTF-8\n");
}

TEST(ConfigLoad, SuggestsTablesAndSaysWhenATableIsNone) {
  EXPECT_EQ(texts(load_file("[runer]\ntrust = \"grant\"\nfoo = 1\n").faults),
            "config.unknown_key algad.toml:1: [runer] is not a table of settings; did you mean "
            "[runner]?\n");
  EXPECT_EQ(texts(load_file("[runner.storrage]\nurl = \"http://a\"").faults),
            "config.unknown_key algad.toml:1: [runner.storrage] is not a table of settings; did "
            "you mean [runner.storage]?\n");
  EXPECT_EQ(texts(load_file("[entirely.different]\na = 1").faults),
            "config.unknown_key algad.toml:1: [entirely] is not a table of settings\n");
  EXPECT_EQ(texts(load_file("[[runner]]\ntrust = \"grant\"").faults),
            "config.wrong_type algad.toml:1: runner is a table of settings, written once: "
            "[runner]\n");
}

TEST(ConfigLoad, RefusesSecretsInClearWithoutRepeatingThem) {
  for (const char* line :
       {"[runner]\nservice_token = \"hunter2\"", "[runner]\nservice_token = \"env:\"",
        "[database]\nurl = \"postgres://u:hunter2@h/db\"",
        "[server]\npublic_url = \"https://u:hunter2@h/\"",
        "[egress]\nrules = [\"https://u:hunter2@h/\"]"}) {
    Loaded loaded = load_file(line);
    EXPECT_EQ(only_code(loaded), "config.secret_in_clear") << line;
    EXPECT_EQ(texts(loaded.faults).find("hunter2"), std::string::npos);
  }
}

TEST(ConfigLoad, AcceptsTheReferencesEnvironment) {
  Loaded loaded = load_environment({{"PORT", "9000"},
                                    {"RUNNER_SERVICE_TOKEN", "s3cret"},
                                    {"EXT_GATEWAY_TIMEOUT_MS", "1500"},
                                    {"EXT_EGRESS_ALLOWLIST", "example.com, api.test"},
                                    {"ALGA_VAULT_TOKEN_FILE", "/vault/token"},
                                    {"VAULT_ADDR", "https://vault:8200"},
                                    {"SECRET_READ_CHAIN", "env, vault"},
                                    {"EXT_CACHE_MAX_BYTES", "1073741824"},
                                    {"REGISTRY_BASE_URL", ""}});
  ASSERT_TRUE(loaded.config) << texts(loaded.faults);
  const Config& config = *loaded.config;
  EXPECT_EQ(config.text("server.listen"), "0.0.0.0:9000");
  EXPECT_EQ(config.secret("runner.service_token").value()->reveal(), "s3cret");
  EXPECT_EQ(config.duration("gateway.timeout"), 1500ms);
  EXPECT_EQ(config.list("egress.rules").size(), 8U);
  EXPECT_EQ(config.list("egress.rules")[1], "https://*.example.com");
  EXPECT_EQ(config.text("vault.address"), "https://vault:8200");
  EXPECT_FALSE(config.is_set("runner.registry.url"));
  EXPECT_TRUE(loaded.warnings.empty()) << texts(loaded.warnings);
}

TEST(ConfigLoad, PrefersOurNamesToTheReferences) {
  Loaded loaded = load_environment({{"EXT_GATEWAY_TIMEOUT_MS", "1500"},
                                    {"ALGA_GATEWAY_TIMEOUT", "2s"},
                                    {"RUNNER_CONFIG_API_TOKEN", "config"},
                                    {"RUNNER_STORAGE_API_TOKEN", "storage"}});
  ASSERT_TRUE(loaded.config);
  EXPECT_EQ(loaded.config->duration("gateway.timeout"), 2s);
  EXPECT_EQ(loaded.config->secret("control_plane.token").value()->reveal(), "config");
  EXPECT_EQ(loaded.config->secret("runner.storage.token").value()->reveal(), "storage");
}

TEST(ConfigLoad, PutsTheFileOverNamesOfOthersAndSaysSo) {
  Sources sources{.file_name = "f",
                  .file_text =
                      "[bundles.s3]\nregion = \"eu\"\naccess_key = \"file:/k\"\n"
                      "[runner.registry]\nkey = \"file:/r\"\n",
                  .environment = {{"S3_REGION", "eu"},
                                  {"S3_ACCESS_KEY", "canary-of-a-shell"},
                                  {"S3_SECRET_KEY", "canary-two"},
                                  {"PORT", "9000"},
                                  {"ALGA_AUTH_KEY", "canary-three"}},
                  .flags = {}};
  Loaded loaded = load(all_settings({}), sources);
  ASSERT_TRUE(loaded.config) << texts(loaded.faults);
  EXPECT_EQ(loaded.config->secret("bundles.s3.access_key").error().code, "config.secret_unreadable")
      << "the file's, which is not there";
  EXPECT_EQ(loaded.config->secret("bundles.s3.secret_key").value()->reveal(), "canary-two");
  EXPECT_EQ(loaded.config->text("server.listen"), "0.0.0.0:9000");
  EXPECT_EQ(loaded.config->secret("runner.registry.key").value()->reveal(), "canary-three");
  ASSERT_EQ(loaded.warnings.size(), 1U) << texts(loaded.warnings);
  EXPECT_EQ(loaded.warnings[0].code, "config.overruled");
  EXPECT_EQ(
      loaded.warnings[0].text(),
      "environment S3_ACCESS_KEY: bundles.s3.access_key comes from f:3, which goes before it; "
      "ALGA_BUNDLES_S3_ACCESS_KEY would go before the file");
}

TEST(ConfigLoad, TakesTheReferencesTokenVariablesAsTheTokenItself) {
  Loaded loaded = load_environment({{"ALGA_VAULT_TOKEN", "s.token"}, {"ALGA_AUTH_KEY", "key"}});
  ASSERT_TRUE(loaded.config) << texts(loaded.faults);
  EXPECT_EQ(loaded.config->secret("vault.token").value()->reveal(), "s.token");
  EXPECT_EQ(loaded.config->secret("runner.registry.key").value()->reveal(), "key");
}

TEST(ConfigLoad, WarnsOfUnknownVariablesOfOurs) {
  Loaded loaded =
      load_environment({{"ALGA_LOG_LEVLE", "info"}, {"ALGA_CACHE", "x"}, {"HOME", "/"}});
  ASSERT_TRUE(loaded.config);
  ASSERT_EQ(loaded.warnings.size(), 1U) << texts(loaded.warnings);
  EXPECT_EQ(loaded.warnings[0].text(),
            "environment ALGA_LOG_LEVLE: is not a setting; did you mean ALGA_LOG_LEVEL?");
}

TEST(ConfigLoad, DemandsSettingsThatNeedOneAnother) {
  for (const char* text :
       {"[tls]\ncertificate = \"c.pem\"",
        "[tls]\nkey = \"k.pem\"",
        "[tls]\nclient_ca = \"ca.pem\"",
        "[tls]\ninternal_client_ca = \"ca.pem\"",
        "[bundles]\nstore = \"http\"",
        "[bundles]\nstore = \"s3\"\n[bundles.s3]\nbucket = \"b\"\naccess_key = "
        "\"env:A\"\nsecret_key = \"env:K\"",
        "[secrets]\nread_chain = [\"vault\"]",
        "[secrets]\nwrite_provider = \"vault\"",
        "[vault]\naddress = \"https://v\"\nlogin = \"kubernetes\"",
        "[secrets]\nallow_inline = true",
        "[server]\nroles = []",
        "[server]\nlisten = \"\"",
        "[secrets]\nread_chain = []",
        "[secrets]\nread_chain = [\"env\", \"env\"]",
        "[vault]\naddress = \"https://v\"\nlogin = \"approle\"\nrole = \"r\"",
        "[gateway.oidc]\nissuer = \"https://i\"\naudience = \"a\"\nalgorithms = []",
        "[server]\nlisten = \"0.0.0.0:80\"\nmetrics_listen = \"127.0.0.1:80\"",
        "[server]\nlisten = \"localhost:80\"\ninternal_listen = \"127.0.0.1:80\"",
        "[bundles]\nstore = \"s3\"\n[bundles.s3]\nendpoint = \"https://s\"\nbucket = \"b\"\n"
        "secret_key = \"env:K\"",
        "[gateway.oidc]\nissuer = \"https://issuer\"",
        "[server]\nroles = [\"gateway\", \"runner\"]\n[control_plane]\nurl = \"https://c\"\n"
        "[engine]\ncompile_processes = 1",
        "[server]\nroles = [\"gateway\", \"runner\"]\n[database]\nurl = \"postgres://d\"\n"
        "[runner]\ngrant_keys = [\"k\"]\n[engine]\ncompile_processes = 1",
        "[engine]\ncompile_processes = 0\nartefact_keys = [\"k\"]",
        "[server]\nroles = [\"runner\"]\n[control_plane]\nurl = \"https://c\"\n"
        "[engine]\ncompile_processes = 0",
        "[server]\nroles = [\"runner\"]\n[engine]\ncompile_processes = 1",
        "[server]\nroles = [\"runner\"]\n[control_plane]\nurl = \"https://c\"",
        "[server]\nroles = [\"runner\"]\nlisten = \"0.0.0.0:80\"\n[control_plane]\nurl = "
        "\"https://c\"\n[engine]\ncompile_processes = 1",
        "[server]\nroles = [\"runner\", \"control-plane\"]\nlisten = \"[::]:80\"",
        "[server]\nroles = [\"runner\"]\ninternal_listen = \"10.0.0.1:81\"\n[control_plane]\nurl = "
        "\"https://c\"\n[engine]\ncompile_processes = 1\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n"
        "client_ca = \"a\"",
        "[server]\nroles = [\"gateway\", \"control-plane\"]",
        "[server]\nroles = [\"all\", \"runner\"]",
        "[server]\nlisten = \"127.0.0.1:80\"\nmetrics_listen = \"127.0.0.1:80\"",
        "[tls]\ninternal_certificate = \"c.pem\"\ninternal_key = \"k.pem\"",
        "[vault]\naddress = \"https://v\"\n[secrets]\ntransport = \"vault-transit:v1\""}) {
    EXPECT_EQ(only_code(load_file(text)), "config.incomplete") << text;
  }
}

TEST(ConfigLoad, DemandsNoCallersWhereNobodyElseCanCall) {
  const std::string alone =
      "[control_plane]\nurl = \"https://c\"\n[engine]\ncompile_processes = 1\n[server]\n"
      "roles = [\"runner\"]\n";
  for (const char* text :
       {"", "listen = \"127.0.0.2:80\"", "listen = \"[::1]:80\"", "listen = \"localhost:80\"",
        "listen = \"0.0.0.0:80\"\ninternal_listen = \"127.0.0.1:81\"",
        "listen = \"0.0.0.0:80\"\n[runner]\nservice_token = \"file:/t\"",
        "listen = \"0.0.0.0:80\"\n[runner]\nclient_names = [\"gateway\"]",
        "listen = \"0.0.0.0:80\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_ca = \"a\"",
        "listen = \"0.0.0.0:80\"\ninternal_listen = \"0.0.0.0:81\"\n[tls]\n"
        "internal_certificate = \"c\"\ninternal_key = \"k\"\ninternal_client_ca = \"a\""}) {
    const Loaded loaded = load_file(alone + text);
    EXPECT_TRUE(loaded.config) << text << '\n' << texts(loaded.faults);
  }
  // In one process nobody has to call, and with the token of drop-in use everybody is asked for it.
  for (const char* text : {"[server]\nlisten = \"0.0.0.0:80\"",
                           "[server]\nlisten = \"0.0.0.0:80\"\nroles = [\"runner\"]\n[runner]\n"
                           "trust = \"service-token\"\nservice_token = \"file:/t\""}) {
    const Loaded loaded = load_file(text);
    EXPECT_TRUE(loaded.config) << text << '\n' << texts(loaded.faults);
  }
}

TEST(ConfigLoad, SaysWhereTheSettingsStandThatNeedOneAnother) {
  Loaded loaded = load(
      all_settings({}),
      {.file_name = "f",
       .file_text = "[server]\nmetrics_listen = \"127.0.0.1:80\"\n[tls]\nkey = \"k.pem\"\n",
       .environment = {{"ALGA_SECRETS_TRANSPORT", "vault-transit:v1"}},
       .flags = {{"server.listen", "127.0.0.1:80"}, {"server.roles", "gateway,all", "--role"}}});
  EXPECT_EQ(texts(loaded.faults),
            "config.incomplete f:4: tls.certificate is needed because tls.key is set\n"
            "config.incomplete f:2 and --set server.listen: server.metrics_listen is the address "
            "of server.listen too\n"
            "config.incomplete environment ALGA_SECRETS_TRANSPORT: vault.address is needed because "
            "secrets.transport is \"vault-transit:v1\"\n"
            "config.incomplete environment ALGA_SECRETS_TRANSPORT: vault.transit_key is needed "
            "because secrets.transport is \"vault-transit:v1\"\n"
            "config.incomplete --role: server.roles names \"all\" beside other roles; name all of "
            "them, or \"all\" alone\n");
}

TEST(ConfigLoad, ReportsWhatSettingsNeedBesideWhatIsWrongWithOthers) {
  Loaded loaded = load_file(
      "[server]\nio_threads = \"four\"\n[tls]\ncertificate = \"c.pem\"\n"
      "[bundles]\nstore = \"http\"\n");
  EXPECT_EQ(texts(loaded.faults),
            "config.wrong_type algad.toml:2: server.io_threads must be a whole number\n"
            "config.incomplete algad.toml:4: tls.key is needed because tls.certificate is set\n"
            "config.incomplete algad.toml:6: bundles.url is needed because bundles.store is "
            "\"http\"\n");
}

TEST(ConfigLoad, DemandsNothingBecauseOfASettingThatItCouldNotRead) {
  for (const char* text :
       {"[bundles]\nstore = \"http\"\nurl = \"nowhere\"",   // no second fault: url is needed
        "[bundles]\nstore = \"http\"\nulr = \"http://a\"",  // it was meant
        "[server]\nroles = [\"gateway\", \"runer\"]",       // who knows which roles
        "[bundles]\nstore = \"http\"\n[bundels]\nurl = \"http://a\"",
        "[secrets]\nread_chain = [\"env\", \"env\", \"valt\"]",
        "[bundles]\nstore = \"http\"\nurl = "}) {
    EXPECT_NE(only_code(load_file(text)), "config.incomplete") << text;
  }
}

TEST(ConfigLoad, ReportsUnknownFlags) {
  Loaded loaded = load(all_settings({}), {.flags = {{"log.levle", "info"}}});
  EXPECT_EQ(only_code(loaded), "config.unknown_key");
  EXPECT_EQ(loaded.faults[0].where, "--set log.levle");
}

TEST(ConfigSecret, ReadsAFileEachTimeAndTakesOneLineEndOff) {
  std::string path = ::testing::TempDir() + "alga_config_secret";
  Loaded loaded = load_file("[runner]\nservice_token = \"file:" + path + "\"");
  ASSERT_TRUE(loaded.config);
  std::ofstream(path) << "first\n";
  EXPECT_EQ(loaded.config->secret("runner.service_token").value()->reveal(), "first");
  std::ofstream(path) << "second\r\n";
  EXPECT_EQ(loaded.config->secret("runner.service_token").value()->reveal(), "second");
  std::ofstream(path) << "\n";
  EXPECT_EQ(loaded.config->secret("runner.service_token").error().code, "config.secret_unreadable");
  std::ofstream(path) << std::string(70'000, 'x');
  EXPECT_EQ(loaded.config->secret("runner.service_token").error().code, "config.secret_unreadable");
  std::remove(path.c_str());
  EXPECT_EQ(loaded.config->secret("runner.service_token").error().code, "config.secret_unreadable");
}

TEST(ConfigSecret, IsNoneWhenNotSetAndAnErrorWhenTheVariableIsMissing) {
  EXPECT_FALSE(load_file("").config->secret("runner.service_token").value());
  Loaded loaded = load_file("[runner]\nservice_token = \"env:NOT_THERE\"");
  EXPECT_EQ(loaded.config->secret("runner.service_token").error().code, "config.secret_unreadable");
}

TEST(ConfigPrint, ShowsValuesSourcesAndReferencesButNoSecret) {
  Loaded loaded =
      load(all_settings({}),
           {.file_name = "algad.toml",
            .file_text = "[runner]\nservice_token = \"env:TOKEN\"\n[log]\nlevel = \"warn\"",
            .environment = {{"TOKEN", "canary-secret"}, {"S3_SECRET_KEY", "canary-two"}}});
  ASSERT_TRUE(loaded.config) << texts(loaded.faults);
  std::string printed = loaded.config->print_redacted();
  EXPECT_EQ(printed.find("canary"), std::string::npos);
  EXPECT_NE(printed.find("service_token = \"env:TOKEN\"  # algad.toml:2"), std::string::npos);
  EXPECT_NE(printed.find("level = \"warn\"  # algad.toml:4"), std::string::npos);
  EXPECT_NE(printed.find("secret_key = \"env:S3_SECRET_KEY\"  # environment S3_SECRET_KEY"),
            std::string::npos);
}

TEST(ConfigPrint, IsAFileThatLoadsAgain) {
  Loaded first =
      load_file("[server]\ndrain_time = \"90s\"\n[gateway]\nallowed_origins = [\"https://a\"]");
  ASSERT_TRUE(first.config);
  Loaded second = load_file(first.config->print_redacted());
  ASSERT_TRUE(second.config) << texts(second.faults);
  EXPECT_EQ(second.config->duration("server.drain_time"), 90s);
  EXPECT_EQ(second.config->list("gateway.allowed_origins"), std::vector<std::string>{"https://a"});
}

TEST(ConfigDeathTest, EndsTheProcessOnAnUnknownName) {
  Loaded loaded = load_file("");
  EXPECT_DEATH((void)loaded.config->text("no.such"), "CHECK");
  EXPECT_DEATH((void)loaded.config->flag("server.listen"), "CHECK");
}

}  // namespace
}  // namespace alga::config
