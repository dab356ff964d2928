#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <boost/json.hpp>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>

#include "archive/testing.h"
#include "async/spawn.h"
#include "blob/testing.h"
#include "control_plane/control_plane.h"
#include "control_plane/openapi.h"
#include "control_plane/publishing.h"
#include "crypto/digest.h"
#include "domain/limits.h"
#include "httpd/testing_contract.h"
#include "sql/testing/databases.h"
#include "vault/key_ring.h"
#include "vault/testing.h"

/// A control plane on a real database with the rest of the world faked, and a client that calls its
/// routes in process and holds every request and every answer to the OpenAPI document. For tests of
/// this layer and of those above.
namespace alga::control_plane::testing {

/// Says of every file what the test decided, by default a component that imports nothing.
class FakeInspector final : public domain::ComponentInspector {
 public:
  Result<domain::ComponentReport> inspect(const std::string&) override {
    std::lock_guard lock(mutex_);
    return answer_;
  }
  void answer(Result<domain::ComponentReport> answer) {
    std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  static domain::ComponentReport good() {
    return {.imports = {"alga:extension/types@1.0.0", "wasi:io/poll@0.2.6"},
            .exports = {"handler"},
            .exports_handler = true,
            .file_bytes = 1000};
  }

 private:
  std::mutex mutex_;
  Result<domain::ComponentReport> answer_ = good();
};

class FakeCompiler final : public domain::ArtefactCompiler {
 public:
  Result<std::uint64_t> prepare(const ContentHash&, const std::string&) override {
    ++compiled;
    if (error) return fail(*error);
    return 1'000U;
  }
  Result<bool> is_prepared(const ContentHash&) override { return true; }
  [[nodiscard]] std::string engine() const override { return "0123456789abcdef"; }
  Status discard(const ContentHash&, const std::string&) override { return {}; }
  std::atomic<int> compiled = 0;
  std::optional<Error> error;
};

/// A KeyProvider that can be broken.
class BreakableKeys final : public domain::KeyProvider {
 public:
  explicit BreakableKeys(std::unique_ptr<domain::KeyProvider> real) : real_(std::move(real)) {}
  Result<domain::WrappedKey> wrap(ByteSpan key, const std::string& context) override {
    if (broken) return fail(Kind::unavailable, "keys.unavailable", "broken");
    return real_->wrap(key, context);
  }
  Result<crypto::LockedBytes> unwrap(const domain::WrappedKey& wrapped,
                                     const std::string& context) override {
    if (broken) return fail(Kind::unavailable, "keys.unavailable", "broken");
    return real_->unwrap(wrapped, context);
  }
  Result<std::string> current_key_id() override { return real_->current_key_id(); }
  Result<std::string> rotate() override { return real_->rotate(); }
  std::atomic<bool> broken = false;

 private:
  std::unique_ptr<domain::KeyProvider> real_;
};

/// Seals `sealed:v1` under one key; can be broken, and counts.
class FakeSealer final : public domain::EnvelopeSealer {
 public:
  domain::EnvelopeAlgorithm algorithm() const override { return domain::EnvelopeAlgorithm::sealed; }
  Result<domain::SecretEnvelope> seal(const domain::SecretMap& secrets,
                                      const domain::EnvelopeBinding& binding,
                                      std::string_view version, WallTime expires) override {
    ++calls;
    if (broken) return fail({Kind::unavailable, "vault.unavailable", "broken", 1});
    return domain::seal_envelope(secrets, binding, version, key, "k1", expires);
  }
  std::atomic<bool> broken = false;
  std::atomic<int> calls = 0;
  const crypto::AeadKey key = crypto::AeadKey::generate();
};

/// Counts the hits of limits, by the limit's name, and forgets the rest.
class LimitHits final : public Metrics {
 public:
  Counter& counter(std::string_view name, std::string_view help, Labels labels) override {
    if (name != domain::limit_hits_metric) return others_.counter(name, help, labels);
    const std::scoped_lock lock(mutex_);
    return hits_[std::string(labels.begin()->second)];
  }
  Gauge& gauge(std::string_view name, std::string_view help, Labels labels) override {
    return others_.gauge(name, help, labels);
  }
  Histogram& histogram(std::string_view name, std::string_view help,
                       std::span<const double> buckets, Labels labels) override {
    return others_.histogram(name, help, buckets, labels);
  }
  [[nodiscard]] int of(std::string_view limit) const {
    const std::scoped_lock lock(mutex_);
    const auto found = hits_.find(limit);
    return found == hits_.end() ? 0 : found->second.count.load();
  }
  /// `storage_keys 1` and so on, one after the other in the order of the names.
  [[nodiscard]] std::string text() const {
    const std::scoped_lock lock(mutex_);
    std::string all;
    for (const auto& [name, hit] : hits_) {
      all += (all.empty() ? "" : ", ") + name + " " + std::to_string(hit.count.load());
    }
    return all;
  }

