#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/clock.h"

namespace alga {

/// Cryptographically secure random bytes. Thread-safe. Injected, so that tests can repeat.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;
};

/// The operating system's generator (getrandom(2)); aborts when there is none.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

/// A version 7 UUID (RFC 9562): sortable by time. Lower-case, with dashes.
[[nodiscard]] std::string uuid_v7(const Clock& clock, Random& random);

}  // namespace alga
