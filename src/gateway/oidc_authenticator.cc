#include "gateway/oidc_authenticator.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <set>

#include "async/await_callback.h"
#include "base/bytes.h"

namespace alga::gateway {
namespace {

using domain::Principal;
using domain::Role;

constexpr std::chrono::minutes kKeysFresh{10};
constexpr std::chrono::seconds kBetweenFetches{10};
constexpr std::chrono::hours kKeysUsable{24};
constexpr std::size_t kMaxClaim = 255;

std::unexpected<Error> invalid(std::string why) {
  return fail(Kind::unauthenticated, "oidc.invalid_token", std::move(why));
}

/// Text of a claim; empty when it is absent, too long or would not fit into a header or a log.
std::string claim(const boost::json::object& claims, std::string_view name) {
  const auto* value = claims.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  std::string text(value->get_string());
  return text.size() <= kMaxClaim && domain::is_header_value(text) ? text : std::string{};
}

/// The texts of a list, or of one text with blanks between them.
std::vector<std::string_view> words_of(const boost::json::object& claims, std::string_view name) {
  std::vector<std::string_view> words;
  const auto* value = claims.if_contains(name);
  if (value != nullptr && value->is_array()) {
    for (const json::Value& item : value->get_array()) {
      if (item.is_string()) words.push_back(item.get_string());
    }
  }
  if (value != nullptr && value->is_string()) {
    std::string_view rest = value->get_string();
    while (!rest.empty()) {
      const std::size_t blank = rest.find(' ');
      words.push_back(rest.substr(0, blank));
      rest = blank == rest.npos ? std::string_view{} : rest.substr(blank + 1);
    }
  }
  return words;
}

std::set<Role> roles_of(const boost::json::object& claims, std::string_view name) {
  std::set<Role> roles;
  for (const std::string_view word : words_of(claims, name)) {
    if (const auto role = domain::parse_role(word)) roles.insert(*role);
  }
  return roles;
}

domain::ExtensionRights rights_of(const boost::json::object& claims, std::string_view name) {
  const auto words = words_of(claims, name);
  const auto has = [&](std::string_view right) {
    return std::ranges::find(words, right) != words.end();
  };
  return {.read = has("extension:read"), .write = has("extension:write")};
}

domain::UserIdentity user_of(const boost::json::object& claims, const ClaimNames& names,
                             Role role) {
  domain::UserIdentity user{.user_id = claim(claims, "sub"),
                            .user_email = claim(claims, "email"),
                            .user_name = claim(claims, "name"),
                            .user_type = role == Role::client_user ? "client" : "internal",
                            .client_name = claim(claims, names.client_name)};
  const std::string client = claim(claims, names.client);
  if (role == Role::client_user && !client.empty()) user.client_id = client;
  return user;
}

std::string text_member(std::string_view document, std::string_view name) {
  const auto value = json::parse(document, {.max_bytes = 1U << 20U, .max_depth = 8});
  if (!value || !value->is_object()) return {};
  const auto* member = value->get_object().if_contains(name);
  return member != nullptr && member->is_string() ? std::string(member->get_string())
                                                  : std::string{};
}

/// Keys that anybody on the way could replace are no keys: https, or the machine itself.
bool is_trustworthy(std::string_view url) {
  return url.starts_with("https://") || url.starts_with("http://127.0.0.1:") ||
         url.starts_with("http://localhost:");
}

}  // namespace

Result<Principal> principal_from_claims(const json::Value& value, const ClaimNames& names) {
  if (!value.is_object()) return invalid("the claims are not an object");
  const auto& claims = value.get_object();
  const std::string subject = claim(claims, "sub");
  if (subject.empty()) return invalid("no subject");
  const std::set<Role> roles = roles_of(claims, names.roles);
  if (roles.empty()) return invalid("no known role");
  // The enumeration begins with the most powerful one.
  const Role role = *roles.begin();
  Principal principal{.id = "oidc:" + subject,
                      .role = role,
                      .source = Principal::Source::oidc,
                      .label = claim(claims, "name"),
                      .user = user_of(claims, names, role)};
  if (domain::is_tenant_bound(role)) {
    if (!names.permissions.empty()) principal.extensions = rights_of(claims, names.permissions);
    principal.tenant = TenantId::parse(claim(claims, names.tenant));
    if (!principal.tenant) return invalid("no tenant");
  }
  if (role == Role::publisher) {
    const std::string publisher = claim(claims, names.publisher);
    if (!is_identifier(publisher)) return invalid("no publisher");
    principal.publisher = publisher;
  }
  return principal;
}

/// The issuer's keys and who waits for them. Kept alive by the fetches that are under way.
struct OidcAuthenticator::Keys : std::enable_shared_from_this<Keys> {
  using Set = std::shared_ptr<const JwkSet>;
  Keys(const Options& options, Fetch how, const Clock& time, Logger logger)
      : issuer(options.issuer),
        jwks_url(options.jwks_url),
        fetch(std::move(how)),
        clock(time),
        log(std::move(logger)) {}

