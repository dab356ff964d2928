#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "domain/http.h"

namespace alga::domain {

/// The user on whose behalf an extension runs (reference-compatible fields).
struct UserIdentity {
  std::string user_id;
  std::string user_email;
  std::string user_name;
  std::string user_type;  ///< `internal` or `client`
  std::string client_name;
  std::optional<std::string> client_id;
  std::map<std::string, std::string> additional_fields;
};

/// Ciphertext of an install's secrets on its way to a runner. Its fields are the wire's:
/// docs/contracts/envelope.md. Never logged, never stored in an idempotency record.
struct SecretEnvelope {
  std::string ciphertext_b64;
  std::optional<std::string> version;
  std::optional<std::string> algorithm;  ///< absent means `inline/base64`, as in the reference
  std::optional<std::string> key_id;
  std::optional<std::string> expires_at;  ///< RFC 3339
  std::optional<std::string> key_path;
  std::optional<std::string> mount;
};

/// What a caller asks for; absent means the server's default. Clamped by the runner.
struct RequestedLimits {
  std::optional<std::uint64_t> timeout_ms;
  std::optional<std::uint64_t> memory_mb;
  std::optional<std::uint64_t> fuel;
};

/// One invocation, parsed and validated in shape; authority comes from the grant.
struct ExecuteRequest {
  std::string request_id;
  TenantId tenant;
  ExtensionId extension;
  std::optional<InstallId> install;
  std::optional<VersionId> version;
  ContentHash content_hash;
  std::map<std::string, std::string> config;
  HttpRequest http;
  /// Its body was not what the wire says a body is; `http` has none, and nothing may run with it.
  bool malformed_body = false;
  RequestedLimits limits;
  std::optional<SecretEnvelope> envelope;
  std::vector<std::string> providers;  ///< as sent; normalised by domain/capability
  std::optional<UserIdentity> user;
  std::optional<std::string> grant;  ///< compact signed token of `x-alga-grant`
  std::optional<std::string> idempotency_key;
  std::optional<std::string> traceparent;
  /// Id of the row that the gateway wrote before; the record of the execution carries it too.
  std::optional<std::string> execution_id;
  std::uint32_t depth = 0;  ///< of `x-alga-depth`: extensions that stand behind this request
  std::optional<std::string> config_version;
  std::optional<std::string> secrets_version;
};

/// The answer of `/v1/execute`. `error` is the reference's string (one of its six prefixes) and
/// `code` our stable code; both empty when the guest answered.
struct ExecuteResponse {
  std::uint16_t status = 500;
  Headers headers;
  std::optional<std::string> body;
  std::string error;
  std::string code;
  std::uint32_t retry_after_s = 0;
  /// How it ended, for records and the gateway: an EndClass name such as `ok` or `wall_limit`.
  std::string end_class;
};

}  // namespace alga::domain
