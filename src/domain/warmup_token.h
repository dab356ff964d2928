#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/sign.h"
#include "domain/grant.h"

namespace alga::domain {

/// The header in which an order to warm up travels to `POST /warmup`.
inline constexpr std::string_view warmup_header = "x-alga-warmup";
inline constexpr std::chrono::seconds warmup_token_life{60};

/// The control plane's word that a bundle has been published, for runners that are to have it ready
/// before anybody invokes it: docs/contracts/grant.md. It permits fetching and loading, and nothing
/// else: it names no tenant and no install, so no execution can be had for it.
/// `base64url(payload) "." base64url(Ed25519 over "alga-warmup:v1." + first part)`.
[[nodiscard]] std::string sign_warmup(const ContentHash& bundle, WallTime issued,
                                      const crypto::SigningKey& key);

/// Checks an order against the keys that verify grants. Errors: `grant.malformed`,
/// `grant.unknown_key`, `grant.bad_signature`, `grant.bad_life`, `grant.not_yet_valid`,
/// `grant.expired` (Kind::unauthenticated), `grant.hash_mismatch` (Kind::denied).
[[nodiscard]] Status check_warmup(std::string_view token, const ContentHash& bundle,
                                  const GrantVerifier& keys, WallTime now);

}  // namespace alga::domain
