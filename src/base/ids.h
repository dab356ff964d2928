#pragma once

#include <compare>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace alga {

/// True for 1 to 128 characters of `[A-Za-z0-9._-]` that begin with a letter or digit and contain
/// no `..`: safe as a path segment, an object key segment, a header value and a log field.
[[nodiscard]] bool is_identifier(std::string_view text);

/// An identifier that went through its parser. `Tag` keeps the kinds apart.
template <class Tag>
class Id {
 public:
  [[nodiscard]] static std::optional<Id> parse(std::string_view text) {
    if (!is_identifier(text)) return std::nullopt;
    return Id{std::string(text)};
  }
  [[nodiscard]] const std::string& str() const [[clang::lifetimebound]] { return value_; }
  auto operator<=>(const Id&) const = default;

 private:
  explicit Id(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

using TenantId = Id<struct TenantTag>;
using InstallId = Id<struct InstallTag>;
/// The registry's id of an extension.
using ExtensionId = Id<struct ExtensionTag>;
using VersionId = Id<struct VersionTag>;

/// SHA-256 of a bundle. Accepts `sha256:<64 hex>` and bare hex; keeps lower-case hex.
class ContentHash {
 public:
  [[nodiscard]] static std::optional<ContentHash> parse(std::string_view text);
  [[nodiscard]] const std::string& hex() const [[clang::lifetimebound]] { return hex_; }
  [[nodiscard]] std::string prefixed() const { return "sha256:" + hex_; }
  auto operator<=>(const ContentHash&) const = default;

 private:
  explicit ContentHash(std::string hex) : hex_(std::move(hex)) {}
  std::string hex_;
};

}  // namespace alga

template <class Tag>
struct std::hash<alga::Id<Tag>> {
  std::size_t operator()(const alga::Id<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
template <>
struct std::hash<alga::ContentHash> {
  std::size_t operator()(const alga::ContentHash& hash) const noexcept {
    return std::hash<std::string>{}(hash.hex());
  }
};
