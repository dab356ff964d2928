#include "blob/layout.h"

namespace alga::blob {
namespace {

constexpr std::size_t kMaxKeyBytes = 1024;
constexpr std::string_view kStagingPrefix = "sha256/_staging/";
constexpr std::string_view kBundleSuffix = "/bundle.tar.zst";

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

std::string directory(const TenantId& tenant, const ExtensionId& extension,
                      const ContentHash& hash) {
  return "tenants/" + tenant.str() + "/extensions/" + extension.str() + "/sha256/" + hash.hex();
}

}  // namespace

bool is_object_key(std::string_view key) {
  if (key.empty() || key.size() > kMaxKeyBytes) return false;
  bool segment_begins = true;
  for (const char c : key) {
    if (c == '/') {
      if (segment_begins) return false;
      segment_begins = true;
      continue;
    }
    if (!is_key_character(c) || (segment_begins && c == '.')) return false;
    segment_begins = false;
  }
  return !segment_begins;
}

std::string bundle_key(const TenantId& tenant, const ExtensionId& extension,
                       const ContentHash& hash) {
  return directory(tenant, extension, hash) + std::string(kBundleSuffix);
}

std::string manifest_key(const TenantId& tenant, const ExtensionId& extension,
                         const ContentHash& hash) {
  return directory(tenant, extension, hash) + "/manifest.json";
}

std::string shared_bundle_key(const ContentHash& hash) {
  return "sha256/" + hash.hex() + std::string(kBundleSuffix);
}

std::string shared_manifest_key(const ContentHash& hash) {
  return "sha256/" + hash.hex() + "/manifest.json";
}

std::string staging_key(std::string_view id) {
  return std::string(kStagingPrefix) + std::string(id) + std::string(kBundleSuffix);
}

Result<std::string> parse_staging_key(std::string_view key) {
  if (key.starts_with(kStagingPrefix) && key.ends_with(kBundleSuffix) &&
      key.size() > kStagingPrefix.size() + kBundleSuffix.size()) {
    key.remove_prefix(kStagingPrefix.size());
    key.remove_suffix(kBundleSuffix.size());
    if (is_identifier(key)) return std::string(key);
  }
  return fail(Kind::invalid, "blob.invalid_key", "not the key of a staged upload");
}

}  // namespace alga::blob
