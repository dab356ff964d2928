#pragma once

namespace alga::crypto {

/// Makes libsodium ready; cheap after the first time, from any thread. The process ends when it
/// cannot be (no source of randomness).
void require_sodium();

}  // namespace alga::crypto
