#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"
#include "crypto/sign.h"
#include "domain/ports/secret_provider.h"

// What the composition root needs of the machine: folders, files, addresses, keys.

namespace alga::app {

/// An address `host:port` of the configuration, already checked there.
struct Endpoint {
  std::string host;  ///< without brackets; `localhost` is 127.0.0.1
  std::uint16_t port = 0;
};
[[nodiscard]] Endpoint endpoint_of(const std::string& text);

/// Makes the folder, with mode 0700. Error: `config.folder`.
Status private_folder(const std::filesystem::path& path);

/// Writes the whole file at once, with mode 0600. Error: `config.folder`.
Status write_private_file(const std::string& path, std::string_view text);

[[nodiscard]] LogLevel level_of(const std::string& text);

/// Loads the Ed25519 key that is an application secret (base64 of its seed), or makes it there; of
/// several that make it at once all get the same. Errors: `keys.malformed`, `keys.unknown_key` when
/// what was made cannot be read, and those of the provider: a provider that fails never leads to a
/// new key.
[[nodiscard]] Result<std::shared_ptr<const crypto::SigningKey>> load_or_make_signing_key(
    domain::SecretProvider& secrets, std::string_view name);

/// The application secret whose key signs compiled code.
inline constexpr std::string_view artefact_key_secret = "alga_artefact_key";
/// The one that is to follow it: nobody signs with it, so that runners can be told of it first.
inline constexpr std::string_view next_artefact_key_secret = "alga_artefact_key_next";

/// Puts a new Ed25519 key in place of the former one; who has loaded that goes on with it. Errors:
/// `keys.shadowed` when a provider that is asked before the one that is written to still answers
/// with the former key, `keys.unavailable` when somebody else changed it at the same time, and
/// those of the provider.
[[nodiscard]] Result<crypto::PublicKey> replace_signing_key(domain::SecretProvider& secrets,
                                                            std::string_view name);

/// Makes the key that is to follow `name` in `next`, or finds the one that was made before. Errors
/// as replace_signing_key.
[[nodiscard]] Result<crypto::PublicKey> prepare_signing_key(domain::SecretProvider& secrets,
                                                            std::string_view name,
                                                            std::string_view next);
/// The prepared key; none when there is none.
[[nodiscard]] Result<std::optional<crypto::PublicKey>> prepared_signing_key(
    domain::SecretProvider& secrets, std::string_view name, std::string_view next);
/// Puts the prepared key, whose public half is `wanted` (base64), in place of the former one; good
/// as well when that has happened already. Errors as replace_signing_key, and `keys.unknown_key`
/// when no such key was prepared.
[[nodiscard]] Status use_signing_key(domain::SecretProvider& secrets, std::string_view name,
                                     std::string_view next, std::string_view wanted);

}  // namespace alga::app