 private:
  struct Hit final : Counter {
    void add(double amount) noexcept override { count += static_cast<int>(amount); }
    std::atomic<int> count = 0;
  };
  NoMetrics others_;
  mutable std::mutex mutex_;
  std::map<std::string, Hit, std::less<>> hits_;
};

/// Keeps the code of each line.
class KeptCodes final : public LogSink {
 public:
  [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view, std::string_view,
             std::span<const LogField> fields) noexcept override {
    const std::scoped_lock lock(mutex_);
    for (const LogField& field : fields) {
      const auto* text = std::get_if<std::string_view>(&field.value);
      if (field.key == "code" && text != nullptr) codes_.insert(std::string(*text));
    }
  }
  [[nodiscard]] bool has(const std::string& code) const {
    const std::scoped_lock lock(mutex_);
    return codes_.contains(code);
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string> codes_;
};

/// A database behind which another one does the work; what a test wants to see or to hold is
/// overridden.
class PassingDatabase : public sql::Database {
 public:
  explicit PassingDatabase(std::unique_ptr<sql::Database> real) : real_(std::move(real)) {}
  [[nodiscard]] sql::Dialect dialect() const override { return real_->dialect(); }
  Status probe() override { return real_->probe(); }

 protected:
  Status run_read(SteadyTime deadline, Work work) override {
    return real_->read([&](sql::Executor& sql) { return work(sql); }, deadline);
  }
  Status run_write(const sql::WriteOptions& options, Work work) override {
    return real_->write([&](sql::Executor& sql) { return work(sql); }, options);
  }
  sql::Database& real() { return *real_; }

 private:
  std::unique_ptr<sql::Database> real_;
};

/// The same for one connection of it.
class PassingExecutor : public sql::Executor {
 public:
  explicit PassingExecutor(sql::Executor& real) : real_(real) {}
  [[nodiscard]] sql::Dialect dialect() const override { return real_.dialect(); }
  [[nodiscard]] Result<sql::Rows> query(std::string_view text,
                                        const std::vector<sql::Value>& params) override {
    return real_.query(text, params);
  }
  Result<std::uint64_t> execute(std::string_view text,
                                const std::vector<sql::Value>& params) override {
    return real_.execute(text, params);
  }
  Status script(std::string_view text) override { return real_.script(text); }

 private:
  sql::Executor& real_;
};

struct Reply {
  std::uint16_t status = 0;
  boost::json::value body;
  std::string text;
  httpd::Response response;

  /// `reply["install"]["id"]`; null when there is none.
  [[nodiscard]] boost::json::value at(std::string_view pointer) const {
    boost::system::error_code error;
    const boost::json::value* found =
        body.find_pointer(boost::json::string_view(pointer.data(), pointer.size()), error);
    return found == nullptr ? boost::json::value(nullptr) : *found;
  }
  [[nodiscard]] std::string string(std::string_view pointer) const {
    boost::json::value value = at(pointer);
    return value.is_string() ? std::string(value.as_string())
                             : "<no string at " + std::string(pointer) + ">";
  }
};

using HeaderMap = std::map<std::string, std::string>;

/// Whether the OpenAPI document allows a request that a test makes.
enum class Form : std::uint8_t { documented, malformed };

/// Everything around one control plane.
class Platform {
 public:
  explicit Platform(std::unique_ptr<sql::Database> database,
                    std::function<void(Options&)> adjust = {},
                    std::shared_ptr<vault::testing::MemorySecrets> secrets = {},
                    const std::function<void(Dependencies&)>& wire = {})
      : database_(std::move(database)),
        secrets_(secrets ? std::move(secrets) : std::make_shared<vault::testing::MemorySecrets>()) {
    auto ring = vault::LocalKeyProvider::open(*secrets_);
    ALGA_CHECK(ring.has_value());
    keys_ = std::make_unique<BreakableKeys>(std::move(*ring));
    Dependencies deps;
    deps.database = database_.get();
    deps.blocking = &pool_;
    deps.bundles = &bundles_;
    deps.keys = keys_.get();
    deps.inspector = &inspector_;
    deps.compiler = &compiler_;
    deps.clock = &clock_;
    deps.random = &random_;
    deps.metrics = &metrics_;
    deps.sealer = &sealer_;
    deps.grant_keys_changed = [this] { ++grant_key_changes; };
    deps.options.tokens = {Secret{"token-of-config"}, Secret{"token-of-storage"},
                           Secret{"token-of-registry"}};
    deps.options.storage_without_grant = true;
    deps.options.scratch = folder_.path() + "/scratch";
    deps.options.domain_root = "ext.example";
    if (adjust) adjust(deps.options);
    if (wire) wire(deps);
    auto plane = ControlPlane::create(std::move(deps));
    if (!plane) ADD_FAILURE() << plane.error().code << ": " << plane.error().message;
    ALGA_CHECK(plane.has_value());
    plane_ = std::move(*plane);
    plane_->add_routes(router_);
    if (auto token = plane_->take_bootstrap_token()) operator_token_ = std::string(token->reveal());
  }
  ~Platform() { plane_->stop(sql::within(std::chrono::seconds{5})); }

