#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "domain/ports/records.h"

namespace alga::telemetry {

using Record = std::variant<domain::ExecutionRecord, domain::GuestLogLine, domain::CapabilityEvent>;

/// A record on its way from a runner to the control plane. Deliveries may repeat: `id` tells.
struct DeliveredRecord {
  std::string id;
  Record record;
};

/// One line of JSON without the line end: `{"id","kind","who",…}`. Text that is not UTF-8 is made
/// so.
[[nodiscard]] std::string encode_record(const DeliveredRecord& delivered);

/// The reverse. Errors: `telemetry.invalid_record` (invalid), which says where, never what.
[[nodiscard]] Result<DeliveredRecord> decode_record(std::string_view line);

}  // namespace alga::telemetry