  /// A set that is fresh enough and has the key, or null.
  Set find(const std::string& key_id) {
    const std::scoped_lock lock(mutex);
    if (set == nullptr || clock.steady() - fetched >= kKeysFresh) return nullptr;
    return set->contains(key_id) ? set : nullptr;
  }

  /// The newest set that can be had. Asks the issuer unless it was asked a moment ago.
  void refresh(Callback<Set> done) {
    std::optional<Result<Set>> now;
    {
      const std::scoped_lock lock(mutex);
      const bool recently = asked && clock.steady() - *asked < kBetweenFetches;
      if (!waiting.empty() || !recently) {
        waiting.push_back(std::move(done));
        if (waiting.size() > 1) return;
        asked = clock.steady();
      } else {
        now = what_is_usable();
      }
    }
    if (now) return done(std::move(*now));
    if (!jwks_url.empty()) return fetch_keys(jwks_url);
    std::string base = issuer;
    if (base.ends_with('/')) base.pop_back();
    fetch(base + "/.well-known/openid-configuration",
          [self = shared_from_this()](Result<std::string> document) {
            if (!document) return self->finish(fail(document.error()));
            if (text_member(*document, "issuer") != self->issuer) {
              return self->finish(fail(Kind::bad_gateway, "oidc.unavailable",
                                       "the discovery document is another issuer's"));
            }
            self->fetch_keys(text_member(*document, "jwks_uri"));
          });
  }

  void fetch_keys(const std::string& url) {
    if (!is_trustworthy(url)) {
      return finish(fail(Kind::bad_gateway, "oidc.unavailable", "keys must come over https"));
    }
    fetch(url, [self = shared_from_this()](Result<std::string> text) {
      if (!text) return self->finish(fail(text.error()));
      auto parsed = parse_jwks(*text);
      if (!parsed) return self->finish(fail(parsed.error()));
      self->finish(std::make_shared<const JwkSet>(std::move(*parsed)));
    });
  }

  void finish(Result<Set> outcome) {
    std::vector<Callback<Set>> released;
    {
      const std::scoped_lock lock(mutex);
      released = std::exchange(waiting, {});
      if (outcome) {
        set = *outcome;
        fetched = clock.steady();
      } else {
        log.warn("the keys of the OpenID issuer could not be fetched",
                 {{"code", outcome.error().code}, {"reason", outcome.error().message}});
        outcome = what_is_usable();
      }
    }
    for (auto& done : released) done(outcome);
  }

  /// The last set, while it may still be believed. Under the lock.
  [[nodiscard]] Result<Set> what_is_usable() const {
    if (set != nullptr && clock.steady() - fetched < kKeysUsable) return set;
    return fail(Kind::unavailable, "oidc.unavailable", "the issuer's keys are not known");
  }

  const std::string issuer, jwks_url;
  const Fetch fetch;
  const Clock& clock;
  const Logger log;
  std::mutex mutex;
  Set set;
  SteadyTime fetched{};
  std::optional<SteadyTime> asked;
  std::vector<Callback<Set>> waiting;
};

OidcAuthenticator::OidcAuthenticator(Options options, Fetch fetch, const Clock& clock, Logger log)
    : options_(std::move(options)),
      clock_(clock),
      keys_(std::make_shared<Keys>(options_, std::move(fetch), clock, std::move(log))) {}

OidcAuthenticator::~OidcAuthenticator() = default;

async::Task<Result<Principal>> OidcAuthenticator::authenticate(std::string token) {
  CO_TRY(const UnverifiedJwt jwt, parse_jwt(token));
  const std::shared_ptr<Keys> keys = keys_;
  Keys::Set set = keys->find(jwt.key_id);
  if (set == nullptr) {
    CO_TRY(set, co_await async::await_callback<Keys::Set>(
                    [keys](Callback<Keys::Set> done) { keys->refresh(std::move(done)); }));
  }
  const auto key = set->find(jwt.key_id);
  if (key == set->end()) co_return invalid("signed with a key that is not the issuer's");
  const JwtExpectation expected{options_.issuer, options_.audience, options_.algorithms,
                                options_.skew};
  CO_TRY(const json::Value claims, verify_jwt(jwt, key->second, expected, clock_.wall()));
  co_return principal_from_claims(claims, options_.claims);
}

OidcAuthenticator::Fetch fetch_over(egress::HttpClient& client, egress::ClientTls tls) {
  return [&client, tls = std::move(tls)](std::string url, Callback<std::string> done) {
    egress::ClientRequest request{.url = std::move(url),
                                  .headers = {{"accept", "application/json"}},
                                  .timeout = std::chrono::seconds(5),
                                  .max_response_bytes = 1U << 20U,
                                  .tls = tls};
    client.send(std::move(request),
                [done = std::move(done)](Result<domain::HttpResponse> response) mutable {
                  if (!response) return done(fail(response.error()));
                  if (response->status != 200) {
                    return done(fail(Kind::bad_gateway, "oidc.unavailable",
                                     "the issuer answered " + std::to_string(response->status)));
                  }
                  done(std::move(response->body).value_or(""));
                });
  };
}

}  // namespace alga::gateway
