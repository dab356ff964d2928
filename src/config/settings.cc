#include <initializer_list>
#include <iterator>
#include <string_view>
#include <utility>

#include "config/schema.h"

namespace alga::config {
namespace {

constexpr std::uint64_t KiB = 1024;
constexpr std::uint64_t MiB = 1024 * KiB;
constexpr std::uint64_t GiB = 1024 * MiB;
constexpr std::uint64_t second = 1000;
constexpr std::uint64_t hour = 3600 * second;
constexpr std::uint64_t day = 24 * hour;

using Aliases = std::vector<EnvironmentAlias>;
using Choices = std::vector<std::string>;

/// One table of the file; its functions add settings in order.
class Table {
 public:
  Table(std::vector<Setting>& settings, std::string name)
      : settings_(settings), prefix_(std::move(name) + ".") {}

  void flag(std::string name, bool value, std::string what, Aliases aliases = {}) {
    add({name, Type::flag, value ? "true" : "false", what, {}, 0, 0, aliases});
  }
  void integer(std::string name, std::uint64_t value, std::uint64_t min, std::uint64_t max,
               std::string what, Aliases aliases = {}) {
    add({name, Type::integer, std::to_string(value), what, {}, min, max, aliases});
  }
  void size(std::string name, std::uint64_t value, std::uint64_t min, std::uint64_t max,
            std::string what, Aliases aliases = {}) {
    add({name, Type::size, std::to_string(value), what, {}, min, max, aliases});
  }
  void duration(std::string name, std::uint64_t value, std::uint64_t min, std::uint64_t max,
                std::string what, Aliases aliases = {}) {
    add({name, Type::duration, std::to_string(value), what, {}, min, max, aliases});
  }
  void text(std::string name, Type type, std::string value, std::string what,
            Aliases aliases = {}) {
    add({.name = name,
         .type = type,
         .default_text = value,
         .description = what,
         .aliases = aliases});
  }
  void choice(std::string name, std::string value, Choices choices, std::string what,
              Aliases aliases = {}) {
    add({.name = name,
         .type = Type::choice,
         .default_text = value,
         .description = what,
         .choices = choices,
         .aliases = aliases});
  }
  void list(std::string name, std::string value, std::string what, Aliases aliases = {},
            Choices choices = {}) {
    add({.name = name,
         .type = Type::list,
         .default_text = value,
         .description = what,
         .choices = choices,
         .aliases = aliases});
  }
  void fraction(std::string name, std::string value, std::string what) {
    add({.name = name, .type = Type::fraction, .default_text = value, .description = what});
  }
  void secret(std::string name, std::string what, Aliases aliases = {}) {
    add({.name = name, .type = Type::secret, .description = what, .aliases = aliases});
  }

