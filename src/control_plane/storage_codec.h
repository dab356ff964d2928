#pragma once

#include <boost/json/object.hpp>

#include "base/ids.h"
#include "control_plane/storage_records.h"
#include "json/decode.h"

/// The JSON of the storage APIs, internal and public: section 1.12 of the reference's contracts.
namespace alga::control_plane {

/// A write as the APIs spell it: `value` is any JSON, `metadata` an object, `ifRevision` 0 means
/// create-only. A base64 string marked `{"encoding":"base64-bytes"}` is stored as the bytes.
[[nodiscard]] Result<StorageWrite> read_write(json::Object& object, std::string ns,
                                              std::string key);
[[nodiscard]] Result<domain::WriteCondition> read_condition(
    const std::optional<std::int64_t>& if_revision);

/// `{namespace,key,revision,ttlExpiresAt,createdAt,updatedAt}`.
[[nodiscard]] boost::json::object record_head(const StoredRecord& record);
/// Adds `value` and `metadata`. Error: `sql.malformed_json`.
Status add_value(boost::json::object& head, const StoredRecord& record);
Status add_metadata(boost::json::object& head, const StoredRecord& record);

/// The reference's code for an error of the storage.
struct StorageErrorCode {
  std::uint16_t status;
  std::string_view code;
};
[[nodiscard]] StorageErrorCode storage_error_code(const Error& error);

}  // namespace alga::control_plane
