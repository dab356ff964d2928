#pragma once

#include <span>

#include "sql/migrate.h"

namespace alga::control_plane::schema {

/// All steps, oldest first. An applied step never changes; what is new is a new step.
///
/// Rules of the schema: ids are text compared byte by byte; times are milliseconds since 1970;
/// truth values are 0 and 1; JSON is text. In tables of tenants the tenant leads every key, so that
/// no query can forget it cheaply; rows of the platform itself carry the tenant `_platform`, which
/// no tenant can be called.
[[nodiscard]] std::span<const sql::Migration> migrations();

}  // namespace alga::control_plane::schema