  Reply call(std::string_view method, std::string path, const std::string& token,
             const std::optional<boost::json::value>& body = {}, const HeaderMap& headers = {}) {
    std::string text = body ? boost::json::serialize(*body) : "";
    return send(method, std::move(path), token, std::move(text), headers);
  }

  Reply send(std::string_view method, std::string path, const std::string& token, std::string body,
             const HeaderMap& headers = {}) {
    return send_as({}, method, std::move(path), std::move(body), token, headers);
  }
  /// Like call(), of a request that the document does not allow, and that is refused.
  Reply call_malformed(std::string_view method, std::string path, const std::string& token,
                       const std::optional<boost::json::value>& body = {},
                       const HeaderMap& headers = {}) {
    return send_as({}, method, std::move(path), body ? boost::json::serialize(*body) : "", token,
                   headers, Form::malformed);
  }
  /// As whoever is at the other end of a connection.
  Reply send_as(const httpd::Peer& peer, std::string_view method, std::string path,
                std::string body, const std::string& token = {}, const HeaderMap& headers = {},
                Form form = Form::documented) {
    httpd::Request request;
    request.peer = peer;
    request.method = std::string(method);
    std::size_t mark = path.find('?');
    if (mark != std::string::npos) request.query = path.substr(mark + 1);
    request.path = path.substr(0, mark);
    // Read once: tests call from several threads, and a body must be of its own request.
    const std::string number = std::to_string(++requests_);
    request.request_id = "request-" + number;
    if (!token.empty()) request.headers.push_back({"authorization", "Bearer " + token});
    for (const auto& [name, value] : headers) request.headers.push_back({name, value});
    auto match = router_.match(method, request.path);
    if (match.handler == nullptr)
      return {.status = match.allowed.empty() ? std::uint16_t{404} : std::uint16_t{405}};
    if (body.size() > match.options->max_body) return {.status = 413};  // as httpd answers
    request.params = match.params;
    request.body_size = body.size();
    if (match.options->spool) {
      request.body_file = folder_.path() + "/body-" + number;
      std::ofstream(request.body_file, std::ios::binary) << body;
      request.body_sha256 = crypto::sha256_hex(body);
    } else {
      request.body = std::move(body);
    }
    const std::string not_asked = contract().fault_of(method, match.pattern, request);
    const std::string not_let_in = contract().fault_of_caller(method, match.pattern, request);
    httpd::Response response = async::block_on((*match.handler)(std::move(request)));
    const std::string not_said = contract().fault_of(method, match.pattern, response);
    const std::string what = std::string(method) + " " + path + " answered " +
                             std::to_string(response.status) + " " + response.body.substr(0, 500);
    EXPECT_EQ(not_said, "") << what;
    if (response.status < 300) EXPECT_EQ(not_let_in, "") << what;
    if (form == Form::documented) {
      EXPECT_EQ(not_asked, "") << what;
    } else {
      EXPECT_NE(not_asked, "") << what << ": nothing of the request is malformed";
      EXPECT_TRUE(response.status >= 400 && response.status < 500) << what;
    }
    return reply_of(std::move(response));
  }

  /// What an administrator of `tenant` authenticates with; the tenant is made when it is new.
  std::string admin_of(const std::string& tenant) {
    call("POST", "/api/v1/tenants", operator_token_, boost::json::object{{"id", tenant}});
    Reply made =
        call("POST", "/api/v1/api-keys", operator_token_,
             boost::json::object{{"label", "admin"}, {"role", "tenant_admin"}, {"tenant", tenant}});
    EXPECT_EQ(made.status, 201) << made.text;
    return made.string("/key");
  }
  std::string publisher(const std::string& name) {
    call("POST", "/api/v1/publishers", operator_token_, boost::json::object{{"name", name}});
    Reply made =
        call("POST", "/api/v1/api-keys", operator_token_,
             boost::json::object{{"label", "pub"}, {"role", "publisher"}, {"publisher", name}});
    EXPECT_EQ(made.status, 201) << made.text;
    return made.string("/key");
  }

