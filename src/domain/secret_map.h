#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "crypto/locked_bytes.h"

namespace alga::domain {

/// 1 to 128 characters of `[A-Za-z0-9_.-]` without `..`: what an administrator may name a secret.
[[nodiscard]] bool is_secret_name(std::string_view name);

/// The secrets of one install: names and values, all in one locked, wiped piece of memory.
/// Move-only, unprintable, immutable; share it as `shared_ptr<const SecretMap>`.
class SecretMap {
 public:
  static constexpr std::size_t max_json_bytes = std::size_t{1} << 20U;
  static constexpr std::size_t max_secrets = 1000;
  static constexpr std::size_t shortest_masked = 8;  ///< bytes; shorter ones occur in any text

  SecretMap() = default;

  /// From a JSON object of strings, without a copy of any value outside locked memory. Names need
  /// not satisfy is_secret_name(), but be 1 to 256 bytes. Error: `secret.malformed`, also for
  /// duplicate names; nothing of the text is repeated.
  [[nodiscard]] static Result<SecretMap> from_json(const crypto::LockedBytes& json);

  /// Copies the pairs. Errors as from_json().
  [[nodiscard]] static Result<SecretMap> from_pairs(
      const std::vector<std::pair<std::string_view, std::string_view>>& pairs);

  /// The JSON object, members sorted, for sealing.
  [[nodiscard]] crypto::LockedBytes to_json() const;

  /// The value; valid as long as the map.
  [[nodiscard]] std::optional<std::string_view> reveal(std::string_view name) const
      [[clang::lifetimebound]];
  /// The text with `[secret]` in the place of every value, and of every line of a value, that has
  /// at least `shortest_masked` bytes. Finds them as they are, in no other encoding.
  [[nodiscard]] std::string mask(std::string_view text) const;
  /// Bytes of the longest piece that mask() looks for.
  [[nodiscard]] std::size_t longest_masked() const;
  /// Sorted by bytes.
  [[nodiscard]] std::vector<std::string_view> names() const [[clang::lifetimebound]];
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// Bytes of locked memory, for the bounds of caches.
  [[nodiscard]] std::size_t memory() const { return arena_.size(); }

 private:
  friend class SecretJsonHandler;
  struct Entry {
    std::uint32_t name_at, name_size, value_at, value_size;
  };
  explicit SecretMap(std::size_t capacity) : arena_(capacity) {}

  [[nodiscard]] std::string_view text(std::uint32_t at, std::uint32_t size) const {
    return arena_.reveal_text().substr(at, size);
  }
  [[nodiscard]] std::string_view name_of(const Entry& entry) const {
    return text(entry.name_at, entry.name_size);
  }
  /// Appends to the arena; false when it does not fit.
  [[nodiscard]] bool append(std::string_view part);
  /// Sorts, refuses bad and duplicate names.
  [[nodiscard]] Status settle();
  void find_masked();

  crypto::LockedBytes arena_;
  std::size_t used_ = 0;
  std::vector<Entry> entries_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> masked_;  ///< where and how long
};

}  // namespace alga::domain