 private:
  void add(Setting setting) {
    setting.name.insert(0, prefix_);
    settings_.push_back(std::move(setting));
  }
  std::vector<Setting>& settings_;
  std::string prefix_;
};

void add_server(std::vector<Setting>& all) {
  Table t(all, "server");
  t.list("roles", "all", "What this process does", {},
         {"all", "control-plane", "gateway", "runner"});
  t.text(
      "data_dir", Type::path, "",
      "Folder for everything that must outlive a restart: database, bundles, keys, caches, spool");
  t.text("listen", Type::address, "127.0.0.1:8080",
         "Public listener: gateway, API, pages; a lone runner's API", {{"PORT", Alias::port}});
  t.text("internal_listen", Type::address, "",
         "Listener for other roles: `/v1/execute`, install-config, storage, redemption; empty: the "
         "public one serves them");
  t.text("metrics_listen", Type::address, "",
         "Listener for `/metrics`, `/healthz` and `/readyz` only; empty: the other listeners serve "
         "them");
  t.text("public_url", Type::url, "", "How browsers reach this server; for links and redirects",
         {{"RUNNER_PUBLIC_BASE"}});
  t.text("port_file", Type::path, "", "File that gets the bound port of the public listener");
  t.text("internal_port_file", Type::path, "", "The same of the internal listener");
  t.text("bootstrap_token_file", Type::path, "",
         "File (mode 0600) for the first start's token, in place of standard error");
  t.flag("development", false,
         "Accepts well-known default tokens and unprotected transports on loopback");
  t.integer("io_threads", 0, 0, 256, "Threads for connections; 0: one per core");
  t.integer("blocking_threads", 16, 1, 512, "Threads for files, SQL and compression");
  t.integer("max_connections", 10'000, 1, 1'000'000, "Connections at once; more are closed");
  t.duration("header_timeout", 10 * second, 1, 600 * second,
             "From the first byte of a request to its complete head");
  t.duration("body_timeout", 15 * second, 1, 600 * second, "Without a byte of the body");
  t.duration("idle_timeout", 75 * second, 1, 3600 * second, "Between requests of a connection");
  t.duration("drain_time", 25 * second, 0, hour, "How long a stopping server lets requests finish");
  t.list("trusted_proxies", "",
         "Networks (`10.0.0.0/8`) whose `X-Forwarded-For` and `-Proto` are believed; nobody from "
         "them is a caller of this machine to a runner without a token");
}

void add_tls(std::vector<Setting>& all) {
  Table t(all, "tls");
  t.text("certificate", Type::path, "",
         "PEM chain of the public listener; empty: plain HTTP; read again when it changes");
  t.text("key", Type::path, "", "PEM private key that goes with it");
  t.text("client_ca", Type::path, "",
         "PEM authorities of client certificates on the public listener; empty: none asked for");
  t.text("internal_certificate", Type::path, "", "PEM chain of the internal listener");
  t.text("internal_key", Type::path, "", "PEM private key that goes with it");
  t.text("internal_client_ca", Type::path, "",
         "PEM authorities whose certificates may call the internal listener (mTLS)");
  t.text("client_certificate", Type::path, "", "PEM chain that this process shows to other roles");
  t.text("client_key", Type::path, "", "PEM private key that goes with it");
  t.text("ca", Type::path, "", "PEM authorities of other roles, S3 and Vault; empty: the system's");
}

void add_database(std::vector<Setting>& all) {
  Table t(all, "database");
  t.text("url", Type::text, "",
         "`postgres://user@host:port/name?sslmode=verify-full`; empty: SQLite in the data folder");
  t.secret("password", "Password for the URL's user");
  t.integer("connections", 8, 1, 256, "Connections in the pool");
  t.duration("timeout", 30 * second, 100, 600 * second, "Of one statement on PostgreSQL");
}

void add_bundles(std::vector<Setting>& all) {
  Table t(all, "bundles");
  t.choice("store", "filesystem", {"filesystem", "http", "s3"},
           "Where bundles and compiled components live");
  t.text("path", Type::path, "", "Folder of the file store; empty: `bundles` in the data folder");
  t.text("url", Type::url, "", "Base of the HTTP store (read only)",
         {{"EXT_BUNDLE_STORE_URL"}, {"BUNDLE_STORE_BASE"}});
  t.duration("timeout", 60 * second, second, 600 * second,
             "Of one attempt to read or write an object");
  Table s3(all, "bundles.s3");
  s3.text("endpoint", Type::url, "", "Such as `https://s3.eu-central-1.amazonaws.com`",
          {{"STORAGE_S3_ENDPOINT"}});
  s3.text("bucket", Type::text, "", "Bucket", {{"STORAGE_S3_BUCKET"}});
  s3.text("prefix", Type::text, "", "In front of every key");
  s3.text("region", Type::text, "us-east-1", "Region that requests are signed for",
          {{"STORAGE_S3_REGION"}, {"S3_REGION"}});
  s3.flag("path_style", true, "`endpoint/bucket/key`; off: `bucket.endpoint/key`");
  s3.secret("access_key", "Access key id",
            {{"STORAGE_S3_ACCESS_KEY", Alias::secret_itself},
             {"MINIO_ACCESS_KEY", Alias::secret_itself},
             {"S3_ACCESS_KEY", Alias::secret_itself}});
  s3.secret("secret_key", "Secret access key",
            {{"STORAGE_S3_SECRET_KEY", Alias::secret_itself},
             {"MINIO_SECRET_KEY", Alias::secret_itself},
             {"S3_SECRET_KEY", Alias::secret_itself}});
  Table cache(all, "bundles.cache");
  cache.text("path", Type::path, "",
             "Folder for unpacked bundles; empty: `cache` in the data folder",
             {{"EXT_CACHE_ROOT"}});
  cache.size("max_bytes", 10 * GiB, 64 * MiB, 1024 * 1024 * GiB,
             "Size that the least recently used bundles make room for", {{"EXT_CACHE_MAX_BYTES"}});
}

void add_engine(std::vector<Setting>& all) {
  Table t(all, "engine");
  t.integer("threads", 0, 0, 256, "Threads that run guests; 0: one per core");
  t.duration("slice", 1, 1, 100, "Time a guest computes before others get their turn");
  t.duration("cold_wait", 10 * second, 0, 120 * second,
             "How long a request waits for a component that is being compiled");
  t.size("memory_cache_bytes", 2 * GiB, 16 * MiB, 1024 * GiB, "Prelinked components kept mapped");
  t.size("disk_cache_bytes", 20 * GiB, 64 * MiB, 1024 * 1024 * GiB,
         "Compiled components kept on disk");
  t.size("shared_cache_bytes", 100 * GiB, GiB, 1024 * 1024 * GiB,
         "Compiled components kept in the bundle store, of all engines, for runners to take from "
         "there; a control plane sees to it. At least one for each engine and version in use");
  t.integer("compile_processes", 1, 0, 64,
            "Compilers at once; 0: this process only loads what others compiled and signed with a "
            "key of `artefact_keys`. Has to be set for a runner that believes grants and runs "
            "without its control plane");
  t.duration("compile_timeout", 120 * second, second, hour,
             "Processor time of compiling one component, after which it is refused. A compile that "
             "does not get on in four times as long by the clock may be tried again");
  t.size("compile_memory", 2 * GiB, 256 * MiB, 64 * GiB, "Of one compiler process");
  t.choice(
      "keep_pages", "auto", {"auto", "on", "off"},
      "Each slot resets up to 16 MiB of its memory by copying and keeps it, in place of giving "
      "it back page by page: several times the rate where guests run on more than one "
      "processor. auto: when that is at most a quarter of the memory for all "
      "`limits.executions`");
  t.list("artefact_keys", "",
         "Public keys (base64, Ed25519) of further compile roles whose artefacts are believed");
}

void add_runner(std::vector<Setting>& all) {
  Table t(all, "runner");
  t.choice("trust", "grant", {"grant", "service-token"},
           "What authority comes from: a signed grant, or (drop-in use behind an existing gateway) "
           "the body of an authenticated caller");
  t.text("url", Type::url, "",
         "Where a gateway in another process finds runners; empty: in this process",
         {{"RUNNER_DOCKER_HOST"}, {"RUNNER_BASE_URL"}});
  t.secret("service_token", "Token of callers of `/v1/execute`",
           {{"RUNNER_SERVICE_TOKEN", Alias::secret_itself}});
  t.list("client_names", "",
         "DNS or URI names in verified client certificates that count as the service token");
  t.list("grant_keys", "",
         "Public keys (base64, Ed25519) that sign grants; empty: asked of the control plane or "
         "taken from this process");
  t.duration("idempotency_ttl", day, second, 30 * day,
             "How long answers of idempotent requests are kept (drop-in use)");
  t.size("idempotency_bytes", 64 * MiB, 0, 16 * GiB,
         "Memory for them; 0B keeps none, and only requests at the same time run once");
  Table registry(all, "runner.registry");
  registry.text("url", Type::url, "", "Control plane of a lone runner", {{"REGISTRY_BASE_URL"}});
  registry.secret(
      "key", "`x-api-key` for it, and what our own registry routes accept",
      {{"ALGA_AUTH_KEY_FILE", Alias::secret_file}, {"ALGA_AUTH_KEY", Alias::secret_itself}});
  Table storage(all, "runner.storage");
  storage.text("url", Type::url, "",
               "Internal storage API of a lone runner; empty: that of the registry",
               {{"STORAGE_API_BASE_URL"}});
  storage.secret("token", "`x-runner-auth` for it",
                 {{"RUNNER_SERVICE_TOKEN", Alias::secret_itself},
                  {"RUNNER_STORAGE_API_TOKEN", Alias::secret_itself}});
  Table proxy(all, "runner.ui_proxy");
  proxy.text("url", Type::url, "",
             "Host application that `ui-proxy` calls; empty: every route is `route-not-found`",
             {{"UI_PROXY_BASE_URL"}});
  proxy.duration("timeout", 5 * second, 1, 120 * second, "Of one call", {{"UI_PROXY_TIMEOUT_MS"}});
  Table ui(all, "runner.ui");
  ui.size("max_file_bytes", 32 * MiB, 1 * KiB, 1 * GiB, "Largest file that is served",
          {{"EXT_STATIC_MAX_FILE_BYTES"}});
  ui.flag("strict_validation", true,
          "Asks the registry whether a tenant may load a hash before serving it",
          {{"EXT_STATIC_STRICT_VALIDATION"}});
  ui.text("content_security_policy", Type::text, "", "Replaces the built-in policy of pages",
          {{"EXT_UI_CONTENT_SECURITY_POLICY"}});
  ui.list("frame_ancestors", "", "Origins that may frame pages; empty: `server.public_url` only",
          {{"EXT_UI_FRAME_ANCESTORS"}});
}

void add_egress(std::vector<Setting>& all) {
  Table t(all, "egress");
  t.list("rules", "",
         "Rules for requests without a grant (`runner.trust = \"service-token\"`); empty: deny. "
         "Grammar: docs/contracts/egress.md",
         {{"EXT_EGRESS_ALLOWLIST", Alias::egress_hosts}});
  t.integer("max_in_flight", 8192, 1, 100'000,
            "Outgoing requests of guests at once in this process");
  t.integer("connections_per_partition", 64, 1, 10'000, "Connections at once for one install");
  t.text("authorities", Type::path, "",
         "PEM authorities that guests' HTTPS is verified against; empty: the system's");
  t.list("own_addresses", "",
         "Public addresses of this installation beside those of its network interfaces; guests "
         "reach them only by a `cidr:` rule");
  t.list("fixed_addresses", "",
         "`host:port:address` in place of DNS; the policy still judges the address");
}

void add_secrets(std::vector<Setting>& all) {
  Table t(all, "secrets");
  t.list("read_chain", "env,filesystem", "Providers asked in this order for application secrets",
         {{"SECRET_READ_CHAIN"}}, {"env", "filesystem", "vault"});
  t.choice("write_provider", "filesystem", {"filesystem", "vault"},
           "Provider that new application secrets are written to", {{"SECRET_WRITE_PROVIDER"}});
  t.text("env_prefix", Type::text, "", "The env provider also looks for `<prefix>_<NAME>`",
         {{"SECRET_ENV_PREFIX"}});
  t.text("path", Type::path, "",
         "Folder of the file provider; empty: `secrets` in the data folder, then `/run/secrets` "
         "where there is one",
         {{"SECRET_FS_BASE_PATH"}});
  t.choice("transport", "sealed:v1", {"sealed:v1", "vault-transit:v1", "broker-token:v1"},
           "How secrets travel to runners; when not set and `vault.transit_key` is: "
           "`vault-transit:v1`");
  t.choice("wrapping_keys", "local", {"local", "vault"},
           "What wraps the data keys of tenants: a ring among the application secrets, or the "
           "transit key `vault.wrapping_key`. What the other one has wrapped still opens");
  t.duration("envelope_life", 300 * second, 10 * second, day, "How long an envelope can be opened");
  t.flag("allow_inline", false, "Takes unprotected `inline/base64` envelopes; development only");
  t.duration("cache_ttl", 30 * second, 0, 600 * second,
             "How long a runner keeps opened secrets in locked memory");
  t.integer("cache_entries", 4096, 0, 1'000'000, "How many installs' secrets at most");
  t.size("cache_bytes", 64 * MiB, 0, 16 * GiB, "How much locked memory at most");
  t.integer("opening_threads", 8, 1, 256,
            "How many envelopes Vault or the broker opens at once for a runner");
  t.text("broker_url", Type::url, "",
         "Where runners redeem `broker-token:v1`, with `tls.client_certificate`; empty: "
         "`control_plane.url`");
  t.duration("broker_timeout", 5 * second, 100, 60 * second, "Of one redemption");
  t.duration("broker_token_life", 30 * second, 5 * second, 120 * second,
             "How long a broker token can be redeemed; covers queueing and a cold component");
  t.list("broker_runners", "",
         "DNS or URI names in the certificates of those who may redeem; empty: every certificate "
         "that the listener's authority signed");
}

void add_vault(std::vector<Setting>& all) {
  Table t(all, "vault");
  t.text("address", Type::url, "", "Such as `https://vault:8200`; empty: no Vault",
         {{"VAULT_ADDR"}, {"ALGA_VAULT_ADDR"}});
  t.text("namespace", Type::text, "", "`X-Vault-Namespace`",
         {{"VAULT_NAMESPACE"}, {"ALGA_VAULT_NAMESPACE"}});
  t.choice("login", "token", {"token", "approle", "kubernetes"}, "How to get a token");
  t.secret("token", "Token for `login = \"token\"`; a file is read again when it changes",
           {{"VAULT_TOKEN", Alias::secret_itself},
            {"ALGA_VAULT_TOKEN", Alias::secret_itself},
            {"ALGA_VAULT_TOKEN_FILE", Alias::secret_file}});
  t.text("role", Type::text, "", "Role of `approle` (its role id) or `kubernetes`");
  t.secret("secret_id", "Secret id of `approle`");
  t.text("login_mount", Type::text, "",
         "Mount of the login method; empty: `approle` or `kubernetes`");
  t.text("service_account_token", Type::path, "/var/run/secrets/kubernetes.io/serviceaccount/token",
         "Token file of `kubernetes`");
  t.text("app_path", Type::text, "kv/data/app/secrets", "KV v2 path of application secrets",
         {{"VAULT_APP_SECRET_PATH"}});
  t.text("tenant_path", Type::text, "kv/data/tenants/{tenantId}/secrets",
         "KV v2 path of tenants' secrets in the earlier system; accepted and checked, so that its "
         "environment still starts, and read by nothing, as `TENANT_<id>_<name>` of `env`: here "
         "secrets belong to installs, and the database keeps them sealed",
         {{"VAULT_TENANT_SECRET_PATH_TEMPLATE"}});
  t.text("transit_mount", Type::text, "transit", "Mount of the transit engine",
         {{"ALGA_VAULT_TRANSIT_MOUNT"}});
  t.text("transit_key", Type::text, "", "Transit key that encrypts envelopes",
         {{"ALGA_VAULT_TRANSIT_KEY"}});
  t.text("wrapping_key", Type::text, "", "Transit key that wraps the data keys of tenants");
  t.list("allowed_mounts", "",
         "Transit mounts that an envelope may name; empty: `transit_mount` only");
  t.flag("allow_unbound_transit", false,
         "Opens transit ciphertext that is not bound to an install, as the reference makes it");
  t.duration("timeout", 5 * second, 100, 60 * second, "Of one call");
  t.integer("attempts", 3, 1, 10, "Attempts of one call");
}

void add_control_plane(std::vector<Setting>& all) {
  Table t(all, "control_plane");
  t.text("url", Type::url, "",
         "Where gateways and runners in other processes find its internal routes: install-config, "
         "storage, keys of grants, records; empty: in this process");
  t.secret("token", "`x-runner-auth` of install-config",
           {{"RUNNER_STORAGE_API_TOKEN", Alias::secret_itself},
            {"RUNNER_CONFIG_API_TOKEN", Alias::secret_itself}});
  t.duration(
      "lease", second, 100, second,
      "How long this gateway serves an install's configuration without asking, and how long a "
      "change may wait for it when it does not answer");
  t.flag(
      "remote_gateways", false,
      "Gateways of another kind, which ask over HTTP and confirm nothing, serve too: changes are "
      "acknowledged when their leases have run out. Always so on PostgreSQL and without a gateway "
      "in this process. Gateways that confirm are waited for in any case");
  t.flag(
      "storage_without_grant", false,
      "Runners reach the storage of every install with `runner.storage.token` alone, as those of "
      "the earlier system do and our own with `runner.trust = \"service-token\"`; otherwise they "
      "show the grant of the execution");
  t.list(
      "runners", "",
      "Runners of other processes that are told what was published, installed or enabled, so that "
      "their first request does not wait: URLs, each of a runner, of a name that has the addresses "
      "of several (all are told), or of what balances several (one is told); empty: `runner.url`, "
      "when it is set");
  t.text("domain_root", Type::text, "",
         "Each install gets the host `<install>.<domain_root>` for its pages",
         {{"EXT_DOMAIN_ROOT"}});
  Table publishing(all, "publishing");
  publishing.choice("imports", "declared", {"declared", "exact"},
                    "`exact` refuses components that import an interface whose capability the "
                    "manifest does not declare");
  publishing.flag("require_signatures", false,
                  "Refuses bundles without a valid signature of their publisher: to publish, to "
                  "install, and to run what was published before");
  publishing.text(
      "legacy_modules_until", Type::text, "",
      "Core modules of the legacy ABI are accepted until this RFC 3339 moment; empty: refused");
  publishing.list("pilot_tenants", "", "Only these tenants may install; empty: all");
  publishing.integer("uploads", 30, 1, 100'000, "Uploads per principal within `uploads_window`",
                     {{"EXT_BUNDLES_RATELIMIT_MAX"}});
  publishing.duration("uploads_window", 60 * second, second, hour, "Window of `uploads`",
                      {{"EXT_BUNDLES_RATELIMIT_WINDOW_MS"}});
  Table records(all, "records");
  records.duration("guest_logs_kept", 14 * day, hour, 3650 * day, "Retention of guest log lines");
  records.size("guest_log_bytes", 256 * MiB, 1 * MiB, 1024 * GiB,
               "Bytes of guest log lines kept per tenant; the oldest lines go first");
  records.duration("executions_kept", 90 * day, hour, 3650 * day,
                   "Retention of execution records; this time alone bounds them");
  records.size("spool_bytes", 256 * MiB, 1 * MiB, 64 * GiB,
               "Records that wait on disk for the control plane");
  Table quotas(all, "quotas");
  quotas.choice(
      "period", "day", {"hour", "day", "month"},
      "How long the windows of tenants' quotas are; they begin with the hour, day or month "
      "of UTC");
  constexpr std::uint64_t most = 9'007'199'254'740'991;
  quotas.integer("invocations", 0, 0, most,
                 "Invocations of a tenant within `period`; 0: no limit. An operator may set others "
                 "for single tenants");
  quotas.duration("cpu_time", 0, 0, 366 * day, "CPU time of its guests; 0: no limit");
  quotas.integer("memory_mb_seconds", 0, 0, most,
                 "Peak memory of its guests in MiB times the seconds they held it; 0: no limit");
  quotas.size("egress_bytes", 0, 0, 1024 * 1024 * GiB,
              "Bytes that its guests send and receive through `http.fetch`; 0: no limit");
}

void add_gateway(std::vector<Setting>& all) {
  Table t(all, "gateway");
  t.list("allowed_origins", "",
         "Origins (`https://app.example.com`) whose pages may call; compared exactly",
         {{"EXT_PROXY_ALLOWED_ORIGINS"}, {"EXT_GATEWAY_ALLOWED_ORIGINS"}});
  t.duration("timeout", 30 * second, 1, 120 * second,
             "Wall time of a guest whose install was granted none of its own",
             {{"EXT_GATEWAY_TIMEOUT_MS"}});
  t.duration("grace", 10 * second, 0, 120 * second,
             "What queue, cold compile and the way to the runner may add before 504");
  t.integer("rate_burst", 60, 1, 1'000'000,
            "Requests at once per tenant and extension, at each gateway");
  t.duration("rate_interval", second, 1, hour, "Time after which one more is let through");
  t.flag("allow_undeclared_endpoints", false,
         "Extensions that declare no endpoints take every path; else none");
  t.integer("max_depth", 4, 0, 32,
            "Extensions that may call one another in a row through this gateway");
  t.list("extra_request_headers", "", "Request headers that guests see beyond the built-in list");
  t.duration("idempotency_ttl", day, second, 30 * day,
             "How long answers of idempotent requests are kept");
  Table oidc(all, "gateway.oidc");
  oidc.text("issuer", Type::url, "", "Issuer of accepted JWTs; empty: none are");
  oidc.text("audience", Type::text, "", "Audience that a JWT must name");
  oidc.text("jwks_url", Type::url, "",
            "Keys; empty: found through the issuer's discovery document");
  oidc.list("algorithms", "EdDSA,ES256,RS256", "Accepted signature algorithms", {},
            {"EdDSA", "ES256", "RS256"});
  oidc.text("tenant_claim", Type::text, "tenant", "Claim that names the tenant");
  oidc.text("roles_claim", Type::text, "roles", "Claim that lists the roles");
  oidc.text("client_claim", Type::text, "client_id",
            "Claim that names the client of a client-portal user");
  oidc.text("permissions_claim", Type::text, "",
            "Claim that lists `extension:read` and `extension:write`: a user of a tenant needs the "
            "one to call extensions with GET and HEAD, the other for the rest. Empty: the role is "
            "enough");
  Table session(all, "gateway.session");
  session.secret("key", "Key (32 bytes, base64) that a host application signs session tokens with");
}

void add_observability(std::vector<Setting>& all) {
  Table log(all, "log");
  log.choice("level", "info", {"debug", "info", "warn", "error"},
             "Least severe line that is written");
  log.choice("format", "json", {"json", "text"}, "One JSON object a line, or text for people");
  log.fraction("execution_sample", "1",
               "Share of successful executions that get a line; failures always do");
  log.fraction("capability_sample", "0",
               "Share of capability calls that get a line; denials always do");
  log.integer("guest_lines", 100, 0, 100'000,
              "Lines in a second, a thousand more at once, that the guests of one tenant may write "
              "into the log of a runner without a control plane: what they log, and how they "
              "failed. 0: none");
  Table telemetry(all, "telemetry");
  telemetry.text("otlp_url", Type::url, "", "OTLP/HTTP endpoint for traces; empty: none");
  telemetry.fraction("trace_sample", "0.01",
                     "Share of new traces that are recorded; a caller's decision is kept");
}

/// Three limits have a name of their own in the plan of the reference system's runtime.
Aliases planned_name(std::string_view limit) {
  if (limit == "memory") return {{"MAX_LINEAR_MEMORY"}};
  if (limit == "component_size") return {{"MAX_COMPONENT_SIZE"}};
  if (limit == "components_in_memory") return {{"MAX_COMPONENTS"}};
  return {};
}

/// What an administrator may give one install of its own; of the rest all have the server's.
bool is_given_to_installs(std::string_view limit) {
  return limit == "wall_time" || limit == "cpu_time" || limit == "memory";
}

void add_limits(std::vector<Setting>& all, std::span<const LimitSetting> limits) {
  auto add = [&](const LimitSetting& limit, std::string prefix, std::uint64_t value,
                 std::string description, Aliases aliases) {
    std::string name = "limits." + std::move(prefix) + std::string(limit.name);
    all.push_back({std::move(name),
                   limit.type,
                   std::to_string(value),
                   std::move(description),
                   {},
                   limit.min,
                   limit.max,
                   std::move(aliases)});
  };
  for (const LimitSetting& limit : limits) {
    std::string what(limit.description);
    what.front() = static_cast<char>(
        what.front() >= 'a' && what.front() <= 'z' ? what.front() - 'a' + 'A' : what.front());
    add(limit, "", limit.default_value, what, planned_name(limit.name));
    const std::string quoted = "`" + std::string(limit.name) + "`";
    add(limit, "max_", limit.max,
        is_given_to_installs(limit.name)
            ? "Most that an install may get of " + quoted
            : "Highest value of " + quoted + "; a higher one counts as it",
        {});
  }
}

}  // namespace

std::vector<Setting> all_settings(std::span<const LimitSetting> limits) {
  std::vector<Setting> all;
  add_server(all);
  add_tls(all);
  add_database(all);
  add_bundles(all);
  add_engine(all);
  add_runner(all);
  add_egress(all);
  add_secrets(all);
  add_vault(all);
  add_control_plane(all);
  add_gateway(all);
  add_observability(all);
  add_limits(all, limits);
  return all;
}

}  // namespace alga::config
