#pragma once

#include <atomic>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "json/parse.h"
#include "vault/transport.h"

namespace alga::vault::testing {

/// Vault in memory, true to the answers of the real one: transit, KV v2 with check-and-set,
/// AppRole, Kubernetes, renewal, namespaces, sealing. testing_contract.h holds it to a real server.
class FakeVault final : public Transport {
 public:
  Result<domain::HttpResponse> send(const domain::HttpRequest& request,
                                    std::chrono::milliseconds) override {
    ++calls;
    if (before_answer) before_answer(request);
    const std::scoped_lock lock(mutex_);
    if (down) return fail(Kind::unavailable, "vault.unavailable", "connection refused");
    if (answer_once) {
      auto answer = std::move(*answer_once);
      answer_once.reset();
      return answer;
    }
    const std::string prefix = "http://vault.test:8200/v1/";
    if (!request.url.starts_with(prefix)) return errors(404, "");
    last_namespace = std::string(find_header(request.headers, "x-vault-namespace").value_or(""));
    return route(request, request.url.substr(prefix.size()));
  }

  std::atomic<int> calls = 0;
  std::atomic<int> decrypts = 0;
  std::atomic<int> logins = 0;
  std::atomic<int> renewals = 0;
  std::atomic<bool> down = false;
  std::atomic<bool> sealed = false;
  std::optional<domain::HttpResponse> answer_once;
  std::function<void(const domain::HttpRequest&)> before_answer;
  std::string good_token = "root";
  std::string last_namespace;
  std::int64_t lease = 3600;
  bool renewable = true;
  bool may_look_up = true;

 private:
  using Answer = domain::HttpResponse;
  struct Sealed {
    std::string plaintext, context;
  };
  struct Kv {
    boost::json::object data;
    std::int64_t version = 0;
  };

  static Answer ok(boost::json::object body) {
    return {.status = 200, .headers = {}, .body = boost::json::serialize(body)};
  }
  static Answer errors(std::uint16_t status, const std::string& text) {
    boost::json::array list;
    if (!text.empty()) list.emplace_back(text);
    return {.status = status,
            .headers = {},
            .body = boost::json::serialize(boost::json::object{{"errors", list}})};
  }

  Answer route(const domain::HttpRequest& request, const std::string& path) {
    if (path.starts_with("sys/health")) {
      return {
          .status = static_cast<std::uint16_t>(sealed ? 503 : 200), .headers = {}, .body = "{}"};
    }
    if (sealed) return errors(503, "Vault is sealed");
    const auto document = json::parse(request.body.value_or("{}"));
    if (!document || !document->is_object()) return errors(400, "failed to parse JSON input");
    const auto& body = document->get_object();
    if (path == "auth/approle/login") return login(body, "secret_id", "the-secret-id");
    if (path == "auth/kubernetes/login") return login(body, "jwt", "the-jwt");
    if (find_header(request.headers, "x-vault-token").value_or("") != good_token) {
      return errors(403, "permission denied");
    }
    if (path == "auth/token/lookup-self") {
      if (!may_look_up) return errors(403, "permission denied");
      return ok({{"data", {{"ttl", lease}, {"renewable", renewable}}}});
    }
    if (path == "auth/token/renew-self") {
      ++renewals;
      return renewable ? token_answer() : errors(400, "lease is not renewable");
    }
    if (path.starts_with("transit/")) return transit(path.substr(8), body);
    if (path.starts_with("kv/data/")) return kv(request.method, path.substr(8), body);
    return errors(404, "no handler for route");
  }

  Answer token_answer() const {
    return ok(
        {{"auth",
          {{"client_token", good_token}, {"lease_duration", lease}, {"renewable", renewable}}}});
  }
  Answer login(const boost::json::object& body, const char* credential, const char* expected) {
    ++logins;
    const auto* given = body.if_contains(credential);
    if (given == nullptr || *given != expected) return errors(400, "invalid credential");
    return token_answer();
  }

  static std::string text(const boost::json::object& body, const char* name) {
    const auto* value = body.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
  }

  Answer transit(const std::string& path, const boost::json::object& body) {
    const std::size_t slash = path.find('/');
    const std::string operation = path.substr(0, slash);
    std::string key = slash == std::string::npos ? "" : path.substr(slash + 1);
    if (operation == "keys" && key.ends_with("/rotate")) {
      ++key_version_;
      return {.status = 204, .headers = {}, .body = {}};
    }
    if (key != "alga") {
      return operation == "keys" ? errors(404, "") : errors(400, "encryption key not found");
    }
    if (operation == "keys") return ok({{"data", {{"latest_version", key_version_}}}});
    if (operation == "encrypt") {
      const std::string id = "vault:v" + std::to_string(key_version_) + ":" +
                             base64_encode(as_bytes("c" + std::to_string(++serial_)));
      sealed_[id] = {text(body, "plaintext"), text(body, "associated_data")};
      return ok({{"data", {{"ciphertext", id}, {"key_version", key_version_}}}});
    }
    ++decrypts;
    const auto found = sealed_.find(text(body, "ciphertext"));
    if (found == sealed_.end() || found->second.context != text(body, "associated_data")) {
      return errors(400, "cipher: message authentication failed");
    }
    return ok({{"data", {{"plaintext", found->second.plaintext}}}});
  }

  Answer kv(const std::string& method, const std::string& path, const boost::json::object& body) {
    Kv& entry = kv_[path];
    if (method == "GET") {
      if (entry.version == 0) return errors(404, "");
      return ok({{"data", {{"data", entry.data}, {"metadata", {{"version", entry.version}}}}}});
    }
    const auto* options = body.if_contains("options");
    const auto* cas = options != nullptr ? options->as_object().if_contains("cas") : nullptr;
    if (cas != nullptr && cas->to_number<std::int64_t>() != entry.version) {
      return errors(400, "check-and-set parameter did not match the current version");
    }
    entry.data = body.at("data").as_object();
    ++entry.version;
    return ok({{"data", {{"version", entry.version}}}});
  }

  std::mutex mutex_;
  std::map<std::string, Sealed> sealed_;
  std::map<std::string, Kv> kv_;
  std::int64_t key_version_ = 1;
  int serial_ = 0;
};

}  // namespace alga::vault::testing
