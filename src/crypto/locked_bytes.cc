#include "crypto/locked_bytes.h"

#include <sodium.h>

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

bool can_lock_memory(std::size_t size) {
  require_sodium();
  auto* probe = static_cast<std::uint8_t*>(sodium_malloc(size));
  if (probe == nullptr) return false;
  bool locked = sodium_mlock(probe, size) == 0;
  sodium_free(probe);
  return locked;
}

void wipe_stack() { sodium_stackzero(std::size_t{16} << 10U); }

}  // namespace alga::crypto
