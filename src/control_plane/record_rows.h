#pragma once

#include "control_plane/core.h"
#include "control_plane/quotas.h"
#include "domain/ports/execution_log.h"
#include "domain/ports/records.h"

/// One statement or two for each kind of record. Writing a record twice leaves one.
namespace alga::control_plane {

/// False when the row was there already.
Result<bool> insert_started(sql::Executor& sql, const domain::StartedExecution& execution);
Status update_finished(sql::Executor& sql, const domain::FinishedExecution& execution);
/// Completes the gateway's row of the same request, or makes one when there was no gateway, and
/// adds to `usage` what it used; whoever has gathered it writes it in the same transaction.
Status insert_execution(sql::Executor& sql, const domain::ExecutionRecord& record,
                        UsageTally& usage);
/// `delivery` names a record that came from another process and may come again.
using DeliveryId = std::optional<std::string>;
Status insert_guest_log(sql::Executor& sql, const Core& core, const domain::GuestLogLine& line,
                        const DeliveryId& delivery = {});
/// Into the tenant's audit trail.
Status insert_capability(sql::Executor& sql, const Core& core, const domain::CapabilityEvent& event,
                         const DeliveryId& delivery = {});

/// Stores what a runner of another process delivers, all of it, durably, or nothing. `lines` are
/// those of telemetry/record_json.h. A runner is believed what happened, not whose it was: records
/// of an extension that their tenant neither has installed nor, by the log of executions, had, are
/// left out and counted (`records.unknown_install` in the log). Error: `telemetry.invalid_record`.
Status store_delivery(const Core& core, std::string_view lines);

}  // namespace alga::control_plane
