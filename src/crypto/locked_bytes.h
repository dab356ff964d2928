#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/bytes.h"

namespace alga::crypto {

/// A buffer for plaintext secrets and keys: between guard pages, locked into memory where the
/// process's RLIMIT_MEMLOCK permits, left out of core dumps, wiped when it is given back. Move-only
/// and unprintable. Costs at least four pages: one buffer for many secrets, not one each. When
/// there is no memory the process ends; callers bound `size` first.
class LockedBytes {
 public:
  LockedBytes() = default;
  /// `size` zero bytes.
  explicit LockedBytes(std::size_t size);
  [[nodiscard]] static LockedBytes copy_of(ByteSpan bytes);

  LockedBytes(LockedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  LockedBytes& operator=(LockedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~LockedBytes();

  [[nodiscard]] std::span<std::uint8_t> bytes() [[clang::lifetimebound]] { return {data_, size_}; }
  /// The one way to the content, so that each use can be found.
  [[nodiscard]] ByteSpan reveal() const [[clang::lifetimebound]] { return {data_, size_}; }
  [[nodiscard]] std::string_view reveal_text() const [[clang::lifetimebound]] {
    return as_text(reveal());
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Standard base64 (padded, strict) straight into locked memory; none when it is malformed.
[[nodiscard]] std::optional<LockedBytes> base64_decode_locked(std::string_view text);

/// True when this process can lock `size` more bytes into memory now; start-up warns when it
/// cannot. Touches none of them.
[[nodiscard]] bool can_lock_memory(std::size_t size);

/// Overwrites the part of the stack that library calls which handled plaintext may have used.
void wipe_stack();

}  // namespace alga::crypto
