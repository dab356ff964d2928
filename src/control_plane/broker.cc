#include "control_plane/broker.h"

#include <vector>

#include "base/bytes.h"
#include "control_plane/audit.h"
#include "control_plane/install_row.h"

namespace alga::control_plane {
namespace {

using domain::BrokerToken;

constexpr std::size_t kTokenIdBytes = 16;

Counter& redemptions(Metrics& metrics, std::string_view outcome) {
  return metrics.counter("alga_secret_redemptions_total",
                         "Broker tokens that runners redeemed, by outcome", {{"outcome", outcome}});
}

Caller caller_of(const RunnerIdentity& runner, const std::string& request_id) {
  return {.principal = {.id = "runner:" + runner.id}, .request_id = request_id};
}

}  // namespace

Broker::Broker(const Core& core, Settings& settings, const SigningKeys& keys)
    : core_(core),
      settings_(settings),
      keys_(keys),
      redeemed_(redemptions(*core.deps().metrics, "redeemed")),
      refused_(redemptions(*core.deps().metrics, "refused")),
      failed_(redemptions(*core.deps().metrics, "failed")) {}

domain::SecretEnvelope Broker::blank(std::string version) const {
  domain::SecretEnvelope envelope;
  envelope.version = std::move(version);
  envelope.algorithm = std::string(name(domain::EnvelopeAlgorithm::broker_token));
  envelope.key_id = keys_.signer(KeyPurpose::broker)->public_key().id();
  return envelope;
}

void Broker::mint(const domain::EnvelopeBinding& binding, domain::SecretEnvelope& envelope) const {
  const WallTime now = core_.now();
  const BrokerToken token{.id = hex_encode(as_bytes(core_.random_bytes(kTokenIdBytes))),
                          .tenant = binding.tenant,
                          .install = binding.install,
                          .version = envelope.version.value_or(""),
                          .issued = now,
                          .expires = now + core_.options().broker.token_life};
  const auto key = keys_.signer(KeyPurpose::broker);
  envelope.ciphertext_b64 = sign_broker_token(token, *key);
  envelope.expires_at = format_rfc3339(token.expires);
}

Result<Redeemed> Broker::redeem(const Redemption& redemption, const RunnerIdentity& runner) {
  if (!core_.options().broker.enabled) {
    return fail(Kind::not_found, "broker.disabled", "this platform has no secrets broker");
  }
  std::vector<crypto::PublicKey> ours;
  for (const GrantKey& key : keys_.verifiers(KeyPurpose::broker)) ours.push_back(key.key);
  const auto token = domain::verify_broker_token(redemption.token, ours, core_.now());
  if (!token) {
    // Nothing in it can be believed, so there is no trail to write it to.
    refused_.add();
    core_.log().warn("a broker token was refused",
                     {{"code", token.error().code}, {"runner", runner.id}});
    return fail(token.error());
  }
  auto secrets = open(*token, redemption);
  Status claimed = secrets ? claim(*token, redemption, runner, secrets->version) : Status{};
  if (secrets && claimed) {
    redeemed_.add();
    return secrets;
  }
  const Error& error = secrets ? claimed.error() : secrets.error();
  (http_status(error.kind) >= 500 ? failed_ : refused_).add();
  audit_refusal(*token, redemption, runner, error);
  return fail(error);
}

Result<Redeemed> Broker::open(const BrokerToken& token, const Redemption& redemption) {
  if (redemption.tenant != token.tenant || redemption.install != token.install ||
      redemption.version != token.version) {
    return fail(Kind::denied, "broker.token_mismatch", "the token is for another install");
  }
  TRY(auto opened, settings_.open(token.tenant, token.install.str()));
  if (!opened) return fail(Kind::gone, "broker.install_gone", "the install has no secrets");
  return Redeemed{.json = opened->secrets.to_json(), .version = std::move(opened->version)};
}

Status Broker::claim(const BrokerToken& token, const Redemption& redemption,
                     const RunnerIdentity& runner, const std::string& version) {
  return core_.db().write([&](sql::Executor& sql) -> Status {
    auto install = find_install(sql, token.tenant, token.install.str());
    if (!install || !install->active()) {
      return fail(Kind::gone, "broker.install_gone", "the install is disabled or gone");
    }
    TRY_VOID(sql.execute(
        "INSERT INTO secret_redemptions (tenant, token_id, install_id, runner, first_at, "
        "expires_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, token_id) DO NOTHING",
        {token.tenant, token.id, token.install, runner.certificate_sha256, core_.now(),
         token.expires}));
    TRY(auto row, sql.find("SELECT runner FROM secret_redemptions WHERE tenant = $1 AND "
                           "token_id = $2",
                           {token.tenant, token.id}));
    if (!row || row->at<std::string>(0) != runner.certificate_sha256) {
      return fail(Kind::denied, "broker.token_taken", "another runner has redeemed this token");
    }
    return append_audit(sql, core_, caller_of(runner, redemption.request_id),
                        {.tenant = token.tenant.str(),
                         .action = "secrets.redeemed",
                         .target = token.install.str(),
                         .details = {{"version", version},
                                     {"token", token.id},
                                     {"certificate_sha256", runner.certificate_sha256}}});
  });
}

void Broker::audit_refusal(const BrokerToken& token, const Redemption& redemption,
                           const RunnerIdentity& runner, const Error& error) {
  const Status written = core_.db().write([&](sql::Executor& sql) {
    return append_audit(sql, core_, caller_of(runner, redemption.request_id),
                        {.tenant = token.tenant.str(),
                         .action = "secrets.redemption_refused",
                         .target = token.install.str(),
                         .details = {{"code", error.code},
                                     {"token", token.id},
                                     {"certificate_sha256", runner.certificate_sha256}}});
  });
  core_.log().warn("a broker token was refused", {{"tenant", token.tenant.str()},
                                                  {"install", token.install.str()},
                                                  {"code", error.code},
                                                  {"runner", runner.id},
                                                  {"audited", written.has_value()}});
}

Result<std::uint64_t> Broker::sweep() {
  return core_.db().write([this](sql::Executor& sql) {
    return sql.execute("DELETE FROM secret_redemptions WHERE expires_at < $1", {core_.now()});
  });
}

}  // namespace alga::control_plane
