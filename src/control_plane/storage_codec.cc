#include "control_plane/storage_codec.h"

#include "base/bytes.h"

namespace alga::control_plane {
namespace {

constexpr std::string_view kBytesMark = "base64-bytes";

std::unexpected<Error> bad(std::string message) {
  return fail(Kind::invalid, "storage.invalid", std::move(message));
}

bool marks_bytes(const json::Value* metadata) {
  if (metadata == nullptr || !metadata->is_object()) return false;
  const auto* encoding = metadata->get_object().if_contains("encoding");
  return encoding != nullptr && encoding->is_string() && encoding->get_string() == kBytesMark;
}

}  // namespace

Result<domain::WriteCondition> read_condition(const std::optional<std::int64_t>& if_revision) {
  using Kind = domain::WriteCondition::Kind;
  if (!if_revision) return domain::WriteCondition{};
  if (*if_revision < 0) return bad("ifRevision is negative");
  if (*if_revision == 0) return domain::WriteCondition{Kind::create_only, 0};
  return domain::WriteCondition{Kind::revision, static_cast<std::uint64_t>(*if_revision)};
}

Result<StorageWrite> read_write(json::Object& object, std::string ns, std::string key) {
  StorageWrite write{.ns = std::move(ns), .key = std::move(key)};
  if (!object.has("value")) return bad("value is missing");
  const json::Value* value = object.raw("value");
  const json::Value* metadata = object.raw("metadata");
  if (metadata != nullptr && !metadata->is_null() && !metadata->is_object()) {
    return bad("metadata is not an object");
  }
  std::optional<std::string> bytes;
  if (marks_bytes(metadata) && value != nullptr && value->is_string()) {
    bytes = base64_decode(value->get_string());
    if (!bytes) return bad("value is not base64, as its metadata says");
  }
  if (bytes) {
    write.encoding = StorageEncoding::bytes;
    write.value = std::move(*bytes);
  } else {
    write.encoding = StorageEncoding::json;
    write.value = value == nullptr ? "null" : to_text(*value);
  }
  if (metadata != nullptr && metadata->is_object()) write.metadata = to_text(*metadata);
  TRY(auto ttl, object.optional_integer("ttlSeconds", 0, 1'000'000'000));
  if (ttl) write.ttl_seconds = static_cast<std::uint32_t>(*ttl);
  TRY(auto if_revision, object.optional_integer("ifRevision"));
  TRY(write.condition, read_condition(if_revision));
  TRY(write.schema_version, object.optional_integer("schemaVersion", 1));
  return write;
}

boost::json::object record_head(const StoredRecord& record) {
  boost::json::object head{{"namespace", record.ns},
                           {"key", record.key},
                           {"revision", record.revision},
                           {"createdAt", format_rfc3339(record.created)},
                           {"updatedAt", format_rfc3339(record.updated)}};
  head["ttlExpiresAt"] =
      record.expires ? boost::json::value(format_rfc3339(*record.expires)) : nullptr;
  return head;
}

Status add_value(boost::json::object& head, const StoredRecord& record) {
  if (record.encoding == StorageEncoding::json) {
    TRY(head["value"], from_column(record.value, "value"));
  } else {
    head["value"] = base64_encode(as_bytes(record.value));
  }
  return {};
}

Status add_metadata(boost::json::object& head, const StoredRecord& record) {
  boost::json::object metadata;
  if (record.metadata) {
    TRY(metadata, object_from_column(*record.metadata, "metadata"));
  }
  if (record.encoding == StorageEncoding::bytes) metadata["encoding"] = kBytesMark;
  head["metadata"] = std::move(metadata);
  return {};
}

StorageErrorCode storage_error_code(const Error& error) {
  if (error.code == "storage.missing") return {404, "NOT_FOUND"};
  if (error.code == "storage.conflict") return {409, "REVISION_MISMATCH"};
  if (error.code == "storage.too_large") return {400, "LIMIT_EXCEEDED"};
  if (error.code == "storage.quota") return {429, "QUOTA_EXCEEDED"};
  if (error.code == "storage.denied") return {403, "NAMESPACE_DENIED"};
  switch (error.kind) {
    case Kind::unauthenticated: return {401, "UNAUTHORIZED"};
    case Kind::denied: return {403, "FORBIDDEN"};
    case Kind::not_found: return {404, "NOT_FOUND"};
    case Kind::rate_limited: return {429, "RATE_LIMITED"};
    case Kind::invalid:
    case Kind::too_large: return {400, "VALIDATION_FAILED"};
    default: return {static_cast<std::uint16_t>(http_status(error.kind)), "INTERNAL_ERROR"};
  }
}

}  // namespace alga::control_plane
