#include "crypto/locked_bytes.h"

#include <sodium.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/result.h"
#include "crypto/sodium.h"

namespace alga::crypto {

LockedBytes::LockedBytes(std::size_t size) : size_(size) {
  require_sodium();
  // sodium_malloc puts the end of the buffer against the guard page: an overrun faults at once.
  data_ = static_cast<std::uint8_t*>(sodium_malloc(size == 0 ? 1 : size));
  ALGA_CHECK(data_ != nullptr);
  sodium_memzero(data_, size == 0 ? 1 : size);
}

LockedBytes LockedBytes::copy_of(ByteSpan bytes) {
  LockedBytes copy(bytes.size());
  std::ranges::copy(bytes, copy.data_);
  return copy;
}

LockedBytes::~LockedBytes() { sodium_free(data_); }

std::optional<LockedBytes> base64_decode_locked(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  LockedBytes bytes(text.size() / 4 * 3 - padding);
  std::size_t size = 0;
  // Refuses foreign characters, bad padding and non-zero trailing bits.
  if (sodium_base642bin(bytes.bytes().data(), bytes.size(), text.data(), text.size(), nullptr,
                        &size, nullptr, sodium_base64_VARIANT_ORIGINAL) != 0 ||
      size != bytes.size()) {
    return std::nullopt;
  }
  return bytes;
}

bool can_lock_memory(std::size_t size) {
  if (size == 0) return true;
  void* probe = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (probe == MAP_FAILED) return false;
  // Counts all of it and makes none of it.
  const bool locked = ::mlock2(probe, size, MLOCK_ONFAULT) == 0;
  ::munmap(probe, size);
  return locked;
}

void wipe_stack() { sodium_stackzero(std::size_t{16} << 10U); }

}  // namespace alga::crypto