  static std::string manifest(const std::string& name, const std::string& version,
                              const boost::json::object& more = {}) {
    boost::json::object json{{"name", name},
                             {"version", version},
                             {"runtime", "wasm-js@1"},
                             {"capabilities", {"cap:secrets.get", "cap:storage.kv"}},
                             {"api", {{"endpoints", {{{"method", "GET"}, {"path", "/hello"}}}}}}};
    for (const auto& [key, value] : more) json[key] = value;
    return boost::json::serialize(json);
  }
  static std::string bundle(const std::string& manifest_text) {
    return archive::testing::TarBuilder()
        .file("manifest.json", manifest_text)
        .file("dist/main.wasm", std::string("\0asm\x0d\0\1\0", 8) + manifest_text)
        .zst();
  }

  /// Upload and finalize; `signature` is the text of the finalize request.
  Reply publish(const std::string& token, const std::string& archive,
                const std::optional<std::string>& signature = {}) {
    Reply upload = send("POST", "/api/ext-bundles/upload-proxy?filename=b.tar.zst", token, archive);
    if (upload.status != 200) return upload;
    boost::json::object request{{"key", upload.string("/upload/key")}};
    if (signature) {
      request["signature"] = boost::json::object{{"text", *signature}, {"algorithm", "ed25519"}};
    }
    return call("POST", "/api/ext-bundles/finalize", token, request);
  }

  const std::string& operator_token() const { return operator_token_; }
  ControlPlane& plane() { return *plane_; }
  sql::Database& database() { return *database_; }
  ManualClock& clock() { return clock_; }
  blob::testing::MemoryBundleStore& bundles() { return bundles_; }
  FakeInspector& inspector() { return inspector_; }
  FakeCompiler& compiler() { return compiler_; }
  BreakableKeys& keys() { return *keys_; }
  /// For a second platform on the same database.
  std::shared_ptr<vault::testing::MemorySecrets> secrets() { return secrets_; }
  httpd::Router& router() { return router_; }
  const crypto::AeadKey& envelope_key() const { return sealer_.key; }
  FakeSealer& sealer() { return sealer_; }
  std::atomic<int> grant_key_changes = 0;

 private:
  static const httpd::testing::Contract& contract() {
    static const httpd::testing::Contract read(openapi_document());
    return read;
  }

  static Reply reply_of(httpd::Response response) {
    Reply reply;
    reply.status = response.status;
    reply.text = response.body;
    boost::system::error_code ignored;
    reply.body = boost::json::parse(reply.text, ignored);
    reply.response = std::move(response);
    return reply;
  }

  sql::testing::TemporaryFolder folder_;
  std::unique_ptr<sql::Database> database_;
  async::BlockingPool pool_{4, 1000};
  blob::testing::MemoryBundleStore bundles_;
  std::shared_ptr<vault::testing::MemorySecrets> secrets_;
  std::unique_ptr<BreakableKeys> keys_;
  FakeInspector inspector_;
  FakeCompiler compiler_;
  ManualClock clock_;
  SystemRandom random_;
  NoMetrics metrics_;
  FakeSealer sealer_;
  std::string operator_token_;
  std::atomic<int> requests_ = 0;
  httpd::Router router_;
  std::unique_ptr<ControlPlane> plane_;
};

/// Base of tests that run on both databases.
class OnPlatform : public sql::testing::OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (database_) platform_ = std::make_unique<Platform>(std::move(database_));
  }
  Platform& p() { return *platform_; }

  /// An extension of publisher `acme`, published; answers the reply of finalize.
  Reply publish_hello(const std::string& version = "1.0.0", const boost::json::object& more = {}) {
    if (publisher_token_.empty()) publisher_token_ = p().publisher("acme");
    return p().publish(publisher_token_,
                       Platform::bundle(Platform::manifest("hello", version, more)));
  }
  /// Installed for `tenant` by its administrator `token`; answers the install's id.
  std::string install_hello(const std::string& token, const boost::json::object& more = {}) {
    boost::json::object request{{"extension", "acme.hello"}};
    for (const auto& [key, value] : more) request[key] = value;
    Reply made = p().call("POST", "/api/v1/installs", token, request);
    EXPECT_EQ(made.status, 201) << made.text;
    return made.string("/install/id");
  }

  std::unique_ptr<Platform> platform_;
  std::string publisher_token_;
};

}  // namespace alga::control_plane::testing
