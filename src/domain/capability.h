#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace alga::domain {

/// What an install may be allowed to do. The order is that of schema/capabilities.json; values are
/// not stored anywhere, names are.
enum class Capability : std::uint8_t {
  context_read,
  config_read,
  log_emit,
  user_read,
  secrets_get,
  http_fetch,
  storage_kv,
  ui_proxy,
  scheduler_manage,
  invoice_manual_create,
  client_read,
  service_read,
};
inline constexpr std::size_t capability_count = 12;

/// The full name: `cap:http.fetch`. Static storage.
[[nodiscard]] std::string_view name(Capability capability);

/// One name: blanks around it and case do not matter, the prefix `cap:` may be missing, and the
/// spellings of older documents (`alga.storage`) are known. None when it is no capability.
[[nodiscard]] std::optional<Capability> parse_capability(std::string_view text);

/// The capability that guards an interface of package `alga:extension`, by the bare name of the
/// interface (`ui-proxy`), or none for an interface that nobody guards (`types`) or knows.
[[nodiscard]] std::optional<Capability> capability_of_interface(std::string_view interface);

/// A set of capabilities; a plain value.
class CapabilitySet {
 public:
  CapabilitySet() = default;
  CapabilitySet(std::initializer_list<Capability> capabilities) {
    for (Capability capability : capabilities) insert(capability);
  }

  void insert(Capability capability) { bits_.set(static_cast<std::size_t>(capability)); }
  void remove(Capability capability) { bits_.reset(static_cast<std::size_t>(capability)); }
  [[nodiscard]] bool contains(Capability capability) const {
    return bits_.test(static_cast<std::size_t>(capability));
  }
  [[nodiscard]] bool contains(const CapabilitySet& other) const {
    return (bits_ & other.bits_) == other.bits_;
  }
  [[nodiscard]] bool empty() const { return bits_.none(); }
  [[nodiscard]] std::size_t size() const { return bits_.count(); }

  [[nodiscard]] CapabilitySet intersection(const CapabilitySet& other) const {
    return CapabilitySet{bits_ & other.bits_};
  }
  [[nodiscard]] CapabilitySet united(const CapabilitySet& other) const {
    return CapabilitySet{bits_ | other.bits_};
  }
  [[nodiscard]] CapabilitySet without(const CapabilitySet& other) const {
    return CapabilitySet{bits_ & ~other.bits_};
  }
  /// Full names, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

  bool operator==(const CapabilitySet&) const = default;

 private:
  explicit CapabilitySet(std::bitset<capability_count> bits) : bits_(bits) {}
  std::bitset<capability_count> bits_;
};

/// Granted unless withheld: `context.read`, `log.emit`, `user.read`.
[[nodiscard]] CapabilitySet default_capabilities();

/// Exactly what the names say, without the defaults. Error: `capability.unknown` with the message
/// `unknown_capabilities: a, b` (normalised, in the order given), which the reference's callers
/// read.
[[nodiscard]] Result<CapabilitySet> parse_capabilities(std::span<const std::string> names);

}  // namespace alga::domain
