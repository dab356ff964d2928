#include <algorithm>

#include "base/bytes.h"
#include "control_plane/services.h"
#include "crypto/sealed_box.h"

namespace alga::control_plane {
namespace {

constexpr std::uint64_t kMaxBody = 8U << 10U;
constexpr std::size_t kLongestText = 256;
constexpr std::size_t kLongestToken = 4U << 10U;

/// The runner behind a verified client certificate. Without one nobody is given a secret, whatever
/// else the request carries.
Result<RunnerIdentity> runner_of(const httpd::Peer& peer, const BrokerPolicy& policy) {
  if (!peer.tls || peer.certificate_sha256.empty()) {
    return fail(Kind::unauthenticated, "broker.certificate_required",
                "the broker answers runners with a client certificate only");
  }
  const auto& names = peer.certificate_names;
  const bool allowed = policy.runners.empty() || std::ranges::any_of(names, [&](const auto& name) {
                         return std::ranges::find(policy.runners, name) != policy.runners.end();
                       });
  if (!allowed) {
    return fail(Kind::denied, "broker.runner_not_allowed",
                "the certificate is not that of a runner of this pool");
  }
  return RunnerIdentity{.id = names.empty() ? peer.certificate_sha256.substr(0, 16) : names.front(),
                        .certificate_sha256 = peer.certificate_sha256};
}

template <class Identifier>
Result<Identifier> identifier(json::Object& root, std::string_view name) {
  TRY(const std::string text, root.string(name, kLongestText));
  auto id = Identifier::parse(text);
  if (!id) return invalid(std::string(name) + " is not an identifier");
  return *std::move(id);
}

Result<httpd::Response> redeem(Services& services, const httpd::Request& request) {
  TRY(const RunnerIdentity runner, runner_of(request.peer, services.core.options().broker));
  TRY(json::Document document, json::Document::parse(request.body));
  json::Object root = document.root();
  TRY(std::string token, root.string("token", kLongestToken));
  TRY(TenantId tenant, identifier<TenantId>(root, "tenant"));
  TRY(InstallId install, identifier<InstallId>(root, "install"));
  TRY(std::string version, root.string("version", kLongestText));
  TRY(const std::string key_text, root.string("public_key", kLongestText));
  TRY_VOID(root.finish());
  const auto key = crypto::BoxPublicKey::from_base64(key_text);
  if (!key) return invalid("public_key is not an X25519 key");
  TRY(const Redeemed secrets,
      services.broker.redeem({std::move(token), std::move(tenant), std::move(install),
                              std::move(version), request.request_id},
                             runner));
  // No buffer between here and the runner's locked memory holds the secrets in clear.
  auto sealed = key->seal(secrets.json.reveal());
  if (!sealed) return invalid("public_key is not an X25519 key");
  return json_answer(200, boost::json::object{{"sealed_b64", base64_encode(as_bytes(*sealed))},
                                              {"version", secrets.version}});
}

}  // namespace

void add_redeem_routes(Api& api, Services& services) {
  api.add_open("POST", "/internal/secrets/redeem",
               [&services](const httpd::Request& request) { return redeem(services, request); },
               {.route = {.max_body = kMaxBody},
                .admit = [&services](const httpd::Request& request) -> Status {
                  TRY_VOID(runner_of(request.peer, services.core.options().broker));
                  return {};
                }});
}

}  // namespace alga::control_plane
