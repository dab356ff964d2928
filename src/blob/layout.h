#pragma once

#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"

namespace alga::blob {

/// True for a key that a store accepts: at most 1,024 bytes of `/`-separated segments of
/// `[A-Za-z0-9._-]`, none empty and none beginning with a dot.
[[nodiscard]] bool is_object_key(std::string_view key);

/// `tenants/<tenant>/extensions/<extension>/sha256/<hex>/bundle.tar.zst`: the reference's place of
/// a published bundle. `extension` is the registry's id.
[[nodiscard]] std::string bundle_key(const TenantId& tenant, const ExtensionId& extension,
                                     const ContentHash& hash);
/// `manifest.json` beside it.
[[nodiscard]] std::string manifest_key(const TenantId& tenant, const ExtensionId& extension,
                                       const ContentHash& hash);

/// `sha256/<hex>/bundle.tar.zst`: the place of a bundle that any tenant may install. Who may run it
/// is decided by the grant, not by the key.
[[nodiscard]] std::string shared_bundle_key(const ContentHash& hash);
[[nodiscard]] std::string shared_manifest_key(const ContentHash& hash);

/// `sha256/_staging/<id>/bundle.tar.zst`: an upload that has not been finalised.
[[nodiscard]] std::string staging_key(std::string_view id);
/// The id of such a key; `blob.invalid_key` for anything else, canonical keys above all.
[[nodiscard]] Result<std::string> parse_staging_key(std::string_view key);

}  // namespace alga::blob
