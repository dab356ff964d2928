#pragma once

#include "control_plane/core.h"
#include "domain/ports/execution_log.h"
#include "domain/ports/records.h"

/// One statement or two for each kind of record. Writing a record twice leaves one.
namespace alga::control_plane {

Status insert_started(sql::Executor& sql, const domain::StartedExecution& execution);
Status update_finished(sql::Executor& sql, const domain::FinishedExecution& execution);
/// Completes the gateway's row of the same request, or makes one when there was no gateway, and
/// counts the usage.
Status insert_execution(sql::Executor& sql, const domain::ExecutionRecord& record);
Status insert_guest_log(sql::Executor& sql, const Core& core, const domain::GuestLogLine& line);
/// Into the tenant's audit trail.
Status insert_capability(sql::Executor& sql, const Core& core,
                         const domain::CapabilityEvent& event);

}  // namespace alga::control_plane
